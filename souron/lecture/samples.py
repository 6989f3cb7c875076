"""The sample files on which each row of the lecture is shown at work.

A row's ``answer`` is one command: ``souron predict cat.png``. The files that it names are written
into a folder before it runs: photographs of scikit-image and scikit-learn, held-out cases of the
ready-trained systems, and a few texts and tables.

>>> names("souron predict unet scene.png")
['scene.png']
"""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.data.composing.language import manners
from souron.hub import fetch, zoo
from souron.lecture.rows import Row
from souron.utils.messages import UserError, _, language

PHOTOGRAPHS = {
    "cat.png": ("skimage", "data/chelsea.png"),
    "tissue.png": ("skimage", "data/ihc.png"),
    "flower.jpg": ("sklearn", "datasets/images/flower.jpg"),
}
HELD_OUT = {
    "shoe.png": "fashion/ankle-boot.png",
    "scene.png": "drawn_scenes/1.png",
    "film.png": "cephalo/1.png",
    "volume.nii.gz": "phantoms/1.nii.gz",
    "melody.mid": "chorales/1.mid",
    "prompt.txt": "speeches/1.txt",
    "flowers.png": "drawn_captioned_scenes/1.png",
    "peach.png": "drawn_photo_scenes/1.png",
    "coat.png": "coats/1.png",
    "digits.wav": "synthetic_digits/3.wav",
    "patch.png": "photo_patches/1.png",
    "request.txt": "page_requests/1.txt",
    "help.txt": "manual_pairs/2.txt",
    "sentence.txt": "drawn_moving_scenes/1.txt",
}
TEXTS = ("guide.txt", "question.txt", "answer.txt", "notes/ward.txt", "questions.csv")
EVERY = 40  # of the exchanges of ``manners`` one is a sample
TILE = 32  # pixels: the side of a square of the tissue
MOVES = 12  # frames of the film
STEP = 6  # pixels from one frame to the next
LONGEST = 120  # seconds that a command may take
FEW = 4  # lines of an answer that stands among others
WIDTH = 110  # characters of such a line
NOISE = ("saved: ", "report: ")  # how lines begin that are no answer


@dataclass(frozen=True)
class Answer:
    """The lines that a row's command printed, and how long it took."""

    row: str
    command: str
    seconds: float
    exit: int
    lines: tuple[str, ...]  # of stdout; where it failed, of stderr
    about: str = ""  # the system that answered, as ``zoo.about`` describes it

    def block(self, title: str, few: bool = False) -> list[str]:
        """Return the lines that show the answer; ``few`` cuts it to its first lines."""
        lines = self.lines
        if few:
            lines = tuple(line[:WIDTH] for line in lines if not line.startswith(NOISE))[:FEW]
        head = [f"{self.row}  {title}  ({self.seconds:.1f} s)", f"$ {self.command}"]
        return [*head, *(f"  {line}" for line in (*lines, *filter(None, [self.about])))]


def names(command: str) -> list[str]:
    """Return the sample files that a command names, by themselves or by their folder, also after ``=``."""
    words = [word.rpartition("=")[2] for word in shlex.split(command)]
    return [name for name in writers() if name in words or f"{Path(name).parent}/" in words]


def writers() -> dict[str, Callable[[Path], None]]:
    """Return for each sample the function that writes it to a path."""
    return {
        **{name: partial(_photograph, *place) for name, place in PHOTOGRAPHS.items()},
        **{name: partial(_held_out, place) for name, place in HELD_OUT.items()},
        **{name: partial(_text, name) for name in TEXTS},
        "talk.jsonl": conversations,
        "scene.gif": moving,
        "wide.png": tiled,
        "tissue/labels.csv": labelled,
    }


def write(folder: Path, command: str) -> None:
    """Write the sample files that a command names, unless they are there. Raises UserError."""
    for name in names(command):
        file = folder / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            writers()[name](file)


def command(row: Row) -> str:
    """Return the command that shows a row: with a network that was fetched, where one is here."""
    return next((each for each in row.fetched if fetch.where(command_system(each)) is not None), row.answer)


def command_system(command: str) -> str:
    """Return the word after a command's verb, where its system stands; "" where there is none."""
    return (*shlex.split(command), "")[2]


def answer(row: Row, folder: Path, further: Sequence[str] = ()) -> Answer:
    """Run a row's command, with ``further`` words, in a folder with its sample files, as a process of its own.

    Raises UserError where the samples or the time are missing.
    """
    asked = command(row)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, asked)
    words = [sys.executable, "-m", "souron", *shlex.split(asked)[1:], *further, "--lang", language()]
    begun = time.monotonic()
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, encoding="utf-8", timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            "try",
            _("{command} took longer than {seconds} s").format(command=asked, seconds=LONGEST),
            expected=_("an answer within seconds"),
            fix=asked,
        ) from error
    lines = (done.stderr if done.returncode else done.stdout).splitlines()
    shown = tuple(line.rstrip() for line in lines if line.strip())
    return Answer(row.id, asked, time.monotonic() - begun, done.returncode, shown, _about(asked))


def attempt(row: Row, folder: Path) -> Answer:
    """Answer as ``answer``; where samples or time are missing, the lines say so."""
    begun = time.monotonic()
    try:
        return answer(row, folder)
    except UserError as error:
        return Answer(row.id, command(row), time.monotonic() - begun, error.exit, tuple(str(error).splitlines()))


def _about(command: str) -> str:
    """Describe the ready-trained system that a command names, in brackets; "" where it names none."""
    system, verb = command_system(command), shlex.split(command)[1]
    known = zoo.about(system) if verb in ("predict", "generate") else ""
    return f"[{system}: {known}]" if known else ""


def _photograph(package: str, place: str, file: Path) -> None:
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, "a dependency"
    shutil.copyfile(Path(found.origin).parent / place, file)


def _held_out(place: str, file: Path) -> None:
    shutil.copyfile(examples() / place, file)


def _text(name: str, file: Path) -> None:
    shutil.copyfile(Path(__file__).with_suffix("") / name, file)


def examples() -> Path:
    """Return the folder of held-out cases. Raises UserError where souron-zoo is not installed."""
    root = zoo.root()
    if root is None:
        raise UserError(
            "try", _("the ready-trained systems are not installed"), expected="souron-zoo", fix="pip install souron-zoo"
        )
    return root / "examples"


def _scenes() -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted((examples() / "drawn_scenes").glob("*.png"))]


def conversations(file: Path) -> None:
    """Write questions with good answers, one JSON object a line."""
    _write_lines(
        file,
        [
            {"messages": [{"role": "user", "content": one.prompt}, {"role": "assistant", "content": one.good}]}
            for one in manners.exchanges()[::EVERY]
        ],
    )


def _write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")


def moving(file: Path) -> None:
    """Write a film: a camera that moves across a drawn scene."""
    scene = _scenes()[0]
    width, height = scene.size
    wide = Image.new("RGB", (2 * width, height))
    wide.paste(scene, (0, 0))
    wide.paste(scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (width, 0))
    frames = [wide.crop((STEP * n, 0, STEP * n + width, height)) for n in range(MOVES)]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=100, loop=0)


def tiled(file: Path) -> None:
    """Write an image that is larger than a network's, of drawn scenes side by side."""
    scenes = _scenes()
    width, height = scenes[0].size
    whole = Image.new("RGB", (3 * width, 2 * height))
    for number, scene in enumerate(scenes[:6]):
        whole.paste(scene, (number % 3 * width, number // 3 * height))
    whole.save(file)


def labelled(file: Path) -> None:
    """Write squares of stained tissue, and a table of them: the half that is browner, and their strip."""
    photograph = file.parent / "tissue.png"
    _photograph(*PHOTOGRAPHS["tissue.png"], photograph)
    tissue = Image.open(photograph).convert("RGB")
    across, down = (side // TILE for side in tissue.size)
    corners = [(x * TILE, y * TILE) for y in range(down) for x in range(across)]
    squares = [tissue.crop((x, y, x + TILE, y + TILE)) for x, y in corners]
    browner = [np.subtract(*np.asarray(square).reshape(-1, 3).mean(0)[[0, 2]]) for square in squares]
    rows = ["file,label,strip"]
    for number, square in enumerate(squares):
        square.save(file.parent / f"{number:03}.png")
        label = "brown" if browner[number] > np.median(browner) else "blue"
        rows.append(f"{number:03}.png,{label},{number // across}")
    photograph.unlink()
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
