"""Folders with trainA and trainB: two domains without pairs."""

import numpy as np
import pytest
from PIL import Image

from souron.data import load
from souron.data.formats import unpaired
from souron.utils.messages import UserError


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def two(folder, names=("trainA", "trainB", "testA", "testB")):
    for seed, (name, number) in enumerate((name, i) for name in names for i in (2, 10)):
        image(folder / name / f"{number}.png", seed)
    return folder


def test_the_domain_is_the_class_and_the_folder_says_the_part(tmp_path):
    two(tmp_path)
    (tmp_path / "trainA" / "notes.txt").write_text("x")
    image(tmp_path / "more" / "a.png", 90)
    image(tmp_path / "trainA.png", 91)
    cases = load.load(tmp_path, formats=("unpaired", "folder"))
    assert cases.file == [f"{part}{domain}/{n}.png" for part in ("test", "train") for domain in "AB" for n in (2, 10)]
    assert cases.classes == ("A", "B") and cases.target.tolist() == [0, 0, 1, 1] * 2
    assert cases.columns["domain"] == ["A", "A", "B", "B"] * 2
    assert cases.part == ["test"] * 4 + ["train"] * 4
    assert {(skip.file, skip.code) for skip in cases.skipped} == {
        ("trainA/notes.txt", "not an image"),
        ("more/a.png", "no domain"),
        ("trainA.png", "no domain"),
    }


def test_other_spellings_and_class_folders(tmp_path):
    two(tmp_path / "x", ("train_a", "Train-B", "VALIDATION_A", "validation b"))
    assert set(load.load(tmp_path / "x", formats=("unpaired",)).part) == {"train", "val"}
    image(tmp_path / "y" / "cat" / "1.png")
    assert not unpaired.describes(tmp_path / "y") and not unpaired.describes(tmp_path / "none")


def broken(folder):
    (folder / "trainB" / "2.png").write_bytes(b"no picture")
    (folder / "trainB" / "10.png").unlink()


def same(folder):
    for file in (folder / "trainA").iterdir():
        (folder / "trainB" / file.name).write_bytes(file.read_bytes())


def within(folder):
    same(folder)
    image(folder / "trainB" / "other.png", 50)


def missing(folder):
    for file in (folder / "trainB").iterdir():
        file.unlink()
    (folder / "trainB").rmdir()


def empty(folder):
    missing(folder)
    (folder / "trainB").mkdir()


@pytest.mark.parametrize(
    "spoil, code, words",
    [
        (missing, "empty domain", "trainB"),
        (empty, "empty domain", "trainB"),
        (broken, "empty domain", "2.png"),
        (same, "same domains", "trainA"),
        (within, "same domains", "all images of trainA are in trainB"),
    ],
)
def test_what_cannot_be_translated_is_refused(spoil, code, words, tmp_path):
    spoil(two(tmp_path))
    with pytest.raises(UserError) as trouble:
        load.load(tmp_path, formats=("unpaired", "folder"))
    assert trouble.value.code == code and words in trouble.value.found
    assert trouble.value.expected and trouble.value.exit == 3


def test_a_picture_that_both_share_is_no_reason_to_refuse(tmp_path):
    two(tmp_path)
    image(tmp_path / "trainB" / "shared.png", 0)
    assert len(load.load(tmp_path, formats=("unpaired",))) == 9
