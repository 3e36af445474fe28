"""The tables of environment variables, with defaults, units and limits.

A field's name in upper case is the variable's name; ``make readme`` writes the tables into
docs/settings.md.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imgserve import HOMEPAGE
from imgserve.errors import InvalidSetting
from imgserve.machine import cpu_quota, default_models_file, default_weights_dir, memory_bytes
from imgserve.settings.parsers import (
    Settings,
    base_url,
    certificates,
    contact,
    file,
    folder,
    networks,
    one_of,
    origins,
    seconds,
    setting,
    whole,
    word,
    words,
)
from imgserve.units import MIB

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  Cloud Run's container contract asks for them
DEFAULT_MODEL = "resnet152"
OWN_SAMPLES = Path("own_samples")  # where an image has those of a person's own model
ID_TOKEN = "id-token"  # noqa: S105  the name of a way, not a token


def part_of_the_memory_mb(parts: int) -> int:
    """Return one of so many parts of what this process may use."""
    return max(1, memory_bytes() // MIB // parts)


@dataclass(frozen=True)
class BackendSettings(Settings):
    port: int | None = setting(
        None, whole(1, 65535), "port to listen on; Cloud Run sets it; beats `SERVING_PORT`"
    )
    serving_port: int = setting(8000, whole(1, 65535), "port to listen on")
    host: str = setting(ALL_ADDRESSES, word, "address to listen on")
    model_name: str = setting(
        "",
        word,
        "the model that answers; in v2 the one for callers who choose none",
        shown=f"`{DEFAULT_MODEL}` (v1), the first of `MODELS` (v2), required (v3)",
    )
    models: tuple[str, ...] = setting(
        (), words, "models that callers may choose from (v2)", shown="all that there are"
    )
    models_file: Path | None = setting(
        default_models_file,
        file,
        "describes models of your own: see [Your own model](own-model.md)",
        shown="`models.toml`, where there is one",
    )
    model_memory_mb: int = setting(
        lambda: part_of_the_memory_mb(2),  # pictures and the rest take the other half
        whole(1),
        "memory for loaded models; the least recently used leaves first (v2)",
        unit="MiB",
        shown="half of the container's memory",
    )
    secret_key: str = setting(
        "",
        word,
        "signs the cookie that keeps a caller's choice (v2); all instances need the same",
        shown="a random one",
    )
    engine: str = setting(
        "openvino",
        one_of("openvino", "torch"),
        "`openvino` runs the compiled model; `torch` the plain torchvision module",
    )
    precision: str = setting(
        "auto",
        one_of("auto", "fp32", "bf16", "int8"),
        "what to compute in; `auto`: `bf16` where the CPU has instructions for it, else `fp32`; "
        "`fp32` gives the same digits everywhere; `int8` is a model of its own, which finds the "
        "same class for 97 % of pictures or more, else it is refused",
    )
    weights_dir: Path = setting(
        default_weights_dir,
        folder,
        "where downloaded weights and compiled models are kept",
        shown="`~/.cache/imgserve`",
    )
    weights_url_base: str = setting(
        "", base_url, "a mirror to download weights from, instead of torchvision's own host"
    )
    threads: int = setting(
        cpu_quota, whole(1, 256), "CPU threads that predict", shown="the CPU quota"
    )
    copies: int | None = setting(
        None,
        whole(1, 256),
        "workers of a model: processes that compute, each with a copy of it; at most `THREADS`",
        shown="`THREADS` for weights of up to 48 MiB, else 1",
    )
    explain: str = setting(
        "1",
        one_of("1", "0"),
        "whether callers may ask where a model looked, which takes 65 inferences or fewer",
    )
    max_queue: int = setting(
        64, whole(0, 10000), "requests that may wait; one more is answered 503", unit="requests"
    )
    picture_memory_mb: int = setting(
        lambda: part_of_the_memory_mb(8),
        whole(1),
        "memory for pictures that are received, fetched or wait; one that does not fit is answered "
        "503, unless there is no other",
        unit="MiB",
        shown="an eighth of the container's memory",
    )
    load_wait_s: float = setting(
        10.0, seconds, "how long a request waits for a model that is loading", unit="seconds"
    )
    predict_timeout_s: float = setting(
        30.0,
        seconds,
        "how long a worker may take for one picture before it is replaced, and how long a request "
        "waits for a free one",
        unit="seconds",
    )
    max_image_bytes: int = setting(10 * MIB, whole(1), "largest picture accepted", unit="bytes")
    max_image_pixels: int = setting(
        52_000_000, whole(1), "largest picture accepted, width times height", unit="pixels"
    )
    fetch_timeout_s: float = setting(
        10.0, seconds, "all the time a picture's host has, redirects included", unit="seconds"
    )
    allowed_addresses: tuple[str, ...] = setting(
        (),
        networks,
        "addresses that pictures may come from although they are not public, on any port; "
        "for tests and pictures of your own",
        shown="none",
    )
    fetch_contact: str = setting(
        HOMEPAGE,
        contact,
        "page or mail address of whoever runs this backend, shown to the hosts of pictures; "
        "some refuse requests without one",
    )
    ssl_cert_file: Path | None = setting(
        None,
        certificates,
        "authorities to trust beside the usual ones when a picture comes by https",
        shown="none",
    )
    cors_origins: tuple[str, ...] = setting(
        (), origins, "web origins whose pages may call this backend, or `*`", shown="none"
    )
    log_level: str = setting(
        "INFO", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "the least severe entry that is logged"
    )
    google_cloud_project: str = setting(
        "", word, "the project's id, so that logs name the request's trace in full"
    )

    def __post_init__(self) -> None:
        if self.engine == "torch" and self.precision not in {"auto", "fp32"}:
            raise InvalidSetting(
                f"PRECISION={self.precision!r} cannot be used with ENGINE='torch': "
                "unset one of them"
            )
        if self.copies and self.copies > self.threads:
            raise InvalidSetting(
                f"COPIES={self.copies} cannot be used with THREADS={self.threads}: "
                "each copy needs a thread"
            )

    @property
    def compiled_precision(self) -> str:
        """Return the precision of the compiled model's files: one of fp32 computes in bf16, too."""
        return "int8" if self.precision == "int8" else "fp32"

    @property
    def listen_port(self) -> int:
        return self.port or self.serving_port


def samples() -> Path:
    """Return the folder of an own model's samples, where there is one, else of the bundled ones."""
    return OWN_SAMPLES if OWN_SAMPLES.is_dir() else Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class FrontendSettings(Settings):
    port: int = setting(8501, whole(1, 65535), "port to listen on; Cloud Run sets it")
    host: str = setting(ALL_ADDRESSES, word, "address to listen on")
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
        for name, url in (("SERVING_URL", self.backend_url), ("API_GATEWAY", self.api_gateway)):
            if self.serving_auth == ID_TOKEN and not _keeps_secrets(url):
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
