"""The studio's arena and its table of models, in a real Chromium."""

import browsing
import pytest
import waiting
from browsing import keep, said

pytestmark = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
CODE = """
from souron.cli import main
from souron.studies.arena import contest
from souron.studies.arena.votes import Answer


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


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ja", 390)])
def test_names_come_after_the_vote(server, language, width):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{server.address}/{language}/arena")
        models = page.get_by_label(said("two to four models", language)).first
        models.click()
        for name in ("eagle", "heron"):
            models.fill(name)
            page.keyboard.press("Enter")
        page.locator("#page textarea").first.fill("Why?\nHow?")
        page.click(f"button:text-is('{said('Begin', language)}')")
        shown = ""
        for number, key in enumerate("12", 1):
            page.wait_for_selector("#asked section")
            page.wait_for_function("document.querySelector('#told')?.innerText.trim() == ''")
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
