"""Ways to run every script such that, together, they make every kind of gcloud call."""

from dataclasses import dataclass, field
from subprocess import CompletedProcess

from tests.conventions.deployment import BY_NAME
from tests.services.deployment.project import NO_REVISION_YET, NO_SERVICE_YET, PROJECT, Project

Answers = dict[tuple[str, ...], int]

FIRST: Answers = {NO_REVISION_YET: 0, NO_SERVICE_YET: 0}
PRIVATE: Answers = {("gcloud", "get-iam-policy"): 0}
NOTHING_THERE: Answers = {("gcloud", "describe"): 1}


@dataclass(frozen=True)
class Scenario:
    """A script, what it is told, and which calls answer nothing, with their status."""

    script: str
    words: tuple[str, ...] = ()
    stdin: str = ""
    private: str = ""
    answers: Answers = field(default_factory=dict)

    def run(self, project: Project, fail_at: int = -1) -> CompletedProcess[str]:
        """Return how it ends, from a new record on, where one call of gcloud may fail."""
        project.forget()
        project.fail_at(fail_at)
        for when, status in self.answers.items():
            project.answer(*when, status=status)
        return project.run(
            self.script, *self.words, stdin=self.stdin, PRIVATE=self.private, MODELS="swin_b"
        )


SUBMITS = {f"submit {name}": Scenario(f"submit_build_{name}.sh") for name in BY_NAME}
DEPLOYS = {f"deploy {name}": Scenario(f"deploy_{name}.sh") for name in BY_NAME}
SCENARIOS = {
    **SUBMITS,
    **DEPLOYS,
    "deploy a first revision": Scenario("deploy_backend_v1.sh", answers=FIRST),
    "make a service private": Scenario("deploy_backend_v2.sh", private="1"),
    "make a service public": Scenario("deploy_backend_v2.sh", private="0", answers=PRIVATE),
    "roll back": Scenario("rollback.sh", ("backend_v1",)),
    "roll back to a named revision": Scenario("rollback.sh", ("v3_gateway", "r-1")),
    "set up again": Scenario("setup.sh"),
    "set up": Scenario("setup.sh", answers=NOTHING_THERE),
    "check": Scenario("check.sh"),
    "tear down": Scenario("teardown.sh", stdin=f"{PROJECT}\n"),
}
