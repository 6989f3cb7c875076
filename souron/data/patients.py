"""Identify the images of one patient: from a column, a folder for each, or the files' names.

In names a patient is a word and a number (``patient-7``, ``患者01``, ``MRN1234567``), a letter and
a number (``p012``), or a number at the beginning (``001-a``, ``0012L``). Not every such number
identifies a patient: in ``000_p1.png`` and ``000_p2.png``, ``p1`` numbers the images of patient
000. Therefore each interpretation of the names is judged by the groups that it makes: there should
be many patients with few images each. A plausible interpretation is used, a possible one becomes a
question to the user; dates, hashes and camera numbers are neither. Tiles of a slide
(``slide7_x0_y512``, ``a_tile_12``) are grouped by the slide, as neighbours overlap or show one
structure.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from statistics import median
from typing import NamedTuple

from souron.data import recordings, texts, voices
from souron.data.dataset import Dataset
from souron.utils.messages import UserError, _, sentences
from souron.utils.spelling import loose_spelling, one_spelling, readable

COLUMN = (  # names of the column that holds patients, see ``csv_table.key_of``
    *("group", "patient", "patientid", "subject", "subjectid", "患者", "患者id", "患者番号"),
    *("症例", "症例id", "症例番号", "被験者", "被験者id"),
)
WORDS = re.compile(
    r"(?:(?:(?<![^\W\d_])(?:patient|pat|subject|subj|sub|person|case|pid|mrn)|患者|症例|被験者)"
    r"(?:(?<=sub)-[^\W_]+|[\W_]{0,2}\d+"
    r"|(?:[\W_]{1,2}|(?<=[者例]))(?:[a-z]{1,3}\d+|[a-z](?![^\W_])|(?<=[者例])[a-z]{2}(?![^\W_]))))",
    re.IGNORECASE,
)
LETTERS = re.compile(r"(?<![^\W_])(?:(?:pt|id)[_\-]?|[ps])\d+|^[ps][_\-]\d+", re.IGNORECASE)
CAMERAS = {
    "img", "image", "images", "im", "pic", "pict", "picture", "photo", "dsc", "dscn", "dscf", "pxl",
    "whatsapp", "frame", "slice", "page", "file", "screenshot", "untitled", "tile", "patch", "crop",
    "cell", "画像", "写真", "無題", "図",
}  # fmt: skip
TILES = re.compile(  # of a slide: its name, then column and row, or the number of a tile
    r"([^\W_].*?)[\W_]+(?:"
    r"(?:(?:tile|patch|crop)[\W_]*)?(?:x|y|row|col|r|c|i|j)[\W_]?\d+[\W_]*(?:x|y|row|col|r|c|i|j)[\W_]?\d+"
    r"|(?:tile|patch|crop)[\W_]?\d+(?:[\W_]+\d+)?)",
    re.IGNORECASE,
)
SIDE = r"[\W_]*(?:[左右]|(?i:left|right)|[LRlr](?![^\W_]))"
DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-_./年]?)(?:0?[1-9]|1[0-2])(?:\1|月)(?:0[1-9]|[12]\d|3[01]|[1-9])日?"
    r"|(?:0[1-9]|[12]\d|3[01])([-_.])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d"
    # years of a Japanese era: 令和6年5月3日, R6.5.3, R060503
    r"|(?<![A-Za-z])(?:令和|平成|昭和|[RHS])(?:元|\d{1,2})(?:年|([-_./]))(?:0?[1-9]|1[0-2])"
    r"(?:月|\3)(?:[12]\d|3[01]|0?[1-9])日?"
    r"|(?<![A-Za-z])[RH]\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    rf"(?:[T _\-]*\d\d[-.:_]?\d\d(?:[-.:_]?\d\d)?(?!\d)(?!{SIDE}))?(?!\d)"  # 0123_left is no time of day
)
YEAR, A_DAY = r"\d\d", r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 24, 0501
LEAST_NAMED = 0.9  # least share of names that fit an interpretation; the others are ungrouped
LEAST_WORDS = 0.5  # the same, for interpretations with a word for patients
FEWEST = 3  # groups; fewer are more likely something else
MANY = 5  # least number of groups to trust names without a word for patients
SMALL = 50  # images of the median group
LONG = 5  # digits of a number too long to count the images of a day
SEEN_OF = 8  # tenths of an alphabetical sequence that must exist, as some patients drop out
NUMBERS = 3  # in a name, that may be part of a patient's identifier
SHOWN = 5  # patients of several spellings that are named
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


class Groups(NamedTuple):
    names: list[str]  # of each case; "" if it is ungrouped
    how: str  # their origin, in the reader's language; "" without groups
    question: str = ""  # other possible patients, phrased as a question


class _Way(NamedTuple):
    """One interpretation of the files' names."""

    names: list[str]  # of each case; "" if it has none
    rests: list[str]  # the remainder of each case's name
    how: str  # in the reader's language
    pattern: str  # for ``group=``

    @property
    def sizes(self) -> Counter[str]:
        return Counter(name for name in self.names if name)

    @property
    def plausible(self) -> bool:
        """True if some groups hold several images, and there are more than just a few groups."""
        return FEWEST <= len(self.sizes) < self.sizes.total()

    @property
    def many_and_small(self) -> bool:
        middle = median(self.sizes.values())
        return len(self.sizes) >= max(MANY, 2 * middle) and middle <= SMALL

    @property
    def several(self) -> bool:
        """True if most groups hold several images that are distinguished by the rest of their
        names."""
        rests: dict[str, set[str]] = defaultdict(set)
        for name, rest in zip(self.names, self.rests, strict=True):
            if name:
                rests[name].add(rest)
        return 2 * sum(len(some) > 1 for some in rests.values()) >= len(rests)

    @property
    def views(self) -> bool:
        """True if the suffixes that distinguish a group's images recur in other groups: left and
        right, 1 to 3, a date."""
        different = {DATE.sub("", rest) for rest in self.rests}
        return self.several and 2 * len(different) <= self.sizes.total()

    def follows(self, least: float) -> bool:
        """Return whether at least this share of the names fits, and the groups are plausible."""
        return self.sizes.total() >= least * len(self.names) and self.plausible

    def says_class(self, labels: Sequence[str]) -> bool:
        """Return whether the groups are merely the classes under other names."""
        both = {(name, label) for name, label in zip(self.names, labels, strict=True) if name}
        return len(both) == len(self.sizes) <= len(set(labels))

    def crosses(self, other: "_Way") -> bool:
        """Return whether a group of ``other`` typically spans several of these groups."""
        own: dict[str, set[str]] = defaultdict(set)
        for name, theirs in zip(self.names, other.names, strict=True):
            if name and theirs:
                own[theirs].add(name)
        return bool(own) and median(len(names) for names in own.values()) > 1


class _Reading(NamedTuple):
    believed: _Way | None = None
    doubtful: _Way | None = None  # possible, to be asked


def groups(files: Sequence[str], labels: Sequence[str], wish: str | None = None) -> Groups:
    """Derive groups from the names of files (``class/p012_left.png``, with slashes) and their
    labels.

    ``wish``: None searches automatically; ``"none"`` makes no groups; otherwise a regular
    expression whose first capture group, or whole match, is the group. A file that does not match
    is ungrouped. Raises UserError if ``wish`` is not a regular expression or matches nothing.
    """
    if wish == "none":
        return Groups([""] * len(files), "")
    if wish is not None:
        return _by_wish(files, wish)
    believed, doubtful = _judge(files, labels)
    question = ""
    if doubtful is not None:
        row = next(i for i, name in enumerate(doubtful.names) if name)
        question = _(
            "Is {name} in {file} a patient? There are {count} such names. If so, say "
            "group={pattern}; if not, group=none."
        ).format(
            name=doubtful.names[row], file=files[row], count=len(doubtful.sizes), pattern=shlex.quote(doubtful.pattern)
        )
    if believed is None:
        return Groups([""] * len(files), "", question)
    row = next(i for i, name in enumerate(believed.names) if name)
    shown = _("{how}, as {name} in {file}").format(how=believed.how, name=believed.names[row], file=files[row])
    return Groups(believed.names, shown, question)


def about(cases: Dataset) -> str:
    """Describe how the patients of these cases were identified, or that they are unknown and what
    this may hide, in the reader's language."""
    if texts.holds(cases):
        return _about_texts(cases)
    if voices.holds(cases):
        return _about_pieces(cases)
    if recordings.holds(cases):
        return _about_recordings(cases)
    alone = [file for file, name in zip(cases.file, cases.group, strict=False) if not name]
    if not cases.group:
        parts = [
            _(
                "Which cases belong to one patient is unknown, so each counts separately: where "
                "a patient has several, the figures are too good and their intervals too narrow."
            )
        ]
    else:
        count = len(set(cases.group) - {""})
        text = _("{count} patients ({how}).")
        parts = [text.format(count=count, how=cases.grouped or _("the data set itself"))]
        if alone:
            text = _("{count} cases name no patient and count separately: {files}.")
            if len(alone) == 1:
                text = _("1 case names no patient and counts separately: {files}.")
            shown = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
            parts.append(text.format(count=len(alone), files=shown))
    return sentences([*parts, *([cases.question] if cases.question else [])])


def _about_texts(cases: Dataset) -> str:
    if not cases.group:
        return _("Which texts belong together is unknown, so each counts separately.")
    return _("{count} groups of texts that belong together ({how}).").format(
        count=len(set(cases.group) - {""}), how=cases.grouped or _("the data set itself")
    )


def _about_pieces(cases: Dataset) -> str:
    if not cases.group:
        return _("No two pieces share a tune, so each counts separately.")
    return _("{count} tunes, some of several pieces; those of one tune stay together.").format(
        count=len(set(cases.group))
    )


def _about_recordings(cases: Dataset) -> str:
    if not cases.group:
        return _("Who speaks in which recording is unknown, so each counts separately.")
    return _("{count} speakers ({how}); all recordings of one stay together.").format(
        count=len(set(cases.group) - {""}), how=cases.grouped or _("the data set itself")
    )


class Merged(NamedTuple):
    """Names of patients in one spelling each."""

    names: list[str]  # of each case
    several: tuple[tuple[str, ...], ...] = ()  # names that were taken for one patient
    unsure: tuple[tuple[str, ...], ...] = ()  # names that may be one patient, and count as several

    def said(self) -> str:
        """Return what was taken for one patient, in the reader's language; "" where each has one spelling."""
        if not self.several:
            return ""
        text = _("{count} patients are written in several ways, and are one each: {names}.")
        if len(self.several) == 1:
            text = _("1 patient is written in several ways, and is one: {names}.")
        return text.format(count=len(self.several), names=_equals(self.several))

    def asked(self) -> str:
        """Return what cannot be decided here, as a question in the reader's language; "" where nothing is open."""
        if not self.unsure:
            return ""
        return _("Are these one patient each? {names}. If so, give them one spelling; they count as several.").format(
            names=_equals(self.unsure)
        )


def _equals(families: Sequence[Sequence[str]]) -> str:
    shown = ", ".join(" = ".join(names) for names in families[:SHOWN])
    return shown + (", ..." if len(families) > SHOWN else "")


def merged(names: Sequence[str]) -> Merged:
    """Give each patient one spelling, the first one that occurs; "" stays.

    >>> merged(["P001", "p1", "Ｐ１", "Q2", ""]).names
    ['P001', 'P001', 'P001', 'Q2', '']
    """
    spelled: dict[str, dict[str, None]] = {}
    keys = {name: one_spelling(name) or name for name in dict.fromkeys(names) if name}
    for name, key in keys.items():
        spelled.setdefault(key, {})[name] = None
    first = {key: next(iter(family)) for key, family in spelled.items()}
    near: dict[str, list[str]] = {}
    for key, name in first.items():
        near.setdefault(loose_spelling(key), []).append(name)
    return Merged(
        [first[keys[name]] if name else "" for name in names],
        tuple(tuple(family) for family in spelled.values() if len(family) > 1),
        tuple(tuple(family) for loose, family in near.items() if loose and len(family) > 1),
    )


def in_one_spelling(cases: Dataset) -> Dataset:
    """Return cases whose patients have one spelling each; what was merged is said, what is open is asked."""
    if not any(cases.group):
        return cases
    found = merged(cases.group)
    if not found.several and not found.unsure:
        return cases
    return replace(
        cases,
        group=found.names,
        written=list(cases.group) if found.several else (),
        grouped=" ".join(filter(None, (cases.grouped or _("the data set itself"), found.said()))),
        question=" ".join(filter(None, (cases.question, found.asked()))),
    )


def _by_wish(files: Sequence[str], wish: str) -> Groups:
    try:
        pattern = re.compile(wish)
    except re.error as error:
        raise UserError(
            "group",
            _("{wish!r} is no regular expression: {why}").format(wish=wish, why=error),
            expected=_("none, a column of the CSV, or a pattern such as {pattern}").format(pattern=r"(p\d+)_"),
        ) from error
    matches = [pattern.search(file) for file in files]
    names = [match[1 if pattern.groups else 0] or "" if match else "" for match in matches]
    if not any(names):
        raise UserError(
            "group",
            _("the pattern {wish!r} is in no file's name, as {file}").format(wish=wish, file=files[0] if files else ""),
            expected=_("a pattern such as {pattern}").format(pattern=r"(p\d+)_"),
            fix="group=none",
        )
    return Groups(names, _("the pattern {wish}").format(wish=wish))


def _judge(files: Sequence[str], labels: Sequence[str]) -> _Reading:
    stems = [readable(PurePosixPath(file).stem) for file in files]
    folder = _by_folder(files, labels)
    visits = None  # folders of dates are visits; the files' names may give their patients
    if folder is not None and all(not DATE.sub("", name) for name in folder.sizes):
        folder, visits = None, folder
    found = _judge_names(stems, labels, folder)
    return _Reading(None, visits) if found == _Reading() and visits else found


def _judge_names(stems: Sequence[str], labels: Sequence[str], folder: _Way | None) -> _Reading:
    """Choose an interpretation by the names of files, given that ``folder`` may be patients."""
    numbers = [
        way
        for way in _by_first_numbers(stems)
        if way.follows(LEAST_NAMED) and way.views and not way.says_class(labels) and not _days(way, YEAR + A_DAY)
    ]
    small = [way for way in numbers if way.many_and_small and not _days(way, A_DAY)]
    number = small[0] if small else None
    named_before = numbers[0] if numbers and numbers[0] is not number else None

    words = _by_pattern(stems, WORDS)
    if words.follows(LEAST_WORDS):
        return _Reading(words if words.many_and_small else _better(words, folder, number) or words)
    letters = _by_pattern(stems, LETTERS)
    if letters.follows(LEAST_NAMED) and not letters.says_class(labels):
        if better := _better(letters, folder, number):
            return _Reading(better)
        before = [DATE.sub("", rest.partition("\0")[0]) for rest in letters.rests]
        first = not any(map(re.compile(r"\d").search, before))
        enough = len(letters.sizes) >= min(MANY, median(letters.sizes.values()))
        if first and enough:
            return _Reading(letters)
        return _Reading(folder or number, letters)
    tiles = _by_tiles(stems)
    if folder is None and tiles.follows(LEAST_NAMED) and not tiles.says_class(labels):
        return _Reading(_better(tiles, number) or tiles)
    if folder is not None and (number is None or folder.many_and_small):
        return _Reading(folder)
    if number is not None:
        return _Reading(number, named_before)
    lettered = _by_letters(stems)
    if lettered.follows(LEAST_NAMED) and _is_sequence(lettered.sizes):
        return _Reading(lettered)
    return _Reading(None, named_before or _repeated(stems, labels))


def _better(way: _Way, *others: _Way | None) -> _Way | None:
    """Return another interpretation whose groups look more like patients and are split by
    this one."""
    for other in others:
        if other is not None and other.many_and_small and way.crosses(other):
            return other
    return None


def _by_letters(stems: Sequence[str]) -> _Way:
    """Interpret one or two letters as a patient, followed by a suffix of the image: ``A_1``,
    ``DD2``."""
    pattern = r"^([A-Za-z]{1,2})(?=[\W_\d])"
    matches = [re.match(pattern, stem) for stem in stems]
    names = [match[1].lower() if match else "" for match in matches]
    rests = [stem[match.end() :] if match else stem for stem, match in zip(stems, matches, strict=True)]
    return _Way(names, rests, _("file names"), r"([A-Za-z]{1,2})[\W_\d][^/]*$")


def _is_sequence(names: Container[str]) -> bool:
    """Return whether the names are a, b, ..., z, aa, ab, ... beyond z. Fewer may be rows of a
    plate, or views."""
    letters = [chr(97 + i) for i in range(26)]
    order = [*letters, *(first + second for first in letters for second in letters)]
    count = sum(name in names for name in order)
    return count > len(letters) and all(name in names for name in order[: SEEN_OF * count // 10])


def _days(way: _Way, pattern: str) -> bool:
    """Return whether the numbers may be dates, such as 0501 or 240501."""
    last = [re.search(r"(\d*)\D*$", name) for name in way.sizes]
    return all(match and re.fullmatch(pattern, match[1]) for match in last)


def _by_pattern(stems: Sequence[str], pattern: re.Pattern[str]) -> _Way:
    """Interpret a pattern as the patient; the rest of a name is its prefix, a zero byte, and its
    suffix."""
    matches = [pattern.search(stem) for stem in stems]
    names = [match[0].lower() if match else "" for match in matches]
    rests = [
        f"{stem[: match.start()]}\0{stem[match.end() :]}" if match else stem
        for stem, match in zip(stems, matches, strict=True)
    ]
    return _Way(names, rests, _("file names"), pattern.pattern)


def _by_tiles(stems: Sequence[str]) -> _Way:
    """Interpret names as tiles; the group is the slide that they were cut from."""
    matches = [TILES.fullmatch(stem) for stem in stems]
    names = [match[1].lower() if match else "" for match in matches]
    rests = [stem[match.end(1) :] if match else stem for stem, match in zip(stems, matches, strict=True)]
    return _Way(names, rests, _("file names"), rf"{TILES.pattern}\.[^./]+$")


def _by_first_numbers(stems: Sequence[str]) -> Iterator[_Way]:
    """Yield interpretations of the beginning of names, up to the first, second, ... number that is
    not a date."""
    for count in range(1, NUMBERS + 1):
        pattern = r"[^/\d]*\d+" + r"[^/\d]+\d+" * (count - 1)
        both = [_first_numbers(stem, pattern) for stem in stems]
        names, rests = [name for name, _rest in both], [rest for _name, rest in both]
        if 2 * sum(bool(re.search(r"\w", rest)) for rest in rests) >= len(stems):
            yield _Way(names, rests, _("file names"), f"({pattern})[^/]*$")


def _first_numbers(stem: str, pattern: str) -> tuple[str, str]:
    """Return the name and the rest. A date may only be followed by a long number, or by one with a side, since
    another short one counts the images of the day."""
    dates = [match[0] for match in DATE.finditer(stem)]
    without = DATE.sub("\0", stem)
    match = re.match(pattern, without)
    if match is None or re.split(r"[\W_\d]", stem)[0].lower() in CAMERAS:
        return "", ""
    sided = re.compile(SIDE).match(without, match.end())
    if "\0" in match[0] and not sided and not re.search(rf"\d{{{LONG}}}$", match[0]):
        return "", ""
    name = match[0].replace("\0", "").strip(" _-.").lower()
    return name, without[match.end() :].replace("\0", "") + " ".join(["", *dates])


def _repeated(stems: Sequence[str], labels: Sequence[str]) -> _Way | None:
    """Find repeated names without a number, such as ``tanaka_1`` and ``田中左``, and repeated numbers, such as
    ``1234567_8675309``."""
    apart = [re.sub(r"(?<=[^\W_])(?=[左右]$)", "_", DATE.sub("\0", stem)) for stem in stems]
    matches = [re.fullmatch(r"(.+)[\W_]+([^\W_]+)", stem) for stem in apart]
    names = [match[1].lower() if match else "" for match in matches]
    names = [n if re.search(r"\w", n) and re.split(r"[\W_\d]", n)[0] not in CAMERAS else "" for n in names]
    rests = [match[2] if match else "" for match in matches]
    way = _Way(names, rests, _("file names"), r"([^/]+?)(?:(?:[^\w/]|_)+[^\W_]+|[左右])\.[^./]+$")
    if not way.follows(LEAST_NAMED) or way.says_class(labels) or _days(way, YEAR + A_DAY):
        return None
    return way if way.many_and_small and way.several else None


def _by_folder(files: Sequence[str], labels: Sequence[str]) -> _Way | None:
    """Interpret folders within the class as patients, as in ``cat/p012/1.png``; the topmost level
    that makes groups is used."""
    places = [
        [part for part in PurePosixPath(file).parts[:-1] if part != label and part.lower() not in PARTS]
        for file, label in zip(files, labels, strict=True)
    ]
    for depth in range(1, 1 + max(map(len, places), default=0)):
        names = ["/".join(place[:depth]) for place in places]
        names = [n if len(p) >= depth else "" for n, p in zip(names, places, strict=True)]
        way = _Way(names, [""] * len(names), _("folders"), r"([^/]+)/[^/]*$")
        if way.follows(LEAST_NAMED) and not way.says_class(labels):
            return way
    return None
