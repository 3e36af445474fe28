"""A person with a browser: real Chromium, real Streamlit, a real backend."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.shared import CASES, needs
from tests.unit import pictures

SENTENCE = re.compile("I think this is an image of an? ")
CAT = re.compile("tabby|tiger cat|Egyptian cat")

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def page_url(frontend: Callable[..., str], backend_v1_url: str) -> str:
    return frontend(backend_v1_url)


def paste(page: Page, url: str) -> None:
    """Ask about an address, by keyboard alone."""
    box = page.get_by_label("Address of a picture", exact=True)
    box.fill(url)
    box.press("Enter")


def sentence(page: Page, what: re.Pattern[str] | str = "") -> None:
    """Wait for the sentence, and for these words in it."""
    heading = page.get_by_role("heading", name=SENTENCE)
    expect(heading).to_be_visible()
    expect(heading).to_contain_text(what)


def failure(page: Page, words: str | re.Pattern[str]) -> None:
    """Wait for a failure that says this, and see that it is no traceback."""
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(words)
    expect(alert).not_to_contain_text("Traceback")


def test_a_pasted_url_is_answered_with_sentence_thumbnail_chart_and_times(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    expect(page).to_have_title("Animal Classification")
    paste(page, picture_host.url("chelsea.png"))
    sentence(page, CAT)
    thumbnail = page.get_by_role("img", name=re.compile("as the model saw it"))
    assert (thumbnail.get_attribute("src") or "").startswith("data:image/jpeg;base64,")
    labels = page.locator("[data-testid=stVegaLiteChart] text")
    expect(labels.filter(has_text="%")).to_have_count(5)
    expect(labels.filter(has_text=CAT).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"inference [\d.]+ m?s .* round trip"))).to_be_visible()
    expect(page.get_by_text("Model: efficientnet_lite0")).to_be_visible()


def test_the_address_bar_carries_the_result_and_opens_it_again(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    paste(page, picture_host.url("coffee.png"))
    sentence(page, "espresso")
    linked = open_page(page.url)
    sentence(linked, "an espresso")
    box = linked.get_by_label("Address of a picture", exact=True)
    expect(box).to_have_value(picture_host.url("coffee.png"))


def test_the_browser_talks_to_the_frontend_alone(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{page_url}?url={picture_host.url('chelsea.png')}")
    sentence(page, CAT)
    outside = [url for url in asked if not url.startswith((page_url, "data:", "blob:"))]
    assert asked
    assert outside == []


def test_an_uploaded_picture_is_answered(open_page: OpenPage, page_url: str) -> None:
    page = open_page(page_url)
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").set_input_files(pictures.path("chelsea.png"))
    sentence(page, CAT)
    expect(page.get_by_text("fetch 0 ms")).to_be_visible()


def test_an_upload_over_the_limit_is_refused_in_a_sentence(
    open_page: OpenPage, page_url: str, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(10 * 1024 * 1024 + 1))
    page = open_page(page_url)
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").set_input_files(large)
    expect(page.get_by_text("This file has 10.1 MiB; at most 10 MiB are accepted.")).to_be_visible()


@needs(CASES)
def test_what_people_sent_is_answered_or_named_on_the_page(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url)
    page.get_by_role("tab", name="Upload").click()
    answered, incomplete = (
        "I think this is an image of",
        "The end of this picture's file is missing.",
    )
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
        page.locator("input[type=file]").set_input_files(CASES / name)
        expect(page.get_by_text(expected).first).to_be_visible()
        page.get_by_role("button", name=f"Remove {name}").click()
        expect(page.get_by_text(expected)).not_to_be_visible()


def test_a_bad_url_is_refused_in_a_sentence_and_the_next_one_works(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    paste(page, "http://10.0.0.1/cat.jpg")
    failure(page, re.compile("10.0.0.1|public|allowed"))
    paste(page, picture_host.url("chelsea.png"))
    sentence(page, CAT)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_markdown_in_a_url_becomes_no_link_and_no_picture(
    open_page: OpenPage, page_url: str
) -> None:
    page = open_page(page_url)
    paste(page, "http://evil.invalid/![x](http://evil.invalid/x.png)<img src=x>")
    failure(page, re.compile("."))
    assert page.locator("a[href*=evil], img[src*=evil], img[src=x]").count() == 0


def test_many_links_give_a_table_to_download(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    page.get_by_role("tab", name="Many links").click()
    urls = [picture_host.url(name) for name in ("chelsea.png", "nothing.png", "coffee.png")]
    page.get_by_label("Addresses of pictures").fill("\n".join(urls))
    page.get_by_role("button", name="Classify all").click()
    expect(page.get_by_text("2 of 3 pictures classified")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download as CSV").click()
    with started.value.path().open() as file:
        rows = list(csv.DictReader(file))
    assert [row["url"] for row in rows] == urls
    assert CAT.search(rows[0]["answer"])
    assert "404" in rows[1]["problem"]
    assert rows[2]["answer"] == "espresso"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_answer_without_scrolling_sideways(
    open_page: OpenPage, page_url: str, scheme: str
) -> None:
    page = open_page(page_url, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.get_by_role("button", name="Cat", exact=True).click()
    sentence(page, CAT)
    expect(page.locator("[data-testid=stVegaLiteChart] text").first).to_be_visible()
    wide = "e => e.scrollWidth > e.clientWidth"
    assert not page.locator("[data-testid=stMain]").evaluate(wide)
    assert not page.locator("html").evaluate(wide)


def test_a_question_asked_while_the_backend_is_gone_is_answered_once_it_is_back(
    open_page: OpenPage,
    frontend: Callable[..., str],
    start_backend: Callable[..., Any],
    picture_host: Any,
) -> None:
    backend = start_backend()
    backend.stop()
    page = open_page(f"{frontend(backend.url)}?url={picture_host.url('chelsea.png')}")
    expect(page.get_by_text("waking up")).to_be_visible()
    start_backend(port=backend.port)
    sentence(page, CAT)
