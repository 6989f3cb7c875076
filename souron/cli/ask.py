"""``souron ask``: answer a question from long texts."""

from typing import Annotated

from rich.text import Text
from typer import Argument, Option

from souron.cli import arguments, console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils import hardware, units
from souron.utils.messages import N_, _

EXAMPLE = 'souron ask guide.txt "When is the ward open?"'


@command(
    "ask",
    N_("Ask long texts a question: answers are quoted with positions."),
    'souron ask guide.txt "When is the ward open?"\n'
    'souron ask notes/ more.md "患者のアレルギーは何ですか" passages=8\n'
    'souron ask - "When is the ward open?" --json\n'
    'souron ask guide.txt "When is the ward open?" model=runs/complete/gpt-manuals',
    group="language",
)
def ask(
    files: Annotated[
        list[str] | None,
        Argument(
            metavar="FILE... QUESTION",
            help=N_("texts (.txt, .md), folders of them, or - for what is piped in; the question"),
        ),
    ] = None,
    passages: Annotated[
        int, Option(min=1, max=50, metavar="N", help=N_("how many passages to show (default 3)"))
    ] = 3,
    model: Annotated[
        str, Option(metavar="RUN", help=N_("a language model that answers in a sentence"))
    ] = "",
    retriever: Annotated[
        str,
        Option(
            metavar="SYSTEM|RUN",
            help=N_("what finds passages: encoder (default), bm25, windows, a run"),
        ),
    ] = "encoder",
    forget: Annotated[
        bool, Option("--forget", help=N_("keep no index of the texts in the cache"))
    ] = False,
) -> None:
    *texts, question = files or [""]
    if not texts:
        raise arguments.missing("FILE... QUESTION", EXAMPLE)
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.runs import ask as runs_ask

    reading = None
    events = runs_ask.asking(
        texts, question, passages, retriever=retriever, model=model, keep=not forget
    )
    with console.watcher() as draw:
        for event in events:
            draw(event)
            reading = event.record
    assert reading is not None
    if screen.json:
        print_json(reading.as_json())
    else:
        tell(reading)


def tell(reading: "runs_ask.Reading") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Print the passages first and the language model's answer below them."""
    if reading.passages.verdict:
        show(Text(reading.passages.verdict, "bold"))
    for where, score, text in reading.passages.rows():
        show(Text(text), Text(f"    {where}  {score}", "dim"))
    if reading.answer:
        said = Text(f"\n{reading.model}: ", "bold")
        at = 0
        for first, last in reading.unsupported:
            said.append(reading.answer[at:first], "not bold")
            said.append(f"[?{reading.answer[first:last]}]", "not bold red")
            at = last
        said.append(reading.answer[at:], "not bold")
        show(said, *(Text(remark, "dim") for remark in reading.remarks()))
    took = _("{time}, including {read} to read the text.").format(
        time=units.seconds(reading.seconds), read=units.seconds(reading.seconds_to_read)
    )
    show(Text(f"\n{reading.share()}", "dim"), Text(took, "dim"))
