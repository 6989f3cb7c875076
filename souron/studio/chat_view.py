"""A conversation on a page: the model, the answer while it is generated, and its HTML.

The answer is generated in a thread of the server, which the page polls a few times a second. Text
from the model is always shown as plain text, never as HTML.
"""

import base64
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import names, packages, zoo
from souron.kinds.chat import Chat
from souron.runs import folder as run_folder
from souron.studio.runs import run_list
from souron.studio.shared import Studio, remarks
from souron.utils import extras
from souron.utils.files import as_json
from souron.utils.messages import N_, UserError, _, again

SPEAKERS = {"user": N_("you"), "assistant": N_("the model"), "system": N_("system prompt")}
MOST_SAVED = 1_500_000  # bytes of a chat that a link holds
MOST_KEPT = 100  # chats in memory
KEPT = 3600.0  # seconds that a chat is kept in memory after its page last asked for it


@dataclass
class Talk:
    """The chat of one open page; a thread generates ``answer``."""

    chat: Chat = field(default_factory=lambda: Chat(()))
    answer: Any = None  # while it is generated
    reply: Any = None  # the latest answer with its figures, once it is complete
    error: UserError | None = None
    thread: threading.Thread | None = None
    template: str | None = None  # of the model that answered last
    stopping: bool = False
    asked: str = ""  # the question, until its answer begins; it returns to its field on an error
    text: str = ""  # what the question's field is drawn with
    fields: int = 0  # how often that was set: the number of the field
    filtered: Any = None  # filter of its answers
    used: float = 0.0  # when its page last asked for it

    @property
    def writing(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def latest(self) -> Any:
        """The latest answer with its figures, as far as it has come; None before it begins."""
        return self.reply if self.answer is None else self.answer.reply

    def fill(self, text: str) -> None:
        """Set the text of the question's field."""
        self.text, self.fields = text, self.fields + 1

    def begin(self, name: str, options: Mapping[str, Any], ask: Callable[[Any], Any], asked: str = "") -> None:
        """Let a model answer in a thread.

        ``ask`` asks a ``Conversation``; ``asked`` is the question as typed. Raises UserError while
        an earlier answer is being generated.
        """
        if self.writing:
            raise UserError("busy", _("an answer is being written"), fix=_("stop it first"))
        self.answer = self.reply = self.error = None
        self.stopping, self.asked = False, asked
        if asked:
            self.fill("")
        work = (name, dict(options), ask)
        self.thread = threading.Thread(target=self._write, args=work, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopping = True
        if self.answer is not None:
            self.answer.stop()

    def _write(self, name: str, options: dict[str, Any], ask: Callable[[Any], Any]) -> None:
        from souron.serve.service import as_user_error
        from souron.studio.model_cache import models

        try:
            with models.answering(name, options.pop("engine", "")) as model:
                talk = self._ask(model, options, ask)
            talk.read_ahead()
        except Exception as error:
            self.error = as_user_error(error)
            if self.asked:
                self.fill(self.asked)
                self.asked = ""
        finally:
            self.answer = None  # it holds the whole model

    def _ask(self, model: Any, options: dict[str, Any], ask: Callable[[Any], Any]) -> Any:
        """Answer, and return the ``Conversation``."""
        from souron.evaluation.language.conversation import Conversation

        system, length = options.pop("system"), options.pop("length")
        filtered = self._filter(options.pop("filter", ""))
        talk = Conversation(
            model.voice, self.chat, length, model.voice.sampling(**options), filtered.screen if filtered else None
        )
        talk.system(system)
        self.template = model.voice.template
        answer = ask(talk)
        self.chat, self.answer, self.asked = talk.chat, answer, ""
        if self.stopping:
            answer.stop()
        try:
            for _part in answer:
                pass
        finally:
            self.reply = talk.keep(answer)
            self.chat = talk.chat
        return talk

    def _filter(self, way: str) -> Any:
        """Return the chat's own filter, which keeps what it withholds; None without one."""
        from souron.evaluation.harmful.filters import named

        if self.filtered is None or self.filtered.way != way:
            self.filtered = named(way)
        return self.filtered


class Talks:
    """The chats of a server's open pages, by an id that cannot be guessed."""

    def __init__(self, most: int = MOST_KEPT, seconds: float = KEPT) -> None:
        self.most, self.seconds = most, seconds
        self.talks: OrderedDict[str, Talk] = OrderedDict()  # most recently used last
        self.guard = threading.Lock()

    def add(self, talk: Talk) -> str:
        """Keep a chat and return its id; those that nobody asks for any more end."""
        id = secrets.token_hex(12)
        now = talk.used = time.monotonic()
        with self.guard:
            self.talks[id] = talk
            while len(self.talks) > self.most or now - next(iter(self.talks.values())).used > self.seconds:
                self.talks.popitem(last=False)[1].stop()
        return id

    def get(self, id: str) -> Talk:
        """Return the chat of an id, a new one for "". Raises UserError where it is not kept any more."""
        with self.guard:
            talk = self.talks.get(id) if id else Talk()
            if talk is None:
                raise UserError(
                    "missing",
                    _("this chat is not in memory any more"),
                    fix=_("save it as a file, and load that file into a new chat"),
                )
            if id:
                self.talks.move_to_end(id)
                talk.used = time.monotonic()
        return talk

    def drop(self, id: str) -> None:
        """End a chat, if there is one of that id."""
        with self.guard:
            talk = self.talks.pop(id, None)
        if talk is not None:
            talk.stop()


talks = Talks()  # of this server


def filters() -> list[tuple[str, str]]:
    """Return (shown, value) of the filters of a model's output."""
    from souron.evaluation.harmful.ways import WAY_NAMES, WAYS

    return [(_("no filter"), ""), *((_(WAY_NAMES[way]), way) for way in WAYS)]


def engines() -> list[tuple[str, str]]:
    """Return (shown, value) of what runs a .gguf file here."""
    own = [(_("souron's own"), "")]
    return [*own, ("llama.cpp", "llama")] if extras.installed("llama") else own


def withheld(talk: Talk) -> Markup:
    """Return the number of withheld sentences; a click shows them with their reasons."""
    from souron.evaluation.harmful import judges

    found = talk.latest.withheld if talk.latest is not None else ()
    if not found:
        return Markup("")
    items = Markup("").join(Markup("<li>{}: {}</li>").format(judges.reason(one), one.sentence) for one in found)
    said = _("{count} sentences were withheld. Show them: they may hurt.").format(count=len(found))
    return Markup("<details><summary>{}</summary><ul>{}</ul></details>").format(said, items)


def choices(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, name) of the models on this computer, the best to talk with first, and runs last."""
    from souron.hub import fetch, open_models

    found = [
        (f"{name} – {registry.about(one)}", name)
        for name, one in packages.MODELS.items()
        if fetch.where(name) is not None
    ]
    runs = [
        (" – ".join(filter(None, (run.name, ", ".join(run.systems), zoo.nature(run.folder)))), str(run.folder))
        for run in run_list.runs(studio.project)
        if registry.talks(run.task) and run.state != "damaged"
        if (run.folder / "weights" / "best.safetensors").is_file()
    ]
    entries = registry.entries()
    ready = [
        (" – ".join(filter(None, (name, _("ready trained"), zoo.nature(zoo.where(name))))), name)
        for name in (*filter(zoo.where, entries), *zoo.variants())
        if registry.talks(entries[zoo.system_of(name)].task)
    ]
    best = open_models.conversing()
    return sorted([*found, *ready, *runs], key=lambda one: one[1] != best)


def cautions(studio: Studio, name: str) -> list[str]:
    """Return warnings about a run or ready-trained system that is to answer."""
    try:
        meaning = names.by_name(name)
        folder = meaning.folder if isinstance(meaning, names.Ready) else run_list.find(studio.project, name)
    except UserError:
        return []
    return zoo.weaknesses(folder)


def only_continues(studio: Studio, name: str) -> bool:
    """Return whether a run or ready-trained system was trained on plain text only."""
    try:
        meaning = names.by_name(name)
        folder = meaning.folder if isinstance(meaning, names.Ready) else run_list.find(studio.project, name)
        seen = run_folder.read_args(folder).get("seen")
    except UserError:
        return False
    if not isinstance(seen, dict) or not seen.get("tokenizer"):  # a published model's own
        return False
    return seen.get("lesson", "text") == "text"


def model_name(studio: Studio, text: str | None) -> str:
    """Return the chosen or typed model's name, as ``model_cache`` takes it.

    Raises UserError for a path outside of the allowed folders.
    """
    name = (text or "").strip()
    if not name:
        raise UserError(
            "model",
            _("no model was chosen"),
            expected=_("one of the list, or the path of a .gguf file"),
            fix="souron fetch smollm2",
            exit=4,
        )
    if names.by_name(name) is not None:
        return name
    with suppress(UserError):
        return str(run_list.find(studio.project, name))
    return str(studio.roots.check(name))


def shown(talk: Talk) -> Markup:
    """Return the chat so far, with marks on messages that no longer fit into the context."""
    gone = set(talk.latest.dropped_turns) if talk.latest is not None else set()
    parts = []
    for number, turn in enumerate(talk.chat.turns):
        mark = _("no longer fits: the model does not see it") if number in gone else ""
        parts.append(_turn(turn.role, turn.text, mark))
    if not parts:
        return Markup('<p class="faint">{}</p>').format(_("Nothing has been said yet."))
    return Markup('<ol class="talk">{}</ol>').format(Markup("").join(parts))


def _turn(role: str, text: str, mark: str = "") -> Markup:
    told = Markup(" <small>{}</small>").format(mark) if mark else ""
    return Markup('<li class="{} {}"><h3>{}{}</h3><div>{}</div></li>').format(
        role, "gone" if mark else "", _(SPEAKERS[role]), told, text
    )


def coming(talk: Talk) -> Markup:
    """Return the answer being generated, or the error."""
    if talk.error is not None:
        return failure(talk.error)
    if not talk.writing or talk.reply is not None:  # then it is among the turns
        return Markup("")
    answer = talk.answer
    text = _("loading the model …") if answer is None else answer.text or _("reading …")
    return Markup('<ol class="talk now">{}</ol>').format(_turn("assistant", text))


def failure(error: UserError) -> Markup:
    """Return an error in the reader's language."""
    from souron.studio.answers import told

    said = UserError(
        error.code, again(error.found), expected=again(error.expected), fix=again(error.fix), exit=error.exit
    )
    return told(said)


def figures(talk: Talk) -> Markup:
    """Return the tokens used of the context, the speed, and the reason why the answer ended."""
    reply = talk.latest
    if reply is None:
        return Markup("")
    used = reply.prompt_tokens + reply.tokens
    said = [
        _("{used} of {context} tokens of the context are used").format(used=used, context=reply.context),
        _("answer: {count} tokens").format(count=reply.tokens),
    ]
    if reply.seconds_to_first is not None:
        said.append(_("first after {seconds:.2g} s").format(seconds=reply.seconds_to_first))
    if reply.tokens_per_second is not None:
        said.append(_("{rate:.3g} tokens a second").format(rate=reply.tokens_per_second))
    said.append(_("seed {seed}").format(seed=reply.seed))
    if not talk.writing:
        said.append(stopped(reply.stopped_by))
    notes = []
    if reply.dropped_turns:
        notes.append(
            _(
                "{count} earlier messages ({tokens} tokens) no longer fit into the context: the model does not see them"
            ).format(count=len(reply.dropped_turns), tokens=reply.dropped_tokens)
        )
    if talk.template == "":
        notes.append(_("This model has no template for conversations: it completes plain text."))
    return Markup(
        '<meter min="0" max="{context}" value="{used}" aria-label="{label}"></meter>'
        '<p class="faint" role="{role}">{said}</p>{notes}{withheld}'
    ).format(
        context=reply.context,
        used=used,
        label=_("context used"),
        role="none" if talk.writing else "status",
        said=" · ".join(filter(None, said)),
        notes=remarks(notes),
        withheld="" if talk.writing else withheld(talk),
    )


def stopped(why: str) -> str:
    return {
        "end": _("the model ended it"),
        "length": _("stopped: reached the requested length"),
        "context": _("stopped: the context is full"),
        "user": _("stopped by you"),
    }.get(why, "")


def asked(talk: Talk) -> list[str]:
    """Return the questions so far."""
    return [turn.text for turn in talk.chat.turns if turn.role == "user"]


def questions(talk: Talk) -> list[tuple[str, str]]:
    """Return (shown, number from 1) of the questions so far; number 0 is a new question."""
    numbered = enumerate(asked(talk), 1)
    return [(_("a new question"), "0"), *((f"{number}: {text[:60]}", str(number)) for number, text in numbered)]


def saved(talk: Talk) -> Markup:
    """Return a data link that contains the chat, so that saving needs no file on the server."""
    if not talk.chat.turns:
        return Markup("")
    data = as_json(talk.chat.as_json(), indent=1).encode("utf-8", "replace")
    if len(data) > MOST_SAVED:
        return remarks([_("The chat is too large to be saved from this page.")])
    return Markup(
        '<p class="actions"><a download="chat.json" href="data:application/json;base64,{}">{}</a></p>'
    ).format(base64.b64encode(data).decode(), _("Save the chat as a file"))


def read(file: str | Path) -> Talk:
    """Read a saved chat. Raises UserError."""
    return Talk(Chat.read(Path(file)))


def template(name: str, talk: Talk) -> Markup:
    """Return the published chat template and the chat rendered with it. Raises UserError."""
    from souron.studio.model_cache import models

    with models.answering(name) as model:
        voice = model.voice
        own = voice.template
        seen = voice.seen(talk.chat.turns) if talk.chat.turns else ""
    if not own:
        text = _("This model has no template for conversations: it completes plain text.")
        return Markup("<p>{}</p>").format(text)
    parts = [(_("the model's template"), own), (_("what the model sees"), seen)]
    return Markup("").join(
        Markup('<h3>{0}</h3><pre class="log" tabindex="0" aria-label="{0}">{1}</pre>').format(title, text)
        for title, text in parts
        if text
    )
