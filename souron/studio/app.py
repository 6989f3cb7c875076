"""The studio: local web pages for everything on the command line, in both languages.

Its first pages are plain HTML, and come at once. Behind them are two Gradio apps, one for each
language, built when they are first asked for, and routes for images and for the files of runs.
``security`` guards all of them. The server keeps no state that is not on disk, so that ending it
loses nothing.
"""

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import logging
import secrets
import ssl
import threading
import warnings
import webbrowser
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from souron.lecture import course as courses
from souron.serve import access
from souron.studio import layout
from souron.studio.jobs.job_queue import Jobs, only_server
from souron.studio.lecture import lesson
from souron.studio.security import access as security
from souron.studio.security.paths import PLACE, Roots
from souron.studio.shared import PAGES, Studio
from souron.utils import messages
from souron.utils.messages import UserError, _, use_language

FONTS = ["system-ui", "sans-serif"]  # until static/studio.css, which names them all, is loaded
TCP = 6  # its protocol number, on every system
WARM = 3.0  # seconds until the first page is loaded and the cores are idle
PEOPLE = "people"  # the folder of those who share a studio, in that of the runs
FETCHED = ("data", "weights")  # of the cache: what all may read; the rest may be made of somebody's data
HERE, EVERYWHERE = ("127.0.0.1", "localhost"), "0.0.0.0"
SLEEP = 60.0  # polling interval of the unused queue, seconds
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def build(studio: Studio) -> Any:
    """Build the Gradio app of one language, with a route for each page that is not plain HTML."""
    import gradio as gr

    with use_language(studio.language), unserved():
        with gr.Blocks(title="souron", analytics_enabled=False) as blocks:
            blocks.get_config_file = dict  # avoids describing all earlier pages anew each time
        blocks.pages[0] = ("", "", False)  # never shown: the first page is plain HTML
        for name in filterfalse(layout.plain, PAGES):
            with blocks.route(name, f"/{name}", show_in_navbar=False):
                _fill(replace(studio, blocks=blocks), name)
    del blocks.get_config_file
    directly(blocks)
    return blocks


@contextlib.contextmanager
def unserved() -> Iterator[None]:
    """Suppress the server app that Gradio creates after each page.

    ``mount_gradio_app`` makes the one in use.
    """
    blocks: Any = importlib.import_module("gradio.blocks")
    kept = blocks.App
    blocks.App = SimpleNamespace(create_app=lambda *_words, **_named: None)
    try:
        yield
    finally:
        blocks.App = kept


def directly(blocks: Any) -> None:
    """Bypass Gradio's queue, which drops requests made while its stream closes.

    The idle queue would otherwise poll a thousand times a second.
    """
    for event in blocks.fns.values():
        event.queue = False
    queue = blocks._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = SLEEP


def _fill(studio: Studio, name: str) -> None:
    import gradio as gr

    gr.HTML(layout.head(studio, name), elem_id="head")
    with gr.Column(elem_id="page"):
        layout.module(name).page(studio)
    gr.HTML(layout.foot(studio), elem_id="foot")


def theme() -> Any:
    """Return a theme in the colours of the reports, readable in light and dark mode."""
    import gradio as gr

    accent = gr.themes.Color(
        c50="#eef6fb",
        c100="#d8eaf5",
        c200="#b3d5eb",
        c300="#7cc0ee",
        c400="#3f94c8",
        c500="#1a75ad",
        c600="#005a92",
        c700="#004c7b",
        c800="#003d63",
        c900="#002e4b",
        c950="#001f33",
    )
    return gr.themes.Base(
        primary_hue=accent, secondary_hue="slate", neutral_hue="gray", font=FONTS, font_mono=MONO
    ).set(
        body_text_color_subdued="#4d5661",
        body_text_color_subdued_dark="#a9b3bd",
        block_info_text_color="#4d5661",
        block_info_text_color_dark="#a9b3bd",
        button_primary_background_fill="#005a92",
        button_primary_background_fill_hover="#004c7b",
        button_primary_background_fill_dark="#1a75ad",
        button_primary_text_color="white",
    )


BUILDING = threading.Lock()  # of Gradio's pages, which are built in a context of the whole process


class Lazy:
    """The Gradio pages of one language, built when the first of them is asked for, or before."""

    def __init__(self, studio: Studio, place: Path) -> None:
        self.studio, self.place = studio, place  # where Gradio keeps files
        self.app: Any = None
        self.begun: contextlib.AsyncExitStack | None = None  # its lifespan
        self.beginning = asyncio.Lock()

    def build(self) -> None:
        """Build it, which takes seconds, unless that is done."""
        with BUILDING:
            if self.app is None:
                PLACE.set(self.place)
                self.app = mounted(self.studio)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.begun is None:
            await self._begin()
        await self.app(scope, receive, send)

    async def _begin(self) -> None:
        async with self.beginning:
            if self.begun is not None:
                return
            await asyncio.to_thread(self.build)
            begun = contextlib.AsyncExitStack()
            await begun.enter_async_context(self.app.router.lifespan_context(self.app))
            self.begun = begun

    async def end(self) -> None:
        if self.begun is not None:
            await self.begun.aclose()


def mounted(studio: Studio) -> Any:
    """Return an application with the Gradio pages of one language."""
    import gradio as gr
    from fastapi import FastAPI

    security.keep_apart()
    # Gradio warns about features that are switched off on purpose
    warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
    return gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        build(studio),
        path=f"/{studio.language}",
        root_path=f"/{studio.language}",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=theme(),
        head=f'<script src="/static/studio.js" data-language="{studio.language}"></script>'
        '<link rel="stylesheet" href="/static/studio.css">',
        max_file_size=security.MOST_UPLOADED,
        show_error=True,
    )


def application(
    project: Path,
    roots: Sequence[Path] = (),
    *,
    port: int,
    token: str = "",
    lan: bool = False,
    built: list[Lazy] | None = None,
) -> tuple[Any, Jobs, dict[str, Lazy]]:
    """Return the whole guarded ASGI application, the queue of its jobs, and the Gradio pages by language.

    ``built``: further Gradio pages, which end with these.
    """
    built = [] if built is None else built
    place = security.prepare(project / ".studio" / "temporary")  # before Gradio is imported
    jobs = Jobs(project)
    outer, gradio = routed(project, Roots([Path.cwd(), project, *roots]), jobs, place, built)
    return security.Guard(outer, port=port, token=token, lan=lan, place=place), jobs, gradio


def room(
    project: Path, roots: Sequence[Path] = (), *, port: int, token: str, password: str
) -> tuple[Any, Jobs, dict[str, Lazy]]:
    """Return what ``application`` does, for several people behind a login. Raises UserError.

    The jobs of everybody who has ever come are in the queue from the beginning.
    """
    from souron.studio.security.room import Room

    built: list[Lazy] = []
    host, jobs, gradio = application(project, roots, port=port, token=token, lan=True, built=built)
    people: dict[str, Jobs] = {}

    def jobs_of(person: str) -> Jobs:
        own = folder / person
        if person not in people:
            (own / "runs").mkdir(parents=True, exist_ok=True)
            people[person] = Jobs(
                own / "runs",
                person=person,
                schedule=jobs.schedule,
                worker=jobs.worker,
                place=own,
                allowed=functools.partial(allowed, Roots([own], FETCHED)),
            )
        return people[person]

    def make(person: str) -> Any:
        own = folder / person
        place = security.temporary(own / "runs" / ".studio" / "temporary")
        outer, _pages = routed(own / "runs", Roots([own], FETCHED), jobs_of(person), place, built)
        return security.Guard(outer, port=port, lan=True, place=place, behind=True)

    folder = project.absolute() / PEOPLE
    everybody = Room(host, make, folder, port=port, password=password, token=token)
    for person in everybody.people.names():
        jobs_of(person)
    return everybody, jobs, gradio


def allowed(roots: Roots, words: Sequence[str]) -> None:
    """Check that somebody who did not start the studio may run these words. Raises UserError."""
    if words[:1] == ["fetch"]:
        raise UserError(
            "fetch",
            _("only whoever started the studio fetches data and weights"),
            expected=_("what is on this computer already"),
        )
    if any(word.startswith(("on=", "--on=")) or word == "--on" for word in words):
        raise UserError(
            "engine",
            _("only whoever started the studio chooses the machines that compute"),
            expected=_("no on=, which is this computer"),
        )
    roots.limit(words)


def routed(project: Path, places: Roots, jobs: Jobs, place: Path, built: list[Lazy]) -> tuple[Any, dict[str, Lazy]]:
    """Return the ASGI application of one person, without access control, and the Gradio pages by language.

    The pages are added to ``built``, all of which end with the application.
    """
    from fastapi import FastAPI

    from souron.studio import files, page_routes
    from souron.studio.lecture import lecture_routes, teach_routes, teaching

    studios = {language: Studio(project, places, jobs, language) for language in messages.LANGUAGES}
    gradio = {language: Lazy(studio, place) for language, studio in studios.items()}
    built += gradio.values()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        for pages in built:
            await pages.end()

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    files.add(outer, project, jobs)
    files.add_plain(outer, studios)
    lecture_routes.add(outer, lambda language: studios[language])
    page_routes.add(outer, lambda language: studios[language])
    teach_routes.add(outer, teaching.Teaching(project, jobs), lambda language: studios[language])

    async def others(scope: Any, receive: Any, send: Any) -> None:
        """Pass what is left to the Gradio pages of its language, which know their own addresses."""
        await gradio[scope["path"].split("/")[1]](scope, receive, send)

    outer.mount("", others)
    return outer, gradio


def start(
    project: Path,
    port: int = 7860,
    roots: Sequence[Path] = (),
    *,
    browser: bool = True,
    share_lan: bool = False,
    course: Path | None = None,
    host: str = "",
    password: str = "",
    certificate: tuple[Path, Path] | None = None,
) -> None:
    """Serve until Ctrl-C; trainings continue, and the next server finds them.

    ``course`` is a course file, which is copied into the project and opened. With a ``password``
    several people work at ``host``, by default all of this computer's addresses; see ``security.room``.
    ``certificate``: files of a certificate and its key, for TLS. Raises UserError.
    """
    check_sharing(host, password, share_lan, certificate)
    with only_server(project):
        first = ""
        if course is not None:
            name = courses.bring(course, project / ".studio" / "courses")
            first = lesson.address(messages.language(), "course", name).removeprefix("/")
        _start(project, port, roots, browser, share_lan, first, host, password, certificate)


def check_sharing(host: str, password: str, share_lan: bool, certificate: tuple[Path, Path] | None) -> None:
    """Check who may reach the studio, and its certificate. Raises UserError."""
    from souron.studio.security.room import check_password

    if share_lan and (host or password):
        raise UserError(
            "share", _("--share-lan has a token, --host a password for several people"), expected=_("one of the two")
        )
    if host and not password and host not in HERE:
        raise UserError(
            "password",
            _("others would reach the studio at {host} without a password").format(host=host),
            expected="--password WORD, --password-file FILE",
        )
    if password:
        check_password(password)
    if certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*certificate, password=_no_passphrase)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise UserError(
                "certificate",
                _("the certificate and its key cannot be used: {why}").format(why=error),
                expected=_("two PEM files that belong together, the key without a passphrase"),
                exit=3,
            ) from error


def _no_passphrase() -> str:
    raise ValueError("passphrase")


def _start(
    project: Path,
    port: int,
    roots: Sequence[Path],
    browser: bool,
    share_lan: bool,
    first: str,
    host: str,
    password: str,
    certificate: tuple[Path, Path] | None,
) -> None:
    import uvicorn

    from souron.serve.protocol import BoundedProtocol

    shared = share_lan or bool(password)
    token = secrets.token_urlsafe(24) if shared else ""
    secure = {} if certificate is None else dict(zip(("ssl_certfile", "ssl_keyfile"), certificate, strict=True))
    settings = uvicorn.Config(
        nobody,
        host=host or (EVERYWHERE if shared else HERE[0]),
        port=port,
        log_level="warning",
        server_header=False,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        **secure,  # type: ignore[arg-type]
    )
    logging.getLogger("uvicorn.error").addFilter(unless_cancelled)
    bound = listen(settings)
    port = bound.getsockname()[1]
    gc.disable()  # nothing created during startup becomes garbage
    if password:
        settings.app, jobs, gradio = room(project, roots, port=port, token=token, password=password)
    else:
        settings.app, jobs, gradio = application(project, roots, port=port, token=token, lan=share_lan)
    gc.freeze()
    gc.enable()
    server = uvicorn.Server(settings)
    scheme = "http" if certificate is None else "https"
    own = HERE[0] if settings.host in (*HERE, EVERYWHERE) else settings.host
    address = f"{scheme}://{own}:{port}/{first}" + (f"?token={token}" if token else "")
    print(_("souron studio: {address}   (Ctrl-C ends it; trainings continue)").format(address=address), flush=True)
    ways = access.addresses() if settings.host == EVERYWHERE else [settings.host]
    if password:
        print(_("For the others in the room, with a name and the password:"), flush=True)
    for other in ways if shared else []:
        print(f"  {scheme}://{other}:{port}/" + ("" if password else f"?token={token}"), flush=True)
    if browser:
        threading.Timer(0.5, functools.partial(webbrowser.open, address)).start()
    ready = threading.Timer(WARM, warm, [jobs, gradio[messages.language()]])
    ready.daemon = True
    ready.start()
    jobs.run()
    try:
        run(server, bound)
    finally:
        jobs.close()


def run(server: Any, bound: Any) -> None:
    """Run the server until shutdown, and then silence stderr.

    Gradio would print a traceback for each call that is cut off.
    """
    end = server.shutdown

    async def shutdown(sockets: Any = None) -> None:
        ending.enter_context(contextlib.redirect_stderr(io.StringIO()))
        await end(sockets)

    server.shutdown = shutdown
    with contextlib.ExitStack() as ending:
        server.run([bound])


def unless_cancelled(record: logging.LogRecord) -> bool:
    """Return whether a log record is worth showing: calls cut off at shutdown are no errors."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, asyncio.CancelledError) or record.getMessage().startswith("Cancel "))


async def nobody(_scope: Any, _receive: Any, _send: Any) -> None:
    """Placeholder until the port is known."""


def listen(settings: Any) -> Any:
    """Open the listening socket, where early requests wait.

    Raises UserError where another program uses the port.
    """
    try:
        plain = settings.bind_socket()
        # asyncio sets TCP_NODELAY only on sockets with the protocol number of TCP; otherwise each
        # response waits 40 ms for an acknowledgement
        bound = type(plain)(plain.family, plain.type, TCP, plain.detach())
        bound.listen(settings.backlog)
        return bound
    except (SystemExit, OSError) as error:  # uvicorn reports it by SystemExit
        why = error if isinstance(error, OSError) else error.__context__
        raise UserError(
            "port",
            _("nothing can listen at {host}, port {port}: {why}").format(
                host=settings.host, port=settings.port, why=getattr(why, "strerror", "") or why
            ),
            expected=_("an address of this computer, and a port that no other program listens at"),
            fix=f"souron studio port={settings.port + 1}",
            exit=4,
        ) from error


def warm(jobs: Jobs, pages: Lazy) -> None:
    """Prepare what the next pages need: the jobs' imports in a process of their own, the Gradio pages of the
    terminal's language, and the imports of predictions here. A studio that ends meanwhile says nothing of it.
    """
    try:
        jobs.worker.start()
        importlib.import_module("souron.studio.forms.predict_form")
        pages.build()
    except Exception:
        if threading.main_thread().is_alive():
            raise
