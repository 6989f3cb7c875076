"""Sounds: samples at a sampling rate. WAV, FLAC, MP3 and Ogg are read, WAV is written."""

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np

from souron.kinds import files
from souron.kinds.codecs import audio, limits
from souron.kinds.codecs.audio import MOST_CHANNELS, MOST_RATE
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, UserError, _

IN_HTML = 20_000_000  # bytes; a longer sound is only described


@dataclass(frozen=True, eq=False)
class Sound(Kind):
    """Sound pressure over time, -1..1."""

    widget = "sound"
    noun = N_("sound")
    suffix = ".wav"
    formats = audio.FORMATS
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
            raise files.wrong(_("{rate} samples a second").format(rate=self.rate), f"1..{MOST_RATE}")
        object.__setattr__(self, "samples", samples)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a sound file; with ``rate=``, mixed to one channel at that rate. Raises UserError.

        With a rate, hours of sound are decoded block by block.
        """
        rate = int(how.get("rate", 0))
        samples, own = (audio.mono(path, rate), rate) if rate else audio.whole(path)
        try:
            return cls(samples, own, str(path))
        except UserError as trouble:
            raise limits.trouble(path, trouble.code, trouble.found, trouble.expected) from trouble

    @property
    def mono(self) -> np.ndarray:
        """Mean of the channels, (T,)."""
        one = self.samples.shape[1] == 1
        return self.samples[:, 0] if one else self.samples.mean(1)

    def at(self, rate: int) -> np.ndarray:
        """Return the mean of the channels at another sampling rate, (T,) float32."""
        if rate == self.rate:
            return self.mono
        return np.concatenate([*audio.resampled([self.mono], self.rate, rate)])

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def encoded(self) -> bytes:
        """Return a WAV file of 16 bits; samples beyond ±1 are clipped."""
        return audio.wave(self.samples, self.rate)

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
