"""The version of souron-fast, which is that of souron."""

__version__ = "0.1.0"
