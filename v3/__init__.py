"""v3: one model per container, behind a gateway."""
