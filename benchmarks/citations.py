"""References: real ones called impossible, corrupted ones caught, differences found.

    .venv/bin/python benchmarks/citations.py
    .venv/bin/python benchmarks/citations.py library refs.bib

The first reads benchmarks/references.txt: 200 identifiers of real publications, people and
journals, as they stand in souron's own documentation and in the lists of references of nilearn,
fMRIPrep, nf-core/sarek and mlr3book. Each is then corrupted in three ways: one digit is another,
two neighbouring digits change places, one digit is left out.

The second writes each publication of a BibTeX file as a reference in three styles, then once more
with one field of another publication, and compares both with the file.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from printing import HERE, table

from souron.actions.references import findings, library
from souron.actions.references.identifiers import TITLES
from souron.stats.intervals import proportion_interval

REAL = HERE / "references.txt"


def share(found: int, n: int) -> str:
    """``"3 of 40 (7.5 %, 1.6 to 20.4)"``"""
    measure = proportion_interval(found, n)
    return f"{found} of {n} ({100 * measure.value:.1f} %, {100 * measure.low:.1f} to {100 * measure.high:.1f})"


def other_digit(value: str, luck: random.Random) -> str:
    place = luck.choice([m.start() for m in re.finditer(r"\d", value)])
    digit = luck.choice([d for d in "0123456789" if d != value[place]])
    return value[:place] + digit + value[place + 1 :]


def swapped(value: str, luck: random.Random) -> str:
    places = [m.start() for m in re.finditer(r"(?=(\d)(?!\1)\d)", value)]
    if not places:
        return other_digit(value, luck)
    place = luck.choice(places)
    return value[:place] + value[place + 1] + value[place] + value[place + 2 :]


def left_out(value: str, luck: random.Random) -> str:
    place = luck.choice([m.start() for m in re.finditer(r"\d", value)])
    return value[:place] + value[place + 1 :]


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "one digit another": other_digit,
    "two digits swapped": swapped,
    "one digit left out": left_out,
}


def impossible(text: str, today: date) -> bool:
    return any(found.state == "impossible" for found in findings.check(text, today=today))


def identifiers(today: date) -> None:
    lines = REAL.read_text(encoding="utf-8").split("\n")
    real = [line.split(" ", 1) for line in lines if line and line[0] != "#"]
    luck = random.Random(0)
    rows, total = [], Counter[str]()
    for kind, title in TITLES.items():
        values = [value for sort, value in real if sort == kind]
        false = sum(impossible(f"See {title}: {value}.", today) for value in values)
        caught = {}
        for name, change in CHANGES.items():
            made = [change(value, luck) for value in values]
            caught[name] = sum(impossible(f"See {title}: {value}.", today) for value in made)
        total.update({"n": len(values), "false": false, **caught})
        rows.append([title, f"{false} of {len(values)}", *(share(caught[name], len(values)) for name in CHANGES)])
    rows.append(["all", share(total["false"], total["n"]), *(share(total[name], total["n"]) for name in CHANGES)])
    print(table(["kind", "real, called impossible", *CHANGES], rows))
    print(f"\n{total['n']} identifiers of {REAL.name}, judged on {today}; Wilson's 95 % intervals.")


def vancouver(entry: library.Entry) -> str:
    names = ", ".join(f"{name} A" for name in entry.authors[:3])
    return f"{names}. {entry.title}. {entry.journal}. {entry.year};{entry.volume or 1}:{entry.pages or '1-2'}."


def apa(entry: library.Entry) -> str:
    names = ", ".join(f"{name}, B." for name in entry.authors[:3])
    return f"{names} ({entry.year}). {entry.title}. {entry.journal}, {entry.volume or 1}, {entry.pages or '1-2'}."


def ieee(entry: library.Entry) -> str:
    names = " and ".join(f"C. {name}" for name in entry.authors[:2])
    return (
        f'{names}, "{entry.title}," {entry.journal}, vol. {entry.volume or 1}, pp. '
        f"{entry.pages or '1-2'}, {entry.year}."
    )


def against(path: Path, today: date) -> None:
    shelf = library.read([path])
    whole = [
        e
        for e in shelf
        if e.title
        and e.authors
        and e.year
        and e.journal
        and e.identifiers.get("doi")
        and len(re.findall(r"\w+", e.title)) >= 3
    ]
    luck = random.Random(0)
    rows = []
    for style in (vancouver, apa, ieee):
        cells = [f"{style.__name__}"]
        for field in ("nothing", *findings.FIELDS):
            told = n = 0
            for entry in whole:
                other = luck.choice([e for e in whole if e.title != entry.title])
                if field == "year":
                    wrong = replace(entry, year=(entry.year or 0) + luck.choice((-3, -2, -1, 1, 2)))
                elif field == "author":
                    wrong = replace(entry, authors=(other.authors[0], *entry.authors[1:]))
                elif field == "nothing":
                    wrong = entry
                else:
                    wrong = replace(entry, **{field: getattr(other, field)})
                was, now = getattr(entry, f"{field}s", ""), getattr(wrong, f"{field}s", "")
                same = getattr(wrong, field, was) == getattr(entry, field, now)
                if field != "nothing" and (same or not getattr(entry, field, "x")):
                    continue
                text = f"References\n{style(wrong)} doi:{next(iter(entry.identifiers['doi']))}"
                n += 1
                told += findings.check(text, shelf, today)[0].state == "differs"
            cells.append(f"{told} of {n}")
        rows.append(cells)
    print(table(["style", "nothing changed", *findings.FIELDS], rows))
    print(
        f"\nReferences told to differ from their entry, of {len(whole)} publications with title, "
        f"authors, year, journal and DOI in {path.name}; judged on {today}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", default="identifiers", choices=("identifiers", "library"))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--today", type=date.fromisoformat, default=date.today())
    given = parser.parse_args()
    if given.what == "library":
        against(given.file, given.today)
    else:
        identifiers(given.today)


if __name__ == "__main__":
    main()
