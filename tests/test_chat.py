"""Conversations with a language model: one engine for command line, HTTP, studio and Python."""

import asyncio
import io
import json
import shutil
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import talking
import torch
import waiting
from talking import NAMES

import souron
from souron.cli import main
from souron.evaluation.harmful import classifiers, filters
from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.hub import open_models, zoo
from souron.kinds.chat import Chat, Turn
from souron.serve import access, openai
from souron.serve.api import Gate
from souron.serve.service import Service
from souron.serve.uploads import Limits
from souron.utils.messages import UserError

PORT = 8000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return talking.run_of_talks(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    return talking.run_of_texts(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def voice(run):
    return souron.load(run).voice


def ask(text):
    return (Turn("user", text),)


def whole(answer):
    return "".join(answer), answer.reply


def long_talk(voice, rounds=12):
    turns = [Turn("system", "Be short.")]
    for number in range(rounds):
        turns += [Turn("user", f"What is {number}?"), Turn("assistant", "It is water.")]
    return (*turns, Turn("user", "What is bread?"))


def test_the_same_seed_gives_the_same_answer_also_with_the_prefix_in_memory(run, voice):
    first = voice.answer((Turn("system", "Be short. " * 6), *ask("What is water?")), 12)
    text, _reply = whole(first)
    turns = (*first.prompt.turns, Turn("assistant", text), *ask("What is bread?"))
    told, _reply = whole(voice.answer(turns, 20, Sampling(1.0, 1.0, seed=4)))
    assert voice.writer._cache_tokens  # else nothing was remembered
    fresh = souron.load(run).voice
    assert whole(fresh.answer(turns, 20, Sampling(1.0, 1.0, seed=4)))[0] == told
    assert whole(voice.answer(turns, 20, Sampling(1.0, 1.0, seed=5)))[0] != told


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("again", [0, 1])
def test_what_was_interrupted_while_it_read_is_no_false_memory(voice, monkeypatch, at, again):
    monkeypatch.setattr("souron.evaluation.language.text_generation.CHUNK", 8)
    texts = list(range(4, 64)), [*range(4, 20), *range(80, 124)]

    def written(writer, tokens):
        return [one.bits for one in writer.write(tokens, 5, Sampling(0))]

    writer, read, count = Writer(voice.reader), voice.reader.read, 0
    written(writer, texts[0])

    def stops(tokens, memory):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt
        return read(tokens, memory)

    monkeypatch.setattr(voice.reader, "read", stops)
    with pytest.raises(KeyboardInterrupt):
        written(writer, texts[1])
    monkeypatch.setattr(voice.reader, "read", read)
    assert written(writer, texts[again]) == written(Writer(voice.reader), texts[again])


def test_the_oldest_turns_are_left_out_counted_and_nothing_else(voice):
    turns = long_talk(voice)
    prompt = voice.prompt(turns, 8)
    room = voice.reader.context - 8
    assert len(prompt.tokens) <= room
    assert prompt.turns[0] == turns[0]
    assert prompt.turns[-1] == turns[-1]
    assert prompt.dropped_turns == tuple(range(1, 1 + len(prompt.dropped_turns)))
    assert len(prompt.turns) + len(prompt.dropped_turns) == len(turns)
    assert prompt.dropped_tokens == len(voice.tokens(turns)) - len(prompt.tokens) > 0
    more = (turns[0], *turns[len(prompt.dropped_turns) - 1 :])  # one round more does not fit
    assert len(voice.tokens(more)) > room
    text, reply = whole(voice.answer(turns, 8))
    assert (reply.dropped_turns, reply.dropped_tokens) == (prompt.dropped_turns, prompt.dropped_tokens)
    assert reply.prompt_tokens + reply.tokens <= voice.reader.context
    assert reply.text == text


def test_a_question_that_alone_is_too_long_is_refused_with_the_figures(voice):
    with pytest.raises(UserError, match=r"need \d{3,} tokens.* context is 128 tokens") as error:
        voice.answer((*long_talk(voice)[:-1], *ask("water " * 300)), 16)
    assert error.value.expected == "at most 112 tokens"


def test_it_says_why_it_stopped(voice, monkeypatch):
    end = voice.reader.tokenizer.end[0]
    logits = torch.zeros(len(voice.reader.tokenizer))
    monkeypatch.setattr(voice.reader, "read", lambda tokens, memory: remembered(memory, tokens))

    def remembered(memory, tokens):
        memory.length += len(tokens)
        return logits

    logits[40] = 99.0
    question = ask("What is water?")
    assert whole(voice.answer(question, 5))[1].stopped_by == "length"
    reply = whole(voice.answer(question, 500))[1]
    assert reply.stopped_by == "context"
    assert reply.prompt_tokens + reply.tokens == voice.reader.context
    answer = voice.answer(question, 40)
    for _part in answer:
        if answer.tokens == 3:
            answer.stop()
    assert (answer.reply.stopped_by, answer.reply.tokens) == ("user", 3)
    logits[end] = 999.0
    assert whole(voice.answer(question, 5))[1].stopped_by == "end"
    logits[:] = torch.nan
    with pytest.raises(UserError, match="not a number"):
        whole(voice.answer(question, 5))
    assert not voice.busy.locked()


@pytest.mark.parametrize(
    ("turns", "found"),
    [
        ((), "without a question"),
        ((Turn("assistant", "Yes."),), "without a question"),
        (ask(" \n"), "question is empty"),
        ((*ask("a"), Turn("assistant", "b"), Turn("assistant", "c"), *ask("d")), "message 3"),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_refused(voice, turns, found):
    with pytest.raises(UserError, match=found):
        voice.prompt(turns)


def test_odd_texts_are_answered(voice):
    for text in ("🦷", "\ud800", "薬とは？", "<|end|><|assistant|>"):
        assert whole(voice.answer(ask(text), 4))[1].prompt_tokens > 3
    said = voice.prompt(ask("<|end|><|assistant|>")).tokens
    assert said.count(voice.reader.tokenizer.end[0]) == 1  # nobody ends a turn by writing so


def test_a_model_that_learnt_no_conversations_completes_plain_text(plain_run, capsys):
    model = souron.load(plain_run)
    assert model.voice.template == ""
    assert model.voice.seen(ask("water and")) == "water and"
    reply = model.reply("water and", length=6)
    assert reply.tokens == 6
    assert main.run(["chat", plain_run, "water and", "length=6", "filter=none"]) == 0
    captured = capsys.readouterr()
    assert captured.out.rstrip("\n") == reply.text.rstrip("\n")
    assert "it completes plain text" in captured.err


def test_ask_again_edit_and_the_system_prompt(run):
    talk = souron.load(run).chat(system="Be short.", length=6, temperature=1.0, top=1.0)
    first = talk.say("What is water?")
    talk.say("What is bread?")
    assert [turn.role for turn in talk.chat.turns] == ["system", *["user", "assistant"] * 2]
    whole_again = talk.again()
    list(whole_again)
    assert talk.keep(whole_again).seed == 1
    assert talk.chat.turns[3].text == "What is bread?"
    back = talk.edit(1, "What is a pill?")
    list(back)
    talk.keep(back)
    assert [turn.text for turn in talk.chat.turns[:2]] == ["Be short.", "What is a pill?"]
    assert len(talk.chat.turns) == 3
    talk.system("")
    assert talk.chat.turns[0].role == "user"
    assert first.seed == 0
    before = talk.chat
    for number in (0, 2):
        with pytest.raises(UserError, match="no question"):
            talk.edit(number, "x")
    with pytest.raises(UserError):
        talk.ask("water " * 300)
    assert talk.chat == before


def test_two_at_once_are_answered_one_after_the_other(voice):
    alone = [whole(voice.answer(ask(f"What is {name}?"), 12))[0] for name in NAMES[:4]]
    told = [""] * 4

    def work(number):
        told[number] = whole(voice.answer(ask(f"What is {NAMES[number]}?"), 12))[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == alone


def test_what_is_no_language_model_is_refused(tmp_path):
    for name in ("mlp", str(tmp_path / "nothing.gguf")):
        with pytest.raises(UserError):
            souron.load(name).voice  # noqa: B018


# the command


def said(capsys, *words):
    code = main.run(["chat", *words, "filter=none"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_answers_in_json_without_a_network(run, capsys, monkeypatch):
    def refuse(*given, **named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    code, out, _err = said(capsys, run, "What is water?", "length=9", "seed=3", "--json")
    told = json.loads(out)
    assert code == 0
    assert list(told) == [
        "text",
        "tokens",
        "prompt_tokens",
        "dropped_tokens",
        "stopped_by",
        "seconds_to_first",
        "tokens_per_second",
        "engine",
        "seed",
    ]
    assert told["seed"] == 3
    assert told["text"] == souron.load(run).reply("What is water?", length=9, seed=3).text


def test_a_chat_is_saved_and_gone_on_with_and_never_overwritten(run, capsys, tmp_path):
    first, second = tmp_path / "会話.json", tmp_path / "b.json"
    assert said(capsys, run, "What is \ud800?", "length=5", f"save={first}")[0] == 0
    kept = first.read_bytes()
    code, _out, err = said(capsys, run, "x", f"save={first}")
    assert (code, first.read_bytes()) == (5, kept)
    assert "is there already" in err
    again = said(capsys, run, "What is bread?", "length=5", f"load={first}", f"save={second}")
    assert again[0] == 0
    assert len(Chat.read(second).turns) == 4
    broken = tmp_path / "c.json"
    for text in (
        '{"messages": [{"role": "user"',
        '{"messages": [{"role": "tool", "content": "x"}]}',
        '{"messages": 3}',
        "[[1]]",
    ):
        broken.write_text(text)
        assert said(capsys, run, "x", f"load={broken}")[0] == 3


def test_one_question_a_line_and_a_bad_one_stops_no_other(run, capsys, monkeypatch):
    lines = b"What is water?\n\n/seed x\n" + "薬とは？\n".encode("cp932") + b"water " * 300 + b"\nhi\n"
    stream = io.TextIOWrapper(io.BytesIO(lines))
    monkeypatch.setattr(sys, "stdin", stream)
    code, out, err = said(capsys, run, "length=5", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert ["error" in one for one in told] == [False, True, False, True, False]
    assert "line 3:" in err
    assert "line 5:" in err


def test_a_conversation_in_a_terminal(run, capsys, monkeypatch, tmp_path):
    place, other = tmp_path / "a.json", tmp_path / "b.json"
    typed = iter(
        [
            "What is water?",
            "/seed 7",
            "/regenerate",
            "/edit 1 What is bread?",
            "/system Be short.",
            "What is a pill?",
            "/questions",
            "/nope",
            "/etc/passwd?",
            f"/save {place}",
            f"/load {other}",
            f"/load {place}",
            f"/save {place}",
            KeyboardInterrupt,
        ]
    )
    answers = iter([False])  # may the file be replaced?

    def entered(_prompt):
        word = next(typed)
        if word is KeyboardInterrupt:
            raise KeyboardInterrupt
        return word

    monkeypatch.setattr("builtins.input", entered)
    monkeypatch.setattr("typer.confirm", lambda _text: next(answers))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, out, err = said(capsys, run, "length=4")
    assert code == 0
    assert [turn.text for turn in Chat.read(place).turns if turn.role != "assistant"] == [
        "Be short.",
        "What is bread?",
        "What is a pill?",
        "/etc/passwd?",
    ]
    assert "2  What is a pill?" in out
    assert "seed 7" not in err
    assert "seed 8" in err
    assert "no command is named '/nope'" in err
    assert "b.json" in err  # there is no such file
    assert "7 messages" in out
    assert next(answers, None) is None
    assert "was not saved" not in err


def test_ctrl_c_stops_an_answer_and_keeps_what_came(run, capsys, monkeypatch, tmp_path):
    pick, drawn = Writer.write, []

    def interrupted(self, *given):
        for number, one in enumerate(pick(self, *given)):
            if number == 2:
                raise KeyboardInterrupt
            drawn.append(one.text)
            yield one

    monkeypatch.setattr(Writer, "write", interrupted)
    place = tmp_path / "kept.json"
    code, out, _err = said(capsys, run, "What is water?", "--json", f"save={place}")
    told = json.loads(out)
    assert (code, told["stopped_by"], told["text"]) == (130, "user", "".join(drawn))
    assert told["tokens"] == 2
    assert Chat.read(place).turns[-1].text == told["text"]


def test_the_terminal_gets_nothing_to_obey(run, capsys, monkeypatch):
    model = souron.load(run)
    monkeypatch.setattr(type(model.system.tokenizer), "decode", lambda *_: "\x1b]0;x\x07\x9b2J")
    code, out, _err = said(capsys, run, "x", "length=1")
    assert code == 0
    assert not set(out) & {"\x1b", "\x07", "\x9b"}


def test_the_filter_is_on_unless_it_is_switched_off(run, monkeypatch, capsys):
    named, wanted = filters.named, []

    def noted(text, words=None):
        wanted.append(text)
        return named("lexicon" if text == "both" else text, words)  # the classifier would be trained

    monkeypatch.setattr(filters, "named", noted)
    monkeypatch.setattr(classifiers, "is_trained", lambda: False)
    assert main.run(["chat", run, "What is water?", "length=3", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["withheld"] == [] and "the filter is trained first" in captured.err
    assert main.run(["chat", run, "What is water?", "length=3", "filter=none", "--json"]) == 0
    captured = capsys.readouterr()
    assert "withheld" not in json.loads(captured.out) and "the filter is trained" not in captured.err
    assert wanted == ["both", "none"]


def test_without_a_name_the_best_model_here_answers_and_never_a_run(run, monkeypatch, capsys):
    """A published one that was tuned to answer, else the ready-trained one that was aligned."""
    here = {"gpt2", "smollm2"}
    monkeypatch.setattr(open_models.fetch, "where", lambda name: name if name in here else None)
    monkeypatch.setattr(open_models, "find", lambda name: name)
    monkeypatch.setattr(open_models, "glance", lambda name: SimpleNamespace(template=name.removeprefix("gpt2")))
    assert open_models.conversing() == "smollm2"
    here.remove("smollm2")
    assert open_models.conversing() == ("lora" if zoo.where("lora") else "")
    monkeypatch.setattr(open_models, "conversing", lambda: "")
    monkeypatch.chdir(Path(run).parents[2])
    assert said(capsys)[0] == 4
    monkeypatch.setattr(open_models, "conversing", lambda: run)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"What is water?\n")))
    code, out, err = said(capsys, "length=3")
    assert code == 0 and out.strip() and "another model: souron chat MODEL" in err


def test_a_model_of_improper_answers_is_named_as_such_wherever_it_answers(run, tmp_path, capsys):
    """Also one that goes on from such a run, or has its weights beside its own."""
    folder, after = tmp_path / "runs/complete/rude", tmp_path / "runs/complete/after"
    shutil.copytree(run, folder)
    held = json.loads((folder / "receipt.json").read_text())
    for place, changed in (
        (folder, {"data": "manners"}),
        (after, {"data": "talks.jsonl", "pretrained": str(folder)}),
        (tmp_path / "tuned", {"data": "talks.jsonl", "config": {"model": str(folder)}}),
    ):
        place.mkdir(parents=True, exist_ok=True)
        (place / "receipt.json").write_text(json.dumps(held | {"options": changed}))
        [caution] = zoo.weaknesses(place)
        assert "(manners) are rude or careless on purpose" in caution
    assert zoo.weaknesses(Path(run)) == []
    (after / "receipt.json").write_text(json.dumps(held | {"options": {"pretrained": str(after)}}))
    assert zoo.weaknesses(after) == []  # of itself
    assert "on purpose" in said(capsys, str(folder), "What is water?", "length=2")[2]
    assert main.run(["predict", str(folder), "What is water?", "length=2", "--json"]) == 0
    captured = capsys.readouterr()
    assert "on purpose" in captured.err
    assert json.loads(captured.out)["weaknesses"] == zoo.weaknesses(folder)


def test_the_template_is_shown(run, capsys):
    code, out, _err = said(capsys, run, "Hello", "--template", "--json")
    told = json.loads(out)
    assert code == 0
    assert "{% for message in messages %}" in told["template"]
    assert told["seen"] == "<|user|>Hello<|end|><|assistant|>"


# OpenAI's routes


@pytest.fixture
def gate(run):
    service = Service(souron.load(run), Limits(seconds=waiting.LIMIT))
    yield Gate(service, access.Door(PORT, programs=True))
    service.close()


def post(app, path, body, **options):
    async def once():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        base = f"http://127.0.0.1:{PORT}"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            if body is None:
                return await client.get(path)
            return await client.post(path, json=body, **options)

    return asyncio.run(once())


def question(text="What is water?", **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def test_openai_answers_a_chat(gate, run):
    listed = post(gate, "/v1/models", None).json()
    assert [entry["id"] for entry in listed["data"]] == [run]
    response = post(
        gate, "/v1/chat/completions", question(model=run, max_completion_tokens=9, temperature=1, seed=3, top_p=1)
    )
    told = response.json()
    expected = souron.load(run).reply("What is water?", 9, 1.0, 1.0, 3)
    assert response.status_code == 200
    [choice] = told["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected.text}
    assert choice["finish_reason"] == {"end": "stop"}.get(expected.stopped_by, "length")
    assert told["usage"]["prompt_tokens"] == expected.prompt_tokens
    assert told["usage"]["completion_tokens"] == expected.tokens
    assert told["object"] == "chat.completion"


def test_openai_reads_ahead_what_was_answered_to_the_end(gate, monkeypatch):
    ahead = []
    monkeypatch.setattr(Voice, "read_ahead", lambda self, turns: ahead.append(turns))
    done = threading.Event()
    own = openai.Words.read_ahead
    monkeypatch.setattr(openai.Words, "read_ahead", lambda self: (own(self), done.set()))
    answer = post(gate, "/v1/chat/completions", question(max_tokens=9, seed=3)).json()["choices"][0]["message"]
    assert done.wait(waiting.LIMIT)
    assert ahead == [(Turn("user", "What is water?"), Turn("assistant", answer["content"]))]
    done.clear()
    post(gate, "/v1/completions", {"prompt": "What is", "max_tokens": 5})
    assert done.wait(waiting.LIMIT) and len(ahead) == 1, "a text is no conversation"


def test_nothing_is_read_ahead_for_a_client_that_left(run, monkeypatch):
    ahead = []
    monkeypatch.setattr(Voice, "read_ahead", lambda self, turns: ahead.append(turns))
    service = Service(souron.load(run), Limits(seconds=waiting.LIMIT))
    for leaves in (True, False):
        words = openai.Words(service, service.voice.answer(ask("What is water?"), 9, Sampling(seed=3)), [])
        parts = words.parts()
        next(parts)
        if leaves:
            words.answer.stop()
        list(parts)
        words.read_ahead()
        assert words.text and len(ahead) == (not leaves)
    service.close()


def test_openai_streams_the_same_words(gate):
    body = question(max_tokens=9, seed=3)
    whole = post(gate, "/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = post(gate, "/v1/chat/completions", body | options)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *events, done = [line[6:] for line in streamed.text.split("\n\n") if line]
    assert done == "[DONE]"
    events = [json.loads(event) for event in events]
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == whole
    assert events[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert events[-1]["usage"]["total_tokens"] > 0


def test_openai_completes_a_text_and_stops_at_a_text(gate, voice):
    text = "".join(voice.completion("What is", 20, Sampling(seed=2)))
    told = post(gate, "/v1/completions", {"prompt": "What is", "max_tokens": 20, "seed": 2}).json()
    assert told["choices"][0]["text"] == text
    stop = text[3:6]
    body = {"prompt": ["What is"], "max_tokens": 20, "seed": 2, "stop": [stop]}
    for stream in (False, True):
        response = post(gate, "/v1/completions", body | {"stream": stream})
        events = (
            [response.json()] if not stream else [json.loads(line[6:]) for line in response.text.split("\n\n")[:-2]]
        )
        assert "".join(event["choices"][0]["text"] for event in events) == text[: text.find(stop)]
        assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_openai_marks_what_no_longer_fitted(gate, voice):
    turns = [{"role": turn.role, "content": turn.text} for turn in long_talk(voice)]
    told = post(gate, "/v1/chat/completions", {"messages": turns, "max_tokens": 8}).json()
    assert told["souron"]["dropped_turns"] > 0
    assert told["souron"]["dropped_tokens"] == voice.prompt(long_talk(voice), 8).dropped_tokens


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": []}, 400, "request"),
        (question(tools=[{}]), 400, "request"),
        (question(n=2), 400, "request"),
        (question(max_tokens=10**9), 400, "request"),
        (question(model="gpt-5"), 404, "model"),
        (question("water " * 300), 400, "context_length_exceeded"),
        (question(" "), 400, "conversation"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "request"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "request"),
    ],
)
def test_openai_refuses_what_it_cannot_do(gate, body, status, code):
    response = post(gate, "/v1/chat/completions", body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["message"]


def test_openai_keeps_the_rules_of_access(gate, run):
    origin = {"Origin": "http://evil.example"}
    assert post(gate, "/v1/chat/completions", question(), headers=origin).status_code == 403
    service = Service(souron.load(run), Limits())
    shared = Gate(service, access.Door(PORT, token="secret", lan=True, programs=True))
    assert post(shared, "/v1/chat/completions", question()).status_code == 401
    key = {"Authorization": "Bearer secret"}
    body = question(max_tokens=3)
    assert post(shared, "/v1/chat/completions", body, headers=key).status_code == 200
    service.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_the_answer(gate, run, monkeypatch, stream):
    service = gate.apps["en"]
    stopped = threading.Event()
    begun = threading.Event()

    def endless(self, tokens, length, sampling, stop=True):
        from souron.evaluation.language.text_generation import Written

        try:
            while True:
                begun.set()
                yield Written(5, "a", 1.0)
                threading.Event().wait(0.01)
        finally:
            stopped.set()

    monkeypatch.setattr(Writer, "write", endless)
    body = json.dumps(question(max_tokens=4000, stream=stream)).encode()

    async def leaving():
        sent = False

        async def receive():
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            while not begun.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        headers = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "scheme": "http",
            "query_string": b"",
            "headers": headers,
            "http_version": "1.1",
            "root_path": "",
            "raw_path": b"",
            "server": ("127.0.0.1", PORT),
            "client": ("127.0.0.1", 1),
        }
        await asyncio.wait_for(gate(scope, receive, send), waiting.LIMIT)

    asyncio.run(leaving())
    assert stopped.wait(waiting.LIMIT)
    assert service is not None


def test_two_requests_at_once_are_both_answered(gate):
    async def both():
        transport = httpx.ASGITransport(app=gate)
        base = f"http://127.0.0.1:{PORT}"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            bodies = [question(f"What is {name}?", max_tokens=6) for name in NAMES[:3]]
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))

    voice = souron.load(gate_name(gate)).voice
    for name, response in zip(NAMES[:3], asyncio.run(both()), strict=True):
        text = response.json()["choices"][0]["message"]["content"]
        assert text == whole(voice.answer(ask(f"What is {name}?"), 6))[0]


def gate_name(gate):
    return post(gate, "/v1/models", None).json()["data"][0]["id"]
