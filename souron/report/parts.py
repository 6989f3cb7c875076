"""Facts and sections, the parts of a page; importing them loads nothing else of the reports."""

from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

REPORT = "report.html"  # the page of a run, in the language of its command


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    detail: str = ""
    doubt: str = ""  # reason not to rely on it


class Section(NamedTuple):
    """One part of a report."""

    name: str  # the link to it
    title: str
    html: Markup
