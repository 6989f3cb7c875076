"""Answers of ``souron work``: one occupation, one's own tasks, or all occupations."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from souron.data import text_files
from souron.evaluation.answers import Step
from souron.kinds.codecs.limits import readable
from souron.society.work import exposure, own_tasks, tables, titles
from souron.society.work.exposure import Exposure, Whole
from souron.society.work.own_tasks import OwnTasks
from souron.society.work.tables import Table
from souron.society.work.titles import Found
from souron.stats.agreement import Agreement
from souron.utils import files
from souron.utils.messages import UserError, _

TABLES = (".tsv", ".csv", ".gz")
TEXTS = (".txt", ".md", *TABLES)


@dataclass(frozen=True)
class OccupationAnswer:
    """One occupation, by the labels of people and of GPT-4."""

    found: Found
    table: Table
    people: Exposure
    gpt4: Exposure | None
    agreement: Agreement | None
    workers: int  # 0 if unknown
    more_exposed: float | None  # share of workers in less exposed occupations, by people's beta

    def as_json(self) -> dict[str, Any]:
        one = self.found.occupation
        return {
            "occupation": one.title,
            "code": one.code,
            **self.people._asdict(),
            "gpt4": self.gpt4._asdict() if self.gpt4 else None,
            "agreement": asdict(self.agreement) if self.agreement else None,
            "workers": self.workers or None,
            "tasks": [exposure.as_json(task) for task in one.tasks],
            "near": list(self.found.near),
        }


@dataclass(frozen=True)
class Record:
    """An answer and the path of its page."""

    answer: "OccupationAnswer | OwnTasks | WholeAnswer"
    report: Path
    table: Table | None  # None for one's own tasks

    def notes(self) -> list[str]:
        """Return the caveats of the figures."""
        own = self.answer.remarks() if isinstance(self.answer, OwnTasks) else []
        return [*own, *exposure.cautions(self.table)]

    def as_json(self) -> dict[str, Any]:
        told = self.answer.as_json()
        return {
            **told,
            "notes": self.notes(),
            "source": exposure.attribution(),
            "table": self.table.name if self.table else None,
            "report": str(self.report),
        }


@dataclass(frozen=True)
class WholeAnswer:
    """The answer for all occupations."""

    whole: Whole

    def as_json(self) -> dict[str, Any]:
        found = self.whole
        people = found.means["people"]
        return {
            "occupation": None,
            **{name: one.value for name, one in people.items()},
            "intervals": {name: [one.low, one.high] for name, one in people.items()},
            "gpt4": {name: one.value for name, one in found.means["gpt4"].items()}
            if "gpt4" in found.means
            else None,
            "agreement": asdict(found.agreement) if found.agreement else None,
            "nearness": asdict(found.nearness) if found.nearness else None,
            "workers": {
                who: {
                    rule: {str(least): asdict(share) for least, share in shares.items()}
                    for rule, shares in rules.items()
                }
                for who, rules in found.shares.items()
            },
            "tasks": [],
            "occupations": [
                {"occupation": one.title, "code": one.code,
                 **exposure.exposure(one.tasks)._asdict(), "tasks": len(one.tasks)}
                for one in found.table.occupations
            ],
        }  # fmt: skip


def answering(
    what: str | None = None, table: str | Path | None = None, project: str | Path = "runs"
) -> Iterator[Step]:
    """Answer for an occupation's name, a file of tasks, or all occupations (None).

    Yields progress and, at the end, a ``Record`` whose page is in ``project/work``. ``table``
    replaces souron's. Raises UserError.
    """
    from souron.society.work import page

    labelled = tables.read(Path(table)) if table else None
    answer: OccupationAnswer | OwnTasks | WholeAnswer
    if what is not None and files.there(what) and Path(what).is_file():
        path = Path(what)
        if has_labels(path):
            labelled = tables.read(path)
            answer = WholeAnswer(exposure.whole(labelled))
        else:
            rated = None
            for step in own_tasks.rating(own_tasks.read(path), readable(path.name)):
                yield Step(0.9 * step[0], _("rating tasks"))
                rated = step[1]
            assert rated is not None, "the last has it"
            answer, labelled = rated, None
    elif what is None:
        labelled = labelled or tables.usual()
        answer = WholeAnswer(exposure.whole(labelled))
    else:
        _refuse_missing(what)
        labelled = labelled or tables.usual()
        answer = occupation(what, labelled)
    yield Step(0.9, _("writing the page"))
    folder = files.new_folder(Path(project) / "work", name_of(answer))
    record = Record(answer, page.write(answer, labelled, folder), labelled)
    yield Step(1.0, result=record)


def answer(
    what: str | None = None, table: str | Path | None = None, project: str | Path = "runs"
) -> Record:
    """Run ``answering`` to its end and return its ``Record``."""
    *_before, step = answering(what, table, project)
    return step.result


def occupation(name: str, table: Table) -> OccupationAnswer:
    """Answer for one occupation. Raises UserError."""
    found = titles.find(name, table)
    tasks = found.occupation.tasks
    labelled = all(task.gpt4 for task in tasks)
    people = exposure.exposure(tasks)
    there, betas = exposure.workers(table, "list"), exposure.betas(table)
    own = table.occupations.index(found.occupation)
    less = float(there[betas < people.beta - exposure.EXACT].sum())
    return OccupationAnswer(
        found,
        table,
        people,
        exposure.exposure(tasks, "gpt4") if labelled else None,
        exposure.agreement(tasks) if labelled else None,
        round(float(there[own])),
        less / float(there.sum()) if there.sum() > 0 else None,
    )


def name_of(answer: OccupationAnswer | OwnTasks | WholeAnswer) -> str:
    """Return the name of the page's folder."""
    if isinstance(answer, OccupationAnswer):
        return answer.found.occupation.title
    return Path(answer.name).stem if isinstance(answer, OwnTasks) else "all"


def has_labels(path: Path) -> bool:
    """Return whether a file is a table with labels rather than a list of tasks."""
    if path.suffix.lower() not in TABLES:
        return False
    if path.suffix == ".gz":
        return True
    first = text_files.beginning(path).partition("\n")[0]
    return any(name in first for name in (tables.CODE, *tables.PEOPLE))


def _refuse_missing(what: str) -> None:
    if Path(what).suffix.lower() in TEXTS or ("/" in what.strip("/") and " " not in what):
        raise UserError(
            "missing",
            _("{path}: there is no such file").format(path=what[:200]),
            expected=_("a file with a task a line, or the name of an occupation"),
            fix='souron work "Registered Nurses"',
            exit=3,
        )
