"""The page of a labelled volume: slices linked with surfaces, offline, alone and in the studio."""

import base64
import gzip
import json
import re

import nibabel
import numpy as np
import pytest
import waiting
from browsing import CHROMIUM, visiting
from fastapi import FastAPI
from fastapi.testclient import TestClient

from souron.kinds.codecs import axes
from souron.kinds.codecs.grid import upright
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.mesh import Mesh
from souron.kinds.volume import Volume
from souron.report import labelled, viewer
from souron.studio import files, volume_pages
from souron.utils.messages import use_language

NAMES = ["", "liver", "never there", "<b>左腎"]


@pytest.fixture
def thing():
    """Two boxes in a body, of 2 x 2.5 x 3 mm."""
    values = np.full((20, 24, 28), -1000, np.int16)
    values[2:18, 3:21, 3:25] = 40
    area = np.zeros(values.shape, np.uint8)
    area[6:14, 8:16, 5:12], area[5:9, 6:18, 16:23] = 1, 3
    volume = Volume(values, upright((2, 2.5, 3)), "torso.nii.gz")
    return LabelledVolume(volume, area, NAMES)


def held(page, name):
    [found] = re.findall(rf'id="{name}"[^>]*>([^<]*)<', page)
    return found


def test_it_carries_the_volume_the_labels_and_a_surface_each(thing, tmp_path):
    page = labelled.text(thing)
    assert "<b>左" not in page and "&lt;b&gt;左腎" in page and "never there" in page
    about = json.loads(held(page, "about"))
    assert len(about["meshes"]) == len(about["labels"]) == 2
    raw = base64.b64decode(held(page, "mask"))
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(raw))
    assert np.array_equal(np.asarray(mask.dataobj).T, np.array([0, 1, 0, 2])[thing.area])
    for number, label in ((1, 1), (2, 3)):
        (tmp_path / "a.ply").write_bytes(base64.b64decode(held(page, f"mesh{number}")))
        middle = Mesh.read(tmp_path / "a.ply").vertices.mean(0) * [-1, -1, 1]
        true = thing.volume.placed(np.argwhere(thing.area == label)).mean(0)
        assert middle == pytest.approx(true, abs=0.5)
    assert "://" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for window in ("bone", "lung", "soft tissue"):
        assert f">{window} (" in page
    with use_language("ja"):
        assert "軟部組織" in labelled.text(thing)


def test_three_planes_stand_as_radiologists_see_them(thing):
    """The head on top, the front on top or on the left; the patient's right on the left; whatever
    the axes of the file."""
    area = np.zeros(thing.area.shape, np.uint8)
    area[15:, :5, :6] = 1  # to the head, the front and the right
    turned = axes.turned(area, thing.volume.affine, (2, 0, 1), (0, 2))
    values = axes.turned(thing.volume.values, thing.volume.affine, (2, 0, 1), (0, 2))[0]
    for volume, labels in ((thing.volume, area), (Volume(values, turned[1]), turned[0])):
        shown = LabelledVolume(volume, labels, ["", "a"]).planes()
        pixels = np.asarray(shown).astype(int)
        assert shown.size[0] > 3 * 300
        tinted = pixels[..., 2] > pixels[..., 0] + 20  # blue
        rows, columns = np.nonzero(tinted)
        panes = np.array_split(np.arange(shown.size[0]), 3)
        for pane in panes:
            here = np.isin(columns, pane)
            assert rows[here].mean() < 90
            assert columns[here].mean() - pane[0] < 130


def test_a_large_volume_is_thinned_and_says_so(thing, monkeypatch):
    monkeypatch.setattr(viewer, "MOST_VOXELS", 2000)
    assert "one voxel in 2" in labelled.text(thing) and "millilitres are of all" in (labelled.text(thing))


def test_what_is_no_ct_is_shown_in_its_own_window(thing):
    bright = Volume(np.abs(thing.volume.values).astype(np.float32) * 7, thing.volume.affine)
    page = labelled.text(LabelledVolume(bright, thing.area, NAMES))
    assert re.search(r'value="[^"]+" selected>all<', page)


def test_pages_are_kept_a_while_under_names_that_cannot_be_guessed(thing, tmp_path, monkeypatch):
    monkeypatch.setattr(volume_pages, "MOST", 2)
    frame = volume_pages.frame(thing)
    address = re.search(r'src="([^"]+)"', frame)[1]
    app = FastAPI()
    files.add(app, tmp_path, None)
    client = TestClient(app)
    answer = client.get(address)
    assert answer.status_code == 200 and "liver" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "same-origin" not in policy
    assert "default-src 'none'" in policy
    ja = client.get(address.replace("/en/", "/ja/"))
    assert "軟部組織" in ja.text and client.get(address.replace("/en/", "/xx/")).status_code == 404
    assert client.get(address + "x").status_code == 404
    assert volume_pages.keep(thing) != volume_pages.keep(thing)
    assert client.get(address).status_code == 404


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("framed", [False, True])
def test_a_click_into_a_slice_moves_the_others(thing, tmp_path, framed):
    page = labelled.write(thing, tmp_path / "view.html")
    with visiting() as visit:
        place = visit.page
        asked = []
        place.on("request", lambda request: asked.append(request.url))
        if framed:
            headers = {"Content-Security-Policy": volume_pages.POLICY, "Content-Type": "text/html"}
            frame = '<iframe src="/view" sandbox="allow-scripts" width="900" height="900">'
            own = {"Content-Type": "text/html"}
            place.route("**/studio", lambda route: route.fulfill(body=frame, headers=own))
            place.route("**/view", lambda route: route.fulfill(path=page, headers=headers))
            place.goto("http://127.0.0.1:9/studio")
            view = place.frame_locator("iframe")
        else:
            place.goto(page.absolute().as_uri())
            view = place
        view.locator("html[data-state]").wait_for(state="attached")
        if not place.evaluate("!!document.createElement('canvas').getContext('webgl2')"):
            pytest.skip("this Chromium has no WebGL 2")
        assert view.locator("html").get_attribute("data-state") == "ready"
        assert view.locator("header").is_visible() != framed

        def numbers():
            text = view.locator("#place").inner_text()
            return [float(number) for number in re.findall(r"-?\d+\.\d", text)]

        before, canvas = numbers(), view.locator("#view")
        first = canvas.screenshot()
        box = canvas.bounding_box()
        canvas.click(position={"x": box["width"] * 0.2, "y": box["height"] * 0.72})
        waiting.until(lambda: numbers() != before)
        assert len(before) == 3
        after = waiting.until(lambda: (seen := canvas.screenshot()) != first and seen)
        view.locator("input.label").first.uncheck()
        waiting.until(lambda: canvas.screenshot() != after)
        assert len([url for url in asked if not url.startswith(("data:", "blob:"))]) == 1 + framed
        if framed:  # in any frame the slices are whole
            place.evaluate("document.querySelector('iframe').height = 520")
            waiting.until(lambda: view.locator("html").evaluate("page => page.scrollHeight <= page.clientHeight"))
        assert not visit.errors
