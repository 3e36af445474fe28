"""Cloud Run's prices, in US dollars, billed by request; free amounts are not subtracted.

Source: https://cloud.google.com/run/pricing, services with request-based billing, no committed use.
Tier 1 is what copies of that page of October 2026 say; tier 2 what the public price catalogue says
("Services CPU Tier 2" and "Services Min Instance CPU Tier 2") and copies of September 2026. Which
region is in which tier: https://cloud.google.com/run/docs/locations.
"""

from dataclasses import dataclass

PAGE = "https://cloud.google.com/run/pricing"
REGIONS = "https://cloud.google.com/run/docs/locations"
SEEN = "September (tier 2) and October 2026 (tier 1)"


@dataclass(frozen=True)
class Prices:
    """What a container costs in regions of one tier.

    Attributes:
        region: one or more of the tier.
        vcpu_s: a vCPU for a second in which the container has a request.
        gib_s: a GiB of memory, likewise.
        idle_vcpu_s: a vCPU for a second in which a container that is kept warm has none.
        idle_gib_s: a GiB of memory, likewise.
        million_requests: on top of all.
    """

    region: str
    vcpu_s: float
    gib_s: float
    idle_vcpu_s: float
    idle_gib_s: float
    million_requests: float


TIER_1 = Prices("us-central1 and others", 24e-6, 2.5e-6, 2.5e-6, 2.5e-6, 0.40)
# The scripts' default region is one of these.
TIER_2 = Prices("northamerica-northeast1 and others", 33.6e-6, 3.5e-6, 3.5e-6, 3.5e-6, 0.40)

# Each time that a container has requests is rounded up to this (the same page).
BILLED_STEP_S = 0.1
MONTH_S = 730 * 3600  # as price calculators count
