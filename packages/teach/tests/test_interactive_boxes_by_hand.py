"""Boxes by hand: overlaps, suppression, matching and AP in the script are those of souron."""

import base64
import json
import re

import browsing
import numpy as np
import pytest
import torch

from souron.blocks import boxes
from souron.data.composing.cutouts import CATEGORIES
from souron.hub import zoo
from souron.metrics import detection
from souron.studio import interactive
from souron.studio.interactives import boxes_by_hand
from souron.studio.model_cache import models
from souron.tasks.detect import suppressed

READY = pytest.mark.skipif(
    any(zoo.where(name) is None for name in boxes_by_hand.DETECTORS), reason="souron-zoo is not installed"
)


def left(rows, least, limit):
    """The raw boxes that souron keeps, (n, 6): label, edges, score; the highest score first."""
    some = torch.tensor([row[:6] for row in rows if row[5] > least], dtype=torch.float64).view(-1, 6)
    return some[boxes.local_maxima(some[:, 1:5], some[:, 5], some[:, 0].long(), limit)].numpy()


def precision(raw, truth, least, limit, overlap):
    """Average precision of each label, (labels,), nan without objects."""
    matches = detection.match(
        [np.array(each) for each in truth], [left(rows, least, limit) for rows in raw], len(CATEGORIES), sizes=False
    )
    return matches.precision[0, overlap]


def test_the_pictures_are_packed_with_their_boxes():
    found, (image, truth) = boxes_by_hand.pictures(), boxes_by_hand.scenes()
    assert len(found["images"]) == len(found["truth"]) == boxes_by_hand.COUNT
    first = np.frombuffer(base64.b64decode(found["images"][3]), np.uint8)
    assert (first.reshape(128, 128, 3) == image[3].permute(1, 2, 0).numpy()).all()
    assert np.array(found["truth"][3]) == pytest.approx(truth[3].numpy())


@READY
@pytest.mark.parametrize("name", boxes_by_hand.DETECTORS)
def test_raw_boxes_are_those_that_the_detector_suppresses(name):
    image, _truth = boxes_by_hand.scenes()
    with models.answering(name) as model, torch.inference_mode():
        box, score = (part.float() for part in model.system(image / 255))
        anchors = model.system.outputs(image / 255)[2] if hasattr(model.system, "outputs") else None
    found = boxes_by_hand.raw(name)
    for number, rows in enumerate(found["raw"]):
        assert len(rows) < boxes_by_hand.MOST  # none was left out
        mine, theirs = left(rows, 0.2, 0.5), suppressed(box[number], score[number], 0.2, 0.5).numpy()
        assert mine == pytest.approx(theirs, abs=0.006)
    starts = np.cumsum([0, *(one["cells"] ** 2 * max(1, len(one["anchors"])) for one in found["levels"])])
    assert starts[-1] == box.shape[1]
    label, *_edges, sure, level, row, column = found["raw"][0][0]
    one = found["levels"][level]
    each = max(1, len(one["anchors"]))
    places = starts[level] + (row * one["cells"] + column) * each + np.arange(each)
    assert score[0, places, label].max() == pytest.approx(sure, abs=1e-6)  # it comes from this cell
    if anchors is not None:
        middle = np.array([column + 0.5, row + 0.5]) * one["stride"]
        half = np.array(one["anchors"]) / 2
        assert anchors[places].numpy() == pytest.approx(np.concatenate([middle - half, middle + half], 1), abs=0.02)


def test_half_a_box_beside_is_an_overlap_of_a_third():
    shared = detection.overlaps(np.array([[5.0, 0, 15, 10]]), np.array([[0.0, 0, 10, 10]]))
    assert shared.item() == pytest.approx(1 / 3) and boxes_by_hand.CHOICES[boxes_by_hand.RIGHT] == "One third"


@READY
def test_an_exported_page_carries_pictures_and_both_detectors():
    answers = [interactive.answer("boxes_by_hand", asked) for asked in boxes_by_hand.record()]
    assert len(answers) == 3 and len(json.dumps(answers)) < 2_500_000


@READY
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_overlaps_suppression_and_ap_are_souron_s(looked_at):
    truth = boxes_by_hand.pictures()["truth"]
    settings = [(0.05, 0.45, 0), (0.3, 0.7, 0), (0.05, 1.0, 4), (0.15, 0.1, 8)]
    with browsing.visiting() as visit:
        visit.page.goto(f"{looked_at.address}/en/interactives?name=boxes_by_hand")
        for name in boxes_by_hand.DETECTORS:
            raw = boxes_by_hand.raw(name)["raw"]
            found = visit.page.evaluate(
                """async ({ raw, truth, settings }) => {
                  const made = await import("/static/interactives/boxes_by_hand.js");
                  const edges = (row) => row.slice(1, 5);
                  return {
                    overlaps: truth[0].map((one) => raw[0].slice(0, 30).map((row) => made.iou(edges(one), edges(row)))),
                    kept: settings.map(([least, limit]) => raw.map((rows) =>
                      made.suppress(rows, least, limit).flatMap((fate, i) => (fate.kept ? [i] : [])))),
                    ap: settings.map(([least, limit, at]) => [0, 1, 2, 3, 4, 5, 6, 7].map((label) => {
                      const rows = made.detections(raw, truth, label, { least, limit, overlap: 0.5 + 0.05 * at });
                      const things = truth.flat().filter((box) => box[0] === label).length;
                      return things ? made.averagePrecision(rows.map((one) => one.right), things).ap : null;
                    })),
                  };
                }""",
                {"raw": raw, "truth": truth, "settings": settings},
            )
            some = torch.tensor([row[1:5] for row in raw[0][:30]], dtype=torch.float64)
            things = torch.tensor([box[1:] for box in truth[0]], dtype=torch.float64)
            assert np.array(found["overlaps"]) == pytest.approx(boxes.overlaps(things, some).numpy())
            for (least, limit, at), kept, ap in zip(settings, found["kept"], found["ap"], strict=True):
                for rows, indices in zip(raw, kept, strict=True):
                    assert [rows[i][:6] for i in indices] == left(rows, least, limit).tolist()
                expected = precision(raw, truth, least, limit, at)
                assert np.array(ap, float) == pytest.approx(expected, nan_ok=True)


def text(page, part):
    return page.locator(f"[data-part={part}]").text_content()


@READY
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_boxes_are_drawn_by_mouse_and_keyboard_and_every_control_answers(looked_at):
    truth, raw = boxes_by_hand.pictures()["truth"], boxes_by_hand.raw("ssd")["raw"]
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=boxes_by_hand")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        page.locator("[name=picture]").select_option("2")
        scene = page.locator("canvas[data-canvas=scene]")
        scene.scroll_into_view_if_needed()
        edge = scene.bounding_box()
        label, *box = truth[2][0]
        points = [(edge["x"] + x * edge["width"] / 128, edge["y"] + y * edge["height"] / 128) for x, y in
                  (box[:2], box[2:])]  # fmt: skip
        page.mouse.move(*points[0])
        page.mouse.down()
        page.mouse.move(*points[1])
        page.mouse.up()
        drawn = re.search(r"Box 1: IoU ([\d.]+) with the true box of “(\w+)”", text(page, "mine"))
        assert float(drawn[1]) > 0.93 and drawn[2] == CATEGORIES[label]  # whole pixels of the screen
        page.locator("[data-do=clear]").click()
        scene.focus()
        for key in ("Enter", *["ArrowRight"] * 5, *["ArrowDown"] * 5, "Enter"):
            page.keyboard.press(key)
        by_keys = detection.overlaps(np.array([[64.0, 64, 84, 84]]), np.array(truth[2])[:, 1:]).max()
        assert (f"IoU {by_keys:.3f}" if by_keys else "touches no true box") in text(page, "mine")

        page.locator("[name=detector]").select_option("ssd")
        page.wait_for_function("document.querySelector('[name=limit]').value === '0.45'")
        page.wait_for_selector("[name=stride] option:nth-child(6)", state="attached")
        for name, value in (("least", 0.1), ("limit", 0.6), ("candidate", 2)):
            page.locator(f"[name={name}]").fill(str(value))
        kept = len(left(raw[2], 0.1, 0.6))
        low = sum(row[5] <= 0.1 for row in raw[2])
        gone = len(raw[2]) - low - kept
        assert f"{low} are below the minimum confidence, {gone} suppressed" in text(page, "counts")
        assert f"Raw box 2 of {len(raw[2])}, “{CATEGORIES[raw[2][1][0]]}”" in text(page, "fate")
        page.locator("[name=stride]").select_option("1")
        page.locator("canvas[data-canvas=raw]").focus()
        page.keyboard.press("ArrowDown")
        assert "Stride 16: 8 × 8 cells. Row 2, column 1: 6 default boxes" in text(page, "cell")

        for number, at in ((4, 0), (0, 5)):
            page.locator("[name=label]").select_option(str(number))
            page.locator("[name=overlap]").select_option(f"{0.5 + 0.05 * at:.2f}")
            ap = precision(raw, truth, 0.1, 0.6, at)
            assert f"AP of “{CATEGORIES[number]}” at an IoU of {0.5 + 0.05 * at:.2f}: {ap[number]:.3f}." in text(
                page, "area"
            )
            assert f"labels: {np.nanmean(ap):.3f}." in text(page, "area")
            assert f"Area so far {ap[number]:.3f}." in text(page, "area")  # the last detection is shown
        page.locator("[data-do=earlier]").click()
        assert re.search(r"Detection (\d+) of", text(page, "step"))
        assert visit.outside == [] and visit.errors == []
