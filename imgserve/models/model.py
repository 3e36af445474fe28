"""What a backend asks of a loaded model, wherever it is loaded."""

from typing import Protocol

import msgspec

from imgserve.contract import Prediction, PredictOptions


class Computed(msgspec.Struct, frozen=True):
    """What a model makes of one picture.

    Attributes:
        predictions: as many as were asked for, most probable first.
        thumbnail: JPEG data URI of what the model saw, where it was asked for.
    """

    predictions: list[Prediction]
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    thumbnail: str | None = None


class Model(Protocol):
    """Computes answers; safe to call from several threads."""

    @property
    def model(self) -> str:
        """Return the model's id."""
        ...

    def check(self) -> None:
        """Do nothing where it can compute now.

        Raises:
            NotReady: it cannot.
        """
        ...

    def compute(self, data: bytes, options: PredictOptions) -> Computed:
        """Return what is on a picture.

        Args:
            data: the picture's file.
            options: what else the caller asked for.

        Raises:
            HttpError: the picture cannot be used, or nothing can compute now.
        """
        ...
