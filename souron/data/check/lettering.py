"""Characters and marks that are burned into images."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL.Image import Image

from souron.data.dataset import Dataset
from souron.data.quality import burned_in_text
from souron.data.quality.findings import Finding, of_rows
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError, _

MOST_READ = 400  # images that are searched for characters


def lettering(cases: Dataset, watch: Callable[[str, float], None]) -> Iterator[Finding]:
    """Find images with burned-in characters or marks, among at most ``MOST_READ`` spread over all;
    and those that a column (of DICOM's attribute) declares."""
    folder = cases.folder
    looked = range(0, len(cases), -(-len(cases) // MOST_READ))

    def look(row: int) -> tuple[list[burned_in_text.Mark], tuple[int, int]]:
        try:
            with image_codec.opened(folder / cases.file[row], folder) as file:
                if isinstance(file, Image):
                    pixels = image_codec.shrunk(file, burned_in_text.SIDE // 2, burned_in_text.prepared)
                else:
                    pixels = burned_in_text.prepared(file.frame(0))
        except UserError:
            return [], (1, 1)
        return burned_in_text.marks(pixels), pixels.shape[:2]

    found = []
    with ThreadPoolExecutor() as pool:
        for i, seen in enumerate(pool.map(look, looked)):
            watch(_("looking for burned-in text"), i / len(looked))
            found.append(seen)
    marks, sizes = [some for some, _size in found], [size for _some, size in found]
    lines = [i for i, some in enumerate(marks) if burned_in_text.line(some)]
    told = cases.columns.get(burned_in_text.COLUMN, ())
    rows = {looked[i] for i in (*lines, *burned_in_text.repeated(marks, sizes))}
    rows |= {row for row, value in enumerate(told) if value.upper() == "YES"}
    yield from of_rows(
        cases,
        "burned-in text",
        "hint",
        [(row,) for row in sorted(rows)],
        _("{count} images seem to have text or marks burned in ({looked} were checked)"),
        _("check them: no name may be visible, and a mark that one class has is what a network will learn"),
        looked=len(looked),
        one=_("1 image seems to have text or marks burned in ({looked} were checked)"),
    )
