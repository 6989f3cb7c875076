"""Endpoints of ``souron serve``, one file each, found by its name.

A file has ``add(app, service)``, which adds its routes to a FastAPI application; it is called once
for each language, in which ``_()`` describes them. ``app.state.token`` says whether clients need a
token. Errors are raised as ``UserError``.
"""
