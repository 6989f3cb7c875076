"""Synthetic anatomy: heads and torsos, with the images taken of them."""
