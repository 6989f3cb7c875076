"""``souron arena``: blind pairwise comparison of models' answers."""

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron.cli import arguments, console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.train import given_options
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _

KEYS = {"1": "first", "2": "second", "3": "good", "4": "bad"}


@command(
    "arena",
    N_("Compare two to four language models by blind votes."),
    "souron arena smollm2 model.gguf questions.txt\n"
    "souron arena smollm2 runs/complete/gpt questions.jsonl judge=smollm2 seed=1\n"
    "souron arena --results runs/arena/questions.jsonl --json",
    group="language",
)
def arena(
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="MODEL MODEL [...] QUESTIONS",
            help=N_("models as souron models names them, files, runs; last the file of questions"),
        ),
    ] = None,
    results: Annotated[
        str | None, Option(metavar="FILE", help=N_("only say what came of those votes"))
    ] = None,
    votes: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("the file of votes (default runs/arena/QUESTIONS.jsonl)")),
    ] = None,
    judge: Annotated[
        str | None,
        Option(metavar="MODEL", help=N_("a model that compares the answers, too, in both orders")),
    ] = None,
    seed: Annotated[
        int | None, Option(min=0, metavar="N", help=N_("of sides and answers (default 0)"))
    ] = None,
    length: Annotated[
        int | None,
        Option(min=1, max=4096, metavar="N", help=N_("tokens of an answer (default 256)")),
    ] = None,
    temperature: Annotated[
        float | None,
        Option(min=0, max=2, metavar="T", help=N_("0 takes the likeliest token (default 0.7)")),
    ] = None,
    project: cli_options.Project = None,
) -> None:  # fmt: skip
    from souron.runs import votes as runs_votes

    if results is not None:
        if models:
            raise UserError("usage", _("--results takes no models"), fix="souron arena --help")
        held = runs_votes.read(Path(results))
        if judge is None and not held.votes and not held.judged:
            raise UserError(
                "no votes",
                _("{path} holds no votes yet").format(path=results),
                expected=_("votes that were made blind"),
                fix="souron arena MODEL MODEL questions.txt",
                exit=3,
            )
        end(held, judge, ())
        return
    *names, last = models or [""]
    if not names:
        raise arguments.missing("MODEL MODEL QUESTIONS", "souron arena smollm2 gpt questions.txt")
    hardware.calm_allocator()
    hardware.share_cores()
    questions, skipped = runs_votes.questions(Path(last))
    for each in skipped:
        console.warn(f"{each.file}: {each.reason}")
    file = Path(votes) if votes else Path(project or "runs") / "arena" / f"{Path(last).stem}.jsonl"
    with screen.err.status(_("loading {name}").format(name=", ".join(names))):
        from souron.runs import arena as runs_arena

        given = given_options(seed=seed, length=length, temperature=temperature)
        with console.warning_lines():
            made = runs_arena.begin(names, questions, file, **given)
    ask(made)
    end(made.held, judge, tuple(made.unfit.items()))


def ask(made: Any) -> None:
    """Ask for a vote on each pair of answers, until none is left or the input ends."""
    from souron.report.arena import printable

    left = sum(1 for _match in made.matches())
    note(_("{count} pairs of answers are waiting; names come after each vote").format(count=left))
    for match in made.matches():
        before = len(made.held.votes)
        with screen.err.status(_("two models are answering")):
            answers = made.answers(match)
        if answers is None:
            same = len(made.held.votes) > before
            note(
                _("both answers are the same: a tie") if same
                else _("left out: {why}").format(why=made.unfit[match.question])
            )  # fmt: skip
            continue
        tell(f"\n{printable(match.question)}", "bold")
        for number, answer in enumerate(answers, 1):
            tell(f"\n[{number}]", "bold cyan")
            tell(printable(answer.text) or _("(nothing)"))
        said, blind = choice(match)
        if said is None:
            return
        made.vote(match, said, blind)
        if blind:
            tell(_("1 was {first}, 2 was {second}").format(
                first=match.first, second=match.second), "dim")  # fmt: skip


def choice(match: Any) -> tuple[str | None, bool]:
    """Read a vote, and whether the names were still hidden; the vote is None at the end."""
    blind = True
    prompt = _("1 or 2 is better, 3 both good, 4 both bad, n names (the vote then does not count), "
               "q end: ")  # fmt: skip
    while True:
        screen.err.print(prompt, end="", soft_wrap=True)
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line or word == "q":
            return None, blind
        if word in KEYS:
            return KEYS[word], blind
        if word == "n":
            blind = False
            tell(_("1 is {first}, 2 is {second}").format(first=match.first, second=match.second))


def tell(text: str, style: str = "") -> None:
    """Print questions and answers; with --json on stderr, as stdout is for the result."""
    if screen.json:
        screen.err.print(text, style=style or None, soft_wrap=True)
    else:
        screen.out.print(text, style=style or None, soft_wrap=True)


def end(held: Any, judge: str | None, unfit: tuple[tuple[str, str], ...]) -> None:
    """Let the judge compare the answers, if there is one, and print the result."""
    from souron.report import arena as words
    from souron.runs import arena as runs_arena

    if judge is not None:
        with screen.err.status(_("{judge} compares the answers").format(judge=judge)) as status:
            for done, whole in runs_arena.judge(held, judge):
                status.update(f"{judge}  {done}/{whole}")
    result = runs_arena.result(held)
    for each in result.skipped:
        console.warn(f"{each.file}: {each.reason}")
    if unfit:
        console.warn(_("{count} questions were left out: they do not fit").format(count=len(unfit)))
    if screen.json:
        print_json(result.as_json())
        return
    show("", words.headline(result))
    rating, interval = _("rating"), _("95 % interval")
    table = console.table(_("model"), rating, interval, right=(rating, interval))
    for row in words.ratings(result):
        table.add_row(*row)
    show(table)
    if result.votes:
        show(words.about_ratings())
    for verdict in result.verdicts:
        show(words.sentence(verdict))
    for line in words.judged(result):
        show(line)
    show(_("votes: {path}").format(path=result.file))
