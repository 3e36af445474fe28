"""Compile a classifier for serving: ``python -m imgserve.compile``. Only here is torch imported."""
