"""Relate instrument motion to skill scores.

Oropesa, Sánchez-González, Chmarra, et al.: EVA: laparoscopic instrument tracking based on
Endoscopic Video Analysis for psychomotor skills assessment (2013).
https://doi.org/10.1007/s00464-012-2513-z

Each video has motion figures (``metrics.motion``) and a score given by people. Single figures:
Spearman's rank correlation. All figures: ridge regression, where each prediction leaves out all
videos of the same operator, compared with predicting the mean score. Videos of one operator are not
independent, so intervals leave out one operator at a time.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from souron.action import Action, Fact, Given, NoOptions, Record, Table
from souron.data.formats.csv_table import key_of
from souron.runs.events import Event
from souron.stats import intervals
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import N_, UserError, _

Array = NDArray[np.float64]

FIGURES = ("seconds", "path", "mean_speed", "peak_speed", "economy", "idle", "jerk")
FEWEST = 4  # operators
MOST, MOST_BYTES = 10_000, 10_000_000  # videos, and bytes of a table
RIDGE = 1.0  # penalty on standardised figures
COLUMNS = {
    "video": ("video", "file", "動画", "ファイル"),
    "operator": ("operator", "surgeon", "術者", "施行者"),
    "score": ("score", "rating", "点数", "評価"),
}


@dataclass(frozen=True)
class Scored:
    """Videos with operators, scores and motion figures."""

    video: list[str]
    operator: list[str]
    score: Array  # (V,)
    figures: Array  # (V, len(FIGURES)); NaN where missing


@dataclass(frozen=True)
class SkillResult:
    videos: int
    operators: int
    correlations: dict[str, Measure]  # of each figure with the score, -1..1
    error: Measure  # mean absolute error of predictions for held-out operators
    constant: Measure  # mean absolute error of predicting the mean score
    gain: Measure  # constant's error minus the model's

    def as_json(self) -> dict[str, Any]:
        return {
            "videos": self.videos,
            "operators": self.operators,
            "correlations": {name: vars(one) for name, one in self.correlations.items()},
            "error": vars(self.error),
            "constant": vars(self.constant),
            "gain": vars(self.gain),
        }


@dataclass
class SkillRecord(Record):
    """The relation between motion in videos and the ratings of their operators."""

    eyebrow = N_("skill")
    json_file = "skill.json"

    table: Path
    result: SkillResult
    folder: Path | None

    def page_title(self) -> str:
        return _("Motion and ratings of skill: {table}").format(table=self.table.name)

    def as_json(self) -> dict[str, Any]:
        return self.result.as_json()

    def sentences(self) -> list[str]:
        found = self.result
        error, gain = found.error, found.gain
        together = _(
            "Together, for held-out operators: error {error:.3g} on average ({interval});"
            " always the mean score: {constant:.3g}."
        )
        verdict = (
            _("The figures predict the score: better by {gain:.3g} ({interval}).")
            if gain.low > 0
            else _("No better than always answering the mean score ({interval}).")
        )
        return [
            verdict.format(gain=gain.value, interval=units.interval("", gain.low, gain.high)),
            together.format(
                error=error.value, interval=units.interval("", error.low, error.high), constant=found.constant.value
            ),
            _("{videos} videos of {operators} operators").format(videos=found.videos, operators=found.operators),
        ]

    def facts(self) -> list[Fact]:
        found = self.result
        return [
            Fact(_("videos"), str(found.videos)),
            Fact(_("operators"), str(found.operators), _("each is left out once")),
        ]

    def tables(self) -> list[Table]:
        value, interval = _("rank correlation"), _("95 % interval")
        rows = [
            (name, f"{one.value:+.2f}", units.ends(f"{one.low:+.2f}", f"{one.high:+.2f}"))
            for name, one in self.result.correlations.items()
        ]
        title = _("Each figure of motion with the score")
        return [Table((_("figure"), value, interval), rows, title, right=(value, interval))]


class Skill(Action):
    """Relate the figures of motion in videos to scores that people gave their operators."""

    title = N_("Relate measures of motion to ratings of skill, by operator.")
    examples = ("souron skill videos/scores.csv",)
    group = "use"
    given = Given("CSV", N_("video,operator,score: each video a folder that souron predict wrote"))
    lookup = True
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: NoOptions) -> Iterator[Event]:
        [table] = map(Path, given)
        yield Event("data", text=table.name)
        result = fit(read(table))
        folder = self.new_folder(table.stem)
        yield Event("done", 1.0, record=SkillRecord(table, result, folder), folder=folder)


def read(path: Path) -> Scored:
    """Read a CSV with the columns video, operator and score.

    ``video`` is a folder written by ``souron predict RUN VIDEO out=FOLDER``, or its ``motion.csv``,
    inside the folder of the table. Raises UserError.
    """
    rows = _table(path)
    columns = _columns(path, rows[0] if rows else [])
    video, operator, score, figures = [], [], [], []
    for number, row in enumerate(rows[1 : MOST + 1], 2):
        try:
            name, who, value = (row[columns[each]].strip() for each in COLUMNS)
            points = float(value)
        except (IndexError, ValueError) as error:
            why = _("line {number} has no video, operator and score").format(number=number)
            raise _trouble(path, why) from error
        if not who or not math.isfinite(points):
            raise _trouble(path, _("line {number} has no video, operator and score").format(number=number))
        video.append(name)
        operator.append(who)
        score.append(points)
        figures.append(_figures(_inside(path, name)))
    if len(set(operator)) < FEWEST:
        raise UserError(
            "few operators",
            _("{path}: {count} operators").format(path=path, count=len(set(operator))),
            expected=_("{count} or more: each is left out once").format(count=FEWEST),
            exit=3,
        )
    return Scored(video, operator, np.array(score), np.array(figures))


def fit(scored: Scored) -> SkillResult:
    """Correlate the figures with the score, and predict it from them."""
    operators = np.unique(np.array(scored.operator), return_inverse=True)[1]
    correlations = {
        name: measure
        for name, column in zip(FIGURES, scored.figures.T, strict=True)
        if (measure := _correlation(column, scored.score, operators)) is not None
    }
    predicted, mean = predictions(scored.figures, scored.score, operators)
    error, constant = (abs(each - scored.score) for each in (predicted, mean))
    groups = list(scored.operator)
    return SkillResult(
        len(groups),
        len(set(groups)),
        correlations,
        intervals.interval(error, groups),
        intervals.interval(constant, groups),
        intervals.interval(constant - error, groups),
    )


def predictions(figures: Array, score: Array, operator: Any) -> tuple[Array, Array]:
    """Predict each video's score by ridge regression on the videos of all other operators.

    Returns (V,) predictions, and (V,) mean scores of the other operators. A missing figure counts
    as the mean.
    """
    predicted, mean = np.empty_like(score), np.empty_like(score)
    for one in np.unique(operator):
        out = operator == one
        known = figures[~out]
        counts = np.isfinite(known).sum(0)
        usable = counts > 1
        middle = np.nanmean(known[:, usable], 0)
        spread = np.nanstd(known[:, usable], 0)
        spread[spread == 0] = 1
        x, new = (np.nan_to_num((part[:, usable] - middle) / spread) for part in (known, figures[out]))
        centre = score[~out].mean()
        penalty = RIDGE * np.eye(x.shape[1])
        weights = np.linalg.solve(x.T @ x + penalty, x.T @ (score[~out] - centre))
        predicted[out], mean[out] = centre + new @ weights, centre
    return predicted, mean


def _correlation(figure: Array, score: Array, operator: Any) -> Measure | None:
    """Compute Spearman's correlation with a jackknife interval over operators, on Fisher's scale.

    None where too few operators have the figure, or it is constant.
    """
    there = np.isfinite(figure)
    figure, score, operator = figure[there], score[there], operator[there]
    names = np.unique(operator)
    if len(names) < FEWEST or np.ptp(figure) == 0 or np.ptp(score) == 0:
        return None
    whole = _fisher(figure, score)
    without = np.array([_fisher(figure[operator != n], score[operator != n]) for n in names])
    count = len(names)
    error = math.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * error
    low, value, high = (math.tanh(each) for each in (whole - half, whole, whole + half))
    return Measure(value, low, high, len(figure), count)


def _fisher(figure: Array, score: Array) -> float:
    if np.ptp(figure) == 0 or np.ptp(score) == 0:
        return 0.0
    return math.atanh(float(np.clip(scipy.stats.spearmanr(figure, score).statistic, -0.999, 0.999)))


def _figures(path: Path) -> list[float]:
    """Read a video's figures: its tracks combined, weighted by the frames in which each
    was seen.
    """
    rows = _table(path)
    head = rows[0] if rows else []
    if not {"frames", *FIGURES} <= set(head):
        raise _trouble(path, _("it is no table of motion"))
    found = []
    try:
        weight = np.array([float(row[head.index("frames")]) for row in rows[1:]])
        for name in FIGURES:
            texts = [row[head.index(name)] for row in rows[1:]]
            values = np.array([float(text) if text else math.nan for text in texts])
            there = np.isfinite(values)
            if not there.any():
                found.append(math.nan)
            elif name in ("path", "seconds", "idle"):
                found.append(float(values[there].sum()))
            else:
                found.append(float(np.average(values[there], weights=weight[there])))
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise _trouble(path, _("it is no table of motion")) from error
    return found


def _table(path: Path) -> list[list[str]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _trouble(path, _("over {count} MB").format(count=MOST_BYTES // 10**6))
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _trouble(path, str(getattr(error, "strerror", "") or error)) from error


def _columns(path: Path, head: Sequence[str]) -> dict[str, int]:
    keys = [key_of(name) for name in head]
    found = {
        column: next((keys.index(name) for name in names if name in keys), -1) for column, names in COLUMNS.items()
    }
    if min(found.values()) < 0:
        raise _trouble(path, _("it has the columns {columns}").format(columns=", ".join(head[:10])))
    return found


def _inside(table: Path, name: str) -> Path:
    """Return the ``motion.csv`` named by a line.

    Raises UserError where it is outside the folder.
    """
    root = table.resolve().parent
    place = (root / name).resolve()
    if not place.is_relative_to(root):
        raise _trouble(table, _("{name} leads out of the folder").format(name=name))
    return place / "motion.csv" if place.is_dir() else place


def _trouble(path: Path, why: str) -> UserError:
    return UserError(
        "unreadable",
        f"{path}: {why}",
        expected=_("a CSV with video, operator, score; video names a folder with motion.csv"),
        fix="souron skill --help",
        exit=3,
    )
