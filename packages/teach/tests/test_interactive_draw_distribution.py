"""Draw a distribution: the losses are the systems' own, the arrows are the network's."""

import base64
import math
import re

import browsing
import numpy as np
import pytest
import torch

from souron.evaluation.generators.sampling import Noise
from souron.stats.two_samples import energy_test
from souron.studio import interactive
from souron.studio.interactives import _toy_generators as generators
from souron.studio.interactives import _toy_shapes as shapes
from souron.studio.interactives import draw_distribution as drawing
from souron.tasks.generate import Batch
from souron.utils.messages import UserError

MOONS = shapes.cells_of("moons")
SHORT = 10  # % of the steps


@pytest.fixture(scope="module")
def learnt():
    """The last frame of a short training of each model on the moons."""
    return {
        name: [drawing.trained(MOONS, name, 1, SHORT, part) for part in range(drawing.PARTS)][-1]
        for name in generators.MODELS
    }


def unpacked(text, low, high):
    values = np.frombuffer(base64.b64decode(text), np.uint8) / 255
    return (values * (high - low) + low).reshape(-1, 2)


def learner(name):
    return drawing.KEPT[drawing.key(MOONS, name, 1, SHORT)]


def test_every_shape_is_two_classes_and_letters_are_large_enough_to_learn():
    for shape in shapes.SHAPES:
        cells = shapes.cells_of(shape)
        assert len(cells) == shapes.SIDE**2
        assert set(cells) == ({"0"} if shape == "empty" else {"0", "1", "2"})
        assert shape == "empty" or len(cells) - cells.count("0") > 80


def test_points_come_evenly_from_the_painted_cells():
    grid = torch.zeros(shapes.SIDE, shapes.SIDE, dtype=torch.long)
    grid[0, 0], grid[-1, 1] = 1, 2  # top left, bottom left but one
    points, label = shapes.sampled(grid, 2000, torch.Generator().manual_seed(0))
    edge = 2 / shapes.SIDE
    top = points[label == 0]
    assert 900 < len(top) < 1100
    assert (top[:, 0] < -1 + edge).all() and (top[:, 1] > 1 - edge).all()
    assert (points[label == 1][:, 1] < -1 + edge).all()
    assert top[:, 0].std().item() == pytest.approx(edge / math.sqrt(12), rel=0.1)
    row, column = shapes.cells_at(points)
    assert (grid[row, column] == label + 1).all()


def test_each_model_is_trained_by_its_systems_own_loss(monkeypatch):
    for name in generators.MODELS:
        torch.manual_seed(0)
        system = generators.made(name, shapes.grid_of(MOONS))
        assert type(system).__module__ == f"souron.systems.generate.{name}"
        calls = []
        own = type(system).updates
        monkeypatch.setattr(type(system), "updates", lambda *all, own=own, calls=calls: (calls.append(1), own(*all))[1])
        state = generators.Learner(name, system, system.optimizers(), torch.get_rng_state(), 10)
        generators.one_step(state, shapes.grid_of(MOONS))
        assert calls == [1] and state.step == 1


def test_all_of_them_come_near_to_the_shape(learnt):
    for name, found in learnt.items():
        first, last = learner(name).answers[0], found
        assert first["step"] == 0 and last["step"] == learner(name).steps * generators.FRAMES
        most = 0.95 if name == "gan" else 0.5  # which is slow to begin
        assert last["energy"] < most * first["energy"], name
        assert abs(first["floor"]["energy"]) < 0.02 and first["floor"]["off"] == 0 and first["floor"]["missed"] < 0.02


def test_the_scores_are_those_of_the_points_shown(learnt):
    grid = shapes.grid_of(MOONS)
    for name, found in learnt.items():
        points = generators.generated(name, learner(name).system)
        shown = unpacked(found["points"], -1, 1)
        np.testing.assert_allclose(shown, points, atol=1 / 255)
        energy = energy_test(shapes.held_out(grid)[: shapes.JUDGED], points[: shapes.JUDGED], permutations=1).distance
        assert found["energy"] == pytest.approx(energy, abs=1e-4)


def test_points_off_the_shape_and_cells_without_points_are_counted():
    grid = torch.zeros(shapes.SIDE, shapes.SIDE, dtype=torch.long)
    grid[5:8, 5:8], grid[20:23, 30:33] = 1, 2
    edge = 2 / shapes.SIDE
    middle = torch.tensor([[-1 + 6.5 * edge, 1 - 6.5 * edge]])
    beside, away = middle + torch.tensor([[2.0 * edge, 0]]), middle + torch.tensor([[4.0 * edge, 0]])
    found = shapes.scores(torch.cat([middle, middle, beside, away]), grid)
    assert found["off"] == 0.25 and found["missed"] == 0.5


def test_the_density_of_the_flow_sums_to_one(learnt):
    system = learner("glow").system.eval()
    grey = (torch.arange(256) / 127.5 - 1).float()
    points = torch.cartesian_prod(grey, grey)[..., None, None]
    with torch.no_grad():
        nats = 2 * math.log(2) * system.bits(Batch(points, torch.zeros(len(points), dtype=torch.long)))
        assert (-nats).exp().sum().item() == pytest.approx(1, abs=0.03)
        normal, _change = system(points[:99] / 2)
        torch.testing.assert_close(system.inverse(normal), points[:99] / 2, atol=1e-4, rtol=0)


def test_a_training_goes_on_where_it_stopped_and_is_kept_once(learnt):
    before = learner("vae").answers
    again = drawing.trained(MOONS, "vae", 1, SHORT, 0)
    assert again is before[0] and len(before) == drawing.PARTS  # nothing is trained twice
    fresh = drawing.key(MOONS, "vae", 1, SHORT)
    kept = drawing.KEPT.pop(fresh)
    try:
        with pytest.raises(UserError, match="first part"):
            drawing.trained(MOONS, "vae", 1, SHORT, 1)
        drawing.KEPT.pop(fresh)
        repeated = [drawing.trained(MOONS, "vae", 1, SHORT, part) for part in range(2)]
        assert repeated[1]["points"] == before[1]["points"]  # whatever ran in between
    finally:
        drawing.KEPT[fresh] = kept


def test_the_number_of_trainings_in_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(drawing, "KEPT", type(drawing.KEPT)())
    monkeypatch.setattr(drawing, "MOST_KEPT", 2)
    for seed in (1, 2, 3):
        drawing.trained(MOONS, "vae", seed, SHORT, 0)
    assert list(drawing.KEPT) == [drawing.key(MOONS, "vae", seed, SHORT) for seed in (2, 3)]


def test_the_way_back_is_the_systems_own_and_so_are_its_arrows(learnt):
    system = learner("ddpm").system.eval()
    found = drawing.answer({"cells": MOONS, "seed": 1, "length": SHORT, "wanted": 1, "guidance": 2})
    label = torch.full((shapes.DRAWN,), 1)
    with torch.no_grad():
        noise = Noise(1, range(shapes.DRAWN))
        *_way, own = system.drawing(noise, label, sampler="ddim", steps=drawing.STOPS, guidance=2.0)
    last = unpacked(found["points"][-1], -drawing.REACH, drawing.REACH)
    assert len(found["points"]) == len(found["kept"]) == drawing.STOPS + 1
    np.testing.assert_allclose(last, own[:, :, 0, 0], atol=2 * drawing.REACH / 255)
    where = drawing.places()
    step, kind = torch.full((len(where),), len(system.alpha_bars) - 1), torch.full((len(where),), 1)
    with torch.no_grad():
        noise = system.find(system.average, where[..., None, None], step, kind)[:, :, 0, 0]
    shown = unpacked(found["noise"][0][0], -drawing.NOISE, drawing.NOISE)
    np.testing.assert_allclose(shown, noise.clamp(-drawing.NOISE, drawing.NOISE), atol=drawing.NOISE / 255)
    assert found["noise"][0][0] != found["noise"][0][1]  # of the class, and of none


def test_guidance_leads_to_the_colour_that_was_asked_for(learnt):
    asked = {"cells": MOONS, "seed": 1, "length": SHORT, "wanted": 0}
    free, led = (drawing.answer(asked | {"guidance": guidance})["right"] for guidance in (0, 4))
    assert led >= free > 0.6


def test_a_way_back_needs_a_trained_model():
    for asked in ({"cells": MOONS, "seed": 77, "wanted": 0}, {"cells": "0" * shapes.SIDE**2}, {"cells": "7"}):
        with pytest.raises(UserError):
            drawing.answer(asked)


def test_all_requests_of_the_record_are_answered(monkeypatch):
    monkeypatch.setattr(generators, "STEPS", dict.fromkeys(generators.MODELS, 1))
    monkeypatch.setattr(drawing, "KEPT", type(drawing.KEPT)())
    monkeypatch.setattr(shapes, "JUDGED", 16)
    size = sum(len(str(interactive.answer("draw_distribution", asked))) for asked in drawing.record())
    assert 100_000 < size < 3_000_000  # bytes of an exported page


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_page_shows_the_same_numbers_and_every_control_works(looked_at, learnt):
    with browsing.visiting() as visit:
        page, responses = visit.page, []
        page.on("response", lambda response: responses.append(response))
        page.goto(f"{looked_at.address}/en/interactives?name=draw_distribution")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        page.locator("[name=length]").fill(str(SHORT))
        page.locator("[data-do=learn]").click()
        page.wait_for_selector(":text('lie nearest to their own colour')")
        rows = page.locator("[data-part=scores] tr")
        asked = [
            (response.request.post_data_json or {}, response) for response in responses if response.request.post_data
        ]
        lasts = {of["model"]: response.json() for of, response in asked if of.get("part") == drawing.PARTS - 1}
        for number, name in enumerate(generators.MODELS, 1):
            last = lasts[name]  # the server's own training: the threads of a computation change its last digits
            shown = [float(text.rstrip(" %")) for text in rows.nth(number).locator("td").all_inner_texts()]
            assert shown == pytest.approx([last["energy"], 100 * last["off"], 100 * last["missed"]], abs=0.051), name
        page.locator("[name=guidance]").fill("3")
        page.wait_for_selector(":text('With guidance 3')")
        page.locator("[name=stop]").fill("10")
        page.locator("canvas[data-canvas=field]").focus()
        page.keyboard.press("ArrowRight")
        x, y, a, b, u, v = read_arrow(page)
        system = learner("ddpm").system.eval()
        t = drawing.answer({"cells": MOONS, "seed": 1, "length": SHORT, "wanted": 0})
        point, step = torch.tensor([[x, y]])[..., None, None], torch.tensor([499])
        with torch.no_grad():
            own, none = (system.find(system.average, point, step, torch.tensor([k]))[0, :, 0, 0] for k in (0, 2))
        noise = 4 * own - 3 * none
        assert (a, b) == pytest.approx(tuple(noise.tolist()), abs=0.25)  # bytes, times 7
        assert (u, v) == pytest.approx((-a / math.sqrt(1 - t["kept"][10]), -b / math.sqrt(1 - t["kept"][10])), abs=0.02)
        page.locator("[name=arrows]").select_option("velocity")
        a2, b2, u2, v2 = read_arrow(page)[2:]
        now, after = t["kept"][10], t["kept"][11]
        for place, noise_, moved in ((x, a2, u2), (y, b2, v2)):
            clean = (place - math.sqrt(1 - now) * noise_) / math.sqrt(now)
            expected = math.sqrt(after) * clean + math.sqrt(1 - after) * noise_ - place
            assert moved == pytest.approx(expected, abs=0.02)
        page.locator("[name=wanted]").select_option("2")
        page.wait_for_selector(":text('No colour asked for')")
        page.locator("[name=stop]").fill("0")
        page.locator("[data-do=walk]").click()
        page.wait_for_function("() => Number(document.querySelector('[name=stop]').value) > 2")
        page.locator("[name=frame]").fill("0")
        assert "GAN 0" in page.locator("[data-part=now]").inner_text()
        page.locator("[name=brush]").select_option("2")
        page.locator("canvas[data-canvas=paint]").focus()
        for key in ("ArrowRight", "ArrowDown", "Space"):
            page.keyboard.press(key)
        page.wait_for_selector(":text('Press Train')")  # another shape has to be learnt
        page.locator("[name=shape]").select_option("empty")
        page.wait_for_selector(".interactive[aria-busy]", state="detached")
        page.locator("[data-do=learn]").click()
        page.wait_for_selector(":text('Paint at least 8 cells')")
        assert visit.outside == [] and visit.errors == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_each_frame_is_shown_as_soon_as_it_is_there(looked_at):
    held = []
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=draw_distribution")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        page.locator("[name=length]").fill(str(SHORT))
        page.route(
            "**/interactive/en/draw_distribution",
            lambda route: (
                held.append(route) if not held and '"part":1' in route.request.post_data else route.continue_()
            ),
        )
        empty = page.locator("canvas[data-canvas=ddpm]").evaluate("canvas => canvas.toDataURL()")
        page.locator("[data-do=learn]").click()
        page.wait_for_selector("[data-part=now]:has-text('frame 1 of 16')")
        page.wait_for_function(
            "before => document.querySelector('[data-canvas=ddpm]').toDataURL() !== before", arg=empty
        )
        assert all(page.locator("[data-part=scores] td").nth(place).inner_text() for place in range(12))
        held[0].continue_()
        page.wait_for_selector("[data-part=now]:has-text('frame 2 of 16')")
        assert visit.outside == [] and visit.errors == []


def read_arrow(page):
    text = page.locator("[data-part=arrow]").inner_text().replace("−", "-")
    return tuple(float(value) for value in re.findall(r"-?\d+\.\d+", text))
