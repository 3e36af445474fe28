"""The page, run by Streamlit's own test runner, with the backend's answers chosen by each test."""

import csv
import io
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from streamlit.testing.v1 import AppTest

from imgserve.contract import Prediction
from imgserve.errors import (
    BackendBusy,
    BackendError,
    BackendNotReady,
    BackendTimeout,
    BackendUnreachable,
    CallerNotAllowed,
    IdentityUnavailable,
    RequestRefused,
)
from imgserve.frontend import predict
from imgserve.frontend.answer import times
from imgserve.frontend.batch import Table, classify_batch
from imgserve.frontend.charts import bar_chart
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import (
    INCOMPLETE,
    answer_sentence,
    duration,
    failure,
    percent,
    plain,
    with_article,
)
from imgserve.frontend.picture_input import BATCH_LIMIT, SAMPLES, UPLOAD_MIB
from imgserve.frontend.predict import Answered, Patience
from imgserve.frontend.session import Batch, LinkedPicture
from imgserve.settings import BackendSettings, FrontendSettings
from imgserve.units import MIB
from tests.unit.page_driver import (
    THUMBNAIL,
    URL,
    Backend,
    answer,
    button,
    elements,
    new_page,
    shown,
    stand_between,
    submit,
    submit_batch,
)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    return stand_between(monkeypatch)


@pytest.fixture
def app(backend: Backend, root: Path) -> AppTest:
    return new_page(root, "frontend_v1")


def test_empty_page_says_what_to_do_and_asks_nothing(app: AppTest, backend: Backend) -> None:
    words = shown(app.run())
    assert app.title[0].value == "Animal Classification"
    assert "Show me a picture" in words
    assert "JPEG, PNG, WebP, GIF, BMP, AVIF or TIFF, up to 10 MiB" in words
    assert "No picture at hand?" in words
    shown(submit(app, "  "))
    assert backend.pictures == []


def test_a_pasted_url_is_answered_and_kept_in_the_address(app: AppTest, backend: Backend) -> None:
    words = shown(submit(app.run(), f" {URL} "))
    assert app.header[0].value == "I think this is an image of a tabby"
    assert "Model\\: resnet152" in words
    assert "inference 4 ms" in words
    assert backend.pictures == [URL]
    assert app.query_params["url"] == URL


def test_the_thumbnail_shown_is_the_backends(app: AppTest) -> None:
    submit(app.run(), URL)
    pictures = [image for element in elements(app, "image") for image in element.imgs]
    assert [image.url for image in pictures].count(THUMBNAIL) == 1
    assert URL not in str(pictures)


@pytest.mark.parametrize("thumbnail", ["/etc/passwd", "http://evil.test/x.jpg", None])
def test_a_thumbnail_that_is_no_jpeg_data_is_left_out(
    app: AppTest, backend: Backend, thumbnail: str | None
) -> None:
    backend.usual = answer(thumbnail=thumbnail)
    words = shown(submit(app.run(), URL))
    assert "tabby" in words
    assert len(elements(app, "image")) == len(SAMPLES)


def test_an_unlikely_answer_is_called_a_guess(app: AppTest, backend: Backend) -> None:
    backend.usual = answer(category="otter", probability=0.1)
    submit(app.run(), URL)
    assert app.header[0].value == "I am not sure\\, but I think this is an image of an otter"


def test_going_back_to_an_earlier_link_answers_that(app: AppTest, backend: Backend) -> None:
    submit(app.run(), URL)
    app.query_params["url"] = "https://pictures.test/dog.png"
    app.run()
    assert backend.pictures == [URL, "https://pictures.test/dog.png"]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_sample_is_sent_as_an_upload(app: AppTest, backend: Backend, name: str) -> None:
    submit(app.run(), URL)
    shown(button(app, name).click().run())
    assert backend.pictures[-1] == SAMPLES[name].read_bytes()
    assert "url" not in app.query_params


@pytest.mark.parametrize("asked_since", [False, True])
def test_an_upload_is_answered_and_its_removal_empties_the_page_unless_more_was_asked(
    app: AppTest, backend: Backend, asked_since: bool
) -> None:
    app.run().file_uploader(key="upload").set_value(("cat.png", b"picture", "image/png")).run()
    assert "tabby" in shown(app)
    assert backend.pictures == [b"picture"]
    if asked_since:
        submit(app, URL)
    app.file_uploader(key="upload").set_value(None).run()
    assert ("tabby" in shown(app)) == asked_since


@pytest.mark.parametrize("name", ["cat.jfif", "cat.JPE", "cat.dib", "cat.mpo", "cat", "cat.txt"])
def test_a_file_is_taken_whatever_its_name_says(app: AppTest, backend: Backend, name: str) -> None:
    app.run().file_uploader(key="upload").set_value((name, b"picture", "")).run()
    assert "tabby" in shown(app)
    assert app.file_uploader(key="upload").proto.type == []


def test_a_file_of_the_limit_is_sent_and_one_byte_more_is_refused_in_a_sentence(
    app: AppTest, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_IMAGE_BYTES", str(2 * MIB))
    app.run()

    def send(data: bytes) -> str:
        return shown(app.file_uploader(key="upload").set_value(("a", data, "image/png")).run())

    assert "tabby" in send(bytes(2 * MIB))
    words = send(bytes(2 * MIB + 1))
    assert "This file has 2.1 MiB; at most 2 MiB are accepted. Choose a smaller one." in words
    assert "tabby" not in words
    assert len(backend.pictures) == 1
    assert "This file" not in send(b"small")


def test_a_picture_that_is_its_own_address_stays_out_of_the_address_bar(
    app: AppTest, backend: Backend
) -> None:
    assert "tabby" in shown(submit(app.run(), "data:image/png;base64,AAAA"))
    assert backend.pictures == ["data:image/png;base64,AAAA"]
    assert "url" not in app.query_params


def test_a_picture_that_lacks_its_end_is_called_incomplete(app: AppTest, backend: Backend) -> None:
    backend.answers = {URL: answer(incomplete=True)}
    submit(app.run(), URL)
    assert app.info[0].value == INCOMPLETE
    submit(app, "https://pictures.test/whole.png")
    assert not app.info
    submit_batch(app, URL)
    assert list(app.dataframe[0].value["answer"]) == ["tabby (incomplete)"]


FAILURES = [
    (BackendUnreachable("http://inner.host refused"), "cannot be reached", True),
    (BackendNotReady("loading"), "still waking up", True),
    (BackendBusy("queue"), "busy right now", True),
    (BackendTimeout("slow"), "took too long", True),
    (RequestRefused("not a picture", "unsupported-format", 415), "Not a picture\\.", False),
    (RequestRefused("the host is gone!", "picture-host-failed", 502), "The host is gone", True),
    (RequestRefused("no such file", "picture-host-refused", 502), "No such file\\.", False),
    (RequestRefused("wait 5 seconds", "picture-host-busy", 502), "Wait 5 seconds\\.", True),
    (RequestRefused("no weights", "model-unavailable", 503), "No weights\\.", True),
    (CallerNotAllowed("inner answered 403"), "This page may not call its classifier", False),
    (IdentityUnavailable("no ID token: inner"), "could not show its classifier who it is", True),
]


@pytest.mark.parametrize("expected", FAILURES, ids=lambda case: type(case[0]).__name__)
def test_every_failure_is_a_sentence_and_trying_again_recovers(
    app: AppTest,
    backend: Backend,
    caplog: pytest.LogCaptureFixture,
    expected: tuple[BackendError, str, bool],
) -> None:
    error, sentence, again = expected
    backend.answers = {URL: [error, answer()]}
    words = shown(submit(app.run(), URL))
    assert sentence in words
    assert "inner" not in words
    assert str(error) in caplog.text
    assert again == any(button.label == "Try again" for button in app.button)
    if again:
        assert "tabby" in shown(button(app, "Try again").click().run())


@pytest.mark.parametrize(
    ("ask", "words"), [(submit, "tabby"), (submit_batch, "1 of 1 pictures classified")]
)
def test_a_waking_backend_is_waited_for(
    app: AppTest,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[AppTest, str], AppTest],
    words: str,
) -> None:
    monkeypatch.setenv("WAKE_TIMEOUT_S", "30")
    backend.answers = {URL: [BackendNotReady("loading"), answer()]}
    assert words in shown(ask(app.run(), URL))
    assert backend.pictures == [URL, URL]


def test_a_long_silence_is_explained_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "NOTICE_AFTER_S", 0.05)
    notices: list[int] = []
    patience = Patience(1, lambda: notices.append(1))
    assert patience.call(lambda: time.sleep(0.2) or "answer") == "answer"
    assert len(notices) > 1


def test_the_round_trip_is_timed_by_the_page(backend: Backend) -> None:
    backend.answers = {URL: answer()}
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
    app: AppTest,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environ: dict[str, str],
    logged: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    words = shown(app.run())
    assert "not set up correctly" in words
    assert "SERVING" not in words
    assert "secret" not in words
    assert logged in caplog.text
    assert backend.pictures == []


def test_many_links_give_a_row_each_failures_included(app: AppTest, backend: Backend) -> None:
    backend.answers = {
        "https://a.test": RequestRefused("not a picture", "unsupported-format", 415),
        "https://c.test": BackendBusy("queue"),
    }
    words = shown(submit_batch(app.run(), "https://a.test\n\n https://b.test \nhttps://c.test\n"))
    assert "1 of 3 pictures classified" in words
    rows = app.dataframe[0].value
    assert list(rows["url"]) == ["https://a.test", "https://b.test", "https://c.test"]
    assert list(rows["answer"]) == [
        "⚠ Not a picture.",
        "tabby",
        "⚠ The classifier is busy right now.",
    ]


def test_many_links_without_a_backend_are_one_failure(app: AppTest, backend: Backend) -> None:
    backend.usual = BackendUnreachable("refused")
    assert "cannot be reached" in shown(submit_batch(app.run(), f"{URL}\n{URL}"))
    assert backend.pictures == [URL]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (" \n ", "Paste at least one address"),
        (f"{URL}\n" * (BATCH_LIMIT + 1), f"{BATCH_LIMIT + 1} addresses; at most {BATCH_LIMIT}"),
    ],
)
def test_none_or_too_many_links_ask_nothing(
    app: AppTest, backend: Backend, lines: str, message: str
) -> None:
    assert message in shown(submit_batch(app.run(), lines))
    assert backend.pictures == []


def test_the_download_has_every_column_and_no_formula(backend: Backend) -> None:
    backend.answers = {"=cmd()": RequestRefused("@bad", "invalid-url", 400)}
    table = classify_batch(
        Batch(("=cmd()", URL)),
        BackendClient("http://backend.test", timeout_s=1),
        Mock(),  # a place on a page that nobody sees
        Patience(1, lambda: None),
    )
    assert isinstance(table, Table)
    first, second = csv.DictReader(io.StringIO(table.csv().decode()))
    assert (first["url"], first["problem"]) == ("'=cmd()", "'@bad.")
    assert (second["url"], second["answer"], second["probability"]) == (URL, "tabby", "0.75")
    columns = ["url", "answer", "probability", "model", "milliseconds", "problem", "incomplete"]
    assert list(first) == columns


@pytest.mark.parametrize(
    ("category", "phrase"),
    [
        ("tabby", "a tabby"),
        ("Egyptian cat", "an Egyptian cat"),
        ("European gallinule", "a European gallinule"),
        ("unicycle", "a unicycle"),
        ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"),
        ("hare", "a hare"),
        ("iPod", "an iPod"),
        ("sunglasses", "sunglasses"),
        ("broccoli", "broccoli"),
        ("tiger_shark", "a tiger shark"),
    ],
)
def test_classes_are_named_with_the_right_article(category: str, phrase: str) -> None:
    assert with_article(category) == phrase
    assert answer_sentence(Prediction(category, 0, 0.9)).endswith(f"an image of {phrase}")


def test_times_name_every_part_and_the_round_trip() -> None:
    assert times(Answered(answer(), 1300)) == (
        "fetch 1 ms · decode 2 ms · preprocess 3 ms · inference 4 ms · total 1.2 s · "
        "round trip 1.3 s"
    )


def test_numbers_read_well() -> None:
    assert [percent(p) for p in (1, 0.5004, 0.0006, 0.0001, 0)] == [
        "100.0%",
        "50.0%",
        "0.1%",
        "<0.1%",
        "0.0%",
    ]
    assert [duration(ms) for ms in (0, 12.4, 999, 1000)] == ["0 ms", "12 ms", "999 ms", "1.0 s"]


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
    kinds = set(BackendError.__subclasses__()) - {RequestRefused}  # which brings its own
    for kind in kinds:
        said = failure(kind(""))
        assert said.sentence.endswith(".")
        assert said.next_step
    assert len({failure(kind("")) for kind in kinds}) == len(kinds)


def test_upload_limits_agree_with_each_other_and_with_the_backend(root: Path) -> None:
    config = tomllib.loads((root / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] == UPLOAD_MIB
    assert (
        BackendSettings().max_image_bytes == FrontendSettings().max_image_bytes < UPLOAD_MIB * MIB
    )
    assert "enableXsrfProtection" not in config["server"]


def test_samples_are_small_and_credited(root: Path) -> None:
    credit = (root / "imgserve" / "samples" / "CREDITS.md").read_text()
    for path in SAMPLES.values():
        assert path.stat().st_size < 50_000
        assert f"`{path.name}`" in credit
