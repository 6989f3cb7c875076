"""The studio's page Chat: what is being written, what is shown, what is refused."""

import base64
import json
import re
import time
from dataclasses import replace
from pathlib import Path

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
from souron.studio.pages.chat import USUAL, Chatting, temperature_of
from souron.studio.security.paths import Roots
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
    assert [number for _shown, number in chat_view.questions(talk)] == [0, 1, 2]
    assert chat_view.question(talk, 2) == "What is bread?"
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
    page = Chatting.__new__(Chatting)
    page.studio = near
    chosen, about, _chat, same = page.offer({})
    assert chosen["value"] == open_models.conversing()
    assert "rude or careless on purpose" in about and "small model for the lecture" in about
    assert "filter=" not in same.split("OpenAI")[0].split("python")[0]
    assert page.about(run) == "" and page.offer({"run": run})[0]["value"] == run


def test_the_filter_is_on_from_the_start(run, studio):
    page = Chatting.__new__(Chatting)
    page.studio = studio
    assert USUAL["filter"] == "both"
    assert "filter=none" in page.the_same(run, "", 256, 0.8, 0, "", "")
    same = page.the_same(run, "", 256, 0.8, 0, "both", "")
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
    assert talk.reply.stopped_by == "user"
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
    talk = answered(Talk(), run, "water " * 300)
    assert talk.chat.turns == ()
    assert "the last question needs" in chat_view.coming(talk)
    page = Chatting.__new__(Chatting)
    page.studio = studio
    drawn = page.draw(talk, (run, "", 8, 0.8, 0, "", ""))
    assert drawn[-1] == "water " * 300
    assert talk.asked == ""


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
    page = Chatting.__new__(Chatting)
    page.studio = studio
    same = page.the_same(run, "Be short.", 8, 0.8, 3, "", "", talk)
    assert "length=8 seed=3" in same
    assert "souron.load(" in same


def test_the_temperature_is_the_models_own(run, studio):
    page = Chatting.__new__(Chatting)
    page.studio = studio
    assert (temperature_of("smollm2"), temperature_of(run), temperature_of(None)) == (0.2, 0.8, 0.2)
    assert "temperature" not in page.the_same("smollm2", "", 256, 0.2, 0, "", "")
    assert "temperature=0.8" in page.the_same("smollm2", "", 256, 0.8, 0, "", "")


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
    page = Chatting.__new__(Chatting)
    page.studio = studio
    assert page.asked(("smollm2", "", 8, 0.8, 0, "", "llama"))[1]["engine"] == "llama"
    same = page.the_same("model.gguf", "", 256, 0.8, 0, "", "llama")
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
