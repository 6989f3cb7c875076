"""Report sections of image-to-image systems."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.image_to_image import ImageResult, said_of
from souron.kinds.codecs.image import as_image
from souron.metrics.image_to_image import luma
from souron.report.blocks import Block, Cell, Plot, Section, pictures, sections
from souron.report.page import figures, filled, joined, spread
from souron.utils.messages import _

PANE = 256  # pixels a side of an image in the report
SIDE_BY_SIDE = 6  # images
LOUD = 4.0  # factor that brightens differences in the map of invented detail
AHEAD = ("PSNR of luma", "colour difference", "PSNR", "cycle PSNR")  # for the headline
OF_COLOURS = (  # also reported where a trivial baseline is better
    "object colour difference",
    "ground colour difference",
    "colour bits",
    "object colour bits",
    "ground colour bits",
)


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for image-to-image systems."""
    result, test = record.details, record.test
    assert isinstance(result, ImageResult) and test is not None
    return sections(
        ("beside", _("Beside trivial baselines"), _beside(record, result)),
        ("pictures", _("Test images"), _images(test, result)),
        ("invented", _("What the GAN stage made up"), _invented(test, result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Show the same test images as made by each system."""
    test, found = record.test, record.details
    if test is None or not found:
        return []
    drawn = []
    for row in spread(len(test), SIDE_BY_SIDE):
        panes = {test.file[row]: test.input[row]}
        panes |= {name: output[row] for name, output in found.items()}
        drawn.append(_row(panes))
    text = _(
        "The same test images as each system in the order of the table gives them; on the left, where it is known, the "
        "expected image."
    )
    return sections(("side_by_side", _("Side by side"), pictures(text, drawn)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    name = next((name for name in AHEAD if name in record.measures), "")
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its {metric} is {value} (95 % interval {interval})."
    )
    return filled(record, text.replace("{metric}", _(name)), name) if name else ""


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a run.

    These are trivial baselines that do as well, the cost and gain of the GAN stage, and inverted
    brightness.
    """
    result = record.details
    if not isinstance(result, ImageResult):
        return []
    told = []
    ahead = next((name for name in AHEAD if name in record.measures), "")
    names = [name for name in record.measures if name == ahead or name in OF_COLOURS]
    for (rival, beside), name in product(result.rivals.items(), names):
        if rival in ("untrained", "pixel stage") or name not in beside.measures:
            continue
        won, of = beside.better[name]
        if won <= of / 2:
            told.append(
                _("{rival} has the better {metric} in {lost} of {all} groups of test images.").format(
                    rival=said_of(rival), metric=_(name), lost=of - won, all=of
                )
            )
    stage = result.rivals.get("pixel stage")
    if stage is not None:
        told.append(_stage(record, stage))
    if "identity" in result.rivals and inverted(result):
        told.append(
            _(
                "Brightness is inverted: what was light has become dark, which cycle consistency "
                "alone does not prevent. Train again with set=identity=1, or another seed."
            )
        )
    return told


def inverted(result: ImageResult) -> bool:
    """Return whether luma is negatively correlated with the input in most images shown."""
    rows = list(result.shown)
    before, after = (luma(part.numpy()) for part in (result.panes["given"], result.output[rows]))
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(before, after, strict=True)]
    return bool(rows) and float(np.nanmedian(alike)) < 0


def _stage(record: RunRecord, stage: Any) -> str:
    def difference(name: str) -> str:
        change = record.measures[name].value - stage.measures[name].value
        return registry.metric(name).difference(change)

    won, of = stage.better["feature distance"]
    return _(
        "The GAN stage changed PSNR of luma by {psnr} and sharpness by {sharpness}; in features "
        "it is nearer to the truth in {won} of {all} groups ({distance} on average). These are "
        "features of the network whose features the stage was trained with."
    ).format(
        psnr=difference("PSNR of luma"),
        sharpness=difference("sharpness"),
        distance=difference("feature distance"),
        won=won,
        all=of,
    )


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Producing images from images like those of {data}.").format(data=record.data)
    return text, 'model("photo.jpg").save(Path("made.png"))'


def _beside(record: RunRecord, result: ImageResult) -> list[Block]:
    rows = [([record.system], record.measures)]
    rows += [([said_of(rival)], one.measures) for rival, one in result.rivals.items()]
    won = []
    for rival, one in result.rivals.items():
        told = ", ".join(
            _("{metric} in {won} of {all}").format(metric=_(name), won=count, all=of)
            for name, (count, of) in one.better.items()
        )
        won.append(_("Better than {rival}, by groups: {told}.").format(rival=said_of(rival), told=told))
    colours = _(
        "The colour difference is CIEDE2000: 1 is just noticeable, 20 another colour. It "
        "penalises every guess at a colour that cannot be known, so that grey is hard to beat. "
        "Bits measure the probabilities themselves. Chroma is how vivid colours are, as a share "
        "of the truth's."
    )
    pixels = _(
        "PSNR and SSIM compare pixels, and reward blur where the network is uncertain. The "
        "feature distance compares the features of an ImageNet network; sharpness is the slope "
        "from pixel to pixel, as a share of the truth's."
    )
    groups = next((m.groups for m in record.measures.values()), None)
    counted = _(
        "The intervals count {groups} groups: images cut from one photograph, or made of one object, are not "
        "independent."
    ).format(groups=groups)
    return [
        colours if "colour difference" in record.measures else pixels,
        *figures([_("answer")], rows, list(record.measures)),
        *([Cell(counted, style="faint")] if groups else []),
        *won,
    ]


def _images(test: Dataset, result: ImageResult) -> list[Block]:
    drawn = []
    for place, row in enumerate(result.shown):
        panes = {said_of(name): held[place] for name, held in result.panes.items()}
        panes[_("found")] = result.output[row]
        if result.truth is not None:
            panes[_("truth")] = result.truth[row]
        drawn.append(_row(panes, test.file[row]))
    text = _(
        "One test image of each group: the input, trivial baselines, the output and, where it is known, the truth."
    )
    return pictures(text, drawn)


def _invented(test: Dataset, result: ImageResult) -> list[Block]:
    """Show the images before and after the GAN stage, and their difference."""
    before = result.panes.get("pixel stage")
    if before is None:
        return []
    drawn = []
    for place, row in enumerate(result.shown):
        after = result.output[row]
        apart = (after.int() - before[place].int()).abs().float().mean(0, keepdim=True)
        panes = {
            said_of("pixel stage"): before[place],
            _("after it"): after,
            _("what it made up"): (LOUD * apart).clamp(0, 255).byte().expand(3, -1, -1),
        }
        drawn.append(_row(panes, test.file[row]))
    text = _(
        "Bright is where the GAN stage changed most. These details are likely, not known: do "
        "not read writing, faces or findings from them."
    )
    return pictures(text, drawn)


def _row(panes: dict[str, Tensor], file: str = "") -> Plot:
    """Show images side by side, in one size."""
    shown = [_pane(pixels) for pixels in panes.values()]
    return joined(shown, _listed(file, list(panes)))


def _listed(file: str, names: Sequence[str]) -> str:
    told = ", ".join(names)
    return f"{file}: {told}" if file else told


def _pane(pixels: Tensor) -> Image.Image:
    image = as_image(torch.as_tensor(pixels)).convert("RGB")
    return image.resize((PANE, PANE), Image.Resampling.NEAREST)
