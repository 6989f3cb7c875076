"""An image before and after: the input, and a system's output for it, one over the other."""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import provenance
from souron.kinds.codecs.provenance import Mark
from souron.kinds.kind import Kind
from souron.kinds.picture import FORMATS, SHOWN, Picture
from souron.utils.files import atomically, free
from souron.utils.messages import N_, UserError, _

SMALL = 128  # pixels: smaller images are shown with visible pixels
LEAST, WIDE = 320, 1024  # pixels of the shown width, where there is room
# The slider's thumb is a CSS timeline that uncovers the upper image: no script is needed. A browser
# without timelines shows the images side by side, unless the page's own script
# (class ``sliders`` of the root) sets ``--at``.
STYLE = """<style>
.before-after { margin: 0; timeline-scope: --thumb }
.before-after .both { position: relative; display: grid; overflow: hidden; border-radius: 6px }
.before-after .both > img { grid-area: 1/1; display: block; width: 100%; height: auto; margin: 0 }
.before-after .upper { clip-path: inset(0 0 0 var(--at, 50%)) }
.before-after .edge { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none }
.before-after .both > span { position: absolute; bottom: 8px; padding: 2px 8px; font-size: 13px;
  border-radius: 4px; color: #fff !important; background: #000b; pointer-events: none }
.before-after :is(label, figcaption) { display: block; margin-top: 6px; font-size: 14px }
.before-after input { display: block; width: 100%; margin: 4px 0; overflow: hidden; cursor: grab }
.before-after input::-webkit-slider-thumb { view-timeline: --thumb inline }
@keyframes souron-uncover {
  from { clip-path: inset(0 0 0 100%) } to { clip-path: inset(0) } }
@keyframes souron-edge { from { left: 100% } to { left: 0 } }
@supports (animation-timeline: view()) {
  .before-after .upper, .before-after .edge { animation: linear both souron-uncover;
    animation-timeline: --thumb; animation-range: entry 100% exit 0% }
  .before-after .edge { animation-name: souron-edge } }
@supports not (animation-timeline: view()) {
  :root:not(.sliders) .before-after .both { grid-template-columns: 1fr 1fr; gap: 4px }
  :root:not(.sliders) .before-after .both > img { grid-area: auto; clip-path: none }
  :root:not(.sliders) .before-after :is(.edge, label) { display: none } }
</style>"""


@dataclass(frozen=True, eq=False)
class BeforeAfter(Kind):
    """Two images of one size; the second may be larger by an integer factor.

    The second is the one that is saved; the first stays unchanged, and is kept beside it.
    """

    widget = "before_after"
    noun = N_("before and after")
    suffix = ".png"
    kept = True
    of_image = True

    before: Picture
    after: Picture
    mark: Mark | None = field(default=None, kw_only=True)  # provenance of the second image
    beside: dict[str, str] = field(default_factory=dict, init=False)  # "out" and "original", saved

    def __post_init__(self) -> None:
        (wide, high), (wider, higher) = self.before.size, self.after.size
        if wider % wide or higher % high or wider // wide != higher // high:
            raise files.wrong(
                _("images of {first} and of {second} pixels").format(
                    first=f"{wide} x {high}", second=f"{wider} x {higher}"
                ),
                _("images of one size, or the second larger by a whole factor"),
            )

    @property
    def file(self) -> str:  # type: ignore[override]
        """Path from which the first image was read."""
        return self.before.file

    @property
    def times(self) -> int:
        """Scale factor: pixels of the second image per pixel of the first, along a side."""
        return self.after.size[0] // self.before.size[0]

    @property
    def also(self) -> list[str]:
        """Files that were saved beside the second image."""
        return [self.beside["original"]] if "original" in self.beside else []

    def save(self, path: Path) -> None:
        """Save the second image, and keep the first beside it.

        Grey in finer steps becomes a PNG of 16 bits; transparency is kept (PNG, WebP). The first
        image's file is copied unchanged as ``a.original.jpg``; an image without a file (a frame, an
        upload) is written. Raises UserError, also where the second image would overwrite the first.
        """
        kind = FORMATS[files.ending(path, FORMATS)]
        source = Path(self.before.file) if self.before.file else None
        source = source if source is not None and source.is_file() else None
        if source is not None and path.exists() and path.samefile(source):
            raise UserError(
                "exists",
                _("{path} is the input image").format(path=path),
                expected=_("another name: the input is kept"),
                fix=str(path.with_stem(f"{path.stem}-2").name),
                exit=5,
            )
        image = _whole(self.after.image, self.before.alpha, kind)
        if self.mark is None or kind not in provenance.FORMATS:
            files.write(path, _coded(image, kind))
        else:
            mark = replace(self.mark, digital_source_type=provenance.EDITED)
            with atomically(path) as beside:
                provenance.save(image, beside, mark, format=kind, quality=95)
        self.beside["out"] = str(path)
        self.beside["original"] = str(self._keep(path, source))

    def _keep(self, path: Path, source: Path | None) -> Path:
        """Return the path of the first image, copied beside the second where necessary."""
        if source is not None and source.parent.absolute() == path.parent.absolute():
            return source
        suffix = source.suffix.lower() if source else ".png"
        kept = free(path.parent, f"{path.stem}.original", suffix)
        if source is None:
            before = _whole(self.before.image, self.before.alpha, "PNG")
            files.write(kept, _coded(before, "PNG"))
            return kept
        with atomically(kept) as beside:
            shutil.copyfile(source, beside)
        return kept

    def as_json(self) -> dict[str, Any]:
        width, height = self.after.size
        return {"file": self.file, "out": self.beside.get("out", ""), "width": width, "height": height}

    def __str__(self) -> str:
        first, second = (f"{p.size[0]} x {p.size[1]}" for p in (self.before, self.after))
        if first == second:
            return _("image before and after, {size} pixels").format(size=first)
        return _("image before and after, {first} and {second} pixels").format(first=first, second=second)

    def _repr_html_(self) -> str:
        return self.slider()

    def slider(self, more: Sequence[str] = ()) -> str:
        """Return HTML with both images, one over the other, and a slider. ``more``: lines below."""
        wide, small = self.after.size[0], max(self.after.size) < SMALL
        look = "image-rendering:pixelated" if small else ""
        images = "".join(
            f"<img class='{place}' src='{_small(each)}' alt='{escape(f'{word}: {each}')}' style='{look}'>"
            for each, place, word in ((self.before, "lower", _("before")), (self.after, "upper", _("after")))
        )
        names = (
            f"<span style='left:8px' aria-hidden='true'>{escape(_('before'))}</span>"
            f"<span style='right:8px' aria-hidden='true'>{escape(_('after'))}</span>"
        )
        lines = "".join(f"<div>{escape(line)}</div>" for line in (str(self), *more))
        wide = min(WIDE, max(LEAST, wide))
        return (
            f"{STYLE}<figure class='before-after' style='max-width:{wide}px'>"
            f"<div class='both'>{images}<i class='edge'></i>{names}</div>"
            f"<label>{escape(_('Slide between before and after'))}"
            "<input type='range' min='0' max='100' value='50'></label>"
            f"<figcaption>{lines}</figcaption></figure>"
        )


def _small(picture: Picture) -> str:
    shown = image_codec.rounded(picture.image).copy()
    shown.thumbnail((SHOWN, SHOWN))
    return image_codec.data_uri(shown)


def _uncovered(made: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return the RGBA image of opacity ``alpha`` that gives ``made`` over a white background."""
    share = np.asarray(alpha, np.float32)[..., None] / 255
    colour = np.asarray(made.convert("RGB"), np.float32)
    own = (colour - 255 * (1 - share)) / np.maximum(share, 1 / 255)
    whole = np.concatenate([own.clip(0, 255), share * 255], 2).round().astype(np.uint8)
    return Image.fromarray(whole)


def _whole(image: Image.Image, alpha: Image.Image | None, kind: str) -> Image.Image:
    """Convert an image to the deepest grey steps and the transparency that a format can hold."""
    if image.mode == "F" and kind == "PNG":
        deep = np.asarray(image).clip(0, 255) * 257
        return Image.fromarray(deep.round().astype(np.uint16))
    image = image_codec.rounded(image)
    if alpha is None or kind not in ("PNG", "WEBP"):
        return image
    return _uncovered(image, alpha.resize(image.size, Image.Resampling.BICUBIC))


def _coded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, quality=95)
    return stream.getvalue()
