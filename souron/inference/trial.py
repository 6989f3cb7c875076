"""Compile and run graphs in a process of their own: where a compiler crashes, that process ends alone.

    python -m souron.inference.trial < graphs.json

Read a list of graphs from standard input, each with its ``file``, ``settings`` for the processor,
``sizes`` to try one after the other, and ``dtypes``. Print for each a line: its number, and the
number of the first sizes that worked, or the reason why none did. OpenVINO 2026.4.1 ends with a
segmentation fault where it compiles a network of films (``video_diffusion``).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from souron.inference.refusal import Refused, last_line
from souron.utils import silent
from souron.utils.messages import _

SECONDS = 300  # for all graphs of a network


def main() -> None:
    """Try the graphs that standard input describes; Ctrl-C is for the process that asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    openvino = silent.imported("openvino")
    for number, about in enumerate(json.load(sys.stdin)):
        print(json.dumps([number, *attempted(openvino, about)]), flush=True)


def attempted(openvino: Any, about: dict[str, Any]) -> tuple[int | None, str]:
    """Return the number of the first sizes with which a graph can be compiled and run, or why there are none."""
    import numpy as np

    core, reason = openvino.Core(), ""
    for number, (free, examples) in enumerate(about["sizes"]):
        try:
            model = core.read_model(about["file"])
            model.reshape({port: openvino.PartialShape(size) for port, size in zip(model.inputs, free, strict=True)})
            compiled = core.compile_model(model, "CPU", about["settings"])
            for sizes in examples:
                compiled([np.ones(size, dtype) for size, dtype in zip(sizes, about["dtypes"], strict=True)])
            return number, ""
        except RuntimeError as error:
            reason = last_line(error)
    return None, reason


def tried(graphs: Sequence[dict[str, Any]]) -> list[tuple[int | None, str]]:
    """Return for each graph what ``attempted`` returns, whatever happens to the process that tries it."""
    results: list[tuple[int | None, str]] = []
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-P", "-m", "souron.inference.trial"]
    while len(results) < len(graphs):
        left = json.dumps(list(graphs[len(results) :]))
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    command,
                    input=left,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                    env=environment,
                    timeout=SECONDS,
                    start_new_session=True,
                )
            output.seek(0)
            whole = [line for line in output if line.endswith("\n")]
            results += [(place, reason) for _number, place, reason in map(json.loads, whole)]
        if len(results) < len(graphs):  # the next one ended the process
            results.append((None, _("its compilation crashes")))
    return results


def save(openvino: Any, model: Any, file: Path) -> None:
    """Write a graph with its weights. Raises Refused where there is no room for it now."""
    try:
        openvino.save_model(model, file, compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        raise Refused(last_line(error), lasting=False) from error


if __name__ == "__main__":
    main()
