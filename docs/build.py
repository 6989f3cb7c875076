"""Build the site in both languages: ``make docs``. Warnings are errors.

``python docs/build.py --brief`` reads all pages in both languages and writes none. No system is built for it: what
is wrong in the text of a page is found in a quarter of the time, and drawings and sizes are left to the tests.

``python docs/build.py --update`` brings the translations in ``docs/locale`` up to date with the
English pages; what is new or changed in them then waits for a translation.
"""

import os
import shutil
import sys
from pathlib import Path

import pages
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent
TRANSLATED = HERE / "locale" / "ja" / "LC_MESSAGES"
LANGUAGES = ("en", "ja")
START = """<!doctype html>
<meta charset="utf-8">
<title>souron (総論)</title>
<meta http-equiv="refresh" content="0; url=en/index.html">
<p><a href="en/index.html">English</a> · <a href="ja/index.html" lang="ja">日本語</a></p>
"""


def main() -> int:
    if sys.argv[1:] == ["--update"]:
        return update()
    brief = sys.argv[1:] == ["--brief"]
    described = pages.describe_all(brief)
    pages.draw(HERE, described)
    for language in LANGUAGES:
        os.environ["SOURON_LANG"] = language
        pages.write(HERE, described)
        out = HERE / "_build" / language
        shutil.rmtree(out, ignore_errors=True)
        if failed := site("dummy" if brief else "html", out, "-W", "--keep-going", "-D", f"language={language}"):
            return failed
        print(f"{language}: every page can be built" if brief else f"{out}/index.html")
    if not brief:
        (HERE / "_build" / "index.html").write_text(START, encoding="utf-8")
    return 0


def site(builder: str, out: Path, *options: str) -> int:
    """Run Sphinx; its exit code. Its own record of what is built lies outside of the site."""
    doctrees = HERE / "_build" / "doctrees"
    shutil.rmtree(doctrees, ignore_errors=True)
    return sphinx(["-q", "-E", "-b", builder, "-d", str(doctrees), *options, str(HERE), str(out)])


def templates(out: Path) -> None:
    """The messages of the hand-written pages, a ``.pot`` file for each, into ``out``."""
    shutil.rmtree(out, ignore_errors=True)
    hand_written = ",".join(("_build", "_templates", "locale", *pages.FOLDERS))
    missing = "suppress_warnings=toc.excluded,toc.not_readable,myst.xref_missing"
    sphinx(
        [
            "-Q",
            "-E",
            "-b",
            "gettext",
            "-d",
            str(out / "doctrees"),
            "-D",
            f"exclude_patterns={hand_written}",
            "-D",
            missing,
            str(HERE),
            str(out),
        ]
    )


def update() -> int:
    """Bring the catalogues up to date, and name what waits for a translation."""
    out = HERE / "_build" / "gettext"
    templates(out)
    TRANSLATED.mkdir(parents=True, exist_ok=True)
    for template in sorted(out.glob("*.pot")):
        file = TRANSLATED / f"{template.stem}.po"
        known = read(file) if file.exists() else Catalog("ja")
        known.update(read(template))
        page = Translations(fuzzy=False, header_comment="# souron")
        for message in known:
            if message.id:
                page[message.id] = message
                if message.fuzzy or not message.string:
                    print(f"{file.name}: {message.id}")
        with file.open("wb") as opened:
            write_po(opened, page, width=100, ignore_obsolete=True, include_previous=True)
    return 0


class Translations(Catalog):
    """A catalogue without dates and versions, so that it changes with its messages only."""

    mime_headers = [
        ("Project-Id-Version", "souron"),
        ("Language", "ja"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", "8bit"),
    ]


def read(file: Path) -> Catalog:
    with file.open("rb") as opened:
        return read_po(opened)


if __name__ == "__main__":
    sys.exit(main())
