"""Data sets of papers, fetched from their own sites: small imitations in the layout of the archives."""

import gzip
import io
import re
import shutil
import tarfile
import zipfile
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from souron import registry
from souron.data import load
from souron.data.targets.boxes import boxes_of
from souron.hub import fetch
from souron.utils.messages import UserError

DOCS = Path(__file__).parents[1] / "docs"
SETS = {
    "voc2007": 6,
    "coco128": 3,
    "penn_fudan": 3,
    "oxford_pets": 8,
    "montgomery": 4,
    "hippocampus": 3,
    "horse2zebra": 8,
    "librispeech": 4,
    "pneumoniamnist": 24,
    "breastmnist": 24,
    "bloodmnist": 24,
    "retinamnist": 24,
}


def picture(seed: int, size=(40, 30), suffix: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return encoded(Image.fromarray(pixels), suffix)


def encoded(image: Image.Image, suffix: str = "PNG") -> bytes:
    told = io.BytesIO()
    image.save(told, suffix)
    return told.getvalue()


def numbers(*values: int, size=(40, 30)) -> bytes:
    """A mask whose columns have these numbers."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for place, value in enumerate(values):
        mask[5:20, 5 + 8 * place : 12 + 8 * place] = value
    return encoded(Image.fromarray(mask))


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    told = io.BytesIO()
    with tarfile.open(fileobj=told, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return told.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    told = io.BytesIO()
    with zipfile.ZipFile(told, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return told.getvalue()


def voc2007() -> list[bytes]:
    def half(names: dict[str, str]) -> dict[str, bytes]:
        files, base = {}, "VOCdevkit/VOC2007"
        for number, (name, part) in enumerate(names.items()):
            thing = "cat" if number % 2 else "dog"
            box = "<xmin>5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>25</ymax>"
            files[f"{base}/JPEGImages/{name}.jpg"] = picture(int(name))
            files[f"{base}/Annotations/{name}.xml"] = (
                f"<annotation><filename>{name}.jpg</filename><size><width>40</width><height>30</height></size>"
                f"<object><name>{thing}</name><bndbox>{box}</bndbox></object></annotation>"
            ).encode()
            listed = f"{base}/ImageSets/Main/{part}.txt"
            files[listed] = files.get(listed, b"") + f"{name}\n".encode()
        first, part = next(iter(names.items()))
        files[f"{base}/SegmentationClass/{first}.png"] = numbers(8, 255)
        files[f"{base}/ImageSets/Segmentation/{part}.txt"] = f"{first}\n".encode()
        return files

    return [
        tarred(half({"000001": "train", "000002": "train", "000003": "val"})),
        tarred(half({"000004": "test", "000005": "test", "000006": "test"})),
    ]


def coco128() -> list[bytes]:
    files = {f"coco128/images/train2017/{n}.jpg": picture(n) for n in range(3)}
    files |= {"coco128/labels/train2017/0.txt": b"15 0.5 0.5 0.2 0.4\n0 0.2 0.2 0.1 0.1\n"}
    files |= {"coco128/labels/train2017/1.txt": b"79 0.5 0.5 0.2 0.4\n", "coco128/LICENSE": b"-"}
    return [zipped(files)]


def penn_fudan() -> list[bytes]:
    names = ["FudanPed00001", "FudanPed00002", "PennPed00001"]
    files = {f"PennFudanPed/PNGImages/{name}.png": picture(n, suffix="PNG") for n, name in enumerate(names)}
    files |= {f"PennFudanPed/PedMasks/{name}_mask.png": numbers(1, 2) for name in names}
    return [zipped(files | {"PennFudanPed/readme.txt": b"-"})]


def oxford_pets() -> list[bytes]:
    names = {
        f"{breed}_{n}": "test" if n == 4 else "trainval" for breed in ("Egyptian_Mau", "beagle") for n in range(1, 5)
    }
    images = {f"images/{name}.jpg": picture(n) for n, name in enumerate(names)}
    other = {f"annotations/trimaps/{name}.png": numbers(1, 3) for name in names}
    for part in ("trainval", "test"):
        lines = "".join(f"{name} 1 1 1\n" for name, own in names.items() if own == part)
        other[f"annotations/{part}.txt"] = lines.encode()
    trimap = np.full((30, 40), 2, np.uint8)
    trimap[5:20, 5:12], trimap[5:20, 13:20] = 1, 3
    other |= {name: encoded(Image.fromarray(trimap)) for name in other if "trimaps" in name}
    return [tarred(images, "w:gz"), tarred(other, "w:gz")]


def montgomery() -> list[bytes]:
    files = {}
    for n in range(4):
        name = f"MCUCXR_000{n}_{n % 2}.png"
        files[f"MontgomerySet/CXR_png/{name}"] = encoded(Image.open(io.BytesIO(picture(n))).convert("L"))
        files[f"MontgomerySet/ManualMask/leftMask/{name}"] = numbers(255)
        files[f"MontgomerySet/ManualMask/rightMask/{name}"] = numbers(0, 255)
    return [zipped(files)]


def hippocampus() -> list[bytes]:
    def volume(values: np.ndarray) -> bytes:
        return nibabel.Nifti1Image(values, np.eye(4)).to_bytes()

    files = {"Task04_Hippocampus/dataset.json": b'{"labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}'}
    for n in range(3):
        grey = np.random.default_rng(n).integers(0, 200, (12, 14, 10)).astype(np.int16)
        label = np.zeros((12, 14, 10), np.uint8)
        label[3:6, 3:6, 3:6], label[7:9, 7:9, 3:6] = 1, 2
        name = f"hippocampus_00{n}.nii.gz"
        files[f"Task04_Hippocampus/imagesTr/{name}"] = gzip.compress(volume(grey))
        files[f"Task04_Hippocampus/labelsTr/{name}"] = gzip.compress(volume(label))
        files[f"Task04_Hippocampus/imagesTr/._{name}"] = b"\x00\x05\x16\x07"
    return [tarred(files)]


def horse2zebra() -> list[bytes]:
    places = ["trainA/1", "trainA/2", "trainB/3", "trainB/4", "testA/5", "testA/6", "testB/7", "testB/8"]
    return [zipped({f"horse2zebra/{place}.jpg": picture(n) for n, place in enumerate(places)})]


def librispeech() -> list[bytes]:
    files = {}
    for speaker in (84, 174):
        folder = f"LibriSpeech/dev-clean/{speaker}/1"
        for n in range(2):
            sound = io.BytesIO()
            soundfile.write(sound, np.random.default_rng(n).normal(0, 0.1, 16_000), 16_000, format="FLAC")
            files[f"{folder}/{speaker}-1-000{n}.flac"] = sound.getvalue()
        lines = f"{speaker}-1-0000 GO DO YOU HEAR\n{speaker}-1-0001 BUT IN LESS THAN FIVE MINUTES\n"
        files[f"{folder}/{speaker}-1.trans.txt"] = lines.encode()
    return [tarred(files, "w:gz")]


def medmnist(grey: bool, **changed: np.ndarray) -> bytes:
    own = np.random.default_rng(0)
    shape = (64, 64) if grey else (64, 64, 3)
    arrays = {}
    for part, count in (("train", 15), ("val", 5), ("test", 4)):
        arrays[f"{part}_images"] = own.integers(0, 255, (count, *shape), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    told = io.BytesIO()
    np.savez_compressed(told, **(arrays | changed))
    return told.getvalue()


MADE = {
    **{name: globals()[name] for name in SETS if name in globals()},
    "pneumoniamnist": lambda: [medmnist(True)],
    "breastmnist": lambda: [medmnist(True)],
    "bloodmnist": lambda: [medmnist(False)],
    "retinamnist": lambda: [medmnist(False)],
}


def put(name: str, contents: list[bytes], folder: Path, monkeypatch) -> None:
    """Lay archives into the folder of a data set, as somebody without a network would."""
    entry = load.names()[name]
    place = folder / "data" / name
    place.mkdir(parents=True)
    pairs = []
    for (url, digest), content in zip(entry.archives, contents, strict=True):
        (place / load.archive_name(url)).write_bytes(content)
        pairs.append((url, f"md5:{md5(content).hexdigest()}" if digest else ""))
    monkeypatch.setitem(load.names(), name, replace(entry, downloads=tuple(pairs)))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    monkeypatch.delenv("SOURON_DATA", raising=False)
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def fetched(cache, monkeypatch):
    def made(name: str, target: str = ""):
        put(name, MADE[name](), cache, monkeypatch)
        fetch.fetch(name)
        return load.load(name, 32, target=target)

    return made


@pytest.mark.parametrize("name", SETS)
def test_a_fetched_archive_becomes_cases(fetched, name):
    cases = fetched(name)
    entry = load.names()[name]
    assert len(cases) == SETS[name] and not [one for one in cases.skipped if one.code == "unreadable"]
    assert (cases.name, cases.licence, cases.source) == (name, entry.licence, entry.source)


def test_voc_has_boxes_or_areas_and_its_own_parts(fetched, cache):
    cases = fetched("voc2007")
    assert cases.classes == ("cat", "dog")
    assert sorted(cases.part) == ["test", "test", "test", "train", "train", "val"]
    areas = load.load("voc2007", 32, target="classes_of_pixels")
    assert len(areas) == 2 and len(areas.classes) == 21 and sorted(areas.part) == ["test", "train"]
    assert areas.classes[8] == "cat" and {0, 8, 255} == set(areas.target.unique().tolist())


def test_coco_keeps_an_image_without_objects_and_all_names(fetched):
    cases = fetched("coco128")
    assert len(cases.classes) == 80 and cases.classes[15] == "cat" and cases.classes[-1] == "toothbrush"
    assert [len(box) for box in boxes_of(cases.target)] == [2, 1, 0] and cases.part == ()


def test_a_pedestrian_is_a_person(fetched):
    cases = fetched("penn_fudan")
    assert cases.classes == ("person",) and [len(box) for box in boxes_of(cases.target)] == [2, 2, 2]


def test_pets_have_breeds_or_areas_without_their_outline(fetched):
    cases = fetched("oxford_pets")
    assert set(cases.classes) == {"beagle", "Egyptian Mau"}
    assert sorted(cases.part) == ["test"] * 2 + ["train"] * 6
    areas = load.load("oxford_pets", 40, target="classes_of_pixels")
    assert areas.classes == ("background", "pet") and {0, 1, 255} == set(areas.target.unique().tolist())
    middle = areas.target[0, 10:25]
    assert (middle[:, 6:11] == 1).all() and (middle[:, 15:19] == 255).any()


def test_lungs_are_two_areas_and_the_last_figure_is_the_label(fetched):
    areas = fetched("montgomery")
    assert areas.classes == ("background", "left lung", "right lung")
    assert {0, 1, 2} <= set(areas.target.unique().tolist())
    cases = load.load("montgomery", 32, target="classes")
    assert [cases.classes[label] for label in cases.target] == ["normal", "tuberculosis"] * 2


def test_volumes_have_the_names_of_their_table(fetched):
    cases = fetched("hippocampus")
    assert [name.lower() for name in cases.classes] == ["background", "anterior", "posterior"]


def test_sentences_have_their_speaker(fetched):
    cases = fetched("librispeech")
    assert len(set(cases.group)) == 2


def test_parts_and_order_of_medmnist_are_kept(fetched):
    cases = fetched("bloodmnist")
    assert cases.part == ["train"] * 15 + ["val"] * 5 + ["test"] * 4 and cases.input.shape == (24, 3, 32, 32)
    assert cases.target.tolist()[13:19] == [1, 0, 0, 1, 0, 1]
    whole = load.load("bloodmnist")
    with np.load(io.BytesIO(medmnist(False))) as arrays:
        assert torch.equal(whole.input[15], torch.from_numpy(arrays["val_images"][0]).permute(2, 0, 1))


@pytest.mark.parametrize(
    "changed",
    [
        {"train_labels": np.zeros((14, 1), np.uint8)},
        {"train_labels": np.full((15, 1), 200, np.uint8)},
        {"train_images": np.zeros((15, 64, 64), np.float32)},
        {"train_images": np.zeros((15, 64, 60), np.uint8)},
        {"train_images": np.array([None] * 15)},
    ],
)
def test_a_damaged_file_of_medmnist_is_refused(cache, monkeypatch, changed):
    put("pneumoniamnist", [medmnist(True, **changed)], cache, monkeypatch)
    fetch.fetch("pneumoniamnist")
    with pytest.raises(UserError) as trouble:
        load.load("pneumoniamnist")
    assert trouble.value.code == "corrupt"


def test_an_archive_of_medmnist_that_unpacks_to_too_much_is_refused(cache, monkeypatch):
    from souron.data.readers import npz_images

    monkeypatch.setattr(npz_images, "MOST_BYTES", 10_000)
    put("pneumoniamnist", [medmnist(True)], cache, monkeypatch)
    fetch.fetch("pneumoniamnist")
    with pytest.raises(UserError, match="larger than"):
        load.load("pneumoniamnist")


@pytest.mark.parametrize("name", ["voc2007", "hippocampus"])
def test_another_archive_than_the_published_one_is_refused(cache, name):
    entry = load.names()[name]
    place = cache / "data" / name
    place.mkdir(parents=True)
    for url, _digest in entry.archives:
        (place / load.archive_name(url)).write_bytes(b"not it")
    with pytest.raises(UserError, match="is not what was published") as trouble:
        fetch.fetch(name)
    assert trouble.value.code == "checksum"


def test_a_damaged_archive_without_a_published_checksum_is_refused(cache):
    place = cache / "data" / "penn_fudan"
    place.mkdir(parents=True)
    (place / "PennFudanPed.zip").write_bytes(b"PK cut short")
    with pytest.raises(UserError, match=r"PennFudanPed\.zip"):
        fetch.fetch("penn_fudan")


def test_a_disk_without_room_is_told_before_anything_is_fetched(cache, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10**9))
    with pytest.raises(UserError) as trouble:
        fetch.fetch("voc2007")
    assert trouble.value.code == "disk" and "1,822 MB" in trouble.value.expected


def test_offline_it_says_which_archive_goes_where(cache):
    with pytest.raises(UserError) as trouble:
        fetch.fetch("oxford_pets")
    assert "images.tar.gz, annotations.tar.gz" in trouble.value.expected


COMMANDS = re.findall(r"`souron (train|compare|val) ([^`.]+)`", (DOCS / "real.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", [words for _verb, words in COMMANDS])
def test_the_commands_of_the_page_name_systems_that_take_the_data(words, cache, monkeypatch):
    names = [word for word in words.split() if "=" not in word]
    options = dict(word.split("=", 1) for word in words.split() if "=" in word)
    data = options["data"]
    assert names and data in load.names()
    for name in names:
        task = registry.load_task(registry.find(name)[0].task)
        if data in SETS:
            put(data, MADE[data](), cache, monkeypatch)
            fetch.fetch(data)
            cases = load.load(data, 32, target=task.target)
            task.check(cases, task.Options())
            assert task.spec(cases) is not None
            monkeypatch.undo()
            shutil.rmtree(cache / "data" / data)
            monkeypatch.setenv("SOURON_CACHE", str(cache))


def test_the_page_lists_every_set():
    page = (DOCS / "real.md").read_text(encoding="utf-8")
    for name in SETS:
        entry = load.names()[name]
        assert f"| `{name}` |" in page
        assert all(
            bool(digest) == ("published |" in page.partition(f"| `{name}` |")[2].partition("\n")[0])
            for _url, digest in entry.archives
        )
