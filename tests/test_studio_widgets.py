"""A system dropped in as one file gets its widgets: built, filled in, answered, shown, redrawn."""

import ast
import asyncio
import importlib
import io
import re
import secrets
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import gradio as gr
import numpy as np
import pytest
import waiting
from browsing import CHROMIUM, visiting
from dropping import BODIES, EXAMPLES, dropped, film, source, tidy_gradio
from gradio.state_holder import SessionState
from PIL import Image
from playwright.sync_api import expect

from souron import model as models_api
from souron import registry
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.chat import Chat
from souron.kinds.codecs.grid import upright
from souron.kinds.finding import Finding
from souron.kinds.gallery import Gallery
from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.kinds.table import Table
from souron.kinds.text import Text
from souron.kinds.video import Video
from souron.kinds.volume import Volume
from souron.studio.forms import widgets
from souron.studio.forms.option_names import OPTION_NAMES
from souron.utils.messages import UserError, use_language

for name in BODIES:
    importlib.import_module(f"souron.kinds.{name}")
KINDS = {kind.widget: kind for kind in (*Kind.__subclasses__(), *Finding.__subclasses__()) if kind != Finding}


@pytest.fixture(autouse=True)
def tidy(tmp_path, monkeypatch):
    tidy_gradio(tmp_path, monkeypatch)


@pytest.fixture
def systems(tmp_path):
    with dropped(tmp_path, {f"{kind}er": source(kind) for kind in BODIES}):
        yield


def trying(model) -> SimpleNamespace:
    """A page to try a system: its form, a button, its view."""
    with gr.Blocks(analytics_enabled=False) as blocks:
        form = widgets.form(model.asked)
        button = gr.Button("ask", elem_id=f"ask-{model.name}")
        view = widgets.shown(model.asked.gives)

        def answer(kept, *values):
            given, options = form.read(values, kept, **model.reading)
            return view.update(model.answer(given, **options))

        button.click(answer, [view.kept, *form.inputs], view.outputs)
    return SimpleNamespace(blocks=blocks, form=form, view=view, button=button)


def sent(component, kind: str):
    """What a browser sends of the example of that kind."""
    example = EXAMPLES[kind]()
    if kind == "text":
        return example.text
    if kind == "chat":
        return "やあ"
    if kind == "question":
        return str(example)
    file = Path(component.GRADIO_CACHE) / secrets.token_hex(8) / f"例 <b>{example.suffix}"
    example.save(file)
    return as_payload(file)


def as_payload(file: Path):
    return {"path": str(file), "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}


def call(blocks, number: int, values, session):
    return asyncio.run(blocks.process_api(number, values, session))["data"]


def handler(page, component) -> int:
    """The number of what happens when a person uses that component."""
    [number] = [
        number
        for number, fn in page.blocks.fns.items()
        if any(target in fn.targets for target in [(component._id, e) for e in ("input", "click")])
    ]
    return number


def ask(page, value, options=(), session=None):
    """Press the button, as a browser does."""
    session = session or SessionState(page.blocks)
    chosen = list(options) or [option.default for option in page.form.asked.options.values()]
    return call(page.blocks, handler(page, page.button), [None, value, *chosen], session)


def value_of(update):
    return update["value"] if isinstance(update, dict) and "__type__" in update else update


@pytest.mark.parametrize("kind", BODIES)
def test_a_dropped_system_gets_a_form_that_answers_and_a_view(kind, systems):
    page = trying(models_api.load(f"{kind}er"))
    took = page.form.asked.given.widget
    _kept, first, *rest = ask(page, sent(page.form.given, took))
    shown = value_of(first)
    if kind in ("picture", "boxes", "mask", "segments", "points", "video", "sound", "mesh"):
        path = Path(shown["path"])
        assert path.is_relative_to(page.form.given.GRADIO_CACHE) and path.stat().st_size
        if kind in ("sound", "mesh", "video"):  # a name that cannot be guessed
            assert re.fullmatch(r"[0-9a-f]{32}", path.parent.name)
    if kind in ("picture", "boxes", "mask", "segments", "points", "video"):
        assert first["alt_text"]
    if kind in ("labels", "plot", "chat"):
        assert ">&lt;b&gt;" in shown and "><b><" not in shown
    if kind == "labels":
        assert "75.0 %" in shown and "25.0 %" in shown
    if kind == "gallery":
        assert [each["caption"] for each in shown] == ["<b>", "<b>"]
    if kind == "text":
        assert shown == "こんにちは, world" * 2
    if kind == "chat":
        assert shown.count("<li") == 2 and "&lt;b&gt;&lt;b&gt;" in shown and "やあ" in shown
    if kind == "table":
        assert shown["headers"] == ["名前", "x", "<b>"]
        assert shown["data"][0] == ["あ, b", "1", "0.25"]
    assert len([first, *rest]) == len(page.view.parts)


def test_a_form_has_a_component_for_each_option(systems):
    form = trying(models_api.load("texter")).form
    made = form.options
    least = made["least"]
    assert isinstance(least, gr.Slider)
    assert (least.minimum, least.maximum, least.step) == (0, 1, 0.01)
    assert isinstance(made["count"], gr.Slider) and made["count"].step == 1
    assert isinstance(made["reach"], gr.Number) and made["reach"].minimum == 0
    assert isinstance(made["way"], gr.Dropdown) and made["way"].value == "up"
    assert isinstance(made["loud"], gr.Checkbox) and made["loud"].value is False
    assert isinstance(made["word"], gr.Textbox) and made["word"].value == "<b>"
    labels = {name: made[name].label for name in made}
    assert labels == {name: OPTION_NAMES.get(name, name) for name in made}
    assert labels["least"] == "minimum confidence" and all(made[name].info for name in made)


@pytest.mark.parametrize("low, high, step", [(0, 1, 0.01), (0, 2, 0.01), (0.01, 10, 0.01), (0, 20, 0.1), (0, 1000, 10)])
def test_a_slider_goes_in_round_steps(low, high, step):
    with gr.Blocks():
        made = widgets.option(Choice("x", low, high).option("x", float(low)))
    assert made.step == pytest.approx(step)


def test_every_option_of_the_house_has_a_component_with_a_name_in_both_languages():
    used = set()
    with gr.Blocks():
        for name in registry.entries():
            system = registry.load_system(name)[0]
            methods = [getattr(system, verb, None) for verb in ("predict", "drawing")]
            for method in filter(None, methods):
                for option in signature.options_of(method).values():
                    made = widgets.option(option)
                    used.add(option.name)
                    assert made.label.startswith(OPTION_NAMES[option.name])
                    assert option.default is None or made.value == option.default
        used |= {name for kind in KINDS.values() for name in signature.options_of(kind.read)}
    assert used == set(OPTION_NAMES)
    with use_language("ja"), gr.Blocks():
        for name in OPTION_NAMES:
            label = widgets.option(Choice("x").option(name, 1)).label
            assert not re.search("[a-z]{3}", label), label


def test_every_kind_is_shown_and_every_kind_that_is_read_is_given():
    assert set(widgets.SHOWN) == set(KINDS) == set(BODIES)
    assert len({widgets.called(kind) for kind in KINDS.values()}) == len(KINDS)
    assert set(widgets.GIVEN) == {name for name, kind in KINDS.items() if kind.formats}
    with gr.Blocks() as blocks:
        for name, kind in KINDS.items():
            if kind.formats:
                widgets.given(kind)
            view = widgets.shown(kind)
            assert len(view.update(None)) == len(view.outputs) == 1 + len(view.parts), name
    plain = (gr.State, gr.HTML)
    for block in blocks.blocks.values():
        if isinstance(block, gr.components.Component) and not isinstance(block, plain):
            assert block.label, type(block).__name__


def test_widgets_know_kinds_and_no_system():
    tree = ast.parse(Path(widgets.__file__).read_text(encoding="utf-8"))
    text = ast.unparse(tree)
    assert not re.search(r"finding|predicting|souron\.systems|souron\.tasks", text)
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "gradio" not in "".join(map(ast.unparse, top))


def test_components_speak_the_language_they_are_built_in(systems):
    with use_language("ja"), gr.Blocks():
        view = widgets.shown(Boxes)
        assert view.parts[0].label == widgets.called(Boxes) != "boxes"
    found = models_api.load("boxeser")(EXAMPLES["picture"]())
    english = [value_of(update) for update in view.fill(found)]
    assert "find" not in english[3] and re.search("[\u3040-\u30ff]", english[3])


def test_what_is_shown_is_redrawn_without_asking_again(systems, monkeypatch):
    page = trying(models_api.load("boxeser"))
    session = SessionState(page.blocks)
    _kept, image, least, names, listed = ask(
        page, sent(page.form.given, "picture"), [0.0, 3, 1, "up", False, "<b>"], session
    )
    assert least["visible"] and names["visible"]
    assert names["choices"] == [["<b> (1)", "<b>"], ["猫 (2)", "猫"]]
    assert names["value"] == ["<b>", "猫"]
    assert "3 of 3" in listed and "&lt;b&gt;" in listed and "<b>" not in listed
    monkeypatch.setattr(models_api.Model, "answer", lambda *given: pytest.fail("asked again"))
    kept, slider, boxes = page.view.kept, page.view.parts[1], page.view.parts[2]
    assert isinstance(session[kept._id], Boxes)
    for part in (slider, boxes):
        redrawn, told = call(page.blocks, handler(page, part), [None, 0.5, ["<b>", "猫"]], session)
        assert "2 of 3" in told and value_of(redrawn)["path"] != value_of(image)["path"]
    _image, told = call(page.blocks, handler(page, boxes), [None, 0.0, ["猫"]], session)
    assert "2 of 3" in told and "&lt;b&gt;" not in told


def test_two_browsers_do_not_see_each_other(systems):
    page = trying(models_api.load("boxeser"))
    one, other = SessionState(page.blocks), SessionState(page.blocks)
    ask(page, sent(page.form.given, "picture"), session=one)
    kept = page.view.kept._id
    assert isinstance(one[kept], Boxes) and other[kept] is None
    image, told = call(page.blocks, handler(page, page.view.parts[1]), [None, 0.5, []], other)
    assert image == {"__type__": "update"} and "value" not in told


def test_a_chat_goes_on_in_its_own_browser(systems):
    page = trying(models_api.load("chater"))
    one, other = SessionState(page.blocks), SessionState(page.blocks)
    for turns in (2, 4):
        _kept, said = ask(page, "やあ", session=one)
        assert value_of(said).count("<li") == turns
    assert value_of(ask(page, "やあ", session=other)[1]).count("<li") == 2


def test_a_labelled_volume_is_linked_and_its_files_are_offered():
    area = np.zeros((6, 7, 8), np.uint8)
    area[2:4, 2:5, 1:4], area[4:, 5:, 6:] = 1, 2
    volume = Volume(np.zeros((6, 7, 8), np.int16), upright((1, 1, 2)), "a.nii.gz")
    with gr.Blocks():
        view = widgets.shown(LabelledVolume)
    said = LabelledVolume(volume, area, ["", "liver", "<b>左腎"], meshed=True, paged=True)
    _kept, shown, saved = view.update(said)
    assert "<iframe" in shown and "liver" in shown and "<b>左" not in shown
    ends = sorted(path.rpartition("/souron")[2] for path in saved)
    assert ends == ["-b-左腎.stl", "-liver.stl", ".html", ".nii.gz"]


def test_a_video_plays_or_stands_at_a_frame(systems):
    page = trying(models_api.load("videoer"))
    session = SessionState(page.blocks)
    _kept, image, plays, frame = ask(page, sent(page.form.given, "video"), session=session)
    assert value_of(image)["path"].endswith(".webp") and plays["visible"] and frame["maximum"] == 4
    shown = Video.read(Path(value_of(image)["path"]))
    assert len(shown.frames) == len(film().frames)
    still, playing = call(page.blocks, handler(page, page.view.parts[2]), [None, 3], session)
    assert not playing and value_of(still)["path"].endswith(".png") and "3" in still["alt_text"]
    number = handler(page, page.view.parts[1])
    [again] = call(page.blocks, number, [None, True, 3], session)
    assert value_of(again)["path"].endswith(".webp")
    [stopped] = call(page.blocks, number, [None, False, 2], session)
    assert value_of(stopped)["path"].endswith(".png")


@pytest.mark.parametrize("kind", sorted(widgets.GIVEN))
@pytest.mark.parametrize("nothing", [None, "", "  ", []])
def test_nothing_given_is_said(kind, nothing):
    if KINDS[kind].blank and nothing is None:  # an empty sheet, to begin anew
        assert not widgets.taken(KINDS[kind], nothing).tones
        return
    with pytest.raises(UserError) as trouble:
        widgets.taken(KINDS[kind], nothing)
    assert trouble.value.code == "nothing given" and trouble.value.expected


def test_what_was_taken_has_a_name_and_no_place(tmp_path):
    EXAMPLES["picture"]().save(tmp_path / "deep" / "猫.png")
    taken = widgets.taken(Picture, str(tmp_path / "deep" / "猫.png"), about=8)
    assert isinstance(taken, Picture) and taken.file == "猫.png"
    several = widgets.taken(Gallery, [(str(tmp_path / "deep" / "猫.png"), None)] * 2)
    assert isinstance(several, Gallery) and several.captions == ("猫.png", "猫.png")
    assert widgets.taken(Text, "a") == Text("a")
    chat = widgets.taken(Chat, "b", Chat([("user", "a"), ("assistant", "x")]))
    assert [turn.text for turn in chat.turns] == ["a", "x", "b"]


@pytest.mark.parametrize("kind", ["picture", "gallery", "video", "sound", "mesh", "table"])
def test_a_hostile_upload_ends_in_trouble_whatever_its_name(kind, tmp_path):
    """Through the component as a browser reaches it: nothing but souron opens the file."""
    with gr.Blocks():
        component = widgets.given(KINDS[kind])
    file = tmp_path / f"evil{KINDS[kind].suffix or '.png'}"
    file.write_bytes(bytes(range(256)) * 40)
    payload = (
        component.data_model(**as_payload(file))
        if kind != "gallery"
        else (component.data_model([{"image": as_payload(file)}]))
    )
    handed = component.preprocess(payload)
    with pytest.raises(UserError):
        widgets.taken(KINDS[kind], handed)


def test_a_table_shows_its_first_rows(monkeypatch):
    monkeypatch.setattr(widgets, "MOST_ROWS", 3)
    with gr.Blocks():
        view = widgets.shown(Table)
    [update] = view.fill(Table(["a"], [[i] for i in range(9)]))
    assert len(update["value"]["data"]) == 3 and "3 of 9" in update["label"]


def test_a_value_that_was_kept_too_long_changes_nothing(systems):
    page = trying(models_api.load("videoer"))
    number = handler(page, page.view.parts[1])
    assert call(page.blocks, number, [None, True, 1], SessionState(page.blocks)) == [{"__type__": "update"}]


@contextmanager
def served(blocks):
    """Behind the studio's guard, as the studio serves its own pages."""
    import uvicorn
    from fastapi import FastAPI

    from souron.studio import app
    from souron.studio.security import access

    app.directly(blocks)
    outer = gr.mount_gradio_app(
        FastAPI(),
        blocks,
        path="/en",
        root_path="/en",
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=app.theme(),
        footer_links=[],
    )
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    door = access.Guard(outer, port=port)
    server = uvicorn.Server(uvicorn.Config(door, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
    thread.start()
    first = (re.compile("/en/"), access.Route("/en/", sort="page"))  # here it is one of Gradio's
    try:
        with mock.patch.object(access, "ROUTES", [first, *access.ROUTES]):
            yield f"http://127.0.0.1:{port}/en/"
    finally:
        server.should_exit = True
        thread.join(waiting.LIMIT)


EVIL = (
    "<img src='http://evil.example/a.png' onerror='document.title=`evil`'> "
    "![x](http://evil.example/b.png) ${document.title='evil'} {{word}} <b>猫"
)
UPLOADED = """part => {
    const shown = document.querySelector(part);
    return shown.querySelector('img, canvas, audio, .file, [data-testid="file"], table')
        && !shown.querySelector('.progress, .uploading');
}"""


@pytest.fixture
def all_of_them(systems, tmp_path):
    """One page with a system for every kind, and its address."""
    from souron.studio.security import access

    access.prepare(tmp_path / "gradio")
    with gr.Blocks(analytics_enabled=False, title="widgets") as blocks:
        for kind in BODIES:
            with gr.Column(elem_id=kind):
                model = models_api.load(f"{kind}er")
                form = widgets.form(model.asked, label=f"give {kind}")
                button = gr.Button(f"ask {kind}")
                view = widgets.shown(model.asked.gives, label=f"answer {kind}")

                def answer(kept, *values, form=form, view=view, model=model):
                    given, options = form.read(values, kept, **model.reading)
                    return view.update(model.answer(given, **options))

                button.click(answer, [view.kept, *form.inputs], view.outputs)
    with served(blocks) as address:
        yield address


OF_GRADIO = re.compile("<time |<span>1x</span>|<canvas ")  # its sound player and its 3D view


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
@pytest.mark.filterwarnings("ignore")  # of the server, whose threads share these filters
def test_in_a_browser_every_kind_is_given_and_shown_and_nothing_leaves(all_of_them, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    with visiting(width=1400) as visit:
        page = visit.page
        page.goto(all_of_them)
        for kind, (took, _body) in BODIES.items():
            part = page.locator(f"#{kind}")
            if took in ("text", "chat", "question"):
                asked = f"{EVIL}\nA) {EVIL}\nB) x" if took == "question" else EVIL
                part.get_by_label(f"give {kind}").fill(asked)
            else:
                example = EXAMPLES[took]()
                file = tmp_path / f"例 {kind}{example.suffix}"
                example.save(file)
                part.locator("input[type=file]").first.set_input_files(file)
                page.wait_for_function(UPLOADED, arg=f"#{kind}")
            part.get_by_label("word").fill(EVIL)
            part.get_by_role("button", name=f"ask {kind}").click()

        for kind, words in (
            ("labels", "75.0 %"),
            ("labels", EVIL),
            ("boxes", "2 of 2 are shown"),
            ("mask", "10.0%"),
            ("segments", "10.0%"),
            ("points", "2 of 2 are shown"),
            ("chat", EVIL * 2),
            ("table", EVIL),
            ("mesh", "4 triangles"),
            ("volume", "8 x 6 x 5"),
            ("sound", "sound, 0.10 s"),
            ("plot", "The numbers"),
        ):
            expect(page.locator(f"#{kind}")).to_contain_text(words)
        expect(page.get_by_label("answer text")).to_have_value(EVIL * 2)
        for kind in ("picture", "boxes", "mask", "segments", "points", "video", "plot"):
            image = page.locator(f"#{kind} img").last
            expect(image).to_have_attribute("alt", re.compile("."))
            page.wait_for_function("image => image.naturalWidth > 100", arg=image.element_handle())
        expect(page.locator("#gallery img").last).to_have_attribute("alt", EVIL)

        boxes = page.locator("#boxes")
        boxes.get_by_label(re.compile("猫 .1.$")).last.uncheck()
        expect(boxes).to_contain_text("1 of 2 are shown")
        slider = boxes.locator("input[type=range]").last
        slider.focus()
        page.keyboard.press("End")
        expect(boxes).to_contain_text("0 of 2 are shown")
        video = page.locator("#video")
        video.locator("input[type=range]").last.focus()
        page.keyboard.press("End")
        expect(video.locator("img").last).to_have_attribute("alt", re.compile("frame 4"))
        expect(video.get_by_label("play")).not_to_be_checked()

        surface = page.locator("#mesh canvas").last
        surface.scroll_into_view_if_needed()
        assert several_colours(surface)

        found = Axe().run(page).response["violations"]
        serious = [
            (each["id"], node["html"])
            for each in found
            for node in each["nodes"]
            if each["impact"] in ("serious", "critical") and not OF_GRADIO.match(node["html"])
        ]
        assert serious == []
        assert visit.outside == [] and page.title() == "widgets"


def several_colours(element) -> bool:
    """Whether something comes to be drawn there."""

    def drawn() -> bool:
        with Image.open(io.BytesIO(element.screenshot())) as seen:
            return len(seen.convert("RGB").getcolors(100_000) or ()) > 5

    return waiting.until(drawn, every=0.1)
