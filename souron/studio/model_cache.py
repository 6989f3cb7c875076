"""Cache of trained systems in the server's memory, each used by one thread at a time."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.hub import fetch, names, open_models
from souron.hub.decoders.llama_decoder import LlamaDecoder
from souron.runs import folder
from souron.utils.messages import UserError, _

MOST = 4  # models
MOST_BYTES = 2 * 10**9  # of all weights; a single larger model is kept alone


@dataclass
class Place:
    """Cache entry of one model, loaded or not."""

    lock: threading.Lock = field(default_factory=threading.Lock)  # held while it loads or answers
    model: models_api.Model | None = None
    stamp: tuple[Any, ...] = ()  # identifies the state of its files
    bytes: int = 0


class Loaded:
    """The most recently used models; a model whose files changed is loaded again."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.places: OrderedDict[tuple[str, str], Place] = OrderedDict()  # by name and engine, the latest last
        self.guard = threading.Lock()  # of ``places``; never held while a model loads or answers

    @contextmanager
    def answering(self, name: str, engine: str = "") -> Iterator[models_api.Model]:
        """Lend the model of a run, or of a system with published weights, to this thread alone.

        ``engine`` runs a .gguf file: "llama", or "" for souron's own. Raises UserError where the model
        is missing or damaged, or not for that engine.
        """
        with self.guard:
            place = self.places.setdefault((name, engine), Place())
            self.places.move_to_end((name, engine))
        with place.lock:
            meaning = names.resolve(name)
            now = stamp(meaning)
            if place.model is None or place.stamp != now:
                place.model, place.bytes = None, 0  # both at once may not fit into memory
                place.model = read(meaning, engine)
                place.stamp, place.bytes = now, size(place.model)
                self._make_room()
            yield place.model

    def predict(self, name: str, files: Sequence[str | Path], **options: Any) -> list[tuple[Path, Any]]:
        """Call ``model.predict``; return each file with its prediction or UserError."""
        with self.answering(name) as model:
            return list(models_api.predict(model, files, **options))

    def _make_room(self) -> None:
        """Evict the least recently used models; a thread that uses one keeps it."""
        with self.guard:
            while len(self.places) > 1 and (
                len(self.places) > self.most or sum(place.bytes for place in self.places.values()) > self.most_bytes
            ):
                self.places.popitem(last=False)


def stamp(meaning: names.Meaning) -> tuple[Any, ...]:
    """Return the modification times, sizes and inodes of a model's files. Raises UserError."""
    seen = []
    for file in files_of(meaning):
        with suppress(OSError):  # missing or just removed: reading it reports why
            seen.append(file.stat())
    return tuple((about.st_mtime_ns, about.st_size, about.st_ino) for about in seen)


def files_of(meaning: names.Meaning) -> list[Path]:
    match meaning:
        case names.OpenModel():
            where = open_models.find(meaning.name)
            return [where] if where.is_file() else sorted(where.glob("*.safetensors"))
        case names.PublishedFolder(path=path):
            return sorted(each for each in path.iterdir() if each.is_file())
        case names.Run(folder=run):
            return [run / names.RUN, run / "weights" / "best.safetensors"]
    entry, size = registry.find(meaning.name)
    weights = fetch.where(registry.full_name(entry, size)) if size in entry.weights else None
    return [weights] if weights else []


def read(meaning: names.Meaning, engine: str = "") -> models_api.Model:
    """Load a model. Raises UserError, whatever is wrong with its files."""
    try:
        if isinstance(meaning, names.Run):
            folder.read_args(meaning.folder)  # tells what is missing there
        published = isinstance(meaning, names.System)
        return models_api.load(meaning, published, engine=engine or None).hasten()
    except UserError:
        raise
    except Exception as error:  # damaged files can raise anything
        known = main.as_trouble(error)
        if known.code != "bug":
            raise known from error
        raise UserError(
            "damaged run",
            _("{name} cannot be loaded: {why}").format(name=meaning.name, why=known.found),
            expected=_("a folder made by souron train, with args.yaml and weights/"),
            fix=_("train it again"),
            exit=3,
        ) from error


def size(model: models_api.Model) -> int:
    """Return the size of the model's weights in bytes."""
    if model.system is None:
        return 0
    tensors = list(model.system.state_dict().values())
    if hasattr(model.system, "held"):  # a published model, which is not part of the state_dict
        decoder = model.system.held[2]
        if isinstance(decoder, LlamaDecoder):
            return decoder.bytes
        tensors += decoder.state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


models = Loaded()  # of this server
