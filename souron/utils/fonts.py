"""Fonts for figures: Latin from matplotlib, Japanese from a bundled or an installed font."""

import importlib.util
import unicodedata
from functools import lru_cache
from pathlib import Path

LATIN = "DejaVu Sans"  # included in matplotlib
INSTALLED = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "Hiragino Sans",
    "Hiragino Kaku Gothic ProN",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "TakaoGothic",
    "VL Gothic",
)
BOX = "□"  # placeholder of characters without a glyph


def shipped() -> Path | None:
    """Return the file of IPAexGothic (IPA Font License) in matplotlib-fontja, without
    importing it.
    """
    package = importlib.util.find_spec("matplotlib_fontja")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "fonts" / "ipaexg.ttf"
    return file if file.exists() else None


@lru_cache
def _files() -> tuple[tuple[str, Path], ...]:
    """Return the available fonts, (family, file), in order of preference."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    manager = font_manager.fontManager
    known = {entry.name: Path(entry.fname) for entry in manager.ttflist}
    chosen = [(LATIN, known[LATIN])]
    file = shipped()
    if file is not None:
        family = FT2Font(str(file)).family_name
        if family not in known:
            manager.addfont(file)
        return (*chosen, (family, known.get(family, file)))
    japanese = [(name, known[name]) for name in INSTALLED if name in known]
    return (*chosen, *[pair for pair in japanese if pair[1].exists()][:1])


def families() -> list[str]:
    """Return font families for matplotlib, which falls back glyph by glyph."""
    return [family for family, _file in _files()]


@lru_cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset[int]().union(*(FT2Font(str(file)).get_charmap() for _name, file in _files()))


def drawable(text: str) -> str:
    """Replace characters without a glyph by boxes, and escape matplotlib's ``$``."""
    text = " ".join(text.split())
    drawn = "".join(letter if ord(letter) in _characters() else BOX for letter in text)
    return drawn.replace("$", r"\$")


def width(text: str) -> int:
    """Return the display width in columns; a Japanese character takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def short(text: str, columns: int = 20) -> str:
    """Cut a text to fit into ``columns``, with ``…`` where something is left out."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text.rstrip() + "…"
