"""Write the tables of environment variables into docs/settings.md: ``make readme``."""

import sys
from dataclasses import fields
from pathlib import Path

from imgserve.settings import BackendSettings, FrontendSettings
from imgserve.settings.parsers import Settings
from tools.run import RunSettings
from v3.gateway.settings import GatewaySettings

TABLES: dict[str, type[Settings]] = {
    "run": RunSettings,
    "backend": BackendSettings,
    "gateway": GatewaySettings,
    "frontend": FrontendSettings,
}


def markdown_table(settings: type[Settings]) -> str:
    """Return the table of a service's environment variables."""
    rows = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for field in fields(settings):
        own, facts = field.default, field.metadata
        default = facts["shown"] or ("none" if own in {"", (), None} else f"`{own}`")
        cells = f"`{field.name.upper()}`", default, facts["unit"], facts["meaning"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """Return a text whose tables between ``<!-- settings:NAME -->`` marks are up to date."""
    for name, settings in TABLES.items():
        start, end = f"<!-- settings:{name} -->\n", f"<!-- /settings:{name} -->\n"
        if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
            raise ValueError(f"the text needs {start} and {end}, each once and in this order")
        before, rest = text.split(start)
        text = f"{before}{start}{markdown_table(settings)}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
