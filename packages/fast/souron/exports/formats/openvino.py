"""OpenVINO: fast on the processors and graphics of Intel, and on ARM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from souron.blocks.portable import Portable
from souron.utils import silent

EXTRA = "fast"
FILE = "model.xml"
PACKAGES = ("openvino",)
RUN = """\
def network(file):
    import openvino
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: [np.array(part) for part in model(inputs).values()]
"""


def write(program: Any, portable: Portable, file: Path) -> dict[str, Any]:
    """Convert a traced network and write its two files."""
    openvino = silent.imported("openvino")
    model = openvino.convert_model(program)
    for ports, names in ((model.inputs, [one.name for one in portable.inputs]), (model.outputs, portable.outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    openvino.save_model(model, file, compress_to_fp16=False)
    return {"openvino": openvino.__version__}


def network(file: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Load the written file as others do."""
    openvino = silent.imported("openvino")
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: [np.array(part) for part in model(inputs).values()]
