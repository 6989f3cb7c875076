"""Does a 3-D U-Net that plans itself from the data beat the fixed one?

    .venv/bin/python benchmarks/planning.py --budget 60s --seeds 3

The torsos of ``phantoms`` (synthetic) as two other scanners might have given them: ``thick``, three slices averaged to
one of about 20 mm; and ``units``, grey values without Hounsfield units, as MRI has: another gain and offset for the
whole set, tissue order kept. ``unet_3d`` (patch, levels and windows fixed) and ``unet_3d_planned`` are compared by
``souron.compare``, with its verdict. Run it alone.
"""

import argparse
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from printing import say, table, watched, where

import souron
from souron.data import load
from souron.utils import hardware

THICK = 3  # slices averaged to one
GAIN, OFFSET = 4.0, 5000.0  # of the set ``units``


def write(folder: Path, kind: str) -> Path:
    """Write the volumes and labels as NIfTI, the parts in folders of their own."""
    data = load.load("phantoms")
    for number in range(len(data)):
        volume, target = data.input[number, 0].numpy().astype(np.float32), data.target[number].numpy()
        steps = list(data.spacing[number])
        if kind == "thick":
            volume = volume.reshape(-1, THICK, *volume.shape[1:]).mean(1)
            target = target[THICK // 2 :: THICK]
            steps[0] *= THICK
        else:
            volume = GAIN * volume + OFFSET
        affine = np.diag([*steps[::-1], 1.0])
        for name, values in (("images", volume.astype(np.int16)), ("labels", target.astype(np.uint8))):
            path = folder / data.part[number] / name / f"{number:02d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values.T, affine), path)
    (folder / "classes.txt").write_text("\n".join(data.classes), encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=["thick", "units"], choices=["thick", "units"])
    chosen = parser.parse_args()
    rows = []
    for kind in chosen.sets:
        with tempfile.TemporaryDirectory() as place, watched():
            folder = write(Path(place) / kind, kind)
            record = souron.compare(
                ["unet_3d", "unet_3d_planned"],
                folder,
                budget=chosen.budget,
                seeds=chosen.seeds,
                project=f"{place}/runs",
            )
        say(f"{kind}: {record.sentence}")
        rows += [[kind, row.system, f"{row.value:.1%}", f"{row.low:.1%} to {row.high:.1%}"] for row in record.rows]
    print(table(["set", "network", "mean Dice", "95 % interval"], rows))
    print(f"\n{chosen.budget} of training each, {chosen.seeds} seeds. " + where(hardware.cores(), "souron", "torch"))


if __name__ == "__main__":
    main()
