"""One interactive experiment per file; see ``souron.studio.interactive``."""
