"""``souron chat``: conversation with a language model, in a terminal or line by line."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.parsing import options as cli_options
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, near

LONGEST_LINE = 1_000_000  # bytes of a question on stdin
# control characters, which a terminal would obey
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HELP = (
    ("/regenerate [SEED]", N_("answer the last question again, with the next seed or this one")),
    ("/edit N [TEXT]", N_("go back to question N and rephrase it")),
    ("/questions", N_("the questions so far, with their numbers")),
    ("/system [TEXT]", N_("set the system prompt; alone: show it; /system - takes it away")),
    ("/seed N", N_("seed of the answers from here on")),
    ("/template", N_("the model's template, and the text that the model sees")),
    ("/filtered", N_("what filter= has withheld: the sentences themselves, and why")),
    ("/save FILE", N_("save the chat as JSON")),
    ("/load FILE", N_("continue a saved chat")),
    ("/help", N_("this list")),
    ("/quit", N_("leave; so does Ctrl-D, and Ctrl-C while nothing is written")),
)

Model = Annotated[
    str,
    Argument(
        metavar="MODEL",
        help=N_("smollm2, a .gguf file or folder of a published model, a run (default: the best one here)"),
        autocompletion=cli_options.complete_system_or_run,
    ),
]
Question = Annotated[list[str] | None, Argument(metavar="QUESTION", help=N_("without one: a conversation"))]
System = Annotated[str, Option(metavar="TEXT", help=N_("system prompt: what stands before the conversation"))]
Length = Annotated[int, Option(min=1, max=4096, metavar="N", help=N_("tokens of an answer at most (256)"))]
Temperature = Annotated[
    float | None,
    Option(min=0, max=2, metavar="T", help=N_("0 takes the likeliest token (the model's own temperature, or 0.8)")),
]
Top = Annotated[
    float | None,
    Option(
        min=0.01, max=1, metavar="P", help=N_("sample among the likeliest up to this probability (its own, or 0.95)")
    ),
]
Context = Annotated[
    int | None, Option(min=16, max=8192, metavar="N", help=N_("tokens that a published model sees at most (2048)"))
]
Load = Annotated[str | None, Option(metavar="FILE", help=N_("continue a saved chat (JSON)"))]
Save = Annotated[str | None, Option(metavar="FILE", help=N_("save the chat there, as a new file"))]
Filter = Annotated[
    str, Option(metavar="HOW", help=N_("withhold harmful sentences: both (default), lexicon, classifier, or none"))
]
Template = Annotated[bool, Option("--template", help=N_("show the model's template and what it sees"))]


@command(
    "chat",
    N_("Chat with a language model, a published one or your own."),
    "souron chat                              (the best model here; /help lists the rest)\n"
    'souron chat smollm2 "What does a nurse do?" length=60 seed=1\n'
    'souron chat smollm2 "What does a nurse do?" --json\n'
    'souron chat model.gguf "Hello" system="You answer in one sentence." context=4096\n'
    "souron chat model.gguf engine=llama      (llama.cpp reads the file)\n"
    "souron chat runs/complete/gpt-manuals    (completes text, as it learnt no conversations)\n"
    'souron chat smollm2 "And in children?" load=talk.json save=talk2.json\n'
    "souron chat smollm2 < questions.txt      (a question on each line)\n"
    "souron chat smollm2 filter=none          (harmful sentences are shown, too)\n"
    "souron chat smollm2 --template",
    group="language",
)
def chat(
    run: Model = "",
    question: Question = None,
    system: System = "",
    length: Length = 256,
    temperature: Temperature = None,
    top: Top = None,
    seed: cli_options.Seed = None,
    context: Context = None,
    engine: cli_options.Engine = None,
    load: Load = None,
    save: Save = None,
    template: Template = False,
    filter: Filter = "both",
    lexicon: cli_options.Lexicon = None,
) -> None:
    place = None if save is None else new_file(save)
    from souron.kinds.chat import Chat

    before = Chat(()) if load is None else Chat.read(Path(load))
    hardware.calm_allocator()
    run = run or best()
    tell_of_training(filter)
    with screen.err.status(_("loading {name}").format(name=run)):
        from souron import model as models_api
        from souron.evaluation.harmful import filters
        from souron.evaluation.language.conversation import Conversation
        from souron.hub import zoo

        filtered = filters.named(filter, lexicon)
        with console.warning_lines():
            model = models_api.load(run, context=context, engine=engine)
            voice = model.voice
    for text in zoo.weaknesses(model.folder) if model.folder else ():
        console.warn(f"{run}: {text}")
    talk = Conversation(
        voice, before, length, voice.sampling(temperature, top, seed or 0), filtered.screen if filtered else None
    )
    if system:
        talk.system(system)
    session = Session(run, talk, filtered)
    words = " ".join(question or [])
    if template:
        session.show_template(words)
        return
    if not voice.template:
        note(_("{name} has no template for conversations: it completes plain text").format(name=run))
    try:
        if question is not None:
            session.answer(lambda: talk.ask(words))
        elif sys.stdin.isatty():
            session.interactive()
        else:
            session.lines()
    finally:
        if place is not None and talk.chat.turns:
            session.write(new_file(str(place)))
    if session.failed:
        raise typer.Exit(session.failed)


def best() -> str:
    """Return the best model here to talk with. Raises UserError where there is none."""
    from souron.hub import open_models

    name = open_models.conversing()
    if not name:
        raise UserError(
            "model",
            _("no language model for conversations is on this computer"),
            expected=_("a published model, or the ready-trained systems"),
            fix="souron fetch smollm2",
            exit=4,
        )
    note(_("{name} answers; another model: souron chat MODEL").format(name=name))
    return name


def tell_of_training(filter: str) -> None:
    """Say that the filter's classifier has to be trained first, where that is so. Raises UserError."""
    from souron.evaluation.harmful import classifiers, judges

    if judges.way_named(filter) in ("classifier", "both") and not classifiers.is_trained():
        note(_("the filter is trained first, once on this computer, in about half a minute; filter=none does without"))


class Session:
    """A conversation and its display."""

    def __init__(self, name: str, talk: Any, filtered: Any = None) -> None:
        self.name, self.talk, self.filtered = name, talk, filtered
        self.failed = 0  # exit code
        self.saved = talk.chat  # as saved in a file

    def answer(self, ask: Callable[[], Any]) -> None:
        """Show an answer as it is generated; Ctrl-C stops it and keeps the text so far.

        Raises UserError, with the chat left unchanged.
        """
        answer = ask()
        self.mark_dropped(answer.prompt)
        try:
            with closing(iter(answer)) as parts:
                for part in parts:
                    if not screen.json:
                        print(OBEYED.sub("\ufffd", part), end="", flush=True)
        except KeyboardInterrupt:
            answer.stop()
            self.failed = 130
        except UserError:
            self.talk.keep(answer)
            raise
        finally:
            if not screen.json and answer.tokens:
                print(flush=True)
        reply = self.talk.keep(answer)
        if screen.json:
            print_json(reply.as_json())
        else:
            note(figures(reply))
            if reply.withheld:
                note(withheld(len(reply.withheld)))

    def mark_dropped(self, prompt: Any) -> None:
        if prompt.dropped_turns:
            console.warn(dropped(prompt, self.talk.voice.reader.context))

    def lines(self) -> None:
        """Answer one question per line of stdin; an error in one line does not stop the others."""
        for number, line in enumerate(lines_of(sys.stdin.buffer), 1):
            if not line.strip():
                continue
            try:
                self.heed(line)
            except UserError as trouble:
                self.failed = trouble.exit
                note(_("line {number}:").format(number=number))
                console.show_trouble(trouble)
            if self.failed == 130:
                return

    def interactive(self) -> None:
        """Prompt for questions until Ctrl-D, /quit, or Ctrl-C at the prompt."""
        note(_("{name}: ask, or /help. Ctrl-C stops an answer, a second one leaves.").format(name=self.name))
        for number, turn in enumerate(self.talk.chat.turns):
            show(f"{turn.role} {number + 1}: " + OBEYED.sub("\ufffd", turn.text))
        while True:
            self.talk.read_ahead()
            try:
                line = typed()
                if line is None or line.strip() in ("/quit", "/exit"):
                    break
                if line.strip():
                    self.heed(line)
            except KeyboardInterrupt:
                print()
                break
            except UserError as trouble:
                console.show_trouble(trouble)
        self.failed = 0
        if self.talk.chat.turns and self.talk.chat != self.saved:
            note(_("the chat was not saved: /save FILE does so, or save=FILE from the start"))

    def heed(self, line: str) -> None:
        """Handle a line: a command or a question. Raises UserError."""
        if not self.obey(line):
            self.answer(lambda: self.talk.ask(line))

    def obey(self, line: str) -> bool:
        """Run a command that begins with /; return False for a question. Raises UserError."""
        found = re.fullmatch(r"/([a-z]+)(?:\s+(.*))?", line.strip(), re.DOTALL)
        if not found:
            return False
        verb, rest = found[1], (found[2] or "").strip()
        does = getattr(self, f"do_{verb}", None)
        if does is None:
            raise UserError(
                "command",
                _("no command is named {name!r}").format(name=f"/{verb}"),
                expected=near(verb, [words.split()[0][1:] for words, _help in HELP]),
                fix="/help",
            )
        does(rest)
        return True

    def do_help(self, _rest: str) -> None:
        for words, help in HELP:
            show(f"{words:20} {_(help)}")

    def do_regenerate(self, rest: str) -> None:
        seed = whole(rest, "/regenerate 7") if rest else None
        self.answer(lambda: self.talk.again(seed))

    def do_edit(self, rest: str) -> None:
        number, _blank, text = rest.partition(" ")
        place = whole(number, "/edit 1")
        questions = self.talk.questions
        if not text.strip() and sys.stdin.isatty() and 1 <= place <= len(questions):
            text = typed(self.talk.chat.turns[questions[place - 1]].text) or ""
        self.answer(lambda: self.talk.edit(place, text.strip() or None))

    def do_questions(self, _rest: str) -> None:
        for number, place in enumerate(self.talk.questions, 1):
            show(f"{number}  " + OBEYED.sub("\ufffd", self.talk.chat.turns[place].text))

    def do_system(self, rest: str) -> None:
        if rest:
            self.talk.system("" if rest == "-" else rest)
        found = [turn.text for turn in self.talk.chat.turns if turn.role == "system"]
        show(_("system prompt: {text}").format(text=" ".join(found) or _("none of your own")))

    def do_seed(self, rest: str) -> None:
        from dataclasses import replace

        self.talk.sampling = replace(self.talk.sampling, seed=whole(rest, "/seed 1"))

    def do_template(self, _rest: str) -> None:
        self.show_template("")

    def do_filtered(self, _rest: str) -> None:
        """Show the sentences that the filter withheld."""
        from souron.evaluation.harmful import judges

        if self.filtered is None:
            show(_("no filter is on, as filter=none asked for"))
            return
        for found in self.filtered.kept:
            show(f"{judges.reason(found)}: " + OBEYED.sub("\ufffd", found.sentence))
        if not self.filtered.kept:
            show(_("nothing was withheld"))

    def do_save(self, rest: str) -> None:
        place = Path(rest).expanduser()
        if place.exists() and not sys.stdin.isatty():
            raise taken(place)
        if place.exists() and not agreed(_("{path} is there already. Replace it?"), place):
            return
        self.write(place)

    def do_load(self, rest: str) -> None:
        from souron.kinds.chat import Chat

        chat = Chat.read(Path(rest).expanduser())
        lost = self.talk.chat.turns and self.talk.chat != self.saved
        if lost and not agreed(_("This chat was not saved. Continue with {path}?"), Path(rest)):
            return
        self.talk.chat = self.saved = chat
        show(_("{count} messages from {path}").format(count=len(chat.turns), path=rest))

    def write(self, place: Path) -> None:
        self.talk.chat.save(place)
        self.saved = self.talk.chat
        note(_("saved: {path}").format(path=place))

    def show_template(self, question: str) -> None:
        """Show the published chat template and the conversation rendered with it."""
        turns = (self.talk.chat.said("user", question) if question else self.talk.chat).turns
        voice = self.talk.voice
        seen = voice.seen(turns) if turns else ""
        if screen.json:
            print_json({"template": voice.template, "seen": seen})
            return
        none = _("{name} has no template for conversations: it completes plain text")
        show(OBEYED.sub("\ufffd", voice.template) or none.format(name=self.name))
        if seen:
            show("", _("The model sees:"), OBEYED.sub("\ufffd", seen))


def figures(reply: Any) -> str:
    """Return one line of figures about an answer: speed, tokens and context."""
    first = (
        ""
        if reply.seconds_to_first is None
        else _("first token after {seconds:.2g} s").format(seconds=reply.seconds_to_first)
    )
    rate = (
        "" if reply.tokens_per_second is None else _("{rate:.3g} tokens a second").format(rate=reply.tokens_per_second)
    )
    parts = [
        _("prompt {prompt} tokens, answer {answer}, context {used} of {context}").format(
            prompt=reply.prompt_tokens,
            answer=reply.tokens,
            used=reply.prompt_tokens + reply.tokens,
            context=reply.context,
        ),
        first,
        rate,
        _("seed {seed}").format(seed=reply.seed),
        stopped(reply.stopped_by),
    ]
    return " · ".join(filter(None, parts))


def withheld(count: int) -> str:
    return _("{count} sentences were withheld; /filtered shows them").format(count=count)


def stopped(why: str) -> str:
    """Return the reason why an answer was cut short; "" where the model ended it."""
    return {
        "length": _("stopped: reached the requested length (length=)"),
        "context": _("stopped: the context is full"),
        "user": _("stopped by you"),
    }.get(why, "")


def dropped(prompt: Any, context: int) -> str:
    """Return a remark on the earlier messages that no longer fit into the context."""
    return _(
        "{count} earlier messages ({tokens} tokens) no longer fit into the context of {context} "
        "tokens: the model does not see them"
    ).format(count=len(prompt.dropped_turns), tokens=prompt.dropped_tokens, context=context)


def lines_of(stream: Any) -> Iterator[str]:
    """Yield lines of a byte stream as text: UTF-8, else Shift_JIS.

    Raises UserError for a line that is too long.
    """
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise UserError(
                "too large",
                _("a line of more than {count} bytes").format(count=LONGEST_LINE),
                expected=_("one question a line"),
                exit=3,
            )
        line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            yield line.decode("cp932", "replace")


def typed(text: str = "") -> str | None:
    """Read a line from the terminal, prefilled with ``text``; None at the end of input."""
    try:
        import readline
    except ImportError:  # Windows' own console edits lines itself
        readline = None  # type: ignore[assignment]
    if readline is not None and text:
        readline.set_startup_hook(lambda: readline.insert_text(text))
    try:
        return input("> ")
    except EOFError:
        print()
        return None
    finally:
        if readline is not None:
            readline.set_startup_hook()


def whole(text: str, example: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UserError("value", _("{text!r} is no whole number").format(text=text), expected=example)
    return int(text)


def agreed(question: str, place: Path) -> bool:
    """Ask for confirmation on a terminal; return False where there is none."""
    return sys.stdin.isatty() and typer.confirm(question.format(path=place))


def new_file(name: str) -> Path:
    """Return the path of a new chat file. Raises UserError if it exists or is no .json."""
    from souron.kinds import files

    place = Path(name).expanduser()
    files.ending(place, (".json",))
    if place.exists():
        raise taken(place)
    return place


def taken(place: Path) -> UserError:
    return UserError(
        "exists",
        _("{path} is there already").format(path=place),
        expected=_("the name of a new file"),
        fix=f"save={place.stem}-2{place.suffix}",
        exit=5,
    )
