"""Shared by the studio's pages: locations, handlers, and building blocks of HTML."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from souron.report import blocks
from souron.runs.elsewhere.machines import machines
from souron.studio.jobs.job_queue import Job, Jobs
from souron.studio.security.paths import Roots
from souron.utils import distributions
from souron.utils.messages import UserError, _, language

ORDER = (
    "lecture",
    "interactives",
    "courses",
    "teach",
    "exercises",
    "my_data",
    "data",
    "annotate",
    "train",
    "compare",
    "anything",
    "use",
    "chat",
    "read",
    "exam",
    "arena",
    "models",
    "work",
    "study",
    "runs",
    "queue",
    "machine",
)
THERE = distributions.names("studio/pages")
PAGES = (*(name for name in ORDER if name in THERE), *(n for n in THERE if n not in ORDER))
COMMAND = re.compile(r"^(ls|python|rm) |\bsouron [a-z]|--\w|^\S+=\S")


@dataclass(frozen=True)
class Studio:
    """The studio in one language."""

    project: Path  # the folder of the runs
    roots: Roots
    jobs: Jobs
    language: str

    @property
    def refused_options(self) -> tuple[str, ...]:
        """Return the options that only whoever started the studio may give; forms do not show them."""
        return ("on",) if self.jobs.person else ()

    def url(self, page: str, **query: Any) -> str:
        """Return ``/en/train?system=resnet``; empty values are left out of the query, a list is repeated.

        ``page`` may be a study, which is on the page of all studies.
        """
        if page not in PAGES:
            page, query = "study", {"study": page, **query}
        said = {name: value for name, value in query.items() if value not in (None, "", [])}
        path = f"/{self.language}/" + ("" if page == PAGES[0] else page)
        return f"{path}?{urlencode(said, doseq=True)}" if said else path

    def file(self, path: Path) -> str:
        """Return the address of a file of the project."""
        return "/runs/" + quote(path.resolve().relative_to(self.project.resolve()).as_posix())

    def address(self, path: Path) -> str:
        """Return ``file`` for an existing regular file; "" otherwise."""
        try:
            return self.file(path) if path.is_file() else ""
        except (OSError, ValueError):  # it leads out of the project
            return ""

    def report_file(self, folder: Path, name: str = "report.html") -> Path:
        """Return a run's report in this language, or else the one in the language of the run."""
        own = (folder / name).with_suffix(f".{self.language}.html")
        return own if self.address(own) else folder / name

    def project_option(self, always: bool = False) -> dict[str, str]:
        """Return the option for the project's folder, unless it is the default."""
        usual = not always and self.project.resolve() == Path("runs").resolve()
        return {} if usual else {"project": str(self.project)}

    def report(self, folder: Path | str) -> str:
        """Return the address of a run's report on a page of its own; "" where there is none."""
        path = Path(folder)
        if not self.address(path / "report.html"):
            return ""
        return f"/report/{self.language}/" + quote(f"{path.parent.name}/{path.name}")

    def find(self, id: str) -> Job | None:
        """Return the job of that id; None if there is none, or none any more."""
        try:
            return self.jobs.get(id) if id else None
        except UserError:
            return None


def unanswered() -> str:
    """Return what a script says where the studio does not answer."""
    return _("This did not work. Is the studio still running?")


def trouble(code: str, found: str, expected: str = "", fix: str = "") -> Markup:
    """Format an error: found, expected, what to do; a command to type is folded."""
    typed = fix if COMMAND.search(fix) else ""
    advice: str = "" if typed else fix
    if "souron fetch" in typed:
        advice = Markup('<a href="/{}/machine">{}</a>').format(language(), _("fetch it on the page Machine"))
    rows = [(_("found"), found), (_("expected"), expected), (_("try"), advice)]
    lines = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, text) for name, text in rows if text)
    folded = Markup("<details><summary>{}</summary><pre>{}</pre><code>{}</code></details>").format(
        _("For the command line"), typed, code
    )
    return Markup('<div class="trouble"><dl>{}</dl>{}</div>').format(lines, folded)


def remarks(texts: Iterable[str]) -> Markup:
    """Format the caveats of figures or predictions."""
    return Markup("").join(Markup('<p class="remark">{}</p>').format(text) for text in texts)


def words(verb: str, names: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """``["train", "cnn", "data=digits"]``; options that are not said are left out, a list stands
    for one that is said several times."""
    said = [
        f"{name}={str(one).lower() if isinstance(one, bool) else one}"
        for name, value in options.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None and one is not False and one != ""
    ]
    return [verb, *names, *said]


def project_of(studio: Studio) -> dict[str, str]:
    """Return the option for the project's folder, unless it is the default."""
    usual = studio.project.resolve() == Path("runs").resolve()
    return {} if usual else {"project": str(studio.project)}


def command(words: Sequence[str]) -> str:
    return shlex.join(["souron", *words])


def same_thing(command_line: str, python: str, *more: tuple[str, str]) -> Markup:
    """Return the equivalent command line and Python code, folded and ready to copy.

    ``more`` are further pairs (title, text).
    """
    parts = [(_("on the command line"), command_line), (_("in Python"), python), *more]
    blocks = Markup("").join(
        Markup(
            '<figure class="copy"><figcaption>{0}</figcaption><pre tabindex="0" aria-label="{0}">'
            '{1}</pre><button type="button" data-copy>{2}</button></figure>'
        ).format(title, text, _("copy"))
        for title, text in parts
    )
    return Markup('<details class="same"><summary>{}</summary>{}</details>').format(_("Command line"), blocks)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> Markup:
    """Return a table of texts or Markup; a wide one scrolls."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(head) for head in heads)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0"><table><caption>{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(caption, head, body)


def machine_table(folder: Path | None) -> Markup:
    """Return the table of the machines that a comparison's rounds were played on; empty where all were local."""
    played = machines(folder) if folder is not None else []
    if not played:
        return Markup()
    content = blocks.machine_table(played)
    return table(content.columns, content.rows, content.title)


def framed(address: str, title: str, alone: str, page: str = "") -> Markup:
    """Return a file of the project in a frame without scripts, and a link to it alone.

    ``page`` is the address of the link, if it is not the file.
    """
    return Markup(
        '<p><a href="{3}" target="_blank" rel="noopener">{2}</a></p><iframe class="frame" '
        'sandbox="allow-popups" loading="lazy" src="{0}" title="{1}"></iframe>'
    ).format(address, title, alone, page or address)


def record_html(record: Any) -> Markup:
    """Return a study's record on a page: its title, sentences, caveats and sections."""
    sentences = Markup("").join(Markup('<p class="lead">{}</p>').format(sentence) for sentence in record.sentences())
    from souron.report import page

    sections = Markup("").join(
        Markup("<h3>{}</h3>{}").format(section.title, page.html(section.drawn())) for section in record.sections()
    )
    return Markup('<section><h2>{}</h2><div role="status">{}</div>{}{}</section>').format(
        record.page_title(), sentences, remarks(record.notes()), sections
    )


def missing(text: str, *ways: tuple[str, str]) -> Markup:
    """Return a note of what a page lacks, with links (address, name) to get it, the best first."""
    links = Markup("").join(
        Markup('<a class="{}" href="{}">{}</a>').format("" if place else "first", *way)
        for place, way in enumerate(ways)
    )
    return Markup('<p class="remark" role="status">{}</p><p class="actions">{}</p>').format(text, links)


def fetching(studio: Studio, name: str) -> tuple[str, str]:
    """Return address and name of the page that fetches something, for ``missing``."""
    return studio.url("machine", name=name), _("Fetch {name} on the page Machine").format(name=name)


def here(address: str) -> Markup:
    """Set the page's address, so that opening it again shows the same."""
    return Markup('<span hidden data-address="{}"></span>').format(address)


def status(*lines: str) -> Markup:
    """Return the result of an action, announced to screen readers."""
    return Markup('<div role="status" class="outcome">{}</div>').format(
        Markup("").join(Markup("<p>{}</p>").format(line) for line in lines)
    )
