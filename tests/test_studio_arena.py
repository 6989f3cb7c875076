"""The studio's arena and its table of models, in a real Chromium."""

import re
from html import unescape
from urllib.parse import parse_qs

import browsing
import pytest
import waiting
from browsing import keep, said

from souron.actions.arena import contest, votes
from souron.actions.arena.votes import Answer
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import arena
from souron.studio.security.paths import Roots
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils.messages import UserError

seen = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
CODE = """
from souron.cli import main
from souron.actions.arena import contest
from souron.actions.arena.votes import Answer


class Parrot:
    def __init__(self, name):
        self.name = name

    def answer(self, question, length, sampling):
        text = "A short one." if self.name == "eagle" else "<b>A longer one.</b>"
        return Answer(question, "", text, 3, 0.1, "end")


contest.Rival = Parrot
main.main()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With two models that answer at once."""
    folder = tmp_path_factory.mktemp("arena")
    started = browsing.Server(folder, code=CODE).start()
    yield started
    started.end()
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


@seen
@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ja", 390)])
def test_names_come_after_the_vote(server, language, width):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{server.address}/{language}/arena")
        page.get_by_label(said("a name, a .gguf file, a folder, or a run", language)).fill("eagle\nheron")
        page.get_by_label(said("questions", language)).last.fill("Why?\nHow?")
        page.click(f"button:text-is('{said('Begin', language)}')")
        shown = ""
        for number, key in enumerate("12", 1):
            page.wait_for_selector("#asked section")
            waiting.until(lambda: page.inner_text("#told").strip() == "")
            waiting.until(lambda shown=shown: page.inner_text("#asked") != shown)
            shown = page.inner_text("#asked")
            assert "eagle" not in page.content() and "heron" not in page.content()
            assert "<b>A longer one.</b>" in page.inner_text("#asked"), "as text, not as HTML"
            keep(page, f"{language}-arena-{number}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{wide} pixels wide"
            first, second = page.locator("#asked section").all()
            beside = first.bounding_box()["y"] == second.bounding_box()["y"]
            assert beside == (width > 600)
            page.keyboard.press(key)
            page.wait_for_selector("#told table")
            assert "eagle" in page.inner_text("#told") and "heron" in page.inner_text("#told")
            page.keyboard.press("n")
        page.wait_for_selector(f"text={said('Every pair has been voted on.', language)}")
        assert "votes=" in page.url
        keep(page, f"{language}-arena-3")
        assert visit.outside == [] and visit.errors == []


@pytest.fixture
def studio(tmp_path, monkeypatch):
    """With models that answer at once with their name, and always the same to one question."""

    class Parrot:
        def __init__(self, name):
            self.name = name

        def answer(self, question, length, sampling):
            return Answer(question, "", "so" if question == "Same?" else f"I am {self.name}", 3, 0.1, "end")

    monkeypatch.setattr(contest, "Rival", Parrot)
    return Studio(tmp_path / "runs", Roots([tmp_path]), Jobs(tmp_path / "runs"), "en")


def begun(studio, questions):
    form = Posted({**arena.START.values, "others": ["eagle\nheron"], "questions": [questions]})
    return arena.begin(studio, form)


def press(studio, told, name, **query):
    """Press a button of the page: the first that posts to that part with these words in its address."""
    every = [unescape(one) for one in re.findall(rf'hx-post="/part/en/arena/{name}\?([^"]+)"', told)]
    asked = next(parse_qs(one) for one in every if query.items() <= {k: v[0] for k, v in parse_qs(one).items()}.items())
    return arena.PARTS[name](studio, Posted(asked))


def test_a_vote_belongs_to_its_question_and_counts_while_it_is_blind(studio):
    one = begun(studio, "Why?\nSame?\nHow?")
    assert "1 is " not in one.replace("1 is better", "") and 'id="told"></div>' in one
    shown = press(studio, one, "reveal")
    assert "1 is eagle, 2 is heron" in shown or "1 is heron, 2 is eagle" in shown
    voted = press(studio, shown, "vote", said="first")
    assert 'aria-keyshortcuts="n" hx-post' in voted.replace(" autofocus", "")
    two = press(studio, one, "vote", said="first")  # the button of a question that has had its vote
    assert "1 is eagle" not in two and "1 is heron" not in two
    assert "<table>" in press(studio, two, "vote", said="second")
    (file,) = (studio.project / "arena").glob("*.jsonl")
    cast = [vote for vote in votes.read(file).votes if vote.said != votes.SAME]
    assert [(vote.said, vote.blind) for vote in cast] == [("first", False), ("second", True)]
    done = arena.resume(studio, Posted({"votes": [file.name]}))
    assert "Every pair has been voted on." in done and "<button" not in done.split('class="same"')[0]
    assert f"resume?votes={file.name}" in arena.body(studio, {"votes": file.name})
    assert 'hx-trigger="load"' not in arena.body(studio, {"votes": "../x"})


def test_what_is_missing_is_said_and_what_was_typed_stays(studio):
    form = {**arena.START.values, "others": ["eagle"], "questions": ["Why?"]}
    told = arena.begin(studio, Posted(form))
    assert "Choose two to four models" in told and "Why?</textarea>" in told
    for wrong in ({"length": ["many"]}, {"temperature": ["3"]}, {"others": ["eagle\n/etc/passwd"]}):
        with pytest.raises(UserError):
            arena.begin(studio, Posted({**form, "others": ["eagle\nheron"], **wrong}))
    with pytest.raises(UserError, match="there are no votes"):
        arena.resume(studio, Posted({"votes": ["../x.jsonl"]}))


@seen
def test_models_are_listed_with_their_pages(server):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{server.address}/en/models")
        page.wait_for_selector("#models table")
        link = page.locator("#models a:text-is('Qwen3-1.7B')")
        assert link.get_attribute("href") == "https://huggingface.co/Qwen/Qwen3-1.7B"
        page.get_by_label("one of them, with its sources").select_option("gpt-oss-20b")
        page.wait_for_selector("dl.facts >> text=arxiv.org/abs/2508.10925")
        assert visit.outside == [] and visit.errors == []
