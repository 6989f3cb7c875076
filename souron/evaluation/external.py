"""A trained system on its own test cases and on another hospital's: measures, case mix, inputs.

"Internal" is the run's own test, "external" the other data, in which no patient of the run is.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation import familiarity
from souron.metrics.ranking import FEWEST
from souron.stats import intervals, two_samples, verdict
from souron.stats.records import Measure
from souron.stats.two_samples import EnergyTest, Shift
from souron.training import frozen

BATCH = 16  # images at a time
MOST_VALUES = 30  # categories of a column; with more it names cases
NUMBERS = 3  # different values from which a column of numbers is numeric
SITE = "site"  # differs between hospitals by definition
NUMBER = re.compile(r"[+-]?(\d{1,15}([.,]\d{0,15})?|\.\d{1,15})")
MOST_CLASSES = 6  # for which inputs are compared class by class
NOT_TESTED = "not tested"  # a measure beside the headline ones


@dataclass(frozen=True)
class Change:
    """One measure in the internal test and on external data."""

    name: str
    internal: Measure
    external: Measure
    shift: Shift  # external - internal
    word: str  # "worse", "better", "cannot tell", "not tested"

    def as_json(self) -> dict[str, Any]:
        shift = {name: _finite(getattr(self.shift, name)) for name in ("difference", "low", "high", "level")}
        both = {"internal": self.internal, "external": self.external}
        return {
            **{side: {k: _finite(v) for k, v in asdict(measure).items()} for side, measure in both.items()},
            **shift,
            "verdict": self.word,
        }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def side_by_side(internal: Mapping[str, Measure], external: Mapping[str, Measure]) -> list[Change]:
    """Compare each measure that both sides have, as of two independent samples.

    The headline measures are tested, all where there is none among them, and together err with 5 % (Holm,
    ``verdict.corrected``); the others have their 95 % interval and no verdict. Fewer than six patients or cases on a
    side get no verdict; of an AUC those of the rarer class count.
    """
    names = [name for name in external if name in internal]
    units = {name: min(_units(name, internal), _units(name, external)) for name in names}
    shifts = {name: _shift(name, internal[name], external[name], max(units[name] - 1, 1)) for name in names}
    headline = [name for name in names if registry.metric(name).headline] or names
    testable = [name for name in headline if units[name] >= FEWEST and math.isfinite(shifts[name].difference)]
    shifts |= verdict.corrected({name: shifts[name] for name in testable})
    words = dict.fromkeys(headline, "cannot tell") | {name: _word(name, shifts[name]) for name in testable}
    return [Change(name, internal[name], external[name], shifts[name], words.get(name, NOT_TESTED)) for name in names]


def _shift(name: str, internal: Measure, external: Measure, freedom: int) -> Shift:
    least, most = registry.metric(name).bounds
    return replace(two_samples.difference(internal, external, freedom), limit=most - least)


def _word(name: str, shift: Shift) -> str:
    """Return which way a measure changed, by its direction."""
    if shift.verdict == "cannot tell":
        return shift.verdict
    return "better" if (shift.verdict == "higher") == registry.metric(name).higher_is_better else "worse"


def _units(name: str, measures: Mapping[str, Measure]) -> int:
    """Return the patients, or cases, behind a measure."""
    both = [measures[metric] for metric in ("sensitivity", "specificity") if metric in measures]
    by_class = both if registry.metric(name).by_label and both else [measures[name]]
    return min(measure.n if measure.groups is None else measure.groups for measure in by_class)


def as_json(changes: Sequence[Change], sentence: str) -> dict[str, Any]:
    """Return what ``souron val --json`` prints as ``external``."""
    return {"measures": {change.name: change.as_json() for change in changes}, "sentence": sentence}


# case mix


@dataclass(frozen=True)
class Mixed:
    """One column, or one class, in both samples."""

    column: str
    numeric: bool
    internal: dict[str, float]  # mean and sd of numbers; else the share of each value
    external: dict[str, float]
    missing: tuple[float, float]  # share of cases without a value
    difference: float  # standardised mean difference; of categories at least 0
    dates: bool = False  # numbers are days since 1970


def case_mix(internal: Mapping[str, Sequence[str]], external: Mapping[str, Sequence[str]]) -> list[Mixed]:
    """Compare the columns that both tables have, but for ``site``.

    Dates are compared as days. Columns with more than ``MOST_VALUES`` categories name cases, and are left out, as are
    those without two values on a side.
    """
    columns = []
    for name in (name for name in internal if name in external and name != SITE):
        sides = [[value for value in side[name] if value] for side in (internal, external)]
        if min(map(len, sides)) < 2:
            continue
        gaps = [1 - len(values) / len(side[name]) for values, side in zip(sides, (internal, external), strict=True)]
        numbers = [_numbers(values) for values in sides]
        first, second = numbers
        if first is not None and second is not None and len(np.unique(np.concatenate([first, second]))) >= NUMBERS:
            away = two_samples.standardised_difference(first, second)
            ends = [{"mean": float(sample.mean()), "sd": float(sample.std(ddof=1))} for sample in (first, second)]
            dates = not NUMBER.fullmatch(sides[0][0])
            columns.append(Mixed(name, True, ends[0], ends[1], (gaps[0], gaps[1]), away, dates))
        elif len({*sides[0], *sides[1]}) <= MOST_VALUES:
            shares = [_shares(values) for values in sides]
            away = two_samples.categorical_difference(*sides)
            columns.append(Mixed(name, False, shares[0], shares[1], (gaps[0], gaps[1]), away))
    return columns


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    """Return a column's numbers, of dates their days; None where a value is neither."""
    try:
        if all(NUMBER.fullmatch(value) for value in values):
            return np.array([float(value.replace(",", ".")) for value in values])
        days = np.array(values, dtype="datetime64[D]")
        return None if np.isnat(days).any() else days.astype(np.float64)
    except ValueError:
        return None


def _shares(values: Sequence[str]) -> dict[str, float]:
    names, counts = np.unique(np.asarray(values), return_counts=True)
    return dict(zip(names.tolist(), (counts / len(values)).tolist(), strict=True))


def prevalences(truth: NDArray[np.int64], classes: Sequence[str], units: Sequence[str] | None) -> dict[str, Measure]:
    """Return the share of each class among cases (cases,), with an interval by patients."""
    return {
        name: intervals.interval((truth == number).astype(np.float64), units) for number, name in enumerate(classes)
    }


# inputs


@dataclass(frozen=True)
class InputShift:
    """Energy tests of the inputs of the last layer, of all cases and of each class."""

    everything: EnergyTest
    classes: dict[str, EnergyTest] = field(default_factory=dict)


def vectors(system: Any, cases: Dataset) -> NDArray[np.float64] | None:
    """Compute what the last layer of a network receives, (cases, features).

    Of a classifier it is the input of its head, of another network that of its last layer which every case passes, as
    in ``evaluation.familiarity``. None for a system without such a layer.
    """
    if hasattr(system, "head") and hasattr(system, "spec") and cases.images:
        features = [frozen.seen_by_the_head(system, batch.image, exact=True)[0] for batch in _batches(system, cases)]
        rows = torch.cat(features).flatten(1).double().numpy()
        return rows if len(rows) == len(cases) else None
    answers = hasattr(system, "found") or hasattr(system, "probabilities")
    if not answers or not (cases.images or cases.volumes):
        return None
    layers = familiarity.features(system, cases)
    whole = [rows for rows in layers.values() if len(rows) == len(cases)]
    return whole[-1].double().numpy() if whole else None


def _batches(system: Any, cases: Dataset) -> Any:
    return system.loader(cases).once(BATCH)


def some_patients(cases: Dataset, most: int, seed: int) -> Dataset:
    """Draw patients at random until they have ``most`` cases; all where there are no more."""
    if len(cases) <= most:
        return cases
    _names, unit = np.unique(np.asarray(cases.units or list(map(str, range(len(cases))))), return_inverse=True)
    rank = np.random.default_rng(seed).permutation(int(unit.max()) + 1)
    order = np.argsort(rank[unit], kind="stable")[:most]
    return cases.only(sorted(order.tolist()))


def input_shift(system: Any, internal: Dataset, external: Dataset, most: int, seed: int) -> InputShift | None:
    """Test whether the network sees the same kind of inputs in both, over at most ``most`` cases of each side.

    Where both have classes, each class is tested by itself, too: then a difference is not one of prevalence. None for
    a system without vectors, and for fewer than two patients on a side.
    """
    sides = [some_patients(cases, most, seed) for cases in (internal, external)]
    rows = [matrix for cases in sides if (matrix := vectors(system, cases)) is not None]
    if len(rows) < 2:
        return None
    everything = _tested(rows, sides, seed)
    if everything is None:
        return None
    classes: dict[str, EnergyTest] = {}
    labels = [cases.labels for cases in sides]
    if labels[0] is not None and labels[1] is not None and 1 < len(internal.classes) <= MOST_CLASSES:
        for number, name in enumerate(internal.classes):
            rows_of_sides = [np.flatnonzero(np.asarray(side_labels) == number) for side_labels in labels]
            parts = [cases.only(indices.tolist()) for cases, indices in zip(sides, rows_of_sides, strict=True)]
            of_class = [table[indices] for table, indices in zip(rows, rows_of_sides, strict=True)]
            if (test := _tested(of_class, parts, seed)) is not None:
                classes[name] = test
    return InputShift(everything, classes)


def _tested(rows: Sequence[Any], sides: Sequence[Dataset], seed: int) -> EnergyTest | None:
    units = [cases.units for cases in sides]
    if min(len(set(groups)) if groups else len(cases) for groups, cases in zip(units, sides, strict=True)) < 2:
        return None
    return two_samples.energy_test(rows[0], rows[1], units[0], units[1], seed=seed)
