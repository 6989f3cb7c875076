"""Form of a generator, the job that generates, and the generated images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import ImageChops

from souron.cli import generate
from souron.kinds import signature
from souron.studio.forms import command_form
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Watch
from souron.studio.security import upload_names
from souron.studio.shared import DIRECT, QUIET, Studio, command, remarks, same_thing, words
from souron.utils import units
from souron.utils.messages import UserError, _

MOST_SHOWN = 64  # generated images on the page
COUNT, SEED = 16, 1  # defaults of the form
MOST_LETTERS = 1000  # characters of a prompt
PAINT = "#ff00ff"  # colour of the inpainting mask
SAID_HERE = (  # options of generate with their own widgets
    "run",
    "n",
    "seed",
    "label",
    "prompt",
    "given",
    "image",
    "mask",
    "like",
    "out",
)


class Drawing:
    """The form of one run.

    ``watch`` shows the job that generates; ``same`` shows the equivalent command line and Python.
    """

    def __init__(
        self, studio: Studio, run: str, system: Any, labels: Sequence[tuple[str, str]], watch: Watch, same: Any
    ) -> None:
        import gradio as gr

        from souron.studio.forms import widgets

        self.studio, self.run = studio, run
        options = signature.options_of(system.drawing)
        self.own = {name: each for name, each in options.items() if each.default is not None}
        known = command_form.fields(generate.generate)
        self.counts = [known["n"], known["seed"]]
        self.further = {name: field for name, field in known.items() if name not in SAID_HERE}
        prompt = gr.Textbox(
            label=_("Prompt"),
            lines=2,
            max_length=MOST_LETTERS,
            visible=system.prompted,
            info=_("what is to be generated; several with | between take turns"),
        )
        with gr.Row():
            count = known["n"].widget(COUNT, label=_("pictures"), info=_("how many to generate"))
            seed = known["seed"].widget(SEED)
        classes = gr.Dropdown(
            list(labels),
            value=[],
            multiselect=True,
            label=_("Classes"),
            info=_("several take turns; none: as the data has them"),
            visible=bool(getattr(system, "conditional", False)),
        )
        given = gr.Image(
            label=_("an image to complete"),
            type="filepath",
            image_mode=None,
            height=240,
            sources=["upload", "clipboard"],
            visible=bool(getattr(system, "completes", False)),
        )
        upload_names.received(given)
        brush = gr.Brush(default_size=24, colors=[PAINT], default_color=PAINT, color_mode="fixed")
        gr.HTML(
            Markup("<p>{}</p>").format(_("an image to start from; paint over what is to be generated anew")),
            visible="image" in options,
        )
        start = gr.ImageEditor(
            label=_("picture"),
            type="filepath",
            image_mode="RGBA",
            height=420,
            visible="image" in options,
            sources=["upload", "clipboard"],
            transforms=(),
            layers=False,
            brush=brush,
        )
        upload_names.received(start, upload_names.painted)
        own = [widgets.option(each) for each in self.own.values()]
        with gr.Accordion(_("More options"), open=False):
            more = [field.widget() for field in self.further.values()]
        go = gr.Button(_("Generate"), variant="primary")

        form, says = awake([prompt, count, seed, classes, given, start, *own, *more]), studio.says
        proposed = self.proposed()
        studio.blocks.load(says(lambda: self.the_same(*proposed)), None, same, **QUIET, **DIRECT)
        studio.on_change(form, self.the_same, form, same, **DIRECT)
        watch.follow(go.click(says(self.begin), form, watch.job, **QUIET, **DIRECT))

    def proposed(self) -> list[Any]:
        """Return the initial values of the form."""
        own = [option.default for option in self.own.values()]
        return ["", COUNT, SEED, [], None, None, *own, *[None] * len(self.further)]

    def read(self, *values: Any) -> dict[str, Any]:
        """Return the options for generate, without unchanged defaults. Raises UserError."""
        prompt, count, seed, labels, given, start, *rest = values
        own, more = rest[: len(self.own)], rest[len(self.own) :]
        pairs = zip(self.own.values(), own, strict=True)
        read = {option.name: option.read(value) for option, value in pairs}
        return {
            **command_form.chosen(self.counts, [count, seed]),
            **({"label": ",".join(labels)} if labels else {}),
            **({"prompt": prompt} if prompt and prompt.strip() else {}),
            **({"given": given} if given else {}),
            **started(start),
            **{name: value for name, value in read.items() if value != self.own[name].default},
            **command_form.chosen(self.further.values(), more),
        }

    def begin(self, *values: Any) -> str:
        line = words("generate", [self.run], spelt(self.read(*values)))
        return self.studio.jobs.start(line, self.studio.language, queued=False).id

    def the_same(self, *values: Any) -> Markup:
        """Return the equivalent command line and Python code."""
        try:
            said = self.read(*values)
        except UserError:  # incomplete input; the button reports errors
            return Markup()
        for name in ("given", "image", "mask"):
            if name in said:
                said[name] = Path(said[name]).name
        line = command(words("generate", [self.run], spelt(said)))
        return same_thing(line, command_form.python("generate", repr(self.run), said, {}))


def started(start: upload_names.Painted | None) -> dict[str, str]:
    """Write the start image and, where it was painted over, its mask to files.

    Raises UserError for an invalid image.
    """
    if start is None:
        return {}
    from souron.kinds.codecs import image as image_codec

    image = Path(start.image)
    covered = [alpha for layer in start.layers if (alpha := image_codec.alpha(Path(layer)))]
    masks = [alpha.point(lambda value: 255 * (value > 127)) for alpha in covered]
    masks = [mask for mask in masks if mask.getbbox()]
    if not masks:
        return {"image": str(image)}
    mask = masks[0]
    for other in masks[1:]:
        mask = ImageChops.lighter(mask, other)
    file = image.with_name(f"{image.stem[:80]}-mask.png")
    mask.save(file)
    return {"image": str(image), "mask": str(file)}


def awake(components: Sequence[Any]) -> list[Any]:
    """Make components interactive that are built while a page is open.

    Gradio takes a component with a value for mere output unless it says otherwise.
    """
    for component in components:
        if getattr(component, "interactive", False) is None:
            component.interactive = True
    return list(components)


def spelt(options: Mapping[str, Any]) -> dict[str, str]:
    """Format options for the command line."""
    return {name: spell(value) for name, value in options.items()}


def spell(value: Any) -> str:
    """Format a value for the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def latest(studio: Studio, name: str | None) -> str:
    """Return the id of the latest job that generates with a run; "" where there is none."""
    jobs = (job for job in studio.jobs.all() if job.words[:2] == ["generate", name])
    return next((job.id for job in jobs), "")


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the generated images: sheets and animations first, then each image."""
    result = job.result or {}
    files = [Path(file) for file in result.get("files", [])]
    single = [file for file in files if file.stem.isdecimal()]
    together = [file for file in files if file not in single]
    return Markup('<h2>{}</h2>{}<p>{}</p><div class="drawn large">{}</div><div class="drawn">{}</div>').format(
        _("What it generated"),
        remarks(result.get("notes") or ()),
        _("{count} images in {time}, each marked as generated.").format(
            count=units.whole(result.get("count", 0)), time=units.seconds(result.get("seconds", 0))
        ),
        linked(studio, together),
        linked(studio, single[:MOST_SHOWN]),
    )


def linked(studio: Studio, files: list[Path]) -> Markup:
    """Return each image as a link to its file; missing files are left out."""
    return Markup("").join(
        Markup('<a href="{0}" target="_blank" rel="noopener"><img loading="lazy" src="{0}" alt="{1}"></a>').format(
            address, file.name
        )
        for file in files
        if (address := studio.address(file))
    )
