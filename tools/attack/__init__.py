"""Attack a backend of one's own, and write what came of it: ``python -m tools.attack --help``."""
