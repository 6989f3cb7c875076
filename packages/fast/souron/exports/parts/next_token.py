"""The next token of a text."""

import json
from typing import Any

import numpy as np


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print the five most probable tokens after the last one, and their log-probabilities."""
    last = outputs[0][0, -1].astype(np.float64)
    last = last - last.max() - np.log(np.exp(last - last.max()).sum())
    for token in last.argsort()[::-1][:5]:
        print(json.dumps({"token": int(token), "log_probability": float(last[token])}))
