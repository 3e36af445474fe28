"""What Cloud Build refuses at once, before a build has begun."""

from tools.rehearsal.answers import ApiError, Json, invalid
from tools.rehearsal.builds.durations import seconds

# What the rehearsal carries out; anything else in a build is refused instead of ignored.
BUILD_FIELDS = {
    "images",
    "logsBucket",
    "options",
    "queueTtl",
    "serviceAccount",
    "source",
    "steps",
    "substitutions",
    "tags",
    "timeout",
}
STEP_FIELDS = {
    "allowExitCodes",
    "allowFailure",
    "args",
    "automapSubstitutions",
    "dir",
    "entrypoint",
    "env",
    "id",
    "name",
    "script",
    "timeout",
    "waitFor",
}
OPTIONS = {
    "automapSubstitutions",
    "defaultLogsBucketBehavior",
    "diskSizeGb",
    "dynamicSubstitutions",
    "env",
    "logStreamingOption",
    "logging",
    "machineType",
    "requestedVerifyOption",
    "sourceProvenanceHash",
    "substitutionOption",
}
AT_ONCE = "-"
LONGEST_S = 24 * 3600  # of a build (Cloud Build, "Quotas and limits")


def check(build: Json) -> None:
    """Refuse a build that could not run.

    Raises:
        ApiError: 400 for what Cloud Build would refuse, 501 for what the rehearsal lacks.
    """
    _refuse_unknown(build, BUILD_FIELDS, "build")
    _refuse_unknown(build.get("options", {}), OPTIONS, "build.options")
    steps = build.get("steps", [])
    if not steps:
        raise invalid("invalid build: no build steps were specified")
    for number, step in enumerate(steps):
        _refuse_unknown(step, STEP_FIELDS, f"build.steps[{number}]")
        _check_step(number, step, [each.get("id", "") for each in steps[:number]])
    if seconds(build.get("timeout", "0s")) > LONGEST_S:
        raise invalid("invalid build: invalid timeout in build: must not be longer than 24h")
    _check_logging(build)


def _check_step(number: int, step: Json, earlier: list[str]) -> None:
    which = f"build step #{number}"
    if not step.get("name"):
        raise invalid(f"invalid build: invalid .steps field: {which} has no name")
    if step.get("script") and (step.get("args") or step.get("entrypoint")):
        raise invalid(f"invalid build: invalid .steps field: {which} has a script beside its args")
    if step.get("id") and step["id"] in earlier:
        message = f'{which} has the id "{step["id"]}", which an earlier step has'
        raise invalid(f"invalid build: invalid .steps field: {message}")
    for name in step.get("waitFor", []):
        if name != AT_ONCE and name not in earlier:
            message = f'{which} depends on "{name}", which has not been defined'
            raise invalid(f"invalid build: invalid .steps field: {message}")


def _check_logging(build: Json) -> None:
    options = build.get("options", {})
    has_place = build.get("logsBucket") or options.get("defaultLogsBucketBehavior")
    if build.get("serviceAccount") and not has_place and not logs_without_bucket(build):
        raise invalid(
            "if 'build.service_account' is specified, the build must either (a) specify "
            "'build.logs_bucket', (b) use the REGIONAL_USER_OWNED_BUCKET "
            "build.options.default_logs_bucket_behavior option, or (c) use either "
            "CLOUD_LOGGING_ONLY / NONE logging options"
        )


def logs_without_bucket(build: Json) -> bool:
    """Return whether the build's log goes to no bucket."""
    return build.get("options", {}).get("logging") in {"CLOUD_LOGGING_ONLY", "NONE"}


def _refuse_unknown(value: Json, known: set[str], where: str) -> None:
    unknown = sorted(name for name in value if name not in known and value[name])
    if unknown:
        raise ApiError(501, f"The rehearsal has no part for {where}: {', '.join(unknown)}")
