"""Rounds of a comparison on an engine, and answers as lines of JSON."""
