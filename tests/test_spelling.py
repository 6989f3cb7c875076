"""A patient who is written in several ways is one, through every door by which data comes in."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

import souron
from souron.data import load, patients
from souron.kinds.codecs import dicom
from souron.utils.spelling import one_spelling

ONE = [  # spellings of one patient
    *("P001", "p1", "P1", "Ｐ１", "Ｐ００１", "P 1", "P-1", "p_01", "P\u20111", "P\u22121"),
    *("P\u200b1", "P\u00ad1", "\u200fP1", "P1\ufe0f", "\u04201", "\u03a11", " P1 "),
]
OTHERS = ["P10", "P2", "Q1", "P1-1", "11", "P1a"]
UNSURE = [("1-23", "12-3"), ("tanaka taro", "tanakataro")]
PATIENTS = range(1, 10)


def spelled(names):
    """Nine patients, each with four images in four of these spellings: (name, class)."""
    for n in PATIENTS:
        for k in range(4):
            name = names[(n + 5 * k) % len(names)]
            yield name.replace("1", str(n)).replace("１", chr(ord("０") + n)), "ab"[n % 2]


def of_files():
    return spelled([name for name in ONE if " " not in name])


@pytest.mark.parametrize("name", ONE)
def test_a_spelling_is_that_of_its_patient_and_of_no_other(name):
    assert one_spelling(name) == "p1"
    assert one_spelling(name.strip() + "0") == one_spelling("P10")


def test_other_patients_stay_others():
    assert len({one_spelling(name) for name in ["P1", *OTHERS]}) == 1 + len(OTHERS)
    assert one_spelling("7.0") == one_spelling("007") == "7" and one_spelling("1.05") != one_spelling("1.5")


@pytest.mark.parametrize("names", UNSURE)
def test_what_may_be_one_patient_is_asked_and_counts_as_two(names):
    found = patients.merged([*names, "A1"])
    assert found.names == [*names, "A1"] and not found.said()
    assert f"{names[0]} = {names[1]}" in found.asked()


def test_a_table_of_predictions_knows_a_patient_in_each_spelling():
    table = {
        "case": range(4 * len(ONE)),
        "patient": [name for name in ONE for _case in range(2)] + ["Q9"] * 2 * len(ONE),
        "truth": ["ill", "well"] * 2 * len(ONE),
        "a": ["ill", "well"] * 2 * len(ONE),
        "b": ["ill"] * 4 * len(ONE),
    }
    record = souron.verdict(table)
    assert record.data.units == 2
    assert any(("P001 = p1" in note and "are one" in note) or "is one" in note for note in record.notes())


def image(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def as_csv(folder):
    rows = []
    for number, (name, label) in enumerate(spelled(ONE)):
        image(folder / f"{number}.png", number)
        rows.append([f"{number}.png", label, name])
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label", "patient"], *rows])
    return load.load(folder / "list.csv")


def as_files(folder):
    for number, (name, label) in enumerate(of_files()):
        image(folder / label / f"{name}_{number}.png", number)
    return load.load(folder)


def as_coco(folder):
    images, boxes = [], []
    for number, (name, _label) in enumerate(of_files()):
        file = image(folder / "images" / f"{name}_{number}.png", number).name
        images.append({"id": number, "file_name": file, "width": 16, "height": 16})
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": [1, 1, 8, 8], "area": 64})
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "boxes.json").write_text(json.dumps(told))
    return load.load(folder, formats=("coco",), target="boxes")


def as_numbers(folder):
    rows = [[f"{n % 7}.5", f"{n % 5}.25", label, name] for n, (name, label) in enumerate(spelled(ONE))]
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["width", "height", "label", "patient"], *rows])
    return load.load(folder / "table.csv", formats=("vectors",))


def as_texts(folder):
    rows = [[f"The tooth number {n} hurts.", label, name] for n, (name, label) in enumerate(spelled(ONE))]
    with (folder / "notes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label", "patient"], *rows])
    return load.load(folder / "notes.csv", formats=("classified_texts",))


def as_volumes(folder):
    for number, (name, _label) in enumerate(of_files()):
        solid = np.random.default_rng(number).integers(0, 256, (8, 8, 8)).astype(np.int16)
        for part, values in (("images", solid), ("masks", (solid > 128).astype(np.int16))):
            (folder / part).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / part / f"{name}_{number}.nii.gz")
    return load.load(folder, formats=("volumes",))


@pytest.mark.parametrize("door", [as_csv, as_files, as_coco, as_numbers, as_texts, as_volumes])
def test_a_folder_or_table_knows_a_patient_in_each_spelling(door, tmp_path):
    cases = door(tmp_path)
    assert len(set(cases.group)) == len({one_spelling(name) for name in cases.group}) == len(PATIENTS)
    assert "are one each" in cases.grouped


@pytest.mark.parametrize("name", ONE)
def test_a_patient_id_of_dicom_has_one_pseudonym(name):
    assert dicom.pseudonym(name) == dicom.pseudonym("P1") != dicom.pseudonym("P10")
    assert dicom.pseudonym(name, b"secret") == dicom.pseudonym("P1", b"secret")
