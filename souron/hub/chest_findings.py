"""The findings that torchxrayvision's network names on chest X-rays, with their thresholds.

Cohen, Viviano, Bertin, Morrison, Torabian, Guarrera, Lungren, Chaudhari, Brooks, Hashir, Bertrand:
TorchXRayVision: A library of chest X-ray datasets and models (2022).
https://arxiv.org/abs/2111.00595

Its outputs are probabilities of findings that are independent of each other, and small where a
finding is rare; each finding has an operating point of its own, which its authors chose on their
validation films. ``scores`` moves that point to 0.5, as their program does.
"""

from collections.abc import Sequence

from souron.utils.messages import N_

CLASSES = "chest"  # as ``published.toml`` names them
THRESHOLDS = {  # finding -> operating point; in the network's order
    N_("Atelectasis"): 0.07422872,
    N_("Consolidation"): 0.038290843,
    N_("Infiltration"): 0.09814756,
    N_("Pneumothorax"): 0.0098118475,
    N_("Edema"): 0.023601074,
    N_("Emphysema"): 0.0022490358,
    N_("Fibrosis"): 0.010060724,
    N_("Effusion"): 0.103246614,
    N_("Pneumonia"): 0.056810737,
    N_("Pleural Thickening"): 0.026791653,
    N_("Cardiomegaly"): 0.050318155,
    N_("Nodule"): 0.023985857,
    N_("Mass"): 0.01939503,
    N_("Hernia"): 0.042889766,
    N_("Lung Lesion"): 0.053369623,
    N_("Fracture"): 0.035975814,
    N_("Lung Opacity"): 0.20204692,
    N_("Enlarged Cardiomediastinum"): 0.05015312,
}
LABELS = tuple(THRESHOLDS)
MEAN, STD = (0.5,), (1 / 2048,)  # grey values 0..1 become -1024..1024


def scores(probabilities: Sequence[float], thresholds: Sequence[float]) -> tuple[float, ...]:
    """Stretch probabilities so that each threshold becomes 0.5; 0 and 1 stay.

    >>> scores([0.05, 0.1, 0.55, 1.0], [0.1, 0.1, 0.1, 0.1])
    (0.25, 0.5, 0.75, 1.0)
    """
    return tuple(
        p / (2 * least) if p < least else 1 - (1 - p) / (2 * (1 - least))
        for p, least in zip(probabilities, thresholds, strict=True)
    )
