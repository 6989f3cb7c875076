"""Distributions of souron beside the core, such as ``souron-clinic``: their contents, and their versions.

Their files lie in the same package ``souron``, and nothing here imports them. Each brings
``souron/utils/versions/NAME.py``, which holds ``__version__``; where that is not the version of the core,
nothing of it is offered.
"""

import importlib
import re
from functools import lru_cache
from types import ModuleType

import souron
from souron.utils.files import package_folders
from souron.utils.messages import UserError, _

CONTENTS = {  # distribution -> its files and folders of ``souron/``, without ".py"
    "clinic": (
        "utils/versions/clinic",
        "actions/calibration",
        "actions/cephalometry",
        "actions/decision",
        "actions/external",
        "actions/plan",
        "actions/refer",
        "actions/reporting",
        "actions/skill",
        "actions/surface",
    ),
    "fast": ("utils/versions/fast", "actions/export", "exports"),
    "teach": (
        "utils/versions/teach",
        "actions/exercises",
        "lecture/checks",
        "lecture/computed",
        "lecture/exercises",
        "lecture/notebooks",
        "studio/interactives",
        "studio/interactive_export",
        "studio/lecture/course_pages",
        "studio/lecture/marking",
        "studio/lecture/teaching",
        "studio/pages/courses",
        "studio/pages/exercises",
        "studio/pages/interactives",
        "studio/pages/teach",
        "studio/routes/courses",
        "studio/routes/exercises",
        "studio/routes/teach",
    ),
    "far": ("utils/versions/far", "engines/dask", "engines/slurm"),
}
VERSION = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)


def distribution(path: str) -> str:
    """Return the distribution that holds a file or folder of ``souron/``; "" for the core.

    >>> distribution("actions/plan"), distribution("actions/plan/pilot.py"), distribution("actions/verdict")
    ('clinic', 'clinic', '')
    """
    stem = path.removesuffix(".py") + "/"
    return next((name for name, parts in CONTENTS.items() if any(stem.startswith(f"{part}/") for part in parts)), "")


def version(name: str) -> str:
    """Return the version of a distribution that is installed, or ""."""
    return _version(name, tuple(souron.__path__))


@lru_cache
def _version(name: str, roots: tuple[str, ...]) -> str:
    for folder in package_folders("utils/versions"):
        file = folder / f"{name}.py"
        if file.is_file() and (match := VERSION.search(file.read_text(encoding="utf-8"))):
            return match[1]
    return ""


def is_offered(path: str) -> bool:
    """Return whether the distribution of a file or folder of ``souron/`` is there in the version of the core."""
    name = distribution(path)
    return not name or version(name) == souron.__version__


def load(path: str) -> ModuleType:
    """Import a file or folder of ``souron/`` by its path. Raises UserError as ``check`` does.

    >>> load("utils/units").__name__
    'souron.utils.units'
    """
    check(path)
    return importlib.import_module("souron." + path.replace("/", "."))


def names(folder: str) -> list[str]:
    """List the names of the files of a folder of ``souron/``, of every distribution that is offered.

    >>> names("serve/endpoints")[:2]
    ['actions', 'health']
    """
    found = {file.stem for place in package_folders(folder) for file in place.glob("*.py") if file.name[0] != "_"}
    return sorted(name for name in found if is_offered(f"{folder}/{name}"))


def check(path: str) -> None:
    """Raise UserError where the distribution of a file or folder is missing or has another version than the core.

    >>> check("actions/verdict")
    """
    if is_offered(path):
        return
    name = distribution(path)
    package, present = f"souron-{name}", version(name)
    if present:
        raise UserError(
            "version",
            _("{package} {version} does not fit souron {own}").format(
                package=package, version=present, own=souron.__version__
            ),
            expected=_("the same version of both"),
            fix=f"pip install {package}=={souron.__version__}",
            exit=4,
        )
    raise UserError(
        "package",
        _("{name!r} is in {package}, which is not installed").format(name=path.split("/")[-1], package=package),
        fix=f"pip install {package}",
        exit=4,
    )
