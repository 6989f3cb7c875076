"""Parser for BibTeX: entries with their fields, and TeX markup as plain text.

https://www.ctan.org/pkg/bibtex
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

MOST_FIELD = 4_000  # characters kept of a field
MOST_BROKEN = 1_000  # unterminated entries of a file


def records(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the key and fields of each entry, skipping unterminated ones.

    The fields are unprocessed, see ``plain``.
    """
    strings: dict[str, str] = {}
    broken = 0
    for start in re.finditer(r"^[ \t]*@(\w+)\s*[{(]", text, re.M):
        sort = start[1].lower()
        if sort in ("comment", "preamble"):
            continue
        key, place = "", start.end()
        if sort != "string":
            named = re.compile(r"\s*([^,\s}]{0,300})\s*,").match(text, place)
            if named is None:
                continue
            key, place = named[1], named.end()
        fields, closed = _fields(text, place, strings)
        broken += not closed
        if broken > MOST_BROKEN:
            return
        if sort == "string":
            strings |= fields
        elif fields:
            yield key, fields


_FIELD = re.compile(r"[\s,]*([A-Za-z][\w:+-]{0,60})\s*=\s*")
_BARE = re.compile(r"[^\s,#{}\"]{1,300}")


def _fields(text: str, place: int, strings: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Return the fields up to the end of the entry, and whether all are terminated."""
    fields: dict[str, str] = {}
    while named := _FIELD.match(text, place):
        parts, place = [], named.end()
        while True:
            part, place = _value(text, place, strings)
            parts.append(part)
            joined = re.compile(r"\s*#\s*").match(text, place)
            if joined is None:
                break
            place = joined.end()
        fields.setdefault(named[1].lower(), "".join(parts)[:MOST_FIELD])
        if place >= len(text):
            return fields, False
    return fields, True


def _value(text: str, place: int, strings: Mapping[str, str]) -> tuple[str, int]:
    """Return a value (``{...}``, ``"..."``, a number or a name) and the position after it."""
    opening = text[place : place + 1]
    if opening not in ("{", '"'):
        bare = _BARE.match(text, place)
        if bare is None:
            return "", len(text)
        return strings.get(bare[0].lower(), bare[0]), bare.end()
    depth, start = 0, place + 1
    for sign in re.compile(r'\\.|[{}"]', re.S).finditer(text, start, start + 50 * MOST_FIELD):
        if sign[0] == "{":
            depth += 1
        elif (sign[0] == "}" and opening == "{") or (sign[0] == '"' and opening == '"'):
            if depth == 0:
                return text[start : sign.start()], sign.end()
            depth -= sign[0] == "}"
        elif sign[0] == "}":
            depth = max(0, depth - 1)
    return "", len(text)  # unterminated


_ACCENTS = dict(
    zip(
        "`'^\"~=.uvHcrkd",
        map(chr, (0x300, 0x301, 0x302, 0x308, 0x303, 0x304, 0x307, 0x306, 0x30C, 0x30B, 0x327, 0x30A, 0x328, 0x323)),
        strict=True,
    )
)
_LETTERS = {
    "ss": "ß",
    "o": "ø",
    "O": "Ø",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "l": "ł",
    "L": "Ł",
    "aa": "å",
    "AA": "Å",
    "i": "i",
    "j": "j",
}


def plain(text: str) -> str:
    """Return a field without TeX markup: ``{\\'E}cole`` -> ``École``."""
    text = text[:MOST_FIELD]
    text = re.sub(
        r"\\([`'^\"~=.]|[uvHcrkd](?![A-Za-z]))\s*\{?\\?([A-Za-z])\}?",
        lambda m: unicodedata.normalize("NFC", m[2] + _ACCENTS[m[1]]),
        text,
    )
    text = re.sub(r"\\(ss|ae|AE|oe|OE|aa|AA|[oOlLij])(?![A-Za-z])\s?(\{\})?", lambda m: _LETTERS[m[1]], text)
    text = re.sub(r"\\[A-Za-z]+\*?\s?", "", text)  # \emph, \textit
    text = re.sub(r"\\(.)", r"\1", text).replace("~", " ")
    return re.sub(r"\s+", " ", re.sub(r"[{}]", "", re.sub(r"-{2,3}", "-", text))).strip()
