"""Runs in the studio: their list, their views, and the bin."""
