"""Security of the studio: allowed requests, files, and sizes.

Any page that is open in the same browser can send requests to this computer, and an uploaded file
can contain a script. Therefore

- ``access.Door`` accepts only requests from the studio's own pages;
- ``Guard`` serves only known routes. Request sizes are limited, and a Content-Security-Policy
  restricts the browser to the studio.

Run uvicorn with ``proxy_headers=False, ws="none"``.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from souron import registry
from souron.serve.access import INERT, READ, WRITE, Door, Refused, wished
from souron.studio.jobs.job_queue import STARTED
from souron.studio.security.paths import PLACE
from souron.studio.shared import PAGES
from souron.utils import distributions
from souron.utils.messages import LANGUAGES, UserError, _, use_language

MEGABYTE = 10**6
MOST_BYTES = 4 * MEGABYTE  # of a request without an upload
MOST_UPLOADED = 2 * 10**9  # bytes of an upload

QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # of libraries that could ask elsewhere


class Route(NamedTuple):
    """An allowed route: a regular expression of the whole path, its methods, and its kind.

    ``sort``: a "page", which may be linked to from elsewhere, "static", "data", a "call" in JSON, an
    "upload", or "own": it sets its own Content-Security-Policy and Cache-Control.
    """

    path: str
    methods: tuple[str, ...] = READ
    sort: str = "data"


APPS = "|".join(LANGUAGES)
OF_THE_STUDIO = (
    Route(rf"/(?:{APPS})/(?:{'|'.join(['', *PAGES[1:]])})", sort="page"),
    Route(r"/static/(?:interactives/)?[\w.-]+", sort="static"),
    Route(rf"/interactive/(?:{APPS})/\w+", WRITE, "call"),
    Route(r"/favicon\.ico", sort="static"),
    Route(rf"/do/(?:{APPS})/\w+/\w+", WRITE, "call"),
    Route(rf"/send/(?:{APPS})/\w+/\w+", WRITE, "upload"),
    Route(rf"/part/(?:{APPS})/\w+/\w+", (*READ, *WRITE), "upload"),
    Route(rf"/show/(?:{APPS})/\w+/\w+", sort="own"),
    Route(rf"/teach/(?:{APPS})/[\w/]+", (*READ, *WRITE), sort="own"),
    Route(r"/(?:picture|job|runs|export|report|volume|lecture)/.+", sort="own"),
    Route(rf"/lecture/(?:{APPS})/(?:course|\w+/(?:train|work|mark))", WRITE, "call"),
)
ROUTES = [(re.compile(route.path), route) for route in OF_THE_STUDIO]
MOVED = re.compile(f"/(?:(?:{APPS})(?:/(?:{'|'.join(PAGES[1:])})/+)?)?")
TOOL = re.compile(rf"/({APPS})/(\w+)/*")  # the address of a study, which has no page of its own
# of files that are scripts and styles
SCRIPTS = "default-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
OF_A_PAGE = {
    "Permissions-Policy": "camera=(self), microphone=(self), clipboard-write=(self), geolocation=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
}
JOBS = "X-Souron-Jobs"  # the ids of started jobs
CACHED = {"static": "no-cache"}


def prepare(place: Path) -> Path:
    """Create a temporary folder below ``place``, and keep libraries from the network."""
    os.environ.update(QUIET)
    return temporary(place)


def temporary(place: Path) -> Path:
    """Create a temporary folder below ``place``; those of servers that have ended are removed."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("studio-*-*"):
        owner = old.name.split("-")[1]
        if not old.is_symlink() and owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"studio-{os.getpid()}-", dir=place)).resolve()


def tool_of(path: str) -> re.Match[str] | None:
    """Return the language and the name of a study whose address this is."""
    found = TOOL.fullmatch(path)
    if found is None or found[2] in PAGES:
        return None
    known = found[2] in registry.action_files() or distributions.distribution(f"actions/{found[2]}")
    return found if known else None


class Guard:
    """The application behind access control.

    ``place`` is the folder that ``prepare`` made; ``lang`` takes precedence over the browser's
    language. ``behind``: a ``room.Room`` in front of it knows who asks.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        token: str = "",
        lan: bool = False,
        lang: str = "",
        place: Path,
        most_uploaded: int = MOST_UPLOADED,
        behind: bool = False,
    ) -> None:
        assert token or behind or not lan, "who shares the studio needs a token"
        self.app, self.lang, self.most_uploaded = app, lang, most_uploaded
        self.place = place.resolve()
        self.door = Door(port, token=token, lan=lan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # not used
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            with use_language(wished(scope, self.lang)):
                try:
                    await self._serve(scope, receive, send)
                except Refused as refused:
                    await refused.answer(scope)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        route = find_route(path, scope["method"])
        moved = (MOVED.fullmatch(path) or tool_of(path)) and scope["method"] in READ
        linked = bool(moved) or (route is not None and route.sort == "page")
        ready = self.door.check(scope, linked=linked)
        if ready is None and moved:
            ready = self._moved(scope)
        if ready is not None:
            await ready(scope, receive, send)
            return
        if route is None:
            raise Refused(404, UserError("missing", _("there is no {path}").format(path=path)))
        await self._pass(route, scope, receive, send)

    def _moved(self, scope: Scope) -> Response:
        """Redirect to the address with a language and without a trailing slash, or of a study to
        the page of all of them."""
        path, query = scope["path"].rstrip("/"), scope["query_string"].decode("latin-1")
        if tool := tool_of(path):
            path = f"/{tool[1]}/study"
            query = "&".join(filter(None, (f"study={tool[2]}", query)))
        path = path if path.count("/") > 1 else f"/{wished(scope, self.lang)}/"
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return RedirectResponse(path + (f"?{query}" if query else ""), 307, headers)

    async def _pass(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        typed = Headers(scope=scope).get("content-type", "").startswith("application/x-www-form-urlencoded")
        body = Body(receive, self.most_uploaded if route.sort == "upload" and not typed else MOST_BYTES)
        length = Headers(scope=scope).get("content-length", "")
        body.check(int(length) if length.isdecimal() else 0)
        if route.sort == "call":
            self._check_call(await body.read())
        answer = Answer(route, send)
        STARTED.set(answer.jobs)
        PLACE.set(self.place)
        try:
            await self.app(scope, body.receive, answer.send)
        except Exception:
            if body.refused is None:
                raise
        if body.refused is not None and not answer.started:
            raise body.refused

    def _check_call(self, body: bytes) -> None:
        """Check that a call is JSON. Raises Refused."""
        try:
            json.loads(body or b"null")
        except (ValueError, RecursionError) as error:
            found = _("the request cannot be read: {why}").format(why=error)
            raise Refused(400, UserError("json", found)) from error


class Body:
    """Body of a request, up to ``most`` bytes; ``refused`` is set if there was more."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self.most, self.count = receive, most, 0
        self.refused: Refused | None = None
        self._read: Message | None = None  # the whole body, to be received again

    def check(self, size: int) -> None:
        """Check the number of bytes. Raises Refused if it is too large."""
        if size > self.most:
            error = UserError(
                "too large",
                _("{size} MB are too much to send at once").format(size=-(-size // MEGABYTE)),
                expected=_("at most {most} MB").format(most=self.most // MEGABYTE),
                exit=3,
            )
            self.refused = Refused(413, error)
            raise self.refused

    async def receive(self) -> Message:
        if self._read is not None:
            message, self._read = self._read, None
            return message
        message = await self._receive()
        self.count += len(message.get("body", b""))
        self.check(self.count)
        return message

    async def read(self) -> bytes:
        """Read the whole body; ``receive`` then returns it again."""
        parts, more = [], True
        while more:
            message = await self.receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        whole = b"".join(parts)
        self._read = {"type": "http.request", "body": whole, "more_body": False}
        return whole


class Answer:
    """Response with security headers added."""

    def __init__(self, route: Route, send: Send) -> None:
        self.sort, self._send = route.sort, send
        self.started = False
        self.jobs: list[str] = []  # ids of those that the request started, for the page's script

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._protect(MutableHeaders(scope=message))
        await self._send(message)

    def _protect(self, headers: MutableHeaders) -> None:
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        own = self.sort in ("own", "page")
        if not own or "cache-control" not in headers:
            headers["Cache-Control"] = CACHED.get(self.sort, "no-store")
        if not own or "content-security-policy" not in headers:
            headers["Content-Security-Policy"] = SCRIPTS if self.sort == "static" else INERT
        if self.jobs:
            headers[JOBS] = ",".join(self.jobs)
        if self.sort == "page":
            headers.update(OF_A_PAGE)


def find_route(path: str, method: str) -> Route | None:
    if ".." in path.split("/"):
        return None
    matching = (route for pattern, route in ROUTES if pattern.fullmatch(path))
    return next((route for route in matching if method in route.methods), None)
