"""Sliders for notebooks: one for each augmentation, or a grid where there are no widgets."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from souron.data import transforms
from souron.data.augmentation_preview import at_strength, lowest
from souron.report import lesson_plots, plots

SHOWN = 180  # pixels a side


def augmentations(image: Tensor, names: Sequence[str] = ()) -> Any:
    """Return a slider and an image for each augmentation of one image (C, H, W).

    They are an ipywidgets box; where ipywidgets is not installed, the grid of
    ``lesson_plots.strengths``.
    """
    names = names or tuple(transforms.CHANGES)
    try:
        import ipywidgets
    except ImportError:
        return lesson_plots.strengths(image, names)
    told = transforms.what()
    rows = []
    for name in names:
        slider = ipywidgets.FloatSlider(
            value=0, min=lowest(name), max=1, step=0.25, description=name, continuous_update=True, tooltip=told[name]
        )
        shown = ipywidgets.Image(value=_png(image, name, 0.0), format="png", width=SHOWN)
        slider.observe(_follow(shown, image, name), names="value")
        rows.append(ipywidgets.HBox([slider, shown]))
    return ipywidgets.VBox(rows)


def _follow(shown: Any, image: Tensor, name: str) -> Any:
    def changed(change: Any) -> None:
        shown.value = _png(image, name, change["new"])

    return changed


def _png(image: Tensor, name: str, strength: float) -> bytes:
    made = at_strength(image, name, strength)
    return plots.samples(made[None].clamp(0, 255).to(torch.uint8), 1, SHOWN)
