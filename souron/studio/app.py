"""The studio: local web pages for everything on the command line, in both languages.

One server holds two Gradio apps, one for each language, and some routes of its own for images and
for the files of runs. ``security`` guards all of them. The server keeps no state that is not on
disk, so that ending it loses nothing.
"""

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import logging
import secrets
import threading
import warnings
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from souron.lecture import course as courses
from souron.serve import access
from souron.studio.jobs.job_queue import Jobs, only_server
from souron.studio.lecture import lesson
from souron.studio.security import access as security
from souron.studio.security.paths import Roots
from souron.studio.shared import PAGES, Studio
from souron.utils import messages
from souron.utils.messages import UserError, _, use_language

FONTS = ["system-ui", "sans-serif"]  # until static/studio.css, which names them all, is loaded
TCP = 6  # its protocol number, on every system
WARM = 3.0  # seconds until the first page is loaded and the cores are idle
SLEEP = 60.0  # polling interval of the unused queue, seconds
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def build(studio: Studio) -> Any:
    """Build the Gradio app of one language, with a route for each page."""
    import gradio as gr

    with use_language(studio.language), unserved():
        with gr.Blocks(title="souron", analytics_enabled=False) as blocks:
            blocks.get_config_file = dict  # avoids describing all earlier pages anew each time
            _fill(replace(studio, blocks=blocks), PAGES[0])
        blocks.pages[0] = ("", "", False)  # the layout has its own navigation
        for name in PAGES[1:]:
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

    from souron.studio import layout

    gr.HTML(layout.head(studio, name), elem_id="head")
    with gr.Column(elem_id="page"):
        importlib.import_module(f"souron.studio.pages.{name}").page(studio)
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


def application(
    project: Path, roots: Sequence[Path] = (), *, port: int, token: str = "", lan: bool = False
) -> tuple[Any, Jobs]:
    """Return the whole guarded ASGI application and the queue of its jobs."""
    place = security.prepare(project / ".studio" / "temporary")  # before Gradio is imported
    import gradio as gr
    from fastapi import FastAPI

    from souron.studio import files
    from souron.studio.lecture import lecture_routes, teach_routes, teaching

    jobs = Jobs(project)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    places = Roots([Path.cwd(), project, *roots])
    # Gradio warns about features that are switched off on purpose
    warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
    for language in messages.LANGUAGES:
        studio = Studio(project, places, jobs, language)
        outer = gr.mount_gradio_app(
            outer,
            build(studio),
            path=f"/{language}",
            root_path=f"/{language}",
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            pwa=False,
            theme=theme(),
            head=f'<script src="/static/studio.js" data-language="{language}"></script>'
            '<link rel="stylesheet" href="/static/studio.css">',
            max_file_size=security.MOST_UPLOADED,
            show_error=True,
        )
    files.add(outer, project, jobs)
    lecture_routes.add(outer, lambda language: Studio(project, places, jobs, language))
    lessons = teaching.Teaching(project, jobs)
    teach_routes.add(outer, lessons, lambda language: Studio(project, places, jobs, language))
    return security.Guard(outer, port=port, token=token, lan=lan, place=place), jobs


def start(
    project: Path,
    port: int = 7860,
    roots: Sequence[Path] = (),
    *,
    browser: bool = True,
    share_lan: bool = False,
    course: Path | None = None,
) -> None:
    """Serve until Ctrl-C; trainings continue, and the next server finds them.

    ``course`` is a course file, which is copied into the project and opened. Raises UserError.
    """
    with only_server(project):
        first = ""
        if course is not None:
            name = courses.bring(course, project / ".studio" / "courses")
            first = lesson.address(messages.language(), "course", name).removeprefix("/")
        _start(project, port, roots, browser, share_lan, first)


def _start(project: Path, port: int, roots: Sequence[Path], browser: bool, share_lan: bool, first: str) -> None:
    import uvicorn

    from souron.serve.protocol import BoundedProtocol

    token = secrets.token_urlsafe(24) if share_lan else ""
    settings = uvicorn.Config(
        nobody,
        host="0.0.0.0" if share_lan else "127.0.0.1",
        port=port,
        log_level="warning",
        server_header=False,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    logging.getLogger("uvicorn.error").addFilter(unless_cancelled)
    bound = listen(settings)
    port = bound.getsockname()[1]
    gc.disable()  # nothing created during startup becomes garbage
    settings.app, jobs = application(project, roots, port=port, token=token, lan=share_lan)
    gc.freeze()
    gc.enable()
    server = uvicorn.Server(settings)
    address = f"http://127.0.0.1:{port}/{first}" + (f"?token={token}" if token else "")
    print(_("souron studio: {address}   (Ctrl-C ends it; trainings continue)").format(address=address), flush=True)
    for other in access.addresses() if share_lan else []:
        print(f"  http://{other}:{port}/?token={token}", flush=True)
    if browser:
        threading.Timer(0.5, functools.partial(webbrowser.open, address)).start()
    ready = threading.Timer(WARM, warm, [jobs])
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


def warm(jobs: Jobs) -> None:
    """Import in advance what jobs and the page Use need.

    Imports for jobs run in a separate process, those for the page in this one.
    """
    jobs.worker.start()
    importlib.import_module("souron.studio.forms.predict_form")
