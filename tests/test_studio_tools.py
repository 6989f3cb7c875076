"""Pages of single tools in the studio: this computer, open models, work, an exam."""

import html
import re
from pathlib import Path

import pytest

from souron.hub import fetch
from souron.kinds.question import Question
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import exam, machine, models, work
from souron.studio.security.paths import Roots
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, use_language

PROJECT = Path("runs")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(params=LANGUAGES)
def studio(request):
    with use_language(request.param):
        yield Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), request.param)


@pytest.fixture
def english():
    return Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), "en")


def form(**values):
    return Posted({name: [str(value)] for name, value in values.items()})


# this computer


def test_what_is_fetched_is_chosen_by_the_address(english, monkeypatch):
    monkeypatch.setattr(fetch, "where", lambda name: Path("here") if name == "mnist" else None)
    page = str(machine.body(english, {"name": "fashion"}))
    assert '<option value="fashion" selected>' in page and '<option value="mnist"' not in page
    assert "selected" not in str(machine.body(english, {"name": HOSTILE})).replace('value="" selected', "")


def test_what_was_fetched_leaves_the_list(english, monkeypatch):
    job = english.jobs.start(["fetch", "mnist"], "en")
    shown = machine.fetched(english, job)
    assert 'hx-get="/part/en/machine/downloads" hx-trigger="load" hx-target="#downloads"' in shown
    monkeypatch.setattr(fetch, "where", lambda _name: Path("here"))
    assert "<option" not in str(machine.PARTS["downloads"](english, form())).replace('<option value="" selected>', "")


def test_a_press_fetches(english, monkeypatch):
    begin = english.jobs.start
    monkeypatch.setattr(Jobs, "start", lambda _self, words, language, queued: begin(words, language))
    assert "data-job" in machine.PARTS["fetch"](english, form(name="mnist"))
    assert [job.words for job in english.jobs.all()] == [["fetch", "mnist"]]


# models


def test_a_model_is_shown_with_its_sources(studio):
    page = str(models.body(studio, {}))
    assert page.count('<dl class="facts">') == 1 and "Qwen3-1.7B" in page
    assert "arxiv.org/abs/2508.10925" in models.PARTS["one"](studio, form(model="gpt-oss-20b"))
    with pytest.raises(UserError):
        models.PARTS["one"](studio, form(model=HOSTILE))


# work


def test_an_occupation_is_found_by_a_word_and_stands_in_the_address(studio):
    page = str(work.body(studio, {"occupation": "dentist"}))
    assert "<h2>Dentists, General</h2>" in page and 'value="dentist"' in page
    assert "<h2>Registered Nurses</h2>" in work.body(studio, {}) and "<img src=x" not in work.body(
        studio, {"occupation": HOSTILE}
    )
    part = work.PARTS["one"](studio, form(occupation="看護師"))
    assert f'data-address="/{studio.language}/work?occupation=Registered+Nurses"' in part
    with pytest.raises(UserError, match="nothing"):
        work.PARTS["one"](studio, form(occupation=" "))


def test_own_tasks_are_text_and_not_too_many(english):
    with pytest.raises(UserError, match="too many"):
        work.PARTS["rated"](english, form(tasks="sew\n" * (work.MOST_TASKS + 1)))
    with pytest.raises(UserError):
        work.PARTS["rated"](english, form(tasks=""))


# an exam


class Paper:
    """Two questions, of which the second is hostile."""

    input = (Question("the first", ("a", "b", "c"), ""), Question(HOSTILE, ("x", HOSTILE), ""))
    target = (2, 1)

    def __len__(self):
        return 2


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.setattr(exam, "paper", lambda _data, _seed: Paper())
    monkeypatch.setattr(exam, "picked", lambda _model, _item: (1, 0.75))


def hidden(part):
    return form(**dict(re.findall(r'type="hidden" name="(\w+)" value="(\w*)"', str(part))))


def answer(studio, part, **values):
    return exam.PARTS["answer"](studio, Posted({**hidden(part).values, **form(model="nearest", **values).values}))


def test_an_exam_counts_the_answers_of_both(english, paper):
    asked = exam.PARTS["begin"](english, form(data="terms", seed=3))
    assert "Question 1" in asked and "A) a" in asked and "Answer" in asked
    first = answer(english, asked, choice=2)
    assert "Right. The right option: C) c" in first and "nearest picks B) b, with a confidence of 75" in first
    assert "Of 1: you 1, the model 0." in first and '<fieldset class="ticks" disabled>' in first
    asked = exam.PARTS["next"](english, hidden(first))
    assert "Question 2" in asked and "checked" not in asked and HOSTILE not in asked and html.escape(HOSTILE) in asked
    second = answer(english, asked, choice=0)
    assert "Wrong." in second and "Of 2: you 1, the model 1." in second
    end = exam.PARTS["next"](english, hidden(second))
    assert "That was the last question." in end and "Of 2: you 1, the model 1." in end and "<form" not in end


@pytest.mark.parametrize("choice", ["", "3", "-1", "x"])
def test_without_a_choice_nothing_is_answered(english, paper, choice):
    asked = exam.PARTS["begin"](english, form(data="terms", seed=0))
    with pytest.raises(UserError, match="nothing given"):
        answer(english, asked, choice=choice)


def test_only_a_model_that_the_exam_offers_answers(english, paper):
    asked = exam.PARTS["begin"](english, form(data="terms", seed=0))
    given = {**hidden(asked).values, **form(choice=0, model="/etc/passwd").values}
    with pytest.raises(UserError, match="model"):
        exam.PARTS["answer"](english, Posted(given))


@pytest.mark.parametrize(
    "values", [{"data": "digits"}, {"data": "terms", "seed": 10**7}, {"data": "terms", "seed": "x"}]
)
def test_there_is_no_paper_of_other_data_or_seeds(english, values):
    with pytest.raises(UserError):
        exam.PARTS["begin"](english, form(**values))


def test_the_address_names_the_model_and_the_command_says_the_same(studio):
    page = str(exam.body(studio, {"system": "nearest"}))
    assert '<option value="nearest" selected>' in page and 'name="seed" value="0"' in page
    said = exam.PARTS["same"](studio, form(model="nearest", data="terms", seed="7"))
    assert "souron exam nearest data=terms seed=7" in said
    assert exam.PARTS["same"](studio, form(model="nearest", data="terms", seed="7x")) == ""
