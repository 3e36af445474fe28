"""One server that takes part: how it is started, where it is asked."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import msgspec
import requests

from tools.benchmarks.processes.child import LOOPBACK, Child, Failed, free_port
from tools.benchmarks.processes.load import Question

# A developer's own settings must not change what is measured.
KEPT = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "USER", "PYTHONPATH"}
ANSWER_S = 60
# What a backend answers while it loads, and a gateway while its backend starts.
STARTING = (503, 502)

# Stands in a command for the program's port.
PORT = "@PORT@"

# Returns variables of a program, given the ports of all programs of its contender by name.
Environ = Callable[[Mapping[str, int]], Mapping[str, str]]


@dataclass(frozen=True)
class Program:
    """One process of a contender; ``environ`` is added to a clean one, with ``PORT``."""

    name: str
    command: tuple[str, ...]
    environ: Environ


@dataclass(frozen=True)
class Entrance:
    """Where a contender is asked.

    Attributes:
        name: of the results; one contender may have several entrances.
        program: whose port it is.
        paths: by the way pictures come, ``url`` or ``upload``.
    """

    name: str
    program: str
    paths: Mapping[str, str]


@dataclass(frozen=True)
class Contender:
    """A server that takes part.

    Attributes:
        name: of its logs.
        title: what the report calls it.
        engine: ``ours``, or ``eager`` torch.
        is_peer: whether a user would pick it instead of ours.
        missing: returns what must be done before it can take part, if anything.
    """

    name: str
    title: str
    engine: str
    programs: tuple[Program, ...]
    entrances: tuple[Entrance, ...]
    is_peer: bool = True
    precision: str = "fp32"
    missing: Callable[[], str] = field(default=lambda: "")


@dataclass(frozen=True)
class Standing:
    """A running contender."""

    contender: Contender
    children: Mapping[str, Child]
    ports: Mapping[str, int]

    @property
    def pids(self) -> tuple[int, ...]:
        """Return its first processes."""
        return tuple(child.pid for child in self.children.values())

    @property
    def started_s(self) -> float:
        """Return when its first process was started."""
        return min(child.started_s for child in self.children.values())

    def address(self, entrance: Entrance, way: str) -> str:
        """Return where an entrance is asked."""
        return f"http://{LOOPBACK}:{self.ports[entrance.program]}{entrance.paths[way]}"

    def answers_as(self, question: Question, category: str) -> bool:
        """Return whether a question has the right answer; False while nobody can answer yet.

        Raises:
            Failed: it has a wrong one, or an error's.
        """
        try:
            answer = requests.post(
                question.url,
                data=question.body,
                headers={"Content-Type": question.media_type},
                timeout=ANSWER_S,
            )
        except requests.ConnectionError:
            return False
        if answer.status_code in STARTING:
            return False
        if not answer.ok:
            error = f"{answer.status_code} {answer.text[:200]}"
            raise Failed(f"{self.contender.name} answers {error}")
        said = msgspec.json.decode(answer.content, type=dict[str, object]).get("category")
        if said != category:
            raise Failed(f"{self.contender.name} says {said!r}, not {category!r}")
        return True


@contextmanager
def standing(contender: Contender) -> Iterator[Standing]:
    """Start a contender's processes, which may not answer yet; stop them at the end."""
    ports = {program.name: free_port() for program in contender.programs}
    clean = {name: value for name, value in os.environ.items() if name in KEPT}
    with ExitStack() as stack:
        children = {
            program.name: stack.enter_context(
                Child(
                    f"{contender.name}-{program.name}",
                    tuple(word.replace(PORT, str(ports[program.name])) for word in program.command),
                    {**clean, "PORT": str(ports[program.name]), **program.environ(ports)},
                )
            )
            for program in contender.programs
        }
        yield Standing(contender, children, ports)


def by_url(address: str, picture_url: str) -> Question:
    """Return a question that names a picture's address."""
    return Question(address, "application/json", msgspec.json.encode({"url": picture_url}))


def upload(address: str, picture: bytes, media_type: str) -> Question:
    """Return a question that carries a picture in a form, as a browser sends it."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return Question(address, f"multipart/form-data; boundary={boundary}", body)
