"""Every deliberate error of this package."""

import re
from typing import ClassVar


class ImgserveError(Exception):
    """Base of every deliberate error; the message names the thing and the next step."""


class InvalidSetting(ImgserveError): ...


class ModelsFileInvalid(ImgserveError): ...


class ModelError(ImgserveError):
    """A model cannot be downloaded, compiled or read."""


class WeightsUnavailable(ModelError): ...


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
    slug: ClassVar[str] = "error"  # the class's name with hyphens, unless it is given
    type_uri: ClassVar[str]  # what callers know it by
    retry_after_s: int | None = None

    def __init_subclass__(cls, *, status: int, title: str, slug: str = "") -> None:
        cls.status, cls.title = status, title
        cls.slug = slug or re.sub(r"\B(?=[A-Z])", "-", cls.__name__).lower()
        cls.type_uri = f"urn:imgserve:problem:{cls.slug}"

    def __init__(self, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s or self.retry_after_s


class InvalidRequest(HttpError, status=400, title="Invalid request"): ...


class InvalidUrl(HttpError, status=400, title="Invalid picture URL"): ...


class AddressNotAllowed(HttpError, status=400, title="Address not allowed"): ...


class UnknownModel(HttpError, status=404, title="Unknown model"): ...


class UnknownRoute(HttpError, status=404, title="Unknown route"): ...


class MethodNotAllowed(HttpError, status=405, title="Method not allowed"):
    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class RequestTimeout(HttpError, status=408, title="Request timeout"): ...


class PictureTooLarge(HttpError, status=413, title="Picture too large"): ...


class TooManyPixels(HttpError, status=413, title="Too many pixels"): ...


class UnsupportedFormat(HttpError, status=415, title="Unsupported picture format"): ...


class DamagedPicture(HttpError, status=422, title="Damaged picture"): ...


class HeadTooLarge(HttpError, status=431, title="Head too large"): ...


class InternalError(HttpError, status=500, title="Internal error"):
    """A fault of ours; the log has the traceback."""


class UnsupportedTransferEncoding(HttpError, status=501, title="Unsupported transfer encoding"): ...


class PictureHostFailed(HttpError, status=502, title="Picture host failed"): ...


class PictureHostRefused(PictureHostFailed, status=502, title="Picture host refused"):
    """Asking again does not help."""


class PictureHostBusy(PictureHostFailed, status=502, title="Picture host busy"):
    """It says when to ask again."""

    retry_after_s: int = 1


class Busy(HttpError, status=503, title="Busy"):
    retry_after_s = 1


class NotReady(HttpError, status=503, title="Model not ready"):
    retry_after_s = 2


class ModelUnavailable(NotReady, status=503, title="Model unavailable"):
    """The model could not be loaded: waiting does not help."""


class WorkerLost(NotReady, status=503, title="Worker lost"):
    """What computed the picture ended or took too long."""


class PictureHostTimeout(HttpError, status=504, title="Picture host too slow"): ...


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


class BackendTimeout(BackendError): ...


class BackendNotReady(BackendError):
    may_wake = True


class BackendBusy(BackendError): ...


class IdentityUnavailable(BackendError):
    """The frontend cannot show the backend who it is: there is no ID token."""


class CallerNotAllowed(BackendError):
    """The platform that runs the backend does not let this frontend call it."""


class RequestRefused(BackendError):
    """The backend says what is wrong with the request: a problem's detail, slug and status."""

    def __init__(self, detail: str, slug: str, status: int) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status = status
