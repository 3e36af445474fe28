"""Label selectors: `name = value, other != value`, as lists are asked for."""

import re

from tools.rehearsal.answers import invalid
from tools.rehearsal.store import Document

TERM = re.compile(r"\s*(?P<name>[\w./-]+)\s*(?P<sign>==?|!=)\s*(?P<value>[\w.-]*)\s*")


def matches(document: Document, selector: str) -> bool:
    """Return whether a resource's labels are as a selector asks.

    Raises:
        ApiError: 400, it is written in a way that is not known here.
    """
    labels = document["metadata"].get("labels") or {}
    return all(_true(term, labels) for term in selector.split(",") if term.strip())


def _true(term: str, labels: dict[str, str]) -> bool:
    found = TERM.fullmatch(term)
    if found is None:
        raise invalid(f"labelSelector: {term.strip()!r} is not `name = value`")
    same = labels.get(found["name"]) == found["value"]
    return same if found["sign"] != "!=" else not same
