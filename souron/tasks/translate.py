"""Translation: a text in, its translation into another language out (Hugging Face: translation).

Every system is trained in both directions on the same pairs; the direction follows from the
language of the text, or is given.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.sentences import LONGEST, Sentence, sentences
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.data.texts import language
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.language import complete, generated_texts
from souron.evaluation.language.generated_texts import WrittenResult
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics.metric import Metric
from souron.metrics.translation import chrf
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.utils.messages import N_, UserError, _

CHRF, BACK, BITS = "chrF", "chrF, backwards", "bits per byte of the translation"
LINE = re.compile(r"[^\w\n\r]*(\w[^\n\r]*)")
TOGETHER = 32  # texts translated at once
FURTHER = 2  # special tokens added to the tokenizer's, for the target language
LEAST = "least score", "least score, backwards"
WELL = 0.4  # mean chrF of the validation texts whose translations are given without a warning
MOST_TRIED = 500  # validation texts on which the least score is chosen


@dataclass(frozen=True)
class Spec:
    """Properties of the pairs that a translator needs before it is built."""

    tokenizer: str  # ``Tokenizer.packed``, shared by both languages
    vocabulary: int = SIZE + FURTHER  # tokens
    languages: tuple[str, ...] = ("en", "ja")  # of the first and the second text of a pair


class Translated(NamedTuple):
    """A translation, and how sure the system is of it."""

    text: str
    score: float  # of a network the mean log-probability of a token; of a memory the similarity of what it knows


class Translator(System):
    """A translator: ``translations`` maps texts to the other language."""

    task = "translate"
    spec: Spec
    decision: Mapping[str, float] = {}  # the least scores, see ``Translation.decide``

    @abstractmethod
    def translations(self, texts: Sequence[str], back: bool = False, beams: int = 1) -> list[Translated]:
        """Translate texts into the second language of the pairs; with ``back``, into the first."""

    def translate(self, texts: Sequence[str], back: bool = False, beams: int = 1) -> list[str]:
        return [translation.text for translation in self.translations(texts, back, beams)]

    def surprise(self, data: Dataset) -> Tensor | None:
        """Return bits per byte (cases,) of the reference, or None without probabilities."""
        return None

    def is_back(self, text: str, into: str = "") -> bool:
        """Return whether a text is to be translated into the first language. Raises UserError."""
        first, second = self.spec.languages
        if into not in ("", first, second):
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name="into", value=into),
                expected=f"{first}, {second}",
            )
        return into == first if into else language(text) == second != first

    @torch.inference_mode()
    def predict(
        self,
        text: Text,
        *,
        into: Annotated[str, Choice(N_("language that is wanted, such as ja; else what the text is not in"))] = "",
        beams: Annotated[int, Choice(N_("how many translations are followed at once"), low=1, high=16)] = 4,
    ) -> Text:
        """Translate line by line, long lines by sentences; text between them is kept."""
        back = self.is_back(text.text, into)
        spans = pieces(text.text)
        translations: list[Translated] = []
        for start in range(0, len(spans), TOGETHER):
            texts = [" ".join(span.text.split()) for span in spans[start : start + TOGETHER]]
            translations += self.translations(texts, back, beams)
        output, end = "", 0
        for span, translation in zip(spans, translations, strict=True):
            output += text.text[end : span.start] + translation.text
            end = span.end
        scores = [translation.score for translation in translations]
        score = sum(scores) / len(scores) if scores else None
        return Text(output + text.text[end:], score=score, notes=self.doubts(scores, back))

    def doubts(self, scores: Sequence[float], back: bool) -> tuple[str, ...]:
        """Return a warning about the translations whose score is below that of good ones."""
        least = self.decision.get(LEAST[back])
        poor = [score for score in scores if least is not None and score < least]
        if not poor:
            return ()
        text = _(
            "do not rely on this translation: {count} of {total} sentences have a score below {least:.2f} (the lowest "
            "{lowest:.2f}), with which translations of validation texts were mostly wrong"
        )
        return (text.format(count=len(poor), total=len(scores), least=least, lowest=min(poor)),)


class Translation(Task):
    """The similarity of translations of test texts to references, in both directions."""

    title = N_("translation")
    takes = Text
    gives = Text
    metrics = (
        Metric(N_("chrF"), unit="share", headline=True),
        Metric(N_("chrF, backwards"), unit="share", headline=True),
        Metric(N_("bits per byte of the translation"), higher_is_better=False, unit="bits", kind="amount"),
    )
    default_data = "manual_pairs"
    target = "translations"
    formats = ("text_pairs",)
    fewest_classes = 0
    inherits = ("tokenizer", "vocabulary", "languages")

    def check(self, data: Dataset, options: Any) -> None:
        check_pairs(
            data,
            _("{data} holds no pairs of texts").format(data=data.name),
            _("a CSV, TSV or JSONL with source and target"),
            "data=manual_pairs",
        )

    def spec(self, train: Dataset) -> Spec:
        both = replace(train, input=ListColumn([*train.input, *texts_of(train)]), target=None)
        tokenizer = complete.tokenizer_for(both)
        return Spec(tokenizer.packed(), len(tokenizer) + FURTHER, (_usual(list(train.input)), _usual(texts_of(train))))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec("")

    def batch(self, rows: Rows, spec: Spec) -> Any:
        return rows

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Translator)
        bits = system.surprise(data.cases)
        return {} if bits is None else {BITS: bits}

    @torch.inference_mode()
    def decide(self, system: System, val: Dataset, setup: Any) -> dict[str, float]:
        """Choose for each direction the least score of a translation that is given without a warning."""
        assert isinstance(system, Translator)
        apart = slice(None, None, -(-len(val) // MOST_TRIED) or 1)
        sides = [list(val.input)[apart], texts_of(val)[apart]]
        thresholds = {}
        for back in (False, True):
            translations: list[Translated] = []
            for start in range(0, len(sides[back]), TOGETHER):
                translations += system.translations(sides[back][start : start + TOGETHER], back)
            like = [
                chrf(translation.text, right) for translation, right in zip(translations, sides[not back], strict=True)
            ]
            thresholds[LEAST[back]] = least_score([translation.score for translation in translations], like)
        return thresholds

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        """Translate with greedy decoding, without beam search."""
        assert isinstance(system, Translator)
        sides = (list(test.input), texts_of(test))
        outputs: tuple[list[str], list[str]] = ([], [])
        for back in (False, True):
            texts = sides[back]
            for start in range(0, len(texts), TOGETHER):
                outputs[back].extend(system.translate(texts[start : start + TOGETHER], back))
                share = (back + min(1.0, (start + TOGETHER) / len(texts))) / 2
                yield Step(0.99 * share, _("translating"))
        answers: Answers = {
            name: torch.tensor([chrf(*pair) for pair in zip(translations, right, strict=True)])
            for name, translations, right in ((CHRF, outputs[0], sides[1]), (BACK, outputs[1], sides[0]))
        }
        bits = system.surprise(test)
        if bits is not None:
            answers[BITS] = bits.float()
        rows = generated_texts.shown_rows(test)
        for name, translations in (("said", outputs[0]), ("said back", outputs[1])):
            answers[name] = generated_texts.kept(rows, [translations[row] for row in rows])
        yield Step(1.0, result=answers)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return {name: stacked(seeds, name) for name in (CHRF, BACK)}

    def result(self, trainings: Trainings, setup: Setup) -> WrittenResult:
        return generated_texts.result(trainings, setup.test, (CHRF, BACK), ("said", "said back"), further=(BITS,))

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", CHRF, BACK
        columns = [dense(answers, name).tolist() for name in (CHRF, BACK)]
        for file, *values in zip(test.file, *columns, strict=True):
            yield file, *(round(value, 4) for value in values)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} text.txt"


def pieces(text: str) -> list[Sentence]:
    """Return the lines of a text from their first letter on; long lines as sentences."""
    spans = []
    for line in LINE.finditer(text):
        start, end = line.span(1)
        if end - start <= LONGEST:
            spans.append(Sentence(text[start:end], start, end))
            continue
        for sentence in sentences(text[start:end]):
            spans.append(Sentence(sentence.text, start + sentence.start, start + sentence.end))
    return spans


def least_score(scores: Sequence[float], like: Sequence[float]) -> float:
    """Return the least score from which on translations have a mean chrF of ``WELL``; above all of them where
    none has.

    >>> least_score([-0.1, -0.5, -2.0], [0.9, 0.3, 0.0]), least_score([-0.1], [0.2]) > -0.1
    (-0.5, True)
    """
    least, total = max(scores, default=0.0) + 1e-6, 0.0
    for count, (score, similarity) in enumerate(sorted(zip(scores, like, strict=True), reverse=True), 1):
        total += similarity
        if total / count >= WELL:
            least = score
    return least


def check_pairs(data: Dataset, problem: str, expected: str, fix: str) -> None:
    """Raise UserError unless each case is a pair of texts."""
    columns = (data.input, data.target)
    if not all(
        isinstance(column, ListColumn) and len(column) and all(isinstance(e, str) for e in column) for column in columns
    ):
        raise UserError("no pairs", problem, expected=expected, fix=fix, exit=3)


def texts_of(data: Dataset) -> list[str]:
    """Return the second text of each pair."""
    return list(data.target)


def _usual(texts: Sequence[str]) -> str:
    [(name, _count)] = Counter(map(language, texts)).most_common(1)
    return name


__all__ = [
    "Dataset",
    "ListColumn",
    "Loader",
    "Rows",
    "Spec",
    "Tokenizer",
    "Translated",
    "Translation",
    "Translator",
    "check_pairs",
    "texts_of",
]
