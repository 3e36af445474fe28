"""Where a person says which picture: pasted, dropped, chosen, photographed, or one of ours."""

import io
import mimetypes
from functools import cache
from pathlib import Path

import streamlit as st
from PIL import Image, ImageOps

from imgserve.contract import FORMATS
from imgserve.frontend.addresses import addresses_in
from imgserve.frontend.language import number, say
from imgserve.frontend.session import (
    Batch,
    LinkedPicture,
    Picture,
    PictureFile,
    ask,
    linked_now,
    refuse,
)
from imgserve.units import mebibytes

BATCH_LIMIT = 50
# What the page takes from a device, to say itself what is wrong with it; Streamlit would only mark
# the file and explain in a tooltip.
UPLOAD_MIB = 64
MOST_SAMPLES = 6
SHOWN_PIXELS = 320  # of a sample's longer side: a phone's photo would be megabytes for each visit
SAMPLE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
BOX = "Paste a picture or its address, or drop files here"
NO_ADDRESS = (
    "There is no picture and no address in this. Paste an address such as "
    "https://example.com/cat.jpg, or a picture."
)
TOO_MANY = "These are {count} pictures; at most {limit} go at once. Take some away."
TOO_LARGE = "This file has {size}; at most {limit} are accepted. Choose a smaller one."


def choose_picture(samples: Path, limit_bytes: int) -> None:
    """Draw the box that takes pictures of at most this size, and remember what was asked."""
    _follow_link(samples)
    with st.container():  # else the box would stay at the window's lower end
        st.chat_input(
            say(BOX),
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
    if samples:
        row = st.container(horizontal=True, wrap=False)
        for name, path in samples.items():
            with row.container(width="stretch", gap="xsmall"):
                st.image(_shown(path), width="stretch", alt="")  # the button below says its name
                _sample_button(name, path)


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


def limits(limit_bytes: int) -> str:
    """Return what is taken, in words."""
    size = number(mebibytes(limit_bytes))
    return say("{formats}, up to {size}.", formats=", ".join(FORMATS), size=size)


def _sample_button(name: str, path: Path) -> None:
    st.button(
        say(name), key=f"sample_{name}", width="stretch", on_click=_ask_sample, args=(name, path)
    )


def _samples(folder: Path) -> dict[str, Path]:
    """Return the first pictures in a folder by their names for people."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SAMPLE_TYPES)
    return {path.stem.replace("_", " ").capitalize(): path for path in paths[:MOST_SAMPLES]}


def _follow_link(folder: Path) -> None:
    """Ask about the picture that the address bar names, once: somebody followed a link."""
    link = linked_now()
    if not link or link == st.session_state.get("linked"):
        return
    st.session_state.linked = link
    if "url" in link:
        ask(LinkedPicture(link["url"]))
    elif path := _samples(folder).get(link["sample"]):
        _ask_sample(link["sample"], path)


def _use_camera() -> None:
    st.session_state.photographing = not st.session_state.get("photographing")


def _ask_photo() -> None:
    if photo := st.session_state.photo:
        ask(PictureFile(photo.getvalue(), photo.type, say("Photo")))


def _ask_sample(name: str, path: Path) -> None:
    data, kind = path.read_bytes(), SAMPLE_TYPES[path.suffix.lower()]
    ask(PictureFile(data, kind, say(name), sample=name))


def _ask_box(limit_bytes: int) -> None:
    given = st.session_state.box
    pictures: list[Picture] = [LinkedPicture(url) for url in addresses_in(given.text)]
    pictures += [PictureFile(file.getvalue(), _kind(file.name), file.name) for file in given.files]
    if not pictures:
        refuse(say(NO_ADDRESS))
    elif len(pictures) > BATCH_LIMIT:
        refuse(say(TOO_MANY, count=len(pictures), limit=BATCH_LIMIT))
    elif len(pictures) > 1:
        ask(Batch(tuple(pictures)))
    else:
        _ask_one(pictures[0], limit_bytes)


def _ask_one(picture: Picture, limit_bytes: int) -> None:
    size = len(picture.data) if isinstance(picture, PictureFile) else 0
    if size > limit_bytes:
        sizes = {"size": mebibytes(size), "limit": mebibytes(limit_bytes)}
        refuse(say(TOO_LARGE, **{name: number(words) for name, words in sizes.items()}))
    else:
        ask(picture)


def _kind(name: str) -> str:
    """Return a file's media type; nothing hangs on it, as the backend looks at the bytes."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
