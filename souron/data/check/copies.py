"""Images that occur more than once: identical, encoded anew, rotated, mirrored or framed."""

from collections.abc import Iterator, Sequence

from souron.data import splits
from souron.data.dataset import Dataset
from souron.data.quality.findings import Finding, differing, of_rows, together
from souron.utils.messages import _


def copies(cases: Dataset, alike: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Find copies, identical or of the pairs ``alike``, and copies that differ in patient, label or
    part."""
    same = together(splits.same_image(cases))
    known = set(same)
    near = [rows for rows in together(splits.same_image(cases, alike)) if rows not in known]
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
        "near duplicates",
        "warning",
        near,
        _("{count} images are copies of others, re-encoded, resized or brightened"),
        _("keep one of each (a cleaned table does)"),
        count=sum(len(rows) - 1 for rows in near),
        one=_("1 image is a copy of another, re-encoded, resized or brightened"),
    )
    named = [tuple(row for row in rows if cases.group[row]) for rows in [*same, *near] if cases.group]
    yield from of_rows(
        cases,
        "copies of patients",
        "error",
        differing(named, cases.group),
        _("{count} images occur under more than one patient: a leak, or a wrong number"),
        _("find out which patient each belongs to, and give all copies that one"),
        one=_("1 image occurs under more than one patient: a leak, or a wrong number"),
    )
    conflicts = differing([*same, *near], cases.labels or [0] * len(cases))
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
        differing([*same, *near], cases.part),
        _("{count} images are in more than one of train, val and test"),
        _("move each with its copies into one part"),
        one=_("1 image is in more than one of train, val and test"),
    )


def altered(cases: Dataset, pairs: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Find the pairs of images of which one is a rotated, mirrored or framed copy of the other."""
    yield from of_rows(
        cases,
        "rotated copies",
        "warning",
        pairs,
        _("{count} images are rotated, mirrored, inverted or framed copies of others"),
        _("keep one of each; souron alters training images itself: augment=mirror,rotate"),
        one=_("1 image is a rotated, mirrored, inverted or framed copy of another"),
    )
    yield from of_rows(
        cases,
        "rotated leak",
        "error",
        differing(pairs, cases.part),
        _("{count} images are in one of train, val and test, and an altered copy in another"),
        _("move each with its copies into one part"),
        one=_("1 image is in one of train, val and test, and an altered copy in another"),
    )
