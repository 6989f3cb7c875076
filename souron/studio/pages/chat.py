"""Chat with a language model; its answer appears while it is generated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.hub import packages
from souron.studio import chat_view
from souron.studio.chat_view import Talk, talks
from souron.studio.forms import controls
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, fetching, missing, same_thing, status, words
from souron.utils.messages import N_, UserError, _

TITLE = N_("Chat")
OFTEN = "300ms"  # polling interval of an answer
PATIENCE = 2.0  # seconds in which a stopped answer ends
MOST_LENGTH, MOST_TEMPERATURE, MOST_SEED = 4096, 2.0, 2**53
SCREENING = "from souron.evaluation.harmful import filters\ntalk.screening = filters.named({filter!r}).screen\n"
USUAL: dict[str, Any] = {  # as in souron chat
    "system": "",
    "length": 256,
    "temperature": 0.8,
    "seed": 0,
    "filter": "both",
    "engine": "",
}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    """Return the page; selected is the model in the address, or the best to talk with."""
    from souron.hub import open_models

    model = query.get("model") or query.get("run") or open_models.conversing() or ""
    file = controls.labelled(_("continue a saved chat (JSON)"), controls.files("file", [".json"]))
    how = {"id": "saved", "hx_trigger": "change", "hx_include": "#form"}
    return Markup('{}<div data-module="/static/chat.js">{}</div>{}').format(
        controls.page_head(
            _("Chat with a language model"),
            _("The model runs on this computer, and what is said stays here. What it answers may be wrong."),
        ),
        whole(studio, "", usual(model)),
        controls.folded(_("A saved chat"), controls.form(studio, "chat", "load", file, "#form", **how)),
    )


def usual(model: str) -> dict[str, Any]:
    """Return the settings of a model as long as nobody changes them."""
    return {"model": model, **USUAL, "temperature": temperature_of(model)}


def temperature_of(name: str) -> float:
    """Return the model's own temperature, or the default."""
    from souron.hub import open_models

    own = open_models.own_sampling(name or "smollm2")[0]
    return USUAL["temperature"] if own is None else own


def whole(studio: Studio, id: str, settings: Mapping[str, Any], **how: Any) -> Markup:
    """Return the form: the model, the chat of that id, and the ``settings`` beside it."""
    left = Markup("{}{}{}").format(
        model_field(studio, settings["model"]), about(studio, settings["model"]), region(studio, id, **how)
    )
    right = settings_fields(studio, settings, id)
    same = controls.attributes(
        {
            "hx_post": controls.part(studio, "chat", "same"),
            "hx_trigger": "change from:#form delay:200ms",
            "hx_swap": "innerMorph",
        }
    )
    content = Markup('<div class="columns chat"><div>{}</div><div>{}</div></div><div id="same"{}>{}</div>').format(
        left, right, same, the_same(talks.get(id), settings)
    )
    return controls.form(studio, "chat", "send", content, "#talk")


def model_field(studio: Studio, model: str) -> Markup:
    other = _("or the path of a .gguf file, or of a folder with a published model")
    field = controls.labelled(_("model"), controls.either("model", chat_view.choices(studio), model, other))
    redraw = {"hx_post": controls.part(studio, "chat", "model"), "hx_trigger": "change"}
    return Markup("<div{}>{}</div>").format(
        controls.attributes({**redraw, "hx_target": "#form", "hx_swap": "outerMorph"}), field
    )


def about(studio: Studio, name: str) -> Markup | str:
    """Return a note on the model, or on the lack of one."""
    way = fetching(studio, next(iter(packages.MODELS)))
    if not name:
        return missing(_("No language model for conversations is here yet."), way)
    if cautions := chat_view.cautions(studio, name):
        return missing(" ".join(cautions), way)
    if not chat_view.only_continues(studio, name):
        return ""
    text = _(
        "{name} cannot answer questions: it was trained on texts alone, not on "
        "conversations, and continues what you write in their style. For answers choose a "
        "model that was trained on conversations."
    )
    return missing(
        text.format(name=Path(name).name),
        way,
        (studio.url("train", system="gpt", data="manners"), _("Train on conversations")),
    )


def region(studio: Studio, id: str, focus: str = "", note: str = "") -> Markup:
    """Return the chat and the field of its next question; it asks for itself anew while an answer is generated.

    ``focus`` is what has the focus then: "question", "stop" or "again".
    """
    talk = talks.get(id)
    writing, asked = talk.writing, chat_view.asked(talk)
    polls = {
        "hx_get": f"{controls.part(studio, 'chat', 'look')}?talk={id}",
        "hx_trigger": f"every {OFTEN}",
        "hx_swap": "outerMorph",
    }
    return Markup('<div id="talk"{}><input type="hidden"{}>{}{}{}{}{}<p class="actions">{}{}{}{}</p>{}</div>').format(
        controls.attributes(polls if writing else {}),
        controls.attributes({"name": "talk", "value": id}),
        chat_view.shown(talk),
        note or chat_view.coming(talk),
        chat_view.figures(talk),
        "" if writing or not asked else earlier(studio, talk),
        question(talk, focus == "question"),
        controls.press(_("Send"), first=True, disabled=writing),
        _press(studio, "stop", _("Stop"), writing, focus),
        _press(studio, "again", _("Answer again"), bool(asked) and not writing, focus),
        _press(studio, "new", _("New chat"), True, focus),
        "" if writing else chat_view.saved(talk),
    )


def _press(studio: Studio, name: str, label: str, enabled: bool, focus: str) -> Markup:
    target = "#form" if name == "again" else "#talk"  # the next seed is among the settings
    sends: dict[str, Any] = {"hx_post": controls.part(studio, "chat", name), "hx_target": target}
    return controls.press(label, id=name, disabled=not enabled, autofocus=focus == name, hx_swap="outerMorph", **sends)


def earlier(studio: Studio, talk: Talk) -> Markup:
    """Return the list of the questions so far, of which one can be asked anew."""
    fills = {"hx_post": controls.part(studio, "chat", "fill"), "hx_target": "#question", "hx_swap": "outerMorph"}
    return controls.labelled(
        _("ask"),
        controls.chooser("which", chat_view.questions(talk), "0", **fills),
        _("an earlier question can be rephrased; what came after it goes"),
    )


def question(talk: Talk, focus: bool = False) -> Markup:
    """Return the field of a question; it has another id whenever its text is set, and is then drawn anew."""
    field = controls.area(
        "question", talk.text, id=f"question-{talk.fields}", rows=2, maxlength=200_000, autofocus=focus
    )
    info = _("Enter sends it, Shift and Enter begin a new line")
    return Markup('<div id="question">{}</div>').format(controls.labelled(_("your question"), field, info))


def settings_fields(studio: Studio, settings: Mapping[str, Any], id: str) -> Markup:
    """Return the fields of the settings; the system prompt is another one for each chat, and thus drawn anew."""
    engines = chat_view.engines()
    show: dict[str, Any] = {
        "hx_post": controls.part(studio, "chat", "template"),
        "hx_target": "#template",
        "hx_swap": "innerHTML",
    }
    fields = [
        controls.labelled(
            _("system prompt"),
            controls.area("system", settings["system"], id=f"system-{id}", maxlength=20_000),
            _("what stands before the conversation; empty: the model's own"),
        ),
        controls.labelled(
            _("tokens of an answer at most"), controls.number("length", settings["length"], 1, MOST_LENGTH)
        ),
        controls.labelled(
            _("temperature"),
            controls.number("temperature", settings["temperature"], 0, MOST_TEMPERATURE, 0.05),
            _("0 takes the likeliest token, 1 samples as the model says"),
        ),
        controls.labelled(_("seed"), controls.number("seed", settings["seed"], 0, MOST_SEED)),
        controls.labelled(
            _("withhold harmful sentences"),
            controls.chooser("filter", chat_view.filters(), settings["filter"]),
            _("each sentence is judged before it is shown; see the page on harmful output"),
        ),
        controls.labelled(
            _("engine"),
            controls.chooser("engine", engines, settings["engine"]),
            _("llama.cpp runs a .gguf file as it is, and often faster"),
        )
        if len(engines) > 1
        else Markup(),
        controls.folded(
            _("The model's template"),
            Markup('{}<div id="template"></div>').format(controls.press(_("Show it"), **show)),
        ),
    ]
    return Markup('<div class="form">{}</div>').format(Markup("").join(fields))


def settings_of(form: Posted) -> dict[str, Any]:
    """Return the settings as a form has them."""
    return {"model": controls.chosen(form, "model"), **{name: form[name] for name in USUAL}}


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as options of a ``Conversation``. Raises UserError."""
    bounds: dict[str, tuple[str, type, float]] = {
        "length": (_("tokens of an answer at most"), int, MOST_LENGTH),
        "temperature": (_("temperature"), float, MOST_TEMPERATURE),
        "seed": (_("seed"), int, MOST_SEED),
    }
    numbers = {
        name: controls.number_of(str(settings[name]), label, kind, int(name == "length"), high)
        for name, (label, kind, high) in bounds.items()
    }
    return {name: numbers.get(name, settings[name]) for name in USUAL}


def send(studio: Studio, form: Posted) -> Markup:
    """Send a new question, or an edited earlier one. Raises UserError."""
    id, settings, text = form["talk"], settings_of(form), form["question"]
    talk = talks.get(id)
    if not text.strip():
        return region(studio, id, "question", status(_("Type a question first.")))
    number = int(form["which"]) if form["which"].isdecimal() else 0
    model, options = chat_view.model_name(studio, settings["model"]), options_of(settings)
    talk.begin(model, options, lambda talking: talking.edit(number, text) if number else talking.ask(text), text)
    return changed(studio, id or talks.add(talk), settings, "question")


def changed(studio: Studio, id: str, settings: Mapping[str, Any], focus: str) -> Markup:
    """Return the chat of that id, and the same elsewhere."""
    return region(studio, id, focus) + Markup('<div id="same" hx-swap-oob="innerMorph">{}</div>').format(
        the_same(talks.get(id), settings)
    )


def again(studio: Studio, form: Posted) -> Markup:
    """Answer the last question again with the next seed. Raises UserError."""
    settings = settings_of(form)
    options = options_of(settings)
    seed = settings["seed"] = options["seed"] = options["seed"] + 1
    model = chat_view.model_name(studio, settings["model"])
    talks.get(form["talk"]).begin(model, options, lambda talking: talking.again(seed))
    return whole(studio, form["talk"], settings, focus="stop")


def stop(studio: Studio, form: Posted) -> Markup:
    """End an answer; what has come of it stays."""
    talk = talks.get(form["talk"])
    talk.stop()
    if talk.thread is not None:
        talk.thread.join(PATIENCE)
    return region(studio, form["talk"], "again")


def new(studio: Studio, form: Posted) -> Markup:
    talks.drop(form["talk"])
    return changed(studio, "", settings_of(form), "question")


def load(studio: Studio, form: Posted) -> Markup:
    """Replace the chat by a saved one. Raises UserError."""
    settings = settings_of(form)
    files = form.paths("file")
    if not files:
        return whole(studio, form["talk"], settings)
    talk = chat_view.read(files[0])
    talks.drop(form["talk"])
    settings["system"] = "\n".join(turn.text for turn in talk.chat.turns if turn.role == "system")
    return whole(studio, talks.add(talk), settings, focus="question")


def model(studio: Studio, form: Posted) -> Markup:
    """Return the form for another model, with its own temperature."""
    settings = settings_of(form)
    return whole(studio, form["talk"], {**settings, "temperature": temperature_of(settings["model"])})


def look(studio: Studio, form: Posted) -> Markup:
    """Return the chat as it is now; an empty one with the reason where it is not kept any more."""
    try:
        return region(studio, form["talk"])
    except UserError as error:
        return region(studio, "", note=chat_view.failure(error))


def fill(studio: Studio, form: Posted) -> Markup:
    """Return the field with the earlier question that was chosen."""
    talk = talks.get(form["talk"])
    questions, number = ["", *chat_view.asked(talk)], form["which"]
    talk.fill(questions[int(number)] if number.isdecimal() and int(number) < len(questions) else "")
    return question(talk)


def template(studio: Studio, form: Posted) -> Markup:
    return chat_view.template(chat_view.model_name(studio, controls.chosen(form, "model")), talks.get(form["talk"]))


def same(studio: Studio, form: Posted) -> Markup:
    return the_same(talks.get(form["talk"]), settings_of(form))


def the_same(talk: Talk, settings: Mapping[str, Any]) -> Markup:
    """Return the settings and the chat as a command line, in Python, and over HTTP."""
    try:
        options = options_of(settings)
    except UserError:  # somebody is still typing; Send says what is wrong
        return Markup()
    model = settings["model"] or "smollm2"
    filter, engine = options["filter"], options["engine"]
    last = talk.asked or (chat_view.asked(talk) or [_("What is anaesthesia?")])[-1]
    most_often = usual(model)
    changed = {
        name: options[name] for name in ("system", "length", "temperature", "seed") if options[name] != most_often[name]
    }
    filtered = {"filter": filter or "none"} if filter != USUAL["filter"] else {}
    served = {"filter": filter} if filter else {}
    run_by = {"engine": engine} if engine else {}
    loaded = f"souron.load({model!r}, engine={engine!r})" if engine else f"souron.load({model!r})"
    said = ", ".join(f"{key}={value!r}" for key, value in changed.items())
    return same_thing(
        command(words("chat", [model, last], changed | filtered | run_by)),
        f"import souron\ntalk = {loaded}.chat({said})\n"
        + (SCREENING.format(filter=filter) if filter else "")
        + f"print(talk.say({last!r}))",
        (_("for programs that speak OpenAI's API"), command(words("serve", [model], served | run_by))),
    )


PARTS = {
    "send": send,
    "again": again,
    "stop": stop,
    "new": new,
    "load": load,
    "model": model,
    "look": look,
    "fill": fill,
    "template": template,
    "same": same,
}
