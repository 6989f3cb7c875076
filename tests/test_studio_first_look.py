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


FIRST = (  # the main button of a page, else its first one that is no tab, no copy and no menu
    "#page button.primary:visible:enabled",
    "#page button:visible:enabled:not([data-copy], .stop, [aria-label], [aria-haspopup], [role=tab], [tabindex='-1'])",
)
SOON = 10_000  # milliseconds until something has to be seen of a press


def first_button(page):
    """The button to press first, None on a page without any."""
    found = (page.locator(one) for one in FIRST)
    return next((one.first for one in found if one.count()), None)


def visit_page(page, address):
    """Go to an address, also where what was pressed before is just leading to another one."""
    from playwright.sync_api import Error

    try:
        page.goto(address)
    except Error:
        page.wait_for_load_state()
        page.goto(address)
    page.wait_for_selector("h1")
    settle(page)


def pressed(page, button):
    """True where something is seen within ten seconds of the press."""
    before, address = page.inner_html("#page"), page.url
    button.click(timeout=SOON)
    for _look in range(SOON // 100):
        if page.url != address or page.inner_html("#page") != before:
            page.wait_for_load_state()
            return True
        page.wait_for_timeout(100)
    return False


def texts(page, selector):
    """The texts that a page shows, on the next one where the press leads to it meanwhile."""
    from playwright.sync_api import Error

    try:
        return page.locator(selector).all_inner_texts()
    except Error:
        page.wait_for_load_state()
        return page.locator(selector).all_inner_texts()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_first_button_of_each_page_works(studio, language, width):
    """Something changes soon, nothing is an error, and nothing is asked for elsewhere."""
    wrong = []
    with visiting(language, width=width) as visit:
        page = visit.page
        page.on("filechooser", lambda chooser: None)
        page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else 0)
        for name in PAGES:
            visit_page(page, f"{studio.address}/{language}/{'' if name == PAGES[0] else name}")
            button = first_button(page)
            if button is not None and not pressed(page, button):
                wrong.append(f"{name}: nothing is seen of {button.inner_text()}")
            wrong += [f"{name}: {one}" for one in texts(page, "#wrong:visible, .toast-body.error")]
            wrong += [f"{name}: {one}" for one in (*visit.errors, *visit.outside)]
            visit.errors.clear()
            visit.outside.clear()
    assert not wrong, "\n".join(wrong)


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
