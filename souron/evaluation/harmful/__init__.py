"""Harmful output of language models: detect it, and withhold it."""
