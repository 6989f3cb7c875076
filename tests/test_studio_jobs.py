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
from types import SimpleNamespace

import psutil
import pytest
import waiting

from souron.studio import app
from souron.studio.jobs import job_queue as module
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import Job, Jobs
from souron.utils import files
from souron.utils.messages import UserError, use_language

# a child that does as its words say: what a command does, without what it takes
CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

from souron.runs.journal import Journal

verb, _json, events, *words = sys.argv[1:]
journal = Journal(Path(events.removeprefix("--events=")))
nothing = dict(fraction=0, seconds_left=None, text="", values={}, rows=[], picture=None,
               note="")


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
if words[:1] == ["find"]:
    print(json.dumps({"findings": 5}))
    end(3)
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
from souron.runs import fit
from souron.training import trainer
from souron.__main__ import hear_interrupts
from souron.cli.main import main

hear_interrupts()
fit.KEEP_EVERY = 0
go, slices = trainer.Trainer.go, []


def slow(self, seconds, asked_to_stop=lambda: False):
    slices.append(self)
    end = self.step + 3
    go(self, 1e9, lambda: asked_to_stop() or self.step >= end)
    while len(slices) > 3 and not asked_to_stop():
        time.sleep(0.05)


trainer.Trainer.go = slow
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
                    waiting.until(lambda job=job: job.process() is None)


@pytest.fixture
def jobs(child, opened):
    return opened()


def ended(job):
    waiting.until(lambda: job.state not in module.ALIVE and job.process() is None)
    return job.state


def holding(jobs, *words, queued=False):
    """A job that runs and trains until it is stopped."""
    job = jobs.start(["train", *(words or ("hold",))], "en", queued=queued)
    waiting.until(lambda: job.last.get("phase") == "train")
    return job


def damage(job, name, content):
    (job.place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def change(job, **more):
    job._note(**more)


def test_a_job_says_what_happens_and_what_came_out(jobs, tmp_path):
    before = time.time()
    words = ["train", "a 'quoted' 日本語 name", "$(touch hacked); *", "data=x y"]
    job = jobs.start(words, "ja", queued=False)
    assert job.words == words and job.language == "ja"
    assert ended(job) == "done"
    assert before <= job.made <= job.begun <= time.time()
    assert job.result == {"words": words[1:], "language": "ja", "leads": True, "given": "", "folder": str(tmp_path)}
    assert not (tmp_path / "hacked").exists()
    assert job.curve == [{"step": 1.0}, {"step": 2.0}]
    assert (job.last["fraction"], job.last["values"]) == (1.0, {"step": 2.0})
    assert job.folder == Path("runs/x")
    assert job.log == "reading train\n"
    assert job.trouble is None and job.image is None
    assert {path.name for path in job.place.iterdir()} == {"job.json", "events.jsonl", "result.json", "log.txt"}


def test_jobs_wait_for_one_another_in_the_order_of_their_making(jobs, tmp_path):
    made = [jobs.start(["train", "note", str(number)], "en") for number in range(4)]
    assert [job.state for job in made] == ["waiting"] * 4
    assert [job.id for job in jobs.all()] == [job.id for job in reversed(made)]
    jobs.run()
    jobs.run()
    assert [ended(job) for job in made] == ["done"] * 4
    told = (tmp_path / "order.txt").read_text().splitlines()
    assert told == [f"{what} {number}" for number in range(4) for what in ("begin", "end")]


def test_a_job_of_seconds_does_not_wait_behind_one_of_minutes(jobs):
    jobs.run()
    long = holding(jobs, "hold", "budget=20min", queued=True)
    second = jobs.start(["compare", "mlp", "cnn", "budget=10s"], "en")
    brief = [jobs.start(["predict", "cnn", "a.png"], "en"), jobs.start(["train", "cnn", "budget=10s"], "en")]
    assert [ended(job) for job in brief] == ["done", "done"]
    assert (long.state, second.state) == ("running", "waiting")
    assert jobs.ahead(second) == [long] and jobs.ahead(brief[1]) == []
    told = job_view.progress(second, "waiting")
    assert "behind: train hold" in told
    assert "behind" not in job_view.progress(long, "running")
    for seconds, said in ((None, ""), (0.0, ""), (0.4, ""), (3, "3.0 s")):
        assert job_view.time_left(SimpleNamespace(seconds_left=seconds)) == said


def test_one_server_at_a_time_works_on_a_project(tmp_path):
    """Until it ends, also by kill -9."""
    code = (
        "import time; from pathlib import Path\n"
        "from souron.studio.jobs.job_queue import only_server\n"
        "with only_server(Path('runs')):\n    print('held', flush=True); time.sleep(1000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with server:
        assert server.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another studio"), module.only_server(Path("runs")):
            pass
        with module.only_server(Path("other")):
            pass
        server.kill()
    with module.only_server(Path("runs")), module.only_server(Path("other")):
        pass


def test_waiting_jobs_survive_the_server(jobs, opened, tmp_path, monkeypatch):
    job = jobs.start(["train", "cnn"], "en")
    other = opened()
    assert other.get(job.id).state == "waiting"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    other.run()
    job = other.get(job.id)
    assert ended(job) == "done"
    assert job.result["folder"] == str(tmp_path)  # where its words were said
    assert job.folder == tmp_path / "runs/x"


def test_another_server_finds_what_runs_and_starts_nothing_beside_it(jobs, opened):
    jobs.run()
    job = holding(jobs, queued=True)
    jobs.close()
    other = opened()
    found = other.get(job.id)
    assert found is not job and found.state == "running" and found.last == job.last
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
        "from souron.studio.jobs import job_queue as jobs\n"
        f"jobs.COMMAND = (sys.executable, {str(tmp_path / 'child.py')!r})\n"
        "mine = jobs.Jobs(Path('runs'))\n"
        "print(mine.start(['train', 'hold'], 'en', queued=False).id, flush=True)\n"
        "time.sleep(1000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with server:
        id = server.stdout.readline().strip()
        server.kill()
    job = opened().get(id)
    waiting.until(lambda: job.last.get("phase") == "train")
    assert job.state == "running"
    job.stop()
    assert ended(job) == "stopped"


def test_what_waits_can_be_stopped(jobs):
    job = jobs.start(["train", "cnn"], "en")
    job.stop()
    assert job.state == "stopped"
    jobs.advance()
    assert job.state == "stopped" and job.begun is None
    assert "stopped before it began" in job_view.progress(job, job.state)
    assert module.state_name(job, job.state) == "stopped before it began"
    again = job.resume()
    assert (again.state, again.words) == ("waiting", ["train", "cnn"])


def test_what_a_job_says_is_told_in_the_language_of_the_page(jobs):
    job = jobs.start(["train", "cnn"], "en")
    told = {"phase": "report", "text": "writing", "translated": {"ja": {"text": "作成中"}}}
    ended = {"ended": 3, "error": {"code": "x", "found": "no file"}, "translated": {"ja": {"found": "ありません"}}}
    (job.place / "events.jsonl").write_text(f"{json.dumps(told)}\n{json.dumps(ended)}\n")
    for language, text, found in (("en", "writing", "no file"), ("ja", "作成中", "ありません")):
        with use_language(language):
            assert job.last["text"] == text and job.trouble["found"] == found


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


def test_a_process_that_died_and_one_that_failed_say_why(jobs):
    dead = jobs.start(["train", "die"], "en", queued=False)
    assert ended(dead) == "killed"
    assert dead.trouble["code"] == "killed" and dead.trouble["found"]
    failed = jobs.start(["train", "fail"], "en", queued=False)
    assert ended(failed) == "failed"
    assert failed.trouble == {"code": "data", "found": "none", "expected": "some", "try": "data=digits"}


def test_what_a_check_found_is_no_failure(jobs):
    """Although its exit code says that it is grave."""
    job = jobs.start(["data", "find"], "en", queued=False)
    assert ended(job) == "done" and job.result == {"findings": 5}


def test_an_estimate_leaves_no_trace(jobs, monkeypatch):
    job = holding(jobs, "hold", "--forecast")
    job.drop()
    assert jobs.all() == [] and not job.place.exists() and job.process() is None
    forgotten = holding(jobs, "hold", "--forecast")  # the page was closed meanwhile
    jobs.advance()
    assert jobs.all() == [forgotten]
    monkeypatch.setattr(module, "LONGEST_ESTIMATE", 0.0)
    jobs.advance()
    assert jobs.all() == [] and forgotten.process() is None


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
    waiting.until(lambda: job.folder == Path("runs/work"))
    job.stop()
    assert ended(job) == "stopped"
    again = job.resume()
    assert again.words == [verb, "resume=runs/work", "workers=1"] and again.meant == words
    assert (again.language, again.queued) == ("ja", False)
    assert ended(again) == "done"


def test_going_on_begins_again_where_nothing_was_kept(jobs, tmp_path):
    job = holding(jobs, "hold", "folder=runs/gone")
    job.stop()
    ended(job)
    assert job._words_to_go_on() == job.words
    job = jobs.start(["generate", "hold", "folder=."], "en", queued=False)
    (tmp_path / "args.yaml").touch()
    waiting.until(lambda: job.folder is not None)
    job.stop()
    ended(job)
    assert job._words_to_go_on() == job.words


def test_asked_twice_to_go_on_it_goes_on_once(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    change(job, words=["train", "hold"])
    again = job.resume()
    assert job.resume().id == again.id
    assert len(jobs.all()) == 2
    waiting.until(lambda: again.last.get("phase") == "train")
    again.stop()
    ended(again)
    assert job.resume().id not in (job.id, again.id)


def test_what_is_done_or_runs_does_not_go_on(jobs):
    done = jobs.start(["train", "cnn"], "en", queued=False)
    running = holding(jobs)
    ended(done)
    for job in (done, running, jobs.start(["train", "cnn"], "en")):
        with pytest.raises(UserError, match="nothing to resume"):
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
    assert list(jobs.folder.iterdir()) == []


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


def test_a_link_is_no_job(jobs, opened):
    job = jobs.start(["train", "cnn"], "en")
    link = jobs.folder / "000009-0123abcd"
    link.symlink_to(job.place, target_is_directory=True)
    assert [each.id for each in opened().all()] == [job.id]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["list"],
        ["studio"],
        ["serve", "x"],
        ["--help"],
        ["rm", "-rf"],
        "train cnn",
        ["train", "--json=false"],
        ["train", "json=false"],
        ["train", "--events", "x"],
        ["train", "cnn", "events=/tmp/x"],
        ["train", "--lang", "ja"],
        ["train", "quiet=true"],
        ["train", "a\0b"],
        ["train", "x" * 200_000],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_words_that_no_page_may_run_are_refused(jobs, words):
    with pytest.raises(UserError):
        jobs.start(words, "en", queued=False)
    assert jobs.all() == []


def test_words_behind_a_double_dash_are_files(jobs):
    words = ["predict", "run", "--", "json=x.png", "--lang"]
    assert jobs.start(words, "en").words == words


def test_words_that_changed_on_the_disk_are_checked_again(jobs, opened):
    job = jobs.start(["train", "cnn"], "en")
    change(job, words=["studio", "--share-lan"])
    other = opened()
    other.advance()
    [found] = other.all()
    assert found.state == "failed" and found.trouble["code"] == "command"


def properties(job):
    """All that a page reads of a job."""
    names = [name for name, value in vars(Job).items() if isinstance(value, property)]
    assert len(names) > 10
    return {name: getattr(job, name) for name in names}


DAMAGED = [
    b"",
    b"\xff\xfe\0",
    b"null",
    b"[]",
    b"[" * 100_000,
    b"{" * 10,
    b'{"words": 5}',
    b'{"pid": -1, "made": "x", "words": [[1]]}',
    b'{"pid": 1e999, "made": NaN}',
]


@pytest.mark.parametrize("content", [None, *DAMAGED], ids=lambda content: repr(content)[:30])
def test_a_damaged_job_has_failed_and_can_be_forgotten(jobs, opened, content):
    job = jobs.start(["train", "cnn"], "en")
    damage(job, "job.json", content or b"")
    if content is None:
        (job.place / "job.json").unlink()
    other = opened()
    [found] = other.all()
    other.advance()
    assert properties(found)["state"] == "failed" and found.trouble["code"] == "damaged"
    found.forget()
    assert opened().all() == []


@pytest.mark.parametrize("pid", [-1, 0, 10**30, "1", None, True])
def test_a_strange_process_number_is_no_process(jobs, opened, pid):
    job = jobs.start(["train", "cnn"], "en")
    change(job, begun=1.0, pid=pid, created=None)
    assert opened().get(job.id).state == "killed"


def test_strange_lines_of_events_are_passed_over(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    lines = b'\n\0\nnull\n5\n[]\n{"phase": "tr\n{"phase": "test", "time": 5}\n{"phase'
    damage(job, "events.jsonl", lines)
    assert opened_again(job).last == {"phase": "test", "time": 5}


def opened_again(job):
    return Jobs(job.jobs.folder.parent.parent).get(job.id)


def test_half_a_line_is_read_when_it_is_whole_and_no_line_twice(jobs, monkeypatch):
    job = jobs.start(["train", "cnn"], "en")
    damage(job, "events.jsonl", '{"phase": "data"}\n{"phase": "tr')
    assert job.last["phase"] == "data"
    read, take = [], module.Events._take
    monkeypatch.setattr(module.Events, "_take", lambda self, x: (read.append(x), take(self, x)))
    assert job.last["phase"] == "data" and read == []
    with (job.place / "events.jsonl").open("a") as file:
        file.write('ain"}\n')
    assert job.last["phase"] == "train" and read == [b'{"phase": "train"}\n']


def test_of_gigabytes_only_the_end_is_read(jobs):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    ends = {"events.jsonl": '{"phase": "test"}\n{"ended": 130}\n', "log.txt": "last words\n"}
    for name, end in ends.items():
        with (job.place / name).open("wb") as file:
            file.truncate(3 * 2**30)  # takes no room
            file.seek(0, os.SEEK_END)
            file.write(b"\n" + end.encode())
    assert job.state == "stopped" and job.last["phase"] == "test"
    assert len(job.log) == module.MOST_LOG and job.log.endswith("last words\n")


def test_what_is_no_object_is_no_result(jobs):
    job = jobs.start(["predict", "run", "x.png"], "en")
    for text in ('{"file": "a"}\n{"file": "b"}\n', "[1, 2]\n", '{"error": {"code": "data"}}\n', "{"):
        damage(job, "result.json", text)
        assert job.result is None
    damage(job, "result.json", '{"a": 1}\n')
    assert job.result == {"a": 1}


def test_a_number_that_another_process_got_since_is_not_the_job(jobs, opened):
    job = jobs.start(["train", "die"], "en", queued=False)
    ended(job)
    change(job, pid=os.getpid(), created=psutil.Process().create_time() - 100)
    other = opened().get(job.id)
    assert other.process() is None and other.state == "killed"


def test_a_clock_that_was_set_does_not_lose_a_job(jobs, opened):
    job = holding(jobs)
    change(job, created=time.time() - 3600)
    assert opened().get(job.id).state == "running"


def test_a_server_that_died_while_it_started_a_job_does_not_start_it_twice(jobs, opened, tmp_path):
    job = jobs.start(["train", "note", "1"], "en")
    change(job, begun=time.time())
    jobs.start(["train", "note", "2"], "en")
    other = opened()
    other.advance()
    assert other.get(job.id).state == "killed"
    ended(other.all()[0])
    assert (tmp_path / "order.txt").read_text().split() == ["begin", "2", "end", "2"]


def test_what_became_of_a_job_is_noted_and_not_asked_again(jobs, opened):
    job = jobs.start(["train", "cnn"], "en", queued=False)
    ended(job)
    jobs.advance()
    (job.place / "events.jsonl").unlink()
    assert job.state == "done" and opened().get(job.id).state == "done"


def full(path, *_given):
    raise files.cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))


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
        waiting.until(lambda: len(looks) > 3)
        assert job.state == "waiting"
    assert ended(job) == "done"


def test_a_process_that_cannot_be_noted_is_not_left_alone(jobs, monkeypatch):
    write, started = module.write, []

    def nearly_full(path, thing):
        if "pid" in thing:
            started.append(thing["pid"])
            full(path)
        write(path, thing)

    job = jobs.start(["train", "hold"], "en")
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr(module, "write", nearly_full)
        jobs.advance()
    waiting.until(lambda: not psutil.pid_exists(started[0]))
    jobs.advance()
    assert job.state == "killed"


def test_stopping_works_on_a_full_disk(jobs, monkeypatch):
    job = holding(jobs)
    monkeypatch.setattr(module, "write", full)
    with pytest.raises(UserError, match="No space left"):
        job.stop()
    assert ended(job) == "stopped"


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
    done = subprocess.run([*module.COMMAND, *TRAINED, "--json", "--quiet"], cwd=place, capture_output=True, check=True)
    return json.loads(done.stdout)["measures"]


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_training_goes_on_to_the_same_measures(opened, held, unbroken, end):
    jobs = opened()
    held(True)
    job = jobs.start(TRAINED, "en", queued=False)
    waiting.until(lambda: job.folder and (job.folder / "weights" / "resume.safetensors").exists())
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
    events = map(json.loads, (again.place / "events.jsonl").read_text().splitlines())
    first = next(event for event in events if event.get("phase") == "train")
    assert first["fraction"] > 0  # it did not begin again


def test_a_comparison_is_stopped_and_goes_on(opened, held):
    words = ["compare", "mlp_tiny", "cnn_tiny", "data=digits", "budget=1ep", "seeds=1"]
    jobs = opened()
    held(True)
    job = jobs.start(words, "en", queued=False)
    folder = Path("runs/compare/digits-1ep")
    waiting.until(lambda: (folder / "rounds" / "0" / "mlp_tiny" / "resume.safetensors").exists())
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
        done = subprocess.run([sys.executable, "-c", code], start_new_session=leads, capture_output=True, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.stdout, done.stderr) == (f"{leads}\n", "")


def test_a_studio_that_ends_while_it_gets_ready_says_nothing_of_it(monkeypatch):
    def start():
        raise RuntimeError("can't register atexit after shutdown")

    jobs = SimpleNamespace(worker=SimpleNamespace(start=start))
    with pytest.raises(RuntimeError):
        app.warm(jobs)
    monkeypatch.setattr(app.threading, "main_thread", lambda: SimpleNamespace(is_alive=lambda: False))
    app.warm(jobs)
