"""Predictions of several methods on the same cases, as arrays, from a table of texts.

The kind of a column is found from its values, and from its name where that says it:

    labels       every value is a class of the truth
    probability  columns ``method:class``, or one column in 0..1 beside a truth of two classes
    score        any numbers beside a truth of two classes: higher for the positive class
    dice         overlaps in 0..1
    error        distances, lower is better
    rating       points, higher is better

Where two kinds are possible, nothing is guessed: a UserError asks for ``kind=``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron.data.formats.csv_table import key_of
from souron.data.patients import Merged, merged
from souron.data.prediction_table import NAMED, ROLES, Sheet
from souron.metrics.classification import positive_class
from souron.utils.messages import N_, UserError, _, listed

Values = NDArray[np.float64]
Codes = NDArray[np.int64]

KINDS = {  # kind -> description for users
    "labels": N_("labels"),
    "probability": N_("probabilities"),
    "score": N_("scores, higher for the positive class"),
    "dice": N_("Dice, or another overlap in 0..1"),
    "error": N_("errors, lower is better"),
    "rating": N_("ratings, higher is better"),
    "boxes": N_("boxes of detectors"),
}
OF_TABLES = tuple(kind for kind in KINDS if kind != "boxes")  # what columns can hold
OF_CLASSES = ("labels", "probability", "score")  # kinds that need a truth
MISSING = ("wrong", "leave-out")
HINTS = {
    "dice": re.compile(r"dice|dsc|iou|jaccard|ダイス"),
    "error": re.compile(r"error|(?<![a-z])mae(?![a-z])|hd95|hausdorff|assd|distance|誤差|距離"),
    "rating": re.compile(r"rating|likert|評点|点数"),
    "probability": re.compile(r"prob|確率"),
}
DATE = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}( .*)?|\d{1,2}/\d{1,2}(/\d{2,4})?|\d{1,2}月\d{1,2}日|"
    r"\d{1,2}-(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(-\d+)?|"
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*-\d+",
    re.IGNORECASE,
)
COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
THOUSAND = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
MOST_METHODS = 40
MOST_CLASSES = 100
MOST_RATING = 10  # whole numbers up to here may be ratings
SUM = 0.01  # largest distance of a sum of probabilities from 1
HALF = 0.5  # threshold at which a probability becomes a label


@dataclass(frozen=True)
class Predictions:
    """Predictions of methods on the same cases; trainings come first: (S, C) or (S, C, K).

    Of boxes K are figures instead of classes (``coco_results``).
    """

    cases: tuple[str, ...]
    kind: str  # a key of ``KINDS``
    methods: dict[str, Values]  # labels are class numbers; a wrong one may be -1
    classes: tuple[str, ...] = ()
    truth: Codes | None = None  # (C,) class numbers, for kinds of ``OF_CLASSES``
    positive: int | None = None  # of two classes
    groups: Any = None  # (C,) numbers of patients; None: each case is one
    sites: tuple[str, ...] = ()
    trainings: Values | None = None  # (S, C) the training of each answer, where a seed has several
    taken: dict[str, str] = field(default_factory=dict)  # column -> key of ``ROLES`` or ``KINDS``
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)  # method -> cases without a prediction
    left_out: tuple[str, ...] = ()  # cases
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Return the number of predictions of each method for a case."""
        return len(next(iter(self.methods.values())))

    @property
    def units(self) -> int:
        """Return the number of patients, or of cases without patients."""
        return len(self.cases) if self.groups is None else len(np.unique(self.groups))

    @property
    def mixed(self) -> int:
        """Return the number of patients whose cases have different truths."""
        if self.groups is None or self.truth is None:
            return 0
        pairs = np.unique(np.stack([self.groups, self.truth]), axis=1)
        return int((np.bincount(pairs[0]) > 1).sum())

    def only(self, chosen: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions for some of the cases (C,)."""
        return replace(
            self,
            cases=tuple(case for case, one in zip(self.cases, chosen, strict=True) if one),
            methods={name: values[:, chosen] for name, values in self.methods.items()},
            truth=None if self.truth is None else self.truth[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            sites=tuple(site for site, one in zip(self.sites, chosen, strict=True) if one) if self.sites else (),
            trainings=None if self.trainings is None else self.trainings[:, chosen],
        )


@dataclass(frozen=True)
class Asked:
    """Decisions of the user; empty ones are made from the table."""

    kind: str = ""
    missing: str = ""
    positive: str = ""
    classes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass
class _Method:
    """One method's columns: one, or one for each class."""

    name: str
    columns: dict[str, list[str]]  # class, or "" -> values of each key
    kind: str = ""


def predictions(sheet: Sheet, asked: Asked = Asked()) -> Predictions:
    """Find the kind of the methods' columns and read them. Raises UserError.

    >>> from souron.data.prediction_table import sheet_of
    >>> made = predictions(sheet_of({"case": ["1", "2"], "truth": ["ill", "well"], "unet": ["ill", "ill"]}))
    >>> made.kind, made.classes, made.methods["unet"].tolist()
    ('labels', ('ill', 'well'), [[0.0, 0.0]])
    """
    axes = _Axes(sheet)
    truth = axes.of_case("truth")
    classes = _classes(truth, asked) if truth else ()
    methods = _methods(sheet, classes, asked)
    if asked.kind in ("", *OF_CLASSES) and len(classes) == 1:
        _check_two_classes("labels", classes)
    kind = _kind(methods, classes, asked)
    if kind not in OF_CLASSES:
        classes, truth = (), []
    elif not classes:
        raise UserError(
            "no truth",
            _("{kind} need a column of the truth").format(kind=_(KINDS[kind])),
            expected="case, truth, ...",
            exit=3,
        )
    _check_two_classes(kind, classes)
    positive, sure = _positive(classes, asked)
    if kind == "score" or any(one.kind == "probability" and "" in one.columns for one in methods):
        _check_positive(sure, classes)
    reading = _Reading(classes, positive)
    values = {one.name: axes.folded(reading.values(one)) for one in methods}
    if kind == "labels":
        values = {one.name: reading.as_labels(values[one.name]) for one in methods}
    made = Predictions(
        axes.cases,
        kind,
        values,
        classes,
        np.array([reading.number[value] if value else -1 for value in truth]) if truth else None,
        positive,
        axes.groups(),
        tuple(axes.of_case("site")),
        axes.trainings(),
        _taken(sheet, methods, kind),
        notes=(*_notes(methods, kind, classes, positive), *filter(None, (axes.patients.said(), axes.patients.asked()))),
    )
    return _complete(made, asked)


class _Axes:
    """The cases, and the trainings that answered them."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.cases = tuple(dict.fromkeys(key.case for key in sheet.keys))
        place = {case: number for number, case in enumerate(self.cases)}
        self.column = np.array([place[key.case] for key in sheet.keys])
        seeds, folds = ([key[part] for key in sheet.keys] for part in (1, 2))
        if not any(seeds) and any(folds) and len(self.column) > len(self.cases):
            seeds, folds = folds, [""] * len(folds)  # each fold's training answered the same cases
        names = {seed: number for number, seed in enumerate(dict.fromkeys(seeds))}
        self.row = np.array([names[seed] for seed in seeds])
        self.seeds, self.folds = len(names), folds
        if len({*zip(self.row.tolist(), self.column.tolist(), strict=True)}) < len(self.column):
            raise UserError(
                "duplicates",
                _("a case stands in two folds of one seed"),
                expected=_("one row for each case and seed"),
                exit=3,
            )

    def folded(self, values: Values) -> Values:
        """Return values of keys as (S, C, ...), nan where there is none."""
        whole = np.full((self.seeds, len(self.cases), *values.shape[1:]), np.nan)
        whole[self.row, self.column] = values
        return whole

    def of_case(self, role: str) -> list[str]:
        """Return a role's value of each case; [] without such a column."""
        held = self.sheet.of_case.get(role)
        return [] if held is None else [held.get(case, "") for case in self.cases]

    def groups(self) -> Codes | None:
        names = self.of_case("group")
        blank = [case for case, name in zip(self.cases, names, strict=False) if not name]
        if names and blank:
            raise UserError(
                "no group",
                _("{count} cases name no patient: {names}").format(count=len(blank), names=listed(blank, NAMED)),
                expected=_("a patient for every case, or no such column"),
                exit=3,
            )
        names = self.patients.names
        return np.unique(np.array(names), return_inverse=True)[1] if len(set(names)) < len(names) else None

    @cached_property
    def patients(self) -> Merged:
        """The patients of the cases, each in one spelling."""
        return merged(self.of_case("group"))

    def trainings(self) -> Values | None:
        """Return the training of each answer, (S, C), where the folds of a seed have their own."""
        if len(set(self.folds)) < 2:
            return None
        names = [f"{row} {fold}" for row, fold in zip(self.row.tolist(), self.folds, strict=True)]
        codes = np.unique(np.array(names), return_inverse=True)[1]
        return self.folded(codes.astype(np.float64))


def canonical(text: str) -> str:
    """Return a label as one text: ``1.0`` and ``1`` are the same class.

    >>> canonical("1.0"), canonical("ill")
    ('1', 'ill')
    """
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else text


def _classes(truth: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """Return the classes in order. Raises UserError for a truth that is no class."""
    values = sorted({canonical(value) for value in truth if value})
    dates = [value for value in values if DATE.fullmatch(value)]
    if dates:
        raise _dates(_(ROLES["truth"]), dates)
    given = tuple(map(canonical, asked.classes))
    unknown = [value for value in values if given and value not in given]
    if unknown:
        raise UserError(
            "classes",
            _("the truth has classes that classes= does not name: {names}").format(names=listed(unknown, NAMED)),
            exit=3,
        )
    if len(values) > MOST_CLASSES:
        raise UserError(
            "classes",
            _("the truth has {count} different values").format(count=len(values)),
            expected=_("at most {count} classes").format(count=MOST_CLASSES),
            exit=3,
        )
    if all(_number(value) is not None for value in values):
        values.sort(key=float)
    return given or tuple(values)


def _methods(sheet: Sheet, classes: Sequence[str], asked: Asked) -> list[_Method]:
    """Return the methods, with columns ``method:class`` put together. Raises UserError."""
    methods: dict[str, _Method] = {}
    for column, cells in sheet.methods.items():
        name, colon, suffix = column.rpartition(":")
        of_class = bool(colon and name) and canonical(suffix) in classes
        name, label = (name, canonical(suffix)) if of_class else (column, "")
        methods.setdefault(name, _Method(name, {})).columns[label] = cells
    unknown = [name for name in asked.methods if name not in methods]
    if unknown or not methods:
        raise UserError(
            "methods",
            _("no column is a method named {names}").format(names=listed(unknown, NAMED))
            if unknown
            else _("no column holds predictions"),
            expected=listed(list(methods), 2 * NAMED),
            exit=3,
        )
    chosen = [one for name, one in methods.items() if name in asked.methods or not asked.methods]
    if len(chosen) > MOST_METHODS:
        raise UserError(
            "methods",
            _("{count} columns would be methods: {names}").format(
                count=len(chosen), names=listed([one.name for one in chosen], NAMED)
            ),
            expected=_("at most {count}").format(count=MOST_METHODS),
            fix=f"methods={chosen[0].name},{chosen[1].name}",
            exit=3,
        )
    for one in chosen:
        _check_columns(one, classes)
    return chosen


def _check_columns(one: _Method, classes: Sequence[str]) -> None:
    """Raise UserError where the columns of a method's classes are not whole."""
    if "" in one.columns:
        if classes and ":" in one.name and not _hint(one.name):
            _name, _colon, suffix = one.name.rpartition(":")
            raise _other_classes(one.name, [suffix], classes)
        if len(one.columns) > 1:
            raise UserError(
                "columns", _("{method} has a column of its own and columns of classes").format(method=one.name), exit=3
            )
        return
    lacking = [label for label in classes if label not in one.columns]
    if lacking and len(classes) > 2:
        raise UserError(
            "columns",
            _("{method} has no column for the classes {names}").format(method=one.name, names=listed(lacking, NAMED)),
            expected=", ".join(f"{one.name}:{label}" for label in classes[:NAMED]),
            exit=3,
        )


def _kind(methods: Sequence[_Method], classes: Sequence[str], asked: Asked) -> str:
    """Set each method's kind and return that of all. Raises UserError where it cannot be known."""
    possible = {one.name: _possible(one, classes, asked.kind) for one in methods}
    common = [kind for kind in OF_TABLES if all(kind in kinds for kinds in possible.values())]
    if len(common) == 1:
        possible = dict.fromkeys(possible, common)
    for one in methods:
        kinds = possible[one.name]
        if len(kinds) != 1:
            raise UserError(
                "two readings",
                _("the column {name} could be: {kinds}").format(
                    name=one.name, kinds="; ".join(_(KINDS[kind]) for kind in kinds)
                ),
                expected=_("one kind of predictions"),
                fix=" ".join(f"kind={kind}" for kind in kinds),
                exit=3,
            )
        one.kind = kinds[0]
    of_all = {one.kind for one in methods}
    if of_all == {"labels", "probability"} or asked.kind == "labels":
        return "labels"
    if len(of_all) > 1:
        raise UserError(
            "kinds",
            _("the columns hold different things: {names}").format(
                names=listed([f"{one.name} ({_(KINDS[one.kind])})" for one in methods], NAMED)
            ),
            expected=_("one kind of predictions"),
            fix=f"methods={methods[0].name},...",
            exit=3,
        )
    return of_all.pop()


def _possible(one: _Method, classes: Sequence[str], asked: str) -> list[str]:
    """Return the kinds that a method's columns can be. Raises UserError where there is none."""
    if "" not in one.columns:
        if asked not in ("", "probability", "labels"):
            raise UserError("kind", _("{method} has a column for each class").format(method=one.name), exit=3)
        return ["probability"]
    filled = [value for value in one.columns[""] if value]
    names = {canonical(value) for value in {*filled}}
    if asked and asked != "labels":
        return [asked]
    if classes and names <= {*classes}:
        return ["labels"]
    table = numbers(one.name, filled) if asked != "labels" else None
    if table is None:
        if not classes:
            raise UserError(
                "no truth",
                _("the column {name} holds texts, and there is no column of the truth").format(name=one.name),
                expected="case, truth, ...",
                exit=3,
            )
        raise _other_classes(one.name, sorted(names - {*classes}), classes)
    kinds = _numeric_kinds(table, len(classes))
    hint = _hint(one.name)
    return [hint] if hint in (*kinds, *_numeric_kinds(table, 0)) else kinds


def _numeric_kinds(table: Values, classes: int) -> list[str]:
    """Return the kinds that numbers can be beside a truth of so many classes, 0 without one."""
    low, high = (float(table.min()), float(table.max())) if len(table) else (0.0, 1.0)
    within = low >= 0 and high <= 1
    few = low >= 0 and high <= MOST_RATING and bool((table == np.round(table)).all())
    if classes == 2 and within:
        return ["probability"]
    if classes == 2 and few:
        return ["score", "rating"]
    if classes == 2:
        return ["score"] if low < 0 else ["score", "error"]
    return [*(["dice"] if within else []), *(["error"] if low >= 0 else []), *([] if within else ["rating"])]


def _hint(name: str) -> str:
    """Return the kind that a column's name says; "" for none."""
    found = [kind for kind, pattern in HINTS.items() if pattern.search(key_of(name))]
    return found[0] if len(found) == 1 else ""


def numbers(name: str, cells: Sequence[str]) -> Values | None:
    """Read numbers, with decimal points or decimal commas; nan for "".

    None where they are no numbers. Raises UserError for dates, for commas that could separate
    thousands, and for numbers that are not finite.

    >>> numbers("unet", ["0,93", "", "1"]).tolist()
    [0.93, nan, 1.0]
    """
    try:
        table = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        filled = [cell for cell in cells if cell]
        dates = [cell for cell in filled if DATE.fullmatch(cell)]
        if dates:
            raise _dates(name, dates) from None
        if not all(COMMA.fullmatch(cell) or _number(cell) is not None for cell in filled):
            return None
        commas = [cell for cell in filled if "," in cell]
        if len(commas) < len(filled) and any("." in cell for cell in filled):
            raise _two_commas(name, commas) from None
        if all(THOUSAND.fullmatch(cell) for cell in commas):
            raise _two_commas(name, commas) from None
        table = np.array([float(cell.replace(",", ".")) if cell else np.nan for cell in cells])
    if np.isinf(table).any():
        raise UserError("numbers", _("{name} holds numbers that are not finite").format(name=name), exit=3)
    return table


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _two_commas(name: str, commas: Sequence[str]) -> UserError:
    return UserError(
        "numbers",
        _("{name}: the comma in {names} could separate decimals or thousands").format(
            name=name, names=listed(commas, NAMED)
        ),
        expected=_("numbers with decimal points, without separators of thousands"),
        exit=3,
    )


def _dates(name: str, dates: Sequence[str]) -> UserError:
    return UserError(
        "dates",
        _("{name}: {count} values are dates: {names}").format(name=name, count=len(dates), names=listed(dates, NAMED)),
        expected=_("numbers or classes; a spreadsheet turns 1-2 and 3/4 into dates"),
        fix=_("in the spreadsheet: format the column as text, enter these values again, save as CSV"),
        exit=3,
    )


def _other_classes(name: str, labels: Sequence[str], classes: Sequence[str]) -> UserError:
    dates = [label for label in labels if DATE.fullmatch(label)]
    if dates:
        return _dates(name, dates)
    return UserError(
        "classes",
        _("{name} has classes that the truth has not: {names}").format(name=name, names=listed(labels, NAMED)),
        expected=listed(list(classes), 2 * NAMED),
        fix=_("spell them alike; classes=A,B,C names classes that no case has"),
        exit=3,
    )


def _check_two_classes(kind: str, classes: Sequence[str]) -> None:
    """Raise UserError where classes are too few or too many for the kind."""
    if kind in OF_CLASSES and len(classes) < 2:
        raise UserError(
            "one class",
            _("all cases have the same truth: {names}").format(names=", ".join(classes)),
            expected=_("cases of two classes or more"),
            exit=3,
        )
    if kind == "score" and len(classes) != 2:
        raise UserError(
            "classes",
            _("scores need a truth of two classes, and it has {count}").format(count=len(classes)),
            fix=_("columns method:class hold probabilities of several classes"),
            exit=3,
        )


def _positive(classes: Sequence[str], asked: Asked) -> tuple[int | None, bool]:
    """Return the positive one of two classes, and whether it is certain. Raises UserError."""
    if asked.positive and canonical(asked.positive) not in classes:
        raise UserError(
            "positive",
            _("no class is named {name}").format(name=asked.positive),
            expected=listed(list(classes), 2 * NAMED),
            exit=3,
        )
    if len(classes) != 2:
        return None, False
    if asked.positive:
        return list(classes).index(canonical(asked.positive)), True
    number = positive_class(classes)
    return number, classes[number] == classes[::-1][positive_class(classes[::-1])]


def _check_positive(sure: bool, classes: Sequence[str]) -> None:
    """Raise UserError where numbers are for one of two classes, and nobody says for which."""
    if len(classes) == 2 and not sure:
        raise UserError(
            "positive",
            _("the numbers are high for one of the classes {one} and {other}, but for which?").format(
                one=classes[0], other=classes[1]
            ),
            fix=" ".join(f"positive={name}" for name in classes),
            exit=3,
        )


@dataclass
class _Reading:
    """Turn the texts of a method into numbers."""

    classes: Sequence[str]
    positive: int | None

    def __post_init__(self) -> None:
        self.number = _Canonical({label: number for number, label in enumerate(self.classes)})

    def values(self, one: _Method) -> Values:
        """Return the numbers of each key, (N,), or (N, K) for probabilities. Raises UserError."""
        if one.kind == "labels":
            return np.array([self.number[cell] if cell else np.nan for cell in one.columns[""]], np.float64)
        columns = {label: self._numbers(one, label) for label in one.columns}
        if one.kind == "probability":
            return self._probabilities(one.name, columns)
        table = columns[""]
        if one.kind == "dice":
            _check_within(one.name, table, _("an overlap in 0..1"))
        elif one.kind == "error" and (table < 0).any():
            raise UserError("numbers", _("{name} holds errors below 0").format(name=one.name), exit=3)
        return table

    def _numbers(self, one: _Method, label: str) -> Values:
        name = f"{one.name}:{label}" if label else one.name
        table = numbers(name, one.columns[label])
        if table is None:
            texts = [cell for cell in one.columns[label] if cell and _number(cell) is None]
            raise UserError(
                "numbers",
                _("{name} holds texts: {names}").format(name=name, names=listed(texts, NAMED)),
                expected=_(KINDS[one.kind]),
                exit=3,
            )
        return table

    def _probabilities(self, name: str, columns: Mapping[str, Values]) -> Values:
        for label, column in columns.items():
            _check_within(f"{name}:{label}" if label else name, column, _("probabilities in 0..1"))
        if len(columns) < len(self.classes):  # one of two
            if len(self.classes) != 2:
                raise UserError(
                    "columns",
                    _("one column of probabilities is for a truth of two classes, and it has {count}").format(
                        count=len(self.classes)
                    ),
                    expected=", ".join(f"{name}:{label}" for label in self.classes[:NAMED]),
                    exit=3,
                )
            [(label, column)] = columns.items()
            place = self.number[label] if label else self.positive
            pair = (1 - column, column) if place == 1 else (column, 1 - column)
            return np.stack(pair, 1)
        table = np.stack([columns[label] for label in self.classes], 1)
        total = table.sum(1)
        away = abs(total - 1) > SUM + 1e-9
        if away.any():
            raise UserError(
                "probabilities",
                _("{name}: the probabilities of {count} rows do not sum to 1, but to {sums}").format(
                    name=name, count=int(away.sum()), sums=listed([f"{one:.3g}" for one in total[away]], NAMED)
                ),
                expected=_("sums in {low}..{high}").format(low=1 - SUM, high=1 + SUM),
                exit=3,
            )
        return table / total[:, None]

    def as_labels(self, values: Values) -> Values:
        """Return class numbers (S, C) of labels, or of probabilities (S, C, K)."""
        if values.ndim == 2:
            return values
        known = np.isfinite(values).all(2)
        labels = np.where(known, np.nan_to_num(values).argmax(2), np.nan)
        if self.positive is not None:
            called = np.nan_to_num(values[..., self.positive]) >= HALF
            labels = np.where(known, np.where(called, self.positive, 1 - self.positive), np.nan)
        return labels


class _Canonical(dict[str, int]):
    """Numbers of classes by any spelling of a label."""

    def __missing__(self, label: str) -> int:
        self[label] = dict.get(self, canonical(label), -1)
        return self[label]


def _check_within(name: str, table: Values, expected: str) -> None:
    """Raise UserError for values outside 0..1."""
    away = (table < 0) | (table > 1)
    if away.any():
        high = float(np.nanmax(table))
        raise UserError(
            "numbers",
            _("{name}: {count} values are outside 0..1, such as {value}").format(
                name=name, count=int(away.sum()), value=f"{table[away][0]:g}"
            ),
            expected=expected,
            fix=_("divide percentages by 100") if 1 < high <= 100 else "",
            exit=3,
        )


def _taken(sheet: Sheet, methods: Sequence[_Method], kind: str) -> dict[str, str]:
    """Return each column's role or kind, in the order of the table."""
    kinds = {}
    for one in methods:
        for label in one.columns:
            kinds[f"{one.name}:{label}" if label else one.name] = one.kind
    roles = {column: role for column, role in sheet.roles if role != "prediction"}
    if kind not in OF_CLASSES:
        roles |= {column: "unused" for column, role in sheet.roles if role == "truth"}
    left = [name for name in sheet.methods if name not in kinds and canonical_name(name) not in kinds]
    return roles | kinds | dict.fromkeys(left, "unused")


def canonical_name(column: str) -> str:
    """Return the name of a column ``method:class`` with the class as one text."""
    name, colon, suffix = column.rpartition(":")
    return f"{name}{colon}{canonical(suffix)}"


def _notes(methods: Sequence[_Method], kind: str, classes: Sequence[str], positive: int | None) -> list[str]:
    notes = []
    if kind == "labels" and any(one.kind == "probability" for one in methods):
        names = listed([one.name for one in methods if one.kind == "probability"], NAMED)
        notes.append(
            _("Labels and probabilities stand side by side: the probabilities of {names} became labels at 0.5.").format(
                names=names
            )
        )
    if positive is not None:
        notes.append(_("The positive class is {name}.").format(name=classes[positive]))
    return notes


def _complete(made: Predictions, asked: Asked) -> Predictions:
    """Leave out cases without a prediction or a truth, or count them as wrong. Raises UserError."""
    blank: dict[str, NDArray[np.bool_]] = {
        name: np.isnan(values if values.ndim == 2 else values.sum(2)) for name, values in made.methods.items()
    }
    lacking = {
        name: tuple(made.cases[place] for place in np.flatnonzero(away.any(0)))
        for name, away in blank.items()
        if away.any()
    }
    unknown = np.zeros(len(made.cases), bool) if made.truth is None else made.truth < 0
    if not lacking and not unknown.any():
        return made
    if not asked.missing:
        raise _missing(made, lacking, unknown)
    if asked.missing == "wrong" and unknown.any():
        raise UserError(
            "missing",
            _("{count} cases have no truth, so that nothing can be called wrong: {names}").format(
                count=int(unknown.sum()), names=_cases(made, unknown)
            ),
            fix="missing=leave-out",
            exit=3,
        )
    if asked.missing == "wrong":
        values = {name: _filled(made, name, blank[name]) for name in made.methods}
        return replace(made, methods=values, missing=lacking)
    away = np.logical_or.reduce([unknown, *(one.any(0) for one in blank.values())])
    if away.all():
        raise UserError("missing", _("no case has predictions of all methods"), exit=3)
    left = tuple(case for case, out in zip(made.cases, away, strict=True) if out)
    return replace(made.only(~away), missing=lacking, left_out=left)


def _cases(made: Predictions, chosen: NDArray[np.bool_]) -> str:
    return listed([case for case, one in zip(made.cases, chosen, strict=True) if one], NAMED)


def _missing(made: Predictions, lacking: Mapping[str, Sequence[str]], unknown: NDArray[np.bool_]) -> UserError:
    """Return the error that names cases without a prediction or a truth."""
    parts = [
        _("{method} has no prediction for {count} of {all} cases: {names}").format(
            method=name, count=len(cases), all=len(made.cases), names=listed(list(cases), NAMED)
        )
        for name, cases in lacking.items()
    ]
    if unknown.any():
        parts.append(
            _("{count} cases have no truth: {names}").format(count=int(unknown.sum()), names=_cases(made, unknown))
        )
    return UserError(
        "missing",
        "; ".join(parts[:NAMED]) + ("; …" if len(parts) > NAMED else ""),
        expected=_("a decision: missing predictions count as wrong, or their cases are left out for all methods"),
        fix="missing=leave-out" if unknown.any() or made.kind in ("error", "rating") else "missing=wrong",
        exit=3,
    )


def _filled(made: Predictions, name: str, blank: NDArray[np.bool_]) -> Values:
    """Return a method's values with the worst ones in place of missing ones. Raises UserError."""
    fill = WORST.get(made.kind)
    if fill is None:
        raise UserError(
            "missing",
            _("no value is the worst one among {kind}").format(kind=_(KINDS[made.kind])),
            fix="missing=leave-out",
            exit=3,
        )
    values = made.methods[name]
    worst = fill(made, values)
    return np.where(blank if values.ndim == 2 else blank[..., None], worst, values)


def _worst_labels(made: Predictions, values: Values) -> Values:
    assert made.truth is not None
    wrong = 1 - made.truth if len(made.classes) == 2 else np.full(len(made.cases), -1)
    return np.broadcast_to(wrong.astype(np.float64), values.shape)


def _worst_probabilities(made: Predictions, values: Values) -> Values:
    assert made.truth is not None
    table = np.full((len(made.cases), len(made.classes)), 1 / (len(made.classes) - 1))
    table[np.arange(len(made.cases)), made.truth] = 0
    return np.broadcast_to(table, values.shape)


def _worst_scores(made: Predictions, values: Values) -> Values:
    assert made.truth is not None
    ends = np.where(made.truth == made.positive, np.nanmin(values), np.nanmax(values))
    return np.broadcast_to(ends, values.shape)


WORST: dict[str, Callable[[Predictions, Values], Any]] = {
    "labels": _worst_labels,
    "probability": _worst_probabilities,
    "score": _worst_scores,
    "dice": lambda made, values: np.zeros_like(values),
}
