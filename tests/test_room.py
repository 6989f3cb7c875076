"""Several people in one room: the login, ten people at once, and that nobody reaches what is another's."""

import asyncio
import contextvars
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import browsing
import httpx
import plain_forms
import psutil
import pytest
import waiting
from test_studio_jobs import CHILD

from souron.serve.access import Door, Refused
from souron.studio import app as studio_app
from souron.studio.jobs import job_queue
from souron.studio.security import paths, upload_names
from souron.studio.security import room as module
from souron.studio.security.paths import Roots
from souron.studio.security.room import Attempts, People, plain_name
from souron.utils.messages import UserError

PORT, PASSWORD, TOKEN = 7860, "correct horse", "t" * 32
BASE = f"http://127.0.0.1:{PORT}"
OWN = {"origin": BASE, "sec-fetch-site": "same-origin"}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "SLOWEST", 0.0)


@pytest.fixture
def room(tmp_path, monkeypatch, quick):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(job_queue, "COMMAND", (sys.executable, str(script)))
    everybody, jobs = studio_app.room(tmp_path / "runs", port=PORT, token=TOKEN, password=PASSWORD)
    everybody.jobs = jobs
    yield everybody
    jobs.close()
    for job in jobs.schedule.all():
        with suppress(psutil.NoSuchProcess):
            process = job.process()
            if process is not None:
                process.kill()
                waiting.until(lambda job=job: job.process() is None)


def visitor(room, address="10.0.0.1", base=BASE):
    transport = httpx.ASGITransport(room, client=(address, 40000))
    return httpx.AsyncClient(transport=transport, base_url=base, headers=OWN)


def fields(name, password=PASSWORD, pin="1234"):
    return {"name": name, "password": password, "pin": pin}


async def entered(room, name, address="10.0.0.1", pin="1234"):
    client = visitor(room, address)
    answer = await client.post("/en/enter", data=fields(name, pin=pin))
    assert answer.status_code == 303, answer.text
    return client


def test_nothing_is_shown_before_the_login_but_the_way_in(room):
    async def go():
        async with visitor(room) as client:
            for path in ("/", "/ja/", "/en/queue", "/en/train", "/en/runs?run=a/b"):
                answer = await client.get(path)
                assert answer.status_code == 303 and answer.headers["location"].endswith("/enter"), path
            for path in ("/runs/x.png", "/job/000001-00000000/curve.png", "/static/studio.js", "/part/en/train/job",
                         "/export/a/b.zip", "/report/en/a/b"):  # fmt: skip
                assert (await client.get(path)).status_code == 401, path
            assert (await client.post("/do/en/queue/rows", json={})).status_code == 401
            page = await client.get("/ja/enter")
            assert 'lang="ja"' in page.text and "script" not in page.headers["content-security-policy"]
            away = await client.get(f"/?token={TOKEN}")  # the token works on the computer itself alone
            assert away.headers["location"] == "/en/enter" and "set-cookie" not in away.headers

    asyncio.run(go())


def test_a_login_keeps_the_person_until_they_leave(room):
    async def go():
        client = await entered(room, "Anna")
        cookie = next(iter(client.cookies.jar))
        assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"
        page = await client.get("/en/queue")
        assert page.status_code == 200 and ">anna</a>" in page.text and "Pause the queue" in page.text
        assert "hidden>Pause" in page.text
        assert "anna" in (await client.get("/en/enter")).text
        session = client.cookies[cookie.name]
        await client.post("/en/leave")
        async with visitor(room) as other:
            other.cookies.set(cookie.name, session)
            assert (await other.get("/en/queue")).status_code == 303

    asyncio.run(go())


def test_over_tls_the_cookie_is_secure(room):
    async def go():
        base = f"https://127.0.0.1:{PORT}"
        async with visitor(room, base=base) as client:
            answer = await client.post("/en/enter", data=fields("anna"), headers={"origin": base})
            assert "; secure" in answer.headers["set-cookie"].lower()

    asyncio.run(go())


@pytest.mark.parametrize("name", ["", "../ben", "a b", "x" * 25, "CON", "lpt1", ".", "a/b", "a\\b", "-", "a\0", "_"])
def test_only_letters_and_digits_are_a_name(room, name, tmp_path):
    async def go():
        async with visitor(room) as client:
            answer = await client.post("/en/enter", data=fields(name))
            assert answer.status_code == 403 and "cannot be used" in answer.text

    asyncio.run(go())
    assert not (tmp_path / "runs" / "people").exists()


def test_names_that_look_alike_are_one():
    assert plain_name("ＡＮＮＡ") == plain_name("Anna ") == "anna" and plain_name("花子2") == "花子2"
    assert plain_name("Straße") == plain_name("STRASSE") and plain_name("ﬁ") == "fi"
    for name in ("Anna", "花子", "Straße", "İx", "ﬁ"):
        assert plain_name(plain_name(name)) == plain_name(name)


def test_a_name_belongs_to_its_pin(room, tmp_path):
    async def go():
        await entered(room, "anna", pin="1234")
        async with visitor(room, "10.0.0.2") as client:
            answer = await client.post("/en/enter", data=fields("ANNA", pin="9999"))
            assert answer.status_code == 403 and "another PIN" in answer.text
            short = await client.post("/ja/enter", data=fields("ben", pin="1"))
            assert short.status_code == 403
        await entered(room, "anna", "10.0.0.3", pin="1234")

    asyncio.run(go())
    note = tmp_path / "runs" / "people" / "anna" / ".studio" / "person.json"
    assert "1234" not in note.read_text()
    note.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        People(tmp_path / "runs" / "people").enter("anna", "1234")
    note.unlink()
    assert People(tmp_path / "runs" / "people").enter("anna", "new pin")


def test_wrong_passwords_are_bounded_by_address(room):
    async def go():
        async with visitor(room) as client:
            answers = [await client.post("/en/enter", data=fields("anna", "wrong")) for _n in range(module.MOST_WRONG)]
            assert {answer.status_code for answer in answers} == {403} and "wrong" in answers[0].text
            right = await client.post("/en/enter", data=fields("anna"))
            assert right.status_code == 429 and "set-cookie" not in right.headers
        await entered(room, "anna", "10.0.0.2")  # somebody else at another address
        many = [visitor(room, "10.0.0.9").post("/en/enter", data=fields("anna", "wrong")) for _n in range(30)]
        told = Counter(answer.status_code for answer in await asyncio.gather(*many))
        assert told == {403: module.MOST_WRONG, 429: 30 - module.MOST_WRONG}  # also all at once

    asyncio.run(go())


def test_a_wrong_password_takes_longer_each_time(room, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(module, "SLOWEST", 8.0)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)

    async def go():
        async with visitor(room) as client:
            for _n in range(6):
                await client.post("/en/enter", data=fields("anna", "wrong"))

    asyncio.run(go())
    assert waits == [0.5, 1, 2, 4, 8, 8]


def test_attempts_are_forgotten_and_few(monkeypatch):
    attempts = Attempts()
    for _n in range(module.MOST_WRONG):
        attempts.begin("a")
    with pytest.raises(Refused):
        attempts.begin("a")
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.WITHIN + 1)
    assert attempts.begin("a") == 0
    monkeypatch.setattr(module, "MOST_ADDRESSES", 5)
    for number in range(20):
        attempts.begin(str(number))
    assert len(attempts._times) == 5
    assert module._network("2001:db8::1") == module._network("2001:db8::2") != module._network("2001:db9::1")


def test_a_login_form_of_another_site_or_of_a_gigabyte_is_refused(room):
    async def go():
        async with visitor(room) as client:
            away = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
            assert (await client.post("/en/enter", data=fields("anna"), headers=away)).status_code == 403
            assert (await client.get("/en/enter", headers={"host": "evil.example"})).status_code == 421
            assert (await client.post("/en/enter", content=b"x" * 10_000)).status_code == 413
            assert (await client.post("/en/enter", content=b"\xff=&name=a")).status_code == 400
            assert (await client.put("/en/enter", content=b"")).status_code in (403, 405)

    asyncio.run(go())


def test_whoever_started_it_needs_the_token_and_this_computer(room):
    async def go():
        async with visitor(room, "127.0.0.1") as client:
            assert (await client.get("/en/queue")).status_code == 303
            first = await client.get(f"/en/queue?token={TOKEN}", headers={"accept": "text/html"})
            assert first.status_code == 200 and "souron-7860" in first.headers["set-cookie"]
            page = await client.get("/en/queue")
            assert page.status_code == 200 and "hidden>Pause" not in page.text
            cookies = dict(client.cookies)
        async with visitor(room, "10.0.0.1") as client:
            client.cookies.update(cookies)
            assert (await client.get("/en/queue")).status_code == 303

    asyncio.run(go())


def run_of(folder: Path, secret: str) -> Path:
    run = folder / "classify" / "mine"
    run.mkdir(parents=True)
    (run / "args.yaml").write_text(f"system: cnn\ndata: {secret}\n")
    (run / "report.html").write_text(f'<html lang="en"><p>{secret}</p></html>')
    (run / "a.png").write_bytes(b"\x89PNG" + secret.encode())
    return run


def test_nobody_reaches_what_is_anothers(room, tmp_path):
    people = tmp_path / "runs" / "people"

    async def go():
        anna, ben = await entered(room, "anna"), await entered(room, "ben", "10.0.0.2")
        for client in (anna, ben):
            assert (await client.get("/en/queue")).status_code == 200
        run = run_of(people / "anna" / "runs", "secret")
        own = run_of(tmp_path / "runs", "of the host")
        jobs = room.jobs.schedule.members["anna"]
        job = jobs.start(["train", "show", "secret"], "en")
        job.launch()
        waiting.until(lambda: job.state == "done")
        (job.place / "events.jsonl.png").write_bytes(b"\x89PNG secret")
        paths = ["/runs/classify/mine/a.png", "/runs/classify/mine/report.html", "/report/en/classify/mine",
                 "/export/classify/mine.zip", f"/job/{job.id}/curve.png", f"/job/{job.id}/picture.png"]  # fmt: skip
        for path in paths:
            assert (await anna.get(path)).status_code == 200, path
            assert (await ben.get(path)).status_code == 404, path
        secret = "anna/runs/classify/mine/a.png"
        ways = (
            f"/runs/../../{secret}",
            f"/runs/%2e%2e/%2e%2e/{secret}",
            f"/runs/..%2f..%2f{secret}",
            f"/runs/{people}/{secret}",
            f"/runs//{people}/{secret}",
            f"/runs/{own}/a.png",
            f"/show/en/annotate/image?data={run}&file=a.png",
        )
        for path in ways:
            answer = await ben.get(path)
            assert answer.status_code in (400, 403, 404) and "secret" not in answer.text, path
        assert (await ben.post("/do/en/queue/stop", json={"id": job.id})).status_code == 400
        assert "secret" not in (await ben.post("/do/en/queue/rows", json={})).text
        listed = (await anna.post("/do/en/queue/rows", json={})).json()["over"]
        assert [each["id"] for each in listed] == [job.id]
        assert (await ben.post("/do/en/queue/ended", json={"ids": [job.id]})).json()["over"] == []
        assert (await ben.post("/do/en/queue/pause", json={"paused": True})).status_code == 400
        # a link in one's own folder leads no further
        (people / "ben" / "runs" / "way").symlink_to(run)
        assert (await ben.get("/runs/way/a.png")).status_code == 404

    asyncio.run(go())


def test_data_of_a_person_is_found_by_the_jobs_of_that_person(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the server's folder, which holds the people's

    async def go():
        anna, ben = await entered(room, "anna"), await entered(room, "ben", "10.0.0.2")
        made = (await anna.post("/do/en/my_data/example", json={})).json()["address"]
        assert (await anna.get(made)).status_code == 200
        job = room.jobs.schedule.members["anna"].all()[0]
        assert job.words[:2] == ["data", "check"] and (Path(job.note["place"]) / job.words[2] / "even").is_dir()
        assert (await ben.get(made)).status_code == 404

    asyncio.run(go())


def test_a_command_of_one_person_names_nothing_of_others(room, tmp_path):
    asyncio.run(entered(room, "anna"))
    asyncio.run(asyncio.wait_for(room.app("anna"), 60))
    jobs, other = room.jobs.schedule.members["anna"], tmp_path / "runs" / "people" / "ben"
    outside = (
        ["train", "cnn", f"data={other}"],
        ["train", "cnn", "data=../ben"],
        ["train", "cnn", "project=/tmp/x"],
        ["train", "cnn", f"data=digits,{other}"],
        ["data", "check", "~/x"],
        ["data", "/etc/passwd"],
        ["data", str(tmp_path / "cache" / "decoded")],
    )
    for words in outside:
        with pytest.raises(UserError, match="outside of the folders"):
            jobs.start(words, "en")
    with pytest.raises(UserError, match="fetches"):
        jobs.start(["fetch", "smollm2"], "en", queued=False)
    job = jobs.start(["data", "check", "digits", "what is it? " * 100], "en", queued=False)
    assert job.queued and job.note["place"] == str(tmp_path / "runs" / "people" / "anna")
    jobs.start(["data", "check", str(tmp_path / "cache" / "data" / "terms")], "en")
    Roots([tmp_path]).limit(["prompt=a\0b", "x" * 5000])


def test_typed_texts_are_kept_apart(tmp_path, monkeypatch):
    plain_forms.uploads(monkeypatch, tmp_path / "all")
    places = {}
    for person in ("anna", "ben"):
        contextvars.copy_context().run(kept_by, person, tmp_path / person, places)
    assert places["anna"].is_relative_to(tmp_path / "anna") and places["ben"].is_relative_to(tmp_path / "ben")
    assert upload_names.typed_in(str(places["anna"])) == ""


def kept_by(person, place, places):
    paths.PLACE.set(place)
    places[person] = upload_names.typed("the same text")
    assert upload_names.typed_in(str(places[person])) == "the same text"
    assert all(upload_names.typed_in(str(path)) == "" for name, path in places.items() if name != person)


def test_ten_people_at_once_each_get_their_share(room, tmp_path):
    names = [f"person{number}" for number in range(10)]
    room.jobs.pause()

    async def one(number, name):
        client = await entered(room, name, f"10.0.1.{number}")
        assert (await client.get("/en/queue")).status_code == 200
        jobs = room.jobs.schedule.members[name]
        # the first one is greedy: four jobs before the others come
        for turn in range(4 if number == 0 else 1):
            await asyncio.to_thread(jobs.start, ["train", "note", f"{name}-{turn}"], "en")
        return client

    async def go():
        first = await one(0, names[0])
        clients = [first, *await asyncio.gather(*(one(n, name) for n, name in enumerate(names) if n))]
        room.jobs.run()
        room.jobs.go_on()
        limit = time.monotonic() + waiting.LIMIT
        while any(job.state in job_queue.ALIVE for job in room.jobs.schedule.all()):
            assert time.monotonic() < limit
            told = await asyncio.gather(*(client.post("/do/en/queue/rows", json={}) for client in clients))
            for name, answer in zip(names, told, strict=True):
                assert answer.status_code == 200
                others = set(names) - {name}
                assert not any(f"{other}-" in answer.text for other in others)
            await asyncio.sleep(0.2)
        for name, client in zip(names, clients, strict=True):
            over = (await client.post("/do/en/queue/rows", json={})).json()["over"]
            assert len(over) == (4 if name == names[0] else 1)

    asyncio.run(go())
    begun = sorted(room.jobs.schedule.all(), key=lambda job: job.begun)
    order = [job.jobs.person for job in begun]
    assert sorted(order[:10]) == names and order[10:] == [names[0]] * 3  # each one's first comes before a second
    for name in names:
        text = (tmp_path / "runs" / "people" / name / "order.txt").read_text()
        assert set(re.findall(r"person\d", text)) == {name}


def test_the_queue_of_all_is_there_before_anybody_logs_in_again(room, tmp_path):
    asyncio.run(entered(room, "anna"))
    asyncio.run(asyncio.wait_for(room.app("anna"), 60))
    room.jobs.schedule.members["anna"].start(["train", "note", "a"], "en")
    again, jobs = studio_app.room(tmp_path / "runs", port=PORT, token=TOKEN, password=PASSWORD)
    assert list(jobs.schedule.members) == ["", "anna"] and len(jobs.schedule.waiting(False)) == 1
    assert again.people.names() == ["anna"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "without a password"),
        (["--host", "0.0.0.0", "--password", "shorty7"], "too short"),
        (["--password-file", "none.txt"], "cannot be read"),
        (["--share-lan", "--password", "long enough"], "one of the two"),
        (["--host", "0.0.0.0", "--password", "long enough", "--cert", "a.pem"], "belong together"),
        (["--password", "long enough", "--cert", "a.pem", "--key", "b.pem"], "cannot be used"),
    ],
)
def test_a_room_that_is_not_safe_does_not_open(tmp_path, options, told):
    words = [sys.executable, "-m", "souron", "studio", "port=0", "--no-browser", *options]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=waiting.LIMIT, check=False)
    text = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode and told in text and "shorty7" not in text and "long enough" not in text


def test_the_door_knows_its_token():
    door = Door(PORT, token=TOKEN)
    scope = {"query_string": b"", "headers": [], "type": "http"}
    assert not door.knows(scope)
    assert door.knows({**scope, "query_string": f"token={TOKEN}".encode()})
    assert door.knows({**scope, "headers": [(b"cookie", f"{door.cookie}={TOKEN}".encode())]})


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A room of a real server, with TLS."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "word").write_text(f"{PASSWORD}\n")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
            "-days", "2", "-subj", "/CN=souron"]  # fmt: skip
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    options = ("--host", "0.0.0.0", "--password-file", "word", "--cert", "cert.pem", "--key", "key.pem")
    server = browsing.Server(folder, options).start()
    yield server
    assert server.end() in (0, 130)
    text = "".join(server.lines)
    assert "Traceback" not in text and PASSWORD not in text


def login(page, address, language, name):
    page.goto(f"{address}/{language}/")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=pin]", "2468")
    page.click("button")
    page.wait_for_selector("#head")


@pytest.mark.skipif(not browsing.CHROMIUM or not shutil.which("openssl"), reason="there is no Chromium or openssl here")
@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ja", 390)])
def test_a_login_a_training_and_its_row_in_the_queue(opened, language, width):
    name = {"en": "Hanako", "ja": "太郎"}[language]
    with browsing.visiting(language, width=width) as visit:
        context = visit.page.context.browser.new_context(
            ignore_https_errors=True, locale=language, viewport={"width": width, "height": 900}
        )
        page = context.new_page()
        page.set_default_timeout(browsing.PATIENCE)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{opened.address}/{language}/queue")
        assert page.url.endswith(f"/{language}/enter")
        login(page, opened.address, language, name)
        assert name.lower() in page.inner_text("#head")
        page.evaluate(
            """async (language) => { for (let turn = 0; turn < 3; turn++) await fetch(
            `/lecture/${language}/${["C4", "C3", "C4"][turn]}/train`, {method: "POST", body: "{}",
            headers: {"Content-Type": "application/json"}}) }""",
            language,
        )
        page.goto(f"{opened.address}/{language}/queue")
        page.wait_for_selector("[data-lane=short] li [data-do=stop]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("[data-do=pause]").is_hidden()
        stops = page.locator("[data-lane=short] [data-do=stop]:visible")
        while count := stops.count():
            stops.last.click()
            waiting.until(lambda count=count: stops.count() < count)
        page.wait_for_selector("[data-lane=over] li")
        assert errors == []
        context.close()


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl here")
def test_the_server_of_a_room_speaks_tls_alone(opened):
    port = int(opened.address.rpartition(":")[2])
    reader = ssl.create_default_context()
    reader.check_hostname, reader.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, reader.wrap_socket(plain) as safe:
        assert safe.version() in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/")
