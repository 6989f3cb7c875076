"""Visual question answering: an image and a question in, an answer out.

Hugging Face calls it visual-question-answering. As in VQA (Antol and others 2015), the answer is
one
of those in the training data, in the language of the question.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, Loader, Rows
from souron.data.language.tokenizer import Tokenizer
from souron.data.splits import Split
from souron.data.targets.captions import language_of, words
from souron.data.targets.picture_questions import LONGEST, PictureQuestion, known_answers
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.vision import visual_questions
from souron.evaluation.vision.visual_questions import AnswerResult, AnswerSetup, OfQuestions
from souron.kinds.picture import Picture
from souron.kinds.ranking import Ranking
from souron.kinds.signature import Choice
from souron.metrics import answer as metrics
from souron.metrics.match import where
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.tasks import match
from souron.utils import units
from souron.utils.messages import N_, UserError, _

PAD = match.PAD
SIZE = 1024  # most tokens of the vocabulary
MOST_TOKENS = match.LONGEST  # of a question, including the end token
MOST_WORDS = 5000  # most frequent words of the training questions, kept with the run
MOST_ANSWERS = 1000  # most answers to choose among
ASKED = 8  # questions per image in one training step
NEAREST = 5  # answers returned
SURE = 0.5  # below this probability a note says that the system is not confident
SIDE = 256  # pixels of the image that shows the attention


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    channels: int
    side: int  # pixels
    answers: tuple[str, ...]  # to choose among
    languages: tuple[str, ...] = ()  # of the questions with each answer: "en", "en ja", ...
    tokenizer: str = ""  # a ``Tokenizer``, packed
    vocabulary: int = 0  # number of tokens
    words: tuple[str, ...] = ()  # of the training questions, most frequent first


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    questions: list[tuple[PictureQuestion, ...]]  # one tuple per image


class Answerer(System):
    """A visual question answering system.

    ``see`` encodes images once; ``respond`` answers questions about the encoded images.
    """

    task = "answer"
    spec: Spec

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @abstractmethod
    def see(self, image: Tensor) -> Tensor:
        """Encode images (B, C, H, W) in -1..1 as (B, positions, D).

        The positions are the cells of a square grid, row by row; there are 0 of them where the
        system has no attention over the image.
        """

    @abstractmethod
    def respond(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, answers) and attention weights (n, positions) that add up to 1.

        ``features`` (n, positions, D) is the encoded image of each question; ``tokens`` (n, T) are the
        questions, padded with ``PAD``.
        """

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise lower-cased texts: (n, T) int64, padded with ``PAD``."""
        return match.padded(self.tokenizer, [text.lower() for text in texts]).to(self.device)

    def example(self) -> None:
        side = self.spec.side
        image = torch.zeros(1, self.spec.channels, side, side, device=self.device)
        self.respond(self.see(image), torch.zeros(1, 8, dtype=torch.long, device=self.device))

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy of up to ``ASKED`` randomly drawn questions per image."""
        features = self.see(batch.image)
        order = torch.rand(len(batch.questions), max(map(len, batch.questions))).argsort(1).tolist()
        sample = [
            [questions_of_case[index] for index in places if index < len(questions_of_case)][:ASKED]
            for questions_of_case, places in zip(batch.questions, order, strict=True)
        ]
        questions = visual_questions.flat(sample, self.spec.answers)
        row, answer = questions.row.to(features.device), questions.answer.to(features.device)
        logits, _looked = self.respond(features[row], self.tokens(questions.texts))
        losses = F.cross_entropy(logits.float(), answer, ignore_index=visual_questions.NONE, reduction="sum")
        return losses / (answer >= 0).sum().clamp(min=1)

    def unknown_words(self, question: str) -> list[str]:
        """Return the words of a question that occur in no training question."""
        vocabulary = set(self.spec.words)
        return [word for word in dict.fromkeys(words(question)) if word not in vocabulary]

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        question: Annotated[str, Choice(N_('what is asked about the image, such as "What is shown?"'))] = "",
    ) -> Ranking:
        """Return the most probable answers and the image with its attention.

        Raises UserError for a question that is empty or too long.
        """
        self.eval()
        text = self.checked(question)
        side, channels = self.spec.side, self.spec.channels
        pixels = picture.square(side, channels)[None].to(self.device)
        features = self.see(pixels.float() / 127.5 - 1)
        logits, attention = self.respond(features, self.tokens([text]))
        mask = self.speaks(language_of(text))
        probability = logits[0].float().cpu().masked_fill(~mask, -torch.inf).softmax(0)
        best = probability.topk(min(NEAREST, int(mask.sum())))
        image = picture
        if attention.shape[1]:
            from souron.report import plots

            grid = round(attention.shape[1] ** 0.5)
            places = attention[0].view(grid, grid)
            overlay = plots.overlay_of_shares(picture.square(SIDE, channels), places)
            image = Picture(overlay, picture.file)
        return Ranking.of(
            [self.spec.answers[index] for index in best.indices.tolist()],
            best.values.tolist(),
            image,
            partial=True,
            notes=self.notes(text, float(best.values[0])),
        )

    def speaks(self, language: str) -> Tensor:
        """Return a mask (answers,) of the answers in that language, or of all without any."""
        mask = torch.tensor([language in languages.split() for languages in self.spec.languages])
        return mask if mask.any() else torch.ones(len(self.spec.answers), dtype=torch.bool)

    def notes(self, question: str, probability: float) -> list[str]:
        """Return notes on an answer (unknown words, low confidence) in the reader's language."""
        notes = []
        if unknown := self.unknown_words(question):
            unknown_words = ", ".join(word[:40] for word in unknown[:10])
            notes.append(
                _(
                    "No question in its training data has these words: {words}. It "
                    "answers as if they were not there or by chance."
                ).format(words=unknown_words)
            )
        if probability < SURE:
            notes.append(
                _("It is not confident: the most probable answer has {share}.").format(share=units.percent(probability))
            )
        return notes

    def checked(self, question: str) -> str:
        """Return the question on one line. Raises UserError if it is empty or too long."""
        text = " ".join(question[: 2 * LONGEST].split())
        expected = _("a question of 1 to {letters} characters, {tokens} tokens").format(
            letters=LONGEST, tokens=MOST_TOKENS - 1
        )
        problem = ""
        if not text:
            problem = _("no question")
        elif len(question) > LONGEST:
            problem = _("a question of {count} characters").format(count=units.count(len(question)))
        elif len(tokens := self.tokenizer.encode(text.lower())) >= MOST_TOKENS:
            problem = _("a question of {count} tokens").format(count=units.count(len(tokens)))
        if problem:
            raise UserError("option", problem, expected=expected, fix='question="What is shown?"')
        return text


class Answering(Task):
    """The accuracy of the most probable answer, with the right image and with another one."""

    title = N_("answering questions about images")
    takes = Picture
    gives = Ranking
    metrics = (
        Metric(N_("accuracy"), unit="share", headline=True),
        Metric(N_("accuracy with other pictures"), unit="share", headline=True),
        Metric(N_("gain from the picture"), unit="share", kind="signed"),
        Metric(N_("log loss"), higher_is_better=False, kind="amount"),
    )
    watches = "accuracy"
    default_data = "scene_questions"
    target = "picture_questions"
    formats = ("picture_questions",)
    fewest_classes = 0
    inherits = ("answers", "languages", "tokenizer", "vocabulary", "words")

    def check(self, data: Dataset, options: Any) -> None:
        check_questions(data)

    def spec(self, train: Dataset) -> Spec:
        texts = [target.question for targets in train.target for target in targets]
        tokenizer = Tokenizer.learn((text.lower() for text in texts), SIZE, by_script=True)
        count = Counter(word for text in texts for word in words(text))
        answers = known_answers(train.target, MOST_ANSWERS)
        languages: dict[str, set[str]] = {answer: set() for answer in answers}
        for question in (target for targets in train.target for target in targets):
            languages.get(question.answer, set()).add(question.language)
        return Spec(
            train.channels,
            train.side,
            answers,
            tuple(" ".join(sorted(languages[answer])) for answer in answers),
            tokenizer.packed(),
            len(tokenizer),
            tuple(word for word, _times in count.most_common(MOST_WORDS)),
        )

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(3, 64, ("yes", "no", "1", "2"), vocabulary=SIZE)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to -1..1."""
        return Batch(rows.input.float() / 127.5 - 1, list(rows.target or ()))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target  # answers are texts

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        test = data.only(split.test)
        yield Step(1.0, result=AnswerSetup(options, test, known=visual_questions.every_answer(data)))

    def against(self, cases: Dataset, setup: AnswerSetup) -> AnswerSetup:
        vocabulary = dict.fromkeys([*setup.known, *visual_questions.every_answer(cases)])
        return replace(setup, test=cases, known=tuple(vocabulary))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Answerer)
        scores: dict[str, list[Tensor]] = {metrics.ACCURACY: [], metrics.LOG_LOSS: []}
        for batch in data.once(visual_questions.TOGETHER):
            questions = visual_questions.flat(batch.questions, system.spec.answers)
            features = system.see(batch.image)[questions.row.to(batch.image.device)]
            logits = system.respond(features, system.tokens(questions.texts))[0].float().cpu()
            for name, score in ((metrics.ACCURACY, metrics.right), (metrics.LOG_LOSS, metrics.log_loss)):
                values = score(logits, questions.answer)
                scores[name].append(metrics.means(values, questions.row, len(batch.questions)))
        return {name: torch.cat(parts) for name, parts in scores.items()}

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: AnswerSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Answerer)
        system.eval()
        answers: Any = None
        most = visual_questions.most_questions(setup.test)
        for share, answers in visual_questions.asked(system, test, most, setup.known):
            if answers is None:
                yield Step(0.99 * share, _("asking"))
        yield Step(1.0, result=answers)

    @torch.inference_mode()
    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        assert isinstance(system, Answerer)
        maps = visual_questions.looked_at(system, answers, setup.test) if trainings == 1 else {}
        yield Step(1.0, _("where it looked"), maps)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return scores_of(seeds, slice(None), None)

    def result(self, trainings: Trainings, setup: AnswerSetup) -> AnswerResult:
        return AnswerResult(tuple(parts(trainings)), setup.known)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: AnswerSetup) -> dict[str, dict[str, Measure]]:
        """Return system -> type of question -> accuracy."""
        return {name: by_sort(seeds, setup.test) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "language", "sort", "question", "answer", "right", "probability"
        right, sure = dense(answers, "right"), dense(answers, "probability")
        for row, (file, questions) in enumerate(zip(test.file, test.target, strict=True)):
            for column, question in enumerate(questions):
                values = int(right[row, column]), f"{float(sure[row, column]):.4f}"
                yield file, question.language, question.sort, question.question, question.answer, *values

    def next_command(self, run: str) -> str:
        return f'souron predict {run} PICTURE question="..."'


def scores_of(seeds: Sequence[Answers], rows: Any, mask: Tensor | None) -> Scores:
    """Return the scores of some cases, limited to the questions in ``mask`` (cases, questions)."""
    tables = {name: stacked(seeds, name)[:, rows] for name in ("right", "others", "log loss")}
    if mask is not None:
        tables = {name: np.where(mask.numpy(), table, np.nan) for name, table in tables.items()}
    return {
        metrics.ACCURACY: where(tables["right"]),
        metrics.OTHERS: where(tables["others"]),
        metrics.GAIN: where(tables["right"] - tables["others"]),
        metrics.LOG_LOSS: where(tables["log loss"]),
    }


def parts(trainings: Trainings) -> Iterator[OfQuestions]:
    """Yield figures by type, by subset and language, and by type within each subset."""
    test, questions = trainings.test, visual_questions.Known.of(trainings.test)
    several = questions.subsets if len(questions.subsets) > 1 else []
    languages = questions.languages if len(questions.languages) > 1 else []
    groups = [("", "", sort) for sort in questions.sorts]
    groups += [("", language, "") for language in languages]
    groups += [(subset, language, "") for subset in several for language in ("", *languages)]
    groups += [(subset, "", sort) for subset in several for sort in questions.sorts]
    width = dense(trainings.answers[0], "right").shape[1]
    for subset, language, sort in groups:
        mask = questions.where(width, subset, language, sort)
        rows = mask.any(1).nonzero()[:, 0].tolist()
        if not rows:
            continue
        scores = scores_of(trainings.answers, rows, mask[rows])
        cases, of = test.only(rows), trainings.training_of_rows(rows)
        measures = {name: Answering().metric(name).measure(table, cases.units, of) for name, table in scores.items()}
        yield OfQuestions(subset, language, sort, int(mask.sum()), len(rows), measures)


def by_sort(seeds: Sequence[Answers], test: Dataset) -> dict[str, Measure]:
    """Return the accuracy of each type of question."""
    questions = visual_questions.Known.of(test)
    width = dense(seeds[0], "right").shape[1]
    measures = {}
    for sort in questions.sorts:
        mask = questions.where(width, sort=sort)
        rows = mask.any(1).nonzero()[:, 0].tolist()
        table = scores_of(seeds, rows, mask[rows])[metrics.ACCURACY]
        measures[sort] = Answering().metric(metrics.ACCURACY).measure(table, test.only(rows).units)
    return measures


def check_questions(data: Dataset) -> None:
    """Raise UserError for images without questions, and where all answers are equal."""
    if not data.has("picture_questions") or not data.images:
        raise UserError(
            "no questions",
            _("{data} has no images with questions and answers").format(data=data.name),
            expected=_("images with a metadata.jsonl of file_name, question and answer"),
            fix="data=scene_questions",
            exit=3,
        )
    answers = {question.answer for targets in data.target for question in targets}
    if len(answers) < 2:
        raise UserError(
            "one answer",
            _("all questions of {data} have the answer {answer!r}").format(
                data=data.name, answer=next(iter(answers))[:60]
            ),
            expected=_("questions whose answers differ"),
            exit=3,
        )


__all__ = ["PAD", "Answerer", "Answering", "Batch", "Spec", "check_questions"]
