"""Warnings of the data check stand beside every result of the data until they are answered."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from souron import registry
from souron.actions import data as data_action
from souron.actions.compare import CompareRecord
from souron.actions.predict import origin
from souron.actions.reporting import source
from souron.actions.train import TrainRecord, warnings_of_data
from souron.actions.verdict import runs as verdict_runs
from souron.cli import actions, console, main
from souron.data import check, load
from souron.data.check import warnings as gathered
from souron.data.quality import warnings as data_warnings
from souron.data.quality.warnings import DataWarning, place_of
from souron.evaluation.record import ComparisonRecord, Cost, RunRecord
from souron.metrics.ranking import Ranking
from souron.report import answering, report
from souron.report import run as run_page
from souron.stats.records import Row
from souron.studio.runs import export, run_list
from souron.utils import files
from souron.utils.messages import UserError, use_language

PROJECT = Path("runs")
KEY, ANSWER = "shortcut brightness", "one lamp & all <classes>"
MESSAGE = "brightness alone predicts the class"
MEASURE = {"value": 0.972, "low": 0.96, "high": 0.98, "n": 300}


def word(record):
    sheet = replace(export.of_folder(record.folder), plot=None)
    with ZipFile(io.BytesIO(export.as_docx(sheet))) as archive:
        return archive.read("word/document.xml").decode()


def terminal(record):
    actions.print_record(TrainRecord(record))


def val(record):
    actions.print_parts(warnings_of_data(replace(record, warnings=data_warnings.of_run(record.folder))))


def predicted(record):
    given = SimpleNamespace(name="mlp", learnt_from="photos", folder=record.folder)
    list(console.follow(origin.described(given, None), True))


def predicted_json(record):
    given = SimpleNamespace(name="mlp", learnt_from="photos", folder=record.folder)
    return json.dumps(origin.of_system(given))


FACES = {  # each shows a result of the same run
    "page": lambda record: (record.folder / "report.html").read_text(encoding="utf-8"),
    "card": lambda record: (record.folder / "card.md").read_text(encoding="utf-8"),
    "terminal": terminal,
    "JSON": lambda record: json.dumps(record.as_json()["warnings"]),
    "val": val,
    "predict": predicted,
    "predict --json": predicted_json,
    "Word": word,
    "CSV": lambda record: export.as_csv(export.of_folder(record.folder)).decode(),
    "runs": lambda record: str(run_list.read(record.folder).notes),
    "my data": lambda record: str(run_list.read(record.folder).warnings),
    "report study": lambda record: str(source.Source(record.folder, "run", receipt(record)).notes),
    "pair": lambda record: str(verdict_runs._of_data(SimpleNamespace(receipt=receipt(record), folder=record.folder))),
}


def receipt(record):
    return json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))


@pytest.fixture
def record(monkeypatch):
    """A finished run, with its pages, whose data has one warning."""
    monkeypatch.setattr(run_page, "_of_task", lambda _record, _part: [])
    folder = PROJECT / "classify/one"
    folder.mkdir(parents=True)
    (folder / "args.yaml").write_text("system: mlp\ndata: photos\nseen: {}\nconfig: {}\n")
    warning = DataWarning(KEY, "photos", place_of("photos"), MESSAGE, {"ja": "明るさだけでクラスが分かります"})
    told = ("mlp", "photos", "classify", 0, {}, {}, 1, 1, {}, [], Cost(0, 0), Cost(1, 1), "", {"train": 9, "test": 3})
    made = RunRecord(folder, *told, warnings=[warning])
    report.run_report(made)
    more = {"options": {"system": "mlp", "data": "photos"}, "measures": {"accuracy": MEASURE}}
    files.write_json(folder / "receipt.json", {**made.as_json(), **more})
    return made


@pytest.mark.parametrize("face", FACES)
def test_each_face_shows_a_warning_until_it_is_answered(record, face, capsys):
    def shown():
        found = FACES[face](record) or ""
        return found + "".join(capsys.readouterr())

    assert MESSAGE in shown()
    answering.answer(PROJECT, "photos", KEY, ANSWER)
    answered = shown()
    assert "one lamp" in answered and (MESSAGE not in answered or "JSON" in face.upper())
    answering.answer(PROJECT, "photos", KEY, "")
    assert MESSAGE in shown()


def test_a_page_in_another_language_shows_both_in_it(record):
    page = record.folder / "report.ja.html"
    assert "明るさだけでクラスが分かります" in page.read_text(encoding="utf-8")
    answering.answer(PROJECT, "photos", KEY, ANSWER)
    text = page.read_text(encoding="utf-8")
    assert "明るさだけでクラスが分かります" not in text and "one lamp &amp; all &lt;classes&gt;" in text
    with use_language("ja"):
        assert data_warnings.texts(record.warnings, record.folder)[0].count(ANSWER) == 1


def test_an_answer_about_other_data_answers_nothing(record):
    answering.answer(PROJECT, "other/photos", KEY, ANSWER)
    answering.answer(PROJECT, "photos", "few patients", ANSWER)
    [text] = data_warnings.texts(record.warnings, record.folder)
    assert MESSAGE in text


def test_a_run_that_was_carried_elsewhere_keeps_the_answer_of_its_day(record):
    [one] = record.warnings
    told = data_warnings.texts([replace(one, answer="a pilot")], Path("elsewhere/classify/one"))
    assert told == ["Data check of photos: [shortcut brightness] answered: a pilot"]


def test_answers_that_cannot_be_read_are_never_written_over(record):
    path = PROJECT / data_warnings.FILE
    files.write_text(path, "{")
    assert MESSAGE in data_warnings.texts(record.warnings, record.folder)[0]
    with pytest.raises(UserError, match="answers"):
        answering.answer(PROJECT, "photos", KEY, ANSWER)
    assert path.read_text() == "{"


@pytest.mark.parametrize("told", [3, [3], [{}], [{"key": 1, "data": "", "place": "", "message": ""}]])
def test_a_damaged_receipt_has_no_warnings(told):
    assert data_warnings.read({"warnings": told}) == []


@pytest.mark.parametrize("text", ["few patients: a pilot", KEY, "a pilot"])
def test_only_a_warning_of_the_data_is_answered(text):
    with pytest.raises(UserError, match="answer"):
        data_action.answered(text, [KEY])


# the warnings of a data set


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 12 images, one of them brighter."""
    folder = tmp_path_factory.mktemp("bright") / "photos"
    random = np.random.default_rng(0)
    for label, grey in (("dark", 80), ("light", 140)):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            pixels = random.normal(grey, 30, (16, 16)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def cases(photos):
    return load.load(photos, 16)


def test_a_training_looks_for_shortcuts_itself(photos, cases):
    found = gathered.of_data(str(photos), cases, PROJECT)
    assert [one.key for one in found] == [KEY, "shortcut brightness of the border"]  # "no groups" is a hint
    assert found[0].message.startswith("brightness alone") and found[0].translated["ja"].startswith("明るさだけで")
    assert "dark（79" in found[0].translated["ja"]  # values in their places, too


def test_known_data_is_used_as_published(cases):
    assert gathered.of_data("digits", cases, PROJECT) == []


def finding(code, severity="warning"):
    return check.Finding(code, severity, (), f"found {code}", "mend it")


@pytest.mark.parametrize("place", ["data/photos", "data-sets/photos-1a/data/photos"])
def test_the_last_check_of_the_same_cases_is_taken_over(photos, cases, place):
    found = [finding("wrong label"), finding("leak", "error"), finding("odd size", "hint")]
    gathered.keep(check.Checkup(cases, len(cases), found), str(photos), PROJECT / place)
    taken = gathered.of_data(str(photos), cases, PROJECT)
    assert [(one.key, one.message) for one in taken] == [("wrong label", "found wrong label")]
    fewer = gathered.of_data(str(photos), cases.only(range(1, len(cases))), PROJECT)
    assert "wrong label" not in [one.key for one in fewer]  # of other cases


def test_a_check_that_may_not_write_leaves_nothing(photos, tmp_path):
    action = data_action.Data(tmp_path / "runs", writes=False)
    record = action.result("check", str(photos), fix=str(tmp_path / "clean.csv"), answer=f"{KEY}: {ANSWER}")
    assert record.found.findings and record.report is None and action.result(str(photos)).report is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_training_stores_what_a_later_answer_replaces(photos, capsys):
    from souron.runs import evaluate, train

    record = train.train("mlp_tiny", str(photos), budget="1ep", forecast=False, folds=1)
    kept = receipt(record)["warnings"]
    assert kept[0]["key"] == KEY and not any(MESSAGE in note for note in receipt(record)["notes"])
    assert evaluate.examine(record.folder).warnings == data_warnings.read(receipt(record))
    assert main.run(["data", "check", str(photos), f"project={PROJECT}", f"answer={KEY}: {ANSWER}"]) == 0
    assert f"answered: {ANSWER}" in " ".join(capsys.readouterr().out.split())
    assert "answered: one lamp" in (record.folder / "report.html").read_text(encoding="utf-8")


# a comparison


@pytest.fixture
def compared():
    """A comparison on data with one warning."""
    rows = [Row(name, "accuracy", 0.9, 0.8, 1.0, 1.0, 9.0, 0, 0, (0.9,)) for name in "ab"]
    warning = DataWarning(KEY, "photos", place_of("photos"), MESSAGE, {})
    folder = PROJECT / "compare/two"
    told = (
        folder,
        "retrieve",
        "photos",
        "1ep",
        1,
        200,
        Ranking(registry.metric("accuracy"), rows, []),
        "a leads.",
        {},
        {},
    )
    return ComparisonRecord(*told, folder / "report.html", {}, warnings=[warning])


def test_a_comparison_shows_the_warnings_on_its_page_in_the_terminal_and_in_json(compared, capsys):
    answering.answer(PROJECT, "photos", "few patients", ANSWER)  # of another warning
    actions.print_record(CompareRecord(compared))
    page = report.comparison_report(compared).read_text(encoding="utf-8")
    assert MESSAGE in page and MESSAGE in capsys.readouterr().err
    assert compared.as_json()["warnings"][0]["key"] == KEY
