"""The fair fight: equal for all, judged, resumed."""

import json

import pytest
from interrupting import stop_after
from judged import judge

from souron import registry
from souron.runs import compare, events
from souron.runs import folder as run_folder
from souron.stats import intervals
from souron.stats import verdict as stats_verdict
from souron.utils.messages import UserError


def fight(*systems, **options):
    return compare.compare(systems, "digits", **{"budget": "3ep", "seeds": 2, **options})


def test_the_json_has_the_promised_shape():
    record = fight("mlp_tiny", "cnn_tiny")
    shape = json.loads(json.dumps(record.as_json()))
    assert shape.keys() == {
        "task",
        "data",
        "budget",
        "seeds",
        "cases",
        "rows",
        "verdicts",
        "auc",
        "notes",
        "sentence",
        "report",
    }
    assert {"system", "measure", "value", "low", "high", "train_seconds", "examples_seen", "parameters"} <= shape[
        "rows"
    ][0].keys()
    assert {"a", "b", "difference", "low", "high", "verdict", "cases_needed"} <= shape["verdicts"][0].keys()
    assert shape["verdicts"][0]["verdict"] in ("better", "worse", "cannot tell")
    assert shape["sentence"] and (record.folder / "report.html").exists()
    receipt = json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["command"].startswith("souron compare mlp_tiny cnn_tiny")


def test_the_auc_is_judged_by_patients_and_by_the_rarer_label(monkeypatch):
    seen = []

    def difference(*given, **options):
        seen.append(options["strata"])
        return real(*given, **options)

    real = stats_verdict.difference
    monkeypatch.setattr(stats_verdict, "difference", difference)
    record = fight("mlp_tiny", "cnn_tiny", budget="1ep")
    of_accuracy, of_auc = seen
    assert of_accuracy is None and of_auc.tolist() == record.test.target.tolist()


def test_a_fixed_split_is_not_spoken_of_as_if_another_sample_had_been_drawn():
    record = fight("mlp_tiny", "cnn_tiny", budget="1ep")
    lines = (record.folder / "split.csv").read_text(encoding="utf-8").splitlines()
    assert record.sample == sum(line.endswith(",train") for line in lines)
    assert f"these {record.sample:,} cases" in record.report.read_text(encoding="utf-8")


def test_all_get_the_same_budget_and_the_same_cases():
    record = fight("mlp_tiny", "cnn_tiny", "vit_tiny", budget="1000ex")
    assert {row.examples_seen for row in record.rows} == {128 * 8}
    assert {scores.shape for scores in record.scores.values()} == {(2, record.cases)}
    assert len(record.verdicts) == 3


def test_seconds_are_the_same_for_all():
    record = fight("mlp_tiny", "resnet_tiny", budget="1s", seeds=1)
    assert all(row.train_seconds >= 1 for row in record.rows)
    assert record.rows[0].examples_seen != record.rows[1].examples_seen


def test_the_systems_of_a_round_share_one_copy_of_the_pictures():
    record = fight("mlp_tiny", "cnn_tiny", seeds=1)
    contest = compare.Comparison(run_folder.read_args(record.folder, ("systems", "data")))
    [(seed, split)] = contest.rounds
    learnt_from = []

    def entering(system):
        fit = (yield from contest.enter(system, seed, split)).trainer
        learnt_from.append(fit.data.cases.input.data_ptr())

    for system in contest.systems:
        assert list(entering(system)) == []
    assert len(learnt_from) == 2 and len(set(learnt_from)) == 1


def test_what_is_chosen_is_chosen_on_cases_that_are_not_tested(monkeypatch):
    asked = []

    def told(system, val, setup):
        asked.append(set(val.file))
        return {"threshold": 0.5, "temperature": 1.0}

    monkeypatch.setattr(registry.load_task("classify"), "decide", told)
    record = fight("mlp_tiny", "cnn_tiny", budget="1ep", seeds=1)
    assert len(asked) == 2 and asked[0] and not set.union(*asked) & set(record.test.file)


def test_another_system_begins_each_round(monkeypatch):
    real, entered = compare.Comparison.enter, []

    def enter(self, system, seed, split):
        entered.append((seed, system))
        return real(self, system, seed, split)

    monkeypatch.setattr(compare.Comparison, "enter", enter)
    fight("mlp_tiny", "cnn_tiny", budget="1ep")
    rounds = entered[2:]  # after the forecast
    assert rounds == [(0, "mlp_tiny"), (0, "cnn_tiny"), (1, "cnn_tiny"), (1, "mlp_tiny")]


def test_each_fold_counts_as_a_training(photos):
    record = compare.compare(["mlp_tiny", "cnn_tiny"], str(photos), budget="200ex", seeds=1, folds=3)
    assert "One seed each" not in record.sentence
    contest = compare.Comparison(run_folder.read_args(record.folder, ("systems", "data")))
    whose = contest.training_of
    assert [len(set(row)) for row in whose.tolist()] == [3]
    for number, (seed, split) in enumerate(contest.rounds):
        assert (whose[seed, split.test] == number).all()
    [verdict] = record.verdicts
    [again] = judge(record.scores, names=[verdict.a, verdict.b], trainings=whose)
    assert (again.low, again.high) == (verdict.low, verdict.high)
    for row in record.rows:
        found = intervals.interval(record.scores[row.system], trainings=whose)
        assert (row.low, row.high) == (found.low, found.high)
    contest.args["budget"] = "6s"  # of a seed, which its folds share
    budgets = []

    def entering():
        entrant = yield from contest.enter("mlp_tiny", *contest.rounds[0])
        budgets.append(entrant.trainer.budget.amount)

    assert list(entering()) == [] and budgets == [2]


def test_the_same_comparison_gives_the_same_figures():
    one, two = fight("mlp_tiny", "cnn_tiny"), fight("mlp_tiny", "cnn_tiny")
    assert [row.seeds for row in one.rows] == [row.seeds for row in two.rows]
    assert one.sentence == two.sentence


@pytest.mark.parametrize("turns", [0, 3, 8], ids=["at once", "first round", "second round"])
def test_an_interrupted_comparison_goes_on_where_it_was(turns, monkeypatch):
    with monkeypatch.context() as patch:
        slices = stop_after(100, patch, steps=12)
        whole = fight("mlp_tiny", "cnn_tiny", name="whole")
    all_turns = len(slices)
    with monkeypatch.context() as patch:
        slices = stop_after(turns, patch, steps=12)
        with pytest.raises(events.Interrupted) as interrupted:
            fight("mlp_tiny", "cnn_tiny", name="broken")
    assert len(slices) == turns + 1
    folder = interrupted.value.folder
    with monkeypatch.context() as patch:
        slices = stop_after(100, patch, steps=12)
        resumed = compare.compare(resume=folder)
    assert len(slices) == all_turns - turns
    assert [row.seeds for row in resumed.rows] == [row.seeds for row in whole.rows]
    assert resumed.sentence == whole.sentence
    assert sorted(p.name for p in (folder / "rounds").iterdir()) == ["0.safetensors", "1.safetensors"]


@pytest.mark.parametrize(
    "systems, code",
    [([], "systems"), (["mlp", "mlp"], "systems"), (["mlp", "kmeans"], "task"), (["mlp", "resnte"], "system")],
)
def test_a_comparison_without_sense_is_refused(systems, code):
    with pytest.raises(UserError) as trouble:
        fight(*systems)
    assert trouble.value.code == code


def test_an_order_of_systems_does_not_change_the_result():
    one, two = fight("mlp_tiny", "cnn_tiny"), fight("cnn_tiny", "mlp_tiny")
    assert {row.system: row.seeds for row in one.rows} == {row.system: row.seeds for row in two.rows}
