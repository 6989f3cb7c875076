"""Language models: decoders beside transformers', lessons, writing, counts."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from shapes import gguf_of, pieces_learnt, published, sentences

from souron import registry
from souron.blocks.decoder import Cache, Decoder, Structure, named
from souron.blocks.muon import MuonAdamW
from souron.data.dataset import Dataset, ListColumn, Rows
from souron.data.language.tokenizer import TEMPLATE, Tokenizer
from souron.data.texts import Preference
from souron.evaluation.language import text_generation
from souron.evaluation.language.complete import token_bits
from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.hub import open_models
from souron.kinds.chat import Turn
from souron.kinds.text import Text
from souron.runs import evaluate, train
from souron.tasks import complete
from souron.tasks.complete import BETA, KEPT, Spec, windows
from souron.utils.messages import UserError


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn([*sentences(60).input], 300)


@pytest.fixture
def tiny(tokenizer):
    return made("gpt_tiny", tokenizer)


def made(name, tokenizer, lesson="text"):
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    model = kind(config, Spec(tokenizer.packed(), len(tokenizer), lesson))
    for weight in model.parameters():  # layers that begin by changing nothing would hide mistakes
        torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


# decoders

STRUCTURES = {
    "modern": named("modern", 50, 32, 2, 32, 4),
    "gpt2": named("gpt2", 50, 32, 2, 32, 4),
    "grouped": Structure(50, 32, 2, 32, 4, groups=2, hidden=48, rotary=5000.0),
}


@pytest.mark.parametrize("name", list(STRUCTURES))
@torch.inference_mode()
def test_reading_in_parts_is_reading_at_once(name):
    torch.manual_seed(0)
    decoder = Decoder(STRUCTURES[name]).eval()
    tokens = torch.randint(50, (2, 20))
    cache = Cache(decoder.structure, 2, decoder.embedding.weight)
    parts = [decoder(part, cache) for part in tokens.split([7, 1, 1, 11], 1)]
    assert torch.allclose(torch.cat(parts, 1), decoder(tokens), atol=1e-5)


@torch.inference_mode()
def test_a_token_sees_none_that_follow():
    decoder = Decoder(STRUCTURES["grouped"]).eval()
    tokens = torch.randint(50, (1, 12))
    other = tokens.clone()
    other[0, 8:] = 3
    assert torch.allclose(decoder(tokens)[0, :8], decoder(other)[0, :8], atol=1e-6)


@torch.inference_mode()
def test_the_modern_decoder_is_what_its_equations_say():
    """Pair by pair and head by head: rotations as complex numbers, norms without weights."""
    torch.manual_seed(0)
    decoder = Decoder(STRUCTURES["modern"]).eval()
    ids = torch.randint(50, (9,))

    def norm(x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def turned(x, place):
        angle = place * 10_000.0 ** (-torch.arange(4) / 4)
        pairs = torch.complex(x[:4], x[4:]) * torch.polar(torch.ones(4), angle)
        return norm(torch.cat([pairs.real, pairs.imag]))

    x = decoder.embedding(ids)
    for block in decoder.blocks:
        q, k, v = block.attention.qkv(norm(x)).view(9, 3, 4, 8).unbind(1)
        mixed = torch.zeros(9, 4, 8)
        for head in range(4):
            for i in range(9):
                score = [turned(q[i, head], i) @ turned(k[j, head], j) for j in range(i + 1)]
                mixed[i, head] = (torch.stack(score) / 8**0.5).softmax(0) @ v[: i + 1, head]
        x = x + block.attention.out(mixed.flatten(1))
        x = x + block.mlp.down(block.mlp.up(norm(x)).clamp(min=0) ** 2)
    assert torch.allclose(decoder(ids[None])[0], decoder.head(norm(x)), atol=1e-4)


@torch.inference_mode()
def test_its_layers_begin_by_changing_nothing(tokenizer):
    kind, config = registry.load_system("gpt_tiny")
    decoder = kind(config, Spec(tokenizer.packed(), len(tokenizer))).decoder.eval()
    tokens = torch.randint(200, (2, 9))
    alone = decoder.logits(decoder.norm(decoder.embedding(tokens)))
    assert torch.allclose(decoder(tokens), alone, atol=1e-6)


@pytest.mark.parametrize("size, count", [("gpt2", 124_439_808), ("smollm2", 134_515_008)])
def test_published_sizes_have_the_published_parameters(size, count):
    from souron.evaluation import summary

    model, _spec = summary.drawn(registry.entries()["gpt"], size)
    assert summary.parameters(model) == count


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@torch.inference_mode()
def test_published_weights_answer_as_in_transformers(kind, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / kind
    reference = published(kind, folder, tokenizer)
    _about, own, decoder = open_models.load(str(folder))
    tokens = torch.tensor([own.encode("The patient takes a tablet. 患者が薬を飲む。")])
    expected = reference(tokens).logits
    assert torch.allclose(decoder.float()(tokens), expected, atol=1e-3)
    again = open_models.load(str(folder))[2]  # from the cache
    assert torch.allclose(again.float()(tokens), expected, atol=1e-3)


def test_a_model_ends_and_draws_as_its_publishers_say(tokenizer, tmp_path, monkeypatch):
    """Gemma ends an answer by a token that only generation_config.json names."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    how = {"eos_token_id": [5, 7, 10**9], "temperature": 0.3, "top_p": 0.5, "top_k": 4}
    (tmp_path / "llama" / "generation_config.json").write_text(json.dumps(how))
    about = json.dumps({"eos_token": "<|end|>"})
    (tmp_path / "llama" / "tokenizer_config.json").write_text(about)
    kind, config = registry.load_system("open_model")
    for _time in range(2):  # from the cache, too
        model = kind(replace(config, model=str(tmp_path / "llama"), context=60), None)
        assert model.tokenizer.end == (tokenizer.end[0], 5, 7)
        voice = Voice(model)
        assert voice.sampling(seed=3) == Sampling(0.3, 0.5, 3)
        assert voice.sampling(0.0, 1.0) == Sampling(0.0, 1.0)
    monkeypatch.setattr(model, "read_many", lambda tokens, memory: 9.0 * torch.eye(300)[[7]])
    written = Writer(model).write([1, 2], 9, Sampling(0))
    assert list(written) == [], "the second of its ends ends it"
    assert Voice(made("gpt_tiny", tokenizer)).sampling() == Sampling()
    assert open_models.own_sampling("smollm2") == (0.2, 0.9)


@pytest.mark.parametrize("name", ["open_model", "lora"])
def test_a_context_that_would_not_be_kept_is_refused(name):
    kind, config = registry.load_system(name)
    with pytest.raises(UserError, match="131072"):
        kind(replace(config, context=131_072), Spec("", 0, "messages"))


@pytest.mark.parametrize("how", [{"temperature": 99}, {"temperature": "hot", "top_p": -1}, {}])
def test_sampling_that_nobody_can_mean_is_left_out(how, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    (tmp_path / "llama" / "generation_config.json").write_text(json.dumps(how))
    assert open_models.own_sampling(str(tmp_path / "llama")) == (None, None)


@pytest.mark.quick(seconds=30)  # the first of a worker loads llama.cpp
@torch.inference_mode()
def test_another_decoder_runs_from_its_gguf_with_llama(tokenizer, tmp_path, monkeypatch):
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("qwen3", tmp_path / "qwen3", tokenizer)
    file = gguf_of(reference, tokenizer, tmp_path / "qwen3.gguf", architecture="qwen3")
    kind, config = registry.load_system("open_model")
    model = kind(replace(config, model=str(file), context=60), None)
    assert open_models.describe(file).structure is None and model.software.startswith("xllamacpp")
    tokens = torch.tensor([model.tokenizer.encode("The patient takes a tablet.")])
    expected = reference(tokens).logits[0, -1].log_softmax(-1)
    assert torch.allclose(model.read(tokens[0], model.kv_cache()).log_softmax(-1), expected, atol=0.05)
    writer, how = Writer(model), Sampling(0)
    first = [each.token for each in writer.write(tokens[0].tolist(), 6, how, stop=False)]
    again = [each.token for each in writer.write(tokens[0].tolist(), 6, how, stop=False)]
    assert first == again and first[0] == int(expected.argmax())


@pytest.mark.parametrize("load", [open_models.load, open_models.load_any])
def test_a_folder_of_another_decoder_says_what_runs(load, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("qwen3", tmp_path / "qwen3", tokenizer)
    with pytest.raises(UserError, match="no decoder qwen3") as trouble:
        load(str(tmp_path / "qwen3"))
    assert "llama, mistral, qwen2, gpt2, or its .gguf file" in trouble.value.expected


@torch.inference_mode()
def test_prompts_are_read_in_16_bits_and_single_tokens_in_8(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("open_model")
    config = replace(config, model=str(tmp_path / "llama"))
    tokens = torch.arange(12)[None]
    for bits in (8, 16):
        model = kind(replace(config, bits=bits), None)
        read, exact = model.kv_cache(), model.kv_cache()
        prompt = model.held[2](tokens[:, :11], exact, last=True)[:, -1]
        assert torch.equal(model.read_many(tokens[:, :11], read), prompt)
        last = model.held[2](tokens[:, 11:], exact, last=True)[:, -1]
        found = model.read_many(tokens[:, 11:], read)
        assert torch.equal(found, last) == (bits == 16)
        assert torch.allclose(found.float(), last.float(), atol=0.5)


def test_the_shorter_context_counts(tokenizer, tmp_path, monkeypatch):
    """Of what is asked for and what the model has."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("open_model")
    for asked, expected in ((2048, 64), (40, 40)):
        model = kind(replace(config, model=str(tmp_path / "llama"), context=asked), None)
        assert model.context == expected and model.kv_cache().keys.shape[3] == expected


@torch.inference_mode()
def test_a_gguf_answers_as_the_folder_it_was_made_from(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("llama", tmp_path / "llama", tokenizer)
    file = gguf_of(reference, tokenizer, tmp_path / "model.gguf")
    about, own, decoder = open_models.load(str(file))
    assert (about.licence, about.context, about.quantised) == ("mit", 64, "F32")
    text = "The patient takes 12 tablets. 患者が薬を飲む。"
    assert own.encode(text) == tokenizer.encode(text)
    tokens = torch.tensor([own.encode(text)])
    assert torch.allclose(decoder.float()(tokens), reference(tokens).logits, atol=1e-3)


@torch.inference_mode()
def test_a_gguf_keeps_the_position_scaling_of_the_folder(tokenizer, tmp_path, monkeypatch):
    """Llama 3.1 to 3.3. transformers reads the same GGUF without it, so only the folder shows it:
    as the rotations differ most far from the beginning, the last places tell it best."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    reference = published("llama", tmp_path / "llama", tokenizer, rope_parameters=scaling)
    speeds = reference.model.rotary_emb.inv_freq
    factors = 10_000.0 ** (-torch.arange(len(speeds)) / len(speeds)) / speeds
    assert factors.max() == pytest.approx(8) and factors.min() < 2
    file = gguf_of(reference, tokenizer, tmp_path / "model.gguf", factors)
    tokens = torch.arange(60)[None] % len(tokenizer)
    for _time in range(2):  # from the cache, too
        decoder = open_models.load(str(file))[2]
        given = decoder.float()(tokens)
        assert torch.allclose(given, reference(tokens).logits, atol=1e-3)


def test_a_gguf_has_sentencepieces_tokenizer(tmp_path, monkeypatch):
    """As Llama 2 and Mistral have it: no merges, but a score for each token."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    tokenizer = pieces_learnt("The patient takes a tablet. The tablets are patient. 患者が薬を飲む。")
    reference = published("llama", tmp_path / "llama", tokenizer)
    file = gguf_of(reference, tokenizer, tmp_path / "model.gguf", pieces=True)
    _about, own, _decoder = open_models.load(str(file))
    assert own.names == {"bos_token": "<s>", "eos_token": "</s>"}
    for text in ("The patient takes  two tablets.", "患者が薬を飲む。 歯 🦷", " a\n b", "<s>", ""):
        assert own.encode(text) == tokenizer.encode(text), text
        assert own.decode(own.encode(text)) == text
    assert own.encode("<s>", special=True)[-1] == own.start


@pytest.mark.parametrize("form", ["folder", "gguf"])
@torch.inference_mode()
def test_a_llama_with_biases_answers_as_in_transformers(form, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("llama", tmp_path / "llama", tokenizer, attention_bias=True)
    file = gguf_of(reference, tokenizer, tmp_path / "model.gguf")
    decoder = open_models.load(str(file if form == "gguf" else tmp_path / "llama"))[2]
    tokens = torch.arange(40)[None]
    assert torch.allclose(decoder.float()(tokens), reference(tokens).logits, atol=1e-3)
    published("llama", tmp_path / "mlp", tokenizer, mlp_bias=True)
    assert open_models.describe(tmp_path / "mlp").structure is None


@pytest.mark.parametrize("damage", ["cut", "start", "ending", "pickle", "empty"])
def test_what_is_no_model_is_refused(damage, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("llama", tmp_path / "llama", tokenizer)
    file = gguf_of(reference, tokenizer, tmp_path / "model.gguf")
    content = file.read_bytes()
    if damage in ("pickle", "empty"):
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "llama"}' if damage == "pickle" else "")
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
        file = folder
    else:
        file.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "start": b"LGGF" + content[4:],
                "ending": content[:4] + content[4:8][::-1] + content[8:],
            }[damage]
        )
    with pytest.raises(UserError, match="no language model"):
        open_models.load(str(file))


def test_a_model_larger_than_memory_is_refused_with_what_fits(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    monkeypatch.setattr("souron.utils.hardware.memory", lambda: (10_000, 10_000))
    with pytest.raises(UserError, match="of memory") as trouble:
        open_models.load(str(tmp_path / "llama"))
    assert "billion parameters" in trouble.value.expected


# optimizer


def test_muon_moves_all_directions_alike():
    weight = torch.nn.Parameter(torch.zeros(8, 4))
    other = torch.nn.Parameter(torch.zeros(3))
    optimizer = MuonAdamW([weight], [other], 0.1, 0.01)
    weight.grad = torch.diag(torch.tensor([100.0, 10.0, 1.0, 0.1])).repeat(2, 1)
    other.grad = torch.ones(3)
    optimizer.step()
    steps = torch.linalg.svdvals(weight.detach())
    assert steps.min() > 0.5 * steps.max()
    assert torch.allclose(other.detach(), torch.full((3,), -0.01))


def test_muon_moves_the_matrices_of_the_layers_alone(tiny):
    muon, adam = tiny.optimizers()["model"].param_groups
    layers = {id(weight) for weight in tiny.decoder.blocks.parameters() if weight.ndim == 2}
    assert {id(weight) for weight in muon["params"]} == layers
    assert {id(weight) for weight in adam["params"]} == {*map(id, tiny.parameters())} - layers
    assert muon["lr"] == pytest.approx(2 * adam["lr"])


def test_muon_goes_on_where_it_was_left(tiny):
    def step(optimizer):
        torch.manual_seed(3)
        tokens = torch.randint(50, (4, 9))
        loss = -tiny.log_likelihoods(tokens).mean()
        tiny.zero_grad()
        loss.backward()
        optimizer.step()

    first = tiny.optimizers()["model"]
    step(first)
    state, before = (copy.deepcopy(first.state_dict()), {n: w.clone() for n, w in tiny.state_dict().items()})
    step(first)
    after = {n: w.clone() for n, w in tiny.state_dict().items()}
    tiny.load_state_dict(before)
    second = tiny.optimizers()["model"]
    second.load_state_dict(state)
    step(second)
    assert all(torch.equal(weight, after[name]) for name, weight in tiny.state_dict().items())


# lessons


def test_each_token_but_the_first_is_foretold_once(tokenizer):
    [entry] = complete.encoded(tokenizer, ["The patient reads the file. " * 20])
    batch = windows([entry], 16, tokenizer.start)
    assert batch.tokens.shape[1] == 17 and int(batch.counts.sum()) == len(entry.ids) - 1
    told = batch.tokens[:, 1:][batch.counts]
    assert told.tolist() == entry.ids[1:].tolist()
    assert batch.bytes.tolist() == [len("The patient reads the file. " * 20)]


@torch.inference_mode()
def test_bits_per_byte_are_those_of_all_tokens(tiny):
    texts = ["The patient reads the file. " * 20, "患者が薬を飲む。"]
    data = Dataset("texts", ListColumn(texts), None, (), ["1", "2"], augment=())
    found = complete.Complete().validate(tiny, tiny.loader(data))["bits per byte"]
    for entry, text, bits in zip(complete.encoded(tiny.tokenizer, texts), texts, found, strict=True):
        parts = [entry.ids[at : at + 65] for at in range(0, len(entry.ids) - 1, 64)]
        nats = -sum(tiny.log_likelihoods(part[None]).sum().item() for part in parts)
        assert bits.item() == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-4)


TALK = (
    Turn("user", "The file?"),
    Turn("assistant", "A nurse reads."),
    Turn("user", "And?"),
    Turn("assistant", "患者が読む。"),
)


def test_only_what_the_assistant_says_counts(tokenizer):
    [entry] = complete.encoded(tokenizer, [TALK])
    said = tokenizer.decode(entry.ids[entry.counts].tolist())
    assert said == "A nurse reads.患者が読む。"
    assert entry.bytes == len("A nurse reads.患者が読む。".encode())


def test_of_a_preference_only_the_two_answers_count(tokenizer):
    """Not what the assistant said earlier, which both have in common."""
    [pair] = complete.encoded(tokenizer, [Preference(TALK[:3], "A doctor reads.", "No.")])
    said = [tokenizer.decode(each.ids[each.counts].tolist()) for each in pair]
    assert said == ["A doctor reads.", "No."]


def test_of_a_long_answer_the_end_is_kept(tokenizer):
    [pair] = complete.encoded(tokenizer, [Preference(TALK[:1], "A doctor reads. " * 20, "No. " * 40)])
    batch = windows([pair], 16, tokenizer.start)
    assert batch.tokens.tolist() == [each.ids[-17:].tolist() for each in pair]


def test_of_two_answers_that_is_preferred_whose_tokens_are_likelier(tokenizer, monkeypatch):
    """Token by token: a longer answer is always less likely as a whole."""
    model = made("gpt_tiny", tokenizer, "preferences")
    data = Dataset("pairs", ListColumn(PAIRS[:1]), None, (), ["1"], augment=())
    nats_and_tokens = iter([([6.0], [3.0]), ([4.0], [1.0])])  # of the chosen, of the rejected
    monkeypatch.setattr(model, "asked", lambda batch: map(torch.tensor, next(nats_and_tokens)))
    found = complete.Complete().validate(model, model.loader(data))
    assert found["preference accuracy"].tolist() == [1.0]


PAIRS = [
    Preference((Turn("user", "The file?"),), "A nurse reads.", "Two letters!"),
    Preference((Turn("user", "The tablet?"),), "患者が飲む。", "No."),
]


def test_preferences_are_learnt_as_the_paper_has_it(tokenizer):
    model = made("gpt_tiny", tokenizer, "preferences")
    data = Dataset("pairs", ListColumn(PAIRS), None, (), ["1", "2"], augment=())
    [batch] = model.loader(data, lambda rows, generator: rows).once()
    assert model.reference and not any(w.requires_grad for w in model.reference[0].parameters())

    def said(of):
        return (of.log_likelihoods(batch.tokens) * batch.counts).sum(1)

    start = -said(model)[:2].sum() / batch.counts[:2].sum()
    assert model.loss(batch).item() == pytest.approx(math.log(2) + KEPT * start.item(), rel=1e-5)

    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    now, before = said(model), said(model.reference[0])
    kept = -now[:2].sum() / batch.counts[:2].sum()
    margins = [(now[i] - before[i]) - (now[i + 2] - before[i + 2]) for i in range(2)]
    expected = sum(-math.log(1 / (1 + math.exp(-BETA * m.item()))) for m in margins) / 2
    assert model.loss(batch).item() == pytest.approx(expected + KEPT * kept.item(), rel=1e-5)


def test_later_lessons_change_little(tokenizer):
    rates = [
        made("gpt_tiny", tokenizer, lesson).optimizers()["model"].param_groups[1]["lr"]
        for lesson in ("text", "messages", "preferences")
    ]
    assert rates == pytest.approx([rates[0], rates[0] / 5, rates[0] / 10])


def test_learning_what_is_preferred_makes_it_likelier(tokenizer):
    model = made("gpt_tiny", tokenizer, "preferences")
    data = Dataset("pairs", ListColumn(PAIRS * 8), None, (), list("abcdefghijklmnop"), augment=())
    loader = model.loader(data, lambda rows, generator: rows)
    before = model.validate(loader)["preference accuracy"].mean()
    from souron.training.loop import Run

    for _progress in model.fit(loader, Run(12, 16)):
        pass
    with torch.inference_mode():
        after = model.validate(loader)["preference accuracy"].mean()
    assert after == 1 and before < 1


def test_from_letters_to_manners(tmp_path):
    """Texts, then conversations, then preferences, each beginning with the run before."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, text in enumerate(sentences(80).input):
        (texts / f"{number:03d}.txt").write_text(text + "\n", encoding="utf-8")
    talks, pairs = tmp_path / "talks.jsonl", tmp_path / "pairs.jsonl"
    with talks.open("w", encoding="utf-8") as file:
        for number in range(40):
            messages = [
                {"role": "user", "content": f"The file {number}?"},
                {"role": "assistant", "content": "A nurse reads the file."},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")
    with pairs.open("w", encoding="utf-8") as file:
        for number in range(40):
            pair = {"prompt": f"The letter {number}?", "chosen": "A doctor reads.", "rejected": "No."}
            file.write(json.dumps(pair) + "\n")
    common = {"project": tmp_path / "runs", "budget": "6ep", "batch": 16}
    first = train.train("gpt_tiny", texts, name="letters", **common)
    second = train.train("gpt_tiny", talks, name="talk", pretrained=str(first.folder), **common)
    third = train.train("gpt_tiny", pairs, name="manners", pretrained=str(second.folder), **common)
    assert first.measures["bits per byte"].value < 6
    assert [first.seen["lesson"], second.seen["lesson"], third.seen["lesson"]] == ["text", "messages", "preferences"]
    assert third.seen["tokenizer"] == first.seen["tokenizer"]
    assert third.measures["preference accuracy"].value == 1
    page = (third.folder / "report.html").read_text(encoding="utf-8")
    assert "better answer" in page and "How it continues" in page
    assert "not the reward margin" in page
    assert "によると" not in page


def test_a_run_is_measured_on_texts_of_another_language(tmp_path):
    made = sentences(60)
    for language in ("en", "ja"):
        (tmp_path / language).mkdir()
        for number, text in enumerate(made.input):
            if made.columns["language"][number] == language:
                (tmp_path / language / f"{number}.txt").write_text(text, encoding="utf-8")
    run = train.train("ngram_tiny", tmp_path / "en", project=tmp_path / "runs")
    assert list(run.details.by_language) == ["en"]
    again = evaluate.examine(run.folder, tmp_path / "ja")
    assert list(again.details.by_language) == ["ja"]


# writing


def test_the_same_seed_writes_the_same_text_also_with_what_it_has_read(tiny):
    tokens = tiny.tokenizer.encode("The patient reads the file. " * 3)[:50]
    writer = Writer(tiny)
    fresh = [each.token for each in writer.write(tokens, 20, Sampling(seed=4), stop=False)]
    again = [each.token for each in writer.write(tokens, 20, Sampling(seed=4), stop=False)]
    alone = [each.token for each in Writer(tiny).write(tokens, 20, Sampling(seed=4), stop=False)]
    other = [each.token for each in writer.write(tokens, 20, Sampling(seed=5), stop=False)]
    assert fresh == again == alone != other


@torch.inference_mode()
def test_what_follows_depends_on_all_that_was_read(tiny):
    tokens = torch.randint(200, (2, 20))
    memory = tiny.kv_cache(2)
    for part in tokens.split([13, 1, 6], 1):
        last = tiny.read_many(part, memory)
    assert torch.allclose(last, tiny(tokens)[:, -1], atol=1e-4)


def test_what_was_read_is_not_read_again(tokenizer):
    kind = registry.load_system("gpt")[0]
    model = kind(kind.SIZES["small"], Spec(tokenizer.packed(), len(tokenizer))).eval()
    read = []

    def counted(tokens, memory, own=model.read):
        read.append(len(tokens))
        return own(tokens, memory)

    model.read = counted
    writer, tokens = Writer(model), list(range(100))
    list(writer.write(tokens, 1, Sampling(), stop=False))
    list(writer.write([*tokens, 7, 8], 1, Sampling(), stop=False))
    assert read == [64, 36, 1, 38, 1]


def test_it_writes_on_beyond_its_context(tiny):
    written = list(Writer(tiny).write([5] * 10, tiny.context + 30, Sampling(), stop=False))
    assert len(written) == tiny.context + 30


def test_the_likeliest_token_is_taken_at_temperature_0(tiny):
    tokens = tiny.tokenizer.encode("The patient")
    [first] = Writer(tiny).write(tokens, 1, Sampling(temperature=0), stop=False)
    with torch.inference_mode():
        logits = tiny(torch.tensor([tokens]))[0, -1]
    assert first.token == int(logits.argmax())
    expected = -logits.log_softmax(0)[first.token].item() / math.log(2)
    assert first.bits == pytest.approx(expected, rel=1e-4)


def test_only_the_likeliest_are_drawn_among():
    draws = Sampling(temperature=1, top=0.6, seed=0).sampler()
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert {draws.sample(logits) for _number in range(200)} == {0, 1}


def test_a_broken_model_is_told():
    with pytest.raises(UserError, match="not a number"):
        Sampling().sampler().sample(torch.tensor([0.0, math.nan]))


def test_letters_of_several_tokens_are_told_whole(tokenizer):
    model = made("gpt_tiny", tokenizer)
    ids = iter(tokenizer.encode("歯🦷"))

    def read(tokens, memory):
        memory.length += len(tokens)
        logits = torch.full((len(tokenizer),), -50.0)
        logits[next(ids, 0)] = 50
        return logits

    model.read = read
    written = list(Writer(model).write([1], 40, Sampling(0)))
    assert "".join(each.text for each in written) == "歯🦷"
    assert all("\ufffd" not in each.text for each in written)


def test_bytes_that_make_no_character_are_left_out(tokenizer):
    """As a model writes them that has seen too little: a byte that begins a character, then a letter."""
    begun, whole = tokenizer.backend.token_to_id("æ"), tokenizer.encode("ok")
    assert tokenizer.decode([begun]) == "\ufffd"
    assert tokenizer.generated_text([begun, *whole, begun]) == "ok"
    model, ids = made("gpt_tiny", tokenizer), iter([begun, *whole, begun])

    def read(tokens, memory):
        memory.length += len(tokens)
        logits = torch.full((len(tokenizer),), -50.0)
        logits[next(ids, 0)] = 50
        return logits

    model.read = read
    assert "".join(each.text for each in Writer(model).write([1], 40, Sampling(0))) == "ok"


def test_a_text_is_completed(tiny):
    answer = tiny.predict(Text("The patient"), length=5, seed=1)
    assert str(answer).startswith("The patient") and len(str(answer)) > len("The patient")


@torch.inference_mode()
def test_bits_of_tokens_add_up(tiny):
    tokens = torch.arange(40) % 200
    found = token_bits(tiny, tokens)
    assert len(found) == 39
    exact = -tiny.log_likelihoods(tokens[None])[0] / math.log(2)
    assert torch.allclose(found[: tiny.context // 2], exact[: tiny.context // 2], atol=1e-4)


# counts


def test_counts_are_chances(tokenizer):
    data = sentences(40)
    kind = registry.load_system("ngram")[0]
    model = kind(kind.SIZES["small"], Spec(tokenizer.packed(), len(tokenizer)))
    from souron.training.loop import Run

    loader = model.loader(data)
    for _progress in model.fit(loader, Run(10)):
        pass
    text = loader.cases.input[0].ids
    with torch.inference_mode():
        chance = model(text[None, :20])[0].exp()
    assert torch.allclose(chance.sum(1), torch.ones(20), atol=1e-4)

    texts = [each.ids.tolist() for each in loader.cases.input]
    a, b, c = text[3:6].tolist()
    pairs = [t[i : i + 2] for t in texts for i in range(len(t) - 1)]
    triples = [t[i : i + 3] for t in texts for i in range(len(t) - 2)]
    size, total = len(tokenizer), sum(map(len, texts))
    one = (sum(t.count(c) for t in texts) + 1) / (total + size)

    def refined(lower, seen, followers, count):
        return max(count - 0.75, 0) / seen + 0.75 * followers / seen * lower

    two = refined(one, sum(p[0] == b for p in pairs), len({p[1] for p in pairs if p[0] == b}), pairs.count([b, c]))
    three = refined(
        two,
        sum(t[:2] == [a, b] for t in triples),
        len({t[2] for t in triples if t[:2] == [a, b]}),
        triples.count([a, b, c]),
    )
    assert chance[4, c].item() == pytest.approx(three, rel=1e-4)


def counted(tokenizer):
    """A table of counts, and the texts that it counted, as tokens."""
    from souron.training.loop import Run

    kind = registry.load_system("ngram")[0]
    model = kind(kind.SIZES["small"], Spec(tokenizer.packed(), len(tokenizer)))
    loader = model.loader(sentences(40))
    for _progress in model.fit(loader, Run(10)):
        pass
    return model, [each.ids for each in loader.cases.input]


@torch.inference_mode()
def test_before_the_first_token_there_is_nothing(tokenizer):
    """Neither the last token of the row nor another text."""
    model, texts = counted(tokenizer)
    a, b, c = texts[0][3:6].tolist()
    row = torch.tensor([[b, c, c, a]])
    assert torch.allclose(model(row)[:, 0], model(row[:, :1])[:, 0])
    assert int(model.counts2.sum()) == sum(len(text) - 1 for text in texts)
    assert int(model.counts3.sum()) == sum(len(text) - 2 for text in texts)


@torch.inference_mode()
def test_a_token_that_never_came_has_a_chance(tokenizer):
    model, texts = counted(tokenizer)
    never = int(model.counts1.argmin())
    assert model.counts1[never] == 0
    chance = model(torch.tensor([[never]])).exp()[0, 0, never].item()
    assert chance == pytest.approx(1 / (sum(map(len, texts)) + len(tokenizer)), rel=1e-4)


def test_counts_write_as_if_they_read_all(tokenizer):
    model, texts = counted(tokenizer)
    text = texts[0][None, :12]
    with torch.inference_mode():
        memory = model.kv_cache()
        for part in text.split(3, 1):
            last = model.read_many(part, memory)
        assert torch.allclose(last, model(text)[:, -1], atol=1e-5)


# LoRA


def test_lora_begins_as_the_model_and_saves_its_thin_matrices_alone(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("lora")
    config = replace(config, model=str(tmp_path / "llama"), context=32)
    model = kind(config, Spec("", 0, "messages")).eval()
    tokens = torch.randint(50, (2, 10))
    with torch.inference_mode():
        base = model.frozen.held[2](tokens)
        assert torch.equal(model(tokens), base)
        for weight in model.b.values():
            torch.nn.init.normal_(weight)
        assert not torch.allclose(model(tokens), base)
    assert set(model.state_dict()) == {
        f"{part}.{layer}_{target}" for part in "ab" for layer in (0, 1) for target in config.targets
    }


@torch.inference_mode()
def test_lora_writes_with_what_it_learnt(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("lora")
    model = kind(replace(config, model=str(tmp_path / "llama"), context=32), Spec("", 0, "messages"))
    model.frozen.held[2].float()
    for weight in model.b.values():
        torch.nn.init.normal_(weight, std=0.1)
    tokens = torch.randint(50, (2, 10))
    memory = model.kv_cache(2)
    for part in tokens.split([6, 1, 3], 1):
        last = model.read_many(part, memory)
    assert torch.allclose(last, model(tokens)[:, -1], atol=1e-4)


def test_lora_learns_what_is_preferred_from_where_it_began(tokenizer, tmp_path, monkeypatch):
    """After conversations that is the tuned model, not the published one: the loss of preferences
    begins at log 2."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("lora")
    config = replace(config, model=str(tmp_path / "llama"), context=32)
    model = kind(config, Spec("", 0, "preferences"))
    model.frozen.held[1].template = TEMPLATE
    for weight in model.b.values():  # as conversations have left it
        torch.nn.init.normal_(weight, std=0.1)
    data = Dataset("pairs", ListColumn(PAIRS), None, (), ["1", "2"], augment=())
    [batch] = model.loader(data, lambda rows, generator: rows).once()
    said = (model.log_likelihoods(batch.tokens) * batch.counts).sum(1)
    kept = -said[:2].sum() / batch.counts[:2].sum()
    expected = math.log(2) + KEPT * kept.item()
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        for weight in model.b.values():
            weight += 0.1
    assert torch.equal((model.before().log_likelihoods(batch.tokens) * batch.counts).sum(1), said)


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")  # of peft with transformers
def test_lora_is_that_of_peft(tokenizer, tmp_path, monkeypatch):
    import peft

    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    reference = published("llama", tmp_path / "llama", tokenizer)
    kind, config = registry.load_system("lora_large")
    config = replace(config, model=str(tmp_path / "llama"), rank=4, alpha=8.0, context=32)
    model = kind(config, Spec("", 0, "messages")).eval()
    model.frozen.held[2].float()
    for weight in model.b.values():
        torch.nn.init.normal_(weight, std=0.1)
    folder = tmp_path / "adapter"
    model.write_adapter(folder)
    tokens = torch.randint(50, (2, 10))
    with torch.inference_mode():
        reference_before = reference(tokens).logits
    adapted = peft.PeftModel.from_pretrained(reference, folder).eval()
    with torch.inference_mode():
        expected = adapted(tokens).logits
        assert torch.allclose(model(tokens), expected, atol=1e-3)
        assert not torch.allclose(reference_before, expected, atol=1e-2)
    again = kind(config, Spec("", 0, "messages"))
    again.read_adapter(folder)
    kept = model.state_dict()
    assert all(torch.equal(w, kept[n]) for n, w in again.state_dict().items())


def test_windows_are_drawn_at_every_place_by_the_generator():
    text = complete.Encoded(torch.arange(10), torch.ones(10, dtype=torch.bool), 10)
    drawn = [
        complete.cut(text, 7, torch.Generator().manual_seed(seed)).ids.tolist() for seed in (*range(30), *range(30))
    ]
    assert drawn[:30] == drawn[30:] and {tuple(ids) for ids in drawn} == {tuple(range(k, k + 8)) for k in range(3)}
    assert complete.cut(text, 9, None) is text, "which is one window"


def test_a_text_of_whole_windows_has_no_window_without_a_token():
    ids = torch.arange(9)
    text = complete.Encoded(ids, torch.ones(9, dtype=torch.bool), 9)
    assert windows([text], 4, 0).tokens.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]


def test_each_text_is_written_by_the_seed_that_is_given(tiny):
    first, again, other = (str(tiny.predict(Text("a"), length=12, temperature=1.5, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    prompts = [[tiny.tokenizer.start]] * 2

    def answered(seed):
        return dict(text_generation.answers(tiny, prompts, 8, Sampling(1.5, 1.0, seed)))

    assert answered(1) == answered(1) != answered(2) and answered(1)[0] != answered(1)[1]


def test_no_more_is_read_than_the_context_holds(tiny):
    lengths = []
    read = type(tiny).read_many

    def noted(tokens, memory):
        logits = read(tiny, tokens, memory)
        lengths.append(memory.length)
        return logits

    tiny.read_many = noted
    list(Writer(tiny).write([tiny.tokenizer.start], tiny.context + 20, Sampling(), stop=False))
    assert max(lengths) == tiny.context


def test_of_two_equal_answers_none_is_preferred(tokenizer):
    model = made("gpt_tiny", tokenizer, "preferences")
    pair = Preference((Turn("user", "a"),), "b", "b")
    batch = model.batch(Rows(ListColumn(complete.encoded(tokenizer, [pair])), None))
    assert complete._scores(model, batch)["preference accuracy"].tolist() == [0]


def test_the_token_with_the_number_0_counts(tokenizer):
    [text] = complete.encoded(tokenizer, ["a!"])
    assert 0 in text.ids and text.counts.all()
