"""Sampling consistency: what a language model knows, it says again; what it makes up, it varies.

Manakul, Liusie, Gales: SelfCheckGPT: Zero-Resource Black-Box Hallucination Detection for
Generative Large Language Models (2023). https://arxiv.org/abs/2303.08896

The model answers the question again several times at temperature 1; of each sentence is counted in
how many of these answers it stands.

Differs from the paper: whether an answer supports a sentence is told by ``judges`` in place
of a network for inference or a second language model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from souron.data.sentences import Sentence, sentences
from souron.evaluation.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.kinds.text import Text
from souron.runs import ask
from souron.society.claims import passages, verdicts
from souron.society.claims.record import Checked
from souron.utils.messages import UserError, _

LENGTH = 160  # tokens of an answer at most


def agreeing(
    checked: Sequence[Checked], model: str, samples: int, question: str, seed: int = 0
) -> Iterator[tuple[float, list[Checked]]]:
    """How much is done, 0..1, and the sentences with how many answers say so, with the last step.
    Raises UserError for a model that is none of language, or a question that it has no room for."""
    speaker = ask.speaker_of(model)
    tokenizer = speaker.reader.tokenizer
    asked = (
        tokenizer.conversation((Turn("user", question),), answer=True)[0]
        if tokenizer.template
        else [tokenizer.start, *tokenizer.encode(f"{question}\n\n")]
    )
    if len(asked) + LENGTH > speaker.reader.context:
        raise UserError(
            "too long",
            _("a question of {count} tokens").format(count=len(asked)),
            expected=_("at most {count}").format(count=speaker.reader.context - LENGTH),
        )
    agree = [0] * len(checked)
    writer = Writer(speaker.reader)
    for number in range(samples):
        written = writer.write(asked, LENGTH, Sampling(temperature=1.0, seed=seed + number))
        text = "".join(each.text for each in written).strip()
        for row, supported in enumerate(_stands(checked, text)):
            agree[row] += supported
        yield (number + 1) / (samples + 1), list(checked)
    yield (
        1.0,
        [
            each if each.state == "no claim" else replace(each, agree=(count, samples))
            for each, count in zip(checked, agree, strict=True)
        ],
    )


def _stands(checked: Sequence[Checked], answer: str) -> list[bool]:
    """Whether another answer says each sentence, too."""
    if not sentences(answer):
        return [False] * len(checked)
    *_before, (_done, sources) = passages.prepared([Text(answer)], keep=False)
    assert sources is not None
    return [
        verdicts.judged(sentence, sources).state == "supported"
        for each in checked
        for sentence in [Sentence(each.sentence, each.start, each.end)]
    ]
