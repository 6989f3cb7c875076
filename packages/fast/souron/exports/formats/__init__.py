"""Formats of an exported network, one file each.

A file ``<name>.py`` is a format: ``souron export RUN format=<name>`` finds it by its name. It holds

    EXTRA       the extra of souron that it needs, "" for none
    FILE        the name of its file in the folder
    PACKAGES    what others install to run it
    RUN         lines of ``run.py`` that define ``network(file)``: a function from a list of arrays, in
                the order of the inputs, to a list of arrays, in the order of the outputs
    write(program, portable, file)    write it from the traced network; returns what ``model.json`` adds
    network(file)                     the same as RUN, within souron
"""
