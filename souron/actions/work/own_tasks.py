"""Read one's own tasks, one per line, check them, and rate them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron.actions.work import raters, tables
from souron.actions.work.tables import LABELS
from souron.kinds import files
from souron.kinds.codecs.limits import check_file, printable, readable
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

MOST_LINES = 2_000
MOST_BYTES = 2_000_000
MOST_LETTERS = 500  # of a line that are read
TOGETHER = 64
STOPS = tuple(".。．!！?？")
NAMED = 3  # lines listed in a remark
BULLET = re.compile(r"^\s*([-*+•‣◦・●○■□◆◇※]+|\(?\d{1,3}[.)、．）]|[①-⑳])\s*")
LETTER = re.compile(r"[^\W\d_]")
JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
ENDS_AS_VERB = re.compile("([うくぐすつぬぶむる]|[ただて]|ます|ました)[。．.、]?$")
# nouns that form verbs with する, as lines of notes end
VERBAL = re.compile(
    "(作成|立案|準備|管理|診断|診察|治療|確認|記録|説明|指導|検査|分析|調整|実施|計画|相談|対応|評価|測定|設計|"
    "開発|製作|制作|消毒|滅菌|清掃|予約|請求|報告|翻訳|執筆|講義|研究|教育|手術|撮影|装着|調剤|処方|観察|看護|"
    "介助|案内|運転|修理|販売|監督|交渉|登録|入力|会計|受付|連絡|面談|助言|採取|注射|整理|印刷|配達|運搬|調理)"
    "[。．.]?$"
)
BEFORE_VERB = {"i", "we", "you", "they", "to", "and", "or", "who", "that"}


@dataclass(frozen=True)
class Own:
    """A task of the user, with the probabilities of E0, E1, E2."""

    line: int
    text: str
    probabilities: tuple[float, float, float]
    verb: bool  # whether a verb was found

    def value(self, name: str) -> float:
        """Return the expected alpha, beta or zeta of this task."""
        return float(np.dot(self.probabilities, raters.SCORES[name]))


@dataclass(frozen=True)
class OwnTasks:
    """Rated tasks of equal weight."""

    name: str
    tasks: tuple[Own, ...]
    figures: dict[str, Measure]  # with the interval of unseen occupations
    learnt_from: int  # labelled tasks that the rater was trained on

    def remarks(self) -> list[str]:
        """Return caveats on lines that may not be tasks."""
        without = [task for task in self.tasks if not task.verb]
        if not without:
            return []
        named = "; ".join(f"{task.line}: {task.text[:40]}" for task in without[:NAMED])
        return [
            _(
                "In {count} of {all} lines no verb was found ({lines}). A task says what is done, "
                "such as: Take impressions of teeth. What such a line gets says little."
            ).format(count=len(without), all=len(self.tasks), lines=named)
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "occupation": None,
            **{name: one.value for name, one in self.figures.items()},
            "intervals": {name: [one.low, one.high] for name, one in self.figures.items()},
            "tasks": [
                {
                    "task": task.text,
                    "line": task.line,
                    "verb": task.verb,
                    **{name: task.value(name) for name in raters.SCORES},
                    "probabilities": dict(zip(LABELS, task.probabilities, strict=True)),
                }
                for task in self.tasks
            ],
            "notes": self.remarks(),
        }


def read(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that hold a task. Raises UserError."""
    check_file(path, None, MOST_BYTES, "unreadable")
    return lines(files.words(path, MOST_BYTES), readable(path.name))


def lines(text: str, name: str) -> list[tuple[int, str]]:
    """Return (number, task) of the lines with letters, without bullets. Raises UserError."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        task = " ".join(printable(BULLET.sub("", line.strip())).split())[:MOST_LETTERS]
        if LETTER.search(task):
            found.append((number, task))
    if not found:
        raise UserError(
            "no tasks",
            _("{name}: there is no line with a task").format(name=name),
            expected=_("a task a line, such as: Take impressions of teeth."),
            exit=3,
        )
    if len(found) > MOST_LINES:
        raise UserError(
            "too many",
            _("{name}: {count} lines").format(name=name, count=f"{len(found):,}"),
            expected=_("at most {count} tasks; an occupation has about twenty").format(count=f"{MOST_LINES:,}"),
            exit=3,
        )
    return found


def rating(found: list[tuple[int, str]], name: str) -> Iterator[tuple[float, OwnTasks | None]]:
    """Yield the share done and, at the end, 1 with the rated tasks."""
    rater = raters.shipped()
    texts = [text for _line, text in found]
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(texts), TOGETHER):
        yield start / len(texts), None
        parts.append(rater.rate(list(map(ended, texts[start : start + TOGETHER]))))
    probabilities = np.concatenate(parts)
    tasks = tuple(
        Own(line, text, (float(p[0]), float(p[1]), float(p[2])), has_verb(text))
        for (line, text), p in zip(found, probabilities, strict=True)
    )
    learnt = int(rater.about.get("tasks", 0))
    yield 1.0, OwnTasks(name, tasks, rater.figures(probabilities), learnt)


def ended(text: str) -> str:
    """Append a full stop, as in the rater's training sentences."""
    if text.endswith(STOPS):
        return text
    return text + ("。" if JAPANESE.search(text) else ".")


def rate(text: str, name: str = "") -> OwnTasks:
    """Rate English or Japanese tasks, one per line. Raises UserError."""
    *_before, (_done, rated) = rating(lines(text, name or _("the text")), name)
    assert rated is not None, "the last has it"
    return rated


def has_verb(text: str) -> bool:
    """Return whether a line contains a verb, by rules.

    In English: a verb of O*NET's tasks at its beginning, after a pronoun, "to" or "and", or a form
    in -ing; in Japanese: a verb's ending, を, or a noun that forms a verb with する. Other
    languages are not checked.
    """
    if JAPANESE.search(text):
        return bool("を" in text or ENDS_AS_VERB.search(text) or VERBAL.search(text))
    words = re.findall(r"[a-z]+|,", text.casefold())
    known = verbs()
    for before, word in zip(["", *words], words, strict=False):
        begins = before in ("", ",") or before in BEFORE_VERB
        if word.endswith("ing") and _bases(word) & known:
            return True
        if begins and _bases(word) & known:
            return True
    return not text.isascii()


@lru_cache(maxsize=1)
def verbs() -> frozenset[str]:
    """Return the first words of O*NET's tasks."""
    tasks = tables.usual().tasks
    first = (re.match(r"[A-Za-z]+", task.text) for task in tasks)
    return frozenset(word[0].casefold() for word in first if word)


def _bases(word: str) -> set[str]:
    """Return possible base forms of a verb: checks, checked, checking -> check."""
    found = {word, re.sub("(es|s)$", "", word), re.sub("s$", "", word), re.sub("ies$", "y", word)}
    for end in ("ing", "ed"):
        if word.endswith(end):
            stem = word.removesuffix(end)
            doubled = len(stem) > 2 and stem[-1] == stem[-2]
            found |= {stem, f"{stem}e", *([stem[:-1]] if doubled else [])}
            found |= {re.sub("i$", "y", stem)}
    return found
