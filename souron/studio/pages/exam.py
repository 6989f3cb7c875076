"""Take an examination question by question, and compare each answer with a model's."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import load
from souron.studio.forms import controls
from souron.studio.forms.command_form import Field
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, fetching, missing, same_thing, status, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Exam")
PLACE = "tool"
TAKES = "Question"  # the input kind of the systems that are examined
MODEL = "nearest"
PAPER = "terms"
MOST_SEED = 10**6


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    about = _(
        "Answer some questions yourself; only then the right option is shown, and what the "
        "model says. Papers made of dictionaries measure vocabulary, not clinical "
        "judgement."
    )
    offered = models(studio)
    wanted = query.get("run") or query.get("system") or MODEL
    there = next((name for name in paper_names() if load.names()[name].where()), PAPER)
    asks = {"hx_post": controls.part(studio, "exam", "needed"), "hx_target": "#begin", "hx_swap": "outerMorph"}
    fields = [
        controls.labelled(
            _("exam paper"), controls.chooser("data", [(name, name) for name in paper_names()], there, **asks)
        ),
        Field("seed", int, _("seed")).html("0", about=_("another paper for each")),
        controls.labelled(
            _("model"),
            controls.chooser("model", offered, wanted if wanted in [name for _shown, name in offered] else MODEL),
        ),
        needed(studio, there),
    ]
    return Markup('{}{}<div id="exam"></div>{}').format(
        controls.page_head(_("Sit an exam"), about),
        controls.form(studio, "exam", "begin", Markup("").join(fields), "#exam", hx_swap="outerHTML"),
        controls.follows(studio, "exam", "same", "same"),
    )


def needed(studio: Studio, data: str) -> Markup:
    """Return the button that begins, and what the paper lacks. Raises UserError."""
    there = known(data).where() is not None
    text = _("The paper {name} is made of a dictionary that is not on this computer yet.")
    return Markup('<div id="begin">{}{}</div>').format(
        "" if there else missing(text.format(name=data), fetching(studio, data)),
        controls.press(_("Begin"), first=True, disabled=not there),
    )


def known(data: str) -> load.DataEntry:
    """Return the entry of a paper. Raises UserError where there is no such paper."""
    if data not in paper_names():
        raise UserError("data", data[:60], expected=", ".join(paper_names()))
    return load.names()[data]


def models(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, name) of systems that need no training, then of runs, newest first."""
    ready = [
        (f"{entry.name} – {registry.about(entry)}", entry.name)
        for entry in registry.entries().values()
        if registry.takes(entry.task) == TAKES and not entry.needs_fit
    ]
    runs = [
        (f"{run.name} – {', '.join(run.systems)}", str(run.folder))
        for run in run_list.runs(studio.project)
        if registry.takes(run.task) == TAKES and run.state == "finished"
    ]
    return [*ready, *runs]


def paper_names() -> list[str]:
    return [entry.name for entry in load.names().values() if registry.takes(entry.task) == TAKES]


@lru_cache(maxsize=4)
def paper(data: str, seed: int) -> Any:
    """Return the questions of a paper in the order in which they are asked. Raises UserError."""
    import torch

    known(data)
    if seed > MOST_SEED:
        raise UserError("seed", str(seed)[:60], expected=f"0–{MOST_SEED}")
    cases = load.paper(data, seed, ("questions",), "questions")
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(seed))
    return cases.only(order[:500])


def whole(form: Posted, name: str) -> int:
    """Return the whole number in a field, at least 0. Raises UserError."""
    return max(0, Field(name, int, _("seed") if name == "seed" else name).read(form[name]) or 0)


@dataclass(frozen=True)
class Sitting:
    """Answers of a person so far; the page keeps them in hidden fields."""

    data: str
    seed: int
    row: int = 0  # of the question in the paper
    own: int = 0  # right answers of the person
    theirs: int = 0  # and of the model
    count: int = 0

    @classmethod
    def read(cls, form: Posted) -> "Sitting":
        """Return the state in the fields of a form. Raises UserError."""
        numbers = [whole(form, name) for name in ("seed", "row", "own", "theirs", "count")]
        return cls(form["data"], *numbers)

    def hidden(self) -> Markup:
        return Markup("").join(
            Markup('<input type="hidden"{}>').format(controls.attributes({"name": name, "value": value}))
            for name, value in asdict(self).items()
        )

    @property
    def questions(self) -> Any:
        return paper(self.data, self.seed)

    def tally(self) -> Markup:
        """Return the number of correct answers so far."""
        if not self.count:
            return Markup()
        text = _("Of {count}: you {own}, the model {model}.")
        return Markup("<p>{}</p>").format(text.format(count=self.count, own=self.own, model=self.theirs))


def begun(studio: Studio, form: Posted) -> Markup:
    """Return the first question of the paper. Raises UserError."""
    return asked(studio, Sitting(form["data"], whole(form, "seed")))


def following(studio: Studio, form: Posted) -> Markup:
    """Return the next question of the paper, or the end. Raises UserError."""
    sitting = Sitting.read(form)
    return asked(studio, replace(sitting, row=sitting.row + 1))


def asked(studio: Studio, sitting: Sitting) -> Markup:
    """Return a question of the paper with its options; after the last one the end."""
    if sitting.row >= len(sitting.questions):
        return drawn(studio, status(_("That was the last question.")) + sitting.tally())
    content = posed(sitting, "") + pressed(_("Answer")) + sitting.hidden() + sitting.tally()
    return drawn(studio, content, "answer")


def answered(studio: Studio, form: Posted) -> Markup:
    """Return whether the answer was right, and the model's answer. Raises UserError."""
    sitting = Sitting.read(form)
    if sitting.row >= len(sitting.questions):
        raise UserError("nothing given", _("That was the last question."))
    question, key = sitting.questions.input[sitting.row], int(sitting.questions.target[sitting.row])
    letters = lines(question.options)
    if form["choice"] not in map(str, range(len(letters))):
        raise UserError("nothing given", _("no option was chosen yet"), expected=_("one of the options"))
    if form["model"] not in (names := [name for _shown, name in models(studio)]):
        raise UserError("model", form["model"][:100], expected=", ".join(names))
    best, share = picked(form["model"], question)
    own, theirs = int(form["choice"]) == key, best == key
    sitting = replace(sitting, own=sitting.own + own, theirs=sitting.theirs + theirs, count=sitting.count + 1)
    told = status(
        f"{_('Right.') if own else _('Wrong.')} {_('The right option: {option}').format(option=letters[key])}",
        _("{model} picks {option}, with a confidence of {share}: {verdict}").format(
            model=Path(form["model"]).name,
            option=letters[best],
            share=units.percent(share),
            verdict=_("that is right") if theirs else _("that is wrong"),
        ),
    )
    shown = Markup('<fieldset class="ticks" disabled>{}</fieldset>').format(posed(sitting, form["choice"]))
    return drawn(studio, shown + pressed(_("Next question")) + sitting.hidden() + told + sitting.tally(), "next")


def pressed(label: str) -> Markup:
    """Return the button of a question; the next one has its id, so that the focus stays on it."""
    return controls.press(label, first=True, id="go")


def posed(sitting: Sitting, choice: str) -> Markup:
    """Return a question and its options."""
    question = sitting.questions.input[sitting.row]
    lettered = [(text, str(place)) for place, text in enumerate(lines(question.options))]
    return Markup('<section aria-live="polite"><h2>{}</h2><p class="lead">{}</p></section>{}').format(
        _("Question {number}").format(number=sitting.row + 1),
        question.text,
        controls.radios("choice", _("options"), lettered, choice),
    )


def drawn(studio: Studio, content: Markup, name: str = "") -> Markup:
    """Return the place of the questions; its button asks the part ``name``."""
    if name:
        how = {"id": "question", "hx_include": "#form [name=model]", "hx_swap": "outerHTML"}
        content = controls.form(studio, "exam", name, content, "#exam", **how)
    return Markup('<div id="exam">{}</div>').format(content)


def picked(model: str, item: Any) -> tuple[int, float]:
    """Return the option that the model picks, and its probability. Raises UserError."""
    from souron.kinds.labels import Labels
    from souron.kinds.question import Question
    from souron.studio.model_cache import models as loaded

    given = Question(item.text, item.options, item.subject)
    with loaded.answering(model) as held:
        answer = held.answer(given)
    assert isinstance(answer, Labels), "that is what choosers answer"
    said = list(map(float, answer.probabilities))
    best = max(range(len(said)), key=said.__getitem__)
    return best, said[best]


def lines(options: Sequence[str]) -> list[str]:
    return [f"{letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]


def same(_studio: Studio, form: Posted) -> Markup:
    """Return the command line and Python code that give the whole paper to the model."""
    try:
        model, data, seed = form["model"], form["data"], whole(form, "seed")
    except UserError:  # somebody is still typing
        return Markup()
    line = command(words("exam", [model], {"data": data, "seed": seed}))
    python = f"from souron.actions.exam import Exam\nExam().result({model!r}, data={data!r}, seed={seed}).as_json()"
    return same_thing(line, python)


PARTS = {
    "needed": lambda studio, form: needed(studio, form["data"]),
    "begin": begun,
    "answer": answered,
    "next": following,
    "same": same,
}
