"""The pages that are written from the code, so that they cannot fall behind it."""

import contextlib
import inspect
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import souron
from souron import model as models_api
from souron import registry
from souron.cli import listing as cli_inspect
from souron.data import dataset, load
from souron.evaluation import record, summary
from souron.evaluation.generators import generation
from souron.kinds import labels
from souron.metrics import ranking
from souron.report import diagram
from souron.runs import compare, evaluate, generate, train
from souron.stats import records
from souron.utils import units
from souron.utils.messages import UserError, _

FOLDERS = ("systems", "reference")
ROOT = Path(souron.__file__).parent.parent


@dataclass(frozen=True)
class Size:
    name: str  # "resnet18"
    parameters: int
    flops: int
    shape: tuple[int, ...]  # of one case


@dataclass(frozen=True)
class Described:
    """What both languages show of a system."""

    entry: registry.Entry
    sizes: list[Size]
    drawn: str  # the size in the picture, as it is spelt
    lines: list[list[diagram.Box]]


def describe_all(brief: bool = False) -> list[Described]:
    return [describe(entry, brief) for entry in registry.entries().values()]


def describe(entry: registry.Entry, brief: bool = False) -> Described:
    """Describe a system's sizes, and draw the layers of one; ``brief`` does neither."""
    sizes: list[Size] = []
    size = size_drawn(entry)
    if brief:
        return Described(entry, sizes, registry.full_name(entry, size), [])
    for name in entry.sizes:
        model, seen = summary.drawn(entry, name)
        counted = summary.parameters(model), summary.flops(model, seen)
        sizes.append(Size(registry.full_name(entry, name), *counted, summary.describe(seen)))
    lines = diagram.boxes(*summary.drawn(entry, size))
    return Described(entry, sizes, registry.full_name(entry, size), lines)


def size_drawn(entry: registry.Entry) -> str:
    """Return the first published size that is built of the same parts as the small one, else the small one."""
    configs = registry.load_system(entry.name)[0].SIZES
    alike = (size for size in entry.sizes if type(configs[size]) is type(configs["small"]))
    return next((size for size in alike if size not in ("tiny", "small")), "small")


def draw(docs: Path, described: list[Described]) -> None:
    """Make the folders of generated pages anew, with the drawings of both languages."""
    for name in FOLDERS:
        shutil.rmtree(docs / name, ignore_errors=True)
        (docs / name).mkdir()
    for each in described:
        file = docs / "systems" / f"{each.entry.name}.svg"
        if each.lines:
            diagram.draw(each.lines, file)
        else:
            file.touch()


def write(docs: Path, described: list[Described]) -> None:
    """Every generated page, in the language of the moment."""
    for each in described:
        write_page(docs / "systems" / f"{each.entry.name}.md", system(each))
    write_page(docs / "systems" / "index.md", systems([each.entry for each in described]))
    write_page(docs / "reference" / "commands.md", commands())
    write_page(docs / "reference" / "python.md", python())


def write_page(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def table(heads: list[str], rows: list[list[str]], right: int = 0) -> str:
    """A Markdown table; its last ``right`` columns hold numbers."""
    bars = ["---"] * (len(heads) - right) + ["---:"] * right
    lines = [heads, bars, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def systems(entries: list[registry.Entry]) -> str:
    """The table of all systems, a section for each task."""
    parts = []
    for task in dict.fromkeys(entry.task for entry in entries):
        rows = [
            [f"[{e.name}]({e.name}.md)", str(e.year), registry.about(e), registry.status(e)]
            for e in entries
            if e.task == task
        ]
        parts += [f"## {task}", table([_("system"), _("year"), _("idea"), _("status")], rows)]
    return page(
        f"# {_('Systems')}",
        _("Each system is one file that says what it is. These pages are made from the files."),
        *parts,
        "```{toctree}\n:hidden:\n\n" + "\n".join(entry.name for entry in entries) + "\n```",
    )


def system(described: Described) -> str:
    """One system: the idea, the paper, its layers, its sizes, what its file says."""
    entry = described.entry
    facts = [
        [_("paper"), f"[{entry.paper}]({entry.url})"],
        [_("task"), entry.task],
        [_("status"), registry.status(entry)],
        [_("file"), f"`{entry.file.relative_to(entry.file.parents[3])}`"],
    ]
    sizes = [
        [f"`{size.name}`", cli_inspect.shape(size.shape), units.count(size.parameters), units.operations(size.flops)]
        for size in described.sizes
    ]
    alt = _("The layers of {name} from input to output").format(name=described.drawn)
    return page(
        f"# {entry.name}",
        registry.about(entry),
        table(["", ""], facts),
        f"```console\n{tries(entry)}\n```",
        f"## {_('Layers')}",
        f"![{alt}]({entry.name}.svg)",
        _(
            "{name}, from input to output. Higher boxes have larger feature maps, wider ones have "
            "more channels. Below each box are its name and its output shape: channels × height × "
            "width, tokens × width, or the length of a vector."
        ).format(name=f"`{described.drawn}`"),
        *ready(entry),
        *samples(entry),
        *finds(entry),
        f"## {_('Sizes')}",
        table([_("name"), _("input"), _("parameters"), _("FLOPs")], sizes, right=2),
        _("FLOPs are those of one forward pass of one case; a multiply-add counts as two."),
        f"## {_('Description in its source file')}",
        explained(entry),
    )


def ready(entry: registry.Entry) -> list[str]:
    """What comes ready trained, with the command that made it."""
    from souron.hub import zoo

    folder = (zoo.root() or Path()) / entry.name
    told = zoo.of(folder)
    if not told:
        return []
    command = zoo.receipt(folder)["command"]
    return [
        f"## {_('Ready trained')}",
        _("Small trained weights are included: {told}. They were made by {command}.").format(
            told=told, command=f"`{command}`"
        ),
    ]


def samples(entry: registry.Entry) -> list[str]:
    """What a generator draws, if its strip is there."""
    if not (ROOT / "docs" / "_static" / "generated" / f"{entry.name}.png").exists():
        return []
    alt = _("Images generated by {name}, not selected").format(name=entry.name)
    return [
        f"## {_('Samples')}",
        f"![{alt}](../_static/generated/{entry.name}.png)",
        _(
            "The first images it generated after training on Fashion-MNIST, not selected. "
            "{command} trains all generators and writes these images; training times are in the "
            "benchmarks."
        ).format(command="`python benchmarks/generators.py --pictures docs/_static/generated`"),
    ]


def finds(entry: registry.Entry) -> list[str]:
    """What it finds in test cases as it comes ready trained, if its picture is there."""
    if not (ROOT / "docs" / "_static" / "found" / f"{entry.name}.jpg").exists():
        return []
    alt = _("What {name} finds in test cases").format(name=entry.name)
    return [
        f"## {_('What it finds')}",
        f"![{alt}](../_static/found/{entry.name}.jpg)",
        _(
            "The ready-trained model on the first of the included test cases; it was trained on "
            "none of them. {command} makes this image."
        ).format(command="`python docs/found.py`"),
    ]


def tries(entry: registry.Entry) -> str:
    """Commands to begin with."""
    kind = registry.load_system(entry.name)[0]
    lines = [f"$ souron show {entry.name}"]
    data = registry.tasks()[entry.task].default_data
    if kind.needs_fit:
        lines.append(f"$ souron train {entry.name} data={data} budget=30s")
    if entry.task == "generate":
        lines.append(f"$ souron generate runs/generate/{entry.name}-{data} n=64")
    return "\n".join(lines)


def explained(entry: registry.Entry) -> str:
    """The docstring after its idea and paper, as Markdown; equations are indented in it."""
    paragraphs = re.split(r"\n\s*\n", entry.about)[2:]
    text = "\n\n".join(map(linked, paragraphs))
    return re.sub(r"(?:^|\s+)Differs from the paper", "\n\n**Differs from the paper**", text)


def linked(text: str) -> str:
    """Addresses as links, except in equations and diagrams."""
    if text.startswith("    "):
        return text
    return re.sub(r"https?://[^\s()]*[^\s().,:;]", r"<\g<0>>", text)


def commands() -> str:
    """The command line's own help, a section for each command."""
    import typer

    from souron.cli import app

    group: Any = app.parser()
    with contextlib.redirect_stdout(io.StringIO()):  # not a terminal: no colours
        everything = group.get_help(typer.Context(group, info_name="souron"))
    return page(
        f"# {_('The command line')}",
        _("What `souron --help` says:"),
        f"```text\n{everything.strip()}\n```",
        *(section(name, command) for name, command in group.commands.items()),
    )


def section(name: str, command: Any) -> str:
    """One command: what it does, what it takes, examples."""
    rows = []
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            shown = param.metavar
        else:
            option = param.opts[0].removeprefix("--")
            shown = f"{option}={param.metavar}" if param.metavar else f"--{option}"
        rows.append([f"`{shown}`", _(param.help)])
    return page(
        f"## souron {name}",
        _(command.help),
        table([_("option"), _("meaning")], rows) if rows else "",
        f"```text\n{command.epilog}\n```" if command.epilog else "",
    ).rstrip()


def python() -> str:
    """The public functions and what they return: signatures and docstrings."""
    functions = [
        ("souron.load", models_api.load, models_api.load),
        ("souron.train", train.train, train.training),
        ("souron.evaluate", evaluate.evaluate, evaluate.examine),
        ("souron.compare", compare.compare, compare.comparing),
        ("souron.generate", generate.generate, generate.generating),
    ]
    model = models_api.Model
    methods = [model.__call__, model.train, model.val, model.generate]
    returned = [
        labels.Labels,
        record.RunRecord,
        records.Measure,
        record.Cost,
        record.ComparisonRecord,
        records.Row,
        records.Verdict,
        ranking.Ranking,
        generation.Gallery,
        record.DrawnRecord,
        dataset.Dataset,
    ]
    return page(
        f"# {_('Python')}",
        _("The names of `import souron`. Explanations are those of the source."),
        *(function(name, shown, given) for name, shown, given in functions),
        f"## {_('A model')}",
        inspect.getdoc(model) or "",
        *(method(each) for each in methods),
        f"## {_('Data')}",
        signature("souron.data.load.load", load.load),
        f"## {_('What comes back')}",
        *(fields(kind) for kind in returned),
        f"## {_('Errors')}",
        _("Every error that a user can fix is a `souron.UserError`."),
        inspect.getdoc(UserError) or "",
    )


def function(name: str, shown: Callable, given: Callable) -> str:
    """A function with the options of the generator that it runs to its end."""
    returned = inspect.signature(shown).return_annotation
    about = inspect.getdoc(given)
    assert about is not None
    return page(f"## {name}", signature(name, given, returned), about).rstrip()


def method(shown: Callable) -> str:
    name = "" if shown.__name__ == "__call__" else f".{shown.__name__}"
    return page(signature(f"model{name}", shown), inspect.getdoc(shown) or "").rstrip()


def signature(name: str, shown: Callable, returned: Any = None) -> str:
    """As Python, a parameter on each line."""
    found = inspect.signature(shown)
    given = [parameter for parameter in found.parameters.values() if parameter.name != "self"]
    lines = []
    for parameter in given:
        if parameter.kind == parameter.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        lines.append(f"    {parameter},")
    returned = inspect.formatannotation(returned or found.return_annotation)
    text = "\n".join([f"{name}(", *lines, f") -> {returned}"])
    text = re.sub(r"(?<=[ \[])'(\w+)'(?=$|\])", r"\1", text)
    text = re.sub(r"\b(?:souron|pathlib|collections|typing)(?:\.\w+)*\.(?=[A-Z])", "", text)
    return f"```python\n{text}\n```"


def fields(kind: type) -> str:
    """A record's class as far as its first method."""
    source = inspect.getsource(kind)
    source = re.split(r"\n\n    (?:@|def )", source)[0]
    return f"### {kind.__name__}\n\n```python\n{source.strip()}\n```"
