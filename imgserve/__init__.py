"""Serve a torchvision image classifier: the parts that every service shares."""

__version__ = "0.1.0"
HOMEPAGE = "https://github.com/imgserve/imgserve"
