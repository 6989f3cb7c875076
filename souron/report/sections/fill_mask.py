"""Report sections of masked language models."""

from collections.abc import Sequence
from typing import Any

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.language.fill_mask import NAMES, FillResult, Guess
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.fill_mask import FIRST
from souron.report.page import Section, figure, filled, section
from souron.utils import units
from souron.utils.messages import _

TEMPLATE = "fill_mask.html"
AROUND = 16  # tokens beside a mask


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, FillResult) and test is not None
    parts = (
        ("guessed", _("What it predicts"), _guessed(record, test, result)),
        ("languages", _("By language"), _languages(result)),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


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


def _languages(result: FillResult) -> Any:
    names = {"en": _("English"), "ja": _("Japanese")}
    return (
        {
            "metrics": [registry.metric(name).title for name in NAMES],
            "rows": [
                (names.get(language, language), measures[FIRST].n, [figure(name, measures[name]) for name in NAMES])
                for language, measures in result.by_language.items()
            ],
        }
        if result.by_language
        else None
    )


def _guessed(record: RunRecord, test: Dataset, result: FillResult) -> Any:
    if record.model is None or not result.guessed:
        return None
    texts = []
    for row, guesses in result.guessed:
        given = record.model.masked(test.input[row]).given.tolist()
        texts.append((test.file[row], [_row(record.model, given, guess) for guess in guesses]))
    return texts


def _row(model: Any, given: Sequence[int], guess: Guess) -> dict[str, Any]:
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
    return {
        "before": told(given[max(0, at - AROUND) : at]),
        "true": tokenizer.decode([guess.true]),
        "after": told(given[at + 1 : at + 1 + AROUND]),
        "right": guess.guesses[0][0] == guess.true,
        "guesses": ", ".join(
            f"{tokenizer.decode([token]).strip()} {units.percent(chance)}" for token, chance in guess.guesses
        ),
    }
