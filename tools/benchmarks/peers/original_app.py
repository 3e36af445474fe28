"""The original's design: Flask, a model in a global, ``requests.get`` for each picture.

Run as ``gunicorn -w 2 --threads 2 tools.benchmarks.peers.original_app:app``.
"""

from flask import Flask, request

from tools.benchmarks.peers import classifier, fetched

app = Flask(__name__)
model = classifier()


@app.post("/predict")
def predict() -> dict[str, str]:
    upload = request.files.get("image")
    data = upload.read() if upload else fetched(request.get_json()["url"])
    return {"category": model([data])[0]}
