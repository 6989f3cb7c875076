"""Cephalometric analysis: angles of lateral head films from landmarks, with their error and norms.

A landmark detector marks each film; the angles follow by geometry (``measures``). Their error is
that of the detector on its own test cases, whose landmarks were marked by hand: the bias and the
95 % limits of agreement. A verdict (within, above or below the norm) is given only where these
limits allow it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from souron import model as models
from souron.action import Action, Given
from souron.actions.cephalometry import measures
from souron.actions.cephalometry.measures import Error
from souron.actions.cephalometry.record import Analysis, Film
from souron.evaluation.vision.keypoints import KeypointResult
from souron.kinds.points import Points
from souron.kinds.signature import Choice
from souron.model import Model
from souron.runs import evaluate
from souron.runs.events import Event
from souron.utils import files
from souron.utils.messages import N_, UserError, _

MOST_FILMS = 1000


@dataclass(frozen=True)
class Options:
    norms: Annotated[str, Choice(N_("a CSV of your own norms: measure, low, high, source"), metavar="FILE")] = ""


class Cephalometry(Action):
    """Measure lateral films with a landmark detector; ``given`` are the detector and the films.

    >>> from souron.actions.cephalometry import Cephalometry
    >>> record = Cephalometry().result("heatmap_points", "film.dcm")  # doctest: +SKIP
    """

    title = N_("Measure cephalometric angles of lateral films, with error and norms.")
    examples = (
        "souron cephalometry heatmap_points film.dcm",
        "souron cephalometry runs/keypoints/heatmap_points-films films/ norms=norms.csv",
    )
    group = "use"
    given = Given("RUN FILES ...", N_("a landmark detector, then images or DICOM files, or folders"), 2, None)
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        name, *films = given
        norms = measures.NORMS | (measures.read_norms(Path(options.norms)) if options.norms else {})
        yield Event("data", text=name)
        model = models.load(name)
        names = _landmarks_of(model)
        shown, trouble = [], {}
        for file, answer in models.predict(model, films):
            if isinstance(answer, UserError):
                trouble[str(file)] = str(answer)
                continue
            assert isinstance(answer, Points)
            shown.append(_film(str(file), answer))
            yield Event("answer", text=str(file))
            if len(shown) >= MOST_FILMS:
                trouble["..."] = _("at most {count} films at once").format(count=MOST_FILMS)
                break
        if not shown:
            raise UserError(
                "files",
                "; ".join(f"{file}: {reason}" for file, reason in trouble.items()) or films[0],
                expected=_("images or DICOM files of lateral films"),
                fix=self.examples[0],
                exit=3,
            )
        yield Event("check", text=_("the error on its own test cases"))
        error, unknown = _error(model, names)
        folder = files.new_folder(self.project / self.name, Path(films[0]).stem)
        yield Event(
            "done",
            1.0,
            record=Analysis(name, model.learnt_from, shown, trouble, norms, error, unknown, _lacking(names), folder),
        )


def _landmarks_of(model: Model) -> list[str]:
    """Return the names of the landmarks. Raises UserError where no measure can be computed."""
    names = list(model.system.spec.labels) if model.asked.gives is Points else []
    if not measures.possible(names):
        raise UserError(
            "landmarks",
            _("{name} marks no landmarks of a lateral film").format(name=model.name),
            expected=", ".join(aliases[0] for aliases in measures.ALIASES.values()),
            fix="souron cephalometry heatmap_points FILE",
            exit=2,
        )
    return names


def _lacking(names: Sequence[str]) -> list[str]:
    able = measures.possible(names)
    return [each.name for each in measures.MEASURES if each not in able]


def _film(file: str, answer: Points) -> Film:
    values = measures.measure(answer.names, np.asarray(answer.point))
    return Film(file, answer, {name: float(value) for name, value in values.items()})


def _error(model: Model, names: Sequence[str]) -> tuple[dict[str, Error], str]:
    """Return the error of each measure on the test cases; else why it is not known."""
    if model.folder is None:
        return {}, _("it has no test cases here")
    try:
        record = evaluate.examine(model.folder)
    except UserError as trouble:
        return {}, str(trouble)
    result, test = record.details, record.test
    assert isinstance(result, KeypointResult) and test is not None
    error = measures.errors(names, result.found, test.target.double().numpy())
    return error, "" if error else _("too few test cases are marked completely")
