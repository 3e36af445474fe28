"""v1: one fixed model."""
