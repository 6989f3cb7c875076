"""The studio's own routes: images of systems and jobs, and the files of runs.

Nothing outside of the project's folder is served, and files of runs are shown without scripts.
"""

import mimetypes
import re
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from zipfile import ZIP_STORED, ZipFile

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.background import BackgroundTask

from souron import registry
from souron.studio import interactive, layout, volume_pages
from souron.studio.jobs.job_queue import Jobs
from souron.studio.runs import run_list
from souron.studio.security.paths import Roots
from souron.studio.shared import PAGES, Studio, trouble
from souron.utils import files
from souron.utils.messages import LANGUAGES, UserError, use_language

STATIC = "studio/static"  # of souron and of its distributions
SHOWN = (".html", ".png", ".jpg", ".webp", ".gif", ".svg", ".csv", ".json", ".jsonl", ".yaml",
         ".md", ".txt", ".wav", ".glb", ".obj", ".safetensors")  # fmt: skip
SANDBOX = {
    "Content-Security-Policy": "sandbox allow-popups; default-src 'none'; img-src data: 'self'; media-src data: 'self';"
    " style-src 'unsafe-inline'; font-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}
PLAIN = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self' blob:; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:;"
    " worker-src 'self' blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), clipboard-write=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}
AROUND = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self';"
    " img-src 'self' data:;"
    " frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
ELSEWHERE = re.compile(rb'<a class="elsewhere" [^<]*</a>')  # a report's link to the other language
WRITTEN = re.compile(rb'<html lang="([a-z]{2})">')
drawing = threading.Lock()  # matplotlib and torch's hooks are not thread-safe


def add(app: FastAPI, project: Path, jobs: Jobs) -> None:
    """Add these routes to the application."""
    add_static(app, project)
    add_jobs(app, jobs)
    add_runs(app, project, jobs)


def add_pages(app: FastAPI, studios: Mapping[str, Studio]) -> None:
    """Add the pages. ``studios``: language -> the studio in it."""

    def route(studio: Studio, name: str) -> None:
        def page(request: Request) -> Response:
            query = request.query_params
            with use_language(studio.language):
                try:
                    body, status = layout.module(name).body(studio, query), 200
                except UserError as error:
                    body, status = trouble(error.code, error.found, error.expected, error.fix), 404
                text = layout.whole(studio, layout.title(name), body, name)
            return HTMLResponse(text, status, PLAIN)

        app.api_route(f"/{studio.language}/{'' if name == PAGES[0] else name}", methods=["GET", "HEAD"])(page)

    for studio in studios.values():
        for name in PAGES:
            route(studio, name)


def add_static(app: FastAPI, project: Path | None = None) -> None:
    """Add the routes of what belongs to the studio itself; interactives may use runs of the project."""

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return own_file(STATIC, name)

    @app.get("/static/interactives/{name}")
    def script(name: str) -> Response:
        return own_file(f"{STATIC}/interactives", name)

    @app.post("/interactive/{language}/{name}")
    def interact(language: str, name: str, asked: Annotated[Any, Body()]) -> Response:
        with use_language(language), run_list.serving(project):
            try:
                return JSONResponse(interactive.answer(name, asked))
            except UserError as error:
                return JSONResponse({"detail": error.found}, 400)

    @app.get("/favicon.ico")
    def icon() -> Response:
        return own_file(STATIC, "favicon.png")

    @app.get("/picture/{name}.svg")
    def image(name: str) -> Response:
        return FileResponse(layers(name), headers={"Cache-Control": "max-age=3600"})


def add_jobs(app: FastAPI, jobs: Jobs) -> None:
    """Add the routes of the images of a job."""

    @app.get("/job/{id}/curve.png")
    def curve(id: str, lang: str = "en") -> Response:
        return Response(drawn_curve(jobs, id, lang), media_type="image/png")

    @app.get("/job/{id}/picture.png")
    def sample(id: str) -> Response:
        path = job(jobs, id).image
        if path is None:
            raise HTTPException(404)
        return FileResponse(path)


def add_runs(app: FastAPI, project: Path, jobs: Jobs) -> None:
    """Add the routes of the files of runs, and of pages around them."""

    @app.get("/runs/{path:path}")
    def file(path: str, request: Request) -> Response:
        found = inside(project, path)
        if found.suffix.lower() not in SHOWN:
            raise HTTPException(404)
        if found.suffix.lower() == ".html":
            page = themed(alone(found.read_bytes()), request.cookies.get("dark", ""))
            return Response(page, media_type="text/html", headers=SANDBOX)
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return FileResponse(found, media_type=kind, headers=SANDBOX)

    @app.get("/export/{task}/{name}.zip")
    def export(task: str, name: str) -> Response:
        return packed(inside(project, f"{task}/{name}/args.yaml").parent)

    @app.get("/export/{task}/{name}/{part}.zip")
    def exported(task: str, name: str, part: str) -> Response:
        inside(project, f"{task}/{name}/args.yaml")
        return packed(inside(project, f"{task}/{name}/{part}/model.json").parent)

    @app.get("/report/{language}/{task}/{name}")
    def report(language: str, task: str, name: str) -> Response:
        if language not in LANGUAGES:
            raise HTTPException(404)
        studio = Studio(project, Roots([project]), jobs, language)
        found = studio.report_file(inside(project, f"{task}/{name}/report.html").parent)
        with found.open("rb") as file:
            written = WRITTEN.search(file.read(1000))
        with use_language(language):
            language_of = written[1].decode() if written else ""
            page = layout.report(studio, task, name, studio.file(found), language_of)
        return Response(page, media_type="text/html", headers=AROUND)

    @app.get("/volume/{language}/{name}")
    def volume(language: str, name: str) -> Response:
        page = volume_pages.text(name, language)
        if not page:
            raise HTTPException(404)
        headers = {"Content-Security-Policy": volume_pages.POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(page, media_type="text/html", headers=headers)


def own_file(part: str, name: str) -> Response:
    """Return a file of a folder of souron, of any distribution. Raises HTTPException 404."""
    for folder in files.package_folders(part):
        with suppress(HTTPException):
            return FileResponse(inside(folder, name), headers={"Cache-Control": "no-cache"})
    raise HTTPException(404)


def inside(folder: Path, path: str) -> Path:
    """Return a file below a folder, links resolved. Raises HTTPException 404, also if hidden."""
    try:
        found = (folder / path).resolve(strict=True)
        below = found.relative_to(folder.resolve())
    except (OSError, ValueError) as error:
        raise HTTPException(404) from error
    if not found.is_file() or any(part.startswith(".") for part in below.parts):
        raise HTTPException(404)
    return found


def alone(page: bytes) -> bytes:
    """Remove a report's link to the other language, which a saved copy would miss.

    The page around the report has such a link.
    """
    return ELSEWHERE.sub(b"", page, count=1)


def themed(page: bytes, dark: str) -> bytes:
    """Set a report to the studio's light or dark mode, which its media query cannot know."""
    if dark not in ("true", "false"):
        return page
    wish, media, within = (b"dark", b"all", b"min") if dark == "true" else (b"light", b"not all", b"max")
    page = page.replace(b"and (prefers-color-scheme: dark)", b"and (" + within + b"-width: 0)", 1)
    page = page.replace(b"color-scheme: light dark", b"color-scheme: " + wish, 1)
    return page.replace(b"@media (prefers-color-scheme: dark)", b"@media " + media, 1)


def job(jobs: Jobs, id: str) -> Any:
    try:
        return jobs.get(id)
    except UserError as error:
        raise HTTPException(404) from error


def layers(name: str) -> Path:
    """Return the diagram of a system's layers, drawn once and cached until its file changes."""
    entry = registry.entries().get(name)
    if entry is None:
        raise HTTPException(404)
    kept = files.cache_folder() / "pictures" / f"{name}-{entry.file.stat().st_mtime_ns}.svg"
    with drawing:
        if not kept.exists():
            from souron.evaluation import summary
            from souron.report import diagram

            size = "small" if "small" in entry.sizes else entry.sizes[0]
            lines = diagram.boxes(*summary.drawn(entry, size))
            with files.atomically(kept) as beside:
                diagram.draw(lines, beside, words=False)
    return kept


def drawn_curve(jobs: Jobs, id: str, language: str) -> bytes:
    """Plot losses and the validation measure of a job so far."""
    found = job(jobs, id)
    rows = found.curve
    if not rows or language not in LANGUAGES:
        raise HTTPException(404)
    from souron.report import plots

    measure = next((key[4:] for row in rows for key in row if key.startswith("val ")), "")
    with drawing, use_language(language):
        return plots.learning_curves({" ".join(found.words[1:2]): trainings(rows)}, measure)


def trainings(rows: list[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Split the rows by training; in cross-validation the steps restart for each fold."""
    each: list[list[dict[str, float]]] = []
    for row in rows:
        if not each or row.get("step", 0) <= each[-1][-1].get("step", 0):
            each.append([])
        each[-1].append(row)
    return each


def packed(folder: Path) -> Response:
    """Return a run's files as a zip, which is removed after sending.

    Raises HTTPException 507 where the disk is full.
    """
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        place = Path(file.name)
    try:
        with ZipFile(place, "w", ZIP_STORED) as archive:
            for each in sorted(folder.rglob("*")):
                if each.is_file() and not each.is_symlink():
                    archive.write(each, Path(folder.name) / each.relative_to(folder))
    except OSError as error:
        place.unlink(missing_ok=True)
        raise HTTPException(507, f"{place.parent}: {error.strerror or error}") from error
    done = BackgroundTask(place.unlink, missing_ok=True)
    return FileResponse(place, filename=f"{folder.name}.zip", background=done)
