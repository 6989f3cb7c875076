"""The studio's promises: how soon it is usable, when a row answers, its memory, accessibility.

    .venv/bin/python benchmarks/studio.py
    .venv/bin/python benchmarks/studio.py --only jobs
    .venv/bin/python benchmarks/studio.py --only lecture
    .venv/bin/python benchmarks/studio.py --only taught
    .venv/bin/python benchmarks/studio.py --only pages

Each start is a process of its own with an empty cache, looked at by a real Chromium that runs
already. Jobs (drawing, an estimate) are asked for on the page, with the worker and without it by
turns, from the click to what stands there. Of the lecture every row is opened, from the address to
the layers that can be pressed, and to its first answer. axe-core looks at every page in both
languages, light and dark. Two classes of twenty pictures each, pieces of scikit-learn's two
photographs, are taught on the page "Teach it yourself", to the first answer about a new piece.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from printing import HERE, say, spread, table, watched, where

sys.path.insert(0, str(HERE.parent / "tests"))

import browsing

from souron import registry
from souron.lecture import rows
from souron.report import layers
from souron.studio.lecture import at_work
from souron.studio.shared import PAGES
from souron.utils import hardware

SETTLED = 25.0  # seconds after which everything is imported
TAUGHT = 20  # pictures of each of two classes
LOOKED = 30.0  # seconds that an idle page is looked at
ALONE = """
from souron.studio.jobs.worker import Worker
Worker.start = lambda self: None
from souron.cli.main import main
main()
"""  # a studio whose jobs begin with the import


def cold(folder: Path) -> tuple[float, float, float, float]:
    """Seconds to the address, to a page that is drawn and answers a click, and to the same page again;
    and processor seconds of the server until the page was drawn."""
    with browsing.visiting() as visit:
        visit.page.goto("about:blank")
        begun = time.perf_counter()
        with browsing.serving(folder) as server:
            told = time.perf_counter() - begun
            visit.page.goto(server.address + "/en/")
            visit.page.wait_for_selector(".rows a")
            used = sum(psutil.Process(server.process.pid).cpu_times()[:2])
            before = visit.page.evaluate("document.body.classList.contains('dark')")
            visit.page.click("[data-dark]")
            visit.page.wait_for_selector("body:not(.dark)" if before else "body.dark")
            usable = time.perf_counter() - begun
            visit.page.wait_for_timeout(8000)  # what is built behind it
            begun = time.perf_counter()
            visit.page.goto(server.address + "/en/")
            visit.page.wait_for_selector(".rows a")
            return told, usable, time.perf_counter() - begun, used


def first_result(folder: Path) -> tuple[int, float]:
    """Clicks and seconds from the first page to what a network says of a picture."""
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        page = visit.page
        page.goto(server.address + "/en/")
        begun = time.perf_counter()
        page.click(".rows a:has-text('V8')")
        page.wait_for_selector(".answer .shares")
        return 1, time.perf_counter() - begun


@contextmanager
def worked(server: Any) -> Iterator[dict[int, float]]:
    """Processor seconds of the studio and of what it starts, by process, as they are at the end."""
    used: dict[int, float] = {}
    over = threading.Event()
    studio = psutil.Process(server.process.pid)
    before = {}

    def look() -> None:
        while not over.wait(0.2):
            with suppress(psutil.Error):
                for each in (studio, *studio.children(recursive=True)):
                    with suppress(psutil.Error):
                        used[each.pid] = sum(each.cpu_times()[:2])

    for each in (studio, *studio.children(recursive=True)):
        before[each.pid] = sum(each.cpu_times()[:2])
    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield used
    finally:
        over.set()
        thread.join()
    for pid, seconds in before.items():
        used[pid] = used.get(pid, seconds) - seconds


def taught(folder: Path) -> dict[str, float]:
    """Seconds from opening the beginner's page: to the form, to forty pictures, to the answer about
    a new one; and processor seconds of the studio meanwhile."""
    from sklearn.datasets import load_sample_images

    luck, whole = random.Random(0), [Image.fromarray(one) for one in load_sample_images().images]
    for label, image in enumerate(whole):
        (folder / f"class {label}").mkdir()
        for number in range(TAUGHT + 1):
            side = luck.randrange(150, 300)
            left, top = luck.randrange(image.width - side), luck.randrange(image.height - side)
            piece = image.crop((left, top, left + side, top + side))
            piece.save(folder / f"class {label}" / f"{number:02}.jpg")
    found = {}
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        page = visit.page
        page.set_default_timeout(120_000)
        page.goto(server.address + "/en/")  # the studio is there, as when somebody begins
        page.wait_for_selector(".rows a")
        page.wait_for_timeout(1000 * SETTLED)
        with worked(server) as used:
            begun = time.perf_counter()
            page.goto(server.address + "/en/teach")
            page.wait_for_selector("#teach fieldset >> nth=1")
            found["form"] = time.perf_counter() - begun
            for label in range(2):
                box = page.locator("#teach fieldset").nth(label)
                box.locator("input[type=text]").first.fill(f"photograph {label}")
                files = sorted((folder / f"class {label}").iterdir())
                box.locator("input[type=file]").set_input_files(files[:TAUGHT])
            page.wait_for_selector(f"fieldset:nth-of-type(2) .thumbs li:nth-child({TAUGHT})", state="attached")
            page.wait_for_selector("[data-do=train]:enabled")
            found["pictures"] = time.perf_counter() - begun
            page.click("[data-do=train]")
            page.wait_for_selector(".trying:not([hidden])")
            found["learnt"] = time.perf_counter() - begun
            page.set_input_files("[data-try]", files[TAUGHT])
            page.wait_for_selector(".tried li")
            found["answer"] = time.perf_counter() - begun
        found["processor"] = sum(used.values())
        assert "photograph 1" in page.inner_text(".bars .most")
    return found


def report_taught() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = taught(Path(folder))
    names = {
        "form": "the form",
        "pictures": f"{2 * TAUGHT} pictures",
        "learnt": "it has learnt",
        "answer": "the answer about a new picture",
        "processor": "(processor seconds of the studio until then)",
    }
    rows = [[names[key], f"{value:.1f}", "under 60" if key == "answer" else ""] for key, value in found.items()]
    print(table(["Teach it yourself, seconds from opening it to", "figure", "goal"], rows))


def tried(folder: Path, after: float) -> float:
    """Seconds from the address of Use, so many after the first page, to a form that can be used."""
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        visit.page.goto(server.address + "/en/")
        visit.page.wait_for_selector(".rows a")
        visit.page.wait_for_timeout(1000 * after)
        begun = time.perf_counter()
        visit.page.goto(server.address + "/en/use?system=efficientnet_lite")
        visit.page.wait_for_selector("button:text-is('Predict'):enabled")
        return time.perf_counter() - begun


def trained(folder: Path) -> None:
    """A generator to draw with."""
    words = ["train", "vae_tiny", "data=digits", "budget=2ep", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "souron", *words],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def jobs(folder: Path, code: str, times: int) -> dict[str, list[float]]:
    """Seconds on the page, beyond those of sampling, until sixteen pictures are there, and from a
    changed field to what a training will take."""
    server = browsing.Server(folder, code=code).start()
    found: dict[str, list[float]] = {"drawn": [], "estimated": [], "worker": []}
    try:
        with browsing.visiting() as visit:
            page = visit.page
            page.goto(server.address + "/en/use?run=generate/vae_tiny-digits")
            page.wait_for_selector("button:text-is('Generate')")
            page.wait_for_timeout(1000 * SETTLED)
            for _time in range(times):
                begun = time.perf_counter()
                page.click("button:text-is('Generate')")
                page.wait_for_function(ANEW, arg=".drawn:last-child img")
                took = time.perf_counter() - begun
                result = max(folder.glob("runs/.studio/jobs/*/result.json"))
                sampling = json.loads(result.read_text(encoding="utf-8"))["seconds"]
                found["drawn"].append(took - sampling)
            page.goto(server.address + "/en/train?system=vae_tiny&data=digits&budget=2ep")
            page.wait_for_selector(".estimate strong")
            for number in range(times):
                page.get_by_label("budget", exact=True).fill(f"{number + 3}ep")
                begun = time.perf_counter()
                page.keyboard.press("Tab")
                page.wait_for_function(ANEW, arg=".estimate strong")
                found["estimated"].append(time.perf_counter() - begun)
        for child in psutil.Process(server.process.pid).children():
            found["worker"].append(child.memory_full_info().uss / 1e6)
    finally:
        server.end()
    return found


ANEW = """(selector) => {
  const there = document.querySelector(selector) !== null;
  window.gone = window.gone || !there;
  const anew = window.gone && there;
  if (anew) window.gone = false;
  return anew;
}"""  # what stood there was taken away, and stands there again


def idle(folder: Path, name: str) -> float:
    """Share of a core that the server and its worker take while nothing is done on that page."""
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        visit.page.goto(f"{server.address}/en/{name}")
        visit.page.wait_for_timeout(1000 * SETTLED)
        process = psutil.Process(server.process.pid)

        def used() -> float:
            times = [each.cpu_times() for each in (process, *process.children())]
            return sum(each.user + each.system for each in times)

        before = used()
        visit.page.wait_for_timeout(1000 * LOOKED)
        return (used() - before) / LOOKED


def shown(folder: Path) -> tuple[list[float], list[float], int, float]:
    """Seconds from the address of a row to its layers and, of rows with a ready system, to its first
    answer; layers that had to be drawn anew, since what was stored no longer fits; and the server's
    memory in MB after all rows."""
    drawn, answered, stale = [], [], 0
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        visit.page.goto(server.address + "/en/")
        visit.page.wait_for_selector(".rows a")
        for row in rows.rows().values():
            begun = time.perf_counter()
            visit.page.goto(f"{server.address}/lecture/en/{row.id}", wait_until="commit")
            if row.systems:
                stale += layers.kept(registry.find(row.systems[0])[0]) is None
                visit.page.wait_for_selector("svg.layers [role=button]")
                drawn.append(time.perf_counter() - begun)
            visit.page.wait_for_selector(".work:not(.busy) .answered :is(.answer, .drawn, .printed)", timeout=120_000)
            if at_work.stage(row).here:
                answered.append(time.perf_counter() - begun)
        memory = psutil.Process(server.process.pid).memory_info().rss / 1e6
    return drawn, answered, stale, memory


def report_lecture() -> None:
    with tempfile.TemporaryDirectory() as folder:
        drawn, answered, stale, memory = shown(Path(folder))
    print(
        "\n"
        + table(
            ["the lecture", "figure", "goal"],
            [
                [f"seconds to the layers of a row, {len(drawn)} rows", spread(drawn, 2), "under 1"],
                [f"seconds to the first answer of a row, {len(answered)} rows", spread(answered, 2), "under 3"],
                ["layers that had to be drawn anew", str(stale), "0"],
                ["memory of the server after all rows, MB", f"{memory:.0f}", "under 400"],
            ],
        )
    )


def accessibility(folder: Path) -> list[list[str]]:
    """Findings of axe-core by impact, page by page."""
    counted = []
    with browsing.serving(folder) as server:
        for language in ("en", "ja"):
            for dark in (False, True):
                with browsing.visiting(language, dark) as visit:
                    for name in PAGES:
                        found = browsing.axe(visit, server, language, name)
                        count = [
                            sum(one["impact"] == impact for one in found)
                            for impact in ("critical", "serious", "moderate", "minor")
                        ]
                        shade = "dark" if dark else "light"
                        counted.append([f"{name} ({language}, {shade})", *map(str, count)])
                        for one in found:
                            say(
                                f"{name} {language} {one['impact']} {one['id']}: "
                                f"{json.dumps(one['nodes'][0]['html'])[:160]}"
                            )
    return counted


def rest() -> None:
    """What others take of the cores, while this does nothing: a browser's processes are nobody's
    children, and would count as others."""
    with watched():
        time.sleep(10)


def report_jobs(times: int, turns: int) -> None:
    """Jobs asked for on the page, with the worker and without; and what waiting costs."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trained(Path(folder))
        for _turn in range(turns):
            for way, code in (("with", ""), ("without", ALONE)):
                for what, some in jobs(Path(folder), code, times).items():
                    found.setdefault(what, {}).setdefault(way, []).extend(some)
        still = {name: idle(Path(folder), name) for name in ("", "runs")}
    with tempfile.TemporaryDirectory() as folder:
        seconds = [tried(Path(folder), after) for after in (3, 10)]
    rows = [
        [what, spread(found[key]["with"], 2), spread(found[key]["without"], 2), goal]
        for what, key, goal in (
            ("seconds to 16 pictures, beyond sampling", "drawn", "under 1"),
            ("seconds from a changed field to its estimate", "estimated", ""),
            ("memory of the idle worker alone, MB", "worker", ""),
        )
    ]
    print(table(["on the page", "with the worker", "without", "goal"], rows))
    print(
        "\n"
        + table(
            ["", "figure", "goal"],
            [
                ["share of a core, an idle Lecture page", f"{still['']:.2%}", "under 1 %"],
                ["share of a core, an idle Runs page", f"{still['runs']:.2%}", "under 1 %"],
                ["seconds to a form after Try, 3 s after the first page", f"{seconds[0]:.1f}", ""],
                ["seconds to a form after Try, 10 s after the first page", f"{seconds[1]:.1f}", "under 2"],
            ],
        )
    )


def report_pages(starts: int) -> None:
    """From the command to a usable page, from a click to the first result, and axe-core's findings."""
    found = []
    for _number in range(starts):
        with tempfile.TemporaryDirectory() as folder:
            found.append(cold(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        clicks, seconds = first_result(Path(folder))
    rest()
    with tempfile.TemporaryDirectory() as folder:
        rows = accessibility(Path(folder))
    address, usable, again, used = zip(*found, strict=True)
    print(
        table(
            ["what", "figure", "goal"],
            [
                ["seconds from the command to the address", spread(address), ""],
                ["seconds from the command to a usable page", spread(usable), "under 2"],
                ["processor seconds of the server until then", spread(used), "under 2"],
                ["seconds to the same page again", spread(again, 2), "under 0.3"],
                ["clicks to the first result, from a cold start", str(clicks), "1"],
                ["seconds from the first click to it", f"{seconds:.1f}", ""],
            ],
        )
    )
    print("\n" + table(["page, by axe-core", "critical", "serious", "moderate", "minor"], rows))
    print(f"\n{starts} starts with an empty cache, median (least to most).")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--times", type=int, default=5, help="of each job, in each turn")
    parser.add_argument("--turns", type=int, default=2, help="with the worker and without")
    parts = {
        "jobs": lambda: report_jobs(chosen.times, chosen.turns),
        "lecture": report_lecture,
        "taught": report_taught,
        "pages": lambda: report_pages(chosen.starts),
    }
    parser.add_argument("--only", choices=list(parts))
    chosen = parser.parse_args()
    for name, report in parts.items():
        if chosen.only in (None, name):
            rest()
            report()
    rest()
    print("What others took was measured before and after.")
    print(where(hardware.cores(), "souron", "gradio"))


if __name__ == "__main__":
    main()
