"""Why a rehearsal cannot go on, in words for the person who started it."""


class HostFailed(Exception):
    """Something that the rehearsal stands on is missing or does not work."""
