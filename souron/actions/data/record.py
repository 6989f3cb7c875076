"""Records of ``souron data`` and ``souron data check``: the properties of a data set, and its problems."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from souron.action import Hint, Record, Table
from souron.data import case_table, deidentify
from souron.data import check as data_check
from souron.data.check import answers
from souron.data.check import warnings as data_warnings
from souron.data.quality import warnings as quality
from souron.data.quality.findings import Checkup
from souron.data.target import Target
from souron.pipelines import advice
from souron.report import answering, blocks, report
from souron.report.data_check import headline
from souron.utils import terminal, units
from souron.utils.messages import N_, _


@dataclass
class DataRecord(Record):
    """The properties of a data set."""

    eyebrow = N_("data")
    page_file = "data.html"

    data: str
    target: Target
    held: Mapping[str, int]  # identifying attributes -> files
    folder: Path | None

    def page_title(self) -> str:
        return self.target.cases.name

    def parts(self) -> dict[str, int]:
        return {part or "-": n for part, n in Counter(self.target.cases.part).items()}

    def labels(self) -> dict[str, int]:
        cases = self.target.cases
        known = cases.target is not None and cases.classes
        return dict(zip(cases.classes, self.target.counts(), strict=True)) if known else {}

    def as_json(self) -> dict[str, Any]:
        cases = self.target.cases
        return {
            "data": self.data,
            "cases": len(cases),
            "labels": self.labels(),
            "parts": self.parts(),
            **self.target.sizes(),
            "groups": len(set(cases.group)),
            "skipped": [asdict(skipped) for skipped in cases.skipped],
            "source": cases.source,
            "licence": cases.licence,
            "identifying": self.held,
        }

    def printed(self, page: Path | None) -> Any:
        return {**self.as_json(), "page": page}

    def sentences(self) -> list[str]:
        cases = self.target.cases
        return [f"{cases.name}: {_('{count} cases').format(count=units.whole(len(cases)))}"]

    def notes(self) -> list[str]:
        return [_("These files contain identifying data")] if self.held else []

    def tables(self) -> Sequence[Table]:
        rows = [*facts(self.target, self.parts()), (_("identifying"), deidentify.counted(self.held))]
        return [Table([], [row for row in rows if row[1]])]

    def shown(self) -> list[Any]:
        skipped = blocks.skipped_lines(self.target.cases.skipped)
        return [*self.tables(), "", terminal.bars(self.labels()), "", *skipped]

    def below(self) -> list[Any]:
        if not self.held:
            return []
        folder = Path(self.data).parent if Path(self.data).is_file() else self.data
        command = f"souron data anonymise {folder} OUT"
        return [_("a copy without identifying data: {command}").format(command=command)]

    def write(self) -> Path | None:
        return report.data_page(self.target.cases, self.folder) if self.folder else None


def facts(target: Target, parts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return what there is to say of a data set, each with its name; "" where nothing is known."""
    cases = target.cases
    groups = _("{count} ({how})").format(count=units.whole(len(set(cases.group))), how=cases.grouped)
    return [
        (_("data"), cases.name),
        (_("cases"), units.whole(len(cases))),
        target.size(),
        (_("parts"), ", ".join(f"{part} {units.whole(n)}" for part, n in parts.items())),
        (_("groups"), groups if cases.group else cases.question),
        (_("licence"), cases.licence),
        (_("source"), cases.source),
    ]


@dataclass
class CheckRecord(Record):
    """The findings of a check, and what is written because of them."""

    eyebrow = N_("data")
    page_file = "check.html"

    data: str
    found: Checkup
    known: answers.Answers  # whether two images are copies
    task: str
    project: Path
    folder: Path | None
    fix: str  # the new table without broken files and copies
    answer: tuple[str, str] | None  # the warning that it is about, and its sentence
    listed: int = 0  # cases in the new table

    def page_title(self) -> str:
        return _("Data check: {name}").format(name=self.found.cases.name)

    def as_json(self) -> dict[str, Any]:
        return {**self.found.as_json(), "task": self.task}

    def printed(self, page: Path | None) -> Any:
        return {**self.as_json(), "page": page}

    def sentences(self) -> list[str]:
        return [headline(finding.severity for finding in self.found.findings)]

    def notes(self) -> list[str]:
        return [finding.message for finding in self.found.findings if finding.severity != "hint"]

    def tables(self) -> Sequence[Table]:
        answered = quality.answers(self.project).get(quality.place_of(self.data), {})
        rows = []
        for finding in self.found.findings:
            files = ", ".join(finding.files[:3]) + (", ..." if len(finding.files) > 3 else "")
            told = "\n".join(filter(None, (f"[{finding.key}] {finding.message}", files)))
            mended = quality.answered(answered[finding.key]) if finding.key in answered else finding.fix
            rows.append([units.severity(finding.severity), told, mended])
        return [Table([_("severity"), _("found"), _("what to do")], rows)] if rows else []

    def shown(self) -> list[Any]:
        count, readable = units.whole(self.found.files), units.whole(len(self.found.cases))
        note = _("Each warning stands beside every result of this data until it is mended or answered.")
        nothing = _("No problem was found that would distort a result.")
        return [
            _("{files} files, {readable} readable").format(files=count, readable=readable),
            *(self.tables() or (nothing,)),
            *([Hint(note)] if data_warnings.of_check(self.found, self.data) else []),
        ]

    def below(self) -> list[Any]:
        cases = self.found.cases
        best = advice.advise(self.task, len(cases), len(set(filter(None, cases.group))))
        lines = [best.reason, shlex.join(["souron", *best.command(self.fix or self.data)])] if best else []
        if self.fix:
            lines.append(_("{path} lists {count} cases").format(path=self.fix, count=units.whole(self.listed)))
        return lines

    @property
    def exit_code(self) -> int:
        return 0 if self.found.clean else 3

    def write(self) -> Path | None:
        """Write the page, the questions and warnings beside it, the answer and the new table. Raises UserError."""
        if self.folder is None:
            return None
        page = report.check_page(self.found, self.folder / self.page_file)
        if asked := self.found.questions:
            answers.write(self.folder / answers.FILE, self.known, asked)
        data_warnings.keep(self.found, self.data, self.folder)
        if self.answer is not None:
            answering.answer(self.project, self.data, *self.answer)
        if self.found.cases.labels is not None:
            case_table.write(page.with_name("cases.csv"), case_table.rows(self.found.cases))
        if self.fix:
            self.listed = data_check.manifest(self.found, Path(self.fix))
        return page
