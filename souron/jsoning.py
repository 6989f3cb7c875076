"""Figures as JSON, which knows neither infinity nor what is not a number."""

import json
import math
from typing import Any


def as_json(thing: Any, indent: int | None = None) -> str:
    """``thing`` as JSON text; what is not a finite number there becomes null."""
    return json.dumps(_finite(thing), ensure_ascii=False, default=str, indent=indent)


def _finite(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {str(key): _finite(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing
