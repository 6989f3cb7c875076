"""One number for one thing, from frame to frame: boxes of a video become tracks.

Zhang, Sun, Jiang, Yu, Weng, Yuan, Luo, Liu, Wang: ByteTrack: Multi-Object Tracking by Associating
Every Detection Box (2021). https://arxiv.org/abs/2110.06864

    1. each track foretells its box: middle, width and height move on as fast as before
    2. sure boxes go to the tracks that they overlap most, all pairs at once (Hungarian method)
    3. unsure boxes, half hidden things among them, go to the tracks that are left over
    4. a sure box that is left begins a track; a track without a box waits before it ends

How fast a box moves is a Kalman filter's estimate (Kalman 1960,
https://doi.org/10.1115/1.3662552), its four numbers each for itself. Labels of single frames
flicker, so that a track may change its label: the one that was surest in sum names it.

Differs from the paper: a box is sure from ``conf``, 0.25, and unsure from 0.4 times as much, where
the paper has 0.6 and 0.1; a track begins at that same score.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from souron.metrics.detection import overlaps

Array = NDArray[np.float64]

SURE, UNSURE, NEW = 0.2, 0.5, 0.3  # least overlap with a track: of sure boxes, of unsure ones, of
# a track that began in the frame before
PATIENCE = 30  # frames that a track waits for a box
PLACE, SPEED = 1 / 20, 1 / 160  # deviations of place and of speed a frame, in sizes of the box


@dataclass
class Track:
    """One thing. Its state is that of four filters: middle x and y, width, height, in pixels."""

    number: int
    place: Array  # (4,)
    spread: Array  # (2, 2, 4): covariance of place and speed
    speed: Array = field(default_factory=lambda: np.zeros(4))  # pixels a frame
    seen: int = 1  # frames
    lost: float = 0.0  # frames since it was seen
    score: float = 0.0
    votes: dict[int, float] = field(default_factory=lambda: defaultdict(float))  # label -> sum of
    # its scores

    @property
    def label(self) -> int:
        return max(self.votes, key=lambda label: self.votes[label])

    @property
    def box(self) -> Array:
        """(4,) left, top, right, bottom."""
        half = np.maximum(self.place[2:], 1e-3) / 2
        return np.concatenate([self.place[:2] - half, self.place[:2] + half])

    def foretell(self, frames: float) -> None:
        move = np.array([[1.0, frames], [0.0, 1.0]])
        size = np.tile(np.maximum(self.place[2:], 1.0), 2)
        self.place = self.place + frames * self.speed
        self.spread = np.einsum("ij,jkn,lk->iln", move, self.spread, move)
        self.spread[0, 0] += frames * (PLACE * size) ** 2
        self.spread[1, 1] += frames * (SPEED * size) ** 2
        self.lost += frames

    def correct(self, row: Array) -> None:
        """``row`` (6,): label, left, top, right, bottom, score."""
        seen = middles(row[None, 1:5])[0]
        noise = (PLACE * np.tile(np.maximum(seen[2:], 1.0), 2)) ** 2
        gain = self.spread[:, 0] / (self.spread[0, 0] + noise)  # (2, 4)
        surprise = seen - self.place
        self.place, self.speed = self.place + gain[0] * surprise, self.speed + gain[1] * surprise
        self.spread = self.spread - gain[:, None] * self.spread[0][None]
        self.seen, self.lost, self.score = self.seen + 1, 0.0, float(row[5])
        self.votes[int(row[0])] += float(row[5])


class Tracker:
    """Gives the boxes of one frame after the other to tracks."""

    def __init__(self, conf: float = 0.25) -> None:
        self.conf = conf  # from which a box is sure
        self.tracks: list[Track] = []
        self.begun = 0

    @property
    def least(self) -> float:
        """The score from which unsure boxes are looked at."""
        return 0.4 * self.conf

    def update(self, found: Any, frames: float = 1.0) -> list[Track]:
        """The tracks that are seen in this frame. ``found`` (n, 6): label, left, top, right,
        bottom in pixels, score; ``frames`` have gone by since the one before."""
        found = np.asarray(found, dtype=np.float64).reshape(-1, 6)
        for track in self.tracks:
            track.foretell(frames)
        sure = found[found[:, 5] >= self.conf]
        unsure = found[(found[:, 5] >= self.least) & (found[:, 5] < self.conf)]
        known = [track for track in self.tracks if track.seen > 1]
        sure, known = self._give(sure, known, SURE)
        waiting = [track for track in known if track.lost <= frames]  # seen in the frame before
        self._give(unsure, waiting, UNSURE)
        sure, once = self._give(sure, [track for track in self.tracks if track.seen == 1], NEW)
        ended = {track.number for track in once}
        self.tracks = [
            track for track in self.tracks if track.number not in ended and track.lost <= PATIENCE
        ]
        self.tracks += [self._begin(row) for row in sure]
        return [track for track in self.tracks if not track.lost]

    def cut(self) -> None:
        """Another shot begins: no track goes on."""
        self.tracks = []

    def _give(
        self, found: Array, tracks: Sequence[Track], least: float
    ) -> tuple[Array, list[Track]]:
        """Boxes and tracks that are left over after each box went to the track it fits best."""
        if not len(found) or not tracks:
            return found, list(tracks)
        shared = overlaps(np.stack([track.box for track in tracks]), found[:, 1:5])
        fitting = np.where(shared >= least, shared, 0.0)  # others do not count against any pair
        rows, places = scipy.optimize.linear_sum_assignment(-fitting)
        pairs = [(r, p) for r, p in zip(rows, places, strict=True) if fitting[r, p]]
        for row, place in pairs:
            tracks[row].correct(found[place])
        left = np.setdiff1d(np.arange(len(found)), [place for _row, place in pairs])
        given = {row for row, _place in pairs}
        return found[left], [track for row, track in enumerate(tracks) if row not in given]

    def _begin(self, row: Array) -> Track:
        self.begun += 1
        place = middles(row[None, 1:5])[0]
        size = np.tile(np.maximum(place[2:], 1.0), 2)
        spread = np.zeros((2, 2, 4))
        spread[0, 0], spread[1, 1] = (2 * PLACE * size) ** 2, (10 * SPEED * size) ** 2
        begun = Track(self.begun, place, spread, score=float(row[5]))
        begun.votes[int(row[0])] = float(row[5])
        return begun


def middles(box: Array) -> Array:
    """(n, 4) left, top, right, bottom -> middle x, middle y, width, height."""
    return np.concatenate([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1)
