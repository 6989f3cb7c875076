"""Right answers of exercises, computed by PyTorch and by souron's own systems, metrics and statistics.

A file of this folder holds the functions of a chapter. Each of them without a leading underscore returns one number,
and the file of a row may ask for it by its name.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache

from souron.utils import files


@cache
def functions() -> dict[str, Callable[..., float]]:
    """Return every function that an exercise may ask for, by name.

    >>> functions()["patches"](224, 16)
    196
    """
    modules = [importlib.import_module(f"{__name__}.{name}") for name in files.names_in(sys.modules[__name__])]
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
