"""How soon souron answers: seconds from a command to its answer, each in a process of its own.

    .venv/bin/python benchmarks/startup.py

Wall-clock time, the commands in turns; the first turn, which reads the files from the disk, is not
counted. Beside them a Python that does nothing.
"""

import argparse
import subprocess
import sys
import time

from printing import say, spread, table, watched, where

from souron.utils import hardware

COMMANDS = {
    "`souron --help`": ("-m", "souron", "--help"),
    "`souron list`": ("-m", "souron", "list"),
    "`import souron`": ("-c", "import souron"),
    "Python alone": ("-c", ""),
}
GOALS = ("0.3", "0.3", "0.1", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=20)
    turns = parser.parse_args().turns
    seconds: dict[str, list[float]] = {what: [] for what in COMMANDS}
    with watched():
        for turn in range(turns + 1):
            say(f"turn {turn} of {turns}")
            for what, words in COMMANDS.items():
                begun = time.perf_counter()
                subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
                seconds[what] += [time.perf_counter() - begun] * bool(turn)
    rows = [
        (what, spread(seconds[what], 2), goal) for what, goal in zip(COMMANDS, GOALS, strict=True)
    ]
    print(table(("what", "seconds", "goal: under"), rows))
    print(f"\n{where(hardware.cores(), 'typer', 'rich')}")


if __name__ == "__main__":
    main()
