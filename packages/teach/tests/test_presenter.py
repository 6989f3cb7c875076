"""Presentation mode and the courses that come with souron: plan, notes, timer, pen, questions."""

import html
import re
from pathlib import Path

import browsing
import pytest
import roots
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from test_studio_lecture import serving

from souron.cli import main
from souron.lecture import course as courses
from souron.studio import interactive
from souron.studio.app import add_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.lecture import course_pages
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, use_language

LENGTHS = {"ninety_minutes": 90, "forty_five_minutes": 45}
PLANNED = """
title = "Two steps"

[[part]]
interactive = "playground"
heading = "Bends"
minutes = 2
before = "First this."
ask = "How many **units**?"

[[part]]
row = "V4"
show = ["marked", "mechanism"]
minutes = 1.5
say = "Plus x."
see = "The bypass."
"""
needs_browser = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")


@pytest.fixture
def client(tmp_path):
    app, project = FastAPI(), tmp_path / "runs"
    add_routes(app, lambda language: Studio(project, Roots([tmp_path]), Jobs(project), language))
    courses.save(courses.read(PLANNED), project / ".studio" / "courses")
    return TestClient(app)


def test_a_course_keeps_its_plan_its_notes_and_its_interactives():
    course = courses.read(PLANNED)
    assert courses.read(course.as_toml()) == course == courses.checked(course.as_json())
    assert (course.minutes, course.begin(1), course.begin(2)) == (3.5, 0, 2)
    assert course.parts[0].interactive == "playground" and course.parts[1].show == ("marked", "mechanism")
    assert courses.read('title = "x"\n[[part]]\ninteractive = "which_luck"').parts[0].title == "which luck"


@pytest.mark.parametrize(
    "field",
    [
        "minutes = -1",
        "minutes = 601",
        "minutes = nan",
        "minutes = true",
        'minutes = "5"',
        'show = "work"',
        'show = ["works"]',
        "show = [{}]",
        'interactive = "../playground"',
        'interactive = "playground"',
        "say = 3",
        f'see = "{"x" * 5001}"',
    ],
)
def test_a_plan_that_is_none_says_what_is_wrong(field):
    with pytest.raises(UserError) as error:
        courses.read(f'title = "x"\n[[part]]\nrow = "V1"\n{field}')
    assert error.value.code == "course" and error.value.expected and len(error.value.found) < 300


@pytest.mark.parametrize("name", LENGTHS)
def test_a_shipped_course_is_whole_and_the_same_in_both_languages(name):
    found = {}
    for language in LANGUAGES:
        with use_language(language):
            found[language] = courses.shipped()[name]
    assert found["en"].minutes == found["ja"].minutes == LENGTHS[name]
    for en, ja in zip(found["en"].parts, found["ja"].parts, strict=True):
        assert [getattr(en, field) for field in ("row", "interactive", "minutes", "show")] == [
            getattr(ja, field) for field in ("row", "interactive", "minutes", "show")
        ]
        for part in (en, ja):
            assert part.minutes and part.ask and part.see and (part.say or part.row)
        assert not en.interactive or en.interactive in interactive.names()
        assert re.search("[ぁ-ん]", ja.ask + ja.see) and not re.search("[ぁ-ん]", en.ask + en.see)


def test_the_short_course_is_a_part_of_the_long_one_in_its_order():
    long, short = (
        [part.row or part.interactive or part.heading for part in courses.shipped()[name].parts] for name in LENGTHS
    )
    assert [step for step in long if step in short] == short


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LENGTHS)
def test_every_step_of_a_shipped_course_is_a_page(client, name, language):
    begin = 0.0
    with use_language(language):
        parts = courses.shipped()[name].parts
    for number, part in enumerate(parts, 1):
        answer = client.get(f"/lecture/{language}/course/{name}/{number}")
        assert answer.status_code == 200, number
        text = html.unescape(answer.text)
        assert f'data-course="{name}" data-minutes="{part.minutes}" data-begin="{begin:g}"' in text
        assert text.count("<h1") == 1 and 'class="spoken"' in text
        assert ('rel="next" href' in text) == (number < len(parts))
        begin += part.minutes
    listed = client.get(f"/lecture/{language}/course/{name}").text
    assert f"{LENGTHS[name]}" in listed and f'{name}/1#beamer"' in listed


def test_a_step_shows_its_parts_and_its_notes(client):
    first, second = (html.unescape(client.get(f"/lecture/en/course/two-steps/{number}").text) for number in (1, 2))
    assert first.index("First this.") < first.index('data-interactive="playground"') and "Bends" in first
    module = interactive.find("playground")
    notes = first[first.index('class="spoken"') :]
    assert "<strong>units</strong>" in notes and f"Right: {module.CHOICES[module.RIGHT]}" in notes
    assert module.QUESTION not in notes and module.ANSWER in notes
    parts = re.findall('<section class="part" data-part="([a-z]+)"', second)
    assert parts == ["what", "marked", "mechanism"]
    notes = second[second.index('class="spoken"') :]
    assert "Plus x." in notes and "The bypass." in notes and "Think of a colleague" not in notes
    assert "Think of a colleague" in client.get("/lecture/en/V4").text  # the row's own text to read aloud
    listed = client.get("/lecture/en/course/two-steps").text
    assert "3.5 minutes" in listed and "0–2 min" in listed and "V4 · 2–3.5 min" in listed


def test_an_interactive_that_is_not_there_is_no_step(client, tmp_path):
    text = 'title = "Other"\n[[part]]\ninteractive = "nothing"'
    courses.save(courses.read(text), tmp_path / "runs" / ".studio" / "courses")
    answer = client.get("/lecture/en/course/other/1")
    assert answer.status_code == 404 and "nothing" in answer.text


def test_a_shipped_course_is_found_by_its_name(tmp_path, capsys):
    assert main.run(["lecture", "course=forty_five_minutes"]) == 0
    told = capsys.readouterr().out
    assert "AI in 45 minutes" in told and "(playground)  5 min" in told and "Ask: " in told
    assert courses.bring(Path("ninety_minutes"), tmp_path) == "ninety_minutes" and not list(tmp_path.iterdir())
    studio = Studio(tmp_path, Roots([tmp_path]), Jobs(tmp_path), "en")
    saved = course_pages.saved(studio, {**courses.shipped()["ninety_minutes"].as_json(), "name": "ninety_minutes"})
    assert saved["address"].endswith("/course/ai-in-90-minutes")  # a changed one becomes a copy


def presented(server, view, step=1):
    """Begin the course of two steps, while the page's clock stands still."""
    view.clock.install(time=0)
    view.clock.pause_at(1000)
    view.goto(f"{server}/lecture/en/course/two-steps/{step}#beamer")
    expect(view.locator(".part.now")).to_be_visible()


@needs_browser
def test_the_timer_counts_the_whole_and_the_page_beside_the_plan(tmp_path):
    courses.save(courses.read(PLANNED), tmp_path / "runs" / ".studio" / "courses")
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        presented(server, view)
        timer = view.locator(".timer")
        view.clock.run_for(65_000)
        expect(timer).to_have_text("1:05 · 1:05 of 2:00")
        view.keyboard.press("p")
        view.clock.run_for(30_000)
        expect(timer).to_have_text("1:05 · 1:05 of 2:00")
        expect(view.locator("[data-do=pause]")).to_have_text("Go on")
        view.keyboard.press("p")
        for _part in range(2):
            view.keyboard.press("ArrowRight")
        view.wait_for_url("**/two-steps/2#beamer-1")
        expect(timer).to_have_text("1:05 · 0:00 of 1:30 · 0:55 ahead")
        assert "over" not in timer.get_attribute("class")
        view.clock.run_for(200_000)
        expect(timer).to_have_text("4:25 · 3:20 of 1:30 · 0:55 late")
        assert "over" in timer.get_attribute("class")
        view.reload()
        expect(timer).to_have_text("4:25 · 3:20 of 1:30 · 0:55 late")
        view.keyboard.press("r")
        expect(timer).to_have_text("0:00 · 0:00 of 1:30 · 2:00 ahead")
        view.keyboard.press("PageUp")
        view.wait_for_url("**/two-steps/1#beamer-2")
        view.go_back()
        view.wait_for_url("**/two-steps/2#beamer-1")
        expect(view.locator(".part.now h1")).to_have_text("ResNet")
        assert visit.errors == [] and visit.outside == []


INKED = """() => { const canvas = document.querySelector('canvas.pen');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Map();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) {
    const colour = pixels.slice(i, i + 3).join();
    colours.set(colour, (colours.get(colour) ?? 0) + 1);
  }
  return [...colours].filter(([, count]) => count > 50).map(([colour]) => colour).sort(); }"""


def stroke(view, y):
    view.mouse.move(300, y)
    view.mouse.down()
    view.mouse.move(500, y, steps=4)
    view.mouse.up()


@needs_browser
def test_the_pen_draws_over_the_page_and_is_wiped_off_with_the_next_part(tmp_path):
    red, blue = "224,49,49", "28,126,214"
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{server}/lecture/en/V4#beamer")
        view.keyboard.press("d")
        stroke(view, 200)
        assert view.evaluate(INKED) == [red]
        view.keyboard.press("2")
        stroke(view, 260)
        assert view.evaluate(INKED) == [red, blue]
        view.keyboard.press("e")
        view.mouse.move(400, 180)
        view.mouse.down()
        view.mouse.move(400, 215, steps=8)
        view.mouse.up()
        assert view.evaluate(INKED) == [blue]
        view.keyboard.press("Escape")
        expect(view.locator(".inks")).to_be_hidden()
        assert view.evaluate(INKED) == [blue], "it stays after the pen is laid down"
        stroke(view, 300)
        assert view.evaluate(INKED) == [blue]
        view.keyboard.press("ArrowRight")
        assert view.evaluate(INKED) == []
        view.click("[data-do=pen]")
        view.click("[data-ink=green]")
        stroke(view, 200)
        assert view.evaluate(INKED) == ["47,158,68"]
        view.click("[data-do=wipe]")
        assert view.evaluate(INKED) == [] and visit.errors == []


@needs_browser
def test_the_next_question_hides_its_answer_until_a_press(tmp_path):
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{server}/lecture/en/C3#beamer")
        answer = view.locator("[data-do=answer]")
        expect(answer).to_be_disabled()
        view.keyboard.press("q")
        playground = view.locator("[data-interactive=playground]")
        expect(playground.locator(".guess")).to_be_visible()
        playground.locator(".guess input").first.check()
        view.wait_for_selector("[data-interactive=playground][data-ready]")
        expect(playground.locator("details.answer")).to_be_hidden()
        view.keyboard.press("a")
        expect(playground.locator("details.answer")).to_be_visible()
        assert playground.locator("details.answer").get_attribute("open") is not None
        view.keyboard.press("q")
        expect(view.locator("[data-interactive=backpropagation] .guess")).to_be_visible()
        assert view.locator(".part.now").count() == 1
        answer.click()
        expect(view.locator("[data-interactive=backpropagation] details.answer")).to_be_visible()
        for _question in view.locator("form.exercise").all():
            view.keyboard.press("q")
            form = view.locator("form.exercise:focus")
            expect(form.locator("[role=status]")).to_be_hidden()
            view.keyboard.press("a")
            expect(form.locator("[role=status]")).not_to_be_empty()
        view.keyboard.press("q")
        expect(view.locator(".beaming .told")).to_have_text("no further question on this page")
        assert visit.errors == []


@needs_browser
def test_the_notes_have_a_window_that_follows_and_leads(tmp_path):
    courses.save(courses.read(PLANNED), tmp_path / "runs" / ".studio" / "courses")
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        presented(server, view)
        with view.expect_popup() as opened:
            view.keyboard.press("n")
        notes = opened.value
        expect(notes.locator("details.spoken")).to_contain_text("How many units?")
        expect(notes.locator(".beaming .place")).to_contain_text("1 / 2 · ")
        assert not view.locator("details.spoken").is_visible(), "the wall shows no notes"
        view.clock.run_for(5_000)
        expect(notes.locator(".timer")).to_have_text("0:05 · 0:05 of 2:00")
        notes.locator("[data-do=pause]").click()
        expect(notes.locator("[data-do=pause]")).to_have_text("Go on")
        expect(view.locator("[data-do=pause]")).to_have_text("Go on")
        notes.keyboard.press("q")
        expect(view.locator(".guess")).to_be_visible()
        expect(notes.locator(".beaming .place")).to_contain_text("network learns a plane → ResNet")
        notes.keyboard.press("ArrowRight")
        expect(view.locator(".part.now h1")).to_have_text("ResNet")
        expect(notes.locator("details.spoken")).to_contain_text("The bypass.")
        view.keyboard.press("Escape")
        assert view.locator(".part:visible").count() == 3
        assert visit.errors == []


@needs_browser
def test_keys_are_listed_and_a_blocked_window_is_named(tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{server}/lecture/en/V4#beamer")
        view.keyboard.press("?")
        keys = view.locator("dialog.keys")
        expect(keys).to_be_visible()
        assert keys.locator("dt").count() == keys.locator("dd").count() == 15
        view.keyboard.press("ArrowRight")
        expect(view.locator(".beaming .place")).to_have_text(re.compile("^1 /"))
        view.keyboard.press("Escape")
        expect(keys).to_be_hidden()
        assert view.locator(".part:visible").count() == 1, "Escape closed the list alone"
        view.evaluate("window.open = () => null")
        view.click("[data-do=notes]")
        expect(view.locator(".beaming .told")).to_have_text("the browser blocked the window of the notes")
        view.keyboard.press("b")
        expect(view.locator(".part.now h1")).to_be_hidden()
        view.keyboard.press("b")
        expect(view.locator(".part.now h1")).to_be_visible()
        view.keyboard.press("d")
        assert [one["id"] for one in Axe().run(view).response["violations"]] == []


@needs_browser
def test_the_short_course_fits_a_projector_from_the_first_step_to_the_last(tmp_path):
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting(width=1024) as visit:
        view = visit.page
        view.set_viewport_size({"width": 1024, "height": 768})
        steps = len(courses.shipped()["forty_five_minutes"].parts)
        view.goto(f"{server}/lecture/en/course/forty_five_minutes/1#beamer")
        view.evaluate("window.stays = true")  # as full screen does, until another page is loaded
        for step in range(1, steps + 1):
            expect(view.locator(".part.now")).to_be_visible()
            for _part in range(view.locator(".part").count()):
                assert view.evaluate("document.documentElement.scrollWidth") <= 1024, view.url
                view.keyboard.press("PageDown")
            if step < steps:
                view.wait_for_url(f"**/forty_five_minutes/{step + 1}#beamer-1")
        assert view.evaluate("window.stays") is True
        assert visit.errors == [] and visit.outside == []


@needs_browser
def test_an_answer_that_comes_after_its_page_was_left_does_no_harm(tmp_path):
    held = []
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        view.route("**/V1/work", lambda route: held.append(route))
        view.goto(f"{server}/lecture/en/course/ninety_minutes/4#beamer-1")
        for _part in range(view.locator(".part").count()):
            view.keyboard.press("ArrowRight")
        view.wait_for_url("**/ninety_minutes/5#beamer-1")
        with view.expect_response("**/V1/work"):
            held[0].fulfill(json={"html": "<p>belated</p>", "layers": []})
        view.evaluate("new Promise((done) => setTimeout(done, 50))")
        assert visit.errors == [] and "belated" not in view.content()


@needs_browser
def test_type_becomes_smaller_until_the_part_fits(tmp_path):
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting(width=1024) as visit:
        view = visit.page
        view.set_viewport_size({"width": 1024, "height": 768})
        view.goto(f"{server}/lecture/en/course/ninety_minutes/14#beamer")
        while view.locator(".part.now").get_attribute("data-part") != "mechanism":
            view.keyboard.press("ArrowRight")
        body, largest = view.locator("body"), view.evaluate("getComputedStyle(document.body).fontSize")
        view.set_viewport_size({"width": 1024, "height": 400})
        expect(body).not_to_have_css("font-size", largest)
        assert view.evaluate("document.documentElement.scrollHeight") <= 400
        view.set_viewport_size({"width": 1024, "height": 768})
        expect(body).to_have_css("font-size", largest)


DOCS = roots.ROOT / "docs"


def test_the_page_of_the_plan_has_the_minutes_of_the_courses():
    table = (DOCS / "ninety.md").read_text(encoding="utf-8")
    told = [re.split(r"\s*\|\s*", line)[1:3] for line in table.splitlines() if re.match(r"\| \d+-\d+ \|", line)]
    for column, name in enumerate(LENGTHS):
        course = courses.shipped()[name]
        spans = [f"{course.begin(at):g}-{course.begin(at + 1):g}" for at in range(1, len(course.parts) + 1)]
        assert [row[column] for row in told if row[column]] == spans


@needs_browser
def test_a_course_with_a_plan_is_edited_without_losing_it(tmp_path):
    folder = tmp_path / "runs" / ".studio" / "courses"
    before = courses.read(PLANNED)
    name = courses.save(before, folder)
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{server}/lecture/en/course/{name}/edit")
        view.locator("summary", has_text="Interactives").click()
        view.click("[data-do=add][data-interactive=which_luck]")
        view.locator("ol.chosen > li").last.locator("[name=minutes]").fill("4")
        view.click("[data-do=save]")
        view.wait_for_url(f"**/course/{name}")
        assert visit.errors == []
    after = courses.load(folder / f"{name}.toml")
    assert after.parts[:2] == before.parts
    assert (after.parts[2].interactive, after.parts[2].minutes) == ("which_luck", 4)


MAIN = {  # what is looked at first, where that is no canvas
    "alignment": ".pair",
    "clip_contrast": "[data-part=matrix] table",
    "real_or_drawn": ".tiles",
    "occupations_day": ".tasks li",
}
BOX = "one => { const box = one.getBoundingClientRect(); return [box.top, box.bottom, box.left, box.right]; }"


@needs_browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_main_picture_and_its_button_need_no_scrolling_on_a_projector(tmp_path, language):
    folder, names = tmp_path / "runs" / ".studio" / "courses", interactive.names()
    steps = "".join(f'[[part]]\ninteractive = "{name}"\n' for name in names)
    course = courses.save(courses.read(f'title = "All"\n{steps}'), folder)
    hidden = []
    with serving(tmp_path, Jobs(tmp_path / "runs")) as server, browsing.visiting(language, width=1024) as visit:
        view = visit.page
        view.set_viewport_size({"width": 1024, "height": 768})
        for step, name in enumerate(names, 1):
            view.goto(f"{server}/lecture/{language}/course/{course}/{step}#beamer-1")
            view.locator(".part.now .guess [data-do=skip]").click()
            view.wait_for_selector("[data-ready]")
            view.wait_for_selector(".interactive[aria-busy]", state="detached")
            lowest = 768 - view.locator(".beaming").bounding_box()["height"]
            main = view.locator(f".part.now .play {MAIN.get(name, ':is(canvas, svg[data-plot])')}").first
            action = view.locator(".part.now .play button").first
            for one in (main, action) if action.count() else (main,):
                top, bottom, left, right = one.evaluate(BOX)
                if not (top >= 0 and bottom <= lowest and left >= 0 and right <= 1024):
                    hidden.append((name, one.evaluate("one => one.outerHTML.slice(0, 60)"), top, bottom, right))
            assert view.evaluate("scrollY") == 0
        assert visit.errors == [] and visit.outside == []
    assert hidden == []
