"""Report sections of masked language models."""

from collections.abc import Sequence
from typing import Any

from souron.data.dataset import Dataset
from souron.evaluation.language.fill_mask import NAMES, FillResult, Guess
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.fill_mask import FIRST
from souron.report.blocks import Block, Cell, Group, Section, Table, sections
from souron.report.page import bare, figures, filled
from souron.utils import units
from souron.utils.messages import _

AROUND = 16  # tokens beside a mask


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, FillResult) and test is not None
    return sections(
        ("guessed", _("What it predicts"), _guessed(record, test, result)),
        ("languages", _("By language"), _languages(result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} texts of {data} in {time}. In {test} unseen test texts "
        "it predicts {value} of the masked tokens (95 % interval {interval})."
    )
    return filled(record, text, FIRST)


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Predicting masked words in texts like those of {data}.").format(data=record.data)
    return text, 'print(model(Text("... [MASK] ...")))'


def _languages(result: FillResult) -> list[Block]:
    names = {"en": _("English"), "ja": _("Japanese")}
    text = _("Every system is given the same masks: 15 % of the tokens of each test text, sampled once.")
    rows = [
        ([names.get(language, language), units.whole(measures[FIRST].n)], measures)
        for language, measures in result.by_language.items()
    ]
    return [text, *figures([_("language"), _("test cases")], rows, NAMES, [_("test cases")], bare)] if rows else []


def _guessed(record: RunRecord, test: Dataset, result: FillResult) -> list[Block]:
    if record.model is None or not result.guessed:
        return []
    columns = [_("text"), _("original word"), _("predictions")]
    groups = []
    for row, guesses in result.guessed:
        given = record.model.masked(test.input[row]).given.tolist()
        groups.append(Group(test.file[row], [Table(columns, [_row(record.model, given, guess) for guess in guesses])]))
    text = _(
        "Some masks of test texts, the original words, and the likeliest predictions. ＿ is another mask, which the "
        "model does not see either."
    )
    return [text, *groups]


def _row(model: Any, given: Sequence[int], guess: Guess) -> list[str]:
    tokenizer, mask = model.tokenizer, model.mask

    def told(tokens: Sequence[int]) -> str:
        parts: list[list[int]] = [[]]
        for token in tokens:
            if token == mask:
                parts.append([])
            else:
                parts[-1].append(token)
        return " ＿ ".join(tokenizer.decode(part) for part in parts)

    at = guess.place
    before, after = told(given[max(0, at - AROUND) : at]), told(given[at + 1 : at + 1 + AROUND])
    sign = " ✓" if guess.guesses[0][0] == guess.true else ""
    guesses = (f"{tokenizer.decode([token]).strip()} {units.percent(chance)}" for token, chance in guess.guesses)
    return [
        Cell.of(Cell(before, style="faint"), Cell("[MASK]", style="strong"), Cell(after, style="faint")),
        tokenizer.decode([guess.true]) + sign,
        ", ".join(guesses),
    ]
