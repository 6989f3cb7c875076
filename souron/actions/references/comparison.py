"""Compare a written reference with an entry of the library, field by field.

A field is reported as different only if the reference gives it.
"""

import re
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher

from souron.actions.references.library import Entry

_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff_]+|[\u3040-\u30ff\u3400-\u9fff々ー]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々ー]")
SPELLING = 0.7  # similarity from which two words may be spellings of one
MOST_EXCHANGED = 3  # replaced words of a title
SMALL = {"a", "an", "and", "de", "der", "des", "die", "du", "for", "in", "la", "le", "of", "on", "the"}
NOT_A_JOURNAL = frozenset(
    re.findall(
        r"\S+",
        "in pp p vol no doi http https available from accessed online print epub ahead press pmid "
        "arxiv preprint url eds ed editors isbn issn and the of proc",
    )
)


def folded(text: str) -> str:
    """Remove accents and case; Japanese voiced sounds are kept."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c for c in apart if not unicodedata.combining(c) or c in "\u3099\u309a")
    return unicodedata.normalize("NFKC", kept)


def tokens(text: str) -> list[str]:
    """Return the words of a text; of Japanese all pairs of adjacent characters."""
    found: list[str] = []
    before = ""
    for match in _WORD.finditer(folded(text)):
        word = match[0]
        if _CJK.fullmatch(word):
            if before:
                found.append(before + word)
            before = word
        else:
            before = ""
            found.append(word)
    return found


def contained(title: list[str], words: list[str]) -> float:
    """Return the share of a title's words that occur in the text in the same order."""
    blocks = SequenceMatcher(None, title, words, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size > 1 or len(title) < 4) / len(title)


def exchanged(title: list[str], words: list[str]) -> bool:
    """Return whether a word of the title is replaced by another that is not a spelling variant."""
    opcodes = SequenceMatcher(None, title, words, autojunk=False).get_opcodes()
    for number, (tag, a, b, c, d) in enumerate(opcodes):
        inside = 0 < number < len(opcodes) - 1
        if tag != "replace" or not inside or b - a > MOST_EXCHANGED or d - c > MOST_EXCHANGED:
            continue
        one, other = "".join(title[a:b]), "".join(words[c:d])
        if SequenceMatcher(None, one, other, autojunk=False).ratio() < SPELLING:
            return True
    return False


def author_in(entry: Entry, text: str) -> bool:
    """Return whether the first author's family name occurs in the text."""
    if not entry.authors:
        return False
    name, whole = tokens(entry.authors[0]), folded(text)
    if any(_CJK.match(word) for word in entry.authors[0]):
        return folded(entry.authors[0]) in whole
    return bool(name) and set(name) <= set(tokens(text))


def fields(text: str, entry: Entry) -> Iterator[tuple[str, str, str]]:
    """Yield (field, value in the reference, value in the library) where they differ."""
    words = tokens(text)
    title = tokens(entry.title)
    same_title = len(title) == 0 or (contained(title, words) >= 0.8 and not exchanged(title, words))
    if not same_title:
        yield "title", _title_of(text), entry.title
    if entry.authors and not author_in(entry, text):
        yield "author", _author_of(text), entry.authors[0]
    years = re.findall(r"(?<![\d:;/-])(?:1[5-9]|2[01])\d\d(?=[a-z]?(?![\d/-]))", text)
    if entry.year and years and str(entry.year) not in years:
        yield "year", years[0], str(entry.year)
    rest = _after(text, entry.title) if same_title and title else ""
    journal = _journal_of(rest)
    if entry.journal and journal and not same_journal(journal, entry.journal):
        yield "journal", journal, entry.journal
    numbers = _volume_and_pages(rest or text)
    if entry.volume.isdigit() and numbers[0] and numbers[0] != entry.volume:
        yield "volume", numbers[0], entry.volume
    if numbers[1] and entry.pages and _pages(numbers[1]) != _pages(entry.pages):
        yield "pages", numbers[1], entry.pages


def _after(text: str, title: str) -> str:
    """Return the part of the reference after the title."""
    last = re.findall(r"\w+", title)[-2:]
    ends = [m.end() for m in re.finditer(r"\W+".join(map(re.escape, last)), text, re.I)]
    return text[ends[-1] :] if ends else ""


def _title_of(text: str) -> str:
    """Return the probable title: the quoted text, else the longest sentence."""
    quoted = re.search(r"[\"“「『]([^\"”」』]{8,300})[\"”」』]", text)
    parts = [quoted[1]] if quoted else re.split(r"[.?!．。]\s*(?=\S)|\)\s*[.:]?", text)
    return max((part.strip(" .,:()") for part in parts), key=len, default="")[:200]


def _author_of(text: str) -> str:
    bare = re.sub(r"^\W*(?:\d+\W+)?", "", text)
    return re.split(r"[,.(，、．（:]|\s+et\s|\s+and\s", bare)[0].strip()[:60]


def _journal_of(rest: str) -> str:
    """Return the first words after the title that may name a journal."""
    for part in re.split(r"[.;]\s|,\s|\(|\d+|[．，、]", rest):
        bare = part.strip(" .,;:()[]*_\"'”」』")
        words = [word for word in tokens(bare) if not _CJK.match(word)]
        if words and set(words) <= NOT_A_JOURNAL:
            continue
        if len(bare) >= 4 and not re.match(r"(?i)in:|edited|available|retrieved", bare):
            return re.sub(r"(?i)^in[: ]\s*", "", bare)[:120]
    return ""


def same_journal(one: str, other: str) -> bool:
    """Return whether two names denote the same journal.

    Abbreviations (``"J Biomed Inform"`` for ``"Journal of Biomedical Informatics"``), acronyms
    (``"PNAS"``) and names within the other are accepted.
    """
    a = [word for word in tokens(one) if word not in SMALL]
    b = [word for word in tokens(other) if word not in SMALL]
    if not a or not b:
        return True
    short, long = sorted((a, b), key=len)
    initials = "".join(word[0] for word in long)
    acronyms = {word for word in short if len(word) >= 3}
    if any(word in initials or word in long for word in acronyms if len(short) <= 2):
        return True
    place = 0
    for word in short:
        while place < len(long) and not _begins(word, long[place]):
            place += 1
        if place == len(long):
            return False
        place += 1
    return True


def _begins(one: str, other: str) -> bool:
    return (
        one.startswith(other)
        or other.startswith(one)
        or (len(one) >= 4 and len(other) >= 4 and one[:2] == other[:2] and one[-1] == other[-1])
    )


def _volume_and_pages(text: str) -> tuple[str, str]:
    """Return volume and pages in the usual styles; "" where missing."""
    pages = r"(?P<p>[a-z]?\d{1,6}\s*[-\u2010-\u2015]{1,2}\s*[a-z]?\d{1,6})"
    styles = (
        rf"(?P<v>\d{{1,4}})\s*(?:\([^)]{{1,20}}\))?\s*[:,]\s*(?:pp?\.?\s*)?{pages}",
        rf"(?i)vol(?:ume|\.)?\s*(?P<v>\d{{1,4}}).{{0,40}}?(?:pp?\.?\s*){pages}",
        rf"(?i)\bpp?\.?\s*{pages}",
        r"(?P<v>\d{1,4})\s*\(\d{1,3}\)",
    )
    for style in styles:
        if match := re.search(style, text):
            found = match.groupdict()
            return found.get("v") or "", re.sub(r"\s", "", found.get("p") or "")
    return "", ""


def _pages(written: str) -> tuple[str, str]:
    """Return first and last page: ``"770-8"`` -> ("770", "778")."""
    first, _dash, last = re.sub(r"[\u2010-\u2015-]+", "-", written.lower()).partition("-")
    first, last = first.strip(), last.strip()
    if last and len(last) < len(first):
        last = first[: len(first) - len(last)] + last
    return first, last or first
