"""What ``clinic.md`` shows: its walk, printed, and its pictures, in both languages.

    .venv/bin/python docs/clinic.py

It draws the radiographs, says each command and what it prints, and puts the pictures of the pages
into ``docs/_static/``. Both languages show the same figures: the budget of the training is epochs,
and the comparison, whose budget is seconds, is made once and told in the other language.
"""

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import browsing  # noqa: E402

RUN = "runs/classify/efficientnet_lite-radiographs-cleaned"
COMMANDS = (
    "data radiographs/labels.csv",
    "data check radiographs/labels.csv --fix radiographs/checked.csv",
    "train efficientnet_lite data=radiographs/checked.csv pretrained=true freeze=true prevalence=0.2 epochs=1000",
    "compare efficientnet_lite:frozen cnn data=radiographs/checked.csv imgsz=160 budget=15s seeds=3",
    f"calibration {RUN}",
    f"decision {RUN} prevalence=0.2",
    f"predict {RUN} radiographs/images/P0019_1.png",
    f"reporting {RUN} guideline=stard-ai",
)
TOPS = {"data": "runs/data/labels/data.html", "check": "runs/data/labels/check.html", "report": f"{RUN}/report.html"}
SPAN = """(name) => {
  const next = document.querySelector(`#${name} ~ h2`);
  return [document.getElementById(name), next].map((each) => each.getBoundingClientRect().top - 16);
}"""
SECTIONS = ("discrimination", "subgroups", "calibration", "looked_at", "robustness", "sizes")
WIDTH, HIGH = 900, {"report": 690}  # pixels; others show 919 of their top


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "en", Path(folder) / "ja"
        walk(first, "en", COMMANDS)
        photograph(first, "en", "")
        [compared] = first.glob("runs/compare/*")
        shutil.copytree(compared, second / compared.relative_to(first))
        again = f"compare resume={compared.relative_to(first)}"
        walk(second, "ja", [again if each.startswith("compare") else each for each in COMMANDS])
        photograph(second, "ja", ".ja")


def photograph(folder: Path, language: str, end: str) -> None:
    """The pages that the walk wrote, whole or in sections."""
    place = ROOT / "docs" / "_static"
    [compared] = folder.glob("runs/compare/*/report.html")
    with browsing.visiting(language, width=WIDTH) as visit:
        for name, path in {**TOPS, "compare": compared}.items():
            visit.page.goto((folder / path).as_uri())
            keep(whole(visit.page), 0, HIGH.get(name, 919), place / f"clinic-{name}{end}.png")
        visit.page.goto((folder / TOPS["report"]).as_uri())
        for name in SECTIONS:
            top, bottom = visit.page.evaluate(SPAN, name)
            ending = "jpg" if name == "looked_at" else "png"
            path = place / f"clinic-{name.replace('_', '-')}{end}.{ending}"
            keep(whole(visit.page), top, bottom, path)


def walk(folder: Path, language: str, commands: Sequence[str]) -> None:
    """The commands, and what they say."""
    folder.mkdir(exist_ok=True)
    drawing = [sys.executable, ROOT / "tests" / "radiographs.py", "radiographs", "--defects"]
    subprocess.run(drawing, cwd=folder, check=True)
    for command in commands:
        print(f"$ souron {command}", flush=True)
        words = [sys.executable, "-m", "souron", "--lang", language, *shlex.split(command)]
        wide = os.environ | {"COLUMNS": "96"}
        subprocess.run(words, cwd=folder, stderr=subprocess.DEVNULL, env=wide)
        print(flush=True)


def whole(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


def keep(image: Image.Image, top: float, bottom: float, path: Path) -> None:
    part = image.crop((0, int(top), WIDTH, int(min(bottom, image.height))))
    part = part if path.suffix == ".jpg" else part.quantize(256)
    part.save(path, optimize=True)


if __name__ == "__main__":
    main()
