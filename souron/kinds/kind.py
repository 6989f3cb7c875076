"""Base class of all kinds."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from souron.utils.messages import language


def in_both(label: str, japanese: Mapping[str, str]) -> str:
    """Return a label; for Japanese readers with its Japanese, where there is one.

    >>> in_both("bag", {"bag": "かばん"})
    'bag'
    """
    told = japanese.get(label) if language() == "ja" else None
    return f"{label}（{told}）" if told else label


class Kind(ABC):
    """Input or output of a system: a small frozen dataclass.

    Its values are validated in the constructor, so that every instance is valid. ``str`` of it is
    what the command line prints, ``as_json`` what ``--json`` prints, and a notebook shows its
    ``_repr_html_``. It is independent of the studio: ``widget`` names a display of its own there.
    """

    widget: ClassVar[str] = ""  # in the studio; "": a file in, and the HTML of a notebook out
    noun: ClassVar[str]  # what it is called: English, the key of its translation
    suffix: ClassVar[str]  # default suffix of the file that ``save`` writes; "" a folder
    formats: ClassVar[tuple[str, ...]] = ()  # suffixes that ``read`` accepts; none: output only
    kept: ClassVar[bool] = False  # text cannot express it, so that an answer is saved by default
    folders: ClassVar[bool] = False  # a folder is one instance, not many
    blank: ClassVar[bool] = False  # an empty instance exists: a system can start without a file
    japanese: Mapping[str, str] = {}  # label -> its Japanese, see ``called``
    of_image: bool = False  # the answer to an image or a volume, see ``finding.standing``

    file: str  # path it was read from; output only has none

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read an instance from a file, within limits, whatever the content. Raises UserError."""
        raise NotImplementedError(f"{cls.__name__} is not read from files")

    @classmethod
    def each(cls, path: Path, **how: Any) -> Iterator[Self]:
        """Yield all instances in a file. Same arguments and errors as ``read``."""
        yield cls.read(path, **how)

    def named(self, japanese: Mapping[str, str]) -> Self:
        """Attach the Japanese names of labels to an answer, once, when it is made."""
        object.__setattr__(self, "japanese", japanese)
        return self

    def called(self, label: str) -> str:
        """Return a label as pages and the terminal show it; files keep the label itself."""
        return in_both(label, self.japanese)

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a file; its name decides the format. Raises UserError."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]: ...

    @abstractmethod
    def _repr_html_(self) -> str: ...
