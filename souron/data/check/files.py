"""Files that cannot be used, and images of another size or colour than the others."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from souron.data.check.headers import File
from souron.data.dataset import Dataset
from souron.data.quality.findings import Finding, of_rows
from souron.utils.messages import _

ODD = 4.0  # times larger or smaller than the median image
BROKEN = (
    "truncated",
    "unreadable",
    "empty file",
    "too large",
    "missing",
    "outside",
    "no decoder",
    "no scale",
    "window",
)


def broken(cases: Dataset) -> Iterator[Finding]:
    """Find files that cannot be used."""
    by_code: dict[str, list[str]] = defaultdict(list)
    for skipped in cases.skipped:
        by_code[skipped.code].append(skipped.file)
    fixes = {
        "no label": _("a label for each; cases without one are left out"),
        "duplicate": _("nothing: each counts once"),
        "label conflict": _("look at them and decide; the first label counts until then"),
        "no caption": _("a caption for each; images without one are left out"),
        "cut": _("a shorter caption: the first words matter most"),
        **dict.fromkeys(BROKEN, _("copy them again from their source, or remove them")),
    }
    for code, files in sorted(by_code.items()):
        yield Finding(
            code,
            "error" if code in (*BROKEN, "label conflict") else "hint",
            tuple(files),
            (
                _("1 file cannot be used ({code})") if len(files) == 1 else _("{count} files cannot be used ({code})")
            ).format(count=len(files), code=code),
            fixes.get(code, _("nothing, if they are not images of the data")),
        )


def sizes(cases: Dataset, about: Sequence[File | None]) -> Iterator[Finding]:
    """Find images of an unusual size, and grey images among images in colour."""
    sides = np.array([(file.width * file.height) ** 0.5 if file else np.nan for file in about])
    middle = np.nanmedian(sides) if np.isfinite(sides).any() else np.nan
    odd = np.flatnonzero((sides > ODD * middle) | (sides < middle / ODD)).tolist()
    yield from of_rows(
        cases,
        "odd size",
        "hint",
        [(row,) for row in odd],
        _("{count} images are over {times:g} times larger or smaller than the median one"),
        _("check whether they belong here"),
        times=ODD,
        one=_("1 image is over {times:g} times larger or smaller than the median one"),
    )
    kinds = Counter(file.colours for file in about if file)
    fewer = min(kinds, key=lambda colours: kinds[colours]) if len(kinds) > 1 else 0
    yield from of_rows(
        cases,
        "mixed colours",
        "hint",
        [(row,) for row, file in enumerate(about) if file and file.colours == fewer],
        _("{grey} grey images among {colour} in colour"),
        _("nothing, if both classes have both; else see the shortcuts"),
        grey=kinds[1],
        colour=kinds[3],
    )
