"""Arena: the same question, two anonymous answers, a vote; then the models' names."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, packages, zoo
from souron.studio.forms import controls
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, fetching, here, missing, remarks, same_thing, status, table
from souron.utils import files
from souron.utils.messages import N_, UserError, _
from souron.utils.terminal import printable

TITLE = N_("Arena")
PLACE = "tool"
MOST = 2  # arenas whose models stay in memory
BUTTONS = (  # key, vote, text
    ("1", "first", N_("1 is better")),
    ("2", "second", N_("2 is better")),
    ("3", "good", N_("both good")),
    ("4", "bad", N_("both bad")),
)
NUMBERS: dict[str, tuple[str, type, float, float, float]] = {  # name -> label, type, lowest, highest, step
    "length": (N_("tokens of an answer, at most"), int, 1, 4096, 1),
    "temperature": (N_("temperature"), float, 0, 2, 0.05),
    "seed": (N_("random seed"), int, 0, 2**31, 1),
}
START = Posted({"length": ["128"], "temperature": ["0.7"], "seed": ["0"]})
_open: OrderedDict[Path, Any] = OrderedDict()  # on this server, most recently used last
_lock = threading.Lock()  # held while models answer


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    """Return the page; votes in the address are loaded as soon as it is shown, as models may have to answer."""
    name = query.get("votes", "")
    held = controls.attributes(
        _sends(studio, "resume", {"votes": name}, hx_trigger="load") if name in earlier(studio) else {}
    )
    return Markup('{}<div data-module="/static/keys.js"><div id="arena"{}>{}</div>{}</div>').format(
        controls.page_head(
            _("Which one answers better?"),
            _(
                "Two models answer the same question, and you vote before you know who is who. Each "
                "vote is kept at once."
            ),
        ),
        held,
        setup(studio, START),
        Markup('<p role="status" class="faint htmx-indicator" id="answering">{}</p>').format(
            _("two models are answering")
        ),
    )


def _sends(studio: Studio, name: str, query: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the attributes of an element whose answer takes the place of the arena."""
    asked = f"?{urlencode(query)}" if query else ""
    return {
        "hx_post": controls.part(studio, "arena", name) + asked,
        "hx_target": "#arena",
        "hx_swap": "outerMorph",
        "hx_sync": "#arena:drop",
        "hx_indicator": "#answering",
        **more,
    }


def setup(studio: Studio, form: Posted, note: str = "") -> Markup:
    """Return the form of a new arena as it is filled in, and the list of earlier ones."""
    ticks = controls.ticks(
        "models",
        _("two to four models"),
        [(Path(*Path(name).parts[-2:]).as_posix(), name) for name in choices(studio)],
        form.all("models"),
    )
    others = controls.area("others", form["others"], rows=2, placeholder=_("one a line"))
    numbers = [
        controls.labelled(_(label), controls.number(name, form[name], low, high, step))
        for name, (label, _kind, low, high, step) in NUMBERS.items()
    ]
    fields = [
        lacking(studio),
        ticks,
        controls.labelled(_("a name, a .gguf file, a folder, or a run"), others),
        controls.labelled(
            _("questions"), controls.area("questions", form["questions"], rows=6), _("a question a line")
        ),
        Markup('<div class="abreast">{}</div>').format(Markup("").join(numbers)),
        note,
        controls.press(_("Begin"), first=True),
    ]
    begin = controls.form(studio, "arena", "begin", Markup("").join(fields), **_sends(studio, "begin"))
    return Markup("{}{}").format(begin, _earlier(studio))


def _earlier(studio: Studio) -> Markup:
    """Return the form that continues with earlier votes, where there are any."""
    found = earlier(studio)
    if not found:
        return Markup()
    field = controls.labelled(_("or continue with earlier votes"), controls.chooser("votes", [(n, n) for n in found]))
    content = field + controls.press(_("Go on"), first=True)
    return controls.form(studio, "arena", "resume", content, id="earlier", **_sends(studio, "resume"))


def begin(studio: Studio, form: Posted) -> Markup:
    """Create an arena, and return its first question. Raises UserError."""
    others = [line.strip() for line in form["others"].splitlines() if line.strip()]
    models = list(dict.fromkeys([*form.all("models"), *others]))
    if len(models) < 2 or not form["questions"].strip():
        told = status(_("Choose two to four models and type a question first."))
        return _arena(setup(studio, form, told))
    studio.roots.limit(models)
    return asking(studio, begun(studio, models, form))


def resume(studio: Studio, form: Posted) -> Markup:
    """Return the next question of earlier votes. Raises UserError."""
    return asking(studio, _held(studio, form))


def asking(studio: Studio, path: Path) -> Markup:
    """Return the next question with its two answers, without the models' names."""
    found = next_match(path)
    if found is not None:
        return _ballot(studio, path, found)
    done = Markup('<div id="asked" role="status"><p>{}</p></div>').format(_("Every pair has been voted on."))
    return _arena(done + Markup('<div id="told">{}</div>').format(outcome(path)))


def vote(studio: Studio, form: Posted) -> Markup:
    """Record a vote, and return the same question with the names and the result so far.

    The next question comes instead where this one was voted on before, such as on another page. Raises UserError.
    """
    path = _held(studio, form)
    found = next_match(path)
    if found is None or form["number"] != str(_number(path)):
        return asking(studio, path)
    with _lock:
        opened(path).vote(found[0], form["said"], not form["shown"])
    return _ballot(studio, path, found, names(found[0]) + outcome(path), voted=True)


def reveal(studio: Studio, form: Posted) -> Markup:
    """Return the question with the names; a vote then does not count. Raises UserError."""
    path = _held(studio, form)
    found = next_match(path)
    if found is None or form["number"] != str(_number(path)):
        return asking(studio, path)
    return _ballot(studio, path, found, names(found[0]), shown=True)


def _number(path: Path) -> int:
    """Return the number of votes so far: the question that is shown belongs to it."""
    return len(opened(path).held.votes)


def _ballot(
    studio: Studio, path: Path, found: tuple[Any, Any], told: str = "", *, voted: bool = False, shown: bool = False
) -> Markup:
    """Return a question with its two answers and the buttons; ``told`` is what may be known of it."""
    about = {"votes": path.name, "number": _number(path), **({"shown": 1} if shown else {})}
    buttons = Markup("").join(
        controls.press(
            _(text), aria_keyshortcuts=key, disabled=voted, **_sends(studio, "vote", {**about, "said": said})
        )
        for key, said, text in BUTTONS
    )
    show = controls.press(
        _("Show the names (the vote then does not count)"), disabled=voted or shown, **_sends(studio, "reveal", about)
    )
    following = controls.press(
        _("Next question"),
        first=True,
        aria_keyshortcuts="n",
        disabled=not voted,
        autofocus=voted,
        **_sends(studio, "resume", {"votes": path.name}),
    )
    return _arena(
        Markup(
            '{}<div id="asked">{}</div><div class="form"><p class="actions">{}</p><p class="actions">{}{}</p></div>'
            '<p class="remark">{}</p><div id="told">{}</div>'
        ).format(
            here(studio.url("arena", votes=path.name)),
            sides(*found),
            buttons,
            show,
            following,
            _("By keyboard: 1, 2, 3 both good, 4 both bad, n next."),
            told,
        )
    )


def _arena(content: Markup) -> Markup:
    return Markup('<div id="arena">{}</div>').format(content)


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


def _held(studio: Studio, form: Posted) -> Path:
    """Return the file of the votes that a form names. Raises UserError."""
    name = form["votes"]
    if name not in earlier(studio):
        raise UserError("missing", _("there are no votes {name}").format(name=name), exit=3)
    return studio.project / "arena" / name


def begun(studio: Studio, models: list[str], form: Posted) -> Path:
    """Create a file of votes and load its models; return its path. Raises UserError."""
    from souron.actions.arena import contest, votes
    from souron.data.language.tokenizer import readable

    asked = dict.fromkeys(readable(line.strip()) for line in form["questions"].split("\n") if line.strip())
    numbers = {
        name: controls.number_of(form[name], _(label), kind, low, high)
        for name, (label, kind, low, high, _step) in NUMBERS.items()
    }
    path = files.free(studio.project / "arena", "votes", ".jsonl")
    with _lock:
        made = contest.begin(models, votes.some(list(asked), _("the field of questions")), path, **numbers)
        files.write_text(path.with_suffix(".txt"), "\n".join(asked) + "\n")
        _keep(path, made)
    return path


def opened(path: Path) -> Any:
    """Return the arena of a file of votes, from memory or read again. Raises UserError."""
    from souron.actions.arena import contest, votes

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
    from souron.actions.arena import wording as words

    result = opened(path).result()
    rows = words.ratings(result)
    lines = [words.sentence(verdict) for verdict in result.verdicts]
    skipped = remarks(f"{each.file}: {each.reason}" for each in result.skipped)
    about = [words.headline(result), *([words.about_ratings()] if result.votes else [])]
    said = Markup("").join(Markup("<p>{}</p>").format(line) for line in [*lines, *about])
    ratings = table((_("model"), _("rating"), _("95 % interval")), rows, _("ratings"))
    line = f"souron arena --results {path}"
    python = "from souron.actions.arena import contest, votes\n"
    python += f"contest.result(votes.read({str(path)!r}))"
    return ratings + said + skipped + same_thing(line, python)


PARTS = {"begin": begin, "resume": resume, "vote": vote, "reveal": reveal}
