"""Takes the option that a language model finds likeliest after the question.

Brown and others: Language Models are Few-Shot Learners (2020).
https://doi.org/10.48550/arXiv.2005.14165

    score = log P(option | "Question: ... Answer:")     or that a letter of the option

The model writes nothing: it reads each option after the question and says how surprised it was.
Long options surprise more, hence the score a letter; and an option that is likely anyway is taken
for an answer, hence what it scores without the question may be taken off. Validation questions
decide about both. ``model=RUN`` names a run of text completion; without one, which letters follow
each other in the training questions is counted, which knows no meaning.

Differs from the paper: no examples stand before the question; what is scored without it has the
same "Answer:" before it; a scale is fitted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from souron.tasks.choose import Chooser, Item, Spec, language_model, log_likelihoods
from souron.training.loop import Progress, Run
from souron.utils.messages import _

LEAST = 0.1  # of counts, for what was never seen


@dataclass(frozen=True)
class Config:
    model: str = ""  # the folder of a run of text completion


class Likelihood(Chooser):
    year = 2020
    ja = "問題文の後に続く文として、言語モデルが最もありそうだと見る選択肢を選ぶ"
    VARIANTS = ("sum", "a letter")
    PRIORS = (0.0, 1.0)
    SIZES = {"tiny": Config(), "small": Config()}

    counts: Tensor  # (256, 256) how often a byte followed another, where there is no model

    def __init__(self, config: Config, spec: Spec | None) -> None:
        super().__init__(config, spec)
        self.register_buffer("counts", torch.zeros(256, 256))
        # in a list, so that its weights are not this system's
        self.reader = [language_model(config.model)] if config.model else []
        self.shortened: set[str] = set()  # questions whose beginning did not fit

    @classmethod
    def of(cls, model: Any) -> "Likelihood":
        """With a language model in memory."""
        made = cls(Config(), None)
        made.reader = [model]
        return made.eval()

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        if not self.reader and run.start == 0:
            self.counts.zero_()
            for batch in data.once(64):
                for question, label in zip(batch.question, batch.label.tolist(), strict=True):
                    said = _bytes(f"{prompt(question)} {question.options[label]}")
                    self.counts.index_put_((said[:-1], said[1:]), torch.ones(()), accumulate=True)
        yield from self.scaled(data, run)

    def scores(self, questions: Sequence[Item]) -> Tensor:
        pairs = [(prompt(q), f" {option}") for q in questions for option in q.options]
        if self.reader:
            nats, cut = log_likelihoods(self.reader[0], pairs)
            asked = [question.text for question in questions for _option in question.options]
            self.shortened |= {asked[row] for row in cut.nonzero().flatten().tolist()}
        else:
            nats = torch.stack([self._counted(*pair) for pair in pairs])
        wide = max(len(question.options) for question in questions)
        said = torch.full((len(questions), 2, wide), -torch.inf)
        place = 0
        for row, question in enumerate(questions):
            part = slice(place, place + len(question.options))
            letters = torch.tensor([float(len(option)) for option in question.options])
            said[row, 0, : len(letters)] = nats[part]
            said[row, 1, : len(letters)] = nats[part] / letters.clamp(min=1)
            place = part.stop
        return said

    def remarks(self, questions: Sequence[Item]) -> list[str]:
        count = sum(question.text in self.shortened for question in questions)
        text = _("The beginning of {count} questions did not fit into the {context} tokens that "
                 "the model sees.")  # fmt: skip
        return [text.format(count=count, context=self.reader[0].context)] if count else []

    def _counted(self, before: str, option: str) -> Tensor:
        """log P of the option's bytes, each after the one before it."""
        said = _bytes(before[-1:] + option)
        share = (self.counts + LEAST) / (self.counts + LEAST).sum(1, keepdim=True)
        return share[said[:-1], said[1:]].log().sum()


def prompt(question: Item) -> str:
    """What stands before an option; without a text only what always does."""
    return f"Question: {question.text}\nAnswer:" if question.text else "Answer:"


def _bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode("utf-8", "replace")))
