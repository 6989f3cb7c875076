"""Documents to search: read them, and load the retrievers and language models that work on them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from souron import registry
from souron.evaluation.language.retrieval_augmented import Speaker
from souron.kinds import files as kind_files
from souron.kinds.text import MOST_LETTERS, Text
from souron.runs import folder as run_folder
from souron.runs import loading
from souron.tasks.retrieve import Retriever
from souron.utils import files, units
from souron.utils.messages import UserError, _

MOST_FILES = 1_000
STDIN = "-"


def read(source: Any) -> list[Text]:
    """Read the texts of a file, a folder, standard input (``-``), a ``Text``, or several of them.

    Raises UserError for anything but text, and for texts that are empty or too large.

    >>> [text.text for text in read(Text("It opens at nine."))]
    ['It opens at nine.']
    """
    given = [source] if isinstance(source, str | Path | Text) else list(source)
    texts, characters = [], 0
    for text in _each(given):
        characters += len(text.text)
        texts.append(Text(printable(text.text), text.file))
        if len(texts) > MOST_FILES or characters > MOST_LETTERS:
            raise UserError(
                "too large",
                _("{files} files with {letters} characters, or more").format(
                    files=units.whole(len(texts)), letters=units.whole(characters)
                ),
                expected=_("at most {files} files and {letters} characters").format(
                    files=units.whole(MOST_FILES), letters=units.whole(MOST_LETTERS)
                ),
                exit=3,
            )
    if not texts:
        raise UserError(
            "no texts",
            _("no text in {names}").format(names=", ".join(map(str, given[:3]))),
            expected=_("files that end in {ends}").format(ends=", ".join(Text.formats)),
            exit=3,
        )
    return texts


def _each(given: Sequence[Any]) -> Iterator[Text]:
    for one in given:
        if isinstance(one, Text):
            yield one
        elif str(one) == STDIN:
            raw = sys.stdin.buffer.read(kind_files.MOST_TEXT + 1)
            yield Text(kind_files.decoded(raw, Path(STDIN)), "")
        else:
            folder = Path(one).is_dir()
            for path in files.find_files([one]):
                if not folder or path.suffix.lower() in Text.formats:
                    yield Text.read(path)


def printable(text: str) -> str:
    """Replace lone surrogates, keeping the length; terminals reject them."""
    return text.encode("utf-8", "replace").decode()


def speaker_of(name: str) -> Speaker:
    """Load a language model: a run, or an open one (``smollm2``, a file, a folder).

    Raises UserError.
    """
    return Speaker(loading.language_model(name), name)


def retriever_of(name: str, model: str = "") -> Retriever:
    """Load a retriever: ``encoder``, ``bm25``, ``windows``, or a run of one.

    ``model`` is the language model of ``windows``. Raises UserError.
    """
    folder = Path(name)
    if folder.exists():
        system = run_folder.load(folder)
    else:
        system_class, config = registry.load_system(name)
        if not issubclass(system_class, Retriever):
            raise _other_task(name, system_class.task)
        if model and hasattr(config, "model"):
            config = replace(config, model=model)
        system = system_class(config, None).eval()
    if not isinstance(system, Retriever):
        raise _other_task(name, system.task)
    return system


def _other_task(name: str, task: str) -> UserError:
    return UserError(
        "task",
        _("{name} is made for {task}").format(name=name, task=registry.task_name(task)),
        expected=registry.task_name("retrieve"),
        fix="souron list",
    )
