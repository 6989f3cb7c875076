"""What ``souron work`` answers: one occupation, one's own tasks, or all occupations together."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from souron.data import text_files
from souron.evaluation.answers import Step
from souron.kinds.codecs.limits import readable
from souron.society import work, work_names, work_own, work_table
from souron.society.work import Exposure, Whole
from souron.society.work_names import Found
from souron.society.work_own import OwnTasks
from souron.society.work_table import Table
from souron.stats.agreement import Agreement
from souron.utils import files
from souron.utils.messages import UserError, _

TABLES = (".tsv", ".csv", ".gz")
TEXTS = (".txt", ".md", *TABLES)


@dataclass(frozen=True)
class OccupationAnswer:
    """One occupation, as people and as GPT-4 labelled its tasks."""

    found: Found
    table: Table
    people: Exposure
    gpt4: Exposure | None
    agreement: Agreement | None
    workers: int  # 0: unknown
    more_exposed: float | None  # than so many of the workers, by beta of people

    def as_json(self) -> dict[str, Any]:
        one = self.found.occupation
        return {
            "occupation": one.title,
            "code": one.code,
            **self.people._asdict(),
            "gpt4": self.gpt4._asdict() if self.gpt4 else None,
            "agreement": asdict(self.agreement) if self.agreement else None,
            "workers": self.workers or None,
            "tasks": [work.as_json(task) for task in one.tasks],
            "near": list(self.found.near),
        }


@dataclass(frozen=True)
class Record:
    """An answer, and where its page is."""

    answer: "OccupationAnswer | OwnTasks | WholeAnswer"
    report: Path
    table: Table | None  # None: of one's own tasks

    def notes(self) -> list[str]:
        """What is to be known before the figures are believed."""
        own = self.answer.remarks() if isinstance(self.answer, OwnTasks) else []
        return [*own, *work.cautions(self.table)]

    def as_json(self) -> dict[str, Any]:
        told = self.answer.as_json()
        return {
            **told,
            "notes": self.notes(),
            "source": work.attribution(),
            "table": self.table.name if self.table else None,
            "report": str(self.report),
        }


@dataclass(frozen=True)
class WholeAnswer:
    """All occupations together."""

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
                 **work.exposure(one.tasks)._asdict(), "tasks": len(one.tasks)}
                for one in found.table.occupations
            ],
        }  # fmt: skip


def answering(
    what: str | None = None, table: str | Path | None = None, project: str | Path = "runs"
) -> Iterator[Step]:
    """Answer an occupation's name, a file of tasks, or (None) all occupations; how far it is, with
    a ``Record`` at the end, whose page is written to ``project/work``. ``table``: another than
    souron's. Raises UserError."""
    from souron.society import work_page

    labelled = work_table.read(Path(table)) if table else None
    answer: OccupationAnswer | OwnTasks | WholeAnswer
    if what is not None and files.there(what) and Path(what).is_file():
        path = Path(what)
        if has_labels(path):
            labelled = work_table.read(path)
            answer = WholeAnswer(work.whole(labelled))
        else:
            rated = None
            for step in work_own.rating(work_own.read(path), readable(path.name)):
                yield Step(0.9 * step[0], _("rating tasks"))
                rated = step[1]
            assert rated is not None, "the last has it"
            answer, labelled = rated, None
    elif what is None:
        labelled = labelled or work_table.usual()
        answer = WholeAnswer(work.whole(labelled))
    else:
        _refuse_missing(what)
        labelled = labelled or work_table.usual()
        answer = occupation(what, labelled)
    yield Step(0.9, _("writing the page"))
    folder = files.new_folder(Path(project) / "work", name_of(answer))
    record = Record(answer, work_page.write(answer, labelled, folder), labelled)
    yield Step(1.0, result=record)


def answer(
    what: str | None = None, table: str | Path | None = None, project: str | Path = "runs"
) -> Record:
    """Run ``answering`` to its end. Takes the same."""
    *_before, step = answering(what, table, project)
    return step.result


def occupation(name: str, table: Table) -> OccupationAnswer:
    """Raises UserError."""
    found = work_names.find(name, table)
    tasks = found.occupation.tasks
    labelled = all(task.gpt4 for task in tasks)
    people = work.exposure(tasks)
    there, betas = work.workers(table, "list"), work.betas(table)
    own = table.occupations.index(found.occupation)
    less = float(there[betas < people.beta - work.EXACT].sum())
    return OccupationAnswer(
        found,
        table,
        people,
        work.exposure(tasks, "gpt4") if labelled else None,
        work.agreement(tasks) if labelled else None,
        round(float(there[own])),
        less / float(there.sum()) if there.sum() > 0 else None,
    )


def name_of(answer: OccupationAnswer | OwnTasks | WholeAnswer) -> str:
    """Of the page's folder."""
    if isinstance(answer, OccupationAnswer):
        return answer.found.occupation.title
    return Path(answer.name).stem if isinstance(answer, OwnTasks) else "all"


def has_labels(path: Path) -> bool:
    """Whether a file is a table with labels, and no list of tasks."""
    if path.suffix.lower() not in TABLES:
        return False
    if path.suffix == ".gz":
        return True
    first = text_files.beginning(path).partition("\n")[0]
    return any(name in first for name in (work_table.CODE, *work_table.PEOPLE))


def _refuse_missing(what: str) -> None:
    if Path(what).suffix.lower() in TEXTS or ("/" in what.strip("/") and " " not in what):
        raise UserError(
            "missing",
            _("{path}: there is no such file").format(path=what[:200]),
            expected=_("a file with a task a line, or the name of an occupation"),
            fix='souron work "Registered Nurses"',
            exit=3,
        )
