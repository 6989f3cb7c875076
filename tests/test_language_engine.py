"""How language models answer fast: 8-bit matrices, the cache of a conversation, llama.cpp."""

import copy
import json
import signal
from dataclasses import replace

import gguf
import numpy as np
import psutil
import pytest
import talking
import torch
import waiting
from shapes import gguf_of, published, sentences

import souron
from souron import registry
from souron.blocks import int8
from souron.blocks.decoder import Decoder, Structure, named
from souron.blocks.int8 import FbgemmLinear, Fp16Linear, Int8Linear, PackedDecoder
from souron.cli import main
from souron.data.language.tokenizer import TEMPLATE, Tokenizer
from souron.evaluation.language.conversation import Conversation, Voice
from souron.evaluation.language.text_generation import Sampling
from souron.hub import open_models
from souron.hub.decoders import llama_decoder
from souron.kinds.chat import Chat, Turn
from souron.systems.retrieve import windows
from souron.utils import extras
from souron.utils.messages import UserError

fbgemm = pytest.mark.skipif(not int8.has_fbgemm(), reason="this processor has no FBGEMM")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn([*sentences(60).input], 300)


# 8 bits


@fbgemm
def test_an_outlier_does_not_hide_the_other_activations():
    """With one scale of 8 bits for all, what is below 1/127 of the largest would round to 0."""
    torch.manual_seed(0)
    weight, x = torch.randn(40, 300), torch.randn(3, 300)
    x[:, 7] = 200
    weight[:, 7] = 0
    rows, scale = int8.quantised(weight)
    exact = x.double() @ (rows * scale[:, None]).double().T
    error = (FbgemmLinear(weight)(x) - exact).norm() / exact.norm()
    assert error < 0.01


@fbgemm
def test_sums_of_the_largest_numbers_are_whole():
    """Processors without VNNI add two products in 16 bits: 8-bit numbers would not fit."""
    weight = torch.full((4, 64), -2.0)
    assert FbgemmLinear(weight)(torch.full((1, 64), 3.0))[0].tolist() == pytest.approx([-384.0] * 4)


@fbgemm
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none(value):
    x = torch.ones(1, 8)
    x[0, 3] = value
    assert FbgemmLinear(torch.ones(2, 8))(x).isnan().all()


@fbgemm
def test_of_nothing_the_bias_remains():
    assert FbgemmLinear(torch.ones(2, 8), torch.tensor([1.0, 2.0]))(torch.zeros(1, 8)).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("form", [FbgemmLinear, Int8Linear, Fp16Linear])
@pytest.mark.parametrize("name", ["grouped", "gpt2", "modern", "qwen2"])
@torch.inference_mode()
def test_packed_matrices_say_nearly_the_same(name, form):
    if form is not Int8Linear and not int8.has_fbgemm():
        pytest.skip("this processor has no FBGEMM")
    torch.manual_seed(0)
    structures = {
        "grouped": Structure(200, 64, 2, 64, 4, groups=2),
        "qwen2": Structure(200, 64, 2, 64, 4, groups=2, bias_queries=True, tied=False),
    }
    decoder = Decoder(structures.get(name) or named(name, 200, 64, 2, 64, 4)).eval().bfloat16()
    for weight in decoder.parameters():
        weight.data += 0.1 * torch.randn_like(weight)  # biases and norms that are learnt
    tokens = torch.randint(200, (1, 50))
    truth = copy.deepcopy(decoder).double()(tokens)[0].log_softmax(-1)
    packed = PackedDecoder(decoder, form)
    said = packed(tokens)[0].double().log_softmax(-1)
    divergence = (truth.exp() * (truth - said)).sum(-1)
    assert 0 < divergence.mean() < {FbgemmLinear: 0.01, Int8Linear: 0.02, Fp16Linear: 1e-4}[form]
    memory = decoder.kv_cache()
    packed(tokens[:, :49], memory)
    last = packed(tokens[:, 49:], memory)[0, 0].double().log_softmax(-1)
    assert (truth[49].exp() * (truth[49] - last)).sum() < 0.02, "with the cache, which is in bf16"
    assert isinstance(decoder.blocks[0].attention.qkv, torch.nn.Linear), "the decoder stays"


@pytest.mark.parametrize("form", ["Q4_0", "Q4_1"])
def test_a_matrix_of_4_bits_keeps_its_blocks(form):
    torch.manual_seed(0)
    weight = torch.randn(128, 64) * torch.rand(128, 1)
    weight[5, :32], weight[6, :32] = 0, 0.25
    stored = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType[form])
    weight = torch.from_numpy(gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[form])).bfloat16()
    numbers, scale, least = int8.blocks_of(weight)
    blocks = numbers.view(128, 2, 32) * scale[..., None] + least[..., None]
    assert torch.allclose(blocks.view(128, 64), weight.float(), rtol=0.02, atol=0.01)
    x = torch.randn(3, 64)
    expected = x @ weight.float().T
    found = int8.Int4Linear(numbers, scale, least)(x)
    assert (found - expected).norm() / expected.norm() < 0.01
    assert int8.blocks_of(torch.randn(128, 64)) is None, "it holds other values"
    weight[100, 40] *= 1.1
    assert int8.blocks_of(weight) is None, "and so does one value alone"


@fbgemm
@pytest.mark.parametrize("capability", ["AVX512", "AVX2"])
def test_4_bits_are_kept_where_they_are_fast(capability, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    numbers = torch.arange(16).repeat(64, 4).float()
    fast = capability == "AVX512"
    assert isinstance(int8.smallest(numbers), int8.Int4Linear if fast else FbgemmLinear)
    assert isinstance(int8.smallest(torch.randn(64, 64)), FbgemmLinear)


def test_sampling_sorts_few_tokens_and_forgets_none():
    """The nucleus of a flat distribution is larger than what is sorted first."""
    flat = Sampling(1.0, 0.9).sampler()
    picked = {flat.sample(torch.linspace(0, 0.1, 2000)) for _draw in range(200)}
    assert min(picked) < 1000
    steep = Sampling(1.0, 0.9).sampler()
    logits = torch.arange(2000.0).div(10)
    picked = [steep.sample(logits) for _draw in range(2000)]
    chances = logits.softmax(0)[-30:].flip(0)
    kept = chances[chances.cumsum(0) - chances <= 0.9]
    assert min(picked) == 2000 - len(kept)
    assert np.mean(np.array(picked) == 1999) == pytest.approx(float(kept[0] / kept.sum()), abs=0.03)


@fbgemm
@torch.inference_mode()
def test_where_bf16_is_slow_prompts_are_read_in_fp16(monkeypatch):
    decoder = Decoder(Structure(200, 64, 2, 64, 4, tied=False)).eval().bfloat16()
    monkeypatch.setattr("souron.utils.hardware.bf16", lambda: True)
    assert int8.reading(decoder) is decoder
    monkeypatch.setattr("souron.utils.hardware.bf16", lambda: False)
    read = int8.reading(decoder)
    assert read.form is Fp16Linear
    tokens = torch.randint(200, (1, 20))
    assert torch.equal(int8.generating(read)(tokens), int8.generating(decoder)(tokens)), "in the same 8 bits"


@fbgemm
def test_windows_are_read_in_fp16_where_bf16_is_slow(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    monkeypatch.setattr("souron.utils.hardware.bf16", lambda: False)
    windows.loaded.cache_clear()
    reader = windows.Model(str(tmp_path / "llama"), "Is it water?")
    assert reader.decoder.form is Fp16Linear
    told = reader.nats([tokenizer.encode("It is water."), []])
    reader.decoder = open_models.load(str(tmp_path / "llama"))[2].float()
    assert torch.allclose(told, reader.nats([tokenizer.encode("It is water."), []]), atol=1e-2)


# the cache of a conversation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return talking.run_of_talks(tmp_path_factory.mktemp("chat"))


def test_a_next_answer_reads_only_what_is_new(run, monkeypatch):
    """And it is the same, to the bit, as that of a model that reads all."""
    monkeypatch.setattr("souron.evaluation.language.text_generation.CHUNK", 8)
    talk = Conversation(souron.load(run).voice, None, 20, Sampling(1.0, 1.0, seed=3))
    talk.say("What is water?")
    read, counts = talk.voice.reader.read, []

    def counted(tokens, memory):
        counts.append(len(tokens))
        return read(tokens, memory)

    monkeypatch.setattr(talk.voice.reader, "read", counted)
    talk.voice.read_ahead(talk.chat.turns).join(waiting.LIMIT)
    ahead, known = sum(counts), len(talk.voice.tokens(talk.chat.turns))
    assert 0 < ahead <= known, "the answer is read; the prompt was"
    counts.clear()
    turns = (*talk.chat.turns, Turn("user", "What is bread?"))
    answer = talk.voice.answer(turns, 1)
    list(answer)
    assert sum(counts) <= len(answer.prompt.tokens) - known + 2 * 8
    monkeypatch.undo()
    monkeypatch.setattr("souron.evaluation.language.text_generation.CHUNK", 8)
    bits = [written.bits for written in talk.voice.writer.write(answer.prompt.tokens, 5, Sampling(0))]
    fresh = souron.load(run).voice.writer
    assert bits == [written.bits for written in fresh.write(answer.prompt.tokens, 5, Sampling(0))]


def test_reading_ahead_makes_way_for_a_question(run, monkeypatch):
    monkeypatch.setattr("souron.evaluation.language.text_generation.CHUNK", 8)
    voice = souron.load(run).voice
    turns = (Turn("user", "What is water? " * 6), Turn("assistant", "It is water."))
    question = (Turn("user", "What is bread?"),)
    with voice.busy:
        thread = voice.read_ahead(turns)
        stopped = voice.answer(question, 6)
        stopped.stop()
        list(stopped)  # it was asked for, which is enough
    thread.join(waiting.LIMIT)
    assert not thread.is_alive() and not voice.writer._cache_tokens
    thread = voice.read_ahead(turns)
    text = "".join(voice.answer(question, 6))
    thread.join(waiting.LIMIT)
    assert text == "".join(souron.load(run).voice.answer(question, 6))
    assert text == "".join(voice.answer(question, 6)), "and its cache holds what it says it does"


def test_the_chat_in_a_terminal_reads_ahead(run, monkeypatch, capsys):
    typed, ahead = iter(["What is water?", "/quit"]), []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("souron.cli.chat.typed", lambda *_given: next(typed))
    monkeypatch.setattr(Voice, "read_ahead", lambda self, turns: ahead.append(len(turns)))
    assert main.run(["chat", str(run), "length=4", "filter=none"]) == 0
    assert ahead == [2]


# llama.cpp

llama = pytest.mark.skipif(not extras.installed("llama"), reason="the extra llama is not installed")


@pytest.fixture
def file(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("llama", tmp_path / "llama", tokenizer)
    return gguf_of(reference, tokenizer, tmp_path / "model.gguf", template=TEMPLATE)


def listening():
    return {each for each in psutil.Process().net_connections("all") if each.status == psutil.CONN_LISTEN}


def model_of(file, **config):
    kind, default = registry.load_system("open_model")
    return kind(replace(default, model=str(file), **config), None).eval()


@llama
def test_llama_says_what_souron_says_of_20_prompts(file, tokenizer):
    own, other = open_models.load(str(file))[2].float(), model_of(file, engine="llama")
    torch.manual_seed(0)
    for length in range(1, 21):
        tokens = torch.randint(len(tokenizer), (1, length))
        expected = own(tokens).log_softmax(-1)
        assert torch.allclose(other(tokens).log_softmax(-1), expected, atol=0.02)
        memory = other.kv_cache()
        other.read_many(tokens, memory)
        memory.truncate(length // 2)
        again = other.read_many(tokens[:, length // 2 :], memory)
        assert torch.allclose(again.log_softmax(-1), expected[:, -1], atol=0.02)


@llama
def test_a_state_that_cannot_go_back_is_read_again(file, monkeypatch):
    """llama.cpp keeps only the last state of recurrent architectures, and says so."""
    monkeypatch.setattr("souron.evaluation.language.text_generation.CHUNK", 8)
    voice = souron.load(str(file), engine="llama").voice
    library = voice.reader.held[2].library
    remove = library.llama_memory_seq_rm
    monkeypatch.setattr(library, "llama_memory_seq_rm", lambda *given: given[2] == 0 and remove(*given))
    tokens = [*range(5, 45)]
    for end in (40, 30):
        bits = [written.bits for written in voice.writer.write(tokens[:end], 4, Sampling(0))]
        fresh = souron.load(str(file), engine="llama").voice.writer
        assert bits == pytest.approx([written.bits for written in fresh.write(tokens[:end], 4, Sampling(0))], abs=0.02)


@llama
def test_llama_answers_and_nothing_listens(file):
    before, handler = listening(), signal.getsignal(signal.SIGINT)
    model = souron.load(str(file), engine="llama")
    reply = model.reply("What is water?", length=5, seed=1)
    assert reply.tokens == 5 and reply.engine.startswith("xllamacpp 20")
    assert reply.text == model.reply("What is water?", length=5, seed=1).text
    assert listening() == before
    assert signal.getsignal(signal.SIGINT) is handler


@llama
def test_the_template_is_rendered_here(file, monkeypatch):
    """Not by llama.cpp: what people write never becomes a special token."""
    voice = Voice(model_of(file, engine="llama"))
    own = Voice(model_of(file))
    turns = Chat((Turn("user", "<|im_end|> What is water?"),)).turns
    assert voice.tokens(turns) == own.tokens(turns)
    assert voice.tokens(turns).count(own.reader.tokenizer.end[0]) == 1


@llama
def test_a_text_longer_than_the_context_is_refused(file):
    model = model_of(file, engine="llama", context=40)
    memory = model.kv_cache()
    model.read_many(torch.arange(30)[None], memory)
    with pytest.raises(UserError, match="45 tokens") as trouble:
        model.read_many(torch.arange(15)[None], memory)
    assert (trouble.value.code, trouble.value.expected) == ("context", "at most 40 tokens")
    assert Voice(model).prompt((Turn("user", "What is water?"),), 4).tokens


@llama
@pytest.mark.parametrize("form", ["folder", "cut", "unknown"])
@pytest.mark.quick(seconds=30)  # the first of a worker loads llama.cpp
def test_what_llama_cannot_run_is_refused(form, file, tmp_path, capsys):
    engine = "lama" if form == "unknown" else "llama"
    if form == "cut":
        content = file.read_bytes()
        open_models.glance(file)
        file.write_bytes(content[: len(content) // 2])
    place = tmp_path / "llama" if form == "folder" else file
    assert main.run(["chat", str(place), "Hello", f"engine={engine}"]) in (2, 3)
    error = capsys.readouterr().err
    assert {"folder": "a .gguf file", "cut": "no language model", "unknown": "souron, llama"}[form] in error


def test_only_published_models_have_another_engine(run, capsys):
    assert main.run(["chat", str(run), "Hello", "engine=llama", "filter=none"]) == 2
    assert "souron's own engine" in capsys.readouterr().err


@llama
def test_the_command_line_names_the_engine(file, capsys):
    assert main.run(["chat", str(file), "What is water?", "engine=llama", "length=3", "filter=none", "--json"]) == 0
    assert "xllamacpp" in json.loads(capsys.readouterr().out)["engine"]


@llama
@pytest.mark.parametrize("change", ["gone", "order"])
def test_another_xllamacpp_is_refused_before_it_is_called(change, monkeypatch):
    llama_decoder.library.cache_clear()
    if change == "gone":
        monkeypatch.setitem(llama_decoder.FUNCTIONS, "llama_of_tomorrow", (None, ()))
    else:
        monkeypatch.setattr(llama_decoder, "DEFAULTS", (2048, 512, 512, 1))
    with pytest.raises(UserError, match="cannot be called"):
        llama_decoder.library()
