"""Films of a figure that souron draws and that moves, with captions in two languages.

Ho, Salimans, Gritsenko and others: Video Diffusion Models (2022). https://arxiv.org/abs/2204.03458

The same films on every computer, without a download: birds, mammals, flowers, fruits, people,
buildings, vehicles, road signs and coins, otherwise as in ``moving_scenes``.
"""

from souron.data.composing import captioned
from souron.data.dataset import Dataset
from souron.data.sets import moving_scenes

ja = "souron が描く図形が動く短い動画と、日本語と英語の説明文。取得なしで、どの環境でも同じもの"
task = "text_to_video"
targets = ("film_captions",)
licence = "Apache-2.0"
source = "https://arxiv.org/abs/2204.03458"
cases = 3_000
ships_with = "souron"


def load(side: int | None = None, target: str = "film_captions") -> Dataset:
    return moving_scenes.of(captioned.drawn(), side)
