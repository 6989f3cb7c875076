"""Pieces in four voices, without a target: see ``data.voices``."""

import io
from collections.abc import Iterator

from PIL import Image

from souron.data import voices
from souron.data.dataset import Dataset
from souron.data.target import Target
from souron.kinds.score import Score
from souron.utils import units
from souron.utils.messages import N_, _


class Pieces(Target):
    """Pieces in four voices, without a target."""

    heading = N_("Pieces")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return voices.holds(cases)

    def of_class(self, label: int) -> Iterator[int]:
        yield from range(len(self.cases))

    def words(self, row: int) -> str:
        return str(Score.of(voices.notation(self.cases.input[row])))

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        """Return the piano roll, and a description."""
        score = Score.of(voices.notation(self.cases.input[row]))
        return Image.open(io.BytesIO(score.roll())).convert("RGB"), str(score)

    @property
    def layout(self) -> str:
        return "pieces"

    def sizes(self) -> dict[str, int]:
        bars = sum(len(piece.grid) / piece.bar for piece in self.cases.input)
        return {"voices": 4, "bars": round(bars)}

    def size(self) -> tuple[str, str]:
        return _("bars"), units.whole(self.sizes()["bars"])
