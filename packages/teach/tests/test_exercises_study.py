"""A class's answers: first tries, marked anew, with intervals; files that are damaged, equal or hostile."""

import csv
import io
import json
from pathlib import Path

import browsing
import pytest
from fastapi.testclient import TestClient

from souron import registry
from souron.actions import exercises as study
from souron.actions.exercises import Exercises
from souron.cli import main
from souron.kinds.text import Text
from souron.lecture import exercises, rows
from souron.stats.intervals import interval, proportion_interval
from souron.studio import layout, page_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import exercises as page
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError, use_language


def line(row, answer, number=0, right=False):
    return json.dumps({"time": "2026-01-01", "row": row, "exercise": number, "answer": answer, "right": right})


def student(*lines, name=""):
    return Text("\n".join(lines), name)


CLASS = [
    student(line("V1", 55), line("D2", 0.5), line("D2", 1 / 3), name="ito.jsonl"),
    student(line("V1", 54), line("V1", 55), line("D2", 0.5), name="sato.jsonl"),
    student(line("V1", 55), line("D2", 1 / 3), name="mori.jsonl"),
    student(line("V1", 55), line("D2", 0.7), line("C5", None), line("C5", 1), name="kato.jsonl"),
]


def record(*texts, **options):
    return Exercises(writes=False).result(*texts, **options)


def test_first_tries_count_and_the_most_difficult_exercise_comes_first():
    found = record(*CLASS).results
    told = [(item.exercise.row, item.tries, item.right, item.improved, item.looked) for item in found.items]
    assert told == [("D2", 4, 1, 1, 0), ("V1", 4, 3, 1, 0), ("C5", 0, 0, 0, 1)]
    assert found.items[0].wrong == (0.5, 2) and found.items[1].wrong == (54, 1) and found.items[2].wrong is None
    assert found.items[0].share == proportion_interval(1, 4)
    scores = [[1, 0], [0, 0], [1, 1], [1, 0]]
    expected = interval([float(s) for each in scores for s in each], [n for n in range(4) for _try in range(2)])
    assert (found.share.value, found.share.low) == pytest.approx((expected.value, expected.low))
    assert found.share.groups == 4


def test_functions_of_the_notebooks_are_counted_by_students():
    def checked(name, *right):
        kept = {"time": "2026-01-01", "kind": "function", "row": "D2", "exercise": name, "answer": None}
        return [json.dumps(kept | {"right": one}) for one in right]

    found = record(
        student(*checked("box_overlap", False, True), *checked("dice", True)),
        student(*checked("box_overlap", True, False), *checked("rm_rf", True)),
        student(*checked("box_overlap", False), line("V1", 55)),
    )
    told = [(one.name, one.students, one.first, one.right) for one in found.results.functions]
    assert told == [("box_overlap", 3, 1, 2), ("dice", 1, 1, 1)]
    assert found.results.functions[0].share == proportion_interval(2, 3)
    assert [(fault.file, fault.line) for fault in found.results.faults] == [(2, 3)]
    _exercises, table = found.tables()
    assert table.rows[0][:4] == ["box_overlap", "3", "1", "2"]


def test_answers_are_marked_anew():
    """A file that calls a wrong answer right gains nothing."""
    found = record(student(line("V1", 3, right=True)), student(line("V1", 55, right=False)))
    assert [item.right for item in found.results.items] == [1]


def test_what_follows_a_solution_is_no_try():
    found = record(student(line("V1", 54), line("V1", None), line("V1", 55)), student(line("V1", None), line("V1", 55)))
    [item] = found.results.items
    assert (item.tries, item.right, item.improved, item.looked) == (1, 0, 0, 1)


def test_a_choice_is_named_in_the_readers_language():
    texts = [student(line("C5", answer)) for answer in (0, 0, 2, 1)]
    assert len(record(*texts).results.students) == 3  # equal files are one student's
    texts = [student(line("C5", answer), line("V1", n)) for n, answer in enumerate((0, 0, 2, 1))]
    [wrong] = [row[-1] for row in record(*texts).tables()[0].rows if row[0].startswith("C5")]
    assert wrong == "Shifting by two pixels (2)"
    with use_language("ja"):
        choices = exercises.of_row(rows.find("C5"))[0].ja.choices
        assert any(row[-1] == f"{choices[0]} (2)" for row in record(*texts).tables()[0].rows)


def test_broken_lines_equal_files_and_unknown_exercises_are_reported():
    broken = ["[1]", "{", '{"row": 3}', line("ZZ9", 1), line("V1", 5, number=7), line("V1", 10**400), line("C5", 9),
              '{"row": "V1", "exercise": 0, "answer": NaN, "right": true}', 5000 * "[", "\ud800"]  # fmt: skip
    found = record(CLASS[0], student(*broken, line("V1", 55)), CLASS[0])
    assert [(fault.file, fault.line) for fault in found.results.faults] == [(2, n + 1) for n in range(len(broken))]
    assert found.results.same == [(3, 1)] and len(found.results.students) == 2
    notes = " ".join(found.notes())
    assert (
        "file 2, line 4: an exercise that this version does not have" in notes
        and "file 1 begins with the same lines" in notes
    )
    assert "9.9999" not in notes and "Lines left out: 10 (" in notes
    many = record(student(*["{"] * 50, line("V1", 55)))
    assert "and 30 more" in many.notes()[0]


def test_a_student_who_saved_twice_counts_once():
    later = student(*CLASS[0].text.split("\n"), line("C5", 1))
    found = record(CLASS[0], CLASS[1], later).results
    assert found.same == [(1, 3)] and [(i.exercise.row, i.tries) for i in found.items] == [
        ("D2", 2),
        ("V1", 2),
        ("C5", 1),
    ]


def test_names_are_shown_only_where_they_are_asked_for():
    hidden, shown = record(*CLASS), record(*CLASS, names=True)
    assert "ito" not in json.dumps(hidden.as_json()) + str(hidden.shown()) + hidden.as_csv()
    assert shown.as_json()["files"][0] == {"name": "ito.jsonl", "tries": 2, "right": 1}
    assert shown.tables()[1].rows[1] == ("sato.jsonl", "2", "0")


def test_the_table_is_saved_as_csv():
    lines = list(csv.DictReader(io.StringIO(record(*CLASS).as_csv())))
    assert [(one["row"], one["tries"], one["right"]) for one in lines] == [
        ("D2", "4", "1"),
        ("V1", "4", "3"),
        ("C5", "0", "0"),
    ]
    share = proportion_interval(1, 4)
    assert float(lines[0]["low"]) == pytest.approx(share.low, abs=1e-4) and lines[2]["low"] == ""
    assert (lines[0]["frequent_wrong_answer"], lines[0]["how_often"]) == ("0.5", "2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "class").mkdir()
    for text in CLASS:
        (tmp_path / "class" / text.file).write_text("\ufeff" + text.text, encoding="utf-8")
    return tmp_path / "class"


def test_a_folder_of_files_is_a_class(folder, tmp_path, capsys):
    (folder / "notes.txt").write_text("no answers")
    assert main.run(["exercises", "class/", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["students"] == 4 and [one["row"] for one in found["exercises"]] == ["D2", "V1", "C5"]
    assert not (tmp_path / "runs").exists()  # nothing is written that was not asked for
    assert main.run(["exercises", "class/ito.jsonl", "class/sato.jsonl", "csv=true"]) == 0
    assert capsys.readouterr().out.startswith("row,exercise,title")
    assert main.run(["exercises", "class/", "project=kept"]) == 0
    made = tmp_path / "kept/exercises/class"
    assert {"exercises.json", "exercises.csv", "report.html"} <= {file.name for file in made.iterdir()}
    report = (made / "report.html").read_text(encoding="utf-8")
    assert "ito" not in report and exercises.of_row(rows.find("D2"))[0].en.question in report
    assert (
        exercises.of_row(rows.find("D2"))[0].en.question[:30] not in capsys.readouterr().out
    )  # too long for a terminal


def test_too_many_or_too_large_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(study, "MOST_FILES", 3)
    with pytest.raises(UserError, match="4 files") as error:
        record(str(folder))
    assert error.value.expected
    monkeypatch.setattr(study, "MOST_LETTERS", 10)
    with pytest.raises(UserError):
        record(CLASS[0])
    monkeypatch.undo()
    monkeypatch.setattr(study, "MOST_BYTES", 10)
    for one in (str(folder / "ito.jsonl"), CLASS[0]):
        with pytest.raises(UserError):
            record(one)


def test_files_without_an_answer_say_what_is_expected(folder):
    with pytest.raises(UserError, match="none of 1 files") as error:
        record(Text("hello"))
    assert "Save my answers" in error.value.expected
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="no file of answers"):
        record(str(folder / "empty"))


@pytest.fixture
def client(tmp_path):
    from fastapi import FastAPI

    app, project = FastAPI(), tmp_path / "runs"
    jobs = Jobs(project)
    page_routes.add(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def sent(*texts):
    return json.dumps({"files": [{"name": text.file, "text": text.text} for text in texts]})


def test_the_page_sums_up_files_and_keeps_none(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = client.post("/send/en/exercises/answers?names=", content=sent(*CLASS)).json()
    assert "1 of 4 right at the first try" in found["html"] and "ito" not in found["html"]
    assert found["html"].index("/lecture/en/D2") < found["html"].index("/lecture/en/V1")
    assert found["csv"] == record(*CLASS).as_csv()
    named = client.post(
        "/send/en/exercises/answers?names=1", content=sent(student(*CLASS[0].text.split("\n"), name="<b>"))
    )
    assert "&lt;b&gt;" in named.json()["html"] and "<b>" not in named.json()["html"]
    assert [file for file in tmp_path.rglob("*") if file.is_file() and "jobs" not in str(file)] == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"files": 3}', '{"files": [{"name": "a"}]}', 3000 * "["])
def test_the_page_refuses_what_is_no_class(client, content):
    assert client.post("/send/en/exercises/answers", content=content).status_code == 400


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_teacher_drops_files_and_saves_the_table(looked_at, folder):
    with browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{looked_at.address}/en/exercises")
        assert view.locator("[data-save]").is_hidden()
        files = sorted(map(str, folder.glob("*.jsonl")))
        view.locator(".class-results input[type=file]").set_input_files(files)
        view.get_by_text("1 of 4 right at the first try").wait_for()
        assert "ito.jsonl" not in view.content()
        view.locator("[data-names]").check()
        view.get_by_text("ito.jsonl").wait_for()
        with view.expect_download() as download:
            view.locator("[data-save]").click()
        saved = Path(download.value.path()).read_text(encoding="utf-8-sig")
        assert saved.startswith("row,exercise,title") and download.value.suggested_filename.endswith(".csv")
        view.locator(".class-results input[type=file]").set_input_files(
            [{"name": "a.jsonl", "mimeType": "", "buffer": b"hello"}]
        )
        view.locator("#wrong", has_text="none of 1 files").wait_for()
        assert visit.outside == [] and len(visit.errors) == 1 and "400" in visit.errors[0]


def test_the_page_stands_in_the_place_teach_and_its_form_links_to_it(tmp_path):
    studio = Studio(tmp_path, Roots([tmp_path]), Jobs(tmp_path), "ja")
    with use_language("ja"):
        body = page.body(studio, {})
    assert "/static/exercises.js" in body and "souron exercises" in body
    assert "exercises" in next(place for place in layout.places() if place.name == "teach").pages
    assert registry.action("exercises").page == "exercises"
