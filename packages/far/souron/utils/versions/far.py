"""The version of souron-far, which is that of souron."""

__version__ = "0.1.0"
