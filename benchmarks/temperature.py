"""What does temperature scaling cost and save where validation cases are few?

    python benchmarks/temperature.py --sets 200

Cases are drawn from known logits; the system says what is true with its logits TRUE times too large
or too small. A temperature is chosen on some validation cases and judged on NEW others by how much
their mean log loss is above the one of the true temperature: left at 1, with the lowest loss of the
validation cases (Guo et al. 2017; 1 where all of them are right), and as souron chooses it.

A cell shows the mean of the sets in thousandths of a nat, in brackets the worst one's.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from printing import table, watched, where
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from souron.metrics import calibration

TRUE = (0.6, 1.0, 2.0)
CASES = (20, 45, 150, 1000)
KINDS = ((2, 1.8), (2, 2.7), (10, 2.5), (10, 4.0))  # labels, how far they lie apart
NEW = 3000

Array = NDArray[np.float64]
Truth = NDArray[np.int64]


def draw(n: int, labels: int, apart: float, bold: float, rng: np.random.Generator):
    """Probabilities (n, labels) that are ``bold`` times too sure, and the true labels (n,)."""
    label = rng.integers(0, labels, n)
    score = rng.standard_normal((n, labels))
    score[np.arange(n), label] += apart
    return softmax(bold * apart * score, axis=1), label


def log_loss(probability: Array, label: Truth, t: float) -> float:
    return -float(np.log(calibration.cool(probability, t)[np.arange(len(label)), label]).mean())


def lowest(probability: Array, label: Truth) -> float:
    if (probability.argmax(1) == label).all():
        return 1.0
    ends = float(np.log(calibration.COLDEST)), float(np.log(calibration.HOTTEST))
    found = minimize_scalar(lambda log_t: log_loss(probability, label, np.exp(log_t)), bounds=ends, method="bounded")
    return float(np.exp(found.x))


WAYS: dict[str, Callable[[Array, Truth], float]] = {
    "left at 1": lambda _probability, _label: 1.0,
    "lowest loss": lowest,
    "souron": calibration.temperature,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=200, help="of validation cases, a row")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows = []
    with watched():
        for labels, apart in KINDS:
            for bold in TRUE:
                rng = np.random.default_rng((asked.seed, len(rows)))
                new = draw(NEW, labels, apart, bold, rng)
                right = f"{100 * (new[0].argmax(1) == new[1]).mean():.0f} %"
                best = log_loss(*new, bold)
                for cases in CASES:
                    over: dict[str, list[float]] = {way: [] for way in WAYS}
                    for _set in range(asked.sets):
                        few = draw(cases, labels, apart, bold, rng)
                        for way, choose in WAYS.items():
                            over[way].append(1000 * (log_loss(*new, choose(*few)) - best))
                    cells = [f"{np.mean(each):.1f} ({max(each):.0f})" for each in over.values()]
                    rows.append([str(labels), right, f"{bold}", str(cases), *cells])
    print(table(["labels", "right", "true temperature", "validation cases", *WAYS], rows))
    print(where(1, "numpy", "scipy", "souron"))


if __name__ == "__main__":
    main()
