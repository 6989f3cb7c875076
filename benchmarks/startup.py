"""Measure how soon souron answers: from a command to its answer, each in a process of its own.

    .venv/bin/python benchmarks/startup.py            (what looks around, what answers, the studio)
    .venv/bin/python benchmarks/startup.py tour       (souron tour, once, in an empty folder)
    .venv/bin/python benchmarks/startup.py busy       (what answers, beside two programs that compute)

What looks around is measured in seconds of the clock. What answers is measured in seconds of the
processor, user and system, of the process and its children, and as a multiple of ``import torch``
in the same turn. The commands take turns; the first turn, which reads the files from the disk and
compiles them, is not counted. All computes with one thread, but for ``busy``: there each command has
the threads that it takes by itself, and answers in turns beside nothing and beside two loops that
never wait. ``--model`` is what chats.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from printing import say, spread, table, watched, where

LOOKING = {
    "`souron --help`": ("-m", "souron", "--help"),
    "`souron list`": ("-m", "souron", "list"),
    "`import souron`": ("-c", "import souron"),
    "Python alone": ("-c", ""),
}
GOALS = ("0.3", "0.3", "0.1", "")
TORCH = "`import torch`"
STUDIO = "`souron studio`, its first page"
RUN = "runs/classify/digits"  # a tiny network on digits, trained before the first turn
ANSWERING = {
    TORCH: ("-c", "import torch"),
    "`souron predict resnet`": ("-m", "souron", "predict", "resnet", "PICTURE"),
    "`souron predict yolo`": ("-m", "souron", "predict", "yolo", "PICTURE"),
    "`souron generate vae n=4`": ("-m", "souron", "generate", "vae", "n=4"),
    "`souron chat gpt`": ("-m", "souron", "chat", "gpt", "hello", "length=1"),
    "`souron val` of a run": ("-m", "souron", "val", RUN),
    "`souron tokens`": ("-m", "souron", "tokens", "hello", "gpt"),
}
GOAL = "1.5"  # times ``import torch``
PATIENCE = 300.0  # seconds for the studio's first page
LOOPS = 2  # programs beside it
MOST_SLOWER = "2.5"  # times as long as alone
AT_WORK = {
    "`souron predict resnet`": ("predict", "resnet", "PICTURE"),
    "`souron train cnn data=digits budget=5ep folds=1`": ("train", "cnn", "data=digits", "budget=5ep", "folds=1"),
    "`souron try V8`, a row of the lecture": ("try", "V8"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("all", "tour", "busy"), default="all")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--model", default="gpt_small")
    given = parser.parse_args()
    if given.what != "busy":
        os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "tour":
            tour(Path(folder))
        elif given.what == "busy":
            busy(Path(folder), given.turns, given.model)
        else:
            everything(Path(folder), given.turns)
    print(f"\n{where(1, 'torch', 'typer', 'rich', 'gradio')}")


def everything(folder: Path, turns: int) -> None:
    looking = {what: clock(words, folder) for what, words in LOOKING.items()}
    prepare(folder)
    answering = {what: processor(words, folder) for what, words in ANSWERING.items()}
    answering[STUDIO] = lambda: first_page(folder)
    with watched():
        soon = in_turns(looking, turns)
        used = in_turns(answering, turns)
    rows = [(what, spread(soon[what], 2), goal) for what, goal in zip(LOOKING, GOALS, strict=True)]
    print(table(("what", "seconds", "goal: under"), rows), end="\n\n")
    head = ("what", "processor seconds", "times `import torch`", "goal: under")
    print(table(head, [against_torch(what, used) for what in answering]))


def against_torch(what: str, used: dict[str, list[float]]) -> tuple[str, ...]:
    """A row: the seconds, and their ratio to torch's turn by turn."""
    ratios = [mine / torch for mine, torch in zip(used[what], used[TORCH], strict=True)]
    goal = "" if what in (TORCH, STUDIO) else GOAL
    return what, spread(used[what], 2), spread(ratios, 2), goal


def in_turns(what: dict[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """So many figures of each, one after the other, without those of the first turn."""
    figures: dict[str, list[float]] = {name: [] for name in what}
    for turn in range(turns + 1):
        say(f"turn {turn} of {turns}")
        for name, measure in what.items():
            figures[name] += [measure()] * bool(turn)
    return figures


def clock(words: Sequence[str], folder: Path) -> Callable[[], float]:
    def measure() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begun

    return measure


def processor(words: Sequence[str], folder: Path) -> Callable[[], float]:
    """Seconds of the processor that a command takes."""
    told = shown(words)

    def measure() -> float:
        child = subprocess.Popen(
            [sys.executable, *told], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert child.stderr is not None
        errors = child.stderr.read()
        return ended(child, errors)

    return measure


def shown(words: Sequence[str]) -> list[str]:
    """The words of a command; its picture is one that the zoo brings."""
    from souron.hub import zoo

    image = str(zoo.examples((zoo.root() or Path()) / "resnet")[0])
    return [image if word == "PICTURE" else word for word in words]


def ended(child: subprocess.Popen, errors: str = "") -> float:
    """Wait for a process; the seconds of the processor that it and its children used."""
    _pid, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if errors and child.returncode:
        raise SystemExit(f"{child.args!r}\n{errors}")
    return used.ru_utime + used.ru_stime


def prepare(folder: Path) -> None:
    """Train what ``souron val`` measures."""
    words = ("train", "mlp_tiny", "data=digits", "budget=600ex", "folds=1", "name=digits")
    subprocess.run(
        [sys.executable, "-m", "souron", *words, "quiet=true"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )


def first_page(folder: Path) -> float:
    """Seconds of the processor until the studio's first page has arrived."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("-m", "souron", "studio", "--no-browser", f"port={port}")
    server = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        fetch(f"http://127.0.0.1:{port}/", server)
        return so_far(server.pid)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def fetch(address: str, server: subprocess.Popen) -> None:
    last = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as page:
                page.read()
            return
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None or time.monotonic() > last:
                raise
            time.sleep(0.05)


def so_far(pid: int) -> float:
    """Seconds of the processor that a running process has used."""
    import psutil

    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def busy(folder: Path, turns: int, model: str) -> None:
    """Seconds of each command alone and beside ``LOOPS`` programs that compute."""
    measure = {what: clock(["-m", "souron", *shown(words)], folder) for what, words in AT_WORK.items()}
    measure[f"a token of `souron chat {model}`"] = token_of(model, folder)
    with watched():
        alone: dict[str, list[float]] = {name: [] for name in measure}
        beside: dict[str, list[float]] = {name: [] for name in measure}
        for turn in range(turns + 1):
            for figures, count in ((alone, 0), (beside, LOOPS)):
                say(f"turn {turn} of {turns}, {count} loops")
                with loops(count):
                    for name, seconds in measure.items():
                        figures[name] += [seconds()] * bool(turn)
    head = ("what", "seconds alone", f"beside {LOOPS} loops", "times as long", "goal: at most")
    print(table(head, [slower(name, alone[name], beside[name]) for name in measure]))


def slower(name: str, alone: list[float], beside: list[float]) -> tuple[str, ...]:
    ratios = [later / sooner for later, sooner in zip(beside, alone, strict=True)]
    return name, spread(alone, 3), spread(beside, 3), spread(ratios, 2), MOST_SLOWER


@contextmanager
def loops(count: int) -> Iterator[None]:
    """Programs that never wait, as long as the block runs."""
    going = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _loop in range(count)]
    try:
        yield
    finally:
        for one in going:
            one.kill()
            one.wait()


def token_of(model: str, folder: Path) -> Callable[[], float]:
    """Seconds of each token after the first."""
    words = ("chat", model, "What is a drug?", "length=100", "seed=1", "--json")

    def measure() -> float:
        done = subprocess.run(
            [sys.executable, "-m", "souron", *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
        return 1 / float(json.loads(done.stdout)["tokens_per_second"])

    return measure


def tour(folder: Path) -> None:
    """Seconds of the tour, and of each part as it says itself."""
    begun = time.perf_counter()
    with watched():
        done = subprocess.run(
            [sys.executable, "-m", "souron", "tour", "--json"], cwd=folder, stdout=subprocess.PIPE, text=True
        )
    seconds = time.perf_counter() - begun
    rows = [(name, f"{took:.1f}", "") for name, took in parts(done.stdout)]
    print(table(("part", "seconds", "goal: under"), [*rows, ("all", f"{seconds:.1f}", "90")]))
    if done.returncode:
        raise SystemExit(f"souron tour ended with {done.returncode}")


def parts(text: str) -> list[tuple[str, float]]:
    """``"parts"`` of the last JSON object that has them, in one line or in many; [] without."""
    decoder, place = json.JSONDecoder(), text.find("{")
    last: list[tuple[str, float]] = []
    while place >= 0:
        try:
            thing, end = decoder.raw_decode(text, place)
        except ValueError:
            thing, end = None, place + 1
        last = told(thing) or last
        place = text.find("{", end)
    return last


def told(thing: Any) -> list[tuple[str, float]]:
    found = thing.get("parts") if isinstance(thing, dict) else None
    return [
        (str(part["name"]), float(part["seconds"]))
        for part in (found if isinstance(found, list) else [])
        if isinstance(part, dict) and "name" in part and isinstance(part.get("seconds"), int | float)
    ]


if __name__ == "__main__":
    main()
