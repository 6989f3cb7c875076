"""Bach's chorales in four voices, sixteenth by sixteenth.

Johann Sebastian Bach (1685-1750), as encoded by Margaret Greentree and others for music21:
Cuthbert, Ariza: music21: A Toolkit for Computer-Aided Musicology (2010).
https://www.music21.org/

Of the package only the music files are kept: none of its code is run. Pieces in exactly four voices
are used, each once. Many chorales share their tune with others; all of one tune are in one part.
"""

from hashlib import blake2b

from souron.data.dataset import Dataset, ListColumn
from souron.data.load import found
from souron.data.voices import of, tunes
from souron.kinds.score import Score
from souron.utils.messages import _

ja = "バッハの四声コラール。十六分音符ごとに四つの声部"
task = "compose"
licence = "music: public domain; encodings: with permission of M. Greentree, through music21"
source = "https://www.music21.org/"
cases = 364
needs = ("bwv269.mxl",)
package = (
    "pypi:music21==10.5.1",
    "music21-10.5.1-py3-none-any.whl",
    "dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1",
    "music21/corpus/bach",
)
keeps = (".mxl",)
megabytes = 20

TEST, VAL = 0.14, 0.1  # of the tunes


def load(side: int | None = None) -> Dataset:
    folder = found("chorales")
    files = sorted(folder.glob("*.mxl"))
    pieces = {file.stem: Score.read(file).notation for file in files}
    four = {name: of(piece) for name, piece in pieces.items() if len(piece.parts) == 4}
    names = list(four)
    tune = tunes(list(four.values()), names)
    return Dataset(
        name="chorales",
        input=ListColumn(list(four.values())),
        target=None,
        classes=(),
        file=names,
        group=tune,
        grouped=_("tunes: melodies that are alike in any key"),
        part=[part_of(name) for name in tune],
        augment=("transpose",),
        source=source,
        licence=licence,
    )


def part_of(tune: str) -> str:
    """Assign a tune to a part, by its name alone."""
    place = int.from_bytes(blake2b(tune.encode(), digest_size=4).digest(), "big") / 2**32
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"
