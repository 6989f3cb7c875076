"""Answers of ``souron work``: one occupation, or all occupations of a table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from souron.actions.work import exposure, tables, titles
from souron.actions.work.exposure import Exposure, Whole
from souron.actions.work.tables import Table
from souron.actions.work.titles import Found
from souron.data.readers import text_files
from souron.stats.agreement import Agreement

TABLES = (".tsv", ".csv", ".gz")


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
            "gpt4": {name: one.value for name, one in found.means["gpt4"].items()} if "gpt4" in found.means else None,
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
                {
                    "occupation": one.title,
                    "code": one.code,
                    **exposure.exposure(one.tasks)._asdict(),
                    "tasks": len(one.tasks),
                }
                for one in found.table.occupations
            ],
        }


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


def has_labels(path: Path) -> bool:
    """Return whether a file is a table with labels rather than a list of tasks."""
    if path.suffix.lower() not in TABLES:
        return False
    if path.suffix == ".gz":
        return True
    first = text_files.beginning(path).partition("\n")[0]
    return any(name in first for name in (tables.CODE, *tables.PEOPLE))
