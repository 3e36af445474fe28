"""The page, run by Streamlit's own test runner, with the backend's answers chosen by each test."""

import io
import re
import shlex
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from imgserve import errors
from imgserve.frontend import asking, question
from imgserve.frontend.asking import ASLEEP, BUSY, SLOW_HOST, Asking
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import Failure
from imgserve.frontend.outcomes import Row, as_csv
from imgserve.frontend.question import BATCH_LIMIT, MOST_SAMPLES, UPLOAD_MIB
from imgserve.settings import BackendSettings, FrontendSettings
from imgserve.units import MIB
from tests.unit.page_driver import DOG, INCOMPLETE, THUMBNAIL, URL, Page, answer

SAMPLES = {path.stem.capitalize(): path for path in FrontendSettings().samples_dir.glob("*.jpg")}
NOT_A_PICTURE = errors.RequestRefused("not a picture", "unsupported-format", 415)
BUSY_ERROR = errors.BackendBusy("queue")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, root: Path) -> Page:
    return Page(root / "frontend_v1", monkeypatch)


def test_an_empty_page_and_an_empty_box_say_what_to_do_and_ask_nothing(page: Page) -> None:
    page.query["sample"] = "Dog"  # which is not there
    words = page.run()
    assert page.app.title[0].value == "Animal Classification"
    assert "Show me a picture" in words
    assert "JPEG, PNG, WebP, GIF, BMP, AVIF, TIFF, up to 10 MiB" in words
    assert "No picture at hand?" in words
    assert "There is no picture and no address in this" in page.submit("my cat")
    assert page.backend.pictures == []
    assert "There is no picture" not in page.submit(URL)


def test_a_pasted_url_is_answered_shown_heard_and_kept_in_the_address(page: Page) -> None:
    words = page.submit(f" {URL} ")
    assert page.header == "I think this is an image of a tabby"
    assert re.findall('data-announce="(.*?)"', page.html) == [f"{page.header}, 75.0%"]
    assert "Model: resnet152" in words
    times = "fetch 1 ms · decode 2 ms · preprocess 3 ms · inference 4 ms · total 1.2 s"
    assert f"{times} · round trip 10 ms" in words
    assert re.findall('<img src="([^"]*)" alt="([^"]*)"', page.html) == [
        (THUMBNAIL, "The picture as the model saw it, probably tabby")
    ]
    bars = re.findall('<li><span>(.*?)</span> <span>(.*?)</span>.*?width:(.*?)"', page.html)
    assert bars == [("tabby", "75.0%", "75.0%"), ("lynx", "&lt;0.1%", "0.0%")]
    assert page.backend.pictures == [URL]
    assert page.query["url"] == URL


@pytest.mark.parametrize("thumbnail", ["/etc/passwd", "http://evil.test/x.jpg", None])
def test_what_is_no_jpeg_and_names_from_outside_become_no_html(
    page: Page, thumbnail: str | None
) -> None:
    page.backend.usual = answer(category='<img src=x>"', thumbnail=thumbnail)
    page.submit(URL)
    assert page.header == 'I think this is an image of a <img src=x>"'
    assert "<img" not in page.html


def test_a_backend_that_names_only_a_category_is_shown_in_a_sentence_without_a_chart(
    page: Page,
) -> None:
    page.backend.usual = answer(category="otter", predictions=[], thumbnail=None)
    page.submit(URL)
    assert page.header == "I think this is an image of an otter"
    assert "<li>" not in page.html
    page.submit(f"{URL} {DOG}")
    assert page.rows[1] == [URL, "otter", "-"]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_sample_is_sent_as_an_upload_and_has_a_link(page: Page, root: Path, name: str) -> None:
    page.submit(URL)
    page.click(name)
    assert page.query == {"sample": name}
    other = Page(root / "frontend_v1", page.patch, page.backend)
    other.query["sample"] = name
    other.run()
    other.run()
    assert page.backend.pictures[1:] == [SAMPLES[name].read_bytes()] * 2


def test_the_page_has_the_title_and_the_samples_that_it_is_given(
    page: Page, tmp_path: Path
) -> None:
    for name in (*(f"p{number}.PNG" for number in range(MOST_SAMPLES + 1)), "notes.txt"):
        (tmp_path / name).write_bytes(SAMPLES["Cat"].read_bytes())
    page.patch.setenv("PAGE_TITLE", "Pets & co.")
    page.patch.setenv("SAMPLES_DIR", str(tmp_path))
    page.run()
    assert page.app.title[0].value == "Pets & co."
    assert len(page.app.get("image")) == MOST_SAMPLES
    page.patch.setenv("SAMPLES_DIR", str(tmp_path / "nowhere"))
    assert "No picture at hand?" not in page.run()


def test_samples_are_credited_and_sent_as_small_as_they_are_shown(
    root: Path, tmp_path: Path
) -> None:
    credit = (root / "imgserve" / "samples" / "CREDITS.md").read_text()
    for path in SAMPLES.values():
        assert path.stat().st_size < 50_000
        assert f"`{path.name}`" in credit
    Image.effect_noise((3000, 2000), 50).save(photo := tmp_path / "photo.png")
    shown = question._shown(photo)
    assert len(shown) < 50_000 < photo.stat().st_size
    assert Image.open(io.BytesIO(shown)).size == (320, 213)
    Image.new("RGBA", (8, 8), "#0000").save(clear := tmp_path / "clear.png")
    seen_through = Image.open(io.BytesIO(question._shown(clear))).convert("RGBA")
    assert seen_through.getpixel((4, 4))[3] == 0


def test_files_and_addresses_are_taken_together(page: Page) -> None:
    page._opened().chat_input[0].set_value(f"these: {URL} and {DOG}")
    assert "4 of 4 pictures classified" in page.upload(b"one", b"two")
    assert set(page.backend.pictures) == {URL, DOG, b"one", b"two"}
    assert [row[0] for row in page.rows[1:]] == [URL, DOG, "cat.png", "cat.png"]


def test_a_file_of_any_name_is_sent_and_one_byte_over_the_limit_is_refused(page: Page) -> None:
    page.patch.setenv("MAX_IMAGE_BYTES", str(2 * MIB))
    assert "tabby" in page.upload(bytes(2 * MIB), name="cat.txt")
    assert page.app.chat_input[0].proto.file_type == []
    assert page.query == {}
    words = page.upload(bytes(2 * MIB + 1))
    assert "This file has 2.1 MiB; at most 2 MiB are accepted. Choose a smaller one." in words
    assert "tabby" not in words
    assert len(page.backend.pictures) == 1
    assert "This file" not in page.upload(b"small")


def test_a_picture_that_is_its_own_address_stays_out_of_the_address_bar(page: Page) -> None:
    assert "tabby" in page.submit("data:image/png;base64,AAAA")
    assert page.backend.pictures == ["data:image/png;base64,AAAA"]
    assert page.query == {}
    assert page.code == []


def test_a_picture_that_lacks_its_end_is_called_incomplete(page: Page) -> None:
    page.backend.answers = {URL: answer(incomplete=True)}
    assert INCOMPLETE in page.submit(URL)
    assert INCOMPLETE not in page.submit(DOG)
    page.submit(f"{URL} {DOG}")
    assert [row[1] for row in page.rows[1:]] == ["tabby (incomplete)", "tabby"]


def refused(detail: str, slug: str, status: int = 502) -> errors.RequestRefused:
    return errors.RequestRefused(detail, slug, status)


@pytest.mark.parametrize(
    ("error", "sentence", "again"),
    [
        (errors.BackendUnreachable("http://inner.host refused"), "cannot be reached", True),
        (errors.BackendNotReady("loading"), "still waking up", True),
        (BUSY_ERROR, "busy right now", True),
        (errors.BackendTimeout("slow"), "took too long", True),
        (errors.CallerNotAllowed("inner answered 403"), "may not call its classifier", False),
        (errors.IdentityUnavailable("no ID token: inner"), "could not show its classifier", True),
        (NOT_A_PICTURE, "Not a picture.", False),
        (refused("the host is gone!", "picture-host-failed"), "The host is gone", True),
        (refused("no such file", "picture-host-refused"), "No such file.", False),
        (refused("wait 5 seconds", "picture-host-busy"), "Wait 5 seconds.", True),
        (refused("no weights", "model-unavailable", 503), "No weights.", True),
    ],
)
def test_every_failure_is_a_sentence_and_trying_again_recovers(
    page: Page, caplog: pytest.LogCaptureFixture, error: Exception, sentence: str, again: bool
) -> None:
    page.backend.answers = {URL: [error, answer()]}
    words = page.submit(URL)
    assert sentence in words
    assert "inner" not in words
    assert str(error) in caplog.text
    assert again == ("Try again" in page.buttons)
    if again:
        assert "tabby" in page.click("Try again")


@pytest.mark.parametrize(
    ("more", "words"), [("", "a tabby"), (f" {DOG}", "2 of 2 pictures classified")]
)
def test_a_waking_backend_is_waited_for(page: Page, more: str, words: str) -> None:
    page.patch.setenv("WAKE_TIMEOUT_S", "30")
    page.backend.answers = {URL: [errors.BackendNotReady("loading"), answer()]}
    assert words in page.submit(URL + more)
    assert page.backend.pictures[:2] == [URL, URL]


@pytest.mark.parametrize(("ready", "model"), [(True, None), (True, "small"), (False, None)])
def test_who_is_slow_is_said_while_a_long_silence_lasts(
    monkeypatch: pytest.MonkeyPatch, ready: bool, model: str | None
) -> None:
    asked: list[str | None] = []
    shown: list[str] = []
    monkeypatch.setattr(asking, "NOTICE_AFTER_S", 0.0)
    monkeypatch.setattr(asking, "NOTICE_EVERY_S", 0.05)
    backend: Any = SimpleNamespace(is_ready=lambda model: asked.append(model) or ready)
    place: Any = SimpleNamespace(html=shown.append)
    for picture, words in ((Picture(URL), SLOW_HOST), (Picture(), BUSY)):
        one = Asking([picture], backend, place, 1, model)
        assert one.ask_one(lambda: time.sleep(0.2) or "answer") == "answer"
        assert (words if ready else ASLEEP) in shown[-1]
    assert len(shown) > 2
    assert set(asked) == {model}


def test_a_setting_that_cannot_be_used_is_named_in_the_log_only(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    page.patch.setenv("SERVING_URL", "ftp://secret")
    words = page.run()
    assert "not set up correctly" in words
    assert "SERVING" not in words
    assert "secret" not in words
    assert "SERVING_URL='ftp://secret'" in caplog.text
    page.query["lang"] = "fr"
    assert "mal réglée" in page.run()


def test_many_links_give_a_row_each_failures_included(page: Page) -> None:
    page.backend.answers = {"https://a.test/": NOT_A_PICTURE, "https://c.test/": BUSY_ERROR}
    words = page.submit("https://a.test/\n\n https://b.test/ \nhttps://c.test/\n")
    assert "1 of 3 pictures classified" in words
    assert page.rows == [
        ["Picture", "Answer", "Probability"],
        ["https://a.test/", "⚠ Not a picture.", ""],
        ["https://b.test/", "tabby", "75.0%"],
        ["https://c.test/", "⚠ The classifier is busy right now. Try again in a few seconds.", ""],
    ]


def test_many_links_without_a_backend_are_one_failure(page: Page) -> None:
    page.backend.usual = errors.BackendUnreachable("refused")
    assert "cannot be reached" in page.submit(f"{URL} {DOG}")
    assert page.backend.pictures == [URL]


@pytest.mark.parametrize(("count", "refused"), [(BATCH_LIMIT, False), (BATCH_LIMIT + 1, True)])
def test_as_many_links_as_the_limit_are_asked_and_one_more_are_not(
    page: Page, count: int, refused: bool
) -> None:
    words = page.submit(" ".join(f"https://a.test/{number}" for number in range(count)))
    assert refused == (f"{count} pictures; at most {BATCH_LIMIT}" in words)
    assert len(page.backend.pictures) == (0 if refused else count)


def test_the_download_has_every_column_and_no_formula() -> None:
    failed = Row.of(Picture("=cmd()"), Failure("@bad."))
    rows = as_csv([failed, Row.of(Picture(URL), Answered(answer(), 12.3))]).decode()
    assert rows.splitlines() == [
        "picture,answer,probability,model,milliseconds,problem,incomplete",
        "'=cmd(),,,,,'@bad.,False",
        f"{URL},tabby,0.75,resnet152,12,,False",
    ]


def test_upload_limits_agree_with_each_other_and_with_the_backend(root: Path) -> None:
    config = tomllib.loads((root / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] == UPLOAD_MIB
    most = BackendSettings().max_image_bytes
    assert most == FrontendSettings().max_image_bytes < UPLOAD_MIB * MIB
    assert "enableXsrfProtection" not in config["server"]


# --- what can be done with an answer -------------------------------------------------------------


def test_where_the_model_looked_is_asked_once_more_and_laid_over_the_picture(page: Page) -> None:
    page.submit(URL)
    shares = [[0.0] * 8 for _ in range(8)]
    shares[7][0] = 1.0
    page.backend.answers = {URL: answer(explanation=shares)}
    words = page.click("Where did it look?")
    assert page.backend.explained == 1
    assert "It depends most on the lower left." in words
    assert 'class="map" src="data:image/png;base64,' in page.html
    assert "Where did it look?" not in page.buttons
    page.submit(DOG)
    assert page.backend.explained == 1
    page.patch.setenv("EXPLAIN", "0")
    page.run()
    assert "Where did it look?" not in page.buttons


def test_an_answer_can_be_asked_for_from_a_program_and_only_what_has_a_link_is_copied(
    page: Page,
) -> None:
    page.submit("https://pictures.test/it's.png")
    sent = ["--json", '{"url": "https://pictures.test/it\'s.png"}']
    assert shlex.split(page.code[0]) == ["curl", "http://backend.test/predict", *sent]
    compile(page.code[1], "it", "exec")
    assert "Copy the link" in page.html
    page.upload(b"picture", name="my cat.png")
    assert shlex.split(page.code[0])[2:] == ["-F", "image=@my cat.png"]
    compile(page.code[1], "it", "exec")
    assert "Copy the link" not in page.html


def test_what_was_asked_before_is_a_strip_until_it_is_cleared(page: Page) -> None:
    assert "So far" not in page.submit(URL)
    page.backend.usual = answer(category="otter")
    assert "So far" in page.upload(b"picture")
    assert page.strip == ["otter 75.0%", "tabby 75.0%"]
    assert "So far" not in page.click("Clear")


# --- in French -----------------------------------------------------------------------------------


def test_the_page_speaks_french_where_the_link_or_the_person_says_so(page: Page) -> None:
    page.query["lang"] = "fr"
    words = page.submit(URL)
    assert page.header == "Je pense que cette image montre : tabby"
    assert "75,0\u202f%" in words
    assert "inférence 4 ms" in words
    page.click("English")
    assert page.header == "I think this is an image of a tabby"
    assert page.query["lang"] == "en"
    page.click("Français")
    slow = refused("the host is slow", "picture-host-timeout", 504)
    kin = answer(probability=0.45)
    kin.predictions[1:] = [*answer("tiger cat", 0.4).predictions]
    page.backend.answers = {DOG: [slow, BUSY_ERROR, kin]}
    assert "trop lent" in page.submit(DOG)
    assert "très occupé" in page.click("Réessayer")
    page.click("Réessayer")
    assert page.header == "Je pense que cette image montre : chat, tabby ou tiger cat"
