"""Take the README's picture of the page: ``make screenshot``.

v1 is started as ``make run`` starts it, a person's browser picks the cat, and what it then shows
is written to ``frontend_v1/screenshot.png``.
"""

import io
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import (
    Browser,
    FloatRect,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from tools.run.services import services
from tools.run.settings import RunSettings, is_free, url
from tools.run.supervisor import Child, running

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "frontend_v1" / "screenshot.png"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SENTENCE = re.compile("I think this is an image of an? ")
START_S = 180.0  # the model may have to be compiled first
ANSWER_MS = 60_000
SETTLED_MS = 500
# CSS pixels: the page's column and its margins, and more than the answer's height.
VIEW: ViewportSize = {"width": 800, "height": 1600}
SCALE = 1.25  # makes a picture of 1000 pixels
COLOURS = 256  # a palette: a third of the bytes, and nobody sees the difference


@contextmanager
def running_page() -> Iterator[str]:
    """Have v1 on two free ports until the end of the block; yield the page's address.

    Raises:
        TimeoutError: it did not become ready.
    """
    free = filter(is_free, range(20_000, 30_000))
    settings = RunSettings(backend_port=next(free), frontend_port=next(free))
    environ = {**os.environ, "MODEL_NAME": "efficientnet_lite0"}
    with running(services(settings, environ), ROOT) as children:
        _wait_until_ready(children)
        yield url(settings.frontend_port)


def _wait_until_ready(children: list[Child]) -> None:
    deadline = time.monotonic() + START_S
    while not all(child.is_ready() for child in children):
        if time.monotonic() > deadline:
            raise TimeoutError(f"v1 was not ready within {START_S:.0f} s")
        time.sleep(0.25)


def answered_page(chromium: Browser, address: str) -> Page:
    """Return the page once it shows what the cat is.

    The cat is asked about second: the first answer also waits for what is done only once.
    """
    page = chromium.new_context(
        viewport=VIEW, device_scale_factor=SCALE, color_scheme="light", reduced_motion="reduce"
    ).new_page()
    page.goto(address)
    for sample, words in (("Espresso", "espresso"), ("Cat", "cat")):
        page.get_by_role("button", name=sample, exact=True).click()
        heading = page.get_by_role("heading", name=SENTENCE).filter(has_text=words)
        expect(heading).to_be_visible(timeout=ANSWER_MS)
    expect(page.get_by_text(re.compile("round trip"))).to_be_visible()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLED_MS)
    return page


def content(page: Page) -> FloatRect:
    """Return where the page's title, question and answer are: all that is above the samples."""
    samples = page.get_by_text("Try one of these").bounding_box()
    if samples is None:
        raise LookupError("the page shows no samples below the answer")
    return {"x": 0, "y": 0, "width": VIEW["width"], "height": samples["y"]}


def as_small_png(picture: bytes) -> bytes:
    """Return a PNG with a palette in the place of its colours."""
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB").quantize(COLOURS)
    written = io.BytesIO()
    small.save(written, "PNG", optimize=True)
    return written.getvalue()


def main() -> int:
    """Write the picture; return the exit status."""
    with running_page() as address, sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, CHROMIUM)), None)
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # for root it does not work
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        page = answered_page(chromium, address)
        PICTURE.write_bytes(as_small_png(page.screenshot(clip=content(page))))
        page.context.close()
    size_kb = PICTURE.stat().st_size / 1000
    print(f"{PICTURE.relative_to(ROOT)}: {size_kb:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
