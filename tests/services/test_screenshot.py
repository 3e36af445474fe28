"""The README's picture can be taken at any time: ``make screenshot``."""

import io
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Browser

from tests import screenshot


def test_the_picture_is_taken_of_a_page_that_answers(
    browser: Browser, frontend: Callable[..., str], backend_v1_url: str
) -> None:
    page = screenshot.answered_page(browser, frontend(backend_v1_url))
    try:
        taken = screenshot.as_small_png(page.screenshot(clip=screenshot.content(page)))
    finally:
        page.context.close()
    with Image.open(io.BytesIO(taken)) as picture:
        assert (picture.format, picture.width) == ("PNG", 1000)
        assert 700 < picture.height < 1300
    assert len(taken) < 200_000
