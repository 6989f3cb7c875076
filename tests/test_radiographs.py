"""The synthetic radiographs: the same every time, with what they promise."""

import csv

import numpy as np
import pytest
from PIL import Image
from radiographs import HEADER, JAPANESE, LABELS, radiographs

from souron.data import load
from souron.data.quality import duplicates


def rows(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {f.name: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_one_seed_one_set(tmp_path):
    one, same, other = (
        contents(radiographs(tmp_path / name, 3, seed, 64)) for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    assert one == same and one != other


def test_pictures_are_twelve_bits_deep_and_patients_stay_themselves(tmp_path):
    folder = radiographs(tmp_path / "all", 30, side=64)
    listed = rows(folder)
    assert tuple(listed[0]) == HEADER
    assert {row["label"] for row in listed} == set(LABELS)
    assert {row["site"] for row in listed} == {"A", "B", "C"}
    for name in ("site", "sex", "age"):
        assert len({(row["patient"], row[name]) for row in listed}) == 30
    counts = [sum(row["patient"] == p for row in listed) for p in {r["patient"] for r in listed}]
    assert min(counts) >= 1 and max(counts) <= 4
    with Image.open(folder / listed[0]["filename"]) as image:
        deep = np.asarray(image)
    assert deep.dtype == np.uint16 and deep.shape == (64, 64) and deep.max() > 30_000
    assert set(np.unique(deep)) <= {value * 65535 // 4095 for value in range(4096)}
    cases = load.load(folder / "labels.csv", 64)
    assert len(cases) == len(listed) and len(set(cases.group)) == 30 and not cases.skipped


def test_defects_are_there_and_found(tmp_path):
    plain = radiographs(tmp_path / "plain", 24, side=128)
    spoilt = radiographs(tmp_path / "spoilt", 24, side=128, defects=True)
    assert len(rows(spoilt)) == len(rows(plain)) + 2
    cases = load.load(spoilt / "labels.csv", 128)
    assert [skipped.code for skipped in cases.skipped] == ["truncated"]
    pairs = [sorted(cases.file[i] for i in pair) for pair in duplicates.near(cases.input)]
    first, second = (rows(plain)[i]["filename"] for i in (0, 1))
    assert [first, "images/Q0001_1.png"] in pairs and [second, "images/Q0002_1.png"] in pairs
    label = {row["filename"]: row["label"] for row in rows(spoilt)}
    assert label[second] != label["images/Q0002_1.png"]
    before, after = contents(plain / "images"), contents(spoilt / "images")
    changed = {name for name in before if before[name] != after[name]}
    cut = rows(plain)[2]["filename"].split("/")[1]
    marked = [row for row in rows(plain) if row["filename"].split("/")[1] in changed - {cut}]
    assert marked and {(row["site"], row["label"]) for row in marked} == {("B", "caries")}


def test_columns_in_japanese(tmp_path):
    folder = radiographs(tmp_path / "all", 1, side=32, japanese=True)
    assert tuple(rows(folder)[0]) == JAPANESE


def test_the_same_pictures_as_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    png, dicom = (radiographs(tmp_path / name, 2, side=64, dicom=name == "dicom") for name in ("png", "dicom"))
    for one, other in zip(rows(png), rows(dicom), strict=True):
        made = pydicom.dcmread(dicom / other["filename"])
        with Image.open(png / one["filename"]) as image:
            deep = np.asarray(image)
        assert (made.pixel_array.astype(int) * 65535 // 4095 == deep).all()
        assert made.PatientID == one["patient"] and made.BitsStored == 12
