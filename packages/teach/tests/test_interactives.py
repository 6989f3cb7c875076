"""Interactives: each is whole in both languages, its figures are right, the keyboard is enough."""

import base64
import json
import re
from itertools import pairwise

import browsing
import pytest
import roots
import torch

from souron.cli import main
from souron.hub import zoo
from souron.lecture import notebooks
from souron.studio import interactive, interactive_export
from souron.studio.interactives import (
    gan_slow_motion,
    inside_cnn,
    kmeans_by_hand,
    noise_slider,
    occupations_day,
    playground,
    real_or_drawn,
    trust_map,
    which_luck,
)
from souron.studio.security import access
from souron.utils.messages import LANGUAGES, UserError, use_language

NONSENSE = {
    "seeds": "x",
    "points": 1,
    "width": 10**9,
    "picture": -1,
    "noise": float("nan"),
    "seed": 1e99,
    "way": "?",
    "occupation": "?",
    "shape": "?",
    "model": "?",
}
MOST = 4_000_000  # bytes of a page


@pytest.mark.parametrize("name", interactive.names())
def test_each_is_whole(name):
    module = interactive.find(name)
    assert 0 <= module.RIGHT < len(module.CHOICES)
    for language in LANGUAGES:
        with use_language(language):
            page = interactive.html(name)
        assert f'data-interactive="{name}"' in page
        assert "http://" not in page and "https://" not in page  # nothing from outside
        assert len(page.encode()) < MOST
    script = interactive_export.text_of(f"interactives/{name}.js")
    for does in set(module.stage().split('data-do="')[1:]):
        action = does.split('"')[0]
        assert action in ("play", "earlier", "later") or f'on("{action}"' in script


def test_the_docs_show_and_count_each():
    docs = roots.ROOT / "docs"
    page = (docs / "interactives.md").read_text(encoding="utf-8")
    for name in interactive.names():
        assert f"](_static/interactives/{name}.jpg)" in page
        for ending in (".jpg", ".ja.jpg"):
            assert 0 < (docs / "_static" / "interactives" / (name + ending)).stat().st_size < 400_000
    assert len(interactive.names()) == 18 and "Eighteen interactives" in (docs / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", interactive.names())
@pytest.mark.parametrize("asked", [[], 3, None, NONSENSE])
def test_nonsense_is_refused(name, asked):
    with pytest.raises(UserError):
        interactive.answer(name, asked)


def test_what_is_not_there_is_refused():
    for name in ("nothing", "../shared", ""):
        with pytest.raises(UserError):
            interactive.answer(name, {})


def test_the_door_opens_for_these_alone():
    assert access.find_route("/interactive/ja/playground", "POST").sort == "call"
    assert access.find_route("/static/interactives/common.js", "GET").sort == "static"
    for path, method in (
        ("/interactive/en/playground", "GET"),
        ("/interactive/xx/a", "POST"),
        ("/interactive/en/../a", "POST"),
        ("/interactive/en/a/b", "POST"),
        ("/static/interactives/../studio.js", "GET"),
    ):
        assert access.find_route(path, method) is None


def test_playground_learns_with_mlp_itself():
    networks = playground.networks(3, 2)
    weights, where = playground.stacked(networks), torch.randn(9, 2)
    with torch.no_grad():
        for i, network in enumerate(networks):
            torch.testing.assert_close(playground.forward(weights, where)[-1][i], network(where))


def test_one_hidden_unit_cannot_do_xor_and_eight_can():
    one = playground.learn("xor", 1, 1, 0.05, 2)
    eight = playground.learn("xor", 8, 1, 0.05, 2)
    assert one["good"] == 0 and one["best"] < 0.8  # no line does
    assert eight["good"] >= playground.STARTS / 2 and eight["frames"][-1]["test"] > 0.9
    assert eight["losses"][-1] < eight["losses"][0] / 3
    surface = base64.b64decode(eight["frames"][-1]["surface"])
    assert len(surface) == playground.SURFACE**2
    corner = playground.SURFACE // 5  # the first sort is where both coordinates have one sign
    assert surface[corner * playground.SURFACE + corner] > 200
    assert surface[-corner * playground.SURFACE + corner] < 55


def test_adam_is_torch_s():
    mine = torch.tensor([1.0, -2.0], requires_grad=True)
    theirs = mine.detach().clone().requires_grad_()
    adam, library = playground.Adam([mine], 0.1), torch.optim.Adam([theirs], 0.1)
    for _step in range(5):
        adam.step(torch.autograd.grad(mine.square().sum() + mine[0], [mine]))
        library.zero_grad()
        (theirs.square().sum() + theirs[0]).backward()
        library.step()
    torch.testing.assert_close(mine, theirs)


@pytest.mark.skipif(zoo.where("cnn") is None, reason="souron-zoo is not installed")
def test_a_pixel_is_window_times_kernel():
    for layer, place in ((0, 20), (1, 9)):
        told = inside_cnn.answer({"picture": 2, "layer": layer, "map": 3, "y": place, "x": 7})
        assert told["sum"] == pytest.approx(told["layer"], abs=2e-3)
        assert told["relu"] == max(told["normal"], 0)
        part = sum(
            w * k for ws, ks in zip(told["window"], told["kernel"], strict=True) for w, k in zip(ws, ks, strict=True)
        )
        assert part == pytest.approx(told["part"], abs=0.02)
    assert told["inward"] == 32
    drawn = inside_cnn.answer({"pixels": [[0] * 28] * 28})
    assert set(base64.b64decode(drawn["image"])) == {0}


def test_kmeans_by_hand_ends_badly_from_bad_centres():
    points = kmeans_by_hand.points("groups")
    centres = [[-0.75, -0.5], [-0.65, -0.5], [0.3, 0.1]]  # two in one group
    inertias, before = [], None
    for turn in range(60):
        found = kmeans_by_hand.step(points, centres, turn % 2 == 1)
        centres = found["centres"]
        inertias.append(found["inertia"])
        if turn % 2 == 0:
            if found["nearest"] == before:
                break
            before = found["nearest"]
    assert turn < 59
    assert all(b <= a + 1e-7 for a, b in pairwise(inertias))
    rivals = kmeans_by_hand.rivals("groups", 3)
    assert inertias[-1] > 2 * rivals["best"]  # as the answer says
    assert rivals["times"] >= 15


@pytest.mark.skipif(zoo.where("ddpm") is None, reason="souron-zoo is not installed")
def test_noise_decides_whether_the_same_picture_comes_back():
    little = noise_slider.answer({"picture": 0, "noise": 0.15, "back": True})
    all_of_it = noise_slider.answer({"picture": 0, "noise": 1, "back": True})
    assert little["kept"][15] > 0.9 and all_of_it["kept"][100] < 0.01
    assert little["after"] < little["before"] < 40  # it comes back, cleaner than it was
    assert all_of_it["after"] > 60  # another picture
    assert len(little["way"]) == len(little["seen"]) == little["asked"] + 1
    assert little["way"][0] == little["noisy"]


def test_each_step_of_a_gan_does_what_it_is_for():
    found = gan_slow_motion.trained(1)
    assert found["up"] >= 0.9 * found["ups"] and found["down"] >= 0.9 * found["downs"]
    frames = found["frames"]
    turns = [frame["who"] for frame in frames[1:5]]
    assert turns == ["critic", "generator"] * 2
    assert frames[0]["drawn"] == frames[1]["drawn"]  # the critic's step draws nothing new
    assert frames[1]["drawn"] != frames[2]["drawn"]


def test_luck_makes_cases_alone_sure_of_nothing():
    equal = which_luck.repeated(3, 1000, 0.0, 0.04, 120)["ways"]
    assert equal["bootstrap"]["wrong"] > 0.4  # as the answer says
    assert equal["souron"]["wrong"] < 0.12
    other = which_luck.repeated(5, 1000, 0.08, 0.02, 60)["ways"]
    assert other["souron"]["called"] > 0.7 and other["souron"]["wrong"] < 0.05


def test_the_true_difference_is_the_one_that_was_set():
    import numpy as np

    drawn = np.random.default_rng(0)
    for points in (0.0, 0.06):
        pairs = [which_luck.scores(drawn, 4, 2000, points, 0.0) for _pair in range(15)]
        apart = np.mean([a.mean() - b.mean() for a, b in pairs])
        assert apart == pytest.approx(points, abs=0.01)


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.skipif(not interactive.examples("ddpm"), reason="souron-zoo is not installed")
def test_the_noise_follows_the_slider_as_python_mixes_it(looked_at):
    asked = {"picture": 1, "seed": 2}
    sent = noise_slider.answer(asked)
    mix = "async ([sent, stop]) => [...(await import('/static/interactives/noise_slider.js')).mixed(sent, stop)]"
    with browsing.visiting() as visit:
        page = visit.page
        opened(page, looked_at.address, "noise_slider")
        for stop in (0, 47, 100):
            mine = torch.tensor(page.evaluate(mix, [sent, stop]))
            theirs = torch.tensor(list(base64.b64decode(noise_slider.answer(asked | {"noise": stop / 100})["noisy"])))
            assert (mine - theirs).abs().max() <= 1
        page.route("**/interactive/en/*", lambda route: route.abort())  # drawn without an answer
        page.locator("[name=noise]").evaluate(
            "(range) => { range.value = 60; range.dispatchEvent(new Event('input')); }"
        )
        step = noise_slider.answer(asked | {"noise": 0.6})["step"]
        assert f"step {step} of" in page.locator("[data-part=step]").inner_text()


def test_a_map_of_shuffled_columns_is_trusted_too_much():
    real, none = trust_map.mapped("tsne", False), trust_map.mapped("tsne", True)
    chance = trust_map.mapped("chance", False)
    assert 0.75 < none["trust"] < 0.9 < real["trust"]  # as the answer says
    assert 0.4 < chance["trust"] < 0.6
    pixels, _label = trust_map.digits(False)
    apart = (pixels - pixels[0]).square().sum(1)
    assert set(real["near"][0]) == set(apart.argsort()[1:6].tolist())


def test_an_occupation_is_judged_as_souron_work_does():
    found = occupations_day.answer({"occupation": "Dentists, General", "guess": []})
    assert 10 < found["figures"]["people"]["beta"] < 35  # as the answer says
    exposed = [task["people"] != "E0" for task in found["tasks"]]
    assert found["agree"]["people"] == exposed.count(False)
    every = [[i] for i, is_so in enumerate(exposed) if is_so]
    found = occupations_day.answer({"occupation": "Dentists, General", "guess": every})
    assert found["agree"]["people"] == found["agree"]["count"]
    assert "people" not in occupations_day.answer({})["tasks"][0]  # not before the guess


@pytest.mark.skipif(not real_or_drawn.ready(), reason="souron-zoo is not installed")
def test_a_detector_is_weak_on_generators_that_it_never_met():
    unseen, seen = [0, 0], [0, 0]
    for seed in (1, 2, 3):
        images, who = real_or_drawn.quiz(seed)
        for sums, met in ((unseen, False), (seen, True)):
            scores = real_or_drawn.judged(images, who, met)
            found = real_or_drawn.told([score > 0.5 for score in scores], who)
            sums[0] += found["found"]
            sums[1] += found["false"]
    assert unseen[0] <= 15  # of 30, as the answer says
    assert seen[0] > unseen[0]
    everything = [[i] for i in range(20)]
    told = real_or_drawn.answer({"seed": 1, "guess": everything})
    assert (told["you"]["found"], told["you"]["false"], told["you"]["right"]) == (10, 10, 10)
    assert "who" not in real_or_drawn.answer({"seed": 1})  # not before the guess


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_keyboard_is_enough(looked_at):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=kmeans_by_hand")
        page.locator(".guess input").first.wait_for()
        assert not page.locator(".stage").is_visible()  # a guess comes first
        page.locator(".guess input").first.focus()
        page.keyboard.press("ArrowDown")  # the second choice, which is right
        page.wait_for_selector("[data-ready]")
        page.locator("canvas[data-canvas=plane]").focus()
        for key in ("ArrowLeft", "Enter", "ArrowUp", "Enter", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector(":text('Placed: 3')")
        page.locator("[data-do=run]").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(":text('Ended after')")
        page.locator(".answer summary").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(":text('That is right')")
        sizes = page.evaluate(
            "performance.getEntriesByType('resource').filter(e => e.name.includes('interactive'))"
            ".map(e => e.encodedBodySize)"
        )
        assert 0 < sum(sizes) < MOST, json.dumps(sizes)
        assert visit.outside == [] and visit.errors == []


@pytest.mark.parametrize("name", interactive.names())
def test_each_has_a_tour_of_parts_that_its_stage_has(name):
    module = interactive.find(name)
    steps = module.TOUR
    assert len(steps) == 8 and any(len(step) == 4 for step in steps)  # at least one asks for a guess
    for _part, _text, *question in steps:
        assert not question or 0 <= question[1] < len(question[0])
    stage = module.stage()
    if "data-part" not in stage:
        pytest.skip("souron-zoo is not installed")
    for part, *_step in steps:
        kinds = ("name", "data-canvas", "data-plot", "data-part", "data-do")
        assert any(f'{kind}="{part}"' in stage for kind in kinds), part


def recorded() -> list[str]:
    return [
        name
        for name in interactive.names()
        if any(True for _asked in getattr(interactive.find(name), "record", tuple)())
    ]


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_what_a_script_asks_first_is_in_its_record(looked_at):
    """Each list or slider is at a value that a file offers, so the file begins with an answer."""
    with browsing.visiting() as visit:
        page, sent = visit.page, []
        page.route("**/interactive/en/*", lambda route: (sent.append(route.request.post_data_json), route.abort()))
        for name in recorded():
            page.goto(f"{looked_at.address}/en/interactives?name={name}")
            with page.expect_event("requestfailed"):
                page.locator("[data-do=skip]").click()
            assert sent[-1] in list(interactive.find(name).record()), name
    assert len(sent) >= 5


def opened(page, address, name):
    page.goto(f"{address}/en/interactives?name={name}")
    page.locator("[data-do=skip]").click()
    page.wait_for_selector("[data-ready]")


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_link_holds_the_state_and_the_back_button_restores_it(looked_at):
    with browsing.visiting() as visit:
        page = visit.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened(page, looked_at.address, "trust_map")
        assert "#" not in page.url
        page.locator("[name=way]").select_option("chance")
        page.wait_for_selector(".interactive:not([aria-busy])")
        page.locator("[name=by_trust]").check()
        assert page.url.endswith("#trust_map?way=chance&shuffled=0&by_trust=1")
        page.locator("canvas[data-canvas=map]").focus()
        for _press in range(3):
            page.keyboard.press("+")
        under = page.locator("[data-part=brush]").inner_text()
        page.locator("[data-link]").click()
        page.wait_for_selector(":text('The link was copied')")
        link = page.evaluate("navigator.clipboard.readText()")

        page.go_back()  # to before the tick
        page.wait_for_selector("[name=by_trust]:not(:checked)")
        page.wait_for_selector("[data-ready]")
        assert page.locator("[name=way]").input_value() == "chance"
        assert page.locator("[data-part=brush]").inner_text() != under
        page.go_back()  # to the beginning
        page.wait_for_function("document.querySelector('[name=way]').value === 'pca'")

        page.goto("about:blank")
        page.goto(link)  # opens where the reader was, without a guess
        page.wait_for_selector("[data-ready]")
        assert page.locator("[name=way]").input_value() == "chance" and page.locator("[name=by_trust]").is_checked()
        assert page.locator("[data-part=brush]").inner_text() == under
        page.goto("about:blank")
        page.goto(f"{looked_at.address}/en/interactives?name=trust_map#trust_map?way=nothing&_=[1")
        page.wait_for_selector("[data-ready]")
        assert page.locator("[name=way]").input_value() == "pca"  # what is not there is left out
        assert visit.outside == [] and visit.errors == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_tour_points_at_parts_and_keeps_its_guesses(looked_at):
    steps = trust_map.TOUR
    with browsing.visiting() as visit:
        page = visit.page
        opened(page, looked_at.address, "trust_map")
        asks = next(place for place, step in enumerate(steps) if len(step) == 4)
        for again in (False, True):
            page.locator("[data-tour-do=open]").focus()
            page.keyboard.press("Enter")
            for place in range(asks):
                assert page.locator(".tour .text").inner_text() == steps[place][1]
                pointed = page.locator(".pointed")
                assert pointed.count() == 1
                assert pointed.locator(f"[name={steps[place][0]}], [data-canvas={steps[place][0]}]").count() or (
                    pointed.get_attribute("data-part") == steps[place][0]
                )
                page.locator("[data-tour-do=next]").press("Enter")
            judged = page.locator(".tour .judged")
            if not again:
                assert judged.inner_text() == ""
                page.locator(".tour input").nth(steps[asks][3]).focus()
                page.keyboard.press("Space")
            assert "That is right" in judged.inner_text()
            page.locator("[data-tour-do=close]").focus()
            page.keyboard.press("Escape")
            assert not page.locator(".tour").is_visible() and not page.locator(".pointed").count()
            assert page.evaluate("document.activeElement.dataset.tourDo") == "open"
            opened(page, looked_at.address, "trust_map")
        assert visit.errors == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_a_drawing_follows_light_and_dark(looked_at):
    corner = "[...document.querySelector('canvas[data-canvas=map]').getContext('2d').getImageData(0, 0, 1, 1).data]"
    with browsing.visiting() as visit:
        opened(visit.page, looked_at.address, "trust_map")
        assert visit.page.evaluate(corner) == [0xFC, 0xFC, 0xFB, 255]  # --paper of studio.css
        visit.page.locator("[data-dark]").first.click()
        visit.page.wait_for_function(f"{corner}[0] === 0x15")


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_an_exported_file_works_without_a_studio_and_asks_for_nothing(tmp_path, monkeypatch):
    rival = {"rival": True, "count": 3, "points": "groups"}  # in another order than the script asks
    monkeypatch.setattr(kmeans_by_hand, "record", lambda: iter([rival, {"points": "groups"}]))
    with use_language("ja"):
        written = list(interactive_export.write(tmp_path / "out", ["kmeans_by_hand", "occupations_day"]))
    assert [file.path is None for file in written] == [False, True]
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert 'href="kmeans_by_hand.html"' in index and "occupations_day.html" not in index
    address = written[0].path.resolve().as_uri()
    with browsing.visiting("ja") as visit:
        page = visit.page
        page.context.set_offline(True)
        page.goto(address)
        assert page.evaluate("document.documentElement.lang") == "ja"
        offer = page.locator(".write")
        assert "nearest_centre" in offer.inner_text() and "jupyter lab notebooks/6_maps" in offer.inner_text()
        linked = tmp_path / "out" / offer.locator("a").get_attribute("href")
        assert linked.read_bytes() == notebooks.find("6_maps_and_clusters", "ja").read_bytes()
        page.locator(".guess input").nth(1).check()
        page.wait_for_selector("[data-ready]")
        page.locator("canvas[data-canvas=plane]").focus()
        for key in ("ArrowLeft", "Enter", "ArrowLeft", "Enter", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        page.locator("[data-do=run]").click()
        ended = re.escape(browsing.said(kmeans_by_hand.WORDS["ended"], "ja").split("{inertia}")[0])
        shown = page.locator("[data-part=now]", has_text=re.compile(ended.replace(r"\{rounds\}", r"\d+"))).inner_text()
        points, centres, before = kmeans_by_hand.points("groups"), [[-0.1, 0.0], [-0.2, 0.0], [0.1, 0.0]], None
        for turn in range(200):
            found = kmeans_by_hand.step(points, centres, turn % 2 == 1)
            centres = found["centres"]
            if turn % 2 == 0 and found["nearest"] == before:
                break
            before = found["nearest"] if turn % 2 == 0 else before
        assert f"{found['inertia']:.4f}" in shown
        page.locator("[data-do=rival]").click()
        assert f"{kmeans_by_hand.rivals('groups', 3)['best']:.4f}" in page.locator("[data-part=rival]").inner_text()
        page.locator("[name=points]").select_option("stripes")  # was not recorded
        assert page.locator(".said").inner_text() == browsing.said(interactive.COMMON["unrecorded"], "ja")

        far = [[0.0, 0.0], [5.0, 5.0], [0.1, 0.1], [-6.0, 1.0]]  # two of them have no point
        for move in (False, True):
            theirs = kmeans_by_hand.step(points, far, move)
            mine = page.evaluate("([p, c, m]) => module_kmeans_by_hand.lloyd(p, c, m)", [points.tolist(), far, move])
            assert mine["nearest"] == theirs["nearest"]
            assert mine["inertia"] == pytest.approx(theirs["inertia"], rel=1e-5)
            torch.testing.assert_close(torch.tensor(mine["centres"]), torch.tensor(theirs["centres"]))
        assert visit.outside == [address] and visit.errors == []


def test_a_file_offers_the_recorded_values_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(which_luck, "SETTINGS", {"seeds": (2,), "cases": (50,), "difference": (0, 4), "luck": (4,)})
    asked = list(which_luck.record())
    assert asked == [{"seeds": 2, "cases": 50, "difference": value, "luck": 4} for value in (0, 4)]
    page = interactive_export.page("which_luck")
    data = json.loads(re.search(r'id="recorded">(.*?)</script>', page)[1])
    assert data["settings"]["difference"] == [0, 4]
    assert data["answers"] == [[what, json.loads(json.dumps(which_luck.answer(what)))] for what in asked]
    named = re.sub(r"http://www\.w3\.org/[\w/]+", "", page.split("<body>")[1])  # of SVG and its kin: never asked for
    assert len(page.encode()) < MOST and "http" not in named
    if browsing.CHROMIUM:
        path = tmp_path / "luck.html"
        path.write_text(page, encoding="utf-8")
        with browsing.visiting() as visit:
            visit.page.goto(path.as_uri())
            visit.page.locator("[data-do=skip]").click()
            visit.page.wait_for_selector("[data-ready]")
            assert visit.page.locator("select[name=difference] option").all_inner_texts() == ["0", "4"]
            for value, (_what, found) in zip((0, 4), data["answers"], strict=True):
                visit.page.locator("[name=difference]").select_option(str(value))
                called = f"{100 * found['ways']['bootstrap']['called']:.1f} %"
                assert called in visit.page.locator("[data-part=bootstrap]").inner_text()


def test_an_export_overwrites_nothing_and_names_what_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(interactive_export, "page", lambda name: f"<p>{name}</p>" if name == "trust_map" else None)
    out = tmp_path / "pages"
    assert main.run(["lecture", "export", str(out), "trust_map", "playground", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in told["files"]] == [str(out / "trust_map.html"), None]
    assert sorted(file.name for file in out.iterdir()) == ["index.html", "trust_map.html"]
    (out / "mine.txt").write_text("kept")
    assert main.run(["lecture", "export", str(out)]) == 5
    assert (out / "mine.txt").read_text() == "kept"
    assert main.run(["lecture", "export", str(tmp_path / "other"), "nothing"]) == 2
    assert main.run(["lecture", "export"]) == 2 and main.run(["lecture", "V1", "V2"]) == 2
    assert not (tmp_path / "other").exists() and not list(tmp_path.glob(".fetching*"))
