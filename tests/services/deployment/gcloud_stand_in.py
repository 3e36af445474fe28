"""Stands in for gcloud and curl: writes down how it was called, and answers by a table of rules.

``python gcloud_stand_in.py gcloud FOLDER ARGUMENT...`` reads FOLDER/rules.json, where the first
rule whose patterns all match an argument answers; if it has a number, that call of gcloud alone.
Where there are several answers or statuses each call gets the next, and the last one stays.
`{name}` in an answer is the service that the call asks for. Calls go to FOLDER/calls.jsonl. curl's
status is that of HTTP. Who may call a service is as the rule says, and then as calls change it.
"""

import fnmatch
import json
import re
import sys
from pathlib import Path
from typing import Any

READ_STDIN = {"--data-file=-", "@-"}


def members(said: str, service: str, before: list[dict[str, Any]]) -> str:
    """Return who may call a service, one a line."""
    found = set(said.split())
    for call in before:
        if call["argv"][4:5] == [service] and call["status"] == 0:
            change = found.add if call["argv"][3].startswith("add-") else found.discard
            for word in call["argv"]:
                if word.startswith("--member="):
                    change(word.removeprefix("--member="))
    return "".join(f"{member}\n" for member in sorted(found))


def main(tool: str, folder: Path, argv: list[str]) -> int:
    """Write down one call and answer it; return its exit status."""
    calls = folder / "calls.jsonl"
    before = [json.loads(line) for line in calls.read_text().splitlines()]
    made = sum(call["argv"][0] == "gcloud" for call in before)
    number, rule = next(
        (number, rule)
        for number, rule in enumerate(json.loads((folder / "rules.json").read_text()))
        if rule.get("call", made) == made
        and all(fnmatch.filter([tool, *argv], pattern) for pattern in rule["when"])
    )
    earlier = sum(call["rule"] == number for call in before)

    def answer(key: str, usual: Any) -> Any:
        value = rule.get(key, usual)
        return value[min(earlier, len(value) - 1)] if isinstance(value, list) else value

    says, status = answer("says", ""), answer("status", 0)
    if "get-iam-policy" in argv:
        says = members(says, argv[3], before)
    elif tool == "curl":
        says, status = f"{says}\n{status or 200}", 0
    stdin = sys.stdin.read().strip() if READ_STDIN & set(argv) else ""
    call = {"argv": [tool, *argv], "stdin": stdin, "rule": number, "status": status}
    with calls.open("a") as log:
        log.write(json.dumps(call) + "\n")
    asked = re.search(r"metadata\.name=([\w-]+)", " ".join(argv))
    sys.stdout.write(says.replace("{name}", asked[1] if asked else ""))
    sys.stderr.write(answer("complains", ""))
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
