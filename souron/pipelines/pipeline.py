"""Pipelines with Hugging Face's task names: ``souron.pipeline("summarization")``.

The names and the keys of the answers are those before transformers 5:
https://huggingface.co/docs/transformers/v4.57.1/main_classes/pipelines

Version 5 dropped ``summarization``, ``translation``, ``text2text-generation`` and
``question-answering``; code that uses them still runs with ``from souron import pipeline``. The
models are those that come with souron or were fetched, and your runs. Nothing is downloaded.
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
from souron.pipelines import answers, default_system
from souron.utils.messages import Caution, UserError, _, near, unknown_option

USUAL = "smollm2"  # the language model of those that name none


@dataclass(frozen=True)
class Known:
    """The systems and the answer format for one of Hugging Face's names."""

    tasks: tuple[str, ...]  # souron's tasks whose systems can answer
    answer: Callable[..., Any]  # (system, inputs, options) -> answer as in transformers
    usual: tuple[str, ...] = ()  # systems that need no run of the user's: those that were
    # trained on photographs first, where their weights are here
    data: str = "FOLDER"  # data to train one on


KNOWN = {
    "text-classification": Known(("classify_text",), answers.classified, ("bert",), "mails"),
    "sentiment-analysis": Known(("classify_text",), answers.classified),
    "token-classification": Known(("tag",), answers.tagged, ("bert_tag",), "entities"),
    "fill-mask": Known(("fill_mask",), answers.filled, ("bert_mask",), "speeches"),
    "text-generation": Known(("complete",), answers.generated, (USUAL,), "manuals"),
    "text2text-generation": Known(("complete", "translate", "summarise"), answers.rewritten, (USUAL,), "manners"),
    "summarization": Known(("summarise",), answers.summarised, ("central",), "manual_leads"),
    "translation": Known(("translate",), answers.translated, ("transformer",), "manual_pairs"),
    "question-answering": Known(("retrieve",), answers.found, ("encoder",), "help_questions"),
    "zero-shot-classification": Known(("sentences",), answers.compared, ("sentences",)),
    "feature-extraction": Known(("sentences",), answers.vectors, ("sentences",)),
    "visual-question-answering": Known(("answer",), answers.asked, ("visual_qa",), "scene_questions"),
    "image-classification": Known(("classify",), answers.labelled, ("efficientnet_lite",)),
    "zero-shot-image-classification": Known(("match",), answers.matched, ("clip",), "captioned_scenes"),
    "object-detection": Known(("detect",), answers.boxed, ("ssd_oid", "nanodet", "yolo")),
    "image-segmentation": Known(
        ("segment", "segment_instances", "segment_panoptic"), answers.masked, ("u2net", "deeplab", "unet")
    ),
    "automatic-speech-recognition": Known(
        ("transcribe",), answers.transcribed, ("whisper_base", "whisper"), "synthetic_digits"
    ),
    "image-to-image": Known(
        ("image_to_image",), answers.remade, ("compact_general", "compact_animation", "esrgan"), "photo_patches"
    ),
}
ALSO = {"ner": "token-classification", "vqa": "visual-question-answering"}
PAIR = re.compile(r"translation_(\w\w)_to_(\w\w)")


@dataclass
class Pipeline:
    """A pipeline: call it with an input or a list of inputs."""

    task: str  # the name given by the caller
    model: str  # the name of the model that answers
    system: Any = field(repr=False)
    known: Known = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Answer as the pipeline of that name in transformers 4. Raises UserError."""
        asked = inspect.signature(self.known.answer).parameters.values()
        names = [each.name for each in asked if each.kind is each.KEYWORD_ONLY]
        told = self.options | options
        for name in told:
            if name not in names:
                raise unknown_option(name, names, f"help(souron.pipeline), {self.task}")
        return self.known.answer(self.system, *given, **told)


def pipeline(task: str, model: str | Path | None = None, project: str | Path = "runs", **options: Any) -> Pipeline:
    """Return a pipeline that answers like Hugging Face's of the same name.

    Args:
        task: ``"sentiment-analysis"``, ``"summarization"``, ``"translation_en_to_ja"``, ``"ner"``,
            ``"question-answering"``, ``"fill-mask"``, ``"text-generation"``,
            ``"text2text-generation"``, ``"zero-shot-classification"``, ``"feature-extraction"``,
            ``"image-classification"``, ``"object-detection"``, ``"image-segmentation"``,
            ``"visual-question-answering"``, ...
        model: a run's folder, or a system's name; by default, as ``souron predict photo.jpg`` chooses, a
            model that comes with souron or was fetched, or else your newest run of that task.
        project: the folder of your runs.
        options: defaults for each call: ``top_k``, ``max_new_tokens``, ``candidate_labels``, ...

    Raises UserError; if no model is available, it says what to train.

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
    """Return the requested model's name and system. Raises UserError if it does not fit."""
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
            _("{folder} is a run of {task}").format(folder=model, task=registry.task_name(system.task)),
            expected=_("a run of {task}").format(task=registry.task_name(known.tasks[0])),
            exit=3,
        )
    return model, system


def _load(model: str) -> Any:
    loaded = models_api.load(model)
    assert loaded.asked, "it says so where it has not learnt anything"
    return loaded.system


def _usual(name: str, known: Known, project: Path) -> tuple[str, Any]:
    """Return a system that comes with souron or was fetched, or else the newest run. Raises UserError.

    As in ``default_system``, a run of the user's, which may be a trial of seconds, waits to be named.
    """
    if "sentences" in known.tasks:
        return "sentences", answers.encoder()
    runs = names.runs(known.tasks, project)
    chosen = next(filter(_answers, known.usual), None) or next(map(str, runs), None)
    if chosen is None:
        raise _nothing_learnt(name, known)
    text = _("no model was named for {name}: {model} answers").format(name=name, model=chosen)
    if learnt_from := default_system.learnt_from(chosen):
        text = _("{answer}, which was trained on {learnt_from}").format(answer=text, learnt_from=learnt_from)
    if runs and chosen != str(runs[0]):
        text = _("{answer}; your newest run: {command}").format(answer=text, command=f"model={str(runs[0])!r}")
    warnings.warn(text, Caution, stacklevel=3)
    return chosen, _load(chosen)


def _answers(name: str) -> bool:
    """Return whether a system answers without training by the user."""
    if name == USUAL:
        return fetch.where(USUAL) is not None
    if not registry.is_system(name):
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
        _("nothing here was trained to answer as {name}").format(name=name),
        expected=expected,
        fix=fix,
        exit=3,
    )
