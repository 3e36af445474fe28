"""What predictions cost on Cloud Run, from measured rates and published prices."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from tools.benchmarks.answers.prices import (
    BILLED_STEP_S,
    MONTH_S,
    PAGE,
    REGIONS,
    SEEN,
    TIER_1,
    TIER_2,
    Prices,
)
from tools.benchmarks.answers.results import Results
from tools.benchmarks.parts.asking import Row
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import shown

MILLION, THOUSAND = 1_000_000, 1000
PERCENT = 100
# As `deployment/components.sh` has it for backend_v1; the benchmark's machine has as many cores.
VCPUS, MEMORY_GIB, CONCURRENCY = 2, 2, 8
SERVERS: Mapping[str, str] = {
    "v1": "v1, fp32",
    "v1_int8": "v1, int8",
    "original_eager": "the original's design",
}
# The picture comes with the question. By address, the time of fetching it would be added.
WAY = "upload"
LOADS = (0.1, 1, 10, 100, 1000)  # answers a second, evenly spread


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


def second(prices: Prices) -> float:
    """Return the dollars for a container for a second in which it has requests."""
    return VCPUS * prices.vcpu_s + MEMORY_GIB * prices.gib_s


def per_million(billed_s: float, prices: Prices) -> float:
    """Return the dollars for a million answers that a container is billed this long for, each."""
    return MILLION * billed_s * second(prices) + prices.million_requests


def warm_month(prices: Prices) -> float:
    """Return the dollars for a container that is kept warm for a month and never asked."""
    return MONTH_S * (VCPUS * prices.idle_vcpu_s + MEMORY_GIB * prices.idle_gib_s)


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


def month(load: float, alone_s: float, full_s: float, prices: Prices) -> float:
    """Return the dollars for a month of this load, with no container kept warm."""
    a_second = containers(load, alone_s, full_s) * second(prices)
    return MONTH_S * (a_second + load / MILLION * prices.million_requests)


def costs(results: Results) -> str:
    """Return what a million predictions cost, how that grows with load, and the prices' source."""
    found = {name: list(uses(results, name)) for name in SERVERS}
    found = {name: each for name, each in found.items() if each}
    if not found:
        return ""
    return f"{_millions(found)}\n{_months(found)}\n{_sources()}"


def uses(results: Results, server: str) -> Iterator[Use]:
    """Yield how a server is used by callers who come alone, one after the other, and many."""
    rows = [row for row in results.measured.servers if (row.entrance, row.way) == (server, WAY)]
    by_clients: dict[int, list[Row]] = {}
    for row in rows:
        if row.clients <= CONCURRENCY:
            by_clients.setdefault(row.clients, []).append(row)
    if 1 not in by_clients or len(by_clients) == 1:
        return
    alone = by_clients.pop(1)
    answer_s = median(row.p50_ms for row in alone) / THOUSAND
    yield _use("each alone, with a pause between", rounded_up_s(answer_s), alone)
    yield _use("one after the other", _each_s(alone), alone)
    clients, most = min(by_clients.items(), key=lambda each: _each_s(each[1]))
    yield _use(f"{clients} at once", _each_s(most), most)


def _use(load: str, billed_s: float, rows: list[Row]) -> Use:
    cpu_s = median(row.server_cpu_s / row.answers for row in rows)
    return Use(load, billed_s, cpu_s, max(row.peak_mb for row in rows))


def _each_s(rows: list[Row]) -> float:
    return 1 / median(row.rate for row in rows)


def _millions(found: dict[str, list[Use]]) -> str:
    cells = [
        (
            SERVERS[name],
            use.load,
            shown(THOUSAND * use.billed_s),
            shown(THOUSAND * use.cpu_s),
            f"{PERCENT * use.idle:.0f} %",
            shown(use.peak_mb),
            *(f"{per_million(use.billed_s, prices):.2f}" for prices in (TIER_2, TIER_1)),
        )
        for name, each in found.items()
        for use in each
    ]
    titles = ("server", "requests come", "billed, s per 1000", "CPU s per 1000", "CPUs idle")
    return table((*titles, "peak, MB", "$ a million, tier 2", "$ a million, tier 1"), cells)


def _months(found: dict[str, list[Use]]) -> str:
    cells = [
        (
            f"{load:g}",
            *(
                f"{month(load, each[0].billed_s, each[-1].billed_s, TIER_2):.2f}"
                for each in found.values()
            ),
        )
        for load in LOADS
    ]
    warm = f"{warm_month(TIER_2):.2f}"
    cells += [("none, one container kept warm", *(warm for _ in found))]
    titles = ("answers a second", *(f"{SERVERS[name]}, $ a month" for name in found))
    return table(titles, cells)


def _sources() -> str:
    return (
        f"US dollars for containers of {VCPUS} vCPUs, {MEMORY_GIB} GiB and up to {CONCURRENCY} "
        f"requests at once, at [Cloud Run's prices]({PAGE}) of {SEEN}: billed by request, time "
        f"rounded up to {BILLED_STEP_S * THOUSAND:.0f} ms, the price of requests included; starts "
        f"not counted, free amounts not subtracted. [Tier 2]({REGIONS}) is {TIER_2.region} (the "
        f"second table, too), tier 1 {TIER_1.region}. Requests are evenly spread and containers "
        "filled one by one; Cloud Run starts the next one earlier, which costs somewhat more.\n"
    )
