"""One backend, or the gateway before several, asked by HTTP."""

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from imgserve import contract
from imgserve.contract import ModelState, PredictAnswer, Ready
from imgserve.errors import RequestRefused, UnknownModel
from imgserve.frontend.failures import decoded, translated

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
# What is asked about models is answered from memory, and a page is drawn only after it.
ABOUT_MODELS_TIMEOUT_S = 5.0


class BackendClient:
    """One backend, at ``base_url``; give a ``session`` that carries credentials where needed.

    Every method raises a ``BackendError``, and nothing else, when it has no answer to return.
    """

    def __init__(
        self, base_url: str, *, timeout_s: float, session: requests.Session | None = None
    ) -> None:
        self.base_url = base_url
        self._timeout_s = timeout_s
        self._session = session or requests.Session()

    def ready(self) -> Ready:
        """Return which model is ready to predict."""
        return self._call("GET", contract.READY, Ready)

    def models(self) -> list[str]:
        """Return the ids of the models that can be asked, the default first."""
        return self._call("GET", contract.MODELS, list[str], limit_s=ABOUT_MODELS_TIMEOUT_S)

    def model(self, model: str) -> ModelState:
        """Return what a model is, and whether it is loaded."""
        path = _of_model(contract.MODEL, model)
        return self._call("GET", path, ModelState, limit_s=ABOUT_MODELS_TIMEOUT_S)

    def predict_url(
        self, url: str, *, model: str | None = None, top_k: int = 5, thumbnail: bool = True
    ) -> PredictAnswer:
        """Return what the picture at ``url`` shows; the backend fetches it.

        Args:
            url: public address of the picture.
            model: who predicts; without it, the backend's own.
            top_k: how many classes to answer with.
            thumbnail: whether the answer brings a small picture.
        """
        body = {"url": url, "top_k": top_k, "thumbnail": thumbnail}
        return self._call("POST", _predict_path(model), PredictAnswer, json=body)

    def predict_image(
        self,
        data: bytes,
        *,
        filename: str = "picture",
        content_type: str = "application/octet-stream",
        model: str | None = None,
        top_k: int = 5,
        thumbnail: bool = True,
    ) -> PredictAnswer:
        """Return what the picture in ``data``, an encoded file, shows."""
        return self._call(
            "POST",
            _predict_path(model),
            PredictAnswer,
            files={contract.IMAGE_FIELD: (filename, data, content_type)},
            data={"top_k": str(top_k), "thumbnail": str(thumbnail).lower()},
        )

    def _call(
        self, method: str, path: str, answer: type[T], *, limit_s: float | None = None, **body: Any
    ) -> T:
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                timeout=(CONNECT_TIMEOUT_S, min(self._timeout_s, limit_s or self._timeout_s)),
                allow_redirects=False,  # following one turns a POST into a GET
                **body,
            )
            return decoded(response, answer)
        except (requests.RequestException, msgspec.MsgspecError) as exc:
            raise translated(exc, self.base_url) from exc


def _predict_path(model: str | None) -> str:
    return contract.PREDICT if model is None else _of_model(contract.MODEL_PREDICT, model)


def _of_model(path: str, model: str) -> str:
    """Return the path of this model; an id from outside stays one segment of it.

    Raises:
        RequestRefused: the id cannot be one, as "." and ".." mean other paths, however written.
    """
    if not model.strip("."):
        raise RequestRefused(f"there is no model {model!r}", UnknownModel.slug, UnknownModel.status)
    return path.format(model=quote(model, safe=""))
