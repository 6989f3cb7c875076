"""The contract that every kind keeps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self


class Kind(ABC):
    """One thing that goes into a system or comes out of it: a small frozen dataclass.

    Its numbers are checked where it is made, so that a value that exists makes sense. ``str`` of it
    is what the command line prints, ``as_json`` what ``--json`` prints, and a notebook shows its
    ``_repr_html_``. It knows nothing of the studio; ``widget`` names what is drawn for it there.
    """

    widget: ClassVar[str]
    suffix: ClassVar[str]  # of the file that ``save`` writes where nobody names one; "" a folder
    formats: ClassVar[
        tuple[str, ...]
    ] = ()  # ends of names that ``read`` takes; none: it only comes out
    kept: ClassVar[bool] = False  # words cannot tell it, so that an answer is saved unasked
    folders: ClassVar[bool] = False  # a folder is one of it, not many
    blank: ClassVar[bool] = False  # it can be made of nothing: a system begins anew without a file

    file: str  # where it was read from; what only comes out has none

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """The thing in a file, within limits, whatever lies in it. Raises UserError."""
        raise NotImplementedError(f"{cls.__name__} is not read from files")

    @classmethod
    def each(cls, path: Path, **how: Any) -> Iterator[Self]:
        """All that a file holds, one after the other. Takes and raises what ``read`` does."""
        yield cls.read(path, **how)

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write it to a file whose name says the format. Raises UserError."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]: ...

    @abstractmethod
    def _repr_html_(self) -> str: ...
