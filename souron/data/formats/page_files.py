"""Requests and their web pages: CSV, TSV or JSONL with ``request`` and ``html``.

A page is read like a screen reader does, by the roles of its elements; scripts, resources and
anything that sends data are left out and reported. A label that does not occur in the request
cannot be learnt, so such rows are skipped, too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from souron.data.language import page_grammar, web_pages
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import RECORDS, TABLES, Dataset, any_file, columns, keys, name_of, read_pairs, value
from souron.data.texts import Fault, worded
from souron.utils.messages import UserError, _

DEFAULT = Reading()
REQUEST = ("request", "prompt", "instruction", "text", "依頼", "要求")
PAGE = ("html", "page", "ページ")


def describes(path: Path) -> bool:
    return any_file(path, (*RECORDS, *TABLES), _paired)


def _paired(path: Path) -> bool:
    names = {*map(name_of, columns(path)), *map(name_of, keys(path))}
    return bool(names & set(REQUEST) and names & set(PAGE))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read pairs of request and page. Raises UserError if no row can be used."""
    return read_pairs(path, _pair)


def _pair(row: Mapping[str, Any]) -> tuple[str, tuple[web_pages.Part, ...]]:
    request = " ".join(worded(value(row, REQUEST), "request").split())
    try:
        parts = web_pages.read(worded(value(row, PAGE), "html"))
    except UserError as error:
        raise Fault(error.code, error.found) from error
    if not parts:
        raise Fault("no parts", _("a page without a part that is known"))
    if page_grammar.written(parts, request) is None:
        raise Fault("other words", _("a label that does not occur in the request"))
    return request, parts
