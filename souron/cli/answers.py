"""Answers of ``souron predict``, as they are printed and saved."""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from souron.cli import console
from souron.cli.console import note, print_json, screen, show
from souron.hub import names
from souron.kinds import finding
from souron.pipelines.answer_lines import are_labels, as_json, best, excludes
from souron.utils import files as file_utils
from souron.utils import units
from souron.utils.messages import UserError, _

BEFORE = 300  # characters of a given text that stand before its continuation
FORMS = {"coco": ".coco.json", "yolo": ".txt", "json": ".json", "csv": ".csv", "png": ".png"}


class Saving:
    """Files with the answers of a system: one each, or one file of COCO for all of them."""

    def __init__(self, loaded: Any, meaning: names.Meaning, out: str | None, to: str | None) -> None:
        from souron.runs.annotations import Annotations

        self.loaded, self.meaning, self.to = loaded, meaning, to
        self.place = Path(out) if out else None
        self.together = Annotations() if to == "coco" else None

    def keep(self, answer: Any, file: Path) -> Path | None:
        """Save an answer if that was asked for, or if text cannot express it; return its path."""
        from souron import model as models_api

        if self.together is not None:
            self.together.add(answer, file)
            return None
        if not (self.place or self.to or getattr(answer, "kept", False)):
            return None
        form = FORMS[self.to] if self.to else ""
        return models_api.keep(answer, file, self._folder(), form, self.loaded)

    def end(self) -> None:
        """Write the file for all answers, if there is one, and print its path."""
        if self.together is None or not self.together.images:
            return
        saved = self.together.write(self._folder())
        if screen.json:
            print_json({"saved": str(saved)})
        else:
            show(_("saved: {path}").format(path=saved))

    def _folder(self) -> Path:
        self.place = self.place or place_of_answers(self.meaning)
        return self.place


def place_of_answers(meaning: names.Meaning) -> Path:
    """Return a new folder for answers, inside the run if the system is one of the user's."""
    own = meaning.folder if type(meaning) is names.Run else Path()  # not a ``Ready``
    return file_utils.new_folder(own, "answers")


def tell_json(
    file: str,
    answer: Any,
    top: int,
    saved: Path | None,
    least: float | None = None,
    origin: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Print one JSON object on a line; ``least``: see ``is_referred``, ``origin``: what answered it."""
    told = as_json(file, answer, top, origin() if origin else None)
    if least is not None and "error" not in told:
        told["refer"] = is_referred(answer, least)
    print_json(told | ({"saved": str(saved)} if saved and "error" not in told else {}))


def tell_csv() -> Callable:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "probability"])

    def tell(file: str, answer: Any, top: int, saved: Path | None, least: float | None = None) -> None:
        if isinstance(answer, UserError):
            console.warn(f"[{answer.code}] {answer.found}")
            return
        if not are_labels(answer):
            raise UserError(
                "option", _("--csv lists labels, and this system gives none"), expected="--json", fix="out=FOLDER"
            )
        warn(file, answer)
        for rank, (label, probability) in enumerate(best(answer, top), 1):
            writer.writerow([file, rank, label, f"{probability:.6f}"])
        refer(file, answer, least)

    return tell


def warn(file: str, answer: Any) -> None:
    """Warn where the case is unlike the training data."""
    if text := finding.unlike(answer):
        console.warn(f"{file}: {text}", "bold yellow")


def refer(file: str, answer: Any, least: float | None) -> None:
    """Say where an answer is passed on to a person."""
    if is_referred(answer, least):
        console.warn(_("{file}: pass on to a person").format(file=file))


def is_referred(answer: Any, least: float | None) -> bool:
    """Return whether the confidence of labels is below ``least``; None refers nothing."""
    return least is not None and excludes(answer) and best(answer, 1)[0][1] < least


def words(answer: Any) -> str:
    """Return an answer as text: marks with their scores, of a long text that it continues the end alone."""
    start = getattr(answer, "continues", 0) - BEFORE
    if start <= 0:
        return str(getattr(answer, "scored", answer))
    note(_("{count} characters before it are not shown").format(count=units.whole(start)))
    return f"… {answer.text[start:]}"


def tell_people(file: str, answer: Any, top: int, saved: Path | None, least: float | None = None) -> None:
    if isinstance(answer, UserError):
        first, *rest = str(answer).splitlines()
        console.warn(first)
        for line in rest:
            note(line)
        return
    warn(file, answer)
    labels = [(answer.called(label), share) for label, share in best(answer, top)] if excludes(answer) else []
    if finding.standing(answer) == "unlike":
        first = " ".join([labels[0][0], units.percent(labels[0][1])]) if labels else words(answer)
        show(file, finding.guess(first))
    else:
        show(file, console.likelihoods(labels) if labels else words(answer))
    refer(file, answer, least)
    for text in getattr(answer, "notes", ()):
        console.warn(text)
    for path in [saved, *getattr(answer, "also", [])] if saved else []:
        show(_("saved: {path}").format(path=path))
