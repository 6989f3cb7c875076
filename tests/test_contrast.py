"""Colours of the studio and of reports: text is readable on each ground, more so where more contrast is asked for."""

import re
from pathlib import Path

import pytest

import souron

FOLDER = Path(souron.__file__).parent
FILES = {"studio": FOLDER / "studio/static/studio.css", "report": FOLDER / "report/templates/style.css"}
COLOURS = re.compile(r"--(ink|faint|paper|panel|accent|good|bad): (#[0-9a-f]{6});")


def palettes(name):
    """Each rule that sets all colours, with the media query around it."""
    found = []
    for rule in re.finditer(r"([^{}]*)\{([^{}]*--ink:[^{}]*--faint:[^{}]*)\}", FILES[name].read_text()):
        before = FILES[name].read_text()[: rule.start(2)]
        query = re.findall(r"@media ([^{]*)\{", before)[-1:] if before.count("{") - before.count("}") > 1 else []
        found.append(("".join(query), dict(COLOURS.findall(rule[2]))))
    return [(query, colours) for query, colours in found if len(colours) == 7]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ratio(one, other):
    """Contrast as WCAG 2.2 defines it, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", FILES)
def test_text_is_readable_on_each_ground(name):
    found = palettes(name)
    assert len(found) == 4 and sum("contrast" in query for query, _colours in found) == 2
    for query, colours in found:
        least = 7.0 if "contrast" in query else 4.5
        for text in ("ink", "faint", "accent", "good", "bad"):
            for ground in ("paper", "panel"):
                assert ratio(colours[text], colours[ground]) >= least, (query, text, ground)
