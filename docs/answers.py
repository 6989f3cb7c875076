"""The blocks of ``answers.md``: the command of every row of the lecture, and what it prints.

    .venv/bin/python docs/answers.py          all rows, as processes of their own
    .venv/bin/python docs/answers.py V8 D4    these again

The seconds are those of the whole process, its start included. A command of a ready-trained system
is followed by the figure of its receipt.
"""

import re
import shlex
import sys
import tempfile
from pathlib import Path

from souron.hub import zoo
from souron.lecture import rows, samples
from souron.utils import hardware

PAGE = Path(__file__).with_name("answers.md")
SHOWN = 4  # lines of an answer
LONGEST = 110  # characters of a line
NOISE = ("saved: ", "report: ")


def main() -> None:
    chosen = [rows.find(name) for name in sys.argv[1:]] or list(rows.rows().values())
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for row in chosen:
            answer = samples.answer(row, Path(folder))
            if answer.exit:
                sys.exit("\n".join([row.id, answer.command, *answer.lines]))
            page = replaced(page, row.id, block(row, answer))
            PAGE.write_text(page, encoding="utf-8", newline="\n")
            print(f"{row.id} {answer.seconds:.1f} s", flush=True)
    print(hardware.processor(), hardware.cores(), "cores")


def block(row: rows.Row, answer: samples.Answer) -> str:
    """Return the lines of a row: its name and seconds, the command, the answer, the figure."""
    shown = [line for line in answer.lines if not line.startswith(NOISE)][:SHOWN]
    verb, system = (*shlex.split(row.answer), "")[1:3]
    known = zoo.about(system) if verb in ("predict", "generate") else ""
    lines = [f"{row.id}  {row.en.title}  ({answer.seconds:.1f} s)", f"$ {row.answer}"]
    lines += [f"  {line[:LONGEST]}" for line in shown] + ([f"  [{system}: {known}]"] if known else [])
    return "\n".join(lines) + "\n"


def replaced(page: str, id: str, text: str) -> str:
    """Return the page with another text for a row; the texts are divided by an empty line."""
    pattern = re.compile(rf"(?m)^{id}  [^\n]*\n(?:[^\n`]+\n)*")
    if not pattern.search(page):
        sys.exit(f"{PAGE.name} has no line that begins with {id}")
    return pattern.sub(lambda _found: text, page, count=1)


if __name__ == "__main__":
    main()
