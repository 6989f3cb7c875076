"""The commands: ``souron list``, ``show``, ``data``, ``train``, ``val``, ``predict``, ...

Nothing here imports torch before a command needs it. Every option is understood as ``--epochs 5``
and as ``epochs=5``.
"""

import ast
import csv
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer import Argument, Option

import souron
from souron import finding, inspecting, looking, machine, options, parsing, showing
from souron.reporting import units
from souron.showing import follow, note, print_json, screen, show
from souron.speaking import N_, Trouble, _, near, unknown_option

UsageError: Any = typer.BadParameter.__base__  # of the click that this typer uses

app = typer.Typer(
    cls=showing.Commands,
    help=N_("Every AI system of an overview lecture on your own computer."),
    epilog=N_(
        "Examples:\n"
        "  souron tour\n"
        "  souron train resnet data=photos/ budget=5min\n"
        "  souron predict runs/classify/resnet-photos cat.jpg\n"
        "  souron compare mlp cnn vit data=digits budget=10s seeds=3\n"
        "\n"
        "Exit codes:\n"
        "  0    fine\n"
        "  1    an error inside souron; SOURON_DEBUG=1 shows where\n"
        "  2    wrong usage: a name, an option, a value\n"
        "  3    data or files\n"
        "  4    this machine: memory, disk, something to fetch first\n"
        "  5    refused, and why\n"
        "  130  interrupted; the work is kept\n"
        "\n"
        "Environment: SOURON_LANG (en, ja), SOURON_DATA (your data sets), SOURON_CACHE (what was "
        "fetched)"
    ),
    pretty_exceptions_enable=False,
)
COMPLETION = (
    N_("Install completion for the current shell."),
    N_("Show completion for the current shell, to copy it or customize the installation."),
)


@app.callback()
def everywhere() -> None:
    pass


def command(name: str, help: str, examples: str) -> Callable:
    # without typer's own --help, for which it would import pydantic; ``obey`` answers it
    return app.command(name, cls=showing.Command, help=help, epilog=examples, add_help_option=False)


command(
    "list",
    N_("Every system, by task: year, sizes, idea."),
    "souron list\nsouron list --json\nsouron list --data",
)(looking.list_)
command(
    "show",
    N_("One system: idea, paper, sizes, structure with shapes, parameters and FLOPs."),
    "souron show resnet\nsouron show resnet50 depth=2\nsouron show vit_b16 --json",
)(looking.show_)
command(
    "data",
    N_(
        "One data set: counts, class balance, samples, what augmentation does; with check, what "
        "is wrong with it."
    ),
    "souron data digits\nsouron data photos/ --open\nsouron data list.csv --json\n"
    "souron data check photos/\nsouron data check photos/ --fix photos/checked.csv",
)(looking.data_)
command(
    "fetch",
    N_("Get data sets and published weights; the only command that uses the network."),
    "souron fetch --list\nsouron fetch fashion\nsouron fetch --where\n"
    "souron fetch --bundle usb/ fashion resnet50\nsouron fetch --verify usb/",
)(looking.fetch)
command(
    "doctor",
    N_("This machine: processor, memory, disk, versions, data, weights, what can run."),
    "souron doctor\nsouron doctor --json",
)(looking.doctor)


@command(
    "train",
    N_("Train a system on data, measure it on cases it never saw, write a report."),
    "souron train cnn data=digits budget=10s\n"
    "souron train resnet18 data=photos/ epochs=5 imgsz=64\n"
    "souron train resnet18 data=photos/ pretrained=true freeze=true\n"
    "souron train cnn data=digits rate=0.01     (any field of the system's Config)\n"
    "souron train cnn data=digits epochs=20 --forecast\n"
    "souron train --resume",
)
def train(
    context: typer.Context,
    system: options.System = None,
    model: options.Model = None,
    data: options.Data = None,
    budget: options.Budget = None,
    epochs: options.Epochs = None,
    time: options.Time = None,
    seed: options.Seed = None,
    imgsz: options.Side = None,
    batch: options.Batch = None,
    pretrained: options.Pretrained = None,
    freeze: options.Freeze = False,
    patience: options.Patience = None,
    lr0: options.Rate = None,
    augment: options.Augment = None,
    name: options.Name = None,
    project: options.Project = None,
    resume: options.Resume = None,
    device: options.Device = None,
    group: options.Group = None,
    allow_leak: options.AllowLeak = False,
    folds: options.Folds = None,
    repeats: options.Repeats = None,
    positive: options.Positive = None,
    prevalence: options.Prevalence = None,
    sensitivity: options.Sensitivity = None,
    window: options.Window = None,
    samples: options.Samples = None,
    workers: options.Workers = None,
    forecast: options.Forecast = False,
    fields: options.Fields = None,
) -> None:
    system = system or model or ""
    resumed = folder_to_resume(resume, project, "train")
    if resumed is None and not system:
        raise parsing.missing("SYSTEM", "souron train cnn data=digits budget=10s")
    config = chosen_fields(system, fields or [], context) if system else {}
    given = said(
        budget=one_budget(budget, epochs, time), seed=seed, side=imgsz, batch=batch,
        pretrained=yes_or_no(pretrained), freeze=freeze, patience=patience, rate=lr0,
        augment=augment, config=config, name=name, project=project, resume=resumed, device=device,
        group=group, allow_leak=allow_leak or None, folds=folds, repeats=repeats,
        positive=positive, prevalence=prevalence, sensitivity=sensitivity, window=window,
        samples=samples,
    )  # fmt: skip
    machine.calm_allocator()
    machine.share_cores()
    use_cores(workers)
    from souron import running

    events = running.training(system, data, **given)
    if forecast:
        foretell(events)
        return
    [record] = follow(events)
    if screen.json:
        print_json(record.as_json())
    else:
        showing.run(record)


def foretell(events: Iterable[Any]) -> None:
    """Say what it would take, and stop before a run is made."""
    [found] = follow(showing.up_to_forecast(events))
    if screen.json:
        print_json(found.as_json())
    else:
        showing.forecast(found)


def said(**options: Any) -> dict[str, Any]:
    """The options that were given; the others keep their defaults further down."""
    return {name: value for name, value in options.items() if value is not None}


def one_budget(budget: str | None, epochs: int | None, time: str | None) -> str | None:
    if time is not None and re.fullmatch(r"[\d.]+", time):
        time += "s"
    given = [text for text in (budget, f"{epochs}ep" if epochs else None, time) if text]
    if len(given) > 1:
        raise Trouble(
            "option",
            _("{given} cannot go together").format(given=", ".join(given)),
            expected=_("one of budget, epochs and time"),
            fix=f"budget={given[0]}",
        )
    return given[0] if given else None


def yes_or_no(text: str | None) -> bool | str | None:
    """``"true"`` and ``"false"`` as what they say; anything else as it is."""
    if text is None:
        return None
    return (
        True if text.lower() in parsing.TRUE else False if text.lower() in parsing.FALSE else text
    )


def folder_to_resume(text: str | None, project: str | None, verb: str) -> str | None:
    """The run to go on with, the latest unfinished one if no folder was named."""
    wish = yes_or_no(text)
    if not wish or isinstance(wish, str):
        return wish or None
    unfinished = [
        file
        for file in Path(project or "runs").glob("*/*/args.yaml")
        if (file.parts[-3] == "compare") == (verb == "compare")
        and not (file.parent / "receipt.json").exists()
    ]
    if not unfinished:
        raise Trouble(
            "resume",
            _("no run in {folder} waits to be resumed").format(folder=project or "runs"),
            expected=_("the folder of an interrupted run"),
            fix=f"souron {verb} resume=FOLDER",
            exit=3,
        )
    return str(max(unfinished, key=lambda file: file.stat().st_mtime).parent)


def chosen_fields(system: str, given: list[str], context: typer.Context) -> dict[str, str]:
    """``["width=32"]`` -> ``{"width": "32"}``, if the system's Config has such a field."""
    entry, _size = finding.split(system)
    tree = ast.parse(entry.file.read_text(encoding="utf-8"))
    fields = [
        item.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    chosen = dict(text.split("=", 1) for text in given)
    known = [*parsing.shown(parsing.options_of(context.command)), *fields]
    for name in chosen:
        if name not in fields:
            raise unknown_option(name, known, "souron train --help")
    return chosen


def use_cores(workers: int | None) -> None:
    if workers is not None:
        import torch

        torch.set_num_threads(workers)


@command(
    "val",
    N_("Measure a finished run again, on its own test cases or on other data."),
    "souron val runs/classify/cnn-digits\nsouron val runs/classify/resnet-photos data=others/",
)
def val(
    run: Annotated[
        str | None,
        Argument(metavar="RUN", help=N_("a run's folder"), autocompletion=options.complete_run),
    ] = None,
    model: options.Model = None,
    data: options.Data = None,
    group: options.Group = None,
    allow_leak: options.AllowLeak = False,
    prevalence: options.Prevalence = None,
    window: options.Window = None,
    samples: options.Samples = None,
) -> None:
    folder = run or model
    if folder is None:
        raise parsing.missing("RUN", "souron val runs/classify/cnn-digits")
    machine.calm_allocator()
    machine.share_cores()
    with screen.err.status(_("testing")):
        from souron import evaluating

        record = evaluating.examine(folder, data, group, allow_leak, prevalence, window, samples)
    if screen.json:
        measures = {name: asdict(measure) for name, measure in record.measures.items()}
        more = record.trust or record.appraisal
        told = more.as_json() if more is not None else {}
        print_json({"run": folder, "data": data, "measures": measures, **told})
    else:
        show(showing.measures(record.measures))


@command(
    "predict",
    N_("Ask a trained system about files: label pictures, or whatever it has learnt."),
    "souron predict runs/classify/resnet-photos cat.jpg\n"
    'souron predict runs/classify/resnet-photos holidays/ "more/*.png" --csv > labels.csv\n'
    "souron predict resnet50 cat.jpg pretrained=true\n"
    "souron predict runs/classify/resnet-photos -- -odd-name-.jpg",
)
def predict(
    context: typer.Context,
    system: Annotated[
        str,
        Argument(
            metavar="RUN|SYSTEM", help=N_("a run's folder, or a system with pretrained=true"),
            autocompletion=options.complete_system_or_run,
        ),
    ],
    files: Annotated[
        list[str] | None,
        Argument(metavar="FILES", help=N_("files, folders, globs; name=value for its own options")),
    ] = None,
    model: options.Model = None,
    pretrained: Annotated[
        bool, Option("--pretrained", help=N_("use the system's published weights"))
    ] = False,
    top: Annotated[
        int, Option(min=1, metavar="N", help=N_("labels for each file; 5 if not said"))
    ] = 5,
    csv: Annotated[bool, Option("--csv", help=N_("print file,rank,label,probability"))] = False,
    out: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help=N_("save the answers there; pictures, sounds and the like are saved anyway"),
        ),
    ] = None,
    fields: options.Fields = None,
) -> None:  # fmt: skip
    name = model or system
    wanted = [system, *(files or [])] if model else files or []
    wanted, chosen = chosen_options(name, wanted, fields or [], context)
    if not wanted:
        raise parsing.missing("FILES", f"souron predict {name} cat.jpg")
    machine.calm_allocator()
    machine.share_cores()
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import predicting

        answers = predicting.predict(predicting.load(name, pretrained), wanted, **chosen)
    tell = tell_json if screen.json else tell_csv() if csv else tell_people
    place = Path(out) if out else None
    failed = total = 0
    for file, answer in answers:
        total += 1
        failed += isinstance(answer, Trouble)
        saved = None
        if not isinstance(answer, Trouble) and (place or getattr(answer, "kept", False)):
            place = place or place_of_answers(name)
            saved = predicting.keep(answer, file, place)
        tell(str(file), answer, top, saved)
    if not total:
        raise Trouble(
            "no files",
            _("nothing was found at {files}").format(files=" ".join(wanted)),
            expected=_("pictures, folders with pictures, or globs that match some"),
            exit=3,
        )
    if failed:
        note(_("{failed} of {total} files could not be read").format(failed=failed, total=total))
        raise typer.Exit(3)


def chosen_options(
    name: str, words: list[str], fields: list[str], context: typer.Context
) -> tuple[list[str], dict[str, str]]:
    """The files among the words, and the system's own options, which may stand among them."""
    told = dict(field.split("=", 1) for field in fields)
    maybe = [word for word in words if "=" in word and not Path(word).exists()]
    if not told and not maybe:
        return words, {}
    own = own_options(name)
    for option in told:
        if option not in own:
            known = [*parsing.shown(parsing.options_of(context.command)), *own]
            raise unknown_option(option, known, "souron predict --help")
    files = []
    for word in words:
        option, _equals, value = word.partition("=")
        if word not in maybe or (option not in own and not get_close_matches(option, own, 1, 0.7)):
            files.append(word)
        elif option in own:
            told[option] = value
        else:
            raise unknown_option(option, list(own), f"souron show {name}")
    return files, told


def own_options(name: str) -> dict[str, Any]:
    """What the system of that run, or of that name, can be told when it predicts."""
    from souron import asking, saving

    if (Path(name) / "args.yaml").exists():
        name = str(saving.read_args(Path(name))["system"])
    try:
        asked = asking.ask(finding.system(name)[0])
    except Trouble:  # loading it says what is wrong
        return {}
    return asked.options if asked else {}


def place_of_answers(name: str) -> Path:
    """A new folder, within the run where there is one."""
    from souron import saving

    run = Path(name)
    return saving.new_folder(run if (run / "args.yaml").exists() else Path(), "answers")


def best(answer: Any, top: int) -> list[tuple[str, float]]:
    """The likeliest labels first, each with its probability."""
    pairs = zip(answer.labels, map(float, answer.probabilities), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[:top]


def are_labels(answer: Any) -> bool:
    """Of labels the reader says how many; other kinds tell themselves."""
    return hasattr(answer, "probabilities")


def tell_json(file: str, answer: Any, top: int, saved: Path | None) -> None:
    told: dict[str, Any]
    if isinstance(answer, Trouble):
        told = {"error": f"[{answer.code}] {answer.found}"}
    elif are_labels(answer):
        told = {"labels": [{"label": label, "probability": p} for label, p in best(answer, top)]}
    else:
        told = answer.as_json()
    print_json({"file": file, **told, **({"saved": str(saved)} if saved else {})})


def tell_csv() -> Callable:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "probability"])

    def tell(file: str, answer: Any, top: int, saved: Path | None) -> None:
        if isinstance(answer, Trouble):
            showing.warn(f"[{answer.code}] {answer.found}")
            return
        if not are_labels(answer):
            raise Trouble(
                "option",
                _("--csv lists labels, and this system gives none"),
                expected="--json",
                fix="out=FOLDER",
            )
        for rank, (label, probability) in enumerate(best(answer, top), 1):
            writer.writerow([file, rank, label, f"{probability:.6f}"])

    return tell


def tell_people(file: str, answer: Any, top: int, saved: Path | None) -> None:
    if isinstance(answer, Trouble):
        showing.warn(f"[{answer.code}] {answer.found}")
        return
    show(file, showing.likelihoods(best(answer, top)) if are_labels(answer) else str(answer))
    if saved:
        show(_("saved: {path}").format(path=saved))


command(
    "audit",
    N_("Whether a generator copies its training pictures; what it learnt from; who drew one."),
    "souron audit memorisation runs/generate/dcgan-digits n=256\n"
    "souron audit ledger runs/generate/dcgan-digits\n"
    "souron audit provenance picture.png more/",
)(inspecting.audit_)


@command(
    "generate",
    N_("Draw pictures with a trained generator; the same seed gives the same pictures."),
    "souron generate runs/generate/dcgan-digits n=64 seed=1\n"
    "souron generate runs/generate/ddpm-fashion sampler=dpm steps=15 label=Coat\n"
    "souron generate runs/generate/stylegan-fashion truncation=0.7 walk=8\n"
    "souron generate runs/generate/image_gpt-fashion given=photo.png kept=0.5",
)
def generate(
    run: Annotated[
        str | None,
        Argument(metavar="RUN", help=N_("a run's folder"), autocompletion=options.complete_run),
    ] = None,
    model: options.Model = None,
    n: Annotated[int | None, Option(metavar="N", help=N_("pictures; 64 if not said"))] = None,
    seed: options.Seed = None,
    first: Annotated[
        int | None, Option(metavar="N", help=N_("the first picture's number, to go on; 0"))
    ] = None,
    label: Annotated[
        str | None, Option(metavar="CLASS", help=N_("draw this class; several with commas"))
    ] = None,
    given: Annotated[
        str | None, Option(metavar="FILE", help=N_("a picture, folder or glob to complete"))
    ] = None,
    walk: Annotated[
        int | None, Option(metavar="N", help=N_("also a moving picture that walks between N"))
    ] = None,
    out: Annotated[
        str | None, Option(metavar="FOLDER", help=N_("where to; a new folder in RUN if not said"))
    ] = None,
    device: options.Device = None,
    workers: options.Workers = None,
    fields: options.Fields = None,
) -> None:
    folder = run or model
    if folder is None:
        raise parsing.missing("RUN", "souron generate runs/generate/dcgan-digits n=64")
    given_options = said(
        n=n, seed=seed, first=first, label=label, given=given, walk=walk, out=out,
        device=device, **dict(field.split("=", 1) for field in fields or []),
    )  # fmt: skip
    machine.calm_allocator()
    machine.share_cores()
    use_cores(workers)
    from souron import generating

    [record] = follow(generating.generating(folder, **given_options))
    if screen.json:
        print_json(record.as_json())
    else:
        showing.drawn(record)


@command(
    "compare",
    N_("Train systems at an equal budget on the same data; say which is better, or that it "
       "cannot be told."),
    "souron compare mlp cnn resnet data=digits budget=10s seeds=3\n"
    "souron compare resnet18 vit data=photos/ budget=5min seeds=5 --json\n"
    "souron compare --resume",
)  # fmt: skip
def compare(
    systems: Annotated[
        list[str] | None,
        Argument(
            metavar="SYSTEMS",
            help=N_("two or more systems' names"),
            autocompletion=options.complete_system,
        ),
    ] = None,
    data: options.Data = None,
    budget: options.Budget = None,
    epochs: options.Epochs = None,
    time: options.Time = None,
    seeds: options.Seeds = None,
    imgsz: options.Side = None,
    batch: options.Batch = None,
    pretrained: Annotated[
        bool, Option("--pretrained", help=N_("start each from its published weights"))
    ] = False,
    freeze: options.Freeze = False,
    augment: options.Augment = None,
    name: options.Name = None,
    project: options.Project = None,
    resume: options.Resume = None,
    device: options.Device = None,
    group: options.Group = None,
    allow_leak: options.AllowLeak = False,
    folds: options.Folds = None,
    window: options.Window = None,
    samples: options.Samples = None,
    workers: options.Workers = None,
    forecast: options.Forecast = False,
) -> None:
    resumed = folder_to_resume(resume, project, "compare")
    if resumed is None and not systems:
        raise parsing.missing("SYSTEMS", "souron compare mlp cnn data=digits budget=10s seeds=3")
    for system in systems or []:
        finding.split(system.partition(":")[0])
    given = said(
        budget=one_budget(budget, epochs, time), seeds=seeds, side=imgsz, batch=batch,
        pretrained=pretrained, freeze=freeze, augment=augment, name=name, project=project,
        resume=resumed, device=device, group=group, allow_leak=allow_leak or None,
        folds=folds, window=window, samples=samples,
    )  # fmt: skip
    machine.calm_allocator()
    machine.share_cores()
    use_cores(workers)
    from souron import comparing

    events = comparing.comparing(systems or [], data, **given)
    if forecast:
        foretell(events)
        return
    [record] = follow(events)
    if screen.json:
        print_json(record.as_json())
    else:
        showing.comparison(record)


@command(
    "tour",
    N_("The lecture in minutes: digits grouped and named, generators and classifiers compared."),
    "souron tour\nsouron tour data=photos/ budget=30s seeds=3",
)
def tour(
    data: options.Data = None,
    budget: options.Budget = None,
    seeds: options.Seeds = None,
    project: options.Project = None,
) -> None:
    machine.calm_allocator()
    machine.share_cores()
    from souron import touring

    given = said(data=data, budget=budget, seeds=seeds, project=project)
    record = None
    for record in follow(touring.touring(**given)):
        if not screen.json:
            tell_stop(record)
    if screen.json and record is not None:
        print_json(record.as_json())


def tell_stop(record: Any) -> None:
    """One stop of the tour: in short for a run, in full for the comparison."""
    if hasattr(record, "verdicts"):
        showing.comparison(record)
        return
    figures = ", ".join(
        f"{units.called(name)} {units.measure(name, found.value)}"
        for name, found in record.measures.items()
    )
    show(f"{record.system}: {figures or _('drawn')}  {record.folder / 'report.html'}")


@command(
    "serve",
    N_("Answer programs over HTTP: the same as souron predict, for many at once."),
    "souron serve runs/classify/resnet-photos\n"
    "souron serve resnet50 pretrained=true port=8080\n"
    "souron serve runs/classify/resnet-photos host=0.0.0.0 limit=100",
)
def serve(
    system: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM", help=N_("a run's folder, or a system with pretrained=true"),
            autocompletion=options.complete_system_or_run,
        ),
    ] = None,
    model: options.Model = None,
    pretrained: Annotated[
        bool, Option("--pretrained", help=N_("use the system's published weights"))
    ] = False,
    host: Annotated[
        str,
        Option(metavar="ADDRESS", help=N_("127.0.0.1 if not said: this computer alone; others need "
                                          "the token that is shown")),
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(min=0, max=65535, metavar="N", help=N_("8000 if not said; 0: any"))
    ] = 8000,
    workers: options.Workers = None,
    batch: Annotated[
        int | None,
        Option(min=1, metavar="N", help=N_("cases through the network together; 32 if not said")),
    ] = None,
    timeout: Annotated[
        float | None,
        Option(min=0.1, metavar="S",
               help=N_("seconds for a request to arrive, and for its answer; 30 if not said")),
    ] = None,
    limit: Annotated[
        int | None, Option(min=1, metavar="MB", help=N_("the largest file, in MB; 20 if not said"))
    ] = None,
) -> None:  # fmt: skip
    name = system or model
    if name is None:
        raise parsing.missing("RUN|SYSTEM", "souron serve runs/classify/resnet-photos")
    machine.calm_allocator()
    machine.share_cores()
    use_cores(workers)
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import predicting
        from souron.serving import server
        from souron.serving.service import Limits, Service

        limits = said(batch=batch, seconds=timeout, file=limit and limit * 1_000_000)
        service = Service(predicting.load(name, pretrained), Limits(**limits))
    server.serve(service, host, port, tell_address)


def tell_address(addresses: list[str], token: str) -> None:
    """Where a server answers, once it does."""
    if screen.json:
        print_json({"addresses": addresses, "token": token})
        return
    for address in addresses:
        show(address + (f"?token={token}" if token else ""))
    if token:
        show(_("programs send: {header}").format(header=f"Authorization: Bearer {token}"))
    note(_("Ctrl-C ends it, once what it has accepted is answered"))


@command(
    "studio",
    N_("All of it in the browser, on this computer alone: look, train, compare, use."),
    "souron studio\nsouron studio port=8000 root=/data/xrays\nsouron studio --share-lan",
)
def studio(
    port: Annotated[
        int, Option(min=0, max=65535, metavar="N", help=N_("7860 if not said; 0: any"))
    ] = 7860,
    root: Annotated[
        list[str] | None,
        Option(metavar="FOLDER", help=N_("a further folder that may be read; may be repeated")),
    ] = None,
    project: options.Project = None,
    no_browser: Annotated[bool, Option("--no-browser", help=N_("only say the address"))] = False,
    share_lan: Annotated[
        bool,
        Option("--share-lan", help=N_("also for other devices here, with the token that is shown")),
    ] = False,
) -> None:
    from souron.studio import app as studio_app

    roots = [Path(folder) for folder in root or []]
    studio_app.start(
        Path(project or "runs"), port, roots, browser=not no_browser, share_lan=share_lan
    )


@command("version", N_("souron's version."), "souron version\nsouron version --json")
def version() -> None:
    if screen.json:
        print_json({name: machine.installed(name) for name in machine.PACKAGES})
    else:
        show(f"souron {souron.__version__}")


def run(words: Sequence[str]) -> int:
    """One command line; the exit code. Messages go to stderr, results to stdout."""
    screen.json = screen.quiet = False
    screen.journal = None
    code = 1
    trouble: Trouble | None = None
    try:
        code, trouble = attempt(words)
        if trouble is not None:
            showing.show_trouble(trouble)
    finally:
        if screen.journal is not None:
            screen.journal.end(code, showing.error(trouble) if trouble else None)
    return code


def attempt(words: Sequence[str]) -> tuple[int, Trouble | None]:
    """Obey; the exit code and what went wrong."""
    try:
        return obey(parsing.take_global(words)), None
    except Trouble as trouble:
        return trouble.exit, trouble
    except (KeyboardInterrupt, typer.Abort):
        showing.warn(_("interrupted"))
        return 130, None
    except BrokenPipeError:
        # whoever read the output has seen enough; do not fail again when Python flushes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, None
    except Exception as error:
        if os.environ.get("SOURON_DEBUG"):
            traceback.print_exc()
        named = as_trouble(error)
        return named.exit, named


def obey(words: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    if os.environ.get("_SOURON_COMPLETE"):
        command.main([], prog_name="souron")  # a shell asks for completions; does not return
    words = ["version", *words[1:]] if words[:1] == ["--version"] else words or ["--help"]
    verb, rest, name = words[0], words[1:], "souron"
    if verb in command.commands:
        # not through the group, for whose own options typer would import pydantic
        command, name = command.commands[verb], f"souron {verb}"
        words = parsing.rewrite(verb, command, rest)
    elif not verb.startswith("-"):
        raise Trouble(
            "command",
            _("no command is named {name!r}").format(name=verb),
            expected=near(verb, list(command.commands)),
            fix="souron --help",
        )
    if words in (["--help"], ["-h"]):
        print(command.get_help(typer.Context(command, info_name=name)))
        return 0
    try:
        code = command.main(words, prog_name=name, standalone_mode=False)
    except UsageError as error:
        raise misused(error, name, words) from error
    return code if isinstance(code, int) else 0


def misused(error: Any, name: str, words: list[str]) -> Trouble:
    """What typer has to say, in souron's way."""
    param = getattr(error, "param", None)
    help = f"{name} --help"
    if param is None:
        return Trouble("usage", error.format_message(), fix=help)
    if param.param_type_name == "argument":
        return parsing.missing(param.metavar or param.name, help)
    option = param.opts[0].removeprefix("--")
    value = next((w.partition("=")[2] for w in words if w.startswith(f"--{option}=")), "")
    return Trouble(
        "value",
        _("{name}={value} is not understood").format(name=option, value=value),
        expected=f"{option}={param.metavar}: {_(param.help)}",
        fix=help,
    )


def as_trouble(error: Exception) -> Trouble:
    """The machine's own limits in words; anything else is a mistake in souron."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return Trouble(
            "memory",
            _("there is not enough memory"),
            expected=_("a smaller batch, side or size"),
            fix="batch=32",
            exit=4,
        )
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Trouble(
            "disk full" if full else "file",
            str(error),
            expected=_("room on the disk") if full else _("a file or folder that can be used"),
            exit=4 if full else 3,
        )
    return Trouble(
        "bug",
        f"{type(error).__name__}: {error}",
        expected=_("this should not happen: it is a mistake in souron"),
        fix=_("SOURON_DEBUG=1 souron ... shows where; please report it"),
        exit=1,
    )


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # a name that this terminal cannot write must not end the command
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))
