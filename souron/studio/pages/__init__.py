"""Pages of the studio, one file each, found by its name.

Such a file has a ``TITLE`` and ``body(studio, query)``, which returns its HTML. What a page asks and
sends is answered by functions that it names (``page_routes``). ``PLACE`` names the place of the
navigation that it belongs to (``layout.PLACES``). ``shared.ORDER`` has their order; pages that it
does not name follow.
"""
