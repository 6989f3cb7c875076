"""Answer a question in one sentence from passages with a language model.

The number of passages that fitted into the context is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from souron.data.language.sentences import sentences
from souron.evaluation.language.text_generation import Reader, Sampling, Writer
from souron.kinds.chat import Turn

LENGTH = 64  # tokens of an answer at most
ASKED = {
    False: "Answer the question in one short sentence. Use only these passages:\n\n{passages}\n\nQuestion: {question}",
    True: "次の抜粋だけを根拠に、質問に一文で短く答えてください。\n\n{passages}\n\n質問: {question}",
}  # key: whether the question is Japanese


class Spoken(NamedTuple):
    text: str
    passages: int  # number used; the others did not fit into the context


@dataclass
class Speaker:
    """A language model that answers from passages."""

    reader: Reader
    name: str

    def answer(self, question: str, passages: Sequence[str], seed: int = 0) -> Spoken:
        """Return the most probable first sentence, given as many passages as fit."""
        for count in range(len(passages), 0, -1):
            tokens = self._tokens(question, passages[:count])
            if len(tokens) + LENGTH <= self.reader.context:
                break
        else:
            return Spoken("", 0)
        writer = Writer(self.reader)
        pieces = writer.write(tokens, LENGTH, Sampling(temperature=0, seed=seed))
        text = "".join(piece.text for piece in pieces).strip()
        first = sentences(text)[:1]
        return Spoken(" ".join(first[0].text.split()) if first else text, count)

    def _tokens(self, question: str, passages: Sequence[str]) -> list[int]:
        tokenizer: Any = self.reader.tokenizer
        japanese = any("\u3041" <= letter <= "\u30ff" for letter in question)
        listing = "\n".join(f"- {passage}" for passage in passages)
        prompt = ASKED[japanese].format(passages=listing, question=question)
        if tokenizer.template:
            return tokenizer.conversation((Turn("user", prompt),), answer=True)[0]
        return [tokenizer.start, *tokenizer.encode(f"{prompt}\n\n")]
