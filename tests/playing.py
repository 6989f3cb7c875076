"""Run a notebook in a test: in a kernel of its own or in this process, no network, small budgets."""

import ast
import contextlib
import importlib.util
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
_found = importlib.util.spec_from_file_location("notebooks_build", NOTEBOOKS / "build.py")
assert _found is not None and _found.loader is not None
build: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(build)

SHUT = """
import socket
asked = []
def refuse(*given, **named):
    asked.append(given)
    raise OSError("no network here")
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
for name in ("create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, refuse)
import torch
torch.set_num_threads(1)
from souron.utils import plotting
plotting.DOTS = 48
"""


def played(
    name: str, folder: Path, parameters: dict[str, Any] | None = None, before: str = "", twice: bool = False
) -> Any:
    """The lesson, run in ``folder`` with the network shut; ``parameters`` stand in place of its
    own, ``before`` is run first. Raises nbclient's error of the first cell that fails."""
    lesson = build.notebook(name, "en")
    cells = list(lesson.cells)
    if parameters:
        place = 1 + next(i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", ()))
        changed = "\n".join(f"{known} = {value!r}" for known, value in parameters.items())
        for known in parameters:
            assert f"{known} = " in cells[place - 1].source, known
        cells.insert(place, nbformat.v4.new_code_cell(changed))
    cells = cells * 2 if twice else cells
    lesson.cells = [
        nbformat.v4.new_code_cell(SHUT + before),
        *[nbformat.from_dict({**cell, "id": f"played-{i}"}) for i, cell in enumerate(cells)],
        nbformat.v4.new_code_cell("assert asked == [], asked"),
    ]
    client = nbclient.NotebookClient(
        lesson, timeout=300, startup_timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    with tempfile.TemporaryDirectory() as sockets:  # their names must be short
        if os.name == "posix":
            manager = client.create_kernel_manager()
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        return client.execute()


def stepped(name: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Run the cells of a lesson in this process and folder: its variables, and what each cell shows. ``parameters``
    stand in place of its own. Raises what a cell raises."""
    known: dict[str, Any] = {}
    texts = []
    for cell in build.notebook(name, "en").cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source.replace("%pip install --quiet {SOURON}", "pass"))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, name, "exec"), known)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), name, "eval"), known)  # noqa: S307
                drawn = getattr(value, "_repr_html_", None)
                print(drawn() if drawn else repr(value))
        if "parameters" in cell.metadata.get("tags", ()):
            assert parameters.keys() <= known.keys(), name
            known |= parameters
        texts.append(printed.getvalue())
    return known, texts


def shown(lesson: Any) -> list[str]:
    """The HTML of every output, in order."""
    return [
        output["data"]["text/html"]
        for cell in lesson.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]


def told(lesson: Any) -> str:
    """All words and figures of all outputs."""
    return "\n".join(
        str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
        for cell in lesson.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
