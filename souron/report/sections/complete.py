"""Report sections of language models."""

from dataclasses import replace

from markupsafe import Markup

from souron.data.dataset import Dataset
from souron.evaluation.language import complete, manners
from souron.evaluation.language.complete import CompleteResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.complete import BITS, PREFERRED
from souron.report.blocks import Block, Cell, Group, Live, Section, Table, sections
from souron.report.page import bare, figures, filled
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import N_, _

SORTS = {"everyday": N_("everyday question"), "medical": N_("medical question"), "harmless": N_("harmless question")}
BEGINNING = 400  # characters of the prompt before a continuation
MOST_BITS = 12.0  # the darkest shade


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for a language model."""
    result, test = record.details, record.test
    assert isinstance(result, CompleteResult) and test is not None
    return sections(
        ("manners", _("Behaviour after preference tuning"), _manners(record, result)),
        ("written", _("How it continues"), _written(record, test, result)),
        ("languages", _("By language"), _languages(record, result)),
        ("surprise", _("What surprises it"), _surprise(record, test, result)),
    )


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


def _written(record: RunRecord, test: Dataset, result: CompleteResult) -> list[Block]:
    if record.model is None or not result.samples:
        return []
    tokenizer, talk = record.model.tokenizer, not isinstance(test.input[0], str)
    shown: list[Block] = [
        _("What was asked in some test conversations, and what the model answers. One sample, not the best of several.")
        if talk
        else _("The beginnings of some test texts, and how the model continues. One sample, not the best of several.")
    ]
    for row, tokens in result.samples:
        entry = test.input[row]
        if isinstance(entry, str):
            before = tokenizer.decode(complete.beginning(tokenizer, entry))
        else:
            before = complete.words_of(complete.asked_in(entry))
        prompt, reply = Cell(before[-BEGINNING:], style="faint"), Cell(tokenizer.generated_text(tokens), style="mark")
        shown.append(Cell(test.file[row], style="faint"))
        shown.append(Cell.of(prompt, reply, between="\n" if talk else "", style="text"))
    return shown


def _languages(record: RunRecord, result: CompleteResult) -> list[Block]:
    if not result.by_language and not result.packed:
        return []
    groups: dict[str, dict[str, Measure]] = result.by_language or {"": record.measures}
    names = [name for name in (BITS, PREFERRED) if name in next(iter(groups.values()))]
    rows = [
        ([_named(language), units.whole(next(iter(measures.values())).n)], measures)
        for language, measures in groups.items()
    ]
    [table] = figures([_("language"), _("test cases")], rows, names, [_("test cases")], bare)
    if result.packed:
        head = _("xz, for comparison")
        packed = [f"{result.packed[each]:.2f} bits" if each in result.packed else "" for each in groups]
        cells = [[*row, each] for row, each in zip(table.rows, packed, strict=True)]
        table = replace(table, columns=[*table.columns, head], rows=cells, right=[*table.right, head])
    text = _(
        "Bits per byte: how many bits a compressor would need that uses the model's predictions. 8 is guessing; less "
        "is better."
    )
    return [text, table]


def _manners(record: RunRecord, result: CompleteResult) -> list[Block]:
    judged = result.manners
    if judged is None or record.model is None:
        return []
    decode = record.model.tokenizer.generated_text
    tuned = any(row.before for row in judged.rows)
    columns = [*([_("before"), _("95 % interval"), _("after")] if tuned else [_("value")]), _("95 % interval"), "n"]
    rows = [
        [
            _(row.name),
            _named(row.language),
            *(_manner(row.metric, row.before) if tuned else ()),
            *_manner(row.metric, row.after),
            Cell(units.whole(row.after.n), row.after.n),
        ]
        for row in judged.rows
    ]
    text = _(
        "What the model answers to questions that were in no training. An answer is improper if it is rude, or if it "
        "answers a medical question with a dose or without leaving it to a professional; over-refusal is to defer "
        "where there is nothing to defer. The judge is a list of words and errs: read the answers."
    )
    moved = _(
        "How far it has moved from the model before tuning, in nats per token of its own answers (KL divergence):"
    )
    far = "; ".join(f"{_named(language)} {nats:.2f}" for language, nats in judged.moved.items())
    read = [
        [_(SORTS[each.sort]), each.prompt, *([decode(each.before)] if tuned else []), decode(each.after)]
        for each in judged.read
    ]
    heads = [_("sort"), _("question"), *([_("before")] if tuned else []), _("answer")]
    return [
        text,
        Table([_("figure"), _("language"), *columns], rows, right=columns),
        *([f"{moved} {far}"] if far else []),
        Group(_("Answers to read"), [Table(heads, read)]),
    ]


def _surprise(record: RunRecord, test: Dataset, result: CompleteResult) -> list[Block]:
    if record.model is None or result.marked is None:
        return []
    row, bits = result.marked
    pieces = record.model.tokenizer.pieces(test.input[row])
    shown, end = [], 0
    for piece, each in zip(pieces, bits, strict=False):
        text = test.input[row][max(end, piece.start) : piece.end]
        end = max(end, piece.end)
        shade = round(0.75 * min(1.0, each / MOST_BITS), 2)
        span = Markup('<span title="{:.1f} bits" style="background:rgba(200,60,60,{})">{}</span>')
        shown.append(span.format(each, shade, text))
    told = _("A test text in the model's tokens: the darker, the less it was expected. Point at one for its bits.")
    shaded = Live(Markup('<p class="text">{}</p>').format(Markup("").join(shown)), test.input[row][:end])
    return [told, shaded, Cell(test.file[row], style="faint")]


def _manner(name: str, measure: Measure | None) -> tuple[Cell, Cell]:
    if measure is None:
        return Cell(""), Cell("")
    if name != "tokens of an answer":
        return bare(manners.IMPROPER, measure)
    ends = units.ends(f"{measure.low:.1f}", f"{measure.high:.1f}")
    return Cell(f"{measure.value:.1f}", measure.value), Cell(ends, (measure.low, measure.high), "faint")
