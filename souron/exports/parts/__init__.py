"""Pieces of ``run.py``, the program in an exported folder.

A file that a ``Portable`` names by ``reads`` holds ``read(word, about)``: from a word of the command line to
the inputs, and their position. One that it names by ``shows`` holds ``show(outputs, place, about, labels)``.
``about`` is ``model.json``. The functions are copied without their docstrings, so they use json, sys, Path,
NumPy as np and Pillow's Image and ImageOps, and functions that they import from other files here.
"""
