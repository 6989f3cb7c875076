"""The prompts of the audit: those that come with souron, of ``manner_pairs``, or of a file."""

import json
from collections.abc import Sequence
from pathlib import Path

from souron.data.composing.language import manners
from souron.data.texts import language
from souron.evaluation.harmful import corpus
from souron.evaluation.harmful.corpus import LANGUAGES, Prompt
from souron.utils.messages import UserError, _

MANNERS = "manners"
MOST_PROMPTS, MOST_LETTERS = 5_000, 4_000
MOST_BYTES = 20_000_000  # of a file of prompts


def prompts_of(name: str) -> list[Prompt]:
    """Load souron's own prompts, ``manners``, or those of a file. Raises UserError."""
    if not name:
        return corpus.prompts()
    if name == MANNERS:
        counts = {"train": 0, "val": 0, "test": manners.COUNTS["test"]}
        return [Prompt(one.prompt, one.language, one.sort, one.name) for one in manners.exchanges(counts=counts)]
    return own_prompts(Path(name).expanduser())


def own_prompts(file: Path) -> list[Prompt]:
    """Read prompts, one per line, or JSONL with ``prompt`` and optionally ``sort``.

    Raises UserError.
    """
    try:
        if not file.is_file():
            raise _no_prompts(file, _("no such file"))
        if file.stat().st_size > MOST_BYTES:
            raise _no_prompts(file, _("more than {count} bytes").format(count=MOST_BYTES))
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_prompts(file, str(error)[:200]) from error
    made: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        text, sort = _told(line) if file.suffix == ".jsonl" else (line.strip(), "")
        if not text or len(text) > MOST_LETTERS or len(made) >= MOST_PROMPTS:
            raise _no_prompts(file, _("line {number}").format(number=number))
        made.append(Prompt(text, language(text), sort, f"{file.name}#{number}"))
    if not made:
        raise _no_prompts(file, _("empty"))
    return made


def _told(line: str) -> tuple[str, str]:
    """Return prompt and type from a line of JSON; "" if missing."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return "", ""
    text = told.get("prompt") if isinstance(told, dict) else None
    sort = told.get("sort", "") if isinstance(told, dict) else ""
    return (text.strip() if isinstance(text, str) else ""), str(sort)[:60]


def _no_prompts(file: Path, why: str) -> UserError:
    return UserError(
        "prompts",
        _("{file} holds no prompts: {why}").format(file=file, why=why),
        expected=_(
            'a text with a prompt a line, or .jsonl with "prompt": at most {count} of {letters} characters'
        ).format(count=MOST_PROMPTS, letters=MOST_LETTERS),
        fix="prompts=manners",
        exit=3,
    )


def chosen(asked: Sequence[Prompt], n: int | None, spoken: str = "") -> list[Prompt]:
    """Select at most ``n`` prompts, in turn from each type and language, keeping their order.

    Raises UserError.
    """
    if spoken and spoken not in LANGUAGES:
        raise UserError("language", _("no such language: {wish}").format(wish=spoken), expected=", ".join(LANGUAGES))
    kept = [prompt for prompt in asked if spoken in ("", prompt.language)]
    if not kept:
        raise UserError("prompts", _("no prompt is in that language"), expected="language=en")
    if n is None or n >= len(kept):
        return kept
    seen: dict[tuple[str, str], int] = {}
    places = []
    for row, prompt in enumerate(kept):
        key = (prompt.sort, prompt.language)
        places.append((seen.setdefault(key, 0), row))
        seen[key] += 1
    return [kept[row] for row in sorted(row for _place, row in sorted(places)[:n])]
