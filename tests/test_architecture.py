"""The page "Architecture": drawn from today's imports, and every path that it names exists."""

import re
import sys
from itertools import chain, pairwise
from pathlib import Path

import pytest
import roots
from test_rules import FLOORS, HOUSE

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PATH = re.compile(r"`((?:souron|packages|tests|docs|zoo|notebooks|benchmarks)/[^`\s]*)`")


@pytest.fixture
def architecture(monkeypatch):
    """The script that writes the drawing and the table."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import architecture

    yield architecture
    sys.modules.pop("architecture", None)


def test_drawing_and_table_are_those_of_today(architecture):
    for file, text in architecture.written().items():
        assert file.read_text(encoding="utf-8") == text, "python docs/architecture.py"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_drawing_has_the_layers_of_the_rules_in_their_order(architecture, language):
    boxes = re.findall(r'y="([\d.]+)"[^>]*>([a-z]+)(?:/|\.py)</text>', architecture.drawing(language))
    assert [name for _y, name in boxes] == list(FLOORS)
    heights = {name: float(y) for y, name in boxes}
    bands = architecture.bands()
    assert len(bands) == len(architecture.BANDS) and [*chain(*bands)] == list(FLOORS)
    for lower, upper in pairwise(bands):
        assert min(heights[name] for name in lower) > max(heights[name] for name in upper)


def test_arrows_point_down_and_stand_for_every_import(architecture):
    graph = architecture.imported()
    arrows = architecture.arrows(graph)
    assert all(FLOORS.index(upper) > FLOORS.index(lower) for upper, lower in arrows)
    kept = {name: {lower for upper, lower in arrows if upper == name} for name in FLOORS}
    for name in FLOORS:
        assert architecture.reached(kept, name) == architecture.reached(graph, name)
        for other in kept[name]:
            fewer = {**kept, name: kept[name] - {other}}
            assert other not in architecture.reached(fewer, name), "an arrow that others imply"


def test_no_arrow_crosses_a_box(architecture):
    """Where an arrow passes a row, it has a place of its own between the boxes."""
    text = architecture.drawing("en")
    boxes = [
        tuple(map(float, found))
        for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx', text)
    ]
    passes = re.findall(r" ([\d.]+) ([\d.]+) V([\d.]+)\"/>", text)
    assert len(boxes) == len(FLOORS) and passes
    for across, start, end in (tuple(map(float, found)) for found in passes):
        for left, top, width, height in boxes:
            assert not (left <= across <= left + width and start < top + height and top < end)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_rooms_are_the_distributions_with_the_folders_that_they_add_to(architecture, language):
    text = architecture.rooms(language)
    packages = {folder.name for folder in roots.distributions()} | {"zoo", "starters"}
    assert set(re.findall(r">souron-(\w+)<", text)) == packages
    assert re.findall(r"engines/(?!,)[^<]*", text) and "actions/, exports/" in text and text.count("dasharray") == 2
    layers = {name for name in FLOORS if architecture.place(name).parent == HOUSE}
    bands = re.findall(r'"monospace" font-size="12" fill="#1f2933">([a-z ]+)<', text)
    assert layers == {name for band in bands for name in band.split()}


def test_the_table_names_every_layer_once(architecture):
    rows = architecture.rows_of_the_house()
    names = [name for code, _about in rows for name in re.findall(r"`(\w+)(?:/|\.py)`", code)]
    assert sorted(names) == sorted(FLOORS)
    for code, about in rows:
        folder = architecture.place(re.search(r"\w+", code)[0])
        for path in re.findall(r"`([\w/]+(?:/|\.py))`", about):
            assert (folder / path).exists(), (code, path)


def test_every_path_that_the_page_names_exists():
    paths = PATH.findall(PAGE.read_text(encoding="utf-8"))
    assert len(set(paths)) > 60
    for path in paths:
        # of a file that is to be added, the folder
        place = ROOT / re.sub(r"/<task>(/.*)?$|/[^/]*<.*$", "", path)
        assert place.exists(), path
