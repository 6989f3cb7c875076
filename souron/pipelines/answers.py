"""Answers in the format of transformers 4's pipelines, key by key, from souron's systems.

One function for each pipeline: its arguments are the system, the input, and the pipeline's options.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from souron.blocks.sentences import SentenceEncoder
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.kinds.picture import Picture
from souron.kinds.sound import Sound
from souron.kinds.text import Text
from souron.utils.messages import UserError, _

SHARPNESS = 20.0  # inverse temperature of the softmax over cosines
Rows = list[dict[str, Any]]


def _each(given: Any, answer: Callable[[Any], Any]) -> list[Any]:
    """Answer each input of a list or tuple, or the single one; return a list."""
    return [answer(one) for one in (given if isinstance(given, list | tuple) else [given])]


def _text(given: Any) -> Text:
    if not isinstance(given, str):
        raise UserError(
            "kind", _("a {kind} in place of a text").format(kind=type(given).__name__), expected="str, list[str]"
        )
    return Text(given)


def _pairs(labels: Any, most: int | None) -> Rows:
    pairs = zip(labels.labels, map(float, labels.probabilities), strict=True)
    ordered = sorted(pairs, key=lambda pair: -pair[1])[:most]
    return [{"label": label, "score": score} for label, score in ordered]


UNSAID: Any = object()


def classified(system: Any, texts: Any, *, top_k: int | None = UNSAID) -> list[Any]:
    """Return ``[{"label", "score"}]``, one for each text.

    With ``top_k`` the result has so many labels for each text (None: all).
    """
    most = 1 if top_k is UNSAID else top_k
    found = _each(texts, lambda text: _pairs(system.predict(_text(text)), most))
    if top_k is UNSAID:
        return [rows[0] for rows in found]
    return found if isinstance(texts, list) else found[0]


def tagged(system: Any, texts: Any, *, aggregation_strategy: str = "none") -> list[Any]:
    """Return ``[{"entity", "score", "index", "word", "start", "end"}]`` for a text.

    With an aggregation strategy it is ``{"entity_group", "score", "word", "start", "end"}``; spans
    are always whole.
    """
    whole = aggregation_strategy != "none"

    def one(text: str) -> Rows:
        return [
            {
                **({"entity_group": span.label} if whole else {"entity": span.label}),
                "score": float(span.score),
                **({} if whole else {"index": number}),
                "word": text[span.start : span.end],
                "start": span.start,
                "end": span.end,
            }
            for number, span in enumerate(system.predict(_text(text)).spans, 1)
        ]

    found = _each(texts, one)
    return found if isinstance(texts, list) else found[0]


def filled(system: Any, texts: Any, *, top_k: int = 5) -> list[Any]:
    """Return ``[{"score", "token", "token_str", "sequence"}]`` for a text with one mask."""

    def one(text: str) -> Rows:
        answer = system.predict(_text(text))
        mask = next((word for word in ("[MASK]", "<mask>", "＿") if word in text), "")
        numbers = getattr(answer, "numbers", range(len(answer.labels)))
        number = dict(zip(answer.labels, numbers, strict=True))
        return [
            {
                "score": row["score"],
                "token": int(number[row["label"]]),
                "token_str": row["label"],
                "sequence": text.replace(mask, row["label"], 1) if mask else text,
            }
            for row in _pairs(answer, top_k)
        ]

    found = _each(texts, one)
    return found if isinstance(texts, list) else found[0]


def generated(
    system: Any,
    texts: Any,
    *,
    max_new_tokens: int = 128,
    do_sample: bool = True,
    temperature: float = 0.8,
    top_p: float = 0.95,
    num_return_sequences: int = 1,
    return_full_text: bool = True,
    seed: int = 0,
) -> list[Any]:
    """Return ``[{"generated_text"}]``; for chat messages (``role``, ``content``), one more."""
    writer = Writer(system)

    def write(tokens: Sequence[int], number: int) -> str:
        how = Sampling(temperature if do_sample else 0.0, top_p, seed + number)
        return "".join(each.text for each in writer.write(tokens, max_new_tokens, how))

    def one(given: Any) -> Rows:
        tokenizer, talk = system.tokenizer, isinstance(given, list)
        if talk:
            turns = [Turn(str(each["role"]), str(each["content"])) for each in given]
            tokens = tokenizer.conversation(turns, answer=True)[0]
        else:
            tokens = [tokenizer.start, *tokenizer.encode(_text(given).text)]
        rows: Rows = []
        for number in range(num_return_sequences):
            told: Any = write(tokens, number)
            if talk and return_full_text:
                told = [*given, {"role": "assistant", "content": told}]
            elif return_full_text:
                told = given + told
            rows.append({"generated_text": told})
        return rows

    several = isinstance(texts, list) and not _is_talk(texts)
    return [one(each) for each in texts] if several else one(texts)


def _is_talk(given: Any) -> bool:
    return bool(given) and isinstance(given[0], Mapping) and "role" in given[0]


def _told(answer: Any) -> str:
    """Return the text of an answer, or the sentences extracted from a text, one a line."""
    quotes = getattr(answer, "quotes", None)
    return answer.text if quotes is None else "\n".join(quote.text for quote in quotes)


def _written(system: Any, texts: Any, key: str) -> Rows:
    return _each(texts, lambda text: {key: _told(system.predict(_text(text)))})


def rewritten(system: Any, texts: Any, *, max_new_tokens: int = 128) -> Rows:
    """Return ``[{"generated_text"}]``; a language model gets the text as a chat message."""
    if not hasattr(system, "tokenizer"):
        return _written(system, texts, "generated_text")

    def one(text: str) -> dict[str, Any]:
        talk = [{"role": "user", "content": _text(text).text}]
        [answer] = generated(system, talk, max_new_tokens=max_new_tokens, do_sample=False, return_full_text=False)
        return answer

    return _each(texts, one)


def summarised(system: Any, texts: Any) -> Rows:
    """Return ``[{"summary_text"}]``: extracted sentences of the text, one a line."""
    return _each(texts, lambda text: {"summary_text": _told(system.predict(_text(text)))})


def translated(system: Any, texts: Any) -> Rows:
    """Return ``[{"translation_text"}]``."""
    return _written(system, texts, "translation_text")


def transcribed(
    system: Any, sounds: Any, *, return_timestamps: bool = False, generate_kwargs: Mapping[str, Any] | None = None
) -> Any:
    """Return ``{"text"}`` of a file or an array, with ``return_timestamps`` also ``"chunks"``.

    An array is ``{"array", "sampling_rate"}``, or samples at 16 kHz. ``generate_kwargs`` holds
    ``language``, ``task`` ("translate") and ``num_beams``.
    """
    asked = dict(generate_kwargs or {})
    options: dict[str, Any] = {}
    if asked.pop("task", "transcribe") == "translate":
        options["translate"] = True
    for name, own in (("language", "language"), ("num_beams", "beams")):
        if asked.get(name) is not None:
            options[own] = asked[name]

    def one(given: Any) -> dict[str, Any]:
        heard = system.predict(_sound(system, given), **options)
        found: dict[str, Any] = {"text": heard.text}
        if return_timestamps:
            found["chunks"] = [{"timestamp": (piece.start, piece.end), "text": piece.text} for piece in heard.pieces]
        return found

    return [one(each) for each in sounds] if isinstance(sounds, list) else one(sounds)


def _sound(system: Any, given: Any) -> Sound:
    if isinstance(given, Sound):
        return given
    if isinstance(given, Mapping):
        return Sound(given.get("array", given.get("raw")), int(given["sampling_rate"]))
    if isinstance(given, np.ndarray):
        return Sound(given, system.reading()["rate"])
    if "://" in str(given):
        raise UserError(
            "address",
            _("{address} is an address; nothing is fetched here").format(address=given),
            expected=_("a file on this computer"),
            exit=3,
        )
    return Sound.read(Path(given), **system.reading())


def found(system: Any, given: Any = None, *, question: Any = None, context: Any = None, top_k: int = 1) -> Any:
    """Return ``{"score", "start", "end", "answer"}``: the passage nearest to the question.

    The passage is verbatim. With ``top_k`` or several questions the result is a list.
    """
    asked = [given] if isinstance(given, Mapping) else given
    if asked is None:
        several = isinstance(question, list)
        questions = question if several else [question]
        contexts = context if isinstance(context, list) else [context] * len(questions)
        pairs = zip(questions, contexts, strict=True)
        asked = [{"question": one, "context": text} for one, text in pairs]
    else:
        several = not isinstance(given, Mapping)
    rows = []
    for each in asked:
        text = _text(each["context"])
        quotes = system.predict(text, question=_text(each["question"]).text, passages=top_k).quotes
        told = [{"score": float(q.score), "start": q.start, "end": q.end, "answer": q.text} for q in quotes[:top_k]]
        rows.append(told if top_k > 1 else told[0])
    return rows if several else rows[0]


@lru_cache(maxsize=1)
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def compared(
    system: Any,
    texts: Any,
    labels: Any = None,
    *,
    candidate_labels: Any = None,
    hypothesis_template: str = "{}",
    multi_label: bool = False,
) -> Any:
    """Return ``{"sequence", "labels", "scores"}`` by similarity of labels to the text.

    Each label's sentence is compared with the text. The scores sum to 1 over the labels; with
    ``multi_label`` each is an independent cosine in 0..1.
    """
    wanted = candidate_labels if labels is None else labels
    names = _names(wanted)
    sentences = vectors_of(system, [hypothesis_template.format(name) for name in names])

    def one(text: str) -> dict[str, Any]:
        cosines = torch.from_numpy(sentences @ vectors_of(system, [_text(text).text])[0]).double()
        scores = cosines.clamp(min=0) if multi_label else (SHARPNESS * cosines).softmax(0)
        order = scores.argsort(descending=True, stable=True).tolist()
        return {"sequence": text, "labels": [names[i] for i in order], "scores": [float(scores[i]) for i in order]}

    found = _each(texts, one)
    return found if isinstance(texts, list) else found[0]


def _names(wanted: Any) -> Sequence[str]:
    """Return the labels to choose from. Raises UserError where there is none."""
    names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else wanted
    if not names:
        raise UserError("option", _("no labels to choose from"), expected='candidate_labels=["...", "..."]')
    return names


def vectors_of(system: SentenceEncoder, texts: list[str]) -> NDArray[np.float32]:
    return np.asarray(system.encode(texts), np.float32)


def vectors(system: Any, texts: Any) -> list[Any]:
    """Return a nested list (1, 1, 512) per text: one vector, as if the text were a single token."""
    found = _each(texts, lambda text: vectors_of(system, [_text(text).text])[None].tolist())
    return found if isinstance(texts, list) else found[0]


def asked(system: Any, given: Any = None, *, image: Any = None, question: Any = None, top_k: int = 5) -> Any:
    """Return ``[{"score", "answer"}]`` for an image and a question, the most probable first.

    For a list of ``{"image", "question"}`` the result is a list of such lists.
    """
    if given is None or isinstance(given, Mapping):
        told = given or {"image": image, "question": question}
        ranking = _seen(system, told["image"], question=_text(told["question"]).text)
        return [{"score": one.score, "answer": one.text} for one in ranking.texts[:top_k]]
    if question is not None:
        return asked(system, image=given, question=question, top_k=top_k)
    return [asked(system, each, top_k=top_k) for each in given]


def _seen(system: Any, given: Any, **options: Any) -> Any:
    """Return the prediction for an image file or a ``PIL.Image``."""
    return system.predict(_image(system, given), **options)


def _image(system: Any, given: Any) -> Picture:
    """Read a file or convert a ``PIL.Image``. Raises UserError for a URL: nothing is downloaded."""
    if isinstance(given, Picture):
        return given
    if hasattr(given, "convert"):
        return Picture(given.convert("RGB"))
    if "://" in str(given):
        raise UserError(
            "address",
            _("{address} is an address; nothing is fetched here").format(address=given),
            expected=_("a file on this computer, or a PIL.Image"),
            exit=3,
        )
    return Picture.read(Path(given), **system.reading())


def _of_images(images: Any, answer: Callable[[Any], Any]) -> Any:
    found = _each(images, answer)
    return found if isinstance(images, list) else found[0]


def labelled(system: Any, images: Any, *, top_k: int = 5) -> Any:
    """Return ``[{"score", "label"}]``."""
    return _of_images(images, lambda image: _pairs(_seen(system, image), top_k))


@torch.inference_mode()
def matched(
    system: Any, images: Any, *, candidate_labels: Any = None, hypothesis_template: str = "This is a photo of {}."
) -> Any:
    """Return ``[{"score", "label"}]``; the scores sum to 1 over the labels."""
    names = _names(candidate_labels)
    sentences = system.read_texts([hypothesis_template.format(name) for name in names])

    def one(image: Any) -> Rows:
        pixels = system.pixels(_image(system, image))[None].to(system.device)
        scores = (system.scale.cpu() * sentences @ system.see(pixels).float().cpu()[0]).softmax(0)
        order = scores.argsort(descending=True, stable=True).tolist()
        return [{"score": float(scores[i]), "label": names[i]} for i in order]

    return _of_images(images, one)


def remade(system: Any, images: Any) -> Any:
    """Return a ``PIL.Image``, such as the image enlarged; for several images a list."""
    return _of_images(images, lambda image: _seen(system, image).after.image)


def boxed(system: Any, images: Any, *, threshold: float = 0.5) -> Any:
    """Return ``[{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}]``."""

    def one(image: Any) -> Rows:
        answer = _seen(system, image)
        rows = zip(answer.labels, answer.scores, np.asarray(answer.box).tolist(), strict=True)
        return [
            {
                "score": float(score),
                "label": label,
                "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), (round(x) for x in box), strict=True)),
            }
            for label, score, box in rows
            if score >= threshold
        ]

    return _of_images(images, one)


def masked(system: Any, images: Any) -> Any:
    """Return ``[{"score", "label", "mask"}]``, the mask a black and white ``PIL.Image``."""
    from PIL import Image

    def mask(area: Any) -> Any:
        return Image.fromarray(np.where(np.asarray(area), 255, 0).astype(np.uint8))

    def one(image: Any) -> Rows:
        answer = _seen(system, image)
        area = np.asarray(answer.area)
        if area.ndim == 3:
            scores = list(answer.scores) or [None] * len(area)
            rows = zip(answer.names, scores, area, strict=True)
            return [{"score": s, "label": name, "mask": mask(each)} for name, s, each in rows]
        return [
            {"score": None, "label": answer.names[number], "mask": mask(area == number)}
            for number in np.unique(area).tolist()
            if answer.names[number]
        ]

    return _of_images(images, one)
