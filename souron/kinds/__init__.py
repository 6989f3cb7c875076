"""Kinds of data, one file per kind. A kind reads a file, validates it, and displays itself."""
