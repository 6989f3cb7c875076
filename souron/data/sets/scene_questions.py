"""Questions about scenes in English and Japanese: what, which colour, how many, where.

Kendrick and others: Tux Paint stamps (2002-). https://tuxpaint.org/stamps/

The images of ``captioned_scenes``, 17 900 of them, each with up to ten questions in both languages,
which are generated and answered from the scene's attributes. Answers are balanced: the question
alone reveals almost nothing. The scenes are composed of the stamps (``souron fetch stamps``);
without stamps, ``drawn_scene_questions`` are used instead.

The test part has the subsets of ``captioned_scenes``, in the column ``subset``: new scenes from the
training distribution; new pairs of object and colour; stamps held out from training. A case is a
scene with all its questions, so confidence intervals are clustered by scene, or by stamp if it is
held out.
"""

from dataclasses import replace

import numpy as np

from souron.data.composing import captioned, scene_questions
from souron.data.composing.captioned_words import NAMES, Attributes
from souron.data.dataset import Dataset, ListColumn
from souron.data.sets import captioned_scenes
from souron.data.targets.picture_questions import PictureQuestion

ja = "場面の画像と、その物・色・数・位置・背景を問う日本語と英語の質問（はい・いいえの質問も含む）"
task = "answer"
targets = ("picture_questions",)
licence = "GPL-2.0"
source = "https://tuxpaint.org/stamps/"
cases = 17_900
ships_with = "souron"


def load(side: int | None = None, target: str = "picture_questions") -> Dataset:
    return of(captioned.sourced(), side)


def of(made_of: captioned.Source, side: int | None) -> Dataset:
    """Build the data set from that source: its scenes, with questions instead of captions."""
    data = captioned_scenes.of(made_of, side)
    name = data.name.replace("captioned_scenes", "scene_questions")
    told = [
        Attributes(thing, colour, int(count), place, ground)
        for thing, colour, count, place, ground in zip(*(data.columns[each] for each in NAMES), strict=True)
    ]
    parts = [subset or part for subset, part in zip(data.columns["subset"], data.part, strict=True)]
    asked: list[tuple[PictureQuestion, ...]] = [()] * len(data)
    for number, part in enumerate(dict.fromkeys(parts)):
        rows = [row for row, each in enumerate(parts) if each == part]
        random = np.random.default_rng([captioned_scenes.SEED, number])
        some = scene_questions.asked([told[row] for row in rows], random)
        for row, questions in zip(rows, some, strict=True):
            asked[row] = questions
    data = replace(data, name=name, target=ListColumn(asked))
    return data.only([row for row, questions in enumerate(asked) if questions])
