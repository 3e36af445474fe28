"""Every deliberate error of this package."""

from typing import ClassVar


class ImgserveError(Exception):
    """Base of every deliberate error; the message names the thing and the next step."""


class InvalidSetting(ImgserveError):
    """An environment variable has a value that cannot be used."""


class ModelsFileInvalid(ImgserveError):
    """The file that describes a person's own models cannot be used."""


class ModelError(ImgserveError):
    """A model cannot be downloaded, compiled or read."""


class WeightsUnavailable(ModelError):
    """The trained weights could not be downloaded whole."""


class OriginalInvalid(ModelError):
    """A trained model's file, its labels or what is said of it cannot be used."""


class CompileMismatch(ModelError):
    """The compiled model does not answer as the original does."""


class CompiledModelInvalid(ModelError):
    """The files of a compiled model are missing, damaged or of another version."""


class EvaluationFailed(ImgserveError):
    """There are no labelled pictures to evaluate a model with, or their labels are wrong."""


class HttpError(ImgserveError):
    """An error with an HTTP status, answered as ``application/problem+json`` (RFC 9457)."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    slug: ClassVar[str] = "error"
    retry_after_s: int | None = None

    def __init__(self, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s or self.retry_after_s

    @property
    def type_uri(self) -> str:
        """Return the stable identifier of this kind of problem."""
        return f"urn:imgserve:problem:{self.slug}"


class InvalidRequest(HttpError):
    status, title, slug = 400, "Invalid request", "invalid-request"


class InvalidUrl(HttpError):
    status, title, slug = 400, "Invalid picture URL", "invalid-url"


class AddressNotAllowed(HttpError):
    status, title, slug = 400, "Address not allowed", "address-not-allowed"


class UnknownModel(HttpError):
    status, title, slug = 404, "Unknown model", "unknown-model"


class UnknownRoute(HttpError):
    status, title, slug = 404, "Unknown route", "unknown-route"


class MethodNotAllowed(HttpError):
    status, title, slug = 405, "Method not allowed", "method-not-allowed"

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class RequestTimeout(HttpError):
    status, title, slug = 408, "Request timeout", "request-timeout"


class PictureTooLarge(HttpError):
    status, title, slug = 413, "Picture too large", "picture-too-large"


class TooManyPixels(HttpError):
    status, title, slug = 413, "Too many pixels", "too-many-pixels"


class UnsupportedFormat(HttpError):
    status, title, slug = 415, "Unsupported picture format", "unsupported-format"


class DamagedPicture(HttpError):
    status, title, slug = 422, "Damaged picture", "damaged-picture"


class HeadTooLarge(HttpError):
    status, title, slug = 431, "Head too large", "head-too-large"


class InternalError(HttpError):
    """A fault of ours; the log has the traceback."""

    status, title, slug = 500, "Internal error", "internal-error"


class UnsupportedTransferEncoding(HttpError):
    status, title, slug = 501, "Unsupported transfer encoding", "unsupported-transfer-encoding"


class PictureHostFailed(HttpError):
    status, title, slug = 502, "Picture host failed", "picture-host-failed"


class PictureHostRefused(PictureHostFailed):
    """Asking again does not help."""

    status, title, slug = 502, "Picture host refused", "picture-host-refused"


class PictureHostBusy(PictureHostFailed):
    """It says when to ask again."""

    status, title, slug = 502, "Picture host busy", "picture-host-busy"
    retry_after_s: int = 1


class Busy(HttpError):
    status, title, slug = 503, "Busy", "busy"
    retry_after_s = 1


class NotReady(HttpError):
    status, title, slug = 503, "Model not ready", "not-ready"
    retry_after_s = 2


class ModelUnavailable(NotReady):
    """The model could not be loaded: waiting does not help."""

    status, title, slug = 503, "Model unavailable", "model-unavailable"


class WorkerLost(NotReady):
    """What computed the picture ended or took too long."""

    status, title, slug = 503, "Worker lost", "worker-lost"


class PictureHostTimeout(HttpError):
    status, title, slug = 504, "Picture host too slow", "picture-host-timeout"


def http_errors() -> dict[str, type[HttpError]]:
    """Return every kind of HttpError of this module by its slug, not those of the gateway."""
    kinds = [kind for kind in globals().values() if isinstance(kind, type)]
    return {kind.slug: kind for kind in kinds if issubclass(kind, HttpError)}


class BackendError(ImgserveError):
    """A frontend got no usable answer from its backend."""

    may_wake = False  # whether there may be one in a while


class BackendUnreachable(BackendError):
    """Nobody answers at the backend's address, or not as a backend does."""

    def __init__(self, detail: str, *, may_wake: bool = False) -> None:
        super().__init__(detail)
        self.may_wake = may_wake


class BackendTimeout(BackendError):
    """The backend accepted the request but its answer took too long."""


class BackendNotReady(BackendError):
    """The backend answers, but its model is not loaded yet."""

    may_wake = True


class BackendBusy(BackendError):
    """The backend's queue is full."""


class IdentityUnavailable(BackendError):
    """The frontend cannot show the backend who it is: there is no ID token."""


class CallerNotAllowed(BackendError):
    """The platform that runs the backend does not let this frontend call it."""


class RequestRefused(BackendError):
    """The backend says what is wrong with the request; the message is its ``detail``.

    ``slug`` is the last part of the problem's ``type``, one of the slugs of ``HttpError``.
    """

    def __init__(self, detail: str, slug: str, status: int) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status = status
