"""Improper words of language models: judged, counted before and after tuning, withheld."""
