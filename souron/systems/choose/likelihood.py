"""Takes the option that a language model finds likeliest after the question.

Brown and others: Language Models are Few-Shot Learners (2020).
https://doi.org/10.48550/arXiv.2005.14165

    score = log P(option | "Question: ... Answer:")     or that a letter of the option

The model writes nothing: it computes the probability of each option after the question. Long
options are less probable, hence the score per character; and an option that is probable anyway is
easily taken for the answer, hence its score without the question may be subtracted. Validation
questions decide about both. ``model=RUN`` names a run of text completion; without one, a byte
bigram model of the training questions is used, which knows no meaning.

Differs from the paper: no examples stand before the question; the options-only score has the same
"Answer:" before it; a scale is fitted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from souron.tasks.choose import Chooser, Item, Spec, language_model, log_likelihoods, tokenized
from souron.training.loop import Progress, Run
from souron.utils.messages import _

LEAST = 0.1  # added to all counts, for unseen pairs


@dataclass(frozen=True)
class Config:
    model: str = ""  # the folder of a run of text completion


class Likelihood(Chooser):
    year = 2020
    ja = "問題文の後に続く文として、言語モデルが最もありそうだと見る選択肢を選ぶ"
    VARIANTS = ("sum", "a letter")
    PRIORS = (0.0, 1.0)
    SIZES = {"tiny": Config(), "small": Config()}

    counts: Tensor  # (256, 256) byte bigram counts, used without a model

    def __init__(self, config: Config, spec: Spec | None) -> None:
        super().__init__(config, spec)
        self.register_buffer("counts", torch.zeros(256, 256))
        # in a list, so that its weights are not registered with this system
        self.reader = [language_model(config.model)] if config.model else []

    @classmethod
    def of(cls, model: Any) -> "Likelihood":
        """Build a chooser around a language model in memory."""
        system = cls(Config(), None)
        system.reader = [model]
        return system.eval()

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        if not self.reader and run.start == 0:
            self.counts.zero_()
            for batch in data.once(64):
                for question, label in zip(batch.question, batch.label.tolist(), strict=True):
                    letters = _bytes(f"{prompt(question)} {question.options[label]}")
                    self.counts.index_put_((letters[:-1], letters[1:]), torch.ones(()), accumulate=True)
        yield from self.scaled(data, run)

    def scores(self, questions: Sequence[Item]) -> Tensor:
        pairs = pairs_of(questions)
        if self.reader:
            nats, _cut = log_likelihoods(self.reader[0], pairs)
        else:
            nats = torch.stack([self._counted(*pair) for pair in pairs])
        wide = max(len(question.options) for question in questions)
        scores = torch.full((len(questions), 2, wide), -torch.inf)
        first = 0
        for row, question in enumerate(questions):
            part = slice(first, first + len(question.options))
            letters = torch.tensor([float(len(option)) for option in question.options])
            scores[row, 0, : len(letters)] = nats[part]
            scores[row, 1, : len(letters)] = nats[part] / letters.clamp(min=1)
            first = part.stop
        return scores

    def remarks(self, questions: Sequence[Item]) -> list[str]:
        if not self.reader:
            return []
        owner = [row for row, question in enumerate(questions) for _option in question.options]
        _tokens, cuts = tokenized(self.reader[0], pairs_of(questions))
        count = len({owner[pair] for pair in cuts.nonzero().flatten().tolist()})
        text = _("The beginning of {count} questions did not fit into the {context} tokens that the model sees.")
        return [text.format(count=count, context=self.reader[0].context)] if count else []

    def _counted(self, before: str, option: str) -> Tensor:
        """Return log P of the option's bytes under the bigram model."""
        letters = _bytes(before[-1:] + option)
        share = (self.counts + LEAST) / (self.counts + LEAST).sum(1, keepdim=True)
        return share[letters[:-1], letters[1:]].log().sum()


def prompt(question: Item) -> str:
    """Return the prompt before an option; without a question text only its constant part."""
    return f"Question: {question.text}\nAnswer:" if question.text else "Answer:"


def pairs_of(questions: Sequence[Item]) -> list[tuple[str, str]]:
    """Return the prompt and the text of each option of all questions."""
    return [(prompt(question), f" {option}") for question in questions for option in question.options]


def _bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode("utf-8", "replace")))
