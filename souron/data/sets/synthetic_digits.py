"""English digits spoken by a formant synthesiser in 48 voices: synthetic speech.

Its sounds follow published measurements of formants, see ``data/composing/speech.py``; no human was
recorded. One to five digits a recording, at different pitch, tempo, level and noise. All recordings
of a voice are in one part.
"""

from functools import lru_cache

import numpy as np

from souron.data import recordings
from souron.data.composing import speech
from souron.data.dataset import Dataset, ListColumn
from souron.utils.messages import _

ja = "フォルマント合成による英語の数字（48 の声）。合成音声"
task = "transcribe"
licence = "CC0"
source = "https://doi.org/10.1121/1.1906875"  # of the formants
cases = 1_200
ships_with = "souron"

VOICES = 48
VAL, TEST = 6, 10  # voices
MOST_WORDS = 5


@lru_cache(maxsize=1)
def load(side: int | None = None) -> Dataset:
    made, texts, names, voices = [], [], [], []
    words = tuple(speech.WORDS)
    for number in range(VOICES):
        random = np.random.default_rng([number, 20])
        speaker = speech.voice(random)
        for k in range(cases // VOICES):
            said = random.choice(words, random.integers(1, MOST_WORDS + 1)).tolist()
            made.append(recordings.of(speech.spoken(said, speaker, random)))
            texts.append(" ".join(said))
            voices.append(f"voice {number:02d}")
            names.append(f"{number:02d}-{k:02d}.wav")
    return Dataset(
        name="synthetic_digits",
        input=ListColumn(made),
        target=ListColumn(texts),
        classes=(),
        file=names,
        group=voices,
        grouped=_("voices of the synthesiser"),
        part=[part_of(int(voice[-2:])) for voice in voices],
        augment=(),
        source=source,
        licence=licence,
        columns={"language": ["en"] * len(made)},
    )


def part_of(number: int) -> str:
    """Assign a voice to a part, by its number."""
    place = number * 29 % VOICES  # every kind of voice in every part
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"
