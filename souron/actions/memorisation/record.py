"""The record of ``souron memorisation``: similar training images, the data sheet, and the law."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scipy
import torch
from PIL import Image
from torch import Tensor

from souron.action import Block, Cell, Fact, Gallery, Note, Record, Section, Table, sections
from souron.actions.memorisation.distances import Nearest, Space
from souron.data.dataset import Dataset
from souron.kinds.codecs.image import as_image
from souron.report import plots
from souron.report.blocks import Tile
from souron.report.page import SMALL_TEST, plot, side_by_side, tile
from souron.runs.datasheet import Datasheet
from souron.stats import intervals
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import N_, _

LEVEL = 0.01  # expected share of real images below the threshold
DOUBT = 0.05  # false alarm rate of a verdict of copying, over all distances
SMOOTH = 0.7  # of the real images' grain; below it, flags are doubtful
FLAGGED, NEAREST, REAL = 24, 8, 8  # pairs shown
WIDE = 112  # width of a shown image in pixels

LAW = "https://laws.e-gov.go.jp/law/345AC0000000048"
COUNCIL = "https://www.bunka.go.jp/seisaku/bunkashingikai/chosakuken/pdf/94037901_01.pdf"


@dataclass(frozen=True)
class Result:
    """The results for one distance."""

    space: Space
    generated: Nearest
    control: Nearest  # real images
    apart: Tensor  # ratios (N,) of the generated images to the real ones, which they cannot have copied

    @property
    def threshold(self) -> float:
        """Return the ratio that neither real images nor distances to real images explain."""
        return min(threshold(self.control.ratio), threshold(self.apart))

    @property
    def flagged(self) -> Tensor:
        """Return a mask (N,) of the flagged generated images."""
        return self.generated.ratio <= self.threshold

    @property
    def real(self) -> Tensor:
        """Return a mask (M,) of the flagged real images."""
        return self.control.ratio <= self.threshold

    @property
    def chance(self) -> float:
        """Return the p-value of so many small ratios, the larger one of both controls."""
        return max(chance(self.generated.ratio, control) for control in (self.control.ratio, self.apart))


def rank_of(count: int) -> int:
    """Return the rank of the threshold among ``count`` control ratios, the smallest first."""
    return max(1, math.floor(LEVEL * (count + 1)))


def chance(ratio: Tensor, control: Tensor) -> float:
    """Return the p-value of as many of ``ratio`` (N,) below the threshold, were they like ``control`` (M,)."""
    n, m, rank = len(ratio), len(control), rank_of(len(control))
    below = int((ratio <= threshold(control)).sum())
    return float(scipy.stats.betabinom.sf(below - 1, n, rank, m + 1 - rank))


def threshold(ratio: Tensor) -> float:
    """Return the threshold from the ratios (M,) of the control."""
    return ratio.kthvalue(rank_of(len(ratio))).values.item()


@dataclass(frozen=True)
class Pair:
    """A generated image and its nearest training image, for the most suspicious distance."""

    picture: int  # index within the seed
    row: int  # index of the training image
    file: str
    space: str
    distance: float
    ratio: float
    change: str
    flagged: bool


@dataclass
class MemorisationRecord(Record):
    """The result of comparing generated images with training images."""

    eyebrow = N_("audit")
    json_file = "audit-memorisation.json"
    page_file = "audit-memorisation.html"

    image: Tensor  # (N, C, H, W) uint8, generated
    training: Dataset
    held_out: Dataset  # the control
    grain: float  # generated over real; below 1 the generated ones are smoother
    copies: int  # held-out images excluded from the control as copies of training images
    results: list[Result]
    pairs: list[Pair]  # of every generated image, worst first
    run: str = ""
    system: str = ""
    data: str = ""
    seed: int = 0
    sheet: Datasheet | None = None
    changed: bool = False  # whether the data differ from the run's receipt
    replaced: bool = False  # whether a page of an earlier audit is overwritten
    folder: Path | None = None  # the run's, or the project's for a ready-trained system

    @property
    def samples(self) -> int:
        return len(self.image)

    @property
    def flagged(self) -> Measure:
        """Return the share of generated images that any distance flags."""
        return intervals.proportion_interval(sum(pair.flagged for pair in self.pairs), self.samples)

    @property
    def control(self) -> Measure:
        """Return the share of real images that any distance flags."""
        real = torch.stack([one.real for one in self.results]).any(0)
        return intervals.proportion_interval(int(real.sum()), len(real))

    @property
    def copies_too_much(self) -> bool:
        return any(one.chance * len(self.results) < DOUBT for one in self.results)

    def as_json(self) -> dict[str, Any]:
        generated, real = self.flagged, self.control
        return {
            "run": self.run,
            "system": self.system,
            "data": self.data,
            "seed": self.seed,
            "samples": self.samples,
            "flagged": sum(pair.flagged for pair in self.pairs),
            "rate": generated.value,
            "low": generated.low,
            "high": generated.high,
            "control": real.n,
            "control_rate": real.value,
            "control_low": real.low,
            "control_high": real.high,
            "grain": self.grain,
            "held_out_copies": self.copies,
            "copies": self.copies_too_much,
            "data_changed": self.changed,
            "distances": [
                {
                    "name": one.space.name,
                    "threshold": one.threshold,
                    "flagged": int(one.flagged.sum()),
                    "chance": one.chance,
                }
                for one in self.results
            ],
            "pairs": [asdict(pair) for pair in self.pairs],
            "replaced": self.replaced,
        }

    def page_title(self) -> str:
        text = _("Memorisation audit: {system} on {data}")
        return text.format(system=self.system, data=self.data)

    def sentences(self) -> list[str]:
        values = {
            "flagged": sum(pair.flagged for pair in self.pairs),
            "n": self.samples,
            "control": f"{100 * self.control.value:.1f} %",
            "high": f"{100 * self.flagged.high:.1f} %",
        }
        text = _(
            "No sign of copying in {n} images: {flagged} lie as near to a training image as "
            "{control} of real ones do. Fewer than {high} could have been copied unnoticed."
        )
        if self.copies_too_much:
            text = _(
                "It copies: {flagged} of {n} generated images lie nearer to a training image than "
                "real images do, of which {control} lie that near."
            )
        return [text.format(**values)]

    def facts(self) -> list[Fact]:
        generated, real = self.flagged, self.control
        seed = _("seed {seed}").format(seed=self.seed)
        return [
            Fact(_("generated images"), units.whole(self.samples), seed),
            Fact(_("of them flagged"), units.percent(generated.value), _interval(generated)),
            Fact(_("of real images"), units.percent(real.value), _interval(real)),
            Fact(_("training images"), units.whole(len(self.training)), _("all different")),
            Fact(_("real images as control"), units.whole(real.n), _("not in training")),
        ]

    def notes(self) -> list[str]:
        notes = []
        if self.changed:
            notes.append(
                _(
                    "The data have changed since the run: the images compared with are not "
                    "exactly those it was trained on."
                )
            )
        if self.control.n < SMALL_TEST:
            text = _("Only {count} real images serve as control: the limit of what is too near is only approximate.")
            notes.append(text.format(count=self.control.n))
        if self.grain < SMOOTH and any(pair.flagged for pair in self.pairs):
            notes.append(
                _(
                    "Its images are smoother than real ones, and smooth images lie nearer "
                    "to all others: some may be flagged that are no copies. Look at the "
                    "pairs."
                )
            )
        if self.copies:
            text = _(
                "{count} images outside of training are copies of training images; they were left out of the control."
            )
            notes.append(text.format(count=self.copies))
        return notes

    def tables(self) -> list[Table]:
        number, ratio, distance = _("generated image"), _("ratio"), _("distance")
        columns = (number, _("nearest training image"), _("by"), distance, ratio, "")
        rows = [
            (
                str(pair.picture),
                pair.file,
                space_name(pair.space),
                f"{pair.distance:.2f}",
                f"{pair.ratio:.2f}",
                ", ".join(filter(None, (_("too near") if pair.flagged else "", self._change(pair)))),
            )
            for pair in self.pairs[:NEAREST]
        ]
        right = (number, distance, ratio)
        return [self._distances(), Table(columns, rows, _("The nearest pairs"), right)]

    def _distances(self) -> Table:
        """Return a table of the distances: limit, images below it, and the chance of so many."""
        right = (_("too near below"), _("generated, too near"), _("real, too near"), _("p-value"))
        count = _("{count} of {all}")
        rows = [
            (
                space_name(one.space.name),
                f"{one.threshold:.2f}",
                count.format(count=int(one.flagged.sum()), all=self.samples),
                count.format(count=int(one.real.sum()), all=len(one.real)),
                f"{one.chance:.3f}" if one.chance >= 1e-3 else "< 0.001",
            )
            for one in self.results
        ]
        return Table((_("distance by"), *right), rows, right=right)

    def sections(self) -> list[Section]:
        flagged = sum(pair.flagged for pair in self.pairs)  # the flagged pairs come first
        shown = self.pairs[: max(NEAREST, min(flagged, FLAGGED))]
        beside = _("On the left what it generated, on the right the training image nearest to it.")
        held_out = _(
            "On the left real images outside of training, those that come nearest: images may be this similar without "
            "being copied."
        )
        ledger: list[Block] = [*map(Note, self.sheet.notes()), *self.sheet.tables()] if self.sheet else []
        urls = [part for name, url in sources() for part in (f"{name} ", Cell(url, link=url), "\n")][:-1]
        read = Cell.of(*urls, between="", style="faint text")
        pairs = Gallery([*map(self._pair, shown)], large=True)
        return sections(
            (
                "pairs",
                _("Generated images beside the nearest training images"),
                [f"{beside} {_pairs_text(flagged, len(shown))}", pairs],
            ),
            (
                "real",
                _("The same for real images that were not in training"),
                [held_out, Gallery(self._real(), large=True)],
            ),
            ("measured", _("How it was measured"), self._measured()),
            ("ledger", _("Ledger: what it was trained on"), ledger),
            ("law", _("Copyright: what article 30-4 says, and what this page cannot decide"), [*law(), read]),
        )

    def _measured(self) -> list[Block]:
        network = next(filter(None, (one.space.network for one in self.results)), "")
        features = _("Features: those of a fixed network ({network}).").format(network=network)
        caption = _("A generator that copies has a curve that rises far to the left of that of the real images.")
        return [
            _(
                "The ratio is an image's distance to the nearest training image over its usual distance to the 50 "
                "nearest (their median). It is near 0 for a copy, and close to 1 where an image lies as far from the "
                "nearest as from all the others. The distance alone would take blurred images for copies, since they "
                "are near to everything. Mirrored copies count, and in pixels also those shifted by one."
            ),
            _(
                "The limit comes from real images that were not in training: about 1 % of them have a ratio this small "
                "or smaller, for each distance."
            ),
            plot(_curves(self.results), _("how many images have a ratio of so much or less"), caption),
            self._distances(),
            *([Cell(features, style="faint")] if network else []),
            _(
                "Not found are copies of a part of an image, of a style, of something that a strong blur or a large "
                "shift has hidden, and what a generator copies more rarely than the interval above says. Images of a "
                "poor generator are near to nothing, and are not flagged for that reason."
            ),
            Cell(
                _(
                    "Carlini and others (2023), arXiv:2301.13188; Somepalli and others (2022), arXiv:2212.03860; "
                    "Meehan, Chaudhuri, Dasgupta (2020), arXiv:2004.05675."
                ),
                style="faint",
            ),
        ]

    def _change(self, pair: Pair) -> str:
        """Return what a pair's training image has undergone, in the reader's language."""
        one = next(one for one in self.results if one.space.name == pair.space)
        return str(one.space.changes[int(one.generated.change[pair.picture])])

    def _pair(self, pair: Pair) -> Tile:
        about = _("generated image {number}"), _("generated: number {number}")
        alt, first = (text.format(number=pair.picture) for text in about)
        distance = pair.ratio, _distance(pair.space, pair.distance), self._change(pair)
        return self._beside(self.image[pair.picture], alt, first, pair.row, distance, pair.flagged)

    def _real(self) -> list[Tile]:
        """Return the real images nearest to training images, by pixels."""
        one = self.results[0]
        near, made = one.control, []
        for i in near.ratio.argsort(stable=True)[:REAL].tolist():
            change = str(one.space.changes[int(near.change[i])])
            distance = near.ratio[i].item(), _distance(one.space.name, near.distance[i].item()), change
            about = _("real image {file}"), _("real: {file}")
            alt, first = (text.format(file=self.held_out.file[i]) for text in about)
            made.append(self._beside(self.held_out.input[i], alt, first, int(near.row[i]), distance, bool(one.real[i])))
        return made

    def _beside(
        self, image: Tensor, alt: str, first: str, row: int, near: tuple[float, str, str], flagged: bool
    ) -> Tile:
        """Show an image beside the training image of a row; ``near`` is their ratio, distance and change."""
        ratio, distance, change = near
        file = self.training.file[row]
        lines = [first, _("ratio {ratio} by {distance}").format(ratio=f"{ratio:.2f}", distance=distance)]
        lines += [change] if change else []
        lines += [Cell(_("too near"), style="worse")] if flagged else []
        panes = [_pane(one) for one in (image, self.training.input[row])]
        words = f"{alt}; {_('training image {file}').format(file=file)}"
        return tile(side_by_side(panes), words, lines, file, most=3 * WIDE)


def _interval(measure: Measure) -> str:
    return _("95 % interval: {interval}").format(interval=units.interval("share", measure.low, measure.high))


def _pairs_text(flagged: int, shown: int) -> str:
    if not flagged:
        return _("None is flagged. These {count} come nearest.").format(count=shown)
    text = _("The nearest {count}, the worst first; {flagged} of them are flagged.")
    if shown < flagged:
        text = _("{flagged} are flagged, the worst {count} of them are shown.")
    return text.format(flagged=flagged, count=shown)


def _pane(image: Tensor) -> Image.Image:
    return as_image(image).convert("RGB").resize((WIDE, WIDE), Image.Resampling.NEAREST)


def _distance(space: str, distance: float) -> str:
    if space == "pixels":
        return _("pixels ({levels} levels apart)").format(levels=f"{distance:.1f}")
    return _("features")


def space_name(space: str) -> str:
    """Return the name of a distance in the reader's language."""
    return _("pixels") if space == "pixels" else _("features")


def _curves(results: Sequence[Result]) -> bytes:
    """Plot for each distance the cumulative distribution of ratios of generated and real images."""
    figure = plotting.new_figure(3.6 * max(2, len(results)), 2.7)
    for axes, one in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        distance = _("ratio by {distance}").format(distance=space_name(one.space.name))
        plotting.style_axes(axes, distance, _("share of the images"))
        for index, (name, near) in enumerate(
            {_("generated images"): one.generated, _("real images"): one.control}.items()
        ):
            ratio = near.ratio.sort().values
            share = torch.arange(1, len(ratio) + 1) / len(ratio)
            axes.step(
                ratio.numpy(),
                share.numpy(),
                where="post",
                label=name,
                linewidth=1.6,
                color=plotting.COLOURS[index],
                linestyle=plotting.DASHES[index],
            )
        axes.axvline(one.threshold, color=plotting.FAINT, linewidth=0.9)
        axes.annotate(
            _("too near"),
            (one.threshold, 1),
            xytext=(-4, -2),
            ha="right",
            va="top",
            textcoords="offset points",
            fontsize=8,
            color=plotting.FAINT,
        )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        plots._scale(axes.yaxis, "accuracy")
    plotting.add_legend(figure, figure.axes[0], 2)
    return plotting.as_png(figure)


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


def sources() -> list[tuple[str, str]]:
    """Return title and address of what ``law`` is taken from."""
    return [
        (_("Copyright Act of Japan (e-Gov)"), LAW),
        (_("Council for Cultural Affairs: Perspectives Regarding AI and Copyright (2024)"), COUNCIL),
    ]
