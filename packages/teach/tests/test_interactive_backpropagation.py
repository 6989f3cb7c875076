"""Backpropagation by hand: the script's numbers are PyTorch's."""

import browsing
import pytest
import torch
from torch.nn import functional as F

from souron.studio.interactives import backpropagation
from souron.utils.messages import UserError

RATE, STEPS = 0.1, 12


def gradients(system, x, target):
    """Loss and gradients of half the squared error by torch.autograd, in the order of the weights."""
    loss = (system(x)[0, 0] - target).square() / 2
    slopes = torch.autograd.grad(loss, list(system.parameters()))
    return loss.item(), [value for slope in slopes for value in slope.flatten().tolist()]


def with_weights(system, values):
    at = 0
    with torch.no_grad():
        for weight in system.parameters():
            weight.copy_(torch.tensor(values[at : at + weight.numel()]).view_as(weight))
            at += weight.numel()
    return system


def test_the_small_network_is_mlp_with_the_weights_that_are_sent():
    told = backpropagation.answer({"part": "network", "hidden": 2, "seed": 4})
    assert len(told["weights"]) == 9 and told["hidden"] == 2
    own = backpropagation.flat(backpropagation.network(2, 4))
    assert told["weights"] == pytest.approx(own, abs=0.0051)
    assert own != backpropagation.flat(backpropagation.network(2, 5))


@pytest.mark.parametrize("way", backpropagation.WAYS)
def test_gradient_norms_are_autograds(way):
    depth = 6
    image, target = backpropagation.digits()
    deep = backpropagation.deep_network(depth, *backpropagation.WAYS[way])
    F.cross_entropy(deep(image), target).backward()
    norms = [float(block.up.weight.grad.norm()) for block in deep.blocks]
    assert backpropagation.answer({"part": "depth", "depth": depth})["norms"][way] == pytest.approx(norms, rel=1e-4)


def test_without_skips_and_norms_the_first_block_does_not_learn():
    norms = backpropagation.norms(30)
    assert norms["plain"][0] < 1e-6 * norms["plain"][-1]  # as the answer says
    for way in ("skip", "norm", "both"):
        assert 0.3 < norms[way][0] / norms[way][-1] < 3


@pytest.mark.parametrize(
    "wrong", [{}, {"part": "x"}, {"part": "depth", "depth": 400}, {"part": "network", "hidden": 9}]
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(UserError):
        backpropagation.answer(wrong)


def test_the_record_answers_what_the_page_asks():
    told = [backpropagation.answer(asked) for asked in backpropagation.record()]
    assert sum("weights" in each for each in told) == 40 and sum("norms" in each for each in told) == 20


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_script_computes_what_pytorch_does(looked_at):
    with browsing.visiting(width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=backpropagation")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        for hidden, seed in ((3, 0), (2, 7)):
            system = backpropagation.network(hidden, seed)
            x, target = torch.tensor([[1.3, -0.7]]).view(1, 2, 1, 1), 0.8
            loss, slopes = gradients(system, x, target)
            found = page.evaluate(
                "async ([weights, hidden, x, target]) => { const made = await import("
                "'/static/interactives/backpropagation.js'); return [made.forward(weights, hidden, x, target).loss,"
                " made.backward(weights, hidden, x, target).all]; }",
                [backpropagation.flat(system), hidden, [1.3, -0.7], target],
            )
            assert found[0] == pytest.approx(loss, abs=1e-6) and found[1] == pytest.approx(slopes, abs=1e-5)
        for name, make in (
            ("sgd", lambda weights: torch.optim.SGD(weights, RATE)),
            ("momentum", lambda weights: torch.optim.SGD(weights, RATE, momentum=0.9)),
            ("adam", lambda weights: torch.optim.Adam(weights, RATE)),
        ):
            weight = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
            optimizer = make([weight])
            for _step in range(STEPS):
                optimizer.zero_grad()
                (weight.square() * torch.tensor([1.0, 2.0, 0.1])).sum().backward()
                optimizer.step()
            moved = page.evaluate(
                "async ([name, steps, rate]) => { const { change } = await import('/static/interactives/"
                "backpropagation.js'); let weights = [0.5, -1, 2]; const state = {}, by = [1, 2, 0.1];"
                " for (let step = 0; step < steps; step++) { const moved = change(name, state,"
                " weights.map((weight, i) => 2 * by[i] * weight), rate);"
                " weights = weights.map((weight, i) => weight + moved[i]); } return weights; }",
                [name, STEPS, RATE],
            )
            assert moved == pytest.approx(weight.tolist(), abs=1e-6)
        check_buttons(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.outside == [] and visit.errors == []


def check_buttons(page):
    """Each control answers, and the losses after some steps are those of PyTorch's SGD."""
    told = backpropagation.answer({"part": "network", "hidden": 3, "seed": 0})
    system = with_weights(backpropagation.network(3, 0), told["weights"])
    optimizer = torch.optim.SGD(system.parameters(), RATE)
    x = torch.tensor([[1.5, -0.5]]).view(1, 2, 1, 1)
    for _step in range(11):
        optimizer.zero_grad()
        ((system(x)[0, 0] - 1).square() / 2).backward()
        optimizer.step()
    page.locator("[data-do=once]").press("Enter")
    page.locator("[data-do=ten]").press("Enter")
    loss = gradients(system, x, 1)[0]
    assert f"after 11 steps the loss is {loss:.4f}" in page.locator("[data-part=sgd]").inner_text()
    page.locator("[data-do=again]").press("Enter")
    page.locator("[data-do=later]").press("Enter")
    page.locator("[data-do=later]").press("Enter")
    assert "∂L/∂y = y − t" in page.locator("[data-part=formula]").inner_text()
    before = page.locator("[data-part=sgd]").inner_text()
    page.locator("[data-do=weights]").press("Enter")
    page.wait_for_function("before => document.querySelector('[data-part=sgd]').innerText !== before", arg=before)
    page.locator("[name=hidden]").select_option("2")
    page.wait_for_selector("[data-part=changes] tr:nth-child(10)")
    page.locator("[name=depth]").focus()
    page.keyboard.press("ArrowLeft")
    norms = backpropagation.norms(28)["plain"]
    page.wait_for_selector(f":text('{plain_power(norms[0])}')")


def plain_power(value):
    """As the script writes a number: 1.2e-9."""
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}"
