"""Read a user's list of publications: BibTeX, RIS, PubMed's NBIB, CSL-JSON.

BibTeX as https://www.ctan.org/pkg/bibtex describes it, RIS as
https://github.com/aurimasv/translators/wiki/RIS-Tag-Map collects it, NBIB as
https://pubmed.ncbi.nlm.nih.gov/help/#pubmed-format, CSL-JSON as
https://citeproc-js.readthedocs.io/en/latest/csl-json/markup.html; Zotero, EndNote, Mendeley and
PubMed write them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.actions.references.bibtex import MOST_FIELD, plain, records
from souron.actions.references.identifiers import identify
from souron.kinds import files
from souron.kinds.codecs.limits import trouble
from souron.utils.messages import _

MOST_BYTES = 64_000_000  # of a file
MOST_ENTRIES = 200_000
SUFFIXES = (".bib", ".ris", ".nbib", ".json")


@dataclass(frozen=True)
class Entry:
    """A publication; fields missing from the record are empty."""

    key: str = ""
    title: str = ""
    authors: tuple[str, ...] = ()  # family names
    year: int | None = None
    journal: str = ""
    volume: str = ""
    pages: str = ""  # "770-778"
    identifiers: Mapping[str, frozenset[str]] = field(default_factory=dict)  # kind -> values
    missing: str = ""  # database that does not know it: "Crossref, 2026-11-27"


def read(paths: Sequence[str | Path]) -> tuple[Entry, ...]:
    """Read the entries of files and folders, in order.

    Raises UserError if a file cannot be read, is too large or holds no entry.
    """
    found: list[Entry] = []
    for path in files_of(paths):
        entries = list(_read(path))
        if not entries:
            raise trouble(path, "library", _("no publication was found in it"), _expected())
        found += entries
        if len(found) > MOST_ENTRIES:
            why = _("more than {count:,} publications").format(count=MOST_ENTRIES)
            raise trouble(path, "too large", why)
    return tuple(found)


def files_of(paths: Sequence[str | Path]) -> list[Path]:
    """Return the library files among files and folders.

    Raises UserError if one is missing or of another format.
    """
    found = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside or inside[0].suffix.lower() not in SUFFIXES:
            raise trouble(path, "library", _("this is no list of publications"), _expected())
        found += inside
    return found


def _expected() -> str:
    return _("BibTeX (.bib), RIS (.ris), PubMed (.nbib) or CSL-JSON (.json)")


def _read(path: Path) -> Iterator[Entry]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        yield from csl(files.parsed(path, MOST_BYTES))
        return
    text = files.words(path, MOST_BYTES)
    yield from {".bib": bibtex, ".ris": ris, ".nbib": nbib}[suffix](text)


def bibtex(text: str) -> Iterator[Entry]:
    """Yield the entries of a BibTeX file, skipping unterminated ones."""
    for key, fields in records(text):
        yield _from_bibtex(key, fields)


def _from_bibtex(key: str, fields: Mapping[str, str]) -> Entry:
    said = {name: plain(value) for name, value in fields.items()}
    names = re.split(r"\s+and\s+", fields.get("author") or fields.get("editor") or "")
    given = [
        ("doi", said.get("doi")),
        ("pmid", said.get("pmid")),
        ("pmcid", said.get("pmcid")),
        ("isbn", said.get("isbn")),
        ("issn", said.get("issn")),
    ]
    if said.get("archiveprefix", said.get("eprinttype", "")).lower() == "arxiv":
        given.append(("arxiv", said.get("eprint")))
    given += _in_address(said.get("url", "") + " " + said.get("journal", ""))
    return _entry(
        key,
        said.get("title", ""),
        [family(plain(name)) for name in names],
        said.get("year") or said.get("date", ""),
        said.get("journal") or said.get("journaltitle") or said.get("booktitle", ""),
        said.get("volume", ""),
        said.get("pages", ""),
        given,
    )


def _in_address(text: str) -> list[tuple[str, str | None]]:
    """Return the DOI and the arXiv number contained in a URL or text."""
    doi = re.search(r"doi\.org/(10\.\S+)", text)
    arxiv = re.search(r"arxiv(?:\.org/(?:abs|pdf)/|:)\s*([\w.-]+(?:/\d+)?)", text, re.I)
    return [("doi", doi and doi[1]), ("arxiv", arxiv and arxiv[1])]


def family(name: str) -> str:
    """Return the family name of ``"He, Kaiming"``, ``"Kaiming He"`` or ``"山田 太郎"``."""
    name = name.strip().strip(",")
    if "," in name:
        return name.split(",")[0].strip()
    words = name.split()
    if len(words) < 2 or re.match(r"[\u3040-\u30ff\u3400-\u9fff]", name):
        return words[0] if words else ""
    if re.fullmatch(r"[A-Z]{1,3}", words[-1]):  # PubMed's style: "He K"
        return " ".join(words[:-1])
    small = next((k for k, word in enumerate(words[1:-1], 1) if word.islower()), len(words) - 1)
    return " ".join(words[small:])


def ris(text: str) -> Iterator[Entry]:
    record: dict[str, list[str]] = {}
    for line in text.splitlines():
        tag = re.match(r"([A-Z][A-Z0-9])  ?-\s?(.*)", line.strip("\ufeff"))
        if tag is None:
            continue
        if tag[1] == "ER":
            if record:
                yield _from_ris(record)
            record = {}
        else:
            record.setdefault(tag[1], []).append(tag[2].strip()[:MOST_FIELD])
    if record:
        yield _from_ris(record)


def _first(record: Mapping[str, list[str]], *tags: str) -> str:
    return next((record[tag][0] for tag in tags if record.get(tag) and record[tag][0]), "")


def _from_ris(record: Mapping[str, list[str]]) -> Entry:
    first, last = _first(record, "SP"), _first(record, "EP")
    number = _first(record, "SN")
    sort = "isbn" if len(re.sub(r"[^\dXx]", "", number)) >= 10 else "issn"
    given = [("doi", _first(record, "DO")), (sort, number), ("pmcid", _first(record, "C2"))]
    if re.fullmatch(r"\d{1,9}", _first(record, "AN")):
        given.append(("pmid", _first(record, "AN")))
    return _entry(
        _first(record, "ID", "LB"),
        _first(record, "TI", "T1", "CT"),
        [family(name) for tag in ("AU", "A1") for name in record.get(tag, [])],
        _first(record, "PY", "Y1", "DA"),
        _first(record, "JO", "JF", "T2", "JA", "BT"),
        _first(record, "VL"),
        "-".join(filter(None, (first, last))),
        [*given, *_in_address(" ".join(record.get("UR", [])))],
    )


def nbib(text: str) -> Iterator[Entry]:
    record: dict[str, list[str]] = {}
    last: list[str] = []
    for line in [*text.splitlines(), "PMID- "]:
        tag = re.match(r"([A-Z]{2,4}) *- ?(.*)", line)
        if tag is None:
            if last and line.startswith("      "):
                last[-1] = f"{last[-1]} {line.strip()}"[:MOST_FIELD]
            continue
        if tag[1] == "PMID" and record:
            yield _from_nbib(record)
            record = {}
        last = record.setdefault(tag[1], [])
        last.append(tag[2].strip()[:MOST_FIELD])


def _from_nbib(record: Mapping[str, list[str]]) -> Entry:
    numbers = [*record.get("LID", []), *record.get("AID", [])]
    doi = next((n.removesuffix("[doi]").strip() for n in numbers if n.endswith("[doi]")), "")
    pmid = _first(record, "PMID")
    given = [("doi", doi), ("pmid", pmid), ("pmcid", _first(record, "PMC"))]
    given += [("issn", number.split(" ")[0]) for number in record.get("IS", [])]
    return _entry(
        pmid,
        _first(record, "TI", "BTI"),
        [family(name) for name in record.get("FAU") or record.get("AU", [])],
        _first(record, "DP"),
        _first(record, "JT", "TA"),
        _first(record, "VI"),
        _first(record, "PG"),
        given,
    )


def csl(found: Any) -> Iterator[Entry]:
    """Yield entries from records of Crossref or Zotero, skipping anything else."""
    for record in found if isinstance(found, list) else [found]:
        if not isinstance(record, dict) or not {"title", "DOI", "PMID", "id"} & record.keys():
            continue
        names = record.get("author")
        people = [p for p in names if isinstance(p, dict)] if isinstance(names, list) else []
        dated = record.get("issued")
        parts = dated.get("date-parts") if isinstance(dated, dict) else None
        year = _text(_text(parts, whole=True)[:10]) if parts else ""
        given = [
            (kind, _text(record.get(name)))
            for kind, name in (
                ("doi", "DOI"),
                ("pmid", "PMID"),
                ("pmcid", "PMCID"),
                ("isbn", "ISBN"),
                ("issn", "ISSN"),
                ("arxiv", "arxiv"),
            )
        ]
        yield _entry(
            _text(record.get("id")),
            _text(record.get("title")),
            [_text(p.get("family") or family(_text(p.get("literal")))) for p in people],
            year,
            _text(record.get("container-title")),
            _text(record.get("volume")),
            _text(record.get("page")),
            [*given, *_in_address(_text(record.get("URL")))],
            _text(record.get("missing")),
        )


def _text(value: Any, whole: bool = False) -> str:
    """Return a text, or the first of a list of texts; "" for anything else."""
    while isinstance(value, list) and not whole:
        value = value[0] if value else ""
    return str(value)[:MOST_FIELD] if isinstance(value, str | int | list) else ""


def _entry(
    key: str,
    title: str,
    authors: Iterable[str],
    year: str,
    journal: str,
    volume: str,
    pages: str,
    given: Iterable[tuple[str, str | None]],
    missing: str = "",
) -> Entry:
    when = re.search(r"(?<!\d)(1[5-9]|2[01])\d\d(?!\d)", year)
    numbers: dict[str, set[str]] = {}
    for kind, written in given:
        if kind == "issn" and written and (one := re.search(r"\d{4}-?\d{3}[\dXx]", written)):
            written = one[0]  # the first of several
        value = identify(kind, written).value if written else ""
        if kind == "doi" and (arxiv := re.match(r"10\.48550/arxiv\.(\S+)", value)):
            numbers.setdefault("arxiv", set()).add(arxiv[1])
        if value:
            numbers.setdefault(kind, set()).add(value)
    if kind_of := numbers.get("isbn"):
        numbers["isbn"] = {isbn13(value) for value in kind_of}
    return Entry(
        key[:300],
        title,
        tuple(filter(None, authors))[:500],
        int(when[0]) if when else None,
        journal,
        volume,
        re.sub(r"\s*[-\u2010-\u2015]+\s*", "-", pages),
        {kind: frozenset(values) for kind, values in numbers.items()},
        missing,
    )


def isbn13(value: str) -> str:
    """Return the ISBN-13 of an ISBN-10."""
    if not re.fullmatch(r"\d{9}[\dX]", value):
        return value
    digits = "978" + value[:9]
    total = sum(int(d) * (3 if k % 2 else 1) for k, d in enumerate(digits))
    return digits + str(-total % 10)
