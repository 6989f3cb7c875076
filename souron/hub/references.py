"""Look up DOI, PMID, PMCID and arXiv identifiers in the publishers' registries.

Only identifiers are sent, never the text around them. A registry that does not answer counts as not
asked, which is no sign of a fabricated reference.

Crossref https://api.crossref.org/swagger-ui/index.html, the DOI foundation
https://www.doi.org/the-identifier/resources/factsheets/doi-resolution-documentation, PubMed
https://www.ncbi.nlm.nih.gov/books/NBK25501/, arXiv https://info.arxiv.org/help/api/user-manual.html
"""

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree

import souron
from souron.utils.files import as_json, atomically
from souron.utils.messages import UserError, _

HOSTS = {
    "crossref": "https://api.crossref.org",
    "doi": "https://doi.org",
    "pubmed": "https://eutils.ncbi.nlm.nih.gov",
    "arxiv": "https://export.arxiv.org",
}
NAMES = {"crossref": "Crossref", "doi": "doi.org", "pubmed": "PubMed", "arxiv": "arXiv"}
TIMEOUT = 15  # seconds without an answer
PAUSE = {"crossref": 1.0, "doi": 1.0, "pubmed": 1.0, "arxiv": 3.0}  # seconds between requests
PATIENCE = 3  # consecutive failures until a host is skipped
MOST = 300  # identifiers per call
MOST_BYTES = 2_000_000  # of an answer
MOST_FILE = 64_000_000
KEPT = ("title", "author", "container-title", "volume", "page", "issued", "ISSN", "ISBN", "type")

State = Literal["found", "not found", "not asked"]
Record = dict[str, Any]  # CSL-JSON


@dataclass(frozen=True)
class Answer:
    """The answer of a registry about one identifier."""

    kind: str
    value: str
    state: State
    who: str  # "Crossref"
    why: str = ""  # reason for "not asked"
    record: Record = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "value": self.value, "state": self.state, "asked": self.who, "why": str(self.why)}


class Unreachable(Exception):
    """A host gave no readable answer."""


def ask(identifiers: Iterable[tuple[str, str]]) -> Iterator[Answer]:
    """Look up identifiers (kind, value) one after the other, at most ``MOST``.

    Raises UserError where ``SOURON_OFFLINE`` forbids the network.
    """
    if os.environ.get("SOURON_OFFLINE", "0") not in ("", "0"):
        raise UserError(
            "offline",
            _("SOURON_OFFLINE forbids the network"),
            fix="SOURON_OFFLINE=0 souron fetch references answer.txt",
            exit=4,
        )
    failed: dict[str, int] = {}
    asked: dict[str, float] = {}
    for kind, value in list(dict.fromkeys(identifiers))[:MOST]:
        host, question = _REGISTRIES.get(kind, ("", None))
        if question is None:
            continue
        if failed.get(host, 0) >= PATIENCE:
            why = _("it did not answer {count} times").format(count=PATIENCE)
            yield Answer(kind, value, "not asked", NAMES[host], why)
            continue
        time.sleep(max(0.0, asked.get(host, -1e9) + PAUSE[host] - time.monotonic()))
        try:
            record = question(value)
        except Unreachable as error:
            failed[host] = failed.get(host, 0) + 1
            yield Answer(kind, value, "not asked", NAMES[host], str(error))
        else:
            failed[host] = 0
            state: State = "not found" if record is None else "found"
            yield Answer(kind, value, state, NAMES[host], record=record or {})
        asked[host] = time.monotonic()


def store(file: Path, answers: Iterable[Answer]) -> int:
    """Add answers, positive and negative, to a library for ``souron check``; return its size.

    Earlier records are kept. Raises UserError where the file was not made by this command.
    """
    records: dict[str, Record] = {}
    if file.exists():
        records = {record["id"]: record for record in _stored(file)}
    names = {"doi": "DOI", "pmid": "PMID", "pmcid": "PMCID", "arxiv": "arxiv"}
    for answer in answers:
        if answer.state == "not asked":
            continue
        id = f"{answer.kind}:{answer.value}"
        own: Record = {"id": id, names[answer.kind]: answer.value}
        if answer.state == "not found":
            own["missing"] = f"{answer.who}, {date.today().isoformat()}"
        records[id] = {**answer.record, **own}
    with atomically(file) as beside:
        beside.write_text(as_json(list(records.values()), indent=1) + "\n", encoding="utf-8")
    return len(records)


def _stored(file: Path) -> list[Record]:
    kinds = tuple(f"{kind}:" for kind in _REGISTRIES)
    try:
        if file.stat().st_size > MOST_FILE:
            raise ValueError
        found = json.loads(file.read_text(encoding="utf-8"))
        if all(record["id"].startswith(kinds) for record in found):
            return list(found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise UserError(
        "file",
        _("{file} is there and was not made by this command").format(file=file),
        expected=_("another name"),
        fix="souron fetch references answer.txt out=asked.json",
        exit=3,
    )


def _get(host: str, path: str) -> bytes | None:
    """Return the content at a path; None where the host reports that it does not exist.

    Raises Unreachable.
    """
    agent = {"User-Agent": f"souron/{souron.__version__}", "Accept": "application/json, */*"}
    request = urllib.request.Request(HOSTS[host] + path, headers=agent)
    secure = HOSTS[host].partition(":")[0]
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.url.partition(":")[0] != secure:  # after redirections
                raise Unreachable(_("the answer was not encrypted"))
            content = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            return None
        raise Unreachable(f"HTTP {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(str(getattr(error, "reason", None) or error)) from error
    if len(content) > MOST_BYTES:
        raise Unreachable(_("the answer is too long"))
    return content


def _json(host: str, path: str) -> Record | None:
    content = _get(host, path)
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreachable(_("the answer cannot be read")) from error
    if not isinstance(found, dict):
        raise Unreachable(_("the answer cannot be read"))
    return found


def _doi(value: str) -> Record | None:
    """Look up a DOI at Crossref, which has most, else at doi.org, which only tells
    whether it exists.
    """
    found = _json("crossref", f"/works/{quote(value, safe='')}")
    if found is not None:
        message = found.get("message")
        if not isinstance(message, dict):
            raise Unreachable(_("the answer cannot be read"))
        return {name: _short(message[name]) for name in KEPT if name in message}
    handle = _json("doi", f"/api/handles/{quote(value, safe='/')}")
    if handle is None or handle.get("responseCode") == 100:
        return None
    if handle.get("responseCode") not in (1, 200):
        raise Unreachable(_("the answer cannot be read"))
    return {}


def _short(value: Any, depth: int = 4) -> Any:
    """Shorten a field and remove its markup: at most 500 items, 2,000 characters each."""
    if isinstance(value, str):
        return re.sub(r"<[^>]{0,99}>", "", value[:2000])
    if depth and isinstance(value, list):
        return [_short(each, depth - 1) for each in value[:500]]
    if depth and isinstance(value, dict):
        return {str(k)[:99]: _short(v, depth - 1) for k, v in list(value.items())[:50]}
    return value if isinstance(value, int | float | bool) else None


def _pubmed(base: str) -> Callable[[str], Record | None]:
    def question(value: str) -> Record | None:
        path = f"/entrez/eutils/esummary.fcgi?db={base}&retmode=json&tool=souron&id={quote(value)}"
        found = (_json("pubmed", path) or {}).get("result")
        record = found.get(value) if isinstance(found, dict) else None
        if not isinstance(record, dict):
            raise Unreachable(_("the answer cannot be read"))
        if "error" in record:
            return None
        people = record.get("authors")
        names = (
            [str(p.get("name", ""))[:200] for p in people[:500] if isinstance(p, dict)]
            if isinstance(people, list)
            else []
        )
        year = re.search(r"\d{4}", str(record.get("pubdate", "")))
        return {
            "title": _short(record.get("title", "")),
            "author": [{"family": re.sub(r"\s[A-Z]{1,4}$", "", name)} for name in names],
            "container-title": _short(record.get("fulljournalname", "")),
            "volume": _short(record.get("volume", "")),
            "page": _short(record.get("pages", "")),
            "issued": {"date-parts": [[int(year[0])]]} if year else {},
        }

    return question


_ATOM = "{http://www.w3.org/2005/Atom}"


def _arxiv(value: str) -> Record | None:
    content = _get("arxiv", f"/api/query?max_results=1&id_list={quote(value, safe='/')}")
    if content is None or b"<!" in content[:2000]:  # reject DTDs and entities
        raise Unreachable(_("the answer cannot be read"))
    try:
        entry = ElementTree.fromstring(content).find(f"{_ATOM}entry")
    except ElementTree.ParseError as error:
        raise Unreachable(_("the answer cannot be read")) from error
    if entry is None or "/api/errors" in (entry.findtext(f"{_ATOM}id") or ""):
        return None
    names = [(name.text or "")[:200] for name in entry.iter(f"{_ATOM}name")][:500]
    year = (entry.findtext(f"{_ATOM}published") or "")[:4]
    return {
        "title": re.sub(r"\s+", " ", entry.findtext(f"{_ATOM}title") or "")[:2000],
        "author": [{"literal": name} for name in names],
        "issued": {"date-parts": [[int(year)]]} if year.isdecimal() else {},
    }


_REGISTRIES: dict[str, tuple[str, Callable[[str], Record | None]]] = {
    "doi": ("crossref", _doi),
    "pmid": ("pubmed", _pubmed("pubmed")),
    "pmcid": ("pubmed", _pubmed("pmc")),
    "arxiv": ("arxiv", _arxiv),
}


def answers(kind: str) -> bool:
    """Return whether a registry exists for identifiers of that kind."""
    return kind in _REGISTRIES
