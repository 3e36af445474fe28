"""v3: one address for all models, from one list of backends.

The list becomes the document of Google's API Gateway, or the configuration of nginx.
"""
