"""Texts composed from word lists: polite answers, requests for pages."""
