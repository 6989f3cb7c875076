"""The loop, the batches, the budget."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from souron import registry
from souron.blocks.averaging import follow, follower, lead
from souron.data.dataset import Loader
from souron.metrics.metric import Metric
from souron.training import forecast
from souron.training.budget import Budget, one_cycle, set_rate, split_host
from souron.training.loop import Run, descend, load_optimizer_state
from souron.training.trainer import Trainer
from souron.utils.messages import UserError


class Rivals(nn.Module):
    """Two weights in one graph, updated in turns."""

    clip = None

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.seen_by_b = []

    def optimizers(self):
        return {"a": torch.optim.SGD([self.a], lr=0.1), "b": torch.optim.SGD([self.b], lr=0.1)}

    def updates(self, batch, step):
        yield "a", (self.a * self.b).sum()
        self.seen_by_b.append(self.a.item())
        yield "b", (self.a * self.b).sum()

    def after_update(self, step):
        self.last = step


ENDLESS = SimpleNamespace(endless=lambda size, start: iter(lambda: None, 1))


def test_each_loss_moves_its_own_weights_and_the_next_sees_them_moved():
    rivals = Rivals()
    next(descend(rivals, ENDLESS, Run(1)))
    assert rivals.a.item() == pytest.approx(0.9)  # moved by b = 1
    assert rivals.seen_by_b == [pytest.approx(0.9)]
    assert rivals.b.item() == pytest.approx(0.91)  # moved by a = 0.9


def test_the_loop_counts_steps_from_its_start():
    rivals = Rivals()
    steps = [progress.step for progress in descend(rivals, ENDLESS, Run(5, start=2))]
    assert steps == [2, 3, 4] and rivals.last == 4 and not rivals.training


def test_losses_carry_no_graph():
    progress = next(descend(Rivals(), ENDLESS, Run(1)))
    assert all(not loss.requires_grad for loss in progress.losses.values())


def test_a_gradient_is_shortened_to_the_norm_that_a_system_allows():
    rivals = Rivals()
    rivals.clip = 0.5
    next(descend(rivals, ENDLESS, Run(1)))
    assert rivals.a.item() == pytest.approx(1 - 0.1 * 0.5)


def looked(figures, higher=True, **options):
    """The look whose weights are kept, and after how many looks it stopped or was stopped."""
    task = SimpleNamespace(watches="m", metric=lambda name: Metric(name, higher))
    given = {"patience": 0, "least_steps": 0, **options}
    fit = SimpleNamespace(task=task, curve=[], step=1, best=None, stopped="", **given)
    for look, figure in enumerate(figures):
        fit._weights = lambda look=look: look
        Trainer._keep_best(fit, {"m": figure})
        fit.curve.append({"val m": figure})
        if fit.stopped:
            break
    return fit.best, len(fit.curve)


def test_the_best_look_is_kept_and_of_equal_ones_the_first():
    assert looked([0.1, 0.5, 0.3, 0.5, 0.2]) == (1, 5)
    assert looked([0.3, 0.1, 0.5, 0.1], higher=False) == (1, 4)


def test_patience_counts_the_looks_since_the_best_one():
    figures = [0.5, 0.4, 0.6, 0.5, 0.5, 0.5, 0.9]
    assert looked(figures, patience=2) == (2, 5)
    assert looked(figures, patience=2, least_steps=9) == (6, 7)  # before these it does not stop


def test_a_look_is_taken_as_answers_are_and_learning_goes_on():
    seen, system = [], nn.Dropout()
    task = SimpleNamespace(validate=lambda system, data: seen.append(system.training) or {"m": torch.ones(2)})
    fit = SimpleNamespace(system=system, task=task)
    assert Trainer.means(fit, SimpleNamespace(device=torch.device("cpu"))) == {"m": 1.0}
    assert seen == [False] and system.training


def test_a_moving_average_forgets_its_first_steps():
    network, row = nn.Linear(1, 1, bias=False), torch.zeros(1)
    for weight, step, expected in ((2.0, 0, 2.0), (4.0, 10, 3.0), (4.0, 10**6, 3.1)):
        nn.init.constant_(network.weight, weight)
        follow(row, network, 0.9, step)  # keeps 0, a half, and 0.9 of itself
        assert row.item() == pytest.approx(expected, abs=1e-4)
    slow = follower(network)
    nn.init.zeros_(network.weight)
    for step, expected in ((8, 2.0), (10**6, 1.8)):  # a half, and 0.9
        lead(slow, network, 0.9, step)
        assert slow.weight.item() == pytest.approx(expected) and not slow.weight.requires_grad


def test_an_epoch_shows_each_case_once(digits):
    cases = digits.only(range(60))
    feed = Loader(cases, lambda rows: rows.target)
    batches = feed.endless(20)
    for _epoch in range(2):
        seen = torch.cat([next(batches) for _step in range(3)])
        assert torch.equal(seen.sort().values, cases.target.sort().values)


def test_a_feed_taken_up_again_goes_on_as_if_unbroken(digits):
    def noisy(rows, generator):
        shape = rows.input.shape
        noise = torch.randint(0, 9, shape, generator=generator, dtype=torch.uint8)
        return rows._replace(input=rows.input + noise)

    feed = Loader(digits.only(range(50)), lambda rows: rows, noisy, seed=3)
    unbroken = [batch for batch, _i in zip(feed.endless(8), range(20), strict=False)]
    again = feed.endless(8, start=13)
    for image, label in unbroken[13:]:
        other_image, other_label = next(again)
        assert torch.equal(image, other_image) and torch.equal(label, other_label)


def test_another_seed_gives_another_order(digits):
    cases = digits.only(range(50))
    first, second = (next(Loader(cases, lambda rows: rows.target, seed=seed).endless(50)) for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "text, amount, unit",
    [
        ("60s", 60, "seconds"),
        ("1.5min", 90, "seconds"),
        ("2h", 7200, "seconds"),
        ("5ep", 5, "epochs"),
        ("20000ex", 20000, "examples"),
        (" 3 EP ", 3, "epochs"),
        ("12345678ex", 12_345_678, "examples"),
    ],
)
def test_a_budget_is_read(text, amount, unit):
    budget = Budget.parse(text)
    assert (budget.amount, budget.unit) == (amount, unit)
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "60", "0s", "-5ep", "5 weeks", "ep5", "1e3s"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UserError, match="not a budget"):
        Budget.parse(text)


def test_a_budget_of_seconds_names_the_machine_that_it_is_measured_on():
    assert split_host("10min@Desk-3.lab") == (Budget(600, "seconds"), "Desk-3.lab")
    assert split_host("2s@here") == (Budget(2, "seconds"), "here")
    assert split_host("5ep") == (Budget(5, "epochs"), "")


@pytest.mark.parametrize("text", ["10min@", "10min@two words", "10min@a@b", "@here", "5ep@here", "200ex@desk"])
def test_a_budget_on_a_machine_that_means_nothing_is_refused(text):
    with pytest.raises(UserError) as trouble:
        split_host(text)
    assert trouble.value.code == "budget" and trouble.value.fix


def test_a_budget_of_seconds_becomes_examples_at_the_speed_after_the_set_up(digits, monkeypatch):
    """A first step of five seconds and later ones of 0.01."""

    def count(self, seconds, worked):
        self.charged += 0.01 if self.step else 5.0

    monkeypatch.setattr(Trainer, "_count", count)
    kind, config = registry.load_system("mlp_tiny")
    system = kind(config, kind.spec_for(digits))
    data = system.loader(digits)

    def fit(**given):
        return Trainer(system, data, None, Budget(100, "seconds"), 64, **given)

    assert forecast.examples_within(fit()) == pytest.approx(100 / 0.01 * 64, rel=0.01)
    assert forecast.examples_within(fit(charged=50.0)) == pytest.approx(50 / 0.01 * 64, rel=0.01)
    assert forecast.examples_within(fit(charged=100.0, least_steps=7)) == 7 * 64
    monkeypatch.setattr(system, "most_steps", 30, raising=False)
    assert forecast.examples_within(fit()) == 30 * 64


def test_a_budget_knows_how_much_is_used():
    assert Budget.parse("10s").fraction(1, 2.5, 10**12) == 0.25
    assert Budget.parse("2ep").fraction(5, 99, 20) == 0.25
    assert Budget.parse("1000ex").fraction(5, 99, 10) == 0.5
    assert Budget.parse("2ep").steps(128, 1000) == 14


def test_trainings_share_seconds_and_nothing_else():
    assert Budget.parse("10s").share(5) == Budget(2, "seconds")
    assert Budget.parse("10ep").share(5) == Budget(10, "epochs")


def test_the_rate_rises_and_falls():
    factors = [one_cycle(i / 100) for i in range(101)]
    top = factors.index(max(factors))
    assert factors[0] < 0.02 and max(factors) <= 1 and factors[-1] == 0
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_setting_the_rate_twice_starts_from_the_first():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.4)
    set_rate(optimizer, 0.5)
    set_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_a_fused_step_is_right_after_moments_were_read_in_another_layout():
    torch.manual_seed(0)
    gradient = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    start = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)

    def step(optimizer, weight):
        weight.grad = gradient.clone()
        optimizer.step()

    def fresh():
        weight = nn.Parameter(start.clone())
        return weight, torch.optim.AdamW([weight], lr=0.1, fused=True)

    unbroken, optimizer = fresh()
    step(optimizer, unbroken)
    state = optimizer.state_dict()
    state["state"] = {  # as a file gives it back
        key: {name: moment.contiguous() for name, moment in kept.items()} for key, kept in state["state"].items()
    }
    broken, other = fresh()
    broken.data.copy_(unbroken.data)
    load_optimizer_state(other, copy.deepcopy(state))
    for _step in range(3):
        gradient = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
        step(optimizer, unbroken)
        step(other, broken)
    assert broken.stride() == unbroken.stride() != broken.contiguous().stride()
    assert torch.equal(broken, unbroken)


def test_a_forecast_ends_within_its_share_of_the_budget(monkeypatch):
    """On a machine where each step takes ten seconds, by a clock that says so."""
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: next(ticks))
    fit = SimpleNamespace(_used=0.0)
    steps = (SimpleNamespace(step=i, optimizers={}) for i in range(100))
    took = forecast._tried(fit, steps, 0.0, 50, 1, 12.0)
    assert fit.step == 2 and took.step == 10 and not took.done


def test_a_busy_machine_makes_the_forecast_of_a_budget_longer(monkeypatch):
    """A budget counts the processor's seconds, at most three times as long by the clock (``Trainer._count``)."""
    fit = SimpleNamespace(budget=Budget(50, "seconds"), seconds=0.0, least_steps=0)
    for speed, expected in ((1.0, 50), (0.5, 100), (0.1, 150)):
        now = [0.0]  # seconds by a clock that only the steps move
        monkeypatch.setattr(forecast.time, "perf_counter", lambda now=now: now[0])
        monkeypatch.setattr(forecast.time, "thread_time", lambda now=now, speed=speed: speed * now[0])
        steps = (SimpleNamespace(step=i, optimizers={}) for i in range(100) if now.append(now.pop() + 0.01) is None)
        took = forecast._tried(SimpleNamespace(_used=0.0), steps, 0.0, 50, 1)
        found = forecast.Probe(0.0, 0.0, 0, waiting=forecast._waiting([took])).seconds(fit)
        assert found == pytest.approx(expected, rel=0.05)


def test_a_forecast_does_not_take_the_set_up_for_a_step(monkeypatch):
    """A first step of a second and later ones of a hundredth, of a budget of one second."""
    ticks = iter([0.0, *(1.0 + 0.01 * n for n in range(100))])
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: next(ticks))
    steps = (SimpleNamespace(step=i, optimizers={}) for i in range(100))
    took = forecast._tried(SimpleNamespace(_used=0.0), steps, 0.0, 4, 1, 0.2)
    assert took.step == pytest.approx(0.01) and took.first == 1.0
