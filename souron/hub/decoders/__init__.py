"""Decoders of published language models that other packages run."""
