"""Chat with a language model; its answer appears while it is generated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.hub import packages
from souron.studio import chat_view
from souron.studio.chat_view import Talk
from souron.studio.forms.confirm import NARROW
from souron.studio.security import upload_names
from souron.studio.shared import QUIET, Studio, command, fetching, missing, same_thing, status, words
from souron.utils.messages import N_, _

TITLE = N_("Chat")
OFTEN = 0.3  # polling interval of an answer, seconds
KEPT = 3600  # seconds that a page's chat is kept in memory
SCREENING = "from souron.evaluation.harmful import filters\ntalk.screening = filters.named({filter!r}).screen\n"
USUAL: dict[str, Any] = {  # as in souron chat
    "length": 256,
    "temperature": 0.8,
    "seed": 0,
    "filter": "both",
    "engine": "",
}


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Chat with a language model"),
            _("The model runs on this computer, and what is said stays here. What it answers may be wrong."),
        )
    )
    Chatting(studio)


class Chatting:
    """The form, the chat, and the polling of an answer."""

    def __init__(self, studio: Studio) -> None:
        import gradio as gr

        self.studio = studio
        self.talk = gr.State(None, time_to_live=KEPT, delete_callback=end)
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                self._build_chat()
            with gr.Column(scale=2, min_width=300):
                self._build_settings()
        self.same = gr.HTML()
        self.clock = gr.Timer(OFTEN, active=False)
        self.drawn = [
            self.talk,
            self.chat,
            self.now,
            self.figures,
            self.ask,
            self.stop,
            self.again,
            self.which,
            self.save,
            self.clock,
            self.same,
            self.text,
        ]
        self._connect()

    def _build_settings(self) -> None:
        import gradio as gr

        self.system = gr.Textbox(
            label=_("system prompt"),
            lines=2,
            max_lines=8,
            max_length=20_000,
            info=_("what stands before the conversation; empty: the model's own"),
        )
        self.length = gr.Slider(1, 4096, USUAL["length"], step=1, label=_("tokens of an answer at most"))
        self.temperature = gr.Slider(
            0,
            2,
            USUAL["temperature"],
            step=0.05,
            label=_("temperature"),
            info=_("0 takes the likeliest token, 1 samples as the model says"),
        )
        self.seed = gr.Number(USUAL["seed"], label=_("seed"), precision=0, minimum=0)
        self.filter = gr.Dropdown(
            chat_view.filters(),
            value=USUAL["filter"],
            label=_("withhold harmful sentences"),
            info=_("each sentence is judged before it is shown; see the page on harmful output"),
        )
        engines = chat_view.engines()
        self.engine = gr.Dropdown(
            engines,
            value=USUAL["engine"],
            label=_("engine"),
            info=_("llama.cpp runs a .gguf file as it is, and often faster"),
            visible=len(engines) > 1,
        )
        self.settings: list[Any] = [
            self.model,
            self.system,
            self.length,
            self.temperature,
            self.seed,
            self.filter,
            self.engine,
        ]
        with gr.Accordion(_("The model's template"), open=False):
            self.show = gr.Button(_("Show it"), **NARROW)
            self.template = gr.HTML()
        with gr.Accordion(_("A saved chat"), open=False):
            self.file = gr.File(label=_("continue a saved chat (JSON)"), file_types=[".json"])
            upload_names.received(self.file)

    def _build_chat(self) -> None:
        import gradio as gr

        self.model = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label=_("model"),
            info=_("or the path of a .gguf file, or of a folder with a published model"),
        )
        self.nothing = gr.HTML()
        self.chat = gr.HTML()
        self.now = gr.HTML()
        self.figures = gr.HTML()
        self.which = gr.Dropdown(
            chat_view.questions(Talk()),
            value=0,
            label=_("ask"),
            info=_("an earlier question can be rephrased; what came after it goes"),
        )
        self.text = gr.Textbox(
            label=_("your question"),
            lines=1,
            max_lines=10,
            max_length=200_000,
            info=_("Enter sends it, Shift and Enter begin a new line"),
        )
        with gr.Row():
            self.ask = gr.Button(_("Send"), variant="primary", min_width=120)
            self.stop = gr.Button(_("Stop"), interactive=False, min_width=120)
            self.again = gr.Button(_("Answer again"), interactive=False, min_width=120)
            self.clear = gr.Button(_("New chat"), min_width=120)
        self.save = gr.HTML()

    def _connect(self) -> None:
        says = self.studio.says
        given = [self.talk, self.which, self.text, *self.settings]
        for event in (self.ask.click, self.text.submit):
            event(says(self.send), given, self.drawn, **QUIET)
        self.again.click(says(self.answer_again), [self.talk, *self.settings], [self.seed, *self.drawn], **QUIET)
        self.stop.click(says(self.stop_it), [self.talk, *self.settings], self.drawn, **QUIET)
        self.clear.click(says(self.begin_anew), [self.talk, *self.settings], self.drawn, **QUIET)
        self.clock.tick(says(self.look), [self.talk, *self.settings], self.drawn, **QUIET)
        self.which.input(says(self.fill), [self.talk, self.which], self.text, **QUIET)
        self.file.upload(says(self.load), [self.talk, self.file, *self.settings], [self.system, *self.drawn], **QUIET)
        self.show.click(says(self.show_template), [self.talk, self.model], self.template)
        self.model.change(says(lambda: ""), None, self.template, **QUIET)
        self.model.change(says(self.about), self.model, self.nothing, **QUIET)
        self.model.change(says(temperature_of), self.model, self.temperature, **QUIET)
        self.studio.on_change(self.settings, self.the_same, [*self.settings, self.talk], self.same)
        self.studio.opened(self.offer, [self.model, self.nothing, self.chat, self.same])

    def offer(self, query: Mapping[str, str]) -> list[Any]:
        """Return the available models; selected is the one in the address, or the best to talk with."""
        import gradio as gr

        from souron.hub import open_models

        offered = chat_view.choices(self.studio)
        wanted = query.get("model") or query.get("run") or ""
        if wanted and wanted not in [name for _shown, name in offered]:
            offered.append((wanted, wanted))
        value = wanted or open_models.conversing() or None
        about = self.about(value)
        usual = [USUAL[key] for key in ("seed", "filter", "engine")]
        same = self.the_same(value, "", USUAL["length"], temperature_of(value), *usual)
        return [gr.update(choices=offered, value=value), about, chat_view.shown(Talk()), same]

    def about(self, name: str | None) -> Markup | str:
        """Return a note on the model, or on the lack of one."""
        way = fetching(self.studio, next(iter(packages.MODELS)))
        if not name:
            return missing(_("No language model for conversations is here yet."), way)
        if cautions := chat_view.cautions(self.studio, name):
            return missing(" ".join(cautions), way)
        if not chat_view.only_continues(self.studio, name):
            return ""
        text = _(
            "{name} cannot answer questions: it was trained on texts alone, not on "
            "conversations, and continues what you write in their style. For answers choose a "
            "model that was trained on conversations."
        )
        return missing(
            text.format(name=Path(name).name),
            way,
            (self.studio.url("train", system="gpt", data="manners"), _("Train on conversations")),
        )

    def send(self, talk: Talk | None, which: int, text: str, *settings: Any) -> list[Any]:
        """Send a new question, or an edited earlier one."""
        talk, number = talk or Talk(), int(which or 0)
        name, options = self.asked(settings)
        if not text.strip():
            drawn = self.draw(talk, settings)
            drawn[2] = status(_("Type a question first."))
            return drawn
        if number:
            talk.begin(name, options, lambda talking: talking.edit(number, text), text)
        else:
            talk.begin(name, options, lambda talking: talking.ask(text), text)
        return self.draw(talk, settings, "")

    def answer_again(self, talk: Talk | None, *settings: Any) -> list[Any]:
        """Answer the last question again with the next seed."""
        talk = talk or Talk()
        name, options = self.asked(settings)
        options["seed"] += 1
        seed = options["seed"]
        talk.begin(name, options, lambda talking: talking.again(seed))
        return [seed, *self.draw(talk, settings)]

    def stop_it(self, talk: Talk | None, *settings: Any) -> list[Any]:
        end(talk)
        return self.draw(talk or Talk(), settings)

    def begin_anew(self, talk: Talk | None, *settings: Any) -> list[Any]:
        end(talk)
        return self.draw(Talk(), settings, "")

    def look(self, talk: Talk | None, *settings: Any) -> list[Any]:
        """Return what changed since the last poll; everything once the answer is complete."""
        import gradio as gr

        talk = talk or Talk()
        if not talk.writing:
            return self.draw(talk, settings)
        same = [gr.skip()] * len(self.drawn)
        if talk.turns_shown != len(talk.chat.turns):
            talk.turns_shown = len(talk.chat.turns)
            same[1] = chat_view.shown(talk)
        same[2:4] = [chat_view.coming(talk), chat_view.figures(talk)]
        return same

    def draw(self, talk: Talk, settings: Sequence[Any], text: str | None = None) -> list[Any]:
        """Return values for ``drawn``; ``text`` is for the question's field.

        A refused question returns to that field.
        """
        import gradio as gr

        writing, asked = talk.writing, chat_view.questions(talk)
        talk.turns_shown = -1
        if not writing and talk.asked and text is None:
            text, talk.asked = talk.asked, ""
        return [
            talk,
            chat_view.shown(talk),
            chat_view.coming(talk),
            chat_view.figures(talk),
            gr.update(interactive=not writing),
            gr.update(interactive=writing),
            gr.update(interactive=not writing and len(asked) > 1),
            gr.update(choices=asked, value=0),
            "" if writing else chat_view.saved(talk),
            gr.Timer(OFTEN, active=writing),
            self.the_same(*settings, talk),
            gr.skip() if text is None else text,
        ]

    def asked(self, settings: Any) -> tuple[str, dict[str, Any]]:
        """Return the model and the options of a ``Conversation``. Raises UserError."""
        name, system, length, temperature, seed, filter, engine = settings
        options = {
            "system": system or "",
            "length": int(length),
            "temperature": float(temperature),
            "seed": max(0, int(seed or 0)),
            "filter": str(filter or ""),
            "engine": str(engine or ""),
        }
        return chat_view.model_name(self.studio, name), options

    def fill(self, talk: Talk | None, which: int) -> str:
        return chat_view.question(talk or Talk(), int(which or 0))

    def load(self, talk: Talk | None, file: str | None, *settings: Any) -> list[Any]:
        """Replace the chat by a saved one."""
        import gradio as gr

        if not file:
            return [gr.skip()] * (1 + len(self.drawn))
        read = chat_view.read(file)
        end(talk)
        prompts = [turn.text for turn in read.chat.turns if turn.role == "system"]
        return ["\n".join(prompts), *self.draw(read, settings)]

    def show_template(self, talk: Talk | None, name: str | None) -> Markup:
        return chat_view.template(chat_view.model_name(self.studio, name), talk or Talk())

    def the_same(self, *values: Any) -> Markup:
        """Return the settings and the chat as a command line, in Python, and over HTTP."""
        name, system, length, temperature, seed, filter, engine, *rest = values
        talk: Talk | None = rest[0] if rest else None
        model = str(name or "smollm2")
        asked = [turn.text for turn in talk.chat.turns if turn.role == "user"] if talk else []
        last = asked[-1] if asked else _("What is anaesthesia?")
        changed = {
            key: value
            for key, value in (
                ("system", system),
                ("length", int(length or 0)),
                ("temperature", temperature),
                ("seed", int(seed or 0)),
            )
            if value not in ("", None, temperature_of(name) if key == "temperature" else USUAL.get(key))
        }
        filtered = {"filter": filter or "none"} if filter != USUAL["filter"] else {}
        served = {"filter": filter} if filter else {}
        run_by = {"engine": engine} if engine else {}
        loaded = f"souron.load({model!r}, engine={engine!r})" if engine else f"souron.load({model!r})"
        said = ", ".join(f"{key}={value!r}" for key, value in changed.items())
        return same_thing(
            command(words("chat", [model, str(last)], changed | filtered | run_by)),
            f"import souron\ntalk = {loaded}.chat({said})\n"
            + (SCREENING.format(filter=filter) if filter else "")
            + f"print(talk.say({str(last)!r}))",
            (_("for programs that speak OpenAI's API"), command(words("serve", [model], served | run_by))),
        )


def temperature_of(name: str | None) -> float:
    """Return the model's own temperature, or the default."""
    from souron.hub import open_models

    own = open_models.own_sampling(str(name or "smollm2"))[0]
    return USUAL["temperature"] if own is None else own


def end(talk: Talk | None) -> None:
    if talk is not None:
        talk.stop()
