"""The luck of a split: souron's own splits and verdicts, and what a leak does to them."""

import json
from dataclasses import replace

import browsing
import numpy as np
import pytest

from souron.data.splits import split
from souron.metrics import classification
from souron.stats import verdict
from souron.studio import interactive
from souron.studio.interactives import luck_of_a_split as luck
from souron.utils.messages import UserError

DRAWS = 20


@pytest.fixture(scope="module")
def draws():
    """The first draws of 40 patients, by patients and by images."""
    return {way: [luck.drawn(40, seed, way == "patients") for seed in range(DRAWS)] for way in ("patients", "images")}


def column(draws, way, system, place):
    return np.array([one.auc[system][place] for one in draws[way]])


def test_a_draw_is_souron_s_split_measure_and_verdict():
    data = luck.cases(40)
    for whole in (True, False):
        found = luck.drawn(40, 5, whole)
        made = split(data if whole else replace(data, group=()), seed=5, val=0.0, test=0.3)
        assert found.test == sorted(made.test.tolist())
        train, test = data.only(made.train), data.only(made.test)
        groups = list(test.group) if whole else None
        answers = [
            predict(luck.flat(train.input), train.target, luck.flat(test.input))
            for predict in (luck.logistic, luck.nearest)
        ]
        for one, auc in zip(answers, found.auc, strict=True):
            area = classification.auc(one, test.target, groups)
            assert auc[:3] == pytest.approx([area.value, area.low, area.high], abs=1e-4)
        scores = [classification.auc_scores(one, test.target, groups) for one in answers]
        apart = verdict.difference(*scores, groups=groups, strata=test.target)
        assert found.verdict == apart.verdict
        assert found.difference == pytest.approx([apart.difference, apart.low, apart.high], abs=1e-4)


def test_only_a_split_by_images_has_a_patient_on_both_sides():
    found = luck.answer({"patients": "40", "seed": 3})
    sides = {way: {row // luck.IMAGES for row in found[way]["test"]} for way in ("patients", "images")}
    assert len(found["patients"]["test"]) == luck.IMAGES * len(sides["patients"])  # whole patients
    assert found["each"] == luck.IMAGES and found["torn"] > 25 and 10 <= len(sides["patients"]) <= 14


def test_other_patients_are_patients_in_no_draw():
    pixels = luck.shuffled().input.flatten(1)
    first = max(luck.PATIENTS)
    others, _label = luck.others()
    far = (others[:, None] * 255 - pixels[: first + luck.OTHERS]).square().sum(2)
    assert (far.argmin(1) < first).sum() < 20  # the digit nearest to a noisy picture is its own, but for a few


def test_a_leak_makes_figures_that_do_not_hold_elsewhere(draws):
    for system in range(2):
        honest, leaking = (column(draws, way, system, 0).mean() for way in ("patients", "images"))
        elsewhere = [column(draws, way, system, 3).mean() for way in ("patients", "images")]
        assert abs(honest - elsewhere[0]) < 0.1
        assert leaking > elsewhere[1] + 0.1  # as the answer says
        assert elsewhere[1] == pytest.approx(elsewhere[0], abs=0.04)


def test_one_system_s_auc_depends_on_the_draw_as_the_answer_says(draws):
    honest = column(draws, "patients", 0, 0)
    assert honest.max() - honest.min() >= 0.1
    truth = column(draws, "patients", 0, 3).mean()
    held = sum(one.auc[0][1] <= truth <= one.auc[0][2] for one in draws["patients"])
    assert held >= 17
    wrongly = sum(one.auc[0][1] <= truth <= one.auc[0][2] for one in draws["images"])
    assert wrongly <= 2


def test_the_leak_turns_the_order_as_the_answer_says(draws):
    ahead = {way: sum(one.difference[0] > 0 for one in some) for way, some in draws.items()}
    assert ahead["patients"] >= 15 and ahead["images"] <= 7
    words = {way: [one.verdict for one in some] for way, some in draws.items()}
    assert "worse" not in words["patients"] and 5 <= words["patients"].count("cannot tell") <= 15
    many = [luck.drawn(80, seed, False) for seed in range(DRAWS)]
    assert sum(one.verdict == "worse" for one in many) >= 5  # wrongly: on other patients it is the other way round
    outside = np.mean([[one.auc[0][3], one.auc[1][3]] for one in many], 0)
    assert outside[0] > outside[1]


@pytest.mark.parametrize("asked", [{}, {"patients": 40}, {"patients": "41"}, {"patients": "40", "seed": 60}])
def test_other_settings_are_refused_or_the_first(asked):
    if asked:
        with pytest.raises(UserError):
            interactive.answer("luck_of_a_split", asked)
    else:
        assert interactive.answer("luck_of_a_split", asked)["patients"]["test"] == luck.drawn(40, 0, True).test


def test_an_exported_page_carries_every_draw():
    asked = list(luck.record())
    assert len(asked) == len(luck.PATIENTS) * luck.DRAWS == len({json.dumps(one) for one in asked})
    answers = [json.dumps(interactive.answer("luck_of_a_split", one)) for one in asked[:: luck.DRAWS]]
    assert sum(map(len, answers)) * luck.DRAWS < 3_500_000


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_presses_add_draws_whose_figures_are_python_s(looked_at, draws):
    def text(part):
        return page.locator(f"[data-part={part}]").text_content()

    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=luck_of_a_split")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        first = draws["patients"][0].auc[0][0]
        assert f"Draws: 1. AUC of logistic regression: by patients {first:.3f} to {first:.3f}" in text("draws")
        page.locator("[data-do=once]").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(":text('Draws: 2.')")
        page.locator("[data-do=twenty]").click()
        page.wait_for_selector(":text('Draws: 22.')")
        page.locator("[name=shown]").select_option("1")
        some = [luck.drawn(40, seed, True) for seed in range(22)]
        honest = [one.auc[1][0] for one in some]
        assert f"nearest neighbour: by patients {min(honest):.3f} to {max(honest):.3f}" in text("draws")
        words = [one.verdict for one in some]
        assert f"cannot tell {words.count('cannot tell')} times" in text("verdict")
        ahead = sum(one.difference[0] > 0 for one in some)
        assert f"was ahead in {ahead} of 22" in text("changes")
        page.locator("[data-do=again]").click()
        page.wait_for_selector(":text('Draws: 1.')")
        page.locator("[name=patients]").select_option("20")
        page.wait_for_selector(":text('of 20 patients')")
        assert visit.outside == [] and visit.errors == []
