"""Find identifiers of publications in a text, and those that cannot exist.

Check digits, format and numbers not yet assigned are checked without a network. An identifier that
passes may still be invented.

ISBN: ISO 2108, https://www.isbn-international.org/content/isbn-users-manual
ISSN: ISO 3297, https://www.issn.org/understanding-the-issn/assignment-rules/issn-manual/
ORCID: ISO 7064 (11-2), https://support.orcid.org/hc/en-us/articles/360006897674
DOI: https://www.doi.org/doi-handbook/HTML/; arXiv:
https://info.arxiv.org/help/arxiv_identifier.html
"""

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

from souron.utils.messages import _

MOST_TEXT = 2_000_000  # characters searched
MOST_FOUND = 10_000  # identifiers in a text
# full-width characters and dashes, one for one, so that positions in a text are preserved
WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0xA0: 0x20}
WIDE |= dict.fromkeys((*range(0x2010, 0x2016), 0x2212), 0x2D)

ARCHIVES = frozenset(
    re.findall(
        r"\S+",
        "acc-phys adap-org alg-geom ao-sci astro-ph atom-ph bayes-an chao-dyn chem-ph cmp-lg comp-gas "
        "cond-mat cs dg-ga funct-an gr-qc hep-ex hep-lat hep-ph hep-th math math-ph mtrl-th nlin "
        "nucl-ex nucl-th patt-sol physics plasm-ph q-alg q-bio quant-ph solv-int stat supr-con",
    )
)
NEW_ARXIV, FIVE_DIGITS = (2007, 4), (2015, 1)  # first (year, month) of the numbering schemes
MOST_IN_A_MONTH = 40_000  # papers: arXiv had at most about 28 000 in any month until 2025


@dataclass(frozen=True)
class Identifier:
    """An identifier in a text."""

    kind: str  # "doi", "pmid", "pmcid", "arxiv", "isbn", "issn", "orcid"
    value: str  # normalised for comparison: "10.1000/182", "0306406152"
    start: int  # position in the text
    end: int
    why: str = ""  # reason that it cannot exist; "" if it can


# a DOI ends at Japanese characters, quotes and spaces
_PART = r"[^\s\"'`|\\^\u2000-\u200f\u3000-\u30ff\u3400-\u9fff\uff61-\uff9f]"
_HOW = re.I | re.A  # ASCII word boundaries: an identifier may follow a Japanese character
_PLACES = {
    "doi": (
        re.compile(rf"(?<![\w.])(?P<id>10\.[1-9]\d{{3,20}}(?:\.\d{{1,9}}){{0,9}}(?:/|%2F){_PART}{{1,500}})", _HOW),
        re.compile(
            rf"\bdoi(?:\.org/|\s*[:=]\s*|\s+)(?:https?://(?:dx\.)?doi\.org/)?"
            rf"(?P<id>\d{{1,9}}\.\d[\d.]{{0,99}}(?:/|%2F){_PART}{{0,500}})",
            _HOW,
        ),
    ),
    "pmid": (
        re.compile(r"\bPMID\s*[:#=]?\s*\{?(?P<id>\d+)", _HOW),
        re.compile(r"\bpubmed(?:\.ncbi\.nlm\.nih\.gov)?/(?P<id>\d+)", _HOW),
    ),
    "pmcid": (
        re.compile(r"\bPMCID\s*[:#=]?\s*\{?(?:PMC)?\s?(?P<id>\d+)", _HOW),
        re.compile(r"\bPMC\s?(?P<id>\d{3,})\b", re.A),
    ),
    "arxiv": (
        re.compile(
            r"\barxiv(?:\.org/(?:abs|pdf|html)/|\s*[:=.]\s*|\s+)(?:arxiv:)?"
            r"(?P<id>\d{4}\.\d+(?:v\d+)?|[a-z-]{2,10}(?:\.[A-Z]{2})?/\d+(?:v\d+)?)",
            _HOW,
        ),
    ),
    "isbn": (
        re.compile(
            r"\bISBN(?:[-\s]?1[03](?![\dX-])\)?)?\s*[:=]?\s*\{?"
            r"(?P<id>\d[\dX]{0,20}(?:-[\dX]{1,20}){1,9}|\d[\dX]{0,20}(?: [\dX]{1,20}){0,5})(?!\w)",
            _HOW,
        ),
        re.compile(r"(?<![\w-])(?P<id>97[89]-\d{1,5}-\d{1,7}-\d{1,7}-\d)(?![\w-])", re.A),
    ),
    "issn": (
        re.compile(
            r"ISSN(?:-L)?\s*(?:\((?:print|online|electronic)\)\s*)?[:=]?\s*\{?"
            r"(?P<id>\d{3,12}[\d-]{0,12}X?)(?!\w)",
            _HOW,
        ),
    ),
    "orcid": (
        re.compile(
            r"\borcid(?:\.org/|\s*(?:iD)?\s*[:=]\s*|\s+(?:iD\s+)?)(?:https?://orcid\.org/)?"
            r"(?P<id>\d{4}[\d-]{8,20}X?)(?!\w)",
            _HOW,
        ),
        re.compile(r"(?<![\w-])(?P<id>0000-000\d-\d{4}-\d{3}[\dX])(?![\w-])", _HOW),
    ),
}


def find(text: str, today: date | None = None) -> list[Identifier]:
    """Return all identifiers of an English or Japanese text, in order.

    Full-width digits and letters are normalised. ``today`` decides which numbers are not yet
    assigned.
    """
    day = today or date.today()
    plain = text[:MOST_TEXT].translate(WIDE)
    found: list[Identifier] = []
    taken: set[int] = set()  # an ISBN within a DOI is the DOI's
    for kind, places in _PLACES.items():
        for place in places:
            for match in place.finditer(plain):
                start = match.start("id")
                written = _trimmed(match["id"]) if kind == "doi" else match["id"]
                if start in taken or len(found) >= MOST_FOUND:
                    continue
                one = identify(kind, written, day)
                taken.update(range(start, start + len(written)))
                found.append(Identifier(kind, one.value, start, start + len(written), one.why))
    return sorted(found, key=lambda each: each.start)


def identify(kind: str, written: str, today: date | None = None) -> Identifier:
    """Check a single identifier, as in a field of a library; ``why`` is the error found."""
    plain = written.translate(WIDE).strip()[:2000]
    value, why = _RULES[kind](plain, today or date.today())
    return Identifier(kind, value, 0, len(written), why)


def _trimmed(doi: str) -> str:
    """Strip text that follows a DOI in a sentence: a full stop, an unmatched bracket."""
    doi = re.split(r"\]\(|&(?:quot|lt|gt|amp);", doi)[0]
    if not re.search(r"\(SICI\)", doi, re.I):
        doi = doi.split("<")[0]
    opened = {")": "(", "]": "[", "}": "{", ">": "<"}
    while doi:
        last = doi[-1]
        alone = last in opened and doi.count(last) > doi.count(opened[last])
        if not alone and last not in ".,;:!?*_&":
            break
        doi = doi[:-1]
    return doi


def _doi(written: str, today: date) -> tuple[str, str]:
    doi = unquote(written) if "%2" in written else written
    doi = re.sub(r"^(https?://)?(dx\.)?doi\.org/|^doi:\s*", "", doi, flags=re.I)
    value = _trimmed(doi).lower()
    prefix, _slash, suffix = value.partition("/")
    directory, _dot, registrant = prefix.partition(".")
    first = registrant.split(".")[0]
    if directory != "10":
        return value, _("a DOI begins with 10.")
    if not first.isdecimal() or not 4 <= len(first) <= 9 or first[0] == "0":
        return value, _("what follows 10. in a DOI is a registrant's number of at least four digits")
    if not suffix:
        return value, _("nothing follows the stroke of the DOI")
    return value, _inside(suffix, first, today)


def _inside(suffix: str, registrant: str, today: date) -> str:
    """Return the error of an arXiv number, ISBN or ISSN contained in a DOI; "" if none."""
    if registrant == "48550" and (number := re.fullmatch(r"arxiv\.(.+)", suffix)):
        return _arxiv(number[1], today)[1]
    isbn = re.match(r"(97[89]-\d+-\d+-\d+-\d|97[89]\d{10})(?![\d-])", suffix)
    if isbn is None and registrant == "1007":  # Springer's books before 2007
        isbn = re.match(r"(\d-\d{2,7}-\d{1,6}-[\dx])(?![\d-])", suffix)
    if isbn and (why := _isbn(isbn[1], today)[1]):
        return _("the ISBN within the DOI: {why}").format(why=why)
    before = "s?" if registrant == "1016" else "(?:s|\\(sici\\))"
    issn = re.match(rf"{before}(\d{{4}}-?\d{{3}}[\dx])(?=\()", suffix)
    if issn and (why := _issn(issn[1], today)[1]):
        return _("the ISSN within the DOI: {why}").format(why=why)
    return ""


def _serial(value: str, named: str, most: int) -> str:
    """Return the error of a sequential number; "" if none."""
    if not value.isdecimal() or value.startswith("0"):
        return _("a {name} is a number without zeros before it").format(name=named)
    if int(value[:12]) > most:
        return _("no {name} is as high yet").format(name=named)
    return ""


def _pmid(written: str, today: date) -> tuple[str, str]:
    """Check a PMID: about 39.9 million at the start of 2025, 1.7 million a year, with a margin."""
    value = re.sub(r"^PMID:?\s*", "", written, flags=re.I)
    return value, _serial(value, "PMID", int(40e6 + 2.5e6 * max(0.0, _years(today))))


def _pmcid(written: str, today: date) -> tuple[str, str]:
    """Check a PMCID: about 11.6 million at the start of 2025, a million a year, with a margin."""
    value = re.sub(r"^(PMCID:?\s*)?(PMC)?\s*", "", written, flags=re.I)
    return value, _serial(value, "PMCID", int(12e6 + 2e6 * max(0.0, _years(today))))


def _years(today: date) -> float:
    """Return the years since the start of 2025."""
    return (today - date(2025, 1, 1)).days / 365.25


def _arxiv(written: str, today: date) -> tuple[str, str]:
    value = re.sub(r"^(https?://)?(arxiv\.org/(abs|pdf)/)?(arxiv:\s*)?", "", written, flags=re.I)
    value = re.sub(r"(\.pdf)$", "", value, flags=re.I).lower()
    value, _v, version = re.fullmatch(r"(.*?)(v(\d+))?", value).groups()  # type: ignore[union-attr]
    if version and int(version[:6]) == 0:
        return value, _("the first version of a paper in arXiv is v1")
    new = re.fullmatch(r"(\d\d)(\d\d)\.(\d+)", value)
    old = re.fullmatch(r"([a-z-]+)(?:\.[a-z]{2})?/(\d\d)(\d\d)(\d+)", value)
    if new is None and old is None:
        return value, _("arXiv's numbers are written 2106.01234, before April 2007 hep-th/9901001")
    year, month, number = new.groups() if new else old.groups()[1:]  # type: ignore[union-attr]
    full = 2000 + int(year) if new or int(year) < 91 else 1900 + int(year)
    when = full, int(month)
    if old and re.sub(r"\.[a-z]{2}$", "", value.split("/")[0]) not in ARCHIVES:
        return value, _("arXiv has no archive of that name")
    if not 1 <= when[1] <= 12:
        return value, _("there is no month {month} in arXiv's number").format(month=month)
    if when > (today.year, today.month):
        return value, _("the month in arXiv's number has not come yet")
    return value, _arxiv_number(when, number, old is not None)


def _arxiv_number(when: tuple[int, int], number: str, old: bool) -> str:
    """Return the error of an arXiv number within its month; "" if none."""
    if old and not (1991, 7) <= when < NEW_ARXIV:
        return _("arXiv numbered so only from July 1991 to March 2007")
    if not old and when < NEW_ARXIV:
        return _("arXiv numbers so only since April 2007")
    digits = 3 if old else 4 if when < FIVE_DIGITS else 5
    if len(number) != digits:
        return _("arXiv's number had {digits} digits after the month then").format(digits=digits)
    if int(number) == 0 or (when[0] <= 2025 and int(number) > MOST_IN_A_MONTH):
        return _("arXiv never had a paper of that number in a month")
    return ""


def _isbn(written: str, today: date) -> tuple[str, str]:
    words = re.sub(r"^ISBN(-1[03])?:?\s*", "", written, flags=re.I).upper().split(" ")
    joined = ["".join(words[: k + 1]).replace("-", "") for k in range(len(words))]
    # a year may follow: use the first of ten or thirteen digits
    value = next((each for each in joined if len(each) in (10, 13)), joined[-1])
    if len(value) == 13 and value.isdecimal():
        if value[:3] not in ("978", "979"):
            return value, _("an ISBN of 13 digits begins with 978 or 979")
        right = sum(int(d) * (3 if k % 2 else 1) for k, d in enumerate(value)) % 10 == 0
    elif re.fullmatch(r"\d{9}[\dX]", value):
        right = _weighted(value) == 0
    else:
        return value, _("an ISBN has 10 or 13 digits; this one has {count}").format(count=len(value))
    return value, "" if right else _("the check digit of the ISBN is wrong")


def _issn(written: str, today: date) -> tuple[str, str]:
    value = written.upper().replace("-", "")
    if not re.fullmatch(r"\d{7}[\dX]", value):
        return value, _("an ISSN has 8 digits; this one has {count}").format(count=len(value))
    value = f"{value[:4]}-{value[4:]}"
    right = _weighted(value.replace("-", "")) == 0
    return value, "" if right else _("the check digit of the ISSN is wrong")


def _weighted(digits: str) -> int:
    """Return the ISBN-10 checksum modulo 11, weights counted from the end; X is ten."""
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(value * (len(values) - k) for k, value in enumerate(values)) % 11


def _orcid(written: str, today: date) -> tuple[str, str]:
    value = re.sub(r"^(https?://)?orcid\.org/", "", written, flags=re.I).upper().replace("-", "")
    if not re.fullmatch(r"\d{15}[\dX]", value):
        return value, _("an ORCID has 16 digits; this one has {count}").format(count=len(value))
    total = 0
    for digit in value[:15]:
        total = (total + int(digit)) * 2
    right = (12 - total % 11) % 11 == (10 if value[15] == "X" else int(value[15]))
    value = "-".join(value[k : k + 4] for k in range(0, 16, 4))
    return value, "" if right else _("the check digit of the ORCID is wrong")


_RULES = {"doi": _doi, "pmid": _pmid, "pmcid": _pmcid, "arxiv": _arxiv, "isbn": _isbn, "issn": _issn, "orcid": _orcid}
TITLES = {
    "doi": "DOI",
    "pmid": "PMID",
    "pmcid": "PMCID",
    "arxiv": "arXiv",
    "isbn": "ISBN",
    "issn": "ISSN",
    "orcid": "ORCID",
}
