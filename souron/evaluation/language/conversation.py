"""Conversations with a language model: prompt, streamed answer, statistics.

Command line, studio, HTTP and Python all use ``Voice``. Where a conversation exceeds the model's
context, the oldest turns are left out and counted, never the system prompt and never the last
question.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from souron.data.language import chat_template
from souron.data.language.tokenizer import readable
from souron.evaluation.language.text_generation import Reader, Sampling, Writer
from souron.kinds.chat import Chat, Turn
from souron.utils.messages import UserError, _

LENGTH = 256  # default limit of tokens in an answer
MOST_LENGTH = 4096
MOST_DRAWN = 2**63 - 1  # the largest seed


@dataclass(frozen=True)
class Prompt:
    """The part of a conversation that the model sees."""

    tokens: list[int]
    turns: tuple[Turn, ...]  # turns included
    dropped_turns: tuple[int, ...] = ()  # indices of the turns left out
    dropped_tokens: int = 0


class Screen(Protocol):
    """A filter that reads an answer before the user does and may withhold parts of it."""

    @property
    def withheld(self) -> tuple[Any, ...]:
        """The parts withheld so far; each has ``as_json``."""
        ...

    def passed(self, parts: Iterator[str]) -> Iterator[str]:
        """Yield the parts that may be shown."""
        ...


@dataclass(frozen=True)
class Reply:
    """An answer with its statistics.

    ``stopped_by``: "end" (end-of-text token), "length" (limit of tokens), "context" (context full),
    "user"; "" while it is being generated. ``withheld`` is None without a ``Screen``.
    """

    text: str
    tokens: int
    prompt_tokens: int
    dropped_tokens: int
    stopped_by: str
    seconds_to_first: float | None  # from the question to the first token
    tokens_per_second: float | None  # after the first
    engine: str
    seed: int
    dropped_turns: tuple[int, ...] = ()
    context: int = 0
    withheld: tuple[Any, ...] | None = None

    def __str__(self) -> str:
        return self.text

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON, seconds and rates to three significant figures."""
        withheld = {} if self.withheld is None else {"withheld": [flag.as_json() for flag in self.withheld]}
        return {
            "text": self.text,
            "tokens": self.tokens,
            "prompt_tokens": self.prompt_tokens,
            "dropped_tokens": self.dropped_tokens,
            "stopped_by": self.stopped_by,
            "seconds_to_first": _short(self.seconds_to_first),
            "tokens_per_second": _short(self.tokens_per_second),
            "engine": self.engine,
            "seed": self.seed,
            **withheld,
        }

    def _repr_html_(self) -> str:
        return Chat((Turn("assistant", self.text),))._repr_html_()


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


class Voice:
    """A language model that answers, one answer at a time; other callers wait.

    Tokens already read stay cached; the answer is identical, to the bit, to the one without a
    cache.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.writer = Writer(reader)
        self.busy = threading.Lock()
        self.ahead = threading.Event()  # set to end ``read_ahead``

    @property
    def template(self) -> str:
        """The chat template; "" where the model was trained without one and completes
        plain text.
        """
        return str(getattr(self.reader, "template", self.reader.tokenizer.template))

    @property
    def engine(self) -> str:
        """The hardware and software in use; the same engine and seed give the same answer."""
        device = getattr(self.reader, "device", "cpu")
        bits = getattr(getattr(self.reader, "config", None), "bits", 0)
        more = f", {bits} bits" if bits else ""
        software = getattr(self.reader, "software", "") or f"torch {torch.__version__}, {device}{more}"
        return f"{software}, {torch.get_num_threads()} threads"

    def sampling(self, temperature: float | None = None, top: float | None = None, seed: int = 0) -> Sampling:
        """Return the sampling options; missing ones are the model publisher's, else the
        defaults.
        """
        own = getattr(self.reader, "own_sampling", (None, None))
        options = {"temperature": own[0] if temperature is None else temperature, "top": own[1] if top is None else top}
        return Sampling(seed=seed, **{k: v for k, v in options.items() if v is not None})

    def tokens(self, turns: Sequence[Turn]) -> list[int]:
        """Tokenize a conversation, ending where the next answer begins."""
        tokenizer = self.reader.tokenizer
        if self.template:
            return tokenizer.conversation(turns, answer=True)[0]
        return [tokenizer.start, *tokenizer.encode(_plain(turns))]

    def seen(self, turns: Sequence[Turn]) -> str:
        """Return the text that the model sees, or has seen where the last turn is its own."""
        if self.template:
            answer = turns[-1].role != "assistant"
            names = self.reader.tokenizer.names
            return chat_template.shown(self.template, turns, answer, names)
        return _plain(turns)

    def room(self, length: int) -> int:
        """Return the number of tokens reserved for an answer, at most half of the context."""
        return max(1, min(length, self.reader.context // 2))

    def prompt(self, turns: Sequence[Turn], length: int = LENGTH) -> Prompt:
        """Build the prompt with as many turns as fit beside the answer.

        Raises UserError where the last question does not fit (with token counts), and for an
        invalid conversation.
        """
        if not 1 <= length <= MOST_LENGTH:
            raise UserError(
                "value",
                _("an answer of {count} tokens").format(count=length),
                expected=_("1 to {most}").format(most=MOST_LENGTH),
            )
        turns = tuple(Turn(turn.role, readable(turn.text)) for turn in turns)
        check(turns)
        most = self.reader.context - self.room(length)
        whole = self.tokens(turns)
        if len(whole) <= most:
            return Prompt(whole, turns)
        starts = [number for number, turn in enumerate(turns) if turn.role == "user"]
        low, high = 0, len(starts) - 1  # the first question that may stay is among these
        while low < high:
            middle = (low + high) // 2
            fits = len(self.tokens(_from(turns, starts[middle]))) <= most
            low, high = (low, middle) if fits else (middle + 1, high)
        recent = _from(turns, starts[low])
        tokens = self.tokens(recent)
        if len(tokens) > most:
            raise self._too_long(turns, len(tokens), length)
        omissions = [n for n, turn in enumerate(turns[: starts[low]]) if turn.role != "system"]
        return Prompt(tokens, recent, tuple(omissions), len(whole) - len(tokens))

    def answer(
        self,
        turns: Sequence[Turn],
        length: int = LENGTH,
        sampling: Sampling | None = None,
        screen: Screen | None = None,
    ) -> "Answer":
        """Answer a conversation; iterate over the result for the words. Raises UserError."""
        sampling = sampling or self.sampling()
        return Answer(self, self.prompt(turns, length), length, sampling, screen)

    def read_ahead(self, turns: Sequence[Turn]) -> threading.Thread:
        """Read a conversation into the cache in the background, while its next question is typed.

        The words of an answer were generated in 8 bits; here they are read as a prompt is, so the
        next answer stays the same. It ends when an answer is asked for.
        """
        self.ahead.set()
        self.ahead = threading.Event()
        thread = threading.Thread(target=self._reading, args=(self.tokens(turns), self.ahead))
        thread.start()
        return thread

    def _reading(self, tokens: list[int], stop: threading.Event) -> None:
        chunks = self.writer.prefill(tokens[: self.reader.context])
        while threading.main_thread().is_alive():
            with self.busy:
                if stop.is_set() or next(chunks, self) is self:
                    return

    def completion(
        self, text: str, length: int = LENGTH, sampling: Sampling | None = None, screen: Screen | None = None
    ) -> "Answer":
        """Continue a plain text. Raises UserError where it does not fit."""
        tokenizer = self.reader.tokenizer
        tokens = [tokenizer.start, *tokenizer.encode(text)]
        if len(tokens) > self.reader.context - self.room(length):
            raise self._too_long((), len(tokens), length)
        return Answer(self, Prompt(tokens, ()), length, sampling or self.sampling(), screen)

    def _too_long(self, turns: Sequence[Turn], count: int, length: int) -> UserError:
        context, room = self.reader.context, self.room(length)
        prompts = [turn for turn in turns if turn.role == "system"]
        problem = _(
            "the last question needs {count} tokens; the model's context is {context} tokens, of "
            "which {room} are kept for the answer"
        ).format(count=count, context=context, room=room)
        if prompts:
            own = len(self.tokens((*prompts, Turn("user", ""))))
            problem = _(
                "the system prompt and the last question need {count} tokens, {own} of them for "
                "the system prompt; the model's context is {context} tokens, of which {room} are "
                "kept for the answer"
            ).format(count=count, own=own, context=context, room=room)
        return UserError(
            "context",
            problem,
            expected=_("at most {most} tokens").format(most=context - room),
            fix=_("a shorter question, or a model with a larger context"),
            exit=3,
        )


class Answer:
    """An answer being generated: iterate over it for the words.

    ``stop`` ends it from any thread; the part generated so far stays in ``reply``. With a
    ``screen``, only the parts that pass it are yielded and kept in ``text``.
    """

    def __init__(
        self, voice: Voice, prompt: Prompt, length: int, sampling: Sampling, screen: Screen | None = None
    ) -> None:
        self.voice, self.prompt, self.length, self.sampling = voice, prompt, length, sampling
        self.screen = screen
        self.text, self.tokens = "", 0
        self.stopped_by = ""
        self._stop = threading.Event()
        self._first: float | None = None  # seconds to the first token
        self._last = self._begun = 0.0

    def stop(self) -> None:
        self._stop.set()
        self.stopped_by = self.stopped_by or "user"

    def __iter__(self) -> Iterator[str]:
        self._begun = time.perf_counter()
        self.voice.ahead.set()
        while not self.voice.busy.acquire(timeout=0.05):
            if self._stop.is_set():
                return
        pieces = self._written()
        try:
            with closing(self.screen.passed(pieces) if self.screen else pieces) as parts:  # type: ignore[type-var]
                for part in parts:
                    self.text += part
                    yield part
        finally:
            self.voice.busy.release()

    def _written(self) -> Iterator[str]:
        room = self.voice.reader.context - len(self.prompt.tokens)
        most = min(self.length, room)
        words = self.voice.writer.write(self.prompt.tokens, most, self.sampling)
        with closing(words):  # type: ignore[type-var]
            for piece in () if self._stop.is_set() else words:
                now = time.perf_counter() - self._begun
                self._first, self._last = self._first or now, now
                self.tokens += 1
                yield piece.text
                if self._stop.is_set():
                    return
        if not self.stopped_by:
            full = self.tokens == most
            self.stopped_by = "end" if not full else "length" if most == self.length else "context"

    @property
    def reply(self) -> Reply:
        """The answer so far, with its statistics."""
        rate = None
        if self.tokens > 1 and self._first is not None and self._last > self._first:
            rate = (self.tokens - 1) / (self._last - self._first)
        return Reply(
            self.text,
            self.tokens,
            len(self.prompt.tokens),
            self.prompt.dropped_tokens,
            self.stopped_by,
            self._first,
            rate,
            self.voice.engine,
            self.sampling.seed,
            self.prompt.dropped_turns,
            self.voice.reader.context,
            self.screen.withheld if self.screen else None,
        )


def check(turns: Sequence[Turn]) -> None:
    """Check that turns alternate and end with a question. Raises UserError."""
    if not turns or turns[-1].role != "user":
        raise _no_chat(_("the conversation ends without a question"), _("a last message of the user"))
    if not turns[-1].text.strip():
        raise _no_chat(_("the question is empty"), _("a question"))
    before = ""
    for number, turn in enumerate(turns, 1):
        if turn.role == before == "assistant":
            raise _no_chat(
                _("message {number} is a second answer of the assistant in a row").format(number=number),
                _("a question of the user before each answer"),
            )
        before = turn.role


def _no_chat(problem: str, expected: str) -> UserError:
    return UserError("conversation", problem, expected=expected, exit=3)


def _from(turns: Sequence[Turn], start: int) -> tuple[Turn, ...]:
    """Return the system prompts, and the turns from ``start`` on."""
    before = [turn for turn in turns[:start] if turn.role == "system"]
    return (*before, *turns[start:])


def _plain(turns: Sequence[Turn]) -> str:
    """Return a conversation as plain text to continue, for models without a chat template."""
    lines: list[str] = []
    for turn in turns:
        if turn.role == "assistant" and lines:
            lines[-1] += turn.text
        else:
            lines.append(turn.text)
    return "\n".join(lines)


class Conversation:
    """A chat with memory: ask, ask again with another seed, go back to an earlier question.

    Args:
        voice: the language model that answers.
        chat: earlier turns.
        length, sampling: token limit and sampling options of the answers.
        screening: creates the ``Screen`` of each answer.
    """

    def __init__(
        self,
        voice: Voice,
        chat: Chat | None = None,
        length: int = LENGTH,
        sampling: Sampling | None = None,
        screening: Callable[[], Screen] | None = None,
    ) -> None:
        self.voice, self.length, self.sampling = voice, length, sampling or voice.sampling()
        self.screening = screening
        self.chat = chat or Chat(())

    @property
    def questions(self) -> list[int]:
        """Indices of the user's turns."""
        return [n for n, turn in enumerate(self.chat.turns) if turn.role == "user"]

    def system(self, text: str) -> None:
        """Replace the system prompt; "" removes it."""
        rest = [turn for turn in self.chat.turns if turn.role != "system"]
        first = [Turn("system", readable(text))] if text.strip() else []
        self.chat = Chat((*first, *rest), self.chat.file)

    def ask(self, question: str) -> Answer:
        """Ask a question; call ``keep`` to add the answer to ``chat`` as far as it was iterated
        over.

        Raises UserError and leaves the chat unchanged.
        """
        chat = self.chat.said("user", readable(question))
        answer = self._answer(chat.turns, self.sampling)
        self.chat = chat
        return answer

    def _answer(self, turns: Sequence[Turn], sampling: Sampling) -> Answer:
        screen = self.screening() if self.screening else None
        return self.voice.answer(turns, self.length, sampling, screen)

    def again(self, seed: int | None = None) -> Answer:
        """Ask the last question with another seed, by default the next one. Raises UserError."""
        return self.edit(len(self.questions), None, self.sampling.seed + 1 if seed is None else seed)

    def edit(self, number: int, question: str | None, seed: int | None = None) -> Answer:
        """Go back to question ``number`` (from 1) and ask it again, reworded unless None.

        Raises UserError.
        """
        if not 1 <= number <= len(self.questions):
            raise UserError(
                "value",
                _("there is no question {number}").format(number=number),
                expected=_("1 to {most}").format(most=len(self.questions)) if self.questions else _("a question first"),
            )
        index = self.questions[number - 1]
        text = self.chat.turns[index].text if question is None else readable(question)
        turns = (*self.chat.turns[:index], Turn("user", text))
        sampling = self.sampling
        if seed is not None:
            sampling = Sampling(sampling.temperature, sampling.top, seed)
        answer = self._answer(turns, sampling)
        self.sampling, self.chat = sampling, Chat(turns, self.chat.file)
        return answer

    def say(self, question: str) -> Reply:
        """Ask and wait for the whole answer. Raises UserError."""
        answer = self.ask(question)
        for _part in answer:
            pass
        return self.keep(answer)

    def read_ahead(self) -> None:
        """Read the conversation so far in the background, so that the next answer begins sooner."""
        if self.chat.turns:
            with suppress(UserError):  # a template that renders no conversation without a last question
                self.voice.read_ahead(self.chat.turns)

    def keep(self, answer: Answer) -> Reply:
        """Add an answer to the chat; a question whose answer is empty is removed."""
        if answer.text:
            self.chat = self.chat.said("assistant", answer.text)
        else:
            self.chat = Chat(self.chat.turns[:-1], self.chat.file)
        return answer.reply
