"""Report sections of tokenizers: texts cut into tokens, and figures by language."""

from typing import Any

from markupsafe import Markup, escape

from souron import registry
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.text import Text
from souron.metrics import tokens as metric
from souron.metrics.metric import Metric
from souron.report.page import Section
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
        Section("languages", _("By language"), _languages(record)),
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


def _cut(record: RunRecord) -> Markup:
    parts = []
    for language, text in sorted(_chosen(record).items()):
        cut = record.model.predict(Text(text[:LETTERS]))
        drawn = Markup(cut._repr_html_())  # escapes what it shows
        parts.append(Markup("<h3>{}</h3>{}").format(_called(language), drawn))
    told = _(
        "Each colour is a token; point at one for its number and bytes. A dashed one holds a "
        "part of a character: bytes that only make a character together with its neighbours'."
    )
    shade = _("The shade is how surprising the token is by its own probability.")
    known = bool(record.model.bits([0]))
    return Markup("<p>{} {}</p>{}").format(told, shade if known else "", Markup("").join(parts))


def _languages(record: RunRecord) -> Markup:
    test, answers = record.test, record.answers[0]
    assert test is not None
    known = test.columns.get("language") or [""] * len(test)
    rows = []
    for language in sorted(set(known)):
        chosen = [row for row, own in enumerate(known) if own == language]
        units = test.only(chosen).units
        counted: dict[str, Any] = {name: answers[name][chosen].numpy() for name in metric.COUNTS}  # type: ignore[call-overload]
        for name, (above, below) in RATIOS.items():
            scores = metric.ratio(counted[above], counted[below])
            shown = registry.metric(name)
            found = shown.measure(scores, units)
            rows.append(
                (
                    _called(language),
                    shown.title,
                    shown.text(found.value),
                    shown.interval(found.low, found.high),
                    len(chosen),
                )
            )
        if language == "en":
            shown = Metric(OF_WORDS, kind="amount")
            found = shown.measure(metric.ratio(counted["tokens"], counted["words"]), units)
            interval = shown.interval(found.low, found.high)
            rows.append((_called(language), _(OF_WORDS), shown.text(found.value), interval, len(chosen)))
    heads = (_("language"), _("measure"), _("value"), _("95 % interval"), _("texts"))
    return _table(heads, rows)


def _vocabulary(record: RunRecord) -> Markup:
    known = sorted({raw.decode() for raw in record.model.raws if not metric.is_part(raw)})
    lists = (
        sorted((token for token in known if token.isascii() == plain), key=len, reverse=True)[:MOST]
        for plain in (True, False)
    )
    items = Markup("").join(Markup("<p>{}</p>").format(Markup(" ").join(map(_shown, some))) for some in lists if some)
    told = _("Of {count} tokens. ␣ is a blank.").format(count=len(record.model.raws))
    return Markup("<p>{}</p>{}").format(told, items)


def _shown(token: str) -> Markup:
    return Markup("<code>{}</code>").format(token.replace(" ", "␣").replace("\n", "⏎"))


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(escape(name)) for name in heads)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(value) for value in row))
        for row in rows
    )
    return Markup('<div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>').format(
        head, body
    )
