"""Faster R-CNN and Fast R-CNN: matching, drawing and decoding by hand, proposals by what they find,
and their cache."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from shapes import shapes
from torch.nn import functional as F
from torchvision.ops import roi_align

from souron import registry
from souron.blocks import boxes, rcnn, selective_search
from souron.blocks.boxes import NOTHING, overlaps
from souron.data.dataset import ListColumn, Rows
from souron.kinds.picture import Picture
from souron.runs import fit
from souron.systems.detect import fast_rcnn
from souron.systems.detect.fast_rcnn import FastRCNN
from souron.systems.detect.faster_rcnn import FasterRCNN
from souron.tasks.detect import Batch, Spec, suppressed
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils import files

TASK = registry.load_task("detect")
BOTH = pytest.mark.parametrize("kind", [FasterRCNN, FastRCNN])


def made(kind, cases, size="tiny"):
    torch.manual_seed(0)
    return kind(kind.SIZES[size], TASK.spec(cases))


def batch_of(model, cases, target=None):
    return model.batch(Rows(cases.input, cases.target if target is None else ListColumn(target)))


def test_an_anchor_learns_what_it_overlaps_by_0_7_and_each_object_has_one():
    anchor = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 2], [40, 40, 60, 60]])
    true = torch.tensor([[0.0, 0, 10, 10], [42, 42, 46, 46]])
    found = rcnn.match_anchors(anchor, true)
    assert found.tolist() == [0, 0, rcnn.BETWEEN, NOTHING, 1]
    assert rcnn.match_anchors(anchor, true[:0]).tolist() == [NOTHING] * 5
    far = torch.tensor([[90.0, 90, 95, 95]])  # an object that no anchor touches claims none
    assert rcnn.match_anchors(anchor, far).tolist() == [NOTHING] * 5


def test_a_region_is_an_object_from_an_overlap_of_half_on():
    region = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 0.9], [50, 50, 60, 60]])
    true = torch.tensor([[0.0, 0, 10, 10]])
    high, low = rcnn.HALF, rcnn.HALF
    assert rcnn.match(region, true, high, low).tolist() == [0, NOTHING, NOTHING, NOTHING]
    far = fast_rcnn.FAR  # background that is nowhere near an object does not learn
    assert fast_rcnn.match(region, true).tolist() == [0, NOTHING, far, far]
    assert fast_rcnn.match(region, true[:0]).tolist() == [NOTHING] * 4


def test_of_what_learns_at_most_a_share_are_objects_and_the_rest_background():
    owner = torch.tensor([3] * 30 + [NOTHING] * 50 + [-2] * 20)
    rows = boxes.drawn(owner, 40, 0.25)
    assert len(rows) == 40 and len(set(rows.tolist())) == 40
    assert (owner[rows] >= 0).sum() == 10 and (owner[rows] == NOTHING).sum() == 30
    few = boxes.drawn(owner[28:], 40, 0.25)
    assert (owner[28:][few] >= 0).sum() == 2 and (owner[28:][few] == NOTHING).sum() == 38
    assert len(boxes.drawn(owner[:30], 40, 0.5)) == 20
    torch.manual_seed(1)
    assert set(boxes.drawn(owner, 40, 0.25).tolist()) != set(rows.tolist())


def test_the_places_of_a_region_are_those_of_torchvision():
    torch.manual_seed(0)
    x = torch.randn(5, 12, 16, requires_grad=True)
    corner = torch.rand(40, 2) * torch.tensor([10.0, 7.0])
    box = torch.cat([corner, corner + 0.3 + 5 * torch.rand(40, 2)], 1)
    row = torch.cat([torch.zeros(40, 1), box], 1)
    own, theirs = boxes.roi_align(x, box, 7), roi_align(x[None], row, 7, 1.0, 2, aligned=True)
    assert torch.allclose(own, theirs, atol=1e-5)
    pull = torch.randn(own.shape)
    gradients = [torch.autograd.grad((out * pull).sum(), x)[0] for out in (own, theirs)]
    assert torch.allclose(*gradients, atol=1e-4)


def test_a_large_region_is_taken_from_a_coarse_map_in_the_order_of_the_regions():
    levels = [torch.full((2, 1, 64 // 2**n, 64 // 2**n), float(n)) for n in range(4)]
    levels = [x + torch.tensor([0.0, 10.0])[:, None, None, None] for x in levels]
    sides = torch.tensor([448.0, 100, 224, 112])
    box = torch.stack([torch.zeros(4), torch.zeros(4), sides, sides], 1)
    found = rcnn.pooled(levels, [box, box[:2]])
    assert found.shape == (6, 1, 7, 7)
    assert found[:, 0, 3, 3].tolist() == [2, 0, 1, 0, 12, 10]


def test_anchors_have_every_scale_and_aspect_and_the_pyramid_adds_the_coarse_to_the_fine():
    model = made(FasterRCNN, shapes(2, 32)).eval()
    levels = [torch.zeros(1, 1, n, n) for n in (4, 2, 1, 1)]
    anchors = model.anchors(levels)
    assert [len(each) for each in anchors] == [96, 24, 6, 6]
    size = anchors[1][:6, 2:] - anchors[1][:6, :2]
    area, aspect = size.prod(1).sqrt(), size[:, 1] / size[:, 0]
    assert area.tolist() == pytest.approx([24.0] * 3 + [40.0] * 3, rel=1e-5)
    assert aspect.tolist() == pytest.approx([0.5, 1, 2] * 2, rel=1e-5)
    maps = [torch.zeros(1, c, n, n) for c, n in zip(model.backbone.maps, (4, 2, 1), strict=True)]
    quiet = model.pyramid(maps)
    maps[2] += 1.0
    loud = model.pyramid(maps)
    assert [x.shape[2] for x in loud] == [4, 2, 1, 1]
    assert all(not torch.equal(a, b) for a, b in zip(quiet, loud, strict=True))


def test_proposals_are_local_maxima_inside_the_picture_the_surest_first():
    model = made(FasterRCNN, shapes(2, 32)).eval()
    image = torch.zeros(1, 3, 32, 32)
    anchors = [
        torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 50, 50], [5, 5, 5.5, 20]]),
        torch.tensor([[0.0, 0, 10, 10]]),
    ]
    sure, offset = torch.tensor([[1.0, 2.0, 3.0, 9.0, 0.0]]), torch.zeros(1, 5, 4)
    [(box, score)] = model.proposals((sure, offset), anchors, image)
    assert box.tolist() == [[20, 20, 32, 32], [0, 0, 10, 9], [0, 0, 10, 10]]
    assert torch.allclose(score, torch.tensor([3.0, 2.0, 0.0]).sigmoid())


def test_the_losses_of_the_proposer_are_by_hand_what_they_should_be():
    model = made(FasterRCNN, shapes(2, 32))
    anchor = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    truth = torch.tensor([[2.0, 0, 0, 10, 12]])
    sure, offset = torch.tensor([[0.5, 9.0, -1.0]]), torch.zeros(1, 3, 4)
    loss = model.proposing((sure, offset), anchor, [truth])  # the second anchor lies between
    true = boxes.encode(truth[0, 1:], anchor[0], (1.0, 1.0))
    edges = torch.where(true < 1 / 9, 4.5 * true.square(), true - 0.5 / 9).sum()
    expected = (F.softplus(torch.tensor([-0.5, -1.0])).sum() + edges) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_judge_learns_each_label_with_its_own_offsets_and_from_true_boxes(monkeypatch):
    model = made(FasterRCNN, shapes(2, 32))
    truth = torch.tensor([[1.0, 4, 4, 20, 20]])
    region = torch.tensor([[4.0, 4, 20, 16], [0, 20, 10, 30]])
    logit = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    offset = torch.zeros(3, 3, 4)
    offset[:, [0, 2]] = 100.0  # of the other labels: not asked
    seen = []
    monkeypatch.setattr(rcnn, "pooled", lambda levels, chosen: seen.extend(chosen) or chosen)
    monkeypatch.setattr(model.judge, "forward", lambda part: (logit, offset))
    loss = model.judging([], *model.learning([region], [truth]), [truth])
    [box] = seen
    assert set(map(tuple, box.tolist())) == {(4, 4, 20, 16), (0, 20, 10, 30), (4, 4, 20, 20)}
    on = overlaps(truth[:, 1:], box)[0] >= 0.5
    wanted = torch.where(on, 2, 0)
    code = boxes.encode(truth[:, 1:].expand(2, 4), box[on], (10.0, 5.0))
    edges = F.smooth_l1_loss(torch.zeros(2, 4), code, reduction="sum")
    expected = F.cross_entropy(logit, wanted) + edges / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_half_of_the_anchors_and_a_quarter_of_the_regions_that_learn_are_objects_at_most():
    model = made(FasterRCNN, shapes(2, 32))
    true, far = torch.tensor([4.0, 4, 20, 20]), torch.tensor([24.0, 24, 30, 30])
    truth = torch.cat([torch.zeros(1), true])[None]
    sure = torch.cat([torch.zeros(1, 300), torch.full((1, 300), -99.0)], 1)
    anchor = torch.stack([true] * 300 + [far] * 300)
    loss = model.proposing((sure, torch.zeros(1, 600, 4)), anchor, [truth])
    assert loss.item() == pytest.approx(np.log(2) / 2, rel=1e-5)  # 128 of 256 cost log 2
    _box, [owner] = model.learning([torch.stack([true] * 40 + [far] * 40)], [truth])
    assert (owner == 0).sum() == 4 and (owner == NOTHING).sum() == 12


def test_the_judge_does_not_teach_the_proposer_by_way_of_its_regions():
    cases = shapes(4, 32)
    model = made(FasterRCNN, cases)
    batch = batch_of(model, cases)
    levels, regions, _loss = model.first(batch.image, batch.target)
    model.judging(levels, *model.learning(regions, batch.target), batch.target).backward()
    assert all(weight.grad is None for weight in model.proposer.parameters())
    assert all(weight.grad.any() for weight in model.judge.parameters())


def test_fast_rcnn_learns_what_the_paper_says(monkeypatch):
    """True boxes are regions, what is far from every object is none; each label has its own
    offsets."""
    model = made(FastRCNN, shapes(2, 32)).eval()
    truth = torch.tensor([[1.0, 4, 4, 20, 20]])
    region = torch.tensor([[4.0, 4, 20, 16], [4, 4, 20, 10], [22, 22, 30, 30]])
    logit = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    offset = torch.zeros(3, 3, 4)
    offset[:, [0, 2]] = 100.0  # of the other labels: not asked
    seen = []

    def outputs(_map, chosen):
        seen.extend(chosen)
        return logit[: len(chosen[0])], offset[: len(chosen[0])]

    monkeypatch.setattr(model, "outputs", outputs)
    loss = model.loss(fast_rcnn.Proposed(torch.zeros(1, 3, 32, 32), [truth], [region]))
    [box] = seen
    assert set(map(tuple, box.tolist())) == {(4, 4, 20, 16), (4, 4, 20, 10), (4, 4, 20, 20)}
    on = overlaps(truth[:, 1:], box)[0] >= 0.5
    code = boxes.encode(truth[:, 1:].expand(2, 4), box[on], (10.0, 5.0))
    edges = F.smooth_l1_loss(torch.zeros(2, 4), code, reduction="sum")
    expected = F.cross_entropy(logit, torch.where(on, 2, 0)) + edges / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_of_fast_rcnns_regions_that_learn_a_quarter_are_objects_at_most(monkeypatch):
    model = made(FastRCNN, shapes(2, 32)).eval()
    truth = torch.tensor([[1.0, 4, 4, 20, 20]])
    region = torch.tensor([[4.0, 4, 20, 16]] * 40 + [[4, 4, 20, 10]] * 40)
    seen = []

    def outputs(_map, chosen):
        seen.extend(chosen)
        return torch.zeros(len(chosen[0]), 4), torch.zeros(len(chosen[0]), 3, 4)

    monkeypatch.setattr(model, "outputs", outputs)
    model.loss(fast_rcnn.Proposed(torch.zeros(1, 3, 32, 32), [truth], [region]))
    on = overlaps(truth[:, 1:], seen[0])[0] >= 0.5
    assert len(on) == 16 and on.sum() == 4


def test_fast_rcnn_sees_the_largest_value_in_each_part_of_a_region(monkeypatch):
    model = made(FastRCNN, shapes(2, 32))
    x = torch.rand(1, 32, 14, 14, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(model, "judge", lambda part: part)
    region = torch.tensor([[0.0, 0, 112, 112], [64, 64, 104, 104]])  # eight pixels a place
    part = model.outputs(x, [region])
    assert part.shape == (2, 32, 7, 7) and torch.isin(part, x).all()  # none is a mean
    whole, corner = x[0].amax((1, 2)), x[0, :, 8:, 8:].amax((1, 2))
    assert torch.equal(part.amax((2, 3)), torch.stack([whole, corner]))


def test_each_label_may_have_its_own_edges():
    box = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60]], [[1.0, 0, 11, 10], [0, 0, 9, 9]]])
    score = torch.tensor([[0.9, 0.8], [0.7, 0.1]])
    found = suppressed(box, score, 0.05, 0.5)
    assert found[:, 0].tolist() == [0, 1, 1]
    assert found[:, 1:5].tolist() == [[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 9, 9]]


@BOTH
def test_a_batch_without_objects_has_a_loss_that_unlearns_and_crowds_are_not_learnt(kind):
    cases = shapes(8, 32)
    model = made(kind, cases)
    crowd = torch.tensor([[-2.0, 0, 0, 20, 20]])
    for target in (torch.zeros(0, 5), crowd):
        batch = batch_of(model, cases, [target] * 8)
        assert all(len(truth) == 0 for truth in batch.target)
        model.zero_grad()
        loss = model.loss(batch)
        assert loss.isfinite() and loss > 0
        loss.backward()
    bias = model.judge.label.bias.grad if kind is FasterRCNN else model.label.bias.grad
    assert bias[0] < 0 and (bias[1:] > 0).all()


@BOTH
def test_it_learns_to_find_shapes_in_pictures_it_never_saw(kind):
    train, test = shapes(200, 32, 2, seed=0), shapes(60, 32, 2, seed=1)
    model = made(kind, train)
    data = model.loader(train, TASK.augmentation(("shift", "mirror")))
    training = Trainer(model, data, model.loader(test), Budget.parse("10ep"), 16, 0, TASK)
    while not training.done:
        training.go(60)
    training.use_best()
    scores = TASK.validate(model, model.loader(test))
    assert scores["AP50"].mean() > 0.1, scores["AP50"].mean()


@BOTH
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 100)])
def test_it_takes_pictures_of_any_side(kind, channels, side):
    model = kind(kind.SIZES["tiny"], Spec(channels, side, ("a", "b"))).eval()
    found = model.detect(torch.rand(2, channels, side, side))
    assert len(found) == 2 and all(each.shape[1] == 6 for each in found)
    for each in found:
        assert each[:, 1:5].min() >= 0 and each[:, 1:5].max() <= side


@BOTH
def test_it_shows_its_proposals_and_the_boxes_that_it_finds(kind):
    cases = shapes(2, 32)
    model = made(kind, cases).eval()
    image = cases.input[:1].float() / 255
    for truth in (cases.target[0], torch.zeros(0, 5)):
        before, after = model.explain(image, truth)
        assert before.box.shape == (len(before.score), 4) and len(before.box)
        assert after.box.shape == (len(after.score), 4)
        assert before.score.min() >= 0 and before.score.max() <= 1
    if kind is FasterRCNN:
        assert len(before.box) <= 50 and (before.score.diff() <= 0).all()


def test_selective_search_finds_almost_every_object():
    cases = shapes(40, 64)
    hit, objects, count = 0, 0, 0
    for image, target in zip(cases.input, cases.target, strict=True):
        box = selective_search.search(image).float()
        count += len(box)
        assert box[-1].tolist() == [0, 0, 64, 64]
        assert box.min() >= 0 and box.max() <= 64
        hit += (overlaps(target[:, 1:], box).amax(1) >= 0.5).sum().item()
        objects += len(target)
    assert hit / objects > 0.97 and count / 40 < 300, (hit / objects, count / 40)


def test_regions_join_where_they_differ_little_and_alike_neighbours_merge_first():
    image = np.zeros((20, 30, 1))
    image[:, 10:20], image[:, 20:] = 100.0, 112.0
    region = selective_search.segments(image, 5.0)
    assert len(np.unique(region[:, [2, 14, 27]])) == 3
    assert len(np.unique(selective_search.segments(image, 1e6))) == 1
    three = np.repeat([[0, 1, 2]], 20, 0).repeat(10, 1)
    found = selective_search.merged(three, np.where(image == 112, 100, image))
    assert found.tolist() == [[0, 0, 10, 20], [10, 0, 20, 20], [20, 0, 30, 20], [10, 0, 30, 20], [0, 0, 30, 20]]


def cached():
    return sorted((files.cache_folder() / "proposals").glob("*.safetensors"))


def test_proposals_are_searched_once_and_again_where_the_file_is_damaged(monkeypatch):
    image = shapes(2, 32).input.float() / 255
    searched, search = [], selective_search.search
    monkeypatch.setattr(selective_search, "search", lambda p: searched.append(p) or search(p))
    first = selective_search.proposals(image[0])
    assert torch.equal(first, selective_search.proposals(image[0])) and len(searched) == 1
    selective_search.proposals(image[1])
    assert len(searched) == 2 and len(cached()) == 2
    for damage in (b"", b"no tensors"):
        for file in cached():
            file.write_bytes(damage)
        assert torch.equal(first, selective_search.proposals(image[0]))
    files.write_tensors(cached()[0], {"other": first}, {})
    files.write_tensors(cached()[1], {"box": first[:, :2]}, {})
    assert torch.equal(first, selective_search.proposals(image[0])) and len(searched) == 5


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(selective_search, "KEPT", 3)
    monkeypatch.setattr(selective_search, "LOOKED", 1)
    for image in shapes(6, 32).input.float() / 255:
        selective_search.proposals(image)
    assert len(cached()) == 3


@pytest.mark.parametrize("name", ["mirror", "shift"])
def test_proposals_move_with_the_pictures(name):
    cases = shapes(12, 32)
    model = made(FastRCNN, cases)
    loader = model.loader(cases, TASK.augmentation((name,)))
    batch = next(loader.endless(12))
    assert not any((truth[:, 0] < 0).any() for truth in batch.target)
    before = [selective_search.proposals(image / 255) for image in cases.input.float()]
    turned = [torch.stack([32 - b[:, 2], b[:, 1], 32 - b[:, 0], b[:, 3]], 1) for b in before]
    changed = 0
    for truth, region in zip(batch.target, batch.regions, strict=True):
        same = any(torch.equal(each, region) for each in before)
        changed += not same
        assert name == "shift" or same or any(torch.equal(each, region) for each in turned)
        assert overlaps(truth[:, 1:], region).amax(1).min() > 0.5
        assert region.min() >= 0 and region.max() <= 32
    assert changed > 2  # by chance half of them are mirrored


def test_before_it_learns_every_picture_is_searched_and_progress_is_told(monkeypatch):
    cases = shapes(20, 32)
    model = made(FastRCNN, cases)
    done = list(fit.features({"device": "cpu", "freeze": False, "augment": None}, cases, model))
    assert len(cached()) == 20
    shares = [event.fraction for event in done]
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 2
    assert {event.phase for event in done} == {"features"}
    monkeypatch.setattr(selective_search, "search", None)  # nothing is left to be searched
    loader = model.loader(cases, TASK.augmentation(("mirror",)))
    assert model.loss(next(loader.endless(20))).isfinite()
    other = made(FasterRCNN, cases)
    assert not list(fit.features({"device": "cpu", "freeze": False, "augment": None}, cases, other))


def test_a_new_picture_is_searched_on_the_spot(tmp_path):
    cases = shapes(2, 32)
    model = made(FastRCNN, cases).eval()
    assert not cached()
    picture = Picture.of(shapes(1, 40, seed=3).input[0])
    found = model.predict(picture, conf=0.0)
    assert len(cached()) == 1 and len(found.box)
    assert found.box.min() >= 0 and found.box.max() <= 40


def test_without_change_the_pictures_own_proposals_are_learnt_from(monkeypatch):
    cases = shapes(4, 32)
    model = made(FastRCNN, cases)
    batch = batch_of(model, cases)
    assert [len(each) for each in batch.regions] == [0] * 4
    asked, own = [], selective_search.proposals
    monkeypatch.setattr(fast_rcnn, "proposals", lambda image: asked.append(image) or own(image))
    assert model.loss(batch).isfinite() and len(asked) == 4


def test_a_batch_is_learnt_from_in_parts(monkeypatch):
    cases = shapes(33, 32)
    for kind in (FasterRCNN, FastRCNN):
        model, seen = made(kind, cases), []
        monkeypatch.setattr(model, "loss", seen.append)
        list(model.updates(batch_of(model, cases), 0))
        assert [len(part.image) for part in seen] == [7, 7, 7, 7, 5]
        assert [len(part.target) for part in seen] == [7, 7, 7, 7, 5]
        assert torch.equal(seen[4].target[4], cases.target[32])
        assert kind is FastRCNN or isinstance(seen[0], Batch)


@BOTH
def test_a_published_classifier_stands_in_place_of_the_backbone(kind):
    cases = shapes(2, 64)
    config = replace(kind.SIZES["tiny"], backbone="efficientnet_lite")
    model = kind(config, TASK.spec(cases))
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert frozen and all(name.startswith("backbone.stages") for name in frozen)
    loss = model.loss(batch_of(model, cases))
    loss.backward()
    assert loss.isfinite()
    learning = [w for w in model.backbone.stages[-1].parameters() if w.requires_grad]
    assert learning and all(weight.grad is not None for weight in learning)
