"""Report sections of tokenizers: texts cut into tokens, and figures by language."""

from typing import Any

from markupsafe import Markup

from souron import registry
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.text import Text
from souron.metrics import tokens as metric
from souron.metrics.metric import Metric
from souron.report.blocks import Block, Cell, Group, Live, Section, Table
from souron.utils.messages import N_, _

LETTERS = 280  # characters of a text that is shown
MOST = 30  # tokens in a list
LANGUAGES = {"en": N_("English"), "ja": N_("Japanese")}
RATIOS = {  # figure -> numerator and denominator
    "bytes a token": ("bytes", "tokens"),
    "letters a token": ("letters", "tokens"),
    "parts of letters": ("parts", "tokens"),
}
OF_WORDS = N_("tokens a word")


def run(record: RunRecord) -> list[Section]:
    return [
        Section("cut", _("How texts are split"), _cut(record)),
        Section("languages", _("By language"), [_languages(record)]),
        Section("vocabulary", _("The longest tokens"), _vocabulary(record)),
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Splitting texts like those of {data} into tokens.").format(data=record.data)
    return text, 'model(souron.kinds.text.Text("...")).pieces'


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def _chosen(record: RunRecord) -> dict[str, str]:
    """Return language -> its first test text, under "" where languages are not known."""
    assert record.test is not None
    known = record.test.columns.get("language") or [""] * len(record.test)
    found: dict[str, str] = {}
    for language, text in zip(known, record.test.input, strict=True):
        found.setdefault(language, text)
    return found


def _called(language: str) -> str:
    return _(LANGUAGES[language]) if language in LANGUAGES else language or _("all texts")


def _cut(record: RunRecord) -> list[Block]:
    told = _(
        "Each colour is a token; point at one for its number and bytes. A dashed one holds a "
        "part of a character: bytes that only make a character together with its neighbours'."
    )
    shade = _("The shade is how surprising the token is by its own probability.")
    parts = []
    for language, text in sorted(_chosen(record).items()):
        cut = record.model.predict(Text(text[:LETTERS]))
        shown = Live(Markup(cut._repr_html_()), text[:LETTERS])  # escapes what it shows
        parts.append(Group(_called(language), [shown]))
    return [f"{told} {shade}" if record.model.bits([0]) else told, *parts]


def _languages(record: RunRecord) -> Table:
    test, answers = record.test, record.answers[0]
    assert test is not None
    known = test.columns.get("language") or [""] * len(test)
    rows = []
    for language in sorted(set(known)):
        chosen = [row for row, own in enumerate(known) if own == language]
        groups = test.only(chosen).units
        counted: dict[str, Any] = {name: answers[name][chosen].numpy() for name in metric.COUNTS}  # type: ignore[call-overload]
        ratios = [(registry.metric(name), *pair) for name, pair in RATIOS.items()]
        if language == "en":
            ratios.append((Metric(OF_WORDS, kind="amount"), "tokens", "words"))
        for shown, above, below in ratios:
            found = shown.measure(metric.ratio(counted[above], counted[below]), groups)
            ends = Cell(shown.interval(found.low, found.high), (found.low, found.high))
            value = Cell(shown.text(found.value), found.value)
            rows.append((_called(language), shown.title, value, ends, str(len(chosen))))
    return Table((_("language"), _("measure"), _("value"), _("95 % interval"), _("texts")), rows)


def _vocabulary(record: RunRecord) -> list[Block]:
    known = sorted({raw.decode() for raw in record.model.raws if not metric.is_part(raw)})
    lists = (
        sorted((token for token in known if token.isascii() == plain), key=len, reverse=True)[:MOST]
        for plain in (True, False)
    )
    told = _("Of {count} tokens. ␣ is a blank.").format(count=len(record.model.raws))
    return [told, *(Cell.of(*map(_shown, some)) for some in lists if some)]


def _shown(token: str) -> Cell:
    return Cell(token.replace(" ", "␣").replace("\n", "⏎"), style="code")
