"""The plot of decision curves."""

from matplotlib.ticker import FuncFormatter

from souron.evaluation.decision_curves import Decision
from souron.utils.messages import _
from souron.utils.plotting import FAINT, INK, add_legend, as_png, label, line_style, new_figure, style_axes

ROOM = 0.35  # below 0, as a share of the height above it: further down no curve matters


def decision_curves(made: Decision) -> bytes:
    """Plot the net benefit of each method with its 95 % band, of treating all and of treating none, as PNG."""
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    style_axes(axes, _("threshold"), _("net benefit"))
    places = made.thresholds
    for index, curve in enumerate(made.curves):
        benefits, style = [point.net_benefit for point in curve.points], line_style(index)
        ends = [one.low for one in benefits], [one.high for one in benefits]
        axes.fill_between(places, *ends, color=style["color"], alpha=0.14, linewidth=0)
        axes.plot(places, [one.value for one in benefits], **style, linewidth=1.8, label=label(curve.system))
    everyone = [one.value for one in made.everyone]
    axes.plot(places, everyone, color=FAINT, linewidth=1.4, linestyle=(0, (5, 2)), label=_("treat all"))
    axes.axhline(0, color=INK, linewidth=1.2, linestyle=(0, (1, 1.4)), label=_("treat none"))
    axes.axvline(made.marked[0], color=FAINT, linewidth=0.9)
    most = max(max(one.net_benefit.high for curve in made.curves for one in curve.points), *everyone, 1e-3)
    axes.set_ylim(-ROOM * most, 1.05 * most)
    axes.set_xlim(places[0], places[-1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _place: f"{100 * share:g} %"))
    add_legend(figure, axes, min(len(made.curves) + 2, 5))
    return as_png(figure)
