"""The studio: a local page for all that the command line does, in both languages.

One server holds two Gradio apps, one a language, and a few routes of its own for pictures and for
the files of runs. ``security`` stands before all of them. Nothing is kept in the server that is not
on the disk, so that ending it loses nothing.
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
from souron.studio import lesson, security
from souron.studio.jobs import Jobs, only_server
from souron.studio.paths import Roots
from souron.studio.shared import PAGES, Studio
from souron.utils import messages
from souron.utils.messages import UserError, _, use_language

FONTS = ["system-ui", "sans-serif"]  # until static/studio.css is there, which names them all
TCP = 6  # its number among the protocols, on every system
WARM = 3.0  # seconds after which the first page is there, and the cores are free
SLEEP = 60.0  # seconds between two looks at what is never used
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def build(studio: Studio) -> Any:
    """The Gradio app of one language, a route for each page."""
    import gradio as gr

    with use_language(studio.language), unserved():
        with gr.Blocks(title="souron", analytics_enabled=False) as blocks:
            blocks.get_config_file = dict  # else all pages so far are described after each page
            _fill(replace(studio, blocks=blocks), PAGES[0])
        blocks.pages[0] = ("", "", False)  # the frame has a navigation of its own
        for name in PAGES[1:]:
            with blocks.route(name, f"/{name}", show_in_navbar=False):
                _fill(replace(studio, blocks=blocks), name)
    del blocks.get_config_file
    directly(blocks)
    return blocks


@contextlib.contextmanager
def unserved() -> Iterator[None]:
    """Without the server that Gradio makes after each page: ``mount_gradio_app`` makes the one that
    is used."""
    blocks: Any = importlib.import_module("gradio.blocks")
    kept = blocks.App
    blocks.App = SimpleNamespace(create_app=lambda *_words, **_named: None)
    try:
        yield
    finally:
        blocks.App = kept


def directly(blocks: Any) -> None:
    """Without Gradio's queue, which throws away what is asked while its stream closes; else it
    would look a thousand times a second whether something was asked."""
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
    """The colours of the reports, readable in the light and in the dark."""
    import gradio as gr

    accent = gr.themes.Color(
        c50="#eef6fb", c100="#d8eaf5", c200="#b3d5eb", c300="#7cc0ee", c400="#3f94c8",
        c500="#1a75ad", c600="#005a92", c700="#004c7b", c800="#003d63", c900="#002e4b",
        c950="#001f33",
    )  # fmt: skip
    return gr.themes.Base(primary_hue=accent, secondary_hue="slate", neutral_hue="gray",
                          font=FONTS, font_mono=MONO).set(
        body_text_color_subdued="#4d5661", body_text_color_subdued_dark="#a9b3bd",
        block_info_text_color="#4d5661", block_info_text_color_dark="#a9b3bd",
        button_primary_background_fill="#005a92", button_primary_background_fill_hover="#004c7b",
        button_primary_background_fill_dark="#1a75ad", button_primary_text_color="white",
    )  # fmt: skip


def application(
    project: Path, roots: Sequence[Path] = (), *, port: int, token: str = "", lan: bool = False
) -> tuple[Any, Jobs]:
    """The whole ASGI application, guarded, and the queue of its jobs."""
    place = security.prepare(project / ".studio" / "temporary")  # before Gradio is imported
    import gradio as gr
    from fastapi import FastAPI

    from souron.studio import files, lecture_routes, teach_routes, teaching

    jobs = Jobs(project)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    places = Roots([Path.cwd(), project, *roots])
    # Gradio warns that it does not do what it is told not to do
    warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
    for language in messages.LANGUAGES:
        studio = Studio(project, places, jobs, language)
        outer = gr.mount_gradio_app(
            outer, build(studio), path=f"/{language}", root_path=f"/{language}",
            footer_links=[], run_history=False, ssr_mode=False, mcp_server=False,
            enable_monitoring=False, pwa=False, theme=theme(),
            head=f'<script src="/static/studio.js" data-language="{language}"></script>'
                 '<link rel="stylesheet" href="/static/studio.css">',
            max_file_size=security.MOST_UPLOADED, show_error=True,
        )  # fmt: skip
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
    """Serve until Ctrl-C. Trainings go on; they are found again. ``course`` is a file of a course,
    which is kept among those of the project and opened. Raises UserError."""
    with only_server(project):
        first = ""
        if course is not None:
            name = courses.bring(course, project / ".studio" / "courses")
            first = lesson.address(messages.language(), "course", name).removeprefix("/")
        _start(project, port, roots, browser, share_lan, first)


def _start(
    project: Path, port: int, roots: Sequence[Path], browser: bool, share_lan: bool, first: str
) -> None:
    import uvicorn

    from souron.serve.protocol import BoundedProtocol

    token = secrets.token_urlsafe(24) if share_lan else ""
    settings = uvicorn.Config(
        nobody, host="0.0.0.0" if share_lan else "127.0.0.1", port=port, log_level="warning",
        server_header=False, http=BoundedProtocol, ws="none", proxy_headers=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(unless_cancelled)
    bound = listen(settings)
    port = bound.getsockname()[1]
    gc.disable()  # nothing of all that is made now can be thrown away
    settings.app, jobs = application(project, roots, port=port, token=token, lan=share_lan)
    gc.freeze()
    gc.enable()
    server = uvicorn.Server(settings)
    address = f"http://127.0.0.1:{port}/{first}" + (f"?token={token}" if token else "")
    print(_("souron studio: {address}   (Ctrl-C ends it; what trains goes on)").format(
        address=address), flush=True)  # fmt: skip
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
    """Until it is told to end. Then stderr is silent, to which Gradio would print a traceback of
    each call that is cut off."""
    end = server.shutdown

    async def shutdown(sockets: Any = None) -> None:
        ending.enter_context(contextlib.redirect_stderr(io.StringIO()))
        await end(sockets)

    server.shutdown = shutdown
    with contextlib.ExitStack() as ending:
        server.run([bound])


def unless_cancelled(record: logging.LogRecord) -> bool:
    """What is still asked when the server ends is cut off, which is no error."""
    error = record.exc_info[1] if record.exc_info else None
    return not (
        isinstance(error, asyncio.CancelledError) or record.getMessage().startswith("Cancel ")
    )


async def nobody(_scope: Any, _receive: Any, _send: Any) -> None:
    """Placeholder until the port is known."""


def listen(settings: Any) -> Any:
    """The socket, where whoever comes early waits. Raises UserError where another program
    listens."""
    try:
        plain = settings.bind_socket()
        # asyncio sends at once (TCP_NODELAY) where a socket says that it is one of TCP; else each
        # answer waits 40 ms for the browser's confirmation
        bound = type(plain)(plain.family, plain.type, TCP, plain.detach())
        bound.listen(settings.backlog)
        return bound
    except (SystemExit, OSError) as error:  # the first is uvicorn's way to say so
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
    """While the reader looks at the first page, import what jobs need, in a process of its own, and
    what the page Use needs, in this one."""
    jobs.worker.start()
    importlib.import_module("souron.studio.predict_form")
