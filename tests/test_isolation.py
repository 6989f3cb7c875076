"""Isolate the tests from what a machine has fetched, installed or set."""

import json
import os
import subprocess
import sys
from pathlib import Path

import isolation
import pytest
import torch

from souron.cli import console, main

DRAWN = torch.rand(1)  # while the file is imported
CODE = """
import isolation, json, os
from souron.kinds.codecs import signing_keys
from souron.data import load
from souron.utils.files import cache_folder
print(json.dumps({"home": os.environ["HOME"], "cache": str(cache_folder()),
                  "keys": str(signing_keys.folder()), "installed": str(load.INSTALLED),
                  "left": [name for name in os.environ if os.environ[name] == "MINE"]}))
"""


def test_nothing_of_the_machine_is_seen_and_nothing_is_left_behind(tmp_path):
    mine = (
        "SOURON_CACHE",
        "SOURON_DATA",
        "SOURON_KEYS",
        "SOURON_WEIGHTS",
        "XDG_CACHE_HOME",
        "HF_HOME",
        "TORCH_HOME",
        "MPLCONFIGDIR",
        "COLUMNS",
        "LC_ALL",
        "LANGUAGE",
    )
    environment = {**os.environ, **dict.fromkeys(mine, "MINE"), "HOME": str(tmp_path)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    path = os.pathsep.join([str(Path(isolation.__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    home = Path(told["home"])
    assert told["left"] == [] and home != tmp_path and not home.exists()
    assert all(Path(told[name]).is_relative_to(home) for name in ("cache", "keys", "installed"))


def test_this_run_is_such_a_run():
    home = Path(os.environ["HOME"])
    assert home.name.startswith("souron-tests-") and home.is_dir()
    assert Path(os.environ["SOURON_SYSTEM_ROOT"]).is_relative_to(home)


def test_fetched_data_are_asked_for_by_their_name(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURON_TEST_DATA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="souron fetch fashion"):
        isolation.fetched("fashion")
    folder = tmp_path / "fashion"
    folder.mkdir()
    monkeypatch.setenv("SOURON_TEST_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception):
        isolation.fetched("fashion")
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{part}-{kind}-ubyte.gz").touch()
    assert isolation.fetched("fashion") == folder


def test_options_of_an_earlier_command_are_forgotten(tmp_path, capsys):
    main.run(["models", "--json", "--events", str(tmp_path / "events.jsonl")])
    assert console.screen.json and console.screen.journal
    isolation.forget_options()
    assert not console.screen.json and console.screen.journal is None


def test_random_numbers_at_import_and_in_a_test_do_not_depend_on_other_files():
    first = torch.rand(1, generator=torch.Generator().manual_seed(0))
    assert first == DRAWN and torch.rand(1) == first
