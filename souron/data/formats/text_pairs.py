"""Texts and their translations: TSV, CSV or JSONL with ``source`` and ``target``, or two columns
named ``en`` and ``ja``, or JSONL with ``{"translation": {"en": "...", "ja": "..."}}``. Texts and
their summaries are in columns of these names, or in ``document`` and ``summary``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from souron.data.readers.settings import Reading
from souron.data.readers.text_files import RECORDS, TABLES, Dataset, any_file, columns, keys, name_of, read_pairs, value
from souron.data.texts import Fault, bare, language, worded
from souron.utils.messages import _

DEFAULT = Reading()
SOURCE = ("source", "src", "en", "english", "document", "article", "原文", "英語", "本文")
TARGET = ("target", "tgt", "ja", "japanese", "summary", "highlights", "訳文", "訳", "日本語", "要約")


def describes(path: Path) -> bool:
    return any_file(path, (*RECORDS, *TABLES), _paired)


def _paired(path: Path) -> bool:
    names = {*map(name_of, columns(path)), *map(name_of, keys(path))}
    return "translation" in names or bool(names & set(SOURCE) and names & set(TARGET))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read text pairs. Rows that lack a side, or have the same text on both, are skipped and
    reported. Raises UserError if none can be used."""
    return read_pairs(path, _pair, {"target language": language})


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    inner = row.get("translation")
    row = inner if isinstance(inner, dict) else row
    source, target = worded(value(row, SOURCE), "source"), worded(value(row, TARGET), "target")
    if bare(source) == bare(target):
        raise Fault("untranslated", _("the same text on both sides"))
    return source, target
