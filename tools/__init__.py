"""The workshop: what runs, rehearses and measures the product. None of it is in an image."""
