"""Multi-object tracking: join the boxes of a video's frames into tracks.

Zhang, Sun, Jiang, Yu, Weng, Yuan, Luo, Liu, Wang: ByteTrack: Multi-Object Tracking by Associating
Every Detection Box (2021). https://arxiv.org/abs/2110.06864

    1. each track predicts its box: centre, width and height with constant velocity
    2. high-score boxes are matched to tracks by IoU, all pairs at once (Hungarian method)
    3. low-score boxes, e.g. of occluded objects, are matched to the remaining tracks
    4. a remaining high-score box begins a track; a track without a box waits before it ends

Velocities are estimated by a Kalman filter (Kalman 1960, https://doi.org/10.1115/1.3662552), one
for each of the four numbers. Labels of single frames flicker, so a track may change its label: it
has the label with the highest sum of scores.

Differs from the paper: a box has a high score from ``conf``, 0.25, and a low one from 0.4 times
that, where the paper has 0.6 and 0.1; a track begins at the same score.
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

SURE, UNSURE, NEW = 0.2, 0.5, 0.3  # least IoU with a track: of high-score boxes, of low-score
# ones, with a track that began in the frame before
PATIENCE = 30  # frames that a track waits for a box
PLACE, SPEED = 1 / 20, 1 / 160  # standard deviations of position and speed per frame, in box sizes


@dataclass
class Track:
    """One tracked object.

    The state is that of four filters: centre x and y, width, height, in pixels.
    """

    number: int
    place: Array  # (4,)
    spread: Array  # (2, 2, 4): covariance of position and speed
    speed: Array = field(default_factory=lambda: np.zeros(4))  # pixels per frame
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
        """The box (4,) left, top, right, bottom."""
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
        """Update the state with the detection ``row`` (6,): label, left, top, right,
        bottom, score.
        """
        seen = middles(row[None, 1:5])[0]
        noise = (PLACE * np.tile(np.maximum(seen[2:], 1.0), 2)) ** 2
        gain = self.spread[:, 0] / (self.spread[0, 0] + noise)  # (2, 4)
        surprise = seen - self.place
        self.place, self.speed = self.place + gain[0] * surprise, self.speed + gain[1] * surprise
        self.spread = self.spread - gain[:, None] * self.spread[0][None]
        self.seen, self.lost, self.score = self.seen + 1, 0.0, float(row[5])
        self.votes[int(row[0])] += float(row[5])


class Tracker:
    """Assign the boxes of successive frames to tracks."""

    def __init__(self, conf: float = 0.25) -> None:
        self.conf = conf  # least score of a high-score box
        self.tracks: list[Track] = []
        self.begun = 0

    @property
    def least(self) -> float:
        """The lowest score of a box that is used."""
        return 0.4 * self.conf

    def update(self, found: Any, frames: float = 1.0) -> list[Track]:
        """Update with the boxes of a frame and return the tracks visible in it.

        ``found`` (n, 6): label, left, top, right, bottom in pixels, score; ``frames`` have passed
        since the previous call.
        """
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
        self.tracks = [track for track in self.tracks if track.number not in ended and track.lost <= PATIENCE]
        self.tracks += [self._begin(row) for row in sure]
        return [track for track in self.tracks if not track.lost]

    def cut(self) -> None:
        """End all tracks, for a new shot."""
        self.tracks = []

    def _give(self, found: Array, tracks: Sequence[Track], least: float) -> tuple[Array, list[Track]]:
        """Match boxes with tracks and return the unmatched ones of both."""
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
    """Convert boxes (n, 4) left, top, right, bottom to centre x, centre y, width, height."""
    return np.concatenate([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1)
