"""souron (総論): every AI system of an overview lecture, on your own computer.

    import souron
    model = souron.load("resnet")
    model.train(data="photos/", budget="5min")
    model("cat.jpg").top5
    souron.compare(["alexnet", "resnet", "vit"], data="photos/", budget="5min", seeds=3)

Nothing heavy is imported until it is used.
"""

import os
import pathlib
from typing import Any

if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
    # read when PyTorch is imported: threads that wait sleep, since spinning ones take the cores from other programs
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

__version__ = "0.1.0"
# in a clone, what belongs to souron-clinic and others lies beside; installed, it lies in this folder
CLONE = pathlib.Path(__file__).parents[1]
__path__ += map(str, sorted(CLONE.glob("packages/*/souron")) if (CLONE / "pyproject.toml").is_file() else ())

PUBLIC = {
    "load": "model",
    "train": "runs.train",
    "evaluate": "runs.evaluate",
    "compare": "runs.compare",
    "generate": "runs.generate",
    "pipeline": "pipelines.pipeline",
    "tokens": "actions.tokens",
    "ask": "actions.ask",
    "verdict": "actions.verdict",
    "calibration": "actions.calibration",
    "export": "exports.export",
    "UserError": "utils.messages",
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'souron' has no attribute {name!r}")
    import importlib

    importlib.import_module("souron.utils.distributions").check(PUBLIC[name].replace(".", "/"))
    return getattr(importlib.import_module(f"souron.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return [*PUBLIC, "__version__"]
