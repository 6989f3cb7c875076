"""How every kind is entered and shown in the studio, and how the options of a system are."""

import ast
import importlib
import re
from pathlib import Path

import browsing
import numpy as np
import pytest
import waiting
from axe_playwright_python.sync_playwright import Axe
from browsing import CHROMIUM
from dropping import BODIES, EXAMPLES, film, pyramid, ramp
from playwright.sync_api import expect

from souron import registry
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.chat import Chat
from souron.kinds.codecs.grid import upright
from souron.kinds.finding import Finding
from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.kinds.volume import Volume
from souron.studio import answers, kept_answers
from souron.studio.forms import plain_options, widgets
from souron.studio.forms.option_names import OPTION_NAMES
from souron.studio.security.posted import Posted
from souron.utils.messages import UserError, use_language

for name in BODIES:
    importlib.import_module(f"souron.kinds.{name}")
KINDS = {kind.widget: kind for kind in (*Kind.__subclasses__(), *Finding.__subclasses__()) if kind != Finding}


@pytest.mark.parametrize("low, high, step", [(0, 1, 0.01), (0, 2, 0.01), (0.01, 10, 0.01), (0, 20, 0.1), (0, 1000, 10)])
def test_a_slider_goes_in_round_steps(low, high, step):
    made = plain_options.field(Choice("x", low, high).option("x", float(low)), low, whole=True)
    assert f'step="{step:g}"' in made


def test_every_option_of_the_house_has_a_field_with_a_name_in_both_languages():
    used = set()
    for name in registry.entries():
        system = registry.load_system(name)[0]
        methods = [getattr(system, verb, None) for verb in ("predict", "drawing")]
        for method in filter(None, methods):
            options = signature.options_of(method)
            used |= set(options)
            fields = plain_options.fields(options, {}, whole=True)
            for option in options.values():
                assert plain_options.called(option) == OPTION_NAMES[option.name]
                assert (f' name="{option.name}"' in fields) == (option.default is not None)
    used |= {name for kind in KINDS.values() for name in signature.options_of(kind.read)}
    assert used == set(OPTION_NAMES)
    with use_language("ja"):
        for name in OPTION_NAMES:
            label = plain_options.called(Choice("x").option(name, 1))
            assert not re.search("[a-z]{3}", label), label


def test_the_fields_of_a_form_are_read_as_the_options():
    options = {
        "least": Choice("x", 0, 1).option("least", 0.25, type=float),
        "count": Choice("x", 1, 500).option("count", 2, type=int),
        "loud": Choice("x").option("loud", True, type=bool),
        "word": Choice("x").option("word", "<b>"),
        "to": Choice("x", among=("srt", "txt")).option("to", "srt"),
    }
    shown = plain_options.fields(options, {}, whole=True)
    assert 'max="500"' in shown and 'value="&lt;b&gt;"' in shown and 'name="to"' in shown
    assert 'name="to"' not in plain_options.fields(options, {})
    sent = Posted({"least": [""], "count": ["400"], "word": [""], "to": ["txt"]})
    assert plain_options.of_form(options, sent) == {"count": 400, "loud": False, "word": "", "to": "txt"}


def test_every_kind_has_a_name_and_every_kind_that_is_read_has_fields():
    assert set(KINDS) == set(BODIES) >= set(widgets.SHOWN)
    assert len({widgets.called(kind) for kind in KINDS.values()}) == len(KINDS)
    for name, kind in KINDS.items():
        if kind.formats:
            fields = widgets.given(kind, "<b>")
            assert f'accept="{",".join(kind.formats)}"' in fields and widgets.called(kind) in fields
            assert ("&lt;b&gt;</textarea>" in fields) == (name in widgets.TYPED)


def test_widgets_know_kinds_and_no_system():
    tree = ast.parse(Path(widgets.__file__).read_text(encoding="utf-8"))
    assert not re.search(r"finding|predicting|souron\.systems|souron\.tasks", ast.unparse(tree))


def test_a_kind_is_shown_in_the_readers_language():
    found = Boxes(ramp(), [[0, 0, 4, 4], [4, 4, 9, 9]], ["<b>", "猫"], [0.9, 0.6])
    with use_language("ja"):
        shown = widgets.shown(found) + widgets.switches(found)
    assert "shown" not in shown and re.search("[\u3040-\u30ff]", shown) and "<b>" not in shown


def test_a_labelled_volume_is_linked_and_its_files_are_offered(tmp_path):
    area = np.zeros((6, 7, 8), np.uint8)
    area[2:4, 2:5, 1:4], area[4:, 5:, 6:] = 1, 2
    volume = Volume(np.zeros((6, 7, 8), np.int16), upright((1, 1, 2)), "a.nii.gz")
    said = LabelledVolume(volume, area, ["", "liver", "<b>左腎"], meshed=True, paged=True)
    shown = widgets.shown(said)
    assert "<iframe" in shown and "liver" in shown and "<b>左" not in shown
    kept = kept_answers.Kept("x", [answers.Answer("a.nii.gz", said)], 1, [], folder=tmp_path)
    assert sorted(path.name for path in kept.saved()) == ["a-b-左腎.stl", "a-liver.stl", "a.html", "a.nii.gz"]


def test_a_surface_is_drawn_from_two_sides():
    shown = widgets.shown(pyramid())
    assert "<img" in shown and "4 triangles" in shown


def test_a_tiny_image_is_enlarged_by_a_whole_factor():
    import base64
    import io

    from PIL import Image

    coded = re.search("base64,([^']+)", widgets.shown(ramp(10, 6)))[1]
    assert Image.open(io.BytesIO(base64.b64decode(coded))).size == (250, 150)


@pytest.mark.parametrize("kind", sorted(name for name, kind in KINDS.items() if kind.formats))
@pytest.mark.parametrize("nothing", ["", "  "])
def test_nothing_given_is_said(kind, nothing):
    if KINDS[kind].blank and not nothing:  # an empty sheet, to begin anew
        assert not widgets.typed(KINDS[kind], nothing).tones
        return
    with pytest.raises(UserError) as trouble:
        widgets.typed(KINDS[kind], nothing)
    assert trouble.value.code == "nothing given" and trouble.value.expected


def test_what_was_typed_is_a_text_or_the_next_turn_of_a_chat():
    assert widgets.typed(Text, "a") == Text("a")
    chat = widgets.typed(Chat, "b", Chat([("user", "a"), ("assistant", "x")]))
    assert [turn.text for turn in chat.turns] == ["a", "x", "b"]


def test_what_a_reader_chose_is_read_whatever_it_is():
    assert widgets.seen(Posted()) == widgets.View()
    odd = Posted({"view-least": ["nan"], "view-frame": ["x"], "view-of": ["names"]})
    assert widgets.seen(odd) == widgets.View(0.0, (), 0)
    video = film()
    for frame in (-3, 99):
        assert "<img" in widgets.shown(video, widgets.View(frame=frame))


EVIL = "<img src='http://evil.example/a.png' onerror='document.title=`evil`'> <b>猫"


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("language, width", [("en", 1280), ("ja", 390)])
def test_in_a_browser_it_is_asked_and_switches_redraw_the_answer(looked_at, tmp_path, language, width):
    file = tmp_path / f"{EVIL.replace('/', '-')}.png"
    EXAMPLES["picture"]().save(file)
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/use?system=resnet")
        press = page.locator("#form button.first")
        press.click()
        expect(page.locator("#cards .shares tr")).to_have_count(5)
        page.locator("[name=view-top]").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#cards .shares tr")).to_have_count(4)
        expect(page.locator("#view output")).to_have_text("4")

        page.locator("[name=given-files]").set_input_files(file)
        expect(page.locator(".preview img")).to_be_visible()
        expect(page.locator(".sample")).to_be_hidden()
        press.click()
        expect(page.locator("#cards figcaption")).to_contain_text("<b>猫")
        expect(page.locator("#cards .shares tr")).to_have_count(4)  # as before
        assert [each["id"] for each in Axe().run(page).response["violations"]] == []

        page.locator("select[name=name]").select_option("latent_diffusion")
        page.locator("[name=image]").set_input_files(file)
        canvas = page.locator(".painted canvas")
        expect(canvas).to_be_visible()
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.up()
        waiting.until(lambda: page.evaluate("document.querySelector('[name=mask]').files.length === 1"))
        page.locator(".painted button").click()
        waiting.until(lambda: page.evaluate("document.querySelector('[name=mask]').files.length === 0"))
        assert page.url.endswith("/use?system=latent_diffusion")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.outside == [] and "evil" not in page.title()
