"""Rows of the lecture at work: answers before anything is pressed, own input, layers that light up."""

import base64
import html
import io
import re
from dataclasses import asdict, replace

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from torch import nn

from souron.evaluation.activity import activities, recorded
from souron.hub import zoo
from souron.lecture import rows
from souron.report.layers import Layer
from souron.runs import train
from souron.studio.jobs.job_queue import Jobs
from souron.studio.lecture import at_work, before_after, command_output, lecture_routes
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils import files

READY = pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")
HERE = [row for row in rows.rows().values() if at_work.stage(row).here]


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    app, project = FastAPI(), tmp_path / "runs"
    jobs = Jobs(project)
    lecture_routes.add(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    client = TestClient(app)

    def ask(row, **asked):
        answer = client.post(f"/lecture/en/{row}/work", json=asked)
        return answer.status_code, answer.json()

    ask.client = client
    return ask


def said(answer):
    status, found = answer
    assert status == 200, found
    return html.unescape(re.sub(r"<[^>]+>", " ", found["html"]))


def encoded(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_a_row_says_how_it_is_shown():
    shown = at_work.stage(rows.find("V8"))
    assert (shown.verb, shown.system, shown.sample) == ("predict", "efficientnet_lite", "cat.png")
    drawn = at_work.stage(rows.find("G6"))
    assert (drawn.verb, drawn.system, drawn.options) == ("generate", "biggan", {"n": "4", "truncation": "0.5"})
    assert not at_work.stage(rows.find("E3")).here


@READY
@pytest.mark.parametrize("row", [row.id for row in HERE])
def test_a_row_answers_before_anything_is_pressed(work, row):
    answer = work(row, first=True)
    assert len(said(answer).split()) > 3
    assert "souron.load(" in said(answer)  # the lines of code
    found = answer[1]
    assert found["samples"] or at_work.stage(rows.find(row)).verb == "generate"
    for layer in found["layers"]:
        assert layer["image"].startswith("data:image/png") and 0 <= layer["strength"] <= 1


@READY
def test_another_sample_an_own_image_and_noise_change_the_answer(work):
    first = work("V1", first=True)
    assert "ankle boot" in said(first) and first[1]["layers"]
    other = work("V1", sample=1)
    assert said(other) != said(first)
    own = work("V1", image=encoded(Image.new("RGB", (40, 40), "white")))
    assert "your image" in said(own)
    noisy = work("V1", noise=1.0)
    assert said(noisy) != said(work("V1", noise=0))
    assert noisy[1]["layers"][1]["image"] != first[1]["layers"][1]["image"]


@READY
def test_a_slider_is_an_option_of_the_system(work):
    found = work("D4", first=True)[1]
    assert 'type="range"' in found["controls"]
    name = re.search(r'type="range" name="(\w+)"', found["controls"])[1]
    most = float(re.search(rf'name="{name}" min="[\d.]+" max="([\d.]+)"', found["controls"])[1])
    assert said(work("D4", **{name: most})) != said(work("D4"))


@READY
def test_an_answer_stays_within_seconds(work):
    found = work("L1", first=True)[1]
    assert re.search(r'name="length" min="1" max="640"', found["controls"])
    shortest, longest = work("L1", length=1), work("L1", length=4096, text="The state of the")
    assert len(said(shortest)) < len(said(longest)) and longest[0] == 200


@READY
def test_a_generator_draws_with_a_seed_and_an_own_prompt(work):
    first = work("G2", first=True)
    assert first[1]["html"].count("data:image/png") == 4 and 'name="seed"' in first[1]["controls"]
    assert work("G2", seed=1)[1]["html"] != first[1]["html"] == work("G2", seed=0)[1]["html"]
    drawn = work("G11", prompt="a red bird on sand")
    assert "a red bird on sand" in said(drawn)
    status, _found = work("G11", prompt="a zyxwv")
    assert status in (200, 400)


@pytest.mark.parametrize(
    "asked",
    [
        {"image": "no base64!"},
        {"image": base64.b64encode(b"GIF89a").decode()},
        {"sample": 99},
        {"sample": "1"},
        {"noise": 7},
    ],
)
@READY
def test_what_cannot_be_answered_is_refused(work, asked):
    status, found = work("V1", **asked)
    assert status == 400 and "trouble" in found["detail"]


def test_an_image_of_too_many_pixels_is_refused(work):
    status, _found = work("V1", image=encoded(Image.new("L", (2001, 10))))
    assert status == 400


def test_another_command_runs_as_a_process_and_is_kept(work, monkeypatch):
    from souron.lecture import samples

    assert work.client.get("/lecture/en/C2/data.html").status_code == 404  # nothing runs for it
    first = said(work("C2", first=True))
    assert "$ souron data digits" in first and "1,797" in first
    shown = work("C2")[1]["html"]
    assert shown.count("<figure") == 1 and "data:image/png" in shown
    page = work.client.get("/lecture/en/C2/data.html")
    assert page.status_code == 200 and "sandbox" in page.headers["Content-Security-Policy"]
    monkeypatch.setattr(samples, "answer", None)
    assert said(work("C2")) == first


REPORT = """<header><p class="lead">mlp &amp; cnn</p></header><main>
<h2 id="map">Map</h2><figure class="plot"><img src="data:1"></figure>
<h2 id="learning">Learning</h2><p>Curves</p><figure class="plot"><img src="data:2"></figure></main>"""


def test_a_row_shows_the_headline_and_the_figure_of_its_section():
    row = rows.find("C8")
    shown = {
        section: str(command_output.of_report(REPORT, replace(row, section=section), "/there"))
        for section in ("", "map", "learning")
    }
    assert ["data:2" in html for html in shown.values()] == [False, False, True]
    assert all("mlp &amp; cnn" in html and html.count("<figure") == 1 and "/there" in html for html in shown.values())
    framed = str(command_output.of_report(REPORT.replace("figure", "div"), row, "/there"))
    assert '<iframe class="report" src="/there#map"' in framed and "mlp &amp; cnn" in framed


@pytest.mark.slow
def test_a_row_shows_the_image_that_its_command_writes(work):
    shown = work("S4", first=True)[1]["html"]
    assert shown.count("<figure") == 1 and "data:image/png" in shown and "12 tiles" in shown
    assert work("S4")[1]["html"] == shown


def test_a_report_outside_of_the_rows_folder_is_none(work, tmp_path):
    row = rows.find("C2")
    (tmp_path / "cache/rows").mkdir(parents=True)
    (tmp_path / "cache/secret.html").write_text("secret")
    made = command_output.Output(command_output.mark(row), (), "../../secret.html")
    command_output.folder_of(row).mkdir()
    files.write_json(command_output.file_of(row), asdict(made))
    assert command_output.kept(row) == replace(made, lines=[])
    for name in ("secret.html", "..%2Fsecret.html", "%2E%2E%2F%2E%2E%2Fsecret.html"):
        assert work.client.get(f"/lecture/en/C2/{name}").status_code == 404


def test_a_training_ends_with_one_test_case_before_and_after(tmp_path):
    run = train.train("mlp_tiny", "digits", budget="40ep", project=str(tmp_path), forecast=False)
    shown = str(before_after.compared(run.folder))
    before, after = shown.split("<figcaption>before: random weights</figcaption>")[1].split(
        "<figcaption>after training"
    )
    first, second = (re.findall(r"<td>([\d.]+) %</td>", part) for part in (before, after))
    assert first and second and first != second
    assert float(first[0]) < 35 < float(second[0])  # of ten digits


def test_layers_are_recorded_at_their_first_call():
    network = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 36, 5))
    image = torch.rand(2, 1, 8, 8)
    with recorded(network, ["0", "1", "3", "absent"]) as outputs:
        network(image)
        network(torch.zeros(2, 1, 8, 8))
    assert list(outputs) == ["0", "1", "3"]
    assert torch.equal(outputs["0"], network[0](image)[0])
    assert not network[0]._forward_hooks
    shown = {one.layer: one for one in activities(outputs)}
    assert shown["0"].shape == (12, 6, 6) and shown["0"].image.shape == (12, 24)  # eight maps, four side by side
    assert shown["3"].image.shape == (1, 5) and shown["3"].image.max() == 255


def test_a_copy_is_recorded_where_it_answers_and_no_other_layer_of_that_number():
    network = nn.ModuleDict({"features": nn.Sequential(nn.Linear(3, 4)), "classifier": nn.Sequential(nn.Linear(4, 2))})
    network["average"] = nn.Sequential(nn.Linear(3, 4))
    given = torch.rand(1, 3)
    with recorded(network, ["features.0", "classifier.0"]) as outputs:
        network["classifier"](network["features"](given))
    assert {name: len(output) for name, output in outputs.items()} == {"features.0": 4, "classifier.0": 2}
    with recorded(network, ["features.0"]) as outputs:
        network["average"](given)
    assert torch.equal(outputs["features.0"], network["average"](given)[0])


def test_the_strongest_maps_are_shown_in_their_order():
    maps = torch.zeros(10, 2, 2)
    for number in range(10):
        maps[number] = number
    [shown] = activities({"maps": maps})
    assert shown.image[0, ::2].tolist() == [round(255 * number / 9) for number in (2, 3, 4, 5)]
    assert shown.strength == pytest.approx(0.5)


def test_one_large_value_does_not_darken_the_others():
    values = torch.full((40, 50), 0.5)
    values[0, 0] = 1000.0
    [shown] = activities({"tokens": values})
    assert shown.image.float().median() == 255
    values[1:] = 0  # hardly anything is on: the largest is white
    values[0] = 0.5
    [sparse] = activities({"tokens": values})
    assert sparse.image.max() == 255 and sparse.image[1:].max() == 0


def test_the_diagram_is_of_the_system_that_answers_and_another_size_is_said():
    assert at_work.drawn_system(rows.find("C6")) == "transformer"
    assert at_work.drawn_system(rows.find("V8")) == "efficientnet_lite"
    assert at_work.drawn_system(rows.find("C8")) == "pca"
    small = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    drawn = {name: Layer(name, "connected", (3,), parameters=count) for name, count in (("0", 9), ("1", 4))}
    assert not at_work._other_size(small, drawn)  # another input or other classes are no other size
    drawn["1"] = Layer("1", "connected", (1,), parameters=5)
    drawn["2"] = Layer("2", "connected", (1,), parameters=5)
    assert "another size than the one in the diagram: 13 parameters" in at_work._other_size(small, drawn)
