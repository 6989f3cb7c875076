"""Routes of courses: their steps, the page that edits one, and their files."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, Response

from souron.studio.lecture import course_pages
from souron.studio.lecture.lecture_routes import Replies
from souron.studio.shared import Studio
from souron.utils.messages import UserError


def add(app: FastAPI, speaking: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``speaking`` returns the studio of a language."""
    replies = Replies(speaking)

    @app.get("/lecture/{language}/course")
    def all_courses(language: str) -> Response:
        return replies.page(language, course_pages.maker)

    @app.post("/lecture/{language}/course")
    def save(language: str, asked: Annotated[Any, Body()]) -> Response:
        return replies.answer(language, lambda studio: course_pages.saved(studio, asked))

    @app.get("/lecture/{language}/course/{name}.toml")
    def download(language: str, name: str) -> Response:
        studio = replies.studio(language)
        try:
            text = course_pages.find(studio, name).as_toml()
        except UserError as error:
            raise HTTPException(404) from error
        disposition = f"attachment; filename*=UTF-8''{quote(name)}.toml"
        return PlainTextResponse(text, headers={"Content-Disposition": disposition})

    @app.get("/lecture/{language}/course/{name}")
    def one_course(language: str, name: str) -> Response:
        return replies.page(language, lambda studio: course_pages.overview(studio, name))

    @app.get("/lecture/{language}/course/{name}/edit")
    def edit(language: str, name: str) -> Response:
        return replies.page(language, lambda studio: course_pages.maker(studio, name))

    @app.get("/lecture/{language}/course/{name}/{number}")
    def step(language: str, name: str, number: int) -> Response:
        return replies.page(language, lambda studio: course_pages.step(studio, name, number))
