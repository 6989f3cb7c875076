"""Compare language models side by side: equal questions, blind votes, ratings with intervals.

    arena = begin(["smollm2", "runs/complete/gpt"], questions, Path("votes.jsonl"))
    for match in arena.matches():
        arena.answers(match)               # two answers, in the order of their sides
        arena.vote(match, votes.FIRST)     # on the disk when it returns
    arena.result()

Zheng and others: Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena (2023),
https://arxiv.org/abs/2306.05685. Differs from the paper: each question is put to each pair once;
only blind votes count; intervals are not bootstrapped.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from souron.actions.arena import votes
from souron.actions.arena.votes import Answer, Judged, Settings, Vote, Votes
from souron.data.dataset import Skipped
from souron.evaluation.language.answer_judge import Comparer, compared
from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Sampling
from souron.kinds.chat import Turn
from souron.runs import loading
from souron.runs.elsewhere import workers
from souron.stats import bradley_terry
from souron.stats.agreement import Agreement, agreement
from souron.stats.bradley_terry import MEAN, POINTS
from souron.stats.intervals import proportion_interval
from souron.stats.records import Measure, Verdict
from souron.utils.messages import UserError, _

AGAIN = " #"  # between a name and its number, if a model competes with itself
QUESTIONS = 4  # questions that a worker answers at a time
PAIRS = 16  # pairs of answers that a worker judges at a time


@dataclass(frozen=True)
class Match:
    """One question to two rivals; ``first`` and ``second`` are in the order of display."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Rated:
    name: str
    rating: float | None  # None without votes
    low: float | None
    high: float | None


@dataclass(frozen=True)
class JudgeResult:
    """The agreement of a judge's choices with a person's votes, including ties."""

    name: str
    agreement: Agreement
    first: Measure  # share of choices of the answer read first; half if unbiased
    compared: int  # pairs of answers
    undecided: int  # pairs whose winner changed with the order of the answers


@dataclass(frozen=True)
class ArenaResult:
    models: tuple[Rated, ...]  # best first
    votes: int  # counted votes
    ties: int
    shown: int  # votes with visible names, or repeated ones: kept, not counted
    verdicts: tuple[Verdict, ...]
    judges: tuple[JudgeResult, ...]
    questions: int  # with a vote
    skipped: tuple[Skipped, ...]
    file: Path

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-able object; ratings are in points, verdicts also in shares."""
        return {
            "models": [vars(model) for model in self.models],
            "votes": self.votes,
            "verdicts": [_verdict_json(verdict) for verdict in self.verdicts],
            "ties": self.ties,
            "not_counted": self.shown,
            "questions": self.questions,
            "judges": [_judge_json(judge) for judge in self.judges],
            "skipped": [vars(each) for each in self.skipped],
            "file": str(self.file),
        }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    points = [POINTS * value for value in (verdict.difference, verdict.low, verdict.high)]
    shares = [bradley_terry.share(v) for v in (verdict.difference, verdict.low, verdict.high)]
    return {
        "a": verdict.a,
        "b": verdict.b,
        **dict(zip(("difference", "low", "high"), points, strict=True)),
        **dict(zip(("share", "share_low", "share_high"), shares, strict=True)),
        "verdict": verdict.verdict,
        "votes_needed": verdict.cases_needed,
    }


def _judge_json(judge: JudgeResult) -> dict[str, Any]:
    return {
        "name": judge.name,
        "agreement": vars(judge.agreement.same),
        "kappa": vars(judge.agreement.kappa),
        "first": vars(judge.first),
        "compared": judge.compared,
        "undecided": judge.undecided,
    }


class Rival:
    """A language model that answers questions one by one, as in a chat."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.voice = Voice(loading.language_model(name))

    def answer(self, question: str, length: int, sampling: Sampling) -> Answer:
        """Answer a question. Raises UserError if it does not fit the context."""
        begun = time.perf_counter()
        written = self.voice.answer([Turn("user", question)], length, sampling)
        text = "".join(written).strip()
        seconds, reply = time.perf_counter() - begun, written.reply
        return Answer(question, "", text, reply.tokens, seconds, reply.stopped_by)


def write(rival: Any, name: str, question: str, settings: Settings) -> Answer:
    """Answer a question as the model of that name, with a seed of its own for each question and
    each copy of a model. Raises UserError if it does not fit the context."""
    number = name.partition(AGAIN)[2]
    seed = random.Random(f"{settings.seed} {number} {question}").getrandbits(31)
    answer: Answer = rival.answer(question, settings.length, Sampling(settings.temperature, seed=seed))
    return replace(answer, model=name)


@dataclass
class Arena:
    """Rivals, questions, and the file of votes."""

    held: Votes
    questions: list[str]
    settings: Settings
    loads: Callable[[str], Any] = Rival  # maps a model's name to a rival
    rivals: dict[str, Any] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)  # excluded questions -> reason
    refused: dict[tuple[str, str], UserError] = field(default_factory=dict)  # by ``write_all``

    def matches(self) -> Iterator[Match]:
        """Yield matches without a vote in random order, each question once per round of pairs."""
        names = self.settings.models
        pairs = list(combinations(names, 2))
        chance = random.Random(self.settings.seed)
        order = list(range(len(self.questions)))
        chance.shuffle(order)
        chance.shuffle(pairs)
        for turn in range(len(pairs)):
            for number in order:
                question = self.questions[number]
                first, second = pairs[(number + turn) % len(pairs)]
                if chance.random() < 0.5:
                    first, second = second, first
                match = Match(question, first, second)
                if question not in self.unfit and not self.voted(match):
                    yield match

    def voted(self, match: Match) -> bool:
        pair = Vote(match.question, match.first, match.second, votes.SAME).pair
        return any(vote.pair == pair for vote in self.held.votes)

    def answers(self, match: Match) -> tuple[Answer, Answer] | None:
        """Return the two answers in the order of display, or None.

        None if the question does not fit a rival's context, which is recorded in ``unfit``, and for
        equal answers, which are recorded as a tie.
        """
        try:
            first, second = (self.answer(match.question, n) for n in (match.first, match.second))
        except UserError as error:
            if error.code != "context":
                raise
            self.unfit[match.question] = error.found
            return None
        if first.text == second.text and not self.voted(match):
            self.vote(match, votes.SAME)
            return None
        return first, second

    def answer(self, question: str, name: str) -> Answer:
        """Return a rival's answer, generated once per question."""
        if (question, name) in self.refused:
            raise self.refused[question, name]
        if (question, name) not in self.held.answers:
            model = name.partition(AGAIN)[0]
            if model not in self.rivals:
                self.rivals[model] = self.loads(model)
            self.held.add(write(self.rivals[model], name, question, self.settings))
        return self.held.answers[question, name]

    def vote(self, match: Match, said: str, blind: bool = True) -> None:
        """Record a vote. Repeated votes on a pair are kept but not counted."""
        self.held.add(Vote(match.question, match.first, match.second, said, blind))

    def result(self) -> ArenaResult:
        found = result(self.held)
        unfit = tuple(Skipped(text[:60], "context", why) for text, why in self.unfit.items())
        return ArenaResult(**{**vars(found), "skipped": (*found.skipped, *unfit)})


def write_all(arena: Arena, on: str) -> Iterator[float]:
    """Write the answers that are missing on an engine, before any vote; yield the share done, 0..1.

    Each is in the file as soon as it has arrived.
    """
    parts = [
        (name, some)
        for name in arena.settings.models
        for some in workers.slices([q for q in arena.questions if (q, name) not in arena.held.answers], QUESTIONS)
    ]
    models = {name: workers.anywhere(name.partition(AGAIN)[0]) for name in arena.settings.models}
    given = ((number, (models[name], name, some, arena.settings)) for number, (name, some) in enumerate(parts))
    systems = list(dict.fromkeys(models.values()))
    for done, (number, answers) in enumerate(workers.gather(on, written, given, systems), 1):
        name, questions = parts[number]
        for question, answer in zip(questions, answers, strict=True):
            if isinstance(answer, UserError):
                arena.refused[question, name] = answer
            else:
                arena.held.add(answer)
        yield done / len(parts)


def written(model: str, name: str, questions: Sequence[str], settings: Settings) -> list[Answer | UserError]:
    """Answer some questions with a model that this machine loads; errors stand for those that do not fit."""
    rival, answers = workers.loaded(Rival, model), list[Answer | UserError]()
    for question in questions:
        try:
            answers.append(write(rival, name, question, settings))
        except UserError as error:
            if error.code != "context":
                raise
            answers.append(error)
    return answers


def begin(
    models: Sequence[str],
    questions: Sequence[str],
    file: Path,
    seed: int = 0,
    length: int = 256,
    temperature: float = 0.7,
    loads: Callable[[str], Any] | None = None,
) -> Arena:
    """Create an arena, or continue the one in the file.

    Raises UserError if the file holds an arena with other settings.
    """
    settings = Settings(_told_apart(models), seed, length, temperature)
    questions = votes.some(questions, file)
    if file.exists() and (not file.is_file() or file.stat().st_size):
        held = votes.read(file)
        if held.settings != settings:
            assert held.settings is not None
            raise UserError(
                "another arena",
                _("{path} holds votes on {models} (seed {seed}, {length} tokens, temperature {temperature})").format(
                    path=file, **_spelt(held.settings)
                ),
                expected=_("{models} (seed {seed}, {length} tokens, temperature {temperature})").format(
                    **_spelt(settings)
                ),
                fix="votes=other.jsonl",
            )
    else:
        held = Votes(file)
    loads = loads or Rival
    arena = Arena(held, list(questions), settings, loads)
    if held.settings is None:
        for name in dict.fromkeys(name.partition(AGAIN)[0] for name in settings.models):
            arena.rivals[name] = loads(name)  # unreadable models are reported first
        held.add(settings)
    return arena


def _spelt(settings: Settings) -> dict[str, Any]:
    return {**vars(settings), "models": ", ".join(settings.models)}


def _told_apart(models: Sequence[str]) -> tuple[str, ...]:
    """Number repeated names, so that each is unique. Raises UserError."""
    least, most = votes.RIVALS
    if not least <= len(models) <= most:
        raise UserError(
            "models",
            _("{count} models").format(count=len(models)),
            expected=_("{least} to {most} models, and a file of questions").format(least=least, most=most),
            fix="souron arena smollm2 model.gguf questions.txt",
        )
    names: list[str] = []
    for model in models:
        copies = sum(name.partition(AGAIN)[0] == model for name in names)
        names.append(model + (f"{AGAIN}{copies + 1}" if copies else ""))
    return tuple(names)


def judge(held: Votes, name: str, comparer: Comparer | None = None, on: str = "") -> Iterator[tuple[int, int]]:
    """Let a model judge the pairs of answers it has not judged yet; yields (done, total).

    Pairs that do not fit its context are skipped. Where ``on`` names an engine, its workers judge.
    """
    assert held.settings is not None
    known = {each.pair for each in held.judged if each.judge == name}
    asked: dict[str, dict[str, Answer]] = {}
    for (question, model), answer in held.answers.items():
        asked.setdefault(question, {})[model] = answer
    waiting = [
        (one, other)
        for answers in asked.values()
        for one, other in combinations([answers[m] for m in held.settings.models if m in answers], 2)
        if (one.question, *sorted((one.model, other.model))) not in known and one.text != other.text
    ]
    yield 0, len(waiting)
    for done, (one, other, chances) in enumerate(_preferences(waiting, name, comparer, on), 1):
        if chances is not None:
            wins = [chance > 0.5 for chance in chances]
            said = votes.GOOD if wins[0] == wins[1] else votes.FIRST if wins[0] else votes.SECOND
            held.add(Judged(one.question, name, one.model, other.model, chances, said))
        yield done, len(waiting)


def _preferences(
    waiting: Sequence[tuple[Answer, Answer]], name: str, comparer: Comparer | None, on: str
) -> Iterator[tuple[Answer, Answer, tuple[float, float] | None]]:
    """Yield each pair of answers with the judge's probabilities, None where it does not fit."""
    if not on:
        if waiting:
            comparer = comparer or comparer_of(name)
        for one, other in waiting:
            assert comparer is not None
            yield one, other, compared(comparer, one.question, one.text, other.text)
        return
    model, parts = workers.anywhere(name), list(workers.slices(waiting, PAIRS))
    texts = ([(one.question, one.text, other.text) for one, other in part] for part in parts)
    given = ((number, (model, part)) for number, part in enumerate(texts))
    for number, found in workers.gather(on, preferred, given, [model]):
        for (one, other), chances in zip(parts[number], found, strict=True):
            yield one, other, chances


def preferred(model: str, pairs: Sequence[tuple[str, str, str]]) -> list[tuple[float, float] | None]:
    """Compare some pairs (question, answer, answer) with a judge that this machine loads."""
    comparer = workers.loaded(comparer_of, model)
    return [compared(comparer, *pair) for pair in pairs]


def comparer_of(model: str) -> Comparer:
    return Comparer(loading.language_model(model))


def result(held: Votes) -> ArenaResult:
    """Compute ratings, verdicts, and the agreement of judges with the votes."""
    assert held.settings is not None
    names = held.settings.models
    place = {name: number for number, name in enumerate(names)}
    counted = [vote for vote in held.counted if {vote.first, vote.second} <= place.keys()]
    ratings = bradley_terry.fit(
        [place[vote.first] for vote in counted],
        [place[vote.second] for vote in counted],
        [votes.SAID[vote.said] for vote in counted],
        len(names),
        [vote.question for vote in counted],
    )
    rated = []
    for number, name in enumerate(names):
        value, low, high = (MEAN + POINTS * each for each in ratings.rating(number))
        rated.append(Rated(name, value, low, high) if counted else Rated(name, None, None, None))
    judges = dict.fromkeys(each.judge for each in held.judged)
    return ArenaResult(
        tuple(sorted(rated, key=lambda each: -(each.rating or 0))),
        len(counted),
        sum(votes.SAID[vote.said] == 0.5 for vote in counted),
        len(held.votes) - len(counted),
        tuple(bradley_terry.verdicts(ratings, names)) if counted else (),
        tuple(_beside(held, name, counted) for name in judges),
        len({vote.question for vote in counted}),
        held.skipped,
        held.file,
    )


def _beside(held: Votes, name: str, counted: Sequence[Vote]) -> JudgeResult:
    """Compare a judge's choices with the votes on the same answers."""
    own = {each.pair: each for each in held.judged if each.judge == name}
    both = [(own[vote.pair], vote) for vote in counted if vote.pair in own]
    first = sum(chance > 0.5 for each in own.values() for chance in each.chances)
    return JudgeResult(
        name,
        agreement([_winner(one) for one, _vote in both], [_winner(vote) for _one, vote in both]),
        proportion_interval(first, 2 * len(own)),
        len(own),
        sum(each.said == votes.GOOD for each in own.values()),
    )


def _winner(one: Vote | Judged) -> str:
    return {votes.FIRST: one.first, votes.SECOND: one.second}.get(one.said, "")
