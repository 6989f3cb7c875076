"""The record of ``souron ask``: quoted passages first, then a language model's answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from souron.action import Fact, Live, Record, Section, Table
from souron.evaluation.language import unsupported_words
from souron.kinds.passages import Passage, Passages, place
from souron.kinds.text import Text
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass(frozen=True)
class Seen:
    """Share of the texts that each model has read, 0..1 of their non-blank characters."""

    encoder: float
    model: float
    told: float = 0.0  # share that the answer is based on

    def as_json(self) -> dict[str, float]:
        return {"encoder": round(self.encoder, 6), "model": round(self.model, 6)}


@dataclass
class Reading(Record):
    """An answer: the passages, and optionally a language model's sentence."""

    eyebrow = N_("long text")
    json_file = "ask.json"

    passages: Passages
    answer: str  # "" without a language model, or if the text has no answer
    unsupported: list[tuple[int, int]]  # spans of words that no passage contains
    seen: Seen
    seconds: float  # total
    seconds_to_read: float  # until the index was ready
    model: str = ""
    texts: Sequence[Text] = field(default=(), repr=False)
    windows: bool = False  # whether a language model read the whole text to find them
    folder: Path | None = None

    @classmethod
    def from_json(cls, found: Mapping[str, Any], text: str) -> "Reading":
        """Return the reading that ``as_json`` describes; ``text`` is the whole text, or ""."""
        quotes = [Passage(q["text"], q["start"], q["end"], q["score"], q.get("file", "")) for q in found["quotes"]]
        question, answer = str(found.get("question") or ""), str(found.get("answer") or "")
        spans, at = [], 0
        for word in map(str, found.get("unsupported") or ()):
            start = answer.find(word, at)
            if start >= 0:
                at = start + len(word)
                spans.append((start, at))
        share = found.get("seen") or {}
        read, model = float(share.get("encoder", 0)), float(share.get("model", 0))
        return cls(
            Passages(question, quotes, bool(found["found"]), text, "", found.get("missing", ())),
            answer,
            spans,
            Seen(read, model, model),
            float(found.get("seconds") or 0),
            0.0,
            str(found.get("model") or ""),
        )

    @property
    def found(self) -> bool:
        return self.passages.found

    def as_json(self) -> dict[str, Any]:
        found = self.passages.as_json()
        return {
            "answer": self.answer,
            "found": self.found,
            "quotes": found["quotes"],
            "unsupported": [self.answer[first:end] for first, end in self.unsupported],
            "missing": list(self.passages.missing),
            "seen": self.seen.as_json(),
            "seconds": round(self.seconds, 3),
            "question": found["question"],
            "model": self.model,
        }

    def page_title(self) -> str:
        return self.passages.question

    def sentences(self) -> list[str]:
        quote = self.passages.quotes[0]
        position = place(quote, self.passages.file)
        nearest = _("“{quote}” ({position})").format(quote=quote.line(), position=position)
        headline = " ".join(filter(None, (self.passages.verdict, nearest)))
        return [headline, *([self._marked("[?", "]")] if self.answer else []), self.share()]

    def _marked(self, before: str, after: str) -> str:
        marked = unsupported_words.marked(self.answer, self.unsupported, before, after)
        return f"{self.model}: {marked}"

    def facts(self) -> list[Fact]:
        read = _("{time} to read the text").format(time=units.seconds(self.seconds_to_read))
        return [
            Fact(_("passages"), units.whole(len(self.passages.quotes))),
            Fact(_("time"), units.seconds(self.seconds), read),
        ]

    def notes(self) -> list[str]:
        return self.remarks() if self.answer else []

    def remarks(self) -> list[str]:
        """Return a remark on how far the passages support the answer."""
        if not self.unsupported:
            return [_("Every word of it occurs in the passages; read them to see whether it is right.")]
        return [_("Words between [? and ] occur in none of the passages.")]

    def tables(self) -> list[Table]:
        columns = _("passage"), _("position"), _("score")
        rows = [(text, where, score) for where, score, text in self.passages.rows()]
        return [Table(columns, rows, right=columns[1:])]

    def sections(self) -> list[Section]:
        quotes = Section("passages", _("Passages"), [Live(Markup(self.passages._repr_html_()))])
        if not self.answer:
            return [quotes]
        return [quotes, Section("answer", _("Answer of the language model"), [Live(self.answer_html(), self.answer)])]

    def answer_html(self) -> Markup:
        """Return the answer of the language model, with words that occur in no passage marked."""
        parts, at = [Markup("<strong>{}</strong> ").format(self.model)], 0
        for first, last in self.unsupported:
            marked = Markup("<mark>{}</mark>").format(self.answer[first:last])
            parts += [escape(self.answer[at:first]), marked]
            at = last
        return Markup("<p>{}</p>").format(Markup("").join([*parts, escape(self.answer[at:])]))

    def share(self) -> str:
        """Describe how much of the text each model has read."""
        if self.windows:
            read = _("To find the passages, a language model read {share} of the text.").format(
                share=units.percent(self.seen.model, 0)
            )
        else:
            read = _("The sentences that were compared are {share} of the text.").format(
                share=units.percent(self.seen.encoder, 0)
            )
        if not self.model:
            return read
        seen = (
            _("For its answer the language model saw {share}.")
            if self.windows
            else _("The language model saw {share}.")
        )
        return f"{read} " + seen.format(share=units.percent(self.seen.told, 2))

    def __str__(self) -> str:
        answer = ["", self._marked("[?", "]"), *self.remarks()] if self.answer else []
        return "\n".join([str(self.passages), *answer, "", self.share()])

    def _repr_html_(self) -> str:
        answer = self.answer_html() if self.answer else ""
        share = Markup("<p><small>{}</small></p>").format(self.share())
        return f"{self.passages._repr_html_()}{answer}{share}"
