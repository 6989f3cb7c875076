"""Videos: tracks that keep their number, figures of motion, files that break off."""

import csv
import json
import math
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import waiting
from PIL import Image

from souron.actions.predict import video
from souron.actions.watch import of_model, tracking
from souron.actions.watch import video as watch
from souron.actions.watch.tracking import Tracker
from souron.cli import actions, console, main
from souron.inference.engine import Engine
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import moving
from souron.lecture import samples
from souron.metrics import motion
from souron.utils.messages import UserError

RATE = 25.0


def square(x, y, side=10, label=0, score=0.9):
    return [label, x - side / 2, y - side / 2, x + side / 2, y + side / 2, score]


def followed(frames, **options):
    """Of each frame the numbers of its tracks by what was found."""
    tracker = Tracker(**options)
    return [{track.number: track.box for track in tracker.update(np.reshape(rows, (-1, 6)))} for rows in frames]


def test_two_things_that_cross_keep_their_numbers():
    """Only what was foretold from their speed tells them apart where they meet."""
    frames = [[square(10 + 4 * t, 50), square(170 - 4 * t, 52)] for t in range(40)]
    found = followed(frames)
    assert all(set(numbers) == {1, 2} for numbers in found)
    assert found[-1][1][0] > 150 and found[-1][2][0] < 20


def test_a_thing_that_is_half_hidden_is_followed_by_its_unsure_box():
    frames = [[square(10 + 2 * t, 50, score=0.15 if 10 <= t < 20 else 0.9)] for t in range(30)]
    assert all(set(numbers) == {1} for numbers in followed(frames))
    unsure = [[square(10, 50, score=0.15)] for _t in range(5)]
    assert not any(followed(unsure))  # but it begins no track
    nothing = [[square(10, 50, score=0.05)] for _t in range(5)]
    assert not any(followed([frames[0], frames[1], *nothing])[2:])


def test_an_unsure_box_takes_up_no_track_that_was_lost_before():
    """Only a track that was seen in the frame before goes on with one."""
    frames = [[square(10 + 2 * t, 50)] for t in range(5)]
    frames += [[], [], []] + [[square(10 + 2 * t, 50, score=0.15)] for t in range(8, 11)]
    assert not any(followed(frames)[5:])
    assert set(followed([*frames, [square(32, 50)]])[-1]) == {1}


def test_a_pair_that_overlaps_too_little_takes_no_box_from_one_that_fits():
    """Overlaps .50 and .19 of the first track, .36 and 0 of the second: in sum the misfits win."""
    tracker = Tracker()
    first, second = ([0.0, x, 0.0, x + 100.0, 10.0, 0.9] for x in (0.0, 80.3))
    tracker.update([first, second])
    near, far = ([0.0, x, 0.0, x + 100.0, 10.0, 0.9] for x in (33.3, -68.0))
    left, without = tracker._give(np.array([near, far]), tracker.tracks, 0.2)
    assert left[:, 1].tolist() == [-68.0] and [track.number for track in without] == [2]


def test_a_thing_that_comes_back_has_its_number_and_one_that_stays_away_a_new_one():
    there = [[square(10 + 2 * t, 50)] for t in range(60)]
    gap = [frame if t < 10 or t >= 25 else [] for t, frame in enumerate(there)]
    assert set(followed(gap)[30]) == {1}
    away = [*there[:10], *[[]] * (tracking.PATIENCE + 5), *there[10:20]]
    assert set(followed(away)[-1]) == {2}


def test_what_is_seen_once_is_no_thing():
    frames = [[square(20, 20), *([square(150, 150)] if t == 5 else [])] for t in range(12)]
    found = followed(frames)
    assert set(found[5]) == {1, 2} and set(found[6]) == {1}
    later = followed([*frames, [square(20, 20), square(150, 150)]])
    assert set(later[-1]) == {1, 3}  # the one seen once is not waited for


def test_the_label_that_was_surest_in_sum_names_a_track():
    tracker = Tracker()
    for label, score in ((1, 0.4), (0, 0.9), (1, 0.3), (1, 0.5)):
        [track] = tracker.update([square(50, 50, label=label, score=score)])
    assert track.label == 1 and track.votes[1] == pytest.approx(1.2)


def test_dropped_frames_are_reckoned_with():
    """Ten pixels a frame, only every third frame looked at: without the gap no box would overlap
    what was foretold."""
    tracker, numbers = Tracker(), []
    for t in range(12):
        numbers += [track.number for track in tracker.update([square(10 + 10 * t, 50, 30)])]
    for t in range(14, 60, 3):
        seen = tracker.update([square(10 + 10 * t, 50, 30)], 3.0)
        numbers += [track.number for track in seen]
    assert set(numbers) == {1}


def test_motion_of_a_straight_line_a_circle_and_of_rest():
    at = np.arange(0, 4, 1 / RATE)
    line = motion.motion(np.stack([30 * at, 40 * at], 1), at, 20)
    assert line.seconds == pytest.approx(at[-1]) and line.path == pytest.approx(50 * at[-1])
    assert line.economy == pytest.approx(1) and line.idle == 0
    assert line.mean_speed == pytest.approx(50) and line.peak_speed == pytest.approx(50)

    turn = 2 * math.pi * at / at[-1]
    circle = motion.motion(100 * np.stack([np.cos(turn), np.sin(turn)], 1), at, 20)
    assert circle.path == pytest.approx(2 * math.pi * 100, rel=0.01)
    assert circle.displacement < 1 and circle.economy < 0.01

    rest = motion.motion(np.zeros((len(at), 2)), at, 20)
    assert rest.path == 0 and rest.idle == pytest.approx(at[-1])
    assert math.isnan(rest.economy) and math.isnan(rest.jerk)


def test_jerk_is_that_of_the_smoothest_way_and_more_where_it_trembles():
    """The minimum-jerk way (Flash, Hogan 1985) has the dimensionless jerk 204.8."""
    at = np.linspace(0, 1, 201)
    smoothest = 100 * (10 * at**3 - 15 * at**4 + 6 * at**5)
    place = np.stack([smoothest, np.zeros_like(at)], 1)
    told = motion.motion(place, 8 * at, 10)
    assert told.jerk == pytest.approx(math.log(720 / (15 / 8) ** 2), abs=0.1)
    assert told.peak_speed == pytest.approx(187.5 / 8, rel=0.01)
    larger = motion.motion(3 * place, 12 * at, 10).jerk
    assert larger == pytest.approx(told.jerk, abs=0.1)  # it has no unit
    noise = np.random.default_rng(0).normal(0, 1.0, place.shape)
    assert motion.motion(place + noise, 8 * at, 10).jerk > told.jerk + 1


def test_gaps_and_uneven_times_are_bridged():
    at = np.sort(np.random.default_rng(1).uniform(0, 4, 80))
    line = motion.motion(np.stack([50 * at, 0 * at], 1), at, 20)
    assert line.mean_speed == pytest.approx(50, rel=0.01)
    assert line.economy == pytest.approx(1, abs=1e-6)
    few = motion.motion([[0, 0], [10, 0]], [0.0, 1.0], 5)
    assert (few.path, few.seconds) == (10, 1) and math.isnan(few.jerk)
    one = motion.motion([[3, 4]], [0.0], 5)
    assert (one.path, one.seconds, one.mean_speed) == (0, 0, 0)


@pytest.fixture
def clip(tmp_path):
    """A bright square that crosses a dark picture in two seconds."""
    pytest.importorskip("av")
    return film(tmp_path / "clip.mp4")


def film(path, frames=50):
    with moving.Writer(path, RATE) as writer:
        for t in range(frames):
            pixels = np.full((96, 160, 3), 20, np.uint8)
            pixels[40:60, 2 * t : 2 * t + 20] = 230
            writer.write(pixels)
    return path


def look(picture, least):
    """Where it is bright."""
    bright = np.asarray(picture.image.convert("L")) > 128
    if not bright.any():
        return Boxes(picture, np.zeros((0, 4)), [], [], ("dark", "bright"))
    rows, columns = (np.nonzero(bright.any(axis))[0] for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return Boxes(picture, np.array([box], float), ["bright"], [0.9], ("dark", "bright"))


def run(source, folder, **options):
    *frames, last = watch.watching(look, source, folder, classes=("dark", "bright"), **options)
    return frames, last.record


def test_a_video_becomes_tracks_figures_and_a_drawn_video(clip, tmp_path):
    frames, record = run(clip, tmp_path / "out")
    assert record.frames == len(frames) == 50 and record.dropped == 0 and not record.broken
    assert record.rate == pytest.approx(RATE)
    [track] = record.tracks
    assert record.cuts == 0
    assert (track.number, track.label, track.frames) == (1, "bright", 50)
    assert track.motion.path == pytest.approx(98, rel=0.05)
    assert track.motion.mean_speed == pytest.approx(50, rel=0.05)
    assert frames[10].rows[0]["xyxy"] == pytest.approx([20, 40, 40, 60], abs=2)
    assert frames[-1].fraction == pytest.approx(1, abs=0.05)
    with (tmp_path / "out" / "tracks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50 and float(rows[25]["seconds"]) == pytest.approx(1, abs=0.01)
    with (tmp_path / "out" / "motion.csv").open() as file:
        [row] = csv.DictReader(file)
    assert float(row["path"]) == pytest.approx(98, rel=0.05) and row["unit"] == "px"
    with Image.open(tmp_path / "out" / "motion.png") as plot:
        assert plot.size[0] > 400
    drawn = list(moving.frames(tmp_path / "out" / "video.mp4"))
    assert len(drawn) == 50 and drawn[0].pixels.shape[:2] == (288, 480)  # enlarged in whole steps
    assert np.ptp(drawn[20].pixels[60:110, 100:180].astype(int), axis=2).max() > 60  # in colour


def test_no_track_goes_on_across_a_cut(tmp_path):
    """The thing of the second shot stands where that of the first stood; the ground is another."""
    pytest.importorskip("av")
    with moving.Writer(tmp_path / "cut.mp4", RATE) as writer:
        for ground in [20] * 12 + [100] * 12:
            pixels = np.full((96, 160, 3), ground, np.uint8)
            pixels[40:60, 70:90] = 230
            writer.write(pixels)
    record = run(tmp_path / "cut.mp4", tmp_path / "out")[1]
    assert record.cuts == record.as_json()["cuts"] == 1
    assert [(one.number, one.frames) for one in record.tracks] == [(1, 12), (2, 12)]


def test_a_frame_that_stays_longer_moves_what_is_foretold_by_its_time(tmp_path, monkeypatch):
    """Ten pixels in a fifth of a second, and from then on only every third frame is there."""
    times = [*range(12), *range(14, 60, 3)]

    def frames(_source):
        for t in times:
            pixels = np.full((40, 640, 3), 20, np.uint8)
            pixels[5:35, 10 * t : 10 * t + 30] = 230
            yield moving.Frame(pixels, 0.2, 0.2 * t)

    monkeypatch.setattr(moving, "frames", frames)
    monkeypatch.setattr(moving, "length", lambda _source: None)
    monkeypatch.setattr(moving, "decodes", lambda: False)
    record = run(tmp_path / "any.mp4", tmp_path / "out")[1]
    assert [(track.number, track.frames) for track in record.tracks] == [(1, len(times))]


def test_millimetres_a_pixel_are_the_unit_of_motion(clip, tmp_path):
    record = run(clip, tmp_path / "out", mm=0.5)[1]
    assert record.unit == "mm" and record.tracks[0].motion.path == pytest.approx(49, rel=0.05)
    assert (tmp_path / "out" / "motion.csv").read_text().splitlines()[1].endswith(",mm")


def test_as_it_plays_frames_that_come_too_fast_are_counted(clip, tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))

    def slow(image, least):
        clock.now += 0.1  # two and a half frames
        return look(image, least)

    *_frames, last = watch.watching(slow, clip, tmp_path / "out", classes=("dark", "bright"), live=True)
    record = last.record
    assert 18 <= record.frames <= 26 and record.frames + record.dropped == 50
    assert [track.number for track in record.tracks] == [1]
    patient = run(clip, tmp_path / "other", live=True)[1]
    assert patient.dropped == 0 and clock.now > 1.9  # it waits for each frame's time


def test_a_file_says_how_many_frames_to_expect(clip, tmp_path):
    frames = [Image.new("RGB", (8, 8), (20 * number, 0, 0)) for number in range(7)]
    frames[0].save(tmp_path / "seven.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:2000])
    (tmp_path / "cut.gif").write_bytes(b"GIF89a")
    files = [tmp_path / "seven.gif", clip, tmp_path / "cut.mp4", tmp_path / "cut.gif", tmp_path / "none.mp4"]
    assert [moving.count(file) for file in files] == [7, 50, None, None, None]


def test_for_a_short_video_no_engine_is_built(tmp_path, monkeypatch):
    samples.write(tmp_path, "souron predict scene.gif")
    built = []
    monkeypatch.setattr(Engine, "_start", lambda engine: built.append(engine.plan.inputs))
    monkeypatch.setattr(Engine, "_saved", lambda engine, inputs: 0.03 * inputs)  # seconds, however busy it is here
    assert main.run(["predict", "yolo", "scene.gif", "fast=auto"]) == 0
    assert main.run(["watch", "yolo", "scene.gif", "fast=auto"]) == 0
    assert not built
    monkeypatch.setattr(moving, "count", lambda file: 100_000)
    assert main.run(["predict", "yolo", "scene.gif", "fast=auto"]) == 0
    assert set(built) == {100_000}


def test_a_video_that_breaks_off_keeps_what_came_before(clip, tmp_path):
    whole = clip.read_bytes()
    film(tmp_path / "long.mkv", 200)
    torn = tmp_path / "torn.mkv"
    torn.write_bytes((tmp_path / "long.mkv").read_bytes()[:4000])
    record = run(torn, tmp_path / "out")[1]
    assert 0 < record.frames < 200 and record.tracks
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    with pytest.raises(UserError) as trouble:
        run(tmp_path / "cut.mp4", tmp_path / "third")
    assert trouble.value.code == "unreadable" and not (tmp_path / "third").exists()


def test_ctrl_c_ends_it_well(clip, tmp_path):
    events = watch.watching(look, clip, tmp_path / "out", classes=("dark", "bright"))
    for _frame in range(20):
        next(events)
    record = events.throw(KeyboardInterrupt()).record
    assert record.frames == 20 and "20" in record.broken and len(record.tracks) == 1
    assert len(list(moving.frames(tmp_path / "out" / "video.mp4"))) == 20


def test_a_frame_is_not_kept(clip, tmp_path, monkeypatch):
    alive = []

    def counted(image, least):
        alive.append(image)
        return look(image, least)

    events = watch.watching(counted, clip, tmp_path / "out", classes=("dark", "bright"))
    import gc
    import weakref

    seen = []
    for _event, _number in zip(events, range(10), strict=False):
        seen.append(weakref.ref(alive.pop()))
        del _event
    gc.collect()
    assert sum(ref() is not None for ref in seen) <= 2


def test_no_frames_no_camera_no_decoder(tmp_path, monkeypatch):
    with pytest.raises(UserError) as trouble:
        run(tmp_path / "missing.mp4", tmp_path / "out")
    assert trouble.value.code == "missing"
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    with pytest.raises(UserError) as trouble:
        run(tmp_path / "a.mp4", tmp_path / "out")
    assert trouble.value.code in ("unreadable", "extra")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(UserError, match="not a video") as trouble:
        run(tmp_path / "text.mp4", tmp_path / "out")
    assert trouble.value.code == "not a video"
    with pytest.raises(UserError) as trouble:
        run(997, tmp_path / "out")
    assert trouble.value.exit in (3, 4)
    assert not (tmp_path / "out").exists()


def test_a_moving_gif_is_watched_without_a_decoder(tmp_path, monkeypatch):
    frames = [Image.new("L", (64, 64), 20) for _t in range(8)]
    for t, frame in enumerate(frames):
        frame.paste(230, (4 * t, 20, 4 * t + 16, 36))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    monkeypatch.setattr(moving, "decodes", lambda: False)
    record = run(tmp_path / "a.gif", tmp_path / "out")[1]
    assert record.frames == 8 and record.rate == pytest.approx(10)
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"tracks.csv", "motion.csv", "motion.png"}


def model(look=look):
    """A model that finds what is bright, as the command line holds one."""
    from souron.kinds import signature
    from souron.tasks.detect import Detector

    asked = signature.signature(Detector)
    system = SimpleNamespace(spec=SimpleNamespace(labels=("dark", "bright")))
    return SimpleNamespace(
        name="finder",
        asked=asked,
        system=system,
        check=None,
        outlier_detector=None,
        answered_by="eager",
        answer=lambda image, conf, **_other: look(image, conf),
    )


def test_which_source_is_a_video(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "still.png")
    detector = model()
    assert video.video_of(detector, [str(tmp_path / "still.png")], "") is None
    assert video.video_of(detector, ["a.mp4"], "").name == "a.mp4"
    assert video.video_of(detector, ["a.mp4", "b.mp4"], "") is None
    assert video.video_of(detector, [], "0") == 0
    from souron.kinds.labels import Labels

    other = SimpleNamespace(name="cnn", asked=SimpleNamespace(gives=Labels))
    assert video.video_of(other, ["a.mp4"], "") is None
    with pytest.raises(UserError) as trouble:
        video.video_of(other, [], "0")
    assert trouble.value.code == "option"


def told_of(model, clip, folder):
    """Process a video as ``souron predict`` does."""
    for record in console.follow(video.framed(of_model(model, clip, folder, {})), True):
        actions.tell(record)


def test_the_command_line_tells_of_each_frame_and_at_the_end(clip, tmp_path, capsys, monkeypatch):
    from souron.cli.console import screen

    monkeypatch.setattr(screen, "json", True)
    told_of(model(), clip, tmp_path / "out")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 51 and lines[3]["frame"] == 3 and lines[3]["boxes"][0]["label"] == "bright"
    assert {"fps", "dropped", "tracks"} <= set(lines[-1])
    assert lines[-1]["tracks"][0]["path"] == pytest.approx(98, rel=0.05)
    monkeypatch.setattr(screen, "json", False)
    told_of(model(), clip, tmp_path / "more")
    told = capsys.readouterr().out
    assert "50 frames" in told and "bright" in told and "more" in told


def test_a_video_that_would_take_too_long_ends_with_what_was_seen(clip, tmp_path):
    def watching(name):
        return watch.watching(look, clip, tmp_path / name, classes=("dark", "bright"))

    record = watch.within(-1.0, watching("out"))
    assert record.frames == 1 and "1 frames" in record.broken
    whole = watch.within(600.0, watching("all"))
    assert whole.frames == 50 and not whole.broken


def frame_of(number):
    return moving.Frame(np.full((4, 4, 3), number, np.uint8), 0.1, float(number))


def test_frames_are_decoded_while_earlier_ones_are_in_use():
    decoded = threading.Event()

    def coming():
        for number in range(10):
            if number == 2:
                decoded.set()
            yield frame_of(number)

    frames = moving.ahead(coming())
    assert next(frames).at == 0
    assert decoded.wait(waiting.LIMIT), "the third, though only the first was asked for"
    assert [frame.at for frame in frames] == list(range(1, 10))


def test_frames_before_a_break_come_before_its_error():
    def coming():
        yield from map(frame_of, range(3))
        raise UserError("unreadable", "it breaks off")

    seen = []
    with pytest.raises(UserError, match="breaks off"):
        for frame in moving.ahead(coming()):
            seen.append(frame.at)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 12])
def test_a_frame_that_cannot_be_encoded_is_an_error_of_the_film(tmp_path, monkeypatch, count):
    pytest.importorskip("av")

    def full(self, pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving.Writer, "_encode", full)
    with pytest.raises(OSError, match="No space"), moving.Writer(tmp_path / "film.mp4", RATE) as writer:
        for number in range(count):
            writer.write(frame_of(number).pixels)


STILL = [square(50, 50)]


def test_scores_just_high_enough_begin_and_continue_a_track():
    least = Tracker().least
    frames = [[square(50, 50, score=score)] for score in (0.25, 0.25, least)]
    assert [set(numbers) for numbers in followed(frames)] == [{1}] * 3
    beside = [square(50, 50), square(53, 50)]  # one box is given to one track alone
    assert set(followed([beside, beside, [square(50, 50, score=0.25)]])[-1]) == {1}


def test_a_track_of_one_frame_needs_more_overlap_than_one_of_several():
    assert set(followed([STILL, [square(56, 50)]])[-1]) == {2}, "an overlap of 0.25"
    assert set(followed([STILL, STILL, [square(56, 50)]])[-1]) == {1}
    tracker = Tracker()
    tracker.update(STILL)
    left, without = tracker._give(np.array(STILL), tracker.tracks, 1.0)
    assert not len(left) and not without, "the least overlap itself is enough"


def test_a_track_waits_just_as_long_as_its_patience():
    for away, number in ((tracking.PATIENCE, 1), (tracking.PATIENCE + 1, 2)):
        assert set(followed([STILL, STILL, *[[]] * away, STILL])[-1]) == {number}


def test_a_path_has_its_bounds(monkeypatch):
    monkeypatch.setattr(motion, "MOST", 6)
    paths = watch._Paths(1.0)
    for at in range(8):
        [track] = Tracker().update([square(10.0 * at, 50)])
        paths.add(track, "thing", 0.5 * at)
        assert (paths._motion(1) is None) == (at + 1 < watch.FEWEST)
    assert len(paths.place[1]) == 6
    assert paths.trail(1, 2.5) == [(30.0, 50.0), (40.0, 50.0), (50.0, 50.0)], "a second of it"


def test_motion_has_its_bounds(monkeypatch):
    slow = motion.motion([[0, 0], [2, 0], [4, 0]], [0.0, 1.0, 2.0], 20)
    assert slow.idle == 0, "not slower than a tenth of its size"
    assert motion.motion([[0, 0], [1, 1]], [2.0, 2.0], 5).seconds == 0
    windows = []
    monkeypatch.setattr(
        motion.scipy.signal, "savgol_filter", lambda path, window, *_a, **_k: windows.append(window) or path
    )
    for count in (5, 6, 50):
        motion.smooth(np.zeros((count, 2)), np.arange(count) / RATE)
    assert windows == [5] * 6 + [13] * 3, "odd, of half a second, and not longer than the path"


def test_an_event_tells_the_number_of_its_frame_and_the_time_left(tmp_path):
    record = watch.WatchRecord(tmp_path, "a.mp4", "mm", frames=5, seconds=3.0)
    event = watch._event(record, moving.Frame(np.zeros((4, 4, 3), np.uint8), 0.1, 1.0), [], 4, 4.0, None)
    assert event.text.startswith("frame 5,") and event.seconds_left == 9
    record.tracks = [watch.Tracked(number, "thing", 3, None) for number in range(20)]
    [table] = record.tables()
    assert "path (mm)" in table.columns and "speed (mm/s)" in table.columns
    assert not any("more" in str(line) for line in record.shown())


def test_a_film_without_a_rate_shows_each_frame_where_that_is_asked_for(tmp_path, monkeypatch):
    frame = moving.Frame(np.zeros((40, 40, 3), np.uint8), 0.0)
    monkeypatch.setattr(watch, "_opened", lambda _source: (frame, iter([])))
    monkeypatch.setattr(moving, "length", lambda _source: None)
    monkeypatch.setattr(moving, "decodes", lambda: False)
    monkeypatch.setattr(time, "perf_counter", lambda: 5.0)
    frames, record = run(tmp_path / "any.mp4", tmp_path / "out", every=0.0)
    assert record.rate == 25 and frames[0].picture is not None


def test_a_camera_has_at_most_three_figures():
    from souron.actions.watch import is_camera

    assert is_camera("100") and not is_camera("1000") and not is_camera("a.mp4")
