"""The table of a frontend's environment variables."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imgserve.errors import InvalidSetting
from imgserve.settings.base import Settings, setting
from imgserve.settings.parsers import base_url, folder, one_of, seconds, whole, word
from imgserve.units import MIB

BUNDLED_SAMPLES = Path(__file__).parents[1] / "samples"
OWN_SAMPLES = Path("own_samples")  # where an image has those of a person's own model
ID_TOKEN = "id-token"  # noqa: S105  the name of a way, not a token


def samples() -> Path:
    """Return the folder of an own model's samples, where there is one, else of the bundled ones."""
    return OWN_SAMPLES if OWN_SAMPLES.is_dir() else BUNDLED_SAMPLES


@dataclass(frozen=True)
class FrontendSettings(Settings):
    port: int = setting(8501, whole(1, 65535), "port to listen on; Cloud Run sets it")
    host: str = setting(
        "0.0.0.0",  # noqa: S104  Cloud Run's container contract asks for all addresses
        word,
        "address to listen on",
    )
    serving_url: str = setting("", base_url, "the backend's address")
    serving_host: str = setting(
        "127.0.0.1", word, "the backend's host, where `SERVING_URL` is not set"
    )
    serving_port: int = setting(
        8000, whole(1, 65535), "the backend's port, where `SERVING_URL` is not set"
    )
    api_gateway: str = setting(
        "http://127.0.0.1:8080", base_url, "the address of the gateway before the backends (v3)"
    )
    serving_auth: str = setting(
        "none",
        one_of("none", ID_TOKEN),
        "how the page shows the backend who it is; `id-token` for a Cloud Run service that is not "
        "public: with a token for its service account, by https",
    )
    page_title: str = setting("Animal Classification", word, "what the page is called")
    samples_dir: Path = setting(
        samples,
        folder,
        "pictures that the page offers, JPEG or PNG, each called by its file's name",
        shown="a cat, an espresso and a rocket",
    )
    explain: str = setting(
        "1",
        one_of("1", "0"),
        "whether the page offers to show where a model looked; as the backend's",
    )
    max_image_bytes: int = setting(
        10 * MIB, whole(1), "largest picture that the page sends; as the backend's", unit="bytes"
    )
    serving_timeout_s: float = setting(
        60.0, seconds, "how long the page waits for one answer", unit="seconds"
    )
    wake_timeout_s: float = setting(
        60.0, seconds, "how long the page keeps trying while the backend wakes up", unit="seconds"
    )

    def __post_init__(self) -> None:
        """Refuse to send a token where others could read it: by http over a network."""
        if self.serving_auth != ID_TOKEN:
            return
        for name, url in (("SERVING_URL", self.backend_url), ("API_GATEWAY", self.api_gateway)):
            if not _keeps_secrets(url):
                raise InvalidSetting(
                    f"SERVING_AUTH={ID_TOKEN!r} cannot be used with {name}={url!r}: "
                    "others could read the token; use an address that starts with https://"
                )

    @property
    def backend_url(self) -> str:
        """Return the backend's address, without a slash at its end."""
        return self.serving_url or f"http://{self.serving_host}:{self.serving_port}"


def _keeps_secrets(url: str) -> bool:
    """Return whether nobody on the way can read what is sent there."""
    if url.startswith("https://"):
        return True
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
