"""Exercises of the lecture's rows: whole in both languages, marked by computed answers, kept without names."""

import doctest
import html
import json
import re

import browsing
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from souron.lecture import computed, exercises, rows
from souron.studio.jobs.job_queue import Jobs
from souron.studio.lecture import lecture_routes
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError, use_language

WITH = [row for row in rows.rows().values() if row.exercise]
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
    lecture_routes.add(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def test_at_least_twenty_rows_have_one_and_each_is_whole():
    assert len(WITH) >= 20
    numbers = {}
    for row in WITH:
        for one in exercises.of_row(row):
            for language in ("en", "ja"):
                with use_language(language):
                    assert "{" not in one.explanation and one.words.question != one.words.hint
            if one.kind == "number":
                assert "{answer}" in one.en.explanation and "{answer}" in one.ja.explanation
                numbers[row.id] = one.answer
                assert exercises.right(one, one.answer) and not exercises.right(one, one.answer + 2 * one.tolerance)
    assert numbers == pytest.approx(BY_HAND, rel=1e-3)


def test_every_computed_answer_has_an_example_that_runs():
    found = doctest.testmod(computed)
    assert found.failed == 0 and found.attempted >= len(computed.COMPUTED)


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
    shown = client.post("/lecture/en/C5/mark", json={"exercise": 0, "show": True}).json()
    assert "Mirroring left to right. " in shown["html"] and not shown["right"]
    lines = [json.loads(line) for line in (tmp_path / "runs" / "exercises.jsonl").read_text().splitlines()]
    assert [(line["row"], line["answer"], line["right"]) for line in lines] == [("V1", 54, False), ("V1", 55, True)]
    assert all(set(line) == {"time", "row", "exercise", "answer", "right"} for line in lines)  # no name
    assert "Solved before" in client.get("/lecture/en/V1").text


@pytest.mark.parametrize(
    "asked",
    [3, [], {}, {"exercise": 1, "answer": 55}, {"exercise": True, "answer": 55}, {"exercise": -1, "answer": 5},
     {"exercise": 0}, {"exercise": 0, "answer": "5"}, {"exercise": 0, "answer": True}, {"exercise": 0, "answer": [5]}],
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
        file.write('[1]\n{"row": \nnull\n{"row": "V2", "exercise": null, "right": true}\n')
    assert exercises.solved(tmp_path) == {("V1", 0)}
    monkeypatch.setattr(exercises, "MOST_BYTES", 10)
    with pytest.raises(UserError, match="holds more") as error:
        exercises.keep(tmp_path, one, 55, True)
    assert error.value.expected


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
        page.goto(f"{looked_at.address}/lecture/ja/C5")
        page.locator("form.exercise input").nth(1).check()
        page.locator("form.exercise [type=submit]").click()
        page.locator("form.exercise [role=status].right").wait_for()
        assert visit.outside == [] and visit.errors == []
