"""Chats: a sequence of turns, each with a role and a text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

from souron.kinds import files
from souron.kinds.codecs import limits
from souron.kinds.kind import Kind
from souron.kinds.text import MOST_LETTERS
from souron.utils.messages import N_, _

ROLES = ("system", "user", "assistant")
MOST_TURNS = 10_000


class Turn(NamedTuple):
    """One message of a chat."""

    role: str  # "system", "user" or "assistant"
    text: str


@dataclass(frozen=True)
class Chat(Kind):
    """A chat so far. As JSON it is ``{"messages": [{"role": ..., "content": ...}]}``."""

    widget = "chat"
    noun = N_("chat")
    suffix = ".json"
    formats = (".json",)

    turns: Sequence[Turn]
    file: str = ""

    def __post_init__(self) -> None:
        turns = tuple(Turn(*turn) for turn in self.turns)
        object.__setattr__(self, "turns", turns)
        strange = sorted({turn.role for turn in turns} - set(ROLES))
        if strange:
            raise files.wrong(_("turns of {names}").format(names=strange[:3]), ", ".join(ROLES))
        if len(turns) > MOST_TURNS or sum(len(turn.text) for turn in turns) > MOST_LETTERS:
            raise files.wrong(
                _("a chat of {count} turns").format(count=len(turns)),
                _("at most {count}, and {letters} characters in all").format(count=MOST_TURNS, letters=MOST_LETTERS),
            )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        told = files.parsed(path)
        told = told.get("messages") if isinstance(told, dict) else told
        if not isinstance(told, list) or not all(map(_is_turn, told)):
            raise limits.trouble(
                path, "not a chat", _("not a list of messages"), '{"messages": [{"role": "user", "content": "..."}]}'
            )
        return cls(tuple(Turn(turn["role"], turn["content"]) for turn in told), str(path))

    def said(self, role: str, text: str) -> "Chat":
        """Return the chat with one turn added."""
        return Chat((*self.turns, Turn(role, text)), self.file)

    def save(self, path: Path) -> None:
        files.ending(path, (".json",))
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=1)
        files.write(path, text.encode("utf-8", "replace"))  # lone surrogates cannot be encoded

    def as_json(self) -> dict[str, Any]:
        return {"messages": [{"role": turn.role, "content": turn.text} for turn in self.turns]}

    def __str__(self) -> str:
        return "\n".join(f"{turn.role}: {turn.text}" for turn in self.turns)

    def _repr_html_(self) -> str:
        return "".join(
            f"<p style='white-space:pre-wrap'><b>{escape(turn.role)}</b> {escape(turn.text)}</p>" for turn in self.turns
        )


def _is_turn(thing: Any) -> bool:
    return isinstance(thing, dict) and all(isinstance(thing.get(name), str) for name in ("role", "content"))
