"""The page "My data": the check, corrections at one press, advice, runs and the verdict, on one page."""

import io
import json
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from zipfile import ZipFile

import browsing
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from souron.actions import data as data_action
from souron.data.composing import cells
from souron.data.quality import warnings as data_warnings
from souron.studio import page_routes
from souron.studio.forms import own_data
from souron.studio.jobs import job_queue
from souron.studio.jobs.job_queue import Jobs
from souron.studio.my_data import data_set, view
from souron.studio.pages import my_data
from souron.studio.runs.run_list import Result, Run
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils import files
from souron.utils.messages import UserError

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """The example's folder, and what ``souron data check`` prints of it as JSON."""
    folder = tmp_path_factory.mktemp("example") / "cells"
    cells.write(folder)
    project = folder.parent / "runs"
    record = data_action.Data(project).result("check", str(folder))
    assert record.exit_code == 3
    return folder, json.loads(files.as_json(record.printed(record.report)))


@pytest.fixture
def studio(tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(example[0], tmp_path / "cells")
    return Studio(Path("runs"), Roots([tmp_path]), Jobs(Path("runs")), "en")


@pytest.fixture
def own(studio, example, monkeypatch):
    """The example after its check."""
    monkeypatch.setattr(job_queue.Job, "launch", lambda job: None)
    found = data_set.OwnDataSet(studio, "cells")
    page = Path(example[1]["page"])
    shutil.copytree(page.parent, found.place / "data" / page.parent.name)
    end(found.check(), example[1])
    return data_set.OwnDataSet(studio, "cells")


def end(job, result):
    """Let a job have ended with a result."""
    job.note["over"] = "done"
    job_queue.write(job.place / "result.json", result)
    (job.place / "events.jsonl").write_text(json.dumps({"time": 0, "ended": 0}) + "\n")


def finding(own, code):
    return next(one for one in own.findings if one.code == code)


def pressed(own, code, way, **more):
    my_data.correct(own.studio, {"data": own.data, "finding": finding(own, code).number, "way": way, **more})
    return data_set.OwnDataSet(own.studio, own.data)


def labels(own):
    rows = (line.split(",") for line in own.corrected.read_text().splitlines()[1:])
    return {name: label for name, label, *_rest in rows}


def test_a_new_folder_is_checked_at_once(studio, monkeypatch):
    monkeypatch.setattr(job_queue.Job, "launch", lambda job: None)
    page = my_data.body(studio, {"data": "cells"})
    [job] = studio.jobs.all()
    assert job.words[:3] == ["data", "check", "cells"] and "The files are being checked" in page
    my_data.body(studio, {"data": "cells"})
    my_data.check(studio, {"data": "cells"})
    assert len(studio.jobs.all()) == 1  # one at a time


def test_the_page_says_what_is_there_and_what_to_do_next(own):
    sections = view.sections(own)
    assert "83 files, 82 readable" in sections["files"] and "20 patients" in sections["files"]
    assert "even 39, uneven 43" in sections["files"]
    assert "Mend what would distort your result: 2" in sections["next"]
    assert "82 cases of 20 patients" in sections["first"]
    assert not view.busy(own)


def test_copies_are_left_out_at_one_press_and_come_back(own):
    again = pressed(own, "duplicates", "one")
    assert finding(again, "duplicates").mended and not finding(again, "wrong label").mended
    assert len(labels(again)) == 80 and "even/p01_4.png" not in labels(again) and "even/p01_0.png" in labels(again)
    assert again.used == "cells/corrected.csv" and "80 cases" in again.advice.reason
    my_data.undo(own.studio, {"data": "cells", "number": 0})
    back = data_set.OwnDataSet(own.studio, "cells")
    assert back.used == "cells" and not finding(back, "duplicates").mended


def test_a_wrong_label_is_decided_one_by_one(own):
    assert finding(own, "wrong label").suggested[0] == "even"
    again = pressed(own, "wrong label", "label", family=0, value="even")
    assert labels(again)["uneven/p04_1.png"] == "even" and finding(again, "wrong label").mended
    my_data.undo(own.studio, {"data": "cells", "number": 0})
    right = pressed(own, "wrong label", "right", family=0)
    assert finding(right, "wrong label").mended and labels(right)["uneven/p04_1.png"] == "uneven"
    assert "right as it is" in view.corrections(right)


def test_images_with_two_labels_get_one_or_are_left_out(own):
    again = pressed(own, "label conflict", "label", family=0, value="even")
    assert finding(again, "label conflict").mended and labels(again)["uneven/p12_4.png"] == "even"
    assert not finding(again, "copies of patients").mended
    gone = pressed(again, "copies of patients", "out")
    assert "uneven/p12_4.png" not in labels(gone)
    assert not [one for one in gone.findings if one.severity == "error" and one.open]


def test_parts_that_leak_are_drawn_anew(own, example):
    told = {**example[1]["findings"][0], "code": "leak", "severity": "error", "families": [["even/p00_0.png"]]}
    end(own.check(), {**example[1], "findings": [told]})
    again = pressed(data_set.OwnDataSet(own.studio, "cells"), "leak", "split")
    assert finding(again, "leak").mended
    assert all(line.endswith(",") for line in again.corrected.read_text().splitlines()[1:])


def test_spellings_become_one_patient(own, example):
    told = {
        **example[1]["findings"][0],
        "code": "patient spellings",
        "families": [["even/p00_0.png", "even/p01_0.png"]],
    }
    end(own.check(), {**example[1], "findings": [told]})
    again = pressed(data_set.OwnDataSet(own.studio, "cells"), "patient spellings", "patient", family=0)
    groups = [line.split(",")[2] for line in again.corrected.read_text().splitlines()[1:]]
    assert "p01" not in groups and groups.count("p00") == 9


@pytest.mark.parametrize(
    "asked",
    [
        {"finding": 99, "way": "out"},
        {"finding": "x", "way": "out"},
        {"finding": 2, "way": "out", "family": 99},
        {"finding": 2, "way": "delete"},
        {"finding": 2, "way": "label", "family": 0, "value": HOSTILE},
        {},
    ],
)
def test_what_no_button_asks_changes_nothing(own, asked):
    with pytest.raises(UserError):
        my_data.correct(own.studio, {"data": "cells", **asked})
    with pytest.raises(UserError):
        my_data.undo(own.studio, {"data": "cells", "number": 0})
    assert data_set.OwnDataSet(own.studio, "cells").corrections == []


def test_a_table_of_the_readers_own_is_never_written_over(own):
    (own.folder / "corrected.csv").write_text("mine")
    again = pressed(own, "duplicates", "one")
    assert (own.folder / "corrected.csv").read_text() == "mine" and again.corrected.name == "corrected-2.csv"
    assert pressed(again, "wrong label", "out", family=0).corrected.name == "corrected-2.csv"


def test_all_cases_cannot_be_left_out(own, example):
    every = [[row["filename"]] for row in own.cases]
    end(own.check(), {**example[1], "findings": [{**example[1]["findings"][0], "families": every}]})
    with pytest.raises(UserError, match="no case"):
        pressed(data_set.OwnDataSet(own.studio, "cells"), example[1]["findings"][0]["code"], "out")


def test_the_advised_training_reads_the_corrected_table(own):
    pressed(own, "duplicates", "one")
    my_data.train(own.studio, {"data": "cells"})
    my_data.train(own.studio, {"data": "cells"})  # a second press starts nothing
    [job] = [job for job in own.studio.jobs.all() if job.words[0] == "train"]
    assert job.words[:3] == ["train", "efficientnet_lite", "data=cells/corrected.csv"]
    again = data_set.OwnDataSet(own.studio, "cells")
    assert again.jobs == [job] and view.busy(again)
    my_data.stop(own.studio, {"data": "cells", "job": "another"})
    assert job.state == "waiting"
    my_data.stop(own.studio, {"data": "cells", "job": job.id})
    assert job.state == "stopped"


def test_the_verdict_is_a_sentence_and_the_next_step_follows(own, monkeypatch):
    measured = Run(Path("runs/classify/a"), "finished", 2.0, ("cnn",), "cells/corrected.csv")
    shares = Result("accuracy", 0.874, 0.781, 0.934)
    for runs, asks in (
        ([], "Train a first system"),
        ([measured], "really better"),
        ([Run(Path("runs/compare/b"), "finished", 3.0, ("cnn",), "cells", sentence=HOSTILE), measured], "new files"),
    ):
        one = data_set.OwnDataSet(own.studio, "cells")
        one.__dict__["findings"] = []
        one.__dict__["runs"] = [Run(**{**vars(run), "result": shares}) for run in runs]
        assert asks in view.next_step(one)
        told = view.outcome(one)
        assert HOSTILE not in told
        assert ("of 100 new cases like these, about 87 " in told and "78 to 93" in told) == bool(runs)
    assert view.of_hundred(Run(Path("x/y"), "finished", 1.0, result=Result("AP", 0.5, 0.4, 0.6))) == ""


def test_why_a_training_failed_stands_where_it_was_started(own):
    my_data.correct(own.studio, {"data": own.data, "finding": finding(own, "duplicates").number, "way": "one"})
    my_data.train(own.studio, {"data": own.data})
    [job] = data_set.OwnDataSet(own.studio, own.data).jobs
    job.note |= {"over": "failed", "trouble": {"code": "too few cases", "found": "2 <cats>", "try": "add cases"}}
    again = data_set.OwnDataSet(own.studio, own.data)
    told = view.first_training(again)
    assert again.failed is job and "2 &lt;cats&gt;" in told and "add cases" in told
    assert f'data-job="{job.id}"' in told and 'data-act="train"' in told  # seen here, so that no notice repeats it
    my_data.train(own.studio, {"data": own.data})
    assert data_set.OwnDataSet(own.studio, own.data).failed is None


def test_findings_are_in_the_language_of_the_page(own):
    japanese = data_set.OwnDataSet(replace(own.studio, language="ja"), own.data)
    assert japanese.checking is None and not japanese.result
    job = japanese.check()
    assert job.language == "ja" and data_set.OwnDataSet(own.studio, own.data).result
    job.note["over"] = "done"
    own.check()  # once more: what the other language says may not be true any more
    assert data_set.OwnDataSet(japanese.studio, own.data).checking is None


def test_runs_on_other_data_do_not_belong_here(own):
    assert own.holds("cells") and own.holds("cells/corrected.csv")
    assert not any(own.holds(data) for data in ("digits", "cells/even", "/etc/passwd", "", "cells2"))


def test_files_are_shown_from_this_folder_alone(own, tmp_path):
    (tmp_path / "secret.png").write_bytes((own.folder / "even" / "p00_0.png").read_bytes())
    app = FastAPI()
    page_routes.add(app, lambda language: own.studio)
    client = TestClient(app)
    fine = client.get("/show/en/my_data/image", params={"data": "cells", "file": "even/p00_0.png"})
    assert fine.status_code == 200 and fine.content.startswith(b"\x89PNG")
    for file in ("../secret.png", str(tmp_path / "secret.png"), "even/p05_4.png", "gone.png", ""):
        assert client.get("/show/en/my_data/image", params={"data": "cells", "file": file}).status_code == 400
    assert client.post("/do/en/my_data/state", json={"data": "/etc"}).status_code == 400
    assert client.post("/do/en/my_data/open", json={"path": "cells"}).json()["address"] == "/en/my_data?data=cells"


def test_a_zip_becomes_a_folder_with_a_page(own):
    app = FastAPI()
    page_routes.add(app, lambda language: own.studio)
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.write(own.folder / "even" / "p00_0.png", "mine/a/1.png")
        archive.write(own.folder / "even" / "p01_0.png", "mine/b/1.png")
    answer = TestClient(app).post("/send/en/my_data/files?name=mine.zip", content=packed.getvalue()).json()
    assert answer["address"].endswith("uploads%2Fmine")
    assert sorted(path.name for path in own_data.uploads(own.studio)[0].iterdir()) == ["a", "b"]
    assert TestClient(app).post("/send/en/my_data/files?name=a.zip", content=b"PK\x03\x04").status_code == 400
    assert "mine" in my_data.body(own.studio, {})


def test_a_folder_that_is_not_there_is_reported(studio):
    for data in ("gone", "digits", "/etc", "a\0b"):
        with pytest.raises(UserError):
            my_data.body(studio, {"data": data})


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_from_a_folder_to_corrections_in_the_browser(language, looked_at, tmp_path):
    cells.write(tmp_path / f"cells-{language}")
    with browsing.visiting(language, width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/my_data")
        page.locator("input[webkitdirectory]").set_input_files(str(tmp_path / f"cells-{language}"))
        page.wait_for_selector("#doctor .findings")
        assert page.locator("h1").inner_text() == f"cells-{language}"
        page.click("#doctor [data-asked*='out']")
        page.wait_for_selector(".corrections li")
        page.click(".corrections button")
        page.wait_for_selector(".corrections", state="detached")
        page.click("details:has(form) > summary")
        page.locator("#doctor form input").first.fill("one lamp")
        page.locator("#doctor form input").first.press("Enter")
        page.wait_for_selector("#doctor [data-act=answer]:not(form)", state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.errors == [] and visit.outside == []


def test_a_warning_is_answered_on_the_page_and_the_answer_taken_back(own):
    number = finding(own, "shortcut").number
    asked = {"data": own.data, "finding": number}
    doctor = my_data.answer(own.studio, {**asked, "value": f"one lamp {HOSTILE}"})["sections"]["doctor"]
    assert "answered: one lamp &lt;img" in doctor and '"finding": ' + str(number) in unescape(doctor)
    again = data_set.OwnDataSet(own.studio, own.data)
    assert finding(again, "shortcut").answer and again.answers == {
        finding(again, "shortcut").key: f"one lamp {HOSTILE}"
    }
    my_data.answer(own.studio, asked)
    assert not finding(data_set.OwnDataSet(own.studio, own.data), "shortcut").answer


def test_cases_that_are_right_as_they_are_answer_the_warning(own):
    again = pressed(own, "wrong label", "right")
    assert again.answers == {"wrong label": data_warnings.ONE_BY_ONE}
    my_data.undo(own.studio, {"data": "cells", "number": 0})
    assert data_set.OwnDataSet(own.studio, own.data).answers == {}


def test_cases_that_are_changed_leave_the_warning_to_earlier_results(own):
    again = pressed(own, "duplicates", "one")
    assert finding(again, "duplicates").mended and again.answers == {}


def test_the_verdict_stands_beside_the_warnings_of_its_data(own):
    run = Run(Path("runs/classify/one"), "finished", 0.0, ("cnn",), own.data, warnings=("brightness alone",))
    own.runs = [replace(run, result=Result("accuracy", 0.99, 0.95, 1.0))]
    assert "99 would be named correctly" in view.outcome(own) and "brightness alone" in view.outcome(own)


def test_warnings_come_before_the_use_of_what_was_trained(own):
    runs = [Run(Path("runs/classify/one"), "finished", 0.0, ("cnn",), own.data)]
    own.runs = [*runs, Run(Path("runs/compare/two"), "finished", 0.0, ("cnn", "mlp"), own.data)]
    own.findings = [replace(one, severity="warning") for one in own.findings]
    assert "Mend or answer the warnings" in view.next_step(own)
    own.findings = [replace(one, answer="a pilot") for one in own.findings]
    assert "Use it on new files" in view.next_step(own)
