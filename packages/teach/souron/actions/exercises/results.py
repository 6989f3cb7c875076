"""First tries of a class, exercise by exercise, from the students' files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from souron.kinds.text import Text
from souron.lecture import checks, exercises, rows
from souron.lecture.exercises import Exercise
from souron.stats.intervals import interval, proportion_interval
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

Key = tuple[str, int]  # row, and the number of the exercise in it


@dataclass(frozen=True)
class Fault:
    """A line that was left out."""

    file: int  # number of the file, from 1
    line: int  # from 1
    why: str


@dataclass
class Student:
    """The answers of one file, marked anew."""

    name: str  # of the file
    first: dict[Key, tuple[float, bool]] = field(default_factory=dict)  # the first try, and whether it was right
    looked: set[Key] = field(default_factory=set)  # the solution was shown before the first try
    improved: set[Key] = field(default_factory=set)  # right at a later try, before the solution was shown
    functions: dict[str, list[bool]] = field(default_factory=dict)  # name -> whether each check was right


@dataclass(frozen=True)
class Function:
    """A function of the notebooks, with the checks of all students."""

    name: str
    students: int  # who had it checked
    first: int  # of these, right at the first check
    right: int  # of these, right in the end

    @property
    def share(self) -> Measure:
        """The share of students who wrote it, with Wilson's 95 % interval."""
        return proportion_interval(self.right, self.students)


@dataclass(frozen=True)
class Item:
    """An exercise with the first tries of all students."""

    exercise: Exercise
    tries: int  # students who tried before they saw the solution
    right: int  # of these, at the first try
    improved: int  # of these, at a later try, before the solution was shown
    looked: int  # students who saw the solution before they tried
    wrong: tuple[float, int] | None  # the most frequent wrong first answer, and how many gave it

    @property
    def share(self) -> Measure:
        """The share of right first tries, with Wilson's 95 % interval."""
        return proportion_interval(self.right, self.tries)


@dataclass(frozen=True)
class Results:
    """The results of a class, the most difficult exercise first."""

    items: Sequence[Item]
    students: Sequence[Student]
    faults: Sequence[Fault]
    same: Sequence[tuple[int, int]]  # numbers of a file that was left out, and of the one that begins with its lines

    @property
    def tries(self) -> int:
        return sum(item.tries for item in self.items)

    @property
    def functions(self) -> list[Function]:
        """The functions that were checked, the one that fewest wrote first."""
        names = sorted({name for one in self.students for name in one.functions})
        checked = ((name, [one.functions[name] for one in self.students if name in one.functions]) for name in names)
        found = [Function(name, len(own), sum(each[0] for each in own), sum(map(any, own))) for name, own in checked]
        return sorted(found, key=lambda one: (one.right / one.students, -one.students))

    @property
    def share(self) -> Measure | None:
        """The share of right first tries over all exercises; its interval counts students. None with one student."""
        tries = [(right, number) for number, one in enumerate(self.students) for _answer, right in one.first.values()]
        if len({number for _right, number in tries}) < 2:
            return None
        return interval([float(right) for right, _number in tries], [number for _right, number in tries])


def judge(texts: Sequence[Text]) -> Results:
    """Mark the answers in students' files anew and sum them up. Raises UserError where there is none."""
    known = {(one.row, one.number): one for row in rows.rows().values() for one in exercises.of_row(row)}
    faults: list[Fault] = []
    students: list[Student] = []
    same = saved_twice([text.text for text in texts])
    left_out = {number for number, _other in same}
    for number, text in enumerate(texts, 1):
        if number in left_out:
            continue
        student = Student(text.file)
        faults += (Fault(number, line, why) for line, why in _marked(student, text.text, known))
        if student.first or student.looked or student.functions:
            students.append(student)
    items = [item for key, one in known.items() if (item := _item(one, key, students)) is not None]
    if not items and not any(one.functions for one in students):
        raise UserError(
            "no answers",
            _("none of {count} files holds an answer to an exercise").format(count=len(texts)),
            expected=_("files that the studio saves with '{button}', or exercises.jsonl of a project").format(
                button=_("Save my answers as a file")
            ),
            exit=3,
        )
    return Results(sorted(items, key=_difficulty), students, faults, same)


def saved_twice(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the numbers, from 1, of each file whose lines another one begins with, and of that one.

    Answers are only appended, so that a student who saved twice gave such files. Of equal ones the first stays.

    >>> saved_twice(["a", "a\\nb", "c", "a"])
    [(1, 2), (4, 2)]
    """
    whole = [text.strip().replace("\r\n", "\n") + "\n" for text in texts]
    found = []
    for number, own in enumerate(whole):
        longest = max((n for n, text in enumerate(whole) if text.startswith(own)), key=lambda n: (len(whole[n]), -n))
        if longest != number:
            found.append((number + 1, longest + 1))
    return found


def _marked(student: Student, text: str, known: dict[Key, Exercise]) -> Iterator[tuple[int, str]]:
    """Add the answers of a file to a student; yield the lines that are left out, with the reason."""
    shown: set[Key] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if (function := exercises.read_function(line)) is not None:
            if function[0] in checks.names():
                student.functions.setdefault(function[0], []).append(function[1])
            else:
                yield number, _("an exercise that this version does not have")
            continue
        kept = exercises.read_line(line)
        if kept is None:
            yield number, _("no answer to an exercise")
            continue
        key = kept.row, kept.number
        exercise = known.get(key)
        if exercise is None:
            yield number, _("an exercise that this version does not have")
            continue
        if kept.answer is None:
            shown.add(key)
            if key not in student.first:
                student.looked.add(key)
            continue
        try:
            right = exercises.right(exercise, kept.answer)
        except UserError as error:
            yield number, error.found
            continue
        if key not in shown:
            if right and key in student.first and not student.first[key][1]:
                student.improved.add(key)
            student.first.setdefault(key, (kept.answer, right))


def _item(exercise: Exercise, key: Key, students: Sequence[Student]) -> Item | None:
    first = [one.first[key] for one in students if key in one.first]
    looked = sum(key in one.looked for one in students)
    if not first and not looked:
        return None
    wrong = Counter(answer for answer, right in first if not right)
    most = min(wrong.items(), key=lambda pair: (-pair[1], pair[0]), default=None)
    improved = sum(key in one.improved for one in students)
    return Item(exercise, len(first), sum(right for _answer, right in first), improved, looked, most)


def _difficulty(item: Item) -> tuple[float, float]:
    """Return what exercises are sorted by: the share of right first tries, then how many made one."""
    return (item.right / item.tries, -item.tries) if item.tries else (2.0, 0.0)
