"""The page, run by Streamlit's own test runner, with the backend's answers chosen by each test."""

import csv
import io
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imgserve import errors
from imgserve.frontend import messages, predict
from imgserve.frontend.answer import times
from imgserve.frontend.batch import Row, Table, classify_batch
from imgserve.frontend.charts import bar_chart
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import plain
from imgserve.frontend.picture_input import BATCH_LIMIT, MOST_SAMPLES, UPLOAD_MIB
from imgserve.frontend.predict import Answered, Patience
from imgserve.frontend.session import Batch, LinkedPicture
from imgserve.settings import BackendSettings, FrontendSettings
from imgserve.units import MIB
from tests.unit.page_driver import THUMBNAIL, URL, Page, answer, stand_between

SAMPLES = {path.stem.capitalize(): path for path in FrontendSettings().samples_dir.glob("*.jpg")}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, root: Path) -> Page:
    return Page(root / "frontend_v1", monkeypatch)


def test_an_empty_page_and_an_empty_box_say_what_to_do_and_ask_nothing(page: Page) -> None:
    words = page.run()
    assert page.app.title[0].value == "Animal Classification"
    assert "Show me a picture" in words
    assert "JPEG, PNG, WebP, GIF, BMP, AVIF or TIFF, up to 10 MiB" in words
    assert "No picture at hand?" in words
    page.submit("  ")
    assert page.backend.pictures == []


def test_a_pasted_url_is_answered_and_kept_in_the_address(page: Page) -> None:
    words = page.submit(f" {URL} ")
    assert page.header == "I think this is an image of a tabby"
    assert "Model\\: resnet152" in words
    assert "inference 4 ms" in words
    assert page.backend.pictures == [URL]
    assert page.query["url"] == URL


def test_the_thumbnail_shown_is_the_backends(page: Page) -> None:
    page.submit(URL)
    pictures = [image for element in page.elements("image") for image in element.imgs]
    assert [image.url for image in pictures].count(THUMBNAIL) == 1
    assert URL not in str(pictures)


@pytest.mark.parametrize("thumbnail", ["/etc/passwd", "http://evil.test/x.jpg", None])
def test_a_thumbnail_that_is_no_jpeg_data_is_left_out(page: Page, thumbnail: str | None) -> None:
    page.backend.usual = answer(thumbnail=thumbnail)
    words = page.submit(URL)
    assert "tabby" in words
    assert len(page.elements("image")) == len(SAMPLES)


def test_an_unlikely_answer_is_called_a_guess(page: Page) -> None:
    page.backend.usual = answer(category="otter", probability=0.1)
    page.submit(URL)
    assert page.header == "I am not sure\\, but I think this is an image of an otter"


def test_a_backend_that_names_only_a_category_is_shown_in_a_sentence_without_a_chart(
    page: Page,
) -> None:
    page.backend.usual = answer(category="otter", predictions=[], thumbnail=None)
    page.submit(URL)
    assert page.header == "I think this is an image of an otter"
    assert not page.elements("arrow_vega_lite_chart")
    row = Row.of(URL, Answered(page.backend.usual, 0.0))
    assert (row.answer, row.probability) == ("otter", None)


def test_a_link_to_a_result_fills_the_box_and_answers_once(page: Page) -> None:
    page.query["url"] = URL
    assert "tabby" in page.run()
    assert page.app.text_input(key="url").value == URL
    page.run()
    assert page.backend.pictures == [URL]


def test_going_back_to_an_earlier_link_answers_that(page: Page) -> None:
    page.submit(URL)
    page.query["url"] = "https://pictures.test/dog.png"
    page.run()
    assert page.backend.pictures == [URL, "https://pictures.test/dog.png"]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_sample_is_sent_as_an_upload(page: Page, name: str) -> None:
    page.submit(URL)
    page.click(name)
    assert page.backend.pictures[-1] == SAMPLES[name].read_bytes()
    assert "url" not in page.query


def test_the_page_has_the_title_and_the_samples_that_it_is_given(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*(f"p{number}.PNG" for number in range(MOST_SAMPLES + 1)), "notes.txt"):
        (tmp_path / name).write_bytes(SAMPLES["Cat"].read_bytes())
    monkeypatch.setenv("PAGE_TITLE", "Pets & co.")
    monkeypatch.setenv("SAMPLES_DIR", str(tmp_path))
    page.run()
    assert page.app.title[0].value == "Pets & co."
    assert len(page.elements("image")) == MOST_SAMPLES
    monkeypatch.setenv("SAMPLES_DIR", str(tmp_path / "nowhere"))
    assert "No picture at hand?" not in page.run()


def test_an_upload_is_answered_and_its_removal_empties_the_page(page: Page) -> None:
    assert "tabby" in page.upload(b"picture")
    assert page.backend.pictures == [b"picture"]
    assert "tabby" not in page.upload(None)


@pytest.mark.parametrize("name", ["cat.jfif", "cat.JPE", "cat.dib", "cat.mpo", "cat", "cat.txt"])
def test_a_file_is_taken_whatever_its_name_says(page: Page, name: str) -> None:
    assert "tabby" in page.upload(b"picture", name, "")
    assert page.app.file_uploader(key="upload").proto.type == []


def test_a_file_of_the_limit_is_sent_and_one_byte_more_is_refused_in_a_sentence(page: Page) -> None:
    page.patch.setenv("MAX_IMAGE_BYTES", str(2 * MIB))
    assert "tabby" in page.upload(bytes(2 * MIB))
    words = page.upload(bytes(2 * MIB + 1))
    assert "This file has 2.1 MiB; at most 2 MiB are accepted. Choose a smaller one." in words
    assert "tabby" not in words
    assert len(page.backend.pictures) == 1
    assert "This file" not in page.upload(b"small")


def test_a_picture_that_is_its_own_address_stays_out_of_the_address_bar(page: Page) -> None:
    assert "tabby" in page.submit("data:image/png;base64,AAAA")
    assert page.backend.pictures == ["data:image/png;base64,AAAA"]
    assert "url" not in page.query


def test_a_picture_that_lacks_its_end_is_called_incomplete(page: Page) -> None:
    page.backend.answers = {URL: answer(incomplete=True)}
    page.submit(URL)
    assert page.app.info[0].value == messages.INCOMPLETE
    page.submit("https://pictures.test/whole.png")
    assert not page.app.info
    page.submit_batch(URL)
    assert list(page.app.dataframe[0].value["answer"]) == ["tabby (incomplete)"]


def test_removing_an_upload_leaves_another_answer_alone(page: Page) -> None:
    page.upload(b"picture")
    page.submit(URL)
    assert "tabby" in page.upload(None)


FAILURES = [
    (errors.BackendUnreachable("http://inner.host refused"), "cannot be reached", True),
    (errors.BackendNotReady("loading"), "still waking up", True),
    (errors.BackendBusy("queue"), "busy right now", True),
    (errors.BackendTimeout("slow"), "took too long", True),
    (errors.RequestRefused("not a picture", "unsupported-format", 415), "Not a picture\\.", False),
    (
        errors.RequestRefused("the host is gone!", "picture-host-failed", 502),
        "The host is gone",
        True,
    ),
    (errors.RequestRefused("no such file", "picture-host-refused", 502), "No such file\\.", False),
    (errors.RequestRefused("wait 5 seconds", "picture-host-busy", 502), "Wait 5 seconds\\.", True),
    (errors.RequestRefused("no weights", "model-unavailable", 503), "No weights\\.", True),
    (errors.CallerNotAllowed("inner answered 403"), "This page may not call its classifier", False),
    (
        errors.IdentityUnavailable("no ID token: inner"),
        "could not show its classifier who it is",
        True,
    ),
]


@pytest.mark.parametrize(("error", "sentence", "again"), FAILURES)
def test_every_failure_is_a_sentence_and_trying_again_recovers(
    page: Page,
    caplog: pytest.LogCaptureFixture,
    error: errors.BackendError,
    sentence: str,
    again: bool,
) -> None:
    page.backend.answers = {URL: [error, answer()]}
    words = page.submit(URL)
    assert sentence in words
    assert "inner" not in words
    assert str(error) in caplog.text
    assert again == any(button.label == "Try again" for button in page.app.button)
    if again:
        assert "tabby" in page.click("Try again")


@pytest.mark.parametrize(
    ("ask", "words"), [(Page.submit, "tabby"), (Page.submit_batch, "1 of 1 pictures classified")]
)
def test_a_waking_backend_is_waited_for(
    page: Page, ask: Callable[[Page, str], str], words: str
) -> None:
    page.patch.setenv("WAKE_TIMEOUT_S", "30")
    page.backend.answers = {URL: [errors.BackendNotReady("loading"), answer()]}
    assert words in ask(page, URL)
    assert page.backend.pictures == [URL, URL]


def test_a_long_silence_is_explained_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "NOTICE_AFTER_S", 0.05)
    notices: list[int] = []
    patience = Patience(1, lambda: notices.append(1))
    assert patience.call(lambda: time.sleep(0.2) or "answer") == "answer"
    assert len(notices) > 1


def test_the_round_trip_is_timed_by_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_between(monkeypatch).answers = {URL: answer()}
    client = BackendClient("http://backend.test", timeout_s=1)
    answered = predict.predict(LinkedPicture(URL), client, None)
    assert (answered.answer, answered.round_trip_ms > 0) == (answer(), True)


@pytest.mark.parametrize(
    ("environ", "logged"),
    [
        ({"SERVING_URL": "ftp://secret"}, "SERVING_URL='ftp://secret'"),
        ({"SERVING_AUTH": "id-token"}, "SERVING_URL='http://backend.test'"),
    ],
    ids=["no-address", "token-in-the-open"],
)
def test_a_setting_that_cannot_be_used_is_named_in_the_log_only(
    page: Page, caplog: pytest.LogCaptureFixture, environ: dict[str, str], logged: str
) -> None:
    for name, value in environ.items():
        page.patch.setenv(name, value)
    words = page.run()
    assert "not set up correctly" in words
    assert "SERVING" not in words
    assert "secret" not in words
    assert logged in caplog.text
    assert page.backend.pictures == []


def test_many_links_give_a_row_each_failures_included(page: Page) -> None:
    page.backend.answers = {
        "https://a.test": errors.RequestRefused("not a picture", "unsupported-format", 415),
        "https://c.test": errors.BackendBusy("queue"),
    }
    words = page.submit_batch("https://a.test\n\n https://b.test \nhttps://c.test\n")
    assert "1 of 3 pictures classified" in words
    rows = page.app.dataframe[0].value
    assert list(rows["url"]) == ["https://a.test", "https://b.test", "https://c.test"]
    busy = "⚠ The classifier is busy right now."
    assert list(rows["answer"]) == ["⚠ Not a picture.", "tabby", busy]


def test_many_links_without_a_backend_are_one_failure(page: Page) -> None:
    page.backend.usual = errors.BackendUnreachable("refused")
    assert "cannot be reached" in page.submit_batch(f"{URL}\n{URL}")
    assert page.backend.pictures == [URL]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (" \n ", "Paste at least one address"),
        (f"{URL}\n" * (BATCH_LIMIT + 1), f"{BATCH_LIMIT + 1} addresses; at most {BATCH_LIMIT}"),
    ],
)
def test_none_or_too_many_links_ask_nothing(page: Page, lines: str, message: str) -> None:
    assert message in page.submit_batch(lines)
    assert page.backend.pictures == []


def test_the_download_has_every_column_and_no_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = errors.RequestRefused("@bad", "invalid-url", 400)
    stand_between(monkeypatch).answers = {"=cmd()": refused}
    client = BackendClient("http://backend.test", timeout_s=1)
    place: Any = SimpleNamespace(progress=lambda *_: None)
    table = classify_batch(Batch(("=cmd()", URL)), client, place, Patience(1, lambda: None))
    assert isinstance(table, Table)
    first, second = csv.DictReader(io.StringIO(table.csv().decode()))
    assert (first["url"], first["problem"]) == ("'=cmd()", "'@bad.")
    assert (second["url"], second["answer"], second["probability"]) == (URL, "tabby", "0.75")
    columns = ["url", "answer", "probability", "model", "milliseconds", "problem", "incomplete"]
    assert list(first) == columns


PHRASES = (
    *("a tabby", "an Egyptian cat", "a European gallinule", "a unicycle", "an umbrella"),
    *("an hourglass", "a hare", "an iPod", "sunglasses", "broccoli", "a tiger shark"),
)


@pytest.mark.parametrize("phrase", PHRASES)
def test_classes_are_named_with_the_right_article(phrase: str) -> None:
    category = re.sub("^an? ", "", phrase)
    assert (
        messages.with_article(category)
        == messages.with_article(category.replace(" ", "_"))
        == phrase
    )
    assert messages.answer_sentence(category, None).endswith(f"an image of {phrase}")


def test_times_name_every_part_and_the_round_trip() -> None:
    assert times(Answered(answer(), 1300)) == (
        "fetch 1 ms · decode 2 ms · preprocess 3 ms · inference 4 ms · total 1.2 s · "
        "round trip 1.3 s"
    )


def test_numbers_read_well() -> None:
    shares = {1: "100.0%", 0.5004: "50.0%", 0.0006: "0.1%", 0.0001: "<0.1%", 0: "0.0%"}
    assert {share: messages.percent(share) for share in shares} == shares
    assert [messages.duration(ms) for ms in (0, 12.4, 999, 1000)] == [
        "0 ms",
        "12 ms",
        "999 ms",
        "1.0 s",
    ]


def test_outside_text_becomes_no_link_and_no_picture() -> None:
    assert plain("![x](y) *a* $b$ <i>") == r"\!\[x\]\(y\) \*a\* \$b\$ \<i\>"
    assert plain("see http://evil.test/x_y now") == "see `http://evil.test/x_y` now"
    assert plain("www.evil.test me@evil.test") == "`www.evil.test` `me@evil.test`"
    assert plain("http://a`b``c") == "``` http://a`b``c ```"
    assert plain("two\nlines") == "two lines"


def test_the_chart_is_sorted_labelled_and_as_high_as_its_bars() -> None:
    chart = bar_chart(answer().predictions).to_dict()
    rows = next(iter(chart["datasets"].values()))
    assert [row["key"] for row in rows] == [" 75.0%tabby", " <0.1%lynx"]
    assert chart["height"] == 80
    assert {layer["encoding"]["y"]["sort"] for layer in chart["layer"]} == {None}


def test_pandas_is_whole_before_altair_can_look_at_it(root: Path) -> None:
    """Else two people's first charts at once end in an error for one of them."""
    code = "import sys, imgserve.frontend.charts; sys.exit('pandas' not in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_every_backend_error_has_its_words() -> None:
    kinds = set(errors.BackendError.__subclasses__()) - {
        errors.RequestRefused
    }  # which brings its own
    for kind in kinds:
        said = messages.failure(kind(""))
        assert said.sentence.endswith(".")
        assert said.next_step
    assert len({messages.failure(kind("")) for kind in kinds}) == len(kinds)


def test_upload_limits_agree_with_each_other_and_with_the_backend(root: Path) -> None:
    config = tomllib.loads((root / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] == UPLOAD_MIB
    most = BackendSettings().max_image_bytes
    assert most == FrontendSettings().max_image_bytes < UPLOAD_MIB * MIB
    assert "enableXsrfProtection" not in config["server"]


def test_samples_are_small_and_credited(root: Path) -> None:
    credit = (root / "imgserve" / "samples" / "CREDITS.md").read_text()
    for path in SAMPLES.values():
        assert path.stat().st_size < 50_000
        assert f"`{path.name}`" in credit
