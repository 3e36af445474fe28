"""The addresses in what a person pasted: alone, quoted, in a sentence, in Markdown or HTML."""

import re

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
