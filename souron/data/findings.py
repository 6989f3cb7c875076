"""What a doctor of data finds: a code that stays, how severe it is, which cases, what to do."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from souron.data.dataset import Dataset

Severity = Literal["error", "warning", "hint"]


@dataclass(frozen=True)
class Finding:
    code: str
    severity: Severity
    files: tuple[str, ...]
    message: str  # in the reader's language
    fix: str
    rows: tuple[tuple[int, ...], ...] = ()  # of the cases, those that belong together in a tuple


@dataclass
class Checkup:
    """What was looked at, and what was found."""

    cases: Dataset
    files: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "readable": len(self.cases),
            "findings": [
                {
                    "code": finding.code,
                    "severity": finding.severity,
                    "files": list(finding.files),
                    "message": finding.message,
                    "fix": finding.fix,
                }
                for finding in self.findings
            ],
        }


def in_order(parts: Iterable[Iterable[Finding]]) -> list[Finding]:
    """Errors first, then warnings, then hints."""
    order = ("error", "warning", "hint")
    every = [finding for part in parts for finding in part]
    return sorted(every, key=lambda finding: order.index(finding.severity))


def together(leader: Sequence[Any]) -> list[tuple[int, ...]]:
    """Rows that share a leader, where they are more than one."""
    members: dict[Any, list[int]] = defaultdict(list)
    for row, first in enumerate(leader):
        members[first].append(row)
    return [tuple(rows) for rows in members.values() if len(rows) > 1]


def differing(families: Sequence[tuple[int, ...]], by: Sequence[Any]) -> list[tuple[int, ...]]:
    """The families whose members differ in something, of which ``by`` may know nothing."""
    return [rows for rows in families if len({by[i] for i in rows}) > 1] if len(by) else []


def of_rows(
    cases: Dataset, code: str, severity: Severity, rows: Sequence[tuple[int, ...]], message: str,
    fix: str, one: str = "", **fields: Any,
) -> Iterator[Finding]:  # fmt: skip
    """The finding about families of rows, where there are any. ``count`` in the message is how
    many families, unless ``fields`` says otherwise; ``one`` is the message where that is 1."""
    if rows:
        files = tuple(cases.file[row] for family in rows for row in family)
        said = {"count": len(rows), **fields}
        told = (one if one and said["count"] == 1 else message).format(**said)
        yield Finding(code, severity, files, told, fix, tuple(rows))
