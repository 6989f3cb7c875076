"""Tokenizers: convert texts to numbers, and back.

    text -> pieces (words, runs of Japanese characters, spaces) -> bytes -> merged byte pairs

Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units (2016).
https://arxiv.org/abs/1508.07909. On bytes, so that every text can be encoded: Radford and others:
Language Models are Unsupervised Multitask Learners (2019).

Implemented with the ``tokenizers`` library. A tokenizer also holds the markup of conversations:
special tokens, and the chat template that a model was published with.
"""

import base64
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from souron.data.language import chat_template, tokenizer_limits
from souron.kinds.chat import Turn
from souron.utils.messages import UserError, _

SIZE = 4096  # size of the vocabulary at most
END = "<|end|>"  # of a text, and of a turn
SPECIAL = (END, "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SCRIPTS = r"\p{Han}+|\p{Hiragana}+|[\p{Katakana}ー]+"
REPLACEMENT = "\ufffd"  # stands for bytes that make no character
MOST_BYTES = 64_000_000  # of a tokenizer's file
MOST_TOKENS = 1_000_000


class Piece(NamedTuple):
    """A token and its position in the text."""

    id: int
    text: str  # unchanged; for a token that is part of a character the whole character
    start: int  # in characters of the text
    end: int


class Tokenizer:
    """Map texts to tokens, integers below ``len(tokenizer)``.

    Args:
        backend: a ``tokenizers.Tokenizer``.
        template: a Jinja template for conversations; "" if unknown.
        end: the tokens that end a text or a turn, the default one first.
        start: the token at the beginning of a text; by default the first of ``end``.

    Example:
        >>> tokenizer = Tokenizer.learn(["to be or not to be"] * 9, 300)
        >>> tokenizer.decode(tokenizer.encode("to see"))
        'to see'
    """

    def __init__(self, backend: Any, template: str = "", end: Sequence[str] = (END,), start: str = "") -> None:
        self.backend, self.template = backend, template
        self.end = tuple(i for name in end if (i := backend.token_to_id(name)) is not None)
        known = backend.token_to_id(start) if start else None
        self.start = known if known is not None else (*self.end, 0)[0]
        self.names = {  # the names used in templates
            "bos_token": "" if known is None else start,
            "eos_token": backend.id_to_token(self.end[0]) if self.end else "",
        }
        backend.no_padding()
        backend.no_truncation()

    @classmethod
    def learn(cls, texts: Iterable[str], size: int = SIZE, by_script: bool = False) -> "Tokenizer":
        """Train a byte-level BPE tokenizer on those texts with at most ``size`` tokens.

        With ``by_script`` no token crosses from kanji to hiragana or katakana. Japanese has no spaces, so that
        among captions made by one rule whole clauses would become tokens, which share nothing with one another.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers

        backend = tokenizers.Tokenizer(models.BPE())
        level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        scripts = pre_tokenizers.Split(tokenizers.Regex(SCRIPTS), "isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([scripts, level]) if by_script else level
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        backend.train_from_iterator(map(readable, texts), trainer)
        return cls(backend, TEMPLATE)

    @classmethod
    def of_file(cls, path: Path, template: str = "", end: Sequence[str] = (), start: str = "") -> "Tokenizer":
        """Read a published ``tokenizer.json``. Raises UserError."""
        import tokenizers

        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(_("larger than {size} MB").format(size=MOST_BYTES // 10**6))
            text = path.read_text(encoding="utf-8")
            tokenizer_limits.check(json.loads(text))
            with tokenizer_limits.told():
                backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises ``Exception`` itself
            raise UserError(
                "tokenizer",
                _("{path} is no tokenizer: {why}").format(path=path, why=str(error)[:200]),
                expected=_("a tokenizer.json of the tokenizers library"),
                exit=3,
            ) from error
        return cls(backend, template, end, start)

    def packed(self) -> str:
        """Serialise the tokenizer to one word, to be stored with a run."""
        about = {
            "backend": json.loads(self.backend.to_str()),
            "template": self.template,
            "end": [self.backend.id_to_token(i) for i in self.end],
            "start": self.names["bos_token"],
        }
        text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
        return base64.b85encode(zlib.compress(text.encode(), 9)).decode()

    @staticmethod
    @lru_cache(maxsize=8)
    def unpacked(word: str) -> "Tokenizer":
        """Restore a tokenizer from ``packed``. Raises UserError for anything else."""
        import tokenizers

        try:
            stream = zlib.decompressobj()
            text = stream.decompress(base64.b85decode(word), MOST_BYTES)
            about = json.loads(text)
            tokenizer_limits.check(about["backend"])
            with tokenizer_limits.told():
                backend = tokenizers.Tokenizer.from_str(json.dumps(about["backend"]))
            end = [str(name) for name in about["end"]]
            return Tokenizer(backend, str(about["template"]), end, str(about["start"]))
        except Exception as error:  # the library raises ``Exception`` itself
            raise UserError(
                "tokenizer",
                _("the run's tokenizer cannot be read: {why}").format(why=str(error)[:200]),
                expected=_("args.yaml as the run wrote it"),
                exit=3,
            ) from error

    def __len__(self) -> int:
        return self.backend.get_vocab_size()

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Return the tokens of a text. Text that looks like a special token is plain text, unless
        ``special``."""
        self.backend.encode_special_tokens = not special
        with tokenizer_limits.told():
            return self.backend.encode(readable(text), add_special_tokens=False).ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of many texts, in parallel."""
        self.backend.encode_special_tokens = True
        with tokenizer_limits.told():
            found = self.backend.encode_batch(list(map(readable, texts)), add_special_tokens=False)
        return [each.ids for each in found]

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """Return the text of tokens; invalid bytes become the replacement character."""
        with tokenizer_limits.told():
            return self.backend.decode(list(ids), skip_special_tokens=not special)

    def generated_text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens that a model wrote, without bytes that make no character."""
        return self.decode(ids).replace(REPLACEMENT, "")

    def pieces(self, text: str) -> list[Piece]:
        """Return each token with its position in the text."""
        self.backend.encode_special_tokens = True
        text = readable(text)
        with tokenizer_limits.told():
            found = self.backend.encode(text, add_special_tokens=False)
        return [
            Piece(number, text[start:end], start, end)
            for number, (start, end) in zip(found.ids, found.offsets, strict=True)
        ]

    def conversation(self, turns: Sequence[Turn], answer: bool = False) -> tuple[list[int], list[bool]]:
        """Return the tokens of a conversation, and a mask of those that the assistant generates;
        ``answer`` leaves it open for the assistant's next turn. Raises UserError if there is no
        template, or it fails.

        User input never becomes a special token, so that nobody can end a turn by writing one.
        """
        if not self.template:
            raise UserError(
                "no template",
                _("the model has no template for conversations"),
                expected=_("a model that was tuned to answer"),
                fix=_("let it complete a plain text"),
                exit=3,
            )
        parts = list(chat_template.parts(self.template, turns, answer, self.names))
        tokens = self._together(parts)
        if tokens is None:
            tokens = self._apart(parts)
        ids, said = [token for token, _own in tokens], [own for _token, own in tokens]
        for place in range(1, len(ids)):  # the assistant generates the end of its turn
            if said[place] or not said[place - 1]:
                continue
            blank = not self.decode(ids[place : place + 1], special=True).strip()
            follows = place + 1 < len(ids) and ids[place + 1] in self.end
            said[place] = ids[place] in self.end or (blank and follows)
        return ids, said

    def _together(self, parts: Sequence[str | Turn]) -> list[tuple[int, bool]] | None:
        """Encode the whole text at once, as in the model's training, with the mask of the
        assistant's tokens; None if user input would become a special token."""
        texts = [readable(part.text if isinstance(part, Turn) else part) for part in parts]
        roles = [part.role if isinstance(part, Turn) else "" for part in parts]
        ends = list(accumulate(map(len, texts)))
        self.backend.encode_special_tokens = False
        with tokenizer_limits.told():
            found = self.backend.encode("".join(texts), add_special_tokens=False)
        tokens, part = [], 0
        for token, (start, end) in zip(found.ids, found.offsets, strict=True):
            while part + 1 < len(ends) and ends[part] <= start:
                part += 1
            last = min(bisect_left(ends, end), len(ends) - 1) if end > start else part
            over = roles[part : last + 1]  # a token may begin with whitespace of the template
            if token in self._special and any(over):
                return None
            tokens.append((token, "assistant" in over))
        return tokens

    def _apart(self, parts: Sequence[str | Turn]) -> list[tuple[int, bool]]:
        """Encode each part separately, so that no user input becomes a special token."""
        tokens = []
        for part in parts:
            own = isinstance(part, Turn)
            text = part.text if isinstance(part, Turn) else part
            said = isinstance(part, Turn) and part.role == "assistant"
            tokens += [(token, said) for token in self.encode(text, special=not own)]
        return tokens

    @cached_property
    def _special(self) -> frozenset[int]:
        added = self.backend.get_added_tokens_decoder()
        return frozenset(number for number, token in added.items() if token.special)


def readable(text: str) -> str:
    """Replace lone surrogates, which cannot be stored in a file."""
    return text.encode("utf-8", "replace").decode()
