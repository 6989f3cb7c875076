"""Sources of images for an audit: a data set, a folder of files, or a generator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from souron import registry
from souron.data import load, patients
from souron.evaluation import generated_detector
from souron.evaluation.generated_detector import Pipeline
from souron.evaluation.generators import sampling
from souron.hub import names
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import provenance
from souron.runs import folder as run_folder
from souron.runs import generate
from souron.runs.elsewhere import workers
from souron.runs.events import Event
from souron.utils import files, hardware
from souron.utils.messages import UserError, _

MOST_FILES = 100_000  # most files of a folder


class Header(NamedTuple):
    """The properties of an image file, read without decoding it."""

    format: str
    width: int
    height: int
    grey: bool
    quality: int | None  # of JPEG
    size: int  # bytes


@dataclass
class Source:
    """Images of one origin: files with their headers, or pixels if there are no files."""

    name: str
    file: list[str] = field(default_factory=list)
    header: list[Header] = field(default_factory=list)  # one per file
    image: Tensor | None = None  # (N, C, H, W) uint8
    group: list[str] = field(default_factory=list)  # patient, ...; [] if unknown
    skipped: int = 0  # files that could not be read

    def __len__(self) -> int:
        return len(self.header) if self.image is None else len(self.image)

    @property
    def side(self) -> int:
        """Return the median of the images' shorter sides, in pixels."""
        if self.image is not None:
            return min(self.image.shape[-2:])
        return int(np.median([min(one.width, one.height) for one in self.header]))

    @property
    def grey(self) -> bool:
        if self.image is not None:
            return self.image.shape[1] == 1
        return all(one.grey for one in self.header)

    def through(self, pipeline: Pipeline) -> Iterator[tuple[float, Tensor]]:
        """Yield progress 0..1 and each image after the pipeline.

        Damaged files are removed from this source.
        """
        if self.image is not None:
            for number, pixels in enumerate(self.image, 1):
                yield number / len(self.image), pipeline.of(image_codec.as_image(pixels))
            return
        kept, wanted = [], len(self.file)
        for number, name in enumerate(self.file):
            try:
                made = pipeline.of(image_codec.rounded(image_codec.read(Path(name))))
            except UserError:
                self.skipped += 1
                continue
            kept.append(number)
            yield (number + 1) / wanted, made
        for column in ("file", "header", "group"):
            entries = getattr(self, column)
            setattr(self, column, [entries[row] for row in kept] if entries else [])


def is_run(name: str) -> bool:
    return names.is_run(name) or (not Path(name).exists() and registry.is_system(name))


def real(name: str, most: int, seed: int) -> Source:
    """Choose at most ``most`` real images of a data set or a folder at random. Raises UserError."""
    if name in load.names():
        cases = load.load(name)
        if not cases.images:
            raise UserError(
                "data",
                _("{data} has no images").format(data=name),
                expected=_("a data set of images, or a folder with some"),
                fix="souron list --data",
            )
        rows = chosen(len(cases), most, seed)
        image = cases.only(rows).input[:]
        group = [cases.group[row] or str(row) for row in rows] if cases.group else []
        return Source(
            name,
            [cases.file[row] for row in rows],
            [],
            image.round().byte() if image.is_floating_point() else image,
            group,
        )
    source = folder(name, most, seed)
    inside = [_inside(path, name) for path in source.file]
    found = patients.groups(inside, [str(Path(path).parent) for path in inside]).names
    if any(found):
        source.group = [group or file for group, file in zip(found, source.file, strict=True)]
    return source


def _inside(path: str, folder: str) -> str:
    inner = Path(path)
    return (inner.relative_to(folder) if inner.is_relative_to(folder) else inner).as_posix()


def folder(name: str, most: int, seed: int) -> Source:
    """Choose at most ``most`` image files of a folder at random.

    Sheets written by ``souron generate`` are skipped. Raises UserError.
    """
    every: list[Path] = []
    for path in files.find_files([name]):
        every.append(path)
        if len(every) > MOST_FILES:
            raise UserError(
                "too many",
                _("{path}: more than {count} files").format(path=name, count=MOST_FILES),
                expected=_("a folder with fewer images"),
                exit=3,
            )
    source = Source(Path(name).name or name)
    for row in chosen(len(every), len(every), seed):
        if len(source.file) == most:
            break
        try:
            header = look(every[row])
        except UserError:
            source.skipped += 1
            continue
        if header is not None:
            source.file.append(str(every[row]))
            source.header.append(header)
    if not source.file:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=name),
            expected=_("a data set, a run, or a folder with images"),
            exit=3,
        )
    return source


def look(path: Path) -> Header | None:
    """Read a file's header; None for a sheet of several generated images.

    Raises UserError if it is no readable image.
    """
    size = path.stat().st_size if path.is_file() else 0
    with image_codec.opened(path) as image:
        if not isinstance(image, Image.Image):  # DICOM
            about = image.look()
            return Header("DICOM", *about.size, about.grey, None, size)
        texts = [one for one in (image.info.get(provenance.PNG_KEY),) if isinstance(one, str)]
        mark = provenance.read_mark(texts[0]) if texts else None
        if mark is not None and mark.number is None and path.stem in ("grid", "steps", "walk"):
            return None
        return Header(
            str(image.format),
            image.width,
            image.height,
            image_codec.grey(image),
            generated_detector.jpeg_quality(image),
            size,
        )


def generating(name: str, n: int, seed: int, device: str) -> Iterator[Event]:
    """Generate ``n`` images with a run; the last event carries the ``Source``.

    Raises UserError.
    """
    place = run_folder.find(name)
    system = generate.generator(place, run_folder.read_args(place))
    if system.prompted or getattr(system, "moves", False):
        raise UserError(
            "system",
            _("{system} generates something other than single images of one kind").format(system=name),
            expected=_("an image generator, or a folder with images it generated"),
            fix=f"souron generate {name} n={n} out=FOLDER",
        )
    system.to(hardware.device(device))
    for sample in sampling.Sample.growing(system, n, seed):
        done = len(sample.image)
        source = Source(place.name, image=sample.image)
        yield Event("draw", done / n, sample.seconds * (n - done), place.name, record=source if done == n else None)


def elsewhere(on: str, runs: Sequence[str], n: int, seed: int, device: str) -> Iterator[tuple[int, Source]]:
    """Generate ``n`` images with each run on an engine; yield its position and its ``Source`` as they arrive.

    Raises UserError.
    """
    systems = list(map(workers.anywhere, runs))
    given = ((number, (name, n, seed, device)) for number, name in enumerate(systems))
    for number, (name, image) in workers.gather(on, generated, given, systems):
        yield number, Source(name, image=torch.from_numpy(image))


def generated(run: str, n: int, seed: int, device: str) -> tuple[str, NDArray[np.uint8]]:
    """Generate images on this machine: the name of their source, and (n, C, H, W)."""
    *_others, last = generating(run, n, seed, device)
    return last.record.name, last.record.image.numpy()


def chosen(count: int, most: int, seed: int) -> list[int]:
    """Return at most ``most`` of ``count`` row indices in random order."""
    random = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=random)[:most].tolist()


def one_pipeline(sources: list[Source]) -> Pipeline:
    """Return a pipeline for all of these images.

    It uses their smallest side, grey if any are grey, and the lowest quality.
    """
    side = min(max(min(source.side for source in sources), generated_detector.SMALLEST), generated_detector.LARGEST)
    channels = 1 if any(source.grey for source in sources) else 3
    lossy = [one.quality for source in sources for one in source.header if one.quality is not None]
    return Pipeline(side, channels, min(lossy) if lossy else None)
