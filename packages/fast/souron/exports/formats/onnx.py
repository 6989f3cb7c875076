"""ONNX: read by most runtimes, in many languages."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from souron.blocks.portable import Portable
from souron.exports.formats import openvino
from souron.utils import extras

EXTRA = "onnx"
FILE = "model.onnx"
PACKAGES = ("onnxruntime",)
OPSET = 20
RUN = """\
def network(file):
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs)))
"""


def write(program: Any, portable: Portable, file: Path) -> dict[str, Any]:
    """Convert a traced network and write it, weights included up to 2 GB."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[one.name for one in portable.inputs],
            output_names=list(portable.outputs),
            verbose=False,
        )
        assert model is not None
        model.save(file)
    from onnx import checker

    checker.check_model(str(file), full_check=True)
    return {"opset": OPSET}


def network(file: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Load the written file by OpenVINO, or else by ONNX's own reference in NumPy.

    ONNX Runtime, which others use, is not run by souron: on Windows its first report cannot be stopped.
    """
    if extras.installed(openvino.EXTRA):
        return openvino.network(file)
    from onnx import load
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(load(file))
    return lambda inputs: list(session.run(None, dict(zip(session.input_names, inputs, strict=True))))
