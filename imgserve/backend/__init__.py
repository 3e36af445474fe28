"""The HTTP side of a backend."""
