"""Report sections of instance segmentation: those of detectors, with masks."""

from functools import partial

from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.detection import DetectionResult
from souron.report.page import Section, filled, section
from souron.report.sections import detect
from souron.report.steps import steps
from souron.utils.messages import _

TEMPLATE = "segment_instances.html"
FIGURES = ("mask AP", "mask AP50", "box AP", "box AP50")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label, filled")
    figures = detect.precision(record, result, constant, FIGURES)
    parts = (
        ("found", _("Found objects"), TEMPLATE, detect.found_of(test, result)),
        ("precision", _("Average precision"), TEMPLATE, figures),
        ("curves", _("Precision and recall"), detect.TEMPLATE, detect.curves(result)),
        ("confusion", _("Confusion matrix"), detect.TEMPLATE, detect.confusion(test, result)),
        ("worst", _("The most mistakes"), TEMPLATE, detect.worst(test, result)),
    )
    said = [one for part in parts for one in section(*part)]
    return [*said, *steps(record, test, partial(detect.objects_in, test))]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    return section("side_by_side", _("Side by side"), TEMPLATE, detect.side_by_side(record))


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
