"""One experiment a file; see ``souron.studio.interactive``."""
