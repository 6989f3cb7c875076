"""Check whether the sentences of an answer are supported by its sources."""
