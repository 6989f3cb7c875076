"""Compare a network's answers with those that PyTorch gave."""

from typing import Any

import numpy as np


def compared(run: Any, cases: Any, about: Any) -> Any:
    """Return the largest difference in spreads of an output, and how many labels differ beyond the margin.

    A spread is the standard deviation, or a hundredth of the largest value where that is more; of probabilities,
    among which the large ones are the answer, the largest.

    One case, two and all are given at once, where the network takes any number.
    """
    count, worst, changed = len(cases["out_" + about["outputs"][0]]), 0.0, 0
    parts = [slice(k, k + 1) for k in range(count)] + [slice(0, 2), slice(0, count)] * (about["batch"] == "any")
    for part in parts:
        answers = run([np.ascontiguousarray(cases[f"in_{name}"][part]) for name in about["inputs"]])
        for name, answer in zip(about["outputs"], answers, strict=True):
            whole = cases[f"out_{name}"]
            share = 1.0 if name == "probability" else 0.01
            true, spread = whole[part], max(float(whole.std()), share * float(np.abs(whole).max()), 1e-9)
            if answer.shape != true.shape:
                return np.inf, changed
            worst = max(worst, float(np.nan_to_num(np.abs(answer - true) / spread, nan=np.inf).max()))
            if (axis := about["decides"].get(name)) is not None:
                best = np.sort(true, axis).take([-2, -1], axis)
                sure = np.diff(best, axis=axis).squeeze(axis) > 2 * about["tolerance"] * spread
                changed += int((sure & (answer.argmax(axis) != true.argmax(axis))).sum())
    return worst, changed
