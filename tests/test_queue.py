"""The queue: its order and pause are kept, shares are fair, the page changes in place, and notices come."""

import json
import sys
import threading
import time
from contextlib import suppress

import browsing
import psutil
import pytest
import waiting
from fastapi import FastAPI
from fastapi.testclient import TestClient
from test_studio_jobs import CHILD, ended

from souron.studio import layout, page_routes
from souron.studio.jobs import job_queue, schedule
from souron.studio.jobs.job_queue import Jobs
from souron.studio.jobs.schedule import Schedule
from souron.studio.pages import queue
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils import files
from souron.utils.messages import UserError


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """Makes Jobs, as servers do; what runs is killed at the end."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(job_queue, "COMMAND", (sys.executable, str(script)))
    made = []

    def make(name="runs", **more):
        made.append(Jobs(tmp_path / name, **more))
        return made[-1]

    yield make
    for jobs in made:
        jobs.close()
        for job in jobs.all():
            with suppress(psutil.NoSuchProcess):
                process = job.process()
                if process is not None:
                    process.kill()
                    waiting.until(lambda job=job: job.process() is None)


def long(jobs, *words):
    return jobs.start(["train", *(words or ("hold",))], "en")


def order(jobs, brief=False):
    return [job.words[-1] for job in jobs.schedule.waiting(brief)]


def test_the_order_can_be_changed_and_survives_the_server(servers):
    jobs = servers()
    a, _b, c = (long(jobs, "note", name) for name in "abc")
    assert order(jobs) == ["a", "b", "c"]
    assert jobs.move(c, -2) == 0 and order(jobs) == ["c", "a", "b"]
    assert jobs.move(a, 1) == 2 and jobs.move(a, 100) == 2 and order(jobs) == ["c", "b", "a"]
    again = servers()
    assert order(again) == ["c", "b", "a"]
    assert [job.words[-1] for job in again.ahead(again.get(a.id))] == ["c", "b"]
    long(again, "note", "d")
    assert order(again) == ["c", "b", "a", "d"]
    again.advance()
    waiting.until(lambda: again.get(c.id).state != "waiting")
    with pytest.raises(UserError, match="does not wait"):
        again.move(again.get(c.id), 1)


def test_two_tabs_may_reorder_at_once(servers):
    jobs = servers()
    waiting = [long(jobs, "note", str(number)) for number in range(6)]
    threads = [
        threading.Thread(target=lambda job=job, by=by: [jobs.move(job, by) for _time in range(20)])
        for job, by in zip(waiting[:4], (1, -1, 2, -2), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order(jobs)) == list("012345") and order(servers()) == order(jobs)


def test_a_pause_is_kept_and_nothing_starts_meanwhile(servers):
    jobs = servers()
    jobs.pause()
    job = long(jobs, "note", "a")
    assert not jobs.advance() and job.state == "waiting"  # nothing to poll for
    again = servers()
    assert again.paused and not again.advance()
    assert "the queue is paused" in queue.job_view.progress(again.get(job.id), "waiting")
    again.go_on()
    assert again.advance() and not servers().paused
    assert ended(again.get(job.id)) == "done"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"paused": "yes", "order": {"": 3}, "used": {"": [1]}}', b"[" * 100_000, None]
)
def test_a_damaged_file_costs_the_order_alone(servers, content):
    jobs = servers()
    a, b = long(jobs, "note", "a"), long(jobs, "note", "b")
    jobs.move(b, -1)
    path = jobs.schedule.path
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    again = servers()
    assert order(again) == ["a", "b"] and not again.paused
    if content is not None:
        again.move(again.get(b.id), -1)
        assert order(servers()) == ["b", "a"] and a.id


def test_a_change_that_cannot_be_kept_is_not_made(servers, monkeypatch):
    jobs = servers()
    _a, b = long(jobs, "note", "a"), long(jobs, "note", "b")

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "atomically", full)
    for change in (lambda: jobs.move(b, -1), jobs.pause):
        with pytest.raises(UserError):
            change()
    assert order(jobs) == ["a", "b"] and not jobs.paused


def test_short_ones_have_an_order_of_their_own(servers):
    jobs = servers()
    long(jobs, "hold")
    one, two = (jobs.start(["data", "note", name], "en") for name in "xy")
    jobs.move(two, -1)
    assert order(jobs, brief=True) == ["y", "x"] and jobs.ahead(one) == [two]


def shared(servers, *people):
    """The jobs of several people with one schedule."""
    first = servers(person="")
    return first, {name: servers(f"people/{name}", person=name, schedule=first.schedule) for name in people}


def test_the_next_job_is_one_of_whoever_has_used_least(servers):
    host, people = shared(servers, "anna", "ben")
    for name in ("a1", "a2", "a3"):
        long(people["anna"], "note", name)
    for name in ("b1", "b2"):
        long(people["ben"], "note", name)
    assert order(host) == ["a1", "b1", "a2", "b2", "a3"]
    host.schedule.count("anna", 130)
    assert order(host) == ["b1", "b2", "a1", "a2", "a3"]
    people["anna"].move(people["anna"].all()[0], -2)
    assert order(host) == ["b1", "b2", "a3", "a1", "a2"]  # only their own order
    again = Schedule(host.schedule.path.parent)
    again.members = host.schedule.members
    assert again.used("anna") > 100 and again.used("ben") == 0


def test_used_time_is_counted_when_a_job_ends_and_fades(servers, monkeypatch):
    jobs = servers()
    job = long(jobs, "note", "a")
    waiting.until(lambda: jobs.advance() is False)
    assert job.state == "done" and 0.2 <= job.took <= jobs.schedule.used("") + 0.1 < 60
    jobs.schedule.count("", 1000)
    now = time.time()
    monkeypatch.setattr(schedule.time, "time", lambda: now + schedule.HALF)
    assert 490 < jobs.schedule.used("") < 560


def test_a_running_job_counts_with_all_of_its_time(servers):
    host, people = shared(servers, "anna", "ben")
    running = long(people["anna"], "hold", "budget=300s")
    host.advance()
    waiting.until(lambda: running.state == "running")
    long(people["anna"], "note", "a")
    long(people["ben"], "note", "b")
    assert order(host) == ["b", "a"]
    assert [job.jobs.person for job in host.ahead(people["anna"].all()[0])] == ["anna", "ben"]


def test_times_come_from_the_budget_and_from_earlier_jobs(servers):
    jobs = servers()
    assert long(jobs, "cnn", "data=digits", "budget=2min").expected == 120
    assert jobs.start(["compare", "cnn", "mlp", "budget=1min", "seeds=3"], "en").expected == 360
    done = jobs.start(["data", "note", "a"], "en")
    assert done.expected is None
    waiting.until(lambda: jobs.advance() is not None and done.state == "done" and done.took is not None)
    assert jobs.start(["data", "note", "b"], "en").expected == pytest.approx(done.took)


def studio_of(jobs, tmp_path, language="en"):
    return Studio(tmp_path / "runs", Roots([tmp_path]), jobs, language)


@pytest.fixture
def client(servers, tmp_path):
    app, jobs = FastAPI(), servers()
    page_routes.add(app, lambda language: studio_of(jobs, tmp_path, language))
    found = TestClient(app)
    found.jobs = jobs
    return found


def do(client, name, language="en", **asked):
    return client.post(f"/do/{language}/queue/{name}", json=asked)


def test_the_page_lists_moves_stops_and_pauses(client):
    running = long(client.jobs, "hold", "budget=5min")
    client.jobs.advance()
    a, b = long(client.jobs, "cnn", "data=digits", "budget=1min"), long(client.jobs, "mlp", "data=digits")
    waiting.until(lambda: running.last.get("phase") == "train")
    now = do(client, "rows").json()
    assert [row["id"] for row in now["long"]] == [running.id, a.id, b.id] and now["short"] == []
    assert "takes about 1 min" in now["long"][1]["more"] and "starts in about" in now["long"][1]["more"]
    assert "its time is not known" in now["long"][2]["more"]
    assert not now["long"][0]["moves"] and now["long"][1]["down"] and not now["long"][1]["up"]
    assert now["long"][0]["stop"] == "Stop, keep the work" and now["long"][1]["stop"] == "Do not start it"
    moved = do(client, "move", id=b.id, by=-1).json()
    assert [row["id"] for row in moved["long"]][1:] == [b.id, a.id] and "place 1" in moved["told"]
    paused = do(client, "pause", paused=True).json()
    assert paused["paused"] and "when the queue goes on" in paused["long"][1]["more"] and client.jobs.paused
    assert not do(client, "pause", paused=False).json()["paused"]
    assert "stopped before it began" in do(client, "stop", id=b.id).json()["told"]
    over = do(client, "stop", "ja", id=running.id)
    assert over.status_code == 200
    assert ended(running) == "stopped"
    client.jobs.pause()
    client.jobs.advance()
    assert {row["id"] for row in do(client, "rows").json()["over"]} == {running.id, b.id}


@pytest.mark.parametrize("asked", [{}, {"id": 3}, {"id": ["a"]}, {"id": "../../x"}, {"id": None, "by": "x"}])
def test_what_is_no_job_is_refused(client, asked):
    for name in ("move", "stop"):
        answer = do(client, name, **asked)
        assert answer.status_code == 400 and "no such job" in answer.json()["detail"]
    assert do(client, "ended", ids=[asked.get("id")]).json()["over"] == []
    assert do(client, "ended", ids={"a": 1}).json()["alive"] == []


def test_others_see_that_a_job_waits_and_not_what_it_is_about(servers, tmp_path):
    host, people = shared(servers, "anna", "ben")
    job = long(people["anna"], "cnn", "data=/secret/patients")
    anna, ben, chief = (studio_of(each, tmp_path) for each in (people["anna"], people["ben"], host))
    (row,) = queue.rows(ben, {})["long"]
    assert row["name"] == "a training (anna)" and "secret" not in json.dumps(row)
    assert not row["moves"] and not row["stop"] and not row["link"]
    for change in (queue.move, queue.stop):
        with pytest.raises(UserError, match="no such job"):
            change(ben, {"id": job.id})
    for studio in (anna, ben):
        with pytest.raises(UserError, match="only whoever started"):
            queue.pause(studio, {"paused": True})
    assert queue.ended(ben, {"ids": [job.id]})["alive"] == [] != queue.ended(anna, {"ids": [job.id]})["alive"]
    assert "patients" in queue.rows(chief, {})["long"][0]["name"]
    assert "patients" in queue.rows(anna, {})["long"][0]["name"]
    queue.stop(chief, {"id": job.id})
    assert job.state == "stopped"
    assert queue.rows(ben, {})["over"] == [] and queue.rows(anna, {})["over"]


def test_a_started_job_is_named_to_the_page_for_its_notice(client, monkeypatch):
    def start(studio, asked):
        ids = [long(studio.jobs, "note", "a").id, studio.jobs.start(["train", "x", "--forecast"], "en").id]
        return {"ids": ids}

    monkeypatch.setitem(queue.ACTIONS, "start", start)
    guarded = TestClient(access.Guard(client.app, port=80, place=client.jobs.folder), base_url="http://127.0.0.1")
    own = {"origin": "http://127.0.0.1"}
    answer = guarded.post("/do/en/queue/start", json={}, headers=own)
    assert answer.headers[access.JOBS] == answer.json()["ids"][0]
    assert access.JOBS not in guarded.post("/do/en/queue/rows", json={}, headers=own).headers


def test_an_end_is_told_in_the_language_of_the_page(client):
    job = client.jobs.start(["data", "note", "a"], "en")
    client.jobs.advance()
    assert ended(job) == "done"
    told = do(client, "ended", "ja", ids=[job.id, "000001-00000000"]).json()
    assert [each["id"] for each in told["over"]] == [job.id] and told["alive"] == []
    assert told["over"][0]["text"].endswith(browsing.said("done", "ja"))
    assert told["over"][0]["link"] == f"/ja/data?job={job.id}"


def test_the_page_is_plain_and_among_the_results():
    assert access.find_route("/ja/queue", "GET").sort == "page"
    assert layout.place_of("queue").name == "results"


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_rows_change_in_place_keep_the_focus_and_end_with_a_notice(language, tmp_path):
    begin = """async ([language, ids]) => { for (const id of ids) await fetch(`/lecture/${language}/${id}/train`,
        {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}}) }"""
    with browsing.serving(tmp_path) as server, browsing.visiting(language, width=390) as visit:
        page, address = visit.page, f"{server.address}/{language}"
        page.goto(f"{address}/queue")
        page.wait_for_selector("[data-empty]:not([hidden]) a")
        page.click("[data-do=pause]")
        page.wait_for_selector("[data-paused]:not([hidden])")
        page.evaluate(begin, [language, ["C3", "C4"]])
        page.wait_for_selector("[data-lane=short] li:nth-child(2)")
        first = page.locator("[data-lane=short] li").first.get_attribute("data-job")
        second = page.locator("[data-lane=short] li").last
        moved, second = second.get_attribute("data-job"), second.element_handle()
        page.click(f"[data-job='{moved}'] [data-do=up]")
        page.wait_for_selector(f"[data-lane=short] li:first-child[data-job='{moved}']")
        for _poll in range(2):  # the first may have been asked before
            with page.expect_response("**/queue/rows"):
                pass
        page.evaluate("new Promise(done => setTimeout(done))")  # its answer is shown
        assert page.evaluate("row => row.isConnected && row.contains(document.activeElement)", second)
        assert page.inner_text("#queue > [role=status]").strip()
        page.click(f"[data-job='{moved}'] [data-do=up]", force=True)  # the first one goes nowhere
        page.click(f"[data-job='{first}'] [data-do=stop]")
        page.wait_for_selector(f"[data-lane=over] [data-job='{first}']")
        page.goto(f"{address}/anything")
        page.wait_for_selector("#notices[role=status] [data-notice=paused] a")
        page.goto(f"{address}/queue")
        page.click("[data-do=pause]")
        page.wait_for_selector(f"[data-lane=short] li.running[data-job='{moved}']")
        page.goto(f"{address}/anything")
        stop = """([language, id]) => fetch(`/do/${language}/queue/stop`, {method: "POST", body: JSON.stringify({id}),
            headers: {"Content-Type": "application/json"}})"""
        page.evaluate(stop, [language, moved])
        page.wait_for_selector(f"#notices [data-notice='{moved}'] a")
        page.clock.install()
        page.reload()
        page.wait_for_selector(f"#notices [data-notice='{moved}'] a")  # until it is closed
        assert page.get_attribute(f"#notices [data-notice='{moved}'] a", "href").startswith(f"/{language}/")
        while page.locator("#notices [data-notice] button").count():
            page.locator("#notices [data-notice] button").first.click()
        assert page.evaluate("localStorage.getItem('jobs')") == "[]"
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.run_for(60_000)
        assert page.evaluate("1") and asked == []  # nothing is asked while no job of this browser is alive
        assert visit.errors == [] and visit.outside == []
