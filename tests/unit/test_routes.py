"""The HTTP side of a backend, around a model with three classes and pictures sent as uploads."""

import base64
import io
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from flask import abort
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from werkzeug.test import TestResponse, encode_multipart

from imgserve import contract, errors
from imgserve.backend.app import one_model_app
from imgserve.log import CloudFormatter
from imgserve.models.transform import Crop
from imgserve.settings import BackendSettings
from tests.unit import pictures
from tests.unit.pool_stand_in import NOT_READY, Gate, PoolStandIn, Respond, classifier
from tests.unit.waiting import wait_until

CLASSES = ["cat", "dog", "bird"]
STAGES = ("fetch", "decode", "preprocess", "inference", "total")
JSON, FORM = "application/json", "multipart/form-data"


def three_classes(_: Crop) -> np.ndarray:
    return np.array([[0.2, 0.7, 0.1]], dtype=np.float32)


def client(respond: Respond = three_classes, **settings: Any) -> FlaskClient:
    """Return a client of a backend around a function that stands in for the engine."""
    given = BackendSettings(**{"threads": 2, **settings})
    models = {"small": classifier(CLASSES, respond)}
    pool = PoolStandIn(models, given.max_image_pixels, slots=threading.Semaphore(given.threads))
    return one_model_app(given, pool).test_client()


def failing(error: errors.HttpError) -> FlaskClient:
    """Return a client of a backend whose model cannot answer."""
    models = {"small": classifier(CLASSES, three_classes)}
    pool = PoolStandIn(models, failures={"small": error})
    return one_model_app(BackendSettings(threads=1), pool).test_client()


def cat(fmt: str = "JPEG", size: tuple[int, int] = (60, 40)) -> bytes:
    """Return a small real picture."""
    buffer = io.BytesIO()
    pictures.picture("chelsea.png").resize(size).save(buffer, fmt)
    return buffer.getvalue()


CAT = cat()


def upload(backend: FlaskClient, *data: bytes, query: str = "", **options: str) -> TestResponse:
    """Send a form with so many pictures."""
    files = {"image": [(io.BytesIO(picture), "cat.jpg") for picture in data]} if data else {}
    return backend.post(f"/predict{query}", data={**files, **options}, content_type=FORM)


def raw(backend: FlaskClient, data: bytes, **options: Any) -> TestResponse:
    kind = "image/jpeg"
    return backend.post("/predict", data=data, query_string=options, content_type=kind)


def by_url(backend: FlaskClient, url: str, **options: Any) -> TestResponse:
    return backend.post("/predict", json={"url": url, **options})


def by_data_url(backend: FlaskClient, data: bytes, **options: Any) -> TestResponse:
    return by_url(backend, data_url(data), **options)


def body(backend: FlaskClient, data: bytes, content_type: str | None = JSON) -> TestResponse:
    return backend.post("/predict", data=data, content_type=content_type)


def data_url(data: bytes, kind: str = "image/jpeg;base64") -> str:
    text = base64.b64encode(data).decode() if kind.lower().endswith("base64") else quote(data)
    return f"data:{kind},{text}"


def problem(response: TestResponse, error: type[errors.HttpError]) -> contract.Problem:
    """Return the answered problem, after checking that it is this error in its full form."""
    assert response.content_type == contract.PROBLEM_TYPE
    answered = msgspec.json.decode(response.data, type=contract.Problem)
    assert response.status_code == answered.status == error.status
    assert answered.type == f"urn:imgserve:problem:{error.slug}"
    assert answered.title == error.title
    assert answered.request_id == response.headers["X-Request-Id"]
    return answered


Send = Callable[..., TestResponse]
WAYS = pytest.mark.parametrize("send", [upload, raw, by_data_url])


@WAYS
def test_a_picture_is_answered_with_its_classes_most_probable_first(send: Send) -> None:
    response = send(client(), CAT)
    assert response.status_code == 200
    assert next(iter(json.loads(response.data))) == "category"
    answer = msgspec.json.decode(response.data, type=contract.PredictAnswer)
    assert answer.category == "dog"
    assert answer.model == "small"
    assert [first.category for first in answer.predictions] == ["dog", "cat", "bird"]
    assert [first.class_id for first in answer.predictions] == [1, 0, 2]
    assert answer.predictions[0].probability == pytest.approx(0.7)
    assert answer.timings_ms.fetch == 0
    assert answer.timings_ms.total >= answer.timings_ms.decode > 0
    assert answer.thumbnail is None


@pytest.mark.parametrize("send", [upload, raw])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_says_how_many_classes_are_answered(send: Send, top_k: int) -> None:
    answer = send(client(), CAT, top_k=str(top_k)).get_json()
    assert len(answer["predictions"]) == top_k


def test_equally_probable_classes_come_by_id() -> None:
    backend = client(lambda _: np.array([[0.4, 0.2, 0.4]], dtype=np.float32))
    ids = [found["class_id"] for found in upload(backend, CAT).get_json()["predictions"]]
    assert ids == [0, 2, 1]


@pytest.mark.parametrize(("send", "true"), [(by_data_url, True), (upload, "true"), (raw, "true")])
def test_where_the_model_looked_is_answered_where_asked_for(send: Send, true: Any) -> None:
    def look_at_the_corner(seen: Crop) -> np.ndarray:
        share = float(seen[0, 0, 0, 0]) / 255
        return np.array([[share, 0.0, 0.0]], dtype=np.float32)

    white = io.BytesIO()
    picture = Image.new("RGB", (32, 32))
    picture.paste((255, 255, 255), (0, 0, 4, 4))
    picture.save(white, "PNG")
    backend = client(look_at_the_corner)
    answer = send(backend, white.getvalue(), explain=true).get_json()
    assert answer["explanation"][0][0] == 1
    assert sum(map(sum, answer["explanation"])) < 5
    assert "explanation" not in send(backend, white.getvalue()).get_json()


@pytest.mark.parametrize("path", ["/docs//elsewhere.example", "//hello", "/predict//", "/docs/"])
def test_nothing_is_answered_with_a_redirect(path: str) -> None:
    """One would name the host that the caller sent."""
    assert client().get(path, base_url="http://elsewhere.example").status_code in {200, 404, 405}


def test_thumbnail_is_the_picture_as_the_model_saw_it() -> None:
    seen: list[Crop] = []

    def respond(crops: Crop) -> np.ndarray:
        seen.append(crops)
        return three_classes(crops)

    answer = upload(client(respond), cat("PNG"), thumbnail="true").get_json()
    head, _, body = answer["thumbnail"].partition(",")
    assert head == "data:image/jpeg;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(body)))
    assert shown.size == (32, 32)
    assert np.abs(np.asarray(shown).astype(int) - seen[0][0]).mean() < 10


# As browsers do: white space means nothing, and padding may be missing.
UNPADDED = base64.b64encode(CAT + bytes(-len(CAT) % 3 + 1)).decode().rstrip("=")
BASE64 = [
    f"{between.join([UNPADDED[:5], UNPADDED[5:9], UNPADDED[9:]])}{padding}"
    for between in ("", " ", "\n", "%0A", "\r\n  ")
    for padding in ("", "=", "==")
]
KINDS = ["image/jpeg;base64", "image/jpeg", "", "IMAGE/JPEG;BASE64", "image/jpeg; base64"]
TAKEN: list[tuple[Send, dict[str, Any]]] = [
    *((partial(by_url, url=f" D{data_url(CAT, kind)[1:]}\n"), {}) for kind in KINDS),
    *((partial(by_url, url=f"data:image/jpeg;base64,{text}"), {}) for text in BASE64),
    *((partial(send, data=CAT), {"max_image_bytes": len(CAT)}) for send in (raw, by_data_url)),
    (lambda backend: upload(backend, CAT), {"max_image_bytes": len(CAT)}),
    (lambda backend: upload(backend, CAT, query="?key=of-a-gateway"), {}),
    (partial(raw, data=CAT, key="of-a-gateway"), {}),
    (partial(raw, data=CAT, explain="false"), {"explain": "0"}),
    (partial(raw, data=CAT), {"max_image_pixels": 2400}),
]


@pytest.mark.parametrize(("send", "settings"), TAKEN)
def test_a_picture_may_come_in_many_ways(send: Send, settings: dict[str, Any]) -> None:
    assert send(client(**settings)).status_code == 200


# In one piece: the test client would leave a file open for a form of this size.
BOUNDARY, LONG = encode_multipart({"top_k": "1" * 600_000})
UNUSABLE = [
    *(b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"url": null}', b'{"url": 5}'),
    *(b'{"url": "\xff"}', b"[" * 50_000, b'{"url": ' + b"[" * 30_000),
    *(
        b'{"url": "https://a.example/c.jpg", ' + option + b"}"
        for option in (
            *(b'"top_k": 0', b'"top_k": 1.5', b'"top_k": true'),
            *(b'"thumbnail": "yes"', b'"model": "vgg16"'),
        )
    ),
]
OPTIONS = [
    *(("top_k", text) for text in ("0", "-1", "five", "1.5", "")),
    *((name, "1") for name in ("topk", "model", "url")),
]
# What is sent, and what the answer says of it.
REFUSED: list[tuple[Send, str]] = [
    *((partial(body, data=data), 'send JSON {"url"') for data in UNUSABLE),
    *(
        (partial(body, data=b'{"url": "x"}', content_type=kind), "multipart/form-data")
        for kind in ("text/plain", "application/x-www-form-urlencoded", None)
    ),
    *((partial(raw, data=CAT, **{name: text}), name) for name, text in OPTIONS),
    *(
        (partial(lambda backend, given: upload(backend, CAT, **given), given={name: text}), name)
        for name, text in OPTIONS
    ),
    (partial(by_url, url="https://a.invalid/cat.jpg", top_k=4), "=4 cannot be used: small has 3 c"),
    (partial(raw, data=CAT, top_k="4"), "top_k=4 cannot be used: small has 3 classes"),
    (partial(raw, data=CAT, top_k=["1", "2"]), "more than once"),
    (lambda backend: upload(backend, CAT, query="?top_k=1"), "'top_k' belongs into the body"),
    (lambda backend: upload(backend, file="cat"), "one file field 'image'"),
    (lambda backend: upload(backend, CAT, CAT), "one file field 'image'"),
    (lambda backend: upload(backend, CAT, **{f"f{n}": "x" for n in range(16)}), "too many fields"),
    (partial(body, data=LONG, content_type=f"{FORM}; boundary={BOUNDARY}"), "too long a one"),
    (lambda backend: upload(backend, b""), "is empty"),
    (partial(raw, data=b""), "is empty"),
]


@pytest.mark.parametrize(("send", "words"), REFUSED)
def test_a_request_that_cannot_be_used_says_what_is_wrong_with_it(send: Send, words: str) -> None:
    assert words in problem(send(client()), errors.InvalidRequest).detail


CUT_OFF = ["data:", "data:image/png;base64,", "data:;base64,QUJDR", "data:x"]
ONE_TOO_LARGE = {"max_image_bytes": len(CAT) - 1}
LOOPBACK = partial(by_url, url="http://127.0.0.1:1/cat.jpg")
MARKED = b'\xef\xbb\xbf{"url": "ftp://a.example"}'  # JSON may begin with a byte order mark
# What is sent to a backend with which settings, and the error that it is, with words of it.
FAILED: list[tuple[Send, dict[str, Any], type[errors.HttpError], str]] = [
    *((partial(by_url, url=url), {}, errors.InvalidUrl, "upload the picture") for url in CUT_OFF),
    (partial(body, data=MARKED), {}, errors.InvalidUrl, ""),
    (partial(raw, data=CAT), ONE_TOO_LARGE, errors.PictureTooLarge, f"{len(CAT) - 1} bytes"),
    (partial(by_data_url, data=CAT), ONE_TOO_LARGE, errors.PictureTooLarge, ""),
    (lambda backend: upload(backend, CAT), ONE_TOO_LARGE, errors.PictureTooLarge, ""),
    (partial(raw, data=CAT), {"max_image_pixels": 2399}, errors.TooManyPixels, ""),
    (partial(raw, data=cat("PPM")), {}, errors.UnsupportedFormat, ""),
    (partial(raw, data=cat("WEBP")[:-40]), {}, errors.DamagedPicture, ""),
    (partial(raw, data=CAT, explain="true"), {"explain": "0"}, errors.InvalidRequest, "EXPLAIN=0"),
    (LOOPBACK, {}, errors.AddressNotAllowed, ""),
    (LOOPBACK, {"allowed_addresses": ("127.0.0.1/32",)}, errors.PictureHostFailed, ""),
    (lambda backend: backend.get("/nothing"), {}, errors.UnknownRoute, "/docs"),
    (lambda backend: backend.get("/predict"), {}, errors.MethodNotAllowed, "OPTIONS, POST"),
]


@pytest.mark.parametrize(("send", "settings", "error", "words"), FAILED)
def test_what_is_wrong_with_a_request_is_told_apart(
    send: Send, settings: dict[str, Any], error: type[errors.HttpError], words: str
) -> None:
    response = send(client(**settings))
    assert words in problem(response, error).detail
    assert response.headers.get("Allow", "OPTIONS, POST") == "OPTIONS, POST"


def test_a_picture_that_lacks_its_end_is_answered_and_says_so() -> None:
    assert "incomplete" not in raw(client(), CAT).get_json()
    assert raw(client(), CAT[:-2]).get_json()["incomplete"] is True


@given(body=st.binary(max_size=300), kind=st.sampled_from(["image/png", "application/json"]))
def test_no_body_is_answered_with_a_fault(body: bytes, kind: str) -> None:
    response = FUZZED.post("/predict", data=body, content_type=kind)
    assert 400 <= response.status_code < 500
    assert response.content_type == contract.PROBLEM_TYPE


FUZZED = client()


def test_what_werkzeug_refuses_for_other_reasons_is_a_problem_too() -> None:
    backend = client()
    backend.application.add_url_rule("/odd", "odd", lambda: abort(418))
    problem(backend.get("/odd"), errors.InvalidRequest)


def test_a_fault_of_ours_is_told_without_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    def respond(_: Crop) -> np.ndarray:
        raise KeyError("inside")

    response = upload(client(respond), CAT)
    assert "inside" not in problem(response, errors.InternalError).detail
    assert "KeyError" in caplog.text


UNAVAILABLE = errors.ModelUnavailable("model small could not be loaded: no weights", 60)
LOST = errors.WorkerLost("the worker that had this picture ended: send the picture again")


def test_without_a_model_it_says_hello_and_that_it_is_not_ready() -> None:
    assert failing(UNAVAILABLE).get("/hello").get_json() == "Hello!"
    ready = {"model": "small", "status": "ready", "precision": "fp32"}
    assert client().get("/ready").get_json() == ready
    response = failing(UNAVAILABLE).get("/ready")
    assert "no weights" in problem(response, errors.ModelUnavailable).detail
    assert response.headers["Retry-After"] == "60"


@pytest.mark.parametrize("error", [NOT_READY, LOST], ids=["not-ready", "worker-lost"])
def test_a_prediction_that_no_worker_answers_is_told_to_come_again(error: errors.NotReady) -> None:
    response = upload(failing(error), CAT)
    assert problem(response, type(error)).detail == str(error)
    assert response.headers["Retry-After"] == "2"


def test_a_full_queue_answers_busy_and_the_rest_are_answered() -> None:
    gate = Gate()

    def respond(crops: Crop) -> np.ndarray:
        gate.pass_through()
        return three_classes(crops)

    backend = client(respond, threads=1, max_queue=1)
    with ThreadPoolExecutor() as callers:
        first = callers.submit(upload, backend, CAT)
        assert gate.came.wait(10)
        second = callers.submit(upload, backend, CAT)
        wait_until(lambda: _metric(backend, "imgserve_queue_requests") == 1)
        refused = upload(backend, CAT)
        assert _metric(backend, "imgserve_inferences_in_progress") == 1
        gate.opened.set()
        assert first.result(10).status_code == second.result(10).status_code == 200
    problem(refused, errors.Busy)
    assert refused.headers["Retry-After"] == "1"


def _metric(backend: FlaskClient, name: str) -> float:
    page = backend.get("/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


COUNTED = {
    'requests_total{method="POST",route="/predict",status="200"}': 1,
    'errors_total{type="unknown-route"}': 5,
    'predictions_total{model="small",precision="fp32"}': 1,
    **dict.fromkeys([f'stage_seconds_count{{stage="{stage}"}}' for stage in STAGES], 1),
    # Paths and methods that do not exist share one series.
    'requests_total{method="GET",route="unknown",status="404"}': 5,
    'requests_total{method="other",route="unknown",status="405"}': 5,
}


def test_metrics_count_requests_errors_stages_and_the_model() -> None:
    backend = client()
    upload(backend, CAT)
    for number in range(5):
        backend.get(f"/nothing/{number}")
        backend.open("/hello", method=f"M{number}")
    assert {name: _metric(backend, f"imgserve_{name}") for name in COUNTED} == COUNTED


def test_a_usable_request_id_is_kept_and_another_replaced() -> None:
    kept = client().get("/hello", headers={"X-Request-Id": "abc-1"})
    assert kept.headers["X-Request-Id"] == "abc-1"
    for odd in ("x" * 65, 'a"b', ""):
        made = client().get("/hello", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", made)


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "header",
    [
        {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        {"X-Cloud-Trace-Context": f"{TRACE}/1;o=1"},
    ],
)
def test_a_request_is_logged_with_its_id_its_status_and_its_trace(
    caplog: pytest.LogCaptureFixture, header: dict[str, str]
) -> None:
    caplog.set_level("INFO")
    client(google_cloud_project="p").get("/hello", headers={"X-Request-Id": "abc-1", **header})
    (record,) = [entry for entry in caplog.records if entry.message == "GET /hello 200"]
    logged = json.loads(CloudFormatter().format(record))
    assert logged["request_id"] == "abc-1"
    assert logged["httpRequest"]["status"] == 200
    assert re.fullmatch(r"\d+\.\d+s", logged["httpRequest"]["latency"])
    assert logged["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE}"


def test_no_web_origin_may_call_unless_it_is_set() -> None:
    asking = {"Origin": "https://page.example"}
    assert "Access-Control-Allow-Origin" not in client().get("/hello", headers=asking).headers
    backend = client(cors_origins=("https://page.example",))
    allowed = backend.get("/hello", headers=asking).headers["Access-Control-Allow-Origin"]
    assert allowed == "https://page.example"
    other = backend.get("/hello", headers={"Origin": "https://other.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_docs_page_needs_no_other_host() -> None:
    backend = client()
    page = backend.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert not re.match(r"(https?:)?//", source)
        path = source if source.startswith("/") else f"/docs/{source.removeprefix('./')}"
        with backend.get(path) as script:
            assert script.status_code == 200
