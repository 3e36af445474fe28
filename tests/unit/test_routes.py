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
from tests.unit.pool_stand_in import NOT_READY, PoolStandIn, Respond, classifier
from tests.unit.waiting import wait_until

CLASSES = ["cat", "dog", "bird"]
JSON, FORM = "application/json", "multipart/form-data"


def three_classes(_: Crop) -> np.ndarray:
    return np.array([[0.2, 0.7, 0.1]], dtype=np.float32)


def client(respond: Respond = three_classes, **settings: Any) -> FlaskClient:
    """Return a client of a backend around a function that stands in for the engine."""
    given = BackendSettings(**{"threads": 2, **settings})
    models = {"small": classifier("small", CLASSES, respond)}
    pool = PoolStandIn(models, given.max_image_pixels, slots=threading.Semaphore(given.threads))
    return one_model_app(given, pool).test_client()


def failing(error: errors.HttpError) -> FlaskClient:
    """Return a client of a backend whose model cannot answer."""
    models = {"small": classifier("small", CLASSES, three_classes)}
    pool = PoolStandIn(models, failures={"small": error})
    return one_model_app(BackendSettings(threads=1), pool).test_client()


def cat(fmt: str = "JPEG", size: tuple[int, int] = (60, 40)) -> bytes:
    """Return a small real picture."""
    buffer = io.BytesIO()
    pictures.picture("chelsea.png").resize(size).save(buffer, fmt)
    return buffer.getvalue()


CAT = cat()


def upload(backend: FlaskClient, data: bytes, **form: str) -> TestResponse:
    return backend.post("/predict", data={"image": (io.BytesIO(data), "cat.jpg"), **form})


def raw(backend: FlaskClient, data: bytes, query: str = "") -> TestResponse:
    return backend.post(f"/predict{query}", data=data, content_type="image/jpeg")


def problem(response: TestResponse, error: type[errors.HttpError]) -> contract.Problem:
    """Return the answered problem, after checking that it is this error in its full form."""
    assert response.content_type == contract.PROBLEM_TYPE
    answered = msgspec.json.decode(response.data, type=contract.Problem)
    assert response.status_code == answered.status == error.status
    assert answered.type == f"urn:imgserve:problem:{error.slug}"
    assert answered.title == error.title
    assert answered.request_id == response.headers["X-Request-Id"]
    return answered


@pytest.mark.parametrize("send", [upload, raw])
def test_a_picture_is_answered_with_its_classes_most_probable_first(
    send: Callable[[FlaskClient, bytes], TestResponse],
) -> None:
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


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_says_how_many_classes_are_answered(top_k: int) -> None:
    by_form, by_address = (
        upload(client(), CAT, top_k=str(top_k)),
        raw(client(), CAT, f"?top_k={top_k}"),
    )
    for response in (by_form, by_address):
        assert len(response.get_json()["predictions"]) == top_k


def test_more_classes_than_the_model_has_are_refused_before_the_picture_is_fetched() -> None:
    body = {"url": "https://a.invalid/cat.jpg", "top_k": 4}
    refused = [client().post("/predict", json=body), raw(client(), CAT, "?top_k=4")]
    for response in refused:
        detail = problem(response, errors.InvalidRequest).detail
        assert detail == "top_k=4 cannot be used: small has 3 classes"


def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed() -> None:
    asked = {"url": "http://127.0.0.1:1/cat.jpg"}
    problem(client().post("/predict", json=asked), errors.AddressNotAllowed)
    allowing = client(allowed_addresses=("127.0.0.1/32",))
    problem(allowing.post("/predict", json=asked), errors.PictureHostFailed)


def test_equally_probable_classes_come_by_id() -> None:
    backend = client(lambda _: np.array([[0.4, 0.2, 0.4]], dtype=np.float32))
    ids = [found["class_id"] for found in upload(backend, CAT).get_json()["predictions"]]
    assert ids == [0, 2, 1]


@pytest.mark.parametrize("way", ["json", "form", "query"])
def test_where_the_model_looked_is_answered_where_asked_for(way: str) -> None:
    def look_at_the_corner(seen: Crop) -> np.ndarray:
        share = float(seen[0, 0, 0, 0]) / 255
        return np.array([[share, 0.0, 0.0]], dtype=np.float32)

    white = io.BytesIO()
    picture = Image.new("RGB", (32, 32))
    picture.paste((255, 255, 255), (0, 0, 4, 4))
    picture.save(white, "PNG")
    backend = client(look_at_the_corner)
    if way == "json":
        url = data_url(white.getvalue(), "image/png;base64")
        answer = backend.post("/predict", json={"url": url, "explain": True}).get_json()
    elif way == "form":
        answer = upload(backend, white.getvalue(), explain="true").get_json()
    else:
        url, kind = "/predict?explain=true", "image/png"
        answer = backend.post(url, data=white.getvalue(), content_type=kind).get_json()
    assert answer["explanation"][0][0] == 1
    assert sum(map(sum, answer["explanation"])) < 5
    assert "explanation" not in upload(backend, white.getvalue()).get_json()


@pytest.mark.parametrize("path", ["/docs//elsewhere.example", "//hello", "/predict//", "/docs/"])
def test_nothing_is_answered_with_a_redirect(path: str) -> None:
    """One would name the host that the caller sent."""
    assert client().get(path, base_url="http://elsewhere.example").status_code in {200, 404, 405}


def test_where_it_is_switched_off_nothing_is_explained() -> None:
    answer = upload(client(explain="0"), cat(), explain="true")
    assert (answer.status_code, "EXPLAIN=0" in answer.get_json()["detail"]) == (400, True)
    assert upload(client(explain="0"), cat(), explain="false").status_code == 200


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


def form(backend: FlaskClient, *pictures: bytes, query: str = "", **fields: str) -> TestResponse:
    """Send a form with so many pictures."""
    files = {"image": [(io.BytesIO(data), "cat.jpg") for data in pictures]} if pictures else {}
    return backend.post(
        f"/predict{query}", data={**files, **fields}, content_type="multipart/form-data"
    )


def body(backend: FlaskClient, data: bytes, content_type: str | None = JSON) -> TestResponse:
    return backend.post("/predict", data=data, content_type=content_type)


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
    *(("top_k", each) for each in ("0", "-1", "five", "1.5", "")),
    *((name, "1") for name in ("topk", "model", "url")),
]
# What is sent, and what the answer says of it.
REFUSED: list[tuple[Callable[[FlaskClient], TestResponse], str]] = [
    *((partial(body, data=data), 'send JSON {"url"') for data in UNUSABLE),
    *(
        (partial(body, data=b'{"url": "x"}', content_type=kind), "multipart/form-data")
        for kind in ("text/plain", "application/x-www-form-urlencoded", None)
    ),
    *((partial(upload, data=CAT, **{name: text}), name) for name, text in OPTIONS),
    *((partial(raw, data=CAT, query=f"?{name}={text}"), name) for name, text in OPTIONS),
    (partial(raw, data=CAT, query="?top_k=1&top_k=2"), "more than once"),
    (lambda backend: form(backend, CAT, query="?top_k=1"), "'top_k' belongs into the body"),
    (lambda backend: form(backend, file="cat"), "one file field 'image'"),
    (lambda backend: form(backend, CAT, CAT), "one file field 'image'"),
    (lambda backend: form(backend, CAT, **{f"f{n}": "x" for n in range(16)}), "too many fields"),
    (partial(body, data=LONG, content_type=f"{FORM}; boundary={BOUNDARY}"), "too long a one"),
    (partial(upload, data=b""), "is empty"),
    (partial(raw, data=b""), "is empty"),
]


@pytest.mark.parametrize(("send", "words"), REFUSED)
def test_a_request_that_cannot_be_used_says_what_is_wrong_with_it(
    send: Callable[[FlaskClient], TestResponse], words: str
) -> None:
    assert words in problem(send(client()), errors.InvalidRequest).detail


def data_url(data: bytes, kind: str = "image/jpeg;base64") -> str:
    text = base64.b64encode(data).decode() if kind.lower().endswith("base64") else quote(data)
    return f"data:{kind},{text}"


@pytest.mark.parametrize(
    "kind", ["image/jpeg;base64", "image/jpeg", "", "IMAGE/JPEG;BASE64", "image/jpeg; base64"]
)
def test_a_data_url_is_the_picture_itself(kind: str) -> None:
    url = f" {data_url(CAT, kind).replace('data', 'Data', 1)}\n"
    answer = client().post("/predict", json={"url": url})
    assert answer.status_code == 200
    assert answer.get_json()["timings_ms"]["fetch"] == 0


@pytest.mark.parametrize("between", ["", " ", "\n", "%0A", "\r\n  "])
@pytest.mark.parametrize("padding", ["", "=", "=="])
def test_base64_is_read_as_browsers_do(between: str, padding: str) -> None:
    """White space means nothing, and padding may be missing."""
    text = base64.b64encode(CAT + bytes(-len(CAT) % 3 + 1)).decode().rstrip("=")
    url = f"data:image/jpeg;base64,{between.join([text[:5], text[5:9], text[9:]])}{padding}"
    assert client().post("/predict", json={"url": url}).status_code == 200


def test_a_data_url_counts_as_an_upload() -> None:
    backend = client(max_image_bytes=len(CAT))
    assert backend.post("/predict", json={"url": data_url(CAT)}).status_code == 200
    refused = backend.post("/predict", json={"url": data_url(CAT + b"!")})
    problem(refused, errors.PictureTooLarge)


@pytest.mark.parametrize("url", ["data:", "data:image/png;base64,", "data:;base64,QUJDR", "data:x"])
def test_a_data_url_that_is_cut_off_is_refused(url: str) -> None:
    answered = problem(client().post("/predict", json={"url": url}), errors.InvalidUrl)
    assert "upload the picture instead" in answered.detail


def test_json_may_begin_with_a_byte_order_mark() -> None:
    problem(body(client(), b'\xef\xbb\xbf{"url": "ftp://a.example"}'), errors.InvalidUrl)


def test_other_words_in_the_address_are_a_gateways() -> None:
    assert form(client(), CAT, query="?key=of-a-gateway").status_code == 200
    assert raw(client(), CAT, "?key=of-a-gateway").status_code == 200


@pytest.mark.parametrize("send", [upload, raw])
def test_a_picture_of_exactly_the_byte_limit_is_taken_and_one_more_refused(
    send: Callable[[FlaskClient, bytes], TestResponse],
) -> None:
    data = CAT
    assert send(client(max_image_bytes=len(data)), data).status_code == 200
    answered = problem(send(client(max_image_bytes=len(data) - 1), data), errors.PictureTooLarge)
    assert str(len(data) - 1) in answered.detail


def test_what_is_wrong_with_a_picture_is_told_apart() -> None:
    data = cat(size=(60, 40))
    assert raw(client(max_image_pixels=2400), data).status_code == 200
    problem(raw(client(max_image_pixels=2399), data), errors.TooManyPixels)
    problem(raw(client(), cat("PPM")), errors.UnsupportedFormat)
    problem(raw(client(), cat("WEBP")[:-40]), errors.DamagedPicture)


def test_a_picture_that_lacks_its_end_is_answered_and_says_so() -> None:
    assert "incomplete" not in raw(client(), CAT).get_json()
    assert raw(client(), CAT[:-2]).get_json()["incomplete"] is True


@given(body=st.binary(max_size=300), kind=st.sampled_from(["image/png", "application/json"]))
def test_no_body_is_answered_with_a_fault(body: bytes, kind: str) -> None:
    response = FUZZED.post("/predict", data=body, content_type=kind)
    assert 400 <= response.status_code < 500
    assert response.content_type == contract.PROBLEM_TYPE


FUZZED = client()


def test_an_unknown_route_and_a_wrong_method_are_problems() -> None:
    assert "/docs" in problem(client().get("/nothing"), errors.UnknownRoute).detail
    response = client().get("/predict")
    problem(response, errors.MethodNotAllowed)
    assert response.headers["Allow"] == "OPTIONS, POST"


def test_what_werkzeug_refuses_for_other_reasons_is_a_problem_too() -> None:
    backend = client()

    @backend.application.get("/odd")
    def odd() -> None:
        abort(418)

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
    enter, leave = threading.Semaphore(0), threading.Event()

    def respond(crops: Crop) -> np.ndarray:
        enter.release()
        leave.wait(10)
        return three_classes(crops)

    backend = client(respond, threads=1, max_queue=1)
    with ThreadPoolExecutor() as callers:
        first = callers.submit(upload, backend, CAT)
        assert enter.acquire(timeout=10)
        second = callers.submit(upload, backend, CAT)
        wait_until(lambda: _metric(backend, "imgserve_queue_requests") == 1)
        refused = upload(backend, CAT)
        assert _metric(backend, "imgserve_inferences_in_progress") == 1
        leave.set()
        assert first.result(10).status_code == second.result(10).status_code == 200
    problem(refused, errors.Busy)
    assert refused.headers["Retry-After"] == "1"


def _metric(backend: FlaskClient, name: str) -> float:
    page = backend.get("/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_metrics_count_requests_errors_stages_and_the_model() -> None:
    backend = client()
    upload(backend, CAT)
    backend.get("/nothing")
    assert (
        _metric(backend, 'imgserve_requests_total{method="POST",route="/predict",status="200"}')
        == 1
    )
    assert _metric(backend, 'imgserve_errors_total{type="unknown-route"}') == 1
    assert _metric(backend, 'imgserve_predictions_total{model="small",precision="fp32"}') == 1
    for stage in ("fetch", "decode", "preprocess", "inference", "total"):
        assert _metric(backend, f'imgserve_stage_seconds_count{{stage="{stage}"}}') == 1


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/nothing/{}", 'method="GET",route="unknown",status="404"'),
        ("M{}", "/hello", 'method="other",route="unknown",status="405"'),
    ],
)
def test_paths_and_methods_that_do_not_exist_share_one_series(
    method: str, path: str, labels: str
) -> None:
    backend = client()
    for number in range(5):
        backend.open(path.format(number), method=method.format(number))
    assert _metric(backend, f"imgserve_requests_total{{{labels}}}") == 5


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
