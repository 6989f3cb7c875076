"""Load the system of a name: a run, a ready-trained system, a published model, a weights file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from souron import registry
from souron.hub import names, weights
from souron.runs import folder as run_folder
from souron.utils.messages import UserError, _


def load(
    meaning: names.Meaning, pretrained: bool | str = False, context: int | None = None, engine: str | None = None
) -> Any:
    """Load a system for inference; None for one without trained weights here.

    ``pretrained`` loads a system's published weights, or those of a file or folder. ``context`` is
    the context window of a published language model in tokens, ``engine`` what runs it, "souron" or
    "llama". Raises UserError.
    """
    if engine is not None and not isinstance(meaning, names.OpenModel):
        raise UserError(
            "option",
            _("{name} runs on souron's own engine").format(name=meaning.name),
            expected=_("a .gguf file, for another engine"),
        )
    if context is not None and not isinstance(meaning, names.OpenModel):
        raise UserError(
            "option",
            _("the context of {name} is as it was trained").format(name=meaning.name),
            expected=_("a published language model, for another context"),
        )
    match meaning:
        case names.DiffusionModel():
            from souron.hub import diffusion_weights

            return diffusion_weights.of(meaning)
        case names.PublishedFolder():
            task = registry.load_task(registry.entries()[meaning.system].task)
            return task.published(meaning.system, str(meaning.path)).eval()
        case names.WeightsFile():
            return published_file(meaning.path)
        case names.OpenModel():
            return open_model(meaning.name, context, engine)
        case names.Run() if not (pretrained and isinstance(meaning, names.Ready)):
            return run_folder.load(run_folder.folder_of(meaning))
    return _by_name(meaning, pretrained)


def _by_name(meaning: names.Meaning, pretrained: bool | str) -> Any:
    system_class, config = registry.load_system(meaning.name)
    if not system_class.needs_fit:
        return system_class(config, None).eval()
    task = registry.load_task(system_class.task)
    here = isinstance(meaning, names.System) and meaning.published
    if not (pretrained or here or task.comes_published(meaning.name)):
        return None
    return task.published(meaning.name, pretrained or True, config).eval()


def open_model(name: str, context: int | None = None, engine: str | None = None) -> Any:
    """Load a published language model. Raises UserError if its files are damaged or missing."""
    system_class, config = registry.load_system("open_model")
    chosen = replace(config, model=name, context=context or config.context, engine=engine or config.engine)
    system = system_class(chosen, None).eval()
    system.held  # noqa: B018  (what is wrong with its files is said now)
    return system


def language_model(name: str) -> Any:
    """Load a language model: a run, a ready-trained or a published one. Raises UserError."""
    system = load(names.resolve(name))
    if system is None:
        raise run_folder.not_trained(name)
    if not registry.talks(system.task):
        raise UserError(
            "task", _("{name} writes no text").format(name=name), expected=_("a language model"), fix="souron models"
        )
    return system


def published_file(file: Path) -> Any:
    """Load the system of a file of published weights, such as ESRGAN's. Raises UserError."""
    held = weights.read_weights(file)
    able = published_systems()
    for system_class in able.values():
        system = system_class.of_published(held)
        if system is not None:
            return system
    raise UserError(
        "other system",
        _("{path} holds weights whose names or sizes no system here has, as {first}").format(
            path=file, first=next(iter(held), "-")
        ),
        expected=_("published weights of {systems}").format(systems=", ".join(able)),
        exit=3,
    )


def published_systems() -> dict[str, Any]:
    """Return name -> class of the systems that read published weight files."""
    able = [file.stem for file in registry.system_files() if "def of_published(" in file.read_text(encoding="utf-8")]
    return {name: registry.load_system(name)[0] for name in sorted(able)}
