"""Findings of the data check: a stable code, the severity, the cases concerned, and a remedy."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from souron.data.dataset import Dataset
from souron.utils.messages import _
from souron.utils.spelling import one_spelling

Severity = Literal["error", "warning", "hint"]
TINY = 10  # cases of a class, too few to measure anything
UNEVEN = 10.0  # ratio of the largest class to the smallest
MANY = 0.5  # share of the annotations with one fault
MOST_NAMED = 5  # patients or classes in several spellings, that are listed


@dataclass(frozen=True)
class Finding:
    code: str
    severity: Severity
    files: tuple[str, ...]
    message: str  # in the reader's language
    fix: str
    rows: tuple[tuple[int, ...], ...] = ()  # of the cases; related ones share a tuple
    suggested: tuple[str, ...] = ()  # the label that each row probably has
    question: bool = False  # whether each pair of rows may be copies, which only a person knows
    about: str = ""  # the property that a shortcut goes by, in English

    @property
    def key(self) -> str:
        """The name under which a person answers it: the code, of a shortcut with its property."""
        return f"{self.code} {self.about}".rstrip()


@dataclass
class Checkup:
    """The cases that were checked, and the findings."""

    cases: Dataset
    files: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def questions(self) -> list[tuple[str, str]]:
        """The pairs of files of which only a person knows whether they are copies."""
        pairs = [pair for finding in self.findings if finding.question for pair in finding.rows]
        return [(self.cases.file[i], self.cases.file[j]) for i, j in pairs]

    def labels(self) -> dict[str, int]:
        """Return the number of cases of each class; {} where a case has no single class."""
        labels = self.cases.labels
        return {} if labels is None else {name: labels.count(number) for number, name in enumerate(self.cases.classes)}

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "readable": len(self.cases),
            "labels": self.labels(),
            "groups": len(set(filter(None, self.cases.group))),
            "parts": dict(Counter(part for part in self.cases.part if part)),
            "findings": [
                {
                    "code": finding.code,
                    "key": finding.key,
                    "severity": finding.severity,
                    "files": list(finding.files),
                    "message": finding.message,
                    "fix": finding.fix,
                    "families": [[self.cases.file[row] for row in family] for family in finding.rows],
                    "suggested": list(finding.suggested),
                    "question": finding.question,
                }
                for finding in self.findings
            ],
        }


def in_order(parts: Iterable[Iterable[Finding]]) -> list[Finding]:
    """Sort findings: errors first, then warnings, then hints."""
    order = ("error", "warning", "hint")
    every = [finding for part in parts for finding in part]
    return sorted(every, key=lambda finding: order.index(finding.severity))


def together(leader: Sequence[Any]) -> list[tuple[int, ...]]:
    """Group rows that share a leader; groups of one are left out."""
    members: dict[Any, list[int]] = defaultdict(list)
    for row, first in enumerate(leader):
        members[first].append(row)
    return [tuple(rows) for rows in members.values() if len(rows) > 1]


def differing(families: Sequence[tuple[int, ...]], by: Sequence[Any]) -> list[tuple[int, ...]]:
    """Return the families whose members differ in ``by``; none if ``by`` is empty."""
    return [rows for rows in families if len({by[i] for i in rows}) > 1] if len(by) else []


def of_rows(
    cases: Dataset,
    code: str,
    severity: Severity,
    rows: Sequence[tuple[int, ...]],
    message: str,
    fix: str,
    one: str = "",
    suggested: Sequence[str] = (),
    question: bool = False,
    **fields: Any,
) -> Iterator[Finding]:
    """Yield the finding about families of rows, if there are any. ``count`` in the message is the
    number of families unless ``fields`` sets it; ``one`` is the message for a count of 1;
    ``suggested`` has a label for each row; of a ``question`` each family is a pair."""
    if rows:
        files = tuple(cases.file[row] for family in rows for row in family)
        said = {"count": len(rows), **fields}
        told = (one if one and said["count"] == 1 else message).format(**said)
        yield Finding(code, severity, files, told, fix, tuple(rows), tuple(suggested), question)


def copies(
    cases: Dataset,
    same: Sequence[tuple[int, ...]],
    repeated: tuple[str, str],
    parts: tuple[str, str],
    conflict: tuple[str, str] = ("", ""),
    labels: Sequence[Any] = (),
) -> Iterator[Finding]:
    """Yield the findings about families of identical cases: repeated ones, several labels, several parts.

    Each has its message, and the one for a count of 1.
    """
    further, fix = sum(len(rows) - 1 for rows in same), _("keep one of each")
    yield from of_rows(cases, "duplicates", "warning", same, repeated[0], fix, repeated[1], count=further)
    rows, fix = differing(same, labels), _("look at them and decide")
    yield from of_rows(cases, "label conflict", "error", rows, conflict[0], fix, conflict[1])
    rows, fix = differing(same, cases.part), _("move each with its copies into one part")
    yield from of_rows(cases, "leak", "error", rows, parts[0], fix, parts[1])


def several_spellings(
    cases: Dataset, code: str, names: Sequence[str], message: str, fix: str, one: str
) -> Iterator[Finding]:
    """Yield the finding about names (one for each case) that differ in spelling only."""
    spelled: dict[str, dict[str, int]] = defaultdict(dict)  # names, each with its first row
    for row, name in enumerate(names):
        if name:
            spelled[one_spelling(name)].setdefault(name, row)
    several = [rows for rows in spelled.values() if len(rows) > 1]
    shown = [" = ".join(rows) for rows in several[:MOST_NAMED]]
    listed = ", ".join(shown) + (", ..." if len(several) > MOST_NAMED else "")
    rows = [tuple(rows.values()) for rows in several]
    yield from of_rows(cases, code, "warning", rows, message, fix, one=one, names=listed)


def tiny_class(message: str, fix: str) -> Finding:
    """Return the finding about classes with few cases, objects or volumes."""
    return Finding("tiny class", "warning", (), message, fix)
