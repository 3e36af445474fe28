"""What backends and frontends say to each other: paths, field names and types, said once.

Types are msgspec structs: it checks what comes in, writes what goes out and gives the JSON Schema
of the API document, and its import takes a tenth of the time of the usual choice.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

HELLO = "/hello"
READY = "/ready"
PREDICT = "/predict"
METRICS = "/metrics"
MODELS = "/models"
OPENAPI = "/openapi.json"
DOCS = "/docs"

# Of one model; the gateway of v3 routes by these.
MODEL = "/model/{model}"
MODEL_PREDICT = "/model/{model}/predict"

IMAGE_FIELD = "image"
URL_FIELD = "url"
MODEL_OPTION = "model"  # of the options the one that may stand in the address beside any body
TOP_K = "top_k"
EXPLAIN = "explain"
FORM_OVERHEAD_BYTES = 64 * 1024  # boundaries, headers and options around an uploaded picture
PROBLEM_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-Id"

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "AVIF", "TIFF")
FORMATS_IN_WORDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"

# How many classes: unset, five, or all where there are fewer.
TopK = Annotated[int, Meta(ge=1, description="How many classes to answer with, at most all.")]
Milliseconds = Annotated[float, Meta(ge=0)]


class PredictOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller may ask for beside the picture."""

    top_k: TopK | UnsetType = UNSET
    thumbnail: Annotated[bool, Meta(description="Also answer with the crop as a small JPEG.")] = (
        False
    )
    explain: Annotated[
        bool, Meta(description="Also answer with where the model looked; takes many inferences.")
    ] = False


class PredictRequest(PredictOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prediction asked for by URL."""

    url: Annotated[
        str, Meta(description="The picture's public http or https address, or a data: URL of it.")
    ]


class ChoosingRequest(PredictRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prediction asked for by URL, with a model of the caller's choice."""

    model: Annotated[str | None, Meta(description="A model's id; else the caller's choice.")] = None


class Prediction(Struct, frozen=True):
    """One class and how probable it is."""

    category: str
    class_id: Annotated[int, Meta(ge=0, description="Its place among the model's classes.")]
    probability: Annotated[float, Meta(ge=0, le=1)]


class Timings(Struct, frozen=True):
    """Where the time went, in milliseconds; ``fetch`` is 0 for an uploaded picture."""

    fetch: Milliseconds
    decode: Milliseconds
    preprocess: Milliseconds
    inference: Milliseconds
    total: Milliseconds


Precision = Annotated[
    str, Meta(description="What is computed in: `fp32`, `bf16`, `int8`, or `auto` until loaded.")
]


class PredictAnswer(Struct, frozen=True, omit_defaults=True):
    """The most probable class first, then as many as were asked for, most probable first."""

    category: Annotated[str, Meta(description="The most probable class.")]
    model: Annotated[str, Meta(description="The id of the model that answered.")]
    predictions: list[Prediction]
    timings_ms: Timings
    thumbnail: Annotated[str | None, Meta(description="JPEG data URI, upright and cropped.")] = None
    incomplete: Annotated[bool, Meta(description="Whether the end of its file is missing.")] = False
    precision: Precision = ""
    explanation: Annotated[
        list[list[float]] | None,
        Meta(description="How much each place of the thumbnail matters, 0 to 1; top row first."),
    ] = None


class Choice(Struct, frozen=True, omit_defaults=True):
    """The model that this caller's predictions use from now on."""

    model: str
    detail: Annotated[str | None, Meta(description="How to use it, if no cookie was sent.")] = None


State = Literal["absent", "loading", "ready"]


class ModelState(Struct, frozen=True):
    """What a model is, and whether it is loaded."""

    id: str
    title: str
    parameters: Annotated[int | None, Meta(description="Number of trained weights.")]
    top1: Annotated[
        float | None,
        Meta(description="Published ImageNet-1K top-1 accuracy, percent; null for other classes."),
    ]
    input_size: Annotated[int | None, Meta(description="Side of the picture it sees, pixels.")]
    size_bytes: Annotated[int | None, Meta(description="On disk; null where it is not compiled.")]
    state: Annotated[State, Meta(description="`absent`: not in memory; loaded when asked for.")]
    detail: Annotated[str | None, Meta(description="Why it could not be loaded, if tried.")] = None
    precision: Precision = "fp32"
    classes: Annotated[int | None, Meta(description="How many it knows.")] = None


class Ready(Struct, frozen=True):
    """A prediction can be made now."""

    model: str
    status: str = "ready"
    precision: Precision = "fp32"


class Problem(Struct, frozen=True):
    """An error, as RFC 9457 words it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
