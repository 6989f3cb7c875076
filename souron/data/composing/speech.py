"""Synthetic speech: digits spoken by a formant synthesiser, in many voices. No human was recorded.

Fant: Acoustic Theory of Speech Production (1960): a source (pulses of the vocal folds, or noise)
passes a filter (the vocal tract), whose resonances are the formants.

Vowels have the formants and pitch that Peterson and Barney measured of 33 men, 28 women and 15
children: Control Methods Used in a Study of the Vowels (1952), table II.
https://doi.org/10.1121/1.1906875. Consonants have those of Klatt: Software for a Cascade/Parallel
Formant Synthesizer (1980), table III. https://doi.org/10.1121/1.383940. Durations, levels and the
bands of noise are simplified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import fft

RATE = 16_000  # samples a second
HOP, WINDOW = 160, 512  # samples: 10 ms and 32 ms
HANN = np.hanning(WINDOW).astype(np.float32)
# vowel -> pitch, F1, F2, F3 in Hz of men, women, children
VOWELS = {
    "i": ((136, 270, 2290, 3010), (235, 310, 2790, 3310), (272, 370, 3200, 3730)),
    "ɪ": ((135, 390, 1990, 2550), (232, 430, 2480, 3070), (269, 530, 2730, 3600)),
    "ɛ": ((130, 530, 1840, 2480), (223, 610, 2330, 2990), (260, 690, 2610, 3570)),
    "ɑ": ((124, 730, 1090, 2440), (212, 850, 1220, 2810), (256, 1030, 1370, 3170)),
    "ɔ": ((129, 570, 840, 2410), (216, 590, 920, 2710), (263, 680, 1060, 3180)),
    "ʊ": ((137, 440, 1020, 2240), (232, 470, 1160, 2680), (276, 560, 1410, 3310)),
    "u": ((141, 300, 870, 2240), (231, 370, 950, 2670), (274, 430, 1170, 3260)),
    "ʌ": ((130, 640, 1190, 2390), (221, 760, 1400, 2780), (261, 850, 1590, 3360)),
}
HIGHER = ((3500, 4500), (4100, 5200), (4600, 5900))  # F4 and F5, nearly alike in all sounds
BANDWIDTHS = (60, 90, 150, 250, 300)  # Hz


class Consonant(NamedTuple):
    """A man's formants in Hz, duration in seconds, levels of voice and noise, band of the noise."""

    formants: tuple[int, int, int]
    seconds: float
    voice: float
    noise: float
    centre: int = 0  # Hz; 0 is noise at all frequencies
    width: int = 0
    silence: float = 0.0  # seconds of closure before it


CONSONANTS = {
    "w": Consonant((290, 610, 2150), 0.07, 0.7, 0.0),
    "r": Consonant((310, 1060, 1380), 0.07, 0.7, 0.0),
    "n": Consonant((480, 1340, 2470), 0.08, 0.45, 0.0),
    "f": Consonant((340, 1100, 2080), 0.11, 0.0, 0.06),
    "v": Consonant((220, 1100, 2080), 0.07, 0.35, 0.04),
    "θ": Consonant((320, 1290, 2540), 0.10, 0.0, 0.06, 6500, 2500),
    "s": Consonant((320, 1390, 2530), 0.12, 0.0, 0.45, 5800, 1500),
    "z": Consonant((240, 1390, 2530), 0.08, 0.3, 0.25, 5800, 1500),
    "t": Consonant((400, 1600, 2600), 0.05, 0.0, 0.35, 4300, 2000, 0.05),
    "k": Consonant((300, 1990, 2850), 0.05, 0.0, 0.35, 2200, 700, 0.05),
}
LENGTHS = {"short": 0.09, "long": 0.15}  # seconds of a vowel, and of each half of a diphthong
WORDS = {  # sounds in the order in which they are spoken
    "zero": "z ɪ r ɔ ʊ",
    "one": "w ʌ n",
    "two": "t u",
    "three": "θ r i",
    "four": "f ɔ r",
    "five": "f ɑ ɪ v",
    "six": "s ɪ k s",
    "seven": "s ɛ v ʌ n",
    "eight": "ɛ ɪ t",
    "nine": "n ɑ ɪ n",
}
LONG = {"two", "three", "four"}  # words with one long vowel


@dataclass(frozen=True)
class Voice:
    """A speaker."""

    age: float  # 0 like the men, 1 like the women, 2 like the children of the table
    tract: float  # factor of all formants
    pitch: float  # factor
    tempo: float  # factor of all durations
    breath: float  # noise beside the voice


def voice(random: np.random.Generator) -> Voice:
    """Draw a speaker."""
    return Voice(
        float(random.uniform(0, 2)),
        float(random.normal(1, 0.03)),
        float(random.normal(1, 0.1)),
        float(random.uniform(0.85, 1.25)),
        float(random.uniform(0.005, 0.04)),
    )


def spoken(words: Sequence[str], speaker: Voice, random: np.random.Generator) -> np.ndarray:
    """Speak digits: samples (n,) float32 in -1..1, with a little noise around them.

    >>> wave = spoken(["one"], Voice(0, 1, 1, 1, 0.01), np.random.default_rng(0))
    >>> 0.3 < len(wave) / RATE < 1.0
    True
    """
    tracks = _tracks(words, speaker, random)  # (frames, columns)
    pitch, formants, voiced, noisy, centre, width = (
        tracks[:, 0],
        tracks[:, 1:6],
        tracks[:, 6],
        tracks[:, 7],
        tracks[:, 8],
        tracks[:, 9],
    )
    length = len(tracks) * HOP
    phase = np.cumsum(np.interp(np.arange(length), np.arange(len(pitch)) * HOP, pitch)) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) * np.sqrt(RATE / 100)
    hiss = _frames(random.standard_normal(length, np.float32))
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE).astype(np.float32)
    glottis = 1 / np.hypot(1, hertz / 300)  # folds and lips together fall by 6 dB an octave
    away = (hertz - centre[:, None]) / np.maximum(width, 1)[:, None]
    band = np.where(centre[:, None] > 0, np.exp(-(away**2)), 1.0)
    source = _frames(pulses.astype(np.float32)) * glottis + 0.3 * speaker.breath * hiss
    spectrum = source * _filter(hertz, formants) * voiced[:, None]
    spectrum += hiss * (band * noisy[:, None] + 0.002)
    wave = _overlapped(spectrum)
    level = 10 ** (random.uniform(-26, -14) / 20) / (np.sqrt(np.mean(wave**2)) + 1e-9)
    around = random.standard_normal(len(wave), np.float32) * 10 ** (random.uniform(-60, -42) / 20)
    made: np.ndarray = np.clip(wave * level + around, -1, 1).astype(np.float32)
    return made


def _tracks(words: Sequence[str], speaker: Voice, random: np.random.Generator) -> np.ndarray:
    """Return pitch, five formants, levels of voice and noise and its band, a row each 10 ms."""
    rows: list[list[float]] = []
    last = [130.0, 500.0, 1500.0, 2500.0]

    def hold(seconds: float, sound: Sequence[float], levels: Sequence[float]) -> None:
        count = max(1, round(seconds * speaker.tempo * random.uniform(0.85, 1.15) * RATE / HOP))
        rows.extend([[*sound, *_between(HIGHER, speaker.age), *levels]] * count)

    hold(random.uniform(0.08, 0.25), last, (0, 0, 0, 0))
    for word in words:
        for sound in WORDS[word].split():
            if sound in VOWELS:
                last = list(_between(VOWELS[sound], speaker.age))
                length = LENGTHS["long" if word in LONG else "short"]
                hold(length, last, (random.uniform(0.8, 1.0), 0, 0, 0))
                continue
            each = CONSONANTS[sound]
            scale = _between(((1.0,), (1.17,), (1.35,)), speaker.age)[0]
            last = [last[0], *(formant * scale for formant in each.formants)]
            if each.silence:
                hold(each.silence, last, (0, 0, 0, 0))
            hold(each.seconds, last, (each.voice, each.noise, each.centre, each.width))
        hold(random.uniform(0.02, 0.18), last, (0, 0, 0, 0))
    hold(random.uniform(0.08, 0.2), last, (0, 0, 0, 0))
    tracks = np.array(rows, np.float32)
    tracks[:, 1:6] *= speaker.tract
    for column, width in ((0, 9), *((k, 5) for k in range(1, 6)), (6, 3)):
        padded = np.pad(tracks[:, column], width // 2, mode="edge")
        tracks[:, column] = np.convolve(padded, np.ones(width) / width, "valid")
    falls = np.linspace(1.1, 0.85, len(tracks)) + 0.03 * np.sin(np.arange(len(tracks)) / 5)
    tracks[:, 0] *= speaker.pitch * falls
    return tracks


def _between(table: Sequence[Sequence[float]], age: float) -> np.ndarray:
    """Interpolate between the columns of men, women and children."""
    low = min(int(age), 1)
    first, second = np.array(table[low], float), np.array(table[low + 1], float)
    between: np.ndarray = first + (second - first) * (age - low)
    return between


def _filter(hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Return the gain (frames, frequencies) of resonators in a row."""
    power = np.ones((len(formants), len(hertz)), np.float32)
    for k, width in enumerate(BANDWIDTHS):
        own = formants[:, k : k + 1] ** 2
        power *= own**2 / ((own - hertz**2) ** 2 + (width * hertz) ** 2)
    gain: np.ndarray = np.sqrt(power)
    return gain


def _frames(wave: np.ndarray) -> np.ndarray:
    """Return the spectrum (frames, frequencies) of overlapping windows."""
    padded = np.pad(wave, WINDOW // 2)
    parts = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(wave) // HOP]
    spectrum: np.ndarray = fft.rfft(parts * HANN)
    return spectrum


def _overlapped(spectrum: np.ndarray) -> np.ndarray:
    """Return samples from the spectra of overlapping windows."""
    parts = fft.irfft(spectrum.astype(np.complex64), WINDOW) * HANN
    wave = np.zeros(len(parts) * HOP + WINDOW, np.float32)
    for number, part in enumerate(parts):
        wave[number * HOP : number * HOP + WINDOW] += part
    return wave[WINDOW // 2 : -(WINDOW // 2)]
