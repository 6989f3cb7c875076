"""Images that occur more than once: certainly, if they are identical, and else as questions to a person."""

from collections.abc import Iterator, Sequence

from souron.data import splits
from souron.data.check.answers import Answers
from souron.data.dataset import Dataset
from souron.data.quality.findings import Finding, differing, of_rows, together
from souron.utils.messages import _

Pairs = Sequence[tuple[int, int]]


def copies(cases: Dataset, near: Pairs, turned: Pairs, answers: Answers) -> Iterator[Finding]:
    """Find copies: identical images, and pairs to which the answer was "copy"; ask about the other pairs.

    ``near`` may be re-encoded, resized or brightened copies, ``turned`` rotated, mirrored or framed ones.
    """
    first = splits.same_image(cases)

    def answered(answer: str, pairs: Pairs) -> list[tuple[int, int]]:
        names = (frozenset((cases.file[i], cases.file[j])) for i, j in pairs)
        return [pair for pair, name in zip(pairs, names, strict=True) if answers.get(name, "") == answer]

    same = together(first)
    sure = together(splits.same_image(cases, answered("copy", [*near, *turned])))
    yield from _certain(cases, same, [rows for rows in sure if rows not in set(same)], sure)
    open_near = [(i, j) for i, j in answered("", near) if first[i] != first[j]]
    yield from _questions(cases, open_near, answered("", turned))


def _certain(
    cases: Dataset, same: list[tuple[int, ...]], told: list[tuple[int, ...]], sure: list[tuple[int, ...]]
) -> Iterator[Finding]:
    """Find families of copies, and those that differ in patient, label or part."""
    yield from of_rows(
        cases,
        "duplicates",
        "warning",
        same,
        _("{count} images occur more than once, identical to the pixel"),
        _("keep one of each (a cleaned table does)"),
        count=sum(len(rows) - 1 for rows in same),
        one=_("1 image occurs more than once, identical to the pixel"),
    )
    yield from of_rows(
        cases,
        "confirmed copies",
        "warning",
        told,
        _("{count} images are copies of others, as you answered"),
        _("keep one of each (a cleaned table does)"),
        count=sum(len(rows) - 1 for rows in told),
        one=_("1 image is a copy of another, as you answered"),
    )
    named = [tuple(row for row in rows if cases.group[row]) for rows in sure if cases.group]
    yield from of_rows(
        cases,
        "copies of patients",
        "error",
        differing(named, cases.group),
        _("{count} images occur under more than one patient: a leak, or a wrong number"),
        _("find out which patient each belongs to, and give all copies that one"),
        one=_("1 image occurs under more than one patient: a leak, or a wrong number"),
    )
    conflicts = differing(sure, cases.labels or [0] * len(cases))
    yield from of_rows(
        cases,
        "label conflict",
        "error",
        conflicts,
        _("{count} images have copies with another label"),
        _("look at them and decide; a cleaned table leaves them all out"),
        count=sum(map(len, conflicts)),
    )
    yield from of_rows(
        cases,
        "leak",
        "error",
        differing(sure, cases.part),
        _("{count} images are in more than one of train, val and test"),
        _("move each with its copies into one part"),
        one=_("1 image is in more than one of train, val and test"),
    )


def _questions(cases: Dataset, near: Pairs, turned: Pairs) -> Iterator[Finding]:
    """Ask about pairs that may be copies; name those that differ in part, patient or label."""
    answer = _("look at each pair, and write copy or different beside it in copies.csv, which lies beside the page")
    yield from of_rows(
        cases,
        "near duplicates",
        "warning",
        near,
        _("{count} pairs of images may be copies: re-encoded, resized or brightened?"),
        answer,
        one=_("1 pair of images may be copies: re-encoded, resized or brightened?"),
        question=True,
    )
    yield from of_rows(
        cases,
        "rotated copies",
        "warning",
        turned,
        _("{count} pairs of images may be copies: rotated, mirrored, inverted or framed?"),
        answer,
        one=_("1 pair of images may be copies: rotated, mirrored, inverted or framed?"),
        question=True,
    )
    for code, pairs in (("near leak", near), ("rotated leak", turned)):
        yield from of_rows(
            cases,
            code,
            "warning",
            differing(pairs, cases.part),
            _("{count} of these pairs are in two of train, val and test"),
            _("answer them; a copy belongs into the part of its original"),
            one=_("1 of these pairs is in two of train, val and test"),
        )
    either = [*near, *turned]
    named = [(i, j) for i, j in either if cases.group and cases.group[i] and cases.group[j]]
    apart = {*differing(either, cases.labels or ()), *differing(named, cases.group)}
    yield from of_rows(
        cases,
        "near conflict",
        "warning",
        sorted(apart),
        _("{count} of these pairs have two labels or two patients"),
        _("answer these first: of copies, one label or number would be wrong"),
        one=_("1 of these pairs has two labels or two patients"),
    )
