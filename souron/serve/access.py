"""Access control of a server: accepted hosts, origins and tokens.

Any page that is open in the same browser can send requests to this computer. ``Door`` accepts only
requests addressed to this server (not to a name pointed here by DNS rebinding), sent from its own
pages and, where the server is shared, with its token.
"""

import hmac
import html
import ipaddress
import platform
from contextlib import suppress
from urllib.parse import parse_qsl, quote, urlencode

import psutil
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Scope

from souron.utils.messages import LANGUAGES, UserError, _, language

READ, WRITE = ("GET", "HEAD"), ("POST",)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
INERT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "media-src data:; frame-ancestors 'self'; sandbox"
)
CLOSED = "default-src 'none'; frame-ancestors 'none'"  # of a page that redirects
REFUSAL = '<!doctype html><html lang="{language}"><meta charset="utf-8"><title>souron</title><pre>{text}</pre></html>'


class Refused(Exception):
    """A request that is refused, with the HTTP status and the reason."""

    def __init__(self, status: int, trouble: UserError) -> None:
        super().__init__(trouble.found)
        self.status, self.trouble = status, trouble

    def answer(self, scope: Scope) -> Response:
        """Respond with JSON to a JSON request, with a page to a browser, otherwise with text."""
        headers, text = Headers(scope=scope), str(self.trouble)
        safe = {"Content-Security-Policy": INERT, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if headers.get("content-type", "").startswith("application/json"):
            return JSONResponse({"detail": text}, self.status, safe)
        if "text/html" in headers.get("accept", ""):
            page = REFUSAL.format(language=language(), text=html.escape(text))
            return HTMLResponse(page, self.status, safe)
        return PlainTextResponse(text, self.status, safe)


def wished(scope: Scope, lang: str = "") -> str:
    """Return the language of the answer, by path, ``lang``, cookie, or Accept-Language."""
    headers = Headers(scope=scope)
    first = scope["path"].split("/")[1:2]
    cookie = cookie_parser(headers.get("cookie", "")).get("language", "")
    chosen = [*first, lang, cookie]
    return next((one for one in chosen if one in LANGUAGES), preferred(headers))


def preferred(headers: Headers) -> str:
    """Return the supported language that Accept-Language prefers; English if there is none."""
    chosen, best = "en", 0.0
    for part in headers.get("accept-language", "").split(","):
        name, _semicolon, quality = part.replace(" ", "").lower().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if weight > best and name.partition("-")[0] in LANGUAGES:
            chosen, best = name.partition("-")[0], weight
    return chosen


def addresses() -> list[str]:
    """Return this computer's addresses in its networks, in the notation of a URL."""
    numbers = []
    for interface in psutil.net_if_addrs().values():
        for item in interface:
            with suppress(ValueError):  # a hardware address
                number = ipaddress.ip_address(item.address.partition("%")[0])
                if not number.is_loopback and not number.is_link_local:
                    numbers.append(f"[{number}]" if number.version == 6 else str(number))
    return numbers


class Door:
    """Access control of one server.

    ``check`` raises Refused, or returns a response to send at once, or None. With ``lan`` this
    computer's own addresses and name are accepted as hosts. With a ``token``, opening an address
    that ends in ``?token=...`` sets a cookie; programs may send ``Authorization: Bearer ...``
    instead. ``programs``: also accept writes from clients that send neither Origin nor
    Sec-Fetch-Site, which every browser sends.
    """

    def __init__(self, port: int, *, token: str = "", lan: bool = False, programs: bool = False) -> None:
        self.port, self.token, self.lan, self.programs = port, token, lan, programs
        self.cookie = f"souron-{port}"  # a browser sends cookies to every port of a computer

    def check(self, scope: Scope, *, linked: bool = False) -> Response | None:
        """Check a request. ``linked``: pages of other sites may link to it. Raises Refused."""
        headers = Headers(scope=scope)
        self._check_host(headers, scope.get("scheme", "http"))
        self._check_site(scope, headers, linked)
        return self._check_token(scope, headers)

    def knows(self, scope: Scope) -> bool:
        """Return whether a request brings the token: in its address, its cookie or its Authorization."""
        headers = Headers(scope=scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        brought = [cookie, headers.get("authorization", "").removeprefix("Bearer ")]
        return any(map(self._is_token, [*brought, *(value for name, value in query if name == "token")]))

    def _check_host(self, headers: Headers, scheme: str) -> None:
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or not self._is_own(hosts[0], "443" if scheme == "https" else "80"):
            raise Refused(
                421,
                UserError(
                    "host",
                    _("{host} is not the address of this server").format(host=", ".join(hosts)),
                    expected=f"http://127.0.0.1:{self.port}, http://localhost:{self.port}",
                ),
            )

    def _is_own(self, host: str, usual: str) -> bool:
        name, colon, port = host.rpartition(":") if host[-1:] != "]" else (host, "", "")
        if not colon:
            name, port = host, usual
        if port != str(self.port):
            return False
        return name in LOOPBACK or (self.lan and name in _known())

    def _check_site(self, scope: Scope, headers: Headers, linked: bool) -> None:
        site, origin = headers.get("sec-fetch-site", ""), headers.get("origin", "")
        if origin == "null" and site == "same-origin":  # for Referrer-Policy: no-referrer
            origin = ""
        own = origin == f"{scope.get('scheme', 'http')}://{headers['host'].lower()}"
        if scope["method"] in READ:
            opened = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
            follows = linked and opened == ("navigate", "document")
            fine = (own or not origin) and (site in ("", "same-origin", "none") or follows)
        else:
            fine = own if origin else site == "same-origin" or (self.programs and not site)
        if not fine:
            found = _("a page of {origin} may not ask this server")
            where = origin or _("another site")
            raise Refused(403, UserError("origin", found.format(origin=where)))

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if not self.token:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if scope["method"] in READ and any(map(self._is_token, tokens)):
            rest = urlencode([item for item in query if item[0] != "token"])
            return self._set_cookie(scope, headers, rest)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if self._is_token(bearer) or self._is_token(cookie):
            return None
        raise Refused(
            401,
            UserError(
                "token",
                _("this server answers only those who know its token"),
                expected=_("the whole address that stands in the terminal: ...?token=..."),
            ),
        )

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _set_cookie(self, scope: Scope, headers: Headers, query: str) -> Response:
        """Set the cookie and redirect to the same address without the token.

        A browser gets a page that redirects: coming from another site, it would follow a 303
        without the new cookie.
        """
        where = "/" + quote(scope["path"]).lstrip("/") + (f"?{query}" if query else "")
        if "text/html" in headers.get("accept", ""):
            refresh = f'<meta http-equiv="refresh" content="0;url={html.escape(where)}">'
            response: Response = HTMLResponse(refresh, headers={"Content-Security-Policy": CLOSED})
        else:
            response = RedirectResponse(where, 303)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        secure = scope.get("scheme") == "https"
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", secure=secure)
        return response


def _known() -> set[str]:
    """Return the names under which other computers in the network reach this one."""
    name = platform.node().lower()
    return {*addresses(), *({name, f"{name}.local"} if name else ())}
