"""Stands in for gcloud and curl: writes down how it was called, and answers by a table of rules.

``python gcloud_stand_in.py gcloud FOLDER ARGUMENT...`` reads FOLDER/rules.json, where the first
rule whose patterns all match an argument answers. Of several answers (and statuses) each call gets
the next, and the last one stays. `{name}` in an answer is the service that the call asks for.
Calls go to FOLDER/calls.jsonl. The call that FOLDER/fails.txt numbers fails. curl's status is that
of HTTP. Who may call a service is as the rule says and then as the calls before have changed it.
"""

import fnmatch
import json
import re
import sys
from pathlib import Path
from typing import Any

READ_STDIN = {"--data-file=-", "@-"}


def rule_for(rules: list[dict[str, Any]], argv: list[str]) -> dict[str, Any]:
    """Return the first rule that has what it looks for, with its number; else one of silence."""
    for number, rule in enumerate(rules):
        if all(any(fnmatch.fnmatchcase(each, when) for each in argv) for when in rule["when"]):
            return {**rule, "number": number}
    return {"number": -1, "says": [""], "status": [0], "complains": ""}


def members(said: str, service: str, before: list[dict[str, Any]]) -> str:
    """Return who may call a service, one a line."""
    found = set(said.split())
    for call in before:
        if call["argv"][4:5] == [service] and call["status"] == 0:
            (member,) = [w[9:] for w in call["argv"] if w.startswith("--member=")] or [""]
            changes = {
                "add-iam-policy-binding": found.add,
                "remove-iam-policy-binding": found.discard,
            }
            changes.get(call["argv"][3], len)(member)
    return "".join(f"{member}\n" for member in sorted(found))


def main(tool: str, folder: Path, argv: list[str]) -> int:
    """Write down one call and answer it; return its exit status."""
    calls = folder / "calls.jsonl"
    before = [json.loads(line) for line in calls.read_text().splitlines()]
    rule = rule_for(json.loads((folder / "rules.json").read_text()), [tool, *argv])
    earlier = sum(each["rule"] == rule["number"] for each in before)
    says, status = (rule[of][min(earlier, len(rule[of]) - 1)] for of in ("says", "status"))
    complains = rule["complains"]
    gcloud_calls = sum(each["argv"][0] == "gcloud" for each in before)
    if tool == "gcloud" and (folder / "fails.txt").read_text() == str(gcloud_calls):
        says, status, complains = "", 1, "ERROR: (gcloud) as it was told\n"
    elif "get-iam-policy" in argv:
        says = members(says, argv[3], before)
    elif tool == "curl":
        says, status = f"{says}\n{status or 200}", 0
    stdin = sys.stdin.read() if READ_STDIN & set(argv) else ""
    call = {"argv": [tool, *argv], "stdin": stdin, "rule": rule["number"], "status": status}
    with calls.open("a") as log:
        log.write(json.dumps(call) + "\n")
    asked = re.search(r"metadata\.name=([\w-]+)", " ".join(argv))
    sys.stdout.write(says.replace("{name}", asked[1] if asked else ""))
    sys.stderr.write(complains)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
