"""The studio in a real Chromium: from data to a verdict, in both languages, and what may go wrong.

Pictures of each step are kept in ``build/studio``.
"""

import shutil
import signal
import time
from pathlib import Path

import browsing
import pytest
from browsing import keep, said

import souron
from souron.studio.shared import PAGES

pytestmark = pytest.mark.skipif(
    not browsing.CHROMIUM, reason="there is no Chromium here: apt-get install chromium"
)


@pytest.fixture
def server(tmp_path):
    with browsing.serving(tmp_path) as started:
        yield started
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


def button(text: str, language: str = "en") -> str:
    """The button that says so, once it can be pressed."""
    return f"button:text-is('{said(text, language)}'):not([disabled])"


def set_budget(page, label: str, budget: str, start: str, language: str) -> None:
    """Change the budget once the page's own forecast is there, and see that forecast go."""
    go = page.locator(button(start, language))
    go.wait_for()
    page.get_by_label(said(label, language)).first.fill(budget)
    page.keyboard.press("Enter")
    go.wait_for(state="detached")


def nothing_wrong(visit) -> None:
    """No request left the machine, and the browser had nothing to complain of."""
    assert visit.outside == []
    assert visit.errors == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_from_data_to_a_verdict(language, server, photos):
    with browsing.visiting(language) as visit:
        page, home = visit.page, f"{server.address}/{language}/"

        archive = shutil.make_archive("写真", "zip", photos.parent, photos.name)
        page.goto(f"{home}data")
        page.locator("input[type=file]").first.set_input_files(archive)
        page.wait_for_selector(".outcome")
        page.click(button("Check", language))
        page.wait_for_selector("#page iframe")
        keep(page, f"{language}-1-doctor")

        page.click(f"a:text-is('{said('Train on it', language)}')")
        set_budget(page, "budget", "12s", "Start training", language)
        page.click(button("What will it take?", language))
        page.click(button("Start training", language))
        page.wait_for_selector("img.plot")
        keep(page, f"{language}-2-training")
        page.click(button("Stop, keep the work", language))
        page.click(button("Go on", language))
        page.wait_for_selector(f"text={said('What came out', language)}")
        keep(page, f"{language}-3-trained")

        page.click(f"a:text-is('{said('Use it', language)}')")
        page.click(button("Predict", language))
        page.wait_for_selector(".result :text('%'), [data-testid='label-output-value']")
        keep(page, f"{language}-4-predicted")

        page.goto(f"{home}compare?systems=mlp_tiny,cnn_tiny")
        set_budget(page, "budget of each", "1s", "Start comparing", language)
        page.click(button("What will it take?", language))
        page.click(button("Start comparing", language))
        page.wait_for_selector(".verdict")
        assert "mlp_tiny" in page.inner_text(".verdict")
        keep(page, f"{language}-5-verdict")

        page.click(f"a:text-is('{said('Read the report', language)}')")
        report = page.frame_locator("#page iframe").first
        report.locator("h1").wait_for()
        assert "mlp_tiny" in report.locator("body").inner_text()
        keep(page, f"{language}-6-report")
        nothing_wrong(visit)


HELD = """
const ask = window.fetch;
window.held = 0;
window.release = null;
const released = new Promise((go) => { window.release = go; });
window.fetch = async (address, asked) => {
  if (asked?.body?.includes?.('"digits"')) { window.held += 1; await released; }
  return ask(address, asked);
};
"""  # what the page asks about the data that it opens with is held back until the test lets it go


def test_an_older_answer_does_not_take_the_place_of_a_newer_one(server, photos):
    with browsing.visiting() as visit:
        page = visit.page
        page.add_init_script(HELD)
        archive = shutil.make_archive("photos", "zip", photos.parent, photos.name)
        page.goto(f"{server.address}/en/data")
        page.wait_for_function("window.held > 0")
        with page.expect_response(lambda answer: "/upload" in answer.url):
            page.locator("input[type=file]").first.set_input_files(archive)
        page.wait_for_timeout(2000)  # without turns the newer answer is there by now
        with page.expect_response(lambda answer: '"digits"' in (answer.request.post_data or "")):
            page.evaluate("window.release()")
        page.wait_for_selector(".outcome")
        page.click(button("Check"))  # which nobody can press for data that is no folder
        page.wait_for_selector("#page iframe")
        nothing_wrong(visit)


def test_the_first_result_takes_three_clicks(server):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(server.address)  # which leads to the browser's language
        assert page.url.endswith("/en/")
        page.click("a:text-is('Try')")
        page.click(button("Predict"))
        page.wait_for_selector(":text('pagoda'), :text('palace'), :text('temple')")
        nothing_wrong(visit)


def test_a_training_outlives_the_page_and_the_server(tmp_path):
    first = browsing.Server(tmp_path).start()
    with browsing.visiting() as visit:
        visit.page.goto(f"{first.address}/en/train?system=mlp")
        visit.page.click(button("Start training"))
        visit.page.wait_for_selector("img.plot")
    first.end(signal.SIGKILL)
    assert not list(tmp_path.glob("runs/classify/*/receipt.json"))  # it is still at work
    with browsing.serving(tmp_path) as second, browsing.visiting() as visit:
        visit.page.goto(f"{second.address}/en/train")
        visit.page.wait_for_selector("text=What came out")
        nothing_wrong(visit)
    [receipt] = tmp_path.glob("runs/classify/*/receipt.json")
    assert receipt.stat().st_size > 500


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_went_wrong_is_said_until_it_is_closed(language, server):
    with browsing.visiting(language) as visit:
        page = visit.page
        page.goto(f"{server.address}/{language}/train?system=mlp_tiny")
        go = page.locator(button("Start training", language))
        go.wait_for()
        page.get_by_label(said("data", language)).first.fill("/etc")
        page.keyboard.press("Enter")
        go.wait_for(state="detached")  # the forecast was about other data
        page.click(button("What will it take?", language))
        wrong = page.get_by_role("alert").filter(has_text=said("This did not work", language))
        wrong.locator("dl").get_by_text("/etc").first.wait_for()
        keep(page, f"{language}-wrong")
        wrong.get_by_label(said("close", language)).click()
        wrong.wait_for(state="hidden")


def test_two_browsers_share_nothing_but_the_runs(server):
    with browsing.visiting() as mine:
        mine.page.goto(f"{server.address}/en/train?system=vit&data=fashion")
        mine.page.wait_for_selector(":text('souron train vit data=fashion')")
        other = mine.page.context.browser.new_context().new_page()
        other.goto(f"{server.address}/en/train")
        other.wait_for_selector(":text('souron train cnn data=digits')")
        assert "vit" not in other.inner_text("#page .same")


@pytest.mark.parametrize("name", ["train", "compare"])
def test_which_pictures_are_of_one_patient_is_told_to_the_next_page(name, server, photos):
    """Else the parts that the doctor found clean would share patients after all."""
    with browsing.visiting() as visit:
        visit.page.goto(f"{server.address}/en/{name}?data={photos}&group=case[0-9]")
        visit.page.locator("#page .same").get_by_text("group=case[0-9]").wait_for()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_accessible(name, server):
    """In Japanese and dark, in English and light: nothing from outside, no finding of weight."""
    for language, dark in (("en", False), ("ja", True)):
        with browsing.visiting(language, dark) as visit:
            found = browsing.axe(visit, server, language, name)
            grave = [one for one in found if one["impact"] in ("serious", "critical")]
            assert not grave, "\n".join(
                f"{one['id']}: {node['html'][:200]}\n{node['failureSummary']}"
                for one in grave
                for node in one["nodes"][:3]
            )
            assert visit.page.evaluate("document.documentElement.lang") == language
            assert visit.page.evaluate("document.body.classList.contains('dark')") == dark
            nothing_wrong(visit)


def test_a_page_fits_a_telephone(server):
    with browsing.visiting(width=390) as visit:
        for name in ("", *PAGES[1:]):
            visit.page.goto(f"{server.address}/en/{name}")
            visit.page.wait_for_selector("h1")
            visit.page.wait_for_timeout(800)
            wide = visit.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390, f"{name} is {wide} pixels wide"


def test_the_keyboard_is_enough(server):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{server.address}/en/train?system=mlp_tiny")
        page.wait_for_selector(button("Start training"))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        for _press in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "Start training":
                break
        page.keyboard.press("Enter")
        page.wait_for_selector("section.job")
        assert page.locator("[role=listbox]").count() == 0  # no list stays open behind it
        page.wait_for_selector(":text('souron train mlp_tiny data=digits')")


def test_a_system_dropped_in_as_one_file_is_there(tmp_path):
    text = (Path(souron.__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = text.split("```python\n", 1)[1].split("```", 1)[0]
    place = tmp_path / "more" / "systems" / "classify"
    place.mkdir(parents=True)
    (place / "logistic.py").write_text(source, encoding="utf-8")
    code = (
        f"import souron; souron.__path__.append({str(tmp_path / 'more')!r}); "
        "import souron.systems.classify as there; "
        f"there.__path__.append({str(place)!r}); from souron.cli.main import main; main()"
    )
    server = browsing.Server(tmp_path, code=code).start()
    try:
        with browsing.visiting() as visit:
            visit.page.goto(f"{server.address}/en/")
            card = visit.page.locator("li.card", has_text="logistic")
            card.get_by_text("Train", exact=True).click()
            visit.page.wait_for_selector(":text('souron train logistic data=digits')")
            nothing_wrong(visit)
    finally:
        server.end()


def test_ctrl_c_ends_the_server_at_once(tmp_path):
    server = browsing.Server(tmp_path).start()
    with browsing.visiting() as visit:
        visit.page.goto(f"{server.address}/en/train")
        visit.page.wait_for_selector("h1")
        assert server.end() in (0, 130)


def test_ctrl_c_says_nothing_of_the_answer_that_it_cuts_off(tmp_path):
    code = (
        "import time; from souron.studio import job_view; "
        "job_view.Watch.latest = lambda self, query: print('asked') or time.sleep(6); "
        "from souron.cli.main import main; main()"
    )
    server = browsing.Server(tmp_path, code=code).start()
    with browsing.visiting() as visit:
        visit.page.goto(f"{server.address}/en/train")
        limit = time.monotonic() + 60
        while "asked\n" not in server.lines:
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert server.end() in (0, 130)
    assert not any("Traceback" in line for line in server.lines), "".join(server.lines)


def test_a_port_or_a_folder_that_is_taken_is_said(server, tmp_path):
    port = server.address.rpartition(":")[2]
    with pytest.raises(AssertionError, match="another studio is open for runs"):
        browsing.Server(tmp_path).start()
    (tmp_path / "other").mkdir()
    with pytest.raises(AssertionError, match=f"port {port}: "):
        browsing.Server(tmp_path / "other", (f"port={port}",)).start()
