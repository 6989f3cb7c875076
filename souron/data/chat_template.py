"""How a conversation becomes a text: the template that a model was published with.

A template is a program from a stranger. It runs in jinja2's sandbox, which gives it no way to
files or Python's insides, and within bounds: steps of loops, letters that come out.
"""

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from souron.kinds.chat import Turn
from souron.utils.messages import UserError, _

MOST_STEPS = 100_000  # of all loops together
MOST_LETTERS = 2_000_000  # of what it puts around the turns
MOST_TEMPLATE = 200_000  # letters


def parts(template: str, turns: Sequence[Turn], answer: bool = False) -> Iterator[str | Turn]:
    """A conversation as the template arranges it: its own texts, which may hold special tokens, and
    between them the turns. ``answer``: it ends where the assistant is to go on. Raises UserError.
    """
    mark = uuid.uuid4().hex  # nobody can have written it
    messages = [
        {"role": turn.role, "content": f"{mark}:{number}:"} for number, turn in enumerate(turns)
    ]
    text = _rendered(template, messages, answer)
    end = 0
    for found in re.finditer(f"{mark}:(\\d+):", text):
        if found.start() > end:
            yield text[end : found.start()]
        yield turns[int(found[1])]
        end = found.end()
    if end < len(text):
        yield text[end:]


def shown(template: str, turns: Sequence[Turn], answer: bool = False) -> str:
    """The text that a model sees."""
    return "".join(
        part.text if isinstance(part, Turn) else part for part in parts(template, turns, answer)
    )


def _rendered(template: str, messages: list[dict[str, str]], answer: bool) -> str:
    import jinja2

    try:
        if len(template) > MOST_TEMPLATE:
            raise ValueError(_("over {count} letters").format(count=MOST_TEMPLATE))
        made = _environment().from_string(template)
        text, size = [], 0
        for piece in made.generate(messages=messages, add_generation_prompt=answer, bos_token="",
                                   eos_token="", tools=None):  # fmt: skip
            text.append(piece)
            size += len(piece)
            if size > MOST_LETTERS:
                raise ValueError(_("over {count} letters come out").format(count=MOST_LETTERS))
        return "".join(text)
    except (jinja2.TemplateError, ValueError, TypeError, ArithmeticError, LookupError,
            AttributeError, RecursionError, MemoryError) as error:  # fmt: skip
        raise UserError(
            "template",
            _("the model's template for conversations fails: {why}").format(why=str(error)[:200]),
            expected=_("a Jinja template, as models are published with"),
            fix=_("let it complete a plain text"),
            exit=3,
        ) from error


def _environment() -> Any:
    from datetime import datetime

    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Counts steps, and refuses texts that are repeated beyond all bounds."""

        intercepted_binops = frozenset(("*", "**", "%"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or not all(isinstance(side, int | float) for side in (left, right)):
                raise ValueError(_("{operator} is not allowed here").format(operator=operator))
            return super().call_binop(context, operator, left, right)

    left = MOST_STEPS

    def counted(*bounds: int) -> Iterator[int]:
        nonlocal left
        for number in range(*bounds):
            left -= 1
            if left < 0:
                raise ValueError(_("over {count} steps").format(count=MOST_STEPS))
            yield number

    def refuse(message: str) -> None:
        raise ValueError(message)

    made = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.globals |= {
        "range": counted,
        "raise_exception": refuse,
        "strftime_now": lambda how: datetime.now().strftime(how),
    }
    return made
