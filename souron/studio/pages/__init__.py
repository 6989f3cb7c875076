"""The studio's pages, one file each: a ``TITLE`` and ``page(studio)``, which builds it."""
