"""Compare language models by blind votes on their answers to the same questions."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from souron.action import Action, Ask, Given, Record, Section, Table
from souron.actions.arena import contest, votes, wording
from souron.actions.arena.contest import Arena, ArenaResult, Match
from souron.data.dataset import Skipped
from souron.kinds.signature import Choice
from souron.runs.events import Event, left
from souron.utils.messages import N_, UserError, _
from souron.utils.terminal import printable

KEYS = {"1": "first", "2": "second", "3": "good", "4": "bad"}


@dataclass(frozen=True)
class Options:
    results: Annotated[str, Choice(N_("only say what came of those votes"), metavar="FILE")] = ""
    votes: Annotated[str, Choice(N_("the file of votes (default runs/arena/QUESTIONS.jsonl)"), metavar="FILE")] = ""
    judge: Annotated[str, Choice(N_("a model that compares the answers, too, in both orders"), metavar="MODEL")] = ""
    seed: Annotated[int, Choice(N_("of sides and answers (default 0)"), low=0)] = 0
    length: Annotated[int, Choice(N_("tokens of an answer (default 256)"), low=1, high=4096)] = 256
    temperature: Annotated[
        float, Choice(N_("0 takes the likeliest token (default 0.7)"), low=0, high=2, metavar="T")
    ] = 0.7
    on: Annotated[
        str,
        Choice(
            N_("where all answers are written before the first vote: processes:4, dask://HOST:PORT, slurm"),
            metavar="ENGINE",
        ),
    ] = ""


@dataclass
class ArenaRecord(Record):
    """The outcome of the votes, and of a judge's choices."""

    eyebrow = N_("arena")
    json_file = "arena.json"

    result: ArenaResult
    skipped: tuple[Skipped, ...]  # lines of the file of questions
    folder: Path | None

    def page_title(self) -> str:
        return _("Blind votes: {models}").format(models=", ".join(model.name for model in self.result.models))

    def as_json(self) -> dict[str, Any]:
        return self.result.as_json()

    def sentences(self) -> list[str]:
        verdicts = [wording.sentence(verdict) for verdict in self.result.verdicts]
        return [*verdicts, *wording.judged(self.result), wording.headline(self.result)]

    def notes(self) -> list[str]:
        left_out = (*self.skipped, *self.result.skipped)
        return [f"{each.file}: {each.reason}" for each in left_out]

    def tables(self) -> list[Table]:
        rating, interval = _("rating"), _("95 % interval")
        columns = (_("model"), rating, interval)
        rows = wording.ratings(self.result)
        return [Table(columns, rows, _("Ratings"), right=(rating, interval))]

    def shown(self) -> list[Any]:
        told = _("votes: {path}").format(path=self.result.file)
        about = [wording.about_ratings()] if self.result.votes else []
        return [*super().shown(), *about, told]

    def sections(self) -> list[Section]:
        about = [wording.about_ratings()] if self.result.votes else []
        return [replace(one, blocks=[*one.blocks, *about]) for one in super().sections()]


class BlindVotes(Action):
    """Let two to four models answer questions, and ask which answer is better before their names
    are shown. Where nobody answers, only the votes of earlier runs count. With ``on`` all answers are
    written on an engine before the first vote, and a judge compares them there."""

    title = N_("Compare two to four language models by blind votes.")
    examples = (
        "souron arena smollm2 model.gguf questions.txt",
        "souron arena smollm2 runs/complete/gpt questions.jsonl judge=smollm2 seed=1",
        "souron arena --results runs/arena/questions.jsonl --json",
        "souron arena smollm2 model.gguf questions.txt on=processes:2",
    )
    group = "language"
    given = Given(
        "MODEL MODEL [...] QUESTIONS",
        N_("models as souron models names them, files, runs; last the file of questions"),
        0,
        None,
    )
    lookup = True
    page = "arena"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        skipped: tuple[Skipped, ...] = ()
        if options.results:
            made = earlier(given, options)
        else:
            names, questions, skipped = entered(given)
            yield Event("data", text=", ".join(names))
            file = self.project / "arena" / f"{Path(given[-1]).stem}.jsonl"
            file = Path(options.votes) if options.votes else file
            more = {name: getattr(options, name) for name in ("seed", "length", "temperature")}
            made = contest.begin(names, questions, file, **more)
            if options.on:
                begun = time.monotonic()
                for done in contest.write_all(made, options.on):
                    yield Event("answer", done, left(begun, done), _("answers are written before the first vote"))
            yield from voting(made)
        if options.judge:
            text, begun = _("{judge} compares the answers").format(judge=options.judge), time.monotonic()
            for count, whole in contest.judge(made.held, options.judge, on=options.on):
                done = count / max(1, whole)
                yield Event("answer", done, left(begun, done), text)
        folder = self.new_folder(made.held.file.stem)
        yield Event("done", 1.0, record=ArenaRecord(made.result(), skipped, folder), folder=folder)


def entered(given: Sequence[str]) -> tuple[list[str], list[str], tuple[Skipped, ...]]:
    """Return the models, the questions of the last file, and its lines that are none. Raises
    UserError."""
    *names, last = given or [""]
    if not names:
        argument = "MODEL MODEL QUESTIONS"
        raise UserError(
            "argument",
            _("{argument} is missing").format(argument=argument),
            expected=argument,
            fix="souron arena smollm2 gpt questions.txt",
        )
    return names, *votes.questions(Path(last))


def earlier(given: Sequence[str], options: Options) -> Arena:
    """Return the arena of a file of votes, without further questions. Raises UserError."""
    if given:
        raise UserError("usage", _("--results takes no models"), fix="souron arena --help")
    held = votes.read(Path(options.results))
    if not (options.judge or held.votes or held.judged):
        raise UserError(
            "no votes",
            _("{path} holds no votes yet").format(path=options.results),
            expected=_("votes that were made blind"),
            fix="souron arena MODEL MODEL questions.txt",
            exit=3,
        )
    assert held.settings is not None
    return Arena(held, [], held.settings)


def voting(made: Arena) -> Iterator[Event]:
    """Ask for a vote on each pair of answers, until none is left or the input ends."""
    waiting = sum(1 for _match in made.matches())
    text = _("{count} pairs of answers are waiting; names come after each vote")
    yield Event("answer", note=text.format(count=waiting))
    for number, match in enumerate(made.matches()):
        before = len(made.held.votes)
        yield Event("answer", number / max(1, waiting), text=_("two models are answering"))
        answers = made.answers(match)
        if answers is None:
            same = len(made.held.votes) > before
            told = _("both answers are the same: a tie") if same else _("left out: {why}")
            yield Event("answer", note=told.format(why=made.unfit.get(match.question, "")))
            continue
        texts = [(f"\n{printable(match.question)}", "bold")]
        for side, answer in enumerate(answers, 1):
            texts += [(f"\n[{side}]", "bold cyan"), (printable(answer.text) or _("(nothing)"), "")]
        said, blind = yield from choice(match, texts)
        if said is None:
            return
        made.vote(match, said, blind)
        if blind:
            names = _("1 was {first}, 2 was {second}")
            told = names.format(first=match.first, second=match.second)
            yield Event("answer", record=Ask(texts=[(told, "dim")]))


def choice(match: Match, texts: Sequence[tuple[str, str]]) -> Generator[Event, None, tuple[str | None, bool]]:
    """Ask for a vote; return it, and whether the names were still hidden.

    The vote is None at the end of the input.
    """
    blind = True
    prompt = _("1 or 2 is better, 3 both good, 4 both bad, n names (the vote then does not count), q end: ")
    while True:
        ask = Ask(prompt, texts)
        yield Event("answer", record=ask)
        word = "q" if ask.reply is None else ask.reply.strip().lower()
        texts = ()
        if word == "q":
            return None, blind
        if word in KEYS:
            return KEYS[word], blind
        if word == "n":
            blind = False
            names = _("1 is {first}, 2 is {second}")
            texts = [(names.format(first=match.first, second=match.second), "")]
