"""Landmarks: each mechanism against a reference or a task that cannot be solved without it."""

import numpy as np
import pytest
import torch
from shapes import marks
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.systems.keypoints import heatmap_points as points
from souron.systems.keypoints.heatmap_points import Config, HeatmapPoints
from souron.tasks.keypoints import Batch, Spec
from souron.training.budget import Budget
from souron.training.loop import Run
from souron.training.trainer import Trainer

TASK = registry.load_task("keypoints")


def made(cases, size="tiny", seed=0, **changes):
    torch.manual_seed(seed)
    config = HeatmapPoints.SIZES[size]
    return HeatmapPoints(type(config)(**{**vars(config), **changes}), TASK.spec(cases))


def test_it_learns_to_find_marks_in_pictures_it_never_saw():
    train, test = marks(300, 32, seed=0), marks(100, 32, seed=1)
    model = made(train)
    augment = TASK.augmentation(("shift", "brightness"))
    fit = Trainer(model, model.loader(train, augment), model.loader(test), Budget.parse("7ep"), 30, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    scores = TASK.validate(model, model.loader(test))
    pixels = scores["mean radial error in pixels"]
    assert pixels.shape == (100,)
    assert pixels.mean() < 0.6, pixels.mean()  # finer than a pixel
    assert scores["mean radial error"].mean() == pytest.approx(0.5 * float(pixels.mean()))
    found, score = model.found(model.loader(test))
    right = (found - test.target).norm(dim=2) < 1
    assert score[right].mean() > 0.8


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 32), (1, 50), (1, 100)])
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_it_takes_pictures_of_any_side(channels, side, size):
    spec = Spec(channels, side, ("a", "b"))
    model = HeatmapPoints(HeatmapPoints.SIZES[size], spec).eval()
    image = torch.rand(2, channels, side, side)
    place, score = model(image)
    assert place.shape == (2, 2, 2) and score.shape == (2, 2)
    assert (place >= 0).all() and (place <= side).all() and (score <= 1.0001).all()
    maps = model.maps(image)
    assert maps.shape == (2, 2, side, side)
    assert torch.allclose(maps.sum((2, 3)), torch.ones(2, 2), atol=1e-4)


@pytest.mark.parametrize("size", list(HeatmapPoints.SIZES))
def test_every_size_is_built(size):
    spec = TASK.example(HeatmapPoints, size)
    model = summary.blueprint(HeatmapPoints, HeatmapPoints.SIZES[size], spec)
    assert summary.flops(model, spec) > 0
    tiny = summary.blueprint(HeatmapPoints, HeatmapPoints.SIZES["tiny"], spec)
    assert summary.parameters(model) >= summary.parameters(tiny)


def test_the_loss_is_the_cross_entropy_with_a_normal_distribution_around_the_place():
    logits = torch.randn(2, 3, 12, 10, requires_grad=True)
    place = torch.rand(2, 3, 2) * torch.tensor([10.0, 12.0])
    loss = points.cross_entropy(logits, place, 1.3)
    x, y = torch.arange(10) + 0.5, torch.arange(12) + 0.5
    far = (x[None] - place[..., :1]).square()[:, :, None] + ((y - place[..., 1:]).square()[..., None])
    q = torch.exp(-0.5 * far / 1.3**2).flatten(2)
    q = q / q.sum(2, keepdim=True)
    expected = F.cross_entropy(logits.flatten(0, 1).flatten(1), q.flatten(0, 1))
    assert torch.allclose(loss, expected, atol=1e-5)
    # it is least where the map is that distribution
    best = points.cross_entropy(q.log().view(2, 3, 12, 10), place, 1.3)
    assert best < loss and best < points.cross_entropy(logits.detach() * 5, place, 1.3)


def test_landmarks_that_are_not_marked_are_not_learnt():
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    place = torch.tensor([[[2.0, 2.0], [torch.nan, 3.0]], [[torch.nan] * 2, [5.0, 5.0]]])
    loss = points.cross_entropy(logits, place, 1.0)
    assert loss.isfinite()
    loss.backward()
    moved = logits.grad.abs().sum((2, 3)) > 0
    assert moved.tolist() == [[True, False], [False, True]]
    nothing = points.cross_entropy(logits, torch.full((2, 2, 2), torch.nan), 1.0)
    assert nothing == 0 and not torch.autograd.grad(nothing, logits)[0].any()


def test_a_place_is_finer_than_a_pixel_and_far_places_do_not_pull():
    x, y = torch.arange(20) + 0.5, torch.arange(16) + 0.5
    for true in ([7.3, 4.9], [12.0, 9.5], [3.55, 11.2]):
        far = (x[None] - true[0]) ** 2 + (y[:, None] - true[1]) ** 2
        blob = torch.exp(-0.5 * far)
        chance = blob / blob.sum()
        [[place]], [[held]] = points.around_the_peak(chance[None, None], 3)
        assert np.abs(place.numpy() - true).max() < 0.02 and held > 0.98
        other = 0.6 * chance
        other[15, 19] += 0.05
        other = other / other.sum()
        [[there]], [[less]] = points.around_the_peak(other[None, None], 3)
        assert (there - place).abs().max() < 1e-3 and less < held - 0.05


def test_a_place_at_the_edge_stays_in_the_picture():
    chance = torch.zeros(1, 2, 9, 9)
    chance[0, 0, 0, 0] = chance[0, 1, 8, 8] = 1
    place, held = points.around_the_peak(chance, 3)
    assert place.tolist() == [[[0.5, 0.5], [8.5, 8.5]]] and held.tolist() == [[1, 1]]


@torch.no_grad()
def test_the_way_up_sees_each_level_of_the_way_down():
    network = made(marks(2, 32)).network.eval()
    kept, seen = [], []
    for level in network.down:
        level.register_forward_hook(lambda _level, _given, out: kept.append(out))
    for level in network.up:
        level.register_forward_pre_hook(lambda _level, given: seen.append(given[0]))
    network(torch.rand(1, 1, 32, 32))
    for before, given in zip(kept[-2::-1], seen, strict=True):
        assert torch.equal(given[:, -before.shape[1] :], before) and before.any()


def test_it_is_told_where_each_place_lies():
    """Two landmarks on a picture that is the same everywhere: only coordinates part them."""
    image = torch.zeros(16, 1, 32, 32)
    place = torch.tensor([[8.0, 8.0], [24.0, 20.0]]).expand(16, -1, -1)
    model = HeatmapPoints(Config(width=8, levels=2, rate=1e-2), Spec(1, 32, ("a", "b")))
    optimizer = model.optimizers()["model"]
    for _step in range(60):
        optimizer.zero_grad()
        model.loss(Batch(image, place)).backward()
        optimizer.step()
    model.eval()
    # two levels see a few pixels only: from the middle the border is not seen
    assert (model(image)[0] - place).norm(dim=2).max() < 3
    grid = points.places(torch.zeros(2, 5, 3, 4))
    assert grid.shape == (2, 2, 3, 4)
    assert grid[0, 0, 0].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert grid[1, 1, :, 0].tolist() == pytest.approx([-1, 0, 1])


def test_a_batch_is_learnt_in_parts():
    cases = marks(40, 32)
    model = made(cases)
    batch = TASK.batch(Rows(cases.input, cases.target), model.spec)
    losses = [loss for _name, loss in model.updates(batch, 0)]
    assert len(losses) == -(-40 // points.AT_ONCE)
    steps = list(model.fit(model.loader(cases), Run(3, 20)))
    assert len(steps) == 3 and not model.training
