"""Attack a backend of your own, and write what came of it: ``python -m tools.attack --help``."""
