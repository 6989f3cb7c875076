"""The characters of the most probable path, without its repetitions and blanks."""

import json
from typing import Any


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print the text."""
    best = outputs[0][0].argmax(1).tolist()
    text = "".join(labels[k] for k, before in zip(best, [0, *best], strict=False) if k and k != before)
    print(json.dumps({"text": text.strip()}, ensure_ascii=False))
