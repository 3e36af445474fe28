"""Stands in for gcloud and curl: writes down how it was called, and answers by a table of rules.

``python gcloud_stand_in.py gcloud FOLDER ARGUMENT...`` reads FOLDER/rules.json, where the first
rule whose patterns all match an argument answers. Of several answers (and statuses) each call gets
the next, and the last one stays. `{name}` in an answer is the service that the call asks for.
Calls go to FOLDER/calls.jsonl. The call that FOLDER/fails.txt numbers fails.
"""

import fnmatch
import json
import re
import sys
from pathlib import Path
from typing import Any

READ_STDIN = {"--data-file=-", "@-"}


def rule_for(rules: list[dict[str, Any]], argv: list[str]) -> int:
    """Return the number of the first rule that has what it looks for; -1 if none does."""
    for number, rule in enumerate(rules):
        if all(any(fnmatch.fnmatchcase(each, when) for each in argv) for when in rule["when"]):
            return number
    return -1


def nth(values: list[Any], number: int) -> Any:
    """Return a value of a list, the last one beyond its end."""
    return values[min(number, len(values) - 1)]


def main(tool: str, folder: Path, argv: list[str]) -> int:
    """Write down one call and answer it; return its exit status."""
    calls = folder / "calls.jsonl"
    before = [json.loads(line) for line in calls.read_text().splitlines()]
    rules = json.loads((folder / "rules.json").read_text())
    number = rule_for(rules, [tool, *argv])
    stdin = sys.stdin.read() if READ_STDIN & set(argv) else ""
    with calls.open("a") as log:
        log.write(json.dumps({"argv": [tool, *argv], "stdin": stdin, "rule": number}) + "\n")
    gcloud_calls = sum(each["argv"][0] == "gcloud" for each in before)
    if tool == "gcloud" and (folder / "fails.txt").read_text() == str(gcloud_calls):
        sys.stderr.write("ERROR: (gcloud) as it was told\n")
        return 1
    if number < 0:
        return 0
    earlier = sum(each["rule"] == number for each in before)
    says, status = (nth(rules[number][what], earlier) for what in ("says", "status"))
    asked = re.search(r"metadata\.name=([\w-]+)", " ".join(argv))
    sys.stdout.write(says.replace("{name}", asked[1] if asked else ""))
    sys.stderr.write(rules[number]["complains"])
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
