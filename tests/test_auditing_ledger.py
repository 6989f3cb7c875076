"""The ledger: what a run was trained on, from its own files."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from souron.cli import main
from souron.kinds.codecs.image import as_image
from souron.report import run as run_page
from souron.runs import datasheet
from souron.runs import train as run_train
from souron.utils.messages import UserError


@pytest.fixture(scope="module")
def photos(digits, tmp_path_factory):
    """20 pictures in each of three classes."""
    folder = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("cat", "犬", "a 'third' one")):
        (folder / name).mkdir()
        for i, row in enumerate((digits.target == label).nonzero()[:20, 0].tolist()):
            as_image(digits.input[row]).save(folder / name / f"{i} 写真.png")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return run_train.train("mlp_tiny", photos, budget="600ex", folds=1, project=place).folder


@pytest.fixture
def run(trained, tmp_path):
    """A run that the test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_it_counts_what_the_split_holds(run, photos):
    told = datasheet.read(run)
    with (run / "split.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert told.system == "mlp_tiny" and told.data == str(photos) and told.started_from == ""
    assert told.cases == len(rows) == sum(part.cases for part in told.parts) == 60
    train = told.parts[0]
    assert train.name == "train"
    assert set(train.files) == {row["file"] for row in rows if row["part"] == "train"}
    assert sum(train.classes.values()) == train.cases == len(train.files)
    assert set(train.classes) == {"cat", "犬", "a 'third' one"}
    assert told.hash == json.loads((run / "receipt.json").read_text())["data"]["hash"]


def test_its_fingerprints_are_those_of_the_report(run):
    shown = [row["fingerprint"] for row in run_page.ledger(run)]
    assert [part.hash for part in datasheet.read(run).parts if part.cases] == shown


def test_another_label_is_another_fingerprint(run):
    before = datasheet.read(run).parts[0].hash
    text = (run / "split.csv").read_text(encoding="utf-8")
    (run / "split.csv").write_text(text.replace(",cat,", ",dog,"), encoding="utf-8")
    after = datasheet.read(run)
    assert after.parts[0].hash != before and "dog" in after.parts[0].classes


def test_neither_order_nor_a_missing_patient_changes_what_a_part_holds(run):
    before = datasheet.read(run)
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::-1]
    for number, row in enumerate(rows):
        row["group"] = f"patient {number % 3}" if number % 2 else ""
    with (run / "split.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    after = datasheet.read(run)
    assert [part.hash for part in after.parts] == [part.hash for part in before.parts]
    assert (before.parts[0].groups, after.parts[0].groups) == (0, 3)


def test_the_receipts_hash_is_of_every_pixel_and_every_label(digits):
    def hashed(data):
        args = {"system": "mlp", "data": "digits", "changes": {}}
        return run_train.receipt(args, data)["data"]["hash"]

    few = digits.only(range(12))
    pixels, labels = few.input[:].clone(), few.target.clone()
    assert hashed(replace(few, input=pixels, target=labels)) == hashed(few)
    pixels[7, 0, 3, 3] += 1
    labels[5] = (labels[5] + 1) % 10
    assert hashed(replace(few, input=pixels)) != hashed(few)
    assert hashed(replace(few, target=labels)) != hashed(few)


def test_weights_that_training_began_with_are_named(run, photos, tmp_path):
    again = run_train.train(
        "mlp_tiny", photos, budget="300ex", pretrained=run, folds=1, project=tmp_path / "more"
    ).folder
    assert datasheet.read(again).started_from == str(run)


def test_the_command_shows_it_to_people_and_to_programs(run, capsys):
    assert main.run(["audit", "ledger", str(run)]) == 0
    out, err = capsys.readouterr()
    assert "licence" in out and "not stated" in out and "犬" in out and "split.csv" in out
    assert "no licence is stated" in err
    assert main.run(["audit", "ledger", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parts"][0]["classes"]["cat"] > 0 and len(told["parts"][0]["files"]) > 30
    assert {"source", "licence", "hash", "cases", "started_from"} <= told.keys()


def test_a_known_data_set_has_source_and_licence(tmp_path):
    folder = run_train.train("mlp_tiny", "digits", budget="600ex", project=tmp_path).folder
    told = datasheet.read(folder)
    assert told.licence == "CC-BY-4.0" and told.source.startswith("https://")


@pytest.mark.parametrize(
    "name, text",
    [
        ("receipt.json", None),
        ("receipt.json", ""),
        ("receipt.json", "[]"),
        ("receipt.json", '{"data": "digits"}'),
        ("receipt.json", '{"data": {"source": 3}}'),
        ("split.csv", None),
        ("split.csv", "a,b\n1,2\n"),
        ("args.yaml", None),
    ],
)
def test_a_damaged_run_ends_in_a_message(name, text, run):
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    with pytest.raises(UserError) as caught:
        datasheet.read(run)
    assert caught.value.exit == 3


def test_a_ready_trained_system_has_the_data_sheet_it_was_packed_with(tmp_path, monkeypatch, capsys):
    assert main.run(["ledger", "ddpm", f"project={tmp_path}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["data"] == "fashion" and told["parts"][0]["cases"] == 51_000
    broken = tmp_path / "zoo" / "ddpm"
    broken.mkdir(parents=True)
    monkeypatch.setattr(datasheet.zoo, "root", lambda: broken.parent)
    for text in ("[]", '{"parts": 3}', "{"):
        (broken / "datasheet.json").write_text(text)
        with pytest.raises(UserError, match=r"datasheet\.json cannot be read"):
            datasheet.read(broken)
