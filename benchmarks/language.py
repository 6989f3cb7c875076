"""Language models on this machine: how fast, how close to the exact weights, how much is learnt.

    python benchmarks/language.py speed      SmolLM2: seconds to the first token and tokens a
                                             second, in bf16 and with matrices in 8 bits, beside
                                             llama.cpp with the same file and transformers, in turns
    python benchmarks/language.py agree      200 prompts: how far the next token's distribution in
                                             llama.cpp is from that in souron, in nats
    python benchmarks/language.py turns      seconds to the first token of a second turn, with and
                                             without what was read ahead
    python benchmarks/language.py exact      how far bf16 and 8 bits are from float32, in nats
    python benchmarks/language.py learning   the same small GPT, texts and number of tokens: Muon
                                             beside AdamW alone, the usual loop
    python benchmarks/language.py bytes      bits per byte of manuals by language: SmolLM2, and xz

``manuals`` and SmolLM2 are to be fetched first (souron fetch manuals, souron fetch smollm2);
``speed``, ``agree`` and ``turns`` take ``--model random``, too: SmolLM2's structure with random
weights in blocks of 4 bits (Q4_1).
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from tokenizers import pre_tokenizers

from souron import registry
from souron.blocks import int8
from souron.data import load
from souron.data.dataset import Dataset
from souron.evaluation.language import complete
from souron.evaluation.language.conversation import Conversation, Voice
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.hub import open_models
from souron.kinds.chat import Turn
from souron.metrics.complete import BITS
from souron.stats import intervals
from souron.systems.complete.open_model import Config, OpenModel
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Run
from souron.training.trainer import autocast
from souron.utils import extras, hardware

ROUNDS, WRITTEN, READ = 5, 64, 4_000  # rounds; tokens that are written; tokens that are compared
PROMPTS = 200
SHAPE = open_models.KNOWN["smollm2"]
QUESTION = "What is the capital of France, and what is it known for?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("speed", "agree", "turns", "exact", "learning", "bytes"))
    parser.add_argument("--model", default="smollm2", help="a .gguf file, or random")
    parser.add_argument("--tokens", type=int, default=500_000, help="that are learnt from")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    print(f"{hardware.facts()}, {torch.get_num_threads()} threads, load {psutil.getloadavg()}")
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder) / "random.gguf") if asked.model == "random" else asked.model
        {
            "speed": lambda: speed(model),
            "agree": lambda: agree(model),
            "turns": lambda: turns(model),
            "exact": exact,
            "bytes": bits,
            "learning": lambda: learning(asked.tokens),
        }[asked.what]()


def variants(name: str) -> dict[str, OpenModel]:
    """The ways in which a .gguf file runs here."""
    found = {f"souron, {bits} bits": replace(Config(), model=name, bits=bits) for bits in (16, 8)}
    if extras.installed("llama"):
        file = str(open_models.find(name))
        found["llama.cpp"] = replace(Config(), model=file, engine="llama")
    return {label: OpenModel(config, None).eval() for label, config in found.items()}


@torch.inference_mode()
def speed(name: str) -> None:
    models = variants(name)
    prompt = prompt_of(next(iter(models.values())), QUESTION)[:45]
    firsts: dict[str, list[float]] = {label: [] for label in models}
    rates: dict[str, list[float]] = {label: [] for label in models}
    alone: list[float] = []
    for turn in range(ROUNDS + 1):  # the first warms up
        for label, model in models.items():
            begun = time.perf_counter()
            written = Writer(model).write(prompt, WRITTEN, Sampling(0), stop=False)
            next(written)
            first = time.perf_counter()
            count = sum(1 for _each in written)
            if turn:
                rates[label].append(count / (time.perf_counter() - first))
                firsts[label].append(first - begun)
        if turn and "llama.cpp" in models:
            alone.append(alone_rate(models["llama.cpp"], prompt))
    for label in models:
        print(
            f"{label}: first of {len(prompt)} + 1 tokens after {statistics.median(firsts[label]):.2f} s, "
            f"{statistics.median(rates[label]):.1f} tokens/s "
            f"({min(rates[label]):.1f} to {max(rates[label]):.1f})"
        )
    if "llama.cpp" in models:
        pairs = zip(rates["souron, 8 bits"], rates["llama.cpp"], strict=True)
        print(f"souron, 8 bits, over llama.cpp: {statistics.median(own / other for own, other in pairs):.2f}")
        print(f"llama.cpp without souron's sampling and text: {statistics.median(alone):.1f} tokens/s")
    peer(prompt)


def alone_rate(model: OpenModel, prompt: list[int]) -> float:
    """Tokens a second of ``llama_decode`` and nothing else; the tokens do not matter."""
    decoder, memory = model.held[2], model.kv_cache()
    decoder(torch.tensor([prompt]), memory, last=True)
    context, length = memory.contexts[0], WRITTEN
    token = torch.tensor([5], dtype=torch.int32)
    batch = decoder.library.llama_batch_get_one(token.data_ptr(), 1)
    begun = time.perf_counter()
    for _token in range(length):
        decoder.library.llama_decode(context, batch)
    return length / (time.perf_counter() - begun)


def prompt_of(model: OpenModel, question: str) -> list[int]:
    tokenizer = model.tokenizer
    if tokenizer.template:
        return tokenizer.conversation([Turn("user", question)], answer=True)[0]
    return [tokenizer.start, *tokenizer.encode(question)]


@torch.inference_mode()
def agree(name: str) -> None:
    """The prompts are beginnings of texts, or random tokens for random weights."""
    models = variants(name)
    exactly = OpenModel(replace(Config(), model=name), None).held[2].float()
    generator = torch.Generator().manual_seed(0)
    own = models["souron, 8 bits"]
    if name == "smollm2":
        tokens = torch.tensor(own.tokenizer.encode(text_of("en"))[: PROMPTS * 40]).view(PROMPTS, 40)
    else:
        tokens = torch.randint(256, (PROMPTS, 40), generator=generator)
    nats: dict[str, list[float]] = {label: [] for label in models}
    same: dict[str, int] = dict.fromkeys(models, 0)
    for row in tokens:
        part = row[None, : int(torch.randint(8, 41, (), generator=generator))]
        true = exactly(part)[0, -1].log_softmax(-1)
        for label, model in models.items():
            memory = model.kv_cache()
            model.read_many(part[:, :-1], memory)
            told = model.read_many(part[:, -1:], memory)[0].float().log_softmax(-1)
            nats[label].append(float((true.exp() * (true - told)).sum()))
            same[label] += int(told.argmax() == true.argmax())
    for label, found in nats.items():
        print(
            f"{label}: {statistics.mean(found):.4f} nats from float32 over {len(found)} prompts, at most "
            f"{max(found):.3f}; the same likeliest token {same[label] / len(found):.1%}"
        )


@torch.inference_mode()
def turns(name: str) -> None:
    for label, model in variants(name).items():
        for ahead in (False, True):
            talk = Conversation(Voice(model), None, WRITTEN * 2, Sampling(0))
            talk.say(QUESTION)
            if ahead:
                talk.voice.read_ahead(talk.chat.turns).join()
            reply = talk.say("And of Italy?")
            print(
                f"{label}, {'read ahead' if ahead else 'as it is'}: second turn, {reply.prompt_tokens} tokens, first "
                f"after {reply.seconds_to_first:.2f} s"
            )


def random_model(file: Path) -> str:
    """Write SmolLM2's structure with random weights in Q4_1 as a .gguf file."""
    import gguf

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, "".join(letters[:2])]
    words += [f"<{number}>" for number in range(SHAPE.vocabulary - len(words))]
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(SHAPE.context)
    writer.add_embedding_length(SHAPE.width)
    writer.add_block_count(SHAPE.layers)
    writer.add_feed_forward_length(SHAPE.hidden)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.groups)
    writer.add_layer_norm_rms_eps(SHAPE.epsilon)
    writer.add_rope_freq_base(SHAPE.rotary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types([1] * len(words))
    writer.add_token_merges([" ".join(letters[:2])])
    writer.add_bos_token_id(len(words) - 2)
    writer.add_eos_token_id(len(words) - 1)
    random, keys = np.random.default_rng(0), SHAPE.groups * SHAPE.head_width
    shapes = {
        "attn_q": (SHAPE.width, SHAPE.width), "attn_k": (keys, SHAPE.width), "attn_v": (keys, SHAPE.width),
        "attn_output": (SHAPE.width, SHAPE.width), "ffn_gate": (SHAPE.hidden, SHAPE.width),
        "ffn_up": (SHAPE.hidden, SHAPE.width), "ffn_down": (SHAPE.width, SHAPE.hidden),
    }  # fmt: skip
    sizes = {"token_embd": (SHAPE.vocabulary, SHAPE.width)}
    for layer in range(SHAPE.layers):
        sizes |= {f"blk.{layer}.{name}": size for name, size in shapes.items()}
    for name, size in sizes.items():
        values = random.standard_normal(size, dtype=np.float32) * 0.05
        blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"{name}.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    for name in ["output_norm", *(f"blk.{n}.{part}_norm" for n in range(SHAPE.layers) for part in ("attn", "ffn"))]:
        writer.add_tensor(f"{name}.weight", np.ones(SHAPE.width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(file)


def peer(prompt: list[int]) -> None:
    """transformers with the same weights in bf16."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        max_position_embeddings=2048,
    )
    theirs = transformers.LlamaForCausalLM(config).bfloat16().eval()
    ids = torch.tensor([prompt])
    rates = []
    for _round in range(ROUNDS):
        begun = time.perf_counter()
        theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=WRITTEN,
            min_new_tokens=WRITTEN,
            do_sample=False,
            pad_token_id=0,
        )
        rates.append(WRITTEN / (time.perf_counter() - begun))
    print(f"transformers, bf16, random weights: {statistics.median(rates):.1f} tokens/s")


@torch.inference_mode()
def exact() -> None:
    model = OpenModel(Config(), None)
    decoder = model.held[2]
    tokens = torch.tensor(model.tokenizer.encode(text_of("en"))[:READ]).split(500)
    quick = int8.generating(decoder)
    told: dict[str, list[torch.Tensor]] = {"bf16": [], "8 bits": []}
    exactly = OpenModel(Config(), None).held[2].float()
    for part in tokens:
        true = exactly(part[None])[0].log_softmax(-1)
        for name, each in (("bf16", decoder), ("8 bits", quick)):
            said = each(part[None])[0].float().log_softmax(-1)
            told[name].append((true.exp() * (true - said)).sum(-1))
    for name, found in told.items():
        nats = torch.cat(found)
        print(f"{name}: {nats.mean():.4f} nats from float32 over {len(nats)} tokens, at most {nats.max():.3f}")


def text_of(language: str) -> str:
    cases = manuals("test")
    spoken = cases.columns["language"]
    return "\n".join(t for t, s in zip(cases.input, spoken, strict=True) if s == language)


def manuals(part: str) -> Dataset:
    cases = load.load("manuals", formats=("texts",), target="texts")
    return cases.only([row for row, name in enumerate(cases.part) if name == part])


def learning(tokens: int) -> None:
    train, val = manuals("train"), manuals("val")
    kind, config = registry.load_system("gpt")
    spec = kind.spec_for(train)
    for name in ("Muon and AdamW", "AdamW alone"):
        torch.manual_seed(0)
        model = kind(config, spec)
        if name == "AdamW alone":
            adam = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
            model.optimizers = lambda adam=adam: {"model": adam}
        loader = model.loader(train, lambda rows, _generator: rows)
        steps, used = tokens // (128 * config.context), [0.0]
        run = Run(
            steps,
            128,
            autocast=autocast(torch.device("cpu")),
            schedule=lambda optimizer, _step, used=used: set_rate(optimizer, one_cycle(used[0])),
        )
        spent = 0.0
        begun = time.process_time()
        for progress in model.fit(loader, run):
            used[0] = (progress.step + 1) / steps
            spent = time.process_time() - begun
        model.eval()
        with torch.inference_mode():
            scores = model.validate(model.loader(val))[BITS]
        print(
            f"{name}: {scores.mean():.3f} bits per byte after {steps * 128 * config.context} "
            f"tokens, {spent:.0f} s of processor time"
        )


@torch.inference_mode()
def bits() -> None:
    cases = manuals("test")
    model = OpenModel(replace(Config(), context=1024), None).eval()
    language = cases.columns["language"]
    rows = {name: [i for i, one in enumerate(language) if one == name] for name in ("en", "ja")}
    packed = complete.packed(cases, rows)
    for name, some in rows.items():
        found = []
        for row in some[:20]:
            text = cases.input[row]
            tokens = torch.tensor([model.tokenizer.start, *model.tokenizer.encode(text)])
            found.append(float(complete.token_bits(model, tokens).sum()) / len(text.encode()))
        measure = intervals.interval(torch.tensor([found]).double().numpy(), None)
        print(
            f"{name}: SmolLM2 {measure.value:.2f} ({measure.low:.2f} to {measure.high:.2f}, "
            f"{measure.n} texts), xz {packed[name]:.2f} bits per byte"
        )


if __name__ == "__main__":
    main()
