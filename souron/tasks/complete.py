"""Text completion: a text in, its continuation out (Hugging Face: text-generation).

The data determines the training objective: plain texts train the next token, conversations train
the assistant's turns, preferences train which of two answers is better.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.blocks.portable import Answer, Free, Input, Portable
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.data.texts import Preference
from souron.evaluation.answers import Setup, Sparse, dense, stacked
from souron.evaluation.language import complete, manners
from souron.evaluation.language.complete import CompleteResult, lesson_of
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics.complete import BITS, NAT, PREFERRED
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Augment, Scores, Step, Task, Trainings, as_it_is
from souron.utils.messages import N_, UserError, _

AT_ONCE = 8  # windows per training step
ASKED_AT_ONCE = 32  # windows per step of evaluation
BETA = 0.1  # strength of DPO's constraint to the reference model
KEPT = 0.2  # weight of the likelihood of the chosen answers in DPO's loss


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    tokenizer: str  # ``Tokenizer.packed``
    vocabulary: int = SIZE  # tokens
    lesson: str = "text"  # "text", "messages" or "preferences"


class Encoded(NamedTuple):
    """A text or a conversation as tokens."""

    ids: Tensor  # (n,) int64
    counts: Tensor  # (n,) bool: tokens that the model is trained to predict
    bytes: int  # of the text of those tokens


class Batch(NamedTuple):
    """Windows of some cases. With preferences the first half are the chosen answers."""

    tokens: Tensor  # (R, T + 1) int64
    counts: Tensor  # (R, T) bool: which of ``tokens[:, 1:]`` are to be predicted
    case: Tensor  # (R,) int64: index of the window's case within the batch
    bytes: Tensor  # (cases,) of the text to be predicted


class LanguageModel(System):
    """A language model: ``forward`` maps tokens (B, T) to next-token logits (B, T, vocabulary)."""

    task = "complete"
    spec: Spec
    clip = 1.0

    VOCABULARIES: ClassVar[dict[str, int]] = {}  # size -> tokens, for published models

    reference: tuple["LanguageModel", ...] = ()  # the model before preference tuning

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @property
    def template(self) -> str:
        """Return the chat template; "" if the model was trained on plain texts only."""
        own = bool(self.spec.tokenizer)
        return "" if own and self.spec.lesson == "text" else self.tokenizer.template

    @property
    def context(self) -> int:
        """Return the number of tokens in the context window."""
        return self.config.context

    def example(self) -> None:
        self(torch.zeros(1, self.context, dtype=torch.long, device=self.device))

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        """Tokenise the cases; with ``augment``, draw random windows from long texts."""
        if self.spec.lesson == "preferences" and not self.reference and augment is not None:
            self.reference = (copy.deepcopy(self).eval().requires_grad_(False),)
        tokens = replace(data, input=ListColumn(encoded(self.tokenizer, data.input)))
        augmentation = None if augment is None else self._window
        return Loader(tokens, self.batch, augmentation, seed, device or self.device)

    def _window(self, rows: Rows, generator: Generator) -> Rows:
        """Draw one random window from each text; conversations stay whole."""
        if self.spec.lesson != "text":
            return rows
        return Rows(ListColumn([cut(entry, self.context, generator) for entry in rows.input]), None)

    def batch(self, rows: Rows) -> Batch:
        return windows(list(rows.input), self.context, self.tokenizer.start)

    def carried(self) -> Portable:
        """Return what others run: tokens (B, T) in; logits (B, T, vocabulary) of the next token out."""
        context = self.context
        return Portable(
            Answer(self, lambda tokens: (self(tokens).float(),)),
            (Input("tokens", (min(8, context),), torch.int64, {0: Free(2, context)}, self.spec.vocabulary),),
            ("logit",),
            "tokens",
            "next_token",
            decides={"logit": 2},
            about={"context": context},
            of_rows=lambda texts: (
                windows(encoded(self.tokenizer, texts), context, self.tokenizer.start).tokens[:16, :-1],
            ),
            beside={"tokenizer.json": self.tokenizer.backend.to_str(pretty=False)},
        )

    def log_likelihoods(self, tokens: Tensor) -> Tensor:
        """Return log-likelihoods (R, T) of all but the first of the tokens (R, T + 1)."""
        logits = self(tokens[:, :-1])
        return -F.cross_entropy(logits.transpose(1, 2).float(), tokens[:, 1:], reduction="none")

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        pairs = self.spec.lesson == "preferences"
        half = len(batch.tokens) // 2 if pairs else len(batch.tokens)
        for rows in torch.arange(half).split(AT_ONCE):
            indices = torch.cat([rows, rows + half]) if pairs else rows
            part = of_rows(batch, indices)
            if part.counts.any():
                yield "model", self.loss(part)

    def loss(self, batch: Batch) -> Tensor:
        """Return the training loss.

        For texts and conversations: the mean cross-entropy per token in nats. For preferences: DPO
        (Rafailov and others: Direct Preference Optimization (2023),
        https://arxiv.org/abs/2305.18290) plus a share of the former for the chosen answers, as in
        Pang and others: Iterative Reasoning Preference Optimization (2024),
        https://arxiv.org/abs/2404.19733.
        """
        pairs = self.spec.lesson == "preferences"
        if pairs and getattr(self.config, "preferences", "dpo") == "chosen":
            batch = of_rows(batch, torch.arange(len(batch.tokens) // 2))
            pairs = False
        log_likelihoods = self.log_likelihoods(batch.tokens) * batch.counts
        if not pairs:
            return -log_likelihoods.sum() / batch.counts.sum().clamp(min=1)
        with torch.no_grad():
            before = self.before().log_likelihoods(batch.tokens) * batch.counts
        chosen_gains, rejected_gains = (log_likelihoods - before).sum(1).chunk(2)
        preference = preference_losses(chosen_gains, rejected_gains).mean()
        half = len(log_likelihoods) // 2
        likelihood_loss = -log_likelihoods[:half].sum() / batch.counts[:half].sum().clamp(min=1)
        return preference + KEPT * likelihood_loss

    def before(self) -> "LanguageModel":
        """Return the model before preference tuning; an untrained model returns itself."""
        return self.reference[0] if self.reference else self

    @torch.inference_mode()
    def asked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the nats (cases,) and the number (cases,) of the predicted tokens of each case."""
        nats, tokens = torch.zeros(2, int(batch.case.max()) + 1, dtype=torch.float64)
        for rows in torch.arange(len(batch.tokens)).split(ASKED_AT_ONCE):
            counts = batch.counts[rows]
            surprise = -self.log_likelihoods(batch.tokens[rows]) * counts
            nats.index_add_(0, batch.case[rows].cpu(), surprise.sum(1).double().cpu())
            tokens.index_add_(0, batch.case[rows].cpu(), counts.sum(1).double().cpu())
        return nats, tokens

    def kv_cache(self, rows: int = 1) -> Any:
        """Return an empty cache for ``read_many``; by default it holds only the tokens."""
        return Tokens(rows)

    def read_many(self, tokens: Tensor, cache: Any) -> Tensor:
        """Append tokens (rows, T) to the cache and return next-token logits (rows, vocabulary)."""
        cache.ids = torch.cat([cache.ids[:, : cache.length], tokens], 1)
        cache.length = cache.ids.shape[1]
        return self(cache.ids[:, -self.context :].to(self.device))[:, -1]

    def read(self, tokens: Tensor, cache: Any) -> Tensor:
        """Append tokens (T,) to the cache and return next-token logits (vocabulary,)."""
        return self.read_many(tokens[None], cache)[0]

    def predict(
        self,
        text: Text,
        *,
        length: Annotated[int, Choice(N_("most tokens to generate"), low=1, high=4096)] = 128,
        temperature: Annotated[
            float, Choice(N_("0 takes the likeliest token, 1 samples as the model says"), low=0, high=2)
        ] = 0.8,
        top: Annotated[float, Choice(N_("sample among the likeliest up to this probability"), low=0.01, high=1)] = 0.95,
        seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0,
    ) -> Text:
        """Return the text and its continuation, or only the answer of a model trained to answer."""
        tokenizer, prompt = self.tokenizer, str(text).rstrip("\n")
        answers = self.spec is not None and self.spec.lesson != "text"
        if answers:
            tokens = tokenizer.conversation([Turn("user", prompt)], answer=True)[0]
        else:
            tokens = [tokenizer.start, *tokenizer.encode(prompt)]
        pieces = Writer(self).write(tokens, length, Sampling(temperature, top, seed))
        prefix = "" if answers else prompt
        return Text(prefix + "".join(piece.text for piece in pieces), continues=len(prefix))


def preference_losses(chosen: Tensor, rejected: Tensor, beta: float = BETA) -> Tensor:
    """Return DPO's loss of each pair of answers.

    Rafailov and others: Direct Preference Optimization (2023), https://arxiv.org/abs/2305.18290.

    Args:
        chosen, rejected: the log-likelihood of either answer minus that by the reference model.
        beta: strength of the constraint to the reference model.

    >>> round(float(preference_losses(torch.tensor(0.0), torch.tensor(0.0))), 3)
    0.693
    """
    return -F.logsigmoid(beta * (chosen - rejected))


class Tokens:
    """A cache that holds only the tokens read so far."""

    def __init__(self, rows: int) -> None:
        self.ids = torch.zeros(rows, 0, dtype=torch.long)
        self.length = 0

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)


def of_rows(batch: Batch, rows: Tensor) -> Batch:
    """Select some windows of a batch."""
    return Batch(batch.tokens[rows], batch.counts[rows], batch.case[rows], batch.bytes)


def encoded(tokenizer: Tokenizer, column: Any) -> list[Any]:
    """Encode each case as ``Encoded``; a preference as a pair of them."""
    entries = list(column)
    if entries and isinstance(entries[0], str):
        return [
            Encoded(ids := torch.tensor([tokenizer.start, *token_ids]), ids >= 0, len(text.encode()))
            for text, token_ids in zip(entries, tokenizer.encode_many(entries), strict=True)
        ]
    return [_talk(tokenizer, entry) for entry in entries]


def _talk(tokenizer: Tokenizer, entry: Any) -> Any:
    if isinstance(entry, Preference):
        answers = (entry.chosen, entry.rejected)
        return tuple(_conversation(tokenizer, entry.prompt, Turn("assistant", answer)) for answer in answers)
    return _conversation(tokenizer, (), *entry)


def _conversation(tokenizer: Tokenizer, before: Sequence[Turn], *turns: Turn) -> Encoded:
    """Encode a conversation; only the assistant's part of ``turns`` is to be predicted."""
    ids, mask = tokenizer.conversation((*before, *turns))
    if before:
        begin = len(tokenizer.conversation(before, answer=True)[0])
        mask = [False] * begin + mask[begin:]
    size = sum(len(turn.text.encode()) for turn in turns if turn.role == "assistant")
    return Encoded(torch.tensor(ids), torch.tensor(mask), size)


def cut(entry: Encoded, context: int, generator: Generator) -> Encoded:
    """Draw a random window of ``context`` + 1 tokens."""
    spare = len(entry.ids) - context - 1
    if spare <= 0:
        return entry
    start = int(torch.randint(spare + 1, (), generator=generator))
    part = slice(start, start + context + 1)
    return Encoded(entry.ids[part], entry.counts[part], entry.bytes)


def windows(entries: list[Any], context: int, pad: int) -> Batch:
    """Cut texts into consecutive windows; each token but the first of a text is predicted once.

    An answer of a preference is one window; of a longer answer only the end is kept.
    """
    sizes = [entry[0].bytes if type(entry) is tuple else entry.bytes for entry in entries]
    rows: list[tuple[int, Tensor, Tensor]] = []
    if entries and type(entries[0]) is tuple:
        for which in (0, 1):
            for case, pair in enumerate(entries):
                tail = slice(-context - 1, None)
                rows.append((case, pair[which].ids[tail], pair[which].counts[tail][1:]))
    else:
        for case, entry in enumerate(entries):
            for start in range(0, max(1, len(entry.ids) - 1), context):
                part = slice(start, start + context + 1)
                rows.append((case, entry.ids[part], entry.counts[part][1:]))
    longest = max((len(ids) for _case, ids, _counts in rows), default=1)
    tokens = torch.full((len(rows), max(2, longest)), pad)
    counts = torch.zeros(len(rows), tokens.shape[1] - 1, dtype=torch.bool)
    for row, (_number, ids, mask) in enumerate(rows):
        tokens[row, : len(ids)] = ids
        counts[row, : len(mask)] = mask
    cases = torch.tensor([case for case, _ids, _counts in rows])
    return Batch(tokens, counts, cases, torch.tensor(sizes))


class Complete(Task):
    """Bits per byte of each test text, and samples of continuations."""

    title = N_("text completion")
    takes = Text
    gives = Text
    talks = True
    metrics = (
        Metric(N_("bits per byte"), higher_is_better=False, unit="bits", headline=True, kind="amount"),
        Metric(N_("preference accuracy"), unit="share", headline=True),
        Metric(N_("improper answers"), higher_is_better=False, unit="share", headline=True),
        Metric(N_("doses given"), higher_is_better=False, unit="share"),
        Metric(N_("over-refusal"), higher_is_better=False, unit="share", headline=True),
    )
    watches = "bits per byte"
    default_data = "manuals"
    target = "texts"
    formats = ("chats", "texts")
    fewest_classes = 0
    augments = True
    inherits = ("tokenizer", "vocabulary")

    def check(self, data: Dataset, options: Any) -> None:
        first = next(iter(data.input), None) if isinstance(data.input, ListColumn) else None
        talk = isinstance(first, tuple) and all(isinstance(turn, Turn) for turn in first)
        if not (talk or isinstance(first, str | Preference)):
            raise UserError(
                "no texts",
                _("{data} holds no texts").format(data=data.name),
                expected=_("a folder of .txt or .md files, or a .jsonl file of conversations"),
                fix="data=manuals",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        tokenizer = complete.tokenizer_for(train)
        return Spec(tokenizer.packed(), len(tokenizer), lesson_of(train))

    def example(self, system: type[System], size: str) -> Spec:
        assert issubclass(system, LanguageModel)
        return Spec("", system.VOCABULARIES.get(size, SIZE))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        entries, tokenizer = list(rows.input), Tokenizer.unpacked(spec.tokenizer)
        longest = max(len(part.ids) for entry in entries for part in _parts(entry))
        return windows(entries, longest, tokenizer.start)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if names:
            super().augmentation(names)
        return as_it_is

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, LanguageModel)
        scores = [_scores(system, batch) for batch in data.once()]
        return {name: torch.cat([part[name] for part in scores]) for name in scores[0]}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, LanguageModel)
        answers: list[Answers] = []
        loader = system.loader(test)
        for batch in loader.once(8):
            answers.append({name: values.float() for name, values in _scores(system, batch).items()})
            share = len(answers) * 8 / max(1, len(test))
            yield Step(min(1.0, share), _("measuring on {n} unseen cases").format(n=len(test)))
        result: Answers = {name: torch.cat([dense(part, name) for part in answers]) for name in answers[0]}
        for step in manners.answered(system, test, seed) if manners.may_judge(test) else ():
            yield replace(step, result=None)
            result |= step.result or {}
        yield Step(1.0, result=result)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        tables = {name: stacked(seeds, name) for name in (BITS, PREFERRED) if name in seeds[0]}
        return tables | (manners.scores(seeds, setup.test) if manners.may_judge(setup.test) else {})

    def measures(self, seeds: Sequence[Answers], setup: Setup, training: Any = None) -> dict[str, Measure]:
        """Return measures; shares of a subset of the cases count only that subset."""
        return {
            name: manners.share(name, table, setup.test, training)
            if name in manners.SHARES
            else self.metric(name).measure(table, setup.test.units, training)
            for name, table in self.scores(seeds, setup).items()
        }

    def ranks(self, setup: Any) -> str:
        if lesson_of(setup.test) != "preferences":
            return BITS
        return manners.IMPROPER if manners.may_judge(setup.test) else PREFERRED

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        """Generate continuations of some test texts, with the bits of each token."""
        assert isinstance(system, LanguageModel)
        samples: list[Tensor] = []
        before: Answers = {}
        if manners.may_judge(setup.test) and system.before() is not system:
            for step in manners.before(system.before(), system, setup.test, answers):
                yield replace(step, result=None)
                before |= step.result or {}
        rows = complete.shown_rows(setup.test)
        for number, row in enumerate(rows):
            samples.append(complete.sample(system, setup.test.input[row]))
            yield Step((number + 1) / (len(rows) + 1), _("writing"))
        yield Step(
            1.0,
            result={
                "sample": Sparse(torch.tensor(rows), complete.in_one(samples)),
                **complete.marked(system, setup.test, rows[0]),
                **before,
            },
        )

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return look * complete.SHOWN * 4

    def result(self, trainings: Trainings, setup: Setup) -> CompleteResult:
        return complete.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Any) -> dict[str, Any]:
        return {name: seeds[0].get("sample") for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        names = [metric.name for metric in self.metrics if metric.name in answers]
        yield "file", "language", *names
        languages = test.columns.get("language") or [""] * len(test)
        columns = [dense(answers, name).tolist() for name in names]
        for file, language, *values in zip(test.file, languages, *columns, strict=True):
            yield file, language, *(round(value, 4) for value in values)

    def next_command(self, run: str) -> str:
        return f'souron chat {run} "..."'


def _parts(entry: Any) -> Sequence[Encoded]:
    return entry if type(entry) is tuple else (entry,)


def _scores(system: LanguageModel, batch: Batch) -> dict[str, Tensor]:
    """Return metric -> (cases,) for a batch."""
    if system.spec.lesson != "preferences":
        nats, _tokens = system.asked(batch)
        return {BITS: nats * NAT / batch.bytes.cpu().clamp(min=1)}
    half = len(batch.tokens) // 2
    chosen_nats, tokens = system.asked(of_rows(batch, torch.arange(half)))
    rejected_nats, other = system.asked(of_rows(batch, torch.arange(half, 2 * half)))
    right = chosen_nats / tokens.clamp(min=1) < rejected_nats / other.clamp(min=1)
    bits = chosen_nats * NAT / batch.bytes.cpu().clamp(min=1)
    return {PREFERRED: right.double(), BITS: bits}
