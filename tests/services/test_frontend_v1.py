"""A person with a browser: real Chromium, real Streamlit, a real backend."""

import base64
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.conftest import CASES, needs
from tests.services.browser import PHONE, OpenPage, fits, hand_over, paste
from tests.unit import pictures
from tools.page_figures import faults

SENTENCE = re.compile("I think this is an image of an? ")
CAT = re.compile("tabby|tiger cat|Egyptian cat")


@pytest.fixture(scope="module")
def page_url(frontend: Callable[..., str], backend_v1_url: str) -> str:
    return frontend(backend_v1_url)


def sentence(page: Page, what: re.Pattern[str] | str) -> None:
    """Wait for the sentence, and for these words in it."""
    heading = page.get_by_role("heading", name=SENTENCE)
    expect(heading).to_be_visible()
    expect(heading).to_contain_text(what)


def click(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_pasted_url_is_answered_by_the_frontend_alone_heard_and_linked(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_url)
    expect(page).to_have_title("Animal Classification")
    status = page.get_by_role("status").and_(page.locator(".heard"))
    for name, words in (("coffee.png", re.compile("espresso, [0-9.]+%")), ("chelsea.png", CAT)):
        paste(page, picture_host.url(name))
        expect(status).to_have_text(words)
    sentence(page, CAT)
    thumbnail = page.get_by_role("img", name=re.compile("as the model saw it"))
    assert (thumbnail.get_attribute("src") or "").startswith("data:image/jpeg;base64,")
    bars = page.get_by_role("list").get_by_role("listitem").filter(has_text="%")
    expect(bars.and_(page.locator(".bars li"))).to_have_count(5)
    expect(bars.filter(has_text=CAT).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"inference [\d.]+ m?s .* round trip"))).to_be_visible()
    expect(page.get_by_text("Model: efficientnet_lite0")).to_be_visible()
    assert [url for url in asked if not url.startswith((page_url, "data:", "blob:"))] == []
    assert page_url in {url.rstrip("/") for url in asked}
    sentence(open_page(page.url), CAT)


# Hands a picture or a text over, as a mouse or a keyboard would anywhere on the page.
HAND = """([kind, text, base64]) => {
  const given = new DataTransfer();
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  if (text) given.setData("text/plain", text);
  else given.items.add(new File([bytes], "cat.png", { type: "image/png" }));
  const made = { paste: () => new ClipboardEvent(kind, { clipboardData: given, bubbles: true }),
                 drop: () => new DragEvent(kind, { dataTransfer: given, bubbles: true }) };
  document.querySelector("h1").dispatchEvent(made[kind]());
}"""


@pytest.mark.parametrize(
    ("kind", "what"), [("paste", "picture"), ("drop", "picture"), ("paste", "address")]
)
def test_what_is_pasted_or_dropped_anywhere_is_answered(
    open_page: OpenPage, page_url: str, picture_host: Any, kind: str, what: str
) -> None:
    page = open_page(page_url)
    expect(page.get_by_test_id("stChatInput")).to_be_visible()
    text = f"look at {picture_host.url('chelsea.png')}" if what == "address" else ""
    encoded = base64.b64encode(pictures.path("chelsea.png").read_bytes()).decode()
    page.evaluate(HAND, [kind, text, encoded])
    sentence(page, CAT)
    expect(page.get_by_text("fetch 0 ms")).to_have_count(0 if text else 1)


def test_a_photo_is_answered(open_page: OpenPage, page_url: str) -> None:
    page = open_page(page_url, permissions=["camera"])
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("video")).to_have_js_property("readyState", 4)  # it has a picture
    click(page, "Take Photo")
    expect(page.get_by_role("heading", name=re.compile("this is an image of"))).to_be_visible()


def test_chosen_files_are_answered_one_at_once_several_in_a_table(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url)
    hand_over(page, pictures.path("chelsea.png"))
    sentence(page, CAT)
    hand_over(page, pictures.path("coffee.png"), pictures.path("rocket.jpg"))
    expect(page.get_by_role("heading", name="2 of 2 pictures classified")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="coffee.png")).to_contain_text("espresso")
    expect(page.locator(".strip li")).to_have_count(3)


def test_a_sample_can_be_linked_looked_into_and_is_in_the_strip_until_that_is_cleared(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url, permissions=["clipboard-read", "clipboard-write"])
    click(page, "Espresso")
    sentence(page, "espresso")
    click(page, "Copy the link to this answer")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    sentence(open_page(page.evaluate("navigator.clipboard.readText()")), "an espresso")
    click(page, "Where did it look?")
    # The cup stands above the middle of the bundled picture.
    expect(page.get_by_role("img", name="It depends most on the top.")).to_be_visible()
    click(page, "Cat")
    sentence(page, CAT)
    shown = page.locator("ul.strip").get_by_role("listitem")
    expect(shown).to_have_count(2)
    expect(shown.last).to_contain_text("espresso")
    with page.expect_download() as started:
        click(page, "Download all as CSV")
    assert re.findall("^(Espresso|Cat),", started.value.path().read_text(), re.MULTILINE)
    click(page, "Clear")
    expect(page.get_by_role("heading", name="So far")).to_be_hidden()


@pytest.mark.parametrize(("width", "theme"), [("desk", "light"), ("phone", "dark")])
def test_nothing_on_the_page_stands_in_peoples_way(
    browser: Browser, page_url: str, width: str, theme: str
) -> None:
    """As far as axe-core finds it, in every state; ``tools.page_figures`` tries all pairs."""
    assert list(faults(browser, page_url, width, theme)) == []


# What has the focus, and whether it can be seen.
STOP = """() => {
  const { x, y, width, height } = document.activeElement.getBoundingClientRect();
  const { opacity, visibility } = getComputedStyle(document.activeElement);
  const said = document.activeElement.innerText || document.activeElement.ariaLabel;
  if (document.activeElement === document.body) return ["", true];
  return [said, width * height > 0 && opacity > 0 && visibility === "visible"];
}"""


def test_by_keyboard_alone_every_stop_is_seen(open_page: OpenPage, page_url: str) -> None:
    page = open_page(page_url)
    page.get_by_test_id("stChatInput").wait_for()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Cat":
            break
    page.keyboard.press("Enter")
    sentence(page, CAT)
    page.evaluate("document.activeElement.blur()")
    stops = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        stops.add(tuple(page.evaluate(STOP)))
    assert [said for said, is_seen in stops if not is_seen] == []
    assert len(stops) > 8


def test_a_french_browser_is_answered_in_french(open_page: OpenPage, page_url: str) -> None:
    page = open_page(page_url, locale="fr-CA")
    click(page, "Expresso")
    heading = page.get_by_role("heading", name="Je pense que cette image montre : espresso")
    expect(heading).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    click(page, "English")
    sentence(page, "an espresso")
    expect(page.locator("html")).to_have_attribute("lang", "en")


@needs(CASES)
def test_what_people_sent_is_answered_or_named_on_the_page(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url)
    answered = "I think this is an image of"
    incomplete = "The end of this picture's file is missing."
    unusual = "coded in a way that browsers do not show"
    words = {
        **dict.fromkeys(("cat.jfif", "exif_orientation_6.avif", "photo.avif"), answered),
        **dict.fromkeys(("phone_8160x6144.jpg", "png_bad_crc_pHYs.png"), answered),
        "png_iTXt_1_5MiB.png": answered,
        **dict.fromkeys(("jpeg_no_eoi.jpg", "png_idat_cut_20.png"), incomplete),
        "progressive_minus_30pct.jpg": incomplete,
        "page_comment_first.html": "This is a web page (HTML), not a picture",
        **dict.fromkeys(("slow-50-kB.jpg", "slow-601-bytes.jpg"), unusual),
    }
    assert {*words} == {path.name for path in CASES.iterdir()}
    for name, expected in words.items():
        hand_over(page, CASES / name)
        expect(page.get_by_test_id("stMain").get_by_text(expected)).to_be_visible()
        paste(page, "nothing")
        expect(page.get_by_test_id("stMain").get_by_text(expected)).not_to_be_visible()


def test_a_bad_url_is_refused_in_a_sentence_without_link_or_picture_and_the_next_one_works(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    paste(page, "http://10.0.0.1/cat.jpg")
    expect(alert := page.get_by_role("alert")).to_contain_text(re.compile("public|allowed"))
    paste(page, "http://evil.invalid/[x]/<img src=x>")
    expect(alert).to_contain_text("Evil.invalid was not found")
    assert page.locator("a[href*=evil], img[src*=evil], img[src=x]").count() == 0
    paste(page, picture_host.url("chelsea.png"))
    sentence(page, CAT)
    expect(alert).to_have_count(0)


def test_a_phone_shows_sentence_and_bar_without_scrolling(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url, viewport=PHONE)
    click(page, "Cat")
    sentence(page, CAT)
    lowest = [page.locator(part).first.bounding_box() for part in ("h2", ".bars li")]
    assert all(box and box["y"] + box["height"] < PHONE["height"] for box in lowest)
    assert fits(page)


# --- the README's picture of the page ------------------------------------------------------------

# CSS pixels: the page's column and its margins, and more than the answer's height.
VIEW = {"width": 800, "height": 1600}
SCALE = 1.25  # makes a picture of 1000 pixels
COLOURS = 256  # a palette: a third of the bytes, and nobody sees the difference
SETTLED_MS = 500


def test_a_picture_of_the_page_is_taken(open_page: OpenPage, page_url: str, root: Path) -> None:
    """``make screenshot`` writes it, by SCREENSHOT, to its file."""
    view = {"viewport": VIEW, "device_scale_factor": SCALE, "color_scheme": "light"}
    page = open_page(page_url, reduced_motion="reduce", **view)
    click(page, "Espresso")
    sentence(page, "espresso")  # the first answer also waits for what is done only once
    click(page, "Cat")
    sentence(page, CAT)
    expect(page.get_by_text(re.compile("round trip"))).to_be_visible()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLED_MS)
    samples = page.get_by_text("Try one of these").bounding_box()
    assert samples
    above = {"x": 0, "y": 0, "width": VIEW["width"], "height": samples["y"]}
    taken = io.BytesIO()
    with Image.open(io.BytesIO(page.screenshot(clip=above))) as picture:
        picture.convert("RGB").quantize(COLOURS).save(taken, "PNG", optimize=True)
        assert picture.width == 1000
        assert 700 < picture.height < 1300
    assert len(taken.getvalue()) < 200_000
    if path := os.environ.get("SCREENSHOT"):
        (root / path).write_bytes(taken.getvalue())
