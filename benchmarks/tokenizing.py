"""``bpe`` beside the tokenizers library: the same merges and numbers, and the time that they take.

    python benchmarks/tokenizing.py            (a megabyte of each language; a minute)

Needs ``souron fetch manuals``. CPU seconds of one thread.
"""

import json
import time

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from souron.data import load
from souron.systems.tokenize.bpe import BPE, Config
from souron.tasks.tokenize import Batch, Spec
from souron.training.loop import Run

SIZE, BYTES = 4096, 1_000_000


class Texts:
    def __init__(self, texts):
        self.texts = texts

    def once(self):
        yield Batch(self.texts)


def some(language):
    """A megabyte of training texts."""
    data, texts, size = load.load("manuals"), [], 0
    for text, own, part in zip(data.input, data.columns["language"], data.part, strict=True):
        if own == language and part == "train" and size < BYTES:
            texts.append(text.encode()[: BYTES - size].decode("utf-8", "ignore"))
            size += len(texts[-1].encode())
    return texts


def main():
    for language in ("en", "ja"):
        texts = some(language)
        begun = time.process_time()
        ours = BPE(Config(SIZE), Spec(0))
        for _progress in ours.fit(Texts(texts), Run(10**9)):
            pass
        learnt = time.process_time()
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=SIZE,
                min_frequency=2,
                show_progress=False,
                initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            ),
        )
        theirs = time.process_time()
        model = json.loads(backend.to_str())["model"]
        merges = [tuple(map(model["vocab"].get, pair)) for pair in model["merges"]]
        cut = [ours.encode(text) for text in texts]
        coded = time.process_time()
        same = cut == [backend.encode(text).ids for text in texts]
        print(
            f"{language}: {sum(len(text.encode()) for text in texts)} bytes, {len(merges)} merges, "
            f"equal {merges == ours.learnt()}; {sum(map(len, cut))} tokens, equal {same}; "
            f"learning {learnt - begun:.1f} s, theirs {theirs - learnt:.1f} s; "
            f"cutting {coded - theirs:.1f} s"
        )


if __name__ == "__main__":
    main()
