"""Scenes of figures that souron draws, with captions in English and Japanese.

Reed, Akata, Yan and others: Generative Adversarial Text to Image Synthesis (2016).
https://arxiv.org/abs/1605.05396

The same scenes on every computer, without a download: birds, mammals, flowers, fruits, people,
buildings, vehicles, road signs and coins, otherwise as in ``captioned_scenes``. In place of
held-out stamps there are figures held out from training.
"""

from souron.data.composing import captioned
from souron.data.dataset import Dataset
from souron.data.sets import captioned_scenes

ja = "souron が描く図形の場面と、日本語と英語の説明文。取得なしで、どの環境でも同じもの"
task = "match"
targets = ("captions",)
licence = "Apache-2.0"
source = "https://arxiv.org/abs/1605.05396"
cases = 17_900
ships_with = "souron"


def load(side: int | None = None, target: str = "captions") -> Dataset:
    return captioned_scenes.of(captioned.drawn(), side)
