"""BentoML, as its documentation begins: a class with a method for each route."""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from tools.benchmarks.peers import classifier, fetched


@bentoml.service(workers=1, threads=4, traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.classify = classifier()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict_url(self, url: str) -> dict[str, str]:
        return {"category": self.classify([fetched(url)])[0]}

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict_upload(self, image: Annotated[Path, ContentType("image/*")]) -> dict[str, str]:
        return {"category": self.classify([image.read_bytes()])[0]}
