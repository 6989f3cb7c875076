"""Figures that souron draws, laid on smooth noise, with exact boxes and masks.

Dwibedi, Misra, Hebert: Cut, Paste and Learn: Surprisingly Easy Synthesis for Instance Detection
(2017). https://arxiv.org/abs/1708.01642

The same scenes on every computer, without a download: 5 200 with one to six birds, mammals,
flowers, pieces of fruit, vehicles, coins, signs and buildings. They are split and grouped like
``scenes``, which use photographs as grounds and things that people drew or photographed.
"""

from souron.data.composing import stock
from souron.data.composing.cutouts import CATEGORIES
from souron.data.dataset import Dataset
from souron.data.sets import scenes

ja = "souron が描く図形を置いた場面と、正確な枠とマスク。取得なしで、どの環境でも同じもの"
labels_ja = {
    "background": "背景",
    "bird": "鳥",
    "mammal": "哺乳類",
    "flower": "花",
    "fruit": "果物",
    "vehicle": "乗り物",
    "coin": "硬貨",
    "sign": "標識",
    "building": "建物",
}
task = "detect"
targets = ("boxes", "classes_of_pixels", "instances", "panoptic")
licence = "Apache-2.0"
source = "https://arxiv.org/abs/1708.01642"
cases = 5_200
ships_with = "souron"


def load(side: int | None = None, target: str = "boxes") -> Dataset:
    return scenes.of(stock.drawn(CATEGORIES), side, target)
