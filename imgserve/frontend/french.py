"""What the page says in French, by what it says in English."""

_AGAIN = "Réessayez dans un instant."

# Of the backend or the gateway, whose own words are English and say more.
PROBLEMS = {
    "invalid-url": "Cette adresse n'est pas celle d'une image. Vérifiez-la.",
    "invalid-request": "Cette demande ne convient pas. Choisissez l'image de nouveau.",
    "address-not-allowed": "Seules les adresses publiques sont permises : envoyez l'image.",
    "unknown-model": "Ce modèle n'existe pas ici.",
    "picture-too-large": "Cette image est trop lourde. Choisissez-en une plus légère.",
    "too-many-pixels": "Cette image a trop de pixels. Choisissez-en une plus petite.",
    "unsupported-format": "Ce n'est pas une image d'un format reconnu.",
    "damaged-picture": "Ce fichier est abîmé. Enregistrez l'image de nouveau.",
    "picture-host-failed": f"Le site de cette image n'a pas bien répondu. {_AGAIN}",
    "picture-host-refused": "Le site refuse de donner cette image, ou ne l'a pas : "
    "enregistrez-la et envoyez-la d'ici.",
    "picture-host-busy": f"Le site de cette image est surchargé. {_AGAIN}",
    "picture-host-timeout": f"Le site de cette image est trop lent. {_AGAIN}",
    "model-unavailable": "Ce modèle ne peut pas être chargé.",
    "backend-unreachable": "Ce modèle est injoignable. Réessayez plus tard, ou avec un autre.",
    "backend-timeout": f"Ce modèle n'a pas répondu à temps. {_AGAIN}",
    "worker-lost": f"Le calcul s'est interrompu. {_AGAIN}",
    "internal-error": "Le classificateur a une panne. Elle est notée dans son journal.",
}

FRENCH = {
    # The page around the answer
    "Animal Classification": "Classification d'animaux",
    "Show me a picture, by its address or from your device: I will tell you what is in it.": (
        "Montrez-moi une image, par son adresse ou depuis votre appareil : je dirai ce que c'est."
    ),
    "Paste a picture or its address, or drop files here": (
        "Collez une image ou son adresse, ou déposez des fichiers ici"
    ),
    "No picture at hand? Try one of these:": "Pas d'image sous la main ? Essayez-en une :",
    "Take a photo": "Prendre une photo",
    "Put the camera away": "Ranger l'appareil",
    "Photo": "Photo",
    "Cat": "Chat",
    "Espresso": "Expresso",
    "Rocket": "Fusée",
    "{formats}, up to {size}.": "{formats}, jusqu'à {size}.",
    "A trained model picks the likeliest of the classes that it knows. It can be wrong. "
    "Pictures are not stored.": (
        "Un modèle entraîné choisit la plus probable des classes qu'il connaît. Il peut se "
        "tromper. Les images ne sont pas conservées."
    ),
    "There is no picture and no address in this. Paste an address such as "
    "https://example.com/cat.jpg, or a picture.": (
        "Il n'y a là ni image ni adresse. Collez une adresse comme https://example.com/cat.jpg, "
        "ou une image."
    ),
    "These are {count} pictures; at most {limit} go at once. Take some away.": (
        "Cela fait {count} images ; {limit} au plus passent à la fois. Retirez-en."
    ),
    "This file has {size}; at most {limit} are accepted. Choose a smaller one.": (
        "Ce fichier a {size} ; {limit} au plus sont acceptés. Choisissez-en un plus petit."
    ),
    # While an answer is on its way
    "Looking at the picture …": "J'examine l'image …",
    "The classifier is waking up, which can take a minute. This page keeps trying.": (
        "Le classificateur se réveille, ce qui peut prendre une minute. La page insiste."
    ),
    "The host of this picture is slow to send it. This page is still waiting.": (
        "Le site de cette image est lent à l'envoyer. La page attend toujours."
    ),
    "The classifier is taking its time. This page is still waiting.": (
        "Le classificateur prend son temps. La page attend toujours."
    ),
    # The answer
    "I think this is an image of {what}": "Je pense que cette image montre : {what}",
    "I am not sure, but I think this is an image of {what}": (
        "Je n'en suis pas sûr, mais je pense que cette image montre : {what}"
    ),
    "The picture as the model saw it, probably {what}": (
        "L'image telle que le modèle l'a vue, probablement {what}"
    ),
    "The end of this picture's file is missing. The answer is about the part above.": (
        "Il manque la fin du fichier de cette image. La réponse porte sur la partie du haut."
    ),
    "Model: {model}": "Modèle : {model}",
    "fetch": "téléchargement",
    "decode": "décodage",
    "preprocess": "préparation",
    "inference": "inférence",
    "total": "total",
    "round trip": "aller-retour",
    " and ": " et ",
    " or ": " ou ",
    "{word}: {names}": "{word}, {names}",
    # What to do with it
    "Where did it look?": "Où a-t-il regardé ?",
    "It depends most on the {part}.": "Elle tient surtout à cette partie : {part}.",
    "upper left": "en haut à gauche",
    "top": "en haut",
    "upper right": "en haut à droite",
    "left": "à gauche",
    "middle": "au milieu",
    "right": "à droite",
    "lower left": "en bas à gauche",
    "bottom": "en bas",
    "lower right": "en bas à droite",
    "Copy the link to this answer": "Copier le lien de cette réponse",
    "Copied": "Copié",
    "Copy": "Copier",
    "Use it from code": "Depuis un programme",
    "Try again": "Réessayer",
    # Many pictures
    "{done} of {count} pictures classified": "{done} images classées sur {count}",
    "Answers": "Réponses",
    "Picture": "Image",
    "Answer": "Réponse",
    "Probability": "Probabilité",
    " (incomplete)": " (incomplète)",
    "Download as CSV": "Télécharger en CSV",
    "Download all as CSV": "Tout télécharger en CSV",
    "So far": "Jusqu'ici",
    "Clear": "Effacer",
    "Many pictures go to one model, the first; compare one at a time.": (
        "Plusieurs images vont à un seul modèle, le premier ; comparez-les une par une."
    ),
    # Models
    "Who answers": "Qui répond",
    "Compare all models": "Comparer tous les modèles",
    "Asking which models there are …": "Quels modèles y a-t-il …",
    "{count} M parameters": "{count} M de paramètres",
    "{share} right on ImageNet": "{share} justes sur ImageNet",
    "ready": "prêt",
    "loading": "en chargement",
    "asleep": "en sommeil",
    "not available": "indisponible",
    "away": "absent",
    "{title} is loading: it answers in a moment.": "{title} se charge : il répond dans un instant.",
    "{title} cannot be loaded.": "{title} ne peut pas être chargé.",
    "{title} is away.": "{title} est absent.",
    "There is no model {wanted} here: {title} answers.": (
        "Il n'y a pas de modèle {wanted} ici : {title} répond."
    ),
    "The list of models cannot be loaded at the moment. It comes back here by itself; "
    "a picture can be asked about meanwhile.": (
        "La liste des modèles ne peut pas être chargée pour le moment. Elle reviendra ; en "
        "attendant, une image peut être envoyée."
    ),
    "Models that cannot answer: {count}": "Modèles qui ne peuvent pas répondre : {count}",
    "The picture as the models saw it": "L'image telle que les modèles l'ont vue",
    "The picture was fetched from its address once for each model.": (
        "L'image a été prise à son adresse une fois par modèle."
    ),
    "Model": "Modèle",
    "Time": "Temps",
    "In turn …": "À son tour …",
    "Looking …": "En cours …",
    "Waking up …": "Se réveille …",
    "{done} of {count} models have answered": "{done} modèles sur {count} ont répondu",
    "No model answered": "Aucun modèle n'a répondu",
    "Only {model} answered: {what}": "Seul {model} a répondu : {what}",
    "{most} of {count} models agree: {what}": "{most} modèles sur {count} sont d'accord : {what}",
    "The models disagree: {what}": "Les modèles ne sont pas d'accord : {what}",
    # Failures
    "The classifier is busy right now.": "Le classificateur est très occupé.",
    "Try again in a few seconds.": "Réessayez dans quelques secondes.",
    "The classifier is still waking up.": "Le classificateur se réveille encore.",
    "Try again in a minute.": "Réessayez dans une minute.",
    "The classifier took too long to answer.": "Le classificateur a mis trop longtemps à répondre.",
    "Try again, or with a smaller picture.": "Réessayez, ou avec une image plus petite.",
    "The classifier cannot be reached at the moment.": (
        "Le classificateur est injoignable pour le moment."
    ),
    "It may be starting, or be down for a while: try again in a minute.": (
        "Il démarre peut-être, ou il est arrêté : réessayez dans une minute."
    ),
    "This page may not call its classifier.": (
        "Cette page n'a pas le droit d'appeler son classificateur."
    ),
    "It is not set up correctly: the page's log says what to change.": (
        "Elle est mal réglée : son journal dit quoi changer."
    ),
    "This page could not show its classifier who it is.": (
        "Cette page n'a pas pu se faire connaître de son classificateur."
    ),
    "Try again in a minute; the page's log says why.": (
        "Réessayez dans une minute ; le journal de la page dit pourquoi."
    ),
    "This page is not set up correctly. Its log says which setting to change.": (
        "Cette page est mal réglée. Son journal dit quel réglage changer."
    ),
}
