"""Report sections of instance segmentation: those of detectors, with masks."""

from functools import partial

from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.detection import DetectionResult
from souron.report.blocks import Section, sections
from souron.report.page import filled
from souron.report.sections import detect
from souron.report.steps import steps
from souron.utils.messages import _

FIGURES = ("mask AP", "mask AP50", "box AP", "box AP50")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label, filled")
    text = _(
        "Test images: on the left with their true objects, on the right with those that were found with a score of at "
        "least {conf}. The threshold was chosen on validation images, where F1 is largest."
    )
    explained = _(
        "Average precision as COCO computes it: mask AP50 counts a mask that overlaps that of its object by half, mask "
        "AP is the mean over overlaps from 0.50 to 0.95. Box AP is the same of the boxes around them."
    )
    coco = _("The twelve figures of COCO's evaluator, of masks")
    mistakes = _(
        "Test images with the most missed objects, false masks and wrong labels: on the left the true objects."
    )
    precision = detect.precision(record, result, constant, FIGURES, coco)
    return sections(
        ("found", _("Found objects"), detect.found_of(test, result, text)),
        ("precision", _("Average precision"), [explained, *precision]),
        ("curves", _("Precision and recall"), detect.curves(result)),
        ("confusion", _("Confusion matrix"), detect.confusion(test, result)),
        ("worst", _("The most mistakes"), detect.worst(test, result, mistakes)),
        ("steps", _("How it finds them"), steps(record, test, partial(detect.objects_in, test))),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    text = _(
        "The same test images: on the left with their true objects, then as each system in the order of the table "
        "found them."
    )
    return sections(("side_by_side", _("Side by side"), detect.side_by_side(record, text)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its mask AP50 is {value} (95 % interval {interval})."
    )
    return filled(record, text, "mask AP50")


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than a constant answer, absent labels, and few test images."""
    result = record.details
    if not isinstance(result, DetectionResult):
        return []
    text = _("No better than always answering one filled box (mask AP50 {value}).")
    return [*detect.no_better(record, text, "mask AP50"), *detect.absent(result), *detect.few_images(record)]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    return detect.use(record)
