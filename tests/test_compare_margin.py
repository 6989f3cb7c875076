"""A comparison against a margin: noted before results are seen, judged, and its changes told."""

import json

import numpy as np
import pytest
from judged import ranked
from scipy.special import ndtr

import souron
from souron.actions.compare import CompareRecord
from souron.cli import actions, main
from souron.evaluation import fixed_margin
from souron.evaluation.method_verdict import METRICS
from souron.metrics.metric import Metric
from souron.metrics.ranking import Ranking
from souron.report import verdict as verdict_tables
from souron.report import wording
from souron.runs import compare
from souron.runs import folder as run_folder
from souron.stats import margin as stats_margin
from souron.stats import verdict as stats_verdict
from souron.stats.records import Margin, Row, Verdict, pairs_as_json
from souron.utils.messages import UserError, use_language

ROWS = [Row(name, "accuracy", 0.9, 0, 1) for name in "ab"]
SHARE, ERROR = Metric("accuracy", unit="share"), Metric("mean error", higher_is_better=False, unit="mm")


def fight(**options):
    return compare.compare(["mlp_tiny", "cnn_tiny"], "digits", **{"budget": "1ep", "seeds": 2, **options})


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A comparison with a margin of 30 points."""
    return fight(margin=30, project=str(tmp_path_factory.mktemp("runs")))


def test_the_margin_is_noted_before_anything_is_trained(tmp_path, monkeypatch):
    noted = []
    real = compare.Comparison.play_round

    def play_round(self, number, *given):
        [folder] = (tmp_path / "compare").iterdir()
        noted.append(run_folder.read_args(folder, ("systems",)))
        assert not (folder / "receipt.json").exists()
        return real(self, number, *given)

    monkeypatch.setattr(compare.Comparison, "play_round", play_round)
    record = fight(margin=5, seeds=1, project=str(tmp_path))
    [args] = noted
    [entry] = args["margins"]
    assert args["margin"] == entry["margin"] == 5 and entry["rounds"] == 0 and entry["time"].count("-") >= 2
    receipt = json.loads((record.folder / "receipt.json").read_text("utf-8"))
    assert receipt["margins"] == args["margins"] and "margin=5" in receipt["command"]


def test_each_pair_is_judged_by_the_interval_of_its_verdict(record):
    [pair], [one] = record.verdicts, record.ranking.margins
    assert one.word == stats_margin.word(pair.low, pair.high, 0.3)
    found = ranked({name: record.scores[name] for name in (pair.a, pair.b)}, groups=record.test.units)
    assert one == stats_margin.against(found.differences[pair.a, pair.b], 0.3)
    shown = record.as_json()
    told = {"verdict": one.word, "cases_needed": one.cases_needed, "within": one.within}
    assert shown["verdicts"][0]["margin"] == told
    assert not record.further["AUC"].margins and shown["margins"][0]["margin"] == 30


def test_sentence_page_and_terminal_say_it(record, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "With a margin of 30 points: " in record.sentence and "changed after" not in record.sentence
    page = record.report.read_text("utf-8")
    assert "With a margin of 30 points" in page and "before results were seen" in page
    actions.print_record(CompareRecord(record))
    assert "with a margin of 30 points" in capsys.readouterr().out
    with use_language("ja"):
        from souron.utils.messages import again

        assert again(record.sentence) != record.sentence


def test_without_a_margin_nothing_is_said_of_one(tmp_path):
    found = fight(seeds=1, project=str(tmp_path))
    assert "margin" not in found.sentence and "margins" not in found.as_json() and not found.ranking.margins
    assert "margin" not in found.as_json()["verdicts"][0]


def test_another_margin_after_results_is_told(record, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(record.folder, folder)
    again = compare.compare(resume=folder)
    assert again.sentence == record.sentence and len(again.receipt["margins"]) == 1
    same = compare.compare(resume=folder, margin=30)
    assert len(same.receipt["margins"]) == 1
    other = compare.compare(resume=folder, margin=50)
    told = "The margin was changed after results were seen: from 30 to 50 points."
    assert other.sentence.endswith(told) and told in other.report.read_text("utf-8")
    assert "With a margin of 50 points" in other.sentence and told in other.notes
    args = run_folder.read_args(folder, ("systems",))
    assert [one["rounds"] for one in args["margins"]] == [0, 2]
    assert told in compare.compare(resume=folder).sentence  # for good


def test_a_margin_that_is_first_fixed_after_results_is_told():
    entries = [{"margin": 2.0, "rounds": 3}, {"margin": 5.0, "rounds": 3}, {"margin": 0.5, "rounds": 4}]
    assert wording.margin_changes(SHARE, entries) == [
        "The margin of 2 points was fixed after results were seen.",
        "The margin was changed after results were seen: from 2 to 5 points.",
        "The margin was changed after results were seen: from 5 to 0.5 points.",
    ]
    assert wording.margin_changes(SHARE, [{"margin": 2.0, "rounds": 0}, {"margin": 3.0, "rounds": 0}]) == []
    later = [{"margin": 0.5, "rounds": 0}, {"margin": 1.0, "rounds": 1}]
    assert wording.margin_changes(ERROR, later)[0].endswith("from 0.5 to 1 mm.")


def test_a_margin_is_in_points_or_in_the_unit_of_the_measure():
    auc = METRICS["score"][0]
    assert (SHARE.margin_width(2), auc.margin_width(2), ERROR.margin_width(2)) == (0.02, 0.02, 2)
    assert [wording.margin_text(one, 2) for one in (SHARE, auc, ERROR)] == ["2 points", "0.02", "2 mm"]


def test_the_worse_one_is_not_called_good_enough_where_only_the_better_one_is():
    pair = Verdict("a", "b", 0.01, -0.01, 0.05, "cannot tell", 10, None)
    text = wording.against_margin(Ranking(SHARE, ROWS, [pair], [Margin("not inferior", None)], 2))
    assert text == "With a margin of 2 points: a is not inferior to b; whether b is inferior to a is open."
    text = wording.against_margin(Ranking(SHARE, ROWS, [pair], [Margin("cannot tell", 40)], 2))
    assert text.endswith("cannot tell whether a is inferior to b. About 40 more cases needed.")


def test_a_significant_difference_within_the_margin_is_said_to_lie_there():
    """Piaggio 2012: 0.3 points on 4,000 cases are significant, and within a margin of 2 points, not of 0.4."""
    right = np.ones(4000)
    found = stats_verdict.difference(right, right - (np.arange(4000) < 12))
    small, large = (stats_margin.against(found, margin) for margin in (0.02, 0.004))
    assert small.word == large.word == "superior" and small.small and not large.small
    pair = stats_verdict.verdict_of("a", "b", found)
    said = wording.against_margin(Ranking(SHARE, ROWS, [pair], [small], 2))
    assert said.endswith("The difference is significant, but its whole interval lies within the margin.")
    assert "whole interval" not in wording.against_margin(Ranking(SHARE, ROWS, [pair], [large], 0.4))
    assert verdict_tables.against_margin(small) == "superior, within the margin"
    assert pairs_as_json([pair], [small])[0]["margin"]["within"] is True
    equal = stats_margin.against(stats_verdict.difference(right, right), 0.02)
    assert equal.word == "equivalent" and equal.within and not equal.small


def test_pairs_have_a_margin_in_json_only_where_there_is_one():
    pair = Verdict("a", "b", 0.01, -0.01, 0.05, "cannot tell", 10, None)
    assert "margin" not in Ranking(SHARE, [], [pair]).as_json()["verdicts"][0]
    assert pairs_as_json([pair], [Margin("equivalent", None)])[0]["margin"]["verdict"] == "equivalent"


@pytest.mark.parametrize("value", [0, -2, float("nan"), float("inf")])
def test_a_margin_is_above_zero_and_cannot_be_taken_back(value):
    with pytest.raises(UserError) as caught:
        fight(margin=value)
    assert caught.value.code == "margin"


def test_the_margin_of_a_plan_is_taken(tmp_path):
    (tmp_path / "plan.json").write_text('{"margin": 2.5, "patients": 90}', encoding="utf-8")
    plan = str(tmp_path)
    assert (
        fixed_margin.asked(None, plan) == fixed_margin.asked(2.5, plan) == 2.5
        and fixed_margin.asked(None, None) is None
    )
    with pytest.raises(UserError, match="is not the margin of"):
        fixed_margin.asked(3.0, plan)
    with pytest.raises(UserError, match="not a share"):
        fixed_margin.check(ERROR, plan)
    fixed_margin.check(SHARE, plan)
    fixed_margin.check(ERROR, None)
    args = {}
    assert fixed_margin.note(args, 2.5, 0, plan) and args["margins"][0]["plan"] == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"margin": null}', '{"margin": true}', "[" * 10_000])
def test_a_folder_without_a_margin_is_no_plan(tmp_path, text):
    (tmp_path / "plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        fixed_margin.asked(None, str(tmp_path))
    assert caught.value.exit == 3
    with pytest.raises(UserError):
        fixed_margin.asked(None, str(tmp_path / "nowhere"))


def test_the_command_takes_a_margin(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "mlp_tiny", "cnn_tiny", "data=digits", "epochs=1", "seeds=1", "margin=2", "--json"]
    assert main.run([*words, "--lang", "en"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["margins"][0]["margin"] == 2 and "With a margin of 2 points" in told["sentence"]
    runs = [str(souron.train(system, "digits", budget="1ep").folder) for system in ("mlp_tiny", "cnn_tiny")]
    assert main.run(["compare", *runs, "margin=60", "--json", "--lang", "en"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "With a margin of 60 points" in told["sentence"] and told["verdicts"][0]["margin"]["verdict"] == "equivalent"
    assert any("fixed before" in note for note in told["notes"])
    assert main.run(["compare", *runs, "margin=-1", "--lang", "en"]) == 2


def test_a_method_that_is_worse_by_the_margin_is_seldom_called_not_inferior():
    """In at most 2.5 %, plus two standard errors."""
    random = np.random.default_rng(0)
    trials, called = 400, 0
    loss = float(ndtr(1.5 / 2**0.5) - ndtr(1.1 / 2**0.5))
    for _trial in range(trials):
        hard = random.normal(size=200)
        good, bad = (hard + random.normal(size=200) > limit for limit in (-1.5, -1.1))
        found = stats_verdict.difference(bad.astype(float), good.astype(float))
        called += stats_margin.against(found, loss).word in ("not inferior", "equivalent", "superior")
    assert called / trials <= 0.025 + 2 * (0.025 * 0.975 / trials) ** 0.5
