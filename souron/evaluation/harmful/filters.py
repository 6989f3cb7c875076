"""Withhold harmful sentences of an answer during generation.

A sentence is shown once it is complete and judged; a harmful one is replaced by a notice with the
reason. Withheld sentences are kept and can be requested. Harm that only several sentences together
express is not detected.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from souron.data.language.sentences import sentences
from souron.evaluation.harmful import judges
from souron.evaluation.harmful.judges import Flagged, Judge, Way
from souron.utils import files
from souron.utils.messages import UserError, _

MOST_KEPT = 1_000  # withheld sentences in memory
MOST_WAITING = 2_000  # characters without an end of sentence


@dataclass
class Filter:
    """The judge and the counts of a conversation or server."""

    judge: Judge
    way: Way
    kept: deque[Flagged] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    counts: Counter[str] = field(default_factory=Counter)  # by kind; "" for the lexicon
    log: TextIO | None = None  # one line of JSON per sentence

    def screen(self) -> "Screen":
        """Return a new screen for one answer."""
        return Screen(self)

    def withhold(self, flag: Flagged) -> None:
        self.kept.append(flag)
        self.counts[flag.kind] += 1
        if self.log is not None:
            self.log.write(files.as_json(flag.as_json()) + "\n")
            self.log.flush()

    def as_json(self) -> dict[str, Any]:
        """Return the counts, without the withheld sentences."""
        return {
            "filter": self.way,
            "withheld": sum(self.counts.values()),
            "reasons": {kind or "lexicon": count for kind, count in sorted(self.counts.items())},
        }


class Screen:
    """A filter between an answer that is being generated and its reader."""

    def __init__(self, owner: Filter) -> None:
        self.owner = owner
        self.withheld: tuple[Flagged, ...] = ()

    def passed(self, parts: Iterator[str]) -> Iterator[str]:
        """Yield the permitted text of an answer, sentence by sentence."""
        waiting = ""
        with closing(parts):  # type: ignore[type-var]
            for part in parts:
                waiting += part
                whole, waiting = self._whole(waiting)
                if whole:
                    yield whole
        if waiting:
            yield self._judged(waiting)

    def _whole(self, text: str) -> tuple[str, str]:
        """Return the text to show, and the rest, the unfinished last sentence."""
        parts = sentences(text)
        end = parts[-1].start if len(parts) > 1 else 0
        if len(text) - end > MOST_WAITING:
            end = len(text)
        return (self._judged(text[:end]) if end else ""), text[end:]

    def _judged(self, text: str) -> str:
        """Replace each harmful sentence by a notice."""
        output, end = [], 0
        for sentence in sentences(text):
            flag = self.owner.judge.sentence(self.owner.way, sentence.text)
            if flag is None:
                continue
            self.withheld += (flag,)
            self.owner.withhold(flag)
            output += [text[end : sentence.start], notice(flag)]
            end = sentence.end
        return "".join(output) + text[end:]


def notice(flag: Flagged) -> str:
    """Return the notice that replaces a sentence."""
    return _("[withheld: {reason}]").format(reason=judges.reason(flag))


def named(text: str, words: str | None = None, log: Path | None = None) -> Filter | None:
    """Create the filter named by ``filter=``; None for none.

    ``words`` is a lexicon file, ``log`` a new file for the withheld sentences as lines of JSON.
    Raises UserError.
    """
    way = judges.way_named(text)
    if way is None:
        if words or log:
            raise UserError(
                "filter",
                _("a lexicon or a log was named, but no filter"),
                expected=", ".join(judges.WAYS),
                fix="filter=both",
            )
        return None
    return Filter(judges.judge(way, words), way, log=None if log is None else _new(log))


def _new(log: Path) -> TextIO:
    """Open a new file for writing. Raises UserError if it exists."""
    try:
        return log.expanduser().open("x", encoding="utf-8", errors="replace")
    except FileExistsError as error:
        raise UserError(
            "exists",
            _("{path} is there already").format(path=log),
            expected=_("the name of a new file"),
            fix=f"withheld={log.stem}-2{log.suffix}",
            exit=5,
        ) from error
    except OSError as error:
        raise files.cannot_write(log, error) from error
