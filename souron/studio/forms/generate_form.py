"""Form of a generator, the job that generates, and the generated images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.hub import zoo
from souron.kinds import signature
from souron.studio.forms import command_form, controls, plain_options
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, remarks, same_thing, words
from souron.utils import units
from souron.utils.files import new_folder
from souron.utils.messages import UserError, _

MOST_SHOWN = 64  # generated images on the page
COUNT, SEED = 16, 1  # defaults of the form
MOST_LETTERS = 1000  # characters of a prompt
NAME = "use-name"  # the field that names the system; "-" stands in no option's name
SAID_HERE = (  # options of generate with fields of their own
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
    """The form of one generator."""

    def __init__(self, studio: Studio, run: str, system: Any, labels: Sequence[tuple[str, str]]) -> None:
        self.studio, self.run, self.system, self.labels = studio, run, system, labels
        self.options = signature.options_of(system.drawing)
        self.own = {name: each for name, each in self.options.items() if each.default is not None}
        self.known = command_form.options_of("generate")
        self.further = {name: field for name, field in self.known.items() if name not in SAID_HERE}

    def html(self) -> Markup:
        """Return the form beside the place of its job, and the equivalent command."""
        more = Markup("").join(field.html() for field in self.further.values())
        fields = [
            named_in(self.run),
            self._prompt(),
            self.known["n"].html(COUNT, label=_("pictures"), about=_("how many to generate")),
            self.known["seed"].html(SEED),
            self._classes(),
            self._images(),
            plain_options.fields(self.own, {}, whole=True),
            controls.folded(controls.more_options(), more),
            controls.press(_("Generate"), first=True),
        ]
        form = controls.form(self.studio, "use", "generate", Markup("").join(fields))
        same = controls.follows(self.studio, "use", "same", "same")
        return controls.columns(form + same, PANEL.html(self.studio, latest(self.studio, self.run)))

    def _prompt(self) -> Markup:
        if not self.system.prompted:
            return Markup()
        about = _("what is to be generated; several with | between take turns")
        return controls.labelled(_("Prompt"), controls.area("prompt", rows=2, maxlength=MOST_LETTERS), about)

    def _classes(self) -> Markup:
        if not getattr(self.system, "conditional", False) or not self.labels:
            return Markup()
        about = Markup("<small>{}</small>").format(_("several take turns; none: as the data has them"))
        return Markup('<div class="classes">{}{}</div>').format(
            controls.ticks("label", _("Classes"), self.labels), about
        )

    def _images(self) -> Markup:
        """Return the places for an image to complete, or to start from, over which a mask is painted."""
        from souron.kinds.picture import Picture

        places = Markup()
        if getattr(self.system, "completes", False):
            places += controls.labelled(_("an image to complete"), controls.files("given", Picture.formats))
        if "image" in self.options:
            about = _("an image to start from; paint over what is to be generated anew")
            places += controls.labelled(_("picture"), controls.files("image", Picture.formats), about)
        if "mask" in self.options:
            wipe: dict[str, Any] = {"data_paint": "image", "data_wipe": _("Wipe off")}
            label, info = self.known["mask"].says
            places += controls.labelled(label, controls.files("mask", Picture.formats, **wipe), info)
        return places

    def read(self, form: Posted) -> dict[str, Any]:
        """Return the options for generate, without unchanged defaults. Raises UserError."""
        prompt = form["prompt"].replace("\r\n", "\n")
        own = plain_options.of_form(self.own, form)
        return {
            **command_form.values([self.known["n"], self.known["seed"]], form),
            **({"label": ",".join(form.all("label"))} if form.all("label") else {}),
            **({"prompt": prompt} if prompt.strip() else {}),
            **{name: paths[0] for name in ("given", "image", "mask") if (paths := form.paths(name))},
            **{name: value for name, value in own.items() if value != self.own[name].default},
            **command_form.values(self.further.values(), form),
        }

    def command(self, form: Posted) -> list[str]:
        """Return the words of the command; its images are below the project. Raises UserError."""
        said = self.read(form)
        if self.studio.project_option() and zoo.where(self.run):
            place = self.studio.project / "ready" / self.run / "pictures"
            said["out"] = new_folder(place, f"seed{said.get('seed', 0)}")
        return words("generate", [self.run], spelt(said))

    def same(self, form: Posted) -> Markup:
        """Return the equivalent command line and Python code; empty where the form is incomplete."""
        try:
            said = self.read(form)
        except UserError:  # the button reports errors
            return Markup()
        for name in ("given", "image", "mask"):
            if name in said:
                said[name] = Path(said[name]).name
        line = command(words("generate", [self.run], spelt(said)))
        return same_thing(line, command_form.python("generate", repr(self.run), said, {}))


def named_in(system: str) -> Markup:
    """Return the hidden field that names the system of a form."""
    return Markup('<input type="hidden"{}>').format(controls.attributes({"name": NAME, "value": system}))


def spelt(options: Mapping[str, Any]) -> dict[str, str]:
    """Format options for the command line."""
    return {name: spell(value) for name, value in options.items()}


def spell(value: Any) -> str:
    """Format a value for the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def latest(studio: Studio, name: str) -> str:
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


PANEL = Panel("use", lambda: ("generate",), outcome)
