"""Audits of trained systems: training data, memorisation, provenance, detectability."""
