"""The studio's forms to train and to compare, and the names that stand on its pages."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import waiting
from plain_forms import form, names, sent

from souron.data import display_names
from souron.hub import fetch
from souron.studio import naming
from souron.studio.forms import command_form, controls, own_data
from souron.studio.jobs import panel
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import compare, train
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio, trouble, words
from souron.utils.messages import LANGUAGES, UserError, use_language

PROJECT = Path("runs")


@pytest.fixture
def studio():
    return Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), "en")


FIELDS = command_form.options_of("train")


# forms


def test_an_empty_field_says_nothing():
    numbers = [field for field in FIELDS.values() if field.kind in (int, float)]
    assert len(numbers) > 5
    assert all('type="text"' in field.html() and 'value=""' in field.html() for field in numbers)
    assert command_form.values(numbers, form(**{field.name: "" for field in numbers})) == {}
    assert command_form.values(numbers, form()) == {}


def test_a_number_that_is_said_is_taken_also_0():
    given = {"seed": "0", "patience": " 3 ", "batch": "６４", "lr0": "1e-3"}
    said = command_form.values([FIELDS[name] for name in given], form(**given))
    assert said == {"seed": 0, "patience": 3, "batch": 64, "lr0": 0.001}
    assert words("train", ["cnn"], said)[1:3] == ["cnn", "seed=0"]


@pytest.mark.parametrize(("name", "text"), [("seed", "x"), ("seed", "1.5"), ("batch", "0"), ("lr0", "nan")])
def test_what_is_no_number_is_refused_by_its_name_in_words(name, text):
    with pytest.raises(UserError) as refused:
        command_form.values([FIELDS[name]], form(**{name: text}))
    assert FIELDS[name].says[0] in refused.value.found and f"={text}" in refused.value.found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_is_called_by_what_it_asks_for(language):
    with use_language(language):
        for command in ("train", "compare"):
            for field in command_form.options_of(command).values():
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
    assert train.startable("resnet", "50", {"start": "transfer"}) == "scratch"
    assert train.startable("resnet", "18", {"start": "transfer"}) == "transfer"
    offered = [value for _shown, value in compare.choices()]
    assert "resnet18:frozen" in offered and "resnet50:frozen" not in offered
    assert not {"pretrained", "freeze"} & set(command_form.options_of("compare")) - set(compare.HERE)
    asked = {"system": "resnet", "size": "50", "data": "digits", "budget": "5s", "start": "transfer", "config": ""}
    with pytest.raises(UserError, match="weights"):
        train.line(studio, form(**asked))
    assert "freeze=true" in train.line(studio, form(**{**asked, "size": "18"}))


# a page opened again


def test_more_options_are_those_of_the_task(studio):
    shown = {system: set(names(train.redrawn(studio, form(**ASKED, system=system)))) for system in ("cnn", "ddpm")}
    assert {"batch", "seed", "folds", "positive"} <= shown["cnn"]
    assert "samples" in shown["ddpm"] and not {"folds", "positive"} & shown["ddpm"]
    asked = form(**ASKED, system="ddpm", positive="ill")
    assert not [word for word in train.line(studio, asked) if "positive" in word], "it was written for another system"


ASKED = {"size": "small", "data": "digits", "budget": "7s", "start": "scratch", "config": ""}


def test_a_page_opened_again_holds_what_its_job_was_told(studio, monkeypatch):
    weights_here(monkeypatch, "resnet18")
    given = {
        "system": "resnet",
        "size": "18",
        "start": "transfer",
        "config": "width=8",
        "seed": "3",
        "allow_leak": "true",
    }
    line = train.line(studio, form(**{**ASKED, **given}))
    studio.jobs.start(line, "en")
    assert train.line(studio, sent(train.body(studio, {}))) == line
    other = sent(train.body(studio, {"system": "mlp"}))  # the address goes first
    assert other["system"] == "mlp" and controls.chosen(other, "budget") == train.DEFAULT["budget"]
    line = compare.line(studio, form(systems=["mlp", "cnn", "resnet:frozen"], data="digits", budget="2s", seeds="4"))
    studio.jobs.start(line, "en")
    again = compare.line(studio, sent(compare.body(studio, {})))
    assert sorted(again) == sorted(line) and again[0] == "compare"


def test_which_pictures_are_of_one_patient_is_told_to_the_next_page(studio):
    """Else the parts that the check found clean would share patients after all."""
    query = {"data": "photos", "group": "case[0-9]"}
    for page in (train, compare):
        held = sent(page.body(studio, query))
        assert held["group"] == "case[0-9]" and controls.chosen(held, "data") == "photos"


def test_another_task_offers_its_own_systems(studio):
    drawn = compare.redrawn(studio, form(task="detect", systems=["mlp"], data="digits", budget="2s", seeds="2"))
    held = sent(drawn)
    assert held["seeds"] == "2" and len(held.all("systems")) == 2 and "mlp" not in drawn
    with pytest.raises(UserError):
        compare.redrawn(studio, form(task="nonsense"))
    with pytest.raises(UserError, match="no system"):
        compare.line(studio, form(data="digits", budget="2s"))


def test_a_page_asks_only_while_its_job_is_at_work(studio):
    assert "hx-get" not in train.PANEL.html(studio, "")
    job = studio.jobs.start(["train", "cnn"], "en")
    shown = train.PARTS["job"](studio, form(job=job.id))
    assert f'hx-get="/part/en/train/job?job={job.id}"' in shown and 'hx-trigger="every' in shown
    shown = train.PARTS["stop"](studio, form(job=job.id))
    assert "hx-get" not in shown and "Resume" in shown
    assert "train cnn" in shown and "souron train" not in shown
    assert f"?job={job.id}" in train.body(studio, {}), "the page opened again finds it"
    assert train.PANEL.latest(studio, {"system": "mlp"}) == "", "the address asks for something else"


def test_a_job_of_another_page_or_nobody_is_not_shown(studio):
    studio.jobs.start(["fetch", "mnist"], "en")
    assert train.PANEL.latest(studio, {}) == ""
    assert train.PARTS["job"](studio, form(job="000001-ffffffff")) == '<div id="job"></div>'


# the estimate


def test_an_estimate_is_found_out_and_never_in_the_way(studio, monkeypatch):
    def launched(job):
        assert job.words == ["train", "cnn", "--forecast"]
        (job.place / "result.json").write_text('{"forecast": {"seconds": 20, "bytes": 5e8}}')
        job.note.update(pid=-1, over="done")

    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.launch", launched)
    assert "about 20 s" in panel.estimate(studio, lambda: ["train", "cnn"])
    assert studio.jobs.all() == [], "it leaves no trace"

    def incomplete():
        raise UserError("data", "none")

    assert panel.estimate(studio, incomplete) == "", "the button reports errors"
    studio.jobs.start(["train", "vit"], "en")  # which an estimate would slow down
    assert panel.estimate(studio, lambda: ["train", "cnn"]) == "" and len(studio.jobs.all()) == 1


def test_a_changed_form_ends_the_estimate_before(studio, monkeypatch):
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.launch", lambda job: job.note.update(begun=1.0))
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.state", "running")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(panel.estimate, studio, lambda: ["train", "cnn"])
        waiting.until(lambda: studio.jobs.all())
        second = pool.submit(panel.estimate, studio, lambda: ["train", "mlp"])
        assert first.result(waiting.LIMIT) == ""
        [job] = studio.jobs.all()
        assert job.words[1] == "mlp"
        job.drop()
        assert second.result(waiting.LIMIT) == ""


def test_an_estimate_ends_with_the_studio(studio, monkeypatch):
    """Else Ctrl-C would wait for it."""
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.launch", lambda job: job.note.update(begun=1.0))
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.state", "running")
    with ThreadPoolExecutor() as pool:
        estimate = pool.submit(panel.estimate, studio, lambda: ["train", "cnn"])
        waiting.until(lambda: studio.jobs.all())
        studio.jobs.closing = True
        waiting.until(estimate.done)
    assert studio.jobs.all() == []


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
