"""The pipelines of transformers 4: their names, and the keys of their answers."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from shapes import sentences

import souron
from souron import registry
from souron.hub import zoo
from souron.kinds.boxes import Boxes
from souron.kinds.labels import Labels
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.kinds.text import Text
from souron.pipelines import answers
from souron.pipelines import pipeline as pipelines
from souron.pipelines.pipeline import ALSO, KNOWN, pipeline
from souron.runs import folder
from souron.training.loop import Run
from souron.utils import files
from souron.utils.messages import Caution, UserError

Span = namedtuple("Span", "label start end score")
Quote = namedtuple("Quote", "text start end score")
PICTURE = Picture(Image.new("RGB", (8, 6)))


class Says:
    """A system that answers what it was told to."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, given, **options):
        return self.answer(given, **options) if callable(self.answer) else self.answer

    def reading(self):
        return {}


def test_every_name_before_transformers_5_is_there():
    text = {
        "text-classification",
        "sentiment-analysis",
        "token-classification",
        "ner",
        "fill-mask",
        "summarization",
        "question-answering",
        "text-generation",
        "text2text-generation",
        "zero-shot-classification",
        "feature-extraction",
        "translation",
    }
    seen = {
        "image-classification",
        "object-detection",
        "image-segmentation",
        "visual-question-answering",
        "vqa",
        "zero-shot-image-classification",
        "image-to-image",
    }
    heard = {"automatic-speech-recognition"}
    assert text | seen | heard == set(KNOWN) | set(ALSO)


def test_labels():
    system = Says(Labels("", ["NEG", "POS"], [0.2, 0.8]))
    assert answers.classified(system, "good") == [{"label": "POS", "score": 0.8}]
    assert answers.classified(system, ["a", "b"]) == [{"label": "POS", "score": 0.8}] * 2
    whole = [{"label": "POS", "score": 0.8}, {"label": "NEG", "score": 0.2}]
    assert answers.classified(system, "good", top_k=None) == whole
    assert answers.classified(system, ["good"], top_k=None) == [whole]


def test_spans_of_a_text():
    system = Says(SimpleNamespace(spans=[Span("PER", 0, 2, 0.9)]))
    [told] = answers.tagged(system, "田中さん")
    assert told == {"entity": "PER", "score": 0.9, "index": 1, "word": "田中", "start": 0, "end": 2}
    [told] = answers.tagged(system, "田中さん", aggregation_strategy="simple")
    assert told == {"entity_group": "PER", "score": 0.9, "word": "田中", "start": 0, "end": 2}


def test_a_filled_mask():
    system = Says(Labels("", ["tooth", "hand"], [0.7, 0.3]))
    first = answers.filled(system, "A [MASK] hurts.", top_k=1)[0]
    assert set(first) == {"score", "token", "token_str", "sequence"}
    assert first["sequence"] == "A tooth hurts."


@pytest.mark.parametrize(
    "answer, key",
    [
        (answers.summarised, "summary_text"),
        (answers.translated, "translation_text"),
        (answers.rewritten, "generated_text"),
    ],
)
def test_texts_of_texts(answer, key):
    system = Says(lambda text: Text(text.text.upper()))
    assert answer(system, "a") == [{key: "A"}]
    assert answer(system, ["a", "b"]) == [{key: "A"}, {key: "B"}]


def test_an_answer_is_a_quotation():
    def predict(text, question, passages):
        assert question == "Where?"
        place = text.text.index("home")
        found = Quote("home", place, place + 4, 0.6)
        return SimpleNamespace(quotes=[found] * passages)

    system = Says(predict)
    told = answers.found(system, question="Where?", context="She is home.")
    assert told == {"score": 0.6, "start": 7, "end": 11, "answer": "home"}
    assert answers.found(system, {"question": "Where?", "context": "She is home."}) == told
    assert answers.found(system, question=["Where?"], context=["At home."])[0]["start"] == 3
    assert len(answers.found(system, question="Where?", context="home", top_k=2)) == 2


def test_images():
    labels = Says(Labels("", ["cat", "dog"], [0.1, 0.9]))
    assert answers.labelled(labels, PICTURE.image, top_k=1) == [{"score": 0.9, "label": "dog"}]
    found = Boxes(PICTURE, [[1, 2, 5, 6], [0, 0, 1, 1]], ["cat", "dog"], [0.9, 0.2])
    [told] = answers.boxed(Says(found), [PICTURE])[0]
    assert told["box"] == {"xmin": 1, "ymin": 2, "xmax": 5, "ymax": 6} and told["label"] == "cat"
    area = np.zeros((6, 8), int)
    area[:3] = 1
    [told] = answers.masked(Says(Mask(PICTURE, area, ["", "cat"])), PICTURE.image)
    assert told["label"] == "cat" and np.asarray(told["mask"]).sum() == 255 * 24
    with pytest.raises(UserError, match="nothing is fetched"):
        answers.labelled(labels, "https://example.org/cat.jpg")


def test_the_nearest_label_in_two_languages():
    choose = pipeline("zero-shot-classification")
    told = choose("The tooth hurts.", candidate_labels="football, dentistry")
    assert set(told) == {"sequence", "labels", "scores"} and told["labels"][0] == "dentistry"
    assert sum(told["scores"]) == pytest.approx(1)
    assert choose(["歯が痛いです。"], ["football", "dentistry"])[0]["labels"][0] == "dentistry"
    with pytest.raises(UserError, match="no labels"):
        choose("a", [])


def test_vectors_of_texts():
    features = souron.pipeline("feature-extraction")
    assert np.shape(features("歯")) == (1, 1, 512) and np.shape(features(["a", "b"])) == (2, 1, 1, 512)


@pytest.fixture
def run(tmp_path):
    """A table of counts, as a run in a project."""
    kind = registry.load_system("ngram")[0]
    cases = sentences(20)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases))
    for _progress in system.fit(system.loader(cases), Run(10)):
        pass
    place = tmp_path / "complete" / "ngram-sentences"
    folder.write_args(
        place,
        {
            "system": "ngram_tiny",
            "config": folder.as_plain(system.config),
            "seen": folder.as_plain(system.spec),
            "data": "sentences",
        },
    )
    files.write_tensors(place / "weights" / "best.safetensors", system.state_dict(), {})
    return place


def test_a_run_goes_on_with_a_text(run):
    write = pipeline("text-generation", model=run, max_new_tokens=8)
    [told] = write("The patient", do_sample=False)
    assert told["generated_text"].startswith("The patient") and len(told["generated_text"]) > 15
    [bare] = write("The patient", do_sample=False, return_full_text=False)
    assert "The patient" + bare["generated_text"] == told["generated_text"]
    assert len(write(["The", "A"], num_return_sequences=2)[1]) == 2
    [talk] = write([{"role": "user", "content": "The"}])
    assert talk["generated_text"][1]["role"] == "assistant"
    with pytest.raises(UserError, match="no option is named 'length'"):
        write("a", length=3)


def test_a_text_knows_how_much_of_it_was_given(run):
    text = souron.load(run)(Text("The patient"), length=4)
    assert text.text[: text.continues] == "The patient" and len(text.text) > text.continues


def test_the_newest_run_answers_and_is_told(run):
    with pytest.warns(Caution, match="ngram-sentences answers"):
        write = pipeline("text-generation", project=run.parent.parent)
    assert write.model == str(run)


@pytest.mark.skipif(zoo.where("bert_tag") is None, reason="the ready-trained systems are not installed")
def test_a_ready_system_answers_before_a_run_which_is_named(tmp_path, monkeypatch):
    mine = tmp_path / "tag" / "mine"
    (mine / "weights").mkdir(parents=True)
    for file in (mine / "args.yaml", mine / "weights" / "best.safetensors"):
        file.touch()
    monkeypatch.setattr(pipelines, "_load", lambda name: name)
    with pytest.warns(Caution, match=f"your newest run: model='{mine}'"):
        assert pipeline("ner", project=tmp_path).model == "bert_tag"


@pytest.mark.skipif(zoo.where("transformer") is None, reason="the ready-trained systems are not installed")
def test_systems_that_come_ready_trained_answer(tmp_path):
    with pytest.warns(Caution, match="transformer answers, which was trained on manual_pairs"):
        translate = pipeline("translation_en_to_ja", project=tmp_path)
    assert "言語" in translate("Choose the language of the text.")[0]["translation_text"]
    with pytest.warns(Caution, match="bert answers, which was trained on mails"):
        classify = pipeline("text-classification", project=tmp_path)
    assert {one["label"] for one in classify("FREE prize! Click here NOW, satisfaction guaranteed!!!")} == {"spam"}
    with pytest.raises(UserError, match="was trained to answer"):  # spam is no sentiment
        pipeline("sentiment-analysis", project=tmp_path)
    with pytest.warns(Caution, match="bert_tag answers, which was trained on entities"):
        pipeline("ner", project=tmp_path)


def test_what_cannot_answer_says_what_can(run):
    with pytest.raises(UserError) as trouble:
        pipeline("image-classification", model=run)
    assert trouble.value.code == "pretrained"
    with pytest.raises(UserError, match="was trained to answer") as trouble:
        pipeline("sentiment-analysis", project=run / "nowhere")
    assert "data=FOLDER" in trouble.value.fix and trouble.value.expected
    with pytest.raises(UserError, match="no pipeline is named") as trouble:
        pipeline("sumarization")
    assert "summarization" in trouble.value.expected
    with pytest.raises(UserError, match="in place of a text"):
        pipeline("zero-shot-classification")(3, ["a"])


def test_no_weights_of_strangers_are_needed(run, monkeypatch):
    """Nothing here opens a connection."""
    import socket

    monkeypatch.setattr(socket, "socket", lambda *given, **more: pytest.fail("a connection"))
    assert pipeline("text-generation", model=run)("The", max_new_tokens=2)
    assert pipeline("feature-extraction")("a")


@pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")
def test_masked_words_are_filled_at_once(tmp_path):
    with pytest.warns(Caution, match="bert_mask answers"):
        found = pipeline("fill-mask", project=tmp_path)("The people of the United [MASK] have a right to be heard.")
    assert found[0]["token_str"].strip() == "States" and found[0]["score"] > 0.5
