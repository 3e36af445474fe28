"""The whole story, in order."""

from collections.abc import Collection

from tools.rehearsal.story.changing import COMPONENT
from tools.rehearsal.story.ending import read_deliverables, tear_down
from tools.rehearsal.story.mishaps import go_through
from tools.rehearsal.story.preparing import prepare
from tools.rehearsal.story.private import go_private
from tools.rehearsal.story.stage import Stage
from tools.rehearsal.story.versions import roll_out


def play(stage: Stage, versions: Collection[str]) -> None:
    """Do everything.

    Raises:
        StepFailed: something is not as it should be.
    """
    prepare(stage)
    for version in versions:
        roll_out(stage, version)
        if version == "v1":
            changed = stage.last_build(COMPONENT).id
            go_through(stage)
            go_private(stage, changed)
    read_deliverables(stage, versions)
    tear_down(stage)
