"""The README's picture of the page; ``make screenshot`` writes it, by SCREENSHOT, to its file."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect

from tests.services.browser import OpenPage

SENTENCE = re.compile("I think this is an image of an? ")
# CSS pixels: the page's column and its margins, and more than the answer's height.
VIEW: ViewportSize = {"width": 800, "height": 1600}
SCALE = 1.25  # makes a picture of 1000 pixels
COLOURS = 256  # a palette: a third of the bytes, and nobody sees the difference
SETTLED_MS = 500


def ask(page: Page, sample: str, word: str) -> None:
    page.get_by_role("button", name=sample, exact=True).click()
    expect(page.get_by_role("heading", name=SENTENCE).filter(has_text=word)).to_be_visible()


def test_the_picture_is_taken_of_a_page_that_answers(
    open_page: OpenPage, frontend: Callable[..., str], backend_v1_url: str, root: Path
) -> None:
    view = {"viewport": VIEW, "device_scale_factor": SCALE, "color_scheme": "light"}
    page = open_page(frontend(backend_v1_url), reduced_motion="reduce", **view)
    ask(page, "Espresso", "espresso")  # the first answer also waits for what is done only once
    ask(page, "Cat", "cat")
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
