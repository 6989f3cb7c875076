"""The tokenizers that split a text: a run's, a published model's, or that of a file."""

from pathlib import Path
from typing import Any

from souron import model as models_api
from souron import registry
from souron.data.language.tokenizer import Tokenizer
from souron.hub import fetch, names, zoo
from souron.utils.messages import UserError, _

USUAL, READY = "smollm2", "gpt"  # the model to begin with, and the one that comes ready trained
TASKS = ("tokenize", "complete")
TOKENIZER = ".json"


def cutter(name: str | Path) -> Any:
    """Return the ``Tokenizer`` or system of a name or path. Raises UserError."""
    if Path(name).suffix == TOKENIZER:
        return Tokenizer.of_file(Path(name))
    try:
        system = models_api.load(name).system
    except UserError as trouble:
        if trouble.code != "system":
            raise
        raise _nobody(str(name)) from trouble
    if system is not None and (hasattr(system, "tokenizer") or system.task == "tokenize"):
        return system
    if system is None and registry.find(str(name))[0].task in TASKS:
        raise UserError(
            "not trained",
            _("{name} has not learnt where to split").format(name=name),
            expected=_("a run of it"),
            fix=f"souron train {name} data=manuals",
            exit=3,
        )
    raise _nobody(str(name))


def usual() -> str:
    """Return the model of those who name none: smollm2, or what is here in its place."""
    here = fetch.where(USUAL) is not None or zoo.where(READY) is None
    return USUAL if here else READY


def names_a_model(word: str) -> bool:
    """Return whether a word of a command line names a tokenizer or model, not a text."""
    if "\n" in word or len(word) > 1000:
        return False
    if Path(word).suffix == TOKENIZER:
        return Path(word).is_file()
    meaning = names.known(word)
    if isinstance(meaning, names.Ready | names.System):
        return registry.find(zoo.system_of(word))[0].task in TASKS
    return meaning is not None


def _nobody(name: str) -> UserError:
    here = fetch.where(USUAL) is not None
    return UserError(
        "tokenizer",
        _("{name} splits no texts into tokens").format(name=name),
        expected=_("a run of tokenizing or of text completion, smollm2, or a tokenizer.json"),
        fix=f'souron tokens "..." {USUAL}' if here else f"souron fetch {USUAL}",
        exit=3,
    )
