"""Figures of motion against scores: what is there is found, what is not is not, nobody leaks."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import spearmanr, t
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from souron.actions import skill
from souron.actions.skill import FIGURES, Scored
from souron.cli import main
from souron.utils.messages import UserError


def scored(videos=40, operators=8, strength=1.0, seed=0):
    """Videos whose score falls with jerk and path; of one operator they are alike."""
    random = np.random.default_rng(seed)
    operator = np.arange(videos) % operators
    ability = random.normal(size=operators)[operator] + 0.3 * random.normal(size=videos)
    figures = random.normal(size=(videos, len(FIGURES)))
    figures[:, FIGURES.index("jerk")] -= 2 * strength * ability
    figures[:, FIGURES.index("path")] -= 2 * strength * ability
    return Scored([""] * videos, [f"operator {n}" for n in operator], 10 + ability, figures)


def test_what_is_there_is_found_and_what_is_not_is_not():
    found = skill.fit(scored(100, 20))
    assert found.correlations["jerk"].high < 0 < -found.correlations["jerk"].value
    assert found.gain.low > 0 and found.error.value < found.constant.value
    assert found.correlations["idle"].low < 0 < found.correlations["idle"].high
    nothing = skill.fit(scored(strength=0.0))
    assert nothing.gain.low <= 0
    assert (found.videos, found.operators) == (100, 20)


def test_who_is_predicted_was_never_seen():
    """Figures that name the operator would tell the score, were one on both sides."""
    random = np.random.default_rng(1)
    operator = np.repeat(np.arange(6), 10)
    score = random.normal(size=6)[operator]
    figures = random.normal(size=(6, len(FIGURES)))[operator] * 5
    predicted, mean = skill.predictions(figures, score, operator)
    assert abs(predicted - score).mean() > 0.5 * abs(mean - score).mean()
    moved = score.copy()
    moved[operator == 2] += 100
    assert np.array_equal(skill.predictions(figures, moved, operator)[0][operator == 2], predicted[operator == 2])


def test_predictions_are_those_of_ridge_regression():
    data = scored(60, 6)
    data.figures[:, 2] *= 100  # of another unit
    operator = np.unique(data.operator, return_inverse=True)[1]
    predicted, mean = skill.predictions(data.figures, data.score, operator)
    for one in range(6):
        out = operator == one
        model = make_pipeline(StandardScaler(), Ridge(1.0))
        model.fit(data.figures[~out], data.score[~out])
        assert predicted[out] == pytest.approx(model.predict(data.figures[out]))
        assert mean[out] == pytest.approx(data.score[~out].mean())


def test_the_interval_of_a_correlation_is_the_jackknifes_over_operators():
    data = scored(60, 6)
    column = data.figures[:, FIGURES.index("jerk")]
    operator = np.array(data.operator)

    def fisher(rows):
        return np.arctanh(spearmanr(column[rows], data.score[rows]).statistic)

    left_out = np.array([fisher(operator != one) for one in np.unique(operator)])
    half = t.ppf(0.975, 5) * np.sqrt(5 / 6 * ((left_out - left_out.mean()) ** 2).sum())
    whole = fisher(np.ones(60, bool))
    found = skill.fit(data).correlations["jerk"]
    expected = np.tanh([whole - half, whole, whole + half])
    assert [found.low, found.value, found.high] == pytest.approx(expected)


def test_intervals_count_operators():
    narrow, wide = skill.fit(scored(400, 100)), skill.fit(scored(400, 5))
    width = [one.correlations["jerk"].high - one.correlations["jerk"].low for one in (narrow, wide)]
    assert width[1] > width[0] and wide.correlations["jerk"].groups == 5
    assert wide.error.groups == wide.constant.groups == wide.gain.groups == 5


def test_a_figure_that_lacks_is_no_reason_to_stop():
    data = scored()
    data.figures[:, FIGURES.index("economy")] = np.nan
    data.figures[3, FIGURES.index("jerk")] = np.nan
    data.figures[:, FIGURES.index("seconds")] = 5.0
    found = skill.fit(data)
    assert {"economy", "seconds"}.isdisjoint(found.correlations) and np.isfinite(found.error.value)
    assert found.correlations["jerk"].n == 39


def write_tables(tmp_path):
    """Write a table of scores, and the motion of each of its videos."""
    data = scored(16, 4)
    rows = [["動画", "術者", "点数"]]
    for number, figures in enumerate(data.figures):
        (tmp_path / f"case{number}").mkdir()
        with (tmp_path / f"case{number}" / "motion.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["track", "label", "frames", *FIGURES, "unit"])
            table.writerow([1, "tool", 30, *figures, "px"])
            table.writerow([2, "tool", 10, *[""] * len(FIGURES), "px"])
        rows.append([f"case{number}", data.operator[number], data.score[number]])
    with (tmp_path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    return write_tables(tmp_path)


def test_tables_of_motion_are_read_and_the_command_tells(folder, capsys):
    read = skill.read(folder / "scores.csv")
    assert np.allclose(read.figures, scored(16, 4).figures)
    assert main.run(["skill", str(folder / "scores.csv"), "--lang", "en"]) == 0
    assert "16 videos of 4 operators" in capsys.readouterr().out
    assert main.run(["skill", str(folder / "scores.csv"), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["correlations"]) == set(FIGURES)


def test_several_tracks_are_put_together(tmp_path):
    with (tmp_path / "motion.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["track", "label", "frames", *FIGURES, "unit"])
        table.writerow([1, "tool", 30, 3, 100, 10, 20, 0.5, 1, 8, "px"])
        table.writerow([2, "tool", 10, 1, 20, 30, 60, 0.9, 0, "", "px"])
    assert skill._figures(tmp_path / "motion.csv") == [4, 120, 15, 30, 0.6, 1, 8]


@pytest.mark.parametrize(
    "line", ["../elsewhere,a,3", "case1,,3", "case1,a,much", "case1", "nowhere,a,3", "case1,a,nan"]
)
def test_lines_that_cannot_be_used_are_named(folder, line):
    with (folder / "scores.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(UserError) as trouble:
        skill.read(folder / "scores.csv")
    assert trouble.value.code == "unreadable"


def test_few_operators_other_columns_and_no_table_are_refused(folder):
    (folder / "few.csv").write_text("video,operator,score\ncase0,a,1\ncase1,b,2\n")
    with pytest.raises(UserError) as trouble:
        skill.read(folder / "few.csv")
    assert trouble.value.code == "few operators"
    for text in ("", "file,label\na,b\n", "video,operator,score\nscores.csv,a,1\n"):
        (folder / "odd.csv").write_text(text)
        with pytest.raises(UserError) as trouble:
            skill.read(folder / "odd.csv")
        assert trouble.value.code == "unreadable"
