"""Convert tokenizers in GGUF files to the ``tokenizers`` library.

Supported are byte-pair encoding with merges, and SentencePiece, which has a score per token.

Kudo, Richardson: SentencePiece (2018). https://arxiv.org/abs/1808.06226
"""

from collections.abc import Iterator, Sequence
from typing import Any

BLANK = "\u2581"  # stands for a blank in SentencePiece


def byte_pairs(words: Sequence[str], merges: list[Any], special: list[str], digits: bool, pattern: str) -> Any:
    """Build a tokenizer like GPT-2's.

    ``digits`` separates single digits; ``pattern`` is the regular expression of a word.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(words)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    before: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern:
        before.append(pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"))
    before.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern))
    backend.pre_tokenizer = pre_tokenizers.Sequence(before)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    return backend


def sentence_pieces(
    words: Sequence[str], scores: Sequence[float], special: list[str], whole: list[str], first: bool
) -> Any:
    """Build a tokenizer like Llama 2's.

    ``whole`` are texts that are never split; ``first`` prepends a blank to each text.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers

    vocabulary = {word: number for number, word in enumerate(words)}
    unknown = "<unk>" if "<unk>" in vocabulary else None
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=list(_merges(vocabulary, scores)),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    before = [normalizers.Prepend(BLANK)] if first else []
    backend.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", BLANK)])
    after = [decoders.Strip(" ", 1, 0)] if first else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *after]
    )
    backend.add_special_tokens(special)
    backend.add_tokens([tokenizers.AddedToken(word, normalized=False) for word in whole])
    return backend


def _merges(vocabulary: dict[str, int], scores: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Yield pairs of tokens to merge, in order of the score of the merged token."""
    for word in sorted(vocabulary, key=lambda word: (-scores[vocabulary[word]], vocabulary[word])):
        for place in range(1, len(word)):
            left, right = word[:place], word[place:]
            if left in vocabulary and right in vocabulary:
                yield left, right
