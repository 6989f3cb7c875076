"""Lateral head films that souron draws, with 19 cephalometric landmarks. SYNTHETIC.

The landmarks are those of Wang, Huang, Lee and others: A benchmark for comparison of dental
radiography analysis algorithms (2016). https://doi.org/10.1016/j.media.2016.02.004

1 500 films of 256 mm a side, each of a different patient: skull, cranial base, orbit, jaws, teeth,
vertebrae and the profile of the skin are outlines whose sizes and angles vary as in textbooks of
cephalometry, with the jaw classes I, II and III and ages from 8 to 45. X-ray attenuation is summed
and passed through a film curve, with blur, noise, scatter, a rotation of a few degrees, and
sometimes ear rods, a ruler or a letter.

No film is of a person. Results show how a network learns on such data, not its performance on films
of patients: there is no crowding, no implant, no film of another device.
"""

from souron.data.composing.phantoms import cephalograms
from souron.data.composing.phantoms.heads import LANDMARKS
from souron.data.dataset import Dataset

ja = "souron が描く側面頭部X線規格写真 (合成) と19の計測点。実在の患者のものではない"
labels_ja = {
    "sella": "セラ",
    "nasion": "ナジオン",
    "orbitale": "オルビターレ",
    "porion": "ポリオン",
    "A point": "A点",
    "B point": "B点",
    "pogonion": "ポゴニオン",
    "menton": "メントン",
    "gnathion": "グナチオン",
    "gonion": "ゴニオン",
    "lower incisor tip": "下顎中切歯切縁",
    "upper incisor tip": "上顎中切歯切縁",
    "upper lip": "上唇",
    "lower lip": "下唇",
    "subnasale": "鼻下点",
    "soft tissue pogonion": "軟組織ポゴニオン",
    "posterior nasal spine": "後鼻棘",
    "anterior nasal spine": "前鼻棘",
    "articulare": "アーティキュラーレ",
}
task = "keypoints"
licence = "Apache-2.0"
source = "https://doi.org/10.1016/j.media.2016.02.004"  # of the landmarks
cases = 1_500
ships_with = "souron"

SIDE = 128
SEED = 0
COUNTS = {"train": 1_200, "val": 100, "test": 200}


def load(side: int | None = None) -> Dataset:
    made = cephalograms.films(cephalograms.Recipe(side or SIDE, SEED, COUNTS))
    parts = [part for part, count in COUNTS.items() for _number in range(count)]
    return Dataset(
        name="cephalo (synthetic)",
        input=made.images,
        target=made.points,
        classes=LANDMARKS,
        file=[f"{part}/{number:04d}" for part, count in COUNTS.items() for number in range(count)],
        part=parts,
        augment=("shift", "brightness"),
        licence=licence,
        columns={"jaw class": made.jaws, "age": made.ages},
        spacing=[made.spacing] * len(parts),
    )
