"""The record of ``souron generated``: its figures, sentences, tables and page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from souron.action import Block, Cell, Fact, Gallery, Group, Record, Section, Table, sections
from souron.actions.generated.measures import ALARMS, Mistake, Row
from souron.evaluation.generated_detector import CHANGES, Detector, Pipeline
from souron.metrics import classification
from souron.report import plots
from souron.report.blocks import Tile
from souron.report.page import plot, tile
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import N_, _

WIDE = 96  # pixels of a shown picture
CURVES = 12  # generators in the plot
NEAR = 0.9  # times as large, from which on sizes count as one


@dataclass
class Audit(Record):
    """The result of distinguishing real and generated images."""

    eyebrow = N_("audit")
    json_file = "audit.json"

    real: str
    counts: dict[str, int]  # of each generator's pictures
    reals: int
    groups: int  # among the real pictures, 0 where each stands for itself
    pipeline: Pipeline
    sides: dict[str, int]  # before the pipeline
    rows: list[Row]
    control: list[Measure]  # AUC of real against real, after each of ``CHANGES``
    by_file: Measure | None  # AUC of the files alone; None where no files were compared
    taken_for_real: list[Mistake]
    taken_for_drawn: list[Mistake]
    detector: Detector = field(repr=False)  # that has seen every generator
    seed: int = 0
    skipped: int = 0  # files that could not be read
    folder: Path = Path()  # once it is known where it is written

    def row(self, generator: str, seen: bool, change: str) -> Row | None:
        wanted = (generator, seen, change)
        return next((r for r in self.rows if (r.generator, r.seen, r.change) == wanted), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "real": self.real,
            "real_pictures": self.reals,
            "groups": self.groups,
            "drawn_pictures": self.counts,
            "side": self.pipeline.side,
            "channels": self.pipeline.channels,
            "quality": self.pipeline.quality,
            "sides_before": self.sides,
            "seed": self.seed,
            "skipped": self.skipped,
            "control": [
                {"change": change, "auc": asdict(found)} for change, found in zip(CHANGES, self.control, strict=True)
            ],
            "by_file_alone": asdict(self.by_file) if self.by_file else None,
            "rows": [row.as_json() for row in self.rows],
        }

    def page_title(self) -> str:
        return _("Drawn or real: {real}").format(real=self.real)

    def sentences(self) -> list[str]:
        """The means over the generators, seen and unseen."""
        told = []
        for seen in (True, False):
            rows = [row for row in self.rows if row.seen == seen and row.change == CHANGES[0]]
            if not rows:
                continue
            misses = [row.misses[0.05] for row in rows]
            given = {
                "auc": f"{np.mean([row.auc.value for row in rows]):.2f}",
                "range": units.ends(*(f"{end(row.auc.value for row in rows):.2f}" for end in (min, max))),
            }
            if None not in misses:
                given["misses"] = units.percent(float(np.mean([one.value for one in misses if one is not None])))
            text = (
                _("Of generators that it has seen, the detector reaches an AUC of {auc} in the mean ({range}).")
                if seen
                else _("Of a generator that it has never seen: {auc} ({range}).")
            ).format(**given)
            if "misses" in given:
                more = _("At 5 % false alarms it misses {misses} of the drawn.")
                text += " " + more.format(**given)
            told.append(text)
        if len(self.counts) == 1:
            told.append(
                _(
                    "With one generator alone, none can be left out: how it does on one that "
                    "it has never seen is not known."
                )
            )
        return told

    def facts(self) -> list[Fact]:
        return [
            Fact(_("real pictures"), units.whole(self.reals), self.real),
            Fact(_("generators"), units.whole(len(self.counts))),
            Fact(_("drawn pictures"), units.whole(sum(self.counts.values()))),
            Fact(_("real against real"), f"{self.control[0].value:.2f}", _("AUC, 0.5 is right")),
        ]

    def notes(self) -> list[str]:
        notes = [
            _(
                "A detector is no proof. These rates are those of these generators and of these "
                "pictures; they say nothing of a generator of tomorrow, nor of somebody who wants to "
                "deceive. Among many real pictures, 1 % false alarms are many people wrongly accused."
            )
        ]
        sides = self.sides.values()
        if min(sides) < NEAR * max(sides):
            named = ", ".join(f"{name} {side}" for name, side in self.sides.items())
            notes.append(
                _(
                    "The pictures came in different sizes (shorter side in pixels: {sides}). All were "
                    "reduced to {side}, but pictures that were reduced differ from pictures that were "
                    "not: some of what is found may be that."
                ).format(sides=named, side=self.pipeline.side)
            )
        if any(one is None for row in self.rows for one in row.misses.values()):
            notes.append(
                _(
                    "There are too few real pictures for a threshold that 1 % or 5 % of them pass: "
                    "such figures are left out."
                )
            )
        if self.by_file is not None and self.by_file.low > 0.5:
            notes.append(
                _(
                    "The files alone tell the two apart (format, size, quality): AUC {auc}. A detector "
                    "trained on these files as they are would learn that, and nothing about drawing. "
                    "Here all pictures passed one pipeline first."
                ).format(auc=figure(self.by_file, "{:.2f}"))
            )
        if self.skipped:
            notes.append(_("{count} files could not be read").format(count=self.skipped))
        return notes

    def tables(self) -> list[Table]:
        auc, one, five = _("AUC"), _("misses at 1 %"), _("misses at 5 %")
        columns = (_("generator"), _("by the detector"), _("pictures"), auc, one, five)
        rows = [
            (
                row.generator,
                seen_name(row.seen),
                change_name(row.change),
                figure(row.auc, "{:.2f}"),
                *map(_share, row.misses.values()),
            )
            for row in self.rows
        ]
        return [
            Table(columns, rows, right=(auc, one, five)),
            Table((_("control"),), [(line,) for line in self.controls()]),
        ]

    def controls(self) -> list[str]:
        """The two controls in sentences: real against real, and the files alone."""
        text = _("Control, real pictures against real pictures: AUC {auc}; 0.5 is right.")
        lines = [text.format(auc=figure(self.control[0], "{:.2f}"))]
        if self.by_file is not None:
            text = _("By the files alone, without a look at the pictures: AUC {auc}.")
            lines.append(text.format(auc=figure(self.by_file, "{:.2f}")))
        else:
            lines.append(
                _("Whether the files alone reveal it was not tested: some of the images did not come from files.")
            )
        return lines

    def sections(self) -> list[Section]:
        caption = _(
            "Each curve is a generator that the detector did not learn from, where there are several. The further up "
            "and to the left, the better it is told from real pictures."
        )
        curves = plot(self._curves(), _("share of the drawn pictures found against false alarms"), caption)
        mistakes = [
            Group(_("Drawn, taken for real"), [Gallery([_mistake(one) for one in self.taken_for_real], large=True)]),
            Group(_("Real, taken for drawn"), [Gallery([_mistake(one) for one in self.taken_for_drawn], large=True)]),
        ]
        return sections(
            ("table", _("Each generator, seen and unseen"), self._each()),
            ("curves", _("Misses against false alarms"), [curves]),
            ("control", _("What the measurement itself does"), self.controls()),
            ("mistakes", _("Pictures most surely taken for the other side"), mistakes),
            ("measured", _("How it was measured"), [self._pipeline(), *_how()]),
        )

    def _each(self) -> list[Block]:
        shares = [units.percent(share, 0) for share in ALARMS]
        columns = [
            _("AUC"),
            *(_("misses at {share} false alarms").format(share=share) for share in shares),
            *(_("false alarms found for {share}").format(share=share) for share in shares),
            _("false alarms with the 5 % threshold of unchanged pictures"),
        ]
        rows = [
            [
                row.generator,
                seen_name(row.seen),
                change_name(row.change),
                figure(row.auc, "{:.3f}"),
                *map(percent, row.misses.values()),
                *map(percent, row.alarms.values()),
                percent(row.kept[0.05]) if row.change != CHANGES[0] else "",
            ]
            for row in self.rows
        ]
        text = _(
            "AUC is how often a drawn picture gets a higher score than a real one: 0.5 is guessing, 1 is perfect; "
            "below 0.5 the drawn ones look more real to the detector than the real ones. Misses are drawn pictures "
            "taken for real, where the threshold lets so many real pictures be taken for drawn. In brackets the 95 % "
            "interval."
        )
        heads = [_("generator"), _("by the detector"), _("pictures"), *columns]
        return [text, Table(heads, rows, right=columns)]

    def _pipeline(self) -> str:
        made = self.pipeline
        colour = _("grey") if made.channels == 1 else _("colour")
        first = (
            _(
                "The lowest JPEG quality among the files is {quality}: every picture was compressed "
                "so, at its own size."
            ).format(quality=made.quality)
            + " "
            if made.quality is not None
            else ""
        )
        return first + _(
            "The middle square of every picture was brought to {side} x {side} pixels, "
            "in {colour}, and compressed as JPEG of quality 95."
        ).format(side=made.side, colour=colour)

    def _curves(self) -> bytes:
        """ROC curves of unchanged pictures, by a detector that has not seen the generator where
        there is one."""
        curves: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
        for name in list(self.counts)[:CURVES]:
            row = self.row(name, False, CHANGES[0]) or self.row(name, True, CHANGES[0])
            assert row is not None
            label = np.repeat([False, True], [len(row.real), len(row.drawn)])
            false, found = classification.roc(label, np.concatenate([row.real, row.drawn]))
            curves[name] = (list(false), list(found))
        return plots.roc(curves)


def seen_name(seen: bool) -> str:
    return _("seen") if seen else _("unseen")


def change_name(change: str) -> str:
    return {"as it is": _("as they are"), "jpeg 75": "JPEG 75", "halved": _("halved")}[change]


def figure(measure: Measure | None, form: str) -> str:
    """``0.95 (0.92–0.97)``"""
    if measure is None:
        return units.UNKNOWN
    value, low, high = (form.format(v) for v in (measure.value, measure.low, measure.high))
    return f"{value} ({units.ends(low, high)})"


def percent(measure: Measure | None) -> str:
    """``91.2 % (88.4–93.5 %)``"""
    if measure is None:
        return units.UNKNOWN
    return f"{units.percent(measure.value)} ({units.interval('share', measure.low, measure.high)})"


def _share(measure: Measure | None) -> str:
    return units.UNKNOWN if measure is None else units.percent(measure.value)


def _mistake(one: Mistake) -> Tile:
    lines = [line for line in (one.generator, _("score {score}").format(score=f"{one.score:.3f}")) if line]
    return tile(one.image, one.file, lines, Path(one.file).name, most=WIDE)


def _how() -> list[Block]:
    return [
        _(
            "The detector reads frequencies (the logarithm of the discrete cosine transform) and how much neighbouring "
            "pixels differ, by logistic regression. It learns from half of the real pictures and half of those of each "
            "generator. A quarter of the real ones chooses the thresholds, the last quarter and the other drawn "
            "pictures are the test. Pictures of one patient or group are never in two parts."
        ),
        _(
            "Unseen: the detector learnt from all the other generators, never from this one. JPEG 75 and halved: the "
            "test pictures were compressed or reduced to half their size and enlarged again, as a message or a web "
            "page does; the detector was not told, but the threshold was chosen on pictures changed in the same way. "
            "The last column is what happens otherwise."
        ),
        _(
            "The interval of an AUC is that of further pictures of the same sort, judged by the same detector; that of "
            "misses and false alarms also holds for the same threshold. This is a classifier two-sample test: an AUC "
            "of 0.5 says that this detector finds no difference, not that there is none."
        ),
        Cell(
            _(
                "Lopez-Paz, Oquab (2016), arXiv:1610.06545; Frank and others (2020), arXiv:2003.08685; Durall and "
                "others (2020), arXiv:2003.01826; Fridrich, Kodovsky (2012), doi:10.1109/TIFS.2012.2190402; Grommelt "
                "and others (2024), arXiv:2403.17608."
            ),
            style="faint",
        ),
    ]
