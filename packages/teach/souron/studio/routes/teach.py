"""Routes of the page "Teach it yourself"."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from souron.studio.lecture.teaching import Teaching
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, use_language


def add(app: FastAPI, studio: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``studio`` returns the studio of a language."""
    teaching = Teaching(studio(LANGUAGES[0]).project, studio(LANGUAGES[0]).jobs)

    def said(language: str, do: Callable[[], Any]) -> JSONResponse:
        with use_language(language if language in LANGUAGES else LANGUAGES[0]):
            try:
                return JSONResponse(do())
            except UserError as error:
                parts = [error.found, error.expected, error.fix]
                told = " ".join(f"{part}." for part in map(str, parts) if part)
                return JSONResponse({"code": error.code, "detail": told}, 400)

    def done(do: Callable[..., None], *given: Any) -> dict[str, bool]:
        do(*given)
        return {"done": True}

    @app.post("/teach/{language}/begin")
    def begin(language: str) -> JSONResponse:
        return said(language, lambda: {"id": teaching.begin()})

    @app.post("/teach/{language}/{id}/picture")
    async def image(language: str, id: str, request: Request) -> JSONResponse:
        content = await request.body()
        return await run_in_threadpool(said, language, lambda: {"number": teaching.add(id, content)})

    @app.post("/teach/{language}/{id}/remove/{number}")
    def remove(language: str, id: str, number: int) -> JSONResponse:
        return said(language, lambda: done(teaching.remove, id, number))

    @app.post("/teach/{language}/{id}/check")
    def check(language: str, id: str, asked: Annotated[Any, Body()]) -> JSONResponse:
        return said(language, lambda: {"remarks": list(map(str, teaching.check(id, asked)))})

    @app.post("/teach/{language}/{id}/train")
    def train(language: str, id: str, asked: Annotated[Any, Body()]) -> JSONResponse:
        return said(language, lambda: done(teaching.train, id, asked, language))

    @app.get("/teach/{language}/{id}/state")
    def state(language: str, id: str) -> JSONResponse:
        return said(language, lambda: teaching.state(id))

    @app.post("/teach/{language}/{id}/answer")
    async def answer(language: str, id: str, request: Request) -> JSONResponse:
        content = await request.body()
        return await run_in_threadpool(said, language, lambda: {"shares": teaching.answer(id, content)})

    @app.post("/teach/{language}/{id}/keep")
    def keep(language: str, id: str, asked: Annotated[Any, Body()]) -> JSONResponse:
        def kept() -> dict[str, str]:
            name = asked.get("name") if isinstance(asked, dict) else ""
            run = teaching.keep(id, str(name or ""))
            here = studio(language)
            use, runs = here.url("use", run=str(run)), here.url("runs", run=str(run))
            return {"name": run.name, "use": use, "report": here.report(run) or runs}

        return said(language, kept)

    @app.post("/teach/{language}/{id}/end")
    def end(language: str, id: str) -> JSONResponse:
        return said(language, lambda: done(teaching.end, id))
