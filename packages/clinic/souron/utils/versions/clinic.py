"""The version of souron-clinic, which is that of souron."""

__version__ = "0.1.0"
