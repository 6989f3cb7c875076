"""Hierarchical clustering, HDBSCAN and the figures of clusters, beside scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn import metrics
from sklearn.cluster import HDBSCAN as Reference
from sklearn.datasets import make_blobs, make_moons
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Setup
from souron.metrics.clustering import adjusted_rand, agreement_of_halves, silhouette
from souron.systems.cluster import hdbscan, hierarchical
from souron.tasks import cluster as task
from souron.tasks.cluster import Spec
from souron.training.loop import Run
from souron.utils.messages import UserError

KINDS = [hierarchical.Hierarchical, hdbscan.HDBSCAN]


class Points:
    """What a system without a gradient learns from."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def all(self) -> Tensor:
        return self.points


def learn(kind, points: Tensor, config=None):
    system = kind(config or kind.SIZES["tiny"], Spec(points.shape[1], len(points)))
    steps = [progress.step for progress in system.fit(Points(points), Run(10**9))]
    assert steps == list(range(len(points) - 1))
    return system


def blobs(count: int = 240, seed: int = 0, spread=(0.5, 1.0, 1.5)):
    """Three clouds of unlike density (N, 2), and whose each point is (N,)."""
    points, label = make_blobs(count, centers=[[-6, 0], [0, 6], [7, 0]], cluster_std=spread, random_state=seed)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(label)


def same(first: Tensor, second) -> bool:
    """Equal up to the clusters' numbers, noise being noise."""
    second = torch.as_tensor(np.asarray(second))
    return torch.equal(first < 0, second < 0) and adjusted_rand(first, second) == 1


# every system


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_points_have_the_labels_that_were_learnt(kind):
    points, label = blobs()
    system = learn(kind, points)
    labels = system(points)
    assert labels.dtype == torch.int64 and labels.shape == (240,)
    assert adjusted_rand(labels[labels >= 0], label[labels >= 0]) > 0.95
    order = torch.randperm(240)[:100]
    assert torch.equal(system(points[order]), labels[order])


@pytest.mark.parametrize("kind", KINDS)
def test_new_points_join_their_like(kind):
    points, _label = blobs()
    new, truth = blobs(90, seed=7)
    system = learn(kind, points)
    labels = system(new)
    assert (labels >= 0).float().mean() > 0.8
    assert adjusted_rand(labels[labels >= 0], truth[labels >= 0]) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_learnt_is_in_its_state_and_is_learnt_again_the_same(kind):
    points, _label = blobs()
    system, second = learn(kind, points), learn(kind, points)
    again = kind(system.config, system.spec)
    again.load_state_dict(system.state_dict())
    kept = system.state_dict()
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, kept[name]), name
    new = blobs(50, seed=3)[0]
    assert torch.equal(again(points), system(points)) and torch.equal(again(new), system(new))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(kind):
    points, _label = blobs(60)
    unbroken, resumed = learn(kind, points), kind(kind.SIZES["tiny"], Spec(2, 60))
    steps = [one.step for one in resumed.fit(Points(points), Run(10**9, start=20))]
    assert steps == list(range(20, 59))
    assert torch.equal(resumed(points), unbroken(points))


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_early_it_answers_with_what_it_has(kind):
    points, _label = blobs(60)
    system = kind(kind.SIZES["tiny"], Spec(2, 60))
    losses = [next(iter(one.losses.values())) for one in system.fit(Points(points), Run(30))]
    assert len(losses) == 30 and losses[-1] < losses[0]
    labels = system(points)
    assert len(labels.unique()) == (30 if kind is hierarchical.Hierarchical else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_points_share_a_label(kind):
    points = torch.tensor([[0.0, 0.0], [5.0, 5.0], [9.0, 0.0]]).repeat(20, 1)
    labels = learn(kind, points)(points)
    assert torch.equal(labels, torch.tensor([0, 1, 2]).repeat(20))


# hierarchical


@pytest.mark.parametrize("linkage", hierarchical.LINKAGES)
def test_the_tree_is_scipys(linkage):
    points, _label = blobs()
    ours = learn(hierarchical.Hierarchical, points, hierarchical.Config(3, linkage))
    tree = ours.tree.numpy()
    theirs = hierarchy.linkage(points.double().numpy(), linkage)
    assert np.allclose(tree[:, 2], theirs[:, 2], rtol=1e-9)
    assert np.array_equal(np.sort(tree[:, :2]), np.sort(theirs[:, :2]))
    assert np.array_equal(tree[:, 3], theirs[:, 3])
    assert hierarchy.is_valid_linkage(tree)
    for groups in (1, 2, 7, 240):
        assert same(ours.cut(groups), hierarchy.fcluster(theirs, groups, "maxclust"))
        assert len(ours.cut(groups).unique()) == groups


def test_ward_height_is_the_rise_of_the_squares_within():
    points, _label = blobs(30)
    tree = learn(hierarchical.Hierarchical, points).tree
    total = (points.double() - points.double().mean(0)).square().sum()
    assert (tree[:, 2].square() / 2).sum().item() == pytest.approx(total.item(), rel=1e-9)


def test_hierarchical_refuses_more_points_than_it_can_hold(monkeypatch):
    monkeypatch.setattr(hierarchical, "MOST", 200)
    with pytest.raises(UserError, match="240 points"):
        learn(hierarchical.Hierarchical, blobs()[0])


# HDBSCAN


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("least", "samples"), [(5, 5), (12, 4), (8, 1)])
def test_hdbscan_labels_are_scikit_learns(seed, least, samples):
    points, _label = blobs(200, seed, (0.6, 1.6, 2.2))
    generator = torch.Generator().manual_seed(seed)
    around = 24 * torch.rand(60, 2, generator=generator) - 12
    points = torch.cat([points, around])
    ours = learn(hdbscan.HDBSCAN, points, hdbscan.Config(least, samples))(points)
    theirs = Reference(min_cluster_size=least, min_samples=samples, copy=True)
    theirs.fit(points.double().numpy())
    # core distances make many edges equally long, and which of them come first is free; from one
    # tree of joinings, the labels are the same
    rows = theirs._single_linkage_tree_.tolist()
    assert same(hdbscan.select(hdbscan.condense(rows, least), 260)[0], theirs.labels_)
    if samples == 1:  # no core distance, no ties
        assert same(ours, theirs.labels_)
    else:
        assert adjusted_rand(ours, torch.tensor(theirs.labels_)) > 0.9


def test_hdbscan_finds_the_two_moons():
    points, label = make_moons(300, noise=0.05, random_state=0)
    points = torch.tensor(points, dtype=torch.float32)
    labels = learn(hdbscan.HDBSCAN, points, hdbscan.Config(10, 5))(points)
    assert same(labels, label)


@pytest.mark.parametrize("samples", [1, 4])
def test_hdbscan_counts_the_point_itself_among_its_nearest(samples):
    points, _label = blobs(30)
    core = learn(hdbscan.HDBSCAN, points, hdbscan.Config(5, samples)).core
    nearest = torch.cdist(points.double(), points.double()).sort(dim=1).values
    assert torch.allclose(core.double(), nearest[:, samples - 1], atol=1e-4)


def test_hdbscan_spans_the_points_by_the_shortest_edges():
    points, _label = blobs(80)
    exact = torch.cdist(points.double(), points.double())
    core = exact.sort(dim=1).values[:, 4]
    edges = list(hdbscan.spanning(points, core.float()))
    mutual = exact.maximum(core).maximum(core[:, None]).fill_diagonal_(0)
    theirs = minimum_spanning_tree(mutual.numpy()).data
    assert np.allclose(sorted(edge[2] for edge in edges), np.sort(theirs), rtol=1e-5)
    assert len({edge[1] for edge in edges}) == 79
    assert all(mutual[one, other].item() == pytest.approx(r, rel=1e-5) for one, other, r in edges)


def test_hdbscan_keeps_a_cluster_whole_unless_its_parts_are_more_stable():
    # the root, 8, has the parts 9 (points 0..5) and 10 (points 6, 7), and 9 has 11 and 12
    def tree(parts_leave_at: float):
        return [
            (8, 9, 1.0, 6),
            (8, 10, 1.0, 2),
            (9, 11, 2.0, 3),
            (9, 12, 2.0, 3),
            *((11, point, parts_leave_at, 1) for point in range(3)),
            *((12, point, parts_leave_at, 1) for point in range(3, 6)),
            *((10, point, 5.0, 1) for point in (6, 7)),
        ]

    # whole: 6 (2 - 1) = 6; parts: 6 (leave - 2)
    whole, reach = hdbscan.select(tree(2.9), 8)
    assert same(whole, [0, 0, 0, 0, 0, 0, 1, 1]) and reach.eq(1.0).all()
    parts, reach = hdbscan.select(tree(3.1), 8)
    assert same(parts, [0, 0, 0, 2, 2, 2, 1, 1])
    assert reach[:6].eq(0.5).all() and reach[6:].eq(1.0).all()


def test_hdbscan_calls_a_distant_new_point_noise():
    points, _label = blobs()
    system = learn(hdbscan.HDBSCAN, points)
    assert system(torch.tensor([[50.0, 50.0], [-6.0, 0.0]])).tolist()[0] == -1
    assert system(torch.tensor([[50.0, 50.0], [-6.0, 0.0]])).tolist()[1] >= 0


# the task


def table(points: Tensor) -> Dataset:
    label = torch.zeros(len(points), dtype=torch.long)
    return Dataset("table", points, label, ("",), [str(row) for row in range(len(points))])


def test_columns_of_a_table_count_alike():
    cases = table(blobs()[0] * torch.tensor([1.0, 1000.0]))
    kind = hierarchical.Hierarchical
    points = kind(kind.SIZES["tiny"], kind.spec_for(cases)).loader(cases).all()
    torch.testing.assert_close(points.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(points.std(0), torch.ones(2))


def test_noise_weighs_nothing_in_the_silhouette_of_a_run():
    points, label = blobs(60)
    noisy = torch.cat([points, torch.full((5, 2), 99.0)])
    values = task._silhouette(noisy, torch.cat([label, torch.full((5,), -1)]))
    mean = silhouette(points, label).scores.mean()
    torch.testing.assert_close(values.mean(), mean)
    torch.testing.assert_close(values[60:], mean.expand(5))


def test_shuffled_columns_and_halves_are_clustered_anew():
    cases, clusters = table(blobs()[0]), registry.load_task("cluster")
    kind, setup = hierarchical.Hierarchical, Setup(None, cases)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases))
    list(system.fit(system.loader(cases), Run(10**9)))
    [step] = clusters.answer(system, cases, {}, setup)
    *_before, further = clusters.details(system, step.result, setup)
    name = "silhouette, columns shuffled"
    assert further.result[name].mean() < step.result["silhouette"].mean() - 0.2
    assert further.result["agreement"][0] > 0.95
    measures = clusters.measures([step.result | further.result], setup)
    assert measures["noise"].value == 0 and measures["agreement of two halves"].value > 0.95


# figures of clusters


def test_silhouette_equals_scikit_learns(monkeypatch):
    points, label = blobs(150, 3, (2.0, 3.0, 2.0))
    label[0] = 9  # a cluster of one point
    for cells in (4_000_000, 1000):
        monkeypatch.setattr("souron.metrics.clustering.CELLS", cells)
        found = silhouette(points, label)
        theirs = metrics.silhouette_samples(points.double().numpy(), label.numpy())
        assert np.allclose(found.scores.numpy(), theirs, atol=1e-6) and found.noise == 0
    assert found.scores[0] == 0


def test_silhouette_leaves_noise_out_and_counts_it():
    points, label = blobs(60)
    noisy = torch.cat([points, torch.full((5, 2), 99.0)])
    found = silhouette(noisy, torch.cat([label, torch.full((5,), -1)]))
    assert found.noise == 5 and found.kept.sum() == 60 and not found.kept[60:].any()
    assert torch.equal(found.scores, silhouette(points, label).scores)


@pytest.mark.parametrize("labels", [torch.zeros(9).long(), torch.full((9,), -1)])
def test_silhouette_of_fewer_than_two_clusters_says_nothing(labels):
    assert silhouette(torch.rand(9, 2), labels).scores.eq(0).all()


def test_adjusted_rand_equals_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    for groups in (1, 2, 5, 40):
        first = torch.randint(-1, groups, (40,), generator=generator)
        second = torch.where(torch.rand(40, generator=generator) < 0.5, first, first.roll(1))
        theirs = metrics.adjusted_rand_score(first.numpy(), second.numpy())
        assert adjusted_rand(first, second) == pytest.approx(theirs, abs=1e-9)
    assert adjusted_rand(torch.zeros(5).long(), torch.zeros(5).long()) == 1
    assert adjusted_rand(torch.arange(5), torch.zeros(5).long()) == 0


def test_halves_agree_on_clusters_that_are_there_and_on_no_others():
    def learner(half: Tensor):
        return learn(hierarchical.Hierarchical, half)

    there, _label = blobs()
    absent = torch.rand(240, 2, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    assert agreement_of_halves(learner, there, generator) > 0.95
    assert agreement_of_halves(learner, absent, generator) < 0.7
