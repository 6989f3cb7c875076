"""Exercises of the lecture's rows: whole in both languages, marked by computed answers, kept without names."""

import doctest
import html
import json
import re
from pathlib import Path

import browsing
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from souron.lecture import computed, exercises, rows
from souron.studio.app import add_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError, use_language

BY_HAND = {
    "C3": 79510,
    "C4": 320,
    "C9": 10 / 3,
    "V1": 55,
    "V2": 73728,
    "V4": 1.1,
    "V6": 196,
    "V11": 69.9,
    "V12": 99,
    "D2": 1 / 3,
    "D5": 2.5,
    "S1": 0.5,
    "L1": 0.8668,
    "L7": 12288,
    "L8": 1 / 3,
    "G1": 0.5,
    "G2": 1.3863,
    "G10": 0.933,
    "G13": 0.7071,
    "C6": 7.0,
    "V3": 15872,
    "V5": 256,
    "V9": 3843,
    "D1": 45,
    "D3": 2040,
    "S2": 0.8176,
    "S3": 0.5333,
    "S4": 25,
    "S5": 40,
    "L2": 1.5,
    "L3": 0.5544,
    "L5": 75.97,
    "L6": 10,
    "L9": 33.09,
    "G3": 32,
    "G5": 0.35,
    "G6": 61.7,
    "G7": 14,
    "G8": 1.75,
    "G9": 0.4839,
    "G11": 1.1,
    "G12": 1.25,
    "G15": 12,
    "G16": 48,
    "G17": 16384,
    "G18": 8,
    "E1": 44.69,
    "E3": 0.375,
    "E4": 3.70,
    "E5": 8,
}
ONE = """
[[exercise]]
kind = "number"
compute = "patches"
given = {side = 4, patch = 2}
tolerance = 0.5
en = {question = "How many?", hint = "Count.", explanation = "{answer}."}
ja = {question = "いくつですか。", hint = "数えます。", explanation = "{answer}です。"}
"""


@pytest.fixture
def client(tmp_path):
    app, project = FastAPI(), tmp_path / "runs"
    jobs = Jobs(project)
    add_routes(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def test_every_row_has_one_and_each_is_whole_in_both_languages():
    numbers, questions = {}, []
    for row in rows.rows().values():
        assert row.exercise, row.id
        for one in exercises.of_row(row):
            questions += [one.en.question, one.ja.question]
            for en, ja in zip(vars(one.en).values(), vars(one.ja).values(), strict=True):
                assert len(en) == len(ja) if isinstance(en, tuple) else en != ja
            assert len(set(one.en.choices)) == len(one.en.choices) and len(set(one.ja.choices)) == len(one.ja.choices)
            for language in ("en", "ja"):
                with use_language(language):
                    assert "{" not in one.explanation and one.words.question != one.words.hint
            if one.kind == "number":
                assert "{answer}" in one.en.explanation and "{answer}" in one.ja.explanation
                numbers[row.id] = one.answer
                assert exercises.right(one, one.answer) and not exercises.right(one, one.answer + 2 * one.tolerance)
    assert numbers == pytest.approx(BY_HAND, rel=1e-3)
    assert len(set(questions)) == len(questions)


def test_a_hint_and_a_question_do_not_hold_the_answer():
    for row in rows.rows().values():
        for one in exercises.of_row(row):
            if one.kind == "number":
                answer = f"{one.answer:.4g}" if one.answer % 1 else f"{one.answer:.0f}"
                told = f"{one.en.question} {one.en.hint}".replace(" ", "")
                assert not re.search(rf"(?<![\d.]){re.escape(answer)}(?![\d.]*\d)", told), row.id


def test_every_computed_answer_has_an_example_that_runs_and_is_asked_for():
    functions = computed.functions()
    asked = {found.get("compute") for row in rows.rows().values() for found in row.exercise} - {None}
    assert asked == set(functions)
    for name, function in functions.items():
        [test] = doctest.DocTestFinder().find(function, name, globs={name: function})
        assert test.examples and doctest.DocTestRunner(verbose=False).run(test).failed == 0, name


def test_a_file_of_a_chapter_adds_its_functions(tmp_path, monkeypatch):
    (tmp_path / "extra.py").write_text("def _helper():\n    return 1\n\n\ndef added(x):\n    return x + _helper()\n")
    monkeypatch.setattr(computed, "__path__", [*computed.__path__, str(tmp_path)])
    computed.functions.cache_clear()
    try:
        assert computed.functions()["added"](1) == 2 and "_helper" not in computed.functions()
    finally:
        computed.functions.cache_clear()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"number"', '"essay"'),
        ("tolerance = 0.5", "tolerance = 0"),
        ("tolerance = 0.5", "tolerance = 0.5\nmore = 1"),
        ('"patches"', '"__import__"'),
        ("patch = 2", "patches = 2"),
        ('hint = "Count.", ', ""),
        ('hint = "Count."', 'hint = "Count.", choices = ["a", "b"]'),
        ('"number"\ncompute = "patches"\ngiven = {side = 4, patch = 2}\ntolerance = 0.5', '"predict"\nright = 0'),
    ],
)
def test_an_exercise_that_is_not_whole_says_what_is_wrong(tmp_path, before, after):
    text = (rows.package_folders("lecture/rows")[0] / "V1.toml").read_text(encoding="utf-8").split("\n[[exercise]]")[0]
    file = tmp_path / "V1.toml"
    file.write_text(text + ONE, encoding="utf-8")
    [one] = exercises.of_row(rows.read(file))
    assert one.answer == 4 and one.explanation == "4."
    assert before in ONE
    file.write_text(text + ONE.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        exercises.of_row(rows.read(file))
    assert error.value.code == "lecture file" and error.value.expected


def test_an_answer_is_marked_and_kept_and_a_hint_comes_first(client, tmp_path):
    page = client.get("/lecture/en/V1").text
    [one] = exercises.of_row(rows.find("V1"))
    assert html.escape(one.en.question, quote=False)[:40] in html.unescape(page) and "Solved before" not in page
    wrong = client.post("/lecture/en/V1/mark", json={"exercise": 0, "answer": 54}).json()
    assert not wrong["right"] and one.en.hint[:20] in wrong["html"] and "54.25" not in wrong["html"]
    assert "Solved before" not in client.get("/lecture/en/V1").text
    right = client.post("/lecture/ja/V1/mark", json={"exercise": 0, "answer": 55}).json()
    assert right["right"] and one.ja.explanation.replace("{answer}", "55") in html.unescape(right["html"])
    for row in ("C5", "V1"):  # who was right before looks up nothing
        shown = client.post(f"/lecture/en/{row}/mark", json={"exercise": 0, "show": True}).json()
        assert ("Mirroring left to right. " in shown["html"]) == (row == "C5") and not shown["right"]
    lines = [json.loads(line) for line in (tmp_path / "runs" / "exercises.jsonl").read_text().splitlines()]
    kept = [(line["row"], line["answer"], line["right"]) for line in lines]
    assert kept == [("V1", 54, False), ("V1", 55, True), ("C5", None, False)]
    assert all(set(line) == {"time", "row", "exercise", "answer", "right"} for line in lines)  # no name
    assert "Solved before" in client.get("/lecture/en/V1").text


@pytest.mark.parametrize(
    "asked",
    [3, [], {}, {"exercise": 1, "answer": 55}, {"exercise": True, "answer": 55}, {"exercise": -1, "answer": 5},
     {"exercise": 0}, {"exercise": 0, "answer": 10**400},
     {"exercise": 0, "answer": "5"}, {"exercise": 0, "answer": True}, {"exercise": 0, "answer": [5]}],
)  # fmt: skip
def test_nonsense_is_refused_and_not_kept(client, tmp_path, asked):
    assert client.post("/lecture/en/V1/mark", json=asked).status_code == 400
    assert not (tmp_path / "runs" / "exercises.jsonl").exists()


def test_a_choice_is_one_of_those_that_are_there(client):
    for answer in (3, -1, 0.5):
        assert client.post("/lecture/en/C5/mark", json={"exercise": 0, "answer": answer}).status_code == 400
    assert client.post("/lecture/en/C5/mark", json={"exercise": 0, "answer": 1}).json()["right"]
    assert access.find_route("/lecture/ja/C5/mark", "POST").sort == "call"


def test_a_full_or_damaged_file_of_answers_is_no_end(tmp_path, monkeypatch):
    [one] = exercises.of_row(rows.find("V1"))
    exercises.keep(tmp_path, one, 55, True)
    with (tmp_path / "exercises.jsonl").open("a") as file:
        file.write('[1]\n{"row": \nnull\n{"row": "V2", "exercise": null, "right": true}\n' + 9999 * "[" + "\n")
    assert exercises.solved(tmp_path) == {("V1", 0)}
    monkeypatch.setattr(exercises, "MOST_BYTES", 10)
    with pytest.raises(UserError, match="holds more") as error:
        exercises.keep(tmp_path, one, 55, True)
    assert error.value.expected


def test_a_student_saves_all_answers_as_one_file(client, tmp_path):
    page = client.get("/lecture/en/V1").text
    assert 'class="actions answers" hidden' in page and client.get("/lecture/en/answers.jsonl").status_code == 404
    client.post("/lecture/en/V1/mark", json={"exercise": 0, "answer": 54})
    assert 'class="actions answers"><a href="/lecture/ja/answers.jsonl"' in client.get("/lecture/ja/V1").text
    saved = client.get("/lecture/en/answers.jsonl")
    assert saved.content == (tmp_path / "runs" / "exercises.jsonl").read_bytes()
    assert re.fullmatch(r"attachment; filename=answers-[0-9a-f]{8}\.jsonl", saved.headers["Content-Disposition"])
    assert access.find_route("/lecture/en/answers.jsonl", "GET").sort == "own"


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_reader_is_marked_on_the_page(looked_at):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/lecture/en/S1")
        form = page.locator("form.exercise")
        form.locator("input").focus()
        page.keyboard.type("0.6")
        page.keyboard.press("Enter")
        form.locator("[role=status]", has_text=re.compile("Not right yet")).wait_for()
        form.locator("input").fill("0.5")
        form.locator("[type=submit]").click()
        form.locator("[role=status].right", has_text=re.compile("Right")).wait_for()
        with page.expect_download() as download:
            page.get_by_text("Save my answers as a file").click()
        assert '"row": "S1"' in Path(download.value.path()).read_text()
        page.goto(f"{looked_at.address}/lecture/ja/C5")
        page.locator("form.exercise input").nth(1).check()
        page.locator("form.exercise [type=submit]").click()
        page.locator("form.exercise [role=status].right").wait_for()
        assert visit.outside == [] and visit.errors == []
