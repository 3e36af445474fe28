"""What a page weighs, how soon it answers, and what stands in people's way.

``python -m tools.page_figures http://127.0.0.1:8501``, of a page that runs (``make run``):
accessibility faults by axe-core in each state, bytes of the first visit, seconds over fast 3G,
and where on a phone the answer begins. docs/page.md has what came of it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tools.rehearsal.host import CHROMIUM, find

# As WebPageTest has it: 1.6 megabits a second, 0.15 s there and back.
FAST_3G = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 768e3 / 8}
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")
SERIOUS = {"serious", "critical"}
LIMIT_MS = 60_000
ANSWERS = 9
BOX = "[data-testid=stChatInputTextArea]"
BAR = ".bars li"


def show_answer(page: Page) -> None:
    """Ask about the first sample."""
    page.get_by_role("button", name="Cat", exact=True).click()
    page.wait_for_selector(BAR, timeout=LIMIT_MS)


def show_code(page: Page) -> None:
    """Open what stands folded below an answer."""
    show_answer(page)
    page.get_by_text("Use it from code").click()


def show_what_comes_of(urls: str, role: Literal["alert", "table"]) -> Callable[[Page], None]:
    """Return what asks about pictures that cannot be there, and waits for what is then shown."""

    def show(page: Page) -> None:
        page.locator(BOX).fill(urls)
        page.locator(BOX).press("Enter")
        page.get_by_role(role).wait_for(timeout=LIMIT_MS)

    return show


STATES: dict[str, Callable[[Page], None]] = {
    "empty": lambda _: None,
    "answer": show_answer,
    "code": show_code,
    "failure": show_what_comes_of("http://10.0.0.1/cat.jpg", "alert"),
    "table": show_what_comes_of("http://10.0.0.1/1.jpg http://10.0.0.1/2.jpg", "table"),
}


def faults(page: Page) -> list[str]:
    """Return the serious faults that axe-core finds on a page as it stands."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:120]}"
        for fault in found
        if fault["impact"] in SERIOUS
    ]


def open_page(browser: Browser, url: str, width: str, theme: str) -> Page:
    """Open a page as a new person, and wait until it can be used."""
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(viewport=size, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(BOX, timeout=LIMIT_MS)
    return page


def all_faults(browser: Browser, url: str) -> Iterator[str]:
    """Yield the serious faults of every state, width and theme."""
    for width, theme, (name, show) in product(WIDTHS, THEMES, STATES.items()):
        page = open_page(browser, url, width, theme)
        show(page)
        page.wait_for_timeout(500)  # what moves comes to rest
        yield from (f"{width}, {theme}, {name}: {fault}" for fault in faults(page))
        page.context.close()


def first_visit(context: BrowserContext, url: str) -> tuple[int, float, float]:
    """Return a first visit's bytes on the wire, seconds until usable, and from click to bars."""
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    session.send("Network.emulateNetworkConditions", {"offline": False, **FAST_3G})
    began = time.monotonic()
    page.goto(url)
    page.get_by_role("button", name="Cat", exact=True).wait_for(timeout=LIMIT_MS)
    usable = time.monotonic()
    show_answer(page)
    return round(sum(received)), usable - began, time.monotonic() - usable


def seconds_to_answer(browser: Browser, url: str) -> list[float]:
    """Return how long answers take from a click, once the first is over."""
    page = open_page(browser, url, "desk", "light")
    show_answer(page)
    taken = []
    for number in range(ANSWERS):
        name, words = (("Espresso", "espresso"), ("Cat", "cat"))[number % 2]
        began = time.monotonic()
        page.get_by_role("button", name=name, exact=True).click()
        page.get_by_role("heading", level=2, name=words).first.wait_for(timeout=LIMIT_MS)
        taken.append(time.monotonic() - began)
    return taken


def figures(browser: Browser, url: str) -> Iterator[str]:
    """Yield what was measured, a line each."""
    size, usable, bars = first_visit(browser.new_context(), url)
    yield f"first visit: {size / 1e6:.2f} MB; fast 3G: usable after {usable:.1f} s"
    yield f"fast 3G: first bars {bars:.2f} s after the click"
    page = open_page(browser, url, "phone", "light")
    show_answer(page)
    boxes = (page.locator(part).first.bounding_box() or {"y": -1} for part in ("h2", BAR))
    yield "sentence at y = {:.0f}, first bar at y = {:.0f}".format(*(box["y"] for box in boxes))
    taken = seconds_to_answer(browser, url)
    spread = f"({min(taken):.3f} to {max(taken):.3f})"
    yield f"click to answer: {statistics.median(taken):.3f} s {spread}"


def main(arguments: list[str]) -> int:
    """Print the figures; return 1 where there are serious faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of a page that runs")
    url = parser.parse_args(arguments).url
    with sync_playwright() as playwright:
        # As root, Chromium's own sandbox does not work.
        browser = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=["--no-sandbox"])
        found = list(all_faults(browser, url))
        sys.stdout.write("\n".join([*figures(browser, url), *found, ""]))
        sys.stdout.write(f"{len(found)} serious faults by axe-core\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
