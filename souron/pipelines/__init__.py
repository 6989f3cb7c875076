"""Interfaces known from other libraries, for souron's systems."""
