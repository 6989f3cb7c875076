"""Transfer: published weights that come with the installation, a frozen network, its features."""

from dataclasses import replace

import pytest
import timm
import torch
from drawing import textures
from sklearn.datasets import load_sample_image
from torch import nn

from souron import model, registry
from souron.data.dataset import Dataset
from souron.hub import fetch
from souron.kinds.codecs.image import as_image
from souron.runs import compare, evaluate, train
from souron.tasks.classify import Spec
from souron.training import frozen
from souron.utils import files

IMAGENET = Spec(3, 224, tuple(str(i) for i in range(1000)))
# parameters as the authors' table gives them, in millions, and exactly
PUBLISHED = {
    "efficientnet_lite": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("number, name", [*enumerate(PUBLISHED)])
def test_efficientnet_lite_equals_the_reference(number, name):
    torch.manual_seed(0)
    kind, config = registry.load_system(name)
    ours = kind(config, IMAGENET)
    reference = timm.create_model(f"tf_efficientnet_lite{number}")
    assert sum(weight.numel() for weight in ours.parameters()) == PUBLISHED[name]
    # the same layers in the same order, by other names
    theirs = reference.state_dict()
    assert [t.shape for t in theirs.values()] == [t.shape for t in ours.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.values(), strict=True)))
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(image), reference.eval()(image), atol=1e-4, rtol=1e-4)


def lite(side: int = 32) -> nn.Module:
    torch.manual_seed(0)
    kind, config = registry.load_system("efficientnet_lite")
    return kind(config, Spec(3, side, ("a", "b"))).eval()


@torch.inference_mode()
def test_efficientnet_lite_skips_blocks_by_chance_in_training_the_later_the_more_often():
    network = lite()
    assert [block.skipped for block in network.blocks] == pytest.approx([0.2 * number / 16 for number in range(16)])
    block, maps = network.blocks[14], torch.randn(64, 192, 4, 4)
    change = block(maps) - maps
    block.skipped, block.training = 0.5, True  # its normalisation stays still
    found = block(maps) - maps
    gone = (found == 0).flatten(1).all(1)
    assert 16 < gone.sum() < 48
    torch.testing.assert_close(found[~gone], 2 * change[~gone], atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_efficientnet_lite_drops_out_before_its_last_layer_in_training_only():
    network, given = lite(), []
    nn.init.zeros_(network.conv_head.weight)
    nn.init.ones_(network.bn1.bias)  # every unit gives out exactly 1
    network.fc.register_forward_pre_hook(lambda _layer, taken: given.append(taken[0]))
    image = torch.randn(4, 3, 32, 32)
    network(image), network.train()(image)
    still, learning = given
    assert torch.equal(still, torch.ones(4, 1280))
    assert learning.unique().tolist() == pytest.approx([0, 1.25])
    assert learning.mean().item() == pytest.approx(1, abs=0.05)


@torch.inference_mode()
def test_efficientnet_lites_statistics_follow_each_batch_by_a_hundredth():
    network, image = lite(), torch.randn(4, 3, 32, 32) + 1
    network.train()(image)
    mean = network.conv_stem(image).mean((0, 2, 3))
    torch.testing.assert_close(network.bn0.running_mean, 0.01 * mean, atol=1e-6, rtol=1e-3)


def test_the_weights_that_come_with_the_installation_know_a_palace(tmp_path):
    file = tmp_path / "china.png"
    as_image(torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)).save(file)
    answer = model.load("efficientnet_lite", pretrained=True)(file)
    assert answer.top5[0][0] in ("palace", "monastery")
    assert fetch.where("efficientnet_lite").name.endswith("-57934424.pth")


def few(count: int = 48, side: int = 32, channels: int = 3) -> Dataset:
    """Bright pictures and dark ones."""
    label = torch.arange(count) % 2
    noise = torch.randint(0, 128, (count, channels, side, side)).byte()
    return Dataset(
        "few",
        noise + (127 * label).byte().view(-1, 1, 1, 1),
        label,
        ("dark", "bright"),
        [f"{i}.png" for i in range(count)],
    )


@pytest.mark.parametrize("name", ["efficientnet_lite_tiny", "resnet_tiny", "vit_tiny"])
def test_the_head_over_features_answers_as_the_whole(name):
    torch.manual_seed(0)
    cases = few()
    kind, config = registry.load_system(name)
    whole = kind(config, kind.spec_for(cases)).eval()
    assert frozen.may(whole, cases, torch.device("cpu"))
    *_progress, (done, seen) = frozen.features(whole, cases, torch.device("cpu"))
    assert done == 1 and seen.cases.input.ndim == 2
    head = whole.head_alone()
    one = head.probabilities(head.loader(seen.cases))
    torch.testing.assert_close(one, whole.probabilities(whole.loader(cases)), atol=0.02, rtol=0)
    # a second look is read from the cache, and another picture is not
    assert [done for done, _seen in frozen.features(whole, cases, torch.device("cpu"))] == [1.0]
    other = few()
    assert len(list(frozen.features(whole, other, torch.device("cpu")))) > 1


def test_a_slow_first_run_is_not_charged_to_later_budgets(monkeypatch):
    kind, config = registry.load_system("resnet_tiny")
    cases = few()
    system = kind(config, kind.spec_for(cases)).eval()
    with monkeypatch.context() as slow:
        slow.setattr(frozen.time, "perf_counter", iter(range(0, 10**9, 1000)).__next__)
        *_progress, (_done, first) = frozen.features(system, cases, torch.device("cpu"))
    *_progress, (_done, kept) = frozen.features(system, cases, torch.device("cpu"))
    assert first.seconds >= 1000 > kept.seconds > 0


def test_the_last_layer_learns_some_epochs_though_the_features_took_the_budget(photos, monkeypatch):
    first = train.train("resnet_tiny", photos, budget="2ep")
    real = frozen.features

    def slow(*args):
        for done, seen in real(*args):
            yield done, seen and replace(seen, seconds=1e6)

    monkeypatch.setattr(frozen, "features", slow)
    record = train.train("resnet_tiny", photos, budget="1s", pretrained=str(first.folder), freeze=True, folds=1)
    assert record.curve[-1]["epoch"] == frozen.LEAST_EPOCHS
    assert record.forecast.seconds > 1e5


def test_a_result_of_one_step_says_so(photos):
    record = train.train("resnet_tiny", photos, budget="8ex", batch=8, folds=1)
    assert record.curve[-1]["step"] == 1
    assert any(note.startswith("Barely trained (steps: 1)") for note in record.notes)
    longer = train.train("resnet_tiny", photos, budget="2ep", folds=1)
    assert not any(note.startswith("Barely trained") for note in longer.notes)


def test_a_time_budget_does_not_train_the_last_layer_for_thousands_of_epochs(photos):
    first = train.train("resnet_tiny", photos, budget="2ep", folds=1)
    record = train.train("resnet_tiny", photos, budget="5min", pretrained=str(first.folder), freeze=True, folds=1)
    assert record.curve[-1]["step"] <= frozen.MOST_STEPS
    assert record.stopped in ("patience", "budget") and record.outcome.seconds < 300


def test_few_cases_from_scratch_are_advised_to_begin_with_published_weights(photos):
    first = train.train("resnet_tiny", photos, budget="1ep", folds=1)
    page = (first.folder / "report.html").read_text(encoding="utf-8")
    assert "pretrained=true freeze=true" in page
    task = registry.load_task("classify")
    assert "75 training cases" in task.advice({"pretrained": "False"}, 75)
    assert task.advice({"pretrained": "True"}, 75) == task.advice({}, 5000) == ""


def test_a_network_that_goes_on_after_its_last_layer_is_run_as_a_whole():
    kind, config = registry.load_system("airbench_tiny")
    cases = few()
    system = kind(config, kind.spec_for(cases))
    nn.init.normal_(system.fc.weight, std=3.0)
    assert not frozen.may(system, cases, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Data check of")
def test_a_frozen_run_saves_the_whole_network(photos):
    first = train.train("resnet_tiny", photos, budget="2ep")
    second = train.train("resnet_tiny", photos, budget="30ep", pretrained=str(first.folder), freeze=True)
    before = files.read_tensors(first.folder / "weights/best.safetensors")[0]
    after = files.read_tensors(second.folder / "weights/best.safetensors")[0]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert evaluate.evaluate(second.folder)["accuracy"] == second.measures["accuracy"]


def test_transfer_beats_learning_from_scratch_at_the_same_budget(tmp_path):
    record = compare.compare(
        ["efficientnet_lite:frozen", "efficientnet_lite:scratch"],
        textures(tmp_path / "textures"),
        budget="2ep",
        seeds=2,
        folds=1,
        side=64,
        batch=16,
    )
    best = record.rows[0]
    assert best.system == "efficientnet_lite:frozen"
    assert record.verdicts[0].verdict == "better"


def test_an_unknown_start_is_refused():
    with pytest.raises(compare.UserError) as trouble:
        compare.compare(["resnet18:frosen", "mlp"], "digits")
    assert "resnet18:frozen" in trouble.value.expected
