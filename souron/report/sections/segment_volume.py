"""Report sections of volume segmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.volumes import DICE, ERROR, HD95, SURFACE, OfOrgan, VolumeResult
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.kinds.volume import WINDOW
from souron.report.blocks import Block, Cell, Group, Plot, Section, Table, pictures, sections
from souron.report.page import bare, figures, filled, joined
from souron.stats.intervals import unseen
from souron.utils import units
from souron.utils.messages import _

PANE = 320  # width of a slice in the report, pixels
SLICES = (0.3, 0.5, 0.7)  # fractions of the height between the lowest and highest organ voxel
RARE = 0.05  # possible share of unseen failures above which a warning is shown
FIGURES = (DICE, HD95, SURFACE, ERROR)


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for volume segmentation."""
    result, test = record.details, record.test
    assert isinstance(result, VolumeResult) and test is not None
    return sections(
        ("found", _("Found organs"), _found(test, result)),
        ("organs", _("Organ by organ"), _organs(record, result)),
        ("worst", _("The least overlap"), _worst(test, result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Show the same slices with the result of each system, side by side."""
    test, found = record.test, record.details
    if test is None or not test.volumes or not len(test):
        return []
    maps = {name: np.asarray(areas[0]) for name, areas in found.items()}
    images = [_drawn(test, 0, number, maps) for number in _slices(test, 0)]
    text = _(
        "Three slices of one test volume: on the left with its true organs, then as each system in the order of the "
        "table found them."
    )
    return sections(("side_by_side", _("Side by side"), pictures(text, images)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} volumes of {data} in {time}. In {test} unseen test "
        "volumes its mean Dice is {value} (95 % interval {interval})."
    )
    return filled(record, text, DICE)


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a run.

    These are a Dice no better than the mean map, synthetic volumes, too few cases to see failures,
    and organs with a biased volume.
    """
    result = record.details
    if not isinstance(result, VolumeResult):
        return []
    told = []
    atlas, measure = result.baselines["atlas"].get(DICE), record.measures.get(DICE)
    if atlas and result.gain.low <= 0:
        told.append(
            _("No better than the mean map of the training volumes (mean Dice {value}).").format(
                value=registry.metric(DICE).text(atlas.value)
            )
        )
    if "synthetic" in (record.test.name if record.test is not None else ""):
        told.append(_("The volumes are synthetic: no figure here holds for patients."))
    rare = unseen(measure.groups or measure.n) if measure and (result.each > 0).all() else 0
    if rare > RARE:
        told.append(
            _(
                "No test case failed, but with so few cases up to {share} could fail unseen: the "
                "intervals account for that."
            ).format(share=units.percent(rare, 0))
        )
    off = [
        _("{name} {error} ml").format(name=one.name, error=f"{one.error.value:+.3g}")
        for one in result.organs
        if one.error and (one.error.low > 0 or one.error.high < 0)
    ]
    if off:
        told.append(_("Volumes with a systematic error: {names}.").format(names=", ".join(off)))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    names = ", ".join(record.test.classes[1:]) if record.test is not None else ""
    text = _("Segmenting {names} in volumes like those of {data}.").format(data=record.data, names=names)
    return text, 'model("volume.nii.gz").save(Path("organs.nii.gz"))'


def _found(test: Dataset, result: VolumeResult) -> list[Block]:
    """Show the case with the median Dice."""
    if not test.volumes or not len(test):
        return []
    text = _("Three slices of the test volume in the middle of the order by Dice.")
    return [text, *_case(test, int(np.argsort(result.each)[len(test) // 2]), result)]


def _worst(test: Dataset, result: VolumeResult) -> list[Block]:
    if not test.volumes or len(test) < 2:
        return []
    return [_("The test volume with the lowest mean Dice."), *_case(test, int(np.argmin(result.each)), result)]


def _case(test: Dataset, row: int, result: VolumeResult) -> list[Block]:
    found = {_("found"): result.found[row]}
    text = _(
        "{file}, mean Dice {dice}: on the left with its true organs, on the right with those that were found. The "
        "patient's right is on the left, front is up."
    ).format(file=test.file[row], dice=registry.metric(DICE).text(float(result.each[row])))
    return pictures(text, [_drawn(test, row, number, found) for number in _slices(test, row)])


def _slices(test: Dataset, row: int) -> list[int]:
    """Return three slice indices spread over the organs."""
    there = np.flatnonzero(np.asarray(test.target[row]).any((1, 2)))
    low, high = (int(there[0]), int(there[-1])) if len(there) else (0, test.target.shape[1] - 1)
    return list(dict.fromkeys(round(low + share * (high - low)) for share in SLICES))


def _drawn(test: Dataset, row: int, number: int, found: Mapping[str, Any]) -> Plot:
    """Show a slice with its true organs and, beside it, those of each system."""
    areas = [np.asarray(test.target[row][number]), *(np.asarray(one)[number] for one in found.values())]
    panes = [_pane(test, row, number, area) for area in areas]
    told = _("{file}, slice {number}: true: {organs}").format(
        file=test.file[row], number=number + 1, organs=_words(test, areas[0])
    )
    said = [f"{name}: {_words(test, area)}" for name, area in zip(found, areas[1:], strict=True)]
    return joined(panes, "; ".join([told, *said]))


def _pane(test: Dataset, row: int, number: int, area: np.ndarray) -> Image.Image:
    grey = (test.input[row, 0, number].float().numpy() - WINDOW[0]) / WINDOW[1] + 0.5
    shown = Image.fromarray((grey.clip(0, 1) * 255).astype(np.uint8))
    canvas = overlay.Canvas(Picture(shown))
    for label in np.unique(area).tolist():
        if label:
            canvas.area(area == label, test.classes[label], overlay.colour(label - 1))
    _slice, rows, columns = test.spacing[row]
    size = (PANE, round(PANE * area.shape[0] * rows / (area.shape[1] * columns)))
    return canvas.image.resize(size, Image.Resampling.LANCZOS)


def _words(test: Dataset, area: np.ndarray) -> str:
    names = [test.classes[label] for label in np.unique(area).tolist() if label]
    return ", ".join(names) or _("nothing")


def _organs(record: RunRecord, result: VolumeResult) -> list[Block]:
    """Tabulate figures by organ and beside baselines: the mean map and the untrained network."""
    names = {
        "": record.system,
        "atlas": _("the mean map of the training volumes"),
        "untrained": _("the same network untrained"),
    }
    every = {"": record.measures, **result.baselines}
    text = _(
        "Dice: twice the voxels that both have, as a share of those of both. HD95: 95 % of each surface lie within so "
        "many millimetres of the other one. Surface Dice: the share of both surfaces that lies within 2 mm of the "
        "other one. Volume error: how many per cent of its true volume an organ is off. All of them are the mean over "
        "a case's organs."
    )
    systems = [([names[name]], measures) for name, measures in every.items()]
    ml = [_("true ml"), _("found ml"), _("error in ml"), _("95 % interval"), _("error in per cent")]
    columns = [_("cases"), "Dice", _("95 % interval"), "HD95", _("95 % interval"), *ml]
    return [
        text,
        *figures([_("system")], systems, FIGURES, cells=bare),
        Table([_("organ"), *columns], [_organ(one) for one in result.organs], right=columns),
        Group(_("Part by part"), [_parts(result)]),
    ]


def _parts(result: VolumeResult) -> Table:
    """Tabulate how many connected parts of each organ, such as lesions, were found, and how many predicted ones are
    false.
    """
    names = _("true parts"), _("found"), _("false parts per case")
    rows = [
        (
            one.name,
            units.whole(one.parts),
            *(
                f"{units.measure(unit, each.value)} ({units.interval(unit, each.low, each.high)})"
                for unit, each in (("share", one.sensitivity), ("", one.alarms))
            ),
        )
        for one in result.organs
        if one.sensitivity and one.alarms
    ]
    text = _(
        "A part is connected by the faces of its voxels, as a lesion is. It is found where a predicted part shares a "
        "voxel with it; a predicted part without any is false. The network keeps only as many parts of each as are "
        "usual in training."
    )
    return Table((_("organ"), *names), rows, right=names, text=text)


def _organ(one: OfOrgan) -> list[str]:
    error = one.error
    return [
        one.name,
        Cell(units.whole(one.cases), one.cases),
        *bare(DICE, one.dice),
        *bare(HD95, one.hd95),
        f"{one.truth:.4g}" if one.cases else units.UNKNOWN,
        f"{one.found:.4g}" if one.cases else units.UNKNOWN,
        f"{error.value:+.3g}" if error else units.UNKNOWN,
        Cell(f"{error.low:+.3g} … {error.high:+.3g}" if error else "", style="faint"),
        f"{error.value / one.truth:+.1%}" if error else units.UNKNOWN,
    ]
