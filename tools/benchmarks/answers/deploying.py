"""Tables of the rehearsal: what builds and deployments take, and what is in the images."""

from tools.benchmarks.answers.rehearsed import Build, Rehearsal
from tools.benchmarks.answers.results import Results
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import shown
from tools.rehearsal.report import PURPOSES
from tools.rehearsal.scenario import COMPONENT, VERSIONS


def builds(results: Results) -> str:
    """Return a table of one component's first build and the next, step by step."""
    if not (pair := _pair(results)):
        return ""
    first, second = pair
    cells = [("all", shown(first.seconds), shown(second.seconds))]
    cells += [
        (name, shown(seconds), shown(second.steps.get(name, 0.0)))
        for name, seconds in first.steps.items()
    ]
    titles = (f"{COMPONENT}, seconds", "first build", "after a change of code")
    return table(titles, cells)


def builds_ratio(results: Results) -> str:
    """Return how many times as fast as the first build the next one is."""
    pair = _pair(results)
    return shown(pair[0].seconds / pair[1].seconds) if pair else ""


def _pair(results: Results) -> list[Build]:
    """Return the first build and the next of the component whose code is changed; or nothing."""
    made = results.rehearsal.builds if results.rehearsal else []
    own = [build for build in made if build.image == COMPONENT][:2]
    return own if len(own) == 2 else []  # noqa: PLR2004


def images(results: Results) -> str:
    """Return a table of every image's size by what its layers are for, and its build's time."""
    if results.rehearsal is None:
        return ""
    first: dict[str, Build] = {}
    for build in results.rehearsal.builds:
        first.setdefault(build.image, build)
    cells = [
        (
            image,
            shown(build.size_mb),
            *(shown(build.megabytes.get(purpose, 0.0)) for purpose in PURPOSES),
            shown(build.steps.get("build the app image", 0.0)),
        )
        for image, build in first.items()
    ]
    titles = ("image", "MB, compressed", *PURPOSES, "building it on its base, s")
    return table(titles, cells)


def apart(results: Results) -> str:
    """Return a table of what each component takes by itself: build, deployment, image."""
    if results.rehearsal is None:
        return ""
    components = [each for version in VERSIONS.values() for each in version]
    cells = [_component(results.rehearsal, each) for each in components]
    titles = ("component", "images", "build, s", "deploy, s", "MB, compressed")
    return table(titles, filter(None, cells))


def _component(rehearsal: Rehearsal, name: str) -> tuple[str, ...]:
    build, deploy = (rehearsal.seconds(f"{verb} {name}") for verb in ("build", "deploy"))
    if build is None or deploy is None:
        return ()
    newest = rehearsal.newest(name)
    size_mb = sum(each.size_mb for each in newest)
    return name, str(len(newest)), shown(build), shown(deploy), shown(size_mb)
