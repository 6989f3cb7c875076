"""Measure the interactives: the figures behind their answers, the time of an answer, and how soon a slider is followed.

    .venv/bin/python benchmarks/interactives.py
    .venv/bin/python benchmarks/interactives.py --only answers
    .venv/bin/python benchmarks/interactives.py --only sliders

Each is asked as its page asks. Times of answers are processor time of one thread, the second time it
is asked: what a reader waits for is that on a free core, and somewhat longer the first time. Sliders
are moved in a real Chromium, each to values all over its range: from the event to the next frame
that is painted, and to the one after Python's answer where the page asks for one.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from printing import HERE, spread, table

sys.path.insert(0, str(HERE.parent / "tests"))

import browsing

from souron.studio import interactive
from souron.studio.interactives import (
    _toy_generators,
    _toy_shapes,
    alignment,
    backpropagation,
    draw_distribution,
    gan_slow_motion,
    inside_gpt,
    kmeans_by_hand,
    luck_of_a_split,
    noise_slider,
    occupations_day,
    playground,
    real_or_drawn,
    trust_map,
    which_luck,
)
from souron.utils.hardware import processor

QUIZZES, STARTS, DRAWS = 10, 3, 20
ASKED = {  # of interactives that refuse an empty request, or hardly work for it
    "noise_slider": {"back": True},
    "real_or_drawn": {"guess": []},
    "inside_gpt": {"text": inside_gpt.first_text()},
    "backpropagation": {"part": "depth", "depth": 30},
    "alignment": {"votes": [], "rest": True},
    "draw_distribution": {"cells": _toy_shapes.cells_of("moons"), "model": "ddpm", "part": 1},
    "prevalence": {"source": "shirt"},
    "boxes_by_hand": {"detector": "yolo"},
}
PRESSED = {"draw_distribution": "learn", "noise_slider": "back"}  # before which sliders have nothing to follow
LIMIT = 100  # milliseconds
SLIDERS = """[...document.querySelectorAll(".play input[type=range]")]
  .filter((range) => Number(range.max) > Number(range.min)).map((range) => range.name)"""
MOVE = """async ([name, times]) => {
  const root = document.querySelector(".interactive"), range = root.querySelector(`.play [name="${name}"]`);
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const busy = () => root.hasAttribute("aria-busy");
  const answered = () => new Promise((done) => {
    const watch = new MutationObserver(() => { if (!busy()) { watch.disconnect(); done(); } });
    watch.observe(root, { attributes: true, attributeFilter: ["aria-busy"] });
  });
  const [low, high, step] = ["min", "max", "step"].map((kind) => Number(range[kind]) || (kind === "step" ? 1 : 0));
  const took = { drawn: [], answered: [] }, count = Math.floor((high - low) / step + 1e-9);
  for (let i = 1; i <= times; i++) {
    range.value = low + step * (Math.round(count * 0.381966 * i) % (count + 1)); // far from the last one
    const begun = performance.now();
    for (const kind of ["input", "change"]) range.dispatchEvent(new Event(kind, { bubbles: true }));
    await painted();
    took.drawn.push(performance.now() - begun);
    if (!busy()) continue;
    while (busy()) { await answered(); await painted(); }
    took.answered.push(performance.now() - begun);
  }
  return took;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"questions": report_questions, "answers": report_answers, "sliders": report_sliders}
    parser.add_argument("--only", choices=list(parts))
    parser.add_argument("--times", type=int, default=20, help="that each slider is moved")
    parser.add_argument("--width", type=int, default=1280, help="of the page, in pixels")
    parser.add_argument("names", nargs="*", help="interactives whose sliders are moved")
    chosen = parser.parse_args()
    for name, report in parts.items():
        if chosen.only in (None, name):
            report(chosen)
    print(f"\n{processor()}, one thread")


def report_questions(_chosen: argparse.Namespace) -> None:
    print("| question | measured |\n| --- | --- |")
    for question, measured in (*figures(), *distributions()):
        print(f"| {question} | {measured} |")


def report_answers(_chosen: argparse.Namespace) -> None:
    print("\n| interactive | processor time of an answer |\n| --- | --- |")
    for name in interactive.names():
        print(f"| {name} | {seconds(name):.2f} s |")


def report_sliders(chosen: argparse.Namespace) -> None:
    rows = []
    for name, slider, took in moved(chosen.names or interactive.names(), chosen.times, chosen.width):
        slow = "" if median(took["answered"] or took["drawn"]) <= LIMIT else "over"
        rows.append([f"{name}: {slider}", spread(took["drawn"], 0), spread(took["answered"], 0), slow])
        print(*rows[-1], file=sys.stderr, flush=True)
    head = ["slider", "ms to the next frame", "ms to Python's answer, drawn", f"{LIMIT} ms"]
    print("\n" + table(head, rows))
    print(f"\nMedian (least to most) of {chosen.times} moves; page {chosen.width} pixels wide.")


def moved(names, times: int, width: int):
    """Yield interactive, slider and milliseconds of its moves: to the next frame, and to Python's answer."""
    with tempfile.TemporaryDirectory() as folder, browsing.serving(Path(folder)) as server:
        for name in names:
            with browsing.visiting(width=width) as visit:
                page = visit.page
                page.set_default_timeout(300_000)
                page.goto(f"{server.address}/en/interactives?name={name}")
                page.locator("[data-do=skip]").click()
                page.wait_for_selector("[data-ready]")
                pressed(page, name)
                for slider in page.evaluate(SLIDERS):
                    pressed(page, name)  # each time: some sliders forget what was learnt
                    yield name, slider, page.evaluate(MOVE, [slider, times])
                assert not visit.errors, visit.errors


def pressed(page, name: str) -> None:
    """Press what an interactive needs before its sliders move, and wait until nothing is asked any more."""
    if name in PRESSED:
        page.locator(f"[data-do={PRESSED[name]}]").click()
    quiet = 0
    while quiet < 3:
        page.wait_for_timeout(200)
        quiet = 0 if page.locator(".interactive[aria-busy]").count() else quiet + 1


def figures():
    for width in (1, 2, 4, 8):
        found = playground.learn("xor", width, 1, 0.1, 2)
        yield (
            f"xor, hidden units: {width}",
            f"{found['good']} of {found['starts']} starts tell "
            f"95 % of the points apart; the best start {100 * found['best']:.0f} %",
        )
    for kind in ("groups", "digits"):
        found = kmeans_by_hand.rivals(kind, 3)
        yield (
            f"kmeans, 3 centres, {kind}",
            f"{found['times']} of {kmeans_by_hand.RIVALS} starts reach the best inertia "
            f"{found['best']:.4f}; the worst {found['worst']:.4f}",
        )
    for noise in (0.15, 0.3, 0.6, 1):
        found = noise_slider.answer({"noise": noise, "back": True})
        yield (
            f"boot, step {found['step']} of {found['steps']}",
            f"root mean square from the original: {found['before']} with noise, {found['after']} after the way back",
        )
    found = gan_slow_motion.trained(1)
    yield (
        "GAN, steps shown",
        f"generator raised what the critic says of drawn digits in "
        f"{found['up']} of {found['ups']}, critic lowered it in {found['down']} of "
        f"{found['downs']}",
    )
    for seeds, cases, points in ((3, 1000, 0.0), (3, 2000, 0.0), (10, 1000, 0.0), (10, 1000, 0.05)):
        ways = which_luck.repeated(seeds, cases, points, 0.04)["ways"]
        told = ", ".join(
            f"{way} {100 * each['called']:.1f} % ({100 * each['low']:.1f} to "
            f"{100 * each['high']:.1f}), wrongly {100 * each['wrong']:.1f} %"
            for way, each in ways.items()
        )
        yield (f"luck: {seeds} seeds, {cases} cases, true difference {100 * points:.0f} points", told)
    yield from splits()
    for way in trust_map.WAYS:
        real, none = (trust_map.mapped(way, shuffled) for shuffled in (False, True))
        yield (
            f"map by {way}",
            f"trustworthiness {real['trust']}, shuffled {none['trust']}; "
            f"continuity {real['continuity']}, shuffled {none['continuity']}",
        )
    if real_or_drawn.ready():
        for seen in (False, True):
            sums = {"found": 0, "drawn": 0, "false": 0, "real": 0}
            for seed in range(1, QUIZZES + 1):
                images, who = real_or_drawn.quiz(seed)
                scores = real_or_drawn.judged(images, who, seen)
                told = real_or_drawn.told([score > 0.5 for score in scores], who)
                sums = {key: value + told[key] for key, value in sums.items()}
            met = "met VAE, GAN and DCGAN" if seen else "never met the generator"
            yield (
                f"real or drawn, {QUIZZES} quizzes, detector {met}",
                f"{sums['found']} of {sums['drawn']} drawn found, {sums['false']} of "
                f"{sums['real']} real ones taken for drawn",
            )
    yield from of_networks()
    found = occupations_day.answer({"guess": []})
    yield (f"{found['title']}, beta", ", ".join(f"{who} {each['beta']} %" for who, each in found["figures"].items()))


def distributions():
    """Each model of *Draw a distribution* after its whole training, from several random starts."""
    for shape in draw_distribution.SETTINGS["shape"]:
        cells = _toy_shapes.cells_of(shape)
        for name in _toy_generators.MODELS:
            ends = []
            for seed in range(1, STARTS + 1):
                for part in range(draw_distribution.PARTS):
                    found = draw_distribution.trained(cells, name, seed, 100, part)
                ends.append(found)
            told = (
                f"{each['energy']:.3f}, {100 * each['off']:.1f} % off, {100 * each['missed']:.1f} % missed"
                for each in ends
            )
            yield f"{shape}, {name}, energy distance of {STARTS} starts", "; ".join(told)
        for guidance in draw_distribution.SETTINGS["guidance"]:
            found = draw_distribution.way_back(cells, 1, 100, 0, guidance)
            yield (
                f"{shape}, diffusion, guidance {guidance}",
                f"{100 * found['right']:.1f} % of the right colour, {100 * found['off']:.1f} % off, "
                f"{100 * found['missed']:.1f} % of the colour missed",
            )


def of_networks():
    for way, norms in backpropagation.norms(30).items():
        yield (
            f"gradient, 30 blocks, {way}",
            f"first block {norms[0]:.1e}, last {norms[-1]:.1e}, ratio {norms[0] / norms[-1]:.1e}",
        )
    for untrained in (False, True):
        found = inside_gpt.answer(ASKED["inside_gpt"] | {"untrained": untrained})
        entropies = [head[2] for head in found["heads"]]
        yield (
            f"heads of gpt_small, {'untrained' if untrained else 'trained'}",
            f"mean entropy {min(entropies):.2f} to {max(entropies):.2f} bits, equal attention {found['equal'][0]:.2f}; "
            f"logits with the cache differ by {found['difference']:.0e}",
        )
    for voter in alignment.VOTERS:
        history = alignment.answer(ASKED["alignment"] | {"voter": voter})["history"]
        told = ", ".join(f"{name} {each[0]:.3f} to {each[-1]:.3f}" for name, each in history.items())
        yield f"alignment, 20 votes, {voter}", told


def splits():
    """The first draws of each number of patients, by patients and by images."""
    for patients in luck_of_a_split.PATIENTS:
        for way in ("patients", "images"):
            draws = [luck_of_a_split.drawn(patients, seed, way == "patients") for seed in range(DRAWS)]
            told = []
            for number, system in enumerate(luck_of_a_split.SYSTEMS):
                value, _low, _high, outside = zip(*(one.auc[number] for one in draws), strict=True)
                told.append(
                    f"AUC of {system} {min(value):.2f} to {max(value):.2f}, mean {sum(value) / DRAWS:.2f}, "
                    f"on other patients {sum(outside) / DRAWS:.2f}"
                )
            words = [one.verdict for one in draws]
            told.append(", ".join(f"{word} {words.count(word)}" for word in ("better", "worse", "cannot tell")))
            yield (f"{patients} patients divided by {way}, {DRAWS} draws", "; ".join(told))


def seconds(name: str) -> float:
    """Processor time of an answer, the second time, which nothing keeps."""
    module = interactive.find(name)
    asked = ASKED.get(name, {})
    if name in ("clip_contrast", "convolution_attention"):
        asked = list(module.record())[-1]
    for _time in range(2):
        draw_distribution.KEPT.clear()
        for kept in vars(module).values():
            if hasattr(kept, "cache_clear") and kept is not getattr(module, "detectors", None):
                kept.cache_clear()
        if name == "draw_distribution":
            interactive.answer(name, asked | {"part": 0})
        begun = time.process_time()
        interactive.answer(name, asked)
        taken = time.process_time() - begun
    return taken


if __name__ == "__main__":
    main()
