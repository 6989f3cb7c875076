"""See souron at work: short demonstrations on one page, or the lecture chapter by chapter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from souron import registry
from souron.action import Action, Ask, Given, Hint, Note, Record
from souron.actions.compare import CompareRecord
from souron.actions.tour import chapters, tour
from souron.actions.tour.tour import Outcome
from souron.evaluation.record import ComparisonRecord, ReadyRecord
from souron.hub import fetch, networks
from souron.kinds.signature import Choice, changed_options
from souron.runs.events import Event, changed
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass(frozen=True)
class Options:
    data: Annotated[
        str, Choice(N_("a data set's name, a folder with a sub-folder for each class, or a CSV"), metavar="D")
    ] = ""
    budget: Annotated[str, Choice(N_("how much to train: 60s, 5min, 1h, 5ep, 20000ex (default 3s)"), metavar="B")] = (
        "3s"
    )
    seeds: Annotated[int, Choice(N_("runs of each system (default 3)"), low=1)] = 3


@dataclass
class PartRecord(Record):
    """One demonstration, or what kept it from being shown."""

    eyebrow = N_("tour")

    outcome: Outcome
    folder: Path | None = None

    def page_title(self) -> str:
        return self.outcome.title

    def as_json(self) -> dict[str, Any]:
        return self.outcome.as_json()

    def printed(self, page: Path | None) -> Any:
        return None  # the tour's own object holds it

    def sentences(self) -> list[str]:
        shown = self.outcome.highlight
        return [f"{self.outcome.title}  ({units.seconds(self.outcome.seconds)})", *(shown.sentences if shown else ())]

    def shown(self) -> list[Any]:
        title, *sentences = self.sentences()
        trouble = self.outcome.error
        if trouble is None:
            return [title, *(f"  {sentence}" for sentence in sentences)]
        hint = [Hint(f"  {trouble.fix}")] if trouble.fix else []
        return [title, Note(f"  [{trouble.code}] {trouble.found}"), *hint]


@dataclass
class TourRecord(Record):
    """All demonstrations, whose page is written already."""

    eyebrow = N_("tour")
    page_file = "tour.html"

    tour: tour.Tour
    folder: Path | None = None

    def page_title(self) -> str:
        return _("Tour")

    def as_json(self) -> dict[str, Any]:
        return self.tour.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        text = _("{seconds} in all. Everything on one page: {path}")
        return [text.format(seconds=units.seconds(self.tour.seconds), path=self.tour.page.resolve())]

    def shown(self) -> list[Any]:
        starters = networks.GROUP
        text = _("Next: {command}")
        if any(fetch.where(name) is None for name in fetch.groups()[starters]):
            text = _("Next: {command}; and {fetch} for networks that answer on photographs")
        return ["", *self.sentences(), text.format(command="souron studio", fetch=f"souron fetch {starters}")]

    @property
    def exit_code(self) -> int:
        return 1 if any(part.error for part in self.tour.parts) else 0

    def write(self) -> None:
        """Write nothing, since the tour writes its page itself."""


@dataclass
class StopRecord(Record):
    """One stop of a chapter: in short for a run, in full for a comparison."""

    eyebrow = N_("tour")

    stop: Any
    folder: Path | None = None

    def page_title(self) -> str:
        return str(self.stop.folder.name)

    def as_json(self) -> dict[str, Any]:
        return dict(self.stop.as_json())

    def printed(self, page: Path | None) -> Any:
        return None  # of a chapter, its last stop is printed

    def sentences(self) -> list[str]:
        stop = self.stop
        if isinstance(stop, ReadyRecord):
            systems = ", ".join([*stop.answers, *stop.drawings])
            return [_("ready trained: {systems}").format(systems=systems) + f"  {stop.folder / 'ready.html'}"]
        if hasattr(stop, "sentences"):
            return [*stop.sentences, str(stop.page)]
        figures = [
            f"{registry.metric(name).title} {registry.metric(name).text(measure.value)}"
            for name, measure in stop.measures.items()
        ]
        return [f"{stop.system}: {', '.join(figures) or _('generated')}  {stop.folder / 'report.html'}"]

    def shown(self) -> list[Any]:
        return CompareRecord(self.stop).shown() if isinstance(self.stop, ComparisonRecord) else list(self.sentences())


@dataclass
class ChapterRecord(StopRecord):
    """The end of a chapter, with its last stop."""

    chapter: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"chapter": self.chapter, **super().as_json()}

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def shown(self) -> list[Any]:
        return []


class Tour(Action):
    """Run short demonstrations and show them on one page; or one chapter of the lecture, or all."""

    title = N_("See souron at work: short demonstrations, or one chapter.")
    examples = (
        "souron tour",
        "souron tour detection",
        "souron tour fair-fight data=photos/ budget=30s seeds=3",
        "souron tour all",
    )
    group = "start"
    given = Given(
        "CHAPTER",
        N_(
            "classification, generation, detection, segmentation, language, words, society, "
            "fair-fight, or all; without one the highlights"
        ),
        0,
        1,
    )
    streams = True
    page = "compare"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        chosen = changed_options(options)
        chapter = given[0] if given else "fair-fight" if chosen else ""  # the chapter that the options belong to
        if not chapter:
            yield from changed(tour.touring(self.project), _recorded)
        elif chapter == "all":
            yield from self.all_chapters(options)
        else:
            yield from self.chapter(chapter, options)

    def chapter(self, name: str, options: Options) -> Iterator[Event]:
        """Show the stops of one chapter. Raises UserError."""
        stop = None

        def recorded(event: Event) -> Event:
            nonlocal stop
            stop = event.record or stop
            return event if event.record is None else replace(event, record=StopRecord(event.record))

        given = chapters.Given(str(self.project), **vars(options))
        yield from changed(chapters.touring(name, given), recorded)
        if stop is not None:
            yield Event("done", 1.0, record=ChapterRecord(stop, chapter=name))

    def all_chapters(self, options: Options) -> Iterator[Event]:
        """Show every chapter; Ctrl-C ends one and offers the next."""
        names = list(chapters.CHAPTERS)
        for number, name in enumerate(names):
            yield Event("data", record=Ask(texts=[("", ""), (f"{number + 1}/{len(names)} {name}", "")]))
            try:
                yield from self.chapter(name, options)
            except KeyboardInterrupt as stop:
                following = names[number + 1 :]
                if not following:
                    raise
                kept = getattr(stop, "folder", None)
                text = _("interrupted; the work so far is kept in {folder}").format(folder=kept)
                prompt = _("Continue with {chapter}?").format(chapter=following[0]) + " [Y/n] "
                ask = Ask(prompt, [(text, "yellow")] if kept else [])
                yield Event("data", record=ask)
                if ask.reply is None or ask.reply.strip().lower().startswith("n"):
                    raise


def _recorded(event: Event) -> Event:
    """Return the event with a part, or the whole tour, as the record of an action."""
    record = event.record
    if record is None:
        return event
    return replace(
        event, record=PartRecord(record) if isinstance(record, Outcome) else TourRecord(record, record.folder)
    )
