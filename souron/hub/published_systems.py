"""Build systems with published weights, as they are or with new last layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from souron import registry
from souron.hub import published, weights
from souron.hub.published import About
from souron.training import checkpoint
from souron.utils.messages import UserError, _


def system(name: str, source: bool | str, config: Any, spec_of: Callable[[About], Any], spec: Any = None) -> Any:
    """Build a system with its published weights, or those of a file ``source``.

    The system knows the specification that they were trained with, or ``spec_of`` makes it. With
    another ``spec``, the system's ``last_layers`` are new. Raises UserError where there are no such
    weights, or where they are missing, damaged or of another network.
    """
    system_class, sized = registry.load_system(name)
    config = config or sized
    _entry, size = registry.find(name)
    if system_class.published_spec(size) is not None:
        return _of_network(name, config, spec)
    origin = system_class.published(size, config)
    row = published.about(origin)
    if row is None:
        raise UserError("task", _("{name} has no published weights").format(name=name))
    if isinstance(source, str):
        file = Path(source).expanduser()
        held = weights.read_weights(file)
    else:
        file = weights.find_or_tell(name, origin)
        held = weights.read_weights(file, digest=row.sha256)
    own = spec_of(row)
    model = system_class(config, spec or own)
    new = () if spec is None or same_answers(spec, own) else model.last_layers
    checkpoint.fill(model, model.renamed(held), file, but=new)
    model.as_published = spec is None
    return model


def _of_network(name: str, config: Any, spec: Any) -> Any:
    """Build a system with the published weights whose specification it knows itself."""
    system_class, _sized = registry.load_system(name)
    entry, size = registry.find(name)
    origin = system_class.published(size, config)
    held = weights.weights(name, origin)
    model = system_class(config, spec or system_class.published_spec(size))
    checkpoint.fill(model, held, Path(entry.name), but=model.last_layers if spec else ())
    return model


def same_answers(one: Any, other: Any) -> bool:
    """Return whether two specifications have equal labels, and equal keypoints if any."""
    return all(getattr(one, key, ()) == getattr(other, key, ()) for key in ("labels", "points"))
