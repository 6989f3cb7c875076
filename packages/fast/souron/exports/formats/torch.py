"""PyTorch: the traced network as a program of torch.export, for Python without souron's code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from souron.blocks.portable import Portable

EXTRA = ""
FILE = "model.pt2"
PACKAGES = (f"torch=={torch.__version__.partition('+')[0]}",)
RUN = """\
def network(file):
    import logging, torch
    logging.disable(logging.WARNING)
    model = torch.export.load(file).module()
    return lambda inputs: [part.detach().numpy() for part in model(*map(torch.tensor, inputs))]
"""


def write(program: Any, portable: Portable, file: Path) -> dict[str, Any]:
    """Write a traced network."""
    torch.export.save(program, file)
    return {"torch": torch.__version__}


def network(file: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Load the written file as others do."""
    model = torch.export.load(file).module()
    return lambda inputs: [part.detach().numpy() for part in model(*map(torch.tensor, inputs))]
