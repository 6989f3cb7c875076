"""Files one after the other: each answer is shown as it comes, and saved where a text cannot express it."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron import model as models_api
from souron.action import Note, Plain, Record
from souron.actions.predict import origin
from souron.actions.predict.answer import Answer
from souron.evaluation import run_predictions
from souron.hub import names
from souron.inference import modes
from souron.kinds import finding
from souron.kinds.before_after import BeforeAfter
from souron.kinds.picture import Picture
from souron.kinds.signature import as_share
from souron.pipelines import default_system
from souron.pipelines.answer_lines import are_labels, best
from souron.runs.annotations import Annotations
from souron.runs.events import Event
from souron.utils import files as file_utils
from souron.utils.messages import N_, UserError, _

FORMS = {"coco": ".coco.json", "yolo": ".txt", "json": ".json", "csv": ".csv", "png": ".png"}


@dataclass
class Rows(Answer):
    """An answer as rows of a CSV: a label in each."""

    heading: bool = False

    def shown(self) -> list[Any]:
        failed = isinstance(self.answer, UserError)
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if self.heading:
            rows.writerow(["file", "rank", "label", "probability"])
        for rank, (label, probability) in enumerate([] if failed else best(self.answer, self.top), 1):
            rows.writerow([self.file, rank, label, f"{probability:.6f}"])
        notes = [f"[{self.answer.code}] {self.answer.found}"] if failed else self.notes()
        return [*map(Note, notes), Plain(text.getvalue())]


@dataclass
class Closing(Record):
    """The number of files that were answered, and the file that holds all answers, if there is one."""

    eyebrow = N_("answer")

    count: int
    failed: int
    saved: Path | None = None
    cautions: list[str] = field(default_factory=list)
    folder: Path | None = None

    def page_title(self) -> str:
        return self.sentences()[0]

    def as_json(self) -> dict[str, Any]:
        return {"files": self.count, "failed": self.failed, **({"saved": str(self.saved)} if self.saved else {})}

    def printed(self, page: Path | None) -> Any:
        return {"saved": str(self.saved)} if self.saved else None

    def sentences(self) -> list[str]:
        return [_("{count} files answered").format(count=self.count - self.failed)]

    def notes(self) -> list[str]:
        return self.cautions

    def shown(self) -> list[Any]:
        return [_("saved: {path}").format(path=self.saved)] if self.saved else []

    @property
    def exit_code(self) -> int:
        return 3 if self.failed else 0


@dataclass
class Answers:
    """The answers of a loaded system; ``folder`` creates the one that they are saved in, where one is."""

    loaded: Any
    folder: Callable[[], Path]
    options: Any
    to: str = ""
    least: float | None = None
    truth: Any = None
    writes: bool = True

    def __post_init__(self) -> None:
        self.together = Annotations() if self.to == "coco" else None
        self.place = self.folder() if self.options.out else None
        self.notices: list[str] = []

    def run(self, words: Sequence[str], choice: Any, chosen: Mapping[str, str], mode: str) -> Iterator[Event]:
        """Answer each file. Raises UserError if there is no file, or for a wrong option."""
        count = sum(1 for _file in file_utils.find_files(words, self.loaded.asked.given.folders))
        self.loaded.hasten(mode, count, modes.waits(mode), self.notices.append)
        ask: Any = default_system.predict if choice else models_api.predict
        answers = ask(self.loaded, words, **chosen)
        yield from origin.described(self.loaded, choice)
        yield from self.told(answers, words)

    def told(self, answers: Iterable[tuple[Any, Any]], words: Sequence[str]) -> Iterator[Event]:
        """Yield an event for every answer, and the closing one."""
        failed = total = 0
        standings = set[str]()
        about = origin.of_system(self.loaded)
        for file, answer in answers:
            total += 1
            if isinstance(answer, UserError):
                if answer.code == "option":  # not this file's fault
                    raise answer
                failed += 1
            elif self.truth is not None:
                answer.judged(self.truth)
            standing = finding.standing(answer)
            if standing == "unchecked" and standing not in standings:
                self.notices.append(finding.unchecked())
            standings.add(standing)
            yield from (Event("", note=text) for text in self._noticed())
            record = self._record(file, answer, total == 1)
            record.origin = about | {"engine": self.loaded.answered_by}
            yield Event("", record=record)
        if not total:
            raise UserError(
                "no files",
                _("nothing was found at {files}").format(files=" ".join(words)),
                expected=_("images, folders with images, or globs that match some"),
                exit=3,
            )
        if "unlike" in standings:
            self.notices.append(f"{finding.advice(self.loaded.learnt_from)} (souron list, souron train)")
        if failed:
            text = _("{failed} of {total} files could not be read")
            self.notices.append(text.format(failed=failed, total=total))
        yield from (Event("", note=text) for text in self._noticed())
        yield Event("", record=Closing(total, failed, self._together(), origin.cautions(self.loaded)))

    def _noticed(self) -> list[str]:
        """Return the notices since the last call."""
        notices, self.notices[:] = [*self.notices], []
        return notices

    def _record(self, file: Path, answer: Any, first: bool) -> Answer:
        saved = None if isinstance(answer, UserError) else self._saved(answer, file)
        if not self.options.csv:
            return Answer(str(file), answer, saved, self.options.top, self.least)
        if not (isinstance(answer, UserError) or are_labels(answer)):
            found = _("--csv lists labels, and this system gives none")
            raise UserError("option", found, expected="--json", fix="out=FOLDER")
        return Rows(str(file), answer, saved, self.options.top, self.least, heading=first)

    def _saved(self, answer: Any, file: Path) -> Path | None:
        """Save an answer if that was asked for, or if text cannot express it; return its path."""
        if self.together is not None:
            self.together.add(answer, file)
            return None
        kept = getattr(answer, "kept", False) and self.writes
        if not (self.place or self.to or kept):
            return None
        form = FORMS[self.to] if self.to else ""
        return models_api.keep(answer, file, self._place(), form, self.loaded)

    def _together(self) -> Path | None:
        """Write the file for all answers, if there is one, and return its path."""
        if self.together is None or not self.together.images:
            return None
        return self.together.write(self._place())

    def _place(self) -> Path:
        self.place = self.place or self.folder()
        return self.place


def own_settings(
    loaded: Any, to: str, tile: int | None, overlap: float | None
) -> tuple[dict[str, str], str, int | None]:
    """Return the options among these that the system has itself, and what is left of ``to`` and
    ``tile``. Raises UserError for an unknown form."""
    own: dict[str, str] = {}
    if to and "to" in loaded.asked.options:  # forms of its own
        own, to = {"to": to}, ""
    elif to and to not in FORMS:
        raise UserError("option", f"to={to}", expected=", ".join(FORMS), fix="to=coco")
    if "tile" in loaded.asked.options:  # a network that puts its tiles together again
        sizes = {"tile": tile, "overlap": overlap}
        own |= {key: str(value) for key, value in sizes.items() if value is not None}
        tile = None
    return own, to, tile


def refuse_form(to: str) -> None:
    """Raise UserError if answers for a video or tiles are to be saved in a form."""
    if to:
        raise UserError(
            "option",
            _("videos and tiles are saved in forms of their own"),
            expected=_("to= with images that are processed whole"),
        )


def refuse_referral(refer: str) -> None:
    """Raise UserError if answers of a video, of tiles or of an engine are to be marked for a person."""
    if refer:
        raise UserError(
            "option",
            _("refer= marks single answers of a classifier"),
            expected=_("images that are processed whole, on this computer"),
        )


def refuse_engine(engine: str) -> None:
    """Raise UserError if the parts of a folder are to be answered by llama.cpp."""
    if engine:
        raise UserError(
            "option",
            _("engine= and on= are used together"),
            expected=_("engine= for files that are answered here, or on= for a large folder"),
        )


def least_confidence(meaning: names.Meaning, refer: str) -> float | None:
    """Return the confidence below which answers are passed on to a person; None without ``refer``.

    Raises UserError for a system that is no run of a classifier.
    """
    if not refer:
        return None
    share = as_share("refer", refer)
    if type(meaning) is not names.Run:  # a ``Ready`` has no answers
        raise UserError(
            "not a classifier's run",
            _("{name} is no run, so that its confidence on test cases is unknown").format(name=meaning.name),
            expected=_("a folder made by souron train with a classifier"),
            fix="ls runs/*",
        )
    return run_predictions.least_confidence(meaning.folder, share)


def read_reference(loaded: Any, file: str) -> Any:
    """Read the expected image; None where no file was given. Raises UserError."""
    if not file:
        return None
    if not hasattr(loaded.asked.gives, "judged") or not issubclass(loaded.asked.gives, BeforeAfter):
        raise UserError(
            "option",
            _("{name} makes no images that could be compared").format(name=loaded.name),
            expected=_("an image-to-image system"),
            exit=2,
        )
    return Picture.read(Path(file))
