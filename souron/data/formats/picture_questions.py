"""Images with questions and answers: a ``metadata.jsonl``, one line per question.

    {"file_name": "1.jpg", "question": "What colour is the bird?", "answer": "red"}
    {"file_name": "1.jpg", "question": "鳥は何羽いますか。", "answer": "2", "sort": "count"}
    {"file_name": "2.jpg", "questions": [{"question": "...", "answer": "..."}, ...]}
    train/  val/  test/   parts, each with its own file, or one metadata.jsonl above them

A missing language is inferred from the characters; a missing sort of question (``sort``, or
``question_type`` as in VQA) from the answer: yes/no, number, other. Of several ``answers`` the most
frequent is used. What cannot be used is listed in ``Dataset.skipped`` with the name of its line.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.formats.captions import LANGUAGES
from souron.data.readers import image_rows
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading
from souron.data.targets.picture_questions import LONGEST, LONGEST_ANSWER, MOST, PictureQuestion, told
from souron.data.texts import Fault, worded
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
QUESTION = ("question", "質問", "問い")
ANSWER = ("answer", "答え", "回答", "multiplechoiceanswer")
ANSWERS = ("answers",)
SEVERAL = ("questions", "qa", "質問と答え")
SORT = ("sort", "questiontype", "answertype", "種類")
MOST_OF_SORT = 40  # characters


def describes(path: Path) -> bool:
    """Return whether a path is a folder, or a ``metadata.jsonl``, with questions."""
    return image_rows.has_metadata(path, (*QUESTION, *SEVERAL))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read images in the order of their names, each with its questions. Images without a question,
    questions without an answer or an image, texts that are too long, and invalid lines are skipped
    and reported. Raises UserError if no image with a question can be used."""
    found = image_rows.look(path)
    asked: dict[str, list[PictureQuestion]] = {}
    groups: dict[str, str] = {}
    parts: dict[str, str] = {}
    for row in found.rows:
        groups.setdefault(row.file, image_rows.group_of(row.values))
        parts.setdefault(row.file, row.part)
        for values in _each(row.values):
            try:
                asked.setdefault(row.file, []).append(_question(values))
            except Fault as fault:
                found.skipped.append(Skipped(row.place, fault.code, fault.reason))
    kept = {file: tuple(dict.fromkeys(some))[:MOST] for file, some in asked.items() if some}
    known = {skip.file for skip in found.skipped}
    found.skipped += [
        Skipped(file, "no question", _("no question"))
        for file in found.images
        if file not in kept and file not in known
    ]
    listed = [
        Listed(found.below[file], file, "", groups[file], parts[file] or image_rows.part_of(file))
        for file in found.images
        if file in kept
    ]
    cases = image_rows.read(path, listed, found.skipped, reading, lambda why: _nothing(path, why))
    target = [kept[file if file in kept else file.rpartition("#")[0]] for file in cases.file]
    # mirroring would make "left" in a question wrong
    return replace(cases, target=ListColumn(target), augment=("shift",))


def _each(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the questions of a line, one or a list of them."""
    several = _first(values, SEVERAL)
    if not isinstance(several, list):
        yield values
        return
    for one in several[: MOST + 1]:
        told = {str(key).lower().replace("_", ""): each for key, each in one.items()} if isinstance(one, dict) else {}
        yield {**{name: each for name, each in values.items() if name not in SEVERAL}, **told}


def _question(values: Mapping[str, Any]) -> PictureQuestion:
    """Convert a record to a question with its answer. Raises Fault if it cannot be used."""
    question = " ".join(worded(_first(values, QUESTION)).split())
    answer = _first(values, ANSWER)
    several = _first(values, ANSWERS)
    if answer is None and isinstance(several, list):
        answers = [one.get("answer") if isinstance(one, dict) else one for one in several]
        count = Counter(one for one in answers if isinstance(one, str))
        answer = count.most_common(1)[0][0] if count else None
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = f"{answer:g}"
    if isinstance(answer, bool):
        answer = "yes" if answer else "no"
    short = worded(answer)
    for text, most in ((question, LONGEST), (short, LONGEST_ANSWER)):
        if len(text) > most:
            raise Fault("too long", _("{count} characters, at most {most}").format(count=len(text), most=most))
    language = LANGUAGES.get(str(values.get("language") or "").strip().lower()[:40], "")
    sort = _first(values, SORT)
    named = " ".join(sort.split())[:MOST_OF_SORT] if isinstance(sort, str) else ""
    return told(question, short, language, named)


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def _nothing(path: Path, why: str) -> UserError:
    return UserError(
        "no questions",
        _("{folder} holds no image with a question and its answer ({first})").format(folder=readable(path), first=why)
        if why
        else _("{folder} holds no image with a question and its answer").format(folder=readable(path)),
        expected=_("images with a metadata.jsonl of file_name, question and answer"),
        fix='{"file_name": "1.jpg", "question": "...", "answer": "..."}',
        exit=3,
    )
