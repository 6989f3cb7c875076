"""Pages of LibreOffice's help, English and Japanese, each with its own first paragraph.

The Document Foundation: LibreOffice Help 25.2. https://help.libreoffice.org/

A case's text is a page without its titles and its first paragraph; that paragraph is the reference
summary. Its author meant to introduce the page, not to summarise it: it may contain information
that the rest does not. Both languages of a page are in one part and count as one.
"""

from collections.abc import Iterator
from pathlib import Path

from souron.data.dataset import Dataset, ListColumn
from souron.data.language.sentences import sentences
from souron.data.load import found
from souron.data.sets.manual_pairs import paragraphs, place_of
from souron.data.texts import bare, language
from souron.utils.messages import _

ja = "LibreOffice ヘルプの英語と日本語のページと、その冒頭の段落"
task = "summarise"
licence = "MPL-2.0"
source = "https://help.libreoffice.org/"
cases = 1_700
needs = ("en-US/text", "ja/text")
debian = (("libreoffice-help-en-us", "libreoffice-help-ja"), "usr/share/libreoffice/help")
keeps = (".html",)
only_needed = True
megabytes = 5

SHORTEST = 30  # characters of the first paragraph; half as many in Japanese
FEWEST = 10  # sentences of the rest
TEST, VAL = 0.4, 0.1  # of the pages: few are needed to learn the length of a summary


def load(side: int | None = None) -> Dataset:
    rows = list(pages(found("manual_leads")))
    return Dataset(
        name="manual_leads",
        input=ListColumn([text for *_names, text, _lead in rows]),
        target=ListColumn([lead for *_names, _text, lead in rows]),
        classes=(),
        file=[f"{spoken}/{page}" for spoken, page, *_texts in rows],
        group=[page for _spoken, page, *_texts in rows],
        grouped=_("pages of the help"),
        part=[_part(page) for _spoken, page, *_texts in rows],
        augment=(),
        source=source,
        licence=licence,
        columns={"language": [spoken for spoken, *_rest in rows]},
    )


def pages(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield language, page, its text, and its first paragraph, skipping pages that repeat one."""
    known: set[str] = set()
    for need, spoken in zip(needs, ("en", "ja"), strict=True):
        for file in sorted((folder / need).rglob("*.html")):
            page = file.relative_to(folder / need).with_suffix("").as_posix()
            texts = [text for name, text in paragraphs(file).items() if name.startswith("par_")]
            lead, rest = (texts[0], texts[1:]) if texts else ("", [])
            long = len(lead) >= (SHORTEST if spoken == "en" else SHORTEST // 2)
            rest = [text for text in rest if language(text) == spoken and bare(text) != bare(lead)]
            text = "\n\n".join(rest)
            fresh = not known & {bare(lead), bare(text)}
            if long and fresh and language(lead) == spoken and len(sentences(text)) >= FEWEST:
                known |= {bare(lead), bare(text)}
                yield spoken, page, text, lead


def _part(page: str) -> str:
    place = place_of(page)
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"
