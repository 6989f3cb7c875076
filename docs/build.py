"""Build the site in both languages: ``make docs``. Warnings are errors.

The pages of the systems are written from their files, so that they cannot fall behind.
"""

import os
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent
LANGUAGES = ("en", "ja")


def main() -> int:
    for language in LANGUAGES:
        os.environ["SOURON_LANG"] = language
        write_systems(HERE / "systems")
        out = HERE / "_build" / language
        shutil.rmtree(out, ignore_errors=True)
        arguments = ["-q", "-W", "--keep-going", "-b", "html", "-D", f"language={language}"]
        failed = sphinx([*arguments, str(HERE), str(out)])
        if failed:
            return failed
        print(f"{out}/index.html")
    return 0


def write_systems(folder: Path) -> None:
    """A page for each system, and the table of all of them."""
    from souron import finding
    from souron.speaking import _, language

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    entries = finding.entries()
    idea = {e.name: e.ja if language() == "ja" else e.idea for e in entries.values()}
    lines = [
        f"# {_('The systems')}",
        "",
        f"| {_('system')} | {_('year')} | {_('idea')} | {_('task')} | {_('status')} |",
        "|---|---|---|---|---|",
        *(
            f"| [{e.name}]({e.name}.md) | {e.year} | {idea[e.name]} | {e.task} | {e.status} |"
            for e in entries.values()
        ),
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *entries,
        "```",
    ]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for entry in entries.values():
        (folder / f"{entry.name}.md").write_text(page(entry, folder), encoding="utf-8")


def page(entry, folder: Path) -> str:
    """One system: the idea, the paper, what its file says, its sizes, its shape."""
    from souron import finding, structure
    from souron.reporting import units
    from souron.speaking import _, language

    rows = []
    for size in entry.sizes:
        described = structure.at_size(entry.name, size)
        rows.append(
            f"| `{finding.spell(entry, size)}` | {units.count(described.parameters)} "
            f"| {units.count(described.flops)} | {' x '.join(map(str, described.shape))} |"
        )
    first, _sep, rest = entry.about.partition("\n")
    picture = draw(entry, folder)
    return "\n".join(
        [
            f"# {entry.name}",
            "",
            entry.ja if language() == "ja" else first,
            "",
            f"[{entry.paper}]({entry.url})",
            "",
            f"![{_('the layers of {name}, from input to output').format(name=entry.name)}]({picture})",
            "",
            f"## {_('Sizes')}",
            "",
            f"| {_('name')} | {_('parameters')} | {_('FLOPs of one case')} | {_('input')} |",
            "|---|---|---|---|",
            *rows,
            "",
            f"## {_('What its file says')}",
            "",
            "```text",
            entry.about,
            "```",
            "",
            f"`souron show {entry.name}`, `souron/systems/{entry.task}/{entry.name}.py`, "
            f"{_('status')}: {entry.status}",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
