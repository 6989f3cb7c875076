"""Kinds of layers that diagrams distinguish: their colours, names and short names."""

from souron.utils.messages import _

COLOURS = {
    "input": "#b8bcc2",
    "convolution": "#4c8bbf",
    "convolutions": "#2f6391",
    "pooling": "#d9a441",
    "connected": "#5aa469",
    "mixing": "#3d7a4a",
    "attention": "#b0588d",
    "embedding": "#c97b4a",
    "kept": "#8a6fb3",
    "recurrent": "#a8574f",
    "step": "#5b7f86",
    "other": "#8d9199",
}


def meaning(kind: str) -> str:
    """Return the meaning of a kind's colour, in the reader's language."""
    return {
        "input": _("input"),
        "convolution": _("convolution"),
        "convolutions": _("block of convolutions"),
        "pooling": _("pooling"),
        "connected": _("fully connected"),
        "mixing": _("block of fully connected layers"),
        "attention": _("block with attention"),
        "embedding": _("embedding"),
        "kept": _("stored values"),
        "recurrent": _("recurrent layer"),
        "step": _("step of the method"),
        "other": _("other"),
    }[kind]


def short(name: str) -> str:
    """Return the last part of a layer's name; where it is a number, also the part before it."""
    *_before, parent, last = ["", *name.split(".")]
    return f"{parent}.{last}" if last.isdigit() and parent else last
