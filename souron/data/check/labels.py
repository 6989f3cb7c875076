"""Labels that are probably wrong."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.check.shortcuts import TELLS
from souron.data.dataset import Dataset
from souron.data.quality.findings import MOST_NAMED, Finding, of_rows
from souron.data.quality.wrong_labels import cross_validated, suspects
from souron.utils.messages import Message, _

MOST_LABELS = 2000  # images whose labels are checked; more would take minutes
COARSE = 12  # pixels a side


def coarse_pixels(image: Tensor) -> Tensor:
    """Downscale images (N, C, H, W) to features (N, D): a fallback when no network is available."""
    size = (COARSE, COARSE)
    return F.interpolate(image.float(), size, mode="bilinear", antialias=True).flatten(1)


def wrong_labels(
    cases: Dataset, embed: Callable[[Tensor], Tensor], watch: Callable[[str, float], None]
) -> Iterator[Finding]:
    """Find labels that a cross-validated classifier contradicts, if it distinguishes the classes
    well, among at most ``MOST_LABELS`` images spread over all."""
    from sklearn.metrics import balanced_accuracy_score

    watch(_("looking for wrong labels"), 0.0)
    rows = list(range(0, len(cases), -(-len(cases) // MOST_LABELS)))
    present, label = np.unique(cases.target.numpy()[rows], return_inverse=True)
    names = cases.group or [""] * len(cases)
    groups = [names[row] or f"\0{row}" for row in rows]
    picked = torch.tensor(rows).split(256)
    features = torch.cat([embed(cases.input[some]) for some in picked]).double().numpy()
    probability = cross_validated(features, label, groups)
    if probability is None:
        return
    chance = 1 / len(present)
    skill = balanced_accuracy_score(label, probability.argmax(1))
    if skill < chance + TELLS * (1 - chance):
        return
    doubtful = suspects(probability, label)
    shown = [
        _("{file} ({label}: {other}?)").format(
            file=cases.file[rows[i]], label=cases.classes[present[label[i]]], other=cases.classes[present[j]]
        )
        for i, j in doubtful[:MOST_NAMED]
    ]
    yield from of_rows(
        cases,
        "wrong label",
        "warning",
        [(rows[i],) for i, _other in doubtful],
        _("{count} labels may be wrong ({looked} were checked): {names}"),
        _("look at them, the first ones first; a rare view of a class is listed too"),
        suggested=[cases.classes[present[other]] for _i, other in doubtful],
        looked=len(rows),
        names=Message(", ").join([*shown, *(["..."] if len(doubtful) > MOST_NAMED else [])]),
        one=_("1 label may be wrong ({looked} were checked): {names}"),
    )
