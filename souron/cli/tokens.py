"""``souron tokens``: show how a text is cut into tokens."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from souron.cli import arguments, console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.utils import hardware
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.kinds.text import Text
    from souron.kinds.tokens import Tokens

ROWS = 30  # of the table below each text
WIDE = 100  # columns least width of a terminal for two texts side by side
MOST_TYPED = 1_000_000  # characters from stdin


@command(
    "tokens",
    N_("Show how a text is split into tokens, with IDs and bits."),
    'souron tokens "The patient has a fever."\n'
    'souron tokens "I have a toothache." "歯が痛いです。"       (side by side)\n'
    'souron tokens "歯周病" runs/tokenize/bpe-manuals smollm2\n'
    "souron tokens letter.txt runs/complete/gpt-manuals out=letter.html\n"
    'souron tokens "..." tokenizer.json --json',
    group="language",
)
def tokens(
    files: Annotated[
        list[str] | None,
        Argument(
            metavar="TEXT",
            help=N_("texts, or .txt and .md files; then RUN, smollm2 or a tokenizer.json"),
        ),
    ] = None,
    model: cli_options.Model = None,
    csv: Annotated[bool, Option("--csv", help=N_("print text,id,token,start,end,bytes,bits"))] = (
        False
    ),
    out: Annotated[
        str | None, Option(metavar="FILE", help=N_("save it as .html, .csv or .json"))
    ] = None,
) -> None:
    words = files or []
    if not words:
        raise arguments.missing("TEXT", 'souron tokens "..."')
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("loading {name}").format(name=model or "smollm2")):
        from souron.pipelines import tokens as pipeline

        texts, models = words[:1], [model] if model else []
        for word in words[1:]:
            (models if pipeline.names_a_model(word) else texts).append(word)
        given = [text_of(word) for word in texts]
        cut = [
            pipeline.evaluation.cut(text, cutter, name)
            for name in models or [pipeline.USUAL]
            for cutter in [pipeline.cutter(name)]
            for text in given
        ]
    if out:
        for number, each in enumerate(cut):
            path = Path(out)
            path = path.with_stem(f"{path.stem}-{number + 1}") if number else path
            each.save(path)
            note(_("saved: {path}").format(path=path))
    if screen.json:
        told = [each.as_json() for each in cut]
        print_json(told[0]["tokens"] if len(told) == 1 else told)
    elif csv:
        as_csv(cut)
    else:
        for first in range(0, len(cut), len(given)):
            as_people_see(cut[first : first + len(given)])


def text_of(word: str) -> "Text":
    """Return a text: the word itself, the file that it names, or stdin for ``-``."""
    from souron.kinds.text import Text

    if word == "-":
        return Text(sys.stdin.read(MOST_TYPED))
    if len(word) < 1000 and word.endswith(Text.formats) and Path(word).is_file():
        return Text.read(Path(word))
    return Text(word)


def as_csv(cut: "list[Tokens]") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "id", "token", "start", "end", "bytes", "bits"])
    for number, each in enumerate(cut, 1):
        for p in each.pieces:
            bits = "" if p.bits != p.bits else f"{p.bits:.3f}"
            writer.writerow([number, p.id, p.text, p.start, p.end, p.raw.hex(), bits])


def as_people_see(cut: "list[Tokens]") -> None:
    """Print the tokens of each model, side by side where there is room."""
    from rich.console import Group
    from rich.table import Table

    show(f"{cut[0].model}")
    terminal = screen.out.is_terminal
    parts = [Group(each if terminal else str(each), *below(each, terminal)) for each in cut]
    if len(parts) > 1 and terminal and screen.out.width >= WIDE:
        grid = Table.grid(padding=(0, 3), expand=True)
        for _part in parts:
            grid.add_column(ratio=1, overflow="fold")
        grid.add_row(*parts)
        show(grid)
        return
    for part in parts:
        show(part, "")


def below(each: "Tokens", terminal: bool) -> list[Any]:
    """Return the number of tokens and a table of the first ones."""
    known = any(piece.bits == piece.bits for piece in each.pieces)
    right = ("id", _("bits"))
    table = console.table(
        "id", _("token"), _("characters"), _("bytes"), *([_("bits")] if known else []), right=right
    )
    for piece in each.pieces[:ROWS]:
        bits = [f"{piece.bits:.1f}" if piece.bits == piece.bits else ""] if known else []
        token = each.shown(piece).replace("\n", "")
        place = f"{piece.start}–{piece.end}"
        table.add_row(str(piece.id), token, place, piece.raw.hex(" "), *bits)
    left = len(each.pieces) - ROWS
    more = [_("and {n} more").format(n=left)] if left > 0 else []
    return [*([each.summary] if terminal else []), "", table, *more]
