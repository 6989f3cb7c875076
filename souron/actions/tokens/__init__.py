"""Show how texts are split into tokens, with the bits that a language model needs for each."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from markupsafe import Markup

from souron.action import Action, Given, Live, Plain, Record, Section, Table
from souron.actions.tokens.bits import cut
from souron.actions.tokens.cutters import USUAL, cutter, names_a_model, usual
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.kinds.tokens import Tokens
from souron.runs.events import Event
from souron.utils.messages import N_, _

ROWS = 30  # of the table below each text
WIDE = 100  # columns least width of a terminal for two texts side by side
MOST_TYPED = 1_000_000  # characters from stdin


def tokens(text: str | Text, model: str | Path | Any = USUAL) -> Tokens:
    """Tokenize a text as a model does.

    Args:
        text: a text, or a ``Text``.
        model: a run's folder, ``"smollm2"``, a ``.gguf`` file or a folder with a published model, a
            ``tokenizer.json``, or a result of ``cutter``.

    Raises UserError where there is no such model, or it has no tokenizer.
    """
    given = text if isinstance(text, Text) else Text(text)
    if isinstance(model, str | Path):
        return cut(given, cutter(model), str(model))
    return cut(given, model)


@dataclass(frozen=True)
class Options:
    model: Annotated[
        str,
        Choice(
            N_("the system whose tokens are shown (default smollm2 if it was fetched, else gpt)"),
            metavar="SYSTEM",
            of=("tokenize", "complete"),
        ),
    ] = ""
    csv: Annotated[bool, Choice(N_("print text,id,token,start,end,bytes,bits"))] = False
    out: Annotated[str, Choice(N_("save it as .html, .csv or .json"), metavar="FILE")] = ""


@dataclass
class TokensRecord(Record):
    """Texts as split by each of some models."""

    eyebrow = N_("tokens")
    json_file = "tokens.json"

    models: dict[str, list[Tokens]]  # model -> each text
    csv: bool  # printed in place of tables
    folder: Path | None

    @property
    def all(self) -> list[Tokens]:
        return [each for cuts in self.models.values() for each in cuts]

    def page_title(self) -> str:
        return _("How a text is split into tokens")

    def as_json(self) -> dict[str, Any]:
        return {"texts": [each.as_json() for each in self.all]}

    def printed(self, page: Path | None) -> Any:
        """Return the tokens of one text, or each text with its tokens."""
        told = [each.as_json() for each in self.all]
        return told[0]["tokens"] if len(told) == 1 else told

    def sentences(self) -> list[str]:
        return [f"{each.model}: {each.summary}" for each in self.all]

    def shown(self) -> list[Any]:
        if self.csv:
            return [Plain(self.as_csv())]
        return [part for name, cuts in self.models.items() for part in (name, Beside(cuts))]

    def as_csv(self) -> str:
        """Return a table with a line for each token; ``text`` is the number of its text."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["text", "id", "token", "start", "end", "bytes", "bits"])
        for number, each in enumerate(self.all, 1):
            for p in each.pieces:
                bits = "" if p.bits != p.bits else f"{p.bits:.3f}"
                writer.writerow([number, p.id, p.text, p.start, p.end, p.raw.hex(), bits])
        return table.getvalue()

    def sections(self) -> list[Section]:
        return [
            Section(f"model-{number}", name, [Live(_columns(cuts))])
            for number, (name, cuts) in enumerate(self.models.items(), 1)
        ]


class Tokenization(Action):
    """Split texts, or text files, into tokens as one or several models do."""

    title = N_("Show how a text is split into tokens, with IDs and bits.")
    examples = (
        'souron tokens "The patient has a fever."',
        'souron tokens "I have a toothache." "歯が痛いです。"       (side by side)',
        'souron tokens "歯周病" runs/tokenize/bpe-manuals smollm2',
        "souron tokens letter.txt runs/complete/gpt-manuals out=letter.html",
        'souron tokens "..." tokenizer.json --json',
    )
    group = "language"
    given = Given(
        "TEXT",
        N_("texts, or .txt and .md files; then RUN, smollm2 or a tokenizer.json"),
        1,
        None,
        typed=("The patient has had a toothache since Monday.", "患者は月曜日から歯が痛いです。"),
    )
    lookup = True
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        texts, models = list(given[:1]), [options.model] if options.model else []
        for word in given[1:]:
            (models if names_a_model(word) else texts).append(word)
        read = [text_of(word) for word in texts]
        cuts: dict[str, list[Tokens]] = {}
        for number, name in enumerate(models or [usual()]):
            yield Event("data", number / max(1, len(models)), text=name)
            splitter = cutter(name)
            cuts[name] = [cut(text, splitter, name) for text in read]
        folder = self.new_folder("texts")
        record = TokensRecord(cuts, options.csv, folder)
        for number, each in enumerate(record.all if options.out else (), 1):
            path = Path(options.out)
            path = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            each.save(path)
            yield Event("report", note=_("saved: {path}").format(path=path))
        yield Event("done", 1.0, record=record, folder=folder)


def text_of(word: str) -> Text:
    """Return a text: the word itself, the file that it names, or stdin for ``-``."""
    if word == "-":
        return Text(sys.stdin.read(MOST_TYPED))
    if len(word) < 1000 and word.endswith(Text.formats) and Path(word).is_file():
        return Text.read(Path(word))
    return Text(word)


class Beside:
    """Texts as tokens, side by side where a terminal has room, with a table below each."""

    def __init__(self, cuts: Sequence[Tokens]) -> None:
        self.cuts = cuts

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.console import Group
        from rich.table import Table as Grid

        terminal = console.is_terminal
        parts = [Group(each if terminal else str(each), *below(each, terminal)) for each in self.cuts]
        if len(parts) > 1 and terminal and console.width >= WIDE:
            grid = Grid.grid(padding=(0, 3), expand=True)
            for _part in parts:
                grid.add_column(ratio=1, overflow="fold")
            grid.add_row(*parts)
            yield grid
            return
        for part in parts:
            yield part
            yield ""


def below(each: Tokens, terminal: bool) -> list[Any]:
    """Return the number of tokens and a table of the first ones."""
    known = any(piece.bits == piece.bits for piece in each.pieces)
    rows = []
    for piece in each.pieces[:ROWS]:
        bits = [f"{piece.bits:.1f}" if piece.bits == piece.bits else ""] if known else []
        token = each.shown(piece).replace("\n", "")
        place = f"{piece.start}–{piece.end}"
        rows.append((str(piece.id), token, place, piece.raw.hex(" "), *bits))
    columns = ("id", _("token"), _("characters"), _("bytes"), *([_("bits")] if known else []))
    left = len(each.pieces) - ROWS
    more = [_("and {n} more").format(n=left)] if left > 0 else []
    summary = [each.summary] if terminal else []
    return [*summary, "", Table(columns, rows, right=("id", _("bits"))), *more]


def _columns(cuts: Sequence[Tokens]) -> Markup:
    """Return texts as coloured tokens side by side, each with a table that can be opened."""
    parts = Markup("").join(
        Markup(
            '<div style="flex:1 1 20rem;min-width:0">{}<details><summary>{}</summary>'
            '<div class="scroll" tabindex="0">{}</div></details></div>'
        ).format(Markup(each._repr_html_()), _("The tokens one by one"), Markup(each.table()))
        for each in cuts
    )
    return Markup('<div style="display:flex;flex-wrap:wrap;gap:1.5rem">{}</div>').format(parts)
