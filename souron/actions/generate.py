"""Generate images with a trained model; a seed repeats them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from souron import model as models_api
from souron import registry
from souron.action import Action, Given, Note, Record
from souron.actions.predict.answer import Answer, place_of_answers
from souron.evaluation.record import DrawnRecord
from souron.hub import names
from souron.kinds.codecs import provenance
from souron.kinds.signature import Choice, only_one
from souron.runs import generate
from souron.runs.events import Event, changed
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Options:
    model: Annotated[str, Choice(N_("the system, as an option"), metavar="SYSTEM")] = ""
    n: Annotated[int | None, Choice(N_("images (default 64)"))] = None
    seed: Annotated[int | None, Choice(N_("random seed (default 0)"), low=0)] = None
    first: Annotated[int | None, Choice(N_("the first image's number, to continue; 0"))] = None
    label: Annotated[str, Choice(N_("generate this class; several with commas"), metavar="CLASS")] = ""
    prompt: Annotated[str, Choice(N_("generate what it says; several with |"))] = ""
    given: Annotated[str, Choice(N_("an image, folder or glob to complete"), metavar="FILE")] = ""
    image: Annotated[str, Choice(N_("an image, folder or glob to start from"), metavar="FILE")] = ""
    mask: Annotated[str, Choice(N_("white where the image is generated anew"), metavar="FILE")] = ""
    like: Annotated[str, Choice(N_("generate again what this file records"), metavar="FILE")] = ""
    walk: Annotated[int | None, Choice(N_("also an animation that interpolates between N"))] = None
    out: Annotated[str, Choice(N_("output folder (default: a new one in RUN)"), metavar="FOLDER")] = ""
    device: Annotated[str, Choice(N_("what computes: auto, cpu, cuda, cuda:1, mps"), metavar="X")] = ""
    workers: Annotated[int | None, Choice(N_("cores to use (default all)"), low=1)] = None
    own: Annotated[dict[str, str] | None, Choice(N_("options of the system"))] = None


@dataclass
class GenerateRecord(Record):
    """Images that a run generated, in files that are written already."""

    eyebrow = N_("generation")

    drawn: DrawnRecord
    folder: Path | None = None

    def page_title(self) -> str:
        return self.drawn.system

    def as_json(self) -> dict[str, Any]:
        return self.drawn.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        text = _("{count} images by {system}, seed {seed}, in {time} ({each} each)")
        return [
            text.format(
                count=units.whole(self.drawn.count),
                system=self.drawn.system,
                seed=self.drawn.seed,
                time=units.seconds(self.drawn.seconds),
                each=units.seconds(self.drawn.seconds / self.drawn.count),
            ),
            _("images: {path}").format(path=self.drawn.folder),
        ]

    def notes(self) -> list[str]:
        return self.drawn.notes

    def shown(self) -> list[Any]:
        from souron.data.composing.captioned_words import TITLES

        text = _("{attribute}: {value} requested, recognised in the first image with {share}")
        return [
            *self.sentences(),
            *(f"  {file.name}" for file in self.drawn.files[self.drawn.count :]),
            *(
                text.format(attribute=_(TITLES[name]), value=read["asked"], share=f"{read['p']:.0%}")
                for name, read in self.drawn.obedience.items()
            ),
            *map(Note, self.notes()),
        ]


class Generate(Action):
    """Generate images with a run, a ready-trained system or a published model, each marked as generated."""

    title = N_("Generate images with a trained model; a seed repeats them.")
    examples = (
        "souron generate ddpm n=16                (as it comes ready trained)",
        "souron generate runs/generate/dcgan-digits n=64 seed=1",
        "souron generate runs/generate/ddpm-fashion sampler=dpm steps=15 label=Coat",
        "souron generate runs/generate/stylegan-fashion truncation=0.7 walk=8",
        "souron generate runs/generate/image_gpt-fashion given=photo.png kept=0.5",
        'souron generate latent_diffusion prompt="a blue bird on the left, on grass"',
        "souron generate latent_diffusion prompt=雪の上に、二羽の青い鳥 guidance=5 seed=3",
        "souron generate --like picture.png       (once more)",
    )
    group = "use"
    given = Given("RUN|SYSTEM", N_("a run's folder, or a system that comes ready trained"), 0, 1)
    brief = True
    page = "use"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        self.given.check(given, self.examples[1], least=0 if options.like or options.model else 1)
        run = only_one(" ".join(given), options.model) or ""
        values = {name: value for name, value in vars(options).items() if value not in (None, "")}
        values |= values.pop("own", {})
        for name in ("model", "like", "workers"):
            values.pop(name, None)
        hardware.use_cores(options.workers)
        if options.like and (mark := mark_of_answer(Path(options.like))):
            yield Event("done", 1.0, record=answer_again(Path(options.like), mark, run, values))
            return
        if options.like:
            drawing = generate.like(options.like, **({"run": run} if run else {}), **values)
        else:
            drawing = generate.generating(run, **values)
        yield from changed(drawing, _recorded)


def _recorded(event: Event) -> Event:
    """Return the event with the images as the record of an action."""
    return event if event.record is None else Event("done", 1.0, record=GenerateRecord(event.record))


def mark_of_answer(path: Path) -> Any:
    """Return the provenance mark of a file that ``souron predict`` wrote; None for other files."""
    mark = provenance.read(path)
    if mark is None or not mark.system:
        return None
    return None if hasattr(registry.load_system(mark.system)[0], "drawing") else mark


def answer_again(path: Path, mark: Any, run: str, changed: Mapping[str, Any]) -> Answer:
    """Repeat the prediction in a file's mark, with the same input and options except ``changed``.

    Raises UserError where the run or the input file is missing.
    """
    changed = dict(changed)
    place = changed.pop("out", None)
    generate.check_there(path, mark.settings, changed)
    meaning = names.resolve(run or generate.run_of(mark))
    told = {key: str(value) for key, value in {**mark.settings, **changed}.items()}
    given = [told.pop(key) for key in ("given", "prompt") if key in told]
    loaded = models_api.load(meaning)
    [(file, answer)] = models_api.predict(loaded, given, **told)
    if isinstance(answer, UserError):
        raise answer
    folder = Path(place) if place else place_of_answers(meaning)
    return Answer(str(file), answer, models_api.keep(answer, file, folder, by=loaded), top=1)
