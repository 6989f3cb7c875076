"""Images of a trained generator: the single ones, and the sheets that show several together."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from souron.evaluation.generators import sampling
from souron.evaluation.generators.sampling import Noise
from souron.evaluation.record import DrawnRecord
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.animation import sheet
from souron.runs.events import Event
from souron.runs.generated_files import enlarged, file_of, write, write_film, write_moving
from souron.utils.messages import _

ON_A_SHEET = 64
STEPS_OF = 8  # images whose intermediate steps are shown
MOMENTS = 10  # intermediate steps shown
BETWEEN = 12  # steps of an interpolation between two images


@dataclass
class Conditions:
    """Conditions of the images: several classes, prompts or images take turns."""

    device: torch.device
    options: dict[str, Any]  # of the system's ``drawing``, the same for every image
    classes: Sequence[int] = ()
    prompts: Sequence[str] = ()
    images: dict[str, Tensor] = field(default_factory=dict)  # by the option that names them

    def of(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the arguments for the images of these numbers."""
        asked = dict(self.options)
        if self.classes:
            labels = [self.classes[i % len(self.classes)] for i in numbers]
            asked["condition"] = torch.tensor(labels)
        if self.prompts:
            asked["condition"] = [self.prompts[i % len(self.prompts)] for i in numbers]
        for name, pixels in self.images.items():
            asked[name] = pixels[[i % len(pixels) for i in numbers]].to(self.device)
        return asked


class Drawing:
    """Generates the images ``first``, ``first + 1``, ... of a seed, and writes them as files."""

    def __init__(self, system: Any, conditions: Conditions, record: DrawnRecord, mark: Any, every: range) -> None:
        self.system, self.conditions, self.record, self.mark = system, conditions, record, mark
        self.every = every  # numbers of the images
        self.begun = time.perf_counter()
        self.on_sheet: list[Tensor] = []
        self.steps: list[Tensor] = []  # of the first images

    def images(self, data: str) -> Iterator[Event]:
        """Write each image; ``data`` names what the system was trained on."""
        record, place, count = self.record, self.record.folder, len(self.every)
        for numbers in sampling.chunks(self.system, self.every):
            last = torch.empty(0)
            noise = Noise(record.seed, numbers, self.system.device)
            for last in sampling.draw(self.system, noise, **self.conditions.of(numbers)):
                if numbers[0] == self.every.start:
                    self.steps.append(last[:STEPS_OF])
                yield Event("draw", record.count / count, text=str(place))
            self._write(numbers, last)
            if sum(map(len, self.on_sheet)) < ON_A_SHEET:
                self.on_sheet.append(last)
            record.count += len(numbers)
            record.seconds = time.perf_counter() - self.begun
            left = record.seconds * (count - record.count) / record.count
            yield Event("draw", record.count / count, left, str(place))
            if numbers[0] == self.every.start:
                self._read_off(data, last[:1])

    def _write(self, numbers: Sequence[int], drawn: Tensor) -> None:
        """Write the files of generated images or films."""
        for number, one in zip(numbers, drawn, strict=True):
            path, mark = file_of(self.record.folder, number, self.every), self.mark.of(number)
            if self.system.moves:
                write_film(path, one, mark, self.record)
            else:
                write(path, image_codec.as_image(one), mark, self.record)

    def _read_off(self, data: str, first: Tensor) -> None:
        """Note whether the first image shows what its prompt says."""
        if self.conditions.prompts and not self.system.moves:
            from souron.evaluation.generators import prompt_adherence

            prompt = self.conditions.prompts[0]
            self.record.obedience = prompt_adherence.read_off(data, first, prompt)

    def sheets(self, walk: int) -> Iterator[Event]:
        """Write a sheet of the first images, one of the steps of some, and an interpolation between
        ``walk`` images; 0 for none."""
        place, mark, record = self.record.folder, self.mark.of(None), self.record
        together = sheet(torch.cat(self.on_sheet)[:ON_A_SHEET], 8)
        write(place / "grid.png", enlarged(together), mark, record)
        if len(self.steps) > 1:
            last = len(self.steps) - 1
            moments = sorted({round(i * last / (MOMENTS - 1)) for i in range(MOMENTS)})
            # the steps of an image in one row
            rows = torch.stack([self.steps[i] for i in moments], 1).flatten(0, 1)
            write(place / "steps.png", enlarged(sheet(rows, len(moments))), mark, record)
            frames = [sheet(each, 4) for each in self.steps]
            write_moving(place / "steps.webp", frames, mark, record)
        if walk:
            yield Event("draw", 0.0, text=_("walk"))
            first = self.every.start
            asked = self.conditions.of([first])
            if "condition" in asked:
                asked["condition"] = asked["condition"][0]
            numbers = range(first, first + walk)
            steps = sampling.walk(self.system, record.seed, numbers, BETWEEN, **asked)
            frames = [image_codec.as_image(frame) for frame in steps]
            write_moving(place / "walk.webp", frames, mark, record)
