"""Substitutions: ``$_NAME`` and ``${_NAME}`` in a build, replaced as Cloud Build replaces them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.rehearsal.answers import Json, invalid

USER_KEY = re.compile(r"_[A-Z0-9_]+")
# What may be given for a build that no trigger started; empty where it is not.
OF_A_COMMIT = {"REPO_NAME", "BRANCH_NAME", "TAG_NAME", "REVISION_ID", "COMMIT_SHA", "SHORT_SHA"}
OF_A_TRIGGER = {"TRIGGER_NAME", "TRIGGER_BUILD_CONFIG_PATH", "REF_NAME", "REPO_FULL_NAME"}
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Z_][A-Z0-9_]*)|\{(?P<braced>[A-Z_][A-Z0-9_]*)\})"
)
# Where they are replaced; a step's script is left alone, it has automapSubstitutions.
PLACES = ("images", "logsBucket", "options", "serviceAccount", "steps", "tags")
LEFT_ALONE = {"script"}


@dataclass
class Template:
    """The values, which of them were used, and which others were asked for."""

    values: Mapping[str, str]
    used: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)

    def fill(self, value: object) -> object:
        """Return a value of a build with every variable in its texts replaced."""
        if isinstance(value, str):
            return _VARIABLE.sub(self._one, value)
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if isinstance(value, dict):
            return {
                name: each if name in LEFT_ALONE else self.fill(each)
                for name, each in value.items()
            }
        return value

    def _one(self, found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["bare"] or found["braced"]
        self.used.add(name)
        if name not in self.values:
            self.unknown.append(name)
        return self.values.get(name, "")


def substituted(build: Json, builtin: Mapping[str, str]) -> Json:
    """Return the build with its substitutions made.

    Args:
        build: as it was submitted; ``substitutions`` are the user's.
        builtin: PROJECT_ID, BUILD_ID and so on.

    Raises:
        ApiError: 400 for a key of the wrong form, and, unless the build says ALLOW_LOOSE, for one
            that is not used or not declared.
    """
    given: dict[str, str] = build.get("substitutions", {})
    for name in given:
        if not USER_KEY.fullmatch(name) and name not in OF_A_COMMIT:
            raise invalid(
                f'invalid build: invalid .substitutions field: substitution key "{name}" does not '
                'respect format "^_[A-Z0-9_]+$" and is not an overridable built-in substitutions'
            )
    options = build.get("options", {})
    loose = options.get("substitutionOption") == "ALLOW_LOOSE"
    empty = dict.fromkeys(OF_A_COMMIT | OF_A_TRIGGER, "")
    template = Template({**empty, **given, **builtin})
    filled = {name: template.fill(build[name]) for name in PLACES if name in build}
    if not loose:
        _refuse_mismatch(template, set() if _all_mapped(build) else set(given))
    return {**build, **filled}


def _all_mapped(build: Json) -> bool:
    """Return whether every substitution counts as used, since scripts see them all."""
    options, steps = build.get("options", {}), build.get("steps", [])
    return any(each.get("automapSubstitutions") for each in [options, *steps])


def _refuse_mismatch(template: Template, given: set[str]) -> None:
    unused = sorted(given - template.used)
    undeclared = [name for name in template.unknown if name.startswith("_")]
    foreign = [name for name in template.unknown if not name.startswith("_")]
    words = [
        *(
            f'key "{name}" in the substitution data is not matched in the template'
            for name in unused
        ),
        *(
            f'key in the template "{name}" is not matched in the substitution data'
            for name in undeclared
        ),
        *(f'key in the template "{name}" is not a valid built-in substitution' for name in foreign),
    ]
    if words:
        raise invalid(f"invalid value for 'build.substitutions': {';'.join(words)}")
