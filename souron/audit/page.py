"""The report on memorisation: similar training images, the data sheet, and the law."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.audit import memorization
from souron.audit.datasheet import Datasheet, Part
from souron.audit.memorization import Audit, Found, Pair
from souron.kinds.codecs import animation
from souron.kinds.codecs.image import picture
from souron.report import plots
from souron.report.page import SMALL_TEST, Fact, page, plot, write
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import _

NAME = "audit-memorisation.html"
FLAGGED, NEAREST, REAL = 24, 8, 8  # pairs shown
WIDE = 112  # width of a shown image in pixels
FILES, CLASSES = 12, 24  # listed from the data sheet

LAW = "https://laws.e-gov.go.jp/law/345AC0000000048"
COUNCIL = "https://www.bunka.go.jp/seisaku/bunkashingikai/chosakuken/pdf/94037901_01.pdf"


def audit_page(audit: Audit) -> Path:
    """Write ``audit-memorisation.html`` and return its path. Raises UserError.

    It is placed in the run's folder, or in the project's for a ready-trained system.
    """
    headings = {
        "pairs": _("Generated images beside the nearest training images"),
        "real": _("The same for real images that were not in training"),
        "measured": _("How it was measured"),
        "ledger": _("Ledger: what it was trained on"),
        "law": _("Copyright: what article 30-4 says, and what this page cannot decide"),
    }
    if audit.ledger is None:
        del headings["ledger"]
    flagged = sum(pair.flagged for pair in audit.pairs)  # the flagged pairs come first
    shown = audit.pairs[: max(NEAREST, min(flagged, FLAGGED))]
    text = page(
        "audit.html",
        title=_("Memorisation audit: {system} on {data}").format(
            system=audit.system, data=audit.data
        ),
        eyebrow=_("audit"),
        headline=memorization.sentence(audit),
        notes=_notes(audit),
        facts=_facts(audit),
        contents=list(headings.items()),
        headings=headings,
        pairs=[_pair(audit, pair) for pair in shown],
        pairs_said=_pairs_said(flagged, len(shown)),
        real=_real(audit),
        plot=plot(_curves(audit.found), _("how many images have a ratio of so much or less")),
        ways=[_way(audit, one) for one in audit.found],
        eye=next((one.space.about for one in audit.found if one.space.about), ""),
        ledger=_ledger(audit.ledger) if audit.ledger else None,
        law=law(),
        sources=[
            (_("Copyright Act of Japan (e-Gov)"), LAW),
            (
                _("Council for Cultural Affairs: Perspectives Regarding AI and Copyright (2024)"),
                COUNCIL,
            ),
        ],
    )
    return write(audit.place / NAME, text)


def _facts(audit: Audit) -> list[Fact]:
    drawn, real = audit.flagged, audit.control
    return [
        Fact(_("generated images"), units.whole(audit.samples),
             _("seed {seed}").format(seed=audit.seed)),
        Fact(_("of them flagged"), units.percent(drawn.value), _span(drawn)),
        Fact(_("of real images"), units.percent(real.value), _span(real)),
        Fact(_("training images"), units.whole(len(audit.learnt)), _("all different")),
        Fact(_("real images as control"), units.whole(real.n), _("not in training")),
    ]  # fmt: skip


def _span(found: Measure) -> str:
    low, high = units.percent(found.low), units.percent(found.high)
    return _("95 % interval: {low} to {high}").format(low=low, high=high)


def _notes(audit: Audit) -> list[str]:
    notes = []
    if audit.changed:
        notes.append(_("The data have changed since the run: the images compared with are not "
                       "exactly those it was trained on."))  # fmt: skip
    if audit.control.n < SMALL_TEST:
        notes.append(_("Only {count} real images serve as control: the limit of what is too near "
                       "is only approximate.").format(count=audit.control.n))  # fmt: skip
    if audit.grain < memorization.SMOOTH and any(pair.flagged for pair in audit.pairs):
        notes.append(_("Its images are smoother than real ones, and smooth images lie nearer to "
                       "all others: some may be flagged that are no copies. Look at the "
                       "pairs."))  # fmt: skip
    if audit.copies:
        notes.append(_("{count} images outside of training are copies of training images; they "
                       "were left out of the control.").format(count=audit.copies))  # fmt: skip
    return notes


def _pairs_said(flagged: int, shown: int) -> str:
    if not flagged:
        return _("None is flagged. These {count} come nearest.").format(count=shown)
    if shown < flagged:
        return _("{flagged} are flagged, the worst {count} of them are shown.").format(
            flagged=flagged, count=shown
        )
    return _("The nearest {count}, the worst first; {flagged} of them are flagged.").format(
        flagged=flagged, count=shown
    )


def _pair(audit: Audit, pair: Pair) -> dict[str, Any]:
    distance = _distance(pair.space, pair.distance)
    return {
        "left": _shown(audit.image[pair.picture]),
        "right": _shown(audit.learnt.input[pair.row]),
        "left_alt": _("generated image {number}").format(number=pair.picture),
        "right_alt": _("training image {file}").format(file=pair.file),
        "lines": [
            _("generated: number {number}").format(number=pair.picture),
            _("ratio {ratio} by {distance}").format(ratio=f"{pair.ratio:.2f}", distance=distance),
            *([pair.change] if pair.change else []),
        ],
        "file": pair.file,
        "flagged": pair.flagged,
        "small": audit.image.shape[-1] <= WIDE // 2,
    }


def _real(audit: Audit) -> list[dict[str, Any]]:
    """Return the real images nearest to training images, by pixels."""
    one = audit.found[0]
    near = one.control
    made = []
    for i in near.ratio.argsort(stable=True)[:REAL].tolist():
        row = int(near.row[i])
        file, ratio = audit.learnt.file[row], f"{near.ratio[i].item():.2f}"
        change = str(one.space.changes[int(near.change[i])])
        said = _distance(one.space.name, near.distance[i].item())
        made.append({
            "left": _shown(audit.held.input[i]),
            "right": _shown(audit.learnt.input[row]),
            "left_alt": _("real image {file}").format(file=audit.held.file[i]),
            "right_alt": _("training image {file}").format(file=file),
            "lines": [
                _("real: {file}").format(file=audit.held.file[i]),
                _("ratio {ratio} by {distance}").format(ratio=ratio, distance=said),
                *([change] if change else []),
            ],
            "file": file,
            "flagged": bool(one.real[i]),
            "small": audit.image.shape[-1] <= WIDE // 2,
        })  # fmt: skip
    return made


def _shown(image: Tensor) -> str:
    return animation.thumbnail(picture(image), WIDE)


def _distance(space: str, distance: float) -> str:
    if space == "pixels":
        return _("pixels ({levels} levels apart)").format(levels=f"{distance:.1f}")
    return _("features")


def space_name(space: str) -> str:
    return _("pixels") if space == "pixels" else _("features")


def _way(audit: Audit, one: Found) -> dict[str, str]:
    count = int(one.flagged.sum())
    return {
        "name": space_name(one.space.name),
        "threshold": f"{one.threshold:.2f}",
        "drawn": _("{count} of {all}").format(count=count, all=audit.samples),
        "real": _("{count} of {all}").format(count=int(one.real.sum()), all=len(one.real)),
        "chance": units.percent(one.chance) if one.chance >= 1e-3 else _("under 0.1 %"),
    }


def _curves(found: list[Found]) -> bytes:
    """Plot for each distance the cumulative distribution of ratios of generated and real images."""
    figure = plotting.new_figure(3.6 * max(2, len(found)), 2.7)
    for axes, one in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        distance = _("ratio by {distance}").format(distance=space_name(one.space.name))
        plotting.style_axes(axes, distance, _("share of the images"))
        for index, (name, near) in enumerate(
            {_("generated images"): one.drawn, _("real images"): one.control}.items()
        ):
            ratio = near.ratio.sort().values
            share = torch.arange(1, len(ratio) + 1) / len(ratio)
            axes.step(ratio.numpy(), share.numpy(), where="post", label=name, linewidth=1.6,
                      color=plotting.COLOURS[index], linestyle=plotting.DASHES[index])  # fmt: skip
        axes.axvline(one.threshold, color=plotting.FAINT, linewidth=0.9)
        axes.annotate(_("too near"), (one.threshold, 1), xytext=(-4, -2), ha="right", va="top",
                      textcoords="offset points", fontsize=8, color=plotting.FAINT)  # fmt: skip
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        plots._scale(axes.yaxis, "accuracy")
    plotting.add_legend(figure, figure.axes[0], 2)
    return plotting.as_png(figure)


def _ledger(told: Datasheet) -> dict[str, Any]:
    rows = [
        (_("data"), told.data),
        (_("source"), told.source or _("not stated")),
        (_("licence"), told.licence or _("not stated")),
        (_("pictures"), units.whole(told.cases)),
        (_("hash of the images"), told.hash),
        (_("began with"), told.started_from),
    ]
    train = next((part for part in told.parts if part.name == "train"), None)
    return {
        "facts": [row for row in rows if row[1]],
        "parts": [
            {
                "name": part_name(part.name),
                "cases": units.whole(part.cases),
                "groups": units.whole(part.groups) if part.groups else units.UNKNOWN,
                "hash": part.hash,
                "classes": classes(part),
            }
            for part in told.parts
            if part.cases
        ],
        "files": train.files[:FILES] if train else (),
        "more": max(0, len(train.files) - FILES) if train else 0,
        "licence": _(
            "No licence is stated for these images: being able to open them does not mean that "
            "you may use them."
        )
        if not told.licence
        else "",
    }


def part_name(name: str) -> str:
    return {"train": _("training"), "val": _("validation"), "test": _("test")}[name]


def classes(part: Part) -> str:
    """List the classes with their counts: ``cat 20, dog 18``."""
    shown = list(part.classes.items())[:CLASSES]
    text = ", ".join(f"{label} {units.whole(count)}" for label, count in shown)
    return text + (", …" if len(part.classes) > CLASSES else "")


def law() -> list[str]:
    """Return the explanation of article 30-4 of the Japanese Copyright Act, by paragraphs."""
    return [
        _(
            "Article 30-4 of the Copyright Act of Japan (in force since 2019) permits the use of a "
            "work in any way, as far as is necessary, where the purpose is not to enjoy the "
            "thoughts or sentiments expressed in it, nor to let others enjoy them. One of the "
            "cases it names is information analysis: to extract, compare or classify what a large "
            "amount of information consists of. Training a network commonly falls under it, for "
            "research and for business alike."
        ),
        _(
            "Its proviso: it does not apply where the use would unreasonably prejudice the "
            "interests of the copyright owner, in view of the kind and purpose of the work and of "
            "the manner of its use. The example given most often is copying a database that is "
            "sold for information analysis."
        ),
        _(
            "Nor does it apply where enjoyment is also a purpose. The Council for Cultural Affairs "
            "(2024, not binding) names training that is meant to make a network give back the "
            "creative expression of works it was trained on, in whole or in part."
        ),
        _(
            "The article is about learning. What is generated and then used is judged like any "
            "other image: it infringes where it is similar to a work in its creative expression "
            "and depends on that work. That the work was among the training images speaks for "
            "dependence, even if the person who generated it did not know the work. An idea or a "
            "style alone is not protected."
        ),
        _(
            "This page measures how near images are. It cannot decide whether they are works, "
            "whether a likeness is similarity in the sense of the law, whether the proviso "
            "holds, or what licences, contracts, personality rights, data protection and other "
            "countries' laws say. No sign of copying is no permission, and a flagged image is no "
            "verdict: for that, ask a lawyer."
        ),
    ]
