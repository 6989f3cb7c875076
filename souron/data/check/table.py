"""A new table without the cases that a check found to be faulty."""

from pathlib import Path

from souron.data import case_table
from souron.data.quality.findings import Checkup
from souron.utils.messages import UserError, _

COPIES = ("duplicates", "near duplicates", "confirmed copies")  # findings of which one is kept each


def manifest(found: Checkup, path: Path) -> int:
    """Write a CSV (filename, label, group, part, further columns) beside the images and return the
    number of cases in it. Of copies one is kept, none if their labels disagree. Raises UserError if
    ``path`` exists, or lies outside the folder that the files' names are relative to."""
    cases = found.cases
    _check_path(path, cases.folder)
    if cases.labels is None:
        raise UserError(
            "option",
            _("--fix writes a table with one class for each image, which these do not have"),
            expected=_("a folder with a sub-folder for each class"),
        )
    left_out = faulty(found)
    kept = [row for number, row in enumerate(case_table.rows(cases)) if number not in left_out]
    case_table.write(path, kept)
    return len(kept)


def _check_path(path: Path, folder: Path) -> None:
    """Raise UserError if a table at ``path`` would not find its images, or if it exists."""
    if path.absolute().parent.resolve() != folder.absolute().resolve():
        raise UserError(
            "outside",
            _("{path} would not find the images it lists").format(path=path),
            expected=_("a file in {folder}").format(folder=folder),
            fix=f"--fix {folder / 'checked.csv'}",
        )
    if path.exists():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("a new file"),
            fix="--fix OTHER.csv",
            exit=5,
        )


def faulty(found: Checkup) -> set[int]:
    """Return the rows to leave out: all but one of each copy, all copies whose labels disagree."""
    left_out: set[int] = set()
    for finding in found.findings:
        for family in finding.rows:
            if finding.code == "label conflict":
                left_out |= set(family)
            elif finding.code in COPIES and not finding.question:
                left_out |= set(family[1:])
    return left_out
