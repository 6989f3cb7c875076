"""Arena: the same question, two anonymous answers, a vote; then the models' names."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, packages, zoo
from souron.studio.runs import run_list
from souron.studio.shared import QUIET, Studio, fetching, here, missing, remarks, same_thing, status, table
from souron.utils import files
from souron.utils.messages import N_, UserError, _
from souron.utils.terminal import printable

TITLE = N_("Arena")
PLACE = "tool"
MOST = 2  # arenas whose models stay in memory
BUTTONS = (
    ("first", N_("1 is better")),
    ("second", N_("2 is better")),
    ("good", N_("both good")),
    ("bad", N_("both bad")),
)
_open: OrderedDict[Path, Any] = OrderedDict()  # on this server, most recently used last
_lock = threading.Lock()  # held while models answer


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Which one answers better?"),
            _(
                "Two models answer the same question, and you vote before you know who is who. Each "
                "vote is kept at once."
            ),
        )
    )
    with gr.Column() as setup:
        empty = gr.HTML()
        models = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            allow_custom_value=True,
            max_choices=4,
            label=_("two to four models"),
            info=_("a name, a .gguf file, a folder, or a run"),
        )
        questions = gr.Textbox("", lines=6, label=_("questions"), info=_("a question a line"))
        with gr.Row():
            length = gr.Textbox("128", label=_("tokens of an answer, at most"), min_width=120)
            temperature = gr.Textbox("0.7", label=_("temperature"), min_width=120)
            seed = gr.Textbox("0", label=_("random seed"), min_width=120)
        begin = gr.Button(_("Begin"), variant="primary")
        old = gr.Dropdown([], value=None, label=_("or continue with earlier votes"))
    held, match = gr.State(""), gr.State(None)
    with gr.Column(visible=False) as voting:
        asked = gr.HTML(elem_id="asked")
        with gr.Row():
            buttons = [gr.Button(_(text), elem_id=f"vote-{said}", min_width=120) for said, text in BUTTONS]
        with gr.Row():
            reveal = gr.Button(_("Show the names (the vote then does not count)"), min_width=120)
            following = gr.Button(
                _("Next question"), variant="primary", interactive=False, elem_id="vote-next", min_width=120
            )
        gr.HTML(Markup('<p class="remark">{}</p>').format(_("By keyboard: 1, 2, 3 both good, 4 both bad, n next.")))
    told = gr.HTML(elem_id="told")
    shown = [held, match, setup, voting, asked, told, models, questions, old, *buttons, reveal, following]

    def asking(path: Path) -> list[Any]:
        """Show the next question, without the models' names."""
        found = next_match(path)
        away = [gr.update(value=[], choices=[]), "", gr.update(value=None, choices=[])]
        if found is None:
            done = Markup('<div role="status"><p>{}</p></div>').format(_("Every pair has been voted on."))
            off = [gr.update(interactive=False)] * (len(buttons) + 2)
            return [
                str(path),
                None,
                gr.update(visible=False),
                gr.update(visible=True),
                done,
                outcome(path),
                *away,
                *off,
            ]
        on = [gr.update(interactive=True)] * (len(buttons) + 1)
        address = here(studio.url("arena", votes=path.name))
        return [
            str(path),
            (found[0], True),
            gr.update(visible=False),
            gr.update(visible=True),
            sides(*found) + address,
            "",
            *away,
            *on,
            gr.update(interactive=False),
        ]

    def start(models: list[str], questions: str, length: str, temperature: str, seed: str) -> list[Any]:
        if len(models or ()) < 2 or not questions.strip():
            same = [gr.skip()] * len(shown)
            same[shown.index(told)] = status(_("Choose two to four models and type a question first."))
            return same
        return asking(begun(studio, models, questions, length, temperature, seed))

    def vote(said: str) -> Any:
        def cast(path: str, match: Any) -> list[Any]:
            if match is None:
                return [gr.skip()] * 3 + [gr.skip()] * (len(buttons) + 1)
            one, blind = match
            arena = opened(Path(path))
            with _lock:
                arena.vote(one, said, blind)
            off = [gr.update(interactive=False)] * (len(buttons) + 1)
            return [None, names(one) + outcome(Path(path)), gr.update(interactive=True), *off]

        return cast

    def show_names(match: Any) -> list[Any]:
        if match is None:
            return [gr.skip(), gr.skip()]
        return [(match[0], False), names(match[0])]

    def offer(query: dict[str, str]) -> list[Any]:
        name = query.get("votes", "")
        if name in earlier(studio):
            return asking(studio.project / "arena" / name)
        still = [gr.skip()] * 6
        return [
            *still,
            gr.update(choices=choices(studio)),
            gr.skip(),
            gr.update(choices=earlier(studio)),
            *[gr.skip()] * (len(buttons) + 2),
        ]

    studio.opened(offer, shown)
    studio.opened(lambda _query: lacking(studio), [empty])
    begin.click(studio.says(start), [models, questions, length, temperature, seed], shown)
    old.input(studio.says(lambda name: asking(studio.project / "arena" / _known(studio, name))), old, shown)
    following.click(studio.says(lambda path: asking(Path(path))), held, shown)
    after = [match, told, following, *buttons, reveal]
    for (said, _text), button in zip(BUTTONS, buttons, strict=True):
        button.click(studio.says(vote(said)), [held, match], after, **QUIET)
    reveal.click(studio.says(show_names), match, [match, told], **QUIET)


def choices(studio: Studio) -> list[str]:
    """Return the available models: fetched, ready trained, files in this folder, runs."""
    names = [name for name in packages.MODELS if fetch.where(name) is not None]
    names += ["gpt"] if zoo.where("gpt") is not None else []
    names += sorted(str(file) for base in (Path(), Path("models")) for file in base.glob("*.gguf"))
    runs = run_list.runs(studio.project)
    return names + [str(run.folder) for run in runs if registry.talks(run.task)]


def lacking(studio: Studio) -> Markup | str:
    """Explain what is missing where fewer than two models are available."""
    found = choices(studio)
    if len(found) > 1:
        return ""
    known = (
        _("The arena needs two language models. Here is only one: {name}.").format(name=Path(found[0]).name)
        if found
        else _("The arena needs two language models. None is here yet.")
    )
    more = _("Fetch or train another, or write the path of a .gguf file below.")
    ways = [fetching(studio, name) for name in packages.MODELS if fetch.where(name) is None][:1]
    return missing(f"{known} {more}", *ways, (studio.url("train", system="gpt"), _("Train a system")))


def earlier(studio: Studio) -> list[str]:
    """Return files of votes, newest first."""
    found = (studio.project / "arena").glob("*.jsonl")
    return [file.name for file in sorted(found, key=lambda file: -file.stat().st_mtime)]


def _known(studio: Studio, name: str | None) -> str:
    if name not in earlier(studio):
        raise UserError("missing", _("there are no votes {name}").format(name=name or ""), exit=3)
    return name


def begun(studio: Studio, models: list[str], questions: str, length: str, temperature: str, seed: str) -> Path:
    """Create a file of votes and load its models; return its path. Raises UserError."""
    from souron.data.language.tokenizer import readable
    from souron.studies.arena import contest, votes

    asked = dict.fromkeys(readable(line.strip()) for line in questions.split("\n") if line.strip())
    path = files.free(studio.project / "arena", "votes", ".jsonl")
    with _lock:
        made = contest.begin(
            models,
            votes.some(list(asked), _("the field of questions")),
            path,
            _number(seed, _("random seed"), int, 0, 2**31),
            _number(length, _("tokens of an answer, at most"), int, 1, 4096),
            _number(temperature, _("temperature"), float, 0, 2),
        )
        files.write_text(path.with_suffix(".txt"), "\n".join(asked) + "\n")
        _keep(path, made)
    return path


def _number(text: str, name: str, kind: type, low: float, high: float) -> Any:
    try:
        value = kind(text.strip() or low)
        if not low <= value <= high:
            raise ValueError
    except ValueError:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=text),
            expected=_("a number from {low} to {high}").format(low=low, high=high),
        ) from None
    return value


def opened(path: Path) -> Any:
    """Return the arena of a file of votes, from memory or read again. Raises UserError."""
    from souron.studies.arena import contest, votes

    if path not in _open:
        questions, _skipped = votes.questions(path.with_suffix(".txt"))
        held = votes.read(path)
        assert held.settings is not None
        _keep(path, contest.Arena(held, questions, held.settings))
    _open.move_to_end(path)
    return _open[path]


def _keep(path: Path, made: Any) -> None:
    _open[path] = made
    while len(_open) > MOST:
        _open.popitem(last=False)


def next_match(path: Path) -> tuple[Any, Any] | None:
    """Return the next pair and its two answers; None where all have been voted on."""
    with _lock:
        arena = opened(path)
        for match in arena.matches():
            answers = arena.answers(match)
            if answers is not None:
                return match, answers
    return None


def sides(match: Any, answers: Any) -> Markup:
    """Return the question and the two answers, without names."""
    parts = Markup("").join(
        Markup(
            '<section aria-labelledby="side-{0}"><h3 id="side-{0}">{0}</h3><div class="said">{1}</div></section>'
        ).format(number, printable(answer.text) or _("(nothing)"))
        for number, answer in enumerate(answers, 1)
    )
    return Markup('<h2 class="said">{}</h2><div class="sides">{}</div>').format(printable(match.question), parts)


def names(match: Any) -> Markup:
    return Markup('<p role="status"><strong>{}</strong></p>').format(
        _("1 is {first}, 2 is {second}").format(first=match.first, second=match.second)
    )


def outcome(path: Path) -> Markup:
    """Return ratings and verdicts so far."""
    from souron.studies.arena import wording as words

    result = opened(path).result()
    rows = words.ratings(result)
    lines = [words.sentence(verdict) for verdict in result.verdicts]
    skipped = remarks(f"{each.file}: {each.reason}" for each in result.skipped)
    about = [words.headline(result), *([words.about_ratings()] if result.votes else [])]
    said = Markup("").join(Markup("<p>{}</p>").format(line) for line in [*lines, *about])
    ratings = table((_("model"), _("rating"), _("95 % interval")), rows, _("ratings"))
    line = f"souron arena --results {path}"
    python = "from souron.studies.arena import contest, votes\n"
    python += f"contest.result(votes.read({str(path)!r}))"
    return ratings + said + skipped + same_thing(line, python)
