"""Meaning of the words of ``souron predict``: a system, files, and options of the system among them."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from souron import registry
from souron.hub import names
from souron.kinds import signature
from souron.pipelines import default_system
from souron.runs import folder as run_folder
from souron.runs import loading
from souron.utils import files as file_utils
from souron.utils.messages import UserError, _, unknown_option

OPTION = re.compile(r"[a-z_]+=(-?[\d.]+|[\w, -]*)", re.ASCII)  # an option: ``size=3``
ENDING = re.compile(r"\w\.[a-zA-Z]\w{1,4}$", re.ASCII)  # extension of a file name


def missing_files(meaning: names.Meaning) -> UserError:
    found = _("{argument} is missing").format(argument="FILES")
    return UserError("argument", found, expected="FILES", fix=f"souron predict {meaning.name} cat.jpg")


def resolve_system(words: list[str], model: str) -> tuple[names.Meaning, list[str], Any]:
    """Return what the system's name means, the files, and the ``Choice`` where the user named none.

    Raises UserError for an unknown name, and where no available system was trained on such files.
    """
    if model:
        return names.resolve(model), words, None
    system, *files = words
    meaning = names.known(system)
    if meaning is not None or not names_files(system):
        return meaning or names.missing(system), files, None
    choice = default_system.choose(system)
    return names.resolve(choice.system), words, choice


def names_files(word: str) -> bool:
    """Return whether a word without a meaning is a file, a folder of files, a glob or a text.

    Otherwise it is a wrong name, or a run that is gone. Imports nothing heavy.
    """
    path = Path(word)
    if file_utils.there(word) or "*" in word or ENDING.search(word):
        return True
    inside = len(path.parts) > 1 and file_utils.there(path.parts[0])  # a run that is gone
    return not inside and (" " in word.strip() or not word.isascii())


def chosen_options(
    meaning: names.Meaning, words: list[str], further: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Separate the files from the system's own options, which may stand among them."""
    told = dict(further)
    maybe = [word for word in words if "=" in word and not file_utils.there(word)]
    if not told and not maybe:
        return words, {}
    own = own_options(meaning)
    for option in told:
        if option not in own:
            known = [*(one.name for one in registry.action("predict").options), "project", *own]
            raise unknown_option(option, known, "souron predict --help")
    files = []
    for word in words:
        option, _equals, value = word.partition("=")
        meant = get_close_matches(option, own, 1, 0.7) or (own and OPTION.fullmatch(word))
        if word not in maybe or (option not in own and not meant):
            files.append(word)
        elif option in own:
            told[option] = value
        else:
            raise unknown_option(option, list(own), f"souron show {meaning.name}")
    return files, told


def own_options(meaning: names.Meaning) -> dict[str, Any]:
    """Return the options for predicting of a run or a system."""
    if isinstance(meaning, names.WeightsFile):
        able = map(signature.signature, loading.published_systems().values())
        return {key: option for one in able if one for key, option in one.options.items()}
    asked = signature_of(meaning)
    return asked.options | asked.reading if asked else {}


def begins_anew(meaning: names.Meaning) -> bool:
    """Return whether a system can predict without a file."""
    asked = signature_of(meaning)
    return asked is not None and asked.given.blank


def signature_of(meaning: names.Meaning) -> Any:
    """Return the signature of a run's or system's ``predict``; None without one."""
    name = meaning.system if isinstance(meaning, names.PublishedFolder) else meaning.name
    try:
        if isinstance(meaning, names.Run):
            name = str(run_folder.read_args(meaning.folder)["system"])
        return signature.signature(registry.load_system(name)[0])
    except UserError:  # loading it says what is wrong
        return None
