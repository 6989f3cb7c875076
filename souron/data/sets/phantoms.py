"""Computed tomographies of torsos that souron makes up, organs of known volume. SYNTHETIC.

38 volumes of 48 x 80 x 96 voxels in Hounsfield units, each of a different patient: skin, fat,
muscle, ribs, lungs, heart, stomach and bowel around liver, spleen, kidneys, spine and aorta, whose
sizes, positions, rotations and contrast medium vary. Voxels are about 6.8 x 4.2 x 4.2 mm, different
in every patient. Partial volume, noise, the scanner's blur and beam hardening are simulated. The
columns hold each organ's millilitres, counted at half the spacing.

No volume is of a person. Results show how a network learns on such data, not its performance on
patients: there is no disease, no metal, no motion, no other scanner.
"""

from souron.data.composing.phantoms import torsos
from souron.data.composing.phantoms.torso import ORGANS
from souron.data.dataset import Dataset

ja = "souron が作る胴体のCTボリューム (合成) と六つの臓器の領域。実在の患者のものではない"
labels_ja = {
    "background": "背景",
    "liver": "肝臓",
    "spleen": "脾臓",
    "kidneys": "腎臓",
    "spine": "脊椎",
    "aorta": "大動脈",
    "lungs": "肺",
}
task = "segment_volume"
licence = "Apache-2.0"
source = "https://doi.org/10.1088/0031-9155/21/3/004"  # of beam hardening
cases = 38
ships_with = "souron"

SEED = 0
COUNTS = {"train": 24, "val": 4, "test": 10}


def load(side: int | None = None) -> Dataset:
    made = torsos.torsos(torsos.Recipe(SEED, COUNTS))
    return Dataset(
        name="phantoms (synthetic)",
        input=made.volumes,
        target=made.organs,
        classes=("background", *ORGANS),
        file=[f"{part}/{number:02d}" for part, count in COUNTS.items() for number in range(count)],
        part=[part for part, count in COUNTS.items() for _number in range(count)],
        augment=(),
        licence=licence,
        columns={f"{organ} ml": amount for organ, amount in made.millilitres.items()},
        spacing=made.spacing,
    )
