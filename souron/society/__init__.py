"""Tools for the use of AI in society: fact checking, citations, work, and harmful language."""
