"""Readable names of data and runs, in place of paths."""

from pathlib import Path

from souron.data import load
from souron.data.case_table import CLEANED
from souron.utils.messages import _


def called(data: str) -> str:
    """Return the readable name of data, without paths: ``photos/`` -> ``photos``;
    ``photos/checked.csv`` -> ``photos, cleaned``; ``digits`` is unchanged."""
    if not data or data in load.names():
        return data
    path = Path(data)
    if path.suffix.lower() != ".csv" or not path.parent.name:
        return path.stem if path.suffix.lower() == ".csv" else path.name or data
    folder = path.parent.name
    found = CLEANED.fullmatch(path.name)
    if path.stem == folder:
        return folder
    if found is None:
        return _("{folder}, {table}").format(folder=folder, table=path.stem)
    told = _("{folder}, cleaned").format(folder=folder)
    return f"{told} ({found[1]})" if found[1] else told


def run(folder: str) -> str:
    """Return the name of a run, or of a system."""
    return Path(folder).name or folder


def folder(data: str) -> str:
    """Return the name of the folder for runs on that data, alike in every language, such as
    ``photos-cleaned``."""
    found = CLEANED.fullmatch(Path(data).name)
    if found is None or not Path(data).parent.name:
        return Path(data).name
    return "-".join(filter(None, (Path(data).parent.name, "cleaned", found[1])))
