"""Servers whose files come over the network first, each time they start."""
