"""Options that several commands share, and their shell completion."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron import registry
from souron.hub import names
from souron.kinds import signature
from souron.registry import about
from souron.runs.options import word
from souron.utils.messages import N_, _

CHAPTERS = (
    "classification",
    "generation",
    "detection",
    "segmentation",
    "language",
    "words",
    "society",
    "fair-fight",
    "all",
)  # of the tour


def complete_system(incomplete: str) -> list[tuple[str, str]]:
    names = {
        registry.full_name(entry, size): about(entry) for entry in registry.entries().values() for size in entry.sizes
    }
    return [(name, idea) for name, idea in names.items() if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[tuple[str, str]]:
    from souron.data import load

    entries = load.names().values()
    return [(entry.name, about(entry)) for entry in entries if entry.name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    runs = [str(file.parent) for file in Path("runs").glob("*/*/args.yaml")]
    return [run for run in sorted(runs) if run.startswith(incomplete)]


def complete_system_or_run(incomplete: str) -> list[tuple[str, str]]:
    runs = [(run, "") for run in complete_run(incomplete)]
    return [*complete_system(incomplete), *runs]


def complete_of(tasks: tuple[str, ...]) -> Callable[[str], list[tuple[str, str]]]:
    """Return a completion by the runs, published models and ready-trained systems of tasks."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [one for one in names.offered(tasks) if one[0].startswith(incomplete)]

    return complete


def complete_among(values: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return a completion by the values of an option."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    return [name for name in registry.export_formats() if name.startswith(incomplete)]


def complete_fetchable(incomplete: str) -> list[str]:
    from souron.hub import fetch

    names = [*fetch.fetchable(), *fetch.groups()]
    return [name for name in names if name.startswith(incomplete)]


System = Annotated[
    str | None,
    Argument(
        metavar="SYSTEM",
        help=N_("a system's name, with or without a size: resnet, resnet18"),
        autocompletion=complete_system,
    ),
]
Model = Annotated[str | None, Option("--model", "--system", metavar="SYSTEM", help=N_("the system, as an option"))]
Data = Annotated[
    str | None,
    Option(
        metavar="D",
        help=N_("a data set's name, a folder with a sub-folder for each class, or a CSV"),
        autocompletion=complete_data,
    ),
]
Seed = Annotated[int | None, Option(min=0, metavar="N", help=N_("random seed (default 0)"))]
Workers = Annotated[int | None, Option(min=1, metavar="N", help=N_("cores to use (default all)"))]
Project = Annotated[str | None, Option(metavar="FOLDER", help=N_("where run folders go (default runs)"))]
Engine = Annotated[
    str | None, Option(metavar="ENGINE", help=N_("souron (default), or llama: a .gguf file runs with llama.cpp"))
]
Filter = Annotated[str, Option(metavar="HOW", help=N_("withhold harmful sentences: lexicon, classifier or both"))]
Lexicon = Annotated[
    str | None, Option(metavar="FILE", help=N_("words of your own for it, one a line, instead of souron's"))
]
Fast = Annotated[
    str | None, Option(metavar="HOW", help=N_("the engine of many answers: auto (default), off, f32, bf16, int8"))
]
Open = Annotated[bool, Option("--open", help=N_("open the page in the browser"))]


COMPLETE: dict[str, Callable[[str], list]] = {  # what a shell offers for a value, by its name in the help
    "CHAPTER": complete_among(CHAPTERS),
    "D": complete_data,
    "DATA": complete_data,
    "FORMAT": complete_format,
    "RUN": complete_run,
    "RUN|SYSTEM": complete_system_or_run,
    "RUN|TABLE": complete_run,
    "SYSTEM": complete_system,
    "SYSTEMS": complete_system_or_run,
}


def completion(option: signature.Option) -> Callable[[str], list] | None:
    """Return what a shell offers for the value of an option; None where it offers nothing."""
    if option.of:
        return complete_of(option.of)
    return complete_among(option.among) if option.among else COMPLETE.get(option.metavar)


ALSO = {"model": ("--system",)}  # option -> further names of it


def parameter(option: signature.Option) -> inspect.Parameter:
    """The parameter of a command that stands for an option."""
    named = (f"--{word(option).replace('_', '-')}", *ALSO.get(word(option), ()))
    metavar = option.metavar or {int: "N", float: "X"}.get(option.type, "TEXT")
    kind: Any = bool
    if option.type is bool:
        info = Option(*named, help=option.help)
    elif option.type is dict:
        kind, info = list[str] | None, Option("--set", hidden=True)
    else:
        low = option.low if option.type is int else None
        kind = (list[str] if option.type is tuple else option.type) | None
        info = Option(*named, metavar=metavar, help=option.help, min=low, autocompletion=completion(option))
    return inspect.Parameter(
        word(option),
        inspect.Parameter.KEYWORD_ONLY,
        default=False if option.type is bool else None,
        annotation=Annotated[kind, info],
    )


def given(options: Mapping[str, Any], known: Iterable[signature.Option]) -> dict[str, Any]:
    """Return the given options by their names in Python; None and False are left out."""
    names = {word(option): option.name for option in known}
    return {names.get(word, word): value for word, value in options.items() if value is not None and value is not False}


def with_help(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each option as ``steps=15 (1..1000)``, and its explanation."""
    return [(_spelt(each), _(each.help)) for each in known.values()]


def _spelt(option: Any) -> str:
    default = "FILE" if option.default is None else option.default or option.metavar
    default = option.default if isinstance(option.default, bool | int | float) else default
    allowed = f" ({option.allowed})" if option.allowed else ""
    return f"{option.name}={default}{allowed}"
