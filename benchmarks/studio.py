"""The studio's promises: how soon it is usable, how it scrolls, the first result, accessibility.

    .venv/bin/python benchmarks/studio.py

Each start is a process of its own with an empty cache, looked at by a real Chromium that runs
already. Scrolling is traced with sixty systems on the first page; axe-core looks at every page in
both languages, light and dark.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from printing import HERE, say, spread, table, watched, where

sys.path.insert(0, str(HERE.parent / "tests"))

import browsing

from souron import registry
from souron.studio.shared import PAGES
from souron.utils import hardware

CARDS = 60
STEPS, PIXELS = 40, 600  # of scrolling


def cold(folder: Path) -> tuple[float, float]:
    """Seconds to the address, and to a page that is drawn and answers a click."""
    with browsing.visiting() as visit:
        visit.page.goto("about:blank")
        begun = time.perf_counter()
        with browsing.serving(folder) as server:
            told = time.perf_counter() - begun
            visit.page.goto(server.address + "/en/")
            visit.page.wait_for_selector("li.card")
            before = visit.page.evaluate("document.body.classList.contains('dark')")
            visit.page.click("[data-dark]")
            visit.page.wait_for_function(
                f"document.body.classList.contains('dark') !== {str(before).lower()}"
            )
            return told, time.perf_counter() - begun


def first_result(folder: Path) -> tuple[int, float]:
    """Clicks and seconds from the first page to what a network says of a picture."""
    with browsing.serving(folder) as server, browsing.visiting() as visit:
        page = visit.page
        page.goto(server.address + "/en/")
        begun = time.perf_counter()
        page.click("a:text-is('Try')")
        page.click("button:text-is('Predict')")
        page.wait_for_selector(".answer .shares")
        return 2, time.perf_counter() - begun


def scrolling(folder: Path) -> tuple[int, float]:
    """Cards, and the longest layout in milliseconds while they scroll by."""
    made = folder / "more" / "systems" / "classify"
    made.mkdir(parents=True)
    source = registry.entries()["mlp"].file.read_text(encoding="utf-8")
    for number in range(CARDS - len(registry.entries())):
        (made / f"copy{number}.py").write_text(source, encoding="utf-8")
    start = f"import souron; souron.__path__.append({str(folder / 'more')!r}); "
    server = browsing.Server(
        folder, code=start + "from souron.cli.main import main; main()"
    ).start()
    try:
        with browsing.visiting() as visit:
            page = visit.page
            page.goto(server.address + "/en/")
            page.wait_for_selector("li.card")
            page.wait_for_timeout(3000)
            session = page.context.new_cdp_session(page)
            events: list[dict[str, Any]] = []
            done: list[bool] = []
            session.on("Tracing.dataCollected", lambda some: events.extend(some["value"]))
            session.on("Tracing.tracingComplete", lambda _some: done.append(True))
            session.send("Tracing.start", {"categories": "devtools.timeline"})
            page.mouse.move(600, 400)
            for _step in range(STEPS):
                page.mouse.wheel(0, PIXELS)
                page.wait_for_timeout(50)
            session.send("Tracing.end")
            while not done:
                page.wait_for_timeout(50)
            longest = max(
                (event.get("dur", 0) / 1000 for event in events if event["name"] in
                 ("Layout", "UpdateLayoutTree")), default=0.0,
            )  # fmt: skip
            return page.locator("li.card").count(), longest
    finally:
        server.end()


def accessibility(folder: Path) -> list[list[str]]:
    """Findings of axe-core by impact, page by page."""
    rows = []
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
                        rows.append([f"{name} ({language}, {shade})", *map(str, count)])
                        for one in found:
                            say(f"{name} {language} {one['impact']} {one['id']}: "
                                f"{json.dumps(one['nodes'][0]['html'])[:160]}")  # fmt: skip
    return rows


def rest() -> None:
    """What others take of the cores, while this does nothing: a browser's processes are nobody's
    children, and would count as others."""
    with watched():
        time.sleep(10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=5)
    chosen = parser.parse_args()
    starts = []
    rest()
    for _number in range(chosen.starts):
        with tempfile.TemporaryDirectory() as folder:
            starts.append(cold(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        clicks, seconds = first_result(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        cards, longest = scrolling(Path(folder))
    rest()
    with tempfile.TemporaryDirectory() as folder:
        rows = accessibility(Path(folder))
    told, usable = zip(*starts, strict=True)
    print(table(["what", "figure", "goal"], [
        ["seconds from the command to the address", spread(told), ""],
        ["seconds from the command to a usable page",
         spread(usable), "under 6"],
        ["clicks to the first result, from a cold start", str(clicks), "3"],
        ["seconds from the first click to it", f"{seconds:.1f}", ""],
        [f"longest layout while {cards} cards scroll, ms", f"{longest:.1f}", "under 100"],
    ]))  # fmt: skip
    print("\n" + table(["page, by axe-core", "critical", "serious", "moderate", "minor"], rows))
    print(
        f"\n{chosen.starts} starts with an empty cache, median (least to most). What others "
        "took was measured before and after."
    )
    print(where(hardware.cores(), "souron", "gradio"))


if __name__ == "__main__":
    main()
