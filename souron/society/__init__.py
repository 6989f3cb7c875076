"""Tools for the use of AI in society: fact checking and harmful language."""
