"""Check a data set of texts for faults that would spoil a result, before anything is trained.

It finds copies and near copies, also across parts; prompts with contradictory answers; characters
damaged by a wrong encoding; classes with few cases; keys and answers that the length alone reveals.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path

from souron.data import texts
from souron.data.dataset import Dataset
from souron.data.quality.findings import Finding, Severity, copies, differing, of_rows, together
from souron.data.texts import Preference, Question
from souron.utils.messages import _

BROKEN = ("missing", "empty file", "too large", "unreadable", "not a text", "outside")
LEFT_OUT = {"duplicate", "untranslated", "no words", "empty", "more"}  # without any loss
TINY, UNEVEN = 10, 10.0  # cases of a class, too few to measure; ratio of largest to smallest
SHINGLE = 30  # characters; texts that share most runs of this length are near copies
EVERY = 16  # one run in so many is compared
ALIKE = 0.6  # share of the compared runs that are in both
COMMON = 50  # texts that share a run, above which it does not indicate a copy
MOST_READ = 40_000  # characters of a text
TELLS = 0.8  # share of the cases in which the length reveals the answer
ENOUGH = 40  # cases needed to report it
MOST_FILES = 500  # whose encoding is checked
SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".conll", ".iob", ".bio")
# UTF-8 decoded as Windows-1252, and as Shift_JIS; and replacement characters
MOJIBAKE = re.compile("Ã[\u0080-\u00bf©¨¶¼¤]|â€[™œ\u009d“”]|Â[ °»«]|ã[‚\u0081\u0082]|[縺繧](?=.)|\ufffd")
FEWEST = 2  # such signs in a text


def found(cases: Dataset, folder: Path) -> list[Iterable[Finding]]:
    """Return all findings; the files' names are relative to ``folder``."""
    asked = [texts.bare(texts.asked(entry)) for entry in cases.input]
    return [
        _broken(cases),
        _copies(cases, asked),
        _near(cases, asked),
        _mojibake(cases),
        _encodings(Path(cases.source), folder),
        _balance(cases),
        _lengths(cases),
    ]


def _broken(cases: Dataset) -> Iterator[Finding]:
    by_code: dict[str, list[str]] = defaultdict(list)
    for skipped in cases.skipped:
        by_code[skipped.code].append(skipped.file)
    for code, files in sorted(by_code.items()):
        severity: Severity = "warning"
        if code in BROKEN or code in LEFT_OUT:
            severity = "error" if code in BROKEN else "hint"
        yield Finding(
            code,
            severity,
            tuple(files),
            (
                _("1 text or line cannot be used ({code})")
                if len(files) == 1
                else _("{count} texts or lines cannot be used ({code})")
            ).format(count=len(files), code=code),
            _("fix them, or leave them out: souron does so until then"),
        )


def _copies(cases: Dataset, asked: Sequence[str]) -> Iterator[Finding]:
    return copies(
        cases,
        together(asked),
        (_("{count} texts occur more than once"), _("1 text occurs more than once")),
        (
            _("{count} texts or prompts are in more than one of train, val and test"),
            _("1 text or prompt is in more than one of train, val and test"),
        ),
        (
            _("{count} texts have copies with another label or answer"),
            _("1 text has a copy with another label or answer"),
        ),
        _answers(cases),
    )


def _answers(cases: Dataset) -> list[object]:
    """Return what copies of a text must have in common: the class, or the text of the correct
    option."""
    if cases.labels is None:
        return []
    return [
        texts.bare(entry.options[label]) if isinstance(entry, Question) else label
        for entry, label in zip(cases.input, cases.labels, strict=True)
    ]


def _near(cases: Dataset, asked: Sequence[str]) -> Iterator[Finding]:
    pairs = near(asked)
    leader = list(range(len(asked)))
    for i, j in pairs:
        leader[max(i, j)] = min(leader[i], leader[j])
    families = together(leader)
    yield from of_rows(
        cases,
        "near duplicates",
        "warning",
        families,
        _("{count} texts are nearly the same as others"),
        _("keep one of each"),
        count=sum(len(rows) - 1 for rows in families),
        one=_("1 text is nearly the same as another"),
    )
    yield from of_rows(
        cases,
        "near leak",
        "error",
        differing(families, cases.part),
        _("{count} texts are in one of train, val and test, and nearly the same in another"),
        _("move each with its copies into one part"),
        one=_("1 text is in one of train, val and test, and nearly the same in another"),
    )


def near(told: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, of different texts that share most runs of ``SHINGLE``
    characters. One run in ``EVERY`` is compared, the same ones in every text, selected by their
    digests: Broder: On the resemblance and containment of documents (1997).
    https://doi.org/10.1109/SEQUEN.1997.666900"""
    marks = [_marks(text) for text in told]
    holding: dict[int, list[int]] = defaultdict(list)
    for row, own in enumerate(marks):
        for mark in own:
            holding[mark].append(row)
    shared: Counter[tuple[int, int]] = Counter()
    for rows in holding.values():
        if 1 < len(rows) <= COMMON:
            shared.update((i, j) for n, i in enumerate(rows) for j in rows[n + 1 :])
    return sorted(
        (i, j) for (i, j), count in shared.items() if count >= ALIKE * len(marks[i] | marks[j]) and told[i] != told[j]
    )


def _marks(text: str) -> set[int]:
    letters = "".join(filter(str.isalnum, text[:MOST_READ]))
    if len(letters) < 2 * SHINGLE:
        return set()
    runs = (letters[i : i + SHINGLE].encode() for i in range(len(letters) - SHINGLE + 1))
    digests = (int.from_bytes(blake2b(run, digest_size=8).digest(), "big") for run in runs)
    return {digest for digest in digests if digest % EVERY == 0}


def _mojibake(cases: Dataset) -> Iterator[Finding]:
    rows = [(row,) for row, entry in enumerate(cases.input) if garbled(texts.plain(entry))]
    yield from of_rows(
        cases,
        "mojibake",
        "warning",
        rows,
        _("{count} texts contain characters from a wrong encoding (as Ã©, â€™ or 縺)"),
        _("read their source again in its own encoding"),
        one=_("1 text contains characters from a wrong encoding (as Ã©, â€™ or 縺)"),
    )


def garbled(text: str) -> bool:
    """Return whether a text was decoded with a wrong encoding, by character sequences that are rare
    in every language."""
    return len(MOJIBAKE.findall(text[:MOST_READ])) >= FEWEST


def _encodings(source: Path, folder: Path) -> Iterator[Finding]:
    """Find files in another encoding than UTF-8, which were read nevertheless."""
    files = [source] if source.is_file() else sorted(folder.rglob("*")) if source.is_dir() else []
    other = []
    for file in [file for file in files if file.suffix.lower() in SUFFIXES][:MOST_FILES]:
        try:
            file.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            other.append(file.name)
        except OSError:
            continue
    if other:
        yield Finding(
            "encoding",
            "hint",
            tuple(other),
            _("{count} files are not in UTF-8 and were read as UTF-16 or cp932, if at all").format(count=len(other)),
            _("check whether their characters are right; UTF-8 leaves no doubt"),
        )


def _balance(cases: Dataset) -> Iterator[Finding]:
    labels = cases.labels
    if labels is None or not cases.classes or isinstance(cases.input[0], Question):
        return
    counts = Counter(labels)
    tiny = [name for number, name in enumerate(cases.classes) if counts[number] < TINY]
    if tiny:
        yield Finding(
            "tiny class",
            "warning",
            (),
            _("fewer than {count} texts in: {labels}").format(count=TINY, labels=", ".join(tiny)),
            _("more texts, or join classes"),
        )
    most, least = max(counts.values()), min(counts.values())
    if most >= UNEVEN * least:
        yield Finding(
            "imbalance",
            "warning",
            (),
            _("the largest class has {most} texts, the smallest {least}").format(most=most, least=least),
            _("read sensitivity class by class, not accuracy"),
        )


def _lengths(cases: Dataset) -> Iterator[Finding]:
    """Find answers that the length alone reveals: the correct option, the chosen answer."""
    entries = list(cases.input)
    if len(entries) < ENOUGH:
        return
    if isinstance(entries[0], Preference):
        longer = sum(len(one.chosen) > len(one.rejected) for one in entries) / len(entries)
        if max(longer, 1 - longer) > TELLS:
            yield Finding(
                "shortcut",
                "warning",
                (),
                _("the chosen answer is the longer one in {share:.0%} of the pairs").format(share=longer),
                _("pairs of similar length, else a network will learn the length"),
            )
    if isinstance(entries[0], Question) and cases.labels is not None:
        yield from _options(entries, cases.labels, cases.classes)


def _options(entries: Sequence[Question], keys: Sequence[int], letters: Sequence[str]) -> Iterator[Finding]:
    longest = [max(enumerate(map(len, one.options)), key=itemgetter(1))[0] for one in entries]
    share = sum(map(int.__eq__, longest, keys)) / len(keys)
    chance = sum(1 / len(one.options) for one in entries) / len(entries)
    if share > max(0.5, 1.5 * chance):
        yield Finding(
            "shortcut",
            "warning",
            (),
            _("the longest option is right in {share:.0%} of the questions; chance: {chance:.0%}").format(
                share=share, chance=chance
            ),
            _("options of similar length; compare every score with the baseline longest"),
        )
    key, count = Counter(keys).most_common(1)[0]
    if count / len(keys) > min(TELLS, 2 * chance):
        yield Finding(
            "key position",
            "warning",
            (),
            _("the answer is {letter} in {share:.0%} of the questions").format(
                letter=letters[key], share=count / len(keys)
            ),
            _("shuffle the options"),
        )
