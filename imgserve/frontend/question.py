"""What a person asks about: pasted, dropped, chosen, photographed, linked, or one of ours.

Streamlit runs the page's script again at every interaction, so the question and its outcome are
kept in ``st.session_state``.
"""

import io
import re
from functools import cache
from pathlib import Path

import streamlit as st
from PIL import Image, ImageOps

from imgserve.frontend.client import Picture
from imgserve.frontend.messages import Failure, number, say
from imgserve.units import mebibytes

BATCH_LIMIT = 50
# What the page takes from a device, to say itself what is wrong with it; Streamlit would only mark
# the file and explain in a tooltip.
UPLOAD_MIB = 64
MOST_SAMPLES = 6
SHOWN_PIXELS = 320  # of a sample's longer side: a phone's photo would be megabytes for each visit
SAMPLES = {".jpg", ".jpeg", ".png"}
LINKED = ("url", "sample")  # what an address bar may say of a question


def choose_picture(samples: Path, limit_bytes: int) -> None:
    """Draw the box that takes pictures of at most this size, and remember what was asked."""
    _follow_link(samples)
    with st.container():  # else the box would stay at the window's lower end
        st.chat_input(
            say("Paste a picture or its address, or drop files here"),
            key="box",
            accept_file="multiple",
            max_upload_size=UPLOAD_MIB,
            on_submit=_ask_box,
            args=(limit_bytes,),
        )


def offer_samples(folder: Path) -> None:
    """Draw the pictures of a folder, each with a button that asks about it, and the camera."""
    samples = _samples(folder)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(say("No picture at hand? Try one of these:") if samples else "")
        photographing = st.session_state.get("photographing")
        words = "Put the camera away" if photographing else "Take a photo"
        st.button(f"📷 {say(words)}", key="camera", type="tertiary", on_click=_use_camera)
    if photographing:
        st.camera_input(say("Take a photo"), key="photo", on_change=_ask_photo)
    if not samples:
        return
    row = st.container(horizontal=True, wrap=False)
    for name, path in samples.items():
        place = row.container(width="stretch", gap="xsmall")
        place.image(_shown(path), width="stretch", alt="")  # the button below says its name
        key = f"sample_{name}"
        place.button(say(name), key=key, width="stretch", on_click=_ask_sample, args=(name, path))


def current_question() -> tuple[Picture, ...]:
    """Return the pictures that the page is about: none, one, or several at once."""
    question: tuple[Picture, ...] = st.session_state.get("question", ())
    return question


def forget_outcome(*, explain: bool = False) -> None:
    """Have the same question asked once more, perhaps with a map of what the answer depends on."""
    st.session_state.pop("outcome", None)
    st.session_state.explain = explain


def _ask(*pictures: Picture) -> None:
    """Remember the question, forget the last answer, and let the address bar follow."""
    link = pictures[0].link if len(pictures) == 1 else {}
    st.session_state.question, st.session_state.linked = pictures, link
    forget_outcome()
    if link_now() == link:  # a link was followed
        return
    for name in LINKED:
        st.query_params.pop(name, None)
    if link:
        models = {"model": model} if (model := st.session_state.get("answering")) else {}
        st.session_state.linked_model = model
        st.query_params.update(**link, **models)  # in one step, as the way back has each of them


def _refuse(sentence: str, **values: object) -> None:
    """Say why what was handed over cannot be taken, in the place of an answer."""
    st.session_state.pop("question", None)
    st.session_state.outcome = Failure(say(sentence, **values), again=False)


def link_now() -> dict[str, str]:
    """Return what the address bar says of a question."""
    found = ((name, st.query_params.get(name, "").strip()) for name in LINKED)
    return next(({name: value} for name, value in found if value), {})


def _follow_link(folder: Path) -> None:
    """Ask about the picture that the address bar names, once: somebody followed a link."""
    link = link_now()
    if not link or link == st.session_state.get("linked"):
        return
    st.session_state.linked = link
    if "url" in link:
        _ask(Picture(link["url"]))
    elif path := _samples(folder).get(link["sample"]):
        _ask_sample(link["sample"], path)


def _samples(folder: Path) -> dict[str, Path]:
    """Return the first pictures in a folder by their names for people."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SAMPLES)
    return {path.stem.replace("_", " ").capitalize(): path for path in paths[:MOST_SAMPLES]}


@cache
def _shown(path: Path) -> bytes:
    """Return a sample as small as it is shown; a transparent one stays so."""
    small = io.BytesIO()
    with Image.open(path) as picture:
        picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
        upright = ImageOps.exif_transpose(picture)
        if upright.has_transparency_data:
            upright.save(small, "PNG")
        else:
            upright.convert("RGB").save(small, "JPEG")
    return small.getvalue()


def _use_camera() -> None:
    st.session_state.photographing = not st.session_state.get("photographing")


def _ask_photo() -> None:
    if photo := st.session_state.photo:
        _ask(Picture(data=photo.getvalue(), file_name=say("Photo")))


def _ask_sample(name: str, path: Path) -> None:
    _ask(Picture(data=path.read_bytes(), file_name=say(name), sample=name))


def _ask_box(limit_bytes: int) -> None:
    given = st.session_state.box
    pictures = [Picture(url) for url in addresses_in(given.text)]
    pictures += [Picture(data=file.getvalue(), file_name=file.name) for file in given.files]
    count, size = len(pictures), len(pictures[0].data) if pictures else 0
    if not pictures:
        _refuse(
            "There is no picture and no address in this. Paste an address such as "
            "https://example.com/cat.jpg, or a picture."
        )
    elif count > BATCH_LIMIT:
        too_many = "These are {count} pictures; at most {limit} go at once. Take some away."
        _refuse(too_many, count=count, limit=BATCH_LIMIT)
    elif count == 1 and size > limit_bytes:
        too_large = "This file has {size}; at most {limit} are accepted. Choose a smaller one."
        has, limit = number(mebibytes(size)), number(mebibytes(limit_bytes))
        _refuse(too_large, size=has, limit=limit)
    else:
        _ask(*pictures)


# --- addresses in what was pasted: alone, quoted, in a sentence, in Markdown or HTML -------------

# Markdown, HTML and quotes end an address; an apostrophe may be inside.
_REST = r"""(?:[^\s<>"'`«»“”]|'(?=\w))+"""
# A data: address, a scheme, or a host's name before a path.
_ADDRESS = re.compile(
    rf"""(?P<data>(?<![\w/?&-])data:[^\s,"'<>)]{{0,200}}(?:[ ]+base64[ ]*)?,[^\s"'<>)]*
        # The next line belongs to it where it holds nothing but base64.
        (?:(?<!=)[ \t]*\r?\n[ \t]*[\w+/%-]+=*(?=[ \t]*(?:[\r\n"'<>)]|\Z)))*)
    |(?<!xmlns=.)https?://{_REST}
    |(?<![\w:/\\])//{_REST}  # as a page writes it, without its scheme
    |(?<![\w/\\@.:-])(?:[\w-]+\.)+[^\W\d_]{{2,}}(?::\d+)?/{_REST}  # example.com/cat.jpg
    |(?<![\w/\\@.:-])www\.{_REST}""",
    re.VERBOSE | re.IGNORECASE,
)
# What is no web address as a whole: the backend says what is wrong with it.
_OTHER = re.compile(
    r"""blob:\S+
    |(?!https?://|data:[^,]*,|[\w.-]+:\d)[a-z][a-z0-9+.-]*:(?://)?(?:(?!//)\S)+  # another scheme
    |(?:file:|[a-z]:[/\\]|(?:\.\.?|~)?[/\\](?![/\s]))(?:(?!https?://).)+  # a path""",
    re.VERBOSE | re.IGNORECASE,
)
_QUOTES = "\"'`«»“”„‘’‚‹›"  # noqa: RUF001 - looking alike is what they are for
_ENDS = f".,;:!?*|{_QUOTES}"
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def addresses_in(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, in their order, each once.

    >>> addresses_in('look at ![a cat](example.com/cat.jpg), or "https://example.com/dog_(1).jpg".')
    ('https://example.com/cat.jpg', 'https://example.com/dog_(1).jpg')

    A path, and one word with some other scheme, is an address too: the backend says what is wrong.
    """
    text = text.strip().strip(f"<>{_QUOTES}")
    if _OTHER.fullmatch(text):
        return (text,)
    # HTML's ampersand, Markdown's links, and lists without spaces.
    apart = text.replace("&amp;", "&").replace("](", "] (")
    apart = re.sub(",(?=https?://)", ", ", apart, flags=re.IGNORECASE)
    found = (_whole(match) for match in _ADDRESS.finditer(apart))
    return tuple(dict.fromkeys(filter(None, found)))


def _whole(match: re.Match[str]) -> str:
    """Return an address without what follows it in a sentence, and with its scheme."""
    if match["data"]:
        return "".join(match["data"].split())
    found = match[0]
    while found and (found[-1] in _ENDS or _closes(found, match)):
        found = found[:-1]
    if found.startswith("//"):
        return f"https:{found}"
    return found if re.match(r"https?://", found, re.IGNORECASE) else f"https://{found}"


def _closes(found: str, match: re.Match[str]) -> bool:
    """Return whether the last character closes a bracket or emphasis opened before the address."""
    if found[-1] == "_":  # with which some hosts' own addresses end
        return match.string.endswith("_", 0, match.start())
    opening = _BRACKETS.get(found[-1])
    return opening is not None and found.count(found[-1]) > found.count(opening)
