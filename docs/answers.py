"""The blocks of ``answers.md``: the command of every row of the lecture, and what it prints.

    .venv/bin/python docs/answers.py          all rows, as processes of their own
    .venv/bin/python docs/answers.py V8 D4    these again

They are what ``souron try all`` prints. The seconds are those of the whole process, its start included.
"""

import re
import sys
import tempfile
from pathlib import Path

from souron.lecture import rows, samples
from souron.utils import hardware

PAGE = Path(__file__).with_name("answers.md")


def main() -> None:
    chosen = [rows.find(name) for name in sys.argv[1:]] or list(rows.rows().values())
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for row in chosen:
            answer = samples.answer(row, Path(folder))
            if answer.exit:
                sys.exit("\n".join([row.id, answer.command, *answer.lines]))
            page = replaced(page, row.id, "\n".join(answer.block(row.en.title, few=True)) + "\n")
            PAGE.write_text(page, encoding="utf-8", newline="\n")
            print(f"{row.id} {answer.seconds:.1f} s", flush=True)
    print(hardware.processor(), hardware.cores(), "cores")


def replaced(page: str, id: str, text: str) -> str:
    """Return the page with another text for a row; the texts are divided by an empty line."""
    pattern = re.compile(rf"(?m)^{id}  [^\n]*\n(?:[^\n`]+\n)*")
    if not pattern.search(page):
        sys.exit(f"{PAGE.name} has no line that begins with {id}")
    return pattern.sub(lambda _found: text, page, count=1)


if __name__ == "__main__":
    main()
