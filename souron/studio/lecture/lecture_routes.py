"""Routes of the lecture's pages: rows, first steps, and a training of ten seconds.

All are below ``/lecture/en/`` and ``/lecture/ja/``. Pages send JSON, whose size
``security.access.Guard`` limits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from souron.lecture import rows
from souron.studio.files import PLAIN, SANDBOX
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, Job
from souron.studio.lecture import at_work, before_after, command_output, first_steps, layer_pages, lesson
from souron.studio.pages import train
from souron.studio.shared import Studio, trouble
from souron.utils.messages import LANGUAGES, UserError, _, use_language


@dataclass(frozen=True)
class Replies:
    """Pages and answers in the language of an address; ``speaking`` returns the studio of a language."""

    speaking: Callable[[str], Studio]

    def page(self, language: str, build: Callable[[Studio], str]) -> Response:
        """Respond with a page; 404 where the row or course does not exist."""
        studio = self.studio(language)
        with use_language(language):
            try:
                return HTMLResponse(build(studio), headers=PLAIN)
            except UserError as error:
                said = trouble(error.code, error.found, error.expected, error.fix)
                return HTMLResponse(lesson.whole(studio, _("Lecture"), said), 404, PLAIN)

    def answer(self, language: str, build: Callable[[Studio], dict[str, Any]]) -> Response:
        """Respond with JSON; an error becomes its ``detail``, which the page shows."""
        studio = self.studio(language)
        with use_language(language):
            try:
                return JSONResponse(build(studio))
            except UserError as error:
                said = trouble(error.code, error.found, error.expected, error.fix)
                return JSONResponse({"detail": str(said)}, 400)

    def studio(self, language: str) -> Studio:
        if language not in LANGUAGES:
            raise HTTPException(404)
        return self.speaking(language)


def add(app: FastAPI, speaking: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``speaking`` returns the studio of a language."""
    replies = Replies(speaking)

    @app.get("/lecture/{language}/job/{id}")
    def watched(language: str, id: str) -> Response:
        return replies.answer(language, lambda studio: seen(studio, studio.jobs.get(id)))

    @app.get("/lecture/{language}/start")
    def start(language: str) -> Response:
        return replies.page(language, first_steps.page)

    @app.get("/lecture/{language}/{id}")
    def row(language: str, id: str) -> Response:
        return replies.page(language, lambda studio: lesson.page(studio, rows.find(id)))

    @app.get("/lecture/{language}/{id}/{name}.html")
    def report(language: str, id: str, name: str) -> Response:
        with use_language(replies.studio(language).language):
            try:
                path = command_output.report(rows.find(id), f"{name}.html")
                return FileResponse(path, media_type="text/html", headers=SANDBOX)
            except UserError as error:
                raise HTTPException(404) from error

    @app.get("/lecture/{language}/layers/{name}")
    def all_layers(language: str, name: str) -> Response:
        return replies.page(language, lambda studio: lesson.layers_page(studio, name))

    @app.get("/lecture/{language}/layers/{name}/diagram")
    def diagram(language: str, name: str) -> Response:
        return replies.answer(language, lambda _studio: {"html": layer_pages.diagram(layer_pages.cached(name))})

    @app.post("/lecture/{language}/{id}/work")
    def work(language: str, id: str, asked: Annotated[Any, Body()]) -> Response:
        return replies.answer(language, lambda studio: at_work.answer(studio, rows.find(id), asked))

    @app.post("/lecture/{language}/{id}/train")
    def train_row(language: str, id: str) -> Response:
        return replies.answer(language, lambda studio: {"job": begun(studio, training(id)).id})


def training(id: str) -> list[str]:
    """Return the training command of a row's button, or of the first steps (``first``).

    Raises UserError.
    """
    if id == "first":
        return lesson.FIRST
    row = rows.find(id)
    if not (row.systems and row.data):
        raise UserError(
            "row",
            _("{row} has nothing that can be trained in ten seconds").format(row=row.id),
            expected=_("a row with a system and data"),
        )
    return lesson.training_words(row)


def begun(studio: Studio, words: list[str]) -> Job:
    """Start a training; return the running one if the button was pressed twice."""
    return lesson.running(studio, words) or studio.jobs.start(words, studio.language)


def seen(studio: Studio, job: Job) -> dict[str, Any]:
    """Return the progress of a training as HTML, and whether it is over."""
    state = job.state
    over = state not in ALIVE
    came = train.outcome(studio, job) + sides(job) if state == "done" else job_view.failure(job, state)
    return {
        "over": over,
        "progress": job_view.progress(job, state),
        "seen": job_view.seen(job),
        "outcome": came if over else "",
    }


def sides(job: Job) -> str:
    """Return one test case's answer before and after a training; "" where none can be shown."""
    run = (job.result or {}).get("run", "")
    try:
        return before_after.compared(Path(run)) if run else ""
    except UserError:
        return ""
