"""Readers of the files of other programs: the weights of their convolutions."""
