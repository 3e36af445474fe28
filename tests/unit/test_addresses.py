"""Addresses, as people really paste them."""

import pytest

from imgserve.frontend.addresses import addresses_in

CAT, DOG = "https://example.com/cat.jpg", "https://example.com/dog_(1).jpg"


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
        ("my cat.jpg", []),
        ("cat.jpg", []),
        ("me@example.com", []),
        ("what is this?", []),
        ("", []),
    ],
)
def test_what_was_pasted_holds_these_addresses(text: str, expected: list[str]) -> None:
    assert list(addresses_in(text)) == expected
