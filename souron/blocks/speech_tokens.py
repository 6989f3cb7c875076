"""The vocabulary of Whisper: text, then tokens for languages, tasks and times, and their rules.

Radford and others: Robust Speech Recognition via Large-Scale Weak Supervision (2022).
https://arxiv.org/abs/2212.04356

    start, language, transcribe or translate, [untimed], text ..., end
    start, language, transcribe or translate, <0.00>, text, <2.40>, <2.40>, text, <5.12>, end
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

NAMES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th "
    "ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr "
    "pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt "
    "haw ln ha ba jw su yue"
)
LANGUAGES = tuple(NAMES.split())  # in the order of their tokens; ``yue`` from large-v3 on
TIMES = 1501  # tokens for 0.00, 0.02, ..., 30.00 s
STEP = 0.02  # seconds
MOST_REPEATED = 2.4  # bytes of a text for each that zlib makes of it
LEAST_CHANCE = -1.0  # mean logarithm of a token's probability
SILENT = 0.6  # probability of silence from which an improbable text is dropped
BEAMS = 5  # of the second search
FIRST = 50  # steps of a window in which its first time lies: 1 s
LOOP, CYCLE = 24, 6  # tokens at the end of a text that are copies of so few: it goes on so


class Heard(NamedTuple):
    """The result of a search for one window."""

    tokens: list[int]  # without the end
    chance: float  # mean logarithm of the tokens' probabilities
    silence: float = 0.0  # probability that nobody speaks


@dataclass(frozen=True)
class Layout:
    """Numbers of the special tokens, which follow ``text`` tokens of text."""

    text: int
    languages: tuple[str, ...] = LANGUAGES[:99]
    timed: bool = True

    @property
    def end(self) -> int:
        return self.text

    @property
    def start(self) -> int:
        return self.text + 1

    def language(self, name: str) -> int:
        return self.text + 2 + self.languages.index(name)

    @property
    def translate(self) -> int:
        return self.text + 2 + len(self.languages)

    @property
    def transcribe(self) -> int:
        return self.translate + 1  # two tokens after it are used in Whisper's training only

    @property
    def silence(self) -> int:
        return self.translate + 4

    @property
    def untimed(self) -> int:
        return self.translate + 5

    @property
    def first_time(self) -> int:
        return self.translate + 6

    @property
    def size(self) -> int:
        """The number of all tokens."""
        return self.first_time + TIMES * self.timed

    def prompt(self, language: str, translate: bool = False, timed: bool = False) -> list[int]:
        """Return the tokens that say what is wanted.

        >>> Layout(50_257).prompt("ja")
        [50258, 50266, 50359, 50363]
        """
        task = self.translate if translate else self.transcribe
        return [self.start, self.language(language), task, *([] if timed else [self.untimed])]

    def allowed(
        self, logits: Tensor, sequences: Sequence[Sequence[int]], timed: bool, silent: Sequence[int] = ()
    ) -> Tensor:
        """Return logits (R, size) with -inf at tokens that must not follow those ``sequences``.

        Without times only text may come. With them, a text stands between two times that do not
        decrease, and where times together are more probable than any text, a time comes.
        ``silent`` tokens stand for noises that nobody speaks.
        """
        logits = logits.clone()
        logits[:, list(silent)] = -torch.inf
        logits[:, self.start : self.first_time] = -torch.inf
        if not timed:
            logits[:, self.first_time :] = -torch.inf
            return logits
        for row, tokens in zip(logits, sequences, strict=True):
            self._order(row, tokens)
        chance = logits.float().log_softmax(1)
        times = chance[:, self.first_time :].logsumexp(1)
        logits[times > chance[:, : self.first_time].amax(1), : self.first_time] = -torch.inf
        return logits

    def _order(self, row: Tensor, tokens: Sequence[int]) -> None:
        """Mask in place what would break the order of times."""
        first = self.first_time
        if not tokens:  # a window begins with a time
            row[:first] = -torch.inf
            row[first + FIRST + 1 :] = -torch.inf
            return
        times = [token for token in tokens if token >= first]
        after_time = tokens[-1] >= first
        phrase_open = after_time and (len(tokens) < 2 or tokens[-2] >= first)
        if phrase_open:  # a text follows
            row[first:] = -torch.inf
        elif after_time:  # the next text begins, or the end comes
            row[: self.end] = -torch.inf
        if times:
            row[first : times[-1] + (not after_time or phrase_open)] = -torch.inf

    def complete(self, tokens: Sequence[int], seconds: float) -> bool:
        """Return whether timed tokens close a phrase at the end of a sound of ``seconds``, behind
        which nobody speaks."""
        phrase_closed = [token >= self.first_time for token in tokens[-2:]] == [False, True]
        return phrase_closed and (tokens[-1] - self.first_time + 1) * STEP > seconds

    def phrases(self, tokens: Sequence[int], seconds: float) -> tuple[list[tuple], float]:
        """Split timed tokens of a window of ``seconds`` into (start, end, text tokens).

        Also return the second up to which the window is understood: the last time that closes a
        phrase, or all of it.
        """
        first = self.first_time
        is_time = [token >= first for token in tokens]
        places = [k for k in range(1, len(tokens)) if is_time[k - 1] and is_time[k]]
        phrase_closed = is_time[-2:] == [False, True]
        if phrase_closed:
            places.append(len(tokens))
        if not places or (phrase_closed and len(places) == 1):
            times = [(token - first) * STEP for token in tokens if token >= first]
            start, end = (times[0], times[-1]) if len(times) > 1 else (0.0, seconds)
            text = [token for token in tokens if token < self.end]
            return ([(start, min(end, seconds), text)] if text else []), seconds
        phrases, last = [], 0
        for end_token in places:
            part = tokens[last:end_token]
            start, end = ((token - first) * STEP for token in (part[0], part[-1]))
            text = [token for token in part if token < self.end]
            if text and start < seconds:
                phrases.append((start, min(end, seconds), text))
            last = end_token
        return phrases, seconds if phrase_closed else (tokens[last - 1] - first) * STEP


Follow = Callable[[Tensor, list[dict]], Tensor]  # tokens (R, n) after those cached -> logits


@torch.inference_mode()
def search(
    follow: Follow,
    prompts: Tensor,
    layout: Layout,
    depth: int,
    most: int,
    beams: int = 1,
    timed: bool = False,
    silent: Sequence[int] = (),
    seconds: float = float("inf"),
) -> list[Heard]:
    """Return the best tokens after each of the prompts (B, P), by beam search; 1 beam is greedy.

    Of the texts that end, the one of the highest mean probability of a token is taken. ``follow``
    sees ``beams`` rows for each prompt, and a cache for each of ``depth`` layers. A text ends with
    its phrase at the end of the sound, after ``seconds``, and the search where all that is left
    repeats itself.
    """
    count, device = len(prompts), prompts.device
    caches: list[dict] = [{} for _layer in range(depth)]
    tokens = prompts.repeat_interleave(beams, 0)
    sequences: list[list[int]] = [[] for _row in tokens]
    score = torch.full((count, beams), -torch.inf, device=device)
    score[:, 0] = 0.0
    ends = torch.zeros(count, beams, dtype=torch.bool, device=device)
    length = torch.zeros(count, beams, device=device)
    silence = torch.zeros(count)
    for step in range(most):
        logits = follow(tokens, caches)
        if step == 0:
            silence = logits[::beams, 0].float().softmax(1)[:, layout.silence].cpu()
        chance = layout.allowed(logits[:, -1], sequences, timed, silent).float().log_softmax(1)
        chance[ends.flatten()] = -torch.inf  # what has ended repeats its end at no cost
        chance[ends.flatten(), layout.end] = 0.0
        size = chance.shape[1]
        score, best_tokens = (score[..., None] + chance.view(count, beams, size)).flatten(1).topk(beams)
        parent, token = best_tokens // size, best_tokens % size
        row = (parent + torch.arange(count, device=device)[:, None] * beams).flatten()
        tokens = token.view(-1, 1)
        sequences = [
            [*sequences[before], number] for before, number in zip(row.tolist(), token.flatten().tolist(), strict=True)
        ]
        caches = [spread(cache, row) for cache in caches] if beams > 1 else caches
        ends, length = ends.gather(1, parent), length.gather(1, parent)
        length = length + ~ends
        ends = ends | (token == layout.end)
        if timed:
            over = [layout.complete(ids, seconds) for ids in sequences]
            ends = ends | torch.tensor(over, device=device).view(count, beams)
        if all(end or repeats(ids) for end, ids in zip(ends.flatten().tolist(), sequences, strict=True)):
            break
    mean = score / length.clamp(min=1)
    best = mean.where(ends | ~ends.any(1, keepdim=True), -torch.inf).argmax(1).tolist()
    results = []
    for number, beam in enumerate(best):
        ids = sequences[number * beams + beam]
        ids = ids[: [*ids, layout.end].index(layout.end)]
        results.append(Heard(ids, float(mean[number, beam]), float(silence[number])))
    return results


def repeats(tokens: Sequence[int]) -> bool:
    """Return whether a text ends with copies of the same few tokens.

    >>> repeats([7, *[1, 2, 3] * 8]), repeats([1, 2, 3] * 7)
    (True, False)
    """
    tail = list(tokens[-LOOP:])
    return len(tail) == LOOP and any(tail[size:] == tail[:-size] for size in range(1, CYCLE + 1))


def spread(cache: dict, rows: Tensor) -> dict:
    """Reorder the rows of cached keys and values; the sound is the same for all beams."""
    return {name: part if "sound" in name else part[rows] for name, part in cache.items()}


def long_form(
    samples: int,
    rate: int,
    window: float,
    layout: Layout,
    hear: Callable[[int, int, int], Heard],
    text_of: Callable[[Sequence[int]], str],
) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, text) of the phrases in a sound of any length.

    ``hear`` understands the samples from a first to a last one, at most ``window`` seconds, with so
    many beams; the next window begins where the last phrase ended. A text that repeats itself or is
    improbable is searched once more with ``BEAMS``, and dropped where the window is probably silent.
    """

    def doubtful(result: Heard) -> bool:
        raw = text_of(result.tokens).encode()
        repetitive = repeats(result.tokens) or len(raw) > MOST_REPEATED * len(zlib.compress(raw))
        return repetitive or result.chance < LEAST_CHANCE

    at, whole = 0, int(window * rate)
    while at < samples - rate // 10:
        last = min(samples, at + whole)
        result, advance = hear(at, last, 1), (last - at) / rate
        if doubtful(result) and result.silence <= SILENT:
            result = min(result, hear(at, last, BEAMS), key=lambda attempt: (doubtful(attempt), -attempt.chance))
        if result.silence <= SILENT or result.chance >= LEAST_CHANCE:
            phrases, advance = layout.phrases(result.tokens, advance)
            for start, end, tokens in phrases:
                if text := text_of(tokens):
                    yield at / rate + start, at / rate + max(start, end), text
        at += max(rate, round(advance * rate))
