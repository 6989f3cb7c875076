"""``GET /`` and ``GET /docs``: the pages of the server."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from souron.registry import task_name
from souron.report.page import page
from souron.serve.service import Service
from souron.utils.files import as_json
from souron.utils.messages import _


def add(app: FastAPI, service: Service) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Serve a page on the API; FastAPI's own would load its scripts from elsewhere."""
        title = _("The API")
        return HTMLResponse(page("serving_docs.html", title=title, schema=app.openapi(), as_json=as_json))

    @app.get("/", include_in_schema=False)
    async def start(request: Request) -> Response:
        about = {"title": service.name, "task": task_name(service.task), "service": service}
        token = app.state.token
        return HTMLResponse(page("serving.html", **about, url=request.base_url, token=token))
