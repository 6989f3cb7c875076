"""Pictures of every interactive, in both languages.

    .venv/bin/python docs/interactives.py            # all of them
    .venv/bin/python docs/interactives.py which_luck

A real Chromium opens each in a studio of its own, makes the right guess, and does what a reader
would do. The pictures go to ``docs/_static/interactives/``: ``playground.jpg``,
``playground.ja.jpg``. What a page weighs, scripts and answers together, is printed.
"""

import io
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import browsing  # noqa: E402

from souron.studio import interactive  # noqa: E402

WIDTH, PATIENCE = 1000, 300_000  # pixels; milliseconds
HIGHEST, WIDEST = 1400, 760  # pixels of a screen that is kept, and of its picture
WEIGHT = (
    "performance.getEntriesByType('resource').filter(e => e.name.includes('/interactive'))"
    ".reduce((sum, e) => sum + e.encodedBodySize, 0)"
)


def main() -> None:
    place = ROOT / "docs" / "_static" / "interactives"
    place.mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[1:] or interactive.names()
    with tempfile.TemporaryDirectory() as folder, browsing.serving(Path(folder)) as server:
        for language in ("en", "ja"):
            with browsing.visiting(language, width=WIDTH) as visit:
                visit.page.set_default_timeout(PATIENCE)
                for name in chosen:
                    open_one(visit.page, f"{server.address}/{language}/interactives?name={name}")
                    DONE.get(name, lambda page: None)(visit.page)
                    settled(visit.page)
                    ending = ".ja.jpg" if language == "ja" else ".jpg"
                    shoot(visit.page, place / (name + ending))
                    print(f"{name} {language}: {visit.page.evaluate(WEIGHT) / 1000:.0f} kB")
                assert not visit.outside, visit.outside
                assert not visit.errors, visit.errors


def open_one(page: Any, address: str) -> None:
    page.goto(address)
    page.locator(".interactive .guess input").first.wait_for()
    right = int(page.get_attribute(".interactive", "data-right"))
    page.locator(".interactive .guess input").nth(right).check()
    page.wait_for_selector("[data-ready]")
    settled(page)


def settled(page: Any) -> None:
    """Until what was asked is answered, and the picture drawn."""
    page.wait_for_timeout(500)
    page.wait_for_selector(".interactive[aria-busy]", state="detached")
    page.wait_for_timeout(500)


def shoot(page: Any, path: Path) -> None:
    page.add_style_tag(content=".interactive { padding: 1rem } .side { position: static !important }")
    data = page.locator(".interactive").screenshot()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, HIGHEST)))
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    image.save(path, quality=82, optimize=True)


def press(page: Any, does: str) -> None:
    page.locator(f"[data-do={does}]").click()
    settled(page)


def slide(page: Any, name: str, value: float) -> None:
    """A slider, as moved by hand."""
    page.locator(f"[name={name}]").evaluate(
        "(range, value) => { range.value = value; for (const kind of ['input', 'change'])"
        " range.dispatchEvent(new Event(kind, { bubbles: true })); }",
        value,
    )
    settled(page)


def at_the_end(page: Any) -> None:
    """The last frame of a recording."""
    page.wait_for_selector("[name=frame]:not([max='0'])", state="attached")
    slide(page, "frame", int(page.get_attribute("[name=frame]", "max")))


def playground(page: Any) -> None:
    slide(page, "width", 8)
    at_the_end(page)


def kmeans(page: Any) -> None:
    page.locator("canvas[data-canvas=plane]").focus()
    for key in (
        *["ArrowLeft"] * 6,
        *["ArrowDown"] * 4,
        "Enter",
        "ArrowLeft",
        "ArrowDown",
        "Enter",
        *["ArrowRight"] * 10,
        *["ArrowUp"] * 6,
        "Enter",
    ):
        page.keyboard.press(key)
    press(page, "run")
    page.locator("[data-part=now]", has_text=re.compile("Ended|終了")).wait_for()
    press(page, "rival")


def noise(page: Any) -> None:
    slide(page, "noise", 60)
    press(page, "back")
    at_the_end(page)


def gan(page: Any) -> None:
    page.wait_for_selector("[name=frame]:not([max='0'])", state="attached")
    slide(page, "frame", 62)  # a step of the generator


def occupations(page: Any) -> None:
    for place in (1, 4, 11):
        page.locator("[data-part=tasks] button").nth(place).click()
    press(page, "reveal")


def images(page: Any) -> None:
    for place in (1, 4, 7, 9, 17):
        page.locator("[data-part=tiles] button").nth(place).click()
    press(page, "reveal")


def mapped(page: Any) -> None:
    page.locator("[name=way]").select_option("tsne")
    settled(page)


def next_token(page: Any) -> None:
    page.locator("[data-part=next] button").first.click()
    settled(page)


def chain_rule(page: Any) -> None:
    for _step in range(3):
        press(page, "once")
    slide(page, "frame", 9)


def voted(page: Any) -> None:
    page.locator("[name=voter]").select_option("cautious")
    press(page, "rest")


def generators(page: Any) -> None:
    press(page, "learn")
    page.locator("[data-part=guided]", has_text="%").wait_for()


def splits(page: Any) -> None:
    press(page, "twenty")


def boxes(page: Any) -> None:
    page.locator("[name=truth]").check()
    slide(page, "frame", 40)


def rare(page: Any) -> None:
    slide(page, "threshold", 35)


def matrix(page: Any) -> None:
    press(page, "compare")


DONE: dict[str, Callable[[Any], None]] = {
    "playground": playground,
    "kmeans_by_hand": kmeans,
    "noise_slider": noise,
    "gan_slow_motion": gan,
    "trust_map": mapped,
    "real_or_drawn": images,
    "occupations_day": occupations,
    "inside_gpt": next_token,
    "backpropagation": chain_rule,
    "alignment": voted,
    "draw_distribution": generators,
    "luck_of_a_split": splits,
    "boxes_by_hand": boxes,
    "prevalence": rare,
    "clip_contrast": matrix,
}


if __name__ == "__main__":
    main()
