"""What stands between the studio and everybody else: who may ask, for what, and how much.

Any page that is open in the same browser can send requests to this computer, and a file that was
uploaded can hold a script. Hence

- ``access.Door`` lets only requests in that come from its own pages;
- ``Guard``: of Gradio's routes only those exist that its pages need. Of the files of this computer
  it gets those only that Gradio keeps itself, and no address elsewhere that it would fetch. What is
  sent is bounded, and what is answered tells the browser to reach nothing but the studio.

Run uvicorn with ``proxy_headers=False, ws="none"``.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import (
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from souron.serve.access import INERT, LOOPBACK, READ, WRITE, Door, Refused, wished
from souron.utils.messages import LANGUAGES, UserError, _, use_language

MEGABYTE = 10**6
MOST_SAID = 4 * MEGABYTE  # bytes of a request that uploads nothing
MOST_DRAWN = 64 * MEGABYTE  # bytes of the layers that somebody drew on a picture
MOST_PAGE = 64 * MEGABYTE  # bytes of a page's HTML, with all its settings
SLOWEST = 50_000  # bytes a second, of somebody who sends
PARTIAL = re.compile(r"tmp\w{8}")  # the name under which Gradio stores an upload that is coming in

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
LOUD = ("GRADIO_ALLOWED_PATHS", "GRADIO_ROOT_PATH", "GRADIO_VIBE_MODE", "GRADIO_WATCH_DIRS",
        "GRADIO_PROFILING", "GRADIO_LOCAL_DEV_MODE")  # fmt: skip

LOOKS = "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:"
PAGE = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    f"{LOOKS}; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-src 'self' blob:; object-src 'none'; manifest-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
PART = f"default-src 'self'; script-src 'self' 'unsafe-eval'; {LOOKS}; frame-ancestors 'self'"
ALLOWED = "camera=(self), microphone=(self), clipboard-write=(self), geolocation=(), usb=()"
SHOWN = re.compile(r"(image/(?!svg)|audio/|video/|text/(plain|csv)\b|application/json\b)")
OF_A_FILE = {b"content-type", b"content-length", b"content-range", b"content-disposition",
             b"accept-ranges", b"etag", b"last-modified"}  # fmt: skip
NOT_TOLD = {b"forwarded", b"x-real-ip", b"x-gradio-server", b"x-gradio-history-bucket"}


class Route(NamedTuple):
    """What may be asked for: a regular expression of the whole path, how, and what it is.

    ``sort``: a "page", a "part" of one that never changes under its name, "static", "data", a
    "file" that Gradio keeps, a "call" in JSON, a "drawing", an "upload", or "own": a route of the
    studio that may set its own Content-Security-Policy and Cache-Control.
    """

    path: str
    methods: tuple[str, ...] = READ
    sort: str = "data"


OF_GRADIO = (  # below /en/ and /ja/
    Route(r"assets/[\w./-]+", sort="part"),
    Route(r"static/[\w./-]+", sort="static"),
    Route(r"theme\.css", sort="static"),
    Route(r"gradio_api/(?:app_id|upload_progress)"),
    Route(r"gradio_api/heartbeat/\w+"),
    Route(r"gradio_api/run/predict/?", WRITE, "call"),
    Route(r"gradio_api/component_server/?", WRITE, "drawing"),
    Route(r"gradio_api/upload", WRITE, "upload"),
    Route(r"gradio_api/file=.+", sort="file"),
)
OF_THE_STUDIO = (
    Route(r"/static/[\w.-]+", sort="static"),
    Route(r"/favicon\.ico", sort="static"),
    Route(r"/(?:picture|job|runs|export)/.+", sort="own"),
)


def prepare(place: Path) -> Path:
    """Make Gradio a folder below ``place`` for this server alone, and keep it from the network.

    Call it before Gradio is imported. Folders of servers that have ended are removed.
    """
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("gradio-*-*"):
        owner = old.name.split("-")[1]
        if not old.is_symlink() and owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"gradio-{os.getpid()}-", dir=place)).resolve()
    for name in LOUD:
        os.environ.pop(name, None)
    kept = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder / "examples")}
    os.environ.update(QUIET | kept)
    return folder


class Body:
    """What a request sends, within limits. ``refused`` is the limit that it broke."""

    def __init__(self, receive: Receive, most: int, length: int, patience: float) -> None:
        self._receive, self.most, self.patience = receive, most, patience
        self.until = time.monotonic() + patience + length / SLOWEST
        self.count, self.whole = 0, False
        self.refused: Refused | None = None

    async def receive(self) -> Message:
        """The next part. Raises Refused where it is too much or does not come."""
        if self.whole:
            return await self._receive()
        seconds = max(0.0, min(self.patience, self.until - time.monotonic()))
        try:
            message = await asyncio.wait_for(self._receive(), seconds)
        except TimeoutError:
            found = _("what was sent stood still, or came too slowly")
            self._refuse(408, UserError("stalled", found))
        self.count += len(message.get("body", b""))
        if self.count > self.most:
            self._refuse(413, _too_large(self.count, self.most))
        self.whole = not message.get("more_body", False)
        return message

    async def read(self) -> bytes:
        """All of it; ``receive`` then gives it once more."""
        parts = []
        while not self.whole:
            parts.append((await self.receive()).get("body", b""))
        whole, ahead = b"".join(parts), self._receive
        told = False

        async def again() -> Message:
            nonlocal told
            if told:
                return await ahead()
            told = True
            return {"type": "http.request", "body": whole, "more_body": False}

        self._receive = again
        return whole

    def _refuse(self, status: int, trouble: UserError) -> None:
        self.refused = Refused(status, trouble)
        raise self.refused


def _too_large(size: int, most: int) -> UserError:
    return UserError(
        "too large",
        _("{size} MB are too much to send at once").format(size=-(-size // MEGABYTE)),
        expected=_("at most {most} MB").format(most=most // MEGABYTE),
        exit=3,
    )


class Guard:
    """The application, guarded. ``place`` is the folder that ``prepare`` made.

    ``lang`` goes before the browser's language. ``most_bytes`` bounds an upload, ``most_uploads``
    how many come in at a time, ``spare_bytes`` stay free on the disk, ``patience`` is the seconds
    that an upload may stand still. ``own`` are further routes of the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        token: str = "",
        lan: bool = False,
        lang: str = "",
        place: Path | None = None,
        pages: Sequence[str] | None = None,
        own: Sequence[Route] = (),
        most_bytes: int = 2 * 10**9,
        most_uploads: int = 4,
        spare_bytes: int = 500 * MEGABYTE,
        patience: float = 30.0,
    ) -> None:
        assert token or not lan, "who shares the studio needs a token"
        if pages is None:
            from souron.studio.shared import PAGES

            pages = PAGES[1:]  # the first is the app itself
        self.app, self.lan, self.lang = app, lan, lang
        self.place = Path(place or os.environ["GRADIO_TEMP_DIR"]).resolve()
        self.most = {"upload": most_bytes, "drawing": MOST_DRAWN}
        self.most_uploads, self.spare, self.patience = most_uploads, spare_bytes, patience
        self.door = Door(port, token=token, lan=lan)
        self.pages = "|".join(map(re.escape, pages))
        apps = "|".join(LANGUAGES)
        known = [Route(f"(?:{self.pages})?", sort="page"), *OF_GRADIO]
        listed = [r._replace(path=f"/(?:{apps})/{r.path}") for r in known] + [*OF_THE_STUDIO, *own]
        self.routes = [(re.compile(route.path), route) for route in listed]
        self.moved = re.compile(f"/(?:(?:{apps})(?:/(?:{self.pages})/+)?)?")
        self._coming: list[int] = []  # bytes of the uploads that come in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # nothing here needs one
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
        route = self._route(path, scope["method"])
        moved = self.moved.fullmatch(path) is not None and scope["method"] in READ
        linked = moved or (route is not None and route.sort == "page")
        ready = self.door.check(scope, linked=linked)
        if ready is None and moved:
            ready = self._moved(scope)
        if ready is not None:
            await ready(scope, receive, send)
            return
        if route is None:
            raise Refused(404, UserError("missing", _("there is no {path}").format(path=path)))
        if route.sort == "file":
            self._check_file(path.partition("file=")[2])
        await self._pass(route, scope, receive, send)

    def _route(self, path: str, method: str) -> Route | None:
        if ".." in path.split("/"):
            return None
        found = (route for pattern, route in self.routes if pattern.fullmatch(path))
        return next((route for route in found if method in route.methods), None)

    def _moved(self, scope: Scope) -> Response:
        """To the language, and to a page's own address, which ends in no slash."""
        path = scope["path"].rstrip("/")
        path = path if path.count("/") > 1 else f"/{wished(scope, self.lang)}/"
        query = scope["query_string"].decode("latin-1")
        kept = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return RedirectResponse(path + (f"?{query}" if query else ""), 307, kept)

    def _check_file(self, text: str) -> None:
        """One that Gradio keeps: what was uploaded, or made to be shown."""
        found = inside(self.place, text)
        if found is None or not found.is_file():
            raise Refused(404, UserError("missing", _("there is no {path}").format(path=text)))

    async def _pass(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        length = self._length(headers, route)
        body = Body(receive, self.most.get(route.sort, MOST_SAID), length, self.patience)
        if length > body.most:
            raise Refused(413, _too_large(length, body.most))
        drawn = route.sort == "drawing" and "multipart/form-data" in headers.get("content-type", "")
        if route.sort in ("call", "drawing") and not drawn:
            self._check_call(await body.read())
        answer = Answer(route, scope, body, send)
        upload = self._upload(length) if route.sort == "upload" else nullcontext()
        with upload:
            try:
                await self.app(self._told(route, scope), body.receive, answer.send)
            except Exception:
                if body.refused is None:
                    raise
        if body.refused and not answer.started:
            raise body.refused
        await answer.finish()

    def _length(self, headers: Headers, route: Route) -> int:
        text = headers.get("content-length", "")
        if text.isdecimal():
            return int(text)
        if route.sort == "upload":
            raise Refused(411, UserError("length", _("the upload does not say how long it is")))
        return 0

    def _check_call(self, body: bytes) -> None:
        """A handler is given no file but those that Gradio keeps: mounted in an application it
        does not check that itself, and it would fetch what is at an address elsewhere."""
        try:
            asked = json.loads(body or b"null")
        except (ValueError, RecursionError) as error:
            found = _("the request cannot be read: {why}").format(why=error)
            raise Refused(400, UserError("json", found)) from error
        waiting = [asked]
        while waiting:
            thing = waiting.pop()
            if isinstance(thing, list):
                waiting += thing
            elif isinstance(thing, dict):
                waiting += thing.values()
                path = thing.get("path")
                if "meta" in thing and path and inside(self.place, str(path)) is None:
                    found = _("{path} was not uploaded to the studio")
                    raise Refused(403, UserError("outside", found.format(path=path)))

    @contextmanager
    def _upload(self, length: int) -> Iterator[None]:
        """Counts as an upload. What was left of one that broke off is removed after the last."""
        if len(self._coming) >= self.most_uploads:
            found = _("{count} uploads are coming in already").format(count=len(self._coming))
            raise Refused(503, UserError("busy", found, fix=_("once more, when they are done")))
        free = shutil.disk_usage(self.place).free
        need = length + sum(self._coming) + self.spare
        if free < need:
            found = _("the disk is full: {free} MB are free").format(free=free // MEGABYTE)
            expected = _("{need} MB, with what souron itself needs").format(need=need // MEGABYTE)
            raise Refused(507, UserError("disk", found, expected=expected, exit=4))
        self._coming.append(length)
        try:
            yield
        finally:
            self._coming.remove(length)
            if not self._coming:
                sweep(self.place)

    def _told(self, route: Route, scope: Scope) -> Scope:
        """The request without what would make Gradio believe to be elsewhere. Compressed is what
        goes over a network, and no page, which has yet to be rewritten."""
        whole = route.sort == "page" or not self.lan
        dropped = NOT_TOLD | ({b"accept-encoding"} if whole else set())
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in dropped and not name.startswith(b"x-forwarded-")
        ]
        return dict(scope, headers=headers)


class Answer:
    """What the application answers, on its way to the browser."""

    def __init__(self, route: Route, scope: Scope, body: Body, send: Send) -> None:
        self.route, self.scope, self.body, self._send = route, scope, body, send
        self.rewrites = route.sort == "page" and scope["method"] == "GET"
        self.started = False
        self.nonce = secrets.token_urlsafe(16)
        self._held: Message | None = None  # the start of a page, until all of it is there
        self._page: list[bytes] = []

    async def send(self, message: Message) -> None:
        if self.body.refused and not self.started:
            return  # what the application makes of it is of no interest
        if message["type"] == "http.response.start":
            message["headers"] = self._dressed(message.get("headers", []))
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if self.rewrites and message["status"] == 200 and "text/html" in kind:
                self._held = message
                return
            self.started = True
        elif self._held is not None:
            self._page.append(message.get("body", b""))
            assert sum(map(len, self._page)) <= MOST_PAGE, "the page is too large"
            return
        await self._send(message)

    async def finish(self) -> None:
        """Sends a page that was held back, made private."""
        if self._held is None:
            return
        text = b"".join(self._page).decode()
        whole = private(text, wished(self.scope), self.nonce).encode()
        MutableHeaders(raw=self._held["headers"])["content-length"] = str(len(whole))
        await self._send(self._held)
        await self._send({"type": "http.response.body", "body": whole})

    def _dressed(self, raw: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        sort = self.route.sort
        headers = MutableHeaders(
            raw=[
                (name, value)
                for name, value in raw
                if not name.startswith(b"access-control-") and (sort != "file" or name in OF_A_FILE)
            ]
        )
        policy = {"page": PAGE.format(nonce=self.nonce), "part": PART, "static": PART}
        cache = {"part": "private, max-age=31536000, immutable", "static": "no-cache"}
        ours = {
            "Content-Security-Policy": policy.get(sort, INERT),
            "Cache-Control": cache.get(sort, "no-store"),
        }
        for name, value in ours.items():
            if sort != "own" or name not in headers:
                headers[name] = value
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if sort == "page":
            headers["Permissions-Policy"] = ALLOWED
            headers["X-DNS-Prefetch-Control"] = "off"
            if Headers(scope=self.scope)["host"].startswith(LOOPBACK):  # else it is ignored
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if sort == "file" and not SHOWN.match(headers.get("content-type", "")):
            named = headers.get("content-disposition", "").partition(";")[2]
            headers["Content-Disposition"] = f"attachment;{named}".rstrip(";")
            headers["Content-Type"] = "application/octet-stream"
        return headers.raw


def private(page: str, language: str, nonce: str) -> str:
    """Gradio's page without the addresses elsewhere that it names, with scripts that may run."""
    page = re.sub(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*', "", page)
    page = re.sub(r'<link rel="manifest"[^>]*>\s*', "", page)
    page = re.sub(
        r"window\.gradio_api_info = .*?;</script>",  # examples, which are addresses
        'window.gradio_api_info = {"named_endpoints": {}, "unnamed_endpoints": {}};</script>',
        page,
        count=1,
    )
    page = re.sub(r'"https://[\w.]*github\w*\.com/gradio-app/[^"]*"', '""', page)  # examples too
    page = re.sub(r'(<html\s+lang=)"en"', rf'\1"{language}"', page, count=1)
    return re.sub(r"<script\b", f'<script nonce="{nonce}"', page)


def inside(place: Path, text: str) -> Path | None:
    """Where a path leads, links followed, if that is within the folder; else None."""
    if "\0" in text or not Path(os.path.normpath(text)).is_relative_to(place):
        return None
    found = Path(os.path.realpath(text))
    return found if found.is_relative_to(place) else None


def sweep(place: Path) -> None:
    """Remove uploads that were never finished."""
    for entry in list(os.scandir(place)):
        if PARTIAL.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with suppress(OSError):
                Path(entry.path).unlink()
