"""A figure has one interval: that of its metric, within what the figure can be, wherever it is shown."""

import re
from dataclasses import is_dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import roots
import torch
from shapes import marks, masked, scans

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Sparse, Trainings
from souron.evaluation.vision import classification, corruptions, keypoints, segmentation, volumes
from souron.metrics import classification as metrics
from souron.metrics import segmentation as metrics_of_areas
from souron.metrics.metric import Metric
from souron.stats import intervals
from souron.stats.records import Measure
from souron.task import Task

ONES = {"gain from the picture"}  # shares that can be below 0
ABOVE = {"volume error", "word error rate", "character error rate", "sharpness", "chroma"}  # and those above 1
FEW = {  # scores of three cases, possible ones, whose interval by Student's t is not
    "signed": [-0.9, 0.9, 0.95],
    "amount": [0.1, 0.2, 9.0],
    "loss": [0.01, 0.02, 1.9],
    "error": [0.1, 0.2, 9.0],
}


@pytest.mark.parametrize("name", sorted(registry.metrics()))
def test_an_interval_holds_only_what_the_figure_can_be(name):
    metric = registry.metric(name)
    strata = [0, 1, 1] if metric.kind == "area" else None
    found = metric.measure(FEW.get(metric.kind, [0.02, 0.97, 1.0]), strata=strata)
    low, high = metric.bounds
    assert low <= found.low <= found.value <= found.high <= high
    if metric.unit == "share":
        assert low == (-1 if name in ONES else 0) and (high == 1) == (name not in ABOVE)
    if metric.unit in ("bits", "px", "mm") or (not metric.higher_is_better and name != "kernel distance"):
        assert low == 0


def test_pseudo_values_outside_of_what_is_possible_leave_the_interval_inside():
    """As those of a ratio over pieces of unequal length: consonant beats read up to 166.9 %, bits from -4.48."""
    assert registry.metric("consonant beats").measure([1.6, 0.1, 0.9]).high <= 1
    assert registry.metric("bits per token").measure([-0.5, 1.0, 9.0]).low == 0
    assert registry.metric("chroma").measure([0.1, 0.1, 3.0]).low == 0


def test_two_cases_do_not_say_that_a_mean_is_a_thousand_times_as_large():
    """As a volume error of up to 133,204 %, and a log loss beyond that of the least probability."""
    few = registry.metric("volume error").measure([0.2, 1.9])
    assert few.value < few.high <= intervals.GROSS * few.value
    assert registry.metric("volume error").measure([0.2]).high == np.inf
    assert registry.metric("log loss").measure([0.01, 3.0]).high == pytest.approx(-np.log(1e-12), rel=1e-3)


@pytest.mark.parametrize("kind", ["share", "overlap", "loss", "error"])
def test_a_figure_has_the_interval_that_its_pairs_use(kind):
    scores, groups = np.random.default_rng(0).uniform(0.5, 1, 24), np.repeat(range(12), 2).tolist()
    own, made = intervals.of_kind(kind), Metric("any", kind=kind).measure(scores, groups)
    assert made == own(scores, groups, 0.95, None) != Metric("any").measure(scores, groups)


def test_a_task_measures_each_figure_by_its_kind():
    """HD95 by errors of which a few are gross, Dice by failures that few cases lack; patients counted."""
    task, random = registry.load_task("segment_volume"), np.random.default_rng(0)
    tables = {metric.name: random.uniform(0.5, 1, (1, 12)) for metric in task.metrics}
    units = np.repeat(range(6), 2).tolist()
    stub = SimpleNamespace(scores=lambda seeds, setup: tables, metric=task.metric)
    found = Task.measures(stub, [], SimpleNamespace(test=SimpleNamespace(units=units)))
    assert "measures" not in vars(type(task)) and type(task).measures is Task.measures
    assert found["HD95"] == intervals.error_interval(tables["HD95"], units)
    assert found["mean Dice"] == intervals.overlap_interval(tables["mean Dice"], units)


def test_shares_that_are_right_or_wrong_have_wilsons_interval_and_others_stay_below_1():
    accuracy = registry.metric("accuracy")
    assert accuracy.measure([1, 1, 1, 0]) == intervals.proportion_interval(3, 4)
    assert accuracy.measure([1, 1, 1, 0.5]) == intervals.share_interval([1, 1, 1, 0.5])


@pytest.mark.parametrize("folder", ["report", "tasks", "systems", "studio"])
def test_no_page_and_no_task_computes_an_interval_of_its_own(folder):
    """But of the lesson on luck, whose shares are of trials."""
    own = re.compile(r"intervals\.(\w+_)?interval\(|import .*\b\w+_interval\b")
    files = [file for file in roots.sources() if roots.within(file).parts[0] == folder]
    found = [file.name for file in files if own.search(file.read_text(encoding="utf-8"))]
    assert sorted(found) == (["real_or_drawn.py", "which_luck.py"] if folder == "studio" else [])


@pytest.mark.parametrize("repeats", [1, 3])
def test_class_by_class_has_the_figures_of_the_section_above(repeats):
    """Two classes at a threshold of a half: over all trainings, by patients."""
    random = np.random.default_rng(0)
    label = np.repeat([0, 1, 1], 12)
    sure = np.clip(0.3 + 0.4 * label + random.normal(0, 0.25, (repeats, 36)), 0.01, 0.99)
    names = [f"p{i // 3}" for i in range(36)]
    cases = Dataset("any", torch.zeros(36, 1, 4, 4), torch.from_numpy(label), ("well", "ill"), names, names)
    trainings = Trainings.empty(cases, {}, repeats)
    trainings.training = torch.arange(2 * repeats).repeat_interleave(18).reshape(repeats, 36) + 1
    whose = trainings.training_of
    found = classification.by_class(cases, np.stack([1 - sure, sure], 2), whose)
    *_well, ill = found
    above = metrics.at_threshold(label == 1, sure > 0.5, cases.units, trainings=whose)
    assert (ill.recall, ill.precision) == (above["sensitivity"], above["positive predictive value"])
    assert ill.cases == 24 and ill.recall.groups == 8


def test_a_disturbed_accuracy_counts_the_trainings_behind_it():
    right = torch.ones(40, corruptions.steps())
    right[:8] = 0  # all that the first of five trainings answered
    whose = np.repeat(range(5), 8)[None]
    headline = intervals.interval(right[:, 0].numpy(), trainings=whose)
    first, second, *_others = classification._disturbed(Sparse(torch.arange(40), right), None, headline, whose)
    assert first.accuracy == headline == second.accuracy
    alone = intervals.interval(right[:, 0].numpy())
    assert headline.high - headline.low > 1.2 * (alone.high - alone.low)


def measures_in(thing):
    """Every figure with an interval that a result holds."""
    if isinstance(thing, Measure):
        yield thing
    elif is_dataclass(thing):
        thing = vars(thing)
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        for part in thing:
            yield from measures_in(part)


def of_volumes():
    cases = scans(8)
    atlas = volumes.atlas(cases.target, range(8), len(cases.classes))
    return cases, {"found": cases.target}, lambda cases: volumes.VolumeSetup(None, cases, atlas=atlas), volumes


def of_areas():
    cases = masked(8, 32)
    return cases, {"found": cases.target}, lambda cases: segmentation.SegmentationSetup(None, cases), segmentation


def of_landmarks():
    cases = marks(8, 32)
    count = cases.target.shape[1]
    answers = {"found": cases.target.nan_to_num(0.0), "score": torch.ones(8, count)}
    return (
        cases,
        answers,
        lambda cases: keypoints.KeypointSetup(None, cases, constant=torch.zeros(count, 2)),
        keypoints,
    )


@pytest.mark.parametrize("made", [of_volumes, of_areas, of_landmarks])
def test_every_figure_of_a_report_counts_patients(made):
    cases, answers, setup, evaluation = made()
    cases = replace(cases, group=[f"p{i // 2}" for i in range(8)])
    result = evaluation.result(Trainings.of_one(cases, answers, {}), setup(cases))
    found = list(measures_in(result))
    assert getattr(result, "gain", None) is None or result.gain.variation.n == 4
    assert len(found) > 5 and all(one.groups is not None and one.groups <= 4 for one in found)


def test_every_figure_of_a_classifier_counts_patients():
    label = torch.arange(60) % 3 // 2
    sure = (0.3 + 0.4 * label + torch.linspace(-0.3, 0.3, 60)).double()
    names = [f"p{i // 3}" for i in range(60)]
    columns = {"site": ["a", "b"] * 30}
    cases = Dataset("any", torch.zeros(60, 1, 4, 4), label, ("well", "ill"), names, names, columns=columns)
    answers = {"probability": torch.stack([1 - sure, sure], 1)}
    answers |= {"threshold": torch.full((60,), 0.5).double(), "temperature": torch.ones(60).double()}
    right = torch.ones(60, corruptions.steps())
    trainings = Trainings.of_one(cases, answers | {"right": Sparse(torch.arange(60), right)}, {})
    trainings.fewer, trainings.learnt_from = {0.5: answers}, {0.5: 30, 1.0: 60}
    found = classification.result(trainings, 1)
    every = list(measures_in(found))
    assert len(every) > 30 and all(one.groups is not None and one.groups <= 20 for one in every)
    assert found.more.variation.n == 20 and found.disturbed[1].loss.variation.n == 20
    alone = classification.result(Trainings.of_one(replace(cases, group=()), answers, {}), 1)
    for part, one in ((found.before, alone.before), (found.after, alone.after)):
        assert part.curve[0].low < one.curve[0].low
    trainings.training = torch.arange(60)[None] // 15 + 1  # four folds
    folds = classification.result(trainings, 1)
    for name, one in folds.measures.items():
        assert (one.low, one.high) != (found.measures[name].low, found.measures[name].high), name
    assert folds.after.brier != found.after.brier


def test_what_a_patient_matters_to_an_overlap_is_that_of_leaving_out_all_the_images():
    cases = masked(8, 32)
    cases = replace(cases, group=[f"p{i // 4}" for i in range(8)])
    found = cases.target.roll(3, 2)
    assert len(set(segmentation.scores_of(found, cases)["mIoU"].round(9))) == 2
    labels = segmentation.result(
        Trainings.of_one(cases, {"found": found}, {}), segmentation.SegmentationSetup(None, cases)
    ).labels
    each = metrics_of_areas.by_label(segmentation.counted(found, cases), cases.units)
    assert labels[1].iou == registry.metric("mIoU").measure(each[1], cases.units)
