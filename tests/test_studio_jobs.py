"""The studio's queue: jobs are processes that outlive the server, and folders that say it all."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from souron.studio import jobs as module
from souron.studio.jobs import Job, Jobs
from souron.utils.messages import UserError

PATIENCE = 120  # seconds until something that should happen counts as missing

# a child that does as its words say: what a command does, without what it takes
CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

from souron.journal import Journal

verb, _json, events, *words = sys.argv[1:]
journal = Journal(Path(events.removeprefix("--events=")))
nothing = dict(fraction=0, seconds_left=None, text="", values={}, rows=[], picture=None)


def tell(phase, folder=None, **more):
    journal.tell(SimpleNamespace(**{**nothing, "phase": phase, "folder": folder, **more}))


def end(code, error=None):
    journal.end(code, error)
    sys.exit(code)


def note(what):
    with open("order.txt", "a") as file:
        file.write(f"{what} {words[-1]}\\n")


if words[:1] == ["stubborn"]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
tell("data", text="digits")
print("reading", verb, file=sys.stderr, flush=True)
if words[:1] == ["note"]:
    note("begin")
    time.sleep(0.2)
    note("end")
if words[:1] == ["die"]:
    os._exit(9)
if words[:1] == ["fail"]:
    end(3, {"code": "data", "found": "none", "expected": "some", "try": "data=digits"})
if words[:1] in (["hold"], ["stubborn"]):
    folder = next((word[7:] for word in words if word.startswith("folder=")), None)
    tell("train", folder, values={"step": 1.0})
    try:
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        end(130)
for step in (1.0, 1.0, 2.0):
    tell("train", "runs/x", fraction=step / 2, values={"step": step})
    time.sleep(0.15)
leads = os.getsid(0) == os.getpid()
print(json.dumps({"words": words, "language": os.environ["SOURON_LANG"], "leads": leads,
                  "given": sys.stdin.read(), "folder": os.getcwd()}))
end(0)
"""

# the real command, which after three slices of training waits for Ctrl-C
HELD = """
import os, signal, time
from souron import fitting, running
from souron.__main__ import hear_interrupts
from souron.cli import main

hear_interrupts()
running.KEEP_EVERY = 0
go, slices = fitting.Fit.go, []


def slow(self, seconds, asked_to_stop=lambda: False):
    slices.append(self)
    end = self.step + 3
    go(self, 1e9, lambda: asked_to_stop() or self.step >= end)
    while len(slices) > 3 and not asked_to_stop():
        time.sleep(0.05)


fitting.Fit.go = slow
main()
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Let jobs run ``CHILD``."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(script)))


@pytest.fixture
def opened(tmp_path):
    """Opens the jobs of one project, as a server does; all are closed and killed at the end."""
    servers = []

    def open_jobs():
        servers.append(Jobs(tmp_path / "runs"))
        return servers[-1]

    yield open_jobs
    for server in servers:
        server.close()
        for job in server.all():
            with suppress(psutil.NoSuchProcess):
                process = job.process()
                if process is not None:
                    process.kill()
                    until(lambda job=job: job.process() is None)


@pytest.fixture
def jobs(child, opened):
    return opened()


def until(what):
    limit = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)


def ended(job):
    until(lambda: job.state not in module.ALIVE and job.process() is None)
    return job.state


def holding(jobs, *words, queued=False):
    """A job that runs and trains until it is stopped."""
    job = jobs.start(["train", *(words or ("hold",))], "en", queued=queued)
    until(lambda: job.last.get("phase") == "train")
    return job


def damage(job, name, content):
    (job.place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def change(job, **about):
    module.write(job.place / "job.json", {**job._about, **about})


def test_a_job_says_what_happens_and_what_came_out(jobs, tmp_path):
    before = time.time()
    words = ["train", "a 'quoted' 日本語 name", "$(touch hacked); *", "data=x y"]
    job = jobs.start(words, "ja", queued=False)
    assert job.words == words and job.language == "ja"
    assert ended(job) == "done"
    assert before <= job.made <= job.begun <= time.time()
    assert job.result == {
        "words": words[1:], "language": "ja", "leads": True, "given": "", "folder": str(tmp_path),
    }  # fmt: skip
    assert not (tmp_path / "hacked").exists()
    assert [event["phase"] for event in job.events()] == ["data", "train", "train", "train"]
    assert [event["number"] for event in job.events(2)] == [2, 3]
    assert job.curve == [{"step": 1.0}, {"step": 2.0}]
    assert (job.last["fraction"], job.last["values"]) == (1.0, {"step": 2.0})
    assert job.folder == Path("runs/x")
    assert job.log == "reading train\n"
    assert job.trouble is None and job.picture is None
    assert {path.name for path in job.place.iterdir()} == {
        "job.json", "events.jsonl", "result.json", "log.txt",
    }  # fmt: skip


def test_jobs_wait_for_one_another_in_the_order_of_their_making(jobs, tmp_path):
    made = [jobs.start(["train", "note", str(number)], "en") for number in range(4)]
    assert [job.state for job in made] == ["waiting"] * 4
    assert [job.id for job in jobs.all()] == [job.id for job in reversed(made)]
    jobs.run()
    jobs.run()
    assert [ended(job) for job in made] == ["done"] * 4
    told = (tmp_path / "order.txt").read_text().splitlines()
    assert told == [f"{what} {number}" for number in range(4) for what in ("begin", "end")]


def test_two_servers_start_each_job_once(jobs, opened, tmp_path):
    others = [jobs, opened(), opened()]
    for each in others:
        each.run()
    made = [others[number % 3].start(["train", "note", str(number)], "en") for number in range(6)]
    assert [ended(job) for job in made] == ["done"] * 6
    told = (tmp_path / "order.txt").read_text().splitlines()
    assert told == [f"{what} {number}" for number in range(6) for what in ("begin", "end")]
    assert len({job.id for job in made}) == 6


def test_a_job_that_need_not_queue_starts_at_once(jobs):
    waiting = jobs.start(["train", "hold"], "en")
    job = jobs.start(["data", "digits"], "en", queued=False)
    assert ended(job) == "done"
    assert waiting.state == "waiting"


def test_waiting_jobs_survive_the_server(jobs, opened, tmp_path, monkeypatch):
    job = jobs.start(["train", "cnn"], "en")
    other = opened()
    assert other.get(job.id).state == "waiting"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    other.run()
    assert ended(job) == "done"
    assert job.result["folder"] == str(tmp_path)  # where its words were said
    assert job.folder == tmp_path / "runs/x"


def test_another_server_finds_what_runs_and_starts_nothing_beside_it(jobs, opened):
    jobs.run()
    job = holding(jobs, queued=True)
    jobs.close()
    other = opened()
    found = other.get(job.id)
    assert found is not job and found.state == "running"
    assert found.events() == job.events()
    next_one = other.start(["train", "cnn"], "en")
    for _look in range(3):
        other.advance()
    assert next_one.state == "waiting"
    found.stop()
    assert ended(found) == "stopped"
    other.advance()
    assert ended(next_one) == "done"


def test_a_training_outlives_the_server_that_is_killed(child, opened, tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from souron.studio import jobs\n"
        f"jobs.COMMAND = (sys.executable, {str(tmp_path / 'child.py')!r})\n"
        "mine = jobs.Jobs(Path('runs'))\n"
        "mine.run()\n"
        "print(mine.start(['train', 'hold'], 'en').id, flush=True)\n"
        "time.sleep(1000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with server:
        job = opened().get(server.stdout.readline().strip())
        until(lambda: job.last.get("phase") == "train")
        server.kill()
    assert job.state == "running"
    job.stop()
    assert ended(job) == "stopped"


def test_what_waits_can_be_stopped(jobs):
    job = jobs.start(["train", "cnn"], "en")
    job.stop()
    assert job.state == "stopped"
    jobs.advance()
    assert job.state == "stopped" and job.begun is None
    again = job.resume()
    assert (again.state, again.words) == ("waiting", ["train", "cnn"])


def test_only_a_second_stop_after_a_grace_ends_a_process_that_does_not_listen(jobs, monkeypatch):
    job = holding(jobs, "stubborn")
    monkeypatch.setattr(module, "GRACE", 1e9)
    job.stop()
    job.stop()
    assert job.state == "running"
    monkeypatch.setattr(module, "GRACE", 0.0)
    job.stop()
    assert ended(job) == "killed"
    job.stop()
    assert job.state == "killed"


def test_a_process_that_was_stopped_before_it_could_say_so_counts_as_stopped(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    change(job, stopped=time.time())
    assert ended(job) == "stopped"


def test_a_process_that_died_and_one_that_failed_say_why(jobs):
    dead = jobs.start(["train", "die"], "en", queued=False)
    assert ended(dead) == "killed"
    assert dead.trouble["code"] == "killed" and dead.trouble["found"]
    failed = jobs.start(["train", "fail"], "en", queued=False)
    assert ended(failed) == "failed"
    assert failed.trouble == {
        "code": "data", "found": "none", "expected": "some", "try": "data=digits",
    }  # fmt: skip


def test_a_process_that_cannot_be_started_is_a_failed_job(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMAND", (str(tmp_path / "no such program"),))
    job = jobs.start(["train", "cnn"], "en")
    jobs.advance()
    assert job.state == "failed"
    assert job.trouble["code"] == "start" and "no such program" in job.trouble["found"]


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_going_on_takes_up_the_folder_where_it_is_known(jobs, tmp_path, verb):
    folder = tmp_path / "runs" / "work"
    folder.mkdir(parents=True)
    (folder / "args.yaml").touch()
    words = [verb, "hold", "folder=runs/work", "seed=3", "workers=1"]
    job = jobs.start(words, "ja", queued=False)
    until(lambda: job.folder == Path("runs/work"))
    job.stop()
    assert ended(job) == "stopped"
    again = job.resume()
    assert again.words == [verb, "resume=runs/work", "workers=1"]
    assert (again.language, again.queued) == ("ja", False)
    assert ended(again) == "done"


def test_going_on_begins_again_where_nothing_was_kept(jobs, tmp_path):
    job = holding(jobs, "hold", "folder=runs/gone")
    job.stop()
    ended(job)
    assert job._words_to_go_on() == job.words
    job = jobs.start(["generate", "hold", "folder=."], "en", queued=False)
    (tmp_path / "args.yaml").touch()
    until(lambda: job.folder is not None)
    job.stop()
    ended(job)
    assert job._words_to_go_on() == job.words


def test_asked_twice_to_go_on_it_goes_on_once(jobs, opened):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    change(job, words=["train", "hold"])
    again = job.resume()
    assert opened().get(job.id).resume().id == again.id
    assert len(jobs.all()) == 2
    until(lambda: again.last.get("phase") == "train")
    again.stop()
    ended(again)
    assert job.resume().id not in (job.id, again.id)


def test_what_is_done_or_runs_does_not_go_on(jobs):
    done = jobs.start(["train", "cnn"], "en", queued=False)
    running = holding(jobs)
    ended(done)
    for job in (done, running, jobs.start(["train", "cnn"], "en")):
        with pytest.raises(UserError, match="nothing to go on with"):
            job.resume()


def test_a_job_is_forgotten_and_its_run_is_not(jobs, tmp_path):
    folder = tmp_path / "runs" / "work"
    folder.mkdir(parents=True)
    job = holding(jobs, "hold", "folder=runs/work")
    with pytest.raises(UserError, match="is running"):
        job.forget()
    job.stop()
    ended(job)
    job.forget()
    assert not job.place.exists() and folder.is_dir()
    assert jobs.all() == []
    with pytest.raises(UserError, match="no such job"):
        jobs.get(job.id)
    waiting = jobs.start(["train", "note", "1"], "en")
    waiting.forget()
    jobs.advance()
    assert not (tmp_path / "order.txt").exists()
    assert {path.name for path in jobs.folder.iterdir()} <= {"lock"}


HOSTILE = [
    "",
    ".",
    "..",
    "../jobs",
    "/etc",
    "a/b",
    "lock",
    "000001",
    "000001-ABCDEF01",
    5,
    None,
    "000001-0123456\0",
    "００００１-01234567",
    "000001-01234567\n",
    "x" * 10**6,
]


@pytest.mark.parametrize("id", HOSTILE, ids=lambda id: repr(id)[:20])
def test_an_id_that_is_no_plain_name_is_refused(jobs, id):
    jobs.start(["train", "cnn"], "en")
    with pytest.raises(UserError, match="no such job") as refused:
        jobs.get(id)
    assert len(str(refused.value)) < 300


def test_a_link_is_no_job(jobs, tmp_path):
    job = jobs.start(["train", "cnn"], "en")
    link = jobs.folder / "000009-0123abcd"
    link.symlink_to(job.place, target_is_directory=True)
    with pytest.raises(UserError, match="no such job"):
        jobs.get(link.name)
    assert [each.id for each in jobs.all()] == [job.id]


@pytest.mark.parametrize(
    "words",
    [
        [], ["list"], ["studio"], ["serve", "x"], ["--help"], ["rm", "-rf"], "train cnn",
        ["train", "--json=false"], ["train", "json=false"], ["train", "--events", "x"],
        ["train", "cnn", "events=/tmp/x"], ["train", "--lang", "ja"], ["train", "quiet=true"],
        ["train", "a\0b"], ["train", "x" * 200_000],
    ],
    ids=lambda words: " ".join(words)[:30],
)  # fmt: skip
def test_words_that_no_page_may_run_are_refused(jobs, words):
    with pytest.raises(UserError):
        jobs.start(words, "en", queued=False)
    assert jobs.all() == []


def test_words_behind_a_double_dash_are_files(jobs):
    words = ["predict", "run", "--", "json=x.png", "--lang"]
    assert jobs.start(words, "en").words == words


def test_an_unknown_language_is_refused(jobs):
    with pytest.raises(UserError, match="no such language"):
        jobs.start(["train", "cnn"], "fr")


def test_words_that_changed_on_the_disk_are_checked_again(jobs):
    job = jobs.start(["train", "cnn"], "en")
    change(job, words=["studio", "--share-lan"])
    jobs.advance()
    assert job.state == "failed" and job.begun is not None
    assert job.trouble["code"] == "command"


def everything(job):
    """All that a page asks of a job."""
    names = [name for name, kept in vars(Job).items() if isinstance(kept, property)]
    assert len(names) > 10
    return {**{name: getattr(job, name) for name in names}, "events": job.events()}


DAMAGED = [b"", b"\xff\xfe\0", b"null", b"[]", b"[" * 100_000, b"{" * 10, b'{"words": 5}',
           b'{"pid": -1, "made": "x", "words": [[1]]}', b'{"pid": 1e999, "made": NaN}',
           b'{"pid": 99999999999999999999, "created": null, "place": 7}',
           b'{"pid": true, "over": [], "trouble": 5, "language": {}}',
           b" " * (module.MOST_ABOUT + 1)]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content)[:30])
def test_a_damaged_job_is_shown_as_ended_and_can_be_forgotten(jobs, opened, content):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    damage(job, "job.json", content)
    (job.place / "events.jsonl").unlink()
    for each in (job, opened().get(job.id)):
        assert everything(each)["state"] in ("failed", "killed", "waiting")
    jobs.advance()
    assert not [each for each in jobs.all() if each.process()]
    job.forget()
    assert jobs.all() == []


def test_a_job_without_its_description_failed(jobs):
    job = jobs.start(["train", "cnn"], "en")
    (job.place / "job.json").unlink()
    assert job.state == "failed"
    assert job.trouble["code"] == "damaged" and "job.json" in job.trouble["found"]


STRANGE = [b"", b"\n\n\n", b"\0\0\0\n", b"null\n5\n[]\n", b"[" * 100_000 + b"\n", b'{"phase": 5}\n',
           b'{"phase": "train", "values": {"a": "b", "c": [1], "d": 1e999, "e": NaN}}\n',
           b'{"phase": "train", "rows": [1, {}], "folder": "a\\u0000b", "time": "now"}\n',
           b'{"phase": "train", "fraction": 1' + b"0" * 5000 + b"}\n", b'{"ended": "0"}\n',
           b'{"phase": "' + b"x" * 2**20 + b'"}\n', b'{"phase": "train", "values": 1}']  # fmt: skip


@pytest.mark.parametrize("content", STRANGE, ids=lambda content: repr(content)[:40])
def test_strange_events_are_passed_over(jobs, opened, content):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    damage(job, "events.jsonl", content + b'\n{"phase": "test", "time": 5}\n')
    told = everything(opened().get(job.id))
    assert told["state"] == "killed"
    assert (told["last"]["phase"], told["last"]["time"]) == ("test", 5)
    assert told["curve"] == [] and told["folder"] is None
    assert all(isinstance(event["phase"], str) for event in told["events"])


def test_what_is_no_file_is_not_waited_for(jobs, opened):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    for name in ("events.jsonl", "result.json", "log.txt"):
        (job.place / name).unlink()
        os.mkfifo(job.place / name)
    (job.place / "events.jsonl.png").mkdir()
    told = everything(opened().get(job.id))
    assert (told["state"], told["last"], told["result"], told["log"]) == ("killed", {}, None, "")
    assert told["picture"] is None


def test_half_a_line_is_read_when_it_is_whole_and_no_line_twice(jobs, monkeypatch):
    job = jobs.start(["train", "cnn"], "en")
    read, value = [], module.value

    def counted(line):
        read.append(line)
        return value(line)

    monkeypatch.setattr(module, "value", counted)
    damage(job, "events.jsonl", '{"phase": "data"}\n{"phase": "tr')
    assert [event["phase"] for event in job.events()] == ["data"]
    read.clear()
    assert job.last["phase"] == "data" and job.curve == []
    assert not [line for line in read if b"phase" in line]
    with (job.place / "events.jsonl").open("a") as file:
        file.write('ain"}\n')
    assert [event["number"] for event in job.events()] == [0, 1]
    assert [line for line in read if b"phase" in line] == [b'{"phase": "train"}\n']
    damage(job, "events.jsonl", '{"phase": "new"}\n')
    assert [event["phase"] for event in job.events()] == ["new"]


def test_of_gigabytes_only_the_end_is_read(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    ends = {"events.jsonl": '{"phase": "test"}\n{"ended": 130}\n', "result.json": '{"a": 1}\n',
            "log.txt": "last words\n"}  # fmt: skip
    for name, end in ends.items():
        with (job.place / name).open("wb") as file:
            file.truncate(3 * 2**30)  # takes no room
            file.seek(0, os.SEEK_END)
            file.write(b"\n" + end.encode())
    assert job.state == "stopped" and job.last["phase"] == "test"
    assert job.result == {"a": 1}
    assert len(job.log) == module.MOST_LOG and job.log.endswith("last words\n")


def test_of_many_events_the_last_are_at_hand_and_the_curve_is_bounded(jobs, monkeypatch):
    monkeypatch.setattr(module, "MOST_LOOKS", 100)
    job = jobs.start(["train", "cnn"], "en")
    rows = [{"phase": "train", "values": {"step": step}} for step in range(2000)]
    damage(job, "events.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [event["number"] for event in job.events()] == list(range(1500, 2000))
    assert [event["number"] for event in job.events(1998)] == [1998, 1999]
    assert job.curve == [{"step": step} for step in range(100)]


def test_several_values_are_given_line_by_line(jobs):
    job = jobs.start(["predict", "run", "x.png"], "en")
    damage(job, "result.json", '{"file": "a"}\n{"file": "b", "error": "c"}\n{"half')
    assert job.result == {"lines": [{"file": "a"}, {"file": "b", "error": "c"}]}
    damage(job, "result.json", "[1, 2]\n")
    assert job.result == {"lines": [[1, 2]]}
    damage(job, "result.json", '{"error": {"code": "data"}}\n')
    assert job.result is None


def test_a_number_that_another_process_got_since_is_not_the_job(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    change(job, pid=os.getpid(), created=psutil.Process().create_time() - 100)
    assert job.process() is None and job.state == "killed"


def test_a_clock_that_was_set_does_not_lose_a_job(jobs):
    job = holding(jobs)
    change(job, created=time.time() - 3600)
    assert job.state == "running"


def test_a_server_that_died_while_it_started_a_job_does_not_start_it_twice(jobs, tmp_path):
    job = jobs.start(["train", "note", "1"], "en")
    change(job, begun=time.time())
    next_one = jobs.start(["train", "note", "2"], "en")
    jobs.advance()
    assert job.state == "killed"
    ended(next_one)
    assert (tmp_path / "order.txt").read_text().split() == ["begin", "2", "end", "2"]


def test_what_became_of_a_job_is_noted_and_not_asked_again(jobs, opened):
    job = jobs.start(["train", "cnn"], "en", queued=False)
    ended(job)
    jobs.advance()
    (job.place / "events.jsonl").unlink()
    assert job.state == "done" and opened().get(job.id).state == "done"


def full(*given):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_does_not_end_the_queue(jobs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "write", full)
        with pytest.raises(UserError, match="No space left") as refused:
            jobs.start(["train", "cnn"], "en")
        assert (refused.value.code, refused.value.exit) == ("disk", 4)
    assert jobs.all() == []
    job = jobs.start(["train", "cnn"], "en")
    looks, advance = [], jobs.advance
    monkeypatch.setattr(jobs, "advance", lambda: (looks.append(1), advance()))
    monkeypatch.setattr(module, "PAUSE", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write", full)
        jobs.run()
        until(lambda: len(looks) > 3)
        assert job.state == "waiting"
    assert ended(job) == "done"


def test_a_process_that_cannot_be_noted_is_not_left_alone(jobs, monkeypatch):
    write, started = module.write, []

    def nearly_full(path, thing):
        if "pid" in thing:
            started.append(thing["pid"])
            full()
        write(path, thing)

    job = jobs.start(["train", "hold"], "en")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(module, "write", nearly_full)
        jobs.advance()
    until(lambda: module.wait_for_children() or not psutil.pid_exists(started[0]))
    jobs.advance()
    assert job.state == "killed"


def test_stopping_works_on_a_full_disk(jobs, monkeypatch):
    job = holding(jobs)
    monkeypatch.setattr(module, "write", full)
    with pytest.raises(UserError, match="No space left"):
        job.stop()
    assert ended(job) == "stopped"


def test_a_lock_that_another_holds_is_said(jobs, opened, monkeypatch):
    jobs.start(["train", "cnn"], "en")
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    code = (
        "import sys, filelock\n"
        f"with filelock.FileLock({str(jobs.folder / 'lock')!r}):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    held = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with held:
        assert held.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another studio"):
            jobs.start(["train", "cnn"], "en")
        with pytest.raises(TimeoutError):
            jobs.advance()
        held.stdin.close()
    assert jobs.start(["train", "cnn"], "en").state == "waiting"


def test_a_project_without_jobs_stays_as_it_is(opened, tmp_path):
    jobs = opened()
    jobs.run()
    jobs.advance()
    assert jobs.all() == [] and not (tmp_path / "runs").exists()


# the real command


def test_a_training_runs_from_words_to_result(opened, tmp_path):
    """Beside files that are named as modules are, which are none of souron's business."""
    (tmp_path / "random.py").write_text("raise SystemExit('mine')")
    jobs = opened()
    jobs.run()
    job = jobs.start(["train", "mlp_tiny", "data=digits", "budget=2ep"], "ja")
    assert ended(job) == "done", job.log
    assert job.folder == Path("runs/classify/mlp_tiny-digits")
    assert job.result["run"] == str(job.folder)
    assert job.last["phase"] == "done"
    assert [row["epoch"] for row in job.curve][-1] == 2
    assert "学習" in job.log
    assert (job.folder / "receipt.json").exists()


def test_trouble_of_the_real_command_is_the_jobs(opened):
    job = opened().start(["train", "mlp_tiny", "data=nowhere/"], "en", queued=False)
    assert ended(job) == "failed"
    assert "nowhere" in job.trouble["found"] and job.trouble["code"] and job.result is None


def test_a_forecast_is_a_job_as_well(opened):
    words = ["train", "mlp_tiny", "data=digits", "budget=2ep", "--forecast"]
    job = opened().start(words, "en", queued=False)
    assert ended(job) == "done"
    assert job.result["forecast"]["seconds"] > 0 and job.folder is None


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Switches between the real command and one that waits in the middle of its training."""
    script = tmp_path / "held.py"
    script.write_text(HELD)
    real = module.COMMAND

    def switch(on):
        monkeypatch.setattr(module, "COMMAND", (sys.executable, str(script)) if on else real)

    return switch


TRAINED = ["train", "mlp_tiny", "data=digits", "budget=2ep"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What the training measures that nobody interrupts."""
    place = tmp_path_factory.mktemp("unbroken")
    done = subprocess.run(
        [*module.COMMAND, *TRAINED, "--json", "--quiet"], cwd=place, capture_output=True, check=True
    )
    return json.loads(done.stdout)["measures"]


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_training_goes_on_to_the_same_measures(opened, held, unbroken, end):
    jobs = opened()
    held(True)
    job = jobs.start(TRAINED, "en", queued=False)
    until(lambda: job.folder and (job.folder / "weights" / "resume.safetensors").exists())
    if end == "stopped":
        job.stop()
    else:
        os.kill(job.process().pid, signal.SIGKILL)
    assert ended(job) == end, job.log
    assert not (job.folder / "receipt.json").exists()
    if end == "stopped":
        assert f"souron train resume={job.folder}" in job.log
    held(False)
    again = opened().get(job.id).resume()
    assert again.words == ["train", f"resume={job.folder}"]
    assert ended(again) == "done", again.log
    assert again.folder == job.folder
    assert again.result["measures"] == unbroken
    first = next(event for event in again.events() if event["phase"] == "train")
    assert first["fraction"] > 0  # it did not begin again


def test_a_comparison_is_stopped_and_goes_on(opened, held):
    words = ["compare", "mlp_tiny", "cnn_tiny", "data=digits", "budget=1ep", "seeds=1"]
    jobs = opened()
    held(True)
    job = jobs.start(words, "en", queued=False)
    folder = Path("runs/compare/digits-1ep")
    until(lambda: (folder / "rounds" / "0" / "mlp_tiny" / "resume.safetensors").exists())
    job.stop()
    assert ended(job) == "stopped", job.log
    assert job.folder == folder
    held(False)
    again = job.resume()
    assert again.words == ["compare", "resume=runs/compare/digits-1ep"]
    assert ended(again) == "done", again.log
    assert again.result["sentence"] and again.folder == job.folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ignored Ctrl-C to inherit")
@pytest.mark.parametrize("leads", [True, False])
def test_what_a_server_in_the_background_started_can_be_stopped(leads):
    """A shell lets its background processes ignore Ctrl-C, and children inherit that. What is no
    job keeps to it."""
    code = (
        "import runpy, signal, sys\n"
        "from souron.cli import main\n"
        "main.main = lambda: print(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)\n"
        "runpy.run_module('souron', run_name='__main__')\n"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], start_new_session=leads, capture_output=True, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.stdout, done.stderr) == (f"{leads}\n", "")
