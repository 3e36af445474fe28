"""Compile a classifier for serving, by ``python -m imgserve.compile``. Only here is torch used."""
