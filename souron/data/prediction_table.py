"""Tables of predictions: one row a case, or one row a case and method, read into columns with roles.

    case,truth,patient,site,unet,nnunet            wide: a column for each method
    case,method,prediction,truth                   long: a row for each case and method

A ``seed`` or ``fold`` column separates several trainings of the same methods. Several files are
joined by their cases; a column that is only called a prediction is a method named as its file.
Column names may be English or Japanese. The text may be UTF-8, UTF-16 or Shift_JIS (CP932), with
commas, semicolons or tabs.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from souron.data.formats.csv_table import COLUMNS, FURTHER, key_of, text_of, value_of
from souron.kinds.codecs.limits import check_file, readable, trouble
from souron.utils import units
from souron.utils.messages import N_, UserError, _, listed

MOST_BYTES = 100_000_000  # of a file
MOST_CELLS = 10_000_000
MOST_COLUMNS = 20_000  # several methods, with a probability for each of thousands of classes
NAMED = 5  # cases or columns that a message names
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
SEPARATORS = ",;\t"

# role -> names normalised by ``key_of``, the more specific ones first
ALIASES = {
    "case": ("case", "caseid", "id", "studyid", "sampleid", "imageid", "症例", "症例id", "症例番号", "事例",
             "事例id", *COLUMNS["file"]),
    "truth": ("truth", "groundtruth", "gt", "ytrue", "label", "truelabel", "target", "正解", "正解ラベル",
              "真値", "ラベル", "診断", "診断名"),
    "group": ("group", "patient", "patientid", "subject", "subjectid", "患者", "患者id", "患者番号", "被験者",
              "被験者id"),
    "site": FURTHER["site"],
    "seed": ("seed", "run", "乱数の種", "シード"),
    "fold": ("fold", "フォールド"),
    "method": ("method", "methods", "algorithm", "alg", "model", "system", "reader", "rater", "手法", "モデル",
               "アルゴリズム", "読影者", "評価者"),
    "prediction": ("prediction", "predictions", "predicted", "pred", "ypred", "answer", "output", "value", "result",
                   "予測", "予測値", "回答", "値"),
}  # fmt: skip
UNUSED = (*FURTHER["sex"], *FURTHER["age"], *FURTHER["device"], *FURTHER["date"], "split", "part", "index", "comment",
          "comments", "note", "notes", "備考", "コメント", "区分")  # fmt: skip
ROLES = {  # role -> description for users
    "case": N_("case"),
    "truth": N_("truth"),
    "group": N_("patient or group"),
    "site": N_("site"),
    "seed": N_("seed of the training"),
    "fold": N_("fold of the cross-validation"),
    "method": N_("method or reader"),
    "prediction": N_("prediction"),
    "unused": N_("not used"),
}


class Key(NamedTuple):
    """A row of predictions: a case, answered by one training."""

    case: str
    seed: str = ""
    fold: str = ""


@dataclass
class Sheet:
    """Predictions of all methods, joined by case and training; "" stands for a missing value."""

    keys: list[Key]
    of_case: dict[str, dict[str, str]]  # "truth", "group", "site" -> case -> value; absent without such a column
    methods: dict[str, list[str]]  # column -> value of each key
    roles: list[tuple[str, str]] = field(default_factory=list)  # column, role
    sources: list[str] = field(default_factory=list)


def read(paths: Sequence[Path]) -> Sheet:
    """Read one or more files and join them by case. Raises UserError."""
    sheets = [sheet_of(columns_of(path), readable(path.name)) for path in paths]
    return sheets[0] if len(sheets) == 1 else joined(sheets)


def columns_of(path: Path) -> dict[str, list[str]]:
    """Read a CSV with a heading into columns of texts, "" for missing values. Raises UserError.

    >>> columns_of(Path("predictions.csv"))["case"]  # doctest: +SKIP
    ['case 1', 'case 2']
    """
    check_file(path, None, MOST_BYTES, "unreadable")
    if path.suffix.lower() in SPREADSHEETS:
        raise UserError(
            "unreadable",
            _("{path} is a spreadsheet").format(path=readable(path)),
            expected=_("a CSV file"),
            fix=_("in the spreadsheet: save as CSV UTF-8"),
            exit=3,
        )
    text = text_of(path)
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(SEPARATORS, key=first.count))
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(path, names)
        rows = []
        for row in reader:
            if len(row) == len(names):
                rows.append(row)
            elif any(map(str.strip, row)):
                why = _("line {line} has {count} cells below {names} names")
                why = why.format(line=reader.line_num, count=len(row), names=len(names))
                raise trouble(path, "broken row", why)
            if len(rows) * len(names) > MOST_CELLS:
                limit = _("at most {count} cells").format(count=units.whole(MOST_CELLS))
                raise trouble(path, "too large", _("the table is too large"), limit)
    except csv.Error as error:
        raise trouble(path, "broken row", _("line {line}: {why}").format(line=reader.line_num, why=error)) from error
    if not rows:
        raise trouble(path, "empty file", _("there is a heading and no row below it"))
    return {name: _cleaned(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Raise UserError for a heading without names, with a name twice, or with very many."""
    if len(names) > MOST_COLUMNS:
        raise _too_wide(readable(path), len(names))
    if not any(names):
        raise trouble(path, "empty file", _("a table without a heading"))
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise trouble(path, "columns", _("two columns are named {names}").format(names=listed(twice, NAMED)))


def _too_wide(source: str, count: int) -> UserError:
    return UserError(
        "too large",
        _("{source} has {count} columns").format(source=source, count=units.whole(count)),
        expected=_("at most {count}").format(count=units.whole(MOST_COLUMNS)),
        exit=3,
    )


def _cleaned(cells: Iterable[Any]) -> list[str]:
    """Return texts without blanks around them; "" for placeholders of missing values."""
    memory: dict[Any, str] = {}
    return [memory[cell] if cell in memory else memory.setdefault(cell, value_of(str(cell))) for cell in cells]


def columns_from(table: Any) -> dict[str, list[str]]:
    """Return the columns of a mapping, or of a data frame as pandas has them, as texts.

    >>> columns_from({"case": [1, 2], "unet": [0.5, None]})
    {'case': ['1', '2'], 'unet': ['0.5', '']}
    """
    names = list(table.columns) if hasattr(table, "columns") else list(table)
    if len(names) > MOST_COLUMNS:
        raise _too_wide(_("the table"), len(names))
    columns = {str(name): _cleaned(table[name]) for name in names}
    if len({len(cells) for cells in columns.values()}) != 1 or not next(iter(columns.values())):
        raise UserError("columns", _("the columns are empty, or of different lengths"), exit=3)
    return columns


def sheet_of(columns: Mapping[str, list[str]], source: str = "") -> Sheet:
    """Find the roles of the columns and bring a long table into the wide form. Raises UserError.

    >>> long = {"case": ["1", "1"], "method": ["a", "b"], "prediction": ["x", "y"]}
    >>> sheet_of(long).methods
    {'a': ['x'], 'b': ['y']}
    """
    roles = roles_of(columns, source)
    by_role = {role: name for name, role in roles if role not in ("unused", "prediction")}
    if "case" not in by_role:
        raise UserError(
            "columns",
            _("{source} has no column of cases; it has: {names}").format(
                source=source, names=listed(list(columns), 2 * NAMED)
            ),
            expected="case, truth, group, site, seed, fold, ...",
            fix=_("name the column of cases 'case'"),
            exit=3,
        )
    keys = [
        Key(*cells)
        for cells in zip(*(_column(columns, by_role, role) for role in ("case", "seed", "fold")), strict=True)
    ]
    blank = sum(not key.case for key in keys)
    if blank:
        raise UserError(
            "no case", _("{count} rows of {source} name no case").format(count=blank, source=source), exit=3
        )
    predictions = [name for name, role in roles if role == "prediction"]
    of_case: dict[str, dict[str, str]] = {
        role: _of_cases(keys, columns[by_role[role]], role) for role in ("truth", "group", "site") if role in by_role
    }
    if "method" in by_role:
        made = _pivoted(keys, columns[by_role["method"]], {name: columns[name] for name in predictions})
    else:
        _check_once(keys)
        made = keys, {name: columns[name] for name in predictions}
    return Sheet(made[0], of_case, made[1], roles, [source])


def roles_of(columns: Iterable[str], source: str = "") -> list[tuple[str, str]]:
    """Return each column's role: a key of ``ROLES``. Raises UserError where two have the same one.

    Beside a column of methods only columns named as predictions hold them; else every column does
    that has no other role.
    """
    found: dict[str, str] = {}
    keys = {name: key_of(name) for name in columns}
    for role in ALIASES:
        if role in ("prediction", "method"):
            continue
        names = [name for alias in ALIASES[role] for name, key in keys.items() if key == alias]
        if len(names) > 1 and role != "case":
            _two(role, names, source)
        found |= {name: role if place == 0 else "unused" for place, name in enumerate(names) if name not in found}
    methods = [name for name, key in keys.items() if key in ALIASES["method"]]
    answers = {name for name in keys if key_of(name.partition(":")[0]) in ALIASES["prediction"]}
    long = bool(methods and answers)
    if long and len(methods) > 1:
        _two("method", methods, source)
    for name, key in keys.items():
        if name in found:
            continue
        if long and name in methods:
            found[name] = "method"
        elif key in UNUSED or key.startswith("unnamed:") or not name or (long and name not in answers):
            found[name] = "unused"
        else:
            found[name] = "prediction"
    return [(name, found[name]) for name in keys]


def _two(role: str, names: Sequence[str], source: str) -> NoReturn:
    """Raise UserError about columns that could have the same role."""
    raise UserError(
        "columns",
        _("in {source} these columns could be the {role}: {names}").format(
            source=source, role=_(ROLES[role]), names=listed(names, NAMED)
        ),
        expected=_("one of them"),
        fix=_("rename or delete the others"),
        exit=3,
    )


def _column(columns: Mapping[str, list[str]], by_role: Mapping[str, str], role: str) -> Sequence[str]:
    """Return the column of a role; blanks without one."""
    return columns[by_role[role]] if role in by_role else [""] * len(next(iter(columns.values())))


def _of_cases(keys: Sequence[Key], cells: Sequence[str], role: str) -> dict[str, str]:
    """Return the value of each case. Raises UserError where a case has two."""
    values: dict[str, str] = {}
    two: dict[str, tuple[str, str]] = {}
    for key, cell in zip(keys, cells, strict=True):
        before = values.setdefault(key.case, cell)
        if not before:
            values[key.case] = cell
        elif cell and cell != before:
            two.setdefault(key.case, (before, cell))
    _check_agreement(two, role)
    return values


def _check_agreement(two: Mapping[str, tuple[str, str]], role: str) -> None:
    """Raise UserError where cases have two values of a role."""
    if two:
        shown = [f"{case} ({one}, {other})" for case, (one, other) in two.items()]
        raise UserError(
            "two truths" if role == "truth" else "contradiction",
            _("{count} cases have two values of the column {role}: {names}").format(
                count=len(two), role=_(ROLES[role]), names=listed(shown, NAMED)
            ),
            expected=_("one value for each case"),
            exit=3,
        )


def _check_once(keys: Sequence[Key]) -> None:
    """Raise UserError where a row of the wide form occurs twice."""
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise UserError(
            "duplicates",
            _("{count} cases stand in several rows: {names}").format(
                count=len(twice), names=listed([key.case for key in twice], NAMED)
            ),
            expected=_("one row a case; with several trainings a column seed or fold that tells them apart"),
            exit=3,
        )


def _pivoted(
    keys: Sequence[Key], names: Sequence[str], columns: Mapping[str, list[str]]
) -> tuple[list[Key], dict[str, list[str]]]:
    """Return keys and methods of the long form. Raises UserError for a method's second row."""
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    methods: dict[str, list[str]] = {}
    for column, cells in columns.items():
        _colon, suffix = column.partition(":")[1:]
        for key, name, cell in zip(keys, names, cells, strict=True):
            if not name:
                raise UserError("no method", _("a row of case {case} names no method").format(case=key.case), exit=3)
            whole = f"{name}:{suffix}" if suffix else name
            into = methods.setdefault(whole, [None] * len(place))  # type: ignore[list-item]
            if into[place[key]] is not None:
                raise UserError(
                    "duplicates",
                    _("case {case} has two rows of {method}").format(case=key.case, method=name),
                    expected=_("one row for each case and method"),
                    exit=3,
                )
            into[place[key]] = cell
    return list(place), {name: [cell or "" for cell in cells] for name, cells in methods.items()}


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """Join tables by case and training. Raises UserError where they contradict each other.

    A column that is only called a prediction, or as one of another table, is named as its file.
    """
    keys = list(dict.fromkeys(key for sheet in sheets for key in sheet.keys))
    place = {key: number for number, key in enumerate(keys)}
    whole = Sheet(keys, {}, {}, [], [source for sheet in sheets for source in sheet.sources])
    two: dict[str, dict[str, tuple[str, str]]] = {}
    taken: dict[tuple[str, str], None] = {}
    names = Counter(name for sheet in sheets for name in sheet.methods)
    for sheet in sheets:
        taken |= dict.fromkeys(sheet.roles)
        stem = Path(sheet.sources[0]).stem
        for role, values in sheet.of_case.items():
            into = whole.of_case.setdefault(role, {})
            for case, value in values.items():
                before = into.setdefault(case, value)
                if not before:
                    into[case] = value
                elif value and value != before:
                    two.setdefault(role, {}).setdefault(case, (before, value))
        for column, cells in sheet.methods.items():
            name, colon, suffix = column.partition(":")
            generic = key_of(name) in ALIASES["prediction"] or names[column] > 1
            made = f"{stem}{colon}{suffix}" if generic else column
            if made in whole.methods:
                raise UserError(
                    "columns", _("two methods are named {names}").format(names=made), fix=_("rename one"), exit=3
                )
            into_method = [""] * len(keys)
            for key, cell in zip(sheet.keys, cells, strict=True):
                into_method[place[key]] = cell
            whole.methods[made] = into_method
    for role, cases in two.items():
        _check_agreement(cases, role)
    whole.roles = list(taken)
    return whole
