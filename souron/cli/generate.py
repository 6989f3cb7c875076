"""``souron generate``: generate images with a trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron import registry
from souron.cli import console
from souron.cli.answers import place_of_answers, tell_json, tell_people
from souron.cli.app import command
from souron.cli.console import follow, print_json, screen
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.cli.train import given_options, use_cores
from souron.hub import names
from souron.utils import hardware
from souron.utils.messages import N_, UserError


@command(
    "generate",
    N_("Generate images with a trained model; a seed repeats them."),
    "souron generate ddpm n=16                (as it comes ready trained)\n"
    "souron generate runs/generate/dcgan-digits n=64 seed=1\n"
    "souron generate runs/generate/ddpm-fashion sampler=dpm steps=15 label=Coat\n"
    "souron generate runs/generate/stylegan-fashion truncation=0.7 walk=8\n"
    "souron generate runs/generate/image_gpt-fashion given=photo.png kept=0.5\n"
    'souron generate latent_diffusion prompt="a blue bird on the left, on grass"\n'
    "souron generate latent_diffusion prompt=雪の上に、二羽の青い鳥 guidance=5 seed=3\n"
    "souron generate --like picture.png       (once more)",
    group="use",
)
def generate(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that comes ready trained"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    n: Annotated[int | None, Option(metavar="N", help=N_("images (default 64)"))] = None,
    seed: cli_options.Seed = None,
    first: Annotated[int | None, Option(metavar="N", help=N_("the first image's number, to continue; 0"))] = None,
    label: Annotated[str | None, Option(metavar="CLASS", help=N_("generate this class; several with commas"))] = None,
    prompt: Annotated[str | None, Option(metavar="TEXT", help=N_("generate what it says; several with |"))] = None,
    given: Annotated[str | None, Option(metavar="FILE", help=N_("an image, folder or glob to complete"))] = None,
    image: Annotated[str | None, Option(metavar="FILE", help=N_("an image, folder or glob to start from"))] = None,
    mask: Annotated[str | None, Option(metavar="FILE", help=N_("white where the image is generated anew"))] = None,
    like: Annotated[str | None, Option(metavar="FILE", help=N_("generate again what this file records"))] = None,
    walk: Annotated[int | None, Option(metavar="N", help=N_("also an animation that interpolates between N"))] = None,
    out: Annotated[str | None, Option(metavar="FOLDER", help=N_("output folder (default: a new one in RUN)"))] = None,
    device: cli_options.Device = None,
    workers: cli_options.Workers = None,
    fields: cli_options.Fields = None,
) -> None:
    folder = arguments.only_one(run, model)
    options = given_options(
        n=n,
        seed=seed,
        first=first,
        label=label,
        prompt=prompt,
        given=given,
        image=image,
        mask=mask,
        walk=walk,
        out=out,
        device=device,
        **dict(field.split("=", 1) for field in fields or []),
    )
    hardware.calm_allocator()
    use_cores(workers)
    from souron.runs import generate as run_generate

    if like is not None and (mark := mark_of_answer(Path(like))):
        answer_again(Path(like), mark, folder, options)
        return
    if like is not None:
        drawing = run_generate.like(like, **({"run": folder} if folder else {}), **options)
    elif folder is None:
        raise arguments.missing("RUN", "souron generate runs/generate/dcgan-digits n=64")
    else:
        drawing = run_generate.generating(folder, **options)
    [record] = follow(drawing)
    if screen.json:
        print_json(record.as_json())
    else:
        console.drawn(record)


def mark_of_answer(path: Path) -> Any:
    """Return the provenance mark of a file that ``souron predict`` wrote; None for other files."""
    from souron.kinds.codecs import provenance

    mark = provenance.read(path)
    if mark is None or not mark.system:
        return None
    return None if hasattr(registry.load_system(mark.system)[0], "drawing") else mark


def answer_again(path: Path, mark: Any, run: str | None, changed: Mapping[str, Any]) -> None:
    """Repeat the prediction in a file's mark, with the same input and options except ``changed``.

    Raises UserError where the run or the input file is missing.
    """
    from souron import model as models_api
    from souron.runs import generate as run_generate

    changed = dict(changed)
    place = changed.pop("out", None)
    run_generate.check_there(path, mark.settings, changed)
    meaning = names.resolve(run or run_generate.run_of(mark))
    told = {key: str(value) for key, value in {**mark.settings, **changed}.items()}
    given = [told.pop(key) for key in ("given", "prompt") if key in told]
    loaded = models_api.load(meaning)
    for file, answer in models_api.predict(loaded, given, **told):
        if isinstance(answer, UserError):
            raise answer
        folder = Path(place) if place else place_of_answers(meaning)
        saved = models_api.keep(answer, file, folder, by=loaded)
        (tell_json if screen.json else tell_people)(str(file), answer, 1, saved)
