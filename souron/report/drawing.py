"""Figure that shows itself in a notebook and can be saved."""

from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import escape
from matplotlib.figure import Figure

from souron.kinds import files as kind_files
from souron.utils import files, plotting


@dataclass(frozen=True)
class Drawing:
    """A PNG with its alternative text."""

    png: bytes = field(repr=False)
    words: str
    width: int = 720  # pixels of a page, at most

    @classmethod
    def of(cls, figure: Figure, words: str) -> "Drawing":
        """Render a Matplotlib figure in the fonts that the reader's language needs."""
        return cls(plotting.as_png(figure), words, round(figure.get_figwidth() * 96))

    def save(self, path: str | Path) -> Path:
        """Write the PNG and return its path; ``name-2.png`` where ``name.png`` exists.

        Raises UserError where nothing can be written.
        """
        path = Path(path)
        free = files.free(path.parent, path.stem, ".png")
        kind_files.write(free, self.png)
        return free

    def _repr_html_(self) -> str:
        style = f"width:{self.width}px;max-width:100%"
        return f"<img src='{plotting.uri(self.png)}' alt='{escape(self.words)}' style='{style}'>"
