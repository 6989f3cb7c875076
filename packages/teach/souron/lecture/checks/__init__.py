"""Functions that a reader writes, compared with souron's own on generated inputs.

    from souron.lecture import checks
    checks.check("box_overlap", box_overlap)

One file each, found by its name, ``box_overlap.py``. It holds

    ROW = "D2"                         the row of the lecture that the function belongs to
    def reference(one, other): ...     the right answer: a number, an array, a text, or a list of texts or tuples
    def inputs(chance): ...            yields the arguments of each case, a tuple; at most ``MOST`` are used

and may hold ``TOLERANCE``. ``chance`` is a NumPy generator with a fixed seed, so every check has the same cases.

The function runs in this process. All cases together have ``SECONDS``: time is looked at
before each line of Python, so one call of a library that never returns is not interrupted.
"""

import importlib
import inspect
import reprlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from souron.lecture import exercises
from souron.utils import files
from souron.utils.messages import UserError, _, near

SEED = 0
MOST = 40  # cases
SECONDS = 10.0  # of all cases together
TOLERANCE = 1e-5  # relative and absolute
LONGEST = 160  # characters of a value in a sentence


class TooLongError(BaseException):
    """Raised in a function that runs too long; no Exception, so that ``except Exception`` lets it pass."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check, shown as its sentence."""

    right: bool | None  # None: not written yet
    text: str

    def __repr__(self) -> str:
        return self.text


def names() -> list[str]:
    """List the functions that can be checked."""
    return files.names_in(sys.modules[__name__])


def find(name: str) -> ModuleType:
    """Return the file of a function. Raises UserError."""
    if name not in names():
        raise _unknown(name)
    return importlib.import_module(f"{__name__}.{name}")


def _unknown(name: Any) -> UserError:
    found = _("no function to check is named {name!r}").format(name=str(name)[:40])
    return UserError("check", found, expected=near(str(name)[:40], names()))


def source(name: str) -> str:
    """Return the text of a function's file, which is not imported. Raises UserError."""
    if name not in names():
        raise _unknown(name)
    places = [Path(folder) / f"{name}.py" for folder in sys.modules[__name__].__path__]
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")


def check(name: str, function: Any, project: str | Path = "runs") -> Outcome:
    """Compare a reader's function with souron's own, and keep whether it is right.

    A line of JSON is appended to ``exercises.jsonl`` of the project, without a name; none where the function is not
    written yet (``NotImplementedError``). An error of the function is part of the sentence and is not raised.
    Raises UserError for an unknown name.

    >>> check("dice", lambda predicted, true: 0.5, project=getfixture("tmp_path")).right  # doctest: +SKIP
    False
    """
    outcome = compare(name, function)
    if outcome.right is None:
        return outcome
    line = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "kind": exercises.FUNCTION,
        "row": find(name).ROW,
        "exercise": name,
        "answer": None,
        "right": outcome.right,
    }
    try:
        exercises.append(Path(project) / exercises.KEPT, line)
    except UserError as error:
        return Outcome(outcome.right, f"{outcome.text} {error}")
    return outcome


def compare(name: str, function: Any) -> Outcome:
    """Compare a function with the reference on every case, without keeping the result. Raises UserError."""
    part = find(name)
    if not callable(function):
        text = _("{name} is no function but of the type {type}").format(name=name, type=type(function).__name__)
        return Outcome(False, text)
    tolerance = getattr(part, "TOLERANCE", TOLERANCE)
    deadline, count = time.monotonic() + SECONDS, 0
    for given in islice(part.inputs(np.random.default_rng(SEED)), MOST):
        expected = part.reference(*deepcopy(given))
        call = call_text(name, part.reference, given)
        try:
            with until(deadline):
                problem = _problem(function(*given), expected, tolerance)
        except NotImplementedError:
            return Outcome(None, _("{name} is not written yet. Replace its last line.").format(name=name))
        except TooLongError:
            text = _("{call} is still running after {seconds} s. Does its loop end?")
            return Outcome(False, text.format(call=call, seconds=f"{SECONDS:g}"))
        except (Exception, SystemExit) as error:
            last = " ".join(traceback.format_exception_only(error)[-1].split())[:LONGEST]
            return Outcome(False, _("{call} raises {error}").format(call=call, error=last))
        if problem:
            return Outcome(False, f"{call} {problem}")
        count += 1
    return Outcome(
        True, _("Right: {name} agrees with souron in {count} of {count} cases.").format(name=name, count=count)
    )


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Raise ``TooLongError`` in the code within the block once ``time.monotonic()`` is past the deadline.

    A trace function looks at the time before each line, on every platform and in any thread.
    """

    def look(_frame: FrameType, _event: str, _argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise TooLongError
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


def _problem(got: Any, expected: Any, tolerance: float) -> str:
    """Return how an answer differs from the expected one; "" where it does not."""
    if isinstance(expected, str | list):
        wanted = (list, tuple) if isinstance(expected, list) else str
        if not isinstance(got, wanted):
            return _wrong_type(got, _("a list") if isinstance(expected, list) else _("a text"))
        same = (list(got) if isinstance(expected, list) else got) == expected
    else:
        numbers, right = _array(got), np.asarray(expected)
        if numbers is None:
            return _wrong_type(got, _("an array of numbers") if right.ndim else _("a number"))
        if numbers.shape != right.shape:
            text = _("returns the shape {got}; expected is {expected}")
            return text.format(got=numbers.shape, expected=right.shape)
        same = np.allclose(numbers, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    if same:
        return ""
    return _("returns {got}; expected is {expected}").format(got=shown(got), expected=shown(expected))


def _wrong_type(got: Any, expected: str) -> str:
    if got is None:
        return _("returns nothing; expected is {expected}. Is `return` missing?").format(expected=expected)
    text = _("returns {got}, of the type {type}; expected is {expected}")
    return text.format(got=shown(got), type=type(got).__name__, expected=expected)


def _array(value: Any) -> np.ndarray | None:
    """Return a number, a list of numbers, an array or a tensor as an array; None for anything else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        found = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return found if found.dtype.kind in "biuf" else None


def call_text(name: str, reference: Callable[..., Any], given: tuple[Any, ...]) -> str:
    """Return a call as a reader would type it, shortened."""
    parameters = inspect.signature(reference).parameters
    return f"{name}({', '.join(f'{known}={shown(value)}' for known, value in zip(parameters, given, strict=True))})"


def shown(value: Any) -> str:
    """Return a value in a few characters; arrays and tensors as lists."""
    short = reprlib.Repr()
    short.maxlist, short.maxtuple, short.maxlevel, short.maxstring, short.maxother = 12, 12, 3, 60, LONGEST
    numbers = _array(value) if hasattr(value, "__array__") else None
    if numbers is not None:
        value = np.round(numbers, 4).tolist() if numbers.dtype.kind == "f" else numbers.tolist()
    elif isinstance(value, float):
        value = round(value, 6)
    return short.repr(value)[:LONGEST]
