"""Decode sound files block by block: WAV, FLAC, MP3, Ogg Vorbis and Opus, by libsndfile.

A file is decoded in blocks of some seconds, so that hours of sound need no more memory than their
samples at the rate that is asked for. What a header claims is checked: WAV files before they are
decoded, others by the number of samples that come.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from souron.kinds.codecs import limits
from souron.utils.messages import UserError, _

FORMATS = (".wav", ".flac", ".mp3", ".ogg", ".opus")
MOST_CHANNELS = 64
LEAST_RATE, MOST_RATE = 500, 768_000  # samples a second
MOST_VALUES = 240_000_000  # samples x channels in memory: four hours at 16 kHz
MOST_STREAMED = 8 << 30  # bytes of a file that is decoded block by block
BLOCK = 10  # seconds
REACH = 10  # zero crossings of the resampling filter to either side
UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # sizes in the header of a streamed file
UNRECOGNISED = 1  # libsndfile's number of this error
WAVES = (b"RIFF", b"RIFX", b"RF64")


@contextmanager
def opened(path: Path, most: int = limits.MOST_BYTES) -> Iterator[Any]:
    """Open a sound file as a ``soundfile.SoundFile``. Raises UserError, also while it is read."""
    import soundfile

    size = limits.check_file(path, most=most, otherwise="unreadable")
    try:
        with path.open("rb") as raw:
            _check_header(path, raw.read(4096), size)
            raw.seek(0)
            with soundfile.SoundFile(raw) as sound:
                if not (0 < sound.channels <= MOST_CHANNELS and LEAST_RATE <= sound.samplerate <= MOST_RATE):
                    raise limits.trouble(
                        path,
                        "unreadable",
                        _("{channels} channels, {rate} samples a second").format(
                            channels=sound.channels, rate=sound.samplerate
                        ),
                        _("{least} to {most} samples a second").format(least=LEAST_RATE, most=MOST_RATE),
                    )
                yield sound
    except (soundfile.LibsndfileError, RuntimeError, ValueError, OSError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        if getattr(error, "code", 0) == UNRECOGNISED:
            raise _no_sound(path) from error
        why = str(error).rpartition(": ")[2]
        raise limits.trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=why)) from error


def _check_header(path: Path, start: bytes, size: int) -> None:
    """Raise UserError where it is no sound, or where a WAV file's header contradicts its size."""
    known = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")
    wave = start[:4] in WAVES and start[8:12] == b"WAVE"
    if not wave and not start.startswith(known):
        raise _no_sound(path)
    if not wave:
        return
    order: Any = "big" if start[:4] == b"RIFX" else "little"

    def number(at: int, width: int = 4) -> int:
        return int.from_bytes(start[at : at + width], order)

    claimed = number(4)
    if claimed + 8 > size and claimed not in UNKNOWN_SIZES:
        raise limits.trouble(path, "truncated", _("the file is cut short"))
    at, formatted = 12, False
    while at + 8 <= len(start):
        name, length = start[at : at + 4], number(at + 4)
        if name == b"fmt ":
            formatted = bool(number(at + 10, 2) and number(at + 20, 2))  # channels, bytes a sample
        if name == b"data":
            if at + 8 + length > size and length not in UNKNOWN_SIZES:
                raise limits.trouble(path, "unreadable", _("its header does not fit its size"))
            break
        at += 8 + length + length % 2
    if not formatted:
        raise limits.trouble(path, "unreadable", _("its header does not fit its size"))


def _no_sound(path: Path) -> UserError:
    found = _("not a sound that is read here")
    return limits.trouble(path, "not a sound", found, ", ".join(FORMATS))


def whole(path: Path) -> tuple[np.ndarray, int]:
    """Decode all of a file: samples (T, channels) float32 in -1..1, and their rate.

    Raises UserError.
    """
    with opened(path) as sound:
        rate, channels = sound.samplerate, sound.channels
        parts = list(_blocks(path, sound))
    return np.concatenate(parts or [np.zeros((0, channels), np.float32)]), rate


def mono(path: Path, rate: int) -> np.ndarray:
    """Decode a file of any length as the mean of its channels, (T,) float32, at ``rate``.

    Raises UserError, also where the result would be longer than ``MOST_VALUES``.
    """
    with opened(path, MOST_STREAMED) as sound:
        mixed = (block.mean(1) for block in _blocks(path, sound, one=True))
        parts, count = [], 0
        for part in resampled(mixed, sound.samplerate, rate):
            count += len(part)
            _check_length(path, count)
            parts.append(part)
    return np.concatenate(parts or [np.zeros(0, np.float32)])


def _blocks(path: Path, sound: Any, one: bool = False) -> Iterator[np.ndarray]:
    """Yield consecutive samples (n, channels); ``one``: only one channel of them is kept."""
    size, count = BLOCK * max(1, sound.samplerate), 0
    while True:
        block = sound.read(size, "float32", always_2d=True)
        if not len(block):
            break
        count += len(block)
        if not one:
            _check_length(path, count * sound.channels)
        if not np.isfinite(block).all():
            raise limits.trouble(path, "unreadable", _("samples that are not finite"))
        yield block
    # of MP3 the number is an estimate; a pipe leaves it unknown
    if sound.format == "FLAC" and count < sound.frames < MOST_STREAMED:
        raise limits.trouble(path, "truncated", _("the file is cut short"))


def _check_length(path: Path, values: int) -> None:
    if values > MOST_VALUES:
        raise limits.trouble(
            path,
            "too large",
            _("it has more than {count} million samples").format(count=MOST_VALUES // 10**6),
            _("a part of it, or fewer samples a second"),
        )


def resampled(parts: Iterable[np.ndarray], before: int, after: int) -> Iterator[np.ndarray]:
    """Resample consecutive parts (n,) of one sound, as if it were resampled at once.

    A polyphase filter (Kaiser window) removes what the new rate cannot hold.

    >>> [len(part) for part in resampled([np.zeros(30), np.zeros(20)], 16_000, 8_000)]
    [25]
    """
    from scipy import signal

    shared = gcd(before, after)
    up, down = after // shared, before // shared
    if up == down:
        yield from parts
        return
    length = 2 * REACH * max(up, down) + 1
    taps = signal.firwin(length, 1 / max(up, down), window=("kaiser", 5.0)).astype(np.float32)
    margin = -(-(length // up + 1) // down) * down  # what the filter reaches, whole periods
    step = max(1, BLOCK * before // down) * down
    held, left = np.zeros(0, np.float32), 0  # samples of context before those to resample

    def converted(count: int) -> np.ndarray:
        begin = left // down * up
        made = signal.resample_poly(held[: left + count + margin], up, down, window=taps)
        return made[begin : begin + -(-count * up // down)].astype(np.float32)

    for part in parts:
        held = np.concatenate([held, part])
        while len(held) >= left + step + margin:
            yield converted(step)
            kept = min(margin, left + step)
            held, left = held[left + step - kept :], kept
    if len(held) > left:
        yield converted(len(held) - left)


def wave(samples: np.ndarray, rate: int) -> bytes:
    """Encode samples (T, channels) as a WAV file of 16 bits; those beyond ±1 are clipped."""
    from scipy.io import wavfile

    stream = io.BytesIO()
    wavfile.write(stream, rate, (samples.clip(-1, 1) * 32767).round().astype(np.int16))
    return stream.getvalue()


def is_sound(name: str | os.PathLike[str]) -> bool:
    """Return whether a file's name ends as one of a sound does."""
    return os.fspath(name).lower().endswith(FORMATS)
