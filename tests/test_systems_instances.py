"""Mask R-CNN and YOLOv8 with prototypes: counted against what was published, masks laid into boxes
against torchvision, losses by hand."""

import numpy as np
import pytest
import torch
from shapes import instanced
from torch.nn import functional as F
from torchvision.ops import roi_align

from souron import registry
from souron.blocks import boxes
from souron.data.dataset import ListColumn, Rows
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import packed
from souron.evaluation import summary
from souron.systems.segment_instances import mask_rcnn, yolo_seg
from souron.systems.segment_instances.mask_rcnn import MaskRCNN
from souron.systems.segment_instances.yolo_seg import YOLOSeg
from souron.tasks.segment_instances import Batch, Spec
from souron.training.budget import Budget
from souron.training.trainer import Trainer

TASK = registry.load_task("segment_instances")
BOTH = pytest.mark.parametrize("kind", [MaskRCNN, YOLOSeg])


def made(kind, cases, size="tiny"):
    torch.manual_seed(0)
    return kind(kind.SIZES[size], TASK.spec(cases))


def batch_of(model, cases, target=None):
    return model.batch(Rows(cases.input, cases.target if target is None else ListColumn(target)))


@pytest.mark.parametrize("size, count", [("n", 3_409_968), ("s", 11_821_056), ("m", 27_285_968)])
def test_yolo_has_as_many_parameters_as_published(size, count):
    spec = Spec(3, 640, tuple(map(str, range(80))))
    assert summary.parameters(summary.blueprint(YOLOSeg, YOLOSeg.SIZES[size], spec)) == count


def test_mask_rcnn_draws_as_published_in_its_published_size():
    model = summary.blueprint(MaskRCNN, MaskRCNN.SIZES["resnet50"], Spec(3, 64, ("a", "b")))
    shapes = [tuple(layer.weight.shape) for layer in model.drawer if hasattr(layer, "weight")]
    assert shapes == [(256, 256, 3, 3)] * 4 + [(256, 256, 2, 2), (2, 256, 1, 1)]


def test_a_mask_in_a_box_is_that_of_torchvision_and_laid_back_it_is_the_mask():
    masks = torch.zeros(3, 40, 50)
    masks[0, 10:30, 5:40] = masks[1, 3:9, 20:26] = masks[2, 20:40, 25:50] = 1
    y, x = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
    masks[0] *= (x - 20) ** 2 + (y - 20) ** 2 < 120
    box = torch.tensor([[5.2, 9.7, 40.1, 30.4], [19.0, 2, 27, 10], [25.5, 20.5, 50, 40]])
    row = torch.cat([torch.arange(3)[:, None], box], 1)
    own = boxes.cropped(masks > 0, box, 28)
    theirs = roi_align(masks[:, None], row, 28, 1.0, 2, aligned=True)[:, 0]
    assert torch.allclose(own, theirs, atol=1e-5)
    back = boxes.pasted(own, box, 40, 50)
    for mask, there, (left, top, right, bottom) in zip(masks, back, box.tolist(), strict=True):
        shared = ((there >= 0.5) & (mask > 0)).sum() / ((there >= 0.5) | (mask > 0)).sum()
        assert shared > 0.93
        outside = (x + 0.5 < left) | (x + 0.5 >= right) | (y + 0.5 < top) | (y + 0.5 >= bottom)
        assert not there[outside].any()
    beyond = boxes.pasted(torch.ones(1, 4, 4), torch.tensor([[-9.0, -9, 3, 2]]), 8, 8)
    assert torch.equal(beyond[0].nonzero().amax(0), torch.tensor([1, 2])) and beyond.max() == 1


def test_only_the_true_labels_mask_of_regions_that_are_objects_learns():
    cases = instanced(2, 32)
    model = made(MaskRCNN, cases)
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 4:20, 4:12] = True
    truth = torch.tensor([[1.0, 4, 4, 20, 20]])
    region = torch.tensor([[4.0, 4, 20, 20], [20, 20, 30, 30]])
    batch = Batch(cases.input[:1].float() / 255, [truth], [mask])
    logit = torch.zeros(1, 3, 28, 28, requires_grad=True)
    asked = []

    def draw(part):
        asked.append(part.shape)
        return logit

    model.drawer.forward = draw
    levels = [torch.randn(1, 32, n, n) for n in (4, 2, 1, 1)]
    loss = model.mask_loss(levels, [region], [torch.tensor([0, -1])], batch)
    assert asked == [(1, 32, 14, 14)] and loss.item() == pytest.approx(np.log(2), rel=1e-5)
    loss.backward()
    pull = -logit.grad[0]
    assert not pull[[0, 2]].any()
    assert (pull[1, :, :14] > 0).all() and (pull[1, :, 14:] < 0).all()  # half of the region
    none = model.mask_loss(levels, [region], [torch.tensor([-1, -1])], batch)
    assert none.item() == 0


def test_mask_rcnn_adds_the_loss_of_masks_to_those_of_boxes(monkeypatch):
    cases = instanced(4, 32)
    model = made(MaskRCNN, cases)
    batch = batch_of(model, cases)
    torch.manual_seed(1)
    whole = model.loss(batch)
    monkeypatch.setattr(model, "mask_loss", lambda *_given: torch.tensor(0.0))
    torch.manual_seed(1)
    boxes_alone = model.loss(batch)
    assert 0.3 < (whole - boxes_alone).item() < 3
    monkeypatch.undo()
    whole.backward()
    for part in (model.drawer, model.judge, model.proposer, model.backbone):
        assert any(weight.grad.abs().sum() > 0 for weight in part.parameters())


def test_a_mask_of_prototypes_learns_in_its_box_alone_each_object_as_much():
    mask = torch.zeros(2, 32, 32, dtype=torch.bool)
    mask[0, :16, :8] = mask[1, 16:, 16:] = True
    truth = torch.tensor([[0.0, 0, 0, 16, 16], [1, 16, 16, 32, 32]])
    batch = Batch(torch.zeros(1, 3, 32, 32), [truth], [mask])
    prototype = torch.randn(1, 32, 8, 8, requires_grad=True)
    coefficient = torch.randn(1, 5, 32, requires_grad=True)
    on, owner = torch.tensor([[True, False, True, True, False]]), torch.tensor([[1, 0, 0, 1, 0]])
    loss = yolo_seg.mask_loss(coefficient, prototype, on, owner, batch)
    by_hand = []
    for place, (part, true) in {
        0: (np.s_[4:, 4:], torch.ones(4, 4)),
        2: (np.s_[:4, :4], torch.tensor([1.0, 1, 0, 0]).expand(4, 4)),
        3: (np.s_[4:, 4:], torch.ones(4, 4)),
    }.items():
        logit = (coefficient[0, place, :, None, None] * prototype[0]).sum(0)
        by_hand.append(F.binary_cross_entropy_with_logits(logit[part], true))
    assert loss.item() == pytest.approx(sum(by_hand).item() / 3, rel=1e-5)
    loss.backward()
    assert not prototype.grad[0, :, :4, 4:].any() and prototype.grad[0, :, :4, :4].any()
    assert coefficient.grad[0].abs().sum(1).bool().tolist() == on[0].tolist()


def test_the_loss_of_prototypes_weighs_as_much_as_that_of_boxes(monkeypatch):
    cases = instanced(4, 32)
    model = made(YOLOSeg, cases)
    batch, losses = batch_of(model, cases), []
    for masks in (0.0, 1.0):
        monkeypatch.setattr(yolo_seg, "mask_loss", lambda *_given, masks=masks: masks)
        losses.append(model.loss(batch).item())
    assert losses[1] - losses[0] == pytest.approx(7.5, abs=0.01)


def test_yolo_mixes_each_objects_own_prototypes_and_cuts_at_the_box(monkeypatch):
    cases = instanced(1, 64)
    model = made(YOLOSeg, cases).eval()
    prototype = torch.zeros(1, 32, 16, 16)
    prototype[0, 0, :, :8], prototype[0, 1, :, 8:] = 1, 1
    coefficient = torch.zeros(1, 84, 32)
    coefficient[0, 20, :2] = torch.tensor([1.0, -1])  # the left half
    coefficient[0, 60, :2] = torch.tensor([-1.0, 1])
    label = torch.full((1, 84, 3), -9.0)
    label[0, 20, 2], label[0, 60, 0] = 4.0, 3.0
    said = torch.zeros(1, 84, 64), label, [(8, 8), (4, 4), (2, 2)]
    box = torch.zeros(1, 84, 4)
    box[0, 20], box[0, 60] = torch.tensor([16.0, 8, 48, 40]), torch.tensor([8.0, 0, 64, 64])
    monkeypatch.setattr(model.average, "forward", lambda _image: (said, coefficient, prototype))
    monkeypatch.setattr(model.average, "boxes", lambda *_given: box)
    [(found, mask)] = model.segment(torch.zeros(1, 3, 64, 64), 0.5, 0.7)
    assert found[:, 0].tolist() == [2, 0]
    for one, (left, top, right, bottom) in zip(mask, [(16, 8, 32, 40), (32, 0, 64, 64)], strict=True):
        expected = torch.zeros(64, 64, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(one, expected)


@BOTH
def test_it_learns_the_pixels_of_shapes_in_pictures_it_never_saw(kind):
    train, test = instanced(160, 32, 2, seed=0), instanced(40, 32, 2, seed=1)
    model = made(kind, train)
    data = model.loader(train, TASK.augmentation(("shift", "mirror")))
    fit = Trainer(model, data, model.loader(test), Budget.parse("10ep"), 16, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    found = model.found(model.loader(test))
    scores = {name: each.mean() for name, each in TASK.judged(found, test).items()}
    assert scores["mask AP50"] > 0.15, scores
    sure, right = 0, 0
    for one, truth in zip(found, test.target, strict=True):  # of surely found objects the pixels
        true = truth.masks(32)
        for mask in one.masks(32)[one.box[:, 5] > 0.3]:
            sure += 1
            right += ((mask & true).sum((1, 2)) / (mask | true).sum((1, 2))).max() > 0.5
    assert sure > 10 and right / sure > 0.5, (right, sure)


def drawing(kind, monkeypatch):
    """An untrained network that is asked for what it is not sure of, and a picture."""
    monkeypatch.setattr(mask_rcnn, "SURE", 0.0)
    monkeypatch.setattr(yolo_seg, "SURE", 0.0)
    cases = instanced(2, 64)
    model = made(kind, cases).eval()
    return model, cases.input[:1].float() / 255, boxes_of(cases.target)[0]


@torch.no_grad()
def test_mask_rcnn_shows_the_masks_that_it_lays_into_its_boxes(monkeypatch):
    model, image, truth = drawing(MaskRCNN, monkeypatch)
    proposals, found, masks = model.explain(image, truth)
    assert 0 < len(proposals.box) <= 50 and len(found.box) == len(found.score)
    [(box, mask)] = model.segment(image, 0.0, model.overlap)
    assert len(masks.maps) == 6 and masks.maps[0][1].shape == (28, 28)
    small = torch.stack([one for _name, one in masks.maps])
    laid = boxes.pasted(small, box[:6, 1:5], 64, 64) >= 0.5
    assert torch.equal(laid, mask[:6])
    names = [model.spec.labels[int(label)] for label in box[:6, 0]]
    assert [name.rpartition(" ")[0] for name, _map in masks.maps] == names
    monkeypatch.setattr(mask_rcnn, "SURE", 1.0)
    assert len(model.explain(image, torch.zeros(0, 5))) == 2


@torch.no_grad()
def test_yolo_shows_how_its_prototypes_become_a_mask(monkeypatch):
    model, image, truth = drawing(YOLOSeg, monkeypatch)
    said, coefficient, prototype = model.average(image)
    mixed = said, torch.randn_like(coefficient), torch.randn_like(prototype)
    monkeypatch.setattr(model.average, "forward", lambda image: mixed)
    _found, prototypes, total = model.explain(image, truth)
    assert len(prototypes.maps) == 8 and len(total.maps) == 5
    weights = [float(name.partition(" ")[0]) for name, _map in prototypes.maps]
    each = [weight * one for weight, (_name, one) in zip(weights, prototypes.maps, strict=True)]
    spread = [float(one.std()) for one in each]
    assert spread == pytest.approx(sorted(spread, reverse=True), rel=0.05, abs=1e-3)
    four = total.maps[2][1]
    assert torch.allclose(four, sum(each[:4]), atol=0.01 * sum(float(m.abs().max()) for m in each))
    [(box, mask)] = model.segment(image, 0.0, 0.45)
    whole = yolo_seg.enlarged(total.maps[3][1][None], 64, 64) > 0
    assert torch.equal(whole & yolo_seg.inside(box[:1, 1:5], 64, 64), mask[:1])
    assert total.maps[4][0] == model.spec.labels[int(box[0, 0])]
    monkeypatch.setattr(yolo_seg, "SURE", 1.0)
    assert len(model.explain(image, torch.zeros(0, 5))) == 1


@BOTH
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 100)])
def test_it_takes_pictures_of_any_side(kind, channels, side):
    model = kind(kind.SIZES["tiny"], Spec(channels, side, ("a", "b"))).eval()
    with torch.no_grad():
        answered = model.segment(torch.rand(2, channels, side, side), 0.0)
    middle = torch.arange(side) + 0.5
    for box, mask in answered:
        assert len(box) <= 100 and mask.shape == (len(box), side, side)
        assert mask.dtype == torch.bool
        for (left, top, right, bottom), inside in zip(box[:, 1:5].tolist(), mask, strict=True):
            assert not inside[(middle < top) | (middle >= bottom)].any()
            assert not inside[:, (middle < left) | (middle >= right)].any()
    with torch.no_grad():
        [(box, mask)] = model.segment(torch.rand(1, channels, side, side), 1.1)
    assert mask.shape == (0, side, side) and box.shape == (0, 6)


@BOTH
def test_a_batch_without_objects_has_a_loss_and_crowds_are_not_learnt(kind):
    cases = instanced(8, 32)
    model = made(kind, cases)
    empty = packed(torch.zeros(0, 5), torch.zeros(0, 32, 32, dtype=torch.bool))
    crowd = packed(torch.tensor([[-2.0, 0, 0, 20, 20]]), torch.ones(1, 32, 32))
    for target in (empty, crowd):
        batch = batch_of(model, cases, [target] * 8)
        assert all(len(truth) == 0 for truth in batch.target)
        loss = model.loss(batch)
        assert loss.isfinite() and loss > 0
        loss.backward()


@BOTH
def test_a_batch_is_learnt_from_in_parts_with_its_masks(kind, monkeypatch):
    cases = instanced(33, 32)
    model, seen = made(kind, cases), []
    monkeypatch.setattr(model, "loss", seen.append)
    list(model.updates(batch_of(model, cases), 0))
    assert sum(len(part.image) for part in seen) == 33 and len(seen) == 3
    for name in ("target", "mask"):
        parts = [one for part in seen for one in getattr(part, name)]
        whole = getattr(batch_of(model, cases), name)
        assert all(torch.equal(a, b) for a, b in zip(parts, whole, strict=True))


@BOTH
def test_a_published_backbone_keeps_its_first_stages(kind):
    cases = instanced(8, 32)
    model = made(kind, cases, "lite")
    backbone = (model.network if kind is YOLOSeg else model).backbone
    assert backbone.name == "efficientnet_lite"
    model.loss(batch_of(model, cases)).backward()
    early = list(backbone.stages[:3].parameters())
    assert early and not any(weight.requires_grad for weight in early)
    assert any(weight.grad is not None for weight in backbone.stages[3:].parameters())


def test_the_average_of_yolos_weights_answers():
    cases = instanced(4, 32)
    model = made(YOLOSeg, cases).eval()
    image = cases.input[:1].float() / 255
    with torch.no_grad():
        before = model.segment(image, 0.0)[0]
        for weight in model.network.parameters():
            weight.zero_()
        same = model.segment(image, 0.0)[0]
        assert all(torch.equal(a, b) for a, b in zip(before, same, strict=True))
        for weight in model.average.parameters():
            weight.zero_()
        assert not torch.equal(model.segment(image, 0.0)[0][0], before[0])


def test_the_average_of_yolos_weights_follows_after_each_part():
    cases = instanced(20, 32)
    model = made(YOLOSeg, cases)
    fast, slow = (each.coefficients[0][0].conv.weight for each in (model.network, model.average))
    before = slow.clone()
    with torch.no_grad():
        fast.fill_(1.0)
    assert len(list(model.updates(batch_of(model, cases), 1000))) == 2
    assert torch.allclose(slow, 1 + 0.95**2 * (before - 1), atol=1e-5)  # 0.95 stays each time
