"""LitServe, as its documentation begins: a ``LitAPI`` with its methods.

Torch as it comes answers batches of eight, which is where LitServe was fastest when this was
planned; our compiled model takes one picture at a time, in a worker for each core.
"""

import os
from typing import Any

import litserve
from starlette.requests import Request

from tools.benchmarks.peers import classifier, fetched


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # checked without LitServe
    def setup(self, device: str) -> None:  # noqa: ARG002  LitServe gives it
        self.classify = classifier()

    def decode_request(self, request: Request) -> bytes:
        if "url" in request:
            return fetched(request["url"])
        data: bytes = request["image"].file.read()
        return data

    def predict(self, data: Any) -> Any:
        """Return the class of a picture, or the classes of a batch."""
        return self.classify(data) if isinstance(data, list) else self.classify([data])[0]

    def encode_response(self, output: str) -> dict[str, str]:
        return {"category": output}


if __name__ == "__main__":
    if os.environ["BENCH_ENGINE"] == "ours":
        api, workers = Classifier(), len(os.sched_getaffinity(0))
    else:
        api, workers = Classifier(max_batch_size=8, batch_timeout=0.01), 1
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=60)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
