"""Corrections of a data set: what each does to the table, how they are kept, and what is advised."""

import pytest

from souron.data import case_table, corrections
from souron.data.composing import cells
from souron.data.corrections import Correction
from souron.data.load import load
from souron.pipelines import advice
from souron.utils.messages import UserError

TABLE = [
    {"filename": "a.png", "label": "cat", "group": "p1", "part": "train"},
    {"filename": "b.png", "label": "dog", "group": "P1", "part": "test"},
    {"filename": "c.png", "label": "cat", "group": "p2", "part": ""},
]


@pytest.mark.parametrize(
    ("one", "row", "expected"),
    [
        (Correction("label", ("a.png",), "dog"), 0, {"label": "dog", "group": "p1"}),
        (Correction("group", ("a.png", "b.png"), "p1"), 1, {"group": "p1", "label": "dog"}),
        (Correction("split"), 0, {"part": "", "label": "cat"}),
    ],
)
def test_a_correction_changes_its_files_alone(one, row, expected):
    found = corrections.corrected(TABLE, [one])
    assert {name: found[row][name] for name in expected} == expected
    assert found[2] == TABLE[2] and TABLE[0]["label"] == "cat"


def test_corrections_are_applied_in_their_order_and_unknown_files_change_nothing():
    every = [Correction("label", ("a.png", "gone.png"), "dog"), Correction("leave out", ("b.png", "b.png"))]
    found = corrections.corrected(TABLE, [*every, Correction("label", ("a.png", "b.png"), "bird")])
    assert [(row["filename"], row["label"]) for row in found] == [("a.png", "bird"), ("c.png", "cat")]


def test_corrections_are_kept_and_a_damaged_file_is_reported(tmp_path):
    file = tmp_path / "new" / "corrections.json"
    every = [Correction("label", ("ä <b>.png",), "犬", "wrong label"), Correction("split", reason="leak")]
    assert corrections.read(file) == []
    corrections.write(file, every)
    assert corrections.read(file) == every
    for text in ('[{"kind": "delete", "files": [], "value": "", "reason": ""}]', "{", '[{"kind": "label"}]'):
        file.write_text(text)
        with pytest.raises(UserError, match="corrections"):
            corrections.read(file)


def test_a_corrected_table_is_read_as_the_folder_is(tmp_path):
    cells.write(tmp_path / "cells")
    cases = load(tmp_path / "cells", 32)
    rows = corrections.corrected(case_table.rows(cases), [Correction("label", ("uneven/p04_1.png",), "even")])
    case_table.write(tmp_path / "cells" / "corrected.csv", rows)
    again = load(tmp_path / "cells" / "corrected.csv", 32)
    assert len(again) == len(cases) == 82 and len(set(again.group)) == 20
    changed = [
        name
        for name, label in zip(again.file, again.labels, strict=True)
        if cases.classes[cases.labels[list(cases.file).index(name)]] != again.classes[label]
    ]
    assert changed == ["uneven/p04_1.png"]
    # the table beside the files does not become one of them
    assert len(load(tmp_path / "cells", 32)) == 82


def test_the_example_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        cells.write(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 83
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


@pytest.mark.parametrize(
    ("target", "task"), [("classes", "classify"), ("boxes", "detect"), ("points", "keypoints"), ("", ""), ("no", "")]
)
def test_the_task_follows_from_the_annotations(target, task):
    assert advice.task_of(target) == task


def test_few_cases_are_cross_validated_and_many_are_bounded_by_time():
    few, many = advice.advise("classify", 75, 20), advice.advise("classify", 60_000)
    assert few.options["folds"] == "5" and "folds" not in many.options and many.options["budget"] == "1min"
    assert "75 cases of 20 patients" in few.reason and "cross-validation" in few.reason
    assert few.command("x")[:3] == ["train", "efficientnet_lite", "data=x"]
    assert few.comparison("x")[:3] == ["compare", "efficientnet_lite:frozen", "cnn"]
    assert advice.advise("detect", 75).system == "yolo_tiny"
    assert advice.advise("", 75) is None and advice.advise("keypoints", 9).comparison("x") == []
