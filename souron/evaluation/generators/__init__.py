"""Evaluate generators of images, films and music."""
