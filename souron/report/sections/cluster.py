"""Report sections of clusterings."""

from collections import Counter
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import RunRecord
from souron.report import plots
from souron.report.page import Section, plot, section
from souron.utils import plotting, units
from souron.utils.messages import _

LEAVES = 30  # of the dendrogram
MOST = 50  # clusters shown, the largest


def run(record: RunRecord) -> list[Section]:
    """Return the contents of each cluster and, for hierarchical clustering, the dendrogram."""
    clusters = section("clusters", _("Clusters"), "cluster.html", _clusters(record))
    tree = getattr(record.model, "tree", None)
    if tree is None or not bool((tree[:, 3] > 0).all()):
        return clusters
    return [*clusters, Section("dendrogram", _("Dendrogram"), _dendrogram(record, tree))]


def _dendrogram(record: RunRecord, tree: Tensor) -> Markup:
    """Plot the last merges of the tree and the height at which it is cut."""
    from scipy.cluster.hierarchy import dendrogram

    count = record.model.config.groups
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    heights = tree[:, 2].tolist()
    cut = (heights[-count] + heights[1 - count]) / 2 if 1 < count <= len(heights) else heights[-1]
    dendrogram(
        tree.numpy(),
        p=LEAVES,
        truncate_mode="lastp",
        ax=axes,
        color_threshold=cut,
        above_threshold_color=plotting.FAINT,
        leaf_font_size=7,
    )
    axes.axhline(cut, color=plotting.INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylabel(_("distance of the joined clusters"))
    axes.set_xlabel(_("clusters of so many cases (in brackets), or the number of one case"))
    drawn = plot(plotting.as_png(figure), _("which clusters were joined, and how far apart"))
    text = _(
        "Two clusters are joined at the height of their distance. The dashed line cuts the tree "
        "into {count}: groups=N cuts it elsewhere, and model.system.cut(N) without training again."
    ).format(count=count)
    image = Markup('<figure class="plot"><img src="{}" alt="{}" width="{}"></figure>')
    return Markup("<p>{}</p>").format(text) + image.format(drawn.uri, drawn.alt, drawn.width)


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Finding clusters among images like those of {data}.").format(data=record.data)
    return text, "model.system"


def _clusters(record: RunRecord) -> dict[str, Any]:
    test, groups = record.test, record.answers[0]["cluster"]
    assert test is not None and isinstance(groups, Tensor)
    sizes = Counter(groups.tolist())
    found = sorted(sorted(sizes, key=lambda group: -sizes[group])[:MOST])
    members = {group: (groups == group).nonzero().flatten() for group in found}
    chosen = {_name(group): rows for group, rows in members.items()}
    counts = [len(rows) for rows in members.values()]
    rows = [
        {"name": name, "cases": len(held), "holds": _most_frequent(test, held)}
        for name, held in zip(chosen, members.values(), strict=True)
    ]
    silhouette = record.answers[0]["silhouette"]
    assert isinstance(silhouette, Tensor)
    return {
        "picture": test.images
        and plot(
            plots.classes({name: test.input[rows[:12]] for name, rows in chosen.items()}, counts, _("cases")),
            _("images of {count} clusters").format(count=len(found)),
        ),
        "fewer": _("Of {all} clusters, the {count} largest.").format(all=units.whole(len(sizes)), count=len(found))
        if len(sizes) > len(found)
        else "",
        "rows": rows,
        "silhouette": plot(
            plots.histogram(silhouette, registry.metric("silhouette").title, range_=(-1, 1)),
            _("how often each silhouette occurs"),
        ),
    }


def _name(cluster: int) -> str:
    return _("noise") if cluster < 0 else _("cluster {number}").format(number=cluster + 1)


def _most_frequent(test: Dataset, rows: Tensor) -> str:
    if test.target is None:
        return units.UNKNOWN
    counts = Counter(test.target[rows].tolist()).most_common(3)
    return ", ".join(f"{test.classes[label]} ({units.percent(n / len(rows), 0)})" for label, n in counts)
