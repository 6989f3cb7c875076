"""Trained systems as folders that others run without souron."""
