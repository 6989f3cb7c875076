"""Write the drawings and the table of ``architecture.md``: ``python docs/architecture.py``.

The drawings are made from the files and the imports that ``tests/test_rules.py`` reads, the table from the section
"The house" of ``CONTRIBUTING.md``. After a folder has come, gone or imported another one,
``tests/test_architecture.py`` fails until both are written again.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
import roots  # noqa: E402
from test_rules import FILES, FLOORS, HOUSE, floor, imports, name_of  # noqa: E402

PAGE = ROOT / "docs" / "architecture.md"
STATIC = ROOT / "docs" / "_static"
TABLE = re.compile(r"(?<=<!-- table -->\n)(.*?)(?=<!-- end of table -->)", re.DOTALL)
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \|$", re.MULTILINE)

BANDS = {  # the lowest layer of each band -> its title
    "stats": {"en": "Foundations", "ja": "基礎"},
    "blocks": {"en": "Training and\nevaluation", "ja": "学習と評価"},
    "system": {"en": "Contracts\nand reports", "ja": "契約と\nレポート"},
    "tasks": {"en": "Tasks and\nsystems", "ja": "タスクと\nシステム"},
    "runs": {"en": "Workflows", "ja": "ワークフロー"},
    "serve": {"en": "Interfaces", "ja": "利用の窓口"},
}
PACKAGES = {  # distributions beside the core, in the order of the drawing
    "clinic": {"en": "studies: plan, calibration, reporting", "ja": "研究: 計画、校正、報告"},
    "teach": {"en": "interactives, courses, exercises", "ja": "体験教材、授業、演習問題"},
    "fast": {"en": "exports that run without souron", "ja": "souron なしで動くエクスポート"},
    "far": {"en": "engines of other machines", "ja": "他のマシンのエンジン"},
    "zoo": {"en": "weights of small trained systems", "ja": "小さな学習済みシステムの重み"},
    "starters": {"en": "published networks for photographs", "ja": "写真のための公開ネットワーク"},
}
ADDS = {"en": "adds to {folders}", "ja": "{folders} に加わる"}
FILES_ALONE = {"en": "weights alone", "ja": "重みだけ"}
ROOMS, ROOM = 760, 74  # pixels: the width of the drawing of distributions, and the height of one
DASHED = ' stroke-dasharray="5 4"'
COLOURS = ("#e3eef7", "#f4f0e4")  # of the bands, in turn
WIDTH, MARGIN, TITLES = 500, 8, 96  # pixels; TITLES is the column of the bands' titles
BOX, HEIGHT, GAP, PITCH, PASS = 112, 28, 12, 54, 16  # of boxes; PASS is the width of a passing line
SWEEPS = 8

Edge = tuple[str, str]
Row = list[str]  # of layers, and of "a>b" where an arrow passes between the boxes


def imported() -> dict[str, set[str]]:
    """The layers that each layer imports."""
    graph: dict[str, set[str]] = {name: set() for name in FLOORS}
    for file in FILES:
        if file.parent == HOUSE and file.stem.startswith("__"):
            continue
        inside = {floor(name) for name in imports(file) if name.startswith("souron.")}
        graph[floor(name_of(file))] |= inside
    return {name: others - {name} for name, others in graph.items()}


def reached(graph: dict[str, set[str]], name: str) -> set[str]:
    """The layers that a layer imports, directly or through others."""
    return graph[name].union(*(reached(graph, other) for other in graph[name]))


def arrows(graph: dict[str, set[str]]) -> list[Edge]:
    """The imports that do not follow from others (the transitive reduction)."""
    return [
        (upper, lower)
        for upper in FLOORS
        for lower in FLOORS
        if lower in graph[upper] and not any(lower in reached(graph, other) for other in graph[upper] - {lower})
    ]


def bands() -> list[list[str]]:
    """``FLOORS`` cut at the lowest layer of each band."""
    cut: list[list[str]] = []
    for name in FLOORS:
        if name in BANDS:
            cut.append([])
        cut[-1].append(name)
    return cut


def levels(graph: dict[str, set[str]], band: list[str]) -> list[Row]:
    """A band's layers in rows: each imports nothing of its own row or of those above it."""
    rows: list[Row] = []
    level: dict[str, int] = {}
    for name in band:
        level[name] = max((level[other] + 1 for other in graph[name] if other in level), default=0)
        rows += [[]] * (level[name] + 1 - len(rows))
        rows[level[name]] = [*rows[level[name]], name]
    return rows


def passing(rows: list[Row], edges: list[Edge]) -> tuple[list[Row], list[Edge]]:
    """Add places where long arrows pass rows; arrows to the same layer pass together. Returns the
    rows, and the arrows cut into pieces from row to row."""
    number = {name: i for i, row in enumerate(rows) for name in row}
    rows, pieces = [[*row] for row in rows], []
    for upper, lower in edges:
        last = upper
        for i in range(number[upper] - 1, number[lower], -1):
            place = f"{lower}>{i}"
            if place not in rows[i]:
                rows[i].append(place)
            pieces.append((last, place))
            last = place
        pieces.append((last, lower))
    return rows, list(dict.fromkeys(pieces))


def centres(rows: list[Row]) -> dict[str, float]:
    """The middle of each box and passing line, each row in the middle of the drawing."""
    places = {}
    for row in rows:
        widths = [PASS if ">" in name else BOX for name in row]
        left = (WIDTH - MARGIN + TITLES - sum(widths) - GAP * (len(row) - 1)) / 2
        for name, width in zip(row, widths, strict=True):
            places[name] = left + width / 2
            left += width + GAP
    return places


def ordered(rows: list[Row], pieces: list[Edge]) -> list[Row]:
    """Order each row by the mean place of its neighbours, up and down in turn, and keep the order
    with the shortest arrows (Sugiyama, Tagawa, Toda: Methods for Visual Understanding of
    Hierarchical System Structures, 1981)."""

    def length(rows: list[Row]) -> float:
        at = centres(rows)
        return sum(abs(at[upper] - at[lower]) for upper, lower in pieces)

    best = rows
    for sweep in range(SWEEPS):
        rows = [[*row] for row in rows]
        for row in rows if sweep % 2 else rows[::-1]:
            at = centres(rows)
            beside: dict[str, list[float]] = {name: [] for name in row}
            for upper, lower in pieces:
                if sweep % 2 and upper in beside:
                    beside[upper].append(at[lower])
                if not sweep % 2 and lower in beside:
                    beside[lower].append(at[upper])
            row.sort(key=lambda name: sum(beside[name]) / len(beside[name]) if beside[name] else at[name])
        best = min(best, rows, key=length)
    return best


def drawing(language: str) -> str:
    """The layers as an SVG, the lowest one below."""
    graph = imported()
    split = [levels(graph, band) for band in bands()]
    rows, pieces = passing([row for band in split for row in band], arrows(graph))
    rows = ordered(rows, pieces)
    across = centres(rows)
    height = 2 * MARGIN + PITCH * len(rows)
    down = {name: height - MARGIN - PITCH * (i + 0.5) for i, row in enumerate(rows) for name in row}

    parts = []
    first = 0
    for number, (band, title) in enumerate(zip(split, BANDS.values(), strict=True)):
        top = height - MARGIN - PITCH * (first + len(band))
        parts += shade(top, PITCH * len(band), COLOURS[number % 2], title[language].split("\n"))
        first += len(band)
    for upper, lower in pieces:
        start, end = down[upper] + HEIGHT / 2, down[lower] - HEIGHT / 2
        bend = (start + end) / 2
        last = f'V{end + HEIGHT:g}"' if ">" in lower else '" marker-end="url(#head)"'
        parts.append(
            f'<path d="M{across[upper]:g} {start:g} C{across[upper]:g} {bend:g} '
            f"{across[lower]:g} {bend:g} {across[lower]:g} {end - 3:g} {last}/>"
        )
    parts += [box(name, across[name], down[name]) for name in FLOORS]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" font-family="sans-serif" lang="{language}">',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="5" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#4d5661" stroke="none"/>'
            "</marker></defs>",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            '<g fill="none" stroke="#4d5661" stroke-width="1.3">',
            *parts,
            "</g>",
            "</svg>\n",
        ]
    )


def shade(top: float, height: float, colour: str, title: list[str]) -> list[str]:
    """The ground of a band, with its title at the left."""
    across = MARGIN + 8
    first = top + height / 2 + 5 - 8 * (len(title) - 1)
    return [
        f'<rect x="{MARGIN}" y="{top:g}" width="{WIDTH - 2 * MARGIN}" height="{height:g}" '
        f'fill="{colour}" stroke="white" stroke-width="2"/>',
        *(
            f'<text x="{across}" y="{first + 16 * i:g}" font-size="13" font-weight="bold" '
            f'fill="#1f2933" stroke="none">{line}</text>'
            for i, line in enumerate(title)
        ),
    ]


def box(name: str, across: float, down: float) -> str:
    """A layer: a folder with round corners, a file with sharp ones."""
    folder = place(name).is_dir()
    return (
        f'<rect x="{across - BOX / 2:g}" y="{down - HEIGHT / 2:g}" width="{BOX}" '
        f'height="{HEIGHT}" rx="{7 if folder else 0}" fill="white" stroke="#005a92"/>'
        f'<text x="{across:g}" y="{down + 5:g}" font-size="15" font-family="monospace" '
        f'text-anchor="middle" fill="#1f2933" stroke="none">{name}{"/" if folder else ".py"}</text>'
    )


def rooms(language: str) -> str:
    """The distributions as an SVG: what each adds to which folders, above the core's bands."""
    added = {name: sorted(set(folders) & set(FLOORS)) for name, folders in brought().items()}
    split = bands()
    across = (ROOMS - 2 * MARGIN + GAP) / 3
    top = 2 * (ROOM + GAP) + MARGIN
    height = top + 28 * len(split) + 58 + MARGIN
    parts = [
        f'<rect x="{MARGIN}" y="{top + 12}" width="{ROOMS - 2 * MARGIN}" height="{height - top - 12 - MARGIN}" rx="7" '
        'fill="#e3eef7" stroke="#005a92"/>',
        line(MARGIN + 12, top + 36, "souron", "monospace", 15, True),
    ]
    for number, (band, title) in enumerate(zip(split[::-1], [*BANDS.values()][::-1], strict=True)):
        down = top + 62 + 28 * number
        parts.append(
            line(
                MARGIN + 12,
                down,
                title[language].replace("\n", " " if language == "en" else ""),
                "sans-serif",
                13,
                True,
            )
        )
        parts.append(
            line(MARGIN + 190, down, " ".join(name for name in band if place(name).parent == HOUSE), "monospace", 12)
        )
    for number, (name, about) in enumerate(PACKAGES.items()):
        left, down = MARGIN + across * (number % 3), MARGIN + (ROOM + GAP) * (number // 3)
        own = added.get(name, [])
        parts.append(
            f'<rect x="{left:g}" y="{down}" width="{across - GAP:g}" height="{ROOM}" rx="7" fill="#f4f0e4" '
            f'stroke="#005a92"{"" if own else DASHED}/>'
        )
        parts.append(line(left + 10, down + 22, f"souron-{name}", "monospace", 14, True))
        parts.append(line(left + 10, down + 42, about[language], "sans-serif", 12))
        adds = (
            ADDS[language].format(folders=", ".join(f"{folder}/" for folder in own)) if own else FILES_ALONE[language]
        )
        parts.append(line(left + 10, down + 61, adds, "sans-serif", 11))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {ROOMS} {height:g}" width="{ROOMS}" '
            f'height="{height:g}" lang="{language}">',
            f'<rect width="{ROOMS}" height="{height:g}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def brought() -> dict[str, set[str]]:
    """The folders of souron that the files of each distribution lie in."""
    return {
        folder.name: {
            roots.within(file).parts[0] for file in folder.glob("souron/*/**/*.py") if file.parent.name != "versions"
        }
        for folder in roots.distributions()
    }


def line(across: float, down: float, text: str, family: str, size: int, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{across:g}" y="{down:g}" font-family="{family}" font-size="{size}"{weight} '
        f'fill="#1f2933">{text}</text>'
    )


def place(name: str) -> Path:
    """The folder or file of a layer, in the core or in a distribution."""
    return next(path for house in roots.houses() for path in (house / name, house / f"{name}.py") if path.exists())


def rows_of_the_house() -> list[tuple[str, str]]:
    """The table of ``CONTRIBUTING.md``: the code of folders or files, and what they hold."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return ROW.findall(text.partition("\n## The house\n")[2].partition("\n## ")[0])


def table() -> str:
    """The same with whole paths, as Markdown."""
    rows = [
        (
            re.sub(
                r"`(\w+)(/|\.py)`",
                lambda found: f"`{place(found[1]).relative_to(ROOT)}{found[2].replace('.py', '')}`",
                code,
            ),
            about,
        )
        for code, about in rows_of_the_house()
    ]
    lines = [("folder or file", "what it holds"), ("---", "---"), *rows]
    return "\n".join(f"| {left} | {right} |" for left, right in lines) + "\n"


def written() -> dict[Path, str]:
    """Every file that this script writes, with its text."""
    page = PAGE.read_text(encoding="utf-8")
    return {
        STATIC / "architecture.svg": drawing("en"),
        STATIC / "architecture.ja.svg": drawing("ja"),
        STATIC / "rooms.svg": rooms("en"),
        STATIC / "rooms.ja.svg": rooms("ja"),
        PAGE: TABLE.sub(lambda _found: f"\n{table()}\n", page),
    }


def main() -> None:
    for file, text in written().items():
        file.write_text(text, encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
