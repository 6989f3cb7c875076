"""Networks with published weights: photographs are answered, and what is none is answered with a warning."""

import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
import skimage
import sklearn
import torch
from PIL import Image, ImageDraw

from souron import model
from souron.actions import watch
from souron.evaluation import photographs
from souron.exports import export
from souron.hub import weights
from souron.kinds.finding import standing
from souron.kinds.picture import Picture
from souron.serve import predictors

SCIKIT_IMAGE, SCIKIT_LEARN = (Path(package.__file__).parent for package in (skimage, sklearn))
PHOTOGRAPHS = (
    *(SCIKIT_IMAGE / "data" / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    *(SCIKIT_LEARN / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")),
)
SLICES = ("CT_small.dcm", "MR_small.dcm", "ExplVR_BigEnd.dcm")  # of pydicom


@pytest.fixture(scope="module")
def classifier():
    return model.load("efficientnet_lite", pretrained=True)


def noise():
    return Picture(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)))


def page():
    image = Image.new("L", (500, 700), 255)
    ImageDraw.Draw(image).multiline_text((40, 40), "\n".join(["a page of printed text, and no photograph"] * 40))
    return Picture(image)


@pytest.mark.parametrize("file", PHOTOGRAPHS, ids=lambda file: file.stem)
def test_photographs_are_familiar(classifier, file):
    assert standing(classifier.answer(Picture.read(file))) == "familiar"


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_named_as_a_thing_is_a_guess(classifier, name):
    answer = classifier.answer(Picture.read(Path(pydicom.__file__).parent / "data" / "test_files" / name))
    assert standing(answer) == "unlike" and answer.familiar.score > 2 * answer.familiar.threshold


@pytest.mark.parametrize("made", [noise, page])
def test_what_is_no_photograph_is_a_guess(classifier, made):
    assert standing(classifier.answer(made())) == "unlike"


def test_answers_to_many_in_a_row_are_judged_too(classifier):
    assert standing(classifier.for_many().answer(noise())) == "unlike"


def test_a_server_judges_each_image_of_a_batch(classifier):
    predictor = predictors.predictor_for(classifier)
    cat = Picture.read(PHOTOGRAPHS[1])
    batch = [predictor.preprocess(one, {}) for one in (cat, noise())]
    told = [predictor.encode(each, {})["familiar"]["unlike"] for each in predictor.predict(batch)]
    assert told == [False, True]


@pytest.fixture
def published():
    """A detector as one with published weights: what was trained here, under the name of NanoDet."""
    return model.Model("nanodet", model.load("yolo").system)


def test_a_film_counts_the_frames_that_are_no_photographs(published, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(watch, "watching", lambda look, *given, **options: asked.append((look, options["unlike"])))
    watch.of_model(published, Path("film.mp4"), tmp_path, {})
    [(look, unlike)] = asked
    for frame in (noise(), Picture.read(PHOTOGRAPHS[1]), noise()):
        look(frame, 0.5)
    assert unlike() == 2


def test_an_exported_network_has_no_such_check_and_says_so(published):
    assert export.left_out(published.system, "nanodet", None) == ["familiar"]
    assert export.left_out(published.system, "yolo", None) == []


def test_only_networks_with_weights_of_photographs_are_judged(classifier, tmp_path):
    system = classifier.system
    names = ("resnet50", "faster_rcnn_resnet50_fpn", "ssd_oid", "u2net", "movenet_lightning", "timm")
    assert all(photographs.detector_for(system, name) is not None for name in names)
    for name in ("densenet_xray", "resnet", "compact_animation"):  # of X-ray films, without weights, of drawings
        assert photographs.detector_for(system, name) is None
    assert model.Model("efficientnet_lite", system, tmp_path).outlier_detector is None, "a run has a check of its own"
    assert photographs.detector_for(system, str(tmp_path / "runs" / "mlp-digits")) is None, (
        "the name of a run is its folder"
    )
    assert photographs.detector_for(model.load("bert_tag").system, "resnet50") is None, "it answers texts"


def test_without_the_weights_there_is_no_check(classifier, monkeypatch):
    monkeypatch.setattr(weights, "find", lambda source: None)
    assert classifier.outlier_detector is None and standing(classifier.answer(noise())) == "unchecked"


def test_features_are_mean_and_deviation_of_each_map():
    picture = Picture.read(PHOTOGRAPHS[0])
    with torch.inference_mode():
        first = photographs._network()(picture.square(photographs.SIDE, 3).float()[None] / 255)[0][0].numpy()
    found, count = photographs.features(picture).numpy(), len(first)
    assert found[:count] == pytest.approx(first.mean((1, 2)), abs=1e-4)
    assert found[count : 2 * count] == pytest.approx(first.std((1, 2)), abs=1e-4)


def test_a_regression_is_read_as_it_was_written(tmp_path):
    made = photographs.OutlierDetector(
        torch.zeros(3), torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 1.0, -1.0]), 0.5, 0.25
    )
    made.write(tmp_path / "detector.safetensors")
    read = photographs.OutlierDetector.read(tmp_path / "detector.safetensors")
    cases = torch.tensor([[0.0, 0, 0], [1, 2, 0], [1e9, 0, 8]])
    assert (read.bias, read.threshold) == (0.5, 0.25)
    expected = torch.tensor([0.5, 2.5, 0.5]).sigmoid()  # a feature counts up to eight standard deviations
    assert torch.allclose(read.probability(cases), expected)
    assert read.probability(torch.tensor([[0.0, math.nan, 0]])) == 1, "no number is no photograph"


def test_the_first_answer_leaves_random_numbers_as_they_were(classifier):
    photographs._network.cache_clear()
    before = torch.get_rng_state()
    classifier.outlier_detector.judge(noise())
    assert torch.equal(torch.get_rng_state(), before)
