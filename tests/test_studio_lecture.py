"""The lecture's pages: rows, pictures that can be pressed, live training, courses, large type."""

import html
import io
import json
import re
import threading
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import browsing
import plain_forms
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import expect

from souron import registry
from souron.actions.verdict import verdict
from souron.cli import main
from souron.lecture import checks, notebooks, rows
from souron.lecture import course as courses
from souron.report import layers
from souron.report.layers.places import HOME
from souron.studio import files
from souron.studio.app import add_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.lecture import doors, layer_pages, lecture_routes
from souron.studio.pages import lecture
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError

SVG = "{http://www.w3.org/2000/svg}"
COURSE = {
    "title": "Clinic <b>",
    "parts": [
        {
            "row": "G10",
            "heading": "Noise <i>first</i>",
            "before": "**So** <script>alert(1)</script>",
            "after": "[bad](javascript:alert(1)) ![x](https://evil.example/x.png)",
        },
        {"row": "V1"},
        {"heading": "A break", "before": "Ten minutes."},
    ],
}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
AT_WORK = {
    "html": "a cat",
    "layers": [{"name": "features.4", "shape": "64 × 13 × 13", "strength": 0.5, "image": PIXEL}],
}


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path / "runs")  # which starts nothing until it is run


@pytest.fixture
def client(tmp_path, jobs):
    app, project = FastAPI(), tmp_path / "runs"
    add_routes(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def page(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, path
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    return answer.text


@pytest.mark.parametrize("row", rows.rows().values(), ids=lambda row: row.id)
def test_every_row_has_its_page(client, row):
    text = page(client, f"/lecture/ja/{row.id}")
    said = row.ja
    assert '<html lang="ja"' in text
    for each in (said.title, said.what, said.fails, said.spoken, *said.mechanism):
        assert each in html.unescape(text)
    assert text.count("<h1>") == 1 and 'data-do="beamer"' in text
    assert ('data-do="train"' in text) == bool(row.data)
    assert ('data-part="picture"' in text) == bool(row.systems)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_a_row_may_say_how_it_is_trained(client):
    assert lecture_routes.training("V9") == [
        "train",
        "efficientnet_lite",
        "data=digits",
        "imgsz=64",
        "pretrained=true",
        "freeze=true",
        "budget=10s",
        "brief=true",
    ]  # once, not ten times for its intervals
    assert lecture_routes.training("D4")[:3] == ["train", "yolo_tiny", "data=drawn_scenes"]
    text = html.unescape(page(client, "/lecture/en/V9"))
    assert "souron train efficientnet_lite data=digits imgsz=64 pretrained=true freeze=true" in text
    python = "'efficientnet_lite', data='digits', side=64, pretrained=True, freeze=True"
    assert f"souron.train({python}" in text


def test_the_first_page_shows_stored_images_beside_their_rows(monkeypatch, tmp_path):
    studio = SimpleNamespace(language="ja", url=lambda *names, **query: "")
    shown = lecture.contents(studio)
    assert rows.find("D4").ja.title in shown and "/show/ja/lecture/thumbnail?row=D4" in shown
    assert "thumbnail?row=V2" not in shown  # of which none is stored
    image = Image.open(io.BytesIO(lecture.thumbnail(studio, {"row": "D4"}).body))
    assert image.size == (lecture.TILE, lecture.TILE)
    with pytest.raises(HTTPException):
        lecture.thumbnail(studio, {"row": "V2"})
    with pytest.raises(UserError, match="row"):
        lecture.thumbnail(studio, {"row": "../D4"})
    monkeypatch.setattr(lecture.souron, "CLONE", tmp_path)
    assert "<img" not in lecture.contents(studio)


@pytest.fixture
def few_tumours(monkeypatch):
    """A table in place of the tour's: method a is right, b at every second patient."""
    columns = {
        "case": [str(number) for number in range(200)],
        "truth": ["benign", "malignant"] * 100,
        "a": ["0.1", "0.9"] * 100,
        "b": ["0.1", "0.9", "0.9", "0.1"] * 50,
    }
    monkeypatch.setattr(doors, "tumours", lambda: columns)
    return columns


def test_the_slider_of_patients_asks_for_the_verdict_on_so_many(few_tumours):
    for count in (20, 60, 200):
        wanted = verdict({name: column[:count] for name, column in few_tumours.items()})
        shown = doors.size(None, plain_forms.form(patients=str(count)))
        assert html.escape(wanted.sentences()[0]) in shown and f"{count} of 200" in shown
        [pair] = wanted.ranking.verdicts
        drawn = doors.intervals([(pair.difference, pair.low, pair.high)], -doors.REACH, doors.REACH, 0, "")
        assert re.search("<g.*</g>", drawn)[0] in shown
    for wrong in ("19", "201", "many"):
        with pytest.raises(UserError, match="patients"):
            doors.size(None, plain_forms.form(patients=wrong))


def test_an_interval_stands_where_its_axis_says():
    drawn = doors.intervals([(0.5, 0.25, 2)], 0, 1, 0.5, "AUC <b>")
    middle, right = doors.WIDTH / 2, doors.WIDTH - 10  # what lies beyond the axis ends there
    assert f'cx="{middle}"' in drawn and f'x2="{right:.1f}"' in drawn and f'x1="{(10 + middle) / 2}"' in drawn
    assert "AUC &lt;b&gt;" in drawn


def test_a_guess_at_the_door_is_judged_and_explained():
    studio = SimpleNamespace(url=lambda page, name: f"/{page}/{name}")
    right, wrong = (doors.guess(studio, plain_forms.form(guess=guess)) for guess in ("2", "1"))
    assert "That is right" in right and "That is right" not in wrong
    assert "/interactives/luck_of_a_split" in wrong and "with twelve test patients" in wrong


@pytest.mark.slow
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_doors_of_the_first_page_answer_without_a_press(tmp_path):
    with browsing.serving(tmp_path) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(server.address + "/en/")
        view.locator(".door .verdict", has_text="logistic regression").wait_for()
        assert re.match(r"\d+ ", view.locator(".door img").get_attribute("alt"))
        view.locator("#door-question ~ div circle").last.wait_for(state="attached")
        assert view.locator("#door-question ~ div circle").count() == doors.DRAWS
        before = view.locator("#size circle").get_attribute("cx")
        view.locator("[name=patients]").press("End")
        view.locator("#size output", has_text="569 of 569").wait_for()
        assert view.locator("#size circle").get_attribute("cx") != before
        table = {"name": "p.csv", "mimeType": "text/csv", "buffer": b"case,truth,unet\n1,0,1\n2,1,1\n"}
        view.locator(".door input[type=file]").set_input_files(table)
        assert "study=verdict&files=" in view.locator("#table a.first").get_attribute("href")
        view.get_by_label("0.1 or more").check()
        view.locator("#guess", has_text="That is right").wait_for()
        assert visit.errors == [] and visit.outside == []


def test_a_page_leads_to_its_neighbours_and_to_the_other_language(client):
    order = list(rows.rows())
    place = order.index("G10")
    text = page(client, "/lecture/en/g10")
    assert f'rel="prev" href="/lecture/en/{order[place - 1]}"' in text
    assert f'rel="next" href="/lecture/en/{order[place + 1]}"' in text
    assert 'href="/lecture/ja/G10"' in text
    assert 'rel="prev"' not in page(client, f"/lecture/en/{order[0]}")


def test_links_lead_down_to_each_page(client, tmp_path):
    courses.save(courses.checked(COURSE), tmp_path / "runs" / ".studio" / "courses")
    for path, above in (
        ("E3", ["/en/", "/en/#society"]),
        ("start", ["/en/"]),
        ("layers/mlp", ["/en/"]),
        ("course", ["/en/courses"]),
        ("course/clinic-b", ["/en/courses"]),
        ("course/clinic-b/1", ["/en/", "/lecture/en/course/clinic-b"]),
    ):
        way = re.search(
            r'<nav class="way" aria-label="where this page is">(.*?)</nav>', page(client, f"/lecture/en/{path}")
        )
        assert re.findall(r'<a href="([^"]+)">[^<]+', way[1]) == above, path


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_row_offers_the_notebooks_with_its_functions(client, language):
    text = page(client, f"/lecture/{language}/V12")
    marked = text.split('data-part="marked"')[1].split("</section>")[0]
    addresses = re.findall(r'href="([^"]+\.ipynb)" download', marked)
    assert addresses == [f"/lecture/{language}/notebooks/{name}.ipynb" for name in ("9_fair_comparison", "10_clinic")]
    assert "<code>patients_on_both_sides</code>" in marked and "<code>predictive_value</code>" in marked
    assert "jupyter lab lessons/10_clinic.ipynb" in marked
    assert html.escape(notebooks.title("10_clinic", language), quote=False) in marked
    sent = client.get(addresses[1])
    assert sent.content == notebooks.find("10_clinic", language).read_bytes()
    assert "10_clinic.ipynb" in sent.headers["content-disposition"]
    for missing in ("nothing", "..%2f..%2frows", "%2e%2e"):
        assert client.get(f"/lecture/{language}/notebooks/{missing}.ipynb").status_code == 404
    assert ".ipynb" not in page(client, f"/lecture/{language}/V1")


def test_every_function_is_offered_by_a_row_that_exists():
    offered = [function for functions in notebooks.by_row().values() for function, _notebook in functions]
    assert sorted(offered) == checks.names() and set(notebooks.by_row()) <= set(rows.rows())
    for row, functions in notebooks.by_row().items():
        assert all(row == checks.find(function).ROW for function, _notebook in functions)


def test_the_command_copies_notebooks_and_overwrites_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.run(["lecture", "notebooks", "lessons", "--lang", "ja"]) == 0
    assert "jupyter lab lessons" in capsys.readouterr().out
    copied = {file.name: file.read_bytes() for file in (tmp_path / "lessons").iterdir()}
    assert copied == {f"{name}.ipynb": notebooks.find(name, "ja").read_bytes() for name in notebooks.names()}
    (tmp_path / "lessons" / "10_clinic.ipynb").write_text("mine")
    assert main.run(["lecture", "notebooks", "lessons"]) == 5
    assert (tmp_path / "lessons" / "10_clinic.ipynb").read_text() == "mine"
    assert main.run(["lecture", "notebooks", "one", "11_boxes", "--json", "--lang", "en"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == [{"path": "one/11_boxes.ipynb", "functions": ["box_overlap", "average_precision"]}]
    assert main.run(["lecture", "notebooks", "other", "11_boxen"]) == 2 and "11_boxes" in capsys.readouterr().err
    assert main.run(["lecture", "notebooks"]) == 0 and "11_boxes" in capsys.readouterr().out  # lists them
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lessons", "one"]


def test_the_picture_has_a_button_for_each_layer_with_its_source(client):
    text = page(client, "/lecture/en/V1")
    found = ElementTree.fromstring(re.search(r"<svg class=\"layers\".*?</svg>", text)[0])
    buttons = [each for each in found.iter(f"{SVG}g") if each.get("role") == "button"]
    assert len(buttons) == 12 and all(each.get("tabindex") == "0" for each in buttons)
    assert buttons[3].get("aria-label").startswith("features.4, Conv2d: 2 · 32 × 13 × 13")
    towers = buttons[3].findall(f"{SVG}polygon")
    assert len(towers) == 6  # two of three faces each
    told = re.findall(r'<section data-layer="(\d+)"[^>]*>(.*?)</section>', text, re.DOTALL)
    assert [number for number, _said in told] == [str(at) for at in range(12)]
    conv2 = html.unescape(told[3][1])
    assert "25,664" in conv2 and "MFLOP" in conv2 and "x[16 ⌊o / 32⌋ + c, i + u − 2, j + v − 2]" in conv2
    file, first = re.search(r'data-file="([^"]+)" data-first="(\d+)"', told[3][1]).groups()
    code = re.search(rf'<figure data-file="{file}">.*?</figure>', text, re.DOTALL)[0]
    assert "conv2 = nn.Conv2d" in re.findall("<span>(.*?)</span>", code)[int(first) - 1]
    assert "max" in told[2][1] and "class" in told[2][1]


def test_every_system_has_a_page_of_its_layers_with_its_source_escaped(client):
    for name in ("mlp", "kmeans", "mobilenet", "bm25"):
        text = page(client, f"/lecture/ja/layers/{name}")
        held = layer_pages.cached(name)
        shown = client.get(f"/lecture/ja/layers/{name}/diagram").json()["html"]
        assert shown.count('role="button"') == sum(map(len, held.lines))
        assert shown in text or "data-picture=" in text
        for file in {place.file for line in held.lines for layer in line for place in layers.lines_of(layer)}:
            source = (HOME / file).read_text(encoding="utf-8")
            held_code = shown.split(f'<figure data-file="{file}">')[1].split("</figure>")[0]
            lines = re.findall("<span>(.*?)</span>", held_code)
            assert list(map(html.unescape, lines)) == source.splitlines()
            assert all("<" not in line for line in lines)
    assert "<code>" in shown and "-&gt;" in shown
    page(client, "/lecture/en/layers/nothing", 404)
    assert client.get("/lecture/en/layers/nothing/diagram").status_code == 400


def test_a_row_leads_to_the_layers_of_its_other_systems(client):
    text = page(client, "/lecture/en/C9")
    assert 'href="/lecture/en/layers/hdbscan"' in text and 'href="/lecture/en/layers/kmeans"' not in text


def test_what_is_stored_of_layers_is_what_is_found():
    for name in ("alexnet", "kmeans"):
        entry = registry.entries()[name]
        stored, found = layers.kept(entry), layers.found(entry)
        assert stored == found, "run .venv/bin/python docs/layers.py"
    told = {layer.name: layer for line in layers.found(registry.entries()["alexnet"]).lines for layer in line}
    assert told["features.4"].parameters == 64 * (32 // 2) * 25 + 64


def test_layers_of_a_changed_file_are_found_anew(client, monkeypatch, tmp_path):
    entry = registry.entries()["mlp"]
    held = json.loads((layers.STORED / "mlp.json").read_text(encoding="utf-8"))
    held["files"][layers.own_file(entry)] = "another"
    (tmp_path / "mlp.json").write_text(json.dumps(held), encoding="utf-8")
    assert layers.kept(entry, tmp_path) is None and layers.kept(entry) is not None
    monkeypatch.setattr(layers, "STORED", tmp_path / "nothing")
    monkeypatch.setattr(layers.kept, "__defaults__", (tmp_path / "nothing",))
    row = replace(rows.find("V1"), systems=("mlp",))
    monkeypatch.setitem(rows.rows(), "V1", row)
    assert "data-picture=" in page(client, "/lecture/en/V1")
    found = client.get("/lecture/en/layers/mlp/diagram").json()["html"]
    assert found.count('role="button"') == 4
    monkeypatch.setattr(layers, "found", None)  # it is kept from then on
    assert client.get("/lecture/en/layers/mlp/diagram").json()["html"] == found


def test_a_copy_of_a_part_is_shown_where_the_part_was_made():
    told = layers.found(registry.entries()["ddpm"])
    part = next(layer for layer in told.lines[0] if layer.name == "average.conv_in")
    assert part.made[0].file == "blocks/unet.py" and "self.conv_in = " in part.made[0].text()


def test_training_for_ten_seconds_is_the_ordinary_job(client, jobs):
    begun = client.post("/lecture/en/V1/train", json={}).json()["job"]
    words = ["train", "alexnet", "data=digits", "budget=10s", "brief=true"]
    assert jobs.get(begun).words == words
    assert client.post("/lecture/en/V1/train", json={}).json()["job"] == begun
    seen = client.get(f"/lecture/ja/job/{begun}").json()
    assert seen["over"] is False and "alexnet" in seen["progress"]
    first = client.post("/lecture/en/first/train", json={}).json()["job"]
    assert jobs.get(first).words[1] == "cnn"
    jobs.get(first).stop()
    assert client.get(f"/lecture/en/job/{first}").json()["over"] is True
    for path in ("E3/train", "V99/train"):
        answer = client.post(f"/lecture/en/{path}", json={})
        assert answer.status_code == 400 and "trouble" in answer.json()["detail"]
    assert client.get("/lecture/en/job/nothing").status_code == 400


def test_a_course_is_kept_and_its_steps_are_pages_in_its_order(client):
    address = client.post("/lecture/en/course", json=COURSE).json()["address"]
    assert address == "/lecture/en/course/clinic-b"
    text = page(client, address)
    assert "Clinic &lt;b&gt;" in text and "Noise &lt;i&gt;first" in text
    first = page(client, f"{address}/1")
    assert "<strong>So</strong> &lt;script&gt;" in first and "<i>first" not in first
    assert 'href="javascript:' not in first and '<img src="https' not in first
    assert f'rel="next" href="{address}/2"' in first and 'rel="prev"' not in first
    assert "AlexNet" in page(client, f"{address}/2")
    last = page(client, f"{address}/3")
    assert "Ten minutes." in last and 'data-part="mechanism"' not in last
    page(client, f"{address}/4", 404)
    page(client, "/lecture/en/course/other", 404)
    file = client.get(f"{address}.toml")
    assert courses.read(file.text).as_json()["parts"][0]["before"] == COURSE["parts"][0]["before"]


def test_changing_a_course_replaces_it_and_a_new_one_replaces_none(client, tmp_path):
    first = client.post("/lecture/en/course", json=COURSE).json()["address"]
    second = client.post("/lecture/en/course", json=COURSE).json()["address"]
    assert second == f"{first}-2"
    changed = {**COURSE, "title": "Another", "name": "clinic-b"}
    assert client.post("/lecture/en/course", json=changed).json()["address"] == first
    assert "Another" in page(client, first) and "Another" not in page(client, second)
    assert "Noise" in page(client, f"{first}/edit")
    other = tmp_path / "runs" / "x.toml"
    other.write_text("x", encoding="utf-8")
    outside = client.post("/lecture/en/course", json={**COURSE, "name": "../../x"}).json()
    assert outside["address"] == f"{first}-3" and other.read_text(encoding="utf-8") == "x"
    brought = client.post("/lecture/ja/course", json={"toml": 'title = "犬"\n[[part]]\nrow="v1"'})
    assert brought.json()["address"].startswith("/lecture/ja/course/")
    for wrong in ([], {"toml": "["}, {"title": "x"}, {"title": "x", "parts": [{"row": "V99"}]}):
        assert client.post("/lecture/en/course", json=wrong).status_code == 400


def test_the_first_steps_and_what_is_not_there(client):
    text = page(client, "/lecture/en/start")
    assert text.count("<h2>") == 3 and "/lecture/en/first/train" in text
    assert "trouble" in page(client, "/lecture/en/nothing", 404)
    assert client.get("/lecture/fr/V1").status_code == 404


def test_the_guard_lets_the_lectures_requests_in_and_no_others():
    def sort(path, method="GET"):
        route = access.find_route(path, method)
        return route and route.sort

    assert sort("/lecture/en/V1") == sort("/lecture/ja/course/x/1") == "own"
    assert sort("/lecture/en/V1/train", "POST") == sort("/lecture/ja/course", "POST") == "call"
    for path in ("/lecture/en/V1", "/lecture/fr/course", "/lecture/en/course/x", "/lecture/en"):
        assert sort(path, "POST") is None
    assert sort("/lecture/../V1") is None


def test_the_studio_opens_a_course_and_keeps_a_copy(tmp_path, monkeypatch, capsys):
    from souron.studio import app

    opened = []
    monkeypatch.setattr(app, "_start", lambda *given: opened.append(given[5]))
    file = tmp_path / "my.toml"
    file.write_text(courses.checked(COURSE).as_toml(), encoding="utf-8")
    for _time in range(2):
        assert main.run(["studio", f"course={file}", "--no-browser"]) == 0
    assert opened == ["lecture/en/course/clinic-b"] * 2
    assert main.run(["studio", "course=none.toml"]) == 3 and len(opened) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err


@contextmanager
def serving(tmp_path, jobs):
    """The lecture's pages behind the guard."""
    app, project = FastAPI(), tmp_path / "runs"
    files.add(app, project, jobs)
    add_routes(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    settings = uvicorn.Config(None, port=0, log_level="error", ws="none", proxy_headers=False)
    bound = settings.bind_socket()
    port = bound.getsockname()[1]
    settings.app = access.Guard(app, port=port, place=tmp_path)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=[[bound]])
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_page_is_used_by_keyboard_and_in_large_type(tmp_path, jobs):
    from axe_playwright_python.sync_playwright import Axe

    courses.save(courses.checked(COURSE), tmp_path / "runs" / ".studio" / "courses")
    with serving(tmp_path, jobs) as server, browsing.visiting() as visit:
        view = visit.page
        view.goto(f"{server}/lecture/en/V1")
        view.locator("[data-layer='3'][role=button]").focus()
        view.keyboard.press("Enter")
        assert "features.4" in view.locator(".layer h3").inner_text()
        view.keyboard.press("ArrowRight")
        view.keyboard.press(" ")
        assert "features.7" in view.locator(".layer h3").inner_text()
        assert [one["id"] for one in Axe().run(view).response["violations"]] == []
        view.click("[data-do=train]")
        assert view.locator(".live .job").inner_text().startswith("train alexnet")
        view.click("[data-do=beamer]")
        assert view.locator(".part:visible").count() == 1
        view.keyboard.press("ArrowRight")
        assert view.locator(".part.now h2").inner_text() == "At work"
        view.keyboard.press("ArrowRight")
        assert view.locator(".part.now h2").inner_text() == "Its layers"
        assert view.locator(".part.now h2").bounding_box()["y"] > 20, "it sticks to the edge"
        with view.expect_popup() as opened:
            view.keyboard.press("n")
        notes = opened.value
        notes.wait_for_selector("details.spoken p")
        assert not view.locator("details.spoken").is_visible(), "the wall shows no notes"
        expect(notes.locator(".beaming .place")).to_contain_text("3 / ")
        expect(notes.locator(".beaming .place")).to_contain_text("Its layers → How it works")
        notes.keyboard.press("ArrowRight")
        expect(view.locator(".part.now h2")).to_have_text("How it works")
        view.goto(f"{server}/lecture/en/start")
        view.go_back()
        expect(view.locator(".part.now h2")).to_have_text("How it works")
        notes.close()
        view.keyboard.press("Escape")
        assert view.locator(".part:visible").count() > 5
        view.goto(f"{server}/lecture/en/course/clinic-b")
        view.click("a[rel=next]")
        view.wait_for_load_state()  # its script has begun
        view.click("[data-do=beamer]")
        for _step in range(view.locator(".part").count()):
            view.keyboard.press("PageDown")
        view.wait_for_url("**/clinic-b/2#beamer-1")
        assert view.locator("h1:visible").inner_text() == "AlexNet"
        view.goto(f"{server}/lecture/en/course/clinic-b/edit")
        view.locator("ol.chosen > li").nth(1).locator("[data-do=up]").focus()
        view.keyboard.press("Enter")
        view.click("[data-do=save]")
        view.wait_for_url("**/course/clinic-b")
        assert view.locator("ol.course li").first.inner_text().startswith("AlexNet")
        assert visit.errors == [] and visit.outside == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_press_saves_the_notebook_with_the_rows_function(tmp_path, jobs, language):
    from axe_playwright_python.sync_playwright import Axe

    with serving(tmp_path, jobs) as server, browsing.visiting(language, width=390) as visit:
        view = visit.page
        view.goto(f"{server}/lecture/{language}/E3")
        offer = view.locator("[data-part=marked] .write")
        expect(offer).to_contain_text("exposure_beta")
        with view.expect_download() as saving:
            offer.locator("a").click()
        assert saving.value.suggested_filename == "15_society.ipynb"
        saving.value.save_as(tmp_path / "saved.ipynb")
        assert (tmp_path / "saved.ipynb").read_bytes() == notebooks.find("15_society", language).read_bytes()
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        assert [one["id"] for one in Axe().run(view).response["violations"]] == []
        assert visit.errors == [] and visit.outside == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_pressed_layer_opens_its_code_beside_the_diagram(tmp_path, jobs):
    from axe_playwright_python.sync_playwright import Axe

    with serving(tmp_path, jobs) as server, browsing.visiting() as visit:
        view = visit.page
        view.route("**/work", lambda route: route.fulfill(json=AT_WORK))
        view.goto(f"{server}/lecture/en/V1")
        view.set_viewport_size({"width": 1280, "height": 900})
        layer = view.locator("[data-layer='3'][role=button]")
        layer.focus()
        view.keyboard.press("Enter")
        code, drawing = view.locator(".source"), view.locator(".drawing")
        marked = view.locator(".source .here").all_inner_texts()
        assert any("conv2 = nn.Conv2d" in line for line in marked)
        assert any("self.features = " in line for line in marked)
        assert view.locator(".activation img").get_attribute("src") == AT_WORK["layers"][0]["image"]
        assert code.bounding_box()["x"] > drawing.bounding_box()["x"] + 300
        assert [one["id"] for one in Axe().run(view).response["violations"]] == []
        view.set_viewport_size({"width": 390, "height": 800})
        assert code.bounding_box()["y"] >= drawing.bounding_box()["y"] + drawing.bounding_box()["height"]
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        view.keyboard.press("Escape")
        expect(code).to_be_hidden()
        assert layer.get_attribute("aria-pressed") == "false"
        view.locator("[data-layer='2'][role=button]").focus()
        view.keyboard.press("Enter")
        view.locator(".layer [data-do=lines]").last.press("Enter")
        assert "class Pool" in view.locator(".source .here").first.inner_text()
        view.goto(f"{server}/lecture/en/layers/kmeans")
        view.locator("[data-name=move]").press(" ")
        assert "def move(" in view.locator(".source .here").first.inner_text()
        assert view.locator(".activation").count() == 0
        assert visit.errors == [] and visit.outside == []


def test_a_training_that_runs_is_watched_on_after_a_reload(client, jobs):
    assert "data-running" not in page(client, "/lecture/en/V1")
    begun = client.post("/lecture/en/V1/train", json={}).json()["job"]
    assert f'data-running="{begun}"' in page(client, "/lecture/ja/V1")
    assert "data-running" not in page(client, "/lecture/en/V2")
    jobs.get(begun).stop()
    assert "data-running" not in page(client, "/lecture/en/V1")


DROP = """form => {
    const data = new DataTransfer();
    data.items.add(new File(["case,truth,unet\\n1,0,1\\n2,1,1\\n"], "p.csv"));
    form.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.mark.slow
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("row", ["V1", "L1", "V11"])  # of an image, a text, a command
def test_predictions_that_are_dropped_on_a_row_lead_to_the_verdict(tmp_path, jobs, monkeypatch, row):
    plain_forms.uploads(monkeypatch, tmp_path / "runs" / ".studio" / "temporary" / "studio-1")
    with serving(tmp_path, jobs) as server, browsing.visiting() as visit:
        view = visit.page
        view.route("**/work", lambda route: route.fulfill(json=AT_WORK))
        view.goto(f"{server}/lecture/en/{row}")
        view.locator("form.work").evaluate(DROP)
        expect(view.locator(".answered a.first")).to_have_attribute("href", re.compile(r"study=verdict&files="))
        assert visit.errors == [] and visit.outside == []


@pytest.mark.slow
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_dead_studio_is_said_and_the_state_stays_in_the_other_language(tmp_path, jobs):
    with serving(tmp_path, jobs) as server, browsing.visiting() as visit:
        view = visit.page
        view.route("**/lecture/en/V1/work", lambda route: route.abort())
        view.goto(f"{server}/lecture/en/V1")
        expect(view.locator(".answered")).to_have_text("This did not work. Is the studio still running?")
        view.route("**/interactive/**", lambda route: None)  # which is never answered
        view.locator(".interactive [data-do=skip]").first.click()
        computing = view.locator(".interactive .said").first
        expect(computing).to_have_text("computing …")
        expect(computing).to_be_in_viewport(ratio=1)  # though the pictures above it are taller than the screen
        view.evaluate("history.replaceState(null, '', '#playground?speed=3')")
        view.click("a[data-language=ja]")
        view.wait_for_url("**/lecture/ja/V1**")
        assert view.url.endswith("#playground?speed=3")


@pytest.mark.parametrize(
    ("words", "finds", "never"),
    [
        ("cat", {"row-V8", "row-G13"}, {"system-mlp", "row-V9"}),
        ("猫", {"row-G13"}, {"row-V12"}),
        ("歯", {"row-V12", "row-D4"}, set()),
        ("X線写真", {"row-V12"}, {"row-C7"}),
        ("verdict", {"tool-verdict"}, {"tool-plan"}),
        ("sample size", {"tool-plan"}, {"tool-verdict"}),
        ("2015 u-net", {"system-unet"}, {"system-resnet"}),
        ("nothing like this", set(), {"row-V1"}),
    ],
)
def test_a_search_finds_words_of_the_texts_in_both_languages(words, finds, never):
    found = {*lecture.search(None, {"words": words})["found"]}
    assert finds <= found and not never & found
