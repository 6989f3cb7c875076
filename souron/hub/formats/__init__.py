"""Files of other programs with trained networks, read without those programs."""
