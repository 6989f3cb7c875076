"""Data: one file per data set or folder format, and what they share."""
