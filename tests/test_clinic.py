"""The walk of ``docs/clinic.md`` on a smaller set: each command does what the page promises."""

import csv
import io
import json
import re
import shlex
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import radiographs

from souron.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "clinic.md"
RUN = "runs/classify/efficientnet_lite-radiographs-cleaned"
QUICK = "imgsz=64 epochs=2 batch=16"
WALK = {
    "data": "data radiographs/labels.csv",
    "ask": "data check radiographs/labels.csv",
    "check": "data check radiographs/labels.csv --fix radiographs/checked.csv",
    "train": f"train efficientnet_lite data=radiographs/checked.csv pretrained=true freeze=true prevalence=0.2 {QUICK}",
    "compare": "compare efficientnet_lite:frozen cnn_tiny data=radiographs/checked.csv imgsz=64 "
    "budget=100ex seeds=2 folds=2",
    "calibration": f"calibration {RUN}",
    "decision": f"decision {RUN} prevalence=0.2",
    "val": f"val {RUN} --json",
    "predict": f"predict {RUN} radiographs/images/P0004_1.png",
    "reporting": f"reporting {RUN} guideline=stard-ai",
    "scans": "data scans/",
    "anonymise": "data anonymise scans/ scans-anonymous",
    "anonymous": "data scans-anonymous/ window=40,400",
    "bundle": "fetch --bundle usb/",
    "verify": "fetch --verify usb/",
}


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def told(self):
        return json.loads(self.out)


def words(command):
    """The verb, and the options by name: ``train x data=y --json`` -> train, {data, json}."""
    verb, *rest = shlex.split(command)
    if rest and rest[0] in ("check", "anonymise"):
        verb += f" {rest.pop(0)}"
    found = (re.fullmatch(r"(?:--)?([a-z]\w*)=.*|--([a-z]\w*)", word) for word in rest)
    return verb, {match[1] or match[2] for match in found if match}


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """What each command said, all in one folder; commands that can print JSON do."""
    folder = tmp_path_factory.mktemp("clinic")
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SOURON_CACHE", str(folder / "cache"))
        patch.setenv("SOURON_LANG", "en")
        patch.setenv("SOURON_OFFLINE", "1")
        patch.setenv("COLUMNS", "100")
        patch.delenv("SOURON_DATA", raising=False)
        radiographs.radiographs(folder / "radiographs", patients=24, side=48, defects=True)
        dicom_by_class(folder)
        for name, command in WALK.items():
            given = shlex.split(command)
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                code = main.run(given if "--json" in given else [*given, "--json"])
            said[name] = Said(code, out.getvalue(), err.getvalue())
            if name == "ask":  # a person looks at the pair that may be copies
                table = folder / "runs/data/labels/copies.csv"
                table.write_text(table.read_text("utf-8").replace("Q0002_1.png,", "Q0002_1.png,copy"), "utf-8")
    return folder, said


def dicom_by_class(folder):
    """``scans/caries/*.dcm`` and ``scans/sound/*.dcm`` of six patients."""
    radiographs.radiographs(folder / "drawn", patients=6, side=48, dicom=True)
    for row in rows_of(folder / "drawn" / "labels.csv"):
        (folder / "scans" / row["label"]).mkdir(parents=True, exist_ok=True)
        file = folder / "drawn" / row["filename"]
        file.rename(folder / "scans" / row["label"] / file.name)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_command_ends_as_the_page_says(walk):
    _folder, said = walk
    for name, one in said.items():
        assert one.code == (3 if name in ("ask", "check") else 0), (name, one.err)


def test_the_page_shows_no_command_that_is_not_walked():
    walked = defaultdict(set)
    for command in WALK.values():
        verb, options = words(command)
        walked[verb] |= options
    shown = re.findall(r"^\$ souron (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) >= 9
    for command in shown:
        verb, options = words(command)
        assert verb in walked and options <= walked[verb], command


def test_the_page_has_every_picture():
    text = PAGE.read_text(encoding="utf-8")
    images = re.findall(r"!\[([^\]]*)\]\((_static/[^)]+)\)", text)
    assert len(images) >= 9
    for words_for_it, file in images:
        place = PAGE.parent / file
        assert words_for_it and 5_000 < place.stat().st_size < 150_000, file


def test_the_doctor_finds_what_was_planted_and_the_new_table_leaves_it_out(walk):
    folder, said = walk
    asked = {one["code"]: set(one["files"]) for one in said["ask"].told["findings"]}
    assert asked["near conflict"] == {"images/P0001_2.png", "images/Q0002_1.png"} and "label conflict" not in asked
    found = {one["code"]: set(one["files"]) for one in said["check"].told["findings"]}
    assert found["truncated"] == {"images/P0001_3.png"}
    assert found["label conflict"] == {"images/P0001_2.png", "images/Q0002_1.png"}
    assert {"images/P0001_1.png", "images/Q0001_1.png"} <= found["duplicates"]
    before = [row["filename"] for row in rows_of(folder / "radiographs" / "labels.csv")]
    after = [row["filename"] for row in rows_of(folder / "radiographs" / "checked.csv")]
    gone = set(before) - set(after)
    assert found["truncated"] | found["label conflict"] < gone
    assert len(gone & {"images/P0001_1.png", "images/Q0001_1.png"}) == 1 and len(gone) == 4
    assert len(after) == len(set(after)) == len(before) - 4


def test_training_cross_validates_by_patient_and_writes_every_section(walk):
    folder, said = walk
    rows = rows_of(folder / RUN / "folds.csv")
    checked = rows_of(folder / "radiographs" / "checked.csv")
    assert {row["file"] for row in rows} == {row["filename"] for row in checked}
    for repeat in ("repeat 1", "repeat 2"):
        folds = defaultdict(set)
        for row in rows:
            folds[row["group"]].add(row[repeat])
        assert len(folds) > 20 and all(len(found) == 1 for found in folds.values())
        assert set().union(*folds.values()) == set("12345")
    page = (folder / RUN / "report.html").read_text(encoding="utf-8")
    sections = (
        "discrimination",
        "confusion",
        "classes",
        "mistakes",
        "subgroups",
        "calibration",
        "looked_at",
        "robustness",
        "sizes",
        "data",
        "forecast",
        "receipt",
    )
    for section in sections:
        assert f'id="{section}"' in page, section
    assert re.search(r"prevalence of\s20\.0\s%", page)
    told = said["train"].told
    assert told["measures"]["accuracy"]["n"] == len(checked)
    assert told["measures"]["accuracy"]["groups"] == len({row["group"] for row in checked})


def test_measuring_again_prints_the_documented_json(walk):
    _folder, said = walk
    told = said["val"].told
    assert {"run", "measures", "subgroups", "calibration", "decision"} <= told.keys()
    names = {
        "accuracy",
        "balanced accuracy",
        "AUC",
        "sensitivity",
        "specificity",
        "Brier score",
        "positive predictive value",
        "negative predictive value",
        "log loss",
    }
    assert told["measures"].keys() == names
    for measure in told["measures"].values():
        assert measure.keys() == {"value", "low", "high", "n", "groups"}
        assert measure["low"] <= measure["value"] <= measure["high"]
    assert told["measures"] == {
        name: pytest.approx(measure) for name, measure in said["train"].told["measures"].items()
    }
    assert told["decision"]["positive"] == "caries"
    assert {group["column"] for group in told["subgroups"]} == {"site", "sex", "age"}


def test_the_comparison_prints_a_sentence_that_names_both(walk):
    _folder, said = walk
    sentence = said["compare"].told["sentence"]
    assert "efficientnet_lite:frozen" in sentence and "cnn_tiny" in sentence
    assert re.search(r"better|cannot tell", sentence) and sentence.endswith(".")


def test_prediction_names_both_classes(walk):
    _folder, said = walk
    labels = said["predict"].told["labels"]
    assert {one["label"] for one in labels} == {"caries", "sound"}
    assert sum(one["probability"] for one in labels) == pytest.approx(1, abs=1e-3)


def test_no_identity_leaks_from_dicom(walk):
    folder, said = walk
    assert "PatientName" in said["scans"].out and "PatientName" not in said["anonymous"].out
    copies = sorted((folder / "scans-anonymous").rglob("*.dcm"))
    assert len(copies) == len(list((folder / "scans").rglob("*.dcm"))) > 5
    secrets = [rb"Synthetic\^", rb"P000[1-6]\D", rb"Site [ABC]"]
    original = b"".join(path.read_bytes() for path in (folder / "scans").rglob("*.dcm"))
    assert all(re.search(secret, original) for secret in secrets)
    for path in copies:
        for secret in secrets:
            assert not re.search(secret, path.read_bytes()), (path.name, secret)
    for name in ("scans", "scans-anonymous"):
        page = (folder / "runs" / "data" / name / "data.html").read_text(encoding="utf-8")
        assert "Synthetic^" not in page and "Site A" not in page
    for name in ("scans", "anonymise", "anonymous"):
        assert not re.search(r"Synthetic|Site [ABC]", said[name].out), name


def test_no_date_of_a_patient_is_in_the_report(walk):
    """Further columns are for subgroups; the days of the pictures are in none of a run's files."""
    folder, _said = walk
    days = {row["date"] for row in rows_of(folder / "radiographs" / "checked.csv")}
    texts = [p for p in (folder / RUN).rglob("*") if p.suffix in (".html", ".md", ".csv", ".json")]
    assert len(days) > 20 and len(texts) >= 5
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert not [day for day in days if day in text], path.name


def test_a_bundle_is_whole(walk):
    folder, _said = walk
    assert (folder / "usb" / "SHA256SUMS").read_text(encoding="utf-8").strip()
    assert list((folder / "usb" / "weights").iterdir())
