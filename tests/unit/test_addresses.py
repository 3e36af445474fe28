"""Addresses, as people really paste them."""

import pytest

from imgserve.frontend.question import addresses_in

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SVG = "data:image/svg+xml,%3Csvg"
CAT, DOG = "https://example.com/cat.jpg", "https://example.com/dog_(1).jpg"

# In each of these is one address, the cat's.
CATS = [CAT, f"  {CAT}\n", f"look at {CAT}!", f'"{CAT}"', f"«{CAT}»", f"<{CAT}>"]
CATS += [f"<a href={CAT}>a cat</a>", f"({CAT}).", f"{CAT}.", f"{CAT})", f"src:{CAT}", f"‘{CAT}’"]
CATS += ["example.com/cat.jpg", "//example.com/cat.jpg", "„example.com/cat.jpg“", f"url:url({CAT})"]
CATS += ["background:url(//example.com/cat.jpg)", f"see ‘{CAT}’, ‚{CAT}‘, ‹{CAT}› or „{CAT}“"]
CATS += [f"'{CAT}', url('{CAT}')", f"*look at **{CAT}***", f"./cat.jpg\n{CAT}", f"![a cat]({CAT})"]
# These are addresses as they stand, and so is a path, with or without quotes.
WHOLE = [DOG, PIXEL, "HTTP://EXAMPLE.COM/CAT.JPG", "http://10.0.0.1/cat.jpg"]
WHOLE += ["https://example.com/?a=1&copy=2", "https://example.com/it's.png", "file:///cat.jpg"]
WHOLE += ["data:image/png;base64,AA+/==", "data:image/jpeg;base64,//9j//AA", "data:image/png"]
WHOLE += ["blob:https://example.com/1234", "ftp://example.com/cat.jpg", "http:/example.com/cat.jpg"]
WHOLE += ["https://example.com/a,http2/cat", f"https://example.com/w_1,h_2/{CAT}"]
WHOLE += ["https://example.com/metadata:cat.jpg", "https://example.com/?a=data:,b", "http://[::1]/"]
WHOLE += [r"C:\My Pictures\c.jpg", "C:/Users/cat.jpg", r"\\server\share\c.jpg", r"\cats\cat.jpg"]
WHOLE += ["../cat.jpg", "~/my cat.jpg", "/home/example.com", "file:///C:/my c.jpg"]
NONE = ["my metadata:cat, form-data:cat, ?data:,cat", "my cat.jpg", "cat.jpg", "me@example.com"]
NONE += ["look at file:///C:/my c.jpg or ftp://example.com/cat.jpg", "what is this?", ""]
NONE += [r"look at C:\photos.de\cat.jpg, C:\photos.de/cat.jpg and ..\photos.de/cat.jpg"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, [CAT]) for text in CATS),
        *((text, [text]) for text in WHOLE),
        *((f'"{text}"', [text]) for text in WHOLE),
        *((text, []) for text in NONE),
        (f"[![a cat]({CAT})](https://example.com/)", [CAT, "https://example.com/"]),
        (f'<img src="{CAT}?a=1&amp;b=2" alt="a cat">', [f"{CAT}?a=1&b=2"]),
        (f"{CAT}?a=1&amp;b=2", [f"{CAT}?a=1&b=2"]),
        (f"(see {DOG})", [DOG]),
        (f"[dog]({DOG})", [DOG]),
        (f"{CAT}, {DOG}", [CAT, DOG]),
        (f"{CAT},{DOG}", [CAT, DOG]),
        (f"_{CAT}_ or {DOG}", [CAT, DOG]),
        (f"{CAT}\n{DOG}\n{CAT}", [CAT, DOG]),
        ("www.example.com", ["https://www.example.com"]),
        ("bücher.example/käse.png", ["https://bücher.example/käse.png"]),
        ("example.com:8080/cat.jpg", ["https://example.com:8080/cat.jpg"]),
        ("see https://e.com/a_ and https://e.com/b_", ["https://e.com/a_", "https://e.com/b_"]),
        ('<img src="data:image/png;base64,AAAA">', ["data:image/png;base64,AAAA"]),
        (f'<img src="{PIXEL}" data-src="{CAT}">', [PIXEL, CAT]),
        (f"<img src={PIXEL}>", [PIXEL]),
        (f"see {PIXEL}\nand {CAT}", [PIXEL, CAT]),
        ("data:image/png; base64,AA\r\n BB\nC=\nD", ["data:image/png;base64,AABBC="]),
        ("data:,AA\ndata:,BB\n\nit", ["data:,AA", "data:,BB"]),
        (f"data:,AA\n{CAT}", ["data:,AA", CAT]),
        (f"""<img src="{SVG} xmlns='http://www.w3.org/2000/svg'" data-src="{CAT}">""", [SVG, CAT]),
    ],
)
def test_what_was_pasted_holds_these_addresses(text: str, expected: list[str]) -> None:
    assert list(addresses_in(text)) == expected
