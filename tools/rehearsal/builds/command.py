"""What a step runs on this machine, in place of its builder image."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.rehearsal.answers import Json

# Google's docker builder, its mirrors in the regions, or the plain name.
DOCKER_BUILDER = re.compile(r"(?:(?:[^@]*/)?cloud-builders/)?docker(?::[\w.-]+)?(?:@sha256:\w+)?")
WORKSPACE = "/workspace"


class StepImpossible(Exception):
    """The rehearsal cannot run this step; the message says why."""


@dataclass(frozen=True)
class Command:
    """A process to start."""

    argv: list[str]
    environ: dict[str, str]
    folder: Path


def command_of(step: Json, workspace: Path, environ: Mapping[str, str], script: Path) -> Command:
    """Return the process that does a step's work.

    Args:
        step: with its substitutions made.
        workspace: the build's.
        environ: what the steps of this build see.
        script: the file to write the step's script to, if it has one.

    Raises:
        StepImpossible: its builder is not docker, or its folder is outside the workspace.
    """
    if not DOCKER_BUILDER.fullmatch(step["name"]):
        message = (
            f'the rehearsal has no builder "{step["name"]}", only gcr.io/cloud-builders/docker'
        )
        raise StepImpossible(message)
    own = dict(each.partition("=")[::2] for each in step.get("env", []))
    argv = [step.get("entrypoint") or "docker", *step.get("args", [])]
    if step.get("script"):
        argv = [str(_written(script, step["script"]))]
    return Command(argv, {**environ, **own}, _folder(workspace, step.get("dir", "")))


def _folder(workspace: Path, name: str) -> Path:
    inside = name.removeprefix(WORKSPACE).lstrip("/") if name.startswith(WORKSPACE) else name
    folder = (workspace / inside).resolve()
    if not folder.is_relative_to(workspace.resolve()):
        raise StepImpossible(f"the rehearsal runs steps in {WORKSPACE} only, not in {name!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _written(path: Path, script: str) -> Path:
    text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path
