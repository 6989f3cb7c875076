"""Faster answers: parts of a trained network run by an inference engine, after a check that they agree."""
