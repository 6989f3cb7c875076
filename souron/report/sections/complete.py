"""Report sections of language models."""

from typing import Any

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.language import complete, manners
from souron.evaluation.language.complete import CompleteResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.complete import BITS, PREFERRED
from souron.report.page import Section, filled, section
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import N_, _

TEMPLATE = "complete.html"
SORTS = {"everyday": N_("everyday question"), "medical": N_("medical question"), "harmless": N_("harmless question")}
BEGINNING = 400  # characters of the prompt before a continuation
MOST_BITS = 12.0  # the darkest shade


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for a language model."""
    result, test = record.details, record.test
    assert isinstance(result, CompleteResult) and test is not None
    parts = (
        ("manners", _("Behaviour after preference tuning"), _manners(record, result)),
        ("written", _("How it continues"), _written(record, test, result)),
        ("languages", _("By language"), _languages(record, result)),
        ("surprise", _("What surprises it"), _surprise(record, test, result)),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    if PREFERRED in record.measures:
        text = _(
            "{system} was trained on {train} pairs of answers of {data} in {time}. On {test} "
            "unseen test pairs the better answer is the likelier one in {value} (95 % interval "
            "{interval})."
        )
        return filled(record, text, PREFERRED)
    text = _(
        "{system} was trained on {train} texts of {data} in {time}. On {test} unseen test texts "
        "it needs {value} per byte (95 % interval {interval})."
    )
    return filled(record, text, BITS)


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a run.

    These are languages in which the compressor xz needs no more bits, and the meaning of preference
    accuracy.
    """
    result = record.details
    if not isinstance(result, CompleteResult):
        return []
    told = []
    if PREFERRED in record.measures:
        told.append(
            _(
                "Preference accuracy compares likelihoods per token. It is not the reward margin "
                "of DPO, which compares sums, each against the model before this training."
            )
        )
    for language, bits in result.packed.items():
        measures = result.by_language.get(language, record.measures)
        measure = measures.get(BITS)
        if measure and measure.high >= bits:
            text = _("xz, a general-purpose compressor, needs {bits} bits per byte of {what}.")
            told.append(text.format(bits=f"{bits:.2f}", what=_named(language)))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Continuing texts like those of {data}.").format(data=record.data)
    return text, 'print(model(Text("...")))'


def _named(language: str) -> str:
    names = {"": _("the test texts"), "en": _("English"), "ja": _("Japanese")}
    return names.get(language, language)


def _written(record: RunRecord, test: Dataset, result: CompleteResult) -> Any:
    if record.model is None or not result.samples:
        return None
    tokenizer, rows = record.model.tokenizer, []
    for row, tokens in result.samples:
        entry = test.input[row]
        if isinstance(entry, str):
            before = tokenizer.decode(complete.beginning(tokenizer, entry))
        else:
            before = complete.words_of(complete.asked_in(entry))
        rows.append((test.file[row], before[-BEGINNING:], tokenizer.generated_text(tokens)))
    return {"rows": rows, "talk": not isinstance(test.input[0], str)}


def _languages(record: RunRecord, result: CompleteResult) -> Any:
    if not result.by_language and not result.packed:
        return None
    groups: dict[str, dict[str, Measure]] = result.by_language or {"": record.measures}
    metrics = [name for name in (BITS, PREFERRED) if name in next(iter(groups.values()))]
    return {
        "metrics": [registry.metric(name).title for name in metrics],
        "rows": [
            (
                _named(language),
                next(iter(measures.values())).n,
                [
                    (
                        registry.metric(name).text(measures[name].value),
                        registry.metric(name).interval(measures[name].low, measures[name].high),
                    )
                    for name in metrics
                ],
                f"{result.packed[language]:.2f} bits" if language in result.packed else "",
            )
            for language, measures in groups.items()
        ],
        "packed": bool(result.packed),
    }


def _manners(record: RunRecord, result: CompleteResult) -> Any:
    judged = result.manners
    if judged is None or record.model is None:
        return None
    decode = record.model.tokenizer.generated_text

    def text(name: str, measure: Measure | None) -> tuple[str, str]:
        if measure is None:
            return "", ""
        if name != "tokens of an answer":
            shown = registry.metric(manners.IMPROPER)
            return shown.text(measure.value), shown.interval(measure.low, measure.high)
        return f"{measure.value:.1f}", units.ends(f"{measure.low:.1f}", f"{measure.high:.1f}")

    return {
        "rows": [
            (_(row.name), _named(row.language), text(row.metric, row.before), text(row.metric, row.after), row.after.n)
            for row in judged.rows
        ],
        "before": any(row.before for row in judged.rows),
        "moved": [(_named(language), f"{nats:.2f}") for language, nats in judged.moved.items()],
        "read": [(_(SORTS[each.sort]), each.prompt, decode(each.before), decode(each.after)) for each in judged.read],
    }


def _surprise(record: RunRecord, test: Dataset, result: CompleteResult) -> Any:
    if record.model is None or result.marked is None:
        return None
    row, bits = result.marked
    pieces = record.model.tokenizer.pieces(test.input[row])
    shown, end = [], 0
    for piece, each in zip(pieces, bits, strict=False):
        text = test.input[row][max(end, piece.start) : piece.end]
        end = max(end, piece.end)
        shade = round(0.75 * min(1.0, each / MOST_BITS), 2)
        shown.append((text, f"{each:.1f} bits", shade))
    return {"file": test.file[row], "pieces": shown}
