"""Plots of one make are drawn once; what may go wrong while one is drawn makes it another."""

import math

import plots_once
import pytest

from souron.utils import plotting
from souron.utils.messages import use_language


def plot(values=(0.1, 0.5, 0.9), title="accuracy", scale="linear", lines=1):
    figure = plotting.new_figure(4, 3)
    axes = figure.subplots()
    axes.set_title(title)
    for _line in range(lines):
        axes.plot(range(len(values)), values)
    axes.set_yscale(scale)
    return figure


def test_other_values_are_the_same_make():
    assert plots_once.make(plot()) == plots_once.make(plot((0.2, 0.3, 0.7, 0.8), "log loss"))


@pytest.mark.parametrize(
    "changed",
    [
        {"values": ()},
        {"values": (0.5,)},
        {"values": (0.5, 0.5)},
        {"values": (0.1, math.nan)},
        {"values": (-0.1, 0.5)},
        {"title": "正解率"},
        {"title": "$x"},
        {"scale": "log"},
        {"lines": 2},
    ],
)
def test_what_may_go_wrong_is_another_make(changed):
    assert plots_once.make(plot()) != plots_once.make(plot(**changed))


def test_each_make_is_drawn_once_in_each_language():
    drawn = []
    draw = plots_once.once(lambda figure: drawn.append(figure) or bytes([len(drawn)]))
    assert [draw(plot()), draw(plot((0.3, 0.4))), draw(plot(title="数"))] == [b"\1", b"\1", b"\2"]
    with use_language("ja"):
        assert draw(plot()) == b"\3"
