"""Optional packages: the extras of ``pip install "souron[NAME]"``."""

import importlib.util

from souron.utils.messages import UserError, _

EXTRAS = {  # name -> its modules
    "video": ("av",),
    "fast": ("openvino", "nncf"),
    "onnx": ("onnx", "onnxscript"),
    "slides": ("openslide",),
    "credentials": ("c2pa", "cryptography"),
    "llama": ("xllamacpp",),
    "mcp": ("mcp",),
}


def installed(extra: str) -> bool:
    """Return whether the modules of an extra are installed. Imports none of them."""
    return all(_there(module) for module in EXTRAS[extra])


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a stub without a spec, or None in ``sys.modules``
        return False


def missing(extra: str, need: str) -> UserError:
    """Return the error of a missing extra; ``need`` is the translated text of what needs it."""
    return UserError(
        "extra",
        need,
        expected=_("the optional packages named {extra}").format(extra=extra),
        fix=f'pip install "souron[{extra}]"',
        exit=4,
    )


def check(extra: str, need: str) -> None:
    """Raise ``missing`` where an extra is not installed."""
    if not installed(extra):
        raise missing(extra, need)
