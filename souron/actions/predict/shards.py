"""A folder of any size, answered in shards on an engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from souron.action import Record
from souron.hub.names import Meaning
from souron.pipelines import shards
from souron.runs.events import Event, changed
from souron.utils.messages import N_, UserError, _


@dataclass
class Sharded(Record):
    """The answers for a folder, in a file that is written already."""

    eyebrow = N_("answer")

    answered: shards.Answered
    folder: Path | None = None

    def page_title(self) -> str:
        return self.answered.folder.name

    def as_json(self) -> dict[str, Any]:
        return self.answered.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        path = self.as_json()["answers"]
        return [_("{count} files answered: {path}").format(count=self.answered.count, path=path)]

    def shown(self) -> list[Any]:
        return self.sentences()

    @property
    def exit_code(self) -> int:
        return 3 if self.answered.failed else 0


def run(
    meaning: Meaning, words: Sequence[str], folder: Callable[[], Path], on: str, chosen: Mapping[str, str], mode: str
) -> Iterator[Event]:
    """Answer a folder on an engine. Raises UserError."""
    if len(words) != 1:
        raise UserError(
            "option",
            _("{count} files are given").format(count=len(words)),
            expected=_("one folder, whose files are answered on an engine"),
            fix=f"souron predict {meaning.name} FOLDER on={on}",
        )

    def record(event: Event) -> Event:
        made = event.record
        if made is None or not made.failed:
            return event if made is None else replace(event, record=Sharded(made))
        text = _("{failed} of {total} files could not be read")
        return replace(event, note=text.format(failed=made.failed, total=made.count), record=Sharded(made))

    yield from changed(shards.answering(meaning.name, Path(words[0]), folder(), on, chosen, mode), record)
