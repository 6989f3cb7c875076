"""The study ``ask``: what it leaves on the disk, its page, and its result in the studio."""

import json
from pathlib import Path

import pytest

from souron.actions.ask.reading import Reading, Seen
from souron.cli import main
from souron.kinds.passages import Passage, Passages
from souron.kinds.text import Text
from souron.studio import naming
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import read as read_page
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils import files
from souron.utils.messages import use_language

WARD = "The ward opens at eight. Patient 0417 is allergic to <b>penicillin</b>."
QUOTE = "Patient 0417 is allergic to <b>penicillin</b>."
ANSWER = "He is <i>allergic</i> to latex, not to dust or latex."


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    Path("ward.txt").write_text(WARD, encoding="utf-8")


def reading(folder=None):
    start = WARD.index(QUOTE)
    quote = Passage(QUOTE, start, start + len(QUOTE), 0.5)
    first = ANSWER.index("latex")
    last = ANSWER.rindex("latex")
    return Reading(
        Passages("Allergic to what?", [quote], True, WARD, "ward.txt"),
        ANSWER,
        [(first, first + 5), (last, last + 5)],
        Seen(1.0, 0.5, 0.5),
        2.0,
        1.0,
        "gpt",
        [Text(WARD, "ward.txt")],
        folder=folder,
    )


def test_a_question_leaves_a_folder_only_where_that_is_asked_for(capsys):
    question = ["ask", "ward.txt", "What is the patient allergic to?", "passages=1", "--forget"]
    assert main.run(question) == 0
    shown = capsys.readouterr().out
    assert f"“{QUOTE}” (ward.txt, characters 25–71)" in shown and "page:" not in shown
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["ward.txt"]
    assert main.run([*question, "project=kept"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("page: kept/ask/ward/report.html")
    names = {path.name for path in Path("kept/ask/ward").iterdir()}
    assert names == {"ask.json", "report.html", "report.ja.html"}


def test_its_page_marks_quotes_in_context_and_words_without_support():
    folder = files.new_folder(Path("runs/ask"), "ward")
    page = reading(folder).write().read_text(encoding="utf-8")
    assert "<h1>Allergic to what?</h1>" in page and "<b>penicillin" not in page
    escaped = QUOTE.replace("<", "&lt;").replace(">", "&gt;")
    assert f"The ward opens at eight. <mark>{escaped}</mark>" in page
    marked = "to <mark>latex</mark>, not to dust or <mark>latex</mark>."
    assert f"He is &lt;i&gt;allergic&lt;/i&gt; {marked}" in page
    assert "gpt: He is &lt;i&gt;allergic&lt;/i&gt; to [?latex], not to dust or [?latex]." in page
    assert "Words between [? and ] occur in none of the passages." in page


def test_a_result_is_read_again_from_its_json():
    told = json.loads(json.dumps(reading().as_json()))
    again = Reading.from_json(told, WARD)
    assert again.as_json() == told and again.unsupported == reading().unsupported
    assert Reading.from_json({**told, "unsupported": ["dust", "latex"]}, "").unsupported == [
        (ANSWER.index("dust"), ANSWER.index("dust") + 4),
        (len(ANSWER) - 6, len(ANSWER) - 1),
    ]


def test_a_job_is_named_by_its_text_however_it_was_started():
    for words in (["passages=5", "--", "notes/ward.txt", "Why?"], ["notes/ward.txt", "Why?", "project=runs"]):
        assert naming.job(["ask", *words]) == "ask ward.txt"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_studio_shows_a_result(language, tmp_path):
    project = tmp_path / "runs"
    studio = Studio(project, Roots([tmp_path]), Jobs(project), language)
    words = read_page.asking(" ", "ward.txt", "Allergic to what?", "")
    job = studio.jobs.start(words, language)
    assert read_page.outcome(studio, job) == ""
    (job.place / "result.json").write_text(json.dumps(reading().as_json()), encoding="utf-8")
    with use_language(language):
        html = read_page.outcome(studio, job)
    assert html.count("<mark>latex</mark>") == 2 and "<b>" not in html
    assert "&lt;b&gt;penicillin" in html and "50.00 %" in html
    assert ("Marked words" in html) == (language == "en")
