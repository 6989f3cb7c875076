"""Figures that souron draws, in their own colours on painted grounds and on noise.

Zhang, Isola, Efros: Colorful Image Colorization (2016).
https://arxiv.org/abs/1603.08511

The same scenes on every computer, without a download, otherwise as in ``photo_scenes``.
"""

from souron.data.composing import stock
from souron.data.composing.cutouts import CATEGORIES
from souron.data.dataset import Dataset
from souron.data.sets import photo_scenes

ja = "souron が描く図形を元の色のまま背景に置いた場面。取得なしで、どの環境でも同じもの"
task = "image_to_image"
licence = "Apache-2.0"
source = "https://arxiv.org/abs/1603.08511"
cases = 2_400
ships_with = "souron"


def load(side: int | None = None) -> Dataset:
    return photo_scenes.of(stock.drawn(CATEGORIES), side)
