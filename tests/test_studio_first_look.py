"""A fresh offline installation: each page says at first sight what it needs, or works at once."""

import pytest
from browsing import CHROMIUM, said, serving, settle, visiting

from souron.data import load
from souron.hub import zoo
from souron.studio.shared import PAGES

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed"),
    pytest.mark.skipif(load.names()["terms"].where() is not None, reason="the system has its dictionary installed"),
]
NEEDS = {  # page -> what it says, where its first way leads
    "exam": ("The paper {name} is made of a dictionary that is not on this computer yet.", "terms"),
    "arena": ("The arena needs two language models. Here is only one: {name}.", "smollm2"),
    "models": (
        "None of them is on this computer yet. Fetch {name}, or bring a .gguf file and put it into {folder}.",
        "smollm2",
    ),
    "chat": (
        "{name} cannot answer questions: it was trained on texts alone, not on "
        "conversations, and continues what you write in their style. For answers choose a "
        "model that was trained on conversations.",
        "smollm2",
    ),
}
LONG = ("lecture", "interactives", "train", "compare")  # whose first button trains, or is none


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("fresh")) as server:
        yield server


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_page_says_at_first_sight_what_it_needs(studio, language):
    with visiting(language) as visit:
        page = visit.page
        for name, (text, wanted) in NEEDS.items():
            page.goto(f"{studio.address}/{language}/{name}")
            told = page.locator("#page .remark[role=status]").first
            told.wait_for()
            longest = max(said(text, language).split("{name}"), key=len).split("{folder}")[0]
            assert longest.strip() in told.inner_text(), name
            first = page.locator("#page .actions a.first").first
            assert first.get_attribute("href") == f"/{language}/machine?name={wanted}"
        page.goto(f"{studio.address}/{language}/exam")
        begin = page.get_by_role("button", name=said("Begin", language))
        page.locator("#page .actions a.first").wait_for()
        assert begin.is_disabled()
        page.locator("#page .actions a.first").click()
        page.wait_for_url("**/machine?name=terms")
        settle(page)
        assert page.get_by_label(said("what to fetch", language)).first.input_value() == "terms"
        assert visit.errors == [] and visit.outside == []


def test_tokens_and_models_show_something_at_once(studio):
    with visiting() as visit:
        page = visit.page
        page.goto(f"{studio.address}/en/tokens")  # where its form was a page of its own
        page.wait_for_url("**/en/study?study=tokens")
        settle(page)
        page.get_by_role("button", name="Start").click()
        shown = page.frame_locator("#page iframe").locator(".tokens")
        shown.nth(1).wait_for()
        assert shown.count() == 2
        page.goto(f"{studio.address}/en/models")
        page.wait_for_selector("dl.facts")
        assert visit.errors == []


def test_the_first_button_of_each_page_is_answered(studio):
    with visiting() as visit:
        page, broken = visit.page, []
        page.on("response", lambda answer: broken.append(answer.url) if answer.status >= 500 else 0)
        for name in set(PAGES) - set(LONG):
            page.goto(f"{studio.address}/en/{name}")
            page.wait_for_selector("h1")
            settle(page)
            buttons = page.locator("#page button.primary:visible:enabled")
            if buttons.count():
                buttons.first.click()
                settle(page)
        assert broken == []
        assert [error for error in visit.errors if "status of 400" not in error] == []


LOOKS = """
() => ["body", "#head .name", "#head nav li:last-child a", "h1"].map((selector) => {
  const style = getComputedStyle(document.querySelector(selector));
  return [style.fontFamily, style.color];
}).concat([[getComputedStyle(document.body).backgroundColor]])
"""


@pytest.mark.parametrize("dark", [False, True])
def test_lecture_pages_look_as_the_others_do(studio, dark):
    seen = []
    with visiting(dark=dark) as visit:
        for path in ("en/use", "lecture/en/V1", "en/"):
            visit.page.goto(f"{studio.address}/{path}")
            visit.page.wait_for_selector("h1")
            settle(visit.page)
            seen.append(visit.page.evaluate(LOOKS))
    assert seen[0] == seen[1] == seen[2]
