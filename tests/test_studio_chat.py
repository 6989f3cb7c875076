"""The studio's page Chat: what is being written, what is shown, what is refused."""

import base64
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import browsing
import pytest
import talking
import waiting
from talking import NAMES

from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Writer, Written
from souron.hub import open_models, zoo
from souron.model import Model
from souron.studio import chat_view, model_cache
from souron.studio.chat_view import Talk
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import chat
from souron.studio.pages.chat import PARTS, USUAL, temperature_of, usual
from souron.studio.security.paths import Roots
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils import extras
from souron.utils.messages import UserError

OPTIONS = {"system": "", "length": 8, "temperature": 0.8, "top": 0.95, "seed": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return talking.run_of_talks(tmp_path_factory.mktemp("chat"))


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path / "runs", Roots([tmp_path]), Jobs(tmp_path / "runs"), "en")


def answered(talk, name, question="What is water?", **changed):
    talk.begin(name, {**OPTIONS, **changed}, lambda talking: talking.ask(question), question)
    talk.thread.join(waiting.LIMIT)
    assert not talk.writing
    return talk


def posted(model, **fields):
    """The form of the page with some fields filled in."""
    values = usual(model) | fields
    return Posted({name: [str(value)] for name, value in values.items()})


def the_same(model, talk=None, **changed):
    return chat.the_same(talk or Talk(), chat.settings_of(posted(model, **changed)))


def test_an_answer_is_written_in_the_background(run, capsys):
    from souron.cli import main

    talk = answered(Talk(), run)
    assert talk.error is None
    assert [turn.role for turn in talk.chat.turns] == ["user", "assistant"]
    assert main.run(["chat", run, "What is water?", "length=8", "filter=none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == talk.reply.text
    answered(talk, run, "What is bread?", system="Be short.")
    assert talk.chat.turns[0] == ("system", "Be short.")
    assert len(talk.chat.turns) == 5
    assert [number for _shown, number in chat_view.questions(talk)] == ["0", "1", "2"]
    assert chat_view.asked(talk) == ["What is water?", "What is bread?"] and talk.answer is None
    talk.begin(run, OPTIONS, lambda talking: talking.edit(1, "What is a pill?"))
    talk.thread.join(waiting.LIMIT)
    assert talk.chat.turns[0].text == "What is a pill?"
    assert len(talk.chat.turns) == 2


@pytest.mark.skipif(zoo.where("gpt") is None, reason="the ready-trained systems are not installed")
def test_a_model_without_conversations_is_told_from_one_that_answers(run, studio):
    near = replace(studio, project=Path(run).parent.parent)
    assert not chat_view.only_continues(near, run)
    assert chat_view.only_continues(near, "gpt")
    assert not chat_view.only_continues(near, "smollm2")
    assert not chat_view.only_continues(near, "no/such/run")
    assert not chat_view.only_continues(near, "gpt_aligned")


@pytest.mark.skipif(zoo.where("gpt") is None, reason="the ready-trained systems are not installed")
def test_the_best_model_is_offered_first_and_runs_are_a_choice(run, studio):
    near = replace(studio, project=Path(run).parent.parent)
    shown = {name: text for text, name in chat_view.choices(near)}
    assert {"gpt", "gpt_aligned", "gpt_instructed"} <= {*shown}
    assert next(iter(shown)) == open_models.conversing() and [*shown][-1] == run
    assert {name for name, text in shown.items() if "improper on purpose" in text} == {
        "gpt_aligned",
        "gpt_instructed",
        "lora",
    }
    page = chat.body(near, {})
    assert f'value="{open_models.conversing()}" selected' in page
    assert "rude or careless on purpose" in page and "small model for the lecture" in page
    assert "filter=" not in page.split("on the command line")[1].split("OpenAI")[0].split("python")[0]
    assert chat.about(near, run) == "" and f'value="{run}" selected' in chat.body(near, {"run": run})


def test_the_filter_is_on_from_the_start(run, studio):
    assert USUAL["filter"] == "both" and 'value="both" selected' in chat.body(studio, {"run": run})
    assert "filter=none" in the_same(run, filter="")
    same = the_same(run)
    assert same.count("filter=both") == 1 and "filters.named(&#39;both&#39;)" in same  # souron serve has it off


def test_stop_keeps_what_came_and_nobody_asks_meanwhile(run, monkeypatch):
    def endless(self, tokens, length, sampling, stop=True):
        while True:
            yield Written(5, "a", 1.0)
            time.sleep(0.01)

    monkeypatch.setattr(Writer, "write", endless)
    talk = Talk()
    talk.begin(run, OPTIONS, lambda talking: talking.ask("x"))
    waiting.until(lambda: talk.answer is not None and talk.answer.tokens >= 2, talk.thread.is_alive)
    assert "the model" in chat_view.coming(talk)
    with pytest.raises(UserError, match="being written"):
        talk.begin(run, OPTIONS, lambda talking: talking.ask("y"))
    talk.stop()
    talk.thread.join(waiting.LIMIT)
    assert talk.reply.stopped_by == "user" and not chat_view.coming(talk)
    assert talk.chat.turns[-1].text == talk.reply.text
    assert len(talk.reply.text) >= 2


def test_what_is_said_is_text_and_what_does_not_fit_is_marked(run):
    talk = Talk()
    for number in range(9):
        answered(talk, run, f"<b>{number}</b> What is {NAMES[0]}?")
    shown = chat_view.shown(talk)
    assert "<b>" not in shown
    gone = talk.reply.dropped_turns
    assert gone
    assert shown.count("no longer fits") == len(gone)
    assert f"({talk.reply.dropped_tokens} tokens)" in chat_view.figures(talk)
    used = talk.reply.prompt_tokens + talk.reply.tokens
    assert f'max="128" value="{used}"' in chat_view.figures(talk)


def test_a_refused_question_comes_back(run, studio):
    long = "water " * 300
    talk = answered(Talk(), run, long)
    assert talk.chat.turns == () and talk.asked == ""
    assert "the last question needs" in chat_view.coming(talk)
    assert long in chat.question(talk)
    answered(talk, run)
    assert talk.fields == 3 and long not in chat.question(talk)


def test_a_chat_is_saved_and_read_again(run, tmp_path):
    talk = answered(Talk(), run, "歯とは？ \ud800")
    link = chat_view.saved(talk)
    content = base64.b64decode(re.search(r"base64,([^\"]+)", link)[1])
    file = tmp_path / "chat.json"
    file.write_bytes(content)
    assert chat_view.read(file).chat.turns == talk.chat.turns
    file.write_text("[3]")
    with pytest.raises(UserError):
        chat_view.read(file)


def test_the_template_and_the_same_elsewhere(run, studio):
    talk = answered(Talk(), run)
    shown = chat_view.template(run, talk)
    assert "&lt;|user|&gt;What is water?" in shown
    assert "What is water?" in the_same(run, talk)
    same = the_same(run, talk, system="Be short.", length="8", seed="3")
    assert "length=8 seed=3" in same
    assert "souron.load(" in same and the_same(run, talk, length="many") == ""


def test_the_temperature_is_the_models_own(run, studio):
    assert (temperature_of("smollm2"), temperature_of(run), temperature_of("")) == (0.2, 0.8, 0.2)
    assert "temperature" not in the_same("smollm2")
    assert "temperature=0.8" in the_same("smollm2", temperature="0.8")
    told = PARTS["model"](studio, posted("smollm2", temperature="1.5"))
    assert 'name="temperature" value="0.2"' in told


def test_a_conversation_goes_by_the_page(run, studio):
    near = replace(studio, project=Path(run).parent.parent)

    def press(name, **fields):
        told = PARTS[name](near, posted(run, length="8", filter="", talk=talk_of["id"], **fields))
        talk_of["id"] = re.search(r'name="talk" value="(\w*)"', told)[1]
        return told

    def rest():
        """The chat, once its answer is complete."""
        waiting.until(lambda: "every" not in look(talk_of["id"]))
        return look(talk_of["id"])

    def look(id):
        return PARTS["look"](near, Posted({"talk": [id]}))

    talk_of = {"id": ""}
    assert "Type a question first" in press("send", question=" ") and not talk_of["id"]
    first = press("send", question="What is water?")
    assert "every 300ms" in first and 'id="question-1"' in first and "souron chat" in first
    assert "What is water?" in rest()
    assert 'name="seed" value="1"' in press("again")
    rest()
    press("send", question="What is <b>?")
    shown = rest()
    assert "<b>" not in shown and shown.count('class="user') == 2
    assert "What is water?" in PARTS["fill"](near, Posted({"talk": [talk_of["id"]], "which": ["1"]}))
    press("send", question="What is bread?", which="1")
    assert rest().count('class="user') == 1
    id = talk_of["id"]
    assert "Nothing has been said yet" in press("new")
    assert "this chat is not in memory any more" in look(id) and "every" not in look(id)
    with pytest.raises(UserError, match="not in memory"):
        PARTS["send"](near, posted(run, talk=id, question="What?"))


@pytest.mark.slow
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
@pytest.mark.skipif(zoo.where("gpt") is None, reason="the ready-trained systems are not installed")
@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ja", 390)])
def test_a_question_is_sent_by_enter(language, width, looked_at):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/chat?model=gpt")
        page.get_by_label(browsing.said("withhold harmful sentences", language)).select_option("")
        page.get_by_label(browsing.said("tokens of an answer at most", language)).fill("300")
        field = page.locator("#question").get_by_label(browsing.said("your question", language))
        field.fill("Hello")
        field.press("Shift+Enter")
        field.press_sequentially("there")
        field.press("Enter")
        page.locator(".talk.now").wait_for()
        waiting.until(lambda: field.input_value() == "")
        field.press_sequentially("And then?")
        waiting.until(lambda: "\n" in page.locator(".talk li.user > div").inner_text())
        waiting.until(lambda: len(page.inner_text("ol.talk:last-of-type li:last-child > div")) > 40)
        page.get_by_role("button", name=browsing.said("Stop", language)).click(force=True)  # unless it has ended
        page.get_by_role("link", name=browsing.said("Save the chat as a file", language)).wait_for()
        assert field.input_value() == "And then?" and page.locator("ol.talk li").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browsing.keep(page, f"{language}-chat")
        assert visit.outside == [] and visit.errors == []


def test_a_saved_chat_goes_on_with_its_system_prompt(run, studio, tmp_path):
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]))
    form = posted(run, temperature="1.5")
    told = PARTS["load"](studio, Posted(form.values, {"file": [file]}))
    assert ">\nBe short.</textarea>" in told and "Why?" in told and 'name="temperature" value="1.5"' in told


def test_chats_that_nobody_asks_for_any_more_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(chat_view.time, "monotonic", lambda: now[0])
    talks = chat_view.Talks(most=2, seconds=10)
    first, second, third = Talk(), Talk(), Talk()
    one, two = talks.add(first), talks.add(second)
    assert talks.get(one) is first and one != two
    talks.add(third)
    assert second.stopping and not first.stopping
    now[0] = 11
    talks.add(Talk())
    assert first.stopping and third.stopping
    with pytest.raises(UserError, match="not in memory"):
        talks.get(one)
    assert talks.get("") is not talks.get("")


def test_a_chat_reads_ahead_what_was_answered(run, monkeypatch):
    ahead = []
    monkeypatch.setattr(Voice, "read_ahead", lambda self, turns: ahead.append([turn.role for turn in turns]))
    talk = answered(Talk(), run)
    assert ahead == [["user", "assistant"]]
    answered(talk, run, "water " * 300)
    assert talk.error is not None and len(ahead) == 1


def test_a_gguf_file_of_the_reader_runs_with_llama(run, studio, monkeypatch):
    loaded = []
    monkeypatch.setattr(extras, "installed", lambda extra: extra == "llama")
    assert [value for _shown, value in chat_view.engines()] == ["", "llama"]
    monkeypatch.setattr(extras, "installed", lambda extra: False)
    assert [value for _shown, value in chat_view.engines()] == [""]
    assert chat.options_of(usual("smollm2") | {"engine": "llama"})["engine"] == "llama"
    same = the_same("model.gguf", engine="llama")
    assert same.count("engine=llama") == 2 and "engine=&#39;llama&#39;" in same
    monkeypatch.setattr(model_cache.models_api, "load", lambda *given, **named: loaded.append(named) or Model("x"))
    monkeypatch.setattr(model_cache, "stamp", lambda meaning: ())
    cache = model_cache.Loaded()
    for engine in ("llama", "", "llama"):
        with cache.answering("smollm2", engine):
            pass
    assert loaded == [{"engine": "llama"}, {"engine": None}]


def test_only_a_published_model_has_another_engine(run):
    talk = answered(Talk(), run, engine="llama")
    assert "souron's own engine" in talk.error.found


def test_only_models_within_the_roots_are_asked(studio):
    for name in ("/etc/passwd", "../x.gguf", "", None):
        with pytest.raises(UserError):
            chat_view.model_name(studio, name)
    assert chat_view.model_name(studio, "smollm2") == "smollm2"
