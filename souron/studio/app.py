"""The studio: local web pages for everything on the command line, in both languages.

They are plain HTML, whose parts the server draws anew. ``security`` guards them. The server keeps no
state that is not on disk, so that ending it loses nothing.
"""

import asyncio
import functools
import gc
import importlib
import logging
import secrets
import ssl
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron.lecture import course as courses
from souron.serve import access
from souron.studio.jobs.job_queue import Jobs, only_server
from souron.studio.lecture import lesson
from souron.studio.security import access as security
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils import distributions, messages
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from fastapi import FastAPI

TCP = 6  # its protocol number, on every system
WARM = 3.0  # seconds until the first page is loaded and the cores are idle
PEOPLE = "people"  # the folder of those who share a studio, in that of the runs
FETCHED = ("data", "weights")  # of the cache: what all may read; the rest may be made of somebody's data
HERE, EVERYWHERE = ("127.0.0.1", "localhost"), "0.0.0.0"


def application(
    project: Path, roots: Sequence[Path] = (), *, port: int, token: str = "", lan: bool = False
) -> tuple[Any, Jobs]:
    """Return the whole guarded ASGI application, and the queue of its jobs."""
    place = security.prepare(project / ".studio" / "temporary")
    jobs = Jobs(project)
    outer = routed(project, Roots([Path.cwd(), project, *roots]), jobs)
    return security.Guard(outer, port=port, token=token, lan=lan, place=place), jobs


def room(project: Path, roots: Sequence[Path] = (), *, port: int, token: str, password: str) -> tuple[Any, Jobs]:
    """Return what ``application`` does, for several people behind a login. Raises UserError.

    The jobs of everybody who has ever come are in the queue from the beginning.
    """
    from souron.studio.security.room import Room

    host, jobs = application(project, roots, port=port, token=token, lan=True)
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
        outer = routed(own / "runs", Roots([own], FETCHED), jobs_of(person))
        return security.Guard(outer, port=port, lan=True, place=place, behind=True)

    folder = project.absolute() / PEOPLE
    everybody = Room(host, make, folder, port=port, password=password, token=token)
    for person in everybody.people.names():
        jobs_of(person)
    return everybody, jobs


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


def routed(project: Path, places: Roots, jobs: Jobs) -> Any:
    """Return the ASGI application of one person, without access control."""
    from fastapi import FastAPI

    from souron.studio import files

    studios = {language: Studio(project, places, jobs, language) for language in messages.LANGUAGES}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    files.add(app, project, jobs)
    files.add_pages(app, studios)
    add_routes(app, lambda language: studios[language])
    return app


def add_routes(app: "FastAPI", studio: Callable[[str], Studio]) -> None:
    """Add the routes of pages and of the lecture, and those that distributions bring in ``studio/routes/``.

    ``studio`` returns the studio of a language.
    """
    from souron.studio import page_routes
    from souron.studio.lecture import lecture_routes

    found = [distributions.load(f"studio/routes/{name}") for name in distributions.names("studio/routes")]
    for routes in (*found, lecture_routes, page_routes):
        routes.add(app, studio)


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
    if course is not None:
        distributions.check("studio/lecture/course_pages")
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
        settings.app, jobs = room(project, roots, port=port, token=token, password=password)
    else:
        settings.app, jobs = application(project, roots, port=port, token=token, lan=share_lan)
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
    ready = threading.Timer(WARM, warm, [jobs])
    ready.daemon = True
    ready.start()
    jobs.run()
    try:
        server.run([bound])
    finally:
        jobs.close()


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
    """Prepare what the next pages need: the jobs' imports in a process of their own, and those of predictions here.

    A studio that ends meanwhile says nothing of it.
    """
    try:
        jobs.worker.start()
        importlib.import_module("souron.studio.any_file.answering")
        importlib.import_module("souron.studio.answers")
    except Exception:
        if threading.main_thread().is_alive():
            raise
