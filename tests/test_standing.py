"""Every face shows the standing of an answer: familiar, unlike the training data, or without a check."""

import html
import re
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from souron import registry
from souron.actions.cephalometry.record import Analysis
from souron.actions.predict import Options, files
from souron.actions.predict import tiles as predict_tiles
from souron.actions.watch.record import WatchRecord
from souron.cli import actions, console
from souron.kinds import finding
from souron.kinds.before_after import BeforeAfter
from souron.kinds.boxes import Boxes
from souron.kinds.finding import Familiarity
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.kinds.question import Question
from souron.kinds.text import Text
from souron.kinds.volume import Volume
from souron.model import load
from souron.pipelines import answer_lines, default_system
from souron.report import labelled
from souron.runs.tiles import TilesRecord
from souron.serve import predictors
from souron.studio import answers as studio_answers
from souron.studio import model_cache, volume_pages
from souron.studio.any_file import answering, films, live_camera
from souron.studio.forms import predict_form
from souron.studio.security import paths, uploads
from souron.studio.security.posted import Posted
from souron.utils.messages import UserError

CHECKS = {"familiar": Familiarity(0.5, 1.0), "unlike": Familiarity(2.0, 1.0), "unchecked": None}
JSON = {
    "familiar": {"score": 0.5, "threshold": 1.0, "unlike": False},
    "unlike": {"score": 2.0, "threshold": 1.0, "unlike": True},
    "unchecked": None,
}
FRAMES = {"familiar": 0, "unlike": 9, "unchecked": None}  # of 9, unlike the training data
WARNING, NO_CHECK = "unlike its training data", "there is no check of whether this is like the training data"
PIXEL = Picture(Image.new("L", (2, 2)))


@pytest.fixture(autouse=True)
def for_people(monkeypatch):
    """Print for people, whatever an earlier command was asked for."""
    for name in ("json", "quiet"):
        monkeypatch.setattr(console.screen, name, False)


def labels(standing):
    return Labels("a.png", ["bag", "coat"], [0.75, 0.25]).judged(CHECKS[standing])


def boxes(standing):
    return Boxes(PIXEL, np.array([[0, 0, 1, 1]]), ["bag"], [0.5], ("bag",)).judged(CHECKS[standing])


def volume(standing):
    seen = Volume(np.zeros((2, 2, 2), np.int16), np.eye(4))
    return LabelledVolume(seen, np.ones((2, 2, 2), int), ["", "bag"]).judged(CHECKS[standing])


class Asked:
    """A model whose answer is given."""

    name, learnt_from, folder, reading, system, check = "resnet", "fashion", None, {}, None, None
    asked = SimpleNamespace(given=Picture, gives=Labels, options={})
    answered_by = "eager"

    def __init__(self, said):
        self.said = said

    def answer(self, given, **_options):
        return self.said


@contextmanager
def lent(monkeypatch, said):
    @contextmanager
    def answering_(_self, _name, _engine=""):
        yield Asked(said)

    with monkeypatch.context() as patch:
        patch.setattr(model_cache.Loaded, "answering", answering_)
        patch.setattr(default_system, "choose", lambda *_: default_system.Choice("resnet"))
        patch.setattr(live_camera, "systems", lambda _studio: ["resnet"])
        patch.setattr(uploads, "encoded_image", lambda _text: PIXEL.image)
        yield


# the faces: what each shows for an answer of that standing


def tell(answers, **options):
    told = files.Answers(Asked(None), lambda: None, Options(**options)).told(answers, ["a.png"])
    for record in console.follow(told, True):
        actions.tell(record)


def command(said, capsys, **options):
    tell([(Path("a.png"), said)], **options)
    told = capsys.readouterr()
    return told.err + told.out


def text(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", str(markup))).split())


def film(standing):
    return films.Tracks([], [], [], 1.0, 9, FRAMES[standing])


def watched(standing):
    return WatchRecord(Path("out"), "film.mp4", "px", frames=9, unlike=FRAMES[standing])


def camera(standing, monkeypatch):
    with lent(monkeypatch, labels(standing)):
        return live_camera.answered(None, {"system": "resnet"})["html"]


def any_file(standing, monkeypatch, tmp_path):
    PIXEL.image.save(tmp_path / "a.png")
    studio = SimpleNamespace(project=tmp_path, language="en", url=lambda *_, **__: "")
    with lent(monkeypatch, labels(standing)):
        return answering.answer(studio, tmp_path / "a.png")


def view(standing, monkeypatch, tmp_path):
    """The answers on the page Use."""
    PIXEL.image.save(tmp_path / "a.png")
    source = SimpleNamespace(name="resnet", system=object, labels=[])
    form = predict_form.Predicting(SimpleNamespace(language="en"), source, Asked.asked)
    monkeypatch.setattr(paths, "PLACE", ContextVar("PLACE", default=tmp_path))
    with lent(monkeypatch, boxes(standing)):
        return form.predict(Posted({}, {"given-files": [tmp_path / "a.png"]}))


def volume_card(standing, monkeypatch):
    monkeypatch.setattr(volume_pages, "frame", lambda _said: "")
    return text(studio_answers.cards([studio_answers.Answer("a", volume(standing))], 5, False))


def cephalometry(standing):
    one = SimpleNamespace(file="a.png", answer=boxes(standing), values={})
    record = Analysis("a", "cephalo", [one], {}, {}, {}, "", [], Path("out"))
    return "\n".join(record.notes())


FACES = {
    "command": lambda s, m, c, t: command(labels(s), c),
    "command, boxes": lambda s, m, c, t: command(boxes(s), c),
    "csv": lambda s, m, c, t: command(labels(s), c, csv=True),
    "video": lambda s, m, c, t: "\n".join([*watched(s).sentences(), *watched(s).notes()]),
    "notebook": lambda s, m, c, t: text(labels(s)._repr_mimebundle_()["text/html"]),
    "card": lambda s, m, c, t: text(studio_answers.cards([studio_answers.Answer("a", labels(s))], 5, False)),
    "card of boxes": lambda s, m, c, t: text(studio_answers.cards([studio_answers.Answer("a", boxes(s))], 5, False)),
    "card of a volume": lambda s, m, c, t: volume_card(s, m),
    "view": lambda s, m, c, t: text(view(s, m, t)),
    "camera": lambda s, m, c, t: text(camera(s, m)),
    "any file": lambda s, m, c, t: text(any_file(s, m, t)["html"]),
    "film": lambda s, m, c, t: text(films.html(film(s))),
    "film in Use": lambda s, m, c, t: text(predict_form.film(SimpleNamespace(address=lambda _file: ""), watched(s))),
    "page of a volume": lambda s, m, c, t: text(labelled.text(volume(s))),
    "cephalometry": lambda s, m, c, t: cephalometry(s),
}
NO_GUESS = ("csv", "video", "notebook", "film", "film in Use", "cephalometry")  # the warning alone
OBJECTS = {
    "json": lambda s: answer_lines.as_json("a.png", labels(s)),
    "json of boxes": lambda s: answer_lines.as_json("a.png", boxes(s)),
    "kind": lambda s: labels(s).as_json(),
    "server of a classifier": lambda s: predictors.ClassifierPredictor.encode(
        SimpleNamespace(labels=("bag",), options={"top": SimpleNamespace(default=5)}), (torch.ones(1), CHECKS[s]), {}
    ),
    "server of a system": lambda s: predictors.SystemPredictor(None, {}).encode(boxes(s), {}),
}


@pytest.mark.parametrize("standing", CHECKS)
@pytest.mark.parametrize("face", FACES)
def test_a_face_shows_the_warning_or_the_missing_check_first(face, standing, monkeypatch, capsys, tmp_path):
    shown = FACES[face](standing, monkeypatch, capsys, tmp_path)
    assert (WARNING in shown) == (standing == "unlike")
    assert (NO_CHECK in shown) == (standing == "unchecked")
    assert ("guess: " in shown) == (standing == "unlike" and face not in NO_GUESS)
    first, answer = shown.find({"unlike": WARNING, "unchecked": NO_CHECK}.get(standing, "")), shown.rfind("bag")
    assert standing == "familiar" or answer == -1 or first < answer


@pytest.mark.parametrize("standing", CHECKS)
@pytest.mark.parametrize("face", OBJECTS)
def test_an_object_holds_the_check_or_null(face, standing):
    assert OBJECTS[face](standing)["familiar"] == JSON[standing]


def test_a_warning_says_what_was_learnt_and_what_could_help(capsys, tmp_path, monkeypatch):
    shown = command(labels("unlike"), capsys)
    assert "has learnt from fashion" in shown and "souron list" in shown and "souron train" in shown
    shown = studio_answers.said(studio_answers.Answer("a", labels("unlike"), learnt="photos/checked.csv"), 5)
    assert "has learnt from photos, cleaned" in text(shown) and '"/en/my_data"' in shown and '"/en/use"' in shown
    assert "fashion" in text(any_file("unlike", monkeypatch, tmp_path)["html"]) and "fashion" in text(
        camera("unlike", monkeypatch)
    )
    assert "fashion" in text(view("unlike", monkeypatch, tmp_path))
    assert '<details class="guess" open>' in camera("unlike", monkeypatch)  # the next answer would fold it


def test_an_unlike_case_keeps_its_image_before_a_folded_guess():
    shown = studio_answers.card(studio_answers.beside(PIXEL, labels("unlike")), 5, False)
    place = [shown.index(part) for part in ("<img", "<strong>unlike", "<details", "guess: bag: 75", "<table")]
    assert place == sorted(place)
    assert "<details" not in studio_answers.card(studio_answers.beside(PIXEL, labels("familiar")), 5, False)


@pytest.mark.parametrize(("standing", "cell"), [("familiar", "no"), ("unlike", "yes"), ("unchecked", "no check")])
def test_the_table_of_any_file_says_it(standing, cell, monkeypatch, tmp_path):
    [row] = any_file(standing, monkeypatch, tmp_path)["rows"]
    assert row[-1] == cell and ("guess: " in row[1]) == (standing == "unlike")
    assert ("unlike" in films.short(film(standing))) == (standing == "unlike")


def test_many_answers_without_a_check_say_so_once(capsys):
    given = [(Path("a.png"), labels("unchecked")), (Path("b.png"), labels("unchecked"))]
    tell(given)
    assert capsys.readouterr().err.count(NO_CHECK) == 1
    shown = studio_answers.cards([studio_answers.Answer("a", said) for _file, said in given], 5, False)
    assert shown.count(NO_CHECK) == 1
    tell([(Path("a.png"), labels("familiar"))])
    assert capsys.readouterr().err == ""


def test_tiles_have_no_check(capsys, tmp_path):
    assert TilesRecord(tmp_path, (9, 9)).as_json()["familiar"] is None
    PIXEL.image.resize((40, 40)).save(tmp_path / "a.png")
    given = Asked(boxes("familiar")), [str(tmp_path / "a.png")], tmp_path / "out", predict_tiles.Settings(40), {}
    for record in console.follow(predict_tiles.run(*given), True):
        actions.tell(record)
    assert NO_CHECK in capsys.readouterr().err


@pytest.mark.parametrize("standing", CHECKS)
def test_measures_of_an_unlike_film_are_a_guess(standing):
    one = SimpleNamespace(file="a.png", answer=boxes(standing), values={})
    [told] = Analysis("a", "cephalo", [one], {}, {}, {}, "", [], Path("out")).sentences()
    assert ("guess: " in told) == (standing == "unlike")


@pytest.mark.parametrize(("unlike", "first"), [(4, False), (5, True)])
def test_a_film_is_unlike_where_most_of_its_frames_are(unlike, first):
    record = WatchRecord(Path("out"), "film.mp4", "px", frames=9, unlike=unlike)
    assert ("unlike" in record.sentences()[0]) == first and any("unlike" in note for note in record.notes()) != first
    assert record.as_json()["unlike"] == unlike


# what has a standing


def test_answers_about_images_and_volumes_have_a_standing_and_others_have_none():
    for task in registry.tasks():
        gives = registry.load_task(task).gives
        if gives is not Labels:  # labels answer texts, too
            assert gives.of_image == (registry.takes(task) in ("Picture", "Volume")), task


def test_a_text_has_no_standing():
    said = Labels("a.txt", ["good", "bad"], [0.75, 0.25], of_image=False)
    assert finding.standing(said) == finding.notice(said) == "" and "familiar" not in said.as_json()
    assert "familiar" not in answer_lines.as_json("a.txt", said)
    assert finding.standing(BeforeAfter(PIXEL, PIXEL)) == "unchecked" and finding.standing(UserError("a", "b")) == ""


@pytest.mark.parametrize(
    ("system", "given"),
    [
        ("bert", Text("a fine day")),
        ("bert_mask", Text("the [MASK] is fine")),
        ("longest", Question("which?", ("one", "another"))),
    ],
)
def test_labels_of_texts_have_no_standing(system, given):
    assert finding.standing(load(system).answer(given)) == ""
