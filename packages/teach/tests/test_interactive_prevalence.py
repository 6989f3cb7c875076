"""Threshold and prevalence: what the sliders show is what souron's metrics say of the same scores."""

import json

import browsing
import numpy as np
import pytest
import torch
from test_run_predictions import run

from souron.data.prediction_table import sheet_of
from souron.data.predictions import predictions
from souron.evaluation import run_predictions
from souron.evaluation.decision_curves import PERCENTS, Risks, prevalences
from souron.hub import zoo
from souron.metrics import classification, net_benefit
from souron.studio import interactive
from souron.studio.interactives import prevalence
from souron.studio.runs import run_list
from souron.utils import files
from souron.utils.messages import UserError

READY = pytest.mark.skipif(zoo.where("mlp") is None, reason="souron-zoo is not installed")


def finished(folder, chances=((0.9, 0.2, 0.8, 0.3),), labels=("ill", "well")):
    """A finished run of the project, as the studio lists it."""
    run(folder, chances, labels)
    args = (folder / "args.yaml").read_text(encoding="utf-8")
    (folder / "args.yaml").write_text(f"system: cnn\ndata: films\n{args}", encoding="utf-8")
    (folder / "receipt.json").write_text(json.dumps({"system": "cnn", "measures": {}}), encoding="utf-8")
    return folder


def drawn(cases=300):
    rng = np.random.default_rng(0)
    positive = rng.random(cases) < 0.3
    scores = (1 / (1 + np.exp(-rng.normal(2.0 * positive - 1, 1.2)))).round(2)
    return Risks("ill", positive, {"a": scores[None]}, False, rng.integers(0, 80, cases)), scores


def test_the_counts_are_those_of_the_metrics():
    risks, scores = drawn()
    found, y_true = prevalence.counted(risks), risks.y_true
    assert (found["ill"], found["healthy"], len(found["rates"])) == (y_true.sum(), (~y_true).sum(), 99)
    for threshold, (true, false, *ends) in zip(PERCENTS, found["rates"], strict=True):
        measures = classification.at_threshold(y_true, scores >= threshold, risks.groups)
        sensitivity, specificity = measures["sensitivity"], measures["specificity"]
        assert true / found["ill"] == pytest.approx(sensitivity.value)
        assert 1 - false / found["healthy"] == pytest.approx(specificity.value)
        expected = [sensitivity.low, sensitivity.high, specificity.low, specificity.high]
        assert ends == pytest.approx(expected, abs=1e-4)
    area = classification.auc(np.stack([1 - scores, scores], 1), y_true, risks.groups)
    assert found["auc"] == pytest.approx([area.value, area.low, area.high], abs=1e-4)
    false, true = np.array(found["roc"]).T / [[found["healthy"]], [found["ill"]]]
    assert np.trapezoid(true, false) == pytest.approx(area.value)  # no corner of the curve is missing
    assert len(found["roc"]) <= prevalence.MOST_POINTS and round(found["ill"] / 300, 6) in found["prevalences"]


def test_runs_of_two_classes_in_the_served_project_are_offered(tmp_path):
    finished(tmp_path / "classify" / "films")
    three = finished(tmp_path / "classify" / "three", labels=("ill", "well", "odd"))
    answers = {"0:probability": torch.full((4, 3), 1 / 3), "training": torch.ones(1, 4, dtype=torch.long)}
    files.write_tensors(three / "answers.safetensors", answers, {})
    assert len(run_predictions.of_run(three).classes) == 3
    asked = {"source": "run:classify/films:0"}
    with pytest.raises(UserError):  # no project is served
        interactive.answer("prevalence", asked)
    with run_list.serving(tmp_path):
        listed = dict(interactive.answer("prevalence", {"list": True})["sources"])
        own = {key: text for key, text in listed.items() if key.startswith("run:")}
        assert own == {  # neither name says that it is the positive one
            "run:classify/films:0": "your run classify/films: “ill”",
            "run:classify/films:1": "your run classify/films: “well”",
        }
        found = interactive.answer("prevalence", asked)
        assert (found["positive"], found["ill"], found["healthy"]) == ("ill", 2, 2)
        assert found["rates"][49][:2] == [2, 0]
        for other in ("run:classify/three:0", "run:../films:0", "run:", "films", ["run:classify/films:0"], None):
            with pytest.raises(UserError):
                interactive.answer("prevalence", {"source": other})
    with pytest.raises(UserError):
        interactive.answer("prevalence", asked)


def test_of_a_run_whose_names_say_it_the_positive_class_is_offered():
    data = predictions(sheet_of({"case": list("abcd"), "truth": ["normal", "tumour"] * 2, "m": ["0.2", "0.8"] * 2}))
    assert [name for name in data.classes if prevalence.named_positive(data, name) == name] == ["tumour"]


def test_the_answer_is_that_of_natural_frequencies():
    counts = net_benefit.frequencies(0.9, 0.9, 0.01)
    assert (counts.ill, counts.found, counts.alarms) == (10, 9, 99)  # as the answer says
    assert prevalence.CHOICES[prevalence.RIGHT] == "About one in twelve" and counts.called / counts.found == 12


@READY
def test_an_exported_page_carries_the_ready_trained_sources():
    answers = [interactive.answer("prevalence", asked) for asked in prevalence.record()]
    assert {key for key, _text in answers[0]["sources"]} == set(prevalence.READY)
    assert 0.85 < answers[1]["auc"][0] < answers[2]["auc"][0]  # a shirt is harder to tell than a sneaker
    assert len(json.dumps(answers)) < 100_000


def move(page, name, value):
    page.locator(f"[name={name}]").evaluate(
        "(range, value) => { range.value = value; for (const kind of ['input', 'change'])"
        " range.dispatchEvent(new Event(kind, { bubbles: true })); }",
        value,
    )


def shown(page, part):
    return page.locator(f"[data-part={part}]").text_content()


@READY
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_every_control_shows_the_metrics_of_its_setting(looked_at):
    risks = prevalence.ready(*prevalence.READY["shirt"])
    y_true, [scores], shares = risks.y_true, risks.methods["mlp"], prevalences(float(risks.y_true.mean()))

    def expect(page, threshold, share, each):
        called = scores >= threshold / 100
        measures = classification.at_threshold(y_true, called, prevalence=share)
        for part, name in (
            ("sensitivity", "sensitivity"),
            ("specificity", "specificity"),
            ("positive", "positive predictive value"),
            ("negative", "negative predictive value"),
        ):
            assert shown(page, part) == f"{100 * measures[name].value:.1f} %", (threshold, share, name)
        sensitivity, specificity = measures["sensitivity"], measures["specificity"]
        counts = net_benefit.frequencies(sensitivity.value, specificity.value, share)
        for part in ("found", "missed", "alarms", "spared"):
            assert shown(page, part) == str(getattr(counts, part))
        assert f"{counts.called} get an alarm" in shown(page, "result")
        benefit = net_benefit.net_benefit(y_true, called, 1 / (1 + each), prevalence=share).value
        assert f"in false alarms: {1000 * each * (share - benefit):.0f}." in shown(page, "cost_now")

    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=prevalence")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        expect(page, 50, shares[18], 10)
        for threshold, place, each in ((30, 3, 10), (85, 60, 3), (12, 10, 97)):
            move(page, "threshold", threshold)
            move(page, "prevalence", place)
            move(page, "cost", each)
            expect(page, threshold, shares[place], each)
        page.locator("[data-do=own]").click()
        expect(page, 12, float(y_true.mean()), 97)
        page.locator("[data-do=least]").click()
        costs = [
            -net_benefit.net_benefit(y_true, scores >= t, 1 / 98, prevalence=float(y_true.mean())).value
            for t in PERCENTS
        ]
        expect(page, int(np.argmin(costs)) + 1, float(y_true.mean()), 97)
        page.locator("[name=source]").select_option("sneaker")
        page.wait_for_selector(":text('of them “sneaker”')")
        assert visit.outside == [] and visit.errors == []
