"""v3: a backend for one model, named in the path."""
