"""Galleries: several images that belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

from souron.kinds import files
from souron.kinds.codecs import image, limits
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _

MOST = 1000  # images
MOST_PIXELS = 300_000_000  # pixels of all images
IN_HTML = 24  # images


@dataclass(frozen=True, eq=False)
class Gallery(Kind):
    """A sequence of images, with a caption for each or for none."""

    widget = "gallery"
    noun = N_("pictures")
    suffix = ""
    formats = Picture.formats
    kept = True
    folders = True

    pictures: Sequence[Picture]
    captions: Sequence[str] = ()
    file: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.pictures) <= MOST:
            raise files.wrong(_("{count} images").format(count=len(self.pictures)), f"1..{MOST}")
        if self.captions and len(self.captions) != len(self.pictures):
            raise files.wrong(
                _("{names} names for {count} things").format(names=len(self.captions), count=len(self.pictures)),
                _("a name for each"),
            )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read all images in a folder, in the order of their names, or the frames of a file."""
        paths = [path]
        if path.is_dir():
            paths = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        return cls.of(paths, str(path), **how)

    @classmethod
    def of(cls, paths: Sequence[Path], file: str = "", **how: Any) -> Self:
        """Read the images in these files. Raises UserError where they are too many."""
        if not paths:
            raise limits.trouble(Path(file), "no files", _("a folder without images"))
        pictures = tuple(_bounded(paths, how))
        return cls(pictures, tuple(Path(picture.file).name for picture in pictures), file)

    def save(self, path: Path) -> None:
        """Save a folder with a PNG for each image."""
        for number, picture in enumerate(self.pictures, 1):
            picture.save(path / f"{number:04}.png")

    def as_json(self) -> dict[str, Any]:
        captions = self.captions or [""] * len(self.pictures)
        return {
            "pictures": [
                {**picture.as_json(), "caption": caption}
                for picture, caption in zip(self.pictures, captions, strict=True)
            ]
        }

    def __str__(self) -> str:
        return _("{count} images").format(count=len(self.pictures))

    def _repr_html_(self) -> str:
        captions = self.captions or [""] * len(self.pictures)
        return "".join(
            f"<figure style='display:inline-block;max-width:12em;margin:4px'>"
            f"{html(picture.image, caption or str(picture))}"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for picture, caption in list(zip(self.pictures, captions, strict=True))[:IN_HTML]
        )


def _bounded(paths: Sequence[Path], how: dict[str, Any]) -> Iterator[Picture]:
    """Yield the images of all files. Raises UserError where they exceed the limits of memory."""
    count = pixels = 0
    for path in paths:
        for frame in image.frames(path, **how):
            count, pixels = count + 1, pixels + frame.width * frame.height
            if count > MOST or pixels > MOST_PIXELS:
                raise limits.trouble(
                    path,
                    "too large",
                    _("there are too many images to hold at once"),
                    _("at most {count}, and {pixels} million pixels in all").format(
                        count=MOST, pixels=MOST_PIXELS // 1_000_000
                    ),
                )
            yield Picture(frame, str(path))
