"""Who may ask the studio, for what, and how much; and what a page may reach, in a real browser."""

import asyncio
import http.server
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import waiting

from souron.serve import access
from souron.studio.security import access as security
from souron.studio.security.access import Door, Guard, Refused

PORT = 7860
OWN = f"http://127.0.0.1:{PORT}"
CALL, UPLOAD, PART = "/do/en/queue/rows", "/send/en/anything/file", "/part/en/train/form"
FROM_HERE = {"origin": OWN, "sec-fetch-site": "same-origin"}


class Behind:
    """The application behind the guard: says what it was asked, or what it was told to say."""

    def __init__(self):
        self.asked, self.body = [], b""
        self.answer = (200, {"content-type": "application/json"}, b"{}")

    async def __call__(self, scope, receive, send):
        self.asked.append(scope)
        self.body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        status, headers, content = self.answer
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def behind():
    return Behind()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "studio"
    folder.mkdir()
    return folder.resolve()


@pytest.fixture
def studio(behind, place):
    def make(**options):
        return Guard(behind, **{"port": PORT, "place": place, **options})

    return make


def ask(app, path, method="GET", *, base=OWN, **options) -> httpx.Response:
    async def go():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **options)

    return run(go())


def asked_by_hand(app, path, method="GET", headers=(), parts=()) -> int:
    """The status for a path that no client would send so, and a body that never ends."""
    sent = []
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    raw = {"host": f"127.0.0.1:{PORT}", **dict(headers)}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(n.encode(), v.encode()) for n, v in raw.items()],
    }

    async def receive():
        if waiting:
            return waiting.pop(0)
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    run(app(scope, receive, send))
    return sent[0]["status"]


def run(coroutine):
    """In a thread of its own: a browser's fixture keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def post(app, path, content=b"{}", headers=FROM_HERE, **options) -> httpx.Response:
    return ask(app, path, "POST", content=content, headers=headers, **options)


# who may ask: the host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_the_studios_own_names(studio, behind, host):
    assert ask(studio(), "/en/", headers={"host": f"{host}:{PORT}"}).status_code == 200
    assert len(behind.asked) == 1


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        "127.0.0.1:80",
        f"127.0.0.1.evil.example:{PORT}",
        f"localhost.:{PORT}",
        f"127.0.0.1:{PORT}.evil.example",
        f"localhost:{PORT}@evil.example",
        f"192.168.1.5:{PORT}",
        f"0.0.0.0:{PORT}",
        f"127.1:{PORT}",
        "",
        ":",
        "[::1]",
        f"::1:{PORT}",
    ],
)
def test_other_names_are_refused(studio, behind, host):
    """What a name that was made to lead here sends: DNS rebinding."""
    answer = ask(studio(), "/en/", headers={"host": host})
    assert answer.status_code == 421 and f"127.0.0.1:{PORT}" in answer.text
    assert behind.asked == []


def test_two_hosts_are_one_too_many(studio, behind):
    headers = [("host", f"127.0.0.1:{PORT}"), ("host", "evil.example")]
    assert ask(studio(), "/en/", headers=headers).status_code == 421
    assert behind.asked == []


def test_port_80_is_not_written(studio):
    assert ask(studio(port=80), "/en/", headers={"host": "localhost"}).status_code == 200
    assert ask(studio(port=80), "/en/", headers={"host": "localhost:80"}).status_code == 200
    assert ask(studio(port=80), "/en/", headers={"host": "evil.example"}).status_code == 421


def test_shared_on_the_network_it_has_the_computers_own_names_too(studio, monkeypatch):
    address = namedtuple("address", "address")
    wired = ("192.168.1.5", "52:54:00:12:34:56", "fe80::1%eth0", "2001:db8::5")
    found = {"lo": [address("127.0.0.1")], "eth0": list(map(address, wired))}
    monkeypatch.setattr(access.psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(access.platform, "node", lambda: "Desk")
    assert access.addresses() == ["192.168.1.5", "[2001:db8::5]"]
    shared = studio(lan=True, token="secret")
    told = {"authorization": "Bearer secret"}
    for name in ("192.168.1.5", "[2001:db8::5]", "desk", "desk.local", "localhost"):
        assert ask(shared, "/en/", headers={"host": f"{name}:{PORT}", **told}).status_code == 200, name
    for name in ("192.168.1.6", "evil.example", "desk.evil.example"):
        assert ask(shared, "/en/", headers={"host": f"{name}:{PORT}", **told}).status_code == 421, name
    assert ask(studio(), "/en/", headers={"host": f"192.168.1.5:{PORT}"}).status_code == 421


def test_nobody_shares_without_a_token(studio):
    with pytest.raises(AssertionError, match="token"):
        studio(lan=True)


# who may ask: other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": f"http://localhost:{PORT}"},
        {"origin": f"{OWN}.evil.example"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize("path", [CALL, UPLOAD, PART])
def test_nothing_is_written_from_elsewhere(studio, behind, headers, path):
    headers = {"content-type": "application/json", **headers}
    answer = post(studio(), path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("[origin]")
    assert behind.asked == []


@pytest.mark.parametrize("headers", [FROM_HERE, {"origin": OWN}, {"origin": "null", "sec-fetch-site": "same-origin"}])
def test_the_studios_own_pages_write(studio, behind, headers):
    assert post(studio(), CALL, b'{"data": []}', headers).status_code == 200
    assert behind.body == b'{"data": []}'


NO_PAGES = ("/show/en/annotate/image", "/part/en/train/job", "/static/studio.js", "/runs/a.html", "/favicon.ico")
READING = (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "script"))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_pages_and_read_nothing(studio, behind, site):
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path in ("/en/", "/ja/train", "/en/train?system=resnet"):
        assert ask(studio(), path, headers=link).status_code == 200
    assert ask(studio(), "/", headers=link).status_code == 307
    behind.asked.clear()
    for path in NO_PAGES:
        assert ask(studio(), path, headers=link).status_code == 403
    for mode, dest in READING:
        read = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        for path in ("/en/", "/", *NO_PAGES):
            assert ask(studio(), path, headers=read).status_code == 403, (mode, path)
    assert ask(studio(), "/en/", headers={"origin": "http://evil.example"}).status_code == 403
    assert behind.asked == []


def test_no_other_site_may_ask_beforehand(studio, behind):
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = ask(studio(), UPLOAD, "OPTIONS", headers=headers)
    assert answer.status_code == 403 and behind.asked == []
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_websockets_are_refused(studio, behind):
    sent = []

    async def go():
        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        await studio()({"type": "websocket", "path": "/en/", "headers": []}, receive, send)

    run(go())
    assert [message["type"] for message in sent] == ["websocket.close"] and behind.asked == []


# who may ask: the token


def test_with_a_token_everything_else_waits_for_it(studio, behind):
    shared = studio(token="s3cret")
    wrong = ("/en/?token=", "/en/?token=s3cre", "/en/?token=S3CRET", "/en/?Token=s3cret")
    for path in (
        "/",
        "/en",
        "/en/",
        "/en/train/",
        "/show/en/annotate/image",
        "/static/studio.js",
        "/favicon.ico",
        "/runs/a.html",
        "/nothing",
        *wrong,
    ):
        assert ask(shared, path).status_code == 401, path
    assert post(shared, CALL).status_code == 401
    assert post(shared, f"{CALL}?token=s3cret").status_code == 401
    assert ask(shared, "/en/", headers={"cookie": f"souron-{PORT}=wrong"}).status_code == 401
    assert ask(shared, "/en/", headers={"cookie": f"souron-{PORT}=é".encode()}).status_code == 401
    assert behind.asked == []


def test_the_token_becomes_a_cookie_and_leaves_the_address(studio):
    shared = studio(token="s3cret")
    answer = ask(shared, "/en/train?system=resnet&token=s3cret&data=a%26b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/en/train?system=resnet&data=a%26b"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    kept = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert ask(shared, "/en/", headers=kept).status_code == 200
    assert post(shared, CALL, headers={**FROM_HERE, **kept}).status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_token_leads_nowhere_else(studio):
    answer = ask(studio(token="s3cret"), f"{OWN}//evil.example/%0d%0aa:b?token=s3cret")
    assert answer.headers["location"].startswith("/evil.example/%0D%0A")


def test_a_browser_is_led_on_by_a_page(studio):
    answer = ask(studio(token="s3cret"), "/en/%22%3E?token=s3cret", headers={"accept": "text/html"})
    assert answer.status_code == 200 and "set-cookie" in answer.headers
    assert 'content="0;url=/en/%22%3E"' in answer.text


def test_door_for_a_server_of_programs():
    def check(headers, **options):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "headers": [(b"host", f"127.0.0.1:{PORT}".encode()), *raw],
        }
        return Door(PORT, **options).check(scope)

    assert check({}, programs=True) is None
    assert check({"authorization": "Bearer s3cret"}, programs=True, token="s3cret") is None
    for headers, options in [
        ({}, {}),
        ({"origin": "http://evil.example"}, {"programs": True}),
        ({"origin": "null"}, {"programs": True}),
        ({"sec-fetch-site": "cross-site"}, {"programs": True}),
        ({"authorization": "Bearer wrong"}, {"programs": True, "token": "s3cret"}),
    ]:
        with pytest.raises(Refused):
            check(headers, **options)


# what may be asked for


READ_NOWHERE = """
    config gradio_api/info gradio_api/file=/etc/passwd theme.css assets/index.js login logout robots.txt
    manifest.json docs openapi.json static/..\\x lecture unknown train/x trainx Train
    """
WRITTEN_NOWHERE = "train login config gradio_api/run/predict gradio_api/upload"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", path) for path in READ_NOWHERE.split()]
    + [("POST", path) for path in ("", *WRITTEN_NOWHERE.split())]
    + [(method, "train") for method in ("PUT", "DELETE", "PATCH", "OPTIONS")],
)
@pytest.mark.parametrize("app", ["en", "ja"])
def test_routes_that_a_private_studio_does_not_need_do_not_exist(studio, behind, app, method, path):
    answer = ask(studio(), f"/{app}/{path}", method, headers=FROM_HERE)
    assert answer.status_code == 404 and behind.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/fr/",
        "/gradio_api/upload",
        "/config",
        "/docs",
        "/en.html",
        "/runs",
        "/runs/../x",
        "/enx/",
        "/static/a/b.js",
        "/..",
        "",
        "/en/assets/../theme.css",
        "/en/../en/",
        "//",
        "/en/\n",
        "/en/train\n",
    ],
)
def test_nothing_else_exists_at_all(studio, behind, path):
    assert asked_by_hand(studio(), path) == 404 and behind.asked == []


def test_the_studios_own_routes(studio, behind):
    for path in (
        "/static/studio.js",
        "/favicon.ico",
        "/picture/resnet.svg",
        "/job/a/curve.png",
        "/runs/classify/cnn/report.html",
        "/export/classify/cnn.zip",
    ):
        assert ask(studio(), path).status_code == 200, path
    assert ask(studio(), "/other/x").status_code == 404


def test_own_answers_keep_their_policy_and_the_others_get_one(studio, behind):
    assert "sandbox" in ask(studio(), "/runs/a.html").headers["content-security-policy"]
    behind.answer = (200, {"content-security-policy": "default-src 'self'", "cache-control": "max-age=1"}, b"")
    answer = ask(studio(), "/runs/a.html")
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["cache-control"] == "max-age=1"
    answer = ask(studio(), "/static/studio.js")
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    answer = post(studio(), "/do/en/queue/rows")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


# which language


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.8", "en"),
        ("", "en"),
        ("fr,de;q=0.5", "en"),
        ("fr, ja;q=0.3", "ja"),
        ("en;q=0.1, ja;q=0.2", "ja"),
        ("*", "en"),
        ("ja;q=0", "en"),
        ("ja;q=x,en;q=0.1", "en"),
        ("java", "en"),
    ],
)
def test_the_browsers_language_is_the_default(studio, accept, language):
    answer = ask(studio(), "/?a=1", headers={"accept-language": accept})
    assert answer.status_code == 307 and answer.headers["location"] == f"/{language}/?a=1"


def test_the_cookie_goes_before_the_browser_and_lang_before_both(studio):
    headers = {"accept-language": "en", "cookie": "language=ja"}
    assert ask(studio(), "/", headers=headers).headers["location"] == "/ja/"
    assert ask(studio(lang="en"), "/", headers=headers).headers["location"] == "/en/"
    headers["cookie"] = "language=//evil.example"
    assert ask(studio(), "/", headers=headers).headers["location"] == "/en/"


def test_messages_for_browsers_are_escaped(studio):
    path = "/%3Cscript%3Ealert(1)%3C/script%3E"
    answer = ask(studio(), path, headers={"accept": "text/html", "accept-language": "ja"})
    assert answer.status_code == 404 and "<script" not in answer.text and "&lt;script" in answer.text
    assert '<html lang="ja">' in answer.text and "sandbox" in answer.headers["content-security-policy"]
    assert ask(studio(), path).headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/en", "/en/"),
        ("/ja", "/ja/"),
        ("/en/train/", "/en/train"),
        ("/ja/train//", "/ja/train"),
        ("/en/train/?system=a%20b", "/en/train?system=a%20b"),
    ],
)
def test_slashes_at_the_end(studio, behind, path, leads):
    answer = ask(studio(), path)
    assert answer.status_code == 307 and answer.headers["location"] == leads
    assert behind.asked == []


# how much


def test_bodies_are_bounded_by_route(studio, behind, monkeypatch):
    monkeypatch.setattr(security, "MOST_BYTES", 1000)
    small = studio(most_uploaded=5000)
    value = json.dumps({"data": ["x" * 990]}).encode()
    answer = post(small, CALL, value)
    assert answer.status_code == 413 and behind.asked == []
    for route in (UPLOAD, PART):
        assert post(small, route, b"x" * 5000).status_code == 200
        assert post(small, route, b"x" * 5001).status_code == 413
        typed = {**FROM_HERE, "content-type": "application/x-www-form-urlencoded"}
        assert post(small, route, b"x" * 1001, typed).status_code == 413, "a form without files is read into memory"
        assert behind.body == b"x" * 5000


@pytest.mark.parametrize("length", [None, "10", "-5", "x"])
def test_what_says_a_smaller_length_than_it_has_is_cut_off(studio, length):
    async def parts():
        for _ in range(100):
            yield b"x" * 100

    headers = FROM_HERE if length is None else {**FROM_HERE, "content-length": length}
    small = studio(most_uploaded=5000)
    assert post(small, UPLOAD, parts(), headers).status_code == 413


def test_a_call_is_json_whatever_it_says_of_itself(studio, behind):
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/x"):
        headers = {**FROM_HERE, "content-type": kind}
        assert post(studio(), CALL, b'{"a": 1}', headers).status_code == 200 and behind.body == b'{"a": 1}'
    behind.asked.clear()
    for broken in (b"{", b"[" * 100_000, b"\xff", b"{}{}"):
        assert post(studio(), CALL, broken).status_code == 400
    assert behind.asked == []


# pages


def test_headers_of_pages(studio, behind):
    headers = ask(studio(), "/en/").headers
    wanted = {
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-dns-prefetch-control": "off",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    assert {name: headers[name] for name in wanted} == wanted
    assert "camera=(self)" in headers["permissions-policy"]
    assert ask(studio(), "/static/studio.js").headers["cache-control"] == "no-cache"


# a real studio behind real servers


SERVERS = {"url": {"most_uploaded": 10**7}, "shared": {"token": "s3cret", "lan": True}}


def serve(folder: Path) -> None:
    """A studio behind a guard of each kind and behind none, in this process; says where on stdout."""
    import uvicorn

    from souron.studio.app import routed
    from souron.studio.jobs.job_queue import Jobs
    from souron.studio.security.paths import PLACE, Roots

    place, project = security.prepare(folder / "temporary"), folder / "runs"
    PLACE.set(place)  # where no guard says it
    outer = routed(project, Roots([folder, project]), Jobs(project))
    told, servers = {"place": str(place)}, []
    for name, options in {**SERVERS, "bare": None}.items():
        listens = socket.socket()
        listens.bind(("127.0.0.1", 0))
        port = listens.getsockname()[1]
        app = outer if options is None else Guard(outer, port=port, place=place, **options)
        config = uvicorn.Config(app, log_level="error", ws="none", proxy_headers=False, lifespan="off")
        servers.append((uvicorn.Server(config), listens))
        told[name] = f"http://127.0.0.1:{port}"
        told[f"{name}_port"] = port

    async def go():
        running = [asyncio.ensure_future(server.serve([listens])) for server, listens in servers]
        while not all(server.started for server, _listens in servers) and not any(one.done() for one in running):
            await asyncio.sleep(0.02)
        print(json.dumps(told), flush=True)
        await asyncio.gather(*running)

    asyncio.run(go())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """What ``serve`` says, from a process of its own."""
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE)
    line = process.stdout.readline()
    yield SimpleNamespace(**json.loads(line), folder=folder)
    process.terminate()
    process.wait(waiting.LIMIT)
    process.stdout.close()


@pytest.fixture
def client(served):
    headers = {"origin": served.url, "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=waiting.LIMIT) as client:
        yield client


def test_a_form_and_its_file_arrive_behind_the_guard(client, served):
    answer = client.post(
        "/part/en/study/start", data={"study": "verdict"}, files={"files-files": ('a "b" 表.csv', b"case,truth,a\n")}
    )
    assert answer.status_code == 200, answer.text
    [kept] = Path(served.place).glob("sent/*/*.csv")
    assert kept.name == 'a "b" 表.csv' and kept.read_bytes() == b"case,truth,a\n"


def test_a_text_that_is_too_long_is_said(client):
    """In the words of the page, whose corner shows them."""
    sent = {"study": (None, "verdict"), "files": (None, "x" * 4_000_001)}
    answer = client.post("/part/ja/study/start", files=sent)
    assert answer.status_code == 400 and 'class="trouble"' in answer.text
    assert "4 MB" in answer.text


@pytest.mark.parametrize("name", ["../../x.csv", "/etc/passwd", "a\\b.csv", ".hidden", "..", "x" * 300 + ".csv"])
def test_the_name_of_a_sent_file_leads_nowhere(client, served, name):
    client.post("/part/en/study/start", data={"study": "verdict"}, files={"files-files": (name, b"1")})
    files = [path for path in Path(served.place).rglob("*") if path.is_file()]
    assert files and all(path.parent.parent.name == "sent" for path in files)


def test_no_file_of_the_computer_is_taken_for_a_sent_one(client, served):
    """What a form says was sent before must lie among the sent files."""
    for path in (Path(__file__).resolve(), "/etc/passwd", f"{served.place}/../../a.csv"):
        asked = {"study": "verdict", "files-kept": str(path)}
        answer = client.post("/part/en/study/start", data=asked)
        assert answer.status_code == 400 and "root:" not in answer.text


def test_pages_load_nothing_from_elsewhere(client):
    """What a policy would not stop: connections that are made ahead."""
    for path in ("/en/train", "/ja/train", "/en/compare", "/ja/compare"):
        page = client.get(path)
        assert page.status_code == 200
        tags = re.findall(r"<(?:link|script|img|iframe|base)\b[^>]*>", page.text)
        assert tags and not [tag for tag in tags if re.search(r"(?:https?:)?//[\w.]", tag)], path


def test_prepare_makes_a_private_folder_and_forgets_those_of_the_dead(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"studio-{ended.pid}-x").mkdir()
    (tmp_path / "studio-x-y").mkdir()
    monkeypatch.setattr(os, "environ", {})
    folder = security.prepare(tmp_path)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    other = security.prepare(tmp_path)
    assert {p.name for p in tmp_path.glob("studio-*")} == {folder.name, other.name, "studio-x-y"}
    if os.name != "nt":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# a real browser


@pytest.fixture(scope="module")
def browser():
    """Chromium, which finds this computer and no other; ``rebind.example`` is made to lead here."""
    from playwright.sync_api import sync_playwright

    rules = "MAP rebind.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--host-resolver-rules={rules}"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page; ``asked``: all addresses that it asked for, ``said``: what stands on its console."""
    page = browser.new_page()
    page.asked, page.answered, page.said = [], [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("response", lambda answer: page.answered.append((answer.url, answer.status)))
    page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.said.append(f"error: {error}"))
    yield page
    page.close()


class Elsewhere(http.server.ThreadingHTTPServer):
    """Another site, which counts who comes."""

    def __init__(self):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>elsewhere</title><p id=p>elsewhere")

            do_POST = do_GET

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def elsewhere():
    with Elsewhere() as server:
        yield server
        server.shutdown()


def complaints(page) -> list[str]:
    """What a policy may have caused."""
    return [one for one in page.said if one.startswith("error") or "olicy" in one]


def settled(page) -> None:
    page.wait_for_selector("h1")
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("path", ["/en/compare", "/en/compare/", "/ja/compare?a=1", "/ja/train"])
def test_each_page_opens_without_a_complaint(served, page, path):
    page.goto(served.url + path)
    settled(page)
    assert page.locator("h1").count() == 1
    assert complaints(page) == [] and [url for url, status in page.answered if status >= 400] == []


REACHING = """
(url) => {
  const add = (tag, values) => {
    const made = Object.assign(document.createElement(tag), values);
    document.body.append(made);
    return made;
  };
  const tries = [
    () => fetch(url + "/fetch", {mode: "no-cors"}).catch(() => 0),
    () => fetch(url + "/post", {mode: "no-cors", method: "POST", body: "secret"}).catch(() => 0),
    () => navigator.sendBeacon(url + "/beacon", "secret"),
    () => new EventSource(url + "/events"),
    () => new WebSocket(url.replace("http", "ws") + "/socket"),
    () => { new Image().src = url + "/image"; },
    () => add("script", {src: url + "/script"}),
    () => import(url + "/module").catch(() => 0),
    () => add("link", {rel: "stylesheet", href: url + "/style"}),
    () => add("link", {rel: "prefetch", href: url + "/prefetch"}),
    () => add("link", {rel: "icon", href: url + "/icon"}),
    () => add("link", {rel: "manifest", href: url + "/manifest"}),
    () => add("iframe", {src: url + "/frame"}),
    () => add("object", {data: url + "/object"}),
    () => add("embed", {src: url + "/embed"}),
    () => add("video", {src: url + "/video", autoplay: true}),
    () => add("audio", {src: url + "/audio", autoplay: true}),
    () => add("div", {style: `background: url(${url}/background); width: 9px; height: 9px`}),
    () => add("style", {textContent: `@import "${url}/import";
      @font-face {font-family: far; src: url(${url}/font)} body {font-family: far}`}),
    () => {
      add("iframe", {name: "hidden"});
      add("form", {action: url + "/form", method: "post", target: "hidden"}).submit();
    },
  ];
  for (const one of tries) try { one(); } catch {}
  return new Promise((done) => setTimeout(done, 1500));
}
"""


def test_a_page_reaches_nothing_but_the_studio(served, page, elsewhere):
    page.goto(f"{served.url}/en/train")
    settled(page)
    page.evaluate(REACHING, elsewhere.url)
    assert elsewhere.asked == []
    page.goto(elsewhere.url)
    page.evaluate(REACHING, elsewhere.url)
    assert len(set(elsewhere.asked)) > 15  # what the same script reaches from where it may


USING = """
async (url) => {
  const quiet = {mode: "no-cors", credentials: "include"};
  const send = {...quiet, method: "POST", body: '{"data": []}'};
  for (const way of ["/do/en/queue/rows", "/send/en/anything/file", "/part/en/train/form"])
    await fetch(url + way, send).catch(() => 0);
  const read = ["/en/train", "/static/studio.js", "/show/en/annotate/image", "/part/en/train/job"];
  for (const way of read) {
    await fetch(url + way, quiet).catch(() => 0);
    await fetch(url + way).catch(() => 0);
  }
  const json = {"Content-Type": "application/json"};
  await fetch(url + "/do/en/queue/rows", {...send, mode: "cors", headers: json})
    .catch(() => 0);
  const add = (tag, values) =>
    document.body.append(Object.assign(document.createElement(tag), values));
  add("script", {src: url + "/static/studio.js"});
  add("img", {src: url + "/favicon.ico"});
  add("iframe", {src: url + "/en/train"});
  add("iframe", {name: "hidden"});
  add("form", {action: url + "/do/en/queue/rows", method: "post", target: "hidden"});
  document.forms[0].submit();
  await new Promise((done) => setTimeout(done, 1000));
}
"""


def test_another_site_can_use_nothing_of_the_studio(served, page, elsewhere):
    page.goto(elsewhere.url)
    page.evaluate(USING, served.url)
    answers = [status for url, status in page.answered if url.startswith(served.url)]
    assert len(answers) > 8 and set(answers) == {403}
    page.evaluate(USING, served.bare)  # what it could do without the guard
    assert 200 in [status for url, status in page.answered if url.startswith(served.bare)]
    page.evaluate("(url) => { location.href = url; }", f"{served.url}/en/train")  # but may link to it
    page.wait_for_selector("h1")


def test_a_name_that_was_made_to_lead_here_gets_nothing(served, page):
    answer = page.goto(f"http://rebind.example:{served.url_port}/en/train")
    assert answer.status == 421 and "rebind.example" in page.inner_text("body")


INSERTING = """
async () => {
  const place = document.createElement("div");
  document.body.append(place);
  place.innerHTML = '<img src="x:" onerror="window.hacked = 1">'
    + '<a href="javascript:window.hacked=1">a</a>'
    + '<iframe srcdoc="&lt;script&gt;parent.hacked = 1&lt;/script&gt;"></iframe>';
  place.querySelector("a").click();
  const script = document.createElement("script");
  script.text = "window.hacked = 1";
  document.body.append(script);
  await new Promise((done) => setTimeout(done, 500));
  return window.hacked;
}
"""


def test_nothing_in_an_inserted_text_runs(served, page, elsewhere):
    page.goto(f"{served.url}/en/compare")
    settled(page)
    assert page.evaluate(INSERTING) is None
    page.goto(elsewhere.url)
    assert page.evaluate(INSERTING) == 1  # where there is no policy


def test_with_a_token_a_link_from_elsewhere_opens_the_studio(served, page, elsewhere):
    assert page.goto(f"{served.shared}/en/train").status == 401
    page.goto(elsewhere.url)
    page.evaluate("(url) => { location.href = url; }", f"{served.shared}/en/train?token=s3cret&a=1")
    page.wait_for_selector("h1")
    assert page.url == f"{served.shared}/en/train?a=1"
    page.get_by_label("system", exact=True).select_option("vit")
    page.wait_for_selector("#idea :text('vit')")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
