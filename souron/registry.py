"""Name -> file -> class. There is no list to edit: a file in ``systems/`` is a system, a file in
``tasks/`` a task, a file in ``report/sections/`` a task's part of the reports, a file or folder in
``actions/`` an action.

``resnet`` is the file ``systems/classify/resnet.py`` at its size ``small``; ``resnet152`` and
``yolo_n`` name a size too, and so does a name of torchvision's: ``fasterrcnn_resnet50_fpn``. What a
table or a help text shows of a system, a task or an action is read from its source without importing
it, so that ``souron list`` does not wait for torch.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from souron.kinds.signature import Given, Option, options_of_class
from souron.metrics.metric import Metric
from souron.utils import distributions
from souron.utils.files import package_folders
from souron.utils.messages import UserError, _, language

PUBLISHERS = re.compile(r"(?=.*[_\d-])[a-z0-9]+([_-][a-z0-9]+)*", re.IGNORECASE)  # a publisher's name


@dataclass(frozen=True)
class Entry:
    """A system as described by its source file."""

    name: str
    task: str
    idea: str  # English
    ja: str  # Japanese
    year: int
    paper: str  # authors, title, year, as in the file
    url: str
    sizes: tuple[str, ...]
    status: str
    file: Path
    about: str  # the whole docstring
    weights: dict[str, str]  # size -> its published weights, as fetching names them
    needs_fit: bool = True  # False where its file says that it needs no training
    published_from: dict[str, str] = field(default_factory=dict)  # size -> their training data,
    # where it is not the task's


@dataclass(frozen=True)
class TaskEntry:
    """A task as described by its source file."""

    name: str
    title: str  # English, the key of its translation
    metrics: tuple[Metric, ...]  # the first decides rankings
    watches: str  # the validation metric
    default_data: str
    options: tuple[Option, ...]
    not_compared: tuple[str, ...]  # options that ``souron compare`` does not accept
    formats: tuple[str, ...]  # file formats declared by this task alone
    talks: bool  # its systems continue texts and can therefore chat
    file: Path
    target: str = ""  # of data that it accepts, a file of ``data/targets``; "" for any
    fits: str = ""  # data whose target is this call for the task, where ``target`` is ""
    first_system: str = ""  # advised for a first training; "" for the first ready one
    transfers: bool = False  # that training should start from published weights, all but the last layer frozen


@dataclass(frozen=True)
class ActionEntry:
    """An action as its file describes it."""

    name: str
    kind: str  # the name of its class
    title: str  # one line of help: English, the key of its translation
    examples: tuple[str, ...]
    group: str  # of ``souron --help``
    given: Given
    options: tuple[Option, ...]
    file: Path
    question: str = ""  # that it answers: English, the key of its translation
    within: str = ""  # a command that takes the action's name as its first word, too
    lookup: bool = False  # its command writes only where ``project`` or ``open`` asks for files
    texts: bool = False  # what is given are texts
    brief: bool = False  # it takes seconds
    page: str = ""  # of the studio, where the same can be done by hand
    of_tasks: str = ""  # the tasks' own options that it takes, too: "all", or "compared"
    streams: bool = False  # each event's record is shown as it comes
    reads_only: bool = False  # an assistant may run it


@lru_cache
def tasks() -> dict[str, TaskEntry]:
    """Return every task by name, without importing any."""
    files = [
        file
        for folder in package_folders("tasks")
        for file in sorted(folder.glob("*.py"))
        if not file.name.startswith("_")
    ]
    return {file.stem: describe_task(file) for file in files}


def task_options(which: str = "all") -> list[Option]:
    """Return the options of some tasks only, each with the tasks that take it: "all", or the "compared" ones."""
    options: dict[str, Option] = {}
    for task in tasks().values():
        for option in task.options:
            if which == "all" or option.name not in task.not_compared:
                before = options[option.name].tasks if option.name in options else ()
                options[option.name] = replace(option, tasks=(*before, task.name))
    return list(options.values())


def takes(task: str) -> str:
    """Return the input kind of a task, e.g. ``Picture``, from one line of its file.

    ``None`` for a task that starts from noise, "" for an unknown task.
    """
    return _kind(task, "takes")


def gives(task: str) -> str:
    """Return the output kind of a task, e.g. ``Labels``, like ``takes``."""
    return _kind(task, "gives")


@lru_cache
def _kind(task: str, attribute: str) -> str:
    for folder in package_folders("tasks"):
        file = folder / f"{task}.py"
        if file.is_file():
            line = re.search(rf"^    {attribute}(?:: [^=]+)? = (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            return line[1] if line else ""
    return ""


def describe_task(file: Path) -> TaskEntry:
    """Read a task's file without running it. Raises UserError where its class is incomplete."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    own = _class_of("Task", tree, file)
    values = _assigned(own)
    _check_class("Task", own, ("title", "takes", "gives", "metrics"), file)
    try:
        _check_formats(file, values.get("formats"))
        return TaskEntry(
            name=file.stem,
            title=_literal(values["title"]),
            metrics=_literal(values["metrics"]),
            watches=_literal(values["watches"]) if "watches" in values else "",
            default_data=_literal(values["default_data"]) if "default_data" in values else "digits",
            options=tuple(_options(tree)),
            not_compared=_literal(values["not_compared"]) if "not_compared" in values else (),
            formats=(*formats_for(file.stem), *(_literal(values["formats"]) if "formats" in values else ())),
            talks=_literal(values["talks"]) if "talks" in values else False,
            file=file,
            target=_literal(values["target"]) if "target" in values else "",
            fits=_literal(values["fits"]) if "fits" in values else "",
            first_system=_literal(values["first_system"]) if "first_system" in values else "",
            transfers=_literal(values["transfers"]) if "transfers" in values else False,
        )
    except (ValueError, TypeError) as error:
        raise _wrong("Task", file, own.lineno, str(error), _("plain values")) from error


def action_files() -> dict[str, Path]:
    """The file of every action, by name: ``actions/NAME.py``, or ``actions/NAME/__init__.py``."""
    files = [
        file
        for folder in package_folders("actions")
        for file in sorted([*folder.glob("*.py"), *folder.glob("*/__init__.py")])
    ]
    named = {file.parent.name if file.stem == "__init__" else file.stem: file for file in files}
    return {
        name: file
        for name, file in sorted(named.items())
        if not name.startswith("_") and distributions.is_offered(f"actions/{name}")
    }


def export_formats() -> list[str]:
    """Name the formats of ``souron export``; [] without its distribution. Imports nothing of them."""
    return distributions.names("exports/formats")


def actions() -> dict[str, ActionEntry]:
    """Every action, by name. Imports nothing of them."""
    return {name: action(name) for name in action_files()}


def action(name: str) -> ActionEntry:
    """The action of that name, as its file describes it. Raises UserError."""
    distributions.check(f"actions/{name}")
    file = action_files()[name]
    return _described_action(name, file, file.stat().st_mtime_ns)


MORE_OF_AN_ACTION = (
    "question",
    "within",
    "lookup",
    "texts",
    "brief",
    "page",
    "of_tasks",
    "streams",
    "reads_only",
)  # what it need not say


@lru_cache
def _described_action(name: str, file: Path, changed: int) -> ActionEntry:
    """The action in a file as it was ``changed`` last, in nanoseconds."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    own = _class_of("Action", tree, file)
    values = _assigned(own)
    _check_class("Action", own, ("title", "examples", "group", "given", "run"), file)
    for record in _classes(tree, "Record"):
        _check_class("Record", record, _abstract("Record"), file)
    further = task_options(_literal(values["of_tasks"])) if "of_tasks" in values else []
    try:
        return ActionEntry(
            name=name,
            kind=own.name,
            title=_literal(values["title"]),
            examples=_literal(values["examples"]),
            group=_literal(values["group"]),
            given=_literal(values["given"]),
            options=(*_options(tree), *further),
            file=file,
            **{name: _literal(values[name]) for name in MORE_OF_AN_ACTION if name in values},
        )
    except (ValueError, TypeError) as error:
        raise _wrong("Action", file, own.lineno, str(error), _("plain values")) from error


def load_action(name: str) -> Any:
    """The class of the action of that name. Imports what it needs."""
    return getattr(importlib.import_module(f"souron.actions.{name}"), action(name).kind)


def _check_formats(file: Path, node: ast.expr | None) -> None:
    folders = package_folders("data/formats")
    there = [path.stem for folder in folders for path in folder.glob("*.py")]
    for name in () if node is None else _literal(node):
        if name not in there:
            found = _("no format {name}").format(name=name)
            raise _wrong("Task", file, getattr(node, "lineno", 1), found, ", ".join(sorted(there)))


def _classes(tree: ast.Module, base: str) -> list[ast.ClassDef]:
    """The classes of a file that derive from ``base``."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return [node for node in classes if base in map(ast.unparse, node.bases)]


def _class_of(base: str, tree: ast.Module, file: Path) -> ast.ClassDef:
    """The only class of a file that derives from ``base``. Raises UserError."""
    own = _classes(tree, base)
    if len(own) != 1:
        found = _("{count} classes of {base}").format(count=len(own), base=base)
        raise _wrong(base, file, 1, found, "1")
    return own[0]


def _check_class(base: str, own: ast.ClassDef, needed: Sequence[str], file: Path) -> None:
    """Raises UserError where a class lacks one of the ``needed`` names, or where a method of the
    contract has other parameters."""
    contract = {name: _parameters(method) for name, method in _contract(base).items()}
    methods = {node.name: node for node in own.body if isinstance(node, ast.FunctionDef)}
    for name in needed:
        if name not in methods and name not in _assigned(own):
            found = _("no {name}").format(name=name)
            expected = f"{name}({', '.join(contract[name])})" if name in contract else f"{name} = "
            raise _wrong(base, file, own.lineno, found, expected)
    for name, method in methods.items():
        given, wanted = _parameters(method), contract.get(name)
        if wanted and given != wanted:
            found, expected = (f"{name}({', '.join(words)})" for words in (given, wanted))
            raise _wrong(base, file, method.lineno, found, expected)


CONTRACTS = {"Task": "task", "Action": "action", "Record": "action"}  # class -> its file in the root


@lru_cache
def _contract(base: str) -> dict[str, ast.FunctionDef]:
    """The methods that the files of a folder may have, from the source of their base class."""
    path = Path(__file__).parent / f"{CONTRACTS[base]}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    [own] = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == base)
    return {node.name: node for node in own.body if isinstance(node, ast.FunctionDef)}


def _abstract(base: str) -> list[str]:
    """The methods that every class of that base has to have."""
    return [
        name for name, method in _contract(base).items() if "abstractmethod" in map(ast.unparse, method.decorator_list)
    ]


def _parameters(function: ast.FunctionDef) -> list[str]:
    return [parameter.arg for parameter in function.args.args]


def _wrong(base: str, file: Path, line: int, found: str, expected: str) -> UserError:
    see = {"task": _('see "Add a task" in CONTRIBUTING.md'), "action": _('see "Add an action" in CONTRIBUTING.md')}
    return UserError(
        f"{CONTRACTS[base]} file",
        _("{file}, line {line}: {found}").format(file=file, line=line, found=found),
        expected=expected,
        fix=see[CONTRACTS[base]],
    )


def _assigned(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return the names that the body of a class assigns, with their expressions."""
    values = {}
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            values[item.targets[0].id] = item.value
        elif isinstance(item, ast.AnnAssign) and item.value is not None:
            values[getattr(item.target, "id", "")] = item.value
    return values


PLAIN: dict[str, type] = {"Metric": Metric, "Given": Given}  # classes of plain values


def _literal(node: ast.expr) -> Any:
    """The value of constants, tuples, ``N_("text")``, ``Metric(...)`` and ``Given(...)``. Raises
    ValueError."""
    if isinstance(node, ast.Tuple):
        return tuple(_literal(item) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "N_":
            return _literal(node.args[0])
        if node.func.id in PLAIN:
            named = {str(item.arg): _literal(item.value) for item in node.keywords}
            return PLAIN[node.func.id](*map(_literal, node.args), **named)
    return ast.literal_eval(node)


OPTION_TYPES: dict[str, type] = {
    "int": int,
    "float": float,
    "bool": bool,
    "tuple[str, ...]": tuple,
    "dict[str, str]": dict,
}


def _options(tree: ast.Module) -> list[Option]:
    """``name: Annotated[int | None, Choice(N_("help"), low=1)] = None``, field by field, of the
    class ``Options``. Raises ValueError."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options"]
    own = [item for node in classes for item in node.body if isinstance(item, ast.AnnAssign)]
    options = {option.name: option for option in map(_own_option, own)}
    inherited = [option for base in classes for option in _inherited(tree, base)]
    return [*options.values(), *(option for option in inherited if option.name not in options)]


def _inherited(tree: ast.Module, options: ast.ClassDef) -> list[Option]:
    """The options of the base class of ``Options``, which a module holds that imports nothing heavy."""
    bases = list(map(ast.unparse, options.bases))
    return [
        option
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.name in bases
        for option in options_of_class(getattr(importlib.import_module(str(node.module)), name.name)).values()
    ]


def _own_option(item: ast.AnnAssign) -> Option:
    name = getattr(item.target, "id", "")
    match item.annotation:
        case ast.Subscript(slice=ast.Tuple(elts=[kind, ast.Call() as choice])):
            pass
        case _:
            raise ValueError(_("{name} is not Annotated with a Choice").format(name=name))
    words = {str(word.arg): _literal(word.value) for word in choice.keywords}
    return Option(
        name=name,
        type=OPTION_TYPES.get(ast.unparse(kind).removesuffix(" | None"), str),
        default=_literal(item.value) if item.value else None,
        help=_literal(choice.args[0]),
        low=words.get("low"),
        high=words.get("high"),
        metavar=words.get("metavar", ""),
        among=words.get("among", ()),
        text=words.get("text", False),
        of=words.get("of", ()),
        writes=words.get("writes", False),
    )


@lru_cache
def metrics() -> dict[str, Metric]:
    """Return every metric of every task, by name."""
    return {metric.name: metric for task in tasks().values() for metric in task.metrics}


def metric(name: str) -> Metric:
    """Return the metric of that name, or a plain one where no task has it."""
    return metrics().get(name) or Metric(name)


@lru_cache
def load_task(name: str) -> Any:
    """Return an instance of the task of that name. Imports torch."""
    module = importlib.import_module(f"souron.tasks.{name}")
    [task_class] = (
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and thing.__module__ == module.__name__ and hasattr(thing, "metrics")
    )
    task: Any = task_class()
    task.formats = (*formats_for(name), *task.formats)
    return task


def formats_for(task: str) -> tuple[str, ...]:
    """Return the file formats that name a task themselves, by ``tasks = ("classify",)``.

    They are tried before those that the task names.
    """
    return tuple(name for name, tasks in tasks_of_formats().items() if task in tasks)


@lru_cache
def tasks_of_formats() -> dict[str, tuple[str, ...]]:
    """Return the tasks that each file of ``data/formats/`` names. Imports none of them."""
    named = {}
    for folder in package_folders("data/formats"):
        for file in sorted(folder.glob("*.py")):
            text = file.read_text(encoding="utf-8")
            line = re.search(r"^tasks = (\(.*\))", text, re.MULTILINE)
            named[file.stem] = ast.literal_eval(line[1]) if line else ()
    return named


def talks(task: str) -> bool:
    """Return whether the systems of a task continue texts and can chat; False for unknown names."""
    return task in tasks() and tasks()[task].talks


def section(task: str) -> ModuleType | None:
    """Import ``report/sections/<task>.py``, a task's part of the reports; None where absent."""
    name = f"souron.report.sections.{task}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def notebook_html(name: str, record: Any) -> str:
    """Return a record as HTML for a notebook, by ``<name>_html`` of ``report/report.py``."""
    module = importlib.import_module("souron.report.report")
    return str(getattr(module, f"{name}_html")(record))


@lru_cache
def entries() -> dict[str, Entry]:
    """Return every system by name, ordered by task and year."""
    found = [_described(file, file.stat().st_mtime_ns) for file in system_files()]
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.task, e.year, e.name))}


@lru_cache
def system_files() -> list[Path]:
    """List the source files of all systems."""
    files = [file for folder in package_folders("systems") for file in folder.glob("*/*.py")]
    return [file for file in files if not file.name.startswith("_")]


@lru_cache
def _described(file: Path, changed: int) -> Entry:
    """Cache ``describe`` by the file's time of change in nanoseconds."""
    return describe(file)


def describe(file: Path) -> Entry:
    """Read a system's file without running it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    about = ast.get_docstring(tree) or ""
    values = {
        name: value for node in tree.body if isinstance(node, ast.ClassDef) for name, value in _assigned(node).items()
    }

    sizes = values.get("SIZES", ast.Dict([], []))
    assert isinstance(sizes, ast.Dict), f"{file}: SIZES is a plain dict"

    def value(name: str, default: Any) -> Any:
        return ast.literal_eval(values[name]) if name in values else default

    paragraphs = re.split(r"\n\s*\n", about)
    paper = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
    url = re.search(r"https?://\S+", paper)
    return Entry(
        name=file.stem,
        task=file.parent.name,
        idea=about.partition("\n")[0],
        ja=value("ja", ""),
        year=value("year", 0),
        paper=re.sub(r"\s*https?://\S+", "", paper),
        url=url.group().rstrip(".") if url else "",
        sizes=tuple(ast.literal_eval(key) for key in sizes.keys if key),
        status=value("status", "faithful"),
        file=file,
        about=about,
        weights=value("WEIGHTS", {}),
        needs_fit=value("needs_fit", True),
        published_from=value("published_from", {}),
    )


def find(name: str) -> tuple[Entry, str]:
    """Return entry and size of a name: ``"resnet152"`` -> ``resnet``, ``"152"``.

    The size is ``"small"`` where the name has none. Raises UserError for an unknown name.
    """
    match = _match(name)
    if match is not None:
        return match
    near = difflib.get_close_matches(name, names(), 3, 0.5)
    raise UserError(
        "system",
        _("no system is named {name!r}").format(name=name),
        expected=", ".join(near or entries()),
        fix=f"souron show {near[0]}" if near else "souron list",
    )


def published_from(name: str) -> str:
    """Return the training data of a system's published weights. Raises UserError."""
    return str(load_task(find(name)[0].task).published_data(name))


def is_system(name: str) -> bool:
    """Return whether a system has that name, with or without a size."""
    return _match(name) is not None


def _match(name: str) -> tuple[Entry, str] | None:
    """Return entry and size of a name; only candidate files are read, the longest name first."""
    meant = [file for file in system_files() if name.startswith(file.stem)]
    for file in sorted(meant, key=lambda file: -len(file.stem)):
        entry = _described(file, file.stat().st_mtime_ns)
        size = name.removeprefix(entry.name).lstrip("_-")
        if name == entry.name or size in entry.sizes:
            return entry, size or "small"
    return _by_publisher(name)


def _by_publisher(name: str) -> tuple[Entry, str] | None:
    """Return entry and size of the name that a publisher has for a model.

    ``fasterrcnn_resnet50_fpn`` is torchvision's, whose weights are
    ``FasterRCNN_ResNet50_FPN_Weights``; ``RealESRGAN_x4plus`` has weights of that very name.
    """
    if PUBLISHERS.fullmatch(name) is None:
        return None
    torchvision, plain = f"torchvision:{name}_weights.".lower(), f":{name}".lower()
    for file in system_files():
        text = file.read_text(encoding="utf-8").lower()
        if torchvision in text or f'{plain}"' in text:
            entry = _described(file, file.stat().st_mtime_ns)
            for size, origin in entry.weights.items():
                if origin.lower().startswith(torchvision) or origin.lower().endswith(plain):
                    return entry, size
    return None


def names() -> list[str]:
    """List the names of all systems, without and with each of their sizes."""
    everything = entries()
    sized = [full_name(entry, size) for entry in everything.values() for size in entry.sizes]
    return list(dict.fromkeys([*everything, *sized]))


def full_name(entry: Entry, size: str) -> str:
    """Return the name of a system at a size: ``resnet152``, ``vit_tiny``, ``resnet`` for small."""
    if size == "small":
        return entry.name
    return entry.name + size if size[0].isdigit() else f"{entry.name}_{size}"


def load_system(name: str) -> tuple[Any, Any]:
    """Return the class of a system and the config of the size in ``name``. Imports torch."""
    entry, size = find(name)
    module = importlib.import_module(f"souron.systems.{entry.task}.{entry.name}")
    found = system_class(module)
    return found, found.SIZES[size]


def system_class(module: ModuleType) -> Any:
    """Return the only system class that a module defines."""
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and hasattr(thing, "SIZES") and thing.__module__ == module.__name__
    ]
    assert len(own) == 1, f"{module.__name__} defines {len(own)} systems; one file, one system"
    return own[0]


def status(entry: Entry) -> str:
    return {"faithful": _("faithful"), "reduced": _("reduced"), "pretrained": _("pretrained")}[entry.status]


def entry_as_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "task": entry.task,
        "year": entry.year,
        "paper": entry.paper,
        "url": entry.url,
        "idea": {"en": entry.idea, "ja": entry.ja},
        "sizes": list(entry.sizes),
        "status": entry.status,
    }


def differs(entry: Entry) -> str:
    """Return the part of a system's docstring that follows "Differs from the paper:"."""
    sentence = r"(?:^|[.`)]\s+)Differs\s+from\s+the\s+paper:\s+(.*?)(\n\s*\n|\Z)"
    found = re.search(sentence, entry.about, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def about(entry: Any) -> str:
    """Return the idea of a system or data set in the reader's language."""
    return entry.ja if language() == "ja" and entry.ja else entry.idea


def task_name(task: str) -> str:
    """Return the title of a task in the reader's language."""
    return _(tasks()[task].title) if task in tasks() else task
