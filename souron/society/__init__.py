"""Tools for the use of AI in society: citations and work."""
