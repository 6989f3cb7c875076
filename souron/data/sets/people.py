"""People that souron draws, one to four a picture, with thirteen named points each.

3 800 scenes: from the front or from behind, standing or sitting, with arms in any position, 0.30 to
0.75 of the side, partly occluding each other, on smooth noise. A box encloses the whole figure. A
keypoint is visible, or hidden by another figure; left and right are the person's own. There are 480
different figures, each on one side of the split.

No figure of a test scene is in a training scene. Each side's figures are divided into blocks, and a
scene takes its figures from one block, which is its group: scenes made of the same figures are not
independent, so confidence intervals are clustered by block.

They are drawings: results show how a network learns on such data, not its performance on
photographs of people.
"""

from souron.data.composing import crowds
from souron.data.dataset import Dataset, ListColumn
from souron.utils.messages import _

ja = "souron が描く人物 (1枚に1〜4人) と、1人あたり13の点。姿勢推定のためのデータ"
labels_ja = {"person": "人"}
task = "pose"
targets = ("poses",)
licence = "Apache-2.0"
source = "https://cocodataset.org/#keypoints-eval"  # of the format and the evaluation
cases = 3_800
ships_with = "souron"

SIDE = 128
SEED = 0
COUNTS = {"train": 3_000, "val": 300, "test": 500}
NUMBERS = 480  # figures


def load(side: int | None = None, target: str = "poses") -> Dataset:
    made = crowds.scenes(crowds.Recipe(side or SIDE, SEED, COUNTS, "person", NUMBERS))
    return Dataset(
        name="people (drawn)",
        input=made.images,
        target=ListColumn(made.figures),
        classes=("person",),
        file=[f"{part}/{number:04d}" for part, count in COUNTS.items() for number in range(count)],
        group=[f"{part} block {block}" for part, block in zip(made.parts, made.blocks, strict=True)],
        part=made.parts,
        augment=("shift", "mirror", "brightness"),
        licence=licence,
        grouped=_("blocks of figures"),
    )
