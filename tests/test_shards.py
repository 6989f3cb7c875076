"""A folder of any size is answered in shards, each once, and joined in the order of its files."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import waiting
from test_engines import environment

from souron import model as models_api
from souron.cli import main
from souron.engines import engine
from souron.hub import zoo
from souron.pipelines import shards
from souron.pipelines.answer_lines import as_json
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")


@pytest.fixture
def clothes(tmp_path):
    """Ten pictures in two folders, and one that is none."""
    folder = tmp_path / "clothes"
    (folder / "b").mkdir(parents=True)
    for number, file in enumerate(sorted((zoo.root() / "examples" / "fashion").glob("*.png"))):
        shutil.copy(file, folder / ("b" if number > 5 else "") / file.name)
    (folder / "a broken one.png").write_bytes(b"no picture")
    (folder / ".hidden.png").write_bytes(b"not seen")
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(shards, "SIZE", 4)


def all_of(folder, out, on="processes:1", **options):
    for event in shards.answering("mlp", folder, out, on, options):
        found = event.record
    return found


def read(out):
    return [json.loads(line) for line in (out / shards.ALL).read_text(encoding="utf-8").splitlines()]


def test_each_file_has_the_answer_that_predict_gives(clothes, tmp_path):
    found = all_of(clothes, tmp_path / "out", on="processes:2")
    assert (found.count, found.failed, found.shards, found.earlier) == (11, 1, 3, 0)
    lines = read(tmp_path / "out")
    files = list(shards.walk(clothes))
    assert [one["file"] for one in lines] == [file.relative_to(clothes).as_posix() for file in files]
    assert "error" in lines[0] and ".hidden.png" not in str(lines)
    model = models_api.load("mlp")
    [(_file, expected)] = models_api.predict(model, [files[-1]])
    assert lines[-1]["labels"][0]["label"] == as_json("x", expected)["labels"][0]["label"]


def test_only_shards_that_are_missing_are_answered_again(clothes, tmp_path, monkeypatch):
    all_of(clothes, tmp_path / "out")
    before = read(tmp_path / "out")
    first = sorted((tmp_path / "out" / "shards").iterdir())[0]
    first.unlink()
    asked, gather = [], engine.gather

    def counted(on, function, parts):
        parts = list(parts)
        asked.extend(key for key, _given in parts)
        return gather(on, function, parts)

    monkeypatch.setattr(engine, "gather", counted)
    found = all_of(clothes, tmp_path / "out")
    assert asked == [first.name] and found.earlier == 2 and read(tmp_path / "out") == before


def test_a_file_that_came_since_is_answered_too(clothes, tmp_path):
    all_of(clothes, tmp_path / "out")
    shutil.copy(clothes / "bag.png", clothes / "a bag.png")
    found = all_of(clothes, tmp_path / "out")
    assert found.count == 12 and read(tmp_path / "out")[0]["file"] == "a bag.png"


def test_answers_of_something_else_are_not_mixed(clothes, tmp_path):
    all_of(clothes, tmp_path / "out")
    with pytest.raises(UserError, match="folder differ"):
        all_of(clothes / "b", tmp_path / "out")
    with pytest.raises(UserError, match="options differ"):
        all_of(clothes, tmp_path / "out", top="3")


def test_the_command_joins_all_and_says_what_could_not_be_read(clothes, tmp_path, capsys):
    words = ["predict", "mlp", str(clothes), "on=processes:1", f"out={tmp_path / 'out'}", "--json"]
    assert main.run(words) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == 11 and told["failed"] == 1 and told["shards"] == {"count": 3, "earlier": 0}
    assert len(read(tmp_path / "out")) == 11


def test_a_killed_command_goes_on(clothes, tmp_path):
    for number in range(60):
        shutil.copy(clothes / "bag.png", clothes / f"more {number:02}.png")
    code = (
        "from souron.pipelines import shards\n"
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        "    shards.SIZE = 4\n"
        f"    list(shards.answering('mlp', Path({str(clothes)!r}), Path('out'), 'processes:1', {{}}))\n"
    )
    (tmp_path / "caller.py").write_text(code)
    caller = subprocess.Popen([sys.executable, "caller.py"], env=environment(), cwd=tmp_path)
    waiting.until(lambda: list((tmp_path / "out").glob("shards/*")), lambda: caller.poll() is None, every=0.01)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    kept = len(list((tmp_path / "out").glob("shards/*.jsonl")))
    found = all_of(clothes, tmp_path / "out")
    assert found.earlier >= kept > 0 and found.count == 71 == len(read(tmp_path / "out"))


def test_a_second_command_is_refused_while_the_first_one_writes(clothes, tmp_path):
    first = shards.answering("mlp", clothes, tmp_path / "out", "processes:1", {})
    next(first)
    with pytest.raises(UserError, match="another command") as trouble:
        all_of(clothes, tmp_path / "out")
    assert trouble.value.code == "busy" and trouble.value.fix == "out=FOLDER"
    all_of(clothes / "b", tmp_path / "other")
    first.close()
    assert all_of(clothes, tmp_path / "out").count == 11, "what was begun goes on"


def test_a_file_that_comes_meanwhile_waits_for_the_next_command(clothes, tmp_path, monkeypatch):
    """The folder is walked twice, and what is joined is what was handed out."""
    walks, walk = [], shards.walk

    def counted(folder):
        walks.extend([folder] if folder == clothes else [])
        return walk(folder)

    monkeypatch.setattr(shards, "walk", counted)
    going = shards.answering("mlp", clothes, tmp_path / "out", "processes:1", {})
    next(going)
    (clothes / "a late one.png").write_bytes(b"no picture")
    [*_others, last] = going
    assert last.record.count == 11 == len(read(tmp_path / "out")) and walks == [clothes, clothes]
    assert all_of(clothes, tmp_path / "out").count == 12


@pytest.mark.parametrize("files", [["a.png", "b.png"], ["nothing"]])
def test_it_takes_one_folder(files, tmp_path, capsys):
    for name in files[:-1]:
        (tmp_path / name).touch()
    assert main.run(["predict", "mlp", *files, "on=processes:1"]) in (2, 3)
    assert "folder" in capsys.readouterr().err


def test_an_empty_folder_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing was found"):
        all_of(tmp_path / "empty", tmp_path / "out")


@pytest.fixture
def on_paper(monkeypatch):
    """The module ``benchmarks/machines.py``."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    import machines

    yield machines
    for name in ("machines", "printing"):
        sys.modules.pop(name, None)


def test_folders_that_are_too_large_to_measure_are_extrapolated(on_paper, monkeypatch):
    monkeypatch.setattr(on_paper, "SIZES", (20, 40))
    monkeypatch.setattr(on_paper, "ProcessPoolExecutor", lambda count, _context: ThreadPoolExecutor(count))
    small, large = on_paper.folders(100.0)  # which compares counts of files and shards
    assert all(value > 0 for value in (*small, *large))
    assert on_paper.extrapolated((20, 40), (3.0, 5.0), 100) == 11.0


def test_the_first_bottleneck_is_what_keeps_the_fewest_workers_busy(on_paper):
    quick = on_paper.most_workers(1.0, caller=0.01, scheduler=0.02)
    assert list(quick.values()) == [50.0, 100.0, engine.IN_FLIGHT] and next(iter(quick)) == "the scheduler's core"
    assert next(iter(on_paper.most_workers(100.0, caller=0.01, scheduler=0.02).values())) == engine.IN_FLIGHT
