"""The record that every verdict ends with, whether the answers were read from a table or from runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from souron.action import Fact, Record, Section, Table, sections
from souron.data.prediction_table import NAMED, ROLES
from souron.data.predictions import KINDS, Predictions
from souron.evaluation.method_verdict import ReaderPair
from souron.metrics.ranking import Judged, Ranking
from souron.report import verdict, wording
from souron.stats import readers
from souron.stats.records import Measure, pairs_as_json
from souron.stats.verdict import p_value
from souron.utils import units
from souron.utils.messages import N_, _, listed

MEANINGS = {**ROLES, **KINDS}


@dataclass(kw_only=True)
class VerdictRecord(Judged, Record):
    """Methods with their measures on the same cases, and the verdict on each pair."""

    eyebrow = N_("verdict")
    json_file = "verdict.json"

    ranking: Ranking  # by the measure that decides
    others: dict[str, Ranking]  # by further measures
    cases: int
    patients: int | None  # None: each case is one
    receipt: dict[str, Any]
    folder: Path | None = None

    @property
    def sentence(self) -> str:
        """The result in words."""
        return " ".join(self.sentences())

    def page_title(self) -> str:
        return _("Verdict on {names}").format(names=listed(self.names, NAMED))

    def sentences(self) -> list[str]:
        return wording.verdict_sentences(self.ranking, self.cases)

    def facts(self) -> list[Fact]:
        facts = [Fact(_("cases"), units.whole(self.cases))]
        if self.patients is not None:
            facts.append(Fact(_("patients"), units.whole(self.patients), _("intervals count patients")))
        return [*facts, Fact(_("methods"), units.whole(len(self.names)))]

    def notes(self) -> list[str]:
        if not self.others:
            return []
        text = _("{measure} decides; the correction for many pairs is within each measure, not across them.")
        return [text.format(measure=self.ranking.metric.title)]

    def tables(self, links: Mapping[str, str] | None = None) -> Sequence[Table]:
        """Return the ranking and the pairs, then the ranking by each further measure.

        ``links`` are addresses of systems on a page, by their names.
        """
        return [
            *verdict.tables(self.ranking, links=links),
            *(verdict.ranking(each, each.metric.title.capitalize()) for each in self.others.values()),
        ]

    def sections(self) -> list[Section]:
        from souron.report import plots
        from souron.report.page import plot

        drawn = plot(
            plots.intervals(self.rows), _("{measure} with its 95 % interval").format(measure=self.ranking.metric.title)
        )
        return [*sections(("intervals", self.ranking.metric.title.capitalize(), [drawn])), *super().sections()]

    def as_json(self) -> dict[str, Any]:
        first, judged = self.ranking, [self.ranking, *self.others.values()]
        return {
            "measure": self.measure,
            "cases": self.cases,
            "patients": self.patients,
            "trainings": first.trainings,
            **first.as_json(),
            "methods": [
                {
                    "method": one.system,
                    "measures": {
                        each.metric.name: asdict(method.measure)
                        for each in judged
                        for method in (*each.methods, *each.readers)
                        if method.system == one.system
                    },
                }
                for one in (*first.methods, *first.readers)
            ],
            "readers": [one.system for one in first.readers],
            "reader_study": [_reader_study(pair) for pair in first.reader_pairs],
            "pairs": pairs_as_json(first.verdicts, first.margins),
            "further": {name: pairs_as_json(each.verdicts, each.margins) for name, each in self.others.items()},
            "sentence": self.sentence,
            "notes": self.notes(),
            "receipt": self.receipt,
        }


@dataclass(kw_only=True)
class TableVerdict(VerdictRecord):
    """The verdict on a table of predictions."""

    data: Predictions
    sites: dict[str, dict[str, Measure]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        data = self.data
        return {
            "kind": data.kind,
            **super().as_json(),
            "classes": list(data.classes),
            "positive": None if data.positive is None else data.classes[data.positive],
            "columns": dict(data.taken),
            "missing": {name: list(cases) for name, cases in data.missing.items()},
            "left_out": list(data.left_out),
            "sites": {
                site: {name: asdict(measure) for name, measure in found.items()} for site, found in self.sites.items()
            },
        }

    def sentences(self) -> list[str]:
        once = wording.once()
        if self.ranking.reader_pairs:
            once = _(
                "This applies to readers and cases like these, and to these trained models only, not to other "
                "trainings."
            )
        return wording.verdict_sentences(self.ranking, self.cases, once=once)

    def facts(self) -> list[Fact]:
        *facts, methods = super().facts()
        return [*facts, Fact(methods.name, methods.value, _(KINDS[self.data.kind]))]

    def notes(self) -> list[str]:
        data = self.data
        notes = list(data.notes)
        for name, cases in data.missing.items():
            text = _("{method}: {count} predictions are missing: {names}")
            notes.append(text.format(method=name, count=len(cases), names=listed(list(cases), NAMED)))
        notes += self._about_readers()
        if data.left_out:
            notes.append(
                _(
                    "{count} cases are left out for all methods. If they are the hard ones, all figures are too good."
                ).format(count=units.whole(len(data.left_out)))
            )
        elif data.missing:
            notes.append(_("Missing predictions count as wrong."))
        if self.ranking.margin:
            notes.append(
                _("A margin is to be fixed before the figures are seen; the receipt notes {margin}.").format(
                    margin=wording.margin_text(self.ranking.metric, self.ranking.margin)
                )
            )
        if data.mixed:
            text = _(
                "{count} patients have cases of different truths, as several lesions may have; where the truth is the "
                "patient's, check them."
            )
            notes.append(text.format(count=units.whole(data.mixed)))
        if data.groups is None:
            notes.append(_("No column names patients: each case counts as a patient of its own."))
        if data.seeds > 1 and data.trainings is None:
            notes.append(_("If all trainings share one training set, another set could reverse this."))
        return [*notes, *super().notes()]

    def _about_readers(self) -> list[str]:
        judged, count = self.ranking, len(self.receipt["options"].get("readers", ()))
        if not count:
            return []
        if not judged.reader_pairs:
            return [
                _("The mean of {count} readers is compared; the verdict is on these readers, not on others.").format(
                    count=count
                )
            ]
        notes = [
            _(
                "The verdict on the mean of {count} readers is for other readers and other cases, as far as these are "
                "drawn from those (Obuchowski and Rockette 1995, Hillis 2007)."
            ).format(count=count)
        ]
        open_pairs = {(one.a, one.b) for one in judged.verdicts if one.verdict == "cannot tell"}
        if any((pair.a, pair.b) in open_pairs and pair.these.verdict != "cannot tell" for pair in judged.reader_pairs):
            notes.append(_("On these readers alone the verdict would be clear: more readers would help."))
        return notes

    def tables(self, links: Mapping[str, str] | None = None) -> Sequence[Table]:
        taken = [(column, _(MEANINGS[role])) for column, role in self.data.taken.items()]
        return [
            *super().tables(links),
            *([_reader_table(self.ranking)] if self.ranking.reader_pairs else []),
            *self._site_tables(),
            Table((_("column"), _("taken for")), taken[: 4 * NAMED], _("Columns")),
        ]

    def _site_tables(self) -> list[Table]:
        if not self.sites:
            return []
        names = list(self.data.methods)
        metric = self.ranking.metric
        rows = [
            [
                f"{site} ({found[names[0]].n})",
                *(
                    f"{metric.text(found[name].value)} ({metric.interval(found[name].low, found[name].high)})"
                    for name in names
                ),
            ]
            for site, found in self.sites.items()
        ]
        title = _("{measure} by site").format(measure=metric.title)
        return [Table((_("site (cases)"), *names), rows, title, right=names)]


def _reader_study(pair: ReaderPair) -> dict[str, Any]:
    """Return the analysis of a pair with readers for JSON."""
    found, plain, variation = pair.others, readers.hillis(pair.others), pair.variation
    return {
        "a": pair.a,
        "b": pair.b,
        "readers": variation.readers,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": p_value(found),
        "degrees_of_freedom": found.freedom,
        "between_readers": variation.between,
        "error": variation.error,
        "covariance": variation.covariance,
        "these_readers": {"low": pair.these.low, "high": pair.these.high},
        "hillis": {
            name: getattr(plain, key)
            for name, key in (("low", "low"), ("high", "high"), ("p", "p"), ("degrees_of_freedom", "freedom"))
        },
    }


def _reader_table(judged: Ranking) -> Table:
    """Return the differences of readers for whom they hold."""
    metric = judged.metric
    columns = [_("pair"), _("for other readers"), _("by Hillis (2007)"), _("for these readers")]
    rows = [
        [
            f"{pair.a} – {pair.b}",
            metric.differences(pair.others.low, pair.others.high),
            metric.differences(plain.low, plain.high),
            metric.differences(pair.these.low, pair.these.high),
        ]
        for pair, plain in ((pair, readers.hillis(pair.others)) for pair in judged.reader_pairs)
    ]
    text = _(
        "All intervals are for other cases. The verdict is the one for other readers, which is more cautious with few "
        "readers than the degrees of freedom of Hillis."
    )
    return Table(columns, rows, _("Readers"), right=columns[1:], text=text)
