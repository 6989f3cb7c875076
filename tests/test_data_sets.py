"""The data sets: read from files that each test makes itself, in the formats as published."""

import gzip
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import souron
from souron import registry
from souron.data import load
from souron.data.formats import idx
from souron.data.sets import cifar10, fashion, stamps
from souron.data.transforms import resized
from souron.utils.messages import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no package of the machine's own in sight."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_DATA", raising=False)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setattr(load, "INSTALLED", tmp_path / "installed")
    return tmp_path / "cache"


def as_idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, train: int = 20, test: int = 10, packed: bool = True) -> np.ndarray:
    """Four files of pictures 28x28; returns the pictures to learn from."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    first = None
    for stem, count in (("train", train), ("t10k", test)):
        image = generator.integers(0, 256, (count, 28, 28), np.uint8)
        label = (np.arange(count) % 10).astype(np.uint8)
        first = image if first is None else first
        for name, array in (("images-idx3", image), ("labels-idx1", label)):
            file = folder / f"{stem}-{name}-ubyte"
            if packed:
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(as_idx(array)))
            else:
                file.write_bytes(as_idx(array))
    return first


def test_describing_the_data_sets_imports_no_torch():
    code = (
        "import sys; from souron.data import load\n"
        "assert {'digits', 'fashion', 'mnist', 'cifar10', 'stamps'} <= set(load.names())\n"
        "assert {'scenes', 'photographs'} <= set(load.names())\n"
        "[entry.where() for entry in load.names().values()]\n"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("entry", load.names().values(), ids=lambda entry: entry.name)
def test_every_data_set_says_what_it_is(entry):
    assert 20 < len(entry.idea) < 90 and entry.ja and entry.licence
    assert entry.source.startswith("http")
    shown = entry.task == "surface" and entry.cases == 1  # to be looked at, not learnt from
    assert shown or (entry.task in registry.tasks() and entry.cases >= 38)
    assert entry.ships_with or (entry.needs and entry.megabytes and (entry.debian or entry.downloads or entry.package))


def test_a_data_set_is_added_by_one_file(tmp_path, monkeypatch):
    (tmp_path / "data" / "sets").mkdir(parents=True)
    (tmp_path / "data" / "sets" / "twelfth.py").write_text('"""A twelfth."""\ntask = "classify"\ncases = 3\n')
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(tmp_path)])
    load.names.cache_clear()
    try:
        assert load.names()["twelfth"].idea == "A twelfth."
    finally:
        monkeypatch.undo()
        load.names.cache_clear()


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    theirs = load_digits()
    ours = load.load("digits")
    assert ours.input.shape == (1797, 1, 8, 8) and ours.input.dtype == torch.uint8
    assert ours.input.max() == 255 and ours.target.tolist() == theirs.target.tolist()
    assert np.allclose(ours.input[:, 0].numpy() / 255 * 16, theirs.images, atol=0.04)
    assert len(set(ours.file)) == 1797 and ours.part == () and ours.augment == ("shift",)
    assert load.names()["digits"].where().name == "sklearn"


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "raw"])
@pytest.mark.parametrize("name", ["fashion", "mnist"])
def test_mnist_files_are_read(cache, name, packed):
    written = write_mnist(cache / "data" / name, packed=packed)
    cases = load.load(name)
    assert cases.input.shape == (30, 1, 28, 28)
    assert np.array_equal(cases.input[:20, 0].numpy(), written)
    assert cases.target.dtype == torch.int64 and cases.target[:12].tolist() == [*range(10), 0, 1]
    assert cases.file[19:21] == ["train/00019", "test/00000"]
    assert cases.part == ["train"] * 20 + ["test"] * 10
    assert ("mirror" in cases.augment) == (name == "fashion")
    assert load.load(name, 14).input.shape == (30, 1, 14, 14)


def test_fashion_names_its_classes_in_two_languages():
    assert tuple(fashion.labels_ja) == fashion.labels and len(fashion.labels) == 10
    assert fashion.labels_ja["sneaker"] == "スニーカー"


def test_the_readers_own_folder_goes_before_the_cache_and_that_before_a_package(cache, tmp_path, monkeypatch):
    entry = load.names()["fashion"]
    assert entry.where() is None
    write_mnist(tmp_path / "installed/usr/share/datasets/fashion-mnist")
    assert entry.where() == tmp_path / "installed/usr/share/datasets/fashion-mnist"
    write_mnist(cache / "data/fashion")
    assert entry.where() == cache / "data/fashion"
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "own"))
    write_mnist(tmp_path / "own/fashion")
    assert entry.where() == tmp_path / "own/fashion"


def test_what_was_not_fetched_says_how_to_get_it(cache):
    with pytest.raises(UserError) as trouble:
        load.load("fashion")
    assert (trouble.value.code, trouble.value.exit) == ("fetch", 4)
    assert trouble.value.fix == "souron fetch fashion"
    assert str(cache / "data/fashion") in trouble.value.expected


GOOD = as_idx(np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28))
DAMAGED = {
    "empty": (b"", "truncated"),
    "cut raw": (GOOD[:-1], "truncated"),
    "cut header": (GOOD[:9], "truncated"),
    "cut gz": (gzip.compress(GOOD)[:-200], "truncated"),
    "cut gz checksum": (gzip.compress(GOOD)[:-1], "truncated"),
    "longer raw": (GOOD + b"\0", "corrupt"),
    "longer gz": (gzip.compress(GOOD + b"\0"), "corrupt"),
    "wrong magic": (b"\x89PNG" + GOOD[4:], "corrupt"),
    "other element": (b"\0\0\x0d\x03" + GOOD[4:], "corrupt"),
    "other dimensions": (as_idx(np.zeros((5, 5), np.uint8)) + bytes(50), "corrupt"),
    "wrong checksum": (gzip.compress(GOOD)[:-8] + bytes(8), "corrupt"),
    "damaged gz": (gzip.compress(GOOD)[:12] + b"\xff" * 200, "corrupt"),
    "announces 280 TB": (GOOD[:4] + b"\xff\xff" * 6, "too large"),
}


@pytest.mark.parametrize(("content", "code"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_idx_file_is_named(tmp_path, content, code):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError) as trouble:
        idx.read(tmp_path / "file", 3)
    assert (trouble.value.code, trouble.value.exit) == (code, 3)
    assert str(tmp_path / "file") in trouble.value.found


def test_a_bomb_is_not_unpacked(tmp_path):
    header = GOOD[:16]
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(header + bytes(100_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="goes on after"):
            idx.read(tmp_path / "bomb.gz", 3)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_labels_must_fit_the_pictures(cache):
    folder = cache / "data" / "mnist"
    write_mnist(folder)
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(as_idx(np.zeros(9, np.uint8))))
    with pytest.raises(UserError, match="10 test images, but 9 labels"):
        load.load("mnist")
    labels.write_bytes(gzip.compress(as_idx(np.full(10, 10, np.uint8))))
    with pytest.raises(UserError, match="label 10"):
        load.load("mnist")


def write_cifar(folder: Path) -> np.ndarray:
    """Six files of three records; returns the records, (18, 3073)."""
    folder.mkdir(parents=True)
    records = np.random.default_rng(0).integers(0, 256, (18, cifar10.RECORD), np.uint8)
    records[:, 0] = np.arange(18) % 10
    for name, rows in zip(cifar10.needs, np.split(records, 6), strict=True):
        (folder / name).write_bytes(rows.tobytes())
    return records


@pytest.mark.parametrize("inside", cifar10.inside)
def test_cifar10s_binary_version_is_read(cache, inside):
    records = write_cifar(cache / "data/cifar10" / inside)
    cases = load.load("cifar10")
    assert cases.input.shape == (18, 3, 32, 32)
    red, green = cases.input[7, 0, 0, 1], cases.input[7, 1, 0, 0]
    assert (red, green) == (records[7, 2], records[7, 1 + 1024])
    assert cases.target.tolist() == records[:, 0].tolist()
    assert cases.file[14:16] == ["train/00014", "test/00000"]
    assert cases.part.count("test") == 3


def test_cifar10_cut_short_is_named(cache):
    write_cifar(cache / "data/cifar10")
    file = cache / "data/cifar10/data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin") as trouble:
        load.load("cifar10")
    assert trouble.value.code == "truncated"


def test_cifar10s_pickles_are_never_opened(cache, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    folder = cache / "data/cifar10/cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="version for Python") as trouble:
        load.load("cifar10")
    assert trouble.value.code == "pickle" and "cifar-10-binary.tar.gz" in trouble.value.expected
    assert not (tmp_path / "sprung").exists()


def write_stamps(folder: Path) -> None:
    """Twelve mammals, ten vehicles in two folders, three lizards and eight loose animals."""
    for place, count in {
        "animals/mammals/cats": 6,
        "animals/mammals/dogs/cartoon": 6,
        "animals/lizards": 3,
        "animals": 8,
        "vehicles/auto": 5,
        "vehicles/ship/cartoon": 5,
        "medical": 2,
    }.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            stamp = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
            stamp.paste((200, 0, 0, 255), (10, 5, 30, 15))
            stamp.save(folder / place / f"thing{i}.png")
            text = f"A thing {i}.\nde.utf8=Ein Ding.\nja.utf8=もの{i}\n"
            (folder / place / f"thing{i}.txt").write_text(text, encoding="utf-8")
    Image.new("RGB", (4, 4)).save(folder / "animals/thing0_mirror.png")  # no caption


def test_stamps_are_classed_by_folder_on_white(cache):
    write_stamps(cache / "data/stamps")
    (cache / "data/stamps/vehicles/auto/thing4.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    cases = load.load("stamps")
    assert cases.classes == ("mammals", "other animals", "vehicles")
    assert cases.target.bincount().tolist() == [12, 11, 9]
    assert [skipped.file for skipped in cases.skipped] == ["vehicles/auto/thing4.png"]
    assert cases.input.shape == (32, 3, 64, 64) and "animals/mammals/cats/thing0.png" in cases.file
    corner, middle = cases.input[0, :, 0, 0], cases.input[0, :, 32, 32]
    assert corner.tolist() == [255, 255, 255] and middle.tolist() == [200, 0, 0]
    red = (cases.input[0, 1] < 128).nonzero()  # a bar twice as wide as high stays one
    assert (red.max(0).values - red.min(0).values + 1).tolist() == [16, 32]
    assert load.load("stamps", 32).side == 32


def test_stamps_have_captions_in_two_languages(cache):
    write_stamps(cache / "data/stamps")
    (cache / "data/stamps/medical/thing1.txt").write_text("Only English.\n", encoding="utf-8")
    captions = {file: (english, japanese) for file, english, japanese in stamps.captions()}
    assert len(captions) == 35
    assert captions["animals/mammals/cats/thing3.png"] == ("A thing 3.", "もの3")
    assert captions["medical/thing1.png"] == ("Only English.", "")


def test_resizing_keeps_what_is_flat_and_averages_what_is_fine():
    flat = torch.full((3, 1, 28, 28), 90, dtype=torch.uint8)
    assert resized(flat, None) is flat and resized(flat, 28) is flat
    assert (resized(flat, 64) == 90).all() and resized(flat, 64).shape == (3, 1, 64, 64)
    fine = (torch.arange(32) % 2 * 200).to(torch.uint8).expand(1, 1, 32, 32)
    assert (resized(fine, 8).float() - 100).abs().max() <= 13  # without antialiasing 0 or 200
    many = torch.randint(0, 256, (1100, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(resized(many, 16)[1030:], resized(many[1030:], 16))


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UserError) as trouble:
        load.load("fasion")
    assert "near: fashion" in trouble.value.expected
    assert (trouble.value.fix, trouble.value.exit) == ("souron data fashion", 3)
    with pytest.raises(UserError) as trouble:
        load.load("写真/胸部")
    assert "one sub-folder per class" in trouble.value.expected
    assert trouble.value.fix == "souron list --data"


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"photos\.zip.*not read as data"):
        load.load(tmp_path / "photos.zip")


def write_photos(folder: Path) -> None:
    for label, grey in (("猫", 20), ("犬", 200)):
        (folder / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (12, 12), (grey, grey + i, grey)).save(folder / label / f"{i}.png")


def test_a_folder_and_a_csv_are_data(tmp_path):
    write_photos(tmp_path / "photos")
    cases = load.load(str(tmp_path / "photos"), 12)
    assert sorted(cases.classes) == ["犬", "猫"] and len(cases) == 6
    rows = [f"photos/{label}/{i}.png,{label}" for label in "猫犬" for i in range(3)]
    (tmp_path / "list.csv").write_text("\n".join(["filename,label", *rows]), encoding="utf-8")
    assert len(load.load(tmp_path / "list.csv", 12)) == 6


def test_a_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    write_photos(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(load.load("digits")) == 1797
    assert len(load.load("./digits", 12)) == 6
    assert len(load.load(Path("digits"), 12)) == 6
