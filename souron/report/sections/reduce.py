"""Report sections of dimensionality reduction: the embedding, and one of shuffled data."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report.blocks import Plot, Section
from souron.report.page import plot
from souron.utils import plotting
from souron.utils.messages import _

COLOURS = plotting.COLOURS
MOST_COLOURED = 10  # classes; with more, the points are grey


def run(record: RunRecord) -> list[Section]:
    """Show the embedding beside that of the data with each column shuffled independently."""
    [answers], test = record.answers, record.test
    assert test is not None
    maps = {_("map"): answers["place"]}
    if "place, columns shuffled" in answers:
        maps[_("columns shuffled one by one")] = answers["place, columns shuffled"]
    drawn = _maps({name: places for name, places in maps.items() if isinstance(places, Tensor)}, test)
    text = _(
        "Each point is a case. The classes were not used to make the map; here they colour it. "
        "The second map is of the same values with every column shuffled separately: no case has "
        "a neighbour there, so any islands it shows are artefacts of the method. Read the first "
        "map by how it differs from the second."
    )
    return [Section("map", _("Map"), [text, drawn])]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("A map of {data}.").format(data=record.data)
    return text, "model.system"


def comparison(record: ComparisonRecord) -> list[Section]:
    """Show the embeddings of the first seed side by side."""
    if record.details is None or record.test is None:
        return []
    drawn = _maps(record.details, record.test)
    return [Section("maps", _("Side by side"), [drawn])]


def _maps(maps: dict[str, Tensor], test: Dataset) -> Plot:
    figure = Figure(figsize=(4.2 * len(maps), 4.4), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    target = test.target if test.target is not None else torch.zeros(len(test), dtype=torch.long)
    coloured = 1 < len(test.classes) <= MOST_COLOURED
    for axis, (name, places) in zip(axes, maps.items(), strict=True):
        places = places.float()
        if places.shape[1] == 1:
            places = torch.cat([places, torch.zeros_like(places)], 1)
        for label, title in enumerate(test.classes if coloured else ("",)):
            rows = target == label if coloured else slice(None)
            axis.scatter(
                places[rows, 0],
                places[rows, 1],
                s=5,
                linewidths=0,
                color=COLOURS[label % len(COLOURS)] if coloured else plotting.FAINT,
                marker=plotting.MARKS[label // len(COLOURS) % len(plotting.MARKS)],
                label=plotting.label(title),
            )
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    if coloured:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, markerscale=2.5, fontsize=8)
    title = registry.metric("trustworthiness").title
    alt = _("{count} points on a map; {metric} says how far to trust it")
    return plot(plotting.as_png(figure), alt.format(count=len(test), metric=title))
