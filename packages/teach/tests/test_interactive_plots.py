"""Plots of the interactives: ticks, labels and lines are those of the numbers that Python sent."""

import hashlib
import re

import browsing
import numpy as np
import pytest

from souron.hub import zoo
from souron.studio import interactive, interactive_export
from souron.studio.interactives import backpropagation, gan_slow_motion, playground, prevalence

CHROMIUM = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
SHOWN = {  # interactive with plots -> what is pressed before they are drawn
    "playground": None,
    "backpropagation": "once",
    "inside_gpt": None,
    "kmeans_by_hand": "step",
    "gan_slow_motion": None,
    "which_luck": None,
    "luck_of_a_split": None,
    "prevalence": None,
    "boxes_by_hand": None,
    "alignment": "rest",
}
READ = """(name) => {
  const svg = document.querySelector(`[data-plot="${name}"]`);
  const all = (selector, read) => [...svg.querySelectorAll(selector)].map(read), text = (one) => one.textContent;
  const moved = (tick, way) => tick.transform.baseVal[0].matrix[way];
  const axis = (side, way) => all(`.axis.${side} .tick`, (tick) => [text(tick), moved(tick, way)]);
  return {
    x: axis("x", "e"), y: axis("y", "f"), titles: all(".title", text), about: svg.querySelector("desc").textContent,
    lines: all(".line", (line) => line.getAttribute("d")), dots: all(".dot title", text),
  };
}"""
UNREADABLE = """() => {
  const found = [];
  const before = (a, b) => a.right <= b.left || a.bottom <= b.top + 2, apart = (a, b) => before(a, b) || before(b, a);
  for (const svg of document.querySelectorAll("[data-plot]")) {
    const box = svg.getBoundingClientRect(), name = svg.dataset.plot, scale = svg.getScreenCTM().a;
    const texts = (selector) => [...svg.querySelectorAll(selector)].filter((text) => text.textContent);
    const ticks = texts(".axis.x .tick text");
    if (ticks.length < 2) found.push(`${name}: ${ticks.length} ticks`);
    if (Math.abs(scale - 1) > 0.02) found.push(`${name}: drawn at a scale of ${scale}`);
    if (box.right > document.documentElement.clientWidth) found.push(`${name}: wider than the screen`);
    const boxes = texts("text").map((text) => [text.textContent, text.getBoundingClientRect()]);
    boxes.forEach(([text, one], i) => {
      const within = box.left <= one.left && one.right <= box.right && box.top <= one.top && one.bottom <= box.bottom;
      if (!within) found.push(`${name}: ${text} is cut`);
      for (const [other, its] of boxes.slice(i + 1)) if (!apart(one, its)) found.push(`${name}: ${text} over ${other}`);
    });
  }
  return found;
}"""


def opened(page, address, name, language="en"):
    page.goto(f"{address}/{language}/interactives?name={name}")
    page.locator("[data-do=skip]").click()
    page.wait_for_selector("[data-ready]")
    if SHOWN[name]:
        page.locator(f"[data-do={SHOWN[name]}]").click()
    page.wait_for_selector(".interactive:not([aria-busy])")


def number(text):
    if found := re.fullmatch("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text):
        return 10.0 ** int(found[1].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    value = float(text.replace("−", "-").replace("%", "").replace(",", ""))
    return value / 100 if "%" in text else value


def values(found, line, log=False):
    """Values (N, 2) of a line's points, by the ticks of both axes."""
    points = np.array([[float(part) for part in point.split(",")] for point in re.findall(r"[\d.e-]+,[\d.e-]+", line)])
    read = []
    for side, axis in enumerate("xy"):
        ticks = [(number(text), place) for text, place in found[axis] if text]
        (first, begin), (last, end) = ticks[0], ticks[-1]
        if log and axis == "y":
            first, last = np.log10([first, last])
        value = first + (points[:, side] - begin) * (last - first) / (end - begin)
        read.append(10**value if log and axis == "y" else value)
    return np.stack(read, 1)


@CHROMIUM
@pytest.mark.skipif(zoo.where("mlp") is None, reason="souron-zoo is not installed")
def test_a_curve_read_by_its_ticks_is_that_of_python(looked_at):
    sent = prevalence.answer({"source": "shirt"})
    expected = np.array(sent["roc"]) / [sent["healthy"], sent["ill"]]
    with browsing.visiting() as visit:
        opened(visit.page, looked_at.address, "prevalence")
        found = visit.page.evaluate(READ, "roc")
        assert [number(text) for text, _place in found["x"]] == pytest.approx(np.linspace(0, 1, len(found["x"])))
        assert found["titles"] == [prevalence.WORDS["false"], prevalence.WORDS["sensitivity"]]
        assert found["about"] == f"{prevalence.WORDS['false']} 0 – 1; {prevalence.WORDS['sensitivity']} 0 – 1"
        assert values(found, found["lines"][1]) == pytest.approx(expected, abs=1e-4)
        true, false = sent["rates"][49][:2]
        dot = [float(part) for part in found["dots"][0].split("; ")]
        assert dot == pytest.approx([false / sent["healthy"], true / sent["ill"]], rel=0.01)
        assert visit.errors == []


@CHROMIUM
def test_a_logarithmic_axis_has_powers_of_ten(looked_at):
    expected = backpropagation.norms(30)
    with browsing.visiting() as visit:
        opened(visit.page, looked_at.address, "backpropagation")
        found = visit.page.evaluate(READ, "norms")
        assert len(found["y"]) >= 4 and all(text.startswith("10") for text, _place in found["y"])
        for line, norms in zip(found["lines"], expected.values(), strict=True):
            read = values(found, line, log=True)
            assert read[:, 0] == pytest.approx(np.arange(len(norms)) + 1, abs=1e-3)
            assert read[:, 1] == pytest.approx(norms, rel=1e-3)
        assert visit.errors == []


@CHROMIUM
def test_series_are_drawn_step_by_step(looked_at):
    with browsing.visiting() as visit:
        opened(visit.page, looked_at.address, "playground")
        found = visit.page.evaluate(READ, "loss")
        losses = playground.learn("xor", 1, 1, 0.1, 2)["losses"]
        expected = np.stack([np.arange(len(losses)), losses], 1)
        assert values(found, found["lines"][0]) == pytest.approx(expected, abs=2e-3)
        opened(visit.page, looked_at.address, "gan_slow_motion")
        found = visit.page.evaluate(READ, "trust")
        assert [text for text, _place in found["y"]][-1] == "100 %"
        for part, line in enumerate(found["lines"][:2]):
            trust = [frame["trust"][part] for frame in gan_slow_motion.trained(1)["frames"]]
            assert values(found, line)[:, 1] == pytest.approx(trust, abs=1e-3)
        assert visit.errors == []


@CHROMIUM
@pytest.mark.parametrize("name", SHOWN)
def test_labels_are_legible_on_a_phone(looked_at, name):
    if not any(True for _asked in interactive.find(name).record()):
        pytest.skip("souron-zoo is not installed")
    with browsing.visiting("ja", width=390) as visit:
        opened(visit.page, looked_at.address, name, "ja")
        assert visit.page.locator("[data-plot]").count() and visit.page.evaluate(UNREADABLE) == []
        assert visit.outside == [] and visit.errors == []


def test_all_with_a_plot_are_looked_at():
    assert {name for name in interactive.names() if "data-plot" in interactive.find(name).stage()} <= set(SHOWN)


def test_d3_is_small_and_may_run_in_every_page():
    script, terms = interactive_export.text_of("d3.js"), interactive_export.text_of("d3.LICENSE")
    assert hashlib.sha256(script.encode()).hexdigest() in terms and "ISC License" in terms
    assert len(script.encode()) < 60_000
    assert not re.search(r"\beval\b|\bFunction\(|\bimport\b|\bfetch\b", script)
    assert interactive_export.bundled("prevalence").count("const module_d3 = ") == 1
