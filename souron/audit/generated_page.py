"""The page of ``souron audit generated``: how well drawn pictures are told from real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from souron.audit.drawn_detector import CHANGES
from souron.audit.generated import Audit
from souron.audit.generated_measures import ALARMS, Mistake, Row
from souron.kinds.codecs import animation
from souron.kinds.codecs.image import picture
from souron.metrics import classification
from souron.report import plots
from souron.report.page import Fact, page, plot, write
from souron.stats.records import Measure
from souron.utils import files, units
from souron.utils.messages import _

NAME = "audit-generated.html"
WIDE = 96  # pixels of a shown picture
CURVES = 12  # generators in the plot
NEAR = 0.9  # times as large, from which on sizes count as one


def write_report(audit: Audit, project: Path) -> Path:
    """Write page and figures into a new folder of ``project/audit``; the page's path. Raises
    UserError."""
    folder = files.new_folder(project / "audit", f"generated-{audit.real}")
    files.write_json(folder / "audit.json", audit.as_json())
    return audit_page(audit, folder)


def audit_page(audit: Audit, folder: Path) -> Path:
    """Write ``audit-generated.html`` into the folder; its path. Raises UserError."""
    headings = {
        "table": _("Each generator, in training and held out"),
        "curves": _("Misses against false alarms"),
        "control": _("What the measurement itself does"),
        "mistakes": _("Images most confidently misclassified"),
        "measured": _("How it was measured"),
        "says": _("What this page does not say"),
    }
    text = page(
        "generated.html",
        title=_("Generated or real: {real}").format(real=audit.real),
        eyebrow=_("audit"),
        headline=sentences(audit),
        notes=notes(audit),
        facts=_facts(audit),
        contents=list(headings.items()),
        headings=headings,
        shares=[units.percent(share, 0) for share in ALARMS],
        rows=[_row(row) for row in audit.rows],
        plot=plot(_curves(audit), _("share of generated images detected against false alarms")),
        controls=controls(audit),
        taken_for_real=[_mistake(one) for one in audit.taken_for_real],
        taken_for_drawn=[_mistake(one) for one in audit.taken_for_drawn],
        pipeline=pipeline_told(audit),
        limits=limits(),
    )
    return write(folder / NAME, text)


def sentences(audit: Audit) -> list[str]:
    """The result in words: the mean over the generators, seen and unseen."""
    told = []
    for seen in (True, False):
        rows = [row for row in audit.rows if row.seen == seen and row.change == CHANGES[0]]
        if not rows:
            continue
        misses = [row.misses[0.05] for row in rows]
        given = {
            "auc": f"{np.mean([row.auc.value for row in rows]):.2f}",
            "low": f"{min(row.auc.value for row in rows):.2f}",
            "high": f"{max(row.auc.value for row in rows):.2f}",
        }
        if None not in misses:
            given["misses"] = units.percent(
                float(np.mean([one.value for one in misses if one is not None]))
            )
        text = (
            _("On generators it was trained on, the detector reaches an AUC of {auc} on average "
              "({low} to {high}).")
            if seen
            else _("On a generator it was not trained on: {auc} ({low} to {high}).")
        ).format(**given)  # fmt: skip
        if "misses" in given:
            text += " " + _(
                "At 5 % false alarms it misses {misses} of the generated images."
            ).format(**given)
        told.append(text)
    if len(audit.counts) == 1:
        told.append(_("With a single generator, none can be held out: how the detector does on a "
                      "generator it was not trained on is unknown."))  # fmt: skip
    return told


def notes(audit: Audit) -> list[str]:
    found = []
    sides = audit.sides.values()
    if min(sides) < NEAR * max(sides):
        named = ", ".join(f"{name} {side}" for name, side in audit.sides.items())
        found.append(_(
            "The images came in different sizes (shorter side in pixels: {sides}). All were "
            "reduced to {side}, but images that were reduced differ from images that were not: "
            "part of what the detector finds may be that."
        ).format(sides=named, side=audit.pipeline.side))  # fmt: skip
    if any(one is None for row in audit.rows for one in row.misses.values()):
        found.append(_(
            "There are too few real images for a threshold that 1 % or 5 % of them pass: such "
            "figures are left out."
        ))  # fmt: skip
    if audit.by_file is not None and audit.by_file.low > 0.5:
        found.append(_(
            "The files alone distinguish the two (format, size, quality): AUC {auc}. A detector "
            "trained on these files as they are would learn that, and nothing about generation. "
            "Here all images passed through one pipeline first."
        ).format(auc=figure(audit.by_file, "{:.2f}")))  # fmt: skip
    return found


def controls(audit: Audit) -> list[str]:
    """What is known beside the result: real against real, and the files alone."""
    found = audit.control[0]
    told = [_("Control, real images against real images: AUC {auc}; 0.5 is expected.").format(
        auc=figure(found, "{:.2f}"))]  # fmt: skip
    if audit.by_file is not None:
        told.append(_("From the files alone, without looking at the images: AUC {auc}.").format(
            auc=figure(audit.by_file, "{:.2f}")))  # fmt: skip
    else:
        told.append(_("The files could not be compared: not all of the images came from "
                      "files."))  # fmt: skip
    return told


def limits() -> str:
    return _(
        "A detector is no proof. These rates hold for these generators and these images; they "
        "say nothing about a generator of tomorrow, or about somebody who wants to deceive. "
        "Among many real images, 1 % false alarms are many people wrongly accused."
    )


def seen_name(seen: bool) -> str:
    return _("in training") if seen else _("held out")


def change_name(change: str) -> str:
    return {"as it is": _("as they are"), "jpeg 75": "JPEG 75", "halved": _("halved")}[change]


def figure(measure: Measure | None, form: str) -> str:
    """``0.95 (0.92 – 0.97)``"""
    if measure is None:
        return units.UNKNOWN
    value, low, high = (form.format(v) for v in (measure.value, measure.low, measure.high))
    return f"{value} ({low} – {high})"


def percent(measure: Measure | None) -> str:
    """``91.2 % (88.4 % – 93.5 %)``"""
    if measure is None:
        return units.UNKNOWN
    low, high = units.percent(measure.low), units.percent(measure.high)
    return f"{units.percent(measure.value)} ({low} – {high})"


def _row(row: Row) -> dict[str, Any]:
    return {
        "generator": row.generator,
        "seen": seen_name(row.seen),
        "change": change_name(row.change),
        "auc": figure(row.auc, "{:.3f}"),
        "misses": [percent(one) for one in row.misses.values()],
        "alarms": [percent(one) for one in row.alarms.values()],
        "kept": percent(row.kept[0.05]) if row.change != CHANGES[0] else "",
    }


def _facts(audit: Audit) -> list[Fact]:
    return [
        Fact(_("real images"), units.whole(audit.reals), audit.real),
        Fact(_("generators"), units.whole(len(audit.counts)), ""),
        Fact(_("generated images"), units.whole(sum(audit.counts.values())), ""),
        Fact(_("real against real"), f"{audit.control[0].value:.2f}", _("AUC, 0.5 is expected")),
    ]


def pipeline_told(audit: Audit) -> str:
    made = audit.pipeline
    colour = _("grey") if made.channels == 1 else _("colour")
    first = (
        _("The lowest JPEG quality among the files is {quality}: every image was compressed to "
          "it, at its own size.").format(quality=made.quality) + " "
        if made.quality is not None else ""
    )  # fmt: skip
    return first + _(
        "The central square of every image was resized to {side} x {side} pixels, in {colour}, "
        "and compressed as JPEG of quality 95."
    ).format(side=made.side, colour=colour)


def _curves(audit: Audit) -> bytes:
    """Of unchanged pictures, by a detector that has not seen the generator, where there is one."""
    curves: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name in list(audit.counts)[:CURVES]:
        row = audit.row(name, False, CHANGES[0]) or audit.row(name, True, CHANGES[0])
        assert row is not None
        label = np.repeat([False, True], [len(row.real), len(row.drawn)])
        false, found = classification.roc(label, np.concatenate([row.real, row.drawn]))
        curves[name] = (list(false), list(found))
    return plots.roc(curves)


def _mistake(one: Mistake) -> dict[str, Any]:
    return {
        "picture": animation.thumbnail(picture(one.image), WIDE),
        "alt": one.file,
        "small": one.image.shape[-1] <= WIDE // 2,
        "lines": [line for line in (one.generator, _("score {score}").format(
            score=f"{one.score:.3f}")) if line],
        "file": Path(one.file).name,
    }  # fmt: skip
