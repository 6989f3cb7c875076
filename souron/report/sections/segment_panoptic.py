"""Report sections of panoptic segmentation."""

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.data.targets.panoptic import Panoptic, shown
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.panoptic import PanopticResult
from souron.kinds.boxes import counted
from souron.report.blocks import Block, Group, Plot, Section, Table, pictures, sections
from souron.report.page import figure, figures, filled, grouped, joined, spread
from souron.report.steps import LOOKED_AT
from souron.utils import units
from souron.utils.messages import _, listed

SHOWN, WORST, SIDE_BY_SIDE = 6, 6, 4  # images
PANE = 384  # pixels of the longer side of an image in the report
FIGURES = ("PQ", "PQ of things", "PQ of stuff", "SQ", "RQ")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for panoptic segmentation."""
    result, test = record.details, record.test
    assert isinstance(result, PanopticResult) and test is not None
    return sections(
        ("found", _("Found segments"), _found(test, result)),
        ("quality", _("Panoptic quality"), _quality(record, result)),
        ("worst", _("The least quality"), _worst(test, result)),
        ("steps", _("How it finds its segments"), _steps(record, test, result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    rows = spread(len(test), SIDE_BY_SIDE)
    images = [_drawn(test, row, {name: every[row] for name, every in found.items()}) for row in rows]
    text = _(
        "The same test images: on the left with their true segments, then as each system in the order of the table "
        "found them."
    )
    return sections(("side_by_side", _("Side by side"), pictures(text, images)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its panoptic quality is {value} (95 % interval {interval})."
    )
    return filled(record, text, "PQ")


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than a constant answer, and of classes without a test segment."""
    result = record.details
    if not isinstance(result, PanopticResult):
        return []
    told = []
    constant = result.baselines.get("constant", {}).get("PQ")
    measure = record.measures.get("PQ")
    if measure and constant and measure.low <= constant.value:
        told.append(
            _("No better than predicting {label} for the whole image (PQ {value}).").format(
                label=result.constant or _("nothing"), value=registry.metric("PQ").text(constant.value)
            )
        )
    absent = [one.name for one in result.labels if not one.segments]
    if absent:
        told.append(_("Classes without a segment in the test images: {labels}.").format(labels=listed(absent, 12)))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    labels = record.test.classes if record.test is not None else ()
    text = _("Dividing images like those of {data} into {labels}.").format(data=record.data, labels=listed(labels, 20))
    return text, 'model("picture.png").save(Path("segments.png"))'


def _found(test: Dataset, result: PanopticResult) -> list[Block]:
    rows = spread(len(test), SHOWN) if test.images and len(test) else []
    text = _(
        "Test images: on the left with their true segments, on the right with those that were found, things with a "
        "score of at least {conf}. The threshold was chosen on validation images, where PQ is largest. Each thing has "
        "a colour of its own; stuff is dark; what has no name is void."
    ).format(conf=f"{result.conf:.2f}")
    return pictures(text, [_drawn(test, row, {_("found"): result.found[row]}) for row in rows])


def _worst(test: Dataset, result: PanopticResult) -> list[Block]:
    """Show the images with the lowest panoptic quality."""
    order = [row for row in np.argsort(result.each).tolist() if result.each[row] < 1][:WORST] if test.images else []
    text = _("Test images with the lowest PQ, each by itself: on the left with their true segments.")
    return pictures(text, [_drawn(test, row, {_("found"): result.found[row]}) for row in order])


def _steps(record: RunRecord, test: Dataset, result: PanopticResult) -> list[Block]:
    """Show the system's own account of its steps, on the image with the most things.

    Only the first test images are considered.
    """
    model = record.model
    if not test.images or model is None or not hasattr(model, "explain"):
        return []
    few = range(min(len(test), LOOKED_AT))
    row = max(few, key=lambda row: int(test.target[row].thing.sum()))
    with torch.inference_mode():
        batch = next(iter(model.loader(test.only([row])).once(1)))
        steps = model.eval().explain(batch.image, batch.target[0], result.conf)
    return [
        Group(step.title, pictures(step.caption, [joined([_pane(test, row, step.segments)], step.title)]))
        for step in steps
    ]


def _drawn(test: Dataset, row: int, found: Mapping[str, Panoptic]) -> Plot:
    """Show a test image with its true segments and, beside it, those of each system."""
    true = test.target[row]
    panes = [_pane(test, row, one) for one in (true, *found.values())]
    said = [f"{name}: {_words(test, one)}" for name, one in found.items()]
    told = _("{file}: true: {boxes}").format(file=test.file[row], boxes=_words(test, true))
    return joined(panes, "; ".join([told, *said]))


def _pane(test: Dataset, row: int, one: Panoptic) -> Image.Image:
    on_cpu = Panoptic(*(part.cpu() for part in one))
    drawn = shown(test.input[row], on_cpu, test.classes).drawn()
    scale = PANE / max(drawn.size)
    size = (round(drawn.width * scale), round(drawn.height * scale))
    return drawn.resize(size, Image.Resampling.LANCZOS)


def _words(test: Dataset, one: Panoptic) -> str:
    labels = one.compact().label.tolist()
    return counted([test.classes[label] for label in labels if label >= 0])


def _quality(record: RunRecord, result: PanopticResult) -> list[Block]:
    """Tabulate quality by class, beside the constant answer and the untrained network."""
    names = {
        "": record.system,
        "constant": _("the whole image {label}").format(label=result.constant or _("nothing")),
        "untrained": _("the same network untrained"),
    }
    every = {"": record.measures, **result.baselines}
    text = _(
        "A found segment is right where it overlaps a true one of its class by more than half. PQ, panoptic quality, "
        "is the sum of the overlaps (IoU) of right ones, divided by right ones and half of the false alarms and of the "
        "missed. It is SQ, the mean overlap of right ones, times RQ, which counts them alone. The figures are means "
        "over classes."
    )
    columns = [
        _("segments"), "PQ", _("95 % interval"), "SQ", "RQ", _("right"), _("missed"), _("false alarms")
    ]  # fmt: skip
    labels = [
        [
            one.name,
            _("thing") if one.thing else _("stuff"),
            units.whole(one.segments),
            *figure("PQ", one.quality),
            *(units.UNKNOWN if share is None else units.percent(share) for share in (one.of_right, one.recognition)),
            *map(units.whole, (one.right, one.missed, one.alarms)),
        ]
        for one in result.labels
    ]
    return [
        text,
        *figures([_("system")], [([names[name]], measures) for name, measures in every.items()], FIGURES),
        *grouped(record),
        Group(_("Class by class"), [Table([_("class"), _("kind"), *columns], labels, right=columns)]),
    ]
