"""A change of code alone is built from what the last build left in the registry."""

from tools.rehearsal.story.progress import StepFailed
from tools.rehearsal.story.rolling_out import build
from tools.rehearsal.story.stage import Build, Stage

COMPONENT = "backend_v1"
CHANGED = ("backend_v1/app.py", "imgserve/backend/app.py")


def change_code(stage: Stage, first: Build) -> None:
    """Change two files, build again, and see that neither base nor models were made anew.

    Nothing runs from the first build's images yet, so the second one pulls all it takes from them.
    """
    for name in CHANGED:
        with (stage.rehearsal.source / name).open("a", encoding="utf-8") as file:
            file.write("# A line that changes nothing but the file.\n")
    (second,) = build(stage, COMPONENT, f"build {COMPONENT} after a change of code")
    with stage.progress.step("compare the two builds") as step:
        for purpose in ("base", "models"):
            if digests(first, purpose) != digests(second, purpose):
                raise StepFailed(f"the layers of the {purpose} were made anew")
            step.note(f"{purpose}: the same {len(digests(first, purpose))} layers")
        if digests(first, "code") == digests(second, "code"):
            raise StepFailed("the code that was changed is not in the image")
        step.note(compared("all", first.seconds, second.seconds))
        for name, seconds in first.steps.items():
            step.note(compared(name, seconds, second.steps.get(name, 0.0)))


def digests(build: Build, purpose: str) -> list[str]:
    """Return the digests of a build's layers for one purpose."""
    return [
        layer.digest for name, found in build.layers.items() if name == purpose for layer in found
    ]


def compared(name: str, first: float, second: float) -> str:
    """Return two times and how they compare, in words."""
    ratio = f", {first / second:.1f} times as fast" if first > second >= 1 else ""
    return f"{name}: {first:.1f} s, then {second:.1f} s{ratio}"
