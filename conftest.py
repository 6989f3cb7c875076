"""What tests share: a folder of their own, English, a small set of real cases."""

import ctypes
import os
import random
import signal
import sys

# two workers share two cores, and what a test starts inherits it: before NumPy and PyTorch begin
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import isolation  # an own home, before souron is imported and workers are made
import numpy as np
import plots_once
import pytest
import tiers
import torch

from souron.data.dataset import Dataset
from souron.utils import plotting

# Ctrl-C is heard also where the tests were started in the background, and by what they start
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the tests themselves run side by side
plotting.DOTS = 48  # reports with coarse plots are written in half the time
EACH_DRAWN, plotting.draw = plotting.draw, plots_once.once(plotting.draw)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item) -> None:
    """Random numbers are the same in each run, whatever ran before."""
    seed()


def pytest_collectstart(collector) -> None:
    """So are those that a file draws while it is imported."""
    if isinstance(collector, pytest.Module):
        seed()


def seed() -> None:
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(0)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Runs and caches go to a folder that the test can throw away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_SECRET", str(tmp_path / "secret of pseudonyms"))
    monkeypatch.delenv("SOURON_DATA", raising=False)
    monkeypatch.setenv("SOURON_LANG", "en")
    isolation.forget_options()
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def freed():
    """Return freed memory to the machine after each file: glibc keeps it, and workers grow."""
    yield
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


@pytest.fixture
def each_drawn(monkeypatch):
    """Each plot is drawn, also one that looks like another; see ``plots_once``."""
    monkeypatch.setattr(plotting, "draw", EACH_DRAWN)


@pytest.fixture
def same_eyes(own_folder, tmp_path_factory):
    """The networks that judge drawn pictures are trained once, and kept for the tests that ask."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "eyes"
    place.mkdir(exist_ok=True)
    (own_folder / "cache").mkdir(exist_ok=True)
    (own_folder / "cache" / "eyes").symlink_to(place, target_is_directory=True)


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory):
    """The one studio of this run, for tests that look, and leave nothing behind that another test would see."""
    import browsing

    base = tmp_path_factory.getbasetemp()
    with browsing.one_for_all(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as started:
        yield started
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1 797 real digits, (N, 1, 8, 8)."""
    from souron.data.load import load

    return load("digits")


@pytest.fixture
def photos(tmp_path, digits):
    """A folder of PNG files in three classes, 20 each, named as people name things."""
    from souron.kinds.codecs.image import as_image

    folder = tmp_path / "photos"
    for label, name in enumerate(("cat", "犬", "a 'third' one")):
        (folder / name).mkdir(parents=True)
        rows = (digits.target == label).nonzero()[:20, 0].tolist()
        for i, row in enumerate(rows):
            big = digits.input[row].repeat_interleave(3, 1).repeat_interleave(3, 2)
            as_image(big).save(folder / name / f"{i} 写真.png")
    return folder


pytest_addoption = tiers.pytest_addoption
pytest_configure = tiers.pytest_configure
pytest_collection_modifyitems = tiers.pytest_collection_modifyitems
pytest_make_collect_report = tiers.pytest_make_collect_report


def pytest_xdist_auto_num_workers(config) -> int:
    """One more than there are cores: tests of the studio wait for half of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


SECONDS: dict[str, float] = {}  # of each test that ran: ``make check`` knows what fits


def pytest_runtest_logreport(report) -> None:
    if not report.skipped:
        SECONDS[report.nodeid] = SECONDS.get(report.nodeid, 0) + report.duration


def pytest_sessionfinish(session) -> None:
    cache = getattr(session.config, "cache", None)
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set("souron/seconds", cache.get("souron/seconds", {}) | SECONDS)
