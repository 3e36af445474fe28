"""What a bare loop is told and what it answers."""

import msgspec

# What a loop is asked for: all of the work, or the engine with a picture prepared once.
WHOLE, ENGINE = "whole", "engine"


class Lap(msgspec.Struct, frozen=True):
    """One answer of a loop, of one process.

    Attributes:
        pictures: classified in that time by all loops.
        cpu_s: CPU seconds of the process.
        memory_mb: the most that the process ever had in memory (RSS).
        category: of the picture, each time.
    """

    pictures: int
    seconds: float
    cpu_s: float
    memory_mb: float
    category: str


class Job(msgspec.Struct, frozen=True):
    """What a loop does.

    Attributes:
        picture: a file, read anew each time.
    """

    model: str
    precision: str
    picture: str
    streams: int
    threads: int
    loops: int
