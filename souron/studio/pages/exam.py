"""Take an examination question by question, and compare each answer with a model's."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import load
from souron.studio.runs import run_list
from souron.studio.shared import QUIET, Studio, command, fetching, missing, same_thing, status, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Exam")
PLACE = "tool"
TAKES = "Question"  # the input kind of the systems that are examined
MODEL = "nearest"
PAPER = "terms"
MOST_SEED = 10**6


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Sit an exam"),
            _(
                "Answer some questions yourself; only then the right option is shown, and what the "
                "model says. Papers made of dictionaries measure vocabulary, not clinical "
                "judgement."
            ),
        )
    )
    with gr.Row():
        data = gr.Dropdown(paper_names(), value=PAPER, label=_("exam paper"))
        seed = gr.Number(
            0, minimum=0, maximum=MOST_SEED, precision=0, label=_("seed"), info=_("another paper for each")
        )
        model = gr.Dropdown([MODEL], value=MODEL, label=_("model"))
    empty = gr.HTML()
    begin = gr.Button(_("Begin"), variant="primary")
    state = gr.State({}, time_to_live=3600)
    question = gr.HTML()
    options = gr.Radio([], label=_("options"), visible=False)
    with gr.Row():
        answer = gr.Button(_("Answer"), variant="primary", visible=False)
        following = gr.Button(_("Next question"), visible=False)
    outcome = gr.HTML()
    same = gr.HTML(same_as(MODEL, PAPER, 0))

    says = studio.says
    shown = [state, question, options, answer, following, outcome]
    begin.click(says(lambda data, seed: asked({"data": data, "seed": int(seed or 0)})), [data, seed], shown, **QUIET)
    answer.click(
        says(lambda state, model, choice: answered(state, model, choice)),
        [state, model, options],
        [state, options, answer, following, outcome],
        **QUIET,
    )
    following.click(says(lambda state: asked(state)), [state], shown, **QUIET)
    studio.on_change([data, seed, model], same_as, [model, data, seed], same)
    data.change(says(lambda name: needed(studio, name)), data, [empty, begin], **QUIET)
    studio.opened(lambda query: opened(studio, query), [model, data, empty, begin])


def opened(studio: Studio, query: Mapping[str, str]) -> list[Any]:
    """Return the models to choose from, an available paper, and what is missing.

    The model in the address is selected.
    """
    import gradio as gr

    offered = models(studio)
    wanted = query.get("run") or query.get("system") or MODEL
    known = [name for _shown, name in offered]
    there = next((name for name in paper_names() if load.names()[name].where()), PAPER)
    return [gr.update(choices=offered, value=wanted if wanted in known else MODEL), there, *needed(studio, there)]


def needed(studio: Studio, data: str) -> list[Any]:
    """Return what the paper lacks, and whether the exam can begin."""
    import gradio as gr

    there = load.names()[data].where() is not None
    text = _("The paper {name} is made of a dictionary that is not on this computer yet.")
    return ["" if there else missing(text.format(name=data), fetching(studio, data)), gr.update(interactive=there)]


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

    if data not in paper_names() or not 0 <= seed <= MOST_SEED:
        raise UserError("data", data[:60], expected=", ".join(paper_names()))
    cases = load.paper(data, seed, ("questions",), "questions")
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(seed))
    return cases.only(order[:500])


def asked(state: Mapping[str, Any]) -> list[Any]:
    """Show the next question of the paper."""
    import gradio as gr

    row = int(state.get("row", -1)) + 1
    cases = paper(str(state.get("data", "")), int(state.get("seed", 0)))
    if row >= len(cases):
        return [
            state,
            "",
            gr.update(visible=False),
            *[gr.update(visible=False)] * 2,
            status(_("That was the last question.")),
        ]
    question = cases.input[row]
    text = Markup('<section aria-live="polite"><h2>{}</h2><p class="lead">{}</p></section>').format(
        _("Question {number}").format(number=row + 1), question.text
    )
    lettered = list(zip(lines(question.options), range(len(question.options)), strict=True))
    return [
        {**state, "row": row},
        text,
        gr.update(choices=lettered, value=None, visible=True, interactive=True),
        gr.update(visible=True),
        gr.update(visible=False),
        tally(state),
    ]


def answered(state: Mapping[str, Any], model: str, choice: int | None) -> list[Any]:
    """Show whether the answer was right, and the model's answer."""
    import gradio as gr

    if choice is None:
        raise UserError("nothing given", _("no option was chosen yet"), expected=_("one of the options"))
    row = int(state["row"])
    cases = paper(str(state["data"]), int(state["seed"]))
    question, key = cases.input[row], int(cases.target[row])
    said = picked(model, question)
    own, theirs = int(choice) == key, said[0] == key
    now = {
        **state,
        "own": int(state.get("own", 0)) + own,
        "model": int(state.get("model", 0)) + theirs,
        "count": int(state.get("count", 0)) + 1,
    }
    verdict = _("Right.") if own else _("Wrong.")
    told = [
        f"{verdict} {_('The right option: {option}').format(option=lines(question.options)[key])}",
        _("{model} picks {option}, with a confidence of {share}: {verdict}").format(
            model=Path(model).name,
            option=lines(question.options)[said[0]],
            share=units.percent(said[1]),
            verdict=_("that is right") if theirs else _("that is wrong"),
        ),
    ]
    return [
        now,
        gr.update(interactive=False),
        gr.update(visible=False),
        gr.update(visible=True),
        Markup("{}{}").format(status(*told), tally(now)),
    ]


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


def tally(state: Mapping[str, Any]) -> Markup:
    """Return the number of correct answers so far."""
    count = int(state.get("count", 0))
    if not count:
        return Markup()
    return Markup("<p>{}</p>").format(
        _("Of {count}: you {own}, the model {model}.").format(count=count, own=state["own"], model=state["model"])
    )


def same_as(model: str, data: str, seed: float | None) -> Markup:
    """Return the command line and Python code that give the whole paper to the model."""
    number = int(seed or 0)
    line = command(words("exam", [model], {"data": data, "seed": number}))
    python = f"from souron.studies.exam import Exam\nExam().result({model!r}, data={data!r}, seed={number}).as_json()"
    return same_thing(line, python)
