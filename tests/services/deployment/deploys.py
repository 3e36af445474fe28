"""What each component is deployed with, and the calls that this makes."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.services.deployment import calls
from tests.services.deployment.calls import RUN_ACCOUNT, WHERE
from tests.services.deployment.project import IMAGES, PROJECT

LISTED = Path(__file__).resolve().parents[3] / "v3" / "gateway" / "backends.toml"
MODELS = tuple(tomllib.loads(LISTED.read_text())["backends"])  # those of v3 unless told otherwise
HELD = ["--no-traffic", "--tag=candidate"]
PAGE = "/_stcore/health"
SIGNING = "imgserve-key:latest"


@dataclass(frozen=True)
class Service:
    """One service, with the flags of its `gcloud run deploy` that are its own."""

    name: str
    image: str
    port: int
    size: tuple[str, str, int, int]  # CPUs, memory, requests at once, containers at most
    variables: str
    secrets: str = ""
    page: bool = False

    def deploy(
        self,
        *held: str,
        tag: str = "latest",
        instances: tuple[int, int] | None = None,
        private: bool = False,
    ) -> list[str]:
        """Return the call that makes a revision."""
        cpus, memory, concurrency, most = self.size
        fewest, most = instances or (0, most)
        probe = f"httpGet.path={PAGE if self.page else '/ready'},httpGet.port={self.port}"
        return [
            *("gcloud", "run", "deploy", self.name, *WHERE, f"--image={IMAGES}/{self.image}:{tag}"),
            *(f"--service-account={RUN_ACCOUNT}", f"--port={self.port}", f"--cpu={cpus}"),
            *(f"--memory={memory}", "--cpu-boost", f"--concurrency={concurrency}"),
            *(f"--min-instances={fewest}", f"--max-instances={most}"),
            *(["--timeout=3600", "--session-affinity"] if self.page else ["--timeout=60"]),
            f"--startup-probe={probe},periodSeconds=2,timeoutSeconds=2,failureThreshold=60",
            f"--set-env-vars={self.variables}",
            *([f"--set-secrets={self.secrets}"] if self.secrets else []),
            "--no-allow-unauthenticated" if private else "--allow-unauthenticated",
            *(*held, "--format=none"),
        ]

    def smoke_test(self, url: str) -> list[list[str]]:
        """Return what its revision is asked before it gets traffic."""
        if self.page:
            return [calls.curl(f"{url}{PAGE}")]
        path, first = "/predict", [calls.curl(f"{url}/hello")]
        if self.name == "v3-gateway":
            path = "/model/efficientnet_lite0/predict"
            first = [calls.curl(f"{url}/models"), *first]
        elif self.image.startswith("v3_backend_"):
            path = f"/model/{self.image.removeprefix('v3_backend_')}/predict"
        return [*first, calls.curl(*calls.PICTURE, f"{url}{path}")]


def v3_backend(model: str, models: tuple[str, ...] = MODELS) -> Service:
    """Return the service of one of v3's models."""
    variables = f"^|^GOOGLE_CLOUD_PROJECT={PROJECT}|MODELS={','.join(models)}"
    name = f"v3-backend-{model}".replace("_", "-")
    return Service(name, f"v3_backend_{model}", 8000, ("2", "2Gi", 8, 4), variables)


def gateway(models: tuple[str, ...] = MODELS) -> Service:
    """Return v3's gateway to some models."""
    urls = [f"{model}=https://{v3_backend(model).name}.a.run.app" for model in models]
    variables = f"^|^GOOGLE_CLOUD_PROJECT={PROJECT}|BACKENDS={','.join(urls)}"
    return Service("v3-gateway", "v3_gateway", 8080, ("1", "1Gi", 64, 2), variables)


def frontend(name: str, variable: str, backend: str, auth: str = "none") -> Service:
    """Return one of the pages."""
    variables = f"{variable}=https://{backend}.a.run.app,SERVING_AUTH={auth}"
    secrets = f"STREAMLIT_SERVER_COOKIE_SECRET={SIGNING}"
    size = ("1", "1Gi", 40, 2)
    return Service(name.replace("_", "-"), name, 8501, size, variables, secrets, page=True)


BACKEND_V1 = Service(
    "backend-v1", "backend_v1", 8000, ("2", "2Gi", 8, 4), f"GOOGLE_CLOUD_PROJECT={PROJECT}"
)
BACKEND_V2 = Service(
    "backend-v2",
    "backend_v2",
    8000,
    ("2", "4Gi", 8, 4),
    f"GOOGLE_CLOUD_PROJECT={PROJECT},MODEL_MEMORY_MB=2048",
    secrets=f"SECRET_KEY={SIGNING}",
)
FRONTENDS = {
    "frontend_v1": ("SERVING_URL", "backend-v1"),
    "frontend_v2": ("SERVING_URL", "backend-v2"),
    "v3_frontend": ("API_GATEWAY", "v3-gateway"),
}
