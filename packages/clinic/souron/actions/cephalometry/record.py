"""The record of ``souron cephalometry``: its sentences, tables and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Block, Cell, Fact, Group, Record, Section, Table, sections
from souron.actions.cephalometry import measures
from souron.actions.cephalometry.measures import MEASURES, Error, Norm
from souron.data.display_names import called
from souron.kinds import finding
from souron.kinds.codecs import animation
from souron.kinds.graphics import overlay
from souron.kinds.points import Points
from souron.report.blocks import Plot
from souron.utils import units
from souron.utils.messages import N_, _

SHOWN = 12  # films on the page
WIDE = 512  # pixels of a shown film
PLANES = (("S", "N"), ("Po", "Or"), ("PNS", "ANS"), ("Go", "Me"), ("N", "Pog"), ("A", "B"))


@dataclass(frozen=True)
class Film:
    """One film with its landmarks and measures."""

    file: str
    answer: Points
    values: Mapping[str, float]  # measure -> degrees or percent


@dataclass
class Analysis(Record):
    """Measures of some films by one landmark detector."""

    eyebrow = N_("cephalometric analysis")
    json_file = "cephalometry.json"

    model: str
    learnt_from: str
    films: Sequence[Film]
    skipped: Mapping[str, str]  # file -> why it could not be used
    norms: Mapping[str, Norm]
    error: Mapping[str, Error]
    unknown: str  # why there is no error; "" where there is
    lacking: Sequence[str]  # measures whose landmarks the detector does not mark
    folder: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "learnt_from": self.learnt_from,
            "films": [
                {
                    "file": film.file,
                    "measures": {
                        name: {
                            "value": value,
                            "verdict": self.verdict(name, value),
                            "interval": self._limits(name, value),
                        }
                        for name, value in film.values.items()
                    },
                    **film.answer.as_json(),
                }
                for film in self.films
            ],
            "error": {
                name: {"bias": one.bias, "deviation": one.deviation, "cases": one.cases}
                for name, one in self.error.items()
            },
            "norms": {
                name: {"low": norm.low, "high": norm.high, "source": norm.source} for name, norm in self.norms.items()
            },
            "lacking": list(self.lacking),
            "skipped": dict(self.skipped),
            "report": str(self.report),
        }

    def verdict(self, name: str, value: float) -> str:
        norm = self.norms.get(name)
        return measures.verdict(value, norm, self.error.get(name)) if norm else "unsure"

    def _limits(self, name: str, value: float) -> list[float] | None:
        error = self.error.get(name)
        return list(error.interval(value)) if error else None

    def page_title(self) -> str:
        text = _("Cephalometric analysis with {model}")
        return text.format(model=self.model)

    def sentences(self) -> list[str]:
        """Name what is outside of the norm on each of the first films."""
        return [self._sentence(film) for film in self.films[:SHOWN]]

    def _sentence(self, film: Film) -> str:
        name = Path(film.file).name
        verdicts = {each: self.verdict(each, value) for each, value in film.values.items()}
        said = [
            text.format(measures=", ".join(each for each, v in verdicts.items() if v == verdict))
            for verdict, text in (
                ("above", _("above the norm: {measures}")),
                ("below", _("below the norm: {measures}")),
                ("within", _("within the norm: {measures}")),
                ("unsure", _("cannot tell: {measures}")),
            )
            if verdict in verdicts.values()
        ]
        told = "; ".join(said)
        if finding.unlike(film.answer):
            told = finding.guess(told)
        return f"{name}: {told}."

    def facts(self) -> list[Fact]:
        return [
            Fact(_("films"), units.whole(len(self.films))),
            Fact(_("training data"), called(self.learnt_from)),
            Fact(_("test cases of the error"), units.whole(max((one.cases for one in self.error.values()), default=0))),
        ]

    def notes(self) -> list[str]:
        unlike = [
            f"{Path(film.file).name}: {finding.unlike(film.answer)}"
            for film in self.films
            if finding.unlike(film.answer)
        ]
        unchecked = any(finding.standing(film.answer) == "unchecked" for film in self.films)
        notes = [
            *unlike,
            *([finding.unchecked()] if unchecked else []),
            _(
                "Norms are means and deviations of their sources' samples; other ages and "
                "populations have others (norms=FILE)."
            ),
            _(
                "The error holds for films like those of the training data, here {data}. souron is no medical device."
            ).format(data=called(self.learnt_from)),
        ]
        if self.unknown:
            text = _("The error of the measures is not known, so that no verdict is given: {why}.")
            notes.insert(0, text.format(why=self.unknown))
        if self.lacking:
            text = _("Not measured, since landmarks are missing: {measures}.")
            notes.append(text.format(measures=", ".join(self.lacking)))
        notes += [f"{file}: {reason}" for file, reason in self.skipped.items()]
        return notes

    def tables(self) -> list[Table]:
        return [
            Table(self._columns, self.rows(film), title=film.file, right=self._columns[1:4])
            for film in self.films[:SHOWN]
        ]

    @property
    def _columns(self) -> tuple[str, ...]:
        return _("measure"), _("value"), _("95 % limits"), _("norm"), _("verdict"), _("source")

    def rows(self, film: Film) -> list[tuple[str, ...]]:
        """Return a row of ``_columns`` for each measure of a film."""
        unit = {each.name: each.unit for each in MEASURES}
        rows: list[tuple[str, ...]] = []
        for name, value in film.values.items():
            norm, limits = self.norms.get(name), self._limits(name, value)
            rows.append(
                (
                    name,
                    f"{value:.1f}{_blank(unit[name])}",
                    units.ends(f"{limits[0]:.1f}", f"{limits[1]:.1f}") if limits else units.UNKNOWN,
                    units.ends(f"{norm.low:g}", f"{norm.high:g}") if norm else units.UNKNOWN,
                    verdict_text(self.verdict(name, value)),
                    norm.source if norm else "",
                )
            )
        return rows

    def sections(self) -> list[Section]:
        films: list[Block] = []
        for film in self.films[:SHOWN]:
            image = Plot(animation.thumbnail(drawn(film.answer), WIDE), _("landmarks and planes"), WIDE)
            rows = [(measure_title(row[0]), *row[1:]) for row in self.rows(film)]
            films.append(Group(Path(film.file).name, [image, Table(self._columns, rows, right=self._columns[1:4])]))
        if (more := len(self.films) - len(films)) > 0:
            text = _("and {count} more films, in cephalometry.json")
            films.append(Cell(text.format(count=more), style="faint"))
        columns = [_("bias"), _("95 % limits"), _("test cases")]
        error = [
            (measure_title(name), f"{one.bias:+.2f}", f"±{measures.LIMITS * one.deviation:.2f}", units.whole(one.cases))
            for name, one in self.error.items()
        ]
        about = _(
            "Predicted minus marked on the detector's own test cases: the mean difference (bias), and the limits that "
            "hold 95 % of the differences (Bland, Altman 1986)."
        )
        agreement: list[Block] = [about, Table([_("measure"), *columns], error, right=columns)] if error else []
        return sections(
            ("films", _("Each film"), films), ("agreement", _("Agreement with marked landmarks"), agreement)
        )


def _blank(unit: str) -> str:
    return unit if unit == "°" else f" {unit}"


def measure_title(name: str) -> str:
    """Return the name of a measure with its explanation."""
    return {
        "SNA": _("SNA (maxilla to cranial base)"),
        "SNB": _("SNB (mandible to cranial base)"),
        "ANB": _("ANB (maxilla to mandible)"),
        "facial angle": _("facial angle (chin to Frankfort plane)"),
        "FMA": _("FMA (mandibular to Frankfort plane)"),
        "ODI": _("ODI (overbite depth indicator)"),
        "APDI": _("APDI (anteroposterior dysplasia indicator)"),
        "facial height ratio": _("facial height ratio (posterior to anterior)"),
    }[name]


def verdict_text(verdict: str) -> str:
    return {
        "within": _("within the norm"),
        "below": _("below the norm"),
        "above": _("above the norm"),
        "unsure": _("cannot tell"),
    }[verdict]


def drawn(answer: Points) -> Any:
    """Draw the landmarks and the planes between them on the film."""
    canvas = overlay.Canvas(answer.picture)
    known = {name.strip().lower(): number for number, name in enumerate(answer.names)}
    at = {
        short: next((known[one] for one in aliases if one in known), None)
        for short, aliases in measures.ALIASES.items()
    }
    for start, end in PLANES:
        first, second = at[start], at[end]
        if first is not None and second is not None:
            canvas.line_to(answer.point[first], answer.point[second], overlay.colour(0))
    for short, number in at.items():
        if number is not None:
            canvas.dot(answer.point[number].tolist(), short, overlay.colour(1))
    return canvas.image
