"""Sounds: samples at a sampling rate. WAV files are read and written."""

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np

from souron.kinds import files
from souron.kinds.codecs import image, limits
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, UserError, _

MOST_CHANNELS = 64
MOST_RATE = 768_000  # samples a second
IN_HTML = 20_000_000  # bytes; a longer sound is only described
UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # sizes in the header of a streamed file


@dataclass(frozen=True, eq=False)
class Sound(Kind):
    """Sound pressure over time, -1..1."""

    widget = "sound"
    noun = N_("sound")
    suffix = ".wav"
    formats = (".wav",)
    kept = True

    samples: Any  # (T, channels) float32; (T,) is one channel
    rate: int  # samples a second
    file: str = ""

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples, np.float32)
        samples = samples[:, None] if samples.ndim == 1 else samples
        if samples.ndim != 2 or not samples.size or samples.shape[1] > MOST_CHANNELS:
            raise files.wrong(
                _("samples in the shape {shape}").format(shape=samples.shape),
                _("(samples, channels), at most {count} channels").format(count=MOST_CHANNELS),
            )
        if not np.isfinite(samples).all():
            raise files.wrong(_("samples that are not finite"), "-1..1")
        if not 1 <= self.rate <= MOST_RATE:
            raise files.wrong(
                _("{rate} samples a second").format(rate=self.rate), f"1..{MOST_RATE}"
            )
        object.__setattr__(self, "samples", samples)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a WAV file of integer or floating-point samples. Raises UserError."""
        from scipy.io import wavfile

        raw = files.content(path)
        if raw[:4] not in (b"RIFF", b"RIFX", b"RF64") or raw[8:12] != b"WAVE":
            raise limits.trouble(path, "not a sound", _("not a sound that is read here"), "WAV")
        size = int.from_bytes(raw[4:8], "big" if raw[:4] == b"RIFX" else "little")
        if size + 8 > len(raw) and size not in UNKNOWN_SIZES:
            raise limits.trouble(path, "truncated", _("the file is cut short"))
        try:
            with limits.quiet:
                rate, samples = wavfile.read(io.BytesIO(raw))
            return cls(_as_fractions(samples), int(rate), str(path))
        except UserError as trouble:
            raise limits.trouble(path, trouble.code, trouble.found, trouble.expected) from trouble
        # a header may ask for any amount; without a chunk SciPy stumbles over its own names
        except (*image.DAMAGE, MemoryError, NameError) as error:
            raise limits.trouble(
                path, "unreadable", _("cannot be decoded: {why}").format(why=error)
            ) from error

    @property
    def mono(self) -> np.ndarray:
        """Mean of the channels, (T,)."""
        return self.samples.mean(1)

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def encoded(self) -> bytes:
        """Return a WAV file of 16 bits; samples beyond ±1 are clipped."""
        from scipy.io import wavfile

        stream = io.BytesIO()
        whole = (self.samples.clip(-1, 1) * 32767).round().astype(np.int16)
        wavfile.write(stream, self.rate, whole)
        return stream.getvalue()

    def save(self, path: Path) -> None:
        files.ending(path, (".wav",))
        files.write(path, self.encoded())

    def as_json(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "rate": self.rate, "channels": self.samples.shape[1]}

    def __str__(self) -> str:
        return _("sound, {time}, {rate} samples a second, channels: {channels}").format(
            time=units.seconds(self.seconds), rate=self.rate, channels=self.samples.shape[1]
        )

    def _repr_html_(self) -> str:
        words = escape(str(self))
        if self.samples.size * 2 > IN_HTML:
            return f"<p>{words}</p>"
        coded = base64.b64encode(self.encoded()).decode()
        return (
            f"<figure><audio controls src='data:audio/wav;base64,{coded}'></audio>"
            f"<figcaption>{words}</figcaption></figure>"
        )


def _as_fractions(samples: np.ndarray) -> np.ndarray:
    """Scale integer samples by their full range to -1..1; unsigned bytes are centred at 128."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
