"""The results of a class in sentences, tables and as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Fact, Plain, Record, Section, Table, sections
from souron.actions.exercises.results import Function, Item, Results
from souron.kinds import files as kind_files
from souron.lecture import rows
from souron.utils import files, units
from souron.utils.messages import N_, _

MOST_FAULTS = 20  # lines that are named one by one
FEW = 10  # students, below which a note says how little the order means
CSV = "exercises.csv"
COLUMNS = ("row", "exercise", "title", "question", "tries", "right", "share", "low", "high", "right_later",
           "saw_the_solution", "frequent_wrong_answer", "how_often")  # fmt: skip


@dataclass
class ExercisesRecord(Record):
    """Results of a class: right first tries, the most difficult exercise first."""

    eyebrow = N_("exercises")
    json_file = "exercises.json"

    results: Results
    names: bool  # whether the names of the files are shown
    csv: bool
    folder: Path | None

    def page_title(self) -> str:
        return _("Results of a class")

    def as_json(self) -> dict[str, Any]:
        found = self.results
        share = found.share
        return {
            "students": len(found.students),
            "tries": found.tries,
            "share": None if share is None else vars(share),
            "exercises": [_as_json(item) for item in found.items],
            "functions": [vars(one) for one in found.functions],
            "left_out": [vars(fault) for fault in found.faults],
            "same": [list(pair) for pair in found.same],
            **({"files": [dict(zip(("name", "tries", "right"), row, strict=True)) for row in self._files()]}
               if self.names else {}),
        }  # fmt: skip

    def _files(self) -> list[tuple[str, int, int]]:
        """Return the name of each student's file, the number of first tries, and how many were right."""
        return [
            (one.name, len(one.first), sum(right for _answer, right in one.first.values()))
            for one in self.results.students
        ]

    def sentences(self) -> list[str]:
        found = self.results
        text = _("{students} students, {tries} first tries at {count} exercises.")
        said = [text.format(students=len(found.students), tries=found.tries, count=len(found.items))]
        if (share := found.share) is not None:
            text = _("{share} of the first tries were right (95 % interval {interval}, which counts students).")
            said.append(
                text.format(share=units.percent(share.value), interval=units.interval("share", share.low, share.high))
            )
        hardest = found.items[0] if found.items else None
        if hardest is not None and hardest.tries:
            text = _("Most difficult: {name}, right at the first try for {right} of {tries}.")
            said.append(text.format(name=name(hardest), right=hardest.right, tries=hardest.tries))
        return said

    def facts(self) -> list[Fact]:
        return [
            Fact(_("students"), str(len(self.results.students))),
            Fact(_("exercises"), str(len(self.results.items))),
        ]

    def notes(self) -> list[str]:
        found = self.results
        said = []
        if found.faults:
            shown = [_("file {file}, line {line}: {why}").format(**vars(fault)) for fault in found.faults[:MOST_FAULTS]]
            text = _("Lines left out: {count} ({lines}).")
            more = len(found.faults) - len(shown)
            shown += [_("and {count} more").format(count=more)] if more else []
            said.append(text.format(count=len(found.faults), lines="; ".join(shown)))
        said += [
            _("File {file} was left out: file {other} begins with the same lines.").format(file=file, other=other)
            for file, other in found.same
        ]
        if len(found.students) < FEW:
            said.append(_("With so few students the order of the exercises is mostly chance: compare the intervals."))
        return said

    def tables(self) -> list[Table]:
        return self._tables(questions=False)

    def sections(self) -> list[Section]:
        return sections(("tables", _("Result"), self._tables(questions=True)))

    def _tables(self, questions: bool) -> list[Table]:
        """Return the table of the exercises, on a page with their questions, and that of the files."""
        tries, right, interval, later = _("tried"), _("right at first"), _("95 % interval"), _("right later")
        columns = [_("exercise"), tries, right, interval, later, _("most frequent wrong answer")]
        rows_ = [
            [name(item), str(item.tries), *shares(item), str(item.improved), wrong_answer(item)]
            for item in self.results.items
        ]
        if questions:
            columns.insert(1, _("question"))
            for row, item in zip(rows_, self.results.items, strict=True):
                row.insert(1, item.exercise.words.question)
        table = Table(
            columns,
            rows_,
            _("Exercises, the most difficult first"),
            right=(tries, right, interval, later),
            text=_("Right later: after the hint, before the solution was shown. Who saw it first is not counted."),
        )
        tables = [table] if self.results.items else []
        if self.results.functions:
            tables.append(_function_table(self.results.functions))
        if not self.names:
            return tables
        files_ = [(one, str(count), str(true)) for one, count, true in self._files()]
        return [*tables, Table((_("file"), tries, right), files_, _("Each file"), right=(tries, right))]

    def shown(self) -> list[Any]:
        return [Plain(self.as_csv())] if self.csv else super().shown()

    def as_csv(self) -> str:
        """Return a table with a line for each exercise; shares are from 0 to 1."""
        lines: list[Sequence[Any]] = [COLUMNS]
        for item in self.results.items:
            share = item.share
            ends = [f"{value:.4f}" for value in (share.value, share.low, share.high)] if item.tries else [""] * 3
            one = item.exercise
            lines.append(
                (one.row, one.number + 1, rows.find(one.row).text.title, one.words.question, item.tries, item.right,
                 *ends, item.improved, item.looked, answer(item), item.wrong[1] if item.wrong else "")
            )  # fmt: skip
        return kind_files.separated(lines).decode()

    def write(self) -> Path | None:
        if self.folder is not None:
            files.write_text(self.folder / CSV, self.as_csv())
        return super().write()


def _function_table(functions: Sequence[Function]) -> Table:
    students, first, last, interval = _("students"), _("right at first"), _("right in the end"), _("95 % interval")
    rows_ = [
        [
            one.name,
            str(one.students),
            str(one.first),
            str(one.right),
            units.interval("share", one.share.low, one.share.high),
        ]
        for one in functions
    ]
    return Table(
        (_("function"), students, first, last, interval),
        rows_,
        _("Functions of the notebooks, the one that fewest wrote first"),
        right=(students, first, last, interval),
        text=_("As the notebooks recorded it: the functions themselves are not in the files."),
    )


def _as_json(item: Item) -> dict[str, Any]:
    one, share = item.exercise, item.share
    return {
        "row": one.row,
        "exercise": one.number + 1,
        "question": {"en": one.en.question, "ja": one.ja.question},
        "tries": item.tries,
        "right": item.right,
        "share": share.value if item.tries else None,
        "low": share.low,
        "high": share.high,
        "right_later": item.improved,
        "saw_the_solution": item.looked,
        "frequent_wrong_answer": None if item.wrong is None else {"answer": item.wrong[0], "count": item.wrong[1]},
    }


def name(item: Item) -> str:
    """Return the row of an exercise with its title, numbered where the row has several."""
    row = rows.find(item.exercise.row)
    number = f" ({item.exercise.number + 1})" if len(row.exercise) > 1 else ""
    return f"{row.id} {row.text.title}{number}"


def shares(item: Item) -> tuple[str, str]:
    """Return the share of right first tries and its interval as texts; dashes without a try."""
    if not item.tries:
        return "–", "–"
    share = item.share
    return units.percent(share.value, 0), units.ends(f"{100 * share.low:.0f}", units.percent(share.high, 0))


def answer(item: Item) -> str:
    """Return the most frequent wrong answer as a text: a choice, or a number; "" where there is none."""
    if item.wrong is None:
        return ""
    value = item.wrong[0]
    return item.exercise.words.choices[int(value)] if item.exercise.kind == "predict" else f"{value:.6g}"


def wrong_answer(item: Item) -> str:
    """Return the most frequent wrong answer, with how many gave it."""
    return f"{answer(item)} ({item.wrong[1]})" if item.wrong else "–"
