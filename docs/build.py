"""Build the site in both languages: ``make docs``. Warnings are errors.

``python docs/build.py --update`` brings the translations in ``docs/locale`` up to date with the
English pages; what is new or changed in them then waits for a translation.
"""

import os
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

import pages

HERE = Path(__file__).parent
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
    described = pages.describe_all()
    for language in LANGUAGES:
        os.environ["SOURON_LANG"] = language
        pages.write(HERE, described)
        out = HERE / "_build" / language
        shutil.rmtree(out, ignore_errors=True)
        if failed := site("html", out, "-W", "--keep-going", "-D", f"language={language}"):
            return failed
        print(f"{out}/index.html")
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
    sphinx([
        "-Q", "-E", "-b", "gettext", "-d", str(out / "doctrees"),
        "-D", f"exclude_patterns={hand_written}", "-D", missing, str(HERE), str(out),
    ])  # fmt: skip


def update() -> int:
    from sphinx_intl.basic import update as update_catalogs

    out = HERE / "_build" / "gettext"
    templates(out)
    update_catalogs(str(HERE / "locale"), str(out), ["ja"], line_width=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
