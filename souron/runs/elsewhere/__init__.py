"""Rounds of a comparison, and units of a study, on an engine."""
