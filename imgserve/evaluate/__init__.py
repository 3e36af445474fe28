"""How often a compiled model is right about labelled pictures: ``python -m imgserve.evaluate``."""
