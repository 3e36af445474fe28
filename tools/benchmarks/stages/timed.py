"""What is timed, and what is answered."""

import msgspec


class Job(msgspec.Struct, frozen=True):
    """The model to time."""

    model: str
    engine: str
    precision: str


class Stages(msgspec.Struct, frozen=True):
    """How long each stage of one prediction took, in milliseconds."""

    fetch_ms: float
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
