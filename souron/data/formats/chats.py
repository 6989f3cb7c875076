"""Conversations and preferences: JSONL (or a JSON list), or a folder of ``train.jsonl`` and others.

A conversation is ``{"messages": [{"role": "user", "content": "..."}, ...]}`` that ends with the
assistant, or ``{"prompt": "...", "completion": "..."}``. A preference is ``{"prompt": ...,
"chosen": ..., "rejected": ...}``; a prompt is a text or messages, an answer a text or messages that
end with it. A file holds either conversations or preferences.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from souron.data.formats.folder import missing
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    Dataset,
    Faults,
    any_file,
    files_of,
    gathered,
    keys,
    made,
    records,
    value,
)
from souron.data.texts import Fault, Preference, turns, usable
from souron.kinds.chat import Turn
from souron.kinds.codecs.limits import readable
from souron.utils.messages import _

DEFAULT = Reading()
ANSWERS = ("completion", "response", "output")


def describes(path: Path) -> bool:
    return any_file(path, RECORDS, _talks)


def _talks(path: Path) -> bool:
    found = keys(path)
    pair = "prompt" in found and bool(found & set(ANSWERS))
    return "messages" in found or found >= {"chosen", "rejected"} or pair


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read conversations or preferences. Lines that are invalid, lack a role, or whose turns do not
    alternate are skipped and reported, and so are those of the rarer kind. Raises UserError if none
    can be used."""
    if not path.exists():
        raise missing(path)
    faults, found = Faults(), []
    for file, part in files_of(path, RECORDS):
        found += made(records(file, faults, part), entry, faults)
    kinds = Counter(type(one.thing) for one in found)
    main = max(kinds, key=kinds.__getitem__, default=tuple)
    talk = _("a conversation among preferences")
    why = talk if main is Preference else _("a preference among conversations")
    for one in found:
        if type(one.thing) is not main:
            faults.add(one.place, "other kind", why)
    kept = [one for one in found if type(one.thing) is main]
    return gathered(readable(path.name), kept, faults, source=readable(path))


def entry(row: Mapping[str, Any]) -> tuple[Turn, ...] | Preference:
    """Convert a record to a conversation or a preference. Raises Fault if it is neither."""
    if row.get("chosen") is not None or row.get("rejected") is not None:
        return _preference(row)
    if row.get("messages") is not None:
        return turns(row["messages"], ends="assistant")
    said = value(row, ANSWERS)
    if row.get("prompt") is None or said is None:
        raise Fault("no messages", _("neither messages nor prompt, chosen and rejected"))
    return (*turns(row["prompt"], ends="user"), Turn("assistant", usable(said, "assistant")))


def _preference(row: Mapping[str, Any]) -> Preference:
    (before, chosen), (_before, rejected) = (_answer(row, name) for name in ("chosen", "rejected"))
    prompt = row.get("prompt")
    if prompt is None and not before:
        raise Fault("no messages", _("no prompt"))
    if before != _before:
        raise Fault("no messages", _("chosen and rejected answer different prompts"))
    if chosen.strip() == rejected.strip():
        raise Fault("same answers", _("chosen and rejected are the same"))
    return Preference(before or turns(prompt, ends="user"), chosen, rejected)


def _answer(row: Mapping[str, Any], name: str) -> tuple[tuple[Turn, ...], str]:
    """Return the turns before the answer, if the record contains them, and the answer."""
    said = row.get(name)
    if isinstance(said, list) and len(said) > 1:
        *before, last = turns(said, ends="assistant")
        return tuple(before), last.text
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0].get("content")
    return (), usable(said, name)
