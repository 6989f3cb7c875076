"""Fonts for pictures: Latin from matplotlib's own, Japanese from a shipped or an installed font."""

import importlib.util
import unicodedata
from functools import lru_cache
from pathlib import Path

LATIN = "DejaVu Sans"  # comes with matplotlib
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
BOX = "□"  # stands for a character that no font here can draw


def shipped() -> Path | None:
    """IPAexGothic (IPA Font License) in the package matplotlib-fontja, which is not imported."""
    package = importlib.util.find_spec("matplotlib_fontja")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "fonts" / "ipaexg.ttf"
    return file if file.exists() else None


@lru_cache
def _files() -> tuple[tuple[str, Path], ...]:
    """The fonts to draw with, (family, file), in the order of preference."""
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
    """Font families for matplotlib, which falls back from one to the next glyph by glyph."""
    return [family for family, _file in _files()]


@lru_cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset[int]().union(*(FT2Font(str(file)).get_charmap() for _name, file in _files()))


def drawable(text: str) -> str:
    """The text with boxes for what no font can draw, and without matplotlib's ``$`` markup."""
    text = " ".join(text.split())
    drawn = "".join(letter if ord(letter) in _characters() else BOX for letter in text)
    return drawn.replace("$", r"\$")


def width(text: str) -> int:
    """Columns, where a Japanese character takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def short(text: str, columns: int = 20) -> str:
    """The text, cut to fit, with ``…`` where something is left out."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text.rstrip() + "…"
