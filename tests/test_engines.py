"""Each engine does what a long computation needs of it, with real schedulers and workers."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import engine_parts
import psutil
import pytest
import waiting

from souron.engines import engine
from souron.utils.messages import UserError

HERE = Path(__file__).parent
ENGINES = ["processes", "dask", "slurm"]


def gathered(on, function, parts):
    return engine.gather(on, function, parts.items())


def environment():
    return os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "OMP_NUM_THREADS": "1"}


def ended(process):
    for child in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def started_of_dask(kind, folder):
    """A scheduler, or a one-thread worker of the folder's scheduler, on the loopback interface."""
    ways = {"scheduler": ["--port", "0"], "worker": ["--nthreads", "1", "--resources", "machine=1"]}
    words = [sys.executable, "-m", "dask", kind, *ways[kind], "--host", "127.0.0.1"]
    words += ["--scheduler-file", str(folder / "scheduler.json"), "--dashboard-address", "127.0.0.1:0"]
    return subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def cluster_of_dask(folder, workers=2):
    """A scheduler and its workers: its address and the processes."""
    file, begun = folder / "scheduler.json", []
    try:
        begun.append(started_of_dask("scheduler", folder))
        waiting.until(lambda: address_in(file), running(begun[0]))
        begun += [started_of_dask("worker", folder) for _worker in range(workers)]
        address = address_in(file)
        if workers:
            from distributed import Client

            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=waiting.LIMIT)
        yield address, begun
    finally:
        for process in begun:
            if process.poll() is None:
                ended(process)


def address_in(file):
    """The address that a scheduler wrote; empty as long as the file is not written to its end."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text())["address"].removeprefix("tcp://")
    return ""


def running(process):
    return lambda: process.poll() is None


def listening(processes):
    """The addresses on which processes and those that they started accept connections."""
    everyone = [psutil.Process(one.pid) for one in processes]
    everyone += [child for one in everyone for child in one.children(recursive=True)]
    sockets = [socket for one in everyone for socket in one.net_connections() if socket.status == "LISTEN"]
    return {socket.laddr.ip.removeprefix("::ffff:") for socket in sockets}


@pytest.fixture(scope="module", params=ENGINES)
def on(request, tmp_path_factory):
    pytest.importorskip(f"souron.engines.{request.param}")
    if request.param == "dask":
        with cluster_of_dask(tmp_path_factory.mktemp("dask")) as (address, _processes):
            yield f"dask://{address}"
    else:
        yield {"processes": "processes:2", "slurm": "slurm:local"}[request.param]


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")


def test_results_belong_to_their_parts(on):
    found = list(gathered(on, engine_parts.double, {key: (key,) for key in range(6)}))
    assert sorted(found) == [(key, 2 * key) for key in range(6)]


def test_a_late_result_holds_up_no_other(on, calls):
    parts = {key: (key, str(calls)) for key in range(4)}
    keys = []
    for key, _result in gathered(on, engine_parts.slow_first, parts):
        keys.append(key)
        (calls / "received").touch()
    assert sorted(keys) == [0, 1, 2, 3] and keys[0] != 0


def test_equal_arguments_are_different_parts(on, calls):
    found = dict(gathered(on, engine_parts.counted, dict.fromkeys("abc", (str(calls),))))
    assert len(set(found.values())) == 3 == len(list(calls.iterdir()))


def test_an_error_comes_home_as_it_was_and_ends_all(on):
    parts = {key: (key,) for key in range(40)}
    with pytest.raises(UserError) as trouble:
        list(gathered(on, engine_parts.refuse, parts))
    found = trouble.value
    assert (found.code, found.found, found.fix, found.exit) == ("worker refused", "no room", "souron doctor", 5)


def test_an_error_that_cannot_travel_is_told(on):
    with pytest.raises(RuntimeError, match="1 and 2"):
        list(gathered(on, engine_parts.odd, {0: ()}))


def test_a_part_whose_worker_is_lost_is_done_elsewhere(on, tmp_path):
    parts = {key: (str(tmp_path / key),) for key in ("a", "b")}
    assert dict(gathered(on, engine_parts.dies_once, parts)) == {"a": "alive", "b": "alive"}


def test_a_part_that_ends_each_worker_is_given_up(on, calls):
    with pytest.raises(UserError) as trouble:
        list(gathered(on, engine_parts.dies, {0: (str(calls),)}))
    assert trouble.value.code == "engine"
    if not on.startswith("dask"):  # which tries each part some times itself
        assert len(list(calls.iterdir())) == engine.ATTEMPTS


def test_many_megabytes_travel(on):
    content = os.urandom(8_000_000)
    assert dict(gathered(on, engine_parts.large, {0: (content,)}))[0] == content[::-1]


def jobs_of_submitit():
    """The processes that a local queue of submitit has started and that are still there."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "submitit" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_closing_cancels_what_waits(on, calls):
    going = gathered(on, engine_parts.held, {key: (key, str(calls)) for key in range(30)})
    next(going)
    going.close()
    if on.startswith("slurm"):  # whose jobs are told to end
        waiting.until(lambda: not jobs_of_submitit())
    (calls / "over").touch()
    assert dict(gathered(on, engine_parts.double, {0: (1,)})) == {0: 2}, "which waits for all that was not cancelled"
    assert len(list(calls.glob("ended-*"))) < 10, "what two workers had begun before they heard of the end"


def test_when_the_caller_is_killed_its_work_ends(on, calls, tmp_path):
    code = (
        "from souron.engines import engine; import engine_parts\n"
        f"list(engine.gather({on!r}, engine_parts.lasting, [(0, ({str(calls)!r},))]))"
    )
    script = tmp_path / "caller.py"
    script.write_text("if __name__ == '__main__':\n    " + code.replace("\n", "\n    "))
    caller = subprocess.Popen([sys.executable, str(script)], env=environment(), cwd=tmp_path)
    waiting.until(lambda: list(calls.iterdir()), running(caller))
    caller.kill()
    caller.wait()
    try:
        if on.startswith("processes"):  # the others' workers are not the caller's
            [number] = (int(file.name) for file in calls.iterdir())
            waiting.until(lambda: not psutil.pid_exists(number))
    finally:
        (calls / "over").touch()  # a worker that is not the caller's would be at it for long
    assert dict(gathered(on, engine_parts.double, {0: (4,)})) == {0: 8}, "others can go on"


@pytest.mark.parametrize(
    "on, code",
    [("nonsense:4", "engine"), ("processes:0", "engine"), ("processes:many", "engine"), ("processes", "engine")],
)
def test_an_address_that_means_nothing_is_refused(on, code):
    with pytest.raises(UserError) as trouble:
        list(gathered(on, engine_parts.double, {0: (1,)}))
    assert trouble.value.code == code and trouble.value.fix


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    dask = pytest.importorskip("souron.engines.dask")
    monkeypatch.setattr(dask, "PATIENCE", 1)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        list(gathered("dask://127.0.0.1:9", engine_parts.double, {0: (1,)}))


@pytest.mark.slow
def test_a_scheduler_that_is_killed_ends_the_work(monkeypatch, tmp_path, calls):
    dask = pytest.importorskip("souron.engines.dask")
    monkeypatch.setattr(dask, "PATIENCE", 3)
    with cluster_of_dask(tmp_path, workers=1) as (address, processes):
        going = gathered(f"dask://{address}", engine_parts.lasting, {0: (str(calls),)})
        caller = ThreadPoolExecutor(1).submit(list, going)
        waiting.until(lambda: list(calls.iterdir()), lambda: not caller.done())
        ended(processes[0])
        with pytest.raises(UserError, match="no scheduler of Dask answers"):
            caller.result(waiting.LIMIT)
        (calls / "over").touch()


def test_no_engine_is_imported_unless_it_is_named():
    code = "import sys, souron.runs.compare; print([n for n in sys.modules if n in ('distributed', 'submitit')])"
    told = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_cluster_on_this_computer_is_reached_from_nowhere_else(tmp_path):
    pytest.importorskip("distributed")
    with cluster_of_dask(tmp_path, workers=1) as (address, processes):
        assert dict(gathered(f"dask://{address}", engine_parts.double, {0: (1,)})) == {0: 2}
        assert listening(processes) == {"127.0.0.1"}


def test_a_worker_that_comes_late_leaves_and_returns_does_its_part(tmp_path):
    pytest.importorskip("distributed")
    mark, submitted, found = tmp_path / "mark", threading.Event(), {}

    def parts():
        yield "a", (str(mark),)
        submitted.set()

    with cluster_of_dask(tmp_path, workers=0) as (address, processes):
        going = engine.gather(f"dask://{address}", engine_parts.lasts_once, parts())
        caller = threading.Thread(target=lambda: found.update(going), daemon=True)
        caller.start()
        assert submitted.wait(waiting.LIMIT)
        processes.append(started_of_dask("worker", tmp_path))
        waiting.until(mark.exists)
        ended(processes.pop())
        processes.append(started_of_dask("worker", tmp_path))
        caller.join(waiting.LIMIT)
        assert found == {"a": "back"}
