"""The studio's worker: jobs that begin at once, and are what a process of their own would be."""

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
import waiting

from souron.studio.jobs import job_queue as module
from souron.studio.jobs import worker as worker_module
from souron.studio.jobs.job_queue import Jobs

TRAINED = ["train", "vae_tiny", "data=digits", "budget=1ep", "workers=2"]
LONG = ["train", "mlp_tiny", "data=digits", "budget=1h"]

# a worker whose children tell what they are, in place of doing what their words say
TELLING = """
import json, os, random, signal, sys, time
from souron.studio.jobs import worker


def tell(*given, **more):
    import numpy
    print(json.dumps({
        "words": sys.argv[1:], "folder": os.getcwd(), "language": os.environ.get("SOURON_LANG"),
        "told": os.environ.get("TOLD"), "leads": os.getsid(0) == os.getpid(),
        "files": sorted(map(int, os.listdir("/proc/self/fd")))[:-1], "given": sys.stdin.read(),
        "interrupted": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "children": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
        "drawn": [random.random(), numpy.random.rand()],
    }))
    sys.stderr.write("done")


worker.MODULES = "numpy.random",
worker.runpy.run_module = tell
worker.main()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the worker is for Linux alone")


def ended(job):
    waiting.until(lambda: job.state not in module.ALIVE and job.process() is None)
    return job.state


def gone(pid):
    waiting.until(lambda: not psutil.pid_exists(pid))


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the jobs of one project, with a worker; all are closed and killed at the end."""
    monkeypatch.setattr(worker_module, "PATIENCE", waiting.LIMIT)  # a busy machine is no reason to replace a worker
    servers = []

    def open_jobs():
        jobs = Jobs(tmp_path / "runs")
        servers.append(jobs)
        jobs.worker.start()
        waiting.until(lambda: jobs.worker.ready)
        return jobs

    yield open_jobs
    for jobs in servers:
        jobs.close()
        for job in jobs.all():
            with suppress(psutil.Error):
                if job.process():
                    job.process().kill()


@pytest.fixture
def telling(opened, monkeypatch):
    """Jobs whose worker is ``TELLING``."""
    monkeypatch.setattr(worker_module, "COMMAND", (sys.executable, "-c", TELLING))
    return opened()


@pytest.fixture
def jobs(opened, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    return opened()


def start(jobs, words, language="en"):
    return jobs.start(words, language, queued=False)


def told(job):
    """What the child of a telling worker says."""
    waiting.until(lambda: job.process() is None)
    return json.loads((job.place / "result.json").read_text())


def pid(jobs):
    return jobs.worker._process.pid


def training(jobs):
    """A child of the worker that trains until it is stopped."""
    job = start(jobs, LONG)
    assert psutil.Process(job.note["pid"]).ppid() == pid(jobs)
    waiting.until(lambda: job.last.get("phase") == "train")
    return job


def kept(job):
    return (job.folder / "weights" / "resume.safetensors").exists()


# what a child is


def test_a_child_is_what_a_process_of_its_own_would_be(telling, tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", "since the worker was started")
    place = tmp_path / "日本語 elsewhere"
    place.mkdir()
    words = ["train", "a 'quoted' 日本語 name", "$(touch hacked); *", "data=x\ny"]
    job = telling.add(words, "ja", False, place)
    drawn = [told(job).pop("drawn"), told(start(telling, ["train"])).pop("drawn")]
    assert {**told(job), "drawn": []} == {
        "words": ["train", "--json", f"--events={job.place / 'events.jsonl'}", *words[1:]],
        "folder": str(place),
        "language": "ja",
        "told": "since the worker was started",
        "leads": True,
        "files": [0, 1, 2],
        "given": "",
        "interrupted": True,
        "children": True,
        "drawn": [],
    }
    assert job.log == "done"
    assert all(one != other for one, other in zip(*drawn, strict=True))  # nothing random is shared
    assert os.environ.get("SOURON_LANG") == "en" and Path.cwd() == tmp_path


def test_nothing_is_left_of_children_that_ended(telling):
    for job in [start(telling, ["train"]) for _number in range(3)]:
        told(job)
        gone(job.note["pid"])  # no zombie either
    assert psutil.Process(pid(telling)).children() == []


def test_a_worker_without_work_sleeps_until_it_is_told(telling):
    told(start(telling, ["train"]))
    worker = psutil.Process(pid(telling))
    waiting.until(lambda: worker.status() == psutil.STATUS_SLEEPING)
    before = worker.num_ctx_switches().voluntary
    time.sleep(1)
    assert worker.num_ctx_switches().voluntary == before  # it did not wake up
    assert worker.status() == psutil.STATUS_SLEEPING


def test_a_child_begins_once_its_number_is_noted(telling, tmp_path, monkeypatch):
    streams = tmp_path / "out", tmp_path / "err"
    for path in streams:
        path.touch()

    def fork():
        return telling.worker.fork(["train"], tmp_path, dict(os.environ), *streams)

    refused = fork()
    assert psutil.pid_exists(refused)
    telling.worker.answer(go=False)
    gone(refused)
    orphan = fork()
    telling.worker.close()  # as where the server dies
    gone(orphan)
    assert streams[0].read_text() == ""


def test_a_child_that_cannot_be_noted_never_begins(telling, monkeypatch):
    from test_studio_jobs import full

    write, started = module.write, []

    def nearly_full(path, thing):
        if "pid" in thing:
            started.append(thing["pid"])
            full(path)
        write(path, thing)

    job = telling.start(["train"], "en")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="No space left"):
        patch.setattr(module, "write", nearly_full)
        telling.advance()
    gone(started[0])
    assert (job.place / "result.json").read_text() == "" and job.state == "killed"


# where there is no worker


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """The command of jobs that are no children of the worker."""
    script = tmp_path / "alone.py"
    script.write_text("import json; print(json.dumps({'alone': True}))")
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(script)))


def ran_alone(jobs):
    return told(start(jobs, ["train"])) == {"alone": True}


def test_a_dead_worker_is_replaced_a_few_times(telling, alone):
    for _number in range(worker_module.MOST_STARTS - 1):
        before = pid(telling)
        assert not ran_alone(telling)
        os.kill(before, signal.SIGKILL)
        assert ran_alone(telling)
        waiting.until(lambda: telling.worker.ready)
        assert pid(telling) != before and not psutil.pid_exists(before)
    os.kill(pid(telling), signal.SIGKILL)
    assert ran_alone(telling) and ran_alone(telling) and telling.worker._process is None


def test_a_worker_that_does_not_answer_is_replaced(telling, alone, monkeypatch):
    monkeypatch.setattr(worker_module, "PATIENCE", 0.1)
    os.kill(pid(telling), signal.SIGSTOP)
    assert ran_alone(telling)
    waiting.until(lambda: telling.worker.ready)
    monkeypatch.setattr(worker_module, "PATIENCE", waiting.LIMIT)
    assert not ran_alone(telling)


def test_a_worker_that_is_not_ready_is_not_waited_for(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "COMMAND", (sys.executable, "-c", "input()"))
    jobs = Jobs(tmp_path / "runs")
    assert ran_alone(jobs)  # it was not even started
    jobs.worker.start()
    before = pid(jobs)
    assert ran_alone(jobs) and pid(jobs) == before
    jobs.close()
    gone(before)


def test_a_worker_of_another_source_is_replaced(telling, alone, monkeypatch):
    before = pid(telling)
    monkeypatch.setattr(worker_module, "source", lambda: ["edited"])
    for _number in range(2 * worker_module.MOST_STARTS):  # as often as somebody edits it
        telling.worker._source = None
        assert ran_alone(telling)
    waiting.until(lambda: telling.worker.ready)
    assert not ran_alone(telling) and pid(telling) != before


def test_a_new_or_changed_file_of_souron_is_another_source(tmp_path, monkeypatch):
    file = tmp_path / "more" / "systems" / "x.py"
    file.parent.mkdir(parents=True)
    monkeypatch.setattr("souron.__path__", [str(tmp_path / "more")])
    seen = [worker_module.source()]
    for time_ns in (1, 2):
        file.touch()
        os.utime(file, ns=(time_ns, time_ns))
        seen.append(worker_module.source())
    assert seen[0] != seen[1] != seen[2]


def test_a_folder_that_is_gone_is_the_jobs_trouble(telling, tmp_path):
    job = telling.add(["train"], "en", False, tmp_path / "gone")
    assert job.state == "failed" and job.trouble["code"] == "start"
    assert not psutil.Process(pid(telling)).children()
    assert told(start(telling, ["train"]))["leads"]  # the worker has taken no harm


# the real command


def test_a_child_makes_the_same_files_with_two_threads(jobs, tmp_path):
    """Weights and pictures to the bit, as a process of its own."""
    made = []
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        for words in (TRAINED, ["generate", "runs/generate/vae_tiny-digits", "n=4", "seed=3"]):
            job = jobs.add(words, "en", False, place)
            assert (job._child is None) is (number == 0)
            assert ended(job) == "done", job.log
        run = place / "runs" / "generate" / "vae_tiny-digits"
        files = [*(run / "weights").iterdir(), *run.glob("pictures/*/*.png"), run / "split.csv"]
        assert len(files) > 6
        made.append({str(file.relative_to(run)): file.read_bytes() for file in files})
        jobs.worker.close()
    assert made[0].keys() == made[1].keys()
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


def test_what_worker_and_server_leave_behind_is_found_and_stopped(opened, tmp_path):
    """After kill -9 of the server; the worker ends by itself."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from souron.studio.jobs.job_queue import Jobs\n"
        "jobs = Jobs(Path('runs'))\n"
        "jobs.worker.start()\n"
        "while not jobs.worker.ready: time.sleep(0.05)\n"
        f"job = jobs.start({LONG!r}, 'ja', queued=False)\n"
        "print(job.id, jobs.worker._process.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with server:
        id, worker = server.stdout.readline().split()
        server.kill()
    waiting.until(lambda: not waiting.alive(int(worker)))
    job = Jobs(tmp_path / "runs").get(id)
    waiting.until(lambda: job.last.get("phase") == "train")
    assert job.state == "running" and os.getsid(job.note["pid"]) == job.note["pid"]
    job.note["created"] -= 3600  # the clock was set
    assert job.state == "running"
    job.stop()
    assert ended(job) == "stopped" and kept(job) and "学習" in job.log
    assert job._words_to_go_on() == ["train", f"resume={job.folder}"]


def test_a_child_outlives_the_worker_and_can_be_stopped(jobs):
    job = training(jobs)
    os.kill(pid(jobs), signal.SIGKILL)
    jobs.worker.close()
    time.sleep(0.5)
    assert job.state == "running"
    job.stop()
    assert ended(job) == "stopped" and kept(job)


def test_a_child_that_is_killed_is_noticed(jobs):
    job = training(jobs)
    os.kill(job.note["pid"], signal.SIGKILL)
    assert ended(job) == "killed" and job.trouble["code"] == "killed"
    gone(job.note["pid"])
    estimate = start(jobs, [*LONG, "--forecast"])
    estimate.drop()
    assert not estimate.place.exists()
    gone(estimate.note["pid"])
