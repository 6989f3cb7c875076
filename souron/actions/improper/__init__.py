"""Measure how many of a language model's answers are harmful, before and after tuning.

Each prompt is answered, each answer is split into sentences, and each sentence is judged by three
methods (``evaluation.harmful.judges``): an answer is harmful if one of its sentences is. Prompts
are resampled, so that several answers to one prompt do not count as several prompts. Two models get
the same prompts, and their difference is judged pair by pair (``stats.verdict``); it applies to
these two trained networks. Gehman and others: RealToxicityPrompts (2020),
https://arxiv.org/abs/2009.11462, measure in the same way with longer prompts and a larger
classifier.

With ``prompts="manners"`` the prompts are the test questions of ``manner_pairs``, and their own
judge (``evaluation.language.manners``) is added to the three methods: it counts inappropriate
answers, which are rude, or careless with medicine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from souron import model as models
from souron.action import Action, Given
from souron.actions.improper import prompts
from souron.actions.improper.prompts import MANNERS
from souron.actions.improper.record import Answered, ImproperRecord
from souron.data.composing.language import manners
from souron.data.language.tokenizer import readable
from souron.evaluation.answers import Step
from souron.evaluation.harmful import judges
from souron.evaluation.harmful.corpus import Prompt
from souron.evaluation.harmful.judges import Judge
from souron.evaluation.harmful.ways import WAYS
from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Sampling, answers
from souron.kinds.chat import Turn
from souron.kinds.signature import Choice
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _

SAMPLING = (0.8, 0.95)  # temperature and top-p, as in souron chat


@dataclass(frozen=True)
class Options:
    before: Annotated[str, Choice(N_("the model before it was tuned, for comparison"), metavar="MODEL")] = ""
    prompts: Annotated[str, Choice(N_("prompts of your own, a line each; or manners"), metavar="FILE")] = ""
    lexicon: Annotated[str, Choice(N_("a lexicon of your own, a word a line, instead of souron's"), metavar="FILE")] = (
        ""
    )
    language: Annotated[str, Choice(N_("prompts in en or ja alone"), metavar="L")] = ""
    n: Annotated[int | None, Choice(N_("prompts at most (default all)"), low=1)] = None
    each: Annotated[int, Choice(N_("answers to each prompt (default 1)"), low=1, high=50)] = 1
    length: Annotated[int, Choice(N_("tokens of an answer (default 48)"), low=1, high=4096)] = 48
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0


class Improper(Action):
    """Let a language model answer prompts, and count its harmful answers.

    Of two models the second is the first one after tuning, as with ``before``. ``n`` limits the
    prompts, evenly over their types; ``each`` is the number of answers to each.
    """

    title = N_("Count the harmful answers of a language model.")
    examples = (
        "souron improper smollm2",
        "souron improper runs/complete/manners before=runs/complete/talk",
        "souron improper runs/complete/talk runs/complete/manners prompts=manners",
    )
    group = "society"
    given = Given("MODEL", N_("a language model, as souron chat takes it"), 1, 2)
    within = "audit"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        before, model = of_given(given, options.before)
        asked = prompts.chosen(prompts.prompts_of(options.prompts), options.n, options.language)
        yield Event("data", text=_("training the classifier"))
        judging = judges.judge(words=options.lexicon or None)
        found: dict[str, Answered] = {}
        names = [model, *([before] if before else [])]
        for number, name in enumerate(names):
            yield Event("data", number / len(names), text=_("loading {name}").format(name=name))
            voice = models.load(name).voice
            texts: list[str] = []
            for step in answering(voice, asked, options.each, options.seed, options.length):
                texts = step.result or texts
                done = (number + 0.9 * step.done) / len(names)
                yield Event("answer", done, text=step.text)
            yield Event("check", (number + 0.9) / len(names), text=_("judging the answers"))
            found[name] = judged(judging, name, asked, texts, options.each)
        words = judging.words
        yield Event(
            "done",
            1.0,
            record=ImproperRecord(
                model,
                found[model],
                found.get(before),
                asked,
                options.each,
                options.seed,
                options.length,
                words.name if words else "",
                words.count if words else 0,
                judges.record(judging),
                self.new_folder(Path(model).name),
            ),
        )


def of_given(given: Sequence[str], before: str) -> tuple[str, str]:
    """Return the model before tuning, "" for none, and the model. Raises UserError."""
    *first, model = given
    if first and before:
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=model),
            expected=_("a model, and perhaps what it was before"),
            fix=f"souron improper {model} before={first[0]}",
        )
    return (first[0] if first else before), model


def answering(voice: Voice, asked: Sequence[Prompt], each: int, seed: int, length: int) -> Iterator[Step]:
    """Generate ``each`` answers to every prompt, returned in order at the end."""
    one = [_tokens(voice, prompt.text, length) for prompt in asked]
    tokens = [row for row in one for _time in range(each)]
    texts = [""] * len(tokens)
    sampling, text = Sampling(*SAMPLING, seed=seed), _("answering {n} prompts").format(n=len(asked))
    yield Step(0.0, text)  # the first answers take a while
    reader = voice.reader
    for done, (row, written) in enumerate(answers(reader, tokens, length, sampling), 1):
        texts[row] = reader.tokenizer.generated_text(written)
        yield Step(done / len(tokens), text)
    yield Step(1.0, result=texts)


def _tokens(voice: Voice, prompt: str, length: int) -> list[int]:
    """Tokenise a prompt; one that leaves less room than ``length`` gets a shorter answer.

    Raises UserError if no room is left.
    """
    turns = (Turn("user", readable(prompt)),)
    tokens = voice.tokens(turns)
    return tokens if len(tokens) < voice.reader.context else voice.prompt(turns, length).tokens


def judged(judging: Judge, name: str, asked: Sequence[Prompt], texts: list[str], each: int = 1) -> Answered:
    """Judge the answers by each method."""
    flagged = judging.answers(texts)
    found: dict[str, Any] = {way: np.array([bool(row) for row in flagged[way]]) for way in WAYS}
    sorts = [prompt.sort for prompt in asked for _time in range(each)]
    if set(sorts) <= set(manners.SORTS):
        found[MANNERS] = np.array(
            [manners.judged(sort, text).improper for sort, text in zip(sorts, texts, strict=True)]
        )
    return Answered(name, texts, flagged, found)
