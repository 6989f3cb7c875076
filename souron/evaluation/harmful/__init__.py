"""Harmful output of language models: detect it, count it before and after tuning, withhold it."""
