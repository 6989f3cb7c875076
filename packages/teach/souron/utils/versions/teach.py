"""The version of souron-teach, which is that of souron."""

__version__ = "0.1.0"
