"""Any file: what a file is, the best answer to it, films, and the live camera."""
