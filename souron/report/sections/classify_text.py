"""Report sections of text classifiers: as for images, with mistakes to read."""

from typing import TYPE_CHECKING

from souron.data.dataset import Dataset
from souron.evaluation.answers import dense
from souron.evaluation.record import RunRecord
from souron.report.blocks import Block, Cell, Group, Section, sections
from souron.report.sections import classify
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from torch import Tensor

MISTAKES = 30
LETTERS = 600  # characters of a text

headline, doubts = classify.headline, classify.doubts
limits, comparison_notes = classify.limits, classify.comparison_notes


def run(record: RunRecord) -> list[Section]:
    result, test = record.details, record.test
    assert test is not None
    probability = dense(record.answers[0], "probability")
    return sections(
        ("discrimination", _("Discrimination"), classify._discrimination(record, result)),
        ("confusion", _("Confusion matrix"), classify._confusion(test, probability)),
        ("classes", _("Class by class"), classify._classes(test, result)),
        ("subgroups", _("Subgroups"), classify._subgroups(result)),
        ("calibration", _("Calibration"), classify._calibration(result)),
        ("misread", _("The most confident mistakes"), mistakes(test, probability)),
    )


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a classifier, and the number of texts that were truncated."""
    found = classify.notes(record)
    if record.model is None or record.test is None:
        return found
    count = record.model.cut(list(record.test.input))
    if count:
        text = _("Of {count} of {all} test texts it read only the beginning: they are longer than its maximum input.")
        found.append(text.format(count=units.whole(count), all=units.whole(len(record.test))))
    return found


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    labels = record.test.classes if record.test is not None else ()
    text = _("Classifying texts like those of {data} into {count} classes: {labels}.")
    told = text.format(data=record.data, count=len(labels), labels=", ".join(labels[:20]))
    return told, 'model("text.txt").best'


def mistakes(test: Dataset, probability: "Tensor") -> list[Block]:
    """Return the most confident mistakes, with the beginnings of their texts."""
    sure, predicted = probability.max(1)
    wrong = (predicted != test.target).nonzero().flatten()
    text = _("{label}, predicted {predicted} with {confidence}")
    shown: list[Block] = []
    for row in wrong[sure[wrong].argsort(descending=True)].tolist()[:MISTAKES]:
        said = text.format(
            label=test.classes[int(test.target[row])],
            predicted=test.classes[int(predicted[row])],
            confidence=units.percent(float(sure[row])),
        )
        beginning = test.input[row][:LETTERS] + ("…" if len(test.input[row]) > LETTERS else "")
        shown.append(Group(f"{test.file[row]}: {said}", [Cell(beginning, style="pre")], "folded"))
    return shown
