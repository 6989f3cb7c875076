"""Text to page: a request in, a complete HTML page out, built from countable parts.

The request is represented as parts, and the written page is parsed again from its HTML by the
roles of its elements, as a screen reader would. So the figures apply to any author of the page.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language import page_grammar as grammar
from souron.data.language import web_pages as pages
from souron.data.language.web_pages import KINDS, Part
from souron.data.texts import language
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.language import generated_texts
from souron.evaluation.language.web_pages import PageResult, compared_by
from souron.kinds.page import Page
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics import text_to_page as metrics_of
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.utils.messages import N_, UserError, _

FEWEST = 3  # occurrences outside of labels that make a training word known
MOST_LETTERS = 1_000  # characters of a request
MOST_NAMED = 12  # unknown words that are listed
TOGETHER = 64  # requests answered at once
LETTER = re.compile(r"\w")


@dataclass(frozen=True)
class Spec:
    """Properties of the requests that a system needs before it is built."""

    vocabulary: str = ""  # known pieces of requests, separated by spaces


class Written(NamedTuple):
    """The parts that a system wrote for a request."""

    parts: tuple[Part, ...]
    copied: Sequence[bool] = ()  # whether each piece of the request is copied to a label


class PageSystem(System):
    """A page writer: ``write`` predicts the parts from which the HTML is made."""

    task = "text_to_page"
    spec: Spec

    @abstractmethod
    def write(self, requests: Sequence[str]) -> list[Written]:
        """Return the parts for each request of any permitted length."""

    @property
    def known(self) -> frozenset[str]:
        """Return the pieces known from training as words that specify something."""
        return frozenset(self.spec.vocabulary.split())

    def strange(self, request: str, copies: Sequence[bool]) -> list[str]:
        """Return the distinct words of a request that are neither known nor copied to a label."""
        pieces = grammar.pieces(request)
        marks = [*copies, *[False] * len(pieces)]
        unknown = [
            request[piece.start : piece.end]
            for piece, used in zip(pieces, marks, strict=False)
            if not used and piece.text not in self.known and not _is_mark(piece.text)
        ]
        return list(dict.fromkeys(unknown))

    @torch.inference_mode()
    def predict(
        self,
        text: Text,
        *,
        title: Annotated[str, Choice(N_("the page's title, as a browser shows it; else its first heading"))] = "",
    ) -> Page:
        """Write the requested page; notes list the unknown words.

        Raises UserError for a request that is empty, too long, or without a known word.
        """
        request = " ".join(text.text.split())
        self.check(request)
        [page] = self.write([request])
        notes = []
        strange = self.strange(request, page.copied)
        if strange:
            notes.append(_("not understood, since not in its training data: {words}").format(words=_listed(strange)))
        if not page.parts:
            notes.append(_("no part of a page was found in the request"))
        html = pages.written(page.parts, language(request), title[: pages.LONGEST])
        return Page(html, pages.outline(page.parts), request, tuple(notes), text.file)

    def check(self, request: str) -> None:
        """Raise UserError for a request that cannot be answered."""
        example = _("such as: a page with a heading and a menu with three links")
        if not LETTER.search(request):
            raise UserError("empty request", _("a request without a letter"), expected=example, exit=3)
        if len(request) > MOST_LETTERS:
            raise UserError(
                "long request",
                _("a request of {count} characters").format(count=len(request)),
                expected=_("at most {most} characters").format(most=MOST_LETTERS),
                exit=3,
            )
        if not self.known & {p.text for p in grammar.pieces(request) if not _is_mark(p.text)}:
            raise UserError(
                "unknown words",
                _("it knows none of the words: {words}").format(words=_listed(self.strange(request, ()))),
                expected=example,
                exit=3,
            )


class PageWriting(Task):
    """The agreement of each test page with its request."""

    title = N_("pages from texts")
    takes = Text
    gives = Page
    metrics = (
        Metric(N_("all right"), unit="share", headline=True),
        Metric(N_("F1 of parts"), unit="share", headline=True),
        Metric(N_("precision of parts"), unit="share"),
        Metric(N_("recall of parts"), unit="share"),
        Metric(N_("colours right"), unit="share"),
        Metric(N_("counts right"), unit="share"),
        Metric(N_("labels right"), unit="share"),
        Metric(N_("valid pages"), unit="share"),
    )
    default_data = "page_requests"
    target = "pages"
    formats = ("page_files",)
    fewest_classes = 0
    inherits = ("vocabulary",)

    def check(self, data: Dataset, options: Any) -> None:
        columns = (data.input, data.target)
        fits = all(isinstance(column, ListColumn) and len(column) for column in columns)
        if not fits or not isinstance(data.target[0], tuple):
            raise UserError(
                "no pages",
                _("{data} holds no requests with pages").format(data=data.name),
                expected=_("a CSV, TSV or JSONL with request and html"),
                fix="data=page_requests",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        """Collect the words that specify something: those outside of labels."""
        counts: Counter[str] = Counter()
        for request, parts in zip(train.input, train.target, strict=True):
            pieces = grammar.pieces(request)
            tokens = grammar.written(parts, request) or []
            _parts, copies = grammar.read(tokens, request)
            counts.update({p.text for p, used in zip(pieces, copies, strict=True) if not used})
        fewest = FEWEST if len(train) >= 500 else 1
        return Spec(" ".join(sorted(word for word, count in counts.items() if count >= fewest)))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(" ".join(["page", "with", *KINDS]))

    def batch(self, rows: Rows, spec: Spec) -> Any:
        return rows

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, PageSystem)
        table = torch.tensor(list(tallies(system, requests_of(data.cases), data.cases.target)))
        return {"all right": table[:, 0]}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, PageSystem)
        requests = requests_of(test)
        rows_of_tallies: list[metrics_of.Tally] = []
        page_parts: list[tuple[Part, ...]] = []
        for start in range(0, len(requests), TOGETHER):
            batch = slice(start, start + TOGETHER)
            pages_of_batch = list(read_again(system, requests[batch]))
            page_parts += [parts for parts, _valid in pages_of_batch]
            rows_of_tallies += [
                metrics_of.tally(parts, right, valid)
                for (parts, valid), right in zip(pages_of_batch, test.target[batch], strict=True)
            ]
            yield Step(0.99 * len(rows_of_tallies) / len(requests), _("writing pages"))
        rows = generated_texts.shown_rows(test)
        yield Step(
            1.0,
            result={
                "tally": torch.tensor(rows_of_tallies),
                "said": generated_texts.kept(rows, ["\n".join(pages.outline(page_parts[row])) for row in rows]),
            },
        )

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        tables = [metrics_of.scores(dense(answers, "tally").double().numpy()) for answers in seeds]
        return {name: np.stack([scores[name] for scores in tables]) for name in tables[0]}

    def result(self, trainings: Trainings, setup: Setup) -> PageResult:
        return compared_by(trainings, setup.test, self.scores)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", *metrics_of.Tally._fields
        for file, row in zip(test.file, dense(answers, "tally").tolist(), strict=True):
            yield file, *map(int, row)

    def next_command(self, run: str) -> str:
        return f'souron predict {run} "a page with a heading and a red button"'


def requests_of(data: Dataset) -> list[str]:
    """Return the requests of cases, also where a system stores them encoded beside the text."""
    return [entry if isinstance(entry, str) else entry[-1] for entry in data.input]


def read_again(system: PageSystem, requests: Sequence[str]) -> Iterator[tuple[tuple[Part, ...], bool]]:
    """Yield the parts of each page parsed from its HTML, and whether the HTML is valid."""
    for request, page in zip(requests, system.write(requests), strict=True):
        html = pages.written(page.parts, language(request))
        try:
            yield pages.read(html), True
        except UserError:
            yield (), False


def tallies(
    system: PageSystem, requests: Sequence[str], targets: Iterable[Sequence[Part]]
) -> Iterator[metrics_of.Tally]:
    pages_of_requests = [
        pair
        for start in range(0, len(requests), TOGETHER)
        for pair in read_again(system, requests[start : start + TOGETHER])
    ]
    for (parts, valid), right in zip(pages_of_requests, targets, strict=True):
        yield metrics_of.tally(parts, right, valid)


def _is_mark(text: str) -> bool:
    """Return whether a text is a punctuation mark, which need not be understood; emoji are not."""
    return len(text) == 1 and not text.isalnum() and ord(text) < 0x1F000 and text not in "<>&#"


def _listed(words: Sequence[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" (+{more})" if more > 0 else "")


__all__ = [
    "Dataset",
    "ListColumn",
    "Loader",
    "PageSystem",
    "PageWriting",
    "Part",
    "Rows",
    "Spec",
    "Written",
    "grammar",
    "pages",
    "requests_of",
    "stacked",
    "tallies",
]
