"""Recordings with the text that is spoken: a ``ListColumn`` of texts, see ``data.recordings``."""

from collections.abc import Iterator
from statistics import median

from souron.data import recordings, texts
from souron.data.dataset import Dataset
from souron.data.quality import recording_check
from souron.data.quality.findings import Finding
from souron.data.target import Target
from souron.utils import units
from souron.utils.messages import N_, _


class Transcripts(Target):
    """The text that is spoken in each recording."""

    heading = N_("Recordings")
    one_class = False
    every_class = True
    checks_files = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return recordings.holds(cases)

    def of_class(self, label: int) -> Iterator[int]:
        yield from range(len(self.cases))

    def words(self, row: int) -> str:
        return texts.shown(self.cases.target[row]) if self.cases.target else ""

    def findings(self) -> Iterator[Finding]:
        for part in recording_check.found(self.cases):
            yield from part

    @property
    def layout(self) -> str:
        return "recordings"

    def sizes(self) -> dict[str, int]:
        return {"seconds": round(sum(recordings.seconds(self.cases)))}

    def size(self) -> tuple[str, str]:
        return _("of sound"), units.seconds(self.sizes()["seconds"])

    def shape(self) -> tuple[str, str]:
        time = units.seconds(median(recordings.seconds(self.cases)))
        return _("a recording"), _("{time} in the middle").format(time=time)
