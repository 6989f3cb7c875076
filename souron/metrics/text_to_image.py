"""Names of metrics that say whether generated images show what their prompts ask for.

Ghosh, Hajishirzi, Schmidt: GenEval: An Object-Focused Framework for Evaluating Text-to-Image
Alignment (2023). https://arxiv.org/abs/2310.11513 (there a published detector reads the images)
"""

from souron.utils.messages import N_

ACCURACY = N_("attribute accuracy")
ATTRIBUTES = {
    "object": N_("object accuracy"),
    "colour": N_("colour accuracy"),
    "count": N_("count accuracy"),
    "place": N_("place accuracy"),
    "ground": N_("ground accuracy"),
}
CAPTION = N_("caption found")


def share_of_the_way(value: float, floor: float, ceiling: float) -> float:
    """Rescale a value: 0 is that of shuffled captions (floor), 1 that of real images (ceiling).

    nan unless the ceiling is above the floor.

    >>> round(share_of_the_way(0.6, 0.2, 0.8), 2)
    0.67
    """
    return (value - floor) / (ceiling - floor) if ceiling > floor else float("nan")
