"""Faults of a data set that would spoil a result, each found by one file."""
