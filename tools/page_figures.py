"""What a page weighs, how soon it answers, and what stands in people's way.

``python -m tools.page_figures http://127.0.0.1:8501``, of a page that runs (``make run``):
accessibility faults by axe-core in each state, bytes of the first visit, seconds over fast 3G and
to an answer. docs/page.md has what came of it.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tools.rehearsal.host import CHROMIUM, find

# As WebPageTest has it: 1.6 megabits a second, 0.15 s there and back.
FAST_3G = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 768e3 / 8}
WIDTHS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
THEMES = ("light", "dark")
LIMIT_MS = 60_000
ANSWERS = 9
BOX = "[data-testid=stChatInputTextArea]"
BAR = ".bars li"


def click(page: Page, sample: str = "Cat", then: str = BAR) -> float:
    """Ask about a sample, and return how many seconds it takes until something shows."""
    began = time.monotonic()
    page.get_by_role("button", name=sample, exact=True).click()
    page.wait_for_selector(then, timeout=LIMIT_MS)
    return time.monotonic() - began


def show_code(page: Page) -> None:
    click(page)
    page.get_by_text("Use it from code").click()


def ask(page: Page, urls: str, then: str) -> None:
    page.locator(BOX).fill(urls)
    page.locator(BOX).press("Enter")
    page.wait_for_selector(then, timeout=LIMIT_MS)


STATES: dict[str, Callable[[Page], object]] = {
    "empty": lambda _: None,
    "answer": click,
    "code": show_code,
    "failure": lambda page: ask(page, "http://10.0.0.1/cat.jpg", "[role=alert]"),
    "table": lambda page: ask(page, "http://10.0.0.1/1.jpg http://10.0.0.1/2.jpg", "table"),
}


def open_page(browser: Browser, url: str, width: str, theme: str) -> Page:
    """Open a page as a new person, and wait until it can be used."""
    page = browser.new_page(viewport=WIDTHS[width], color_scheme=theme)  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(BOX, timeout=LIMIT_MS)
    return page


def faults(browser: Browser, url: str, width: str, theme: str) -> Iterator[str]:
    """Yield the serious faults that axe-core finds in every state of a page."""
    for state, show in STATES.items():
        page = open_page(browser, url, width, theme)
        show(page)
        page.wait_for_timeout(500)  # what moves comes to rest
        for fault in Axe().run(page).response["violations"]:
            if fault["impact"] in {"serious", "critical"}:
                yield f"{width}, {theme}, {state}: {fault['id']}: {fault['nodes'][0]['html'][:120]}"
        page.close()


def first_visit(browser: Browser, url: str) -> tuple[float, float, float]:
    """Return a first visit's bytes on the wire, seconds until usable, and from click to bars."""
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    session.send("Network.emulateNetworkConditions", {"offline": False, **FAST_3G})
    began = time.monotonic()
    page.goto(url)
    page.get_by_role("button", name="Cat", exact=True).wait_for(timeout=LIMIT_MS)
    usable_s = time.monotonic() - began
    bars_s = click(page)
    return sum(received), usable_s, bars_s


def figures(browser: Browser, url: str) -> Iterator[str]:
    """Yield what was measured, a line each."""
    size, usable_s, bars_s = first_visit(browser, url)
    yield f"first visit: {size / 1e6:.2f} MB; fast 3G: usable after {usable_s:.1f} s"
    yield f"fast 3G: first bars {bars_s:.2f} s after the click"
    page = open_page(browser, url, "desk", "light")
    click(page)  # the first also waits for what is done only once
    samples = [("Espresso", "h2:has-text('espresso')"), ("Cat", "h2:has-text('cat')")] * ANSWERS
    taken = [click(page, *sample) for sample in samples[:ANSWERS]]
    spread = f"({min(taken):.3f} to {max(taken):.3f})"
    yield f"click to answer: {statistics.median(taken):.3f} s {spread}"


def main(url: str) -> int:
    """Print the figures; return 1 where there are serious faults."""
    with sync_playwright() as playwright:
        # As root, Chromium's own sandbox does not work.
        browser = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=["--no-sandbox"])
        found = [line for pair in product(WIDTHS, THEMES) for line in faults(browser, url, *pair)]
        sys.stdout.write("\n".join([*figures(browser, url), *found, ""]))
        sys.stdout.write(f"{len(found)} serious faults by axe-core\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if sys.argv[1:] else __doc__)
