import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from imgserve.compile import torchvision, weights
from imgserve.errors import ModelError, WeightsUnavailable
from tests.servers import Quiet, served

ARCHITECTURE = "squeezenet1_1"
MODULE: nn.Module = torchvision.models.get_model(ARCHITECTURE)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Mirror:
    """A server on loopback that has the weights of one architecture."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.base, self.requests = folder, patch, "", 0

    def keep(self, file: bytes, architecture: str = ARCHITECTURE) -> None:
        """Have these weights; they are what torchvision wants of this architecture."""
        self.file, self.sent, self.status, self.architecture = file, file, 200, architecture
        self.name = f"{architecture}-{hashlib.sha256(file).hexdigest()[:8]}.pth"
        self.entry = weights.default_weights(architecture).value
        self.patch.setattr(self.entry, "url", f"https://unreachable.invalid/models/{self.name}")

    def trained(self) -> nn.Module:
        return weights.trained(self.architecture, folder=self.folder, url_base=self.base)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path / "weights", monkeypatch)
    mirror.keep(saved(MODULE.state_dict()))

    class Handler(Quiet):
        def respond(self) -> None:
            mirror.requests += 1
            self.send_response(mirror.status if self.path == f"/{mirror.name}" else 404)
            self.send_header("Content-Length", str(len(mirror.file)))
            self.end_headers()
            self.wfile.write(mirror.sent)

    with served(Handler) as mirror.base:
        yield mirror


def test_weights_come_from_the_mirror_with_progress_and_are_kept(
    mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    for loaded in (mirror.trained(), mirror.trained()):
        for ours, theirs in zip(loaded.parameters(), MODULE.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert not loaded.training
    assert "100" in capfd.readouterr().err
    assert mirror.requests == 1


def test_without_a_mirror_the_entrys_own_host_is_asked(mirror: Mirror) -> None:
    mirror.entry.url, mirror.base = f"{mirror.base}/{mirror.name}", ""
    mirror.trained()
    assert mirror.requests == 1


@pytest.mark.parametrize(
    ("status", "sent", "said"),
    [
        (200, lambda file: file[:0], "squeezenet1_1-.*pth could not .* set WEIGHTS_URL_BASE"),
        (200, lambda file: file[:-1], "squeezenet1_1-.*pth could not be downloaded"),
        (200, lambda file: file[:-1] + b"X", "invalid hash"),
        (404, lambda file: file, "404"),
    ],
    ids=["empty", "cut short", "damaged", "not there"],
)
def test_a_download_that_fails_leaves_no_file_and_says_what_to_do(
    status: int, sent: Callable[[bytes], bytes], said: str, mirror: Mirror
) -> None:
    mirror.status, mirror.sent = status, sent(mirror.file)
    with pytest.raises(WeightsUnavailable, match=said):
        mirror.trained()
    assert list(mirror.folder.iterdir()) == []


def test_a_wrong_file_on_disk_is_downloaded_anew_and_that_is_said(
    mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = mirror.folder / mirror.name
    wrong.parent.mkdir()
    wrong.write_bytes(b"wrong")
    mirror.trained()
    assert wrong.read_bytes() == mirror.file
    found, right = (hashlib.sha256(data).hexdigest()[:8] for data in (b"wrong", mirror.file))
    difference = f"its SHA-256 begins with {found} instead of {right}"
    assert f"{wrong} is not the right file, {difference}: it is downloaded anew" in caplog.text


def test_pickled_code_is_not_run(mirror: Mirror) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
            return exec, ("raise SystemExit('ran')",)

    mirror.keep(saved({"layer.weight": Evil()}))
    with pytest.raises(ModelError, match="reading it would run its code"):
        mirror.trained()


def test_an_architecture_that_prepares_pictures_otherwise_with_trained_weights_does_so(
    mirror: Mirror,
) -> None:
    plain = torchvision.models.get_model("googlenet", init_weights=False)
    mirror.keep(saved(plain.state_dict()), "googlenet")
    assert not plain.transform_input
    assert mirror.trained().transform_input
