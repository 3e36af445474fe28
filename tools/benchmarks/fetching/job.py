"""What is fetched, and what is done then."""

import msgspec


class Job(msgspec.Struct, frozen=True):
    """What is done at a start.

    Attributes:
        files: addresses, by the path that each is written to.
        commands: run one after the other; the last one is the server, which takes this process.
    """

    files: dict[str, str]
    commands: list[list[str]]
