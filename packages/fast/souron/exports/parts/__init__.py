"""Pieces of ``answers.py``, which an exported folder holds beside ``run.py``.

A file that a ``Portable`` names by ``reads`` holds ``read(word, about)``: from a word of the command line to
the inputs, and their position. One that it names by ``shows`` holds ``show(outputs, place, about, labels)``.
``about`` is ``model.json``. Their functions are copied with their imports, and so are those of other files
here that they import. Beside them they may import the standard library, NumPy and Pillow.
"""
