"""References in an answer: which cannot exist, and which a reader's own library has."""
