"""Estimate by resampling which sentences a language model made up.

Manakul, Liusie, Gales: SelfCheckGPT: Zero-Resource Black-Box Hallucination Detection for
Generative Large Language Models (2023). https://arxiv.org/abs/2303.08896

The model repeats what it knows and varies what it makes up. It answers the question several times
at temperature 1; for each sentence the answers that contain it are counted.

Differs from the paper: ``judges`` decides whether an answer supports a sentence, in place
of a network for inference or a second language model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from souron.actions.check import passages, verdicts
from souron.actions.check.record import Checked
from souron.data.language.sentences import Sentence, sentences
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.kinds.text import Text
from souron.runs import documents
from souron.utils.messages import UserError, _

LENGTH = 160  # most tokens of an answer


def agreeing(
    checked: Sequence[Checked], model: str, samples: int, question: str, seed: int = 0
) -> Iterator[tuple[float, list[Checked]]]:
    """Yield progress 0..1 and, with the last step, the sentences with their agreement.

    Raises UserError if it is not a language model, or the question exceeds its context.
    """
    speaker = documents.speaker_of(model)
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
    """Return for each sentence whether another answer supports it."""
    if not sentences(answer):
        return [False] * len(checked)
    *_before, (_done, sources) = passages.prepared([Text(answer)], keep=False)
    assert sources is not None
    return [
        verdicts.judged(sentence, sources).state == "supported"
        for each in checked
        for sentence in [Sentence(each.sentence, each.start, each.end)]
    ]
