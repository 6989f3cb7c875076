"""Detectors: counted against what was published, each mechanism against a reference or a task that
cannot be solved without it."""

import numpy as np
import pytest
import torch
from shapes import shapes
from torch.nn import functional as F
from torchvision.ops import complete_box_iou_loss

from souron import registry
from souron.blocks import yolo
from souron.blocks.csp import SPPF, Bottleneck
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.systems.detect.yolo import YOLO
from souron.tasks.detect import Spec, suppressed
from souron.training.budget import Budget
from souron.training.loop import Run
from souron.training.trainer import Trainer

TASK = registry.load_task("detect")


def made(cases, size="tiny", seed=0):
    torch.manual_seed(seed)
    return YOLO(YOLO.SIZES[size], TASK.spec(cases))


@pytest.mark.parametrize("size, count", [("n", 3_157_200), ("s", 11_166_560), ("m", 25_902_640)])
def test_it_has_as_many_parameters_as_published(size, count):
    spec = Spec(3, 640, tuple(map(str, range(80))))
    model = summary.blueprint(YOLO, YOLO.SIZES[size], spec)
    assert summary.parameters(model) == count
    if size == "n":
        assert round(summary.flops(model, spec) / 1e9, 1) == 8.7


def test_it_learns_to_find_shapes_in_pictures_it_never_saw():
    train, test = shapes(400, 48, 2, seed=0), shapes(100, 48, 2, seed=1)
    model = made(train)
    augment = TASK.augmentation(("shift", "mirror"))
    fit = Trainer(model, model.loader(train, augment), model.loader(test), Budget.parse("12ep"), 16, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    scores = TASK.validate(model, model.loader(test))
    assert scores["AP50"].shape == (100,)
    assert scores["AP50"].mean() > 0.6, scores["AP50"].mean()


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 48), (3, 64), (1, 100)])
def test_it_takes_pictures_of_any_side(channels, side):
    model = YOLO(YOLO.SIZES["tiny"], Spec(channels, side, ("a", "b"))).eval()
    box, score = model(torch.rand(2, channels, side, side))
    assert box.shape[2] == 4 and score.shape == (2, box.shape[1], 2)
    assert all(len(found) <= 100 for found in model.detect(torch.rand(2, channels, side, side)))


def test_overlap_distance_and_aspect_are_those_of_torchvision():
    corner = torch.rand(200, 2) * 50
    box = torch.cat([corner, corner + 1 + torch.rand(200, 2) * 40], 1).requires_grad_()
    true = torch.cat([corner, corner + 1 + torch.rand(200, 2) * 40], 1) + 5
    own, theirs = 1 - yolo.ciou(box, true), complete_box_iou_loss(box, true)
    assert torch.allclose(own, theirs, atol=1e-5)
    gradients = [torch.autograd.grad(loss.sum(), box)[0] for loss in (own, theirs)]
    assert torch.allclose(*gradients, atol=1e-4)


def test_an_edge_is_the_mean_of_its_distribution_and_learns_both_bins_beside_the_truth():
    network = made(shapes(4, 64)).network
    place, stride = torch.tensor([[40.0, 40.0]]), torch.tensor([[8.0]])
    bins = torch.full((1, 1, 4, 16), -30.0)
    bins[0, 0, :, 2], bins[0, 0, :, 3] = 0.0, 0.0  # half in each: 2.5 strides
    edge = bins.flatten(2)
    assert network.boxes(edge, place, stride).tolist() == [[[20.0, 20.0, 60.0, 60.0]]]
    far = torch.full((1, 4), 2.5)
    least = yolo.distribution_focal(edge[0], far)
    assert least.item() == pytest.approx(np.log(2), abs=1e-5)
    other = yolo.distribution_focal(edge[0].roll(1, 1), far)
    assert other.item() > 10
    logits = torch.zeros(1, 64, requires_grad=True)
    yolo.distribution_focal(logits, torch.full((1, 4), 2.25)).sum().backward()
    pull = -logits.grad.view(4, 16)[0]
    assert pull.argmax() == 2 and pull[3] > 0 and (pull[[0, 1, 4, 15]] < 0).all()
    nearness = torch.tensor([0.75, 0.25])  # each bin is to hold as much as the truth is near it
    assert torch.allclose(pull[2:4], (nearness - 1 / 16) / 4)


def test_an_object_is_learnt_by_the_ten_places_inside_it_that_fit_best():
    place, _stride = yolo.places([(8, 8), (4, 4), (2, 2)], torch.device("cpu"))
    count = len(place)
    truth = torch.tensor([[[1, 0, 0, 40, 40], [0, 32, 0, 64, 24], [0, 0, 0, 0, 0]]]).float()
    there = torch.tensor([[True, True, False]])
    box = truth[:, :1, 1:].expand(1, count, 4) + torch.linspace(0, 20, count)[None, :, None]
    score = torch.full((1, count, 2), 0.5)
    owner, sure = yolo.assign(score, box, place, truth, there)
    first = (owner[0] == 0) & (sure[0] > 0)
    assert first.sum() == 10
    assert ((place[first] > 0) & (place[first] < 40)).all()
    inside = ((place > 0) & (place < 40)).all(1)
    assert inside.sum() > 10
    overlap = yolo.ciou(box[0], truth[0, 0, 1:]).clamp(min=0) * inside
    assert set(overlap.topk(10).indices.tolist()) == set(first.nonzero().flatten().tolist())
    best = int(overlap.argmax())  # the best place is to be as sure as it overlaps, the others less
    assert sure[0, best] == pytest.approx(float(overlap[best]))
    assert (sure[0, first] <= sure[0, best]).all()
    fit = (overlap / overlap[best]) ** 6 * overlap[best]  # all are as sure of the label
    assert torch.allclose(sure[0, first], fit[first])
    assert not (owner[0] == 2)[sure[0] > 0].any()
    surer = score.clone()
    surer[0, :, 1] = torch.where(first, 0.01, 0.9)  # what is surer of the label fits better
    moved = yolo.assign(surer, box, place, truth, there)
    assert set(((moved[0] == 0) & (moved[1] > 0)).nonzero()[:, 1].tolist()) != set(first.nonzero().flatten().tolist())


def test_a_place_that_two_objects_want_learns_the_one_that_it_overlaps_most():
    truth = torch.tensor([[[0.0, 0, 0, 24, 24], [1, 8, 8, 32, 32]]])
    place = torch.tensor([[16.0, 16.0], [4, 4], [28, 28]])
    score, there = torch.full((1, 3, 2), 0.5), torch.ones(1, 2, dtype=torch.bool)
    for own in (0, 1):
        box = truth[:, [own, 0, 1], 1:]
        owner, sure = yolo.assign(score, box, place, truth, there)
        assert owner[0].tolist() == [own, 0, 1] and (sure > 0.9).all()


def test_blocks_of_the_backbone_add_to_what_goes_in_and_those_of_the_pyramid_do_not():
    network = made(shapes(2, 64)).network.eval()
    blocks = {name: part for name, part in network.named_modules() if isinstance(part, Bottleneck)}
    for name, block in blocks.items():
        torch.nn.init.zeros_(block.second.bn.weight)  # so that it gives 0
        x = torch.randn(1, block.first.conv.in_channels, 5, 5)
        assert torch.equal(block(x), x if name.startswith("backbone") else torch.zeros_like(x))
    assert {name.partition(".")[0] for name in blocks} == {"backbone", "down4", "down3", "up4", "up5"}


def test_the_largest_values_around_are_of_5_9_and_13_places_a_side():
    layer, seen = SPPF(16).eval(), []
    layer.last.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    with torch.no_grad():
        layer(torch.randn(1, 16, 20, 20))
    own, *around = seen[0].chunk(4, 1)
    for reach, largest in zip((2, 4, 6), around, strict=True):
        assert torch.equal(largest, F.max_pool2d(own, 2 * reach + 1, 1, reach))


def test_its_loss_is_by_hand_what_its_formula_says():
    network = made(shapes(2, 64)).network
    sizes, true = [(8, 8), (4, 4), (2, 2)], torch.tensor([4.0, 4, 44, 40])
    place, stride = yolo.places(sizes, torch.device("cpu"))
    far = torch.cat([place - true[:2], true[2:] - place], 1) / stride
    random = torch.Generator().manual_seed(0)
    wide = torch.randn(2, len(place), 4, generator=random).abs()
    bins = -(torch.arange(16) - (far + wide)[..., None]).abs()  # of boxes that are too large
    edge, label = bins.flatten(2), torch.randn(2, len(place), 3, generator=random)
    target = [torch.cat([torch.ones(1), true])[None], torch.zeros(0, 5)]
    learnt = yolo.learn(network, (edge, label, sizes), target)
    box = network.boxes(edge, place, stride)
    truth, there = torch.stack([target[0], torch.zeros(1, 5)]), torch.tensor([[True], [False]])
    _owner, sure = yolo.assign(label.sigmoid(), box, place, truth, there)
    on, weight = sure > 0, sure[0][sure[0] > 0]
    assert torch.equal(learnt.on, on) and len(weight) == 10 and weight.sum() > 1.5
    wanted = torch.stack([torch.zeros_like(sure), sure, torch.zeros_like(sure)], 2)
    named = F.binary_cross_entropy_with_logits(label, wanted, reduction="sum")
    placed = ((1 - yolo.ciou(box[on], true)) * weight).sum()
    spread = yolo.distribution_focal(edge[on], far[on[0]].clamp(0, 14.99))
    expected = 7.5 * placed + 0.5 * named + 1.5 * (spread * weight).sum()
    assert learnt.loss.item() == pytest.approx((expected / weight.sum()).item(), rel=1e-4)


def test_the_pyramid_leads_down_and_back_up(monkeypatch):
    network = made(shapes(2, 64)).network.eval()
    maps = [
        torch.rand(1, count, side, side, requires_grad=True)
        for count, side in zip(network.maps, (8, 4, 2), strict=True)
    ]
    monkeypatch.setattr(network.backbone, "forward", lambda _image: maps)
    for level in network.levels(torch.zeros(1, 3, 64, 64)):
        slopes = torch.autograd.grad(level.sum(), maps, retain_graph=True)
        assert all(slope.any() for slope in slopes)


def test_every_label_begins_with_a_score_of_one_in_a_hundred():
    for branch in made(shapes(2, 64)).network.labels:
        assert branch[2].bias.sigmoid().tolist() == pytest.approx([0.01] * 3)


def test_of_boxes_of_one_label_that_overlap_the_surest_stays():
    box = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]])
    score = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.2, 0.0]])
    found = suppressed(box, score, 0.05, 0.7)
    assert found[:, 5].tolist() == pytest.approx([0.9, 0.3, 0.2])
    assert found[:, 0].tolist() == [0, 1, 0]  # label 1: the second box, not the first
    assert len(suppressed(box, score, 0.05, 0.95)) == 5
    assert len(suppressed(box, score, 0.95, 0.7)) == 0


def test_the_average_of_the_weights_answers_and_follows_slowly():
    cases = shapes(64, 64)
    model = made(cases)
    before = {name: tensor.clone() for name, tensor in model.average.state_dict().items()}
    steps = list(model.fit(model.loader(cases), Run(30, 16)))
    assert len(steps) == 30
    slow, fast = model.average.state_dict(), model.network.state_dict()
    name = "backbone.stage3.0.conv.weight"
    assert not torch.equal(slow[name], before[name]) and not torch.equal(slow[name], fast[name])
    statistic = "backbone.stage3.0.bn.running_mean"
    assert not torch.equal(slow[statistic], before[statistic])
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        model.eval()
        answered = model(image)[1]
        for weight in model.network.parameters():
            weight.zero_()
        assert torch.equal(model(image)[1], answered)
        for weight in model.average.parameters():
            weight.zero_()
        assert not torch.equal(model(image)[1], answered)


def test_a_batch_without_objects_has_a_loss_that_unlearns():
    cases = shapes(8, 64)
    model = made(cases)
    image = cases.input
    empty = [torch.zeros(0, 5) for _case in range(len(cases))]
    loss = model.loss(TASK.batch(Rows(image, empty), model.spec))
    assert loss.isfinite() and loss > 0
    loss.backward()
    bias = model.network.labels[0][2].bias.grad
    assert (bias > 0).all()


def test_it_shows_the_places_that_learn_an_object_and_the_boxes_that_it_finds():
    cases = shapes(4, 64)
    model = made(cases).eval()
    image, truth = cases.input[:1].float() / 255, cases.target[0]
    learning, found = model.explain(image, truth)
    size = learning.box[:, 2:] - learning.box[:, :2]
    assert len(size) and set(size.flatten().tolist()) <= {8, 16, 32}
    middle = (learning.box[:, :2] + learning.box[:, 2:]) / 2
    inside = (middle[:, None] > truth[:, 1:3]) & (middle[:, None] < truth[:, 3:])
    assert inside.all(2).any(1).all() and len(size) <= 10 * len(truth)
    assert learning.score.shape == (len(size),) and learning.score.min() > 0
    assert learning.score.max() <= 1 and found.box.shape == (len(found.score), 4)
    candidates, again = model.explain(image, torch.zeros(0, 5))
    with torch.no_grad():
        _box, score = model(image)
    assert candidates.score.tolist() == sorted(score[0].amax(1).tolist(), reverse=True)[:200]
    assert torch.equal(again.box, found.box) and len(candidates.box) == len(candidates.score)
