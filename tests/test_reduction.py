"""PCA, t-SNE, UMAP and the figures of a map, each beside a reference or its own equation."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn import manifold
from sklearn.decomposition import PCA as Reference
from sklearn.manifold._utils import _binary_search_perplexity
from torch import Tensor

from souron import registry
from souron.blocks.neighbours import nearest, neighbours
from souron.data.dataset import Dataset
from souron.evaluation.answers import Setup
from souron.metrics.reduction import continuity, shuffled_columns, trustworthiness
from souron.systems.reduce import pca, tsne, umap
from souron.tasks.reduce import Spec
from souron.training.loop import Run
from souron.utils.messages import UserError

KINDS = [pca.PCA, tsne.TSNE, umap.UMAP]


class Points:
    """What a system without a gradient learns from."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def all(self) -> Tensor:
        return self.points


def blobs(count: int = 150, features: int = 10, clusters: int = 3, apart: float = 4.0):
    """Points (N, D) around centres drawn by chance, and whose they are (N,)."""
    generator = torch.Generator().manual_seed(1)
    centres = apart * torch.randn(clusters, features, generator=generator)
    label = torch.arange(count) % clusters
    return centres[label] + torch.randn(count, features, generator=generator), label


def learn(kind, points: Tensor, config=None, steps: int = 10**9):
    """A system that has learnt, and the losses of its steps."""
    torch.manual_seed(0)
    system = kind(config or kind.SIZES["tiny"], Spec(points.shape[1], len(points)))
    progress = list(system.fit(Points(points), Run(steps)))
    return system, [next(iter(one.losses.values())).item() for one in progress]


@pytest.fixture(scope="module")
def points(digits) -> Tensor:
    """300 digits, (N, 64)."""
    return digits.input[:300].flatten(1).float() / 255


# every system


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_points_have_the_places_that_were_learnt(kind, points):
    system, losses = learn(kind, points)
    places = system(points)
    assert places.shape == (300, 2) and places.isfinite().all()
    assert min(losses[-5:]) < losses[0]
    if kind is not pca.PCA:
        assert torch.equal(places, system.places)
    order = torch.randperm(300)[:50]
    assert torch.allclose(system(points[order]), places[order], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_new_points_come_to_their_like(kind):
    points, label = blobs(200)
    system, _losses = learn(kind, points[:150])
    places, new = system(points[:150]), system(points[150:])
    assert new.isfinite().all()
    _distance, index = nearest(new, places, 1)
    assert torch.equal(label[:150][index[:, 0]], label[150:])


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_learnt_is_in_its_state(kind, points):
    system, _losses = learn(kind, points)
    again = kind(system.config, system.spec)
    again.load_state_dict(system.state_dict())
    mixed = (points[:20] + points[20:40]) / 2
    assert torch.equal(again(points), system(points))
    assert torch.equal(again(mixed), system(mixed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind, points):
    first, second = (learn(kind, points)[0] for _again in range(2))
    assert torch.equal(first(points), second(points))


@pytest.mark.parametrize("kind", [tsne.TSNE, umap.UMAP])
def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(kind, points):
    unbroken, _losses = learn(kind, points)
    torch.manual_seed(0)
    first = kind(unbroken.config, unbroken.spec)
    for progress in first.fit(Points(points), Run(10**9)):
        if progress.step == 20:
            break
    second = kind(unbroken.config, unbroken.spec)
    second.load_state_dict(first.state_dict())
    steps = [one.step for one in second.fit(Points(points), Run(10**9, start=21))]
    assert steps[0] == 21 and steps[-1] == unbroken.config.steps - 1
    assert torch.equal(second.places, unbroken.places)


@pytest.mark.parametrize("kind", KINDS)
def test_few_or_equal_points_have_places_too(kind):
    for few in (torch.rand(4, 3), torch.rand(3, 5).repeat(20, 1)):
        system, losses = learn(kind, few)
        assert all(map(math.isfinite, losses))
        assert system(few).isfinite().all() and system(few + 0.1).isfinite().all()


def test_shuffled_columns_are_mapped_anew():
    label = torch.zeros(150, dtype=torch.long)
    cases = Dataset("table", blobs()[0], label, ("",), [str(row) for row in range(150)])
    maps, setup = registry.load_task("reduce"), Setup(None, cases)
    system = pca.PCA(pca.Config(), pca.PCA.spec_for(cases))
    points = system.loader(cases).all()
    list(system.fit(Points(points), Run(10**9)))
    [step] = maps.answer(system, cases, {}, setup)
    *_before, further = maps.details(system, step.result, setup)
    shuffled = shuffled_columns(points, torch.Generator().manual_seed(0))
    places = learn(pca.PCA, shuffled)[0](shuffled)
    for name, figure in (("trustworthiness", trustworthiness), ("continuity", continuity)):
        assert torch.equal(step.result[name], figure(points, system(points)))
        found = further.result[f"{name}, columns shuffled"]
        torch.testing.assert_close(found, figure(shuffled, places))
        assert found.mean() < step.result[name].mean() - 0.1


# PCA


def test_pca_equals_scikit_learn(points):
    ours, _losses = learn(pca.PCA, points, pca.Config(5))
    theirs = Reference(5, svd_solver="full").fit(points.double().numpy())
    sign = np.sign((theirs.components_ * ours.components.numpy()).sum(1))
    places = theirs.transform(points.double().numpy()) * sign
    assert np.allclose(ours(points).numpy(), places, atol=1e-4)
    assert np.allclose(ours.explained.numpy(), theirs.explained_variance_ratio_, atol=1e-5)


def test_pca_gives_a_mirrored_component_the_same_sign(points):
    ours, _losses = learn(pca.PCA, points)
    mirrored, _losses = learn(pca.PCA, -points)
    assert torch.allclose(ours.components, mirrored.components, atol=1e-4)
    largest = ours.components.abs().argmax(1)
    assert (ours.components[torch.arange(2), largest] > 0).all()


def test_pca_refuses_points_on_a_line():
    with pytest.raises(UserError, match="span 1"):
        learn(pca.PCA, torch.arange(10.0)[:, None] * torch.ones(3))


# t-SNE


def test_tsne_affinities_have_the_perplexity_and_are_scikit_learns(points):
    squares = torch.cdist(points, points).square()
    squares.fill_diagonal_(torch.inf)
    p = tsne.affinities(squares, 25.0)
    entropy = -torch.special.xlogy(p, p).sum(1)
    assert torch.allclose(entropy.exp(), torch.full((300,), 25.0), rtol=1e-3)
    theirs = _binary_search_perplexity(torch.cdist(points, points).square().numpy(), np.float32(25.0), 0)
    assert np.allclose(p.numpy(), theirs, atol=1e-4)
    assert np.allclose(tsne.affinities(squares * 1e6, 25.0).numpy(), p.numpy(), atol=1e-5)


def test_tsne_joint_affinities_are_symmetric_and_sum_to_one(points):
    joint = tsne.joint_affinities(points, 10.0)
    assert torch.equal(joint, joint.T)
    assert joint.diagonal().eq(0).all()
    assert joint.sum().item() == pytest.approx(1, abs=1e-5)


def test_tsne_gradient_is_that_of_its_divergence(monkeypatch):
    monkeypatch.setattr(tsne, "CELLS", 7 * 20)  # rows in several parts
    joint = tsne.joint_affinities(torch.randn(20, 4), 5.0).double()
    places = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    by_hand = tsne.gradient(places.detach(), joint)
    by_autograd = torch.autograd.grad(tsne.divergence(places, joint), places)[0]
    assert torch.allclose(by_hand, by_autograd, atol=1e-10)

    def written_out() -> Tensor:
        t = 1 / (1 + (places[:, None] - places).square().sum(2))
        q = t / (t.sum() - 20)
        return torch.special.xlogy(joint, joint / q).sum()

    assert torch.allclose(written_out(), tsne.divergence(places, joint))
    # exaggerated, P no longer sums to 1; the gradient of -sum 12 P log Q without 12 log Z's share
    pull = by_hand + 4 * 11 * attraction(places.detach(), joint)
    assert torch.allclose(tsne.gradient(places.detach(), joint, 12.0), pull, atol=1e-9)


def attraction(places: Tensor, joint: Tensor) -> Tensor:
    apart = places[:, None] - places
    return ((joint / (1 + apart.square().sum(2)))[..., None] * apart).sum(1)


def test_tsne_exaggerates_the_first_third_only(points, monkeypatch):
    seen = []
    real = tsne.gradient

    def gradient(places, joint, exaggeration=1.0):
        seen.append(exaggeration)
        return real(places, joint, exaggeration)

    monkeypatch.setattr(tsne, "gradient", gradient)
    learn(tsne.TSNE, points[:60], tsne.Config(5.0, 30, 7.0))
    assert seen == [7.0] * 10 + [1.0] * 20


def test_tsne_rate_and_momentum_change_with_the_exaggeration(points, monkeypatch):
    seen = []
    monkeypatch.setattr(tsne.TSNE, "move", lambda self, uphill, *how: seen.append(how))
    learn(tsne.TSNE, points[:60], tsne.Config(5.0, 6, 7.0))
    assert seen == [(60 / 7 / 4, 0.5)] * 2 + [(60 / 4, 0.8)] * 4


def test_tsne_begins_on_the_principal_components_close_together(points):
    places = tsne.principal(points, 2)
    assert places[:, 0].std().item() == pytest.approx(1e-4, rel=1e-4)
    components = learn(pca.PCA, points)[0](points)
    scale = components[:, 0].std() / 1e-4
    assert torch.allclose(places * scale, components, atol=1e-3)


def test_tsne_gains_rise_where_a_coordinate_keeps_its_direction_and_fall_where_it_turns():
    system = tsne.TSNE(tsne.Config(), Spec(3, 2))
    system.velocity.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    uphill = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])  # the first coordinate goes on, downhill
    system.move(uphill, 0.5, 0.8)
    gains = torch.tensor([[1.2, 0.8], [1.2, 0.8]])
    assert torch.allclose(system.gains, gains)
    velocity = torch.tensor([[0.8, 0.8], [-0.8, -0.8]]) - 0.5 * gains * uphill
    assert torch.allclose(system.velocity, velocity)
    assert torch.allclose(system.places, velocity)  # whose mean is 0 already


def test_tsne_divergence_is_as_low_as_scikit_learns(points):
    ours, losses = learn(tsne.TSNE, points, tsne.Config(steps=750))
    theirs = manifold.TSNE(perplexity=30, init="pca", random_state=0, max_iter=750)
    theirs.fit(points.numpy())
    joint = tsne.joint_affinities(points, 30.0)
    their_places = torch.tensor(theirs.embedding_)
    # both end in minima near each other: on four sets of 300 digits ours was 0.89 to 1.04 of theirs
    assert losses[-1] < tsne.divergence(their_places, joint) * 1.1
    assert tsne.divergence(ours.places, joint).item() == pytest.approx(losses[-1], abs=1e-3)


def test_tsne_draws_a_map_to_be_trusted(digits):
    points = digits.input[:600].flatten(1).float() / 255
    system, _losses = learn(tsne.TSNE, points, tsne.Config(steps=300))
    assert trustworthiness(points, system.places).mean() > 0.985
    assert continuity(points, system.places).mean() > 0.98


def test_tsne_refuses_more_points_than_it_can_hold(monkeypatch, points):
    monkeypatch.setattr(tsne, "MOST", 200)
    with pytest.raises(UserError, match="300 points"):
        learn(tsne.TSNE, points)


# UMAP


def test_umap_curve_is_the_published_one():
    assert umap.curve(0.1) == pytest.approx((1.577, 0.895), abs=2e-3)  # as umap-learn prints
    assert umap.curve(0.001) == pytest.approx((1.929, 0.791), abs=3e-3)


def test_umap_memberships_sum_to_log2_k():
    distance = torch.rand(50, 12).sort(dim=1).values * 100
    weight = umap.memberships(distance)
    assert weight[:, 0].eq(1).all()
    assert torch.allclose(weight.sum(1), torch.full((50,), math.log2(12)), atol=1e-3)
    assert (weight.diff(dim=1) <= 0).all()


def test_umap_graph_of_four_points_by_hand():
    # on a line, at 0 1 3 7; k = 2, so that every row sums to log2 2 = 1: only the nearest counts
    edges, weight = umap.graph(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), 2)
    dense = torch.zeros(4, 4).index_put_((edges[0], edges[1]), weight)
    expected = torch.zeros(4, 4)
    for one, other in ((0, 1), (1, 2), (2, 3)):  # 0 and 1 chose each other: 1 + 1 - 1
        expected[one, other] = expected[other, one] = 1
    assert torch.allclose(dense, expected, atol=1e-3)


def test_umap_graph_is_the_fuzzy_union(points):
    edges, weight = umap.graph(points, 10)
    distance, index = neighbours(points, 10)
    one_way = torch.zeros(300, 300).scatter_(1, index, umap.memberships(distance))
    dense = torch.zeros(300, 300).index_put_((edges[0], edges[1]), weight)
    assert torch.allclose(dense, one_way + one_way.T - one_way * one_way.T, atol=1e-6)
    assert torch.equal(dense, dense.T) and weight.min() >= 0 and weight.max() <= 1


def test_umap_moves_down_the_slope_of_its_cross_entropy():
    system = umap.UMAP(umap.Config(negatives=0), Spec(3, 2))
    system.places.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.5]]))
    places = system.places.clone().requires_grad_()
    a, b = system.curve
    loss = (a * (places[0] - places[1]).square().sum() ** b).log1p()
    slope = torch.autograd.grad(loss, places)[0]
    system.move(torch.tensor([[0], [1]]), 0.01)
    assert torch.allclose(system.places, places.detach() - 0.01 * slope, atol=1e-6)


def test_umap_pushes_random_points_apart():
    torch.manual_seed(0)
    system = umap.UMAP(umap.Config(negatives=40), Spec(3, 3))
    system.places.copy_(torch.tensor([[0.0, 0.0], [0.0, 1e-9], [1.0, 0.0]]))
    system.move(torch.tensor([[0], [1]]), 0.01)
    assert system.places[0, 0] < -0.05  # away from the third; the second is its neighbour
    assert torch.equal(system.places[2], torch.tensor([1.0, 0.0]))  # only an edge's first end goes


def test_umap_pulls_an_edge_as_often_as_its_weight_says_and_ever_less(monkeypatch):
    points, _label = blobs(40)
    often: Counter[tuple[int, ...]] = Counter()
    rates = []

    def move(self, edges, rate):
        often.update(map(tuple, edges.T.tolist()))
        rates.append(rate)
        return torch.tensor(0.0)

    monkeypatch.setattr(umap.UMAP, "move", move)
    learn(umap.UMAP, points, umap.Config(5, steps=200))
    edges, weight = umap.graph(points, 5)
    share = torch.tensor([often[tuple(edge)] / 200 for edge in edges.T.tolist()])
    assert (share - weight / weight.max()).abs().max() < 0.15
    assert rates[0] == 1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 200)


def test_umap_pushes_no_further_than_four_at_once(monkeypatch):
    system = umap.UMAP(umap.Config(negatives=1), Spec(3, 3))
    system.places.copy_(torch.tensor([[0.0, 0.0], [0.03, 0.0], [0.0, 0.0]]))
    other = torch.tensor([1])  # the slope there is 28
    monkeypatch.setattr(torch, "randint", lambda *size, **more: other)
    system.move(torch.tensor([[0], [2]]), 1.0)
    assert system.places[0].tolist() == [-4.0, 0.0]


def test_umap_draws_a_map_to_be_trusted(digits):
    points = digits.input[:600].flatten(1).float() / 255
    system, _losses = learn(umap.UMAP, points, umap.Config(steps=150))
    assert trustworthiness(points, system.places).mean() > 0.97
    assert continuity(points, system.places).mean() > 0.97
    spread = system.places.std(0)
    assert (spread > 1.5).all()  # without pushes everything falls into one heap


# figures of a map


@pytest.mark.parametrize("k", [1, 5, 12])
def test_trustworthiness_equals_scikit_learns(k):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(120, 6, generator=generator)
    places = points[:, :2] + 0.5 * torch.randn(120, 2, generator=generator)
    ours = trustworthiness(points, places, k)
    theirs = manifold.trustworthiness(points.numpy(), places.numpy(), n_neighbors=k)
    assert ours.shape == (120,) and ours.mean().item() == pytest.approx(theirs, abs=1e-6)
    back = manifold.trustworthiness(places.numpy(), points.numpy(), n_neighbors=k)
    assert continuity(points, places, k).mean().item() == pytest.approx(back, abs=1e-6)


def test_trustworthiness_in_parts_is_the_same(monkeypatch):
    points, places = torch.randn(50, 4), torch.randn(50, 2)
    whole = trustworthiness(points, places)
    monkeypatch.setattr("souron.metrics.reduction.CELLS", 170)
    assert torch.equal(trustworthiness(points, places), whole)


def test_a_torn_map_loses_continuity_and_a_folded_one_trust():
    points = torch.rand(200, 1, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    torn = torch.where(points < 0.5, points, points - 10)
    folded = (points - 0.5).abs()
    assert continuity(points, torn).mean() < 1 and trustworthiness(points, folded).mean() < 0.9
    assert trustworthiness(points, torn).mean() > continuity(points, torn).mean()
    assert continuity(points, folded).mean() > 0.97
    with pytest.raises(ValueError, match="k=100"):
        trustworthiness(points, torn, 100)


def test_shuffled_columns_keep_each_feature_and_nothing_else():
    points, _label = blobs(300, 5, 2)
    shuffled = shuffled_columns(points, torch.Generator().manual_seed(3))
    assert torch.equal(shuffled.sort(dim=0).values, points.sort(dim=0).values)
    assert torch.corrcoef(points.T)[0, 1].abs() > 0.5
    off = torch.corrcoef(shuffled.T) - torch.eye(5)
    assert off.abs().max() < 0.2


# neighbours


def test_neighbours_are_exact_and_never_the_point_itself(monkeypatch):
    monkeypatch.setattr("souron.blocks.neighbours.CELLS", 1000)
    points = 1000 + torch.randn(90, 7)
    distance, index = neighbours(points, 6)
    exact = torch.cdist(points.double(), points.double())
    exact.fill_diagonal_(torch.inf)
    expected = exact.sort(dim=1)
    assert torch.equal(index, expected.indices[:, :6])
    assert torch.allclose(distance.double(), expected.values[:, :6], atol=1e-3)
    _distance, index = neighbours(torch.zeros(40, 3), 5)
    assert (index != torch.arange(40)[:, None]).all()
