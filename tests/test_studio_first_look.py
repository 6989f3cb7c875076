"""A fresh offline installation: each page says at first sight what it needs, or works at once."""

from functools import partial

import pytest
import waiting
from browsing import CHROMIUM, axe, said, serving, settle, visiting

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
    "chat": ("It is a small model for the lecture, and asked about anything else it writes nonsense.", "smollm2"),
}


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


TELEPHONE = 390  # pixels
FIRST = (  # the main button of a page, else its first one that is no tab, no copy and no menu
    "#page button.first:visible:enabled",
    "#page button:visible:enabled:not([data-copy], .stop, [aria-label], [aria-haspopup], [role=tab], [tabindex='-1'])",
)


def first_button(page):
    """The button to press first, None on a page without any."""
    found = (page.locator(one) for one in FIRST)
    return next((one.first for one in found if one.count()), None)


def press(page, button):
    """Press it, and wait until something is seen of that."""
    before, address = page.inner_html("#page"), page.url
    button.click()
    waiting.until(lambda: page.url != address or page.inner_html("#page") != before, every=0.1)
    page.wait_for_load_state()


def texts(page, selector):
    """The texts that a page shows, on the next one where the press leads to it meanwhile."""
    from playwright.sync_api import Error

    try:
        return page.locator(selector).all_inner_texts()
    except Error:
        page.wait_for_load_state()
        return page.locator(selector).all_inner_texts()


@pytest.mark.slow  # whichever comes first pays for the libraries of all
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_accessible_and_its_first_button_works(name, studio):
    """English, light and narrow; Japanese, dark and wide: nothing from outside, no finding of weight, no error."""
    for language, dark, width in (("en", False, TELEPHONE), ("ja", True, 1280)):
        refused: list[str] = []
        with visiting(language, dark, width) as visit:
            page = visit.page
            page.on("filechooser", lambda chooser: None)
            page.on("response", partial(note_refusal, refused))
            grave = findings(visit, studio, language, name)
            assert not grave, "\n".join(grave)
            assert page.evaluate("document.documentElement.lang") == language
            assert page.evaluate("document.body.classList.contains('dark')") == dark
            page.set_viewport_size({"width": TELEPHONE, "height": 900})
            settle(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE
            page.set_viewport_size({"width": width, "height": 900})
            button = first_button(page)
            if button is not None:
                press(page, button)
            wrong = texts(page, "#wrong:visible, .toast-body.error")
            assert [*wrong, *refused, *visit.errors, *visit.outside] == []


def note_refusal(refused, answer):
    if answer.status >= 400:
        refused.append(f"{answer.status} {answer.url}")


def findings(visit, studio, language, name):
    """Grave findings of axe-core on a page."""
    return [
        f"{one['id']}: {node['html'][:200]}\n{node['failureSummary']}"
        for one in axe(visit, studio, language, name)
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


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
