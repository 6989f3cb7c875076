"""A machine that has nothing of souron: one empty home for a whole run of the tests.

What somebody has fetched, installed or set must neither make a test pass nor make it fail. So the
variables that lead to caches and settings are dropped before anything of souron is imported, and
HOME lies in a new folder. The workers of pytest-xdist inherit all of it.

A test that needs fetched data asks ``fetched("fashion")``, and is skipped unless SOURON_TEST_DATA
names the folder where ``souron fetch`` puts it; one that needs the weights of a starter asks
``fetched_weights("nanodet")``, and SOURON_TEST_WEIGHTS names their folder.
"""

import atexit
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

OWN = (
    "SOURON_",
    "XDG_",
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "TORCH_HOME",
    "MPL",
    "LC_",
    "LANGUAGE",
    "COLUMNS",
    "LINES",
    "FORCE_COLOR",
    "NO_COLOR",
)
FETCHED = ("SOURON_TEST_DATA", "SOURON_TEST_WEIGHTS")
LOCAL = "127.0.0.1,localhost"


def isolate() -> None:
    """Give this run a home of its own; the workers of a run keep that of their controller."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    home = Path(tempfile.mkdtemp(prefix="souron-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    fetched_before = {name: os.environ[name] for name in FETCHED if os.environ.get(name)}
    for name in [name for name in os.environ if name.startswith(OWN)]:
        del os.environ[name]
    folders = {
        "HOME": home,
        "USERPROFILE": home,
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "share",
        "XDG_STATE_HOME": home / "state",
        "MPLCONFIGDIR": home / "matplotlib",
        "HF_HOME": home / "huggingface",
        "TORCH_HOME": home / "torch",
        "SOURON_CACHE": home / "souron",
        "SOURON_DATA": home / "data",
        "SOURON_STARTERS": home / "starters",
        "SOURON_SYSTEM_ROOT": home / "installed",
    }
    for name, folder in folders.items():
        folder.mkdir(exist_ok=True)
        os.environ[name] = str(folder)
    os.environ |= {"SOURON_LANG": "en", "SOURON_OFFLINE": "1", "SOURON_FAST": "off", "LC_ALL": "C.UTF-8"}
    for name in ("no_proxy", "NO_PROXY"):  # the tests' own servers are not behind a proxy
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOCAL)))
    for name, place in fetched_before.items():
        os.environ[name] = str(Path(place).expanduser().absolute())


def of_commit(things: Sequence[Any], count: int) -> list[Any]:
    """``count`` of them, others for each commit: what takes too long to try whole each time."""
    told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, cwd=Path(__file__).parent)
    return random.Random(told.stdout).sample(list(things), min(count, len(things)))


def forget_options() -> None:
    """Let no option of a command that an earlier test has run, such as --json, hold for this one."""
    if console := sys.modules.get("souron.cli.console"):
        vars(console.screen).update(vars(console.Screen()))


def fetched(name: str) -> Path:
    """The folder of a fetched data set, complete; without it the test is skipped."""
    from souron.data import load

    place = os.environ.get("SOURON_TEST_DATA")
    folders = [Path(place) / name / part for part in load.names()[name].inside] if place else []
    complete = [folder for folder in folders if load.names()[name].complete(folder)]
    if not complete:
        pytest.skip(f"souron fetch {name}; SOURON_TEST_DATA=~/.cache/souron/data make test")
    return complete[0]


def fetched_weights(name: str) -> Path:
    """The folder with the weights of a starter; without them the test is skipped."""
    from souron.hub import networks

    place = os.environ.get("SOURON_TEST_WEIGHTS")
    if not place or not (Path(place) / networks.networks()[name].file).is_file():
        pytest.skip("make starters; SOURON_TEST_WEIGHTS=starters/souron_starters make test")
    return Path(place)


isolate()
