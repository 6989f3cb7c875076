"""Any folder of pictures, the CSV and the ``data.yaml`` that name them."""

import os
from collections import namedtuple

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from souron.data import load as data_load
from souron.data.formats import csv_table, folder, yolo
from souron.data.readers.settings import Reading
from souron.utils.messages import UserError


def save(path, value=100, size=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 50, 0)).save(path)
    return path


def why(cases) -> dict[str, str]:
    return {skipped.file: skipped.code for skipped in cases.skipped}


def trouble(load, path, *reading) -> UserError:
    with pytest.raises(UserError) as caught:
        load(path, *reading)
    return caught.value


def test_class_folders(tmp_path):
    for name in ("10.png", "2.png", "deep/er/1.png"):
        save(tmp_path / "cat" / name)
    save(tmp_path / "犬 dog" / "-rf '1'.png", 7)
    cases = folder.load(tmp_path)
    assert cases.classes == ("cat", "犬 dog")
    assert list(cases.file) == ["cat/2.png", "cat/10.png", "cat/deep/er/1.png", "犬 dog/-rf '1'.png"]
    assert cases.target.tolist() == [0, 0, 0, 1]
    assert cases.input.shape == (4, 3, 12, 12) and cases.input[3, 0].unique().tolist() == [7]
    assert cases.part == () and cases.group == () and cases.skipped == ()
    assert cases.name == tmp_path.name


def test_control_characters_in_a_class_are_shown(tmp_path, capsys):
    for name in ("a", "b\nx"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "data" / name / "1.png")
    assert folder.load(tmp_path / "data").classes == ("a", "b␊x")


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Validation", "TEST"), ("training", "valid", "testing")]
)
def test_parts(tmp_path, names):
    for name in names:
        save(tmp_path / name / "a" / "1.png")
        save(tmp_path / name / "b" / "1.png")
    cases = folder.load(tmp_path)
    assert cases.classes == ("a", "b")
    assert sorted(cases.part) == ["test", "test", "train", "train", "val", "val"]
    assert cases.part[[f.lower()[:2] for f in cases.file].index("va")] == "val"


def test_parts_without_test_and_with_flat_files(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/unlabelled.png", "val/a/1.png"):
        save(tmp_path / name)
    cases = folder.load(tmp_path)
    assert sorted(cases.part) == ["train", "train", "val"]
    assert why(cases) == {"test/unlabelled.png": "no label"}


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train/1.png", "plane/1.png"):
        save(tmp_path / name)
    assert folder.load(tmp_path).classes == ("plane", "train")
    save(tmp_path / "train" / "steam" / "2.png")
    assert folder.load(tmp_path).classes == ("plane", "train")


@pytest.mark.parametrize("above", ["data", "data/train", "data/set/train"])
def test_folders_above_the_classes(tmp_path, above):
    save(tmp_path / above / "a" / "1.png")
    save(tmp_path / above / "b" / "1.png")
    cases = folder.load(tmp_path)
    assert cases.classes == ("a", "b") and cases.file[0] == f"{above}/a/1.png"


def test_bad_files_are_skipped_by_name(tmp_path):
    save(tmp_path / "a" / "good.png")
    save(tmp_path / "b" / "good.png")
    save(tmp_path / "loose.png")
    (tmp_path / "a" / "text.png").write_text("hello")
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "a" / "empty.jpg").touch()
    big = save(tmp_path / "b" / "cut.jpg", size=(50, 50))
    big.write_bytes(big.read_bytes()[:500])
    for junk in (".DS_Store", "Thumbs.db", ".hidden.png", "desktop.ini"):
        (tmp_path / "a" / junk).write_text("junk")
    for table in ("corrected.csv", "checked-2.csv"):  # which souron wrote beside the classes
        (tmp_path / table).write_text("filename,label\n")
    save(tmp_path / "__MACOSX" / "a" / "x.png")
    cases = folder.load(tmp_path)
    assert list(cases.file) == ["a/good.png", "b/good.png"]
    assert why(cases) == {
        "a/text.png": "not an image",
        "a/notes.txt": "not an image",
        "README.md": "not an image",
        "a/empty.jpg": "empty file",
        "b/cut.jpg": "truncated",
        "loose.png": "no label",
    }
    reasons = {skipped.file: skipped.reason for skipped in cases.skipped}
    assert reasons["a/empty.jpg"] == "the file is empty"


def test_rows_stay_beside_their_files_when_some_are_skipped(tmp_path):
    for i in range(150):
        path = save(tmp_path / ("a" if i % 2 else "b") / f"{i}.png", i)
        if i % 7 == 3:
            path.write_bytes(path.read_bytes()[:45])
    seen = []
    cases = folder.load(tmp_path, Reading(progress=lambda done, total: seen.append((done, total))))
    numbers = [int(file[2:-4]) for file in cases.file]
    assert cases.input[:, 0, 0, 0].tolist() == numbers
    assert [cases.classes[c] for c in cases.target] == [file[0] for file in cases.file]
    assert len(cases) + len(cases.skipped) == 150 and len(cases.skipped) == 21
    assert seen[-1] == (150, 150)


def test_links_and_loops(tmp_path):
    root = tmp_path / "set"
    save(tmp_path / "elsewhere" / "secret.png")
    save(root / "a" / "1.png", 1)
    save(root / "b" / "1.png", 2)
    (root / "a" / "loop").symlink_to(root)
    (root / "b" / "self.png").symlink_to("self.png")
    (root / "b" / "secret.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "broken.png").symlink_to("gone.png")
    (root / "b" / "same.png").symlink_to("1.png")
    cases = folder.load(root)
    assert list(cases.file) == ["a/1.png", "b/1.png", "b/same.png"]
    assert why(cases) == {
        "a/loop": "duplicate",
        "b/self.png": "unreadable",
        "b/secret.png": "outside",
        "c": "outside",
        "b/broken.png": "missing",
    }


def test_names_from_other_systems(tmp_path):
    """Shift_JIS bytes and decomposed Unicode, as archives bring them."""
    save(tmp_path / "か\u3099" / "1.png")
    cp932 = os.fsdecode(os.fsencode(tmp_path) + b"/" + "猫".encode("cp932"))
    os.mkdir(cp932)  # noqa: PTH102
    os.rename(save(tmp_path / "x.png"), cp932 + "/x.png")  # noqa: PTH104
    cases = folder.load(tmp_path)
    assert cases.classes == ("が", "猫") and list(cases.file) == ["が/1.png", "猫/x.png"]


def test_one_class(tmp_path):
    save(tmp_path / "cat" / "1.png")
    save(tmp_path / "cat" / "2.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "1.png").write_text("no picture")
    error = trouble(folder.load, tmp_path)
    assert error.code == "one class" and error.exit == 3
    assert "1 class, 'cat', with 2 images" in error.found and "two class folders" in error.expected
    assert "CLASS/PICTURE" in error.fix


def test_one_class_beside_a_table(tmp_path):
    save(tmp_path / "all pictures" / "1.png")
    (tmp_path / "labels.csv").write_text("file,label\nall pictures/1.png,cat\n")
    assert trouble(folder.load, tmp_path).fix == f"souron data {tmp_path / 'labels.csv'}"


def test_nothing_to_load(tmp_path):
    assert trouble(folder.load, tmp_path).code == "no image"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    error = trouble(folder.load, tmp_path)
    assert error.code == "no image" and "a/1.png: the file is empty" in error.found


def test_a_missing_folder_names_the_nearest(tmp_path):
    (tmp_path / "photos").mkdir()
    error = trouble(folder.load, tmp_path / "fotos" / "deeper")
    assert error.code == "missing" and "photos" in error.expected


def test_side_and_channels(tmp_path):
    save(tmp_path / "a" / "1.png", 3, mode="L")
    save(tmp_path / "b" / "1.png", 3, mode="L")
    assert folder.load(tmp_path).input.shape == (2, 1, 12, 12)
    assert folder.load(tmp_path, Reading(side=20)).input.shape == (2, 1, 20, 20)
    save(tmp_path / "b" / "2.png", 3, size=(12, 14))
    assert folder.load(tmp_path).input.shape == (3, 3, 64, 64)
    save(tmp_path / "b" / "2.png", 3, size=(100, 100), mode="L")
    assert folder.load(tmp_path).input.shape == (3, 1, 64, 64)


def test_sixteen_bit_grey(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), 51400, np.uint16)).save(tmp_path / name / "1.png")
    cases = folder.load(tmp_path)
    assert cases.channels == 1 and cases.input.unique().tolist() == [200]


def test_what_does_not_fit_into_memory(tmp_path, monkeypatch):
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png")
    free = namedtuple("free", "available")(20_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    error = trouble(folder.load, tmp_path, Reading(side=64))
    assert error.code == "memory" and error.fix == "imgsz=40" and error.exit == 4
    assert folder.load(tmp_path, Reading(side=40)).side == 40


def test_too_many_files(tmp_path, monkeypatch):
    for i in range(5):
        save(tmp_path / "a" / f"{i}.png")
    monkeypatch.setattr(folder, "MOST_FILES", 4)
    assert trouble(folder.load, tmp_path).code == "too many files"


@pytest.fixture
def listed(tmp_path):
    for i in range(4):
        save(tmp_path / "pictures" / f"{i} 写真.png", 40 * i)

    def write(text, encoding="utf-8"):
        path = tmp_path / "list.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
def test_table(listed, encoding):
    text = (
        "filename,label,group,part\r\n"
        "pictures/1 写真.png,犬,p1,train\r\n"
        '"pictures/0 写真.png","cat, big",p2,Validation\r\n'
        "pictures/3 写真.png,犬,,\r\n"
    )
    cases = csv_table.load(listed(text, encoding))
    assert list(cases.file) == ["pictures/1 写真.png", "pictures/0 写真.png", "pictures/3 写真.png"]
    assert [cases.classes[c] for c in cases.target] == ["犬", "cat, big", "犬"]
    assert list(cases.group) == ["p1", "p2", ""] and list(cases.part) == ["train", "val", ""]
    assert cases.input[:, 0, 0, 0].tolist() == [40, 0, 120]


def test_other_column_names_and_separators(listed):
    cases = csv_table.load(listed("Patient_ID;Image; Class\nx;pictures\\0 写真.png;1\ny;pictures/1 写真.png;2\n"))
    assert cases.classes == ("1", "2") and list(cases.group) == ["x", "y"]


def test_bad_rows_are_skipped(listed, tmp_path):
    outside = save(tmp_path.parent / "outside.png")
    text = (
        "file,label\npictures/0 写真.png,a\npictures/1 写真.png,b\npictures/gone.png,a\n"
        "./pictures/0 写真.png,b\npictures/2 写真.png,\n../outside.png,a\n"
        f"{outside},b\npictures/3 写真.png\n\n"
    )
    cases = csv_table.load(listed(text))
    assert list(cases.file) == ["pictures/0 写真.png", "pictures/1 写真.png"]
    assert [(s.file, s.code) for s in cases.skipped] == [
        ("pictures/0 写真.png", "label conflict"),
        ("pictures/2 写真.png", "no label"),
        ("../outside.png", "label conflict"),
        ("pictures/3 写真.png", "no label"),
        ("pictures/gone.png", "missing"),
        ("../outside.png", "outside"),
    ]
    outside.unlink()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a,b\n1,2\n", "columns"),
        ("", "columns"),
        ("file,label\n", "no image"),
        ("file,label\npictures/0 写真.png,a\n", "one class"),
        ("file,label,part\npictures/0 写真.png,a,fold1\n", "part"),
        ("file,label\na\0b,a\n", "unreadable"),
        ("file,label\n" + "x" * 200_000 + ",a\n", "unreadable"),
    ],
)
def test_tables_that_cannot_be_used(listed, text, code):
    assert trouble(csv_table.load, listed(text)).code == code


def test_bytes_that_are_no_text(listed, tmp_path):
    path = listed("")
    path.write_bytes(b"file,label\n\x81\xff,1\n")
    assert trouble(csv_table.load, path).code == "unreadable"
    assert trouble(csv_table.load, tmp_path / "lists.csv").code == "missing"


def test_further_columns_are_kept_by_the_names_that_are_known(listed):
    text = (
        "患者ＩＤ,ファイル,ラベル,施設,性別,撮影日,メモ,Hospital\n"
        "p1,pictures/0 写真.png,犬,東京,女,2024-05-01, a ,A\n"
        f"NaN,pictures/1 写真.png,猫,,男,nan,{'x' * 300},B\n"
    )
    cases = csv_table.load(listed(text))
    assert list(cases.group) == ["p1", ""]
    assert cases.columns == {
        "site": ["東京", ""],
        "sex": ["女", "男"],
        "date": ["2024-05-01", ""],
        "メモ": ["a", "x" * 200],
        "Hospital": ["A", "B"],
    }
    assert cases.only([1]).columns["sex"] == ["男"]


def test_other_words_for_patients_are_no_further_columns(listed):
    text = "file,label,patient,subject,owner\n" + "".join(
        f"pictures/{i} 写真.png,{'ab'[i % 2]},p{i},s{i},o{i}\n" for i in range(4)
    )
    assert csv_table.load(listed(text)).columns.keys() == {"owner"}
    assert csv_table.load(listed(text), Reading(group="owner")).columns.keys() == set()
    assert csv_table.load(listed(text), Reading(group="none")).columns.keys() == {"owner"}


def test_a_table_has_at_most_twenty_further_columns(listed):
    names = [f"c{i}" for i in range(30)]
    rows = [f"pictures/{i} 写真.png,{i}," + ",".join("1" * 30) for i in range(2)]
    cases = csv_table.load(listed("\n".join([",".join(["file,label", *names]), *rows])))
    assert list(cases.columns) == names[:20]


def test_japanese_parts(listed):
    cases = csv_table.load(listed("ファイル,クラス,区分\npictures/0 写真.png,a,学習\npictures/1 写真.png,b,テスト\n"))
    assert list(cases.part) == ["train", "test"]


@pytest.fixture
def described(tmp_path):
    """Pictures in two parts under names of their own, and what writes a ``data.yaml``."""
    root = tmp_path / "photos"
    for part in ("learn", "check"):
        for name in ("zebra", "cat"):
            for i in range(2):
                save(root / part / name / f"{i}.png", 10 * i)

    def write(about, text=None):
        (root / "data.yaml").write_text(text or yaml.safe_dump(about), encoding="utf-8")
        return root / "data.yaml"

    return write


NAMED = {"path": ".", "train": "learn", "val": ["check"], "names": {0: "zebra", 1: "cat"}}


def test_a_data_yaml(described):
    path = described(NAMED)
    cases = data_load.load(path)
    assert cases.classes == ("zebra", "cat") and cases.name == "photos"
    assert cases.file[0] == "check/cat/0.png"
    assert [cases.classes[c] for c in cases.target] == [f.split("/")[1] for f in cases.file]
    assert list(cases.part) == ["val" if f.startswith("check") else "train" for f in cases.file]
    assert data_load.load(path.parent).classes == ("zebra", "cat")  # through it


def test_classes_called_by_their_numbers(described):
    path = described({"train": "learn", "names": ["ape", "dog"]})
    (path.parent / "learn" / "zebra").rename(path.parent / "learn" / "1")
    (path.parent / "learn" / "cat").rename(path.parent / "learn" / "0")
    cases = yolo.load(path)
    assert cases.classes == ("ape", "dog") and len(cases) == 4
    assert {(f.split("/")[1], cases.classes[c]) for f, c in zip(cases.file, cases.target, strict=True)} == {
        ("0", "ape"),
        ("1", "dog"),
    }


def test_a_folder_with_classes_of_its_own_is_read_without_its_data_yaml(described, tmp_path):
    root = described(NAMED).parent
    for name in ("one", "two"):
        save(root / name / "1.png")
    assert set(data_load.load(root).classes) == {"one", "two", "learn", "check"}


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({**NAMED, "path": "../photos/.."}, "outside"),
        ({**NAMED, "path": "/"}, "outside"),
        ({**NAMED, "train": "../photos/../elsewhere"}, "outside"),
        ({**NAMED, "train": "link"}, "outside"),
        ({**NAMED, "train": "gone"}, "missing"),
        ({**NAMED, "val": "learn"}, "leak"),
        ({**NAMED, "train": "data.yaml"}, "unreadable"),
        ({**NAMED, "train": 7}, "unreadable"),
        ({**NAMED, "train": ["learn", None]}, "unreadable"),
        ({**NAMED, "names": "cat"}, "unreadable"),
        ({**NAMED, "names": [["cat"]]}, "unreadable"),
        ({**NAMED, "names": ["cat", "cat"]}, "unreadable"),
        ({"names": ["cat"]}, "unreadable"),
        ({**NAMED, "train": "learn/cat", "val": "check/cat"}, "no label"),
    ],
)
def test_a_data_yaml_that_cannot_be_used(described, tmp_path, about, code):
    for name in "ab":
        save(tmp_path / "elsewhere" / name / "1.png")
    path = described(about)
    (path.parent / "link").symlink_to(tmp_path / "elsewhere")
    error = trouble(data_load.load, path)
    assert (error.code, error.exit) == (code, 3)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: &b [*a, *a]\ntrain: learn\n",  # grows tenfold a line
        "train: !!python/object/apply:os.system [ls]\n",
        "train: " + "[" * 5000,
        "train: learn\nx: " + "1:" * 10_000 + "1",  # a number to the base of 60
        "train: [" + "learn," * 150_000 + "]",
        "train: [learn\n",
        "- learn\n",
        "train: learn\nx: 2001-99-99\n",
        "train: learn\n#" + "x" * 1_000_000,
    ],
)
def test_a_hostile_data_yaml(described, text):
    error = trouble(data_load.load, described(None, text))
    assert error.code in ("unreadable", "too large") and len(error.found) < 600
