"""Pages of the studio, one file each, found by its name.

Such a file has a ``TITLE``, and either ``body(studio, query)``, which returns plain HTML, or
``page(studio)``, which builds the page of Gradio components. What the script of a plain page asks
and sends is answered by functions that the page names (``page_routes``). ``PLACE`` names the place of the
navigation that it belongs to (``layout.PLACES``). ``shared.ORDER`` has their order; pages that it
does not name follow.
"""
