"""Right answers of the lecture's exercises are what souron's systems do."""

import contextlib
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import souron
from souron import registry
from souron.actions.references import identifiers
from souron.actions.watch.tracking import Tracker
from souron.actions.work.exposure import exposure
from souron.actions.work.tables import Task
from souron.data.language import page_grammar, web_pages
from souron.data.language.web_pages import Part
from souron.kinds.picture import Picture
from souron.lecture import exercises, rows
from souron.tasks.classify import Spec
from souron.tasks.complete import Batch, LanguageModel


def exercise(row):
    return exercises.of_row(rows.find(row))[0]


def chosen(row):
    """The right choice of a row's first exercise."""
    one = exercise(row)
    return one.en.choices[int(one.answer)]


def built(name, side, labels=3):
    """A classifier without weights."""
    kind, config = registry.load_system(name)
    with torch.device("meta"):
        return kind(config, Spec(3, side, tuple(map(str, range(labels))), (0.0,) * 3, (1.0,) * 3))


def weights(module):
    return sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Conv2d))


def test_a_cell_that_is_run_twice_counts_twice():
    cells, memory, printed = ["x = 1", "x = x + 1", "print(x)"], {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for number in (0, 1, 1, 2):
            exec(cells[number], memory)
    assert printed.getvalue().strip() == chosen("C1")


def test_a_1x1_convolution_saves_as_many_weights_as_the_exercise_says():
    branch = built("googlenet_paper", 224).inception3a.branch3
    assert weights(branch) == exercise("V3").answer


def test_a_dense_block_makes_as_many_maps_as_the_exercise_says():
    assert built("densenet121", 224).features.transition1.norm.num_features == exercise("V5").answer


def test_a_mixer_takes_no_image_of_another_side():
    mixer = built("mlp_mixer_b16", 224)
    assert mixer.blocks[0].mlp_tokens.fc1.in_features == 196
    with pytest.raises(RuntimeError):
        mixer(torch.empty(1, 3, 448, 448, device="meta"))
    assert "cannot be computed" in chosen("V7")


def test_a_classifier_names_a_class_in_noise():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    answer = souron.load("efficientnet_lite", pretrained=True).answer(Picture(noise))
    assert len(answer.labels) == 1000 and "sum to 1" in chosen("V8")
    assert float(sum(answer.probabilities)) == pytest.approx(1, abs=1e-4) and max(answer.probabilities) > 0.01


def test_a_new_last_layer_is_a_thousandth_of_the_network():
    network = built("efficientnet_lite", 224)
    last = getattr(network, type(network).head)
    trained = sum(each.numel() for each in last.parameters())
    assert trained == exercise("V9").answer
    assert 500 < sum(each.numel() for each in network.parameters()) / trained < 2000


def test_a_track_keeps_its_number_through_low_scores():
    tracker = Tracker(conf=0.25)
    numbers = []
    for score in [0.9] * 4 + [0.15] * 5 + [0.9] * 3:
        numbers += [track.number for track in tracker.update([[0, 10, 10, 50, 50, score]])]
    assert numbers == [1] * 12 and tracker.begun == 1 and "same number" in chosen("D6")
    assert not Tracker(conf=0.25).update([[0, 10, 10, 50, 50, 0.15]])  # and begins none


def test_only_the_assistants_tokens_count_in_instruction_tuning():
    losses, counts = torch.tensor([[4.0, 3.0, 1.0, 2.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    model = SimpleNamespace(
        spec=SimpleNamespace(lesson="conversations"), config=None, log_likelihoods=lambda _tokens: -losses
    )
    batch = Batch(torch.zeros(1, 4, dtype=torch.long), counts, torch.zeros(1), torch.zeros(1))
    assert float(LanguageModel.loss(model, batch)) == exercise("L2").answer


def test_a_cycle_of_inverted_colours_loses_nothing():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(((1 - (1 - image)) - image).abs().mean()) == pytest.approx(0, abs=1e-6)
    assert chosen("G4").startswith("Zero")


def test_a_style_replaces_mean_and_spread_as_stylegan_does():
    kind, _config = registry.load_system("stylegan")
    adain = sys.modules[kind.__module__].AdaIN(1, 1)
    with torch.no_grad():
        for parameter in adain.parameters():
            parameter.zero_()
        next(each for each in adain.parameters() if each.shape == (2,)).copy_(torch.tensor([3.0, 10.0]))  # 1 + scale
        made = adain(torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1))
    assert float(made[0, 0, 0, 1]) == pytest.approx(exercise("G7").answer, abs=0.01)


def test_no_page_of_the_grammar_has_a_script():
    label = "<script>fetch('/')</script>"
    parts = [Part(kind, words=(label,)) for kind in web_pages.KINDS]
    assert "<script" not in web_pages.written(parts)
    tokens = page_grammar.written([Part("button", words=("Save",))], "a page with a button Save and a script")
    assert tokens is not None and "without a script" in chosen("G19")


def test_an_isbn_shows_that_it_is_wrong_and_a_doi_does_not():
    wrong = [bool(identifiers.identify("isbn", f"978-0-306-40615-{digit}").why) for digit in range(10)]
    assert wrong.count(True) == 9
    assert not any(identifiers.identify("doi", f"10.1016/j.cell.2021.0{digit}.014").why for digit in range(1, 9))
    assert chosen("E2").startswith("Often the ISBN, never")


def test_exposure_is_that_of_the_study_on_work():
    core, others = ("E1", "E0", "E0"), ("E2", "E2")
    tasks = [Task("", True, label, "") for label in core] + [Task("", False, label, "") for label in others]
    assert exposure(tasks).beta == pytest.approx(exercise("E3").answer)


def test_truncation_draws_as_many_numbers_again_as_the_exercise_says():
    numbers = np.random.default_rng(0).normal(size=200_000)
    assert 100 * (abs(numbers) > 0.5).mean() == pytest.approx(exercise("G6").answer, abs=0.5)
