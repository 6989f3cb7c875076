"""A sound of a WAV file."""

import sys
from typing import Any

import numpy as np


def read(word: str, about: Any) -> Any:
    """Return the mean of the channels, (1, n) in -1..1."""
    import wave

    with wave.open(word) as file:
        if (file.getframerate(), file.getsampwidth()) != (about["rate"], 2):
            sys.exit(f"{word}: {about['rate']} Hz and 16 bits are needed")
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
    values = values[: len(values) // about["step"] * about["step"]]
    return [np.float32(values / 32768).mean(1)[None]], None
