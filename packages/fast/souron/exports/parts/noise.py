"""Random numbers of a seed. Each seed is another image than that of the seed in souron."""

from typing import Any

import numpy as np


def read(word: str, about: Any) -> Any:
    """Return normal numbers (1, n), and the class where one is drawn: SEED or SEED:CLASS."""
    seed, _colon, label = word.partition(":")
    noise = np.random.default_rng(int(seed)).standard_normal((1, about["numbers"]), np.float32)
    return [noise, np.array([int(label or 0)])][: about["takes"]], {"name": word.replace(":", "-")}
