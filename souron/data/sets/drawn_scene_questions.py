"""Questions about scenes of figures that souron draws, in English and Japanese.

Goyal, Khot, Summers-Stay, Batra, Parikh: Making the V in VQA Matter (2017).
https://arxiv.org/abs/1612.00837

The same on every computer, without a download: the images of ``drawn_captioned_scenes`` with the
questions of ``scene_questions``.
"""

from souron.data.composing import captioned
from souron.data.dataset import Dataset
from souron.data.sets import scene_questions

ja = "souron が描く図形の場面についての、日本語と英語の質問。取得なしで、どの環境でも同じもの"
task = "answer"
targets = ("picture_questions",)
licence = "Apache-2.0"
source = "https://arxiv.org/abs/1612.00837"
cases = 17_900
ships_with = "souron"


def load(side: int | None = None, target: str = "picture_questions") -> Dataset:
    return scene_questions.of(captioned.drawn(), side)
