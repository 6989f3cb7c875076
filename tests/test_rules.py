"""The house rules, as code."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import frame
import pytest
import roots

import souron
from souron import registry
from souron.utils import distributions

HOUSE = Path(souron.__file__).parent
FILES = list(roots.sources())
SYSTEMS = [p for p in FILES if p.parent.parent == HOUSE / "systems"]
FLOORS = (  # each imports only what stands before it
    "stats", "utils", "engines", "metrics", "kinds", "data", "registry", "blocks", "training", "hub",
    "evaluation", "system", "task", "report", "tasks", "systems", "runs", "inference", "exports", "action", "model",
    "lecture", "pipelines", "actions", "serve", "mcp", "cli", "studio",
)  # fmt: skip
MACHINERY = {"torch", "torchvision", "timm"}


def name_of(file: Path) -> str:
    """``souron/data/load.py`` -> ``souron.data.load``"""
    parts = ("souron", *roots.within(file).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file) for file in FILES}


class Facts(NamedTuple):
    """All that the rules below ask of a file: it is parsed once."""

    imports: set[str]
    imports_for_typing: set[str]
    compared: set[str]
    actions: set[str]  # that are named in a text, or loaded
    filled_messages: list[int]  # lines
    clauses: list[str]  # docstrings that begin with one, with their lines
    lengths: list[tuple[str, int]]  # functions and their numbers of lines
    names: list[str]  # local names, parameters and attributes, once for each place that assigns them


@cache
def facts(file: Path) -> Facts:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    typing_only = {
        id(node)
        for block in nodes
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    return Facts(
        modules_in([node for node in nodes if id(node) not in typing_only]),
        modules_in(nodes),
        compared_with(tree, nodes),
        actions_in(nodes),
        [node.lineno for node in nodes if is_filled_message(node)],
        [clause for node in nodes for clause in clauses(file, node)],
        [
            (node.name, (node.end_lineno or 0) - node.lineno + 1)
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ],
        [name for node in nodes for name in assigned(node)],
    )


def imports(file: Path, for_typing: bool = False) -> set[str]:
    """The modules that a file imports when it runs, at the top or within a function; with
    ``for_typing`` also those that only the type checker reads."""
    return facts(file).imports_for_typing if for_typing else facts(file).imports


def modules_in(nodes: list[ast.AST]) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            own = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= own & MODULES or {node.module}
            if not own <= MODULES and node.module != "souron":
                names.add(node.module)
    return names


def python(code: str) -> str:
    """What fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_system_imports_machinery_and_the_contract_only():
    assert not [
        (name_of(file), name) for file in SYSTEMS for name in imports(file) if not of_the_contract(*name.split("."))
    ]


def of_the_contract(first: str, *rest: str) -> bool:
    if first != "souron":
        return first in MACHINERY or first in sys.stdlib_module_names
    folders = ("system", "tasks", "kinds", "blocks", "training", "utils")
    published = (["hub", "backbones"], ["hub", "open_models"])
    return not rest or rest[0] in folders or list(rest[:2]) in published


@pytest.mark.quick(seconds=8)  # the first of a worker parses all files
def test_nothing_imports_a_system_by_name():
    assert not [(name_of(file), name) for file in FILES for name in imports(file) if name.startswith("souron.systems")]


OWN_TASKS = ("tasks", "systems", "pipelines", "actions")  # folders that may compare with a task
ALSO_COMMANDS = {"generate"}  # names of tasks that are commands too


def names_in(node: ast.AST, assigned: dict[str, ast.AST]) -> set[str]:
    """The texts of an expression: a constant, some in a tuple, or a name that stands for them."""
    if isinstance(node, ast.Name):
        return names_in(assigned[node.id], {}) if node.id in assigned else set()
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    parts = [*getattr(node, "elts", ()), *filter(None, getattr(node, "keys", ()))]
    return {name for part in parts for name in names_in(part, assigned)}


def compared_with(tree: ast.Module, nodes: list[ast.AST]) -> set[str]:
    """The texts that a file compares anything with."""
    assigned: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assigned[node.targets[0].id] = node.value
    sides = [side for node in nodes if isinstance(node, ast.Compare) for side in (node.left, *node.comparators)]
    cases = [node.value for node in nodes if isinstance(node, ast.MatchValue)]
    return {name for side in (*sides, *cases) for name in names_in(side, assigned)}


@pytest.mark.quick(seconds=8)  # the first of a worker parses all files
def test_no_file_compares_with_a_tasks_name():
    """A task says what it can do by its attributes, as ``talks`` and ``takes``."""
    tasks = set(registry.tasks()) - ALSO_COMMANDS
    found = [
        (name_of(file), name)
        for file in FILES
        if file.parent == HOUSE or floor(name_of(file)) not in OWN_TASKS
        for name in facts(file).compared & tasks
    ]
    assert not found
    tree = ast.parse('NAMES = ("choose", "x")\ntask in NAMES\n"pose" == task\n"tag"')
    assert compared_with(tree, list(ast.walk(tree))) & tasks == {"choose", "pose"}


FACES = {  # (a special face, its action): why what is made from the contract is not enough
    ("souron.studio.forms.predict_form", "watch"): "the same on the page Use",
    ("souron.studio.any_file.films", "watch"): "the same on the page Any file, in its player",
    ("souron.studio.pages.train", "train"): "weights to start from, and losses and samples as they come",
    ("souron.studio.pages.compare", "compare"): "systems to tick, and a table as it runs",
    ("souron.studio.pages.arena", "arena"): "a vote needs the next two answers at once",
    (
        "souron.studio.pages.data",
        "data",
    ): "files are brought and removed, and looking, checking and cleaning share them",
    ("souron.studio.pages.exam", "exam"): "a person answers question by question",
    ("souron.studio.pages.exercises", "exercises"): "several students' files at once, none of which is kept",
    ("souron.studio.pages.models", "models"): "the table stands there without a press",
    ("souron.studio.pages.read", "ask"): "questions one after the other, with the text beside them",
    ("souron.studio.pages.work", "work"): "own tasks are typed, and occupations are searched for",
    ("souron.studio.interactives.occupations_day", "work"): "an interactive page of the lecture",
    ("souron.cli.references", "references"): "souron fetch references asks the registries",
    ("souron.studio.runs.verdict_view", "verdict"): "runs selected in the list of results are judged at once",
    ("souron.studio.lecture.doors", "verdict"): "the first page shows a verdict before anything is pressed",
    ("souron.studio.lecture.doors", "tour"): "whose table of predictions the first page judges",
}
OF_ACTIONS = re.compile(r"\bsouron\.actions\.(\w+)")


def actions_named(file: Path) -> set[str]:
    """The actions that a file imports, loads, writes about, or is the page of."""
    found = {name for module in imports(file, True) for name in OF_ACTIONS.findall(module)} | facts(file).actions
    page = file.parent == HOUSE / "studio" / "pages" and file.stem in registry.action_files()
    return found | ({file.stem} if page else set())


def actions_in(nodes: list[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(OF_ACTIONS.findall(node.value))
        called = getattr(node, "func", None) if isinstance(node, ast.Call) else None
        if getattr(called, "attr", getattr(called, "id", "")) in ("load_action", "action"):
            found |= {name for word in node.args for name in names_in(word, {})}
    return found


def test_no_interface_names_an_action_but_its_special_face():
    found = {
        (name_of(file), action)
        for file in FILES
        if roots.within(file).parts[0] in ("cli", "studio", "serve")
        for action in actions_named(file) & set(registry.action_files())
    }
    assert found == set(FACES)


def floor(module: str) -> str:
    """The folder, or the file of the root, that a module of souron lies in."""
    return module.split(".")[1]


# imports for typing alone that run upward until their file moves into ``actions``
STILL_UPWARD: list[tuple[str, str]] = []


def test_imports_run_downward():
    """Imports that only the type checker reads count, too."""
    upward = []
    for file in FILES:
        if file.parent == HOUSE and file.stem.startswith("__"):  # the public names, lazily
            continue
        here = FLOORS.index(floor(name_of(file)))
        inside = [name for name in imports(file, True) if name.startswith("souron.")]
        upward += [(name_of(file), n) for n in inside if FLOORS.index(floor(n)) > here]
    assert upward == STILL_UPWARD


def test_the_core_imports_nothing_of_a_distribution():
    """Nor does a distribution import another one."""
    wrong = []
    for file in FILES:
        own = distributions.distribution(roots.within(file).as_posix())
        needed = {name: distribution_of(name) for name in imports(file, True) if name.startswith("souron.")}
        wrong += [(name_of(file), name) for name, other in needed.items() if other not in ("", own)]
    assert not wrong
    assert distribution_of("souron.actions.plan.pilot") == "clinic"


def distribution_of(module: str) -> str:
    return distributions.distribution(module.removeprefix("souron.").replace(".", "/"))


def test_no_files_import_each_other_in_a_circle():
    """Tarjan: Depth-First Search and Linear Graph Algorithms (1972)."""
    modules = {name_of(file): imports(file) for file in FILES}
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for name in (modules[module] & modules.keys()) - {module}:
            if name not in order:
                visit(name)
            if name in path:
                lowest[module] = min(lowest[module], lowest[name])
        if lowest[module] == order[module]:
            circle = path[path.index(module) :]
            del path[path.index(module) :]
            assert len(circle) == 1, circle

    for module in modules:
        if module not in order:
            visit(module)


def test_the_root_holds_only_what_needs_no_folder():
    files = sorted(file.name for file in HOUSE.glob("*.py"))
    expected = ["__init__", "__main__", "action", "model", "registry", "system", "task"]
    assert files == [f"{name}.py" for name in expected]


# reads pickles in which every name stands for an empty shell: tests/test_published_xray.py
SHELLS = "souron.hub.pickled_networks"


def test_nothing_runs_code_from_a_file():
    runs = re.compile(
        r"\bimport pickle|(?<![.\w])(?:eval|exec)\(|yaml\.load\(|weights_only=False|"
        r"shell=True|trust_remote_code"
    )
    found = {name_of(file): runs.findall(file.read_text(encoding="utf-8")) for file in FILES}
    assert found.pop(SHELLS) == ["import pickle", "weights_only=False"]
    assert not {name: hits for name, hits in found.items() if hits}


NETWORK = {"urllib.request", "http.client", "socket", "requests", "httpx", "huggingface_hub", "pooch"}


def test_only_the_hub_touches_the_network():
    assert not [
        (name_of(file), name) for file in FILES if file.parent.name != "hub" for name in imports(file) & NETWORK
    ]


def test_every_message_has_its_fields_outside_of_the_translation():
    assert not [(file.name, line) for file in FILES for line in facts(file).filled_messages]


def is_filled_message(node: ast.AST) -> bool:
    called = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_"
    return called and isinstance(node.args[0], ast.JoinedStr | ast.BinOp | ast.Call)


def test_an_interval_is_spelled_by_one_function():
    """``units.ends`` joins the ends, so that a page has one spelling of all intervals."""
    spelled = re.compile(r"\((95 % interval )?\{\w*low\} to|low[^{}]*\}(\.\.|–)\{[^{}]*high")
    inputs = {"data/predictions.py", "data/composing/moving.py", "runs/generate.py"}  # what is allowed
    elsewhere = {
        place
        for file in FILES
        if spelled.search(file.read_text(encoding="utf-8"))
        and (place := roots.within(file).as_posix()) not in {"utils/units.py", *inputs}
        and "interactives" not in file.parts  # filled in by their scripts
    }
    assert not elsewhere


def test_importing_souron_imports_nothing_heavy():
    loaded = json.loads(python("import souron, sys, json; print(json.dumps(list(sys.modules)))"))
    assert not {"torch", "numpy", "rich", "typer", "matplotlib", "PIL"} & set(loaded)


def test_the_public_names_exist():
    for name in souron.PUBLIC:
        assert getattr(souron, name) is not None
    with pytest.raises(AttributeError):
        souron.no_such_name  # noqa: B018


CLAUSES = [
    "What",
    "How",
    "Of",
    "Whether",
    "Where",
    "Which",
    "Who",
    "When",
    "Does",
    "Do",
    "Is",
    "Are",
    "Has",
    "Can",
    "May",
    "Those",
]
SHOWN = {"souron/data/sets/glosses.py"}  # the first line of a data set is what its users read


def test_docstrings_begin_with_a_verb_or_a_name():
    """ "Return the caveats", not "What is to be known": see CONTRIBUTING.md."""
    assert not [clause for file in FILES for clause in facts(file).clauses]


def clauses(file: Path, node: ast.AST) -> Iterator[str]:
    """The place and first word of a docstring that begins with a clause."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        first = (ast.get_docstring(node) or ".").split(maxsplit=1)[0].strip("`.,:")
        name = file.relative_to(roots.ROOT).as_posix()
        if first in CLAUSES and not (isinstance(node, ast.Module) and name in SHOWN):
            yield f"{name}:{getattr(node, 'lineno', 1)} {first}"


MOST_FILES = 25  # directly in a folder
ONE_FILE_EACH = {  # folder that may hold more -> what is added to it by one file
    "souron/blocks": "a layer",
    "souron/data/formats": "a data format",
    "souron/data/sets": "a data set",
    "packages/fast/souron/exports/parts": "a part of an exported run.py",
    "souron/kinds": "a kind of answer or input",
    "souron/metrics": "the metrics of a task",
    "souron/report/sections": "the section of a task in the reports",
    "souron/tasks": "a task",
}


def test_a_folder_is_seen_at_a_glance():
    """A folder with more files is divided by topic, unless each file is a part of its own."""
    found = Counter(file.parent.relative_to(roots.ROOT).as_posix() for file in FILES)
    assert not {folder: count for folder, count in found.items() if count > MOST_FILES and folder not in ONE_FILE_EACH}
    assert all(found[folder] for folder in ONE_FILE_EACH)


LONGEST = 80  # lines of a function
LONGER: dict[str, str] = {}  # function -> reason


def test_a_function_fits_on_two_screens():
    """Systems are read beside their paper, and may have longer ones."""
    files = [*FILES, *(file for folder in roots.tests() for file in sorted(folder.rglob("*.py")))]
    long = []
    for file in files:
        if "systems" in file.relative_to(roots.ROOT).parts:
            continue
        for function, lines in facts(file).lengths:
            name = f"{file.relative_to(roots.ROOT).as_posix()} {function}"
            if lines > LONGEST and name not in LONGER:
                long.append(f"{name}: {lines} lines")
    assert not long and len(LONGER) <= 5


ROOMS = ("systems", "blocks", "tasks", "evaluation", "stats", "metrics", "training")
RIDDLES = "found made told said asked known left place one some each kept wanted given"
PARTICIPLES = """seen heard drawn done held begun cut taken written grown learnt spoken gone shown read chosen lost won
    sent built bound caught bought thought brought felt hung laid led lent meant paid sought sold slept spent stuck
    struck swept torn worn thrown understood put met"""  # the regular ones end in -ed
NOUNS = "speed embed centered padded masked predicted expected generated weighted normed hidden shuffled"
BARE = 0.0111  # the share of such names; it may only fall


def assigned(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.arg):
        yield from {node.arg} - {"self", "cls"}
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.id if isinstance(node, ast.Name) else node.attr


def is_bare(name: str) -> bool:
    """Return whether a name tells what was done to a thing, and not what it is."""
    regular = re.fullmatch(r"[a-z]{3,}ed", name) is not None and name not in NOUNS.split()
    return regular or name in f"{RIDDLES} {PARTICIPLES}".split()


def test_names_are_nouns_of_the_field():
    """``boxes``, ``losses``, ``path``, ``target``; not ``found``, ``made``, ``place``, ``wanted``."""
    assert [name for name in ("found", "one", "merged", "drawn", "boxes", "padded", "bed") if is_bare(name)] == [
        "found", "one", "merged", "drawn",
    ]  # fmt: skip
    names = [name for file in FILES if roots.within(file).parts[0] in ROOMS for name in facts(file).names]
    counts = Counter(filter(is_bare, names))
    share = counts.total() / len(names)
    assert share <= BARE, f"{counts.total()} of {len(names)} names, {share:.4%}: {counts.most_common(12)}"


def test_the_lines_of_the_frame_are_counted_for_each_system(tmp_path):
    for name, text in {
        "systems/classify/mlp.py": "a = 1\n" * 9,
        "systems/classify/cnn.py": "",
        "systems/classify/_shared.py": "",
        "tasks/classify.py": "a = 1\n",
        "data/formats/idx.py": "a = 1\n",
        "metrics/classification.py": "a = 1\n",
        "cli/main.py": "a = 1\n\nb = 2\n",
        "model.py": "a = 1\n",
        "report/templates/run.html": "<p>\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert str(frame.measured(tmp_path)) == "frame: 4 lines for 2 systems, 2 for each"
    assert frame.measured(HOUSE).systems == len(registry.entries())
    recipe = (HOUSE.parent / "Makefile").read_text(encoding="utf-8").split("\ntest:", 1)[1]
    assert "tests/frame.py" in recipe.split("\n\n", 1)[0]
