"""The models that can be served, their architectures and their trained weights."""
