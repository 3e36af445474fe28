"""Where a person says which picture: an address, a file, a sample, or many addresses."""

from pathlib import Path

import streamlit as st

from imgserve.contract import FORMATS_IN_WORDS
from imgserve.frontend.session import (
    Batch,
    LinkedPicture,
    PictureFile,
    ask,
    current_question,
    follow_link,
    forget_question,
)
from imgserve.units import mebibytes

BATCH_LIMIT = 50
# What the page takes from a device, to say itself what is wrong with it; Streamlit would only mark
# the file and explain in a tooltip.
UPLOAD_MIB = 64
MOST_SAMPLES = 6
SAMPLE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
# Nothing is checked in the browser, whose word is easily missed: the backend says it clearly.
ANYTHING = (".*", "")


def choose_picture(limit_bytes: int) -> None:
    """Draw the ways to name a picture, of at most this size, and remember what was asked."""
    follow_link()
    limits = f"{FORMATS_IN_WORDS}, up to {mebibytes(limit_bytes)}."
    link, upload, batch = st.tabs(["Paste a link", "Upload", "Many links"])
    with link:
        _link_form()
        st.caption(limits)
    with upload:
        _uploader(limit_bytes)
        st.caption(limits)
    with batch:
        _batch_form()
        st.caption(f"Up to {BATCH_LIMIT} addresses. {limits}")


def offer_samples(folder: Path) -> None:
    """Draw the pictures of a folder, each with a button that asks about it."""
    samples = sorted(path for path in folder.glob("*") if path.suffix.lower() in SAMPLE_TYPES)
    if not samples:
        return
    st.subheader(
        "Or try one of these" if current_question() else "No picture at hand?", anchor=False
    )
    row = st.container(horizontal=True, wrap=False)
    for path in samples[:MOST_SAMPLES]:
        name = path.stem.replace("_", " ").capitalize()
        with row.container(width="stretch", gap="xsmall"):
            st.image(str(path), width="stretch", alt=f"Sample picture: {name}")
            st.button(
                name, key=f"sample_{name}", width="stretch", on_click=_ask_sample, args=(path,)
            )


def _link_form() -> None:
    with st.form("link_form", border=False):
        st.text_input(
            "Address of a picture",
            key="url",
            type="url",
            placeholder="https://example.com/cat.jpg",
            validate=ANYTHING,
        )
        st.form_submit_button("Classify", type="primary", on_click=_ask_link)


def _uploader(limit_bytes: int) -> None:
    st.file_uploader(
        "Picture from this device",
        key="upload",
        max_upload_size=UPLOAD_MIB,
        on_change=_ask_upload,
        args=(limit_bytes,),
    )
    if problem := st.session_state.get("upload_problem"):
        st.warning(problem)


def _batch_form() -> None:
    with st.form("batch_form", border=False):
        st.text_area(
            "Addresses of pictures, one per line",
            key="urls",
            height=150,
            placeholder="https://example.com/cat.jpg\nhttps://example.com/dog.jpg",
        )
        st.form_submit_button("Classify all", type="primary", on_click=_ask_batch)
    if problem := st.session_state.get("batch_problem"):
        st.warning(problem)


def _ask_link() -> None:
    if url := st.session_state.url.strip():
        ask(LinkedPicture(url))


def _ask_upload(limit_bytes: int) -> None:
    file = st.session_state.upload
    st.session_state.upload_problem = ""
    if file and file.size > limit_bytes:
        forget_question()
        st.session_state.upload_problem = (
            f"This file has {mebibytes(file.size)}; at most {mebibytes(limit_bytes)} are accepted. "
            "Choose a smaller one."
        )
    elif file:
        ask(PictureFile(file.getvalue(), file.type or "application/octet-stream"))
    elif isinstance(current_question(), PictureFile):
        forget_question()  # its picture was taken away


def _ask_sample(path: Path) -> None:
    ask(PictureFile(path.read_bytes(), SAMPLE_TYPES[path.suffix.lower()]))


def _ask_batch() -> None:
    urls = tuple(line.strip() for line in st.session_state.urls.splitlines() if line.strip())
    st.session_state.batch_problem = _batch_problem(len(urls))
    if not st.session_state.batch_problem:
        ask(Batch(urls))


def _batch_problem(count: int) -> str:
    """Return what is wrong with this many addresses, or nothing."""
    if count == 0:
        return "Paste at least one address, one per line."
    if count > BATCH_LIMIT:
        return f"These are {count} addresses; at most {BATCH_LIMIT} go at once. Take some away."
    return ""
