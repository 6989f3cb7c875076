"""Words of the option ``fast``; this file imports nothing heavy."""

import os

from souron.utils.messages import UserError

MODES = ("auto", "off", "f32", "bf16", "int8")
VARIABLE = "SOURON_FAST"  # environment variable: the mode where none is given
EAGER = "eager"  # answers of PyTorch alone


def chosen_mode(word: str | None) -> str:
    """Return the mode that an option names; by default that of the environment, else "auto".

    Raises UserError for another word.

    Example:
        >>> chosen_mode("bf16")
        'bf16'
    """
    mode = word or os.environ.get(VARIABLE) or "auto"
    if mode not in MODES:
        raise UserError("option", f"fast={mode}", expected=", ".join(MODES), fix="fast=auto")
    return mode


def waits(mode: str) -> bool:
    """Return whether answers wait for the build: where a person named a precision."""
    return mode in ("f32", "bf16", "int8")
