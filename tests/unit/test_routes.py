"""The HTTP side of a backend, around a model with three classes and pictures sent as uploads."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from flask import abort, request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from werkzeug.test import TestResponse, encode_multipart

from imgserve import contract, errors
from imgserve.backend.app import make_app
from imgserve.log import CloudFormatter
from imgserve.models import catalogue
from imgserve.models.classifier import Crop
from imgserve.pictures.fetch import Fetcher
from imgserve.settings import BackendSettings
from tests.unit import pictures
from tests.unit.pool_stand_in import PoolStandIn, Respond, classifier, named_after_itself
from tests.unit.test_compiled_model import written_model

CLASSES = ["cat", "dog", "bird"]
STAGES = ("fetch", "decode", "preprocess", "inference", "total")
JSON, FORM = "application/json", "multipart/form-data"


def three_classes(_: Crop) -> np.ndarray:
    return np.array([[0.2, 0.7, 0.1]], dtype=np.float32)


def client(
    respond: Respond = three_classes, failure: errors.HttpError | None = None, **settings: Any
) -> FlaskClient:
    """Return a client of a backend around a function that stands in for the engine.

    Where there is a ``failure``, its model cannot answer.
    """
    given = BackendSettings(**{"threads": 2, **settings})
    failures = {"small": failure} if failure else {}
    models = {"small": classifier(CLASSES, respond)}
    return make_app(given, PoolStandIn(models, given.max_image_pixels, failures)).test_client()


def cat(fmt: str = "JPEG", size: tuple[int, int] = (60, 40)) -> bytes:
    """Return a small real picture."""
    return pictures.saved(pictures.picture("chelsea.png").resize(size), fmt)


CAT = cat()
# What is sent, as the test client takes it.
Sent = dict[str, Any]


def upload(*data: bytes, **options: Any) -> Sent:
    """Return a form with so many pictures."""
    files = {"image": [(io.BytesIO(picture), "cat.jpg") for picture in data]} if data else {}
    return {"data": {**files, **options}, "content_type": FORM}


def raw(data: bytes, **options: Any) -> Sent:
    return {"data": data, "query_string": options or None, "content_type": "image/jpeg"}


def by_url(url: str, **options: Any) -> Sent:
    return {"json": {"url": url, **options}}


def by_data_url(data: bytes, kind: str = "image/jpeg;base64", **options: Any) -> Sent:
    text = base64.b64encode(data).decode() if kind.lower().endswith("base64") else quote(data)
    return by_url(f"data:{kind},{text}", **options)


def body(data: bytes, content_type: str | None = JSON) -> Sent:
    return {"data": data, "content_type": content_type}


def get(path: str) -> Sent:
    return {"path": path, "method": "GET"}


def answered(sent: Sent, backend: FlaskClient | None = None) -> TestResponse:
    return (backend or client()).open(**{"path": "/predict", "method": "POST", **sent})


def problem(response: TestResponse, error: type[errors.HttpError]) -> contract.Problem:
    """Return the answered problem, after checking that it is this error in its full form."""
    assert response.content_type == contract.PROBLEM_TYPE
    told = msgspec.json.decode(response.data, type=contract.Problem)
    assert response.status_code == told.status == error.status
    assert told.type == f"urn:imgserve:problem:{error.slug}"
    assert told.title == error.title
    assert told.request_id == response.headers["X-Request-Id"]
    return told


Send = Callable[..., Sent]


@pytest.mark.parametrize("send", [upload, raw, by_data_url])
def test_a_picture_is_answered_with_its_classes_most_probable_first(send: Send) -> None:
    response = answered(send(CAT))
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
    for top_k in (1, 2, 3):
        assert len(answered(send(CAT, top_k=top_k)).get_json()["predictions"]) == top_k


def test_equally_probable_classes_come_by_id() -> None:
    backend = client(lambda _: np.array([[0.4, 0.2, 0.4]], dtype=np.float32))
    ids = [found["class_id"] for found in answered(upload(CAT), backend).get_json()["predictions"]]
    assert ids == [0, 2, 1]


@pytest.mark.parametrize(("send", "true"), [(by_data_url, True), (upload, "true"), (raw, "true")])
def test_where_the_model_looked_is_answered_where_asked_for(send: Send, true: Any) -> None:
    def look_at_the_corner(seen: Crop) -> np.ndarray:
        share = float(seen[0, 0, 0, 0]) / 255
        return np.array([[share, 0.0, 0.0]], dtype=np.float32)

    picture = Image.new("RGB", (32, 32))
    picture.paste((255, 255, 255), (0, 0, 4, 4))
    file = pictures.saved(picture, "PNG")
    backend = client(look_at_the_corner)
    answer = answered(send(file, explain=true), backend).get_json()
    assert answer["explanation"][0][0] == 1
    assert sum(map(sum, answer["explanation"])) < 5
    assert "explanation" not in answered(send(file), backend).get_json()


@pytest.mark.parametrize("path", ["/docs//elsewhere.example", "//hello", "/predict//", "/docs/"])
def test_nothing_is_answered_with_a_redirect(path: str) -> None:
    """One would name the host that the caller sent."""
    assert client().get(path, base_url="http://elsewhere.example").status_code in {200, 404, 405}


def test_thumbnail_is_the_picture_as_the_model_saw_it() -> None:
    seen: list[Crop] = []

    def respond(crops: Crop) -> np.ndarray:
        seen.append(crops)
        assert request.environ["wsgi.input"].closed  # it has the picture no more
        return three_classes(crops)

    answer = answered(upload(cat("PNG"), thumbnail="true"), client(respond)).get_json()
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
TAKEN: list[tuple[Sent, dict[str, Any]]] = [
    *((by_url(f" D{by_data_url(CAT, kind)['json']['url'][1:]}\n"), {}) for kind in KINDS),
    *((by_url(f"data:image/jpeg;base64,{text}"), {}) for text in BASE64),
    *((send(CAT), {"max_image_bytes": len(CAT)}) for send in (raw, by_data_url, upload)),
    (upload(CAT) | {"query_string": "key=of-a-gateway"}, {}),
    (raw(CAT, key="of-a-gateway"), {}),
    (raw(CAT, explain="false"), {"explain": "0"}),
    (raw(CAT), {"max_image_pixels": 2400}),
]


@pytest.mark.parametrize(("sent", "settings"), TAKEN)
def test_a_picture_may_come_in_many_ways(sent: Sent, settings: dict[str, Any]) -> None:
    assert answered(sent, client(**settings)).status_code == 200


# In one piece: the test client would leave a file open for a form of this size.
BOUNDARY, LONG = encode_multipart({"top_k": "1" * 600_000})
UNUSABLE = [
    *(b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"url": null}', b'{"url": 5}'),
    *(b'{"url": "\xff"}', b"[" * 50_000, b'{"url": ' + b"[" * 30_000),
]
IN_JSON = [{"top_k": 0}, {"top_k": 1.5}, {"top_k": True}, {"thumbnail": "yes"}, {"model": "a"}]
OPTIONS = [
    *(("top_k", text) for text in ("0", "-1", "five", "1.5", "")),
    *((name, "1") for name in ("topk", "model", "url")),
]
# What is sent, and what the answer says of it.
REFUSED: list[tuple[Sent, str]] = [
    *((body(data), 'send JSON {"url"') for data in UNUSABLE),
    *((by_url("https://a.invalid/cat.jpg", **told), 'send JSON {"url"') for told in IN_JSON),
    *(
        (body(b'{"url": "x"}', kind), "multipart/form-data")
        for kind in ("text/plain", "application/x-www-form-urlencoded", None)
    ),
    *((send(CAT, **{name: text}), name) for send in (raw, upload) for name, text in OPTIONS),
    (by_url("https://a.invalid/cat.jpg", top_k=4), "top_k=4 cannot be used: small has 3 classes"),
    (raw(CAT, top_k="4"), "top_k=4 cannot be used: small has 3 classes"),
    (raw(CAT, top_k=["1", "2"]), "more than once"),
    (upload(CAT) | {"query_string": "top_k=1"}, "'top_k' belongs into the body"),
    (upload(file="cat"), "one file field 'image'"),
    (upload(CAT, CAT), "one file field 'image'"),
    (upload(CAT, **{f"f{number}": "x" for number in range(16)}), "too many fields"),
    (body(LONG, f"{FORM}; boundary={BOUNDARY}"), "too long a one"),
    *((send(b""), "is empty") for send in (upload, raw)),
]


@pytest.mark.parametrize(("sent", "words"), REFUSED)
def test_a_request_that_cannot_be_used_says_what_is_wrong_with_it(sent: Sent, words: str) -> None:
    assert words in problem(answered(sent), errors.InvalidRequest).detail


CUT_OFF = ["data:", "data:image/png;base64,", "data:;base64,QUJDR", "data:x"]
ONE_TOO_LARGE = {"max_image_bytes": len(CAT) - 1}
LOOPBACK = "http://127.0.0.1:1/cat.jpg"
MARKED = b'\xef\xbb\xbf{"url": "ftp://a.example"}'  # JSON may begin with a byte order mark
# What is sent to a backend with which settings, and the error that it is, with words of it.
FAILED: list[tuple[Sent, dict[str, Any], type[errors.HttpError], str]] = [
    *((by_url(url), {}, errors.InvalidUrl, "upload the picture") for url in CUT_OFF),
    (body(MARKED), {}, errors.InvalidUrl, ""),
    *(
        (send(CAT), ONE_TOO_LARGE, errors.PictureTooLarge, f"{len(CAT) - 1} bytes")
        for send in (raw, by_data_url, upload)
    ),
    (raw(CAT), {"max_image_pixels": 2399}, errors.TooManyPixels, ""),
    (raw(cat("PPM")), {}, errors.UnsupportedFormat, ""),
    (raw(cat("WEBP")[:-40]), {}, errors.DamagedPicture, ""),
    (raw(CAT, explain="true"), {"explain": "0"}, errors.InvalidRequest, "EXPLAIN=0"),
    (by_url(LOOPBACK), {}, errors.AddressNotAllowed, ""),
    (by_url(LOOPBACK), {"allowed_addresses": ("127.0.0.1",)}, errors.PictureHostFailed, ""),
    (get("/nothing"), {}, errors.UnknownRoute, "/docs"),
    (get("/predict"), {}, errors.MethodNotAllowed, "OPTIONS, POST"),
]


@pytest.mark.parametrize(("sent", "settings", "error", "words"), FAILED)
def test_what_is_wrong_with_a_request_is_told_apart(
    sent: Sent, settings: dict[str, Any], error: type[errors.HttpError], words: str
) -> None:
    response = answered(sent, client(**settings))
    assert words in problem(response, error).detail
    assert response.headers.get("Allow", "OPTIONS, POST") == "OPTIONS, POST"


def test_a_picture_that_lacks_its_end_is_answered_and_says_so() -> None:
    assert "incomplete" not in answered(raw(CAT)).get_json()
    assert answered(raw(CAT[:-2])).get_json()["incomplete"] is True


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

    response = answered(upload(CAT), client(respond))
    assert "inside" not in problem(response, errors.InternalError).detail
    assert "KeyError" in caplog.text


NOT_READY = errors.NotReady("model small is still loading: try again in a moment")
UNAVAILABLE = errors.ModelUnavailable("model small could not be loaded: no weights", 60)
LOST = errors.WorkerLost("the worker that had this picture ended: send the picture again")


@pytest.mark.parametrize("error", [NOT_READY, UNAVAILABLE, LOST], ids=lambda error: error.slug)
@pytest.mark.parametrize("sent", [get("/ready"), body(CAT, "image/jpeg")])
def test_what_no_model_answers_is_told_to_come_again(sent: Sent, error: errors.NotReady) -> None:
    backend = client(failure=error)
    response = answered(sent, backend)
    assert problem(response, type(error)).detail == str(error)
    assert response.headers["Retry-After"] == ("60" if error is UNAVAILABLE else "2")
    assert backend.get("/hello").get_json() == "Hello!"


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
    answered(upload(CAT), backend)
    for number in range(5):
        backend.get(f"/nothing/{number}")
        backend.open("/hello", method=f"M{number}")
    lines = backend.get("/metrics").text.splitlines()
    assert {f"imgserve_{name} {count:.1f}" for name, count in COUNTED.items()} <= set(lines)


def test_a_usable_request_id_is_kept_and_another_replaced() -> None:
    kept = client().get("/hello", headers={"X-Request-Id": "abc-1"})
    assert kept.headers["X-Request-Id"] == "abc-1"
    for odd in ("x" * 65, 'a"b', ""):
        made = client().get("/hello", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", made)


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("name", "value"),
    [("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("X-Cloud-Trace-Context", f"{TRACE}/1")],
)
def test_a_request_is_logged_with_its_id_its_status_and_its_trace(
    caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    caplog.set_level("INFO")
    client(google_cloud_project="p").get("/hello", headers={"X-Request-Id": "abc-1", name: value})
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


# --- v2 and v3, where a path names the model; in v2 else the address, the body or a cookie -------


URL = "https://a.example/cat.jpg"


def client_of_v2(pool: PoolStandIn | None = None, **settings: Any) -> FlaskClient:
    """Return a client, with a cookie jar of its own, of a backend with the models a, b and c."""
    pool = pool or PoolStandIn(named_after_itself("a", "b", "c"))
    given = BackendSettings(**{"threads": 2, "secret_key": "k", **settings})
    return make_app(given, pool, has_choice=True).test_client()


def client_of_v3(*behind_the_gateway: str) -> FlaskClient:
    """Return a client of a backend with the model a."""
    settings = BackendSettings(threads=1, models=behind_the_gateway)
    return make_app(settings, PoolStandIn(named_after_itself("a")), by_path=True).test_client()


@pytest.fixture
def _cat_at_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "fetch", lambda *_: CAT)


def kinds(**options: str) -> dict[str, dict[str, Any]]:
    """Return the three kinds of body, for those that have options with these."""
    return {"json": by_url(URL, **options), "form": upload(CAT, **options), "picture": raw(CAT)}


def used(backend: FlaskClient, path: str = "/predict", kind: str = "form", **form: str) -> str:
    """Return which model answered."""
    answer = backend.post(path, **kinds(**form)[kind]).get_json()
    assert answer["category"] == answer["model"]
    model: str = answer["model"]
    return model


@pytest.mark.usefixtures("_cat_at_every_address")
@pytest.mark.parametrize("kind", kinds())
def test_path_beats_address_and_body_these_the_cookie_and_that_the_default(kind: str) -> None:
    backend = client_of_v2()
    assert used(backend, kind=kind) == "a"
    backend.put("/model/c")
    assert used(backend, kind=kind) == "c"
    assert used(backend, "/predict?model=b", kind) == "b"
    assert used(backend, "/model/a/predict?model=b", kind) == "a"
    if kind != "picture":
        assert used(backend, kind=kind, model="b") == "b"
        assert used(backend, "/predict?model=b", kind, model="b") == "b"
        assert used(backend, "/model/a/predict", kind, model="b") == "a"
    assert used(backend, kind=kind) == "c"


@pytest.mark.parametrize("path", ["/predict?model=b", "/predict?model=b&model=c"])
@pytest.mark.parametrize("kind", ["json", "form"])
def test_two_models_in_one_request_are_refused(path: str, kind: str) -> None:
    answered = problem(client_of_v2().post(path, **kinds(model="c")[kind]), errors.InvalidRequest)
    assert "more than one model is named: b, c" in answered.detail


def test_callers_own_choice_is_kept_for_the_caller_alone() -> None:
    pool = PoolStandIn(named_after_itself("a", "b", "c"))
    backend = client_of_v2(pool)
    other = backend.application.test_client()
    assert backend.put("/model/b").get_json()["model"] == "b"
    assert pool.warmed == ["b"]  # it begins to load
    assert (used(backend), used(other)) == ("b", "a")
    assert "detail" in other.put("/model/c").get_json()
    assert (used(backend), used(other)) == ("b", "c")
    assert backend.put("/model/a").get_json() == {"model": "a"}  # it sent the cookie


@pytest.mark.usefixtures("_cat_at_every_address")
def test_caller_without_cookies_is_told_how_its_choice_is_used() -> None:
    """As the calls of a page that keeps none: `requests.put`, then `requests.post`."""
    caller = client_of_v2().application.test_client(use_cookies=False)
    chosen = caller.put("/model/b").get_json()
    assert chosen["model"] == "b"
    assert used(caller, kind="json") == "a"
    paths = re.findall(r"POST (\S+)", chosen["detail"])
    assert len(paths) == 2
    assert {used(caller, path, kind="json") for path in paths} == {"b"}


@pytest.mark.parametrize(
    ("key", "models", "is_tampered_with", "model"),
    [
        ("k", "abc", False, "b"),
        ("k", "ac", False, "a"),
        ("l", "abc", False, "a"),
        ("k", "abc", True, "a"),
    ],
)
def test_instances_with_the_same_key_and_model_share_choices_that_nobody_tampered_with(
    key: str, models: str, is_tampered_with: bool, model: str
) -> None:
    one = client_of_v2()
    two = client_of_v2(PoolStandIn(named_after_itself(*models)), secret_key=key)
    one.put("/model/b")
    cookie = one.get_cookie("imgserve")
    assert cookie
    assert (cookie.http_only, cookie.same_site) == (True, "Lax")
    first = "A" if cookie.value[0] != "A" else "B"  # the last one's low bits are not used
    two.set_cookie("imgserve", first + cookie.value[1:] if is_tampered_with else cookie.value)
    assert used(two) == model


def test_without_a_key_a_random_one_is_made_and_told(caplog: pytest.LogCaptureFixture) -> None:
    one, two = client_of_v2(secret_key=""), client_of_v2(secret_key="")
    assert "SECRET_KEY is not set" in caplog.text
    assert one.application.secret_key != two.application.secret_key


@pytest.mark.parametrize(
    "call", ["GET /model/x", "PUT /model/x", "POST /model/x/predict", "POST /predict?model=x"]
)
def test_an_unknown_model_is_a_404_that_lists_those_there_are(call: str) -> None:
    method, path = call.split()
    data = kinds()["form"] if method == "POST" else {}
    answered = problem(client_of_v2().open(path, method=method, **data), errors.UnknownModel)
    assert "a, b, c" in answered.detail


def test_models_are_listed_default_first_and_in_v3_those_behind_the_gateway() -> None:
    assert client_of_v2().get("/models").get_json() == ["a", "b", "c"]
    assert client_of_v3().get("/models").get_json() == ["a"]
    assert client_of_v3("b", "a").get("/models").get_json() == ["b", "a"]


def test_v3_has_its_own_model_and_no_predict_without_one() -> None:
    backend = client_of_v3()
    assert used(backend, "/model/a/predict") == "a"
    response = backend.post("/model/b/predict", **kinds()["form"])
    assert "no model 'b' here" in problem(response, errors.UnknownModel).detail
    problem(backend.get("/model/b"), errors.UnknownModel)
    problem(backend.post("/predict"), errors.UnknownRoute)
    ready = {"model": "a", "status": "ready", "precision": "fp32"}
    assert backend.get("/ready").get_json() == ready


@pytest.mark.parametrize(
    ("model", "state", "detail"),
    [("vgg16", "absent", "no weights"), ("efficientnet_lite0", "ready", None)],
)
def test_a_model_is_described_and_has_a_size_once_it_is_compiled(
    tmp_path: Path, model: str, state: str, detail: str | None
) -> None:
    failures = {"vgg16": errors.ModelUnavailable("no weights")}
    pool = PoolStandIn(named_after_itself("vgg16", "efficientnet_lite0"), failures=failures)
    backend = client_of_v2(pool, weights_dir=tmp_path)
    described = backend.get(f"/model/{model}").get_json()
    entry = catalogue.entry(model)
    assert (described["id"], described["title"]) == (model, entry.title)
    assert (described["top1"], described["parameters"]) == (entry.top1, entry.parameters)
    assert (described["state"], described["detail"]) == (state, detail)
    assert described["size_bytes"] is None
    (tmp_path / "compiled").mkdir()
    written_model(tmp_path / "compiled", model)
    described = backend.get(f"/model/{model}").get_json()
    assert described["size_bytes"] == len("graph") + len("weights")


@pytest.mark.parametrize("version", [{}, {"has_choice": True}, {"by_path": True}])
def test_every_route_is_described_in_openapi_3_1(version: dict[str, bool]) -> None:
    pool = PoolStandIn(named_after_itself("a", "b", "c"))
    app = make_app(BackendSettings(threads=1), pool, **version)
    document = app.test_client().get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    routes = {rule.rule.replace("<model>", "{model}") for rule in app.url_map.iter_rules()}
    assert routes - set(document["paths"]) == {"/docs/", "/docs/<path:path>"}
    not_ready = document["paths"]["/ready"]["get"]["responses"]["503"]
    assert not_ready["description"] == "Model not ready; Model unavailable"


def test_what_a_prediction_takes_and_answers_is_described() -> None:
    document = client_of_v2().get("/openapi.json").get_json()
    predict = document["paths"]["/model/{model}/predict"]["post"]
    kinds = {"application/json", "multipart/form-data", "image/*"}
    assert set(predict["requestBody"]["content"]) == kinds
    answered = "200 400 404 408 413 415 422 431 501 502 503 504"
    assert set(predict["responses"]) == set(answered.split())
    told = {parameter["name"]: parameter for parameter in predict["parameters"]}
    assert told["model"]["description"] == "With any body."
    assert told["top_k"]["schema"]["maximum"] == 3
    schemas = document["components"]["schemas"]
    assert set(schemas["ChoosingRequest"]["properties"]) == {"url", *told, "explain", "thumbnail"}
    assert "cookie" in str(schemas["Choice"])
