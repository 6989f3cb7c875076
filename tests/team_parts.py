"""Train some steps as a process of a team, and write the weights to a file, for the tests.

python team_parts.py SYSTEM STEPS BATCH OUT [alone]
"""

import sys
from pathlib import Path

import torch

from souron import registry
from souron.data.load import load
from souron.training import ranks, team
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils import hardware
from souron.utils.files import write_tensors


def trainer(name: str, steps: int, batch: int) -> Trainer:
    torch.manual_seed(0)
    kind, config = registry.load_system(name)
    data = load("digits")
    system = kind(config, kind.spec_for(data))
    return Trainer(system, system.loader(data), None, Budget.parse(f"{steps * batch}ex"), batch)


def main() -> None:
    torch.set_num_threads(1)
    hardware.bf16 = lambda: False  # its roundings are larger than what is to be seen
    name, steps, batch, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    if "alone" in sys.argv:  # as a team that forgets that batches have parts
        team.normalise_together = lambda system: None
    fit = trainer(name, steps, batch)
    if ranks.rank():
        team.helped(fit)
        return
    if ranks.size() > 1:
        fit.join()
    while not fit.done:
        fit.go(1e9)
    write_tensors(out, {key: value.clone() for key, value in fit.system.state_dict().items()}, {"steps": fit.step})


if __name__ == "__main__":
    main()
