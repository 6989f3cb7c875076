"""Pages of the studio, one file each, found by its name: a ``TITLE``, and ``page(studio)``, which
builds it. ``shared.ORDER`` has the order of the navigation; pages that it does not name follow.
"""
