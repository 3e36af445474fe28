"""Every deliberate error of this package.

::

    ImgserveError
    ├── InvalidSetting            stops the start of a service
    ├── ModelError                a model cannot be downloaded, compiled or read
    │   ├── WeightsUnavailable        the download failed or was damaged
    │   ├── CompileMismatch           the compiled model disagrees with the original
    │   └── CompiledModelInvalid           files of a compiled model do not belong together
    ├── EvaluationFailed          there are no labelled pictures to evaluate a model with
    ├── HttpError                 answered to an HTTP caller, with its status
    │   ├── InvalidRequest        400  the body cannot be understood
    │   ├── InvalidUrl            400  the picture's address is malformed or not allowed
    │   ├── AddressNotAllowed     400  the picture's host is not a public address
    │   ├── UnknownModel          404
    │   ├── UnknownRoute          404
    │   ├── MethodNotAllowed      405
    │   ├── RequestTimeout        408  the request came in too slowly
    │   ├── PictureTooLarge       413  over the byte limit
    │   ├── TooManyPixels         413  over the pixel limit
    │   ├── UnsupportedFormat     415  not one of the accepted picture formats
    │   ├── DamagedPicture        422  the format is right, the data is not
    │   ├── HeadTooLarge          431  of a request
    │   ├── InternalError         500  a fault of ours; the log has the traceback
    │   ├── UnsupportedTransferEncoding  501  more than chunks
    │   ├── PictureHostFailed     502  the picture's host failed or answered an error
    │   │   ├── PictureHostRefused    502  and asking again does not help
    │   │   └── PictureHostBusy       502  it says when to ask again
    │   ├── Busy                  503  the queue is full
    │   ├── NotReady              503  the model is not loaded
    │   │   ├── ModelUnavailable  503  and could not be: waiting does not help
    │   │   └── WorkerLost        503  what computed the picture ended or took too long
    │   └── PictureHostTimeout    504  the picture's host took too long
    └── BackendError              a frontend got no usable answer from its backend
        ├── BackendUnreachable        nobody answers at that address
        ├── BackendTimeout            the answer took too long
        ├── BackendNotReady           it answers, but its model is not loaded yet
        ├── BackendBusy               its queue is full
        ├── IdentityUnavailable       the frontend has no token to show it
        ├── CallerNotAllowed          its platform does not let the frontend call it
        └── RequestRefused            it says what is wrong with the request
"""

from typing import ClassVar


class ImgserveError(Exception):
    """Base of every deliberate error; the message names the thing and the next step."""


class InvalidSetting(ImgserveError):
    """An environment variable has a value that cannot be used."""


class ModelError(ImgserveError):
    """A model cannot be downloaded, compiled or read."""


class WeightsUnavailable(ModelError):
    """The trained weights could not be downloaded whole."""


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
    status, title, slug = 500, "Internal error", "internal-error"


class UnsupportedTransferEncoding(HttpError):
    status, title, slug = 501, "Unsupported transfer encoding", "unsupported-transfer-encoding"


class PictureHostFailed(HttpError):
    status, title, slug = 502, "Picture host failed", "picture-host-failed"


class PictureHostRefused(PictureHostFailed):
    status, title, slug = 502, "Picture host refused", "picture-host-refused"


class PictureHostBusy(PictureHostFailed):
    status, title, slug = 502, "Picture host busy", "picture-host-busy"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s: int = retry_after_s


class Busy(HttpError):
    status, title, slug = 503, "Busy", "busy"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(HttpError):
    status, title, slug = 503, "Model not ready", "not-ready"

    def __init__(self, detail: str, retry_after_s: int = 2) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ModelUnavailable(NotReady):
    status, title, slug = 503, "Model unavailable", "model-unavailable"


class WorkerLost(NotReady):
    status, title, slug = 503, "Worker lost", "worker-lost"


class PictureHostTimeout(HttpError):
    status, title, slug = 504, "Picture host too slow", "picture-host-timeout"


def http_errors(base: type[HttpError] = HttpError) -> dict[str, type[HttpError]]:
    """Return every kind of HttpError by its slug, however deep in the tree."""
    found = {base.slug: base}
    for kind in base.__subclasses__():
        found |= http_errors(kind)
    return found


class BackendError(ImgserveError):
    """A frontend got no usable answer from its backend."""


class BackendUnreachable(BackendError):
    """Nobody answers at the backend's address."""


class BackendTimeout(BackendError):
    """The backend accepted the request but its answer took too long."""


class BackendNotReady(BackendError):
    """The backend answers, but its model is not loaded yet."""


class BackendBusy(BackendError):
    """The backend's queue is full."""


class IdentityUnavailable(BackendError):
    """The frontend cannot show the backend who it is: there is no ID token."""


class CallerNotAllowed(BackendError):
    """The platform that runs the backend does not let this frontend call it."""


class RequestRefused(BackendError):
    """The backend says what is wrong with the request; the message is its ``detail``.

    Attributes:
        slug: the last part of the problem's ``type``, one of the slugs of ``HttpError``.
        status: the HTTP status.
    """

    def __init__(self, detail: str, slug: str, status: int) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status = status
