"""Arguments of the command line: ``epochs=5`` beside ``--epochs 5``, nearest matches."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from souron.cli.console import screen
from souron.hub.names import is_run
from souron.kinds.signature import FALSE, TRUE
from souron.runs.journal import Journal
from souron.utils import files
from souron.utils.messages import UserError, _, set_language, unknown_option

EVERYWHERE = ("json", "quiet", "lang", "events")  # options of every command
VALUE_OR_NOT = ("resume", "pretrained")  # true, false, or a run's folder


def options_of(command: Any) -> dict[str, Any]:
    """Return option name -> click parameter, without the dashes."""
    return {
        text.removeprefix("--"): param
        for param in command.params
        if param.param_type_name == "option"
        for text in param.opts
        if text.startswith("--")
    }


def shown(known: dict[str, Any]) -> list[str]:
    """Return the options shown in help, each by its first name."""
    return [
        name
        for name, param in known.items()
        if not getattr(param, "hidden", False) and param.opts[0].removeprefix("--") == name
    ]


def take_global(words: Sequence[str]) -> list[str]:
    """Apply --json, --quiet, --lang and --events at any position; return the other words."""
    rest: list[str] = []
    coming = iter(words)
    for word in coming:
        if word == "--":
            return [*rest, word, *coming]
        _name, given, value = word.removeprefix("--").partition("=")
        name = of_every_command(word)
        if not name:
            rest.append(word)
        elif name == "lang":
            set_language(value if given else next(coming, ""))
        elif name == "events":
            screen.journal = Journal(Path(value if given else next(coming, "")))
        else:
            setattr(screen, name, truth(name, value) if given else True)
    return rest


def of_every_command(word: str) -> str:
    """Return the name of an option that every command has; "" for any other word."""
    name, given, _value = word.removeprefix("--").partition("=")
    return name if name in EVERYWHERE and (given or word.startswith("--")) else ""


def truth(name: str, value: str) -> bool:
    if value.lower() not in TRUE + FALSE:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=value),
            expected=f"{name}=true, {name}=false",
        )
    return value.lower() in TRUE


def rewrite(verb: str, command: Any, words: Sequence[str]) -> list[str]:
    """Rewrite ``epochs=5`` and ``--epochs 5`` to ``--epochs=5`` for options of the command.

    Names of existing files and folders stay as they are, and so does everything after ``--``. Other
    ``name=value`` become ``--set=name=value`` where the command takes options of a system; where it
    also takes files, only words that look like an option do. Raises UserError with the nearest
    match for an unknown name.
    """
    known = options_of(command)
    takes_files = any(param.name == "files" for param in command.params)
    names = shown(known)
    rest: list[str] = []
    coming = list(reversed(words))
    while coming:
        word = coming.pop()
        if len(word) == 2 and word[0] == "-" and word[1] in known:  # -n 64
            word = f"-{word}"
        if word == "--":
            return [*rest, word, *reversed(coming)]
        dashed = word.startswith("--")
        name, given, value = word.removeprefix("--").partition("=")
        if (dashes := name.replace("_", "-")) in known:  # allow_leak=true
            name = dashes
        near = difflib.get_close_matches(name, names, 1, 0.7)
        is_option = name in known or name.replace("-", "_").isidentifier()
        if word in ("--help", "-h"):
            command.words = words
            return ["--help"]
        elif word.startswith("-") and not dashed and word != "-":
            raise UserError(
                "option",
                _("no option is named {name!r}").format(name=word),
                expected=", ".join(names),
                fix=_("put names that begin with a dash behind --"),
            )
        elif not dashed and (not given or not is_option or files.there(word)):
            rest.append(word)
        elif name in known and known[name].is_flag:
            rest += [f"--{name}"] if not given or truth(name, value) else []
        elif name in known or ("set" in known and (dashed or near or not takes_files)):
            if not given:
                value = following(name, coming)
            rest.append(f"--{name}={value}" if name in known else f"--set={name}={value}")
        elif not dashed and takes_files and not near:
            rest.append(word)
        else:
            raise unknown_option(name, names, f"souron {verb} --help")
    return rest


def following(name: str, coming: list[str]) -> str:
    """Take the value of an option written without ``=`` off the list ``coming`` and return it."""
    if name in VALUE_OR_NOT and not (coming and (is_run(coming[-1]) or (name == "resume" and _is_folder(coming[-1])))):
        return "true"
    if not coming:
        raise UserError("value", _("{name} needs a value").format(name=name), expected=f"{name}=...")
    return coming.pop()


def _is_folder(name: str) -> bool:
    return files.there(name) and Path(name).is_dir()


def missing(argument: str, fix: str) -> UserError:
    found = _("{argument} is missing").format(argument=argument)
    return UserError("argument", found, expected=argument, fix=fix)
