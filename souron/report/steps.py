"""Steps from one test image to the answer, as the system itself explains them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, Rows
from souron.data.targets.panoptic import shown as segments_shown
from souron.evaluation.record import RunRecord
from souron.evaluation.steps import Explained, Maps
from souron.kinds.codecs.image import as_image
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.report import plots
from souron.report.blocks import Block, Gallery, Group, Plot, Section, pictures
from souron.report.page import embedded, page, tile, write
from souron.utils import files
from souron.utils.messages import _

PANE, SMALL = 384, 160  # pixels a side of an image, of a feature map
LOOKED_AT = 50  # test images searched for one with much to see
BRIGHT = (255, 214, 0)  # of the most confident box


def steps(record: RunRecord, test: Dataset, much: Callable[[int], int]) -> list[Block]:
    """Show the system's own explanation for the test image that has most to show.

    ``much(row)`` rates a row; only the first test images are considered.
    """
    model = record.model
    if not test.images or not len(test) or not hasattr(model, "explain"):
        return []
    row = max(range(min(len(test), LOOKED_AT)), key=much)
    loader = model.loader(test.only([row]))
    with torch.inference_mode():
        batch = next(iter(loader.once(1)))
        told = model.eval().explain(batch.image, batch.target[0])
    return [_drawn(test, row, step) for step in told if isinstance(step, Explained) or step.maps]


def explained(model: Any, name: str, picture: Picture, project: Path) -> Path | None:
    """Write ``project/explained/name/steps.html``: the steps from one image to the answer.

    Return its path; None where the system has no ``explain``. Raises UserError.
    """
    if not hasattr(model, "explain"):
        return None
    spec = model.spec
    pixels, _place = picture.letterbox(spec.side, spec.channels)
    batch = model.batch(Rows(pixels[None].to(model.device), None))
    with torch.inference_mode():
        told = model.eval().explain(batch.image, model.unknown(batch.image))
    file = Path(picture.file).name or _("picture")
    case = Dataset(file, pixels[None], None, spec.labels, [file])
    drawn = [_drawn(case, 0, step) for step in told if _says_much(step)]
    if not drawn:
        return None
    answer = model.predict(picture)
    shown = embedded(_fitted(answer.drawn()), str(answer))
    blocks = [*drawn, Group(_("The answer"), [str(answer), shown])]
    text = page(
        "study.html",
        title=_("{system}: {file}").format(system=name, file=file),
        eyebrow=_("How it finds them"),
        contents=[],
        sentences=[_("The steps by which the system reaches its answer about this image.")],
        notes=[],
        facts=[],
        sections=[Section("steps", _("How it finds them"), blocks)],
    )
    return write(files.new_folder(project / "explained", name) / "steps.html", text)


def _says_much(step: Any) -> bool:
    return len(step.box) > 0 if isinstance(step, Explained) else bool(getattr(step, "maps", True))


def _fitted(drawn: Image.Image) -> Image.Image:
    drawn = drawn.convert("RGB")
    drawn.thumbnail((2 * PANE, 2 * PANE))
    return drawn


def _drawn(test: Dataset, row: int, step: Any) -> Group:
    if isinstance(step, Explained):
        shown = pictures(step.caption, [_weighted(test, row, step)])
    elif not isinstance(step, Maps):
        whole = segments_shown(test.input[row], step.segments, test.classes)
        shown = pictures(step.caption, [embedded(_fitted(whole.drawn()), step.title)])
    else:
        tiles = [
            tile(_map(test.input[row], values.float().cpu(), step.drawn), name, (name,)) for name, values in step.maps
        ]
        shown = [step.caption, Gallery(tiles)]
    return Group(step.title, shown)


def _map(pixels: Tensor, values: Tensor, drawn: str) -> Image.Image:
    """Draw a feature map (h, w), enlarged without interpolation so that its pixels are visible."""
    if drawn == "heat":
        heat = F.interpolate(values[None, None], pixels.shape[1:], mode="bilinear")[0, 0]
        shown = plots.overlay(pixels, heat.clamp(0, 1))
    elif drawn == "signed":
        shown = as_image(plots.signed(values[None], max(1e-6, float(values.abs().max()))))
    else:
        shown = as_image((values[None].clamp(0, 1) * 255).round().byte())
    return shown.resize((SMALL, SMALL), Image.Resampling.NEAREST)


def _weighted(test: Dataset, row: int, step: Explained) -> Plot:
    """Draw a test image with many boxes, brighter with higher confidence."""
    canvas = overlay.Canvas(Picture.of(test.input[row]))
    score = step.score.float().clamp(0, 1).tolist()
    plain = canvas.image.copy()
    for corners, sure in sorted(zip(step.box.float().tolist(), score, strict=True), key=lambda pair: pair[1]):
        canvas.box(corners, "", tuple(round(sure * full) for full in BRIGHT))
    drawn = Image.blend(plain, canvas.image, 0.75)
    words = _("{title}: {count} boxes in {file}").format(title=step.title, count=len(score), file=test.file[row])
    return embedded(drawn.resize((PANE, PANE), Image.Resampling.LANCZOS), words)
