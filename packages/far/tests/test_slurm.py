"""Requests to a SLURM cluster, and jobs that it loses; stand-ins take the place of its commands."""

import logging
import os
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from souron.engines import engine
from souron.runs.elsewhere import rounds
from souron.utils.messages import UserError

slurm = pytest.importorskip("souron.engines.slurm")
SINFO = "short|1:00:00\nlong*|infinite\nweek|7-00:00:00\nhalf|30:00"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder of commands of SLURM: name -> what it prints."""

    def add(name, text):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(file.parent), prepend=os.pathsep)

    return add


def test_a_job_asks_for_what_its_partition_allows_and_a_day_at_most(commands):
    commands("sinfo", SINFO)
    wanted = {"short": 60, "half": 30, "week": 1440, "": 1440, "long,short": 60}
    assert {name: slurm.limit(name) for name in wanted} == wanted
    with pytest.raises(UserError, match="no partition shrt") as trouble:
        slurm.limit("short,shrt")
    assert "short, long, week, half" in trouble.value.expected


def test_without_a_list_of_partitions_a_job_asks_for_a_day(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert slurm.limit("anything") == slurm.MINUTES and slurm.queued() is None


class Job:
    """A job that never brings a result."""

    def __init__(self, number):
        self.job_id = number

    def done(self):
        return False

    def cancel(self):
        pass


def queue(monkeypatch, submit):
    inner = SimpleNamespace(submit=submit, update_parameters=lambda **options: None)
    monkeypatch.setattr(slurm.submitit, "AutoExecutor", lambda folder, cluster: inner)
    monkeypatch.setattr(slurm, "limit", lambda partition: 60)
    monkeypatch.setattr(slurm, "LOOK", 0.001)
    monkeypatch.setattr(slurm, "PATIENCE", 0)
    return slurm.Queue("slurm", 1, "")


def test_a_job_that_left_the_queue_without_a_result_is_lost(monkeypatch):
    monkeypatch.setattr(slurm, "QUEUE_LOOK", 0)
    monkeypatch.setattr(slurm, "queued", lambda: {"8"})
    numbers = iter(["7", "8"])
    made = queue(monkeypatch, lambda function: Job(next(numbers)))
    lost, held = made.submit(print), made.submit(print)
    assert "job 7 has left the queue" in str(lost.exception(timeout=20))
    assert not held.done()
    made.shutdown()


def test_a_queue_that_cannot_be_read_loses_nothing(monkeypatch):
    made = queue(monkeypatch, lambda function: Job("7"))
    future = made.submit(print)
    for _look in range(slurm.MISSED + 1):
        made.give_up_lost(None)
    assert not future.done()
    made.shutdown()


def test_a_job_that_is_not_taken_is_no_mistake_of_souron(monkeypatch):
    def submit(function):
        raise RuntimeError("sbatch: error: Invalid account")

    made = queue(monkeypatch, submit)
    with pytest.raises(UserError, match="Invalid account"):
        made.submit(print)
    made.shutdown()


@pytest.mark.parametrize("address", ["day\n#SBATCH --uid=0", "day\r", "day\u2028", "day\x1b[0m"])
def test_no_name_ends_a_line_of_a_job_script(address):
    with pytest.raises(UserError, match="cannot stand in a job script"):
        list(engine.gather(f"slurm:{address}", print, []))


def test_no_folder_ends_a_line_of_a_job_script(tmp_path, monkeypatch):
    for name, words in (("two\nlines", "job script"), ("100 %j", "cannot work in")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with pytest.raises(UserError, match=words):
            list(engine.gather("slurm:local", print, []))
    comparison = SimpleNamespace(rounds=[1, 2])
    with pytest.raises(UserError, match="job script"):
        rounds.write_script(comparison, tmp_path / "two\nlines", tmp_path / "script")
    rounds.write_script(comparison, tmp_path / "100 %j", tmp_path / "script")
    assert "/100 %%j/rounds/%a.log'\n" in (tmp_path / "script").read_text(encoding="utf-8")


def test_nothing_of_submitit_is_printed():
    assert not logging.getLogger("submitit").isEnabledFor(logging.ERROR)


def test_trials_run_as_many_jobs_as_there_are_cores(monkeypatch):
    monkeypatch.setattr(slurm.hardware, "cores", lambda: 6)
    assert (slurm.most("local", 2), slurm.most("local", 8)) == (3, 1)
    assert slurm.most("day", 2) == engine.IN_FLIGHT


class Instant(Executor):
    """Answers at once, or has lost what it was given."""

    def __init__(self, lost=False):
        self.lost, self.count = lost, 0

    def submit(self, function, *given):
        self.count += 1
        future = Future()
        if self.lost:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(function(*given))
        return future


def engines(monkeypatch, *executors):
    left = iter(executors)

    @contextmanager
    def opened(address, threads):
        yield next(left)

    module = SimpleNamespace(opened=opened, threads=lambda address: 1, most=lambda address, threads: 2)
    monkeypatch.setattr(engine, "find", lambda on: (module, ""))


def test_an_engine_is_handed_as_many_parts_as_it_takes(monkeypatch):
    executor = Instant()
    engines(monkeypatch, executor)
    going = engine.gather("any", abs, ((key, (-key,)) for key in range(9)))
    next(going)
    assert executor.count == 2
    going.close()


def test_after_its_scheduler_was_lost_an_engine_is_opened_anew(monkeypatch):
    engines(monkeypatch, Instant(lost=True), Instant())
    found = dict(engine.gather("any", abs, [(key, (-key,)) for key in range(3)]))
    assert found == {0: 0, 1: 1, 2: 2}
    engines(monkeypatch, *(Instant(lost=True) for _attempt in range(engine.ATTEMPTS)))
    with pytest.raises(UserError, match="workers were lost") as trouble:
        list(engine.gather("any", abs, [(0, (1,))]))
    assert isinstance(trouble.value.__cause__, CancelledError)
