"""Each engine does what a long computation needs of it, with real schedulers and workers."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import engine_parts
import psutil
import pytest

from souron.engines import engine
from souron.utils.messages import UserError

HERE = Path(__file__).parent
PACKAGES = {"processes": "multiprocessing", "dask": "distributed", "slurm": "submitit", "ray": "ray"}
SOON = 60.0  # seconds


def gathered(on, function, parts):
    return engine.gather(on, function, parts.items())


def environment():
    return os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "OMP_NUM_THREADS": "1"}


def ended(process):
    for child in [*psutil.Process(process.pid).children(recursive=True), process]:
        child.kill()
    process.wait()


@contextmanager
def cluster_of_dask(folder, workers=2):
    """A scheduler and one-thread workers on the loopback interface: its address and the processes."""
    file, begun = folder / "scheduler.json", []
    ways = {
        "scheduler": ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)],
        "worker": ["--host", "127.0.0.1", "--scheduler-file", str(file), "--nthreads", "1", "--resources", "machine=1"],
    }
    try:
        for kind in ("scheduler", *["worker"] * workers):
            words = [sys.executable, "-m", "dask", kind, *ways[kind], "--dashboard-address", "127.0.0.1:0"]
            begun.append(
                subprocess.Popen(
                    words, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            limit = time.monotonic() + SOON
            while not file.exists():
                assert begun[0].poll() is None and time.monotonic() < limit
                time.sleep(0.05)
        address = json.loads(file.read_text())["address"].removeprefix("tcp://")
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=SOON)
        yield address, begun
    finally:
        for process in begun:
            if process.poll() is None:
                ended(process)


@pytest.fixture(scope="module", params=PACKAGES)
def on(request, tmp_path_factory):
    pytest.importorskip(PACKAGES[request.param])
    if request.param == "dask":
        with cluster_of_dask(tmp_path_factory.mktemp("dask")) as (address, _processes):
            yield f"dask://{address}"
    else:
        yield {"processes": "processes:2", "slurm": "slurm:local", "ray": "ray"}[request.param]


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


def test_a_late_result_holds_up_no_other(on):
    keys = [key for key, _result in gathered(on, engine_parts.slow_first, {key: (key,) for key in range(4)})]
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


def test_closing_cancels_what_waits(on, calls):
    parts = {key: (str(calls), 1.0) for key in range(30)}
    going = gathered(on, engine_parts.counted, parts)
    next(going)
    going.close()
    time.sleep(2.5)
    begun = len(list(calls.iterdir()))
    time.sleep(2.5)
    assert len(list(calls.iterdir())) == begun < 30


def test_when_the_caller_is_killed_its_work_ends(on, calls, tmp_path):
    code = (
        "from souron.engines import engine; import engine_parts\n"
        f"list(engine.gather({on!r}, engine_parts.lasting, [(0, ({str(calls)!r},))]))"
    )
    script = tmp_path / "caller.py"
    script.write_text("if __name__ == '__main__':\n    " + code.replace("\n", "\n    "))
    caller = subprocess.Popen([sys.executable, str(script)], env=environment(), cwd=tmp_path)
    limit = time.monotonic() + SOON
    while not list(calls.iterdir()):
        assert time.monotonic() < limit and caller.poll() is None
        time.sleep(0.1)
    caller.kill()
    caller.wait()
    if on.startswith(("processes", "ray")):  # the others' workers are not the caller's
        [number] = (int(file.name) for file in calls.iterdir())
        while psutil.pid_exists(number):
            assert time.monotonic() < limit
            time.sleep(0.1)
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


def test_no_engine_is_imported_unless_it_is_named():
    code = "import sys, souron.runs.compare; print([n for n in sys.modules if n in ('distributed', 'ray', 'submitit')])"
    told = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_cluster_on_this_computer_is_reached_from_nowhere_else(tmp_path):
    pytest.importorskip("distributed")
    with cluster_of_dask(tmp_path, workers=1) as (address, processes):
        assert dict(gathered(f"dask://{address}", engine_parts.double, {0: (1,)})) == {0: 2}
        everyone = [psutil.Process(one.pid) for one in processes]
        everyone += [child for one in everyone for child in one.children(recursive=True)]
        listening = [
            socket.laddr.ip for one in everyone for socket in one.net_connections() if socket.status == "LISTEN"
        ]
    assert listening and set(listening) == {"127.0.0.1"}
