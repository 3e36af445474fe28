"""v2: a model chosen per request."""
