"""Security of the studio: allowed requests, files, and sizes.

Any page that is open in the same browser can send requests to this computer, and an uploaded file
can contain a script. Therefore

- ``access.Door`` accepts only requests from the studio's own pages;
- ``Guard`` serves only those of Gradio's routes that its pages need. Gradio may read only files
  that it keeps itself, and may fetch no address elsewhere. Request sizes are limited, and a
  Content-Security-Policy restricts the browser to the studio.

Run uvicorn with ``proxy_headers=False, ws="none"``.
"""

import base64
import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
from itertools import filterfalse
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from souron import registry
from souron.serve.access import INERT, READ, WRITE, Door, Refused, wished
from souron.studio import layout
from souron.studio.jobs.job_queue import STARTED
from souron.studio.security.paths import PLACE, upload_folder
from souron.studio.shared import PAGES, USER_ERROR
from souron.utils.messages import LANGUAGES, UserError, _, use_language

MEGABYTE = 10**6
MOST_BYTES = 4 * MEGABYTE  # of a request without an upload
MOST_UPLOADED = 2 * 10**9  # bytes of an upload

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
LOUD = (
    "GRADIO_ALLOWED_PATHS",
    "GRADIO_ROOT_PATH",
    "GRADIO_VIBE_MODE",
    "GRADIO_WATCH_DIRS",
    "GRADIO_PROFILING",
    "GRADIO_LOCAL_DEV_MODE",
)

# Gradio compiles templates, hence 'unsafe-eval'; an inline script runs if its hash is listed here
PAGE = (
    "default-src 'self'; script-src 'self' {hashes} 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-src 'self' blob:; object-src 'none'; manifest-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
SCRIPT = re.compile(rb"<script\b[^>]*>(.*?)</script>", re.DOTALL)
# types that cannot run scripts are shown; other uploads are downloaded
SHOWN = re.compile(r"(image/(?!svg)|audio/|video/|text/(plain|csv)\b|application/json\b)")
OF_A_PROXY = {b"forwarded", b"x-real-ip", b"x-gradio-server", b"x-gradio-history-bucket"}


class Route(NamedTuple):
    """An allowed route: a regular expression of the whole path, its methods, and its kind.

    ``sort``: a "page" of Gradio, a "part" of it that never changes under its name, "static",
    "data", a "file" that Gradio keeps, a "call" in JSON, an "upload", "own": a route of the studio,
    which sets its own Content-Security-Policy and Cache-Control, or "plain": such a route that may
    be linked to from elsewhere.
    """

    path: str
    methods: tuple[str, ...] = READ
    sort: str = "data"


OF_GRADIO = (  # below /en/ and /ja/
    Route("|".join(filterfalse(layout.plain, PAGES)), sort="page"),
    Route("|".join(["", *filter(layout.plain, PAGES[1:])]), sort="plain"),
    Route(r"assets/[\w./-]+", sort="part"),
    Route(r"static/[\w./-]+", sort="static"),
    Route(r"theme\.css", sort="static"),
    Route(r"gradio_api/(?:app_id|upload_progress)"),
    Route(r"gradio_api/heartbeat/\w+"),
    Route(r"gradio_api/run/predict/?", WRITE, "call"),
    Route(r"gradio_api/upload", WRITE, "upload"),
    Route(r"gradio_api/file=.+", sort="file"),
)
OF_THE_STUDIO = (
    Route(r"/static/(?:interactives/)?[\w.-]+", sort="static"),
    Route(rf"/interactive/(?:{'|'.join(LANGUAGES)})/\w+", WRITE, "call"),
    Route(r"/favicon\.ico", sort="static"),
    Route(rf"/do/(?:{'|'.join(LANGUAGES)})/\w+/\w+", WRITE, "call"),
    Route(rf"/send/(?:{'|'.join(LANGUAGES)})/\w+/\w+", WRITE, "upload"),
    Route(rf"/part/(?:{'|'.join(LANGUAGES)})/\w+/\w+", (*READ, *WRITE), "upload"),
    Route(rf"/show/(?:{'|'.join(LANGUAGES)})/\w+/\w+", sort="own"),
    Route(rf"/teach/(?:{'|'.join(LANGUAGES)})/[\w/]+", (*READ, *WRITE), sort="own"),
    Route(r"/(?:picture|job|runs|export|report|volume|lecture)/.+", sort="own"),
    Route(rf"/lecture/(?:{'|'.join(LANGUAGES)})/(?:course|\w+/(?:train|work|mark))", WRITE, "call"),
)
APPS = "|".join(LANGUAGES)
ROUTES = [
    (re.compile(route.path), route)
    for route in [*(r._replace(path=f"/(?:{APPS})/(?:{r.path})") for r in OF_GRADIO), *OF_THE_STUDIO]
]
MOVED = re.compile(f"/(?:(?:{APPS})(?:/(?:{'|'.join(PAGES[1:])})/+)?)?")
TOOL = re.compile(rf"/({APPS})/(\w+)/*")  # the address of a study, which has no page of its own
OF_A_PAGE = {
    "Permissions-Policy": "camera=(self), microphone=(self), clipboard-write=(self), geolocation=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
}
JOBS = "X-Souron-Jobs"  # the ids of started jobs
CACHED = {"part": "private, max-age=31536000, immutable", "static": "no-cache"}


def prepare(place: Path) -> Path:
    """Create a temporary folder for Gradio below ``place``, and keep Gradio from the network.

    Call it before Gradio is imported. Folders of servers that have ended are removed.
    """
    folder = temporary(place)
    for name in LOUD:
        os.environ.pop(name, None)
    own = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder / "examples")}
    os.environ.update(QUIET | own)
    return folder


def keep_apart() -> None:
    """Let Gradio keep the files of each guard in the guard's own folder.

    Gradio's own function of that kind knows one folder only, of the whole process.
    """
    for name in ("utils", "blocks", "processing_utils", "routes"):
        module: Any = importlib.import_module(f"gradio.{name}")
        module.get_upload_folder = upload_folder


def temporary(place: Path) -> Path:
    """Create a temporary folder below ``place``; those of servers that have ended are removed."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("gradio-*-*"):
        owner = old.name.split("-")[1]
        if not old.is_symlink() and owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"gradio-{os.getpid()}-", dir=place)).resolve()


def tool_of(path: str) -> re.Match[str] | None:
    """Return the language and the name of a study whose address this is."""
    found = TOOL.fullmatch(path)
    known = found is not None and found[2] not in PAGES and found[2] in registry.study_files()
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
        place: Path | None = None,
        most_uploaded: int = MOST_UPLOADED,
        behind: bool = False,
    ) -> None:
        assert token or behind or not lan, "who shares the studio needs a token"
        self.app, self.lang, self.most_uploaded = app, lang, most_uploaded
        self.place = Path(place or os.environ["GRADIO_TEMP_DIR"]).resolve()
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
        linked = bool(moved) or (route is not None and route.sort in ("page", "plain"))
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

    def _check_file(self, text: str) -> None:
        """Check that Gradio keeps a file: an upload or one made for display. Raises Refused."""
        path = inside(self.place, text)
        if path is None or not path.is_file():
            raise Refused(404, UserError("missing", _("there is no {path}").format(path=text)))

    async def _pass(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive, self.most_uploaded if route.sort == "upload" else MOST_BYTES)
        length = Headers(scope=scope).get("content-length", "")
        body.check(int(length) if length.isdecimal() else 0)
        if route.sort == "call":
            self._check_call(await body.read())
        answer = Answer(route, send)
        STARTED.set(answer.jobs)
        PLACE.set(self.place)
        try:
            await self.app(without_proxy(scope), body.receive, answer.send)
        except Exception:
            if body.refused is None:
                raise
        if body.refused is not None and not answer.started:
            raise body.refused

    def _check_call(self, body: bytes) -> None:
        """Check that a call names only files that Gradio keeps. Raises Refused.

        Gradio does not check this when mounted in an application, and would fetch remote addresses.
        """
        try:
            call = json.loads(body or b"null")
        except (ValueError, RecursionError) as error:
            found = _("the request cannot be read: {why}").format(why=error)
            raise Refused(400, UserError("json", found)) from error
        waiting = [call]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, dict):
                waiting += value.values()
                path = value.get("path")
                if "meta" in value and path and inside(self.place, str(path)) is None:
                    found = _("{path} was not uploaded to the studio")
                    raise Refused(403, UserError("outside", found.format(path=path)))


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
        self._start: Message | None = None  # of a page or error, until the body is complete
        self._whole = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._protect(MutableHeaders(scope=message))
            if self.sort == "page" or (self.sort == "call" and message["status"] == 500):
                self._start = message
                return
        elif self._start is not None:
            self._whole += message.get("body", b"")
            if message.get("more_body"):
                return
            if self.sort == "page":
                policy = PAGE.format(hashes=hashes(self._whole))
                MutableHeaders(scope=self._start)["Content-Security-Policy"] = policy
            elif is_user_error(self._whole):
                self._start["status"] = 400
            await self._send(self._start)
            message = {"type": "http.response.body", "body": self._whole}
        await self._send(message)

    def _protect(self, headers: MutableHeaders) -> None:
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if self.sort != "own" or "cache-control" not in headers:
            headers["Cache-Control"] = CACHED.get(self.sort, "no-store")
        if self.sort in ("data", "call", "upload", "file") or (
            self.sort in ("own", "plain") and "content-security-policy" not in headers
        ):
            headers["Content-Security-Policy"] = INERT
        if self.jobs:
            headers[JOBS] = ",".join(self.jobs)
        if self.sort in ("page", "plain"):
            headers.update(OF_A_PAGE)
        if self.sort in ("part", "static"):
            headers["Content-Security-Policy"] = PAGE.format(hashes="")
        if self.sort == "file" and not SHOWN.match(headers.get("content-type", "")):
            name = headers.get("content-disposition", "").partition(";")[2]
            headers["Content-Disposition"] = f"attachment;{name}".rstrip(";")
            headers["Content-Type"] = "application/octet-stream"


def is_user_error(body: bytes) -> bool:
    """Return whether an error of Gradio, which is always 500, is a UserError."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("title") == USER_ERROR


def find_route(path: str, method: str) -> Route | None:
    if ".." in path.split("/"):
        return None
    matching = (route for pattern, route in ROUTES if pattern.fullmatch(path))
    return next((route for route in matching if method in route.methods), None)


def without_proxy(scope: Scope) -> Scope:
    """Remove headers of proxies, which would mislead Gradio, and accept-encoding.

    Pages must stay uncompressed, since their scripts are read afterwards.
    """
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in OF_A_PROXY | {b"accept-encoding"} and not name.startswith(b"x-forwarded-")
    ]
    return dict(scope, headers=headers)


def hashes(page: bytes) -> str:
    """Return the hashes of a page's inline scripts, as its policy lists them."""
    scripts = sorted({script for script in SCRIPT.findall(page) if script})
    digests = (base64.b64encode(hashlib.sha256(script).digest()) for script in scripts)
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)


def inside(place: Path, text: str) -> Path | None:
    """Resolve a path, following links; None if it is outside of the folder."""
    if "\0" in text or not Path(os.path.normpath(text)).is_relative_to(place):
        return None
    path = Path(os.path.realpath(text))
    return path if path.is_relative_to(place) else None
