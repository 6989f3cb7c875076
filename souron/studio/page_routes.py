"""Pages of the studio, one file of ``pages/`` each, and routes to what their scripts ask, send and show.

Such a file is found by its name. It has a ``TITLE`` and ``body(studio, query)``, which returns its HTML. ``PLACE``
names the place of the navigation that it belongs to (``layout.PLACES``). ``shared.ORDER`` has the order of the pages;
those that it does not name follow. A page module names its functions, and nothing else has to know them:

- ``ACTIONS``: name -> ``action(studio, asked)``. The script posts JSON to
  ``/do/{language}/{page}/{name}``, and what the function returns goes back as JSON.
- ``UPLOADS``: name -> ``upload(studio, file, query)``. The script posts a file to
  ``/send/{language}/{page}/{name}?name=...``; it is in a temporary folder, under its own name,
  until the function returns.
- ``VIEWS``: name -> ``view(studio, query)``, a Response such as an image, at
  ``/show/{language}/{page}/{name}?...``.
- ``PARTS``: name -> ``part(studio, form)``. An element of the page with ``hx-get`` or ``hx-post``
  (htmx) sends a form to ``/part/{language}/{page}/{name}``, and the HTML that the function returns
  takes the place of its target. ``form`` is a ``security.posted.Posted``.

A UserError becomes status 400 and ``{"detail": HTML}``, of a part the HTML alone.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response

from souron.studio import layout
from souron.studio.security import posted
from souron.studio.security.paths import upload_folder
from souron.studio.shared import PAGES, Studio, trouble
from souron.utils import files
from souron.utils.messages import LANGUAGES, UserError, _, use_language

MOST_BYTES = 2_000_000_000  # of a file


def add(app: FastAPI, studio: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``studio`` returns the studio of a language."""

    def answered(language: str, do: Callable[[], Any]) -> Response:
        with use_language(language):
            try:
                found = do()
            except UserError as error:
                told = trouble(error.code, error.found, error.expected, error.fix)
                return JSONResponse({"detail": str(told)}, 400)
        return found if isinstance(found, Response) else JSONResponse(found)

    @app.post("/do/{language}/{page}/{name}")
    def do(language: str, page: str, name: str, asked: Annotated[Any, Body()] = None) -> Response:
        action = function(language, page, "ACTIONS", name)
        return answered(language, lambda: action(studio(language), asked if isinstance(asked, dict) else {}))

    @app.post("/send/{language}/{page}/{name}")
    async def send(language: str, page: str, name: str, request: Request) -> Response:
        upload, query = function(language, page, "UPLOADS", name), dict(request.query_params)
        with tempfile.TemporaryDirectory(prefix="upload-") as folder:
            place = Path(folder) / (file_name(query.get("name", "")) or "file")
            with place.open("wb") as stream:
                async for part in request.stream():
                    if stream.tell() + len(part) > MOST_BYTES:
                        return await run_in_threadpool(answered, language, _too_large)
                    stream.write(part)
            return await run_in_threadpool(answered, language, lambda: upload(studio(language), place, query))

    @app.api_route("/part/{language}/{page}/{name}", methods=["GET", "POST"])
    async def part(language: str, page: str, name: str, request: Request) -> Response:
        build = function(language, page, "PARTS", name)
        with use_language(language):
            try:
                form = await posted.received(request)
            except OSError as error:
                return _trouble(files.cannot_write(Path(upload_folder()), error))
            except UserError as error:
                return _trouble(error)
        return await run_in_threadpool(_fragment, language, lambda: build(studio(language), form))

    @app.get("/show/{language}/{page}/{name}")
    def show(language: str, page: str, name: str, request: Request) -> Response:
        view = function(language, page, "VIEWS", name)
        return answered(language, lambda: view(studio(language), request.query_params))


def _fragment(language: str, build: Callable[[], str]) -> Response:
    with use_language(language):
        try:
            return HTMLResponse(build())
        except UserError as error:
            return _trouble(error)


def _trouble(error: UserError) -> Response:
    return HTMLResponse(trouble(error.code, error.found, error.expected, error.fix), 400)


def function(language: str, page: str, table: str, name: str) -> Callable[..., Any]:
    """Return a function of a page. Raises HTTPException 404 where there is none."""
    known = language in LANGUAGES and page in PAGES
    found = getattr(layout.module(page), table, {}).get(name) if known else None
    if found is None:
        raise HTTPException(404)
    return found


def file_name(name: str) -> str:
    """Return the last part of a file's name, without what a file system or a shell could mistake.

    >>> file_name("../../etc/scan 1.nii.gz"), file_name("")
    ('scan 1.nii.gz', '')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isalnum() or letter in " ._-()")
    return kept.strip(" .")[-100:]


def _too_large() -> None:
    raise UserError(
        "too large",
        _("the file is too large"),
        expected=_("at most {most} MB").format(most=MOST_BYTES // 10**6),
        exit=3,
    )
