"""Parse numbers, units, ranges and dates in English and Japanese into comparable values.

``500 mg``, ``0.5 g``, ``５００ミリグラム`` are one quantity; ``令和6年5月3日`` and
``May 3, 2024`` are one date; ``10-15 mg`` is a range. The text is normalised to Unicode's
compatibility form (NFKC, UAX 15, https://unicode.org/reports/tr15/), character by character, so
that
positions in the original text are known.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

MOST = 40  # quantities of a sentence
DIGITS = {letter: value for value, letter in enumerate("〇一二三四五六七八九")} | {"零": 0}
TENS = {"十": 10, "百": 100, "千": 1_000}
MYRIADS = {"万": 10_000, "億": 100_000_000, "兆": 1_000_000_000_000}
LISTS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
ENGLISH = {word: value for value, word in enumerate(LISTS["english"].split(), 2)}
ENGLISH |= {word: 10 * value for value, word in enumerate(LISTS["tens"].split(), 2)}
ENGLISH |= {"twice": 2, "thrice": 3, "dozen": 12, "hundred": 100, "thousand": 1_000}
ENGLISH |= {"million": 1_000_000}
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        1,
    )
    for name in names.split()
}
ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925, "大正": 1911, "明治": 1867}
# name -> dimension, factor
KNOWN = {name: (dim, factor) for dim, factor, names in LISTS["units"] for name in names.split()}
COUNTERS = LISTS["counters"].split()
NOT_TIMES = tuple(LISTS["no numbers"].split())  # numerals that are part of a word
_names = sorted({name for name in [*KNOWN, *COUNTERS] if name != "degrees-celsius"}, key=len, reverse=True)
_latin = [re.escape(name) for name in _names if name[0].isascii() or name[0] in "µμ°"]
_asian = [re.escape(name) for name in _names if not (name[0].isascii() or name[0] in "µμ°")]
ONE = rf"(?:(?:{'|'.join(_latin)})(?![A-Za-z])|{'|'.join(_asian)})"
UNIT = re.compile(rf"[\s-]?(?P<unit>{ONE}(?:\s?/\s?{ONE}){{0,2}})", re.IGNORECASE)
DIGIT_RUN = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
KANJI_RUN = r"[〇零一二三四五六七八九十百千万億兆]+"
WORDS = "|".join(sorted(ENGLISH, key=len, reverse=True))
NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>[-−])?(?P<digits>{DIGIT_RUN})(?P<more>[万億兆千百]?)(?![.\d]*\d)"
    rf"|(?<=[\u3040-\u9fff])(?P<after>{DIGIT_RUN})(?P<more2>[万億兆千百]?)(?![.\d]*\d)"
    rf"|(?<![A-Za-z])(?P<word>{WORDS})(?:[\s-](?P<second>{WORDS}))?(?![A-Za-z])"
    rf"|(?P<kanji>{KANJI_RUN})(?=\s?{ONE})",
    re.IGNORECASE,
)
CODE = re.compile(r"(?<![\w.])\d+(?:[.:]\d+){2,}(?![\w])|(?<!\d)\d{1,2}:\d{2}(?!\d)")
NAMED = re.compile(r"[A-Za-z]{2,}[-−]$")
PER_DAY = re.compile(r"[1一]日(?=[\d一二三四五六当に量あ])")
BETWEEN = re.compile(r"\s*(?:-|–|—|~|〜|～|to|and|から|ないし|乃至|より)\s*$", re.IGNORECASE)
ABOUT = re.compile(
    r"(?:about|around|approximately|roughly|nearly|almost|some|約|およそ|おおよそ|ほぼ|概ね)\s*$", re.IGNORECASE
)
LEAST = re.compile(r"(?:at least|more than|over|above|no less than|[≥>]=?)\s*$", re.IGNORECASE)
LIMIT = re.compile(r"(?:at most|less than|under|below|up to|no more than|fewer than|[≤<]=?|最大)\s*$", re.IGNORECASE)
LEAST_AFTER = re.compile(r"\s*(?:or more|or older|or higher|以上|を超|超|より[多大高長]|or above)")
LIMIT_AFTER = re.compile(r"\s*(?:or less|or fewer|or lower|or below|以下|未満|以内|まで|より[少小低短])")
_month = "|".join(sorted(MONTHS, key=len, reverse=True))
DATES = re.compile(
    rf"(?P<era>{'|'.join(ERAS)})(?P<erayear>元|\d{{1,2}})年(?:(?P<em>\d{{1,2}})月(?:(?P<ed>\d{{1,2}})日)?)?"
    r"|(?<!\d)(?P<jy>(?:1[5-9]|20|21)\d\d)年(?:度)?(?:(?P<jm>\d{1,2})月(?:(?P<jd>\d{1,2})日)?)?"
    r"|(?<![\d-])(?P<iy>(?:1[5-9]|20|21)\d\d)[-/.](?P<im>\d{1,2})[-/.](?P<id>\d{1,2})(?![\d-])"
    r"|(?<!\d)(?P<mm>\d{1,2})月(?P<md>\d{1,2})日"
    rf"|\b(?P<en1>{_month})\.?\s+(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<y1>\d{{4}}))?\b"
    rf"|\b(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<en2>{_month})\.?(?:,?\s+(?P<y2>\d{{4}}))?\b"
    rf"|\b(?P<en3>{_month})\.?,?\s+(?P<y3>(?:1[5-9]|20|21)\d\d)\b"
    r"|(?:\bin |\bsince |\bof |\buntil |\()(?P<y4>(?:1[5-9]|20)\d\d)"
    r"(?![\d.,]*\d)(?!\s*(?:mg|ml|[a-z]*g)\b)",
    re.IGNORECASE,
)


class Normal(NamedTuple):
    """A normalised text and the origin of each of its characters."""

    text: str
    origin: tuple[int, ...]  # of len(text) + 1

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the corresponding span of the original text."""
        last = self.origin[end - 1] if end > start else self.origin[start]
        return self.origin[start], max(last + 1, self.origin[start])


@lru_cache(maxsize=4096)
def normal(text: str) -> Normal:
    if text.isascii():
        return Normal(text, tuple(range(len(text) + 1)))
    letters: list[str] = []
    origin: list[int] = []
    for index, letter in enumerate(text):
        form = letter if letter in "℃℉µ…" else unicodedata.normalize("NFKC", letter)
        if letter in "\uff9e\uff9f" and letters:  # half-width voicing marks of kana
            letters[-1] = unicodedata.normalize("NFKC", letters[-1] + form.strip())
            continue
        letters += form
        origin += [index] * len(form)
    return Normal("".join(letters), (*origin, len(text)))


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, or a range."""

    low: float
    high: float
    dim: str  # "mass", "time", "mass/volume", ...; "" without a unit
    unit: str  # as written
    start: int  # in the normalised text
    end: int
    about: bool = False
    bound: str = ""  # "least", "most"
    code: str = ""  # a time of day or version, compared verbatim


@dataclass(frozen=True)
class Day:
    """A date; missing parts are 0."""

    year: int
    month: int
    day: int
    start: int
    end: int

    def agrees(self, other: "Day") -> bool:
        """Return whether all parts given in both are equal, and there is at least one."""
        both = [(mine, its) for mine, its in zip(self.parts(), other.parts(), strict=True) if mine and its]
        return bool(both) and all(mine == its for mine, its in both)

    def parts(self) -> tuple[int, int, int]:
        return self.year, self.month, self.day


def kanji(run: str) -> float:
    """Return the value of a kanji numeral: ``二百五十`` -> 250, ``二〇二四`` -> 2024."""
    total = section = value = 0
    for letter in run:
        if letter in DIGITS:
            value = value * 10 + DIGITS[letter]
        elif letter in TENS:
            section += max(value, 1) * TENS[letter]
            value = 0
        else:
            total += max(section + value, 1) * MYRIADS[letter]
            section = value = 0
    return float(total + section + value)


def dates(text: str) -> list[Day]:
    """Return the dates of a normalised text."""
    days = []
    for match in DATES.finditer(text):
        groups = match.groupdict()
        month = next((MONTHS[groups[k].lower()] for k in ("en1", "en2", "en3") if groups[k]), 0)
        if groups["era"]:
            year_of_era = 1 if groups["erayear"] == "元" else int(groups["erayear"])
            year = ERAS[groups["era"]] + year_of_era
        else:
            year = _number(groups, "jy", "iy", "y1", "y2", "y3", "y4")
        month = month or _number(groups, "em", "jm", "im", "mm")
        day = _number(groups, "ed", "jd", "id", "md", "d1", "d2")
        if month <= 12 and day <= 31:
            start = next(match.start(k) for k in groups if groups[k])
            days.append(Day(year, month, day, start, match.end()))
    return days[:MOST]


def _number(groups: dict[str, str | None], *keys: str) -> int:
    return next((int(groups[key] or 0) for key in keys if groups[key]), 0)


def quantities(text: str) -> list[Quantity]:
    """Return the quantities of a normalised text, without its dates."""
    spans = [(day.start, day.end) for day in dates(text)]
    result = []
    for match in CODE.finditer(text):
        if _free(match, spans):
            result.append(Quantity(0, 0, "", "", *match.span(), code=match.group()))
            spans.append(match.span())
    before: Quantity | None = None
    for match in NUMBER.finditer(text):
        if len(result) >= MOST or not _free(match, spans) or _no_number(text, match):
            continue
        now = _quantity(text, match)
        joins = before is not None and BETWEEN.search(text[before.end : now.start])
        if before is not None and joins and before.end < now.start and _one_range(text, before, now):
            now = _range(before, now)
            result.pop()
            before = None
        else:
            before = now
        result.append(now)
    return sorted(result, key=lambda quantity: quantity.start)


def _free(match: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    return all(match.end() <= start or match.start() >= end for start, end in spans)


def _no_number(text: str, match: re.Match[str]) -> bool:
    """Return whether a match is no number, as in ``COVID-19`` or the day of ``1日3回``."""
    if match["kanji"] and text.startswith(NOT_TIMES, match.start()):
        return True
    if match["digits"] and NAMED.search(text, max(0, match.start() - 24), match.start("digits")):
        return True
    return PER_DAY.match(text, match.start()) is not None


def _quantity(text: str, match: re.Match[str]) -> Quantity:
    if match["kanji"]:
        value = kanji(match["kanji"])
    elif match["word"]:
        value = _english(match["word"], match["second"])
    else:
        value = float((match["digits"] or match["after"]).replace(",", ""))
        more = match["more"] or match["more2"]
        value *= MYRIADS.get(more, TENS.get(more, 1)) if more else 1
        value = -value if match["sign"] and not _range_sign(text, match) else value
    unit = UNIT.match(text, match.end())
    often = (match["word"] or "").lower() in ("twice", "thrice")
    end = unit.end() if unit else match.end()
    name = unit["unit"] if unit else ""
    money = not unit and text[max(0, match.start() - 1) : match.start()] in ("$", "¥")
    dim, factor = ("repeats", 1.0) if often else dimension_of(name)
    if money:
        dim = "dollar" if text[match.start() - 1] == "$" else "yen"
    if dim == "fahrenheit":
        dim, value, factor = "celsius", (value - 32) / 1.8, 1.0
    ahead = text[max(0, match.start() - 16) : match.start()]
    limit = "least" if LEAST.search(ahead) or LEAST_AFTER.match(text, end) else ""
    limit = "most" if LIMIT.search(ahead) or LIMIT_AFTER.match(text, end) else limit
    return Quantity(value * factor, value * factor, dim, name, match.start(), end, bool(ABOUT.search(ahead)), limit)


def _range_sign(text: str, match: re.Match[str]) -> bool:
    return match.start() > 0 and not text[match.start() - 1].isspace()


def _english(word: str, second: str | None) -> float:
    value = ENGLISH[word.lower()]
    if second:
        other = ENGLISH[second.lower()]
        value = value * other if other >= 100 else value + other
    return float(value)


@lru_cache(maxsize=1024)
def dimension_of(name: str) -> tuple[str, float]:
    """Return (dimension, factor) of a unit such as ``mg/dL``; counters have no dimension."""
    dims, factor = [], 1.0
    for index, part in enumerate(re.split(r"\s?/\s?", name)):
        dim, times = KNOWN.get(part.lower(), ("", 1.0))
        if dim:
            dims.append(dim)
            factor = factor * times if index == 0 else factor / times
    return "/".join(dims), factor


def _one_range(text: str, first: Quantity, second: Quantity) -> bool:
    gap = text[first.end : second.start].strip().lower()
    if gap == "and" and not re.search(r"between\s*$", text[: first.start], re.IGNORECASE):
        return False
    return first.dim in ("", second.dim) and not first.code and first.low < _scaled(first, second)


def _scaled(first: Quantity, second: Quantity) -> float:
    return second.low if first.dim else second.low / (dimension_of(second.unit)[1] or 1)


def _range(first: Quantity, second: Quantity) -> Quantity:
    factor = 1.0 if first.dim else dimension_of(second.unit)[1]
    return Quantity(first.low * factor, second.high, second.dim, second.unit, first.start, second.end, first.about, "")
