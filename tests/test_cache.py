"""Pictures that memory has no room for: decoded once into a file, read from there."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
import waiting
from PIL import Image
from test_dicom import noise, two_classes, write

from souron import registry
from souron.cli import console, main
from souron.data import cache, load, splits
from souron.data.check.features import features
from souron.data.dataset import Loader, digests
from souron.data.formats import folder
from souron.data.lazy_column import LazyColumn, Sketch
from souron.data.quality import duplicates
from souron.data.readers import workers
from souron.data.readers.settings import Reading
from souron.runs import events as run_events
from souron.runs import prepare, reading, train
from souron.utils import hardware
from souron.utils.messages import UserError

CLASSIFY = registry.load_task("classify")
PROGRAM = """
import os, signal, sys
from pathlib import Path
from souron.data import cache; from souron.data.readers import workers
from souron.data.formats import folder
from souron.data.readers.settings import Reading
cache.SHARE_OF_MEMORY, workers.FEWEST, workers.CHUNK = 0, 0, 4
def told(done, total):
    if done >= total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
folder.load(Path(sys.argv[1]), Reading(24, progress=told, large="decode"))
"""


@pytest.fixture(autouse=True)
def no_room(monkeypatch):
    """As if memory had no room for any picture."""
    monkeypatch.setattr(cache, "SHARE_OF_MEMORY", 0.0)


def colours(root: Path, count: int = 12, side: int = 20) -> Path:
    """``root/a`` and ``root/b``, noise in colour, every picture another one."""
    for i in range(count):
        place = root / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(values).save(place)
    return root


def both(path: Path, side: int | None = None):
    """The same cases from a file and from memory."""
    on_disk = load.load(path, side)
    assert isinstance(on_disk.input, LazyColumn)
    in_memory = load.load(path, side, large="refuse")
    assert isinstance(in_memory.input, torch.Tensor)
    return on_disk, in_memory


def files() -> list[str]:
    """What lies in the cache."""
    return sorted(f.name for f in cache.folder().glob("*") if f.suffix != ".lock")


def place() -> Path:
    [file] = cache.folder().glob("*.pictures")
    return file


@pytest.fixture
def made(monkeypatch):
    """How often pictures were decoded."""
    calls, make = [], cache._make
    monkeypatch.setattr(cache, "_make", lambda *given: (calls.append(1), make(*given))[1])
    return calls


def equal(one, other) -> None:
    """Are the cases the same in all that can be asked of them?"""
    assert torch.equal(one.input[:], other.input[:]) and one.input.dtype == other.input.dtype
    assert torch.equal(one.target, other.target) and one.classes == other.classes
    for name in ("file", "group", "part", "grouped", "skipped", "columns", "channels", "side"):
        mine, yours = getattr(one, name), getattr(other, name)
        assert mine == yours or list(mine) == list(yours), name


# what is read is what memory would hold


def test_colour_pictures_are_equal_to_those_in_memory(tmp_path):
    colours(tmp_path / "data")
    (tmp_path / "data/a/3.png").write_bytes(b"")
    (tmp_path / "data/b/broken.png").write_bytes((tmp_path / "data/a/0.png").read_bytes()[:200])
    (tmp_path / "data/b/text.txt").write_text("no picture")
    on_disk, in_memory = both(tmp_path / "data", 16)
    assert {skip.code for skip in on_disk.skipped} >= {"empty file", "truncated", "not an image"}
    equal(on_disk, in_memory)


def test_grey_pictures_and_grey_ones_shown_in_colour(photos):
    on_disk, in_memory = both(photos)
    equal(on_disk, in_memory)
    three, also = (prepare.coloured(cases, 3) for cases in (on_disk, in_memory))
    assert three.input.shape == also.input.shape == (60, 3, 24, 24)
    equal(three, also)
    equal(three.only([5, 2, 2]), also.only([5, 2, 2]))
    assert torch.equal(three.stored[:], also.stored)
    assert list(digests(three.stored)) == list(digests(also.stored))


def test_a_table_and_a_data_yaml(tmp_path):
    root = colours(tmp_path / "data")
    rows = [f"{'ab'[i % 2]}/{i}.png,{'xy'[i % 3 == 0]},p{i // 2},{i}" for i in range(12)]
    (root / "list.csv").write_text("\n".join(["file,label,patient,age", *rows]))
    equal(*both(root / "list.csv"))
    (root / "train").mkdir()
    for name in "ab":
        (root / name).rename(root / "train" / name)
    (root / "data.yaml").write_text("train: train\nnames: [b, a]\n")
    on_disk, in_memory = both(root / "data.yaml")
    assert on_disk.classes == ("b", "a")
    equal(on_disk, in_memory)


def test_sixteen_bits(tmp_path):
    for i in range(6):
        place = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, 65536, (9, 9)).astype(np.uint16)
        Image.fromarray(values).save(place)
    on_disk, in_memory = both(tmp_path / "data")
    assert on_disk.input.dtype == torch.float32
    assert (on_disk.input[:] != on_disk.input[:].round()).any()
    equal(on_disk, in_memory)


@pytest.mark.parametrize("processes", [1, 2])
def test_finer_steps_that_the_headers_did_not_show(tmp_path, monkeypatch, processes):
    root = colours(tmp_path / "data")
    for name in "ab":
        for file in (root / name).iterdir():
            Image.open(file).convert("L").save(file)
    Image.fromarray(np.full((9, 9), 12_345, np.uint16)).save(root / "b/9.png")
    monkeypatch.setattr(folder, "LOOKED_AT", 1)
    monkeypatch.setattr(workers, "FEWEST", 0 if processes > 1 else 1000)
    monkeypatch.setattr(workers, "CHUNK", 3)
    on_disk, in_memory = both(root)
    assert on_disk.input.dtype == torch.float32
    equal(on_disk, in_memory)
    assert files() == [place().name]


def test_frames_and_patients_of_dicom_files(tmp_path, made):
    root = two_classes(tmp_path / "data", 3)
    write(root / "a/film.dcm", np.stack([noise(20 + i) for i in range(3)]), PatientID="film", PatientSex="F")
    (root / "b/broken.dcm").write_bytes((root / "b/1.dcm").read_bytes()[:500])
    on_disk, in_memory = both(root)
    assert "a/film.dcm#3" in on_disk.file and len(set(on_disk.group)) == 7
    assert "F" in on_disk.columns["sex"]
    equal(on_disk, in_memory)
    equal(load.load(root), in_memory)  # as the file tells it
    assert made == [1]
    narrow = load.load(root, window="300,100")
    equal(narrow, load.load(root, window="300,100", large="refuse"))
    assert not torch.equal(narrow.input[:], in_memory.input[:])


# what can be asked of a column


def test_rows_as_a_tensor_gives_them(tmp_path):
    on_disk, in_memory = both(colours(tmp_path / "data"), 8)
    mine, yours = on_disk.input, in_memory.input
    assert len(mine) == 12 and mine.shape == yours.shape and mine.numel() == yours.numel()
    for key in (
        0,
        -1,
        slice(2, 9),
        slice(None, None, 5),
        slice(4, 4),
        [3, 1, 1],
        [],
        torch.tensor([7, 0]),
        torch.tensor(5),
        torch.arange(12) > 8,
    ):
        key_of_tensor = torch.tensor(key, dtype=torch.long) if isinstance(key, list) else key
        assert torch.equal(mine[key], yours[key_of_tensor]), key
    assert torch.equal(mine.index_select(0, torch.tensor([5, 4])), yours[[5, 4]])
    for one, other in zip(mine.split(5), yours.split(5), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(mine.to(torch.float64), yours.to(torch.float64))
    assert [len(some) for some in on_disk.only([]).input.split(5)] == [0]


def test_choosing_reads_no_picture(tmp_path, monkeypatch):
    on_disk, in_memory = both(colours(tmp_path / "data"), 8)
    read = cache.File.read
    monkeypatch.setattr(cache.File, "read", lambda *given: pytest.fail("a picture was read"))
    some = on_disk.only([9, 3, 5, 0]).only([2, 0])
    parts = splits.split(on_disk).deal(on_disk)
    assert some.file == [in_memory.file[5], in_memory.file[9]] and len(parts.train) > 0
    monkeypatch.setattr(cache.File, "read", read)
    equal(some, in_memory.only([5, 9]))
    assert torch.equal(parts.train.input[:], splits.split(in_memory).deal(in_memory)[0].input)


def test_batches_and_what_is_computed_of_all(tmp_path, photos):
    for path, side in ((colours(tmp_path / "data", 40), 12), (photos, 24)):
        on_disk, in_memory = both(path, side)
        batches = []
        for cases in (on_disk, in_memory):
            feed = Loader(cases, lambda rows: rows, seed=3)
            drawn = feed.endless(7)
            batches.append([*(next(drawn) for _ in range(9)), *feed.once(16), (feed.all(),)])
        for one, other in zip(*batches, strict=True):
            assert all(map(torch.equal, one, other))
        assert CLASSIFY.spec(on_disk) == CLASSIFY.spec(in_memory)
        assert train.receipt(ARGS, on_disk)["data"] == train.receipt(ARGS, in_memory)["data"]
        assert splits.same_image(on_disk) == splits.same_image(in_memory)
        assert splits.shared(on_disk.only([0, 1]), in_memory) == list(in_memory.file[:2])
        about = [None] * len(on_disk)
        for name, values in features(on_disk, about).items():
            assert np.array_equal(values, features(in_memory, about)[name]), name


ARGS = {
    "system": "cnn",
    "data": "d",
    "budget": "1ep",
    "seed": 0,
    "side": None,
    "batch": 8,
    "pretrained": "False",
    "freeze": False,
    "patience": 0,
    "rate": None,
    "augment": None,
    "changes": {},
}


def test_copies_are_found(tmp_path):
    root = colours(tmp_path / "data", 20, 40)
    Image.open(root / "a/0.png").resize((60, 60)).save(root / "b/again.png")
    on_disk, in_memory = both(root, 32)
    assert duplicates.near(on_disk.input) == duplicates.near(in_memory.input)
    names = [{on_disk.file[i] for i in pair} for pair in duplicates.near(on_disk.input)]
    assert {"a/0.png", "b/again.png"} in names
    deep = [in_memory.input[:4].float() / 50 + 3, in_memory.input[:2].float() / 50 + 3.01]
    assert duplicates.near(torch.cat(deep)) == [(0, 4), (1, 5)]  # faint, by all their bits


def test_a_training_is_the_same_to_the_bit(photos, monkeypatch):
    options = {"budget": "1ep", "batch": 8, "folds": 1, "project": "runs"}
    records = {}
    for name, share in (("disk", 0.0), ("memory", 1.0)):
        monkeypatch.setattr(cache, "SHARE_OF_MEMORY", share)
        records[name] = train.train("cnn_tiny", photos, name=name, **options)
    one, other = records.values()
    assert files() and isinstance(one.test.input, LazyColumn)
    assert isinstance(other.test.input, torch.Tensor)
    for mine, yours in zip(*(r.model.state_dict().values() for r in (one, other)), strict=True):
        assert torch.equal(mine, yours)
    assert one.receipt["data"] == other.receipt["data"] and one.measures == other.measures
    for name in ("split.csv", "predictions.csv"):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


# a file that is not whole, or not of these pictures, is not used


def test_decoded_once(tmp_path, made, monkeypatch):
    root = colours(tmp_path / "data")
    first = load.load(root)
    equal(load.load(root), first)
    monkeypatch.chdir(tmp_path)
    equal(load.load(Path("data")), replace(first, source="data"))  # the same folder
    assert made == [1] and files() == [place().name]
    assert place().stat().st_mode & 0o077 == 0  # nobody else may look at the pictures
    load.load(root, 10)
    assert len(made) == 2 and len(files()) == 2  # another side is another file


def test_a_changed_picture(tmp_path, made):
    root = colours(tmp_path / "data")
    load.load(root)
    about = (root / "a/0.png").stat()
    Image.new("RGB", (20, 20), (9, 8, 7)).save(root / "a/0.png")
    on_disk, in_memory = both(root)
    assert on_disk.input[0].unique().tolist() == [7, 8, 9] and len(made) == 2
    equal(on_disk, in_memory)
    assert files() == [place().name]  # in the place of the old one
    os.utime(root / "a/0.png", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    load.load(root)
    assert len(made) == 3  # only the time is another
    (root / "a/0.png").unlink()
    assert len(load.load(root)) == 11 and len(made) == 4
    colours(root, 14)
    assert len(load.load(root)) == 14


def test_the_same_names_in_another_folder_are_other_pictures(tmp_path):
    one, other = (colours(tmp_path / name / "data", 4) for name in ("here", "there"))
    for file in other.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    equal(load.load(one), load.load(one, large="refuse"))
    equal(load.load(other), load.load(other, large="refuse"))


def spoil(raw: bytes, how: str) -> bytes:
    if how == "header":
        return raw.replace(b'"version": 1', b'"version": 0')
    if how == "empty":
        return b""
    if how == "zeros":
        return bytes(len(raw))
    if how == "hole":  # the disk lost rows that it had taken
        return raw[: cache.START] + bytes(3000) + raw[cache.START + 3000 :]
    return raw[: int(len(raw) * float(how))]


@pytest.mark.parametrize("how", ["header", "empty", "zeros", "hole", "0.999", "0.5", "0.01"])
def test_a_file_that_is_spoilt_is_made_again(tmp_path, made, how):
    root = colours(tmp_path / "data")
    before = load.load(root).input[:]
    raw = place().read_bytes()
    place().write_bytes(spoil(raw, how))
    assert place().read_bytes() != raw
    assert torch.equal(load.load(root).input[:], before) and len(made) == 2
    assert place().read_bytes()[: cache.START] == raw[: cache.START]


def test_another_version(tmp_path, made, monkeypatch):
    root = colours(tmp_path / "data")
    load.load(root)
    monkeypatch.setattr(cache, "VERSION", 2)
    load.load(root)
    load.load(root)
    assert len(made) == 2


def test_a_file_cut_short_while_it_is_read_is_told(tmp_path):
    cases = load.load(colours(tmp_path / "data"))
    with place().open("r+b") as stream:
        stream.truncate(cache.START + 5000)
    assert cases.input[0].shape == (3, 20, 20)
    with pytest.raises(UserError) as caught:
        cases.input[11]
    assert caught.value.code == "cut short" and str(place()) in caught.value.found


def test_killed_in_the_middle_and_again(tmp_path, made):
    root = colours(tmp_path / "data", 40)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    [half] = files()
    assert half.endswith(".part")
    on_disk, in_memory = both(root, 24)
    assert made == [1] and files() == [place().name]
    equal(on_disk, in_memory)
    wait_for_workers()


def workers_alive() -> list[psutil.Process]:
    """List the workers of any souron of this test's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        if "souron.data.readers.workers" not in (process.info["cmdline"] or ()):
            continue
        with suppress(psutil.NoSuchProcess):
            own = (process.info["environ"] or {}).get("SOURON_CACHE") == os.environ["SOURON_CACHE"]
            if own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for_workers() -> None:
    """Wait until none of this test's folder is alive."""
    waiting.until(lambda: not workers_alive(), every=0.1)


def test_stopped_in_the_middle(tmp_path, monkeypatch):
    root = colours(tmp_path / "data", 40)
    monkeypatch.setattr(workers, "FEWEST", 0)
    monkeypatch.setattr(workers, "CHUNK", 4)

    def stop(done, total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.load(root, Reading(progress=stop, large="decode"))
    assert files() == []
    wait_for_workers()
    assert len(load.load(root)) == 40


def test_pictures_that_change_while_they_are_decoded(tmp_path):
    root = colours(tmp_path / "data")

    def change(done, total):
        Image.new("RGB", (20, 20)).save(root / "a/0.png")

    with pytest.raises(UserError) as caught:
        folder.load(root, Reading(progress=change, large="decode"))
    assert caught.value.code == "changed" and caught.value.exit == 3
    equal(*both(root))


def test_two_at_once_decode_once(tmp_path, made):
    root = colours(tmp_path / "data", 30)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load.load(root))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1] and len(found) == 3
    equal(found[0], found[2])


# the disk


def test_a_disk_without_room_is_told_before_anything_is_decoded(tmp_path, monkeypatch, capsys):
    root = colours(tmp_path / "data")
    free = SimpleNamespace(total=10**12, used=0, free=cache.SPARE + 1000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: free)
    monkeypatch.setattr(workers, "decode", lambda *given: pytest.fail("it was decoded"))
    with pytest.raises(UserError) as caught:
        load.load(root, 400)
    told = caught.value
    assert told.code == "disk" and told.exit == 4 and files() == []
    assert "take 5 MB once they are decoded, 209 MB are free" in told.found
    assert "SOURON_CACHE=FOLDER" in told.fix and "imgsz=" in told.fix
    ended = main.run(["train", "cnn_tiny", f"data={root}", "imgsz=400", "epochs=1"])
    assert ended == 4 and "209 MB are free" in capsys.readouterr().err


def test_older_pictures_make_room(tmp_path, monkeypatch):
    root = colours(tmp_path / "data")
    load.load(root, 30)
    load.load(root, 31)
    old, new = sorted(cache.folder().glob("*.pictures"))
    os.utime(old, (1, 1))
    held = [3 * 32**2 * 12 + 10_000]  # bytes on the disk in all

    def usage(path):
        taken = sum(f.stat().st_size for f in (old, new) if f.exists())
        return SimpleNamespace(free=cache.SPARE + held[0] + 50_000 - taken)

    monkeypatch.setattr(cache.shutil, "disk_usage", usage)
    load.load(root, 32)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_that_is_full_while_writing(tmp_path, monkeypatch, processes):
    root = colours(tmp_path / "data", 40)
    monkeypatch.setattr(workers, "FEWEST", 0 if processes > 1 else 1000)
    monkeypatch.setattr(workers, "CHUNK", 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # children have it too
    try:
        with pytest.raises(UserError) as caught:
            load.load(root, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = caught.value
    assert told.code == "disk" and told.exit == 4 and os.strerror(errno.EFBIG) in told.found
    assert "MB free" in told.found and "SOURON_CACHE" in told.fix
    assert files() == []
    wait_for_workers()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    root = colours(tmp_path / "data")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError) as caught:
        load.load(root)
    assert caught.value.code == "disk" and caught.value.exit == 4


# decoding in parallel


def test_processes_decode_as_one_does(tmp_path, monkeypatch):
    root = colours(tmp_path / "日本 語", 30)
    (root / "b/13.png").write_bytes(b"x")
    (root / "a/2.png").rename(root / "a" / os.fsdecode(b"\x93\xfa.png"))  # no UTF-8
    raw = []
    for fewest in (1000, 0):
        monkeypatch.setattr(workers, "FEWEST", fewest)
        monkeypatch.setattr(workers, "CHUNK", 3)
        monkeypatch.setattr(workers.hardware, "cores", lambda: 3)
        one = load.load(root)
        raw.append(place().read_bytes())
        place().unlink()
    assert raw[0] == raw[1] and len(one) == 29
    wait_for_workers()


def test_progress_is_told_in_order(tmp_path, monkeypatch):
    root, heard = colours(tmp_path / "data", 30), []
    monkeypatch.setattr(workers, "CHUNK", 8)
    folder.load(root, Reading(progress=lambda done, total: heard.append((done, total)), large="decode"))
    assert heard == [(8, 30), (16, 30), (24, 30), (30, 30)]


def test_a_process_that_dies_is_told(tmp_path, monkeypatch):
    root = colours(tmp_path / "data", 30)
    monkeypatch.setattr(workers, "FEWEST", 0)
    monkeypatch.setattr(workers, "CHUNK", 5)
    monkeypatch.setattr(workers.hardware, "cores", lambda: 2)  # of one core nothing is decoded elsewhere
    began = workers.Worker.__init__

    def doomed(self, recipe):
        began(self, recipe)
        self.process.kill()

    monkeypatch.setattr(workers.Worker, "__init__", doomed)
    with pytest.raises(UserError) as caught:
        load.load(root)
    assert caught.value.code == "decoding" and ".png to " in caught.value.found
    assert files() == []


def test_no_module_of_the_folder_is_run(tmp_path, monkeypatch):
    root = colours(tmp_path / "data", 10)
    (tmp_path / "torch.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "FEWEST", 0)
    monkeypatch.setattr(workers, "CHUNK", 5)
    assert len(load.load(root)) == 10


# memory


def test_resident_memory_stays_small(tmp_path):
    """400 MB of pictures, all of them read three times, in batches of 8 MB."""
    root = tmp_path / "data"
    for i in range(128):
        place = root / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, i, i)).save(place)
    program = """
import sys
from pathlib import Path
import torch
from souron.data import cache
from souron.data.dataset import Loader
from souron.data.formats import folder
from souron.data.readers.settings import Reading
cache.SHARE_OF_MEMORY = 0
def held(name):
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name)]
    return int(line.split()[1]) // 1024
cases = folder.load(Path(sys.argv[1]), Reading(1024, large="decode"))
before = held("VmRSS"), held("RssFile")
total, most = 0, 0
feed = Loader(cases.only(range(127, -1, -1)), lambda rows: rows.input, seed=1)
drawn = feed.endless(2)
for read in (lambda: cases.input.split(2), lambda: (next(drawn) for _ in range(64)),
             lambda: feed.once(2)):
    for image in read():
        total += int(image[:, 0, 0, 0].sum())
        most = max(most, held("VmRSS") - before[0])
print(total, most, held("RssFile") - before[1])
"""
    asked = [sys.executable, "-c", program, str(root)]
    total, most, mapped = map(int, subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())
    assert total == 3 * sum(range(128))  # all of it was read
    assert most < 100 and mapped < 50  # MB


def test_small_pictures_stay_in_memory(photos, monkeypatch):
    monkeypatch.setattr(cache, "SHARE_OF_MEMORY", 1 / 3)
    monkeypatch.setattr(cache.hardware, "memory", lambda: (10**9, 3 * 60 * 24**2 + 3))
    assert isinstance(load.load(photos).input, torch.Tensor)
    monkeypatch.setattr(cache.hardware, "memory", lambda: (10**9, 3 * 60 * 24**2 - 3))
    assert isinstance(load.load(photos).input, LazyColumn)


def test_what_wants_all_at_once_stays_in_memory(photos):
    cases = prepare.dataset_for({**ARGS, "system": "kmeans", "data": str(photos)})
    assert isinstance(cases.input, torch.Tensor)


# what is foretold, and what is told meanwhile


def test_the_forecast_tells_of_the_file_before_it_is_written(photos):
    told = None
    events = train.training("cnn_tiny", photos, budget="1ep", batch=8, project="runs", folds=1)
    for event in events:
        if event.forecast is not None:
            told = event.forecast
            break
    assert told is not None and told.decoding is not None and files() == []
    assert told.decoding.seconds > 0 and told.cases == {"train": 42, "val": 9, "test": 9}
    record = run_events.last(events)
    size = place().stat().st_size
    assert 0.5 * size < told.decoding.bytes < 2 * size
    assert record.forecast == told.cost and isinstance(record.test.input, cache.OnDisk)
    again = train.training("cnn_tiny", photos, budget="1ep", batch=8, project="runs", folds=1)
    told = next(event.forecast for event in again if event.forecast is not None)
    assert told.decoding is None  # it was decoded before


def test_the_command_line_foretells_it(photos, capsys):
    words = ["train", "cnn_tiny", f"data={photos}", "epochs=1", "batch=8", "--forecast"]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["decoding"].keys() == {"seconds", "bytes"} and told["decoding"]["bytes"] > 34_560
    assert main.run(words) == 0
    assert "the images are decoded once into a file of" in capsys.readouterr().out
    assert files() == [] and not Path("runs").exists()
    assert main.run([*words[:3], "budget=10ex", "batch=8", "folds=1"]) == 0
    assert "the images are decoded once into a file of" in capsys.readouterr().err


@pytest.mark.parametrize("system", ["resnet_tiny", "dcgan_tiny"])
def test_a_forecast_for_what_looks_first(photos, system):
    """Frozen layers look at each picture, a generator's scale at some: of a few, here."""
    options = {}
    if system == "resnet_tiny":
        options = {"freeze": True, "folds": 1}
        train.train(system, photos, budget="1ep", batch=8, project=".", name="x", folds=1)
        options["pretrained"] = str(Path("classify/x"))
        place().unlink()
    events = train.training(system, photos, budget="1ep", batch=8, augment="none", **options)
    told = next(event.forecast for event in events if event.forecast is not None)
    assert told.decoding is not None and told.cost.seconds > 0 and files() == []


def test_a_sketch_stands_for_all():
    few = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 1, 2, 2)
    column = Sketch(few, 8, 100, 1.5)
    assert column.shape == (8, 1, 2, 2)
    assert column[torch.tensor([0, 4, 7])][:, 0, 0, 0].tolist() == [0, 1, 1]
    assert column.only(torch.tensor([5, 4]))[:][:, 0, 0, 0].tolist() == [2, 1]
    assert len(set(column.digests())) == 8
    assert Sketch(torch.zeros(3, 7), 8).shape == (8, 7)


def test_how_far_decoding_is_can_be_watched(photos, monkeypatch):
    slow = workers.decode

    def slower(*given):
        time.sleep(0.1)
        return slow(*given)

    monkeypatch.setattr(workers, "decode", slower)
    monkeypatch.setattr(workers, "CHUNK", 4)
    monkeypatch.setattr(reading, "SLICE", 0.02)
    monkeypatch.setattr(reading, "TELLS_TIME", 0.3)
    events = reading.reading({**ARGS, "data": str(photos)})
    seen, begun, at = [], time.monotonic(), []
    with pytest.raises(StopIteration) as ended:
        while True:
            seen.append(next(events))
            at.append(time.monotonic() - begun)
    assert len(ended.value.value) == 60 and {event.phase for event in seen} == {"data"}
    parts = [event.fraction for event in seen]
    assert parts == sorted(parts) and len({p for p in parts if 0 < p < 1}) > 5
    assert parts[0] > 0  # what takes less than that long is not told
    told = [(event, spent) for event, spent in zip(seen, at, strict=True) if event.seconds_left]
    assert told and all(event.seconds_left <= spent * (1 - event.fraction) / event.fraction for event, spent in told)
    assert "left" in console.left(told[0][0])


def test_ctrl_c_while_decoding_leaves_no_half_file(photos, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 2)
    monkeypatch.setattr(reading, "SLICE", 0.01)
    monkeypatch.setattr(reading, "TELLS_TIME", 0.0)
    slow = workers.decode
    monkeypatch.setattr(workers, "decode", lambda *given: (time.sleep(0.05), slow(*given))[1])
    events = train.training("cnn_tiny", photos, budget="1ep", batch=8, project="runs", folds=1)
    told = False
    with pytest.raises(KeyboardInterrupt):
        for event in events:
            told = told or event.forecast is not None
            if told and event.phase == "data" and event.fraction > 0.2:
                assert any(name.endswith(".part") for name in files())
                events.throw(KeyboardInterrupt())
    assert files() == [] and not Path("runs").exists()


def test_what_reading_raises_reaches_whoever_watches(tmp_path):
    with pytest.raises(UserError) as caught:
        run_events.last(train.training("cnn_tiny", tmp_path / "nothing"))
    assert caught.value.code in ("missing", "data")


def test_the_next_batch_is_fetched_while_one_is_worked_on(tmp_path, monkeypatch):
    cases, wanted, read = load.load(colours(tmp_path / "data")), [], []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, place, count, how: wanted.append(place))
    into = cache.File.read
    monkeypatch.setattr(cache.File, "read", lambda self, to, place: (read.append(place), into(self, to, place))[1])
    batches = Loader(cases, lambda rows: rows.input).endless(1)
    for number in range(11):
        next(batches)
        assert wanted[number] not in read  # it was asked for before it was read
    next(batches)
    assert sorted(wanted) == sorted(read[1:]) and len(read) == 12


def test_what_a_container_keeps_of_files_is_not_taken(tmp_path, monkeypatch):
    for name, text in {
        "memory.max": "8000000000",
        "memory.current": "7000000000",
        "memory.stat": "anon 900\ninactive_file 5000000000\nactive_file 1000000000\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hardware, "Path", lambda path: tmp_path / Path(path).name)
    free = SimpleNamespace(total=16 * 10**9, available=15 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert hardware.memory() == (8 * 10**9, 7 * 10**9)


def test_a_disk_that_takes_a_part_of_a_write(tmp_path):
    """As it does where it is nearly full."""
    taken = bytearray(20)

    class Slow:
        def seek(self, place):
            self.place = place

        def write(self, data):
            some = bytes(data[:3])
            taken[self.place : self.place + len(some)] = some
            self.place += len(some)
            return len(some)

    workers._write(Slow(), 5, memoryview(b"ten bytes!"))
    assert bytes(taken) == bytes(5) + b"ten bytes!" + bytes(5)
