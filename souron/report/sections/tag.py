"""Report sections of sequence tagging: labelled spans in texts."""

from typing import Any

from markupsafe import Markup

from souron.data.dataset import Dataset
from souron.evaluation.language import named_entities
from souron.evaluation.language.named_entities import TagResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.spans import marked
from souron.metrics.tag import F1, PRECISION, RECALL
from souron.report.blocks import Block, Cell, Live, Section, sections
from souron.report.page import bare, figures, filled
from souron.utils import units
from souron.utils.messages import _

NAMES = (F1, PRECISION, RECALL)


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, TagResult) and test is not None
    return sections(("read", _("Sentences to read"), _read(result, test)), ("labels", _("By label"), _labels(result)))


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return sentences in which the systems predicted different spans."""
    if not record.details or record.test is None:
        return []
    labels, every = (named_entities.labels_of(record.test.classes), named_entities.sentences(record.test))
    shown: list[Block] = []
    for row, each in record.details:
        said = [_marked(every[row].text, spans, labels, name) for name, spans in each.items()]
        shown += [_marked(every[row].text, every[row].spans.tolist(), labels), *said]
    text = _(
        "Test sentences in which the systems marked other spans: above what is right, below what each system found."
    )
    return sections(("differing", _("Where they disagree"), [text, *shown]))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} sentences of {data} in {time}. On {test} unseen test "
        "sentences the F1 of its spans is {value} (95 % interval {interval})."
    )
    return filled(record, text, F1)


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Marking in texts what is marked in {data}.").format(data=record.data)
    return text, 'print(model(Text("...")))'


def _read(result: TagResult, test: Dataset) -> list[Block]:
    labels, every = named_entities.labels_of(test.classes), named_entities.sentences(test)
    shown: list[Block] = []
    for row, spans in result.read:
        right = _marked(every[row].text, every[row].spans.tolist(), labels)
        shown += [Cell(test.file[row], style="faint"), right, _marked(every[row].text, spans, labels)]
    text = _("Test sentences, those with mistakes first: above what is right, below what was found.")
    return [text, *shown] if shown else []


def _labels(result: TagResult) -> list[Block]:
    rows = [([label, units.whole(result.counts[label])], measures) for label, measures in result.by_label.items()]
    text = _(
        "A span is right if its beginning, its end and its label are. Precision is the share of right ones among those "
        "found, recall among those that are there; F1 is their harmonic mean."
    )
    return [text, *figures([_("label"), _("spans")], rows, NAMES, [_("spans")], bare)]


def _marked(text: str, spans: Any, labels: tuple[str, ...], name: str = "") -> Live:
    """Show a text with its spans marked; ``name`` of a system stands before it."""
    drawn = Markup(marked(text, named_entities.named(text, spans, labels), labels))  # it escapes the text
    before = Markup('<span class="faint">{}</span> ').format(name) if name else ""
    return Live(Markup('<p class="text">{}{}</p>').format(before, drawn), text)
