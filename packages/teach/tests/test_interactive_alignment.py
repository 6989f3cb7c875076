"""Alignment by votes: the policy is what DPO makes of them, and its cost is shown."""

import browsing
import pytest
import torch

from souron.studio.interactives import alignment
from souron.tasks.complete import preference_losses
from souron.utils.messages import LANGUAGES, UserError, use_language

ASKED = {"votes": [], "beta": 0.5, "voter": "careful", "rest": False}


def last(told):
    return {name: values[-1] for name, values in told["history"].items()}


def test_the_loss_is_that_of_dpo():
    chosen, rejected = torch.tensor([1.0, -0.5]), torch.tensor([0.2, 0.4])
    expected = -(1 / (1 + (-0.3 * (chosen - rejected)).exp())).log()
    torch.testing.assert_close(preference_losses(chosen, rejected, 0.3), expected)


def test_a_policy_is_trained_on_log_ratios():
    """One policy, with its log-probabilities and those of the start written out."""
    pairs = alignment.pairs("en")[:6]
    features = [alignment.features(pair.question) for pair in pairs]
    weights = torch.zeros(len(alignment.FEATURES), requires_grad=True)
    beta, votes = 0.5, [0, 1, 1, 0, 0, 1]
    for _step in range(alignment.STEPS):
        losses = []
        for rows, pair, vote in zip(features, pairs, votes, strict=True):
            ratio = (rows @ weights).log_softmax(0) - torch.full((3,), 1 / 3).log()
            losses.append(preference_losses(ratio[pair.places[vote]], ratio[pair.places[1 - vote]], beta))
        (slope,) = torch.autograd.grad(torch.stack(losses).mean(), [weights])
        weights = (weights - alignment.RATE / beta**2 * slope).detach().requires_grad_()
    both = torch.stack([rows[list(pair.places)] for rows, pair in zip(features, pairs, strict=True)])
    at, chosen = torch.arange(6), torch.tensor(votes)
    trained = alignment.train(both[at, chosen], both[at, 1 - chosen], beta)
    torch.testing.assert_close(trained[-1], weights.detach(), atol=1e-3, rtol=1e-3)
    fewer = alignment.train(both[at, chosen][:2], both[at, 1 - chosen][:2], beta)
    torch.testing.assert_close(trained[2], fewer[-1], atol=1e-4, rtol=1e-4)  # the first two votes alone
    assert not trained[0].any()


@pytest.mark.parametrize("language", LANGUAGES)
def test_caution_everywhere_refuses_harmless_questions(language):
    with use_language(language):
        start = last(alignment.answer(ASKED))
        cautious = last(alignment.answer(ASKED | {"voter": "cautious", "rest": True}))
        careful = last(alignment.answer(ASKED | {"voter": "careful", "rest": True}))
    assert start["kl"] == 0 and start["accuracy"] == 0.5
    assert start["refusal"] == pytest.approx(1 / 3, abs=0.02)
    assert cautious["refusal"] > 2 * start["refusal"]  # as the answer says
    assert cautious["improper"] < 0.5 * start["improper"]
    assert careful["refusal"] < start["refusal"] and careful["improper"] < 0.5 * start["improper"]
    assert careful["accuracy"] > 0.8 and cautious["kl"] > 0.1


def test_a_small_beta_moves_farther():
    moved = [last(alignment.answer(ASKED | {"rest": True, "beta": beta}))["kl"] for beta in sorted(alignment.BETAS)]
    assert moved == sorted(moved, reverse=True) and moved[0] > 2 * moved[-1]


def test_the_divergence_is_that_of_torch():
    test = alignment.held("en")
    policies = torch.rand(3, len(test), 3).softmax(-1)
    policies[0] = 1 / 3
    expected = torch.nn.functional.kl_div(policies[:1].log(), policies[2:], reduction="none").sum(-1).mean()
    assert alignment.figures(policies, test)["kl"][2] == pytest.approx(float(expected), abs=1e-4)


def test_no_question_of_the_votes_is_measured():
    for language in LANGUAGES:
        voted = {pair.question.prompt for pair in alignment.pairs(language)}
        assert len(voted) == alignment.VOTES and not voted & {each.prompt for each in alignment.held(language)}
        assert {pair.question.sort for pair in alignment.pairs(language)} == {"everyday", "medical", "harmless"}


@pytest.mark.parametrize(
    "wrong", [{"votes": None}, {"votes": [2]}, {"votes": [0] * 21}, {"votes": [True]}, {"beta": 0}, {"voter": "me"}]
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(UserError):
        alignment.answer(ASKED | wrong)


def test_the_record_answers_what_the_page_asks():
    told = [alignment.answer(asked) for asked in alignment.record()]
    assert [len(each["votes"]) for each in told] == [0, 20, 20, 20] * len(alignment.BETAS)


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_votes_by_keyboard_move_the_policy(looked_at):
    with browsing.visiting(width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=alignment")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        for number, does in enumerate(("a", "b", "a"), 2):
            page.locator(f"[data-do={does}]").press("Enter")
            page.wait_for_selector(f":text('Vote {number} of 20')")
        told = last(alignment.answer(ASKED | {"votes": [0, 1, 0]}))
        shown = page.locator("[data-part=now]").inner_text()
        assert "After 3 votes" in shown and f"KL divergence from the start {told['kl']:.3f} nats" in shown
        assert f"over-refusal {100 * told['refusal']:.1f} %" in shown
        page.locator("[data-do=back]").press("Enter")
        page.wait_for_selector(":text('Vote 3 of 20')")
        page.locator("[name=voter]").select_option("cautious")
        page.locator("[data-do=rest]").press("Enter")
        page.wait_for_selector(":text('All 20 votes are given')")
        page.locator("[name=beta]").select_option("2.0")
        told = last(alignment.answer({"votes": [0, 1], "beta": 2, "voter": "cautious", "rest": True}))
        page.wait_for_selector(f":text('start {told['kl']:.3f} nats')")
        page.locator("[data-do=again]").press("Enter")
        page.wait_for_selector(":text('Vote 1 of 20')")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.outside == [] and visit.errors == []
