"""One data set of the reader's on the page "My data": its check, corrections, runs and comparisons.

What the page keeps of it lies in ``PROJECT/data-sets/NAME-DIGEST``: the corrections, the page of
the check and the table of all cases. The corrected table alone is written beside the files, under
a name of its own. Everything else is read from jobs and runs.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from souron.data import case_table, corrections, load
from souron.data.corrections import Correction
from souron.data.quality import warnings as data_warnings
from souron.pipelines import advice
from souron.pipelines.advice import Advice
from souron.studio import naming
from souron.studio.jobs.job_queue import ALIVE, Job
from souron.studio.runs import run_list
from souron.studio.runs.run_list import Run
from souron.studio.security import uploads
from souron.studio.shared import Studio, words
from souron.utils.files import free
from souron.utils.messages import UserError, _

COPIES = ("duplicates", "confirmed copies", "near duplicates", "rotated copies")  # findings of which one is kept each
LEAKS = ("leak", "near leak", "rotated leak", "patient leak")  # findings that another split mends
LABELS = ("wrong label", "label conflict")  # findings that are reviewed one by one
FAILED = ("failed", "killed")  # states of a job
NAME = "corrected"  # of the table beside the files


@dataclass(frozen=True)
class Finding:
    """A finding of the check, and what is left of it after the corrections."""

    number: int
    code: str
    severity: str
    message: str
    fix: str
    files: tuple[str, ...]
    families: tuple[tuple[str, ...], ...]  # names of files that belong together
    suggested: tuple[str, ...]  # a label for each family
    open: tuple[int, ...]  # numbers of families that are not corrected
    question: bool = False  # whether each family is a pair that may be copies
    key: str = ""  # see ``Finding.key`` of the check
    answer: str = ""  # a person's, in words

    @property
    def mended(self) -> bool:
        """Return whether corrections have answered the whole finding."""
        return bool(self.families) and not self.open


class OwnDataSet:
    """A folder or table of the reader's. Raises UserError where it is missing, or may not be read."""

    def __init__(self, studio: Studio, data: str) -> None:
        self.studio = studio
        path = studio.roots.check(data)
        if data in load.names() or not path.exists():
            raise UserError(
                "missing",
                _("There is no {path}").format(path=str(data)[:200]),
                expected=_("a folder or a table of your own"),
                exit=3,
            )
        self.path = path
        self.data = self.studio.roots.spell(path)
        self.folder = path if path.is_dir() else path.parent
        digest = blake2b(str(path).encode(), digest_size=4).hexdigest()
        self.place = studio.project / "data-sets" / f"{uploads.safe(path.stem)}-{digest}"

    @property
    def name(self) -> str:
        return self.path.stem

    # the check

    @cached_property
    def checking(self) -> Job | None:
        """The newest check of these files in the page's language; None before the first."""
        return next((job for job in self._checks if job.language == self.studio.language), None)

    @property
    def _checks(self) -> list[Job]:
        """The checks of these files in every language, newest first."""
        mine = (job for job in self.studio.jobs.all() if f"project={self._project}" in job.words)
        return [job for job in mine if job.words[:2] == ["data", "check"]]

    @property
    def _project(self) -> str:
        return self.studio.roots.spell(self.place.absolute())

    def check(self) -> Job:
        """Start a check, after which those in other languages are out of date. Raises UserError."""
        others = (job for job in self._checks if job.language != self.studio.language and job.state not in ALIVE)
        for job in others if self.checking is not None else ():
            job.drop()
        line = words("data", ["check", self.data], {"project": self._project})
        self.checking = self.studio.jobs.start(line, self.studio.language, queued=False)
        return self.checking

    @cached_property
    def result(self) -> Mapping[str, Any]:
        """The result of the newest check that ended; {} before."""
        job = self.checking
        found = job.result if job is not None and job.state not in ALIVE else None
        return found if found and "findings" in found else {}

    @cached_property
    def cases(self) -> list[dict[str, str]]:
        """The table of all cases as the check read them; [] where they have no single label."""
        page = Path(str(self.result.get("page") or ""))  # as the command names it, from its own folder
        path = self.place / "data" / page.parent.name / "cases.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    @property
    def labels(self) -> list[str]:
        return list(self.result.get("labels") or {})

    # the corrections

    @property
    def _kept(self) -> Path:
        return self.place / "corrections.json"

    @cached_property
    def corrections(self) -> list[Correction]:
        return corrections.read(self._kept)

    @property
    def corrected(self) -> Path | None:
        """The table that was written beside the files; None without corrections."""
        path = self.folder / self._note.get("table", "")
        return path if self.corrections and path.is_file() else None

    @cached_property
    def _note(self) -> dict[str, str]:
        try:
            found = json.loads((self.place / "note.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        name = str(found.get("table", "")) if isinstance(found, dict) else ""
        return {"table": name} if name == Path(name).name else {}

    @property
    def used(self) -> str:
        """The data for trainings: the corrected table, or else the files as they are."""
        path = self.corrected
        return self.data if path is None else self.studio.roots.spell(path)

    def correct(self, more: Sequence[Correction]) -> None:
        """Add corrections, and write the corrected table. Raises UserError."""
        self._keep([*self.corrections, *more])

    def undo(self, number: int) -> None:
        """Take the correction of that number back. Raises UserError where there is none."""
        if not 0 <= number < len(self.corrections):
            raise UserError(
                "missing",
                _("this correction is not there any more"),
                expected=_("one of those that the page shows"),
                fix=_("load the page again"),
            )
        self._keep([one for place, one in enumerate(self.corrections) if place != number])

    def _keep(self, every: list[Correction]) -> None:
        rows = corrections.corrected(self.cases, every)
        if not rows:
            raise UserError("empty", _("this would leave no case at all"), expected=_("some cases that stay"))
        corrections.write(self._kept, every)
        self.corrections = every
        name = self._note.get("table") or free(self.folder, NAME, ".csv").name
        if "table" not in self._note:
            self._note = {"table": name}
            (self.place / "note.json").write_text(json.dumps(self._note), encoding="utf-8")
        case_table.write(self.folder / name, rows)
        self._answer_unchanged({row["filename"]: row for row in rows})

    # the answers

    def answer(self, key: str, sentence: str) -> None:
        """Keep a person's answer to a warning, "" takes it back. Raises UserError."""
        from souron.report import answering  # imports plotting, which the studio starts without

        answering.answer(self.studio.project, self.path, key, sentence)

    @property
    def answers(self) -> Mapping[str, str]:
        """The answers to warnings about these files, by the warning's key."""
        return data_warnings.answers(self.studio.project).get(data_warnings.place_of(self.path), {})

    def _answer_unchanged(self, after: Mapping[str, Mapping[str, str]]) -> None:
        """Answer the warnings whose cases were all looked at and left as they are, and take such answers back.

        Where cases were changed, earlier results keep the warning, and later ones do not have it.
        """
        before = {row["filename"]: row for row in self.cases}
        self.__dict__.pop("findings", None)
        for one in self.findings:
            files = [file for family in one.families for file in family]
            kept = one.mended and all(after.get(file) == before.get(file) for file in files)
            if kept != (one.answer == data_warnings.ONE_BY_ONE):
                self.answer(one.key, data_warnings.ONE_BY_ONE if kept else "")

    # the findings

    @cached_property
    def findings(self) -> list[Finding]:
        """The findings of the check, with what is open of each."""
        return [self._finding(number, one) for number, one in enumerate(self.result.get("findings", ()))]

    def _finding(self, number: int, told: Mapping[str, Any]) -> Finding:
        families = tuple(tuple(map(str, family)) for family in told.get("families") or ())
        code = str(told["code"])
        key = str(told.get("key") or code)
        return Finding(
            number,
            code,
            str(told["severity"]),
            str(told["message"]),
            str(told["fix"]),
            tuple(map(str, told["files"])),
            families,
            tuple(map(str, told.get("suggested") or ())),
            tuple(place for place, family in enumerate(families) if not self._answered(code, family)),
            bool(told.get("question")),
            key,
            self.answers.get(key, ""),
        )

    def _answered(self, code: str, family: Sequence[str]) -> bool:
        """Return whether corrections have answered a family of a finding."""
        gone = {file for one in self.corrections if one.kind == "leave out" for file in one.files}
        if any(one.kind == "different" and set(one.files) == set(family) for one in self.corrections):
            return True
        left = [file for file in family if file not in gone]
        if code in (*COPIES, *LEAKS, "near conflict") and len(left) <= 1 < len(family):
            return True
        if code in LEAKS:
            return any(one.kind == "split" for one in self.corrections)
        looked = {file for one in self.corrections if one.reason == code for file in one.files}
        return all(file in gone | looked for file in family)

    # advice, runs, next step

    @property
    def advice(self) -> Advice | None:
        """Advice on the first training; None before the check, and where no task fits."""
        if not self.result:
            return None
        count = len(corrections.corrected(self.cases, self.corrections)) or int(self.result.get("readable", 0))
        return advice.advise(str(self.result.get("task", "")), count, int(self.result.get("groups", 0)))

    def holds(self, data: str) -> bool:
        """Return whether a run's data are these files, or a table beside them."""
        if not data or data in load.names():
            return False
        try:
            path = self.studio.roots.check(data)
        except UserError:
            return False
        return path == self.path or (path.suffix.lower() == ".csv" and path.parent == self.folder)

    @cached_property
    def runs(self) -> list[Run]:
        """Runs and comparisons on this data, newest first."""
        return [run for run in run_list.runs(self.studio.project) if self.holds(run.data)]

    @cached_property
    def trainings(self) -> list[Job]:
        """Every training and comparison on this data, newest first."""
        every = (job for job in self.studio.jobs.all() if not job.estimates)
        return [job for job in every if self.holds(naming.taken(job.meant)[2].get("data", ""))]

    @cached_property
    def jobs(self) -> list[Job]:
        """Waiting and running trainings and comparisons on this data."""
        return [job for job in self.trainings if job.state in ALIVE]

    @property
    def failed(self) -> Job | None:
        """The newest training or comparison on this data, where it failed; None otherwise."""
        return next((job for job in self.trainings[:1] if job.state in FAILED), None)


def known(studio: Studio, paths: Sequence[str]) -> list[OwnDataSet]:
    """Return the data sets of those paths that can be read; tables beside files belong to these."""
    found: dict[Path, OwnDataSet] = {}
    for path in paths:
        try:
            one = OwnDataSet(studio, path)
        except UserError:
            continue
        found.setdefault(one.path, one)
    return [one for one in found.values() if not (one.path.is_file() and one.folder in found)]
