"""Panoptic quality against torchmetrics, void and crowds by hand, segments moved and packed, COCO's
files, and the task around them."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.detection import PanopticQuality

from souron.metrics import panoptic
from souron.metrics.panoptic import Divided

STUFF, CLASSES = (0, 1), 5


def drawn(random, side=40):
    """A map of segments of every class, stuff at most once, some of a few pixels, and void."""
    smooth = ndimage.gaussian_filter(random.normal(size=(9, side, side)), (0, 4, 4))
    ids = smooth.argmax(0) * (random.random((side, side)) > random.choice([0, 0.02]))
    labels = [0, 1, *random.integers(2, CLASSES, 6).tolist()]
    return Divided(np.array(labels), ids.astype(np.uint8))


def near(truth, random):
    """The same moved, some segments renamed or joined; no void but where the truth's came along."""
    ids = np.roll(truth.ids, random.integers(-3, 4, 2), (0, 1))
    ids = np.where(ids == 0, 1, ids)
    label = truth.label.copy()
    renamed = random.random(len(label)) < 0.2
    label[2:] = np.where(renamed, random.integers(2, CLASSES, len(label)), label)[2:]
    for row in range(2, len(label)):
        if random.random() < 0.1:
            ids[ids == row + 1] = random.integers(1, len(label) + 1)
    return Divided(label, ids.astype(np.uint8))


def as_pairs(one, void):
    """(H, W, 2) category and number, as torchmetrics wants them."""
    category = np.concatenate([[void], one.label])[one.ids]
    return torch.from_numpy(np.stack([category, one.ids], -1).astype(np.int64))


def theirs(truth, found, **asked):
    metric = PanopticQuality(set(range(CLASSES)) - set(STUFF), set(STUFF), **asked)
    metric.update(*(torch.stack([as_pairs(one, 99) for one in each]) for each in (found, truth)))
    return metric.compute()


def test_panoptic_quality_is_that_of_torchmetrics():
    """Void is a category that it does not know."""
    random = np.random.default_rng(0)
    truth = [drawn(random) for _picture in range(40)]
    found = [near(one, random) for one in truth]
    for some in (slice(0, 40), slice(3, 4), slice(10, 12)):
        counted = panoptic.compare(truth[some], found[some], CLASSES)
        own = panoptic.scores(counted, STUFF)
        expected = theirs(truth[some], found[some], return_sq_and_rq=True).tolist()
        for name, value in zip(("PQ", "SQ", "RQ"), expected, strict=True):
            assert own[name].mean() == pytest.approx(value, abs=1e-6), name
        [each] = theirs(truth[some], found[some], return_per_class=True).tolist()
        each = [*each[-len(STUFF) :], *each[: -len(STUFF)]]  # things come first there
        quality = counted.summed().quality["PQ"]
        assert np.nan_to_num(quality) == pytest.approx(each, abs=1e-6)
        assert own["PQ of stuff"].mean() == pytest.approx(np.nanmean(quality[:2]))
        assert own["PQ of things"].mean() == pytest.approx(np.nanmean(quality[2:]))


def test_void_and_crowds_count_neither_for_nor_against():
    """As panopticapi has it."""
    ids = np.zeros((10, 10), np.uint8)
    ids[:, :4], ids[:, 4:6] = 1, 2  # a thing and a crowd region of its class; the rest is void
    truth = Divided([3, -1 - 3], ids)

    def judged(left, right, label=3):
        said = np.zeros((10, 10), np.uint8)
        said[:, left:right] = 1
        return panoptic.compare([truth], [Divided([label], said)], CLASSES)

    def counts(counted, label=3):
        return tuple(
            int(part[0, label]) for part in (counted.right, counted.alarms, counted.missed)
        )

    assert counts(judged(0, 4)) == (1, 0, 0)
    assert judged(1, 10).overlap[0, 3] == 0  # 3 of 4 + 2: void is in no union, the crowd is
    assert judged(1, 6).overlap[0, 3] == 0
    assert judged(0, 5).overlap[0, 3] == pytest.approx(4 / 5)
    assert counts(judged(6, 9)) == (0, 0, 1)  # in void alone
    assert counts(judged(4, 6)) == (0, 0, 1)  # in the crowd alone
    assert counts(judged(4, 6, 2), 2) == (0, 1, 0)  # which is not of that class
    assert counts(judged(3, 5)) == (0, 1, 1)  # half in it
    assert counts(judged(3, 7)) == (0, 0, 1)  # by more than half in both
    none = panoptic.compare([truth], [Divided([], np.zeros((10, 10), np.uint8))], CLASSES)
    assert counts(none) == (0, 0, 1)


def test_the_jackknife_leaves_out_groups_and_its_mean_is_the_metric():
    random = np.random.default_rng(1)
    truth = [drawn(random) for _picture in range(12)]
    found = [near(one, random) for one in truth]
    counted = panoptic.compare(truth, found, CLASSES)
    groups = [row // 4 for row in range(12)]
    each = panoptic.scores(counted, STUFF, groups)
    for name, values in each.items():
        assert len(set(values.round(12))) == 3
        left = []
        for group in range(3):
            rows = [row for row in range(12) if groups[row] != group]
            few = [[every[row] for row in rows] for every in (truth, found)]
            left.append(panoptic.scores(panoptic.compare(*few, CLASSES), STUFF)[name].mean())
        own = values[[0, 4, 8]]
        assert own - own.mean() == pytest.approx(-2 * (np.array(left) - np.mean(left)))
        assert values.mean() == pytest.approx(panoptic.scores(counted, STUFF)[name].mean())
