"""Import inference libraries so that they report nothing.

OpenVINO and NNCF send usage events through ``openvino_telemetry``; ONNX Runtime has sent them since
1.29 and keeps a device id and a database in the cache folder. Both are switched off before the
first import, so every import of these libraries goes through this file.
"""

import importlib
import os
import sys
from typing import Any

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1"}  # environment variables, read at the first import
STUBBED = ("openvino_telemetry",)  # modules that are replaced by None: their users then keep still


def imported(name: str) -> Any:
    """Import ``openvino``, ``nncf`` or ``onnxruntime`` without telemetry; return the module.

    Raises ImportError where it is not installed.
    """
    os.environ.update(SWITCHES)
    for module in STUBBED:
        sys.modules[module] = None  # type: ignore[assignment]
    return importlib.import_module(name)
