"""Rounds of a comparison, and units of an action, on an engine."""
