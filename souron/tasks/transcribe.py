"""Speech recognition: a sound in, its text with times out (automatic-speech-recognition).

A case is one channel at 16 kHz with the text that is spoken. Systems differ in the units that they
write: characters, or pieces of words. They are compared by the errors of their texts.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from souron.blocks.speech_tokens import LANGUAGES
from souron.data import recordings
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.data.log_mel import HOP, RATE, LogMel, log_mel
from souron.data.recordings import Recording, windows
from souron.data.texts import language
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.language import complete, transcription
from souron.evaluation.language.transcription import TranscribeResult
from souron.kinds.signature import Choice
from souron.kinds.sound import Sound
from souron.kinds.transcript import Piece, Transcript
from souron.metrics.metric import Metric
from souron.metrics.transcription import BITS, CHARACTER, WORD, counted, plain
from souron.system import System
from souron.task import Answers, Augment, Scores, Step, Task, Trainings
from souron.utils.messages import N_, UserError, _

TOGETHER = 16  # recordings heard at once
SAVED = Choice(
    N_("file to save: subtitles (srt, vtt), the text, or all as JSON"), among=("none", "srt", "vtt", "txt", "json")
)


@dataclass(frozen=True)
class Spec:
    """Properties of the recordings that a system needs before it is built."""

    tokenizer: str = ""  # of the texts: ``Tokenizer.packed``
    vocabulary: int = SIZE  # tokens of text
    characters: str = "abcdefghijklmnopqrstuvwxyz' "  # of the texts, normalised
    languages: tuple[str, ...] = ("en",)
    timed: bool = False  # it writes times, as Whisper's published weights do
    silent: tuple[int, ...] = ()  # tokens that are never written


class Transcriber(System):
    """A speech recogniser: ``pieces`` writes down what is said in short sounds."""

    task = "transcribe"
    spec: Spec
    clip = 1.0
    window = 30.0  # seconds that it hears at once
    at_once = 16  # recordings of a training step

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @abstractmethod
    def pieces(self, waves: Sequence[Tensor], beams: int = 1) -> list[list[Piece]]:
        """Return the phrases in each of some sounds (n,), none longer than ``window``."""

    @abstractmethod
    def surprises(self, batch: Any) -> Tensor:
        """Return bits per byte (B,) of the texts of a batch."""

    def attention(self, recording: Recording, text: str) -> Tensor | None:
        """Return where it listened for each token of its text, (tokens, time), or None."""
        return None

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return AdamW without weight decay for gains, biases and embeddings."""
        parameters = [pair for pair in self.named_parameters() if pair[1].requires_grad]
        decays = [w for name, w in parameters if w.ndim > 1 and "embed" not in name]
        others = [w for name, w in parameters if w.ndim < 2 or "embed" in name]
        groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        return {"model": torch.optim.AdamW(groups, self.config.rate, (0.9, 0.98), 1e-6, fused=True)}

    def mel(self, wave: Tensor) -> Tensor:
        """Return the spectrogram (bands, T) of a sound (n,)."""
        return log_mel(wave.to(self.device), self.config.mels)

    def spectrograms(self, sounds: Iterable[Recording | Tensor]) -> tuple[Tensor, Tensor]:
        """Return spectrograms (B, bands, T), 0 after the end of each, and the frames of each.

        Sounds are recordings, samples (n,) or spectrograms (bands, T).
        """
        waves = [sound.samples if isinstance(sound, Recording) else sound for sound in sounds]
        mels = [wave if wave.ndim == 2 else self.mel(wave) for wave in waves]
        frames = torch.tensor([mel.shape[1] for mel in mels], device=self.device)
        return pad_sequence([mel.T for mel in mels], True).transpose(1, 2), frames

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        """Compute each spectrogram once; those of 30 s, of published networks, each time."""
        if self.spec.timed:
            return super().loader(data, augment, seed, device)
        spectra = [case if isinstance(case, Tensor) else self.mel(case.samples) for case in data.input]
        spectra_cases = replace(data, input=ListColumn(spectra))
        return Loader(spectra_cases, self.batch, augment, seed, device or self.device)

    def updates(self, batch: Any, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, of similar length, one optimiser step each."""
        for rows in batch.frames.argsort(stable=True).split(self.at_once):
            part = type(batch)(*(column[rows] for column in batch))
            yield "model", self.loss(part._replace(mel=part.mel[..., : int(part.frames.max())]))

    @torch.inference_mode()
    def surprise(self, data: Dataset) -> Tensor:
        """Return bits per byte (cases,) of the texts, given their recordings."""
        batches = Loader(data, self.batch, device=self.device).once(TOGETHER)
        return torch.cat([self.surprises(batch).float().cpu() for batch in batches])

    @torch.inference_mode()
    def texts(self, cases: ListColumn, beams: int = 1) -> Iterator[tuple[int, str]]:
        """Yield the number and the text of each recording, the shortest first."""
        order = sorted(range(len(cases)), key=lambda row: len(cases[row].wave))
        for start in range(0, len(order), TOGETHER):
            rows = order[start : start + TOGETHER]
            pieces_of_rows = self.pieces([cases[row].samples for row in rows], beams)
            for row, pieces in zip(rows, pieces_of_rows, strict=True):
                yield row, Transcript(pieces, self.language_of(pieces)).text

    def language_of(self, pieces: Sequence[Piece]) -> str:
        return language("".join(piece.text for piece in pieces))

    def named(self, text: str) -> str:
        """Return the language of a training text, one of the ``spec``'s."""
        languages = self.spec.languages
        own = language(text)
        return own if own in languages else languages[0]

    def known_language(self, name: str) -> str:
        """Return the language, or "" where it is to be detected. Raises UserError."""
        if name and name not in self.spec.languages:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name="language", value=name),
                expected=", ".join(self.spec.languages),
            )
        return name

    def listen(self, wave: Tensor, beams: int = 1, **how: Any) -> tuple[list[Piece], str]:
        """Return what is said in a sound (n,) of any length, and its language; "" if unknown."""
        result: list[Piece] = []
        for start, part in windows(wave, self.window):
            [pieces] = self.pieces([part], beams)
            result += [Piece(start + begin, start + end, text) for begin, end, text in pieces]
        return result, self.language_of(result)

    def transcript(self, sound: Sound, to: str, beams: int, **how: Any) -> Transcript:
        """Return the transcript of a sound, saved as ``to`` unless that is "none"."""
        wave = torch.from_numpy(sound.at(RATE))
        pieces, speech_language = self.listen(wave, beams, **how)
        form = "" if to == "none" else to
        return Transcript(in_order(pieces), speech_language, len(wave) / RATE, form, sound.file)

    @torch.inference_mode()
    def predict(
        self,
        sound: Sound,
        *,
        beams: Annotated[int, Choice(N_("how many texts are followed at once"), 1, 64)] = 8,
        to: Annotated[Literal["none", "srt", "vtt", "txt", "json"], SAVED] = "none",
    ) -> Transcript:
        """Write down what is said in a sound of any length, with times."""
        return self.transcript(sound, to, beams)

    def reading(self) -> dict[str, Any]:
        """Read files of any length, mixed to one channel at 16 kHz."""
        return {"rate": RATE}


def in_order(pieces: Sequence[Piece]) -> list[Piece]:
    """Return phrases in the order of their beginnings, none beginning before another's.

    >>> in_order([Piece(0.0, 2.1, "a"), Piece(2.0, 3.0, "b")])
    [Piece(start=0.0, end=2.0, text='a'), Piece(start=2.0, end=3.0, text='b')]
    """
    phrases = sorted(pieces, key=lambda piece: piece.start)
    ends = [min(phrase.end, other.start) for phrase, other in pairwise(phrases)]
    ends += [phrases[-1].end] if phrases else []
    return [piece._replace(end=max(piece.start, end)) for piece, end in zip(phrases, ends, strict=True)]


class Transcription(Task):
    """The share of wrong words and characters in transcripts of test recordings."""

    title = N_("speech recognition")
    takes = Sound
    gives = Transcript
    metrics = (
        Metric(N_("word error rate"), higher_is_better=False, unit="share", headline=True, kind="amount"),
        Metric(N_("character error rate"), higher_is_better=False, unit="share", headline=True, kind="amount"),
        Metric(N_("bits per byte of the text"), higher_is_better=False, unit="bits", kind="amount"),
    )
    watches = "bits per byte of the text"
    default_data = "synthetic_digits"
    target = "transcripts"
    formats = ("recordings",)
    fewest_classes = 0
    published_files = True
    published_from = "OpenAI's 680 000 hours"
    inherits = ("tokenizer", "vocabulary", "characters", "languages", "timed", "silent")

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        from souron.hub import whisper_weights

        return whisper_weights.system(name, source)

    def comes_published(self, name: str) -> bool:
        from souron import registry

        entry, size = registry.find(name)
        return size in entry.weights

    def check(self, data: Dataset, options: Any) -> None:
        if not recordings.holds(data) or not isinstance(data.target, ListColumn):
            raise UserError(
                "no recordings",
                _("{data} holds no recordings with their texts").format(data=data.name),
                expected=_("sound files with a .txt beside each, or a CSV of file and text"),
                fix="data=synthetic_digits",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        texts = list(train.target)
        tokenizer = complete.tokenizer_for(replace(train, input=ListColumn(texts), target=None))
        names = sorted({language(text) or "en" for text in texts})
        characters = "".join([*sorted(set("".join(map(plain, texts))) - {" "}), " "])
        languages = tuple(name for name in names if name in LANGUAGES)
        return Spec(tokenizer.packed(), len(tokenizer), characters, languages)

    def example(self, system: type[System], size: str) -> Spec:
        sizes = {"openai_tiny", "base", "openai_small", "medium", "large", "large_v3"}
        if size not in sizes:
            return Spec()
        languages = LANGUAGES if size == "large_v3" else LANGUAGES[:99]
        return Spec("", 50_257, languages=languages, timed=True)

    def batch(self, rows: Rows, spec: Spec) -> Any:
        return rows

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Transcriber)
        return {BITS: system.surprise(data.cases)}

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        """Transcribe greedily, without beam search."""
        assert isinstance(system, Transcriber)
        texts = [""] * len(test)
        for count, (row, text) in enumerate(system.texts(test.input), 1):
            texts[row] = text
            if count % TOGETHER == 0:
                yield Step(0.95 * count / len(test), _("listening"))
        counts = torch.tensor([counted(*pair) for pair in zip(test.target, texts, strict=True)])
        answers: Answers = {
            WORD: counts[:, 0].float(),  # (cases, 2): errors, words
            CHARACTER: counts[:, 1].float(),
            BITS: system.surprise(test),
        }
        yield Step(1.0, result=answers | transcription.shown(system, test, texts))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        scores: Scores = {}
        for name in (WORD, CHARACTER):
            table = transcription.pseudo_scores(seeds, name)
            if table is not None:
                scores[name] = table
        return scores | {BITS: stacked(seeds, BITS)}

    def ranks(self, setup: Setup) -> str:
        """Return the word error rate, or that of characters for languages without spaces."""
        has_words = any(counted(text, "")[0][1] for text in setup.test.target)
        return WORD if has_words else CHARACTER

    def result(self, trainings: Trainings, setup: Setup) -> TranscribeResult:
        return transcription.result(trainings, setup.test)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "word errors", "words", "character errors", "characters"
        columns = [dense(answers, name).int().tolist() for name in (WORD, CHARACTER)]
        for file, words, characters in zip(test.file, *columns, strict=True):
            yield file, *words, *characters

    def next_command(self, run: str) -> str:
        return f"souron predict {run} speech.wav"


__all__ = [
    "HOP",
    "RATE",
    "SAVED",
    "Choice",
    "Dataset",
    "ListColumn",
    "Loader",
    "LogMel",
    "Piece",
    "Recording",
    "Rows",
    "Sound",
    "Spec",
    "Tokenizer",
    "Transcriber",
    "Transcript",
    "Transcription",
    "log_mel",
    "plain",
    "windows",
]
