"""Patients, or whatever groups the cases: unnamed, few, in several spellings, or in several
parts."""

from collections import Counter
from collections.abc import Iterator, Sequence

from souron.data.dataset import Dataset
from souron.data.patients import merged
from souron.data.quality.findings import Finding, differing, of_rows, several_spellings, together
from souron.utils.messages import _

FEWEST = 5  # patients of a class


def patients(cases: Dataset) -> Iterator[Finding]:
    """Find cases without a patient, and patients in several parts or classes."""
    if not cases.group:
        yield Finding(
            "no groups",
            "hint",
            (),
            _("nothing says which images are of one patient; each counts as a case of its own"),
            cases.question or _("a column named patient in a CSV, or group=PATTERN"),
        )
        return
    yield from of_rows(
        cases,
        "no patient",
        "hint",
        [(row,) for row, name in enumerate(cases.group) if not name],
        _("{count} images name no patient; each counts as a case of its own"),
        _("a name like the others', if they are of a patient"),
        one=_("1 image names no patient; it counts as a case of its own"),
    )
    families = together([name or row for row, name in enumerate(cases.group)])
    label = cases.labels
    if label is None:
        return
    yield from of_rows(
        cases,
        "patient leak",
        "error",
        differing(families, cases.part),
        _("{count} patients are in more than one of train, val and test"),
        _("give all images of a patient to one part, or define no parts: souron then splits the data"),
        one=_("1 patient is in more than one of train, val and test"),
    )
    yield from of_rows(
        cases,
        "patient in classes",
        "hint",
        differing(families, label),
        _("{count} patients have images in more than one class"),
        _("nothing, if that is how it is (left and right, before and after)"),
        one=_("1 patient has images in more than one class"),
    )
    yield from _few(cases, label)


def _few(cases: Dataset, label: Sequence[int]) -> Iterator[Finding]:
    """Find classes with few patients."""
    seen = {(c, name or row) for row, (c, name) in enumerate(zip(label, cases.group, strict=True))}
    number = Counter(c for c, _name in seen)
    few = [name for c, name in enumerate(cases.classes) if number[c] < FEWEST]
    if few:
        message = _("fewer than {count} patients in: {labels}")
        yield Finding(
            "few patients",
            "warning",
            (),
            message.format(count=FEWEST, labels=", ".join(few)),
            _("more patients; more images of the same ones help little"),
        )


def spellings(cases: Dataset) -> Iterator[Finding]:
    """Find patients in several spellings: those that were taken for one, and those that may be."""
    yield from several_spellings(
        cases,
        "patient spellings",
        cases.written,
        _("{count} patients are written in several ways, and are one each: {names}"),
        _("one spelling for each, so that it is sure"),
        _("1 patient is written in several ways, and is one: {names}"),
    )
    if question := merged(cases.group).asked():
        fix = _("one spelling for each; until then each counts as a separate patient")
        yield Finding("patient spellings", "warning", (), question, fix)
