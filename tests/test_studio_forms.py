"""The studio's forms to train and to compare, and the names that stand on its pages."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from souron.cli import train as commands
from souron.data import display_names
from souron.hub import fetch
from souron.studio import naming
from souron.studio.forms import command_form, own_data
from souron.studio.jobs.job_queue import Jobs
from souron.studio.jobs.job_view import Estimate, Watch
from souron.studio.pages import compare, train
from souron.studio.security import upload_names
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio, trouble, words
from souron.utils.messages import LANGUAGES, UserError, use_language

PROJECT = Path("runs")


@pytest.fixture
def studio():
    return Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), "en")


def built(make):
    """What ``make`` makes of the blocks of a page; Gradio wants an event loop for that."""

    async def build():
        with gr.Blocks() as blocks:
            return make(blocks)

    return asyncio.run(build())


FIELDS = command_form.fields(commands.train)


# forms


def test_an_empty_field_says_nothing():
    """Gradio's own field for numbers is sent as 0 when it is empty."""
    numbers = [field for field in FIELDS.values() if field.kind in (int, float)]
    assert len(numbers) > 5
    widgets = built(lambda _blocks: [field.widget() for field in numbers])
    assert {type(widget) for widget in widgets} == {gr.Textbox}
    assert command_form.chosen(numbers, [widget.value for widget in widgets]) == {}
    assert command_form.chosen(numbers, [None] * len(numbers)) == {}


def test_a_number_that_is_said_is_taken_also_0():
    given = {"seed": "0", "patience": " 3 ", "batch": "６４", "lr0": "1e-3"}
    said = command_form.chosen([FIELDS[name] for name in given], list(given.values()))
    assert said == {"seed": 0, "patience": 3, "batch": 64, "lr0": 0.001}
    assert words("train", ["cnn"], said)[1:3] == ["cnn", "seed=0"]


@pytest.mark.parametrize(("name", "text"), [("seed", "x"), ("seed", "1.5"), ("batch", "0"), ("lr0", "nan")])
def test_what_is_no_number_is_refused_by_its_name_in_words(name, text):
    with pytest.raises(UserError) as refused:
        command_form.chosen([FIELDS[name]], [text])
    assert FIELDS[name].says[0] in refused.value.found and f"={text}" in refused.value.found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_is_called_by_what_it_asks_for(language):
    with use_language(language):
        for command in (commands.train, commands.compare):
            for field in command_form.fields(command).values():
                label, info = field.says
                assert label not in ("", field.name) and label[-1] not in ":：(（"
                assert not info.startswith(("(", "（"))


# where a training starts


def weights_here(monkeypatch, *names):
    monkeypatch.setattr(fetch, "where", lambda name: Path(name) if name in names else None)


def test_transfer_is_offered_where_there_are_weights(studio, monkeypatch):
    weights_here(monkeypatch, "resnet18")
    assert [value for _shown, value in train.starts("resnet", "18")] == list(train.STARTS)
    assert [value for _shown, value in train.starts("resnet", "50")] == ["scratch"]
    assert [value for _shown, value in train.starts("cnn", "small")] == ["scratch"]
    assert "fetched" in train.whence("resnet", "50") and train.whence("resnet", "18") == ""
    assert train.startable("resnet", "50", "transfer")["value"] == "scratch"
    assert train.startable("resnet", "18", "transfer")["value"] == "transfer"
    offered = [value for _shown, value in compare.choices()]
    assert "resnet18:frozen" in offered and "resnet50:frozen" not in offered
    assert not {"pretrained", "freeze"} & set(command_form.fields(commands.compare)) - set(compare.HERE)
    asked = ("resnet", "50", "digits", "5s", "transfer", "")
    with pytest.raises(UserError, match="weights"):
        train.line(studio, asked, {})
    assert "freeze=true" in train.line(studio, ("resnet", "18", *asked[2:]), {})


# a page opened again


def test_more_options_are_those_of_the_task():
    more = further(commands.train, train.HERE)
    shown = {
        system: {name for name, each in zip(more, train.relevant(system, more), strict=True) if each["visible"]}
        for system in ("cnn", "ddpm")
    }
    assert {"batch", "seed", "folds", "positive"} <= shown["cnn"]
    assert "samples" in shown["ddpm"] and not {"folds", "positive"} & shown["ddpm"]
    hidden = train.relevant("ddpm", more)[list(more).index("positive")]
    assert hidden["value"] == "", "what was written for another system is not sent"


def further(command, here):
    return {name: f for name, f in command_form.fields(command).items() if name not in here}


def test_a_page_opened_again_holds_what_its_job_was_told(studio, monkeypatch):
    weights_here(monkeypatch, "resnet18")
    more = further(commands.train, train.HERE)
    given = {"seed": "3", "allow_leak": True}
    values = ["resnet", "18", "digits", "7s", "transfer", "width=8", *(given.get(name, "") for name in more)]
    line = train.line(studio, tuple(values), more)
    job = studio.jobs.start(line, "en")
    held = [part["value"] if isinstance(part, dict) else part for part in train.filled(studio, {}, job.id, more)]
    assert train.line(studio, tuple(held), more) == line
    asked_for = train.filled(studio, {"system": "mlp"}, job.id, more)  # the address goes first
    assert asked_for[0] == "mlp" and asked_for[3] == gr.skip()
    more = further(commands.compare, compare.HERE)
    count = command_form.fields(commands.compare)["seeds"]
    values = (["mlp", "cnn"], "digits", "2s", "4", *[""] * len(more))
    names, options = compare.wish(values, count, more)
    job = studio.jobs.start(words("compare", names, options), "en")
    held = [part["value"] if isinstance(part, dict) else part for part in compare.filled(studio, {}, job.id, more)]
    assert compare.wish(tuple(held), count, more) == (names, options)


def test_which_pictures_are_of_one_patient_is_told_to_the_next_page(studio):
    """Else the parts that the check found clean would share patients after all."""
    query = {"data": "photos", "group": "case[0-9]"}
    for command, page in ((commands.train, train), (commands.compare, compare)):
        more = further(command, page.HERE)
        held = page.filled(studio, query, "", more)
        assert held[-len(more) :][list(more).index("group")] == "case[0-9]"
        assert any(isinstance(part, dict) and part.get("value") == "photos" for part in held)


def test_a_page_asks_only_while_its_job_is_at_work(studio):
    watch = built(lambda blocks: Watch(replace(studio, blocks=blocks), lambda *_given: "", ("train",)))
    assert watch.parts[-1].active is False
    job = studio.jobs.start(["train", "cnn"], "en")
    assert watch.update(job.id, None)[-1].active is True
    job.stop()
    shown = watch.update(job.id, None)
    assert shown[-1].active is False
    assert "train cnn" in shown[0] and "souron train" not in shown[0]


# the estimate


def test_an_estimate_is_found_out_and_never_in_the_way(studio, monkeypatch):
    estimate = built(lambda blocks: Estimate(replace(studio, blocks=blocks), "Start"))
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.launch", lambda job: job.note.update(pid=-1))
    asked, _told, clock = estimate.look(None, ["train", "cnn"])
    assert studio.jobs.all() == []  # somebody may still be typing
    asked, told, clock = estimate.look(asked, ["train", "cnn"])
    [job] = studio.jobs.all()
    assert job.words == ["train", "cnn", "--forecast"] and "estimating" in told
    (job.place / "result.json").write_text('{"forecast": {"seconds": 20, "bytes": 5e8}}')
    asked, told, clock = estimate.look(asked, ["train", "cnn"])
    assert "about 20 s" in told and asked is None and clock.active is False
    assert studio.jobs.all() == [] and not job.place.exists()
    asked, _told, _clock = estimate.look(None, ["train", "cnn"])
    asked, _told, _clock = estimate.look(asked, ["train", "cnn"])
    asked, told, _clock = estimate.look(asked, ["train", "mlp"])  # the form has changed
    assert told == "" and studio.jobs.all() == []
    studio.jobs.start(["train", "vit"], "en")  # which an estimate would slow down
    assert estimate.look(asked, ["train", "mlp"])[0] is None
    assert len(studio.jobs.all()) == 1


# names


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("digits", "digits"),
        ("runs/.studio/uploads/shapes", "shapes"),
        ("runs/.studio/uploads/shapes/checked.csv", "shapes, cleaned"),
        ("写真/checked-2.csv", "写真, cleaned (2)"),
        ("photos/labels.csv", "photos, labels"),
        ("photos/photos.csv", "photos"),
        ("labels.csv", "labels"),
        ("/data/photos/", "photos"),
        ("", ""),
    ],
)
def test_data_is_called_by_a_name(data, name):
    with use_language("en"):
        assert display_names.called(data) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("train cnn data=u/shapes/checked.csv budget=5s", "train cnn on shapes, cleaned"),
        ("compare mlp cnn data=digits", "compare mlp, cnn on digits"),
        ("train resume=runs/classify/cnn-digits", "resume cnn-digits"),
        ("generate runs/generate/gan-digits n=4", "generate with gan-digits"),
        ("data check u/shapes fix=u/shapes/checked.csv", "clean shapes"),
        ("data check u/shapes", "check shapes"),
        ("data u/shapes imgsz=8", "look at shapes"),
        ("data anonymise u/scans u/scans-anonymous", "anonymise scans"),
        ("fetch mnist", "fetch mnist"),
    ],
)
def test_a_job_is_called_by_what_it_does(line, name):
    with use_language("en"):
        assert naming.job(line.split()) == name
        assert naming.job(["train", "resume=x"], line.split()) == name


def test_own_data_comes_first_and_by_name(studio, photos):
    place = own_data.place(studio) / "shapes"
    place.mkdir(parents=True)
    (place / "checked.csv").write_text("filename,label\n")
    studio.jobs.start(["train", "cnn", "data=photos"], "en")
    studio.jobs.start(["train", "cnn", "data=/etc"], "en")
    offered = own_data.choices(studio)
    upload = "runs/.studio/uploads/shapes"
    assert offered[:3] == [("shapes, cleaned", f"{upload}/checked.csv"), ("shapes", upload), ("photos", "photos")]
    assert "digits" in [value for _shown, value in offered[3:]]
    assert not any("souron" in shown or "/" in shown for shown, _value in offered[:3])


@pytest.mark.parametrize("fix", ["souron fetch mnist", "budget=60s", "ls runs/*", "once online: souron fetch mnist"])
def test_what_is_typed_in_a_terminal_is_folded(fix):
    shown, folded = str(trouble("code", "found", "expected", fix)).split("<details>")
    assert "souron" not in shown and fix not in shown and fix in folded
    assert ("/machine" in shown) == ("fetch" in fix)
    assert "wait for it" in str(trouble("x", "y", fix="wait for it")).split("<details>")[0]


def test_answers_are_sent_at_once():
    """Else each takes 40 ms longer."""
    import uvicorn

    from souron.studio import app

    async def sent_at_once():
        found = asyncio.get_running_loop().create_future()

        def connected(_reader, writer):
            own = writer.get_extra_info("socket")
            found.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        bound = app.listen(uvicorn.Config(app.nobody, host="127.0.0.1", port=0))
        server = await asyncio.start_server(connected, sock=bound)
        _reader, writer = await asyncio.open_connection(*bound.getsockname())
        try:
            return await found
        finally:
            writer.close()
            server.close()

    assert asyncio.run(sent_at_once())


def test_a_run_on_a_cleaned_table_is_called_after_its_folder():
    assert display_names.folder("u/shapes/checked-2.csv") == "shapes-cleaned-2"
    assert [display_names.folder(name) for name in ("digits", "photos/", "a/labels.csv")] == [
        "digits",
        "photos",
        "labels.csv",
    ]


# files that a page sent


@pytest.mark.parametrize("name", ['a "quoted" <b>.png', "写真 #1?.png", "%22.png"])
def test_a_file_keeps_the_name_that_it_had(tmp_path, name):
    (tmp_path / "a%22.png").write_bytes(b"picture")
    given = SimpleNamespace(path=str(tmp_path / "a%22.png"), orig_name=name)
    for _time in range(2):
        found = Path(upload_names.place(given))
        assert found.name == name and found.read_bytes() == b"picture"
    assert upload_names.places([given]) == [str(found)] and upload_names.places(None) == []


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/passwd", "a\\b.png", ".hidden", "..", "", "a\0b", "x\n.png", "x" * 300]
)
def test_a_name_leads_nowhere(tmp_path, name):
    path = tmp_path / "sent" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"picture")
    assert upload_names.place(SimpleNamespace(path=str(path), orig_name=name)) == str(path)
    assert [each.name for each in tmp_path.rglob("*")] == ["sent", "a.png"]


def test_what_was_sent_is_not_opened_also_after_an_update():
    """Gradio makes a component anew, of its class, when it is updated."""
    made = built(lambda _blocks: upload_names.received(gr.Image(type="filepath")))
    again = made.__class__(**made.constructor_args, render=False)
    assert again.preprocess(SimpleNamespace(path="x.png", orig_name="x.png")) == "x.png"
    assert isinstance(again, gr.Image) and again.get_block_name() == "image"
    assert gr.Image(render=False).preprocess(None) is None and type(again) is not gr.Image


def test_the_fields_of_a_form_share_one_event(studio):
    """With an event each, the answer to an earlier change could come last and stay."""

    def form(blocks):
        fields, same = [gr.Textbox(), gr.Textbox()], gr.HTML()
        studio.on_change(fields, lambda *values: "", fields, same)
        return fields, list(blocks.fns.values())

    fields, [event] = built(form)
    assert [of for of, _name in event.targets] == [field._id for field in fields]
    assert event.trigger_mode == "always_last"
