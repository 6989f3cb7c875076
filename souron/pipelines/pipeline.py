"""``souron.pipeline("summarization")``: the task names of Hugging Face's ``pipeline`` as they were
before transformers 5, with the keys that their answers had, on souron's systems.

https://huggingface.co/docs/transformers/v4.57.1/main_classes/pipelines

Version 5 dropped ``summarization``, ``translation``, ``text2text-generation`` and
``question-answering``; lessons that call them go on with ``from souron import pipeline``. A model
is a run of yours, or what souron comes with. Nothing is fetched.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron import model as models_api
from souron import registry
from souron.hub import fetch, names
from souron.kinds.signature import signature
from souron.pipelines import answers
from souron.pipelines.tokens import USUAL, published
from souron.utils.messages import Caution, UserError, _, near, unknown_option


@dataclass(frozen=True)
class Known:
    """What a name of Hugging Face stands for."""

    tasks: tuple[str, ...]  # of souron, whose systems can answer
    answer: Callable[..., Any]  # (system, what is given, options) -> as transformers answered
    usual: tuple[str, ...] = ()  # systems that answer without a run of one's own
    data: str = "FOLDER"  # to train one with


KNOWN = {
    "text-classification": Known(("classify_text",), answers.classified, data="mails"),
    "token-classification": Known(("tag",), answers.tagged, data="entities"),
    "fill-mask": Known(("fill_mask",), answers.filled, data="manuals"),
    "text-generation": Known(("complete",), answers.generated, (USUAL,), "manuals"),
    "text2text-generation": Known(
        ("complete", "translate", "summarise"), answers.rewritten, (USUAL,), "manners"
    ),
    "summarization": Known(("summarise",), answers.summarised, ("central",), "manual_leads"),
    "translation": Known(("translate",), answers.translated, data="manual_pairs"),
    "question-answering": Known(("retrieve",), answers.found, ("encoder",), "help_questions"),
    "zero-shot-classification": Known(("sentences",), answers.compared, ("sentences",)),
    "feature-extraction": Known(("sentences",), answers.vectors, ("sentences",)),
    "visual-question-answering": Known(("answer",), answers.asked, data="scene_questions"),
    "image-classification": Known(("classify",), answers.labelled, ("efficientnet_lite",)),
    "zero-shot-image-classification": Known(
        ("match",), answers.matched, ("clip",), "captioned_scenes"
    ),
    "object-detection": Known(("detect",), answers.boxed, ("yolo",)),
    "image-segmentation": Known(
        ("segment", "segment_instances", "segment_panoptic"), answers.masked, ("deeplab", "unet")
    ),
    "image-to-image": Known(("image_to_image",), answers.remade, data="photo_patches"),
}
ALSO = {"sentiment-analysis": "text-classification", "ner": "token-classification",
        "vqa": "visual-question-answering"}  # fmt: skip
PAIR = re.compile(r"translation_(\w\w)_to_(\w\w)")


@dataclass
class Pipeline:
    """``pipeline(...)``: call it with what is to be answered, or with a list of such things."""

    task: str  # as it was asked for
    model: str  # whose answers they are
    system: Any = field(repr=False)
    known: Known = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    def __call__(self, *given: Any, **options: Any) -> Any:
        """As the pipeline of that name answered in transformers 4. Raises UserError."""
        asked = inspect.signature(self.known.answer).parameters.values()
        names = [each.name for each in asked if each.kind is each.KEYWORD_ONLY]
        told = self.options | options
        for name in told:
            if name not in names:
                raise unknown_option(name, names, f"help(souron.pipeline), {self.task}")
        return self.known.answer(self.system, *given, **told)


def pipeline(
    task: str, model: str | Path | None = None, project: str | Path = "runs", **options: Any
) -> Pipeline:
    """What answers as Hugging Face's pipeline of that name did.

    Args:
        task: ``"sentiment-analysis"``, ``"summarization"``, ``"translation_en_to_ja"``, ``"ner"``,
            ``"question-answering"``, ``"fill-mask"``, ``"text-generation"``,
            ``"text2text-generation"``, ``"zero-shot-classification"``, ``"feature-extraction"``,
            ``"image-classification"``, ``"object-detection"``, ``"image-segmentation"``,
            ``"visual-question-answering"``, ...
        model: a run's folder, or a system by name; without one your newest run of that task, else
            what souron comes with.
        project: where your runs are.
        options: as in each call: ``top_k``, ``max_new_tokens``, ``candidate_labels``, ...

    Raises UserError, which says what to train where nothing can answer yet.

    Example:
        >>> classify = pipeline("zero-shot-classification")
        >>> classify("The tooth hurts.", ["dentistry", "football"])["labels"][0]
        'dentistry'
    """
    name = ALSO.get(task, task)
    if PAIR.fullmatch(name):
        name = "translation"
    if name not in KNOWN:
        raise UserError(
            "pipeline",
            _("no pipeline is named {name!r}").format(name=task),
            expected=near(task, [*KNOWN, *ALSO, "translation_en_to_ja"]),
            fix='souron.pipeline("text-generation")',
        )
    known = KNOWN[name]
    chosen, system = _given(str(model), known) if model else _usual(name, known, Path(project))
    return Pipeline(task, chosen, system, known, options)


def _given(model: str, known: Known) -> tuple[str, Any]:
    """The system that was asked for. Raises UserError where it answers another question."""
    if "sentences" in known.tasks:
        raise UserError(
            "option",
            _("model={name}: this pipeline has one model, the sentence encoder").format(name=model),
            expected=_("no model"),
        )
    system = _load(model)
    if system.task not in known.tasks:
        raise UserError(
            "pretrained",
            _("{folder} is a run of {task}").format(
                folder=model, task=registry.task_name(system.task)
            ),
            expected=_("a run of {task}").format(task=registry.task_name(known.tasks[0])),
            exit=3,
        )
    return model, system


def _load(model: str) -> Any:
    system = published(model)
    if system is None:
        loaded = models_api.load(model)
        assert loaded.asked, "it says so where it has not learnt anything"
        system = loaded.system
    return system


def _usual(name: str, known: Known, project: Path) -> tuple[str, Any]:
    """The newest run, else what comes with souron. Raises UserError where there is neither."""
    if "sentences" in known.tasks:
        return "sentences", answers.encoder()
    runs = [
        args.parent
        for task in known.tasks
        for args in (project / task).glob("*/args.yaml")
        if (args.parent / "weights" / "best.safetensors").is_file()
    ]
    ready = [system for system in known.usual if _answers(system)]
    if runs:
        chosen = str(max(runs, key=lambda run: (run / "args.yaml").stat().st_mtime))
    elif ready:
        chosen = ready[0]
    else:
        raise _nothing_learnt(name, known)
    warnings.warn(
        _("no model was named for {name}: {model} answers").format(name=name, model=chosen),
        Caution,
        stacklevel=3,
    )
    return chosen, _load(chosen)


def _answers(name: str) -> bool:
    """Does it answer as it is, without a training of one's own?"""
    if name == USUAL:
        return fetch.where(USUAL) is not None
    if name not in registry.entries():
        return False
    from souron.runs import folder as run_folder

    kind = registry.load_system(name)[0]
    return signature(kind) is not None and (
        not kind.needs_fit or run_folder.ready(name) is not None or _published_here(name)
    )


def _published_here(name: str) -> bool:
    meaning = names.resolve(name)
    return isinstance(meaning, names.System) and meaning.published


def _nothing_learnt(name: str, known: Known) -> UserError:
    systems: Mapping[str, Any] = registry.entries()
    able = [entry.name for entry in systems.values() if entry.task == known.tasks[0]]
    expected = _("a run of {task}").format(task=registry.task_name(known.tasks[0]))
    if able:
        fix = f"souron train {able[-1]} data={known.data} budget=1min"
    elif known.usual == (USUAL,):
        fix = f"souron fetch {USUAL}"
    else:
        expected, fix = _("another pipeline: souron has no system for this one yet"), "souron list"
    return UserError(
        "not trained",
        _("nothing here has learnt to answer as {name}").format(name=name),
        expected=expected,
        fix=fix,
        exit=3,
    )
