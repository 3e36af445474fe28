"""What is to be reached, as ratios within one run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One row of the table of targets.

    Attributes:
        id: how results and notes name it.
        what: the quantity, as a person reads it.
        bound: the number to reach.
        is_floor: whether the bound is the least allowed, else the most.
        unit: of the bound; empty for a ratio.
    """

    id: str
    what: str
    bound: float
    is_floor: bool
    unit: str = ""

    def is_met(self, value: float) -> bool:
        """Return whether a result reaches the bound."""
        return value >= self.bound if self.is_floor else value <= self.bound

    @property
    def wanted(self) -> str:
        """Return the bound as a person reads it."""
        side = "at least" if self.is_floor else "at most"
        return f"{side} {self.bound:g}{' ' if self.unit else ''}{self.unit}"


def at_least(identity: str, bound: float, what: str, unit: str = "") -> Target:
    """Return a target whose result is to be this or more."""
    return Target(identity, what, bound, True, unit)


def at_most(identity: str, bound: float, what: str, unit: str = "") -> Target:
    """Return a target whose result is to be this or less."""
    return Target(identity, what, bound, False, unit)


# The most that a compiled model may take of eager torch's time, alone: fp32, then int8.
LATENCY = {
    "resnet152": (0.60, 0.25),
    "convnext_base": (0.70, 0.36),
    "swin_b": (0.60, 0.30),
    "vgg16": (0.60, 0.18),
}

AGAINST_TORCH = "time of one inference alone against eager torch"

TARGETS = (
    at_least("peers", 5, "throughput against each peer as it comes, 8 and 32 clients"),
    at_least("same_engine", 1.15, "throughput against each peer given our engine, likewise"),
    at_least("limit_upload", 0.90, "throughput of uploads against the limit, 8 and 32 clients"),
    at_least("limit_url", 0.80, "throughput by URL against the limit, 8 and 32 clients"),
    at_most("alone", 1.25, "p50 of one client, upload, against the bare loop's time per picture"),
    at_most("tail", 1.5, "p99 at 32 clients against 32 / throughput"),
    at_most("cold", 0.18, "process start to first right answer against the original's design"),
    at_most("memory", 0.35, "peak memory against the original's design"),
    at_least("int8", 1.4, "int8 against fp32, throughput of the whole server"),
    at_least("int8_agreement", 0.97, "int8 against fp32, the same most probable class"),
    *(
        at_most(f"latency_{model}_{precision}", bound, f"{model}, {precision}: {AGAINST_TORCH}")
        for model, bounds in LATENCY.items()
        for precision, bound in zip(("fp32", "int8"), bounds, strict=True)
    ),
    at_most("gateway", 3, "p50 of one client: v3 through the gateway less v3 direct", "ms"),
)  # fmt: skip
