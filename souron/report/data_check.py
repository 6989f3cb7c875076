"""Page of the data check: the findings, with images."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from souron.data.check import Checkup, Finding
from souron.data.quality import duplicates
from souron.data.target import target_of
from souron.report.page import Fact, Tile, page, tile, write
from souron.utils import units
from souron.utils.messages import _

MOST_IMAGES = 24  # for each finding
MOST_FILES = 50


def check_page(found: Checkup, path: Path) -> Path:
    """Write the page of a data check; return its path. Raises UserError."""
    count: Counter[str] = Counter(finding.severity for finding in found.findings)
    names = {"error": _("errors"), "warning": _("warnings"), "hint": _("hints")}
    text = page(
        "check.html",
        title=_("Data check: {name}").format(name=found.cases.name),
        eyebrow=_("data"),
        headline=headline(finding.severity for finding in found.findings),
        facts=[
            Fact(_("files"), units.whole(found.files)),
            Fact(_("readable"), units.whole(len(found.cases))),
            *(Fact(name, units.whole(count[severity])) for severity, name in names.items()),
        ],
        contents=[(f"f{i}", finding.code) for i, finding in enumerate(found.findings)],
        findings=[_shown(found, finding) for finding in found.findings],
    )
    return write(path, text)


def headline(severe: Iterable[Any]) -> str:
    """Summarise the severities of all findings in one sentence."""
    count = Counter(severe)
    if count["error"]:
        text = _("{count} problems would distort your result. Fix them first.")
        if count["error"] == 1:
            text = _("1 problem would distort your result. Fix it first.")
        return text.format(count=count["error"])
    if count["warning"]:
        return _("No errors. Warnings to check: {count}.").format(count=count["warning"])
    return _("No problem was found that would distort a result.")


def _shown(found: Checkup, finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": units.severity(finding.severity),
        "message": finding.message,
        "fix": finding.fix,
        "families": _families(found, finding),
        "files": _files(found, finding)[:MOST_FILES],
        "more": max(0, len(_files(found, finding)) - MOST_FILES),
    }


def _files(found: Checkup, finding: Finding) -> Sequence[str]:
    """Return the names of a finding's files; empty for images, which are shown.

    Names of texts and recordings are followed by the text's beginning.
    """
    if not finding.rows:
        return finding.files
    if _seen(found):
        return ()
    words, names = target_of(found.cases).words, found.cases.file
    return [f"{names[row]}: {words(row)}" for family in finding.rows for row in family]


def _families(found: Checkup, finding: Finding) -> list[list[Tile]]:
    """Return the images of a finding as tiles; images that belong together share a list."""
    if not _seen(found):
        return []
    target, shown, left = target_of(found.cases), [], MOST_IMAGES
    cases = found.cases
    for family in finding.rows:
        rows = family[: max(2, min(len(family), left))]
        if left <= 0:
            break
        left -= len(rows)
        shown.append([tile(target.image(i), cases.file[i], _lines(found, i), cases.file[i]) for i in rows])
        if finding.question:
            shown[-1].append(_difference(target.image(rows[0]), target.image(rows[1])))
    if all(len(family) == 1 for family in shown):  # no groups: one row of images
        return [[one for family in shown for one in family]] if shown else []
    return shown


def _difference(one: Tensor, other: Tensor) -> Tile:
    """Return the tile that shows where two images differ."""
    text = _("difference, {times} times").format(times=f"{duplicates.TIMES:.0f}")
    return tile(duplicates.difference(one, other), text, (text,))


def _seen(found: Checkup) -> bool:
    """Return whether the cases are looked at, as images; others are read."""
    return target_of(found.cases).layout == "images"


def _lines(found: Checkup, row: int) -> tuple[str, ...]:
    cases = found.cases
    group = cases.group[row] if cases.group else ""
    part = cases.part[row] if cases.part else ""
    return tuple(filter(None, (target_of(cases).words(row), group, part)))
