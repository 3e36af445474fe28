"""v3: one address for all models, by nginx or Google's API Gateway, from one list of backends."""
