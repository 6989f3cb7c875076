"""Routes of exercises: a mark for an answer, the file of all answers, and notebooks."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import FileResponse, Response

from souron.lecture import notebooks, rows
from souron.studio.lecture import marking
from souron.studio.lecture.lecture_routes import Replies
from souron.studio.shared import Studio
from souron.utils.messages import UserError


def add(app: FastAPI, speaking: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``speaking`` returns the studio of a language."""
    replies = Replies(speaking)

    @app.get("/lecture/{language}/answers.jsonl")
    def answers(language: str) -> Response:
        try:
            name, content = marking.saved(replies.studio(language))
        except UserError as error:
            raise HTTPException(404) from error
        return Response(
            content, media_type="application/jsonl", headers={"Content-Disposition": f"attachment; filename={name}"}
        )

    @app.get("/lecture/{language}/notebooks/{name}.ipynb")
    def notebook(language: str, name: str) -> Response:
        try:
            path = notebooks.find(name, replies.studio(language).language)
        except UserError as error:
            raise HTTPException(404) from error
        return FileResponse(path, media_type="application/x-ipynb+json", filename=path.name)

    @app.post("/lecture/{language}/{id}/mark")
    def mark(language: str, id: str, asked: Annotated[Any, Body()]) -> Response:
        return replies.answer(language, lambda studio: marking.answer(studio, rows.find(id), asked))
