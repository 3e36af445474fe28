"""The HTTP side of a backend. Only here is Flask imported."""
