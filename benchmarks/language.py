"""Language models on this machine: how fast, how close to the exact weights, how much is learnt.

    python benchmarks/language.py speed      SmolLM2: seconds to the first token and tokens a
                                             second, in bf16 and with matrices in 8 bits, beside
                                             transformers
    python benchmarks/language.py exact      how far bf16 and 8 bits are from float32, in nats
    python benchmarks/language.py learning   the same small GPT, texts and number of tokens: Muon
                                             beside AdamW alone, the usual loop
    python benchmarks/language.py bytes      bits per byte of manuals by language: SmolLM2, and xz

``manuals`` and SmolLM2 are to be fetched first (souron fetch manuals, souron fetch smollm2).
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch

from souron import registry
from souron.blocks.int8 import Int8Decoder
from souron.data import load
from souron.data.dataset import Dataset
from souron.evaluation.language import complete
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.metrics.complete import BITS
from souron.stats import intervals
from souron.systems.complete.open_model import Config, OpenModel
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Run
from souron.training.trainer import autocast
from souron.utils import hardware

ROUNDS, WRITTEN, READ = 5, 64, 4_000  # rounds; tokens that are written; tokens that are compared
QUESTION = "What is the capital of France, and what is it known for?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("speed", "exact", "learning", "bytes"))
    parser.add_argument("--tokens", type=int, default=500_000, help="that are learnt from")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    print(f"{hardware.facts()}, {torch.get_num_threads()} threads")
    {"speed": speed, "exact": exact, "bytes": bits, "learning": lambda: learning(asked.tokens)}[asked.what]()


@torch.inference_mode()
def speed() -> None:
    for bits in (16, 8):
        model = OpenModel(replace(Config(), bits=bits), None).eval()
        prompt = model.tokenizer.conversation([Turn("user", QUESTION)], answer=True)[0]
        firsts, rates = [], []
        for _round in range(ROUNDS):
            begun = time.perf_counter()
            written = Writer(model).write(prompt, WRITTEN, Sampling(0), stop=False)
            next(written)
            first = time.perf_counter()
            count = sum(1 for _each in written)
            rates.append(count / (time.perf_counter() - first))
            firsts.append(first - begun)
        print(
            f"souron, {bits} bits: first of {len(prompt)} + 1 tokens after "
            f"{statistics.median(firsts):.2f} s, {statistics.median(rates):.1f} tokens/s"
        )
    peer(prompt)


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
    quick = Int8Decoder(decoder)
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
