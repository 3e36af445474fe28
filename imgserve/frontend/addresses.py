"""The addresses in what a person pasted: alone, quoted, in a sentence, in Markdown or HTML."""

import re

# A scheme, or a host's name before a path. Markdown, HTML and quotes end an address.
_ADDRESS = re.compile(
    r"""(?:https?:)?//[^\s<>"'`«»“”]+  # also as a page writes it, without its scheme
    |(?<![\w/@.:-])(?:[\w-]+\.)+[^\W\d_]{2,}(?::\d+)?/[^\s<>"'`«»“”]+  # example.com/cat.jpg
    |(?<![\w/@.:-])www\.[^\s<>"'`«»“”]+""",
    re.VERBOSE | re.IGNORECASE,
)
_DATA = re.compile(r"data:[^\s\"'<>)]+", re.IGNORECASE)
_ANY_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)
_ENDS = ".,;:!?*_|"
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def addresses_in(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, in their order, each once.

    >>> addresses_in('look at ![a cat](example.com/cat.jpg), or "https://example.com/dog_(1).jpg".')
    ('https://example.com/cat.jpg', 'https://example.com/dog_(1).jpg')

    What is one word with some other scheme is an address too: the backend says what is wrong.
    """
    text = text.strip().strip("<>\"'`")
    if data := _DATA.findall(text):
        return tuple(dict.fromkeys(data))
    if _ANY_SCHEME.fullmatch(text) and not re.match(r"[\w.-]+:\d", text):
        return (text,)
    apart = text.replace("&amp;", "&").replace("](", "] (")  # HTML's ampersand, Markdown's links
    found = (_whole(match) for match in _ADDRESS.findall(apart))
    return tuple(dict.fromkeys(filter(None, found)))


def _whole(found: str) -> str:
    """Return an address without what follows it in a sentence, and with its scheme."""
    while found and (found[-1] in _ENDS or _closes_more(found)):
        found = found[:-1]
    if found.startswith("//"):
        return f"https:{found}"
    return found if re.match(r"https?://", found, re.IGNORECASE) else f"https://{found}"


def _closes_more(found: str) -> bool:
    """Return whether the last character is a bracket that was opened before the address."""
    opening = _BRACKETS.get(found[-1])
    return opening is not None and found.count(found[-1]) > found.count(opening)
