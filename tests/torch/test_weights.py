import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from imgserve.compile import torchvision, weights
from imgserve.errors import WeightsUnavailable
from tests.servers import Quiet, served


class Mirror:
    """What a server on loopback serves: one file, as it is told to."""

    def __init__(self, content: bytes, stem: str, folder: Path) -> None:
        self.content, self.status, self.sent, self.requests = content, 200, len(content), 0
        self.folder = folder
        self.name = f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        self.base = ""

    def download(self) -> dict[str, torch.Tensor]:
        entry = Entry(f"https://unreachable.invalid/models/{self.name}")
        return weights.state_dict(entry, folder=self.folder, url_base=self.base)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Mirror]]:
    """Return a function that serves a state, by default a small one, as a file with its hash."""
    with contextlib.ExitStack() as stack:

        def serve(state: object = None, stem: str = "tiny") -> Mirror:
            buffer = io.BytesIO()
            torch.save(state or {"layer.weight": torch.arange(6.0)}, buffer)
            mirror = Mirror(buffer.getvalue(), stem, tmp_path / "w")

            class Handler(Quiet):
                def respond(self) -> None:
                    mirror.requests += 1
                    self.send_response(mirror.status if self.path == f"/{mirror.name}" else 404)
                    self.send_header("Content-Length", str(len(mirror.content)))
                    self.end_headers()
                    self.wfile.write(mirror.content[: mirror.sent])

            mirror.base = stack.enter_context(served(Handler))
            return mirror

        yield serve


@pytest.fixture
def mirror(serve: Callable[..., Mirror]) -> Mirror:
    return serve()


class Entry(NamedTuple):
    """What ``state_dict`` needs of a torchvision weights entry."""

    url: str


def test_weights_come_from_the_mirror_with_progress_and_are_kept(
    mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    assert torch.equal(mirror.download()["layer.weight"], torch.arange(6.0))
    assert "100" in capfd.readouterr().err
    assert torch.equal(mirror.download()["layer.weight"], torch.arange(6.0))
    assert mirror.requests == 1


def test_without_a_mirror_the_entrys_own_host_is_asked(mirror: Mirror, tmp_path: Path) -> None:
    entry = Entry(f"{mirror.base}/{mirror.name}")
    assert "layer.weight" in weights.state_dict(entry, folder=tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_download_cut_short_leaves_no_file_and_says_what_to_do(mirror: Mirror, cut: int) -> None:
    mirror.sent = len(mirror.content) - 1 if cut == 1 else cut
    with pytest.raises(WeightsUnavailable, match=f"{mirror.name}.*WEIGHTS_URL_BASE"):
        mirror.download()
    assert list(mirror.folder.iterdir()) == []


def test_a_damaged_download_leaves_no_file(mirror: Mirror) -> None:
    mirror.content = mirror.content[:-1] + b"X"
    with pytest.raises(WeightsUnavailable, match="invalid hash"):
        mirror.download()
    assert list(mirror.folder.iterdir()) == []


def test_a_missing_file_says_404(mirror: Mirror) -> None:
    mirror.status = 404
    with pytest.raises(WeightsUnavailable, match="404"):
        mirror.download()


@pytest.fixture
def wrong(mirror: Mirror) -> Path:
    """Return a file that is not the one whose name it has."""
    path = mirror.folder / mirror.name
    path.parent.mkdir()
    path.write_bytes(b"wrong")
    return path


def test_a_wrong_file_on_disk_is_downloaded_anew_and_that_is_said(
    mirror: Mirror, wrong: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "layer.weight" in mirror.download()
    assert mirror.requests == 1
    assert wrong.read_bytes() == mirror.content
    assert f"{wrong} is not the right file, {_hashes(mirror)}: it is downloaded anew" in caplog.text


def test_a_wrong_file_on_disk_stays_where_the_right_one_cannot_be_downloaded_and_is_named(
    mirror: Mirror, wrong: Path
) -> None:
    mirror.sent = 1
    with pytest.raises(WeightsUnavailable) as caught:
        mirror.download()
    assert str(caught.value).endswith(
        f"{wrong.parent} by hand; the file that is there is not the right one, {_hashes(mirror)}"
    )
    assert wrong.read_bytes() == b"wrong"


def _hashes(mirror: Mirror) -> str:
    """Return what is said of the wrong file's hash and the right one's."""
    found, right = (hashlib.sha256(data).hexdigest()[:8] for data in (b"wrong", mirror.content))
    return f"its SHA-256 begins with {found} instead of {right}"


def test_a_file_put_there_by_hand_stays_although_it_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(b"unreadable")
    with pytest.raises(WeightsUnavailable, match=r"plain\.pth could not be downloaded"):
        weights.state_dict(Entry("https://unreachable.invalid/plain.pth"), folder=tmp_path)
    assert (tmp_path / "plain.pth").exists()


def test_a_file_without_a_hash_in_its_name_is_kept_as_it_is(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(mirror.content)
    entry = Entry("https://unreachable.invalid/plain.pth")
    assert "layer.weight" in weights.state_dict(entry, folder=tmp_path)


def test_pickled_code_is_not_run(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
            return exec, ("raise SystemExit('ran')",)

    mirror = serve({"layer.weight": Evil()})
    with pytest.raises(WeightsUnavailable):
        weights.state_dict(Entry(mirror.name), folder=tmp_path, url_base=mirror.base)


def test_embedded_weights_need_no_network(tmp_path: Path) -> None:
    assert not weights.trained("efficientnet_lite0", folder=tmp_path).training
    assert list(tmp_path.iterdir()) == []


def test_a_hub_models_weights_are_loaded_into_its_architecture(
    serve: Callable[..., Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = torchvision.models.get_model("squeezenet1_1")
    mirror = serve(small.state_dict(), "squeezenet1_1")
    monkeypatch.setattr(weights, "default_weights", lambda _: Entry(mirror.name))
    loaded = weights.trained("squeezenet1_1", folder=tmp_path, url_base=mirror.base)
    for ours, theirs in zip(loaded.parameters(), small.parameters(), strict=True):
        assert torch.equal(ours, theirs)
