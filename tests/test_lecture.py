"""The lecture's rows: whole, of a length to be read aloud, and naming what exists."""

import json
import re
from pathlib import Path

import pytest

from souron import registry
from souron.cli import main
from souron.lecture import course as courses
from souron.lecture import exercises, rows
from souron.studio.forms import command_form
from souron.studio.shared import PAGES
from souron.utils import distributions
from souron.utils.messages import UserError, use_language

DOCS = Path(__file__).parent.parent / "docs"
WORDS, LETTERS = (120, 200), (300, 500)  # of a text that is read aloud: English, Japanese
FOLDER = Path(rows.__file__).parent / "rows"
V1 = (FOLDER / "V1.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", rows.rows().values(), ids=lambda row: row.id)
def test_a_row_names_what_exists(row):
    from souron.data import load

    for name in filter(None, (*row.systems, row.trained)):
        registry.find(name)
    if row.data:
        assert row.systems, "what is trained is the first system"
        assert row.data in load.names()
    assert set(row.training) <= set(command_form.options_of("train"))
    if row.docs:
        assert (DOCS / f"{row.docs}.md").is_file(), row.docs
    assert set(row.pages) <= {*PAGES, *registry.action_files()}


@pytest.mark.parametrize("row", rows.rows().values(), ids=lambda row: row.id)
def test_a_row_can_be_read_aloud(row):
    count = len(row.en.spoken.split())
    assert WORDS[0] <= count <= WORDS[1], f"{count} English words"
    count = len(row.ja.spoken.replace(" ", ""))
    assert LETTERS[0] <= count <= LETTERS[1], f"{count} Japanese characters"
    for text in (row.ja.what, row.ja.spoken, *row.ja.mechanism):
        assert re.search(r"[ぁ-んァ-ヶ]", text), text
    for text in (row.en.what, row.en.spoken, *row.en.mechanism):
        assert not re.search(r"[ぁ-んァ-ヶ一-龠]", text), text


def test_the_lecture_has_its_66_rows_and_more_in_order():
    ids = list(rows.rows())
    assert len(ids) >= 66
    numbers = {letter: [int(id[1:]) for id in ids if id[0] == letter] for letter in "CVDSLGE"}
    assert all(some == list(range(1, len(some) + 1)) for some in numbers.values())
    assert ids == [f"{letter}{number}" for letter, some in numbers.items() for number in some]

    held = [row.id for chapter in rows.chapters() for row in chapter.rows]
    assert held == list(rows.rows()) and {"V1", "G10", "E3"} <= set(held)
    assert {file.stem for file in FOLDER.glob("*")} == set(rows.rows())


def test_every_experiment_that_a_row_names_is_there():
    named = {name for row in rows.rows().values() for name in row.interactive}
    assert named and named <= {*distributions.names("studio/interactives")}


def test_every_row_has_something_to_turn_and_something_to_be_marked():
    for row in rows.rows().values():
        assert row.interactive and exercises.of_row(row), row.id


def test_a_row_speaks_the_readers_language():
    row = rows.find("v1")
    assert row.text is row.en and row.chapter == "images"
    with use_language("ja"):
        assert row.text is row.ja
    assert rows.of_system("alexnet") is row
    with pytest.raises(UserError, match="no row") as error:
        rows.find("V99")
    assert error.value.fix == "souron lecture"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("year = 2012", "year = true"),
        ("year = 2012", 'year = 2012\nyaer = ""'),
        ("year = 2012", "year = 2012\ntraining = {imgsz = '64'}"),
        ("https://papers", "javascript:papers"),
        ('docs = "two_devices"', 'docs = "../../secret"'),
        ('["inside_cnn"]', '["../inside"]'),
        ('"souron show alexnet"', '"rm -r runs"'),
        ("[ja]", "[de]"),
        ('title = "AlexNet"', 'title = ""'),
        ('title = "AlexNet"', f'title = "{"A" * 2001}"'),
        ("mechanism = [", "mechanism = [1,"),
        ("mechanism = [", 'mechanism = ["a", "b",'),
        ("used = ", "used = 1 #"),
        ("[en]", "[en"),
    ],
)
def test_a_row_that_is_not_whole_says_what_is_wrong(tmp_path, before, after):
    assert before in V1
    (tmp_path / "V1.toml").write_text(V1.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        rows.read(tmp_path / "V1.toml")
    assert error.value.code == "lecture file" and error.value.expected


def test_a_row_of_another_name_or_size_is_refused(tmp_path):
    (tmp_path / "Z9.toml").write_text(V1, encoding="utf-8")
    (tmp_path / "V2.toml").write_text("# " + "long " * 10_000 + "\n" + V1, encoding="utf-8")
    for name in ("Z9", "V2"):
        with pytest.raises(UserError, match=name):
            rows.read(tmp_path / f"{name}.toml")


def test_a_course_comes_back_from_its_file_as_it_was(tmp_path):
    course = courses.checked(
        {
            "title": 'AI "総論" \\ \x7f',
            "parts": [{"row": "g10", "before": "a\r\nb\ttab", "after": "''' \U0001f600"}, {"heading": "A break"}],
        }
    )
    assert course.title == 'AI "総論" \\' and course.parts[0].row == "G10"
    assert course.parts[0].before == "a\nb\ttab" and course.parts[1].title == "A break"
    assert courses.read(course.as_toml()) == course
    name = courses.save(course, tmp_path)
    assert courses.save(course, tmp_path) == f"{name}-2"
    assert courses.bring(tmp_path / f"{name}.toml", tmp_path) == name
    assert set(courses.saved(tmp_path)) == {name, f"{name}-2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        'title = "x"',
        'title = "x"\npart = []',
        'title = ""\n[[part]]\nrow = "V1"',
        'title = "x"\n[[part]]',
        'title = "x"\n[[part]]\nrow = "V99"',
        'title = "x"\n[[part]]\nrow = 1',
        'title = "x"\npart = ["V1"]',
        'title = "x"\nmore = 1\n[[part]]\nrow = "V1"',
        'title = "x"\n[[part]]\nhtml = "x"',
        'title = "x"' + '\n[[part]]\nrow = "V1"' * 101,
        'title = "x"\n[[part]]\nbefore = "' + "x" * 5001 + '"',
        'title = "' + "x" * 201 + '"\n[[part]]\nrow = "V1"',
        "title = " + "[" * 5000,
        "title = " + "9" * 5000,
        "#" * 500_001,
    ],
)
def test_a_course_that_is_none_says_what_is_wrong(text):
    with pytest.raises(UserError) as error:
        courses.read(text)
    assert error.value.code in ("course", "row") and error.value.expected
    assert len(error.value.found) < 300


def test_markdown_of_a_course_holds_no_html():
    made = courses.markdown(
        "**bold** <b onclick=x>\n\n<script>x</script>\n\n- [a](https://a.example)\n"
        "- [b](javascript:x) [c](data:text/html,x) ![d](https://a.example/x.png)\n\n# e\n\n---"
    )
    assert "<strong>bold</strong> &lt;b onclick" in made and "&lt;script&gt;" in made
    assert re.findall(r"<(\w+)", made) == ["p", "strong", "p", "ul", "li", "a", "li", "a", "p", "p"]
    assert re.findall('href="([^"]*)"', made) == ["https://a.example", "https://a.example/x.png"]


def test_the_command_tells_rows_and_courses(tmp_path, capsys):
    assert main.run(["lecture"]) == 0
    assert "AlexNet" in capsys.readouterr().out
    assert main.run(["lecture", "v1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["id"] == "V1" and told["spoken"]["ja"]
    file = tmp_path / "my.toml"
    file.write_text('title = "Mine"\n[[part]]\nrow = "G10"\nbefore = "First this."')
    assert main.run(["lecture", f"course={file}"]) == 0
    told = capsys.readouterr().out
    assert "Mine" in told and "1. Diffusion  (G10)" in told and "First this." in told
    assert main.run(["lecture", "V99"]) == 2 and main.run(["lecture", "course=none.toml"]) == 3
