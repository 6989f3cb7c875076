"""Several people in one room: each logs in by a name and the room's password, and has an own studio.

How it works. ``Room`` is the ASGI application in front. For each person it builds, when they first
come, a studio of their own by the same code as the studio of whoever started it: behind a ``Guard``,
with its own folder ``PROJECT/people/NAME`` (runs, uploads, jobs) as the only root
besides the data sets and weights that were fetched, which all may read. The session's cookie alone
decides whose studio a request goes to; no address names a person, and no studio knows another's
folder, so that an id or a path of somebody else's leads nowhere. All studios share one
``Schedule`` and one worker.

Who comes first under a name chooses a PIN, without which nobody else gets in under that name, since
all know the password. Only a hash of it is kept (``.studio/person.json`` in the person's folder); whoever
runs the studio deletes that file to set the name free. Sessions are kept in memory: after a new start
of the server everybody logs in again.

Whoever started the studio comes from this computer itself, with the token that the terminal shows,
and has the project's folder as without a room.
"""

import asyncio
import hashlib
import hmac
import html
import ipaddress
import json
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from souron.serve.access import READ, Door, Refused, addresses, wished
from souron.studio.security.access import MOVED, find_route, tool_of
from souron.studio.security.paths import is_folder
from souron.utils import files
from souron.utils.messages import LANGUAGE_NAMES, LANGUAGES, UserError, _, language, use_language

LEAST_PASSWORD = 8  # characters
LEAST_PIN = 4
LONGEST = 100  # characters of what is typed
MOST_BYTES = 4096  # of the login form
MOST_PEOPLE = 60
MOST_SESSIONS = 20  # of one person
NAME = re.compile(r"[^\W_]{1,24}")  # letters and digits of any script
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")  # names that Windows gives to no folder
MOST_WRONG = 10  # attempts of one address, or at one name, in WITHIN seconds
WITHIN = 600.0
MOST_ADDRESSES = 10_000
SLOWEST = 8.0  # seconds until a wrong password is answered
ADDRESS = re.compile(rf"/({'|'.join(LANGUAGES)})/(enter|leave)")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
PAGE = """<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} – souron</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, "Noto Sans JP", sans-serif; max-width: 24rem; margin: 3rem auto; padding: 0 1rem; }}
form {{ display: grid; gap: 1rem; }} label {{ display: grid; gap: .2rem; }} small {{ opacity: .8; }}
input, button {{ font: inherit; padding: .5rem .7rem; border-radius: 6px; border: 1px solid #777; }}
button {{ background: #005a92; color: #fff; border-color: #005a92; cursor: pointer; }}
.trouble {{ border-left: 4px solid #a63f00; padding-left: .8rem; }}
</style></head><body><p>{others}</p><h1>{title}</h1>{trouble}{content}</body></html>"""


class People:
    """The people of a room; ``folder`` has one folder for each of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names under which somebody has come."""
        try:
            there = sorted(path.name for path in self.folder.iterdir() if is_folder(path))
        except OSError:
            return []
        return [name for name in there if name == plain_name(name)]

    def enter(self, name: str, pin: str) -> bool:
        """Return whether the PIN is that of the name; a new name gets it.

        Raises UserError for a PIN that is too short, too many people, a damaged file and a full disk.
        """
        note = self.folder / name / ".studio" / "person.json"
        with self._lock:
            if note.exists() or note.is_symlink():
                return _fits(note, pin)
            if len(pin) < LEAST_PIN:
                raise UserError(
                    "pin", _("this PIN is too short"), expected=_("{count} characters or more").format(count=LEAST_PIN)
                )
            if not is_folder(self.folder / name) and len(self.names()) >= MOST_PEOPLE:
                raise UserError(
                    "people", _("too many people are here"), expected=_("at most {count}").format(count=MOST_PEOPLE)
                )
            salt = secrets.token_bytes(16)
            text = json.dumps({"salt": salt.hex(), "pin": _hashed(pin, salt)})
            try:
                note.parent.mkdir(parents=True, exist_ok=True)
                with files.atomically(note) as beside:
                    beside.write_text(text, encoding="utf-8")
            except OSError as error:
                raise files.cannot_write(note, error) from error
            return True


class Attempts:
    """Wrong attempts by address or name in the last ``WITHIN`` seconds."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def begin(self, key: str) -> int:
        """Count an attempt as wrong until ``forgive``, and return how many came before.

        Raises Refused where there were too many.
        """
        now = time.monotonic()
        times = [at for at in self._times.pop(key, ()) if at > now - WITHIN]
        if len(times) >= MOST_WRONG:
            self._times[key] = times
            wait = round((times[0] + WITHIN - now) / 60) + 1
            raise Refused(
                429, UserError("attempts", _("too many attempts; try again in {count} minutes").format(count=wait))
            )
        self._times[key] = [*times, now]
        while len(self._times) > MOST_ADDRESSES:
            del self._times[next(iter(self._times))]
        return len(times)

    def forgive(self, key: str) -> None:
        """Forget the last attempt."""
        if self._times.get(key):
            self._times[key].pop()


class Room:
    """The application of several people; see the module.

    ``host`` is the guarded studio of whoever started it, ``make`` returns that of a person.
    """

    def __init__(
        self, host: ASGIApp, make: Callable[[str], ASGIApp], folder: Path, *, port: int, password: str, token: str
    ) -> None:
        check_password(password)
        self.host, self.make, self.people = host, make, People(folder)
        self.door = Door(port, lan=True)
        self.host_door = Door(port, token=token, lan=True)
        self.cookie = f"souron-room-{port}"
        self._password = _digest(password)
        self._sessions: dict[str, str] = {}  # digest of the cookie -> person, oldest first
        self._apps: dict[str, ASGIApp] = {}
        self._making = asyncio.Lock()
        self.attempts = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.host(scope, receive, send)
            return
        with use_language(wished(scope)):
            try:
                await self._serve(scope, receive, send)
            except Refused as refused:
                await refused.answer(scope)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, reads = scope["path"], scope["method"] in READ
        route = find_route(path, scope["method"])
        own = ADDRESS.fullmatch(path)
        page = bool(MOVED.fullmatch(path) or tool_of(path)) or (route is not None and route.sort in ("page", "plain"))
        self.door.check(scope, linked=reads and (page or own is not None))
        if own is None and self.is_host(scope):
            await self.host(scope, receive, send)
            return
        person = self.person(scope)
        if own is not None:
            answer = await self._at_the_door(own[2], person, scope, receive)
            await answer(scope, receive, send)
        elif person:
            app = await self.app(person)
            await app(scope, receive, send)
        elif page and reads:
            response = RedirectResponse(f"/{language()}/enter", 303, {"Cache-Control": "no-store"})
            await response(scope, receive, send)
        else:
            raise Refused(401, UserError("login", _("nobody is logged in"), expected=_("a name and the password")))

    def is_host(self, scope: Scope) -> bool:
        """Return whether whoever started the studio asks: from this computer, with the token."""
        return is_here(_address(scope)) and self.host_door.knows(scope)

    def person(self, scope: Scope) -> str:
        """Return whose session the cookie is; "" for none."""
        cookie = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self.cookie, "")
        return self._sessions.get(_digest(cookie), "") if cookie else ""

    async def app(self, person: str) -> ASGIApp:
        """Return the studio of a person, built when they first come."""
        if person not in self._apps:
            async with self._making:
                if person not in self._apps:
                    self._apps[person] = await asyncio.to_thread(self.make, person)
        return self._apps[person]

    async def _at_the_door(self, way: str, person: str, scope: Scope, receive: Receive) -> Response:
        if scope["method"] in READ:
            if way == "leave":
                return RedirectResponse(f"/{language()}/enter", 303, HEADERS)
            return HTMLResponse(inside(person) if person else form(), headers=HEADERS)
        if scope["method"] != "POST":
            raise Refused(405, UserError("method", _("there is no {path}").format(path=scope["path"])))
        if way == "leave":
            cookie = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self.cookie, "")
            self._sessions.pop(_digest(cookie), None)
            response = RedirectResponse(f"/{language()}/enter", 303, HEADERS)
            response.delete_cookie(self.cookie)
            return response
        try:
            session = await self._enter(_address(scope), await _fields(receive))
        except UserError as error:
            return HTMLResponse(form(error), 403, HEADERS)
        except Refused as refused:
            return HTMLResponse(form(refused.trouble), refused.status, HEADERS)
        secure = scope.get("scheme") == "https"
        response = RedirectResponse(f"/{language()}/", 303, HEADERS)
        response.set_cookie(self.cookie, session, httponly=True, samesite="strict", secure=secure)
        return response

    async def _enter(self, address: str, fields: dict[str, str]) -> str:
        """Return a new session. Raises UserError, Refused."""
        key = f"address {_network(address)}"
        before = self.attempts.begin(key)
        if not hmac.compare_digest(_digest(fields["password"]), self._password):
            await asyncio.sleep(min(SLOWEST, 0.5 * 2**before))
            raise UserError("password", _("this password is wrong"))
        name = plain_name(fields["name"])
        if not name:
            self.attempts.forgive(key)
            raise UserError(
                "name", _("this name cannot be used"), expected=_("1 to 24 letters or digits, without spaces")
            )
        tries = f"name {name}"
        before = self.attempts.begin(tries)
        if not await asyncio.to_thread(self.people.enter, name, fields["pin"]):
            await asyncio.sleep(min(SLOWEST, 0.5 * 2**before))
            raise UserError(
                "pin", _("somebody has this name, with another PIN"), expected=_("another name, or its PIN")
            )
        self.attempts.forgive(tries)
        self.attempts.forgive(key)
        session = secrets.token_urlsafe(32)
        mine = [digest for digest, person in self._sessions.items() if person == name]
        for old in mine[: max(0, len(mine) + 1 - MOST_SESSIONS)]:
            del self._sessions[old]
        self._sessions[_digest(session)] = name
        return session


def check_password(password: str) -> None:
    """Check the password of a room. Raises UserError where it is too short; it is not repeated there."""
    if not LEAST_PASSWORD <= len(password) <= LONGEST:
        raise UserError(
            "password",
            _("this password is too short or too long"),
            expected=_("{least} to {most} characters").format(least=LEAST_PASSWORD, most=LONGEST),
            fix="souron studio --host 0.0.0.0 --password-file FILE",
        )


def plain_name(text: str) -> str:
    """Return a name as its folder is called; "" for one that cannot be used.

    >>> plain_name(" Anna"), plain_name("../x"), plain_name("CON")
    ('anna', '', '')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).casefold())
    return folded if NAME.fullmatch(folded) and not RESERVED.fullmatch(folded) else ""


def is_here(address: str) -> bool:
    """Return whether a connection comes from this computer itself."""
    with suppress(ValueError):
        number = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(number, "ipv4_mapped", None)
        return (mapped or number).is_loopback or str(mapped or number) in [each.strip("[]") for each in addresses()]
    return False


def form(error: UserError | None = None) -> str:
    """Return the login page, with what was wrong."""
    fields = (
        ("name", "text", _("your name"), _("letters and digits; others see it in the queue"), "username"),
        ("password", "password", _("the password of this room"), "", "off"),
        ("pin", "password", _("a PIN of your own"), _("you choose it at your first visit; it keeps others out"), "off"),
    )
    inputs = "".join(
        f'<label>{html.escape(title)}<input name="{name}" type="{kind}" required maxlength="{LONGEST}" '
        f'autocomplete="{complete}"><small>{html.escape(about)}</small></label>'
        for name, kind, title, about, complete in fields
    )
    go = html.escape(_("Enter"))
    content = f'<form method="post" action="/{language()}/enter">{inputs}<button>{go}</button></form>'
    return whole(_("Enter the studio"), content, error)


def inside(person: str) -> str:
    """Return the page of somebody who has logged in: who they are, and the way out."""
    text = html.escape(_("You are here as {name}.").format(name=person))
    there, leave = html.escape(_("To the studio")), html.escape(_("Leave"))
    return whole(
        _("Enter the studio"),
        f'<p>{text}</p><p><a href="/{language()}/">{there}</a></p>'
        f'<form method="post" action="/{language()}/leave"><button>{leave}</button></form>',
    )


def whole(title: str, content: str, error: UserError | None = None) -> str:
    others = " ".join(
        f'<a href="/{other}/enter" lang="{other}">{LANGUAGE_NAMES[other]}</a>'
        for other in LANGUAGES
        if other != language()
    )
    told = ""
    if error is not None:
        lines = [error.found, _("expected: {text}").format(text=error.expected) if error.expected else ""]
        told = '<p class="trouble" role="alert">' + "<br>".join(html.escape(line) for line in lines if line) + "</p>"
    return PAGE.format(language=language(), title=html.escape(title), others=others, trouble=told, content=content)


async def _fields(receive: Callable[[], Awaitable[Any]]) -> dict[str, str]:
    """Return what was typed. Raises Refused where it is too large or no form."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            more = False
        body += message.get("body", b"")
        more = more and message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise Refused(413, UserError("too large", _("this is too long")))
    try:
        found = parse_qs(body.decode("utf-8"), max_num_fields=10)
    except ValueError as error:
        raise Refused(400, UserError("form", _("the request cannot be read: {why}").format(why="UTF-8"))) from error
    return {name: found.get(name, [""])[0][:LONGEST] for name in ("name", "password", "pin")}


def _fits(note: Path, pin: str) -> bool:
    """Return whether a PIN is that of the file. Raises UserError where the file is damaged."""
    try:
        kept = json.loads(note.read_bytes())
        return hmac.compare_digest(_hashed(pin, bytes.fromhex(kept["salt"])), str(kept["pin"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            "damaged",
            _("what is kept about this name cannot be read"),
            expected=_("another name; whoever started the studio can set this one free"),
        ) from error


def _hashed(pin: str, salt: bytes) -> str:
    return hashlib.scrypt(pin.encode("utf-8", "replace"), salt=salt, n=2**14, r=8, p=1).hex()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _network(address: str) -> str:
    """Return an address; of IPv6 the network of 64 bits, which one computer can have as a whole."""
    with suppress(ValueError):
        number = ipaddress.ip_address(address.partition("%")[0])
        return str(ipaddress.ip_network((number, 64), strict=False)) if number.version == 6 else str(number)
    return address
