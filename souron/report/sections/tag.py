"""Report sections of sequence tagging: labelled spans in texts."""

from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.language import named_entities
from souron.evaluation.language.named_entities import TagResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.spans import marked
from souron.metrics.tag import F1, PRECISION, RECALL
from souron.report.page import Section, figure, filled, section
from souron.utils.messages import _

TEMPLATE = "tag.html"
NAMES = (F1, PRECISION, RECALL)


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, TagResult) and test is not None
    parts = (("read", _("Sentences to read"), _read(result, test)), ("labels", _("By label"), _labels(result)))
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return sentences in which the systems predicted different spans."""
    if not record.details or record.test is None:
        return []
    labels, every = (named_entities.labels_of(record.test.classes), named_entities.sentences(record.test))
    rows = [
        (
            _html(every[row].text, every[row].spans.tolist(), labels),
            [(name, _html(every[row].text, spans, labels)) for name, spans in each.items()],
        )
        for row, each in record.details
    ]
    return section("differing", _("Where they disagree"), TEMPLATE, rows)


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


def _html(text: str, spans: Any, labels: tuple[str, ...]) -> Markup:
    return Markup(marked(text, named_entities.named(text, spans, labels), labels))  # it escapes the text


def _read(result: TagResult, test: Dataset) -> Any:
    labels, every = named_entities.labels_of(test.classes), named_entities.sentences(test)
    return [
        (
            test.file[row],
            _html(every[row].text, every[row].spans.tolist(), labels),
            _html(every[row].text, spans, labels),
        )
        for row, spans in result.read
    ]


def _labels(result: TagResult) -> Any:
    return {
        "metrics": [registry.metric(name).title for name in NAMES],
        "rows": [
            (label, result.counts[label], [figure(name, measures[name]) for name in NAMES])
            for label, measures in result.by_label.items()
        ],
    }
