"""Pictures of every page of the studio, in both languages, light and dark, some as on a telephone.

    .venv/bin/python docs/screenshots.py
    .venv/bin/python docs/screenshots.py teach --languages ja

In an empty folder for each language it trains, compares and draws for some seconds, on digits and
on a folder with things wrong in it; then a real Chromium visits each page. The pictures go to
``docs/_static/studio/``: of a page ``train.jpg``, ``train.ja.jpg``, ``train.dark.jpg`` and
``train.dark.ja.jpg``, of those in ``NARROW`` also ``lesson.phone.jpg`` and ``lesson.phone.ja.jpg``.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import browsing  # noqa: E402
from browsing import said  # noqa: E402

WIDTH, HIGHEST = 1280, 1500  # pixels of a picture
PHONE = 390  # pixels a telephone is wide
LOOKS = ("", "dark", "phone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", help="all where none is named")
    parser.add_argument("--languages", nargs="+", default=["en", "ja"])
    chosen = parser.parse_args()
    visited = {name: VISITS[name] for name in chosen.pages or VISITS}
    place = ROOT / "docs" / "_static" / "studio"
    place.mkdir(parents=True, exist_ok=True)
    for language in chosen.languages:
        with tempfile.TemporaryDirectory() as folder:
            if visited.keys() - BEGIN_WITH_NOTHING:
                prepare(Path(folder), language)
            with browsing.serving(Path(folder)) as server:
                for look in LOOKS:
                    with browsing.visiting(language, look == "dark") as visit:
                        width = PHONE if look == "phone" else WIDTH
                        visit.page.set_viewport_size({"width": width, "height": HIGHEST})
                        for name, visits in visited.items():
                            if look == "phone" and name not in NARROW:
                                continue
                            visits(visit.page, f"{server.address}/{language}/", language)
                            ends = [name, look, "ja" if language == "ja" else "", "jpg"]
                            shoot(visit.page, place / ".".join(filter(None, ends)), width)
                        assert not visit.outside, visit.outside


def prepare(folder: Path, language: str) -> None:
    """Runs and data to be seen, with reports in the language."""
    for words in (
        ["train", "cnn", "data=digits", "budget=8s"],
        ["train", "dcgan", "data=digits", "budget=30s"],
        ["compare", "mlp", "cnn", "vit", "data=digits", "budget=4s", "seeds=3"],
    ):
        asked = [sys.executable, "-m", "souron", *words, "--quiet", "--lang", language]
        subprocess.run(asked, cwd=folder, check=True)
    from souron.data.load import load
    from souron.kinds.codecs.image import as_image

    digits = load("digits")
    photos = folder / "photos"
    for label, name in enumerate(("零", "one", "two")):
        (photos / name).mkdir(parents=True)
        for number, row in enumerate((digits.target == label).nonzero()[:40, 0].tolist()):
            as_image(digits.input[row]).resize((64, 64)).save(photos / name / f"{number}.png")
    (photos / "one" / "broken.png").write_bytes(b"no picture")
    shutil.copy(photos / "two" / "3.png", photos / "one" / "copy of 3.png")


def shoot(page: Any, path: Path, width: int) -> None:
    page.wait_for_timeout(1000)
    end = page.evaluate("document.querySelector('#foot').getBoundingClientRect().bottom")
    clip = {"x": 0, "y": 0, "width": width, "height": min(end, HIGHEST)}
    image = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    image.save(path, quality=80, optimize=True)


def lecture(page: Any, studio: str, language: str) -> None:
    page.goto(studio)
    page.wait_for_selector(".rows a")


def lesson(page: Any, studio: str, language: str) -> None:
    """A row of the lecture at work, with a layer that was pressed."""
    page.goto(studio.replace(f"/{language}/", f"/lecture/{language}/V1"))
    page.wait_for_selector(".lit figure")
    page.click("[data-layer='4'][role=button]")
    page.wait_for_selector(".layer pre")


def my_data(page: Any, studio: str, language: str) -> None:
    """The example, with two findings answered and a first training."""
    page.goto(f"{studio}my_data")
    page.click("[data-act=example]")
    page.wait_for_selector("#doctor .findings", timeout=120_000)
    for name in ("Leave all of them out", "Keep one of each"):
        page.evaluate("document.querySelectorAll('#doctor details').forEach((one) => { one.open = true })")
        button = page.locator(f"#doctor button:text-is('{said(name, language)}')")
        if button.count():  # else it was pressed in light colours
            button.first.click()
            page.wait_for_timeout(1500)
    page.evaluate("document.querySelectorAll('#doctor details').forEach((one, at) => { one.open = at === 3 })")
    if not page.locator("#outcome .verdict").count():
        page.locator("#next button").click()
        page.wait_for_selector("#outcome .verdict", timeout=600_000)


def annotate(page: Any, studio: str, language: str) -> None:
    """Two boxes on a drawn scene of the example's folder."""
    page.goto(f"{studio}my_data")
    page.click("[data-act=example]")
    page.wait_for_url("**/my_data?data=*")
    page.goto(page.url.replace("/my_data?", "/annotate?"))
    page.wait_for_selector("[data-ready]")
    page.wait_for_selector(".list li:nth-child(2)")
    shown = page.locator(".stage img").bounding_box()
    corners = ((0.1, 0.1, 0.35, 0.35), (0.5, 0.55, 0.8, 0.8))
    for left, top, right, bottom in corners:
        page.mouse.move(shown["x"] + left * shown["width"], shown["y"] + top * shown["height"])
        page.mouse.down()
        page.mouse.move(shown["x"] + right * shown["width"], shown["y"] + bottom * shown["height"], steps=4)
        page.mouse.up()
        page.wait_for_selector("#annotate:is([data-state=classless], [data-state=saved])")
        page.wait_for_timeout(700)
        if page.locator("#annotate[data-state=classless]").count():  # a class is named once
            page.locator(".new input").fill({"en": "cell", "ja": "細胞"}[language])
            page.keyboard.press("Enter")
            page.wait_for_timeout(700)


def queue(page: Any, studio: str, language: str) -> None:
    """One training that runs, and two that wait."""
    for name, system in (("train", "cnn"), ("train", "vit"), ("train", "mlp")):
        page.goto(f"{studio}{name}?system={system}&data=digits")
        page.click(f"button:text-is('{said('Start training', language)}'):not([disabled])")
        page.wait_for_selector("section.job")
    page.goto(f"{studio}queue")
    page.wait_for_selector("#queue li:nth-child(2)")


def data(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}data?data=photos")
    page.click(f"button:text-is('{said('Check', language)}'):not([disabled])")
    page.wait_for_selector("section.job:not(.done)")
    page.wait_for_selector("section.job.done")
    page.wait_for_selector("#page iframe")


def train(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}train?system=dcgan&data=digits")
    go = f"button:text-is('{said('Start training', language)}'):not([disabled])"
    page.click(go)
    page.wait_for_selector("img.pixels")
    page.wait_for_timeout(13_000)


def compare(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}compare?systems=mlp,cnn")
    go = f"button:text-is('{said('Start comparing', language)}'):not([disabled])"
    page.click(go)
    page.wait_for_selector(".verdict", state="detached")
    page.wait_for_selector(".verdict", timeout=300_000)


def anything(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}anything")
    page.click("[data-sample='cat.png']")
    page.wait_for_selector(".given .answer .shares")


def use(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}use?system=efficientnet_lite")
    page.click(f"button:text-is('{said('Predict', language)}')")
    page.wait_for_timeout(6000)


def chat(page: Any, studio: str, language: str) -> None:
    """One question to the model that comes with souron."""
    page.goto(f"{studio}chat")
    browsing.settle(page)
    send = page.get_by_role("button", name=said("Send", language), exact=True)
    page.get_by_role("textbox", name=said("your question", language)).last.fill(
        {"en": "How do I save a document as PDF?", "ja": "文書を保存するには、どうすればよいですか。"}[language]
    )
    send.click()
    page.wait_for_timeout(8000)


def runs(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}runs?run=runs/classify/cnn-digits")
    page.wait_for_selector("#page iframe")


def machine(page: Any, studio: str, language: str) -> None:
    page.goto(f"{studio}machine")
    page.wait_for_selector("#page table")


def teach(page: Any, studio: str, language: str) -> None:
    """Two photographs that scikit-learn brings along, in pieces."""
    from sklearn.datasets import load_sample_images

    page.goto(f"{studio}teach")
    page.wait_for_selector("#teach fieldset >> nth=1")
    names = {"en": ("temple", "flower"), "ja": ("寺", "花")}[language]
    with tempfile.TemporaryDirectory() as folder:
        for label, whole in enumerate(map(Image.fromarray, load_sample_images().images)):
            files = []
            for number in range(21):
                left, top = 20 * number, 10 * (number % 13)
                files.append(Path(folder) / f"{label}-{number}.jpg")
                whole.crop((left, top, left + 220, top + 220)).save(files[-1])
            box = page.locator("#teach fieldset").nth(label)
            box.locator("input[type=text]").first.fill(names[label])
            box.locator("input[type=file]").set_input_files(files[:20])
        page.wait_for_selector("fieldset:nth-of-type(2) .thumbs li:nth-child(20)", state="attached")
        page.wait_for_selector("[data-do=train]:enabled")
        page.click("[data-do=train]")
        page.wait_for_selector(".trying:not([hidden])", timeout=600_000)
        page.set_input_files("[data-try]", files[20])
        page.wait_for_selector(".tried li")
    page.evaluate("window.scrollTo(0, 0)")


VISITS: dict[str, Callable[[Any, str, str], None]] = {
    "lecture": lecture,
    "lesson": lesson,
    "teach": teach,
    "my_data": my_data,
    "annotate": annotate,
    "data": data,
    "train": train,
    "compare": compare,
    "anything": anything,
    "use": use,
    "chat": chat,
    "runs": runs,
    "queue": queue,
    "machine": machine,
}
NARROW = ("lecture", "lesson", "my_data", "anything", "chat", "runs", "queue")
BEGIN_WITH_NOTHING = {"lecture", "lesson", "teach", "my_data", "annotate", "anything", "chat", "queue", "machine"}


if __name__ == "__main__":
    main()
