"""Blocks: one section drawn by a page and a terminal; texts of users are escaped in each."""

import io

import pytest
from rich.console import Console

from souron.report import page
from souron.report.blocks import Cell, Gallery, Group, Live, Note, Plot, Section, Table, Tile, again, sections, texts
from souron.stats.records import Measure

HOSTILE = "<script>alert('x')</script>"
DOT = "data:image/png;base64,AA=="


def every() -> Section:
    """A section with a block of each kind, each with a hostile text."""
    value, interval = page.figure("accuracy", Measure(0.93, 0.9, 0.96, 200))
    table = Table([HOSTILE, "accuracy", "interval"], [[Cell.of(HOSTILE, Cell("few", style="worse")), value, interval]])
    named = Table([], [(HOSTILE, Cell(HOSTILE, style="text"))])
    return Section(
        "every",
        HOSTILE,
        [
            f"A sentence {HOSTILE}",
            Cell(HOSTILE, style="faint"),
            Note(HOSTILE),
            table,
            named,
            Plot(DOT, HOSTILE, 40, HOSTILE),
            Gallery([Tile(DOT, HOSTILE, 8, (HOSTILE, Cell("✓ cat", style="better")), HOSTILE)], large=True),
            Group(HOSTILE, [Cell(HOSTILE, style="pre")], "folded"),
            *again(f"souron show {HOSTILE}"),
            *texts("To read", [(HOSTILE, [("by", HOSTILE)])]),
            Live(page.Markup("<b>{}</b>").format(HOSTILE), HOSTILE),
        ],
    )


def test_a_page_escapes_the_texts_of_every_block():
    html = page.html(every().drawn())
    assert "<script" not in html and html.count("&lt;script&gt;") >= 12
    assert '<span class="worse">few</span>' in html and 'class="whisker"' in html
    assert "<details><summary>" in html and '<ul class="tiles large">' in html


def test_a_terminal_shows_the_same_blocks_without_html():
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(every())
    shown = console.export_text()
    assert "A sentence <script>" in shown and "93.0 %" in shown and "✓ cat" in shown
    assert "whisker" not in shown and "<p" not in shown


def test_the_tables_of_a_section_are_found_in_groups_and_titled_by_it():
    inner, own = Table(["a"], [["1"]]), Table(["b"], [["2"]], "of its own")
    section = Section("s", "Result", ["text", own, Group("more", [inner])])
    assert [table.title for table in section.tables()] == ["of its own", "Result"]
    assert "<caption>" not in page.html(Section("s", "of its own", [own]).drawn())
    assert "<caption>of its own" in page.html(section.drawn())


def test_a_section_without_blocks_is_left_out():
    assert [one.name for one in sections(("a", "A", []), ("b", "B", ["text"]))] == ["b"]


@pytest.mark.parametrize("name", ["accuracy", "AUC"])
def test_a_figure_that_nobody_measured_is_unknown(name):
    for measure in (None, Measure(float("nan"), 0.0, 1.0, 0)):
        value, interval = page.figure(name, measure)
        assert (value.value, interval) == (None, "") and interval.place is None
