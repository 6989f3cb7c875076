"""RetinaNet: its networks and its loss against torchvision's, the focal loss by hand."""

import pytest
import references
import torch
from references import RETINAS
from shapes import shapes
from torch import nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from souron import registry
from souron.blocks.boxes import NOTHING, decode, encode, overlaps
from souron.blocks.rcnn import BETWEEN, match_anchors
from souron.data.dataset import Rows
from souron.hub import published
from souron.systems.detect import retinanet
from souron.systems.detect.retinanet import RetinaNet, focal
from souron.tasks.detect import Batch, Maps, Spec
from souron.training.budget import Budget
from souron.training.trainer import Trainer

TASK = registry.load_task("detect")
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]


def made(cases):
    torch.manual_seed(0)
    return RetinaNet(RetinaNet.SIZES["tiny"], TASK.spec(cases))


def built(name, theirs, labels="abcd"):
    kind, config = registry.load_system(name)
    model = kind(config, Spec(3, 64, tuple(labels))).eval()
    model.load_state_dict(model.renamed(theirs.state_dict()))
    return model


def test_focusing_divides_the_loss_of_what_is_easy():
    p = torch.tensor([0.9, 0.5, 0.1])
    logit, one = p.logit(), torch.ones(3)
    plain = focal(logit, one, 0.0, 0.5)
    assert torch.allclose(2 * plain, -p.log())  # half of cross-entropy
    assert torch.allclose(plain / focal(logit, one, 2.0, 0.5), torch.tensor([100, 4, 1 / 0.81]), rtol=1e-4)
    background = focal(-logit, 0 * one, 2.0, 0.25)
    assert torch.allclose(background, 3 * focal(logit, one, 2.0, 0.25))  # 1 - alpha for alpha


def test_the_focal_loss_is_that_of_torchvision_and_its_gradient_finite():
    torch.manual_seed(0)
    logit, true = 5 * torch.randn(50, 3), (torch.rand(50, 3) < 0.2).float()
    expected = sigmoid_focal_loss(logit, true, 0.3, 1.5)
    torch.testing.assert_close(focal(logit, true, 1.5, 0.3), expected, atol=1e-6, rtol=1e-4)
    extreme = torch.tensor([-200.0, 0.0, 200.0], requires_grad=True)
    focal(extreme, torch.tensor([0.0, 1.0, 1.0]), 0.5, 0.25).sum().backward()
    assert extreme.grad.isfinite().all()


@pytest.mark.parametrize("name", RETINAS)
@torch.inference_mode()
def test_a_published_size_answers_as_torchvisions(name):
    """Maps, anchors, scores and boxes with random weights; in float64, since processors add up float32
    in orders of their own."""
    theirs = references.retina(name, 4).double()
    model = built(name, theirs).double()
    model.backbone.mean, model.backbone.std = MEAN, STD  # as theirs, not rounded to float32
    image = torch.rand(1, 3, 50, 77).double()
    seen, _targets = theirs.transform(list(image))
    assert seen.tensors.shape[2:] == (64, 96) and seen.image_sizes == [(50, 77)]
    maps = list(theirs.backbone(seen.tensors).values())
    levels = model.pyramid(model.backbone(image))
    for own, other in zip(levels, maps, strict=True):
        torch.testing.assert_close(own, other, atol=1e-8, rtol=1e-6)
    [anchor] = theirs.anchor_generator(seen, maps)
    assert torch.equal(torch.cat(model.anchors(levels)), anchor.float())
    said = theirs.head(maps)
    box, score = model(image)
    expected = said["cls_logits"].sigmoid()[..., 1:]  # without the background, which is never true there
    assert expected.std() > 0.1
    torch.testing.assert_close(score, expected.float(), atol=1e-6, rtol=1e-5)
    decoded = theirs.box_coder.decode_single(said["bbox_regression"][0], anchor)
    torch.testing.assert_close(box[0].float(), decoded.float(), atol=1e-3, rtol=1e-4)
    [found] = model.detect(image, 0.05, 0.5)
    assert (found[:, 1:5] >= 0).all() and (found[:, 3] <= 77).all() and (found[:, 4] <= 50).all()


@pytest.mark.parametrize("name", RETINAS)
def test_a_published_size_learns_the_loss_of_torchvision(name, monkeypatch):
    """torchvision's loss of version 1 is linear throughout."""
    theirs = references.retina(name, 4, min_size=64, max_size=96)
    model = built(name, theirs)
    monkeypatch.setattr(retinanet, "BETA", 1e-9)
    image = torch.rand(2, 3, 64, 96)
    truth = [torch.tensor([[1.0, 3, 3, 35, 40], [3, 50, 20, 90, 60]]), torch.zeros(0, 5)]
    ours = model.loss(Batch(image, truth))
    seen, _targets = theirs.transform(list(image))
    maps = list(theirs.backbone(seen.tensors).values())
    targets = [{"boxes": each[:, 1:], "labels": 1 + each[:, 0].long()} for each in truth]
    with torch.no_grad():  # of the background, which ours does not have
        head = theirs.head.classification_head.cls_logits
        head.weight.unflatten(0, (9, -1))[:, 0] = 0
        head.bias.view(9, -1)[:, 0] = -100
    expected = theirs.compute_loss(targets, theirs.head(maps), theirs.anchor_generator(seen, maps))
    assert expected["bbox_regression"] > 0.1
    assert ours.item() == pytest.approx(sum(each.item() for each in expected.values()), rel=1e-4)


def test_older_names_of_files_are_understood():
    theirs = references.retina("retinanet_resnet50_fpn", 4)
    model = built("retinanet_resnet50_fpn", theirs)
    old = dict(theirs.state_dict())
    for name in list(old):
        parts = name.split(".")
        if name.startswith("head") and parts[2] == "conv":  # head.classification_head.conv.3.0.bias
            old[".".join([*parts[:3], str(2 * int(parts[3])), parts[5]])] = old.pop(name)
        elif "_blocks" in name and parts[3].isdigit():  # backbone.fpn.inner_blocks.0.0.weight
            old[".".join([*parts[:4], parts[5]])] = old.pop(name)
    assert "head.regression_head.conv.6.bias" in old and "backbone.fpn.layer_blocks.2.weight" in old
    again = model.renamed(old)
    for name, held in model.state_dict().items():
        assert torch.equal(held, again[name]), name


@pytest.mark.parametrize("size, count", [("resnet50_fpn", 34_014_999 + 53_120), ("resnet50_fpn_v2", 38_198_935)])
def test_it_has_as_many_parameters_as_published(size, count):
    """The 53 120 of batch normalisation are frozen in version 1, and not counted there."""
    about = published.of_system(f"retinanet_{size}")
    kind, config = registry.load_system(f"retinanet_{size}")
    with torch.device("meta"):
        model = kind(config, Spec(3, 64, published.labels(about)))
    background = 9 * (256 * 9 + 1)  # of whose scores there is one for each anchor
    assert sum(p.numel() for p in model.parameters()) + background == count


def test_its_loss_is_what_the_paper_says():
    """The sum over all anchors but those between, of each image, by its positive anchors."""
    cases = shapes(4, 32)
    model = made(cases).eval()
    nn.init.zeros_(model.label.last.bias)  # no anchor is easy, so that each counts
    image = torch.rand(2, 3, 32, 32)
    truth = [torch.tensor([[1.0, 3, 3, 15, 15], [0, 14, 16, 30, 28]]), torch.tensor([[2.0, 10, 4, 30, 28]])]
    logit, offset, anchors = model.outputs(image)
    anchor, expected = torch.cat(anchors), 0.0
    for row, objects in enumerate(truth):
        owner = match_anchors(anchor, objects[:, 1:], 0.5, 0.4)
        on = owner >= 0
        assert 0 < on.sum() < (owner != BETWEEN).sum() < len(owner)
        wanted = torch.zeros_like(logit[row])
        for place in on.nonzero().flatten().tolist():
            wanted[place, int(objects[owner[place], 0])] = 1
        labels = sigmoid_focal_loss(logit[row], wanted, 0.25, 2.0)[owner != BETWEEN].sum()
        box = decode(offset[row, on], anchor[on], (1.0, 1.0))
        boxes = generalized_box_iou_loss(box, objects[owner[on], 1:], reduction="sum")
        expected += (labels + boxes) / on.sum() / len(truth)
    assert model.loss(Batch(image, truth)).item() == pytest.approx(expected.item(), rel=1e-4)


def test_in_version_1_a_small_error_of_an_offset_counts_by_its_square():
    model = RetinaNet(RetinaNet.SIZES["resnet50_fpn"], Spec(3, 64, ("a",)))
    anchor = torch.tensor([[0.0, 0, 10, 10]])
    true = torch.tensor([[0.0, 0, 10, 10]])
    assert encode(true, anchor, (1.0, 1.0)).abs().max() == 0
    offset = torch.tensor([[0.05, 1.0, 0.0, 0.0]])
    expected = 0.05**2 / 2 * 9 + (1 - 1 / 18)
    assert model.box_loss(offset, anchor, true).item() == pytest.approx(expected, rel=1e-5)


def test_an_anchor_is_positive_from_half_on_and_unused_from_0_4_on():
    anchor = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.5], [0, 0, 10, 3.9], [40, 40, 60, 60]])
    true = torch.tensor([[0.0, 0, 10, 10], [42, 42, 46, 46]])
    found = match_anchors(anchor, true, retinanet.OBJECT, retinanet.BACKGROUND)
    assert found.tolist() == [0, 0, BETWEEN, NOTHING, 1]


def test_every_score_begins_at_the_prior_and_the_head_is_one_for_all_levels():
    cases = shapes(4, 64)
    model = made(cases).eval()
    with torch.no_grad():
        model.label.last.weight.zero_()
        box, score = model(torch.rand(2, 3, 64, 64))
    assert torch.allclose(score, torch.tensor(0.01))
    count = 9 * sum(side**2 for side in (8, 4, 2, 1, 1))
    assert box.shape == (2, count, 4) and score.shape == (2, count, 3)
    assert sum("label.last" in name for name, _weight in model.named_parameters()) == 2


def test_the_small_sizes_have_nine_anchors_around_each_cell():
    model = made(shapes(2, 64))
    anchors = model.anchors([torch.zeros(1, 1, side, side) for side in (8, 4, 2, 1, 1)])
    first = anchors[1][:9]
    assert torch.allclose((first[:, :2] + first[:, 2:]) / 2, torch.tensor(8.0))
    size = first[:, 2:] - first[:, :2]
    assert size.prod(1).sqrt().tolist() == pytest.approx([32 * s for s in (1, 1.2599, 1.5874) for _a in range(3)], 1e-3)
    assert (size[:, 1] / size[:, 0]).tolist() == pytest.approx([0.5, 1, 2] * 3)


def test_a_batch_without_objects_has_a_loss_that_lowers_every_score():
    cases = shapes(8, 32)
    model = made(cases)
    loss = model.loss(TASK.batch(Rows(cases.input, [torch.zeros(0, 5)] * 8), model.spec))
    loss.backward()
    assert loss.isfinite() and (model.label.last.bias.grad > 0).all()
    assert not model.offset.last.bias.grad.any()


def test_a_batch_is_learnt_from_in_parts_and_of_a_published_size_two_images_at_a_time(monkeypatch):
    cases = shapes(33, 32)
    for size, expected in (("tiny", [11, 11, 11]), ("resnet50_fpn", [2] * 16 + [1])):
        model, seen = RetinaNet(RetinaNet.SIZES[size], TASK.spec(cases)), []
        monkeypatch.setattr(model, "loss", lambda batch, seen=seen: seen.append(batch))
        batch = TASK.batch(Rows(cases.input, cases.target), model.spec)
        list(model.updates(batch, 0))
        assert [len(part.image) for part in seen] == expected
        assert torch.equal(seen[-1].target[-1], batch.target[32])


def test_it_learns_to_find_shapes_in_images_it_never_saw():
    train, test = shapes(300, 32, 2, seed=0), shapes(100, 32, 2, seed=1)
    model = made(train)
    augment = TASK.augmentation(("shift", "mirror"))
    data = model.loader(train, augment)
    fit = Trainer(model, data, model.loader(test), Budget.parse("8ep"), 16, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    scores = TASK.validate(model, model.loader(test))
    assert scores["AP50"].mean() > 0.2, scores["AP50"].mean()


def test_it_shows_the_anchors_that_learn_and_the_share_of_background_in_either_loss():
    cases = shapes(2, 64)
    model = made(cases).eval()
    image = cases.input[:1].float() / 255
    learning, loss, found = model.explain(image, cases.target[0])
    objects = overlaps(learning.box, cases.target[0][:, 1:]).max(1).values
    assert torch.allclose(learning.score, objects, atol=1e-6) and len(learning.box) >= len(cases.target[0])
    assert isinstance(loss, Maps) and loss.drawn == "heat"
    assert [values.shape for _name, values in loss.maps] == [(8, 8)] * 2
    assert all(values.max() == 1 and values.min() >= 0 for _name, values in loss.maps)
    logit, _offset, anchors = model.outputs(image)
    owner = match_anchors(torch.cat(anchors), cases.target[0][:, 1:], 0.5, 0.4)
    wanted = model.wanted(owner, cases.target[0])
    for each in (
        F.binary_cross_entropy_with_logits(logit[0], wanted, reduction="none"),
        focal(logit[0], wanted, 2, 0.25),
    ):
        share = each[owner == NOTHING].sum() / each[owner != BETWEEN].sum()
        assert f"{share:.0%}" in loss.caption
    assert found.box.shape == (len(found.score), 4)
    candidates, again = model.explain(image, torch.zeros(0, 5))
    assert torch.equal(again.box, found.box) and len(candidates.box) == len(candidates.score)
