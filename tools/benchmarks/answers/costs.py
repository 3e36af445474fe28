"""What predictions cost on Cloud Run, from measured rates and published prices."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tools.benchmarks.records import Results
from tools.benchmarks.summary import groups, table, where

PRICES = tomllib.loads(Path(__file__).with_name("prices.toml").read_text(encoding="utf-8"))
BILLED_STEP_S: float = PRICES["billed_step_s"]
MILLION, THOUSAND = 1_000_000, 1000
MONTH_S = 730 * 3600  # as price calculators count
# As `deployment/components.sh` has it; the benchmark's machine has as many cores.
VCPUS, MEMORY_GIB, CONCURRENCY = 2, 2, 8
SERVERS: Mapping[str, str] = {
    "v1": "v1, fp32",
    "v1_int8": "v1, int8",
    "original_eager": "the original's design",
}
# The picture comes with the request. By URL, the time of fetching it would be added.
WAY = "upload"
LOADS = (0.1, 1, 10, 100, 1000)  # answers a second, evenly spread


@dataclass(frozen=True)
class Prices:
    """What a container costs in regions of one tier; see ``prices.toml``."""

    region: str
    vcpu_s: float
    gib_s: float
    idle_vcpu_s: float
    idle_gib_s: float
    million_requests: float

    @property
    def container_s(self) -> float:
        """Return the dollars for a container for a second in which it has requests."""
        return VCPUS * self.vcpu_s + MEMORY_GIB * self.gib_s

    def per_million(self, billed_s: float) -> float:
        """Return the dollars for a million answers that are each billed for so long."""
        return MILLION * billed_s * self.container_s + self.million_requests

    def warm_month(self) -> float:
        """Return the dollars for a container that is kept warm for a month and never asked."""
        return MONTH_S * (VCPUS * self.idle_vcpu_s + MEMORY_GIB * self.idle_gib_s)

    def month(self, load: float, alone_s: float, full_s: float) -> float:
        """Return the dollars for a month of a load, with no container kept warm; see below."""
        a_second = containers(load, alone_s, full_s) * self.container_s
        return MONTH_S * (a_second + load / MILLION * self.million_requests)


TIER_1, TIER_2 = Prices(**PRICES["tier_1"]), Prices(**PRICES["tier_2"])


@dataclass(frozen=True)
class Use:
    """How a container is used while it is billed.

    Attributes:
        load: in words.
        billed_s: time for which a container is billed, for one answer.
        cpu_s: time that its CPUs compute for one answer, all together.
        peak_mb: the most memory that the server had.
    """

    load: str
    billed_s: float
    cpu_s: float
    peak_mb: float

    @property
    def idle(self) -> float:
        """Return the share of the billed CPU time in which nothing is computed."""
        return max(0.0, 1 - self.cpu_s / (self.billed_s * VCPUS))


def rounded_up_s(seconds: float) -> float:
    """Return how long a container is billed for one request that comes alone."""
    return math.ceil(round(seconds / BILLED_STEP_S, 6)) * BILLED_STEP_S


def containers(load: float, alone_s: float, full_s: float) -> float:
    """Return how many containers are billed at a time, on average.

    Args:
        load: answers a second.
        alone_s: billed for a request that comes alone.
        full_s: billed for each of many that keep a container full.
    """
    return max(min(1.0, load * alone_s), load * full_s)


def costs(results: Results) -> str:
    """Return what a million predictions cost, how that grows with load, and the prices' source."""
    found = {name: list(uses(results, name)) for name in SERVERS}
    found = {name: own for name, own in found.items() if own}
    return f"{_millions(found)}\n{_months(found)}\n{_sources()}" if found else ""


def uses(results: Results, server: str) -> Iterator[Use]:
    """Yield how a server is used by callers who come alone, one after the other, and many."""
    rows = where(results["servers"], entrance=server, way=WAY)
    rows = rows[rows.clients <= CONCURRENCY]
    by_clients = {clients: own for (clients,), own in groups(rows, "clients")}
    if 1 not in by_clients or len(by_clients) == 1:
        return
    alone = by_clients.pop(1)
    answer_s = float(alone.p50_ms.median()) / THOUSAND
    yield _use("each alone, with a pause between", rounded_up_s(answer_s), alone)
    yield _use("one after the other", _answer_s(alone), alone)
    clients, most = min(by_clients.items(), key=lambda pair: _answer_s(pair[1]))
    yield _use(f"{clients} at once", _answer_s(most), most)


def _use(load: str, billed_s: float, rows: pd.DataFrame) -> Use:
    cpu_s = float((rows.server_cpu_s / rows.answers).median())
    return Use(load, billed_s, cpu_s, float(rows.peak_mb.max()))


def _answer_s(rows: pd.DataFrame) -> float:
    return 1 / float(rows.rate.median())


def _millions(found: Mapping[str, list[Use]]) -> str:
    cells = [
        (
            SERVERS[name],
            use.load,
            THOUSAND * use.billed_s,
            THOUSAND * use.cpu_s,
            f"{use.idle:.0%}".replace("%", " %"),
            use.peak_mb,
            *(f"{prices.per_million(use.billed_s):.2f}" for prices in (TIER_2, TIER_1)),
        )
        for name, own in found.items()
        for use in own
    ]
    titles = ("server", "requests come", "billed, s per 1000", "CPU s per 1000", "CPUs idle")
    return table((*titles, "peak, MB", "$ a million, tier 2", "$ a million, tier 1"), cells)


def _months(found: Mapping[str, list[Use]]) -> str:
    cells = []
    for load in LOADS:
        billed = [(own[0].billed_s, own[-1].billed_s) for own in found.values()]
        dollars = [TIER_2.month(load, alone_s, full_s) for alone_s, full_s in billed]
        cells.append((f"{load:g}", *(f"{one:.2f}" for one in dollars)))
    warm = f"{TIER_2.warm_month():.2f}"
    cells.append(("none, one container kept warm", *(warm for _ in found)))
    titles = ("answers a second", *(f"{SERVERS[name]}, $ a month" for name in found))
    return table(titles, cells)


def _sources() -> str:
    return (
        f"US dollars for containers of {VCPUS} vCPUs, {MEMORY_GIB} GiB and up to {CONCURRENCY} "
        f"requests at once, at [Cloud Run's prices]({PRICES['page']}) of {PRICES['seen']}: billed "
        f"by request, time rounded up to {BILLED_STEP_S * THOUSAND:.0f} ms, the price of requests "
        "included; starts not counted, free amounts not subtracted. "
        f"[Tier 2]({PRICES['regions']}) is {TIER_2.region} (the second table, too), tier 1 "
        f"{TIER_1.region}. Requests are evenly spread and containers filled one by one; Cloud Run "
        "starts the next one earlier, which costs somewhat more.\n"
    )
