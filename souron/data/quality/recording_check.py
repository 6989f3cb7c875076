"""Check recordings for faults that would spoil a result, before anything is trained.

It finds copies, also across parts; silence; clipping; texts that are too long or too short for
their sound, which mostly belong to another recording; texts with characters of a wrong encoding.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median

from souron.data import recordings
from souron.data.dataset import Dataset, digests
from souron.data.quality import text_check
from souron.data.quality.findings import Finding, Severity, copies, of_rows, together
from souron.metrics.transcription import characters_of
from souron.utils.messages import _

SILENT = -60.0  # dB, below which nobody is heard
CLIPPED = 0.01  # share of samples at the largest value
ODD = 3.0  # times the median of characters a second
FEWEST = 20  # recordings from which a median is trusted
BROKEN = ("missing", "unreadable", "truncated", "empty file", "outside", "not a sound", "too large")


def found(cases: Dataset) -> list[Iterable[Finding]]:
    """Return all findings."""
    return [_broken(cases), _copies(cases), _levels(cases), _lengths(cases), _mojibake(cases)]


def _broken(cases: Dataset) -> Iterator[Finding]:
    count = Counter(skipped.code for skipped in cases.skipped)
    for code, number in sorted(count.items()):
        files = tuple(skipped.file for skipped in cases.skipped if skipped.code == code)
        severity: Severity = "error" if code in BROKEN else "warning"
        yield Finding(
            code,
            severity,
            files,
            (
                _("1 recording cannot be used ({code})")
                if number == 1
                else _("{count} recordings cannot be used ({code})")
            ).format(count=number, code=code),
            _("fix them, or leave them out: souron does so until then"),
        )


def _copies(cases: Dataset) -> Iterator[Finding]:
    return copies(
        cases,
        together(list(digests(cases.input))),
        (_("{count} recordings occur more than once"), _("1 recording occurs more than once")),
        (
            _("{count} recordings are in more than one of train, val and test"),
            _("1 recording is in more than one of train, val and test"),
        ),
        (_("{count} recordings have copies with another text"), _("1 recording has a copy with another text")),
        list(cases.target),
    )


def _levels(cases: Dataset) -> Iterator[Finding]:
    quiet, loud = [], []
    for row, one in enumerate(cases.input):
        samples = one.samples
        if recordings.loudness(samples) < SILENT:
            quiet.append((row,))
        elif float((samples.abs() > 0.999).float().mean()) > CLIPPED:
            loud.append((row,))
    yield from of_rows(
        cases,
        "silence",
        "warning",
        quiet,
        _("{count} recordings are silent"),
        _("listen to them, and leave out what holds nothing"),
        one=_("1 recording is silent"),
    )
    yield from of_rows(
        cases,
        "clipping",
        "hint",
        loud,
        _("{count} recordings are clipped: too loud"),
        _("record them at a lower level, if they can be recorded again"),
        one=_("1 recording is clipped: too loud"),
    )


def _lengths(cases: Dataset) -> Iterator[Finding]:
    rates = [len(characters_of(text)) / one.seconds for text, one in zip(cases.target, cases.input, strict=True)]
    if len(rates) < FEWEST:
        return
    usual = median(rates)
    odd = [(row,) for row, rate in enumerate(rates) if not usual / ODD <= rate <= usual * ODD]
    yield from of_rows(
        cases,
        "length",
        "warning",
        odd,
        _("{count} texts are much longer or shorter than their recordings suggest"),
        _("listen to them: such a text mostly belongs to another recording"),
        one=_("1 text is much longer or shorter than its recording suggests"),
    )


def _mojibake(cases: Dataset) -> Iterator[Finding]:
    odd = [
        (row,) for row, text in enumerate(cases.target) if len(text_check.MOJIBAKE.findall(text)) >= text_check.FEWEST
    ]
    yield from of_rows(
        cases,
        "encoding",
        "warning",
        odd,
        _("{count} texts have characters that a wrong encoding has damaged"),
        _("save the table as UTF-8"),
        one=_("1 text has characters that a wrong encoding has damaged"),
    )
