"""Labels of souron's own data sets stand in both languages on Japanese pages, and in English in files."""

import numpy as np
import pytest
import yaml
from PIL import Image

from souron import model as models_api
from souron.actions.predict.answer import Answer
from souron.cli import actions
from souron.data import load
from souron.hub import zoo
from souron.kinds.boxes import Boxes
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.labels import Labels
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.kinds.points import Points
from souron.kinds.poses import Poses
from souron.kinds.segments import Segments
from souron.kinds.spans import Span, Spans
from souron.kinds.volume import Volume
from souron.runs import folder as run_folder
from souron.studio import answers
from souron.utils.messages import use_language

BLANK = Picture(Image.new("L", (2, 2)))
BOTH = "bag（かばん）"
ANSWERS = {
    "labels": Labels("a.png", ["bag", "coat"], [0.75, 0.25]),
    "boxes": Boxes(BLANK, [[0, 0, 1, 1]], ["bag"], [0.5]),
    "mask": Mask(BLANK, np.ones((2, 2), int), ["", "bag"]),
    "points": Points(BLANK, [[0, 0]], ["bag"]),
    "poses": Poses(BLANK, [[0, 0, 1, 1]], ["bag"], [[[0, 0]]], ["nose"]),
    "segments": Segments(BLANK, np.ones((2, 2), int), ["bag"], [True]),
    "spans": Spans("a bag", [Span("bag", "bag", 2, 5)]),
    "volume": LabelledVolume(Volume(np.zeros((2, 2, 2), np.int16), np.eye(4)), np.ones((2, 2, 2), int), ["", "bag"]),
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_names_its_labels_in_both_languages_and_keeps_them_in_english(said):
    said.named({"bag": "かばん"})
    with use_language("ja"):
        assert BOTH in said._repr_html_()
        assert BOTH not in str(said.as_json())
        said.named({})
        assert BOTH not in said._repr_html_() + str(said)  # a class of somebody's own
    said.named({"bag": "かばん"})
    assert BOTH not in said._repr_html_() + str(said)


def test_the_terminal_and_the_page_do_so_too(capsys):
    said = Labels("a.png", ["bag", "coat"], [0.75, 0.25]).named({"bag": "かばん"})
    with use_language("ja"):
        actions.print_record(Answer("a.png", said))
        assert BOTH in capsys.readouterr().out
        assert BOTH in answers.short(said) and BOTH in answers.bars(said, 5)


def test_labels_are_souron_s_own_only_where_the_training_data_is(monkeypatch, tmp_path):
    for data, japanese in (("fashion", "かばん"), ("./fashion", None), (str(tmp_path), None)):
        monkeypatch.setattr(run_folder, "read_args", lambda _folder, data=data: {"data": data})
        assert models_api.Model("own", None, tmp_path).japanese.get("bag") == japanese
    assert not models_api.Model("own").japanese


def test_a_model_attaches_them_to_its_answer():
    model = models_api.load("mlp")
    assert model.answer(Picture(Image.new("L", (28, 28)))).japanese["ankle boot"] == "ショートブーツ"


def test_every_ready_trained_system_has_japanese_names_for_the_labels_that_it_answers_with():
    root, unknown = zoo.root(), {}
    for file in root.glob("*/args.yaml"):
        args = yaml.safe_load(file.read_text(encoding="utf-8"))
        seen = args.get("seen") or {}
        labels = {str(label) for label in seen.get("labels", ())} - {"", "photograph", "orange coat", "blue coat"}
        unknown[file.parent.name] = labels - {*load.names()[args["data"]].labels_ja}
    assert not {name: labels for name, labels in unknown.items() if labels}
