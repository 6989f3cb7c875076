"""The result of a row whose command is not one network's answer: it runs as a process of its own.

Shown are the headline and a figure of the report that it writes, or the image. What it printed and wrote is kept
until souron or the command changes.
"""

import hashlib
import json
import re
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from markupsafe import Markup

import souron
from souron import registry
from souron.lecture.rows import Row
from souron.utils import files
from souron.utils.messages import UserError, _, language

running = threading.Lock()  # one command at a time
IMAGE = ".png"
PROJECT = "own"  # in a row's folder: where its command writes
LEAD = re.compile(r'<p class="lead">(.*?)</p>', re.DOTALL)
FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
SECTION = re.compile(r'<h2 id="([^"]+)">(.*?)(?=<h2 id="|</main>)', re.DOTALL)


@dataclass(frozen=True)
class Output:
    """The lines that a command printed, and the report that it wrote."""

    mark: str  # of souron's version and the command
    lines: tuple[str, ...]
    page: str = ""  # path of the report, or of the image, in the row's folder; "" where neither was written


def shown(row: Row) -> str:
    """Return the result of a row's command as HTML. Raises UserError where it takes too long."""
    made = output(row)
    parts = [Markup("")]
    if made.page:
        path = report(row, Path(made.page).name)
        address = f"/lecture/{language()}/{row.id}/{path.name}"
        shows_image = path.suffix == IMAGE
        parts.append(of_image(path, row) if shows_image else of_report(path.read_text("utf-8"), row, address))
    told = Markup('<pre class="printed" tabindex="0" aria-label="{0}"><code>$ {0}\n{1}</code></pre>').format(
        row.answer, "\n".join(made.lines)
    )
    folded = Markup("<details><summary>{}</summary>{}</details>").format(_("What the terminal prints"), told)
    return str(Markup("").join([*parts, folded if made.page else told]))


def of_image(path: Path, row: Row) -> Markup:
    """Return an image that a command wrote, as large as the page allows."""
    from PIL import Image

    from souron.kinds.codecs import image

    with Image.open(path) as opened:
        return Markup('<figure class="written"><img src="{}" alt="{}"></figure>').format(
            image.data_uri(opened), row.text.title
        )


def of_report(page: str, row: Row, address: str) -> Markup:
    """Return the headlines of a report and the figure of the row's section, or else its parts in a frame."""
    sections = dict(SECTION.findall(page))
    figure = FIGURE.search(sections.get(row.section, page))
    parts = f"{address}#{next(iter(sections), '')}"
    frame = Markup('<iframe class="report" src="{}" title="{}"></iframe>').format(parts, row.text.title)
    return Markup('{}{}<p class="actions"><a href="{}" target="_blank">{}</a></p>').format(
        Markup("").join(Markup('<p class="verdict">{}</p>').format(Markup(text)) for text in LEAD.findall(page)),
        Markup(figure[0]) if figure else frame,
        address,
        _("Read the report"),
    )


def report(row: Row, name: str) -> Path:
    """Return a page of the report of a row's command, or its image. Raises UserError where it has none."""
    made, folder = kept(row), folder_of(row)
    found = (folder / made.page).with_name(name) if made and made.page else folder
    if not found.is_file() or not found.resolve().is_relative_to(folder.resolve()):
        raise UserError("row", _("{row} has no report").format(row=row.id))
    return found


def output(row: Row) -> Output:
    """Return what a row's command made the last time that it ran with this version; else run it. Raises UserError."""
    from souron.lecture import samples

    if (made := kept(row)) is not None:
        return made
    folder = folder_of(row)
    before = set(folder.rglob("*"))
    writes = row.answer.split()[1] in registry.action_files()
    came = samples.answer(row, folder, [f"project={PROJECT}"] if writes else [])
    if came.exit:
        return Output(mark(row), came.lines)
    written = [path for path in sorted(set(folder.rglob("*")) - before) if path.suffix in (".html", IMAGE)]
    pages = [path for path in written if "." not in path.stem and folder / PROJECT in path.parents]
    page = min(pages, key=lambda path: (path.suffix == IMAGE, len(path.parts)), default=None)
    made = Output(mark(row), came.lines, str(page.relative_to(folder)) if page else "")
    files.write_json(file_of(row), asdict(made))
    return made


def kept(row: Row) -> Output | None:
    """Return what a row's command made before; None where souron or the command has changed since."""
    try:
        made = Output(**json.loads(file_of(row).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    there = not made.page or (folder_of(row) / made.page).is_file()
    return made if made.mark == mark(row) and there else None


def mark(row: Row) -> str:
    """Return a hash of souron's version and a row's command."""
    return hashlib.sha256(f"{souron.__version__} {row.answer}".encode()).hexdigest()


def file_of(row: Row) -> Path:
    """Return the file that keeps what a row's command made, in the reader's language."""
    return files.cache_folder() / "rows" / f"{row.id}-{language()}.json"


def folder_of(row: Row) -> Path:
    """Return the folder of a row's samples and results."""
    return files.cache_folder() / "rows" / row.id
