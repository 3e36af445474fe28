"""The rows of all parts that have run, and where they come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.benchmarks.parts import (
    agreement,
    asking,
    cold,
    growth,
    latency,
    limit,
    stages,
    starts,
    strategies,
)
from tools.benchmarks.record import Record, kept, rows

PARTS = (
    "limit",
    "servers",
    "cold",
    "latency",
    "agreement",
    "stages",
    "growth",
    "strategies",
    "starts",
)


@dataclass(frozen=True)
class Measured:
    """Rows by part; none of a part that has not run.

    Attributes:
        records: of the parts that have run, by name.
        servers: only rows with answers, none of them failed.
        invalid: the other rows of servers.
    """

    records: dict[str, Record]
    limit: list[limit.Row]
    servers: list[asking.Row]
    invalid: list[asking.Row]
    cold: list[cold.Row]
    latency: list[latency.Row]
    agreement: list[agreement.Row]
    stages: list[stages.Row]
    growth: list[growth.Row]
    strategies: list[strategies.Row]
    starts: list[starts.Row]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what a folder of results holds."""
        records = {part: record for part in PARTS if (record := kept(folder, part))}
        servers = rows(records.get("servers"), asking.Row)
        return cls(
            records=records,
            limit=rows(records.get("limit"), limit.Row),
            servers=[row for row in servers if row.answers and not row.failed],
            invalid=[row for row in servers if row.failed or not row.answers],
            cold=rows(records.get("cold"), cold.Row),
            latency=rows(records.get("latency"), latency.Row),
            agreement=rows(records.get("agreement"), agreement.Row),
            stages=rows(records.get("stages"), stages.Row),
            growth=rows(records.get("growth"), growth.Row),
            strategies=rows(records.get("strategies"), strategies.Row),
            starts=rows(records.get("starts"), starts.Row),
        )

    def by_round(self, field: str, entrance: str, way: str, clients: int) -> dict[int, float]:
        """Return one field of an entrance, asked one way by so many clients, by round."""
        return {
            row.round: getattr(row, field)
            for row in self.servers
            if (row.entrance, row.way, row.clients) == (entrance, way, clients)
        }
