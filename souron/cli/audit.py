"""``souron audit``: what a generator gives back and learnt from, who drew a picture, or whether."""

from typing import Annotated, Any

from typer import Argument, Option

from souron import registry
from souron.cli import options, studies
from souron.cli.app import command
from souron.cli.audits import ledger, memorisation, provenance
from souron.utils.messages import N_, UserError, _

AUDITS = {  # each has the names of its OPTIONS, and ``audit``
    "memorisation": memorisation,
    "provenance": provenance,
    "ledger": ledger,
}


@command(
    "audit",
    N_("Audit a generative model: memorisation, training data, provenance, detectability."),
    "souron audit memorisation runs/generate/dcgan-digits n=256\n"
    "souron audit ledger runs/generate/dcgan-digits\n"
    "souron audit provenance picture.png more/\n"
    "souron audit generated fashion gan dcgan runs/generate/ddpm-fashion\n"
    "souron audit generated real=photos/ drawn=a/ drawn=b/ n=1000\n"
    "souron audit improper runs/complete/manners before=runs/complete/talk",
    group="society",
)
def audit_(
    what: Annotated[
        str,
        Argument(
            metavar="WHAT",
            help=N_(
                "memorisation RUN, ledger RUN, provenance FILES, generated REAL DRAWN ..., or "
                "improper MODEL"
            ),
        ),
    ],
    files: Annotated[
        list[str] | None,
        Argument(metavar="RUN|FILES", help=N_("a run's folder; or images, folders, globs")),
    ] = None,
    real: Annotated[
        str | None,
        Option(metavar="D", help=N_("of generated: a data set or folder of real images")),
    ] = None,
    drawn: Annotated[
        list[str] | None,
        Option(
            metavar="D",
            help=N_("of generated: a run, a ready-trained generator or a folder; may be repeated"),
        ),
    ] = None,
    n: Annotated[
        int | None,
        Option(
            metavar="N",
            help=N_(
                "images to generate and compare (256; of generated 400 of each); or prompts (all)"
            ),
        ),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    open: options.Open = False,
    before: Annotated[
        str | None,
        Option(metavar="MODEL", help=N_("improper: the model before tuning, for comparison")),
    ] = None,
    prompts: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("improper: prompts of your own, a line each; or manners")),
    ] = None,
    lexicon: options.Lexicon = None,
    language: Annotated[
        str | None, Option(metavar="L", help=N_("improper: prompts in en or ja alone"))
    ] = None,
    each: Annotated[
        int | None,
        Option(min=1, max=50, metavar="N", help=N_("improper: answers to each prompt (1)")),
    ] = None,
    length: Annotated[
        int | None,
        Option(min=1, max=4096, metavar="N", help=N_("improper: tokens of an answer (48)")),
    ] = None,
    project: options.Project = None,
) -> None:
    own = {name: one for name, one in registry.studies().items() if one.within == "audit"}
    if what not in own and what not in AUDITS:
        raise UserError(
            "audit",
            _("there is no audit named {name!r}").format(name=what),
            expected=", ".join([*AUDITS, *own]),
            fix="souron audit --help",
        )
    asked: dict[str, Any] = {
        "real": real, "drawn": drawn, "n": n, "seed": seed, "device": device, "before": before,
        "prompts": prompts, "lexicon": lexicon, "language": language, "each": each,
        "length": length, "project": project,
    }  # fmt: skip
    if what in own:
        words = {option.name: asked.get(option.name) for option in own[what].options}
        studies.conduct(own[what], files or [], words, project, open)
        return
    audit = AUDITS[what]
    given = {name: asked[name] for name in audit.OPTIONS if asked[name] is not None}
    audit.audit(files or [], open, **given)
