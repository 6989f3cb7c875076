"""Whole numbers that a network knows: tokens of its vocabulary, classes."""

from typing import Any


def within(inputs: Any, about: Any) -> Any:
    """Return the inputs. Raises ValueError where a network would look up what it does not have."""
    for name, values in zip(about["inputs"], inputs, strict=True):
        below = about["below"].get(name)
        if below is not None and not ((values >= 0) & (values < below)).all():
            raise ValueError(f"{name}: numbers from 0 to {below - 1}")
    return inputs
