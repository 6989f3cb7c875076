"""Report sections of clusterings."""

from collections import Counter

from matplotlib.figure import Figure
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import RunRecord
from souron.report import plots
from souron.report.blocks import Block, Cell, Section, Table, sections
from souron.report.page import plot
from souron.utils import plotting, units
from souron.utils.messages import _

LEAVES = 30  # of the dendrogram
MOST = 50  # clusters shown, the largest


def run(record: RunRecord) -> list[Section]:
    """Return the contents of each cluster and, for hierarchical clustering, the dendrogram."""
    tree = getattr(record.model, "tree", None)
    return sections(
        ("clusters", _("Clusters"), _clusters(record)),
        ("dendrogram", _("Dendrogram"), [] if tree is None else _dendrogram(record, tree)),
    )


def _dendrogram(record: RunRecord, tree: Tensor) -> list[Block]:
    """Plot the last merges of the tree and the height at which it is cut."""
    from scipy.cluster.hierarchy import dendrogram

    if not bool((tree[:, 3] > 0).all()):
        return []
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
    text = _(
        "Two clusters are joined at the height of their distance. The dashed line cuts the tree "
        "into {count}: groups=N cuts it elsewhere, and model.system.cut(N) without training again."
    ).format(count=count)
    return [text, plot(plotting.as_png(figure), _("which clusters were joined, and how far apart"))]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Finding clusters among images like those of {data}.").format(data=record.data)
    return text, "model.system"


def _clusters(record: RunRecord) -> list[Block]:
    test, groups = record.test, record.answers[0]["cluster"]
    assert test is not None and isinstance(groups, Tensor)
    sizes = Counter(groups.tolist())
    found = sorted(sorted(sizes, key=lambda group: -sizes[group])[:MOST])
    members = {_name(group): (groups == group).nonzero().flatten() for group in found}
    counts = [len(rows) for rows in members.values()]
    silhouette = record.answers[0]["silhouette"]
    assert isinstance(silhouette, Tensor)
    shown: list[Block] = []
    if test.images:
        drawn = plots.classes({name: test.input[rows[:12]] for name, rows in members.items()}, counts, _("cases"))
        alt = _("images of {count} clusters").format(count=len(found))
        shown.append(plot(drawn, alt, _("Some images of each cluster, and how many cases it holds.")))
    if len(sizes) > len(found):
        fewer = _("Of {all} clusters, the {count} largest.").format(all=units.whole(len(sizes)), count=len(found))
        shown.append(Cell(fewer, style="faint"))
    caption = _(
        "Silhouette of each case: near 1 it lies well inside its cluster, near 0 between two, below 0 it is nearer to "
        "another."
    )
    histogram = plots.histogram(silhouette, registry.metric("silhouette").title, range_=(-1, 1))
    rows = [
        (name, Cell(units.whole(len(held)), len(held)), _most_frequent(test, held)) for name, held in members.items()
    ]
    return [
        *shown,
        plot(histogram, _("how often each silhouette occurs"), caption),
        _("The labels were not used to form the clusters; here they show what each holds."),
        Table([_("cluster"), _("cases"), _("most frequent labels")], rows, right=[_("cases")]),
    ]


def _name(cluster: int) -> str:
    return _("noise") if cluster < 0 else _("cluster {number}").format(number=cluster + 1)


def _most_frequent(test: Dataset, rows: Tensor) -> str:
    if test.target is None:
        return units.UNKNOWN
    counts = Counter(test.target[rows].tolist()).most_common(3)
    return ", ".join(f"{test.classes[label]} ({units.percent(n / len(rows), 0)})" for label, n in counts)
