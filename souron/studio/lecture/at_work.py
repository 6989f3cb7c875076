"""A row of the lecture at work: its ready-trained system answers before anything is pressed.

The row's ``answer`` command decides what is shown. ``predict`` and ``generate`` run in this server,
on a sample or on the reader's own image or text, and the activations of their layers are returned
with the answer. Any other command runs as a process of its own; its output is kept until souron
changes.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import zoo
from souron.lecture.rows import Row
from souron.report import layers
from souron.report.layers.kinds import meaning
from souron.studio import interactive
from souron.studio.forms.plain_options import bounded, highest
from souron.studio.lecture import command_output, generated
from souron.studio.security import uploads
from souron.studio.shared import Studio, remarks, same_thing
from souron.utils import files, units
from souron.utils.messages import UserError, _

IMAGE, TEXT = "Picture", "Text"  # kinds of input that the page takes
PHOTOGRAPHS = "efficientnet_lite"  # the system of ``souron predict photo.png``
MOST_TEXT = 2000  # characters
MOST_SAMPLES = 6
MOST_SLIDERS = 2
MOST_DRAWN = 4
NOISE = 80  # grey levels: the standard deviation of the most noise
SHOWN = 3  # labels of a classifier


@dataclass(frozen=True)
class Stage:
    """The meaning of a row's ``answer`` command."""

    command: str
    verb: str  # "predict", "generate"; of other commands the first word
    system: str = ""  # of "predict" and "generate"
    sample: str = ""  # the file that it names
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Return whether it runs in this server; images in tiles are a process's work."""
        return self.verb in ("predict", "generate") and "tile" not in self.options

    @property
    def takes(self) -> str:
        """Return the kind of input, such as ``Picture``; "" for a generator."""
        entry, _size = registry.find(zoo.system_of(self.system))
        return registry.takes(entry.task) if self.verb == "predict" else ""


def stage(row: Row) -> Stage:
    """Read a row's ``answer`` command."""
    _souron, verb, *words = shlex.split(row.answer)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    if verb == "generate":
        return Stage(row.answer, verb, plain[0], "", options)
    if verb != "predict":
        return Stage(row.answer, verb)
    named = registry.is_system(plain[0]) or plain[0] in zoo.variants()
    system = plain[0] if named else PHOTOGRAPHS
    return Stage(row.answer, verb, system, plain[-1], options)


def panel(studio: Studio, row: Row) -> Markup:
    """Return the part of the page that shows the row at work; its script requests the first answer."""
    told = stage(row)
    return Markup(
        '<form class="work" data-work="/lecture/{language}/{row}/work" data-busy="{busy}">{own}'
        '<div class="turned"></div><div class="answered" aria-live="polite"><p class="faint">{waiting}</p></div>'
        '<div class="lit" tabindex="0" role="group" aria-label="{lit}" hidden></div></form>'
    ).format(
        language=studio.language,
        row=row.id,
        busy=_("computing …"),
        own=_own_input(told),
        waiting=_("The ready-trained network answers …") if told.here else _("The command is running …"),
        lit=_("Activations of the layers for this input"),
    )


def _own_input(told: Stage) -> Markup:
    """Return the samples, and the field for an own image or text."""
    if not told.here:
        return Markup()
    chosen = Markup('<div class="samples" role="group" aria-label="{}"></div>').format(_("Examples"))
    if told.takes == IMAGE:
        return Markup(
            '{}<p class="actions"><label class="pick">{}<input type="file" accept="image/*" data-own="image">'
            '</label><button type="button" data-do="camera" data-shoot="{}">{}</button>'
            '<span class="faint">{}</span></p><video hidden playsinline muted></video>'
        ).format(chosen, _("Your own image"), _("Take the picture"), _("Camera"), _("or drop it here, or paste it"))
    if told.takes == TEXT:
        return Markup(
            '{}<label class="typed">{}<textarea name="text" maxlength="{}" rows="3"></textarea></label>'
        ).format(chosen, _("Your own text"), MOST_TEXT)
    return chosen


def answer(studio: Studio, row: Row, asked: Any) -> dict[str, Any]:
    """Answer a request of the page: ``sample`` a number, ``image`` base64, ``text``, ``first`` true for the
    request that also returns the samples and sliders, and the options. Raises UserError.
    """
    if not isinstance(asked, dict):
        raise UserError("json", _("the request cannot be read: {why}").format(why="no object"))
    told = stage(row)
    if not told.here:
        with command_output.running:
            return {"html": command_output.shown(row)}
    with interactive.one_at_a_time:
        return _predicted(row, told, asked) if told.verb == "predict" else _generated(row, told, asked)


def _predicted(row: Row, told: Stage, asked: Mapping[str, Any]) -> dict[str, Any]:
    from souron.evaluation import activity
    from souron.studio import answers
    from souron.studio.model_cache import models

    files_ = _samples(told)
    with models.answering(told.system) as model:
        given, name = _input(model, files_, asked)
        noise = interactive.number(asked, "noise", 0, 1, 0)
        given = _noisy(given, noise) if noise else given
        options = _options(model.asked.options, told.options, asked)
        layers_ = _layers(row)
        with activity.recorded(model.system, layers_) as outputs:
            said = model.answer(given, **options)
        sliders = _sliders(model.asked.options, told.options, told.takes == IMAGE) if asked.get("first") else ""
        size = _other_size(model.system, layers_)
    shown = replace(answers.beside(given, said, model.learnt_from), file=name)
    code = _predict_code(
        told, name, {key: value for key, value in options.items() if key in told.options or key in asked}
    )
    found = {
        "html": answers.cards([shown], SHOWN, look=False) + _about(told.system) + size + code,
        "layers": [_lit(one, layers_) for one in activity.activities(outputs)],
    }
    if asked.get("first"):
        found |= {"controls": sliders, "samples": [_button(file, number) for number, file in enumerate(files_)]}
        found["text"] = given.text if told.takes == TEXT else ""
    return found


def _generated(row: Row, told: Stage, asked: Mapping[str, Any]) -> dict[str, Any]:
    from souron.evaluation import activity
    from souron.evaluation.generators import sampling
    from souron.kinds import signature
    from souron.runs import generate
    from souron.studio.model_cache import models

    seed = interactive.whole(asked, "seed", 0, 9999, 0)
    count = min(int(told.options.get("n", "1")), MOST_DRAWN)
    with models.answering(told.system) as model:
        system = model.system
        known = signature.options_of(type(system).drawing)
        given = {name: value for name, value in told.options.items() if name in known}
        options = _options(known, given, asked)
        prompts = generate.prompts_of(system, _prompt(told, asked))
        condition = [prompts[number % len(prompts)] for number in range(count)] if prompts else None
        layers_ = _layers(row)
        with activity.recorded(system, layers_) as outputs:
            frames = sampling.draw(system, sampling.Noise(seed, range(count), system.device), condition, **options)
            drawn = sampling.done(frames)
        shown = generated.side_by_side(system, drawn) + _other_size(system, layers_)
    words = {"n": count, "seed": seed, **({"prompt": _prompt(told, asked)} if prompts else {})}
    words |= {name: value for name, value in options.items() if name in asked or name in given}
    typed = shlex.join(["souron", "generate", told.system, *(f"{name}={value}" for name, value in words.items())])
    python = f"import souron\nmodel = souron.load({told.system!r})\nmodel.generate({_keywords(words)})"
    found = {
        "html": shown + _about(told.system) + same_thing(typed, python),
        "layers": [_lit(one, layers_) for one in activity.activities(outputs)],
    }
    if asked.get("first"):
        again = interactive.slider("seed", _("random seed"), 0, 99, 0)
        found["controls"] = _typed("prompt", _("prompt"), told.options) + again + _sliders(known, given, False)
        found["samples"] = []
    return found


def _prompt(told: Stage, asked: Mapping[str, Any]) -> str:
    text = asked.get("prompt")
    return text[:MOST_TEXT] if isinstance(text, str) and text.strip() else told.options.get("prompt", "")


def _input(model: Any, samples_: list[Path], asked: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the reader's own image or text, or a sample, with its name. Raises UserError."""
    from souron.kinds.picture import Picture

    takes = model.asked.given.__name__
    image, text = asked.get("image"), asked.get("text")
    if takes == IMAGE and isinstance(image, str) and image:
        return Picture(uploads.encoded_image(image)), _("your image")
    if takes == TEXT and isinstance(text, str) and text.strip():
        from souron.kinds.text import Text

        return Text(text[:MOST_TEXT]), _("your text")
    path = samples_[interactive.whole(asked, "sample", 0, len(samples_) - 1, 0)]
    return next(iter(model.asked.given.each(path, **model.reading))), path.name


def _noisy(given: Any, share: float) -> Any:
    """Add Gaussian noise to an image, always the same."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(given.image.convert("RGB" if given.image.mode == "RGB" else "L"), dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, share * NOISE, pixels.shape)
    return replace(given, image=Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)))


def _samples(told: Stage) -> list[Path]:
    """Return the sample of the command, and further ones of its kind. Raises UserError."""
    from souron.lecture import samples

    folder = files.cache_folder() / "rows"
    held_out = samples.HELD_OUT.get(told.sample)
    if held_out is not None:
        first = samples.examples() / held_out
        others = [file for file in sorted(first.parent.iterdir()) if file != first]
        return [first, *others][:MOST_SAMPLES]
    names = [told.sample, *(samples.PHOTOGRAPHS if told.sample in samples.PHOTOGRAPHS else ())]
    names = list(dict.fromkeys(names))
    folder.mkdir(parents=True, exist_ok=True)
    samples.write(folder, shlex.join(["souron", "predict", *names]))
    return [folder / name for name in names]


def _button(file: Path, number: int) -> str:
    """Return the button of a sample: its thumbnail, or its number."""
    from souron.kinds.picture import Picture

    shown = Markup("{}").format(number + 1)
    if file.suffix.lower() in (".png", ".jpg", ".gif"):
        from souron.kinds.codecs.animation import thumbnail

        image = next(iter(Picture.each(file))).image
        shown = Markup('<img src="{}" alt="{}">').format(thumbnail(image.convert("RGB"), 64), file.stem)
    return str(
        Markup('<button type="button" data-sample="{}" aria-pressed="{}" title="{}">{}</button>').format(
            number, "false" if number else "true", file.name, shown
        )
    )


def _options(known: Mapping[str, Any], given: Mapping[str, str], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the command, with those that were changed on the page. Raises UserError."""
    from souron.kinds import signature

    changed = {name: asked[name] for name in known if isinstance(asked.get(name), str | int | float)}
    allowed = {name: value for name, value in {**given, **changed}.items() if known[name].kind is None}
    told = signature.read_options(known, allowed)
    return {name: min(value, highest(known[name])) if bounded(known[name]) else value for name, value in told.items()}


def _sliders(known: Mapping[str, Any], given: Mapping[str, str], image: bool) -> Markup:
    """Return a slider for each bounded number, and a field for each text of the command."""
    parts = [_typed(name, _(known[name].help), given) for name in given if isinstance(known[name].default, str)]
    numbers = [one for one in known.values() if bounded(one)]
    numbers.sort(key=lambda one: (one.name not in given, one.name == "seed"))
    for one in numbers[:MOST_SLIDERS]:
        low, high, whole = one.low, highest(one), isinstance(one.default, int)
        value = float(given.get(one.name, one.default))
        step = 1 if whole else 10.0 ** math.floor(math.log10((high - low) / 20))
        parts.append(interactive.slider(one.name, _(one.help), low, high, int(value) if whole else value, step))
    if image and len(parts) < MOST_SLIDERS:
        parts.append(interactive.slider("noise", _("noise added to the image"), 0, 1, 0, 0.05))
    return Markup("").join(parts)


def _typed(name: str, label: str, given: Mapping[str, str]) -> Markup:
    """Return a text field for an option of the command; nothing where the command lacks it."""
    if name not in given:
        return Markup()
    return Markup('<label class="typed">{}<input name="{}" maxlength="{}" value="{}"></label>').format(
        label, name, MOST_TEXT, given[name]
    )


def drawn_system(row: Row) -> str:
    """Return the system in the row's diagram: the one that answers where it is the row's own, else the first."""
    told = stage(row)
    answering = registry.find(zoo.system_of(told.system))[0].name if told.here else ""
    names = [registry.find(name)[0].name for name in row.systems]
    return answering if answering in names else names[0]


def _layers(row: Row) -> dict[str, layers.Layer]:
    """Return the layers in the row's diagram by their names."""
    held = layers.kept(registry.entries()[drawn_system(row)]) if row.systems else None
    return {layer.name: layer for line in held.lines for layer in line if layer.name} if held else {}


def _other_size(system: Any, drawn: Mapping[str, layers.Layer]) -> Markup:
    """Say so where most layers of the network that answers have other numbers of parameters than those ``drawn``."""
    parts = dict(system.named_modules())
    pairs = [(layer.parameters, parts.get(name)) for name, layer in drawn.items() if layer.parameters]
    other = [True for count, part in pairs if part is None or count != sum(each.numel() for each in part.parameters())]
    if 2 * len(other) <= len(pairs):
        return Markup()
    told = _("This network has another size than the one in the diagram: {count} parameters.")
    count = units.count(sum(each.numel() for each in system.parameters()))
    return Markup('<p class="faint">{}</p>').format(told.format(count=count))


def _lit(one: Any, drawn: Mapping[str, layers.Layer]) -> dict[str, Any]:
    """Return a layer's activations for the page's script."""
    from PIL import Image

    from souron.kinds.codecs import image

    return {
        "name": one.layer,
        "title": meaning(drawn[one.layer].kind),
        "shape": " × ".join(map(str, one.shape)),
        "strength": round(one.strength, 3),
        "image": image.data_uri(Image.fromarray(one.image.numpy())),
    }


def _about(system: str) -> Markup:
    """Return what the system has learnt from, and the weaknesses that its figures show."""
    folder = zoo.where(system)
    if folder is not None:
        return Markup('<p class="faint">{}: {}</p>{}').format(
            system, zoo.about(system), remarks(zoo.weaknesses(folder))
        )
    told = _("published weights, trained on {data}").format(data=registry.published_from(system))
    return Markup('<p class="faint">{}: {}</p>').format(system, told)


def _predict_code(told: Stage, name: str, options: Mapping[str, Any]) -> Markup:
    file = name if Path(name).suffix else told.sample
    typed = ["souron", "predict", told.system, file, *(f"{key}={value}" for key, value in options.items())]
    given = ", ".join(filter(None, [repr(file), _keywords(options)]))
    return same_thing(shlex.join(typed), f"import souron\nmodel = souron.load({told.system!r})\nprint(model({given}))")


def _keywords(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
