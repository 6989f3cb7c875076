"""Page of the ready-trained systems: ``ready.html``."""

from pathlib import Path

from markupsafe import Markup
from PIL import Image

from souron import registry
from souron.evaluation.record import ReadyRecord
from souron.hub import zoo
from souron.kinds.codecs import image
from souron.kinds.kind import Kind
from souron.kinds.labels import Labels
from souron.kinds.score import Score
from souron.report.page import Plot, Tile, page, plot, tile, write
from souron.utils import units
from souron.utils.messages import _

SHOWN = 320  # pixels of the longer side of an answer's image


def ready_page(record: ReadyRecord) -> Path:
    """Write ``ready.html`` into the record's folder; return its path. Raises UserError."""
    sections = {name: _section(name, answers[0]) for name, answers in record.answers.items()}
    named, found, answering, written, composed = (
        [name for name, section in sections.items() if section == wanted]
        for wanted in ("classifiers", "finders", "others", "writers", "composers")
    )
    headings = {
        "classifiers": _("What they say"),
        "finders": _("What they find"),
        "others": _("What they answer"),
        "writers": _("What they write"),
        "composers": _("What they compose"),
        "generators": _("What they generate"),
    }
    there = {
        "classifiers": named,
        "finders": found,
        "others": answering,
        "writers": written,
        "composers": composed,
        "generators": record.drawings,
    }
    examples = record.examples[named[0]] if named else []
    text = page(
        "ready.html",
        title=_("Ready trained"),
        eyebrow=_("This is what it can do"),
        contents=[item for item in headings.items() if there[item[0]]],
        headings=headings,
        examples=[tile(Image.open(file), file.stem, [file.stem]) for file in examples],
        classifiers=[_named(record, name) for name in named],
        finders=[(name, year_of(name), zoo.about(name), _found(record, name)) for name in found],
        others=[(name, year_of(name), zoo.about(name), _answered(record, name)) for name in answering],
        writers=[(name, year_of(name), zoo.about(name), _said(record, name)) for name in written],
        composers=[(name, year_of(name), zoo.about(name), _composed(record, name)) for name in composed],
        generators=[(name, year_of(name), _told(name), _drawn(record, name)) for name in record.drawings],
        count=units.whole(len(examples)),
    )
    return write(record.folder / "ready.html", text)


def _section(name: str, answer: Kind) -> str:
    """Return the section of the page that shows a system, by its answers."""
    if isinstance(answer, Score):
        return "composers"
    if registry.talks(registry.find(zoo.system_of(name))[0].task):
        return "writers"
    if isinstance(answer, Labels) and registry.takes(registry.find(zoo.system_of(name))[0].task) == "Picture":
        return "classifiers"
    return "finders" if hasattr(answer, "drawn") else "others"


def _told(name: str) -> str:
    """Return a generator's figure and its known weaknesses."""
    folder = zoo.where(name)
    return " ".join([zoo.about(name), *([] if folder is None else zoo.weaknesses(folder))])


def year_of(name: str) -> int:
    return registry.find(zoo.system_of(name))[0].year


def _named(record: ReadyRecord, name: str) -> tuple[str, int, str, list[tuple[str, bool]]]:
    """Return a classifier's name, year, figure, and its labels with whether each is correct."""
    labels = [
        (answer.best[0], zoo.file_name(answer.best[0]) == file.stem)
        for answer, file in zip(record.answers[name], record.examples[name], strict=True)
    ]
    return name, year_of(name), zoo.about(name), labels


def _found(record: ReadyRecord, name: str) -> list[Plot]:
    """Return each example with what was found in it drawn on it; of a volume, the fullest slice."""
    shown = []
    for answer in record.answers[name]:
        drawn = answer.drawn(answer.fullest) if hasattr(answer, "fullest") else answer.drawn()
        drawn.thumbnail((SHOWN, SHOWN))
        shown.append(plot(image.png(drawn), str(answer)))
    return shown


def _answered(record: ReadyRecord, name: str) -> list[tuple[str, Markup]]:
    """Return each question, as a text or the options that go with an image, with its answer."""
    folder = zoo.where(name)
    options = " · ".join(zoo.asked(folder).values()) if folder else ""
    questions = [
        file.read_text(encoding="utf-8").strip() if file.suffix == ".txt" else options for file in record.examples[name]
    ]
    answers = [Markup(answer._repr_html_()) for answer in record.answers[name]]  # it escapes texts
    return list(zip(questions, answers, strict=True))


def _said(record: ReadyRecord, name: str) -> list[tuple[str, str]]:
    """Return each prompt with its continuation."""
    asked = [file.read_text(encoding="utf-8").strip() for file in record.examples[name]]
    answers = [str(answer) for answer in record.answers[name]]
    return [(one, said.removeprefix(one)) for one, said in zip(asked, answers, strict=True)]


def _composed(record: ReadyRecord, name: str) -> list[Markup]:
    """Return piano roll and sound of each piece."""
    return [Markup(answer._repr_html_()) for answer in record.answers[name]]  # it escapes names


def _drawn(record: ReadyRecord, name: str) -> list[Tile]:
    prompts = record.prompts.get(name) or [""] * len(record.drawings[name])
    return [
        tile(picture, prompt or _("generated by {system}").format(system=name), [prompt][: bool(prompt)])
        for picture, prompt in zip(record.drawings[name], prompts, strict=True)
    ]
