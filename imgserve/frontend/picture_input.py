"""Where a person says which picture: an address, a file, a sample, or many addresses."""

import streamlit as st

from imgserve.contract import FORMATS
from imgserve.frontend.layout import LIMITS, UPLOAD_LIMIT_MIB
from imgserve.frontend.session import (
    SAMPLES,
    GivenPicture,
    LinkedPicture,
    ManyLinks,
    ask,
    ask_linked,
    asked,
    forget_question,
)

MANY_LIMIT = 50
FILE_ENDINGS = ["jpg", *(name.lower() for name in FORMATS)]
# Nothing is checked in the browser, whose word is easily missed: the backend says it clearly.
ANYTHING = (".*", "")


def choose_picture() -> None:
    """Draw the ways to name a picture, and remember what was asked."""
    ask_linked()
    link, upload, many = st.tabs(["Paste a link", "Upload", "Many links"])
    with link:
        _link_form()
    with upload:
        _uploader()
    with many:
        _many_form()


def offer_samples() -> None:
    """Draw the bundled pictures, each with a button that asks about it."""
    st.subheader("Or try one of these" if asked() else "No picture at hand?", anchor=False)
    row = st.container(horizontal=True, wrap=False)
    for name, path in SAMPLES.items():
        with row.container(width="stretch", gap="xsmall"):
            st.image(str(path), width="stretch", alt=f"Sample picture: {name}")
            st.button(
                name, key=f"sample_{name}", width="stretch", on_click=_ask_sample, args=(name,)
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
    st.caption(LIMITS)


def _uploader() -> None:
    st.file_uploader(
        "Picture from this device",
        key="upload",
        type=FILE_ENDINGS,
        max_upload_size=UPLOAD_LIMIT_MIB,
        on_change=_ask_upload,
    )
    st.caption(LIMITS)


def _many_form() -> None:
    with st.form("many_form", border=False):
        st.text_area(
            "Addresses of pictures, one per line",
            key="urls",
            height=150,
            placeholder="https://example.com/cat.jpg\nhttps://example.com/dog.jpg",
        )
        st.form_submit_button("Classify all", type="primary", on_click=_ask_many)
    st.caption(f"Up to {MANY_LIMIT} addresses. {LIMITS}")
    if problem := st.session_state.get("many_problem"):
        st.warning(problem)


def _ask_link() -> None:
    if url := st.session_state.url.strip():
        ask(LinkedPicture(url))


def _ask_upload() -> None:
    file = st.session_state.upload
    if file:
        ask(GivenPicture(file.getvalue(), file.type))
    elif isinstance(asked(), GivenPicture):
        forget_question()  # its picture was taken away


def _ask_sample(name: str) -> None:
    ask(GivenPicture(SAMPLES[name].read_bytes(), "image/jpeg"))


def _ask_many() -> None:
    urls = tuple(line.strip() for line in st.session_state.urls.splitlines() if line.strip())
    st.session_state.many_problem = _many_problem(len(urls))
    if not st.session_state.many_problem:
        ask(ManyLinks(urls))


def _many_problem(count: int) -> str:
    """Return what is wrong with this many addresses, or nothing."""
    if count == 0:
        return "Paste at least one address, one per line."
    if count > MANY_LIMIT:
        return f"These are {count} addresses; at most {MANY_LIMIT} go at once. Take some away."
    return ""
