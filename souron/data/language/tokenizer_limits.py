"""Limits of tokenizers from untrusted sources: bounded growth of texts, and simple patterns.

A ``tokenizer.json`` is a program: its replacements may expand a text of four characters to
gigabytes, and a regular expression may run practically forever.
"""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from souron.utils.messages import UserError, _

MOST_GROWTH = 32.0  # times; Unicode decomposition alone expands a character up to 18 times
MOST_PREFIX = 64  # characters that are put before a text or a word
MOST_OPEN = 2  # unbounded repetitions in one branch of a pattern; published ones have two
MOST_REPEATS = 100  # a repetition with a larger maximum counts as unbounded


def check(tokenizer: dict[str, Any]) -> None:
    """Raise ValueError if a ``tokenizer.json`` may expand texts or backtrack without bound."""
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        growth = 1.0
        for step in _steps(tokenizer.get(part)):
            growth *= max(1.0, _growth(step))
            if growth > MOST_GROWTH:
                raise ValueError(_("it makes texts over {most:g} times as long").format(most=MOST_GROWTH))
    for step in _steps({name: part for name, part in tokenizer.items() if name != "added_tokens"}):
        for name in ("prepend", "prefix", "suffix", "continuing_subword_prefix", "end_of_word_suffix", "replacement"):
            if isinstance(step.get(name), str) and len(step[name]) > MOST_PREFIX:
                raise ValueError(_("it puts {count} characters before each word").format(count=len(step[name])))
        if isinstance(step.get("Regex"), str) and not simple(step["Regex"]):
            raise ValueError(
                _("its pattern {pattern} may be searched for without end").format(pattern=step["Regex"][:80])
            )


def _steps(thing: Any) -> Iterator[dict[str, Any]]:
    """Yield each object in it, except the tokens themselves."""
    if isinstance(thing, list):
        for each in thing:
            yield from _steps(each)
    elif isinstance(thing, dict):
        yield thing
        for name, each in thing.items():
            if name not in ("vocab", "merges"):
                yield from _steps(each)


def _growth(step: dict[str, Any]) -> float:
    """Return the largest number of characters that replace one."""
    if step.get("type") == "Replace":
        pattern = step["pattern"].get("String", "")  # a regular expression may match nothing
        letters = len(step["content"])
        return letters / len(pattern) if pattern else 1.0 + letters
    if step.get("type") == "Precompiled":  # a trie, and its replacement texts
        content = base64.b64decode(step.get("precompiled_charsmap") or "")
        texts = content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")
        return max(len(text.decode("utf-8", "replace")) for text in texts)
    return 1.0


SIGNS = re.compile(r"\\.|\(\?[imsx-]*:|\(\?<?[=!>]|\(\?<\w+>|\{\d*,?\d*\}[?+]?|[*+?][?+]?|.", re.S)


def simple(pattern: str) -> bool:
    """Return whether a pattern has at most ``MOST_OPEN`` unbounded repetitions in a branch, none of
    them nested, and no backreferences."""
    if re.search(r"\\[1-9kg]", pattern):
        return False
    stack, inside = [0], 0  # unbounded repetitions in the branch of each group; nesting of classes
    closed, fewest = 0, [0]  # of the group that has just ended; the largest of a group's branches
    for sign in SIGNS.findall(pattern):
        if inside or sign == "[":
            inside += (sign == "[") - (sign == "]")
            closed = 0
        elif sign.startswith("("):
            stack.append(0)
            fewest.append(0)
        elif sign == ")" and len(stack) > 1:
            closed = max(stack.pop(), fewest.pop())
            stack[-1] += closed
        elif sign == "|":
            fewest[-1], stack[-1] = max(fewest[-1], stack[-1]), 0
        elif closed and sign[0] in "*+{":
            return False
        elif _endless(sign):
            stack[-1] += 1
        elif sign[0] not in "?{":
            closed = 0
        if stack[-1] > MOST_OPEN:
            return False
    return True


def _endless(sign: str) -> bool:
    if sign[0] in "*+":
        return True
    bounds = re.fullmatch(r"\{(\d*)(,?)(\d*)\}[?+]?", sign)
    if bounds is None:
        return False
    most = bounds[3] if bounds[2] else bounds[1]
    return not most or int(most) > MOST_REPEATS


@contextmanager
def told() -> Iterator[None]:
    """Convert a panic of the library, which is not an ``Exception``, to a UserError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(
            "tokenizer",
            _("the model's tokenizer broke off: {why}").format(why=str(error)[:200]),
            expected=_("a tokenizer.json of the tokenizers library"),
            exit=3,
        ) from None
