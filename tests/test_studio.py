"""The studio in a real Chromium: from data to a verdict, in both languages, and what may go wrong.

Pictures of each step are kept in ``build/studio``.
"""

import contextlib
import shutil
import signal
import time
from pathlib import Path

import browsing
import pytest
from browsing import keep, said

import souron
from souron import registry

pytestmark = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here: apt-get install chromium")


@pytest.fixture
def server(tmp_path):
    """Of a test that leaves something behind."""
    with browsing.serving(tmp_path) as started:
        yield started
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Of tests that train nothing and do not mind what another one left."""
    with browsing.serving(tmp_path_factory.mktemp("shared")) as started:
        yield started
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


def button(text: str, language: str = "en") -> str:
    """The button that says so, once it can be pressed."""
    return f"button:text-is('{said(text, language)}'):not([disabled])"


def fill(page, name: str, text: str) -> None:
    """Write a value that the list of a field lacks."""
    page.fill(f"[name={name}-other]", text)
    page.keyboard.press("Tab")


def same_as(line: str) -> str:
    """What does the same without the page, which is folded."""
    return f"#page .same pre:text('{line}')"


def nothing_wrong(visit) -> None:
    """No request left the machine, and the browser had nothing to complain of."""
    assert visit.outside == []
    assert visit.errors == []


def test_from_data_to_a_verdict(server, photos):
    language = "ja"  # the tests below walk in English
    with browsing.visiting(language) as visit:
        page, home = visit.page, f"{server.address}/{language}/"

        archive = shutil.make_archive("写真", "zip", photos.parent, photos.name)
        page.goto(f"{home}data")
        page.locator("input[type=file]").first.set_input_files(archive)
        page.wait_for_selector(".outcome")
        page.get_by_text(said("Clean it, or anonymise it", language)).click()
        clean = said("Check, and write a table without broken files and copies", language)
        page.click(button(clean, language))
        page.wait_for_selector("#page iframe")
        keep(page, f"{language}-1-doctor")

        page.click(f"a:text-is('{said('Train on it', language)}')")
        assert "checked.csv" in page.url  # without what the check found
        fill(page, "budget", "0.4s")
        page.locator(".estimate strong").wait_for()
        page.click(button("Start training", language))
        page.wait_for_selector("img.plot")
        keep(page, f"{language}-2-training")
        page.click(button("Stop, keep the work", language))
        page.click(button("Resume", language))
        page.wait_for_selector(f"text={said('What came out', language)}")
        keep(page, f"{language}-3-trained")

        page.click(f"a:text-is('{said('Use it', language)}')")
        page.click(button("Predict", language))
        page.wait_for_selector(".result :text('%')")
        keep(page, f"{language}-4-predicted")

        page.goto(f"{home}compare?systems=mlp_tiny,cnn_tiny")
        fill(page, "budget", "0.3s")
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


def test_an_older_answer_does_not_take_the_place_of_a_newer_one(shared, photos):
    from playwright.sync_api import Error

    with browsing.visiting() as visit:
        page, held = visit.page, []
        archive = shutil.make_archive("photos", "zip", photos.parent, photos.name)
        page.goto(f"{shared.address}/en/data")
        page.locator("input[type=file]").set_input_files(archive)
        page.wait_for_selector(".outcome")
        polls = "**/part/en/data/job?*"
        page.route(polls, lambda route: route.continue_() if held else held.append(route))
        with page.expect_request(polls):
            page.click(button("Look"))
        page.click(button("Check"))
        page.wait_for_selector("#job h2:has-text('check photos')")
        with contextlib.suppress(Error):  # the browser does not wait for it any more
            held[0].continue_()
        results = page.locator("#job h2:text-matches('^(What is in|Data check)')")
        assert results.inner_text().startswith("Data check")
        nothing_wrong(visit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("train?system=vgg_tiny", ["train", "vgg_tiny"]),
        ("compare?systems=mlp_tiny,cnn_tiny", ["compare", "mlp_tiny", "cnn_tiny"]),
    ],
)
def test_what_starts_at_once_is_what_the_address_asks_for(looked_at, path, words):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/{path}", wait_until="domcontentloaded")
        page.click("#form button.first")
        page.wait_for_selector("#job button")
        same = page.locator("#same pre").first.text_content()
        assert all(word in same for word in words)
        page.click("#job button")


def test_an_address_that_asks_for_nothing_there_is_says_so(looked_at):
    with browsing.visiting() as visit:
        visit.page.goto(f"{looked_at.address}/en/train?system=nonsense")
        assert "nonsense" in visit.page.inner_text("#page .trouble")


def test_the_first_result_takes_a_word_and_two_clicks(shared):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(shared.address)  # which leads to the browser's language
        assert page.url.endswith("/en/")
        assert page.locator(".ways a").first.evaluate("door => parseFloat(getComputedStyle(door).paddingLeft)") > 10
        page.fill("input[data-search]", "efficientnet_lite")
        page.click('a[aria-label="efficientnet_lite: Try"]')
        page.click(button("Predict"))
        page.wait_for_selector(":text('pagoda'), :text('palace'), :text('temple')")
        nothing_wrong(visit)


def test_every_classifier_and_generator_can_be_tried_at_once(shared):
    ready = [e.name for e in registry.entries().values() if e.task in ("classify", "generate")]
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{shared.address}/en/")
        page.click(".every > summary")
        tries = [f"{name}: Try" for name in ready]
        assert [label for label in tries if not page.locator(f'a[aria-label="{label}"]').count()] == []
        page.click('a[aria-label="resnet: Try"]')
        page.wait_for_selector(":text('ready trained')")
        page.click(button("Predict"))
        page.wait_for_selector(".result :text('ankle boot')")
        keep(page, "en-try-resnet")
        page.goto(f"{shared.address}/en/")
        page.click(".every > summary")
        page.click('a[aria-label="dcgan: Try"]')
        page.click(button("Generate"))
        page.wait_for_selector(".drawn img")
        keep(page, "en-try-dcgan")
        page.goto(f"{shared.address}/en/runs")
        page.wait_for_selector("h1")
        assert not page.locator("text=ready/dcgan").count()  # what it drew is no run
        nothing_wrong(visit)


def test_a_training_outlives_the_page_and_the_server(tmp_path):
    first = browsing.Server(tmp_path).start()
    with browsing.visiting() as visit:
        visit.page.goto(f"{first.address}/en/train?system=mlp")
        fill(visit.page, "budget", "15s")  # the server is gone before they are over
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


def everything_open(page) -> None:
    """Every part of the form that is folded."""
    browsing.settle(page)
    page.evaluate("for (const folded of document.querySelectorAll('#page form details')) folded.open = true")


def test_with_everything_open_start_starts(server):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{server.address}/en/train?system=gan_tiny")
        page.locator("#page .card h2", has_text="gan").wait_for()
        everything_open(page)
        page.get_by_label("batch size").wait_for()
        fill(page, "budget", "1ep")
        page.click(button("Start training"))
        page.wait_for_selector("text=What came out")
        page.click("a:text-is('Use it')")
        page.wait_for_selector(button("Generate"))
        everything_open(page)
        page.click(button("Generate"))
        page.wait_for_selector(".drawn img")
        page.goto(f"{server.address}/en/compare?systems=mlp_tiny,cnn_tiny")
        page.wait_for_selector(":text('mlp_tiny')")
        everything_open(page)
        page.get_by_label("batch size").wait_for()
        fill(page, "budget", "1ep")
        page.click(button("Start comparing"))
        page.wait_for_selector(".verdict")
        nothing_wrong(visit)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_went_wrong_is_said_until_it_is_closed_or_done_better(language, looked_at):
    with browsing.visiting(language) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/train?system=mlp_tiny")
        page.locator("#page .card h2", has_text="mlp").wait_for()
        fill(page, "data", "/etc")
        page.click(button("Start training", language))
        wrong = page.get_by_role("alert").filter(has_text=said("This did not work", language))
        wrong.locator("dl").get_by_text("/etc").first.wait_for()
        keep(page, f"{language}-wrong")
        wrong.get_by_label(said("close", language)).click()
        wrong.wait_for(state="hidden")
        page.click(button("Start training", language))
        wrong.wait_for()
        fill(page, "data", "digits")
        page.click(button("Start training", language))
        wrong.wait_for(state="hidden")
        page.locator("#job button").first.click()


def test_light_or_dark_is_that_of_the_report_too(shared):
    place = shared.folder / "runs" / "classify" / "some"
    place.mkdir(parents=True)
    (place / "args.yaml").write_text("system: cnn\ndata: digits\n")
    style = Path(souron.__file__).parent / "report" / "templates" / "style.css"
    (place / "report.html").write_text(f'<html lang="ja"><style>{style.read_text()}</style><h1>report</h1>')
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{shared.address}/en/runs?run=classify/some")
        with page.expect_popup() as opened:
            page.click("a:text-is('The report on a page of its own')")
        alone = opened.value
        colours = []
        for shown in (page, alone):
            heading = shown.frame_locator("#page iframe").locator("h1")
            for _look in range(2):
                heading.wait_for()
                colours.append(heading.evaluate("h => getComputedStyle(h).color"))
                shown.click("[data-dark]")
                shown.wait_for_timeout(500)
        assert colours[0] != colours[1]
        assert set(colours) == set(colours[:2])
        assert "Japanese" in alone.inner_text(".remark") or "日本語" in alone.inner_text(".remark")
        alone.click("a[data-language=ja]")
        assert alone.url.endswith("/report/ja/classify/some")
        alone.locator("#page iframe").wait_for()
        assert alone.locator(".remark").count() == 0  # the report is in the reader's language
        nothing_wrong(visit)


def test_two_browsers_share_nothing_but_the_runs(looked_at):
    with browsing.visiting() as mine:
        mine.page.goto(f"{looked_at.address}/en/train?system=vit&data=fashion")
        mine.page.wait_for_selector(same_as("souron train vit data=fashion"), state="attached")
        other = mine.page.context.browser.new_context().new_page()
        other.goto(f"{looked_at.address}/en/train?system=cnn")
        other.wait_for_selector(same_as("souron train cnn data=digits"), state="attached")
        assert "vit" not in other.text_content("#page .same")


def test_the_keyboard_is_enough(server):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{server.address}/en/train?system=mlp_tiny")
        page.wait_for_selector(same_as("souron train mlp_tiny"), state="attached")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        for _press in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.type") == "radio":  # it is seen where one is
                outline = "getComputedStyle(document.activeElement).outlineStyle"
                assert page.evaluate(outline) == "solid"
            if page.evaluate("document.activeElement.innerText") == "Start training":
                break
        page.keyboard.press("Enter")
        page.wait_for_selector("section.job")
        assert page.locator("[role=listbox]").count() == 0  # no list stays open behind it
        page.wait_for_selector(":text('train mlp_tiny on digits')")


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
            visit.page.fill("input[data-search]", "logistic")
            card = visit.page.locator("ul.systems > li", has_text="logistic")
            card.get_by_text("Train", exact=True).click()
            line = same_as("souron train logistic data=digits")
            visit.page.wait_for_selector(line, state="attached")
            nothing_wrong(visit)
    finally:
        server.end()


def test_ctrl_c_ends_the_server_at_once_and_says_nothing_of_what_it_cuts_off(tmp_path):
    code = (
        "import time; from souron.studio.jobs import panel; "
        "panel.estimate = lambda studio, read: print('asked', flush=True) or time.sleep(6) or ''; "
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


def test_a_port_or_a_folder_that_is_taken_is_said(looked_at, tmp_path):
    port = looked_at.address.rpartition(":")[2]
    with pytest.raises(AssertionError, match="another studio is open for runs"):
        browsing.Server(looked_at.folder).start()
    (tmp_path / "other").mkdir()
    with pytest.raises(AssertionError, match=f"port {port}: "):
        browsing.Server(tmp_path / "other", (f"port={port}",)).start()
