"""SSD: its network against torchvision's, its matching, mining and loss against numbers by hand."""

import pytest
import torch
from shapes import shapes
from torch.nn import functional as F
from torchvision.models.detection import ssd300_vgg16

from souron import registry
from souron.blocks.boxes import around, decode, encode, overlaps
from souron.data.dataset import Rows
from souron.systems.detect import ssd
from souron.systems.detect.ssd import SSD
from souron.tasks.detect import Batch, Spec
from souron.training.budget import Budget
from souron.training.trainer import Trainer

TASK = registry.load_task("detect")


def made(cases, size="tiny"):
    torch.manual_seed(0)
    return SSD(SSD.SIZES[size], TASK.spec(cases))


def test_offsets_and_boxes_are_inverse_and_an_offset_is_by_hand_what_it_should_be():
    torch.manual_seed(0)
    corner = torch.rand(2, 50, 2) * 40
    box, anchor = (torch.cat([each, each + 2 + 30 * torch.rand(50, 2)], 1) for each in (corner[0], corner[1]))
    offset = encode(box, anchor, ssd.SCALE)
    assert torch.allclose(decode(offset, anchor, ssd.SCALE), box, atol=1e-3)
    anchor, box = torch.tensor([0.0, 0, 10, 20]), torch.tensor([5.0, 0, 25, 20])
    expected = torch.tensor([10 * 10 / 10, 0, 5 * torch.tensor(2.0).log(), 0])
    assert torch.allclose(encode(box, anchor, (10.0, 5.0)), expected)
    assert decode(torch.full((4,), 1e4), anchor, (10.0, 5.0)).isfinite().all()


def test_default_boxes_lie_around_each_place_row_by_row():
    sizes = torch.tensor([[4.0, 2.0], [2.0, 4.0]])
    found = around(2, 3, 8.0, sizes)
    assert found.shape == (12, 4)
    assert found[0].tolist() == [2, 3, 6, 5] and found[1].tolist() == [3, 2, 5, 6]
    assert found[2].tolist() == [10, 3, 14, 5]  # to the right first
    assert found[6].tolist() == [2, 11, 6, 13]


def test_a_box_learns_what_it_overlaps_by_half_and_each_object_has_its_best_box():
    default = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4.9], [40, 40, 60, 60], [70, 70, 75, 75]])
    true = torch.tensor([[0.0, 0, 10, 10], [42, 42, 46, 46]])
    assert overlaps(true, default)[1].max() < 0.5  # a small object, which no box overlaps by half
    assert ssd.match(default, true).tolist() == [0, 0, -1, 1, -1]
    assert ssd.match(default, true[:0]).tolist() == [-1] * 5
    twins = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])  # one box is the best of both
    assert ssd.match(default, twins).tolist() == [0, 1, 1, -1, -1]


def test_three_boxes_learn_background_for_each_that_learns_an_object_the_most_mistaken():
    torch.manual_seed(0)
    loss = torch.rand(3, 40)
    matched = torch.zeros(3, 40, dtype=torch.bool)
    matched[0, :2] = True
    matched[1, :20] = True
    loss[0, :2] = 9.0  # what learns an object is no background, however mistaken
    chosen = ssd.hardest(loss, matched)
    assert chosen.sum(1).tolist() == [6, 20, 3]
    assert not (chosen & matched).any()
    assert set(chosen[0].nonzero().flatten().tolist()) == set((loss[0, 2:].topk(6).indices + 2).tolist())


def test_its_loss_is_what_the_paper_says():
    cases = shapes(4, 32)
    model = made(cases).eval()
    truth = [torch.tensor([[1.0, 3, 3, 15, 15]]), torch.tensor([[2.0, 10, 4, 30, 28]])]
    image = torch.rand(2, 3, 32, 32)
    offset, logit, default = model.outputs(image)
    total, count = 0.0, 0
    for row, [[label, *edges]] in enumerate(each.tolist() for each in truth):
        true = torch.tensor([edges])
        on = ssd.match(default, true) >= 0
        background = -logit[row].log_softmax(1)[:, 0]
        total = total - logit[row].log_softmax(1)[on, 1 + int(label)].sum()
        total = total + background[~on].topk(3 * int(on.sum())).values.sum()
        code = encode(true.expand(int(on.sum()), 4), default[on], (10.0, 5.0))
        total = total + F.smooth_l1_loss(offset[row][on], code, reduction="sum")
        count += int(on.sum())
    assert model.loss(Batch(image, truth)).item() == pytest.approx((total / count).item(), rel=1e-5)


def test_a_batch_without_objects_has_a_loss_that_unlearns_and_crowds_are_not_learnt():
    cases = shapes(8, 32)
    model = made(cases)
    crowd = torch.tensor([[-2.0, 0, 0, 20, 20]])
    for target in (torch.zeros(0, 5), crowd):
        batch = TASK.batch(Rows(cases.input, [target] * 8), model.spec)
        loss = model.loss(batch)
        assert loss.isfinite() and loss > 0
    loss.backward()
    bias = model.head["classification_head"].module_list[0].bias.grad.view(6, 4)
    assert (bias[:, 0] <= 0).all() and bias[:, 0].sum() < 0  # more background


def test_a_batch_is_learnt_from_in_parts_of_about_equal_size(monkeypatch):
    cases = shapes(33, 32)
    model, seen = made(cases), []
    monkeypatch.setattr(model, "loss", lambda batch: seen.append(batch))
    batch = TASK.batch(Rows(cases.input, cases.target), model.spec)
    list(model.updates(batch, 0))
    assert [len(part.image) for part in seen] == [11, 11, 11]
    assert all(len(part.target) == 11 for part in seen)
    assert torch.equal(seen[2].target[10], batch.target[32])


@pytest.mark.parametrize("channels, side, maps", [(1, 8, 3), (3, 32, 3), (3, 100, 5), (3, 128, 5)])
def test_its_maps_end_with_one_place_and_its_scales_follow_the_formula(channels, side, maps):
    model = SSD(SSD.SIZES["tiny"], Spec(channels, side, ("a", "b"))).eval()
    image = torch.rand(2, channels, side, side)
    found = model.backbone(image)
    assert len(found) == maps and found[-1].shape[2:] == (1, 1)
    box, score = model(image)
    assert box.shape == (2, 6 * sum(x[0, 0].numel() for x in found), 4)
    assert score.shape == (2, box.shape[1], 2)
    default = model.defaults([x.shape[2:] for x in found], image)
    size = (default[:, 2:] - default[:, :2]) / side
    assert size[0].tolist() == pytest.approx([0.2, 0.2])
    assert size[-6].tolist() == pytest.approx([0.9, 0.9])
    second = 0.2 + 0.7 / (maps - 1)  # between two scales lies a square
    assert size[1].tolist() == pytest.approx([(0.2 * second) ** 0.5] * 2)
    assert size[-5].tolist() == pytest.approx([(0.9 * 1.07) ** 0.5] * 2)
    assert size[4].tolist() == pytest.approx([0.2 * 3**0.5, 0.2 / 3**0.5])


def test_the_published_network_answers_as_that_of_torchvision():
    """Every layer by its name, default boxes and decoding, with random weights; in float64, since
    processors add up float32 in orders of their own."""
    torch.manual_seed(0)
    theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=4).eval().double()
    model = SSD(SSD.SIZES["300"], Spec(3, 300, ("a", "b", "c"))).eval().double()
    model.load_state_dict(theirs.state_dict())
    image = torch.rand(1, 3, 300, 300).double()
    with torch.inference_mode():
        box, score = model(image)
        scaled, _targets = theirs.transform(list(image))
        maps = list(theirs.backbone(scaled.tensors).values())
        said = theirs.head(maps)
        [default] = theirs.anchor_generator(scaled, maps)
    expected = said["cls_logits"].softmax(2)[..., 1:].float()  # SSD answers in float32
    assert torch.allclose(score, expected, atol=1e-6)
    decoded = theirs.box_coder.decode_single(said["bbox_regression"][0], default)
    assert box.shape == (1, 8732, 4)
    assert torch.allclose(box[0], decoded.float(), atol=1e-3)


def test_it_learns_to_find_shapes_in_pictures_it_never_saw():
    train, test = shapes(300, 32, 2, seed=0), shapes(100, 32, 2, seed=1)
    model = made(train)
    augment = TASK.augmentation(("shift", "mirror"))
    data = model.loader(train, augment)
    fit = Trainer(model, data, model.loader(test), Budget.parse("8ep"), 16, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    scores = TASK.validate(model, model.loader(test))
    assert scores["AP50"].mean() > 0.35, scores["AP50"].mean()


def test_it_shows_the_default_boxes_that_learn_and_the_boxes_that_it_finds():
    cases = shapes(2, 32)
    model = made(cases).eval()
    image = cases.input[:1].float() / 255
    learning, found = model.explain(image, cases.target[0])
    objects = overlaps(learning.box, cases.target[0][:, 1:]).max(1).values
    assert torch.allclose(learning.score, objects, atol=1e-6)
    assert len(learning.box) >= len(cases.target[0])
    assert found.box.shape == (len(found.score), 4)
    candidates, again = model.explain(image, torch.zeros(0, 5))
    with torch.no_grad():
        _box, score = model(image)
    assert candidates.score.tolist() == sorted(score[0].amax(1).tolist(), reverse=True)[:200]
    assert torch.equal(again.box, found.box) and len(candidates.box) == len(candidates.score)
