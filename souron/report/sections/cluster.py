"""What the reports say of clusterings."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.report import plots
from souron.report.page import Section, plot, section
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.record import RunRecord


def run(record: "RunRecord") -> list[Section]:
    """What each cluster holds."""
    return section("clusters", _("Clusters"), "cluster.html", _clusters(record))


def use(record: "RunRecord") -> tuple[str, str]:
    """What the model is for, and the Python line that uses it, for the model card."""
    text = _("Finding clusters among pictures like those of {data}.").format(data=record.data)
    return text, "model.system"


def _clusters(record: "RunRecord") -> dict[str, Any]:
    test, groups = record.test, record.answers[0]["cluster"]
    assert test is not None and isinstance(groups, Tensor)
    found = groups.unique().tolist()
    members = {group: (groups == group).nonzero().flatten() for group in found}
    chosen = {
        _("cluster {number}").format(number=group + 1): test.input[rows[:12]]
        for group, rows in members.items()
    }
    counts = [len(rows) for rows in members.values()]
    rows = [
        {"name": name, "cases": len(held), "holds": _most_frequent(test, held)}
        for name, held in zip(chosen, members.values(), strict=True)
    ]
    silhouette = record.answers[0]["silhouette"]
    assert isinstance(silhouette, Tensor)
    return {
        "picture": plot(
            plots.classes(chosen, counts),
            _("pictures of {count} clusters").format(count=len(found)),
        ),
        "rows": rows,
        "silhouette": plot(
            plots.histogram(silhouette, registry.metric("silhouette").title, range_=(-1, 1)),
            _("how often each silhouette occurs"),
        ),
    }


def _most_frequent(test: Dataset, rows: Tensor) -> str:
    counts = Counter(test.target[rows].tolist()).most_common(3)
    return ", ".join(
        f"{test.classes[label]} ({units.percent(n / len(rows), 0)})" for label, n in counts
    )
