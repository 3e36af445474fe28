"""Addresses, as people really paste them."""

import pytest

from imgserve.frontend.question import addresses_in

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SVG = "data:image/svg+xml,%3Csvg"
CAT, DOG = "https://example.com/cat.jpg", "https://example.com/dog_(1).jpg"

PATHS = [r"C:\My Pictures\c.jpg", "C:/Users/cat.jpg", r"\\server\share\c.jpg", r"\cats\cat.jpg"]
PATHS += ["../cat.jpg", "~/my cat.jpg", "/home/example.com", "file:///C:/my c.jpg"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CAT, [CAT]),
        (f"  {CAT}\n", [CAT]),
        (f"look at {CAT}!", [CAT]),
        (f'"{CAT}"', [CAT]),
        (f"«{CAT}»", [CAT]),
        (f"<{CAT}>", [CAT]),
        (f"![a cat]({CAT})", [CAT]),
        (f"[![a cat]({CAT})](https://example.com/)", [CAT, "https://example.com/"]),
        (f'<img src="{CAT}?a=1&amp;b=2" alt="a cat">', [f"{CAT}?a=1&b=2"]),
        (f"<a href={CAT}>a cat</a>", [CAT]),
        (f"{DOG}", [DOG]),
        (f"(see {DOG})", [DOG]),
        (f"[dog]({DOG})", [DOG]),
        (f"{CAT}, {DOG}", [CAT, DOG]),
        (f"{CAT}\n{DOG}\n{CAT}", [CAT, DOG]),
        ("example.com/cat.jpg", [CAT]),
        ("//example.com/cat.jpg", [CAT]),
        ("www.example.com", ["https://www.example.com"]),
        ("bücher.example/käse.png", ["https://bücher.example/käse.png"]),
        ("example.com:8080/cat.jpg", ["https://example.com:8080/cat.jpg"]),
        ("HTTP://EXAMPLE.COM/CAT.JPG", ["HTTP://EXAMPLE.COM/CAT.JPG"]),
        ("http://10.0.0.1/cat.jpg", ["http://10.0.0.1/cat.jpg"]),
        ("http://[::1]/cat.jpg", ["http://[::1]/cat.jpg"]),
        ("https://example.com/?a=1&copy=2", ["https://example.com/?a=1&copy=2"]),
        ("data:image/png;base64,AA+/==", ["data:image/png;base64,AA+/=="]),
        ('<img src="data:image/png;base64,AAAA">', ["data:image/png;base64,AAAA"]),
        ("blob:https://example.com/1234", ["blob:https://example.com/1234"]),
        ("file:///cat.jpg", ["file:///cat.jpg"]),
        ("ftp://example.com/cat.jpg", ["ftp://example.com/cat.jpg"]),
        (f"({CAT}).", [CAT]),
        (f"{CAT}.", [CAT]),
        (f"{CAT})", [CAT]),
        (f"{CAT},{DOG}", [CAT, DOG]),
        (f"{CAT}?a=1&amp;b=2", [f"{CAT}?a=1&b=2"]),
        (f"src:{CAT}", [CAT]),
        (f"url:url({CAT})", [CAT]),
        ("background:url(//example.com/cat.jpg)", [CAT]),
        (f"see ‘{CAT}’, ‚{CAT}‘, ‹{CAT}› or „{CAT}“", [CAT]),
        (f"‘{CAT}’", [CAT]),
        (f"'{CAT}', url('{CAT}')", [CAT]),
        ("https://example.com/it's.png", ["https://example.com/it's.png"]),
        ("„example.com/cat.jpg“", [CAT]),
        (f"*look at **{CAT}***", [CAT]),
        (f"_{CAT}_ or {DOG}", [CAT, DOG]),
        ("see https://e.com/a_ and https://e.com/b_", ["https://e.com/a_", "https://e.com/b_"]),
        ("https://example.com/a,http2/cat", ["https://example.com/a,http2/cat"]),
        (f"https://example.com/w_1,h_2/{CAT}", [f"https://example.com/w_1,h_2/{CAT}"]),
        ("http:/example.com/cat.jpg", ["http:/example.com/cat.jpg"]),
        ("https://example.com/metadata:cat.jpg", ["https://example.com/metadata:cat.jpg"]),
        ("https://example.com/?a=data:,b", ["https://example.com/?a=data:,b"]),
        ("my metadata:cat, form-data:cat, ?data:,cat", []),
        (f'<img src="{PIXEL}" data-src="{CAT}">', [PIXEL, CAT]),
        (f"<img src={PIXEL}>", [PIXEL]),
        (f"see {PIXEL}\nand {CAT}", [PIXEL, CAT]),
        ("data:image/jpeg;base64,//9j//AA", ["data:image/jpeg;base64,//9j//AA"]),
        ("data:image/png; base64,AA\r\n BB\nC=\nD", ["data:image/png;base64,AABBC="]),
        ("data:,AA\ndata:,BB\n\nit", ["data:,AA", "data:,BB"]),
        (f"data:,AA\n{CAT}", ["data:,AA", CAT]),
        ("data:image/png", ["data:image/png"]),
        (f"""<img src="{SVG} xmlns='http://www.w3.org/2000/svg'" data-src="{CAT}">""", [SVG, CAT]),
        *((path, [path]) for path in PATHS),
        (f'"{PATHS[0]}"', [PATHS[0]]),
        ("look at file:///C:/my c.jpg or ftp://example.com/cat.jpg", []),
        (r"look at C:\photos.de\cat.jpg, C:\photos.de/cat.jpg and ..\photos.de/cat.jpg", []),
        (f"./cat.jpg\n{CAT}", [CAT]),
        ("my cat.jpg", []),
        ("cat.jpg", []),
        ("me@example.com", []),
        ("what is this?", []),
        ("", []),
    ],
)
def test_what_was_pasted_holds_these_addresses(text: str, expected: list[str]) -> None:
    assert list(addresses_in(text)) == expected
