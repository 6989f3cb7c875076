"""``souron surface``: files, pictures and a page from a series, and what it says on the way."""

import base64
import io
import json
import plistlib
import re
import tarfile

import nibabel
import numpy as np
import pytest
import waiting
from browsing import CHROMIUM, visiting
from PIL import Image
from scanning import CENTRE, RADII, scan

from souron.actions import surface as study
from souron.cli import main
from souron.data import load
from souron.data.sets import head_ct
from souron.kinds.mesh import Mesh
from souron.kinds.volume import Volume
from souron.report import viewer as report
from souron.utils import plotting
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("each_drawn")

WHOLE = 4 / 3 * np.pi * RADII.prod() / 1000
STEPS = tuple(np.arange(-16, 17, 2.0))


@pytest.fixture
def series(tmp_path):
    scan(tmp_path / "series", size=(24, 40))
    return tmp_path / "series"


@pytest.fixture
def shrunk(monkeypatch):
    monkeypatch.setattr(report, "SIDE", 60)


def surface(source, level=study.BONE, part="largest", **options):
    return study.Surface().result(str(source), level=level, part=part, **options)


def told(capsys, *words, code=0):
    assert main.run(["surface", *map(str, words)]) == code
    return capsys.readouterr().out


def test_a_series_becomes_files_in_millimetres(series, tmp_path, capsys, shrunk):
    found = json.loads(told(capsys, series, "level=-470", f"out={tmp_path}/out", "--json"))
    assert found["volume"] == {"series": "CT 1", "spacing": [1.0, 1.5, 2.0], "size": [40, 24, 17], "orientation": "LPS"}
    assert found["millilitres"]["after"] == pytest.approx(WHOLE, rel=0.02)
    assert found["parts"] == 1 and found["open_edges"] == 0 and found["lost"] == 0
    names = ["surface.stl", "surface.ply", "surface.glb", "sides.png", "surface.html"]
    assert [str(tmp_path / "out" / name) for name in names] == found["files"]
    for name in names[:2]:
        mesh = Mesh.read(tmp_path / "out" / name)
        assert len(mesh.faces) == found["triangles"]["after"]
        assert mesh.vertices.max(0) == pytest.approx(CENTRE + RADII, abs=0.3)
        assert mesh.vertices.min(0) == pytest.approx(CENTRE - RADII, abs=0.3)
    with Image.open(tmp_path / "out" / "sides.png") as image:
        assert image.width > 8 * plotting.DOTS and np.asarray(image.convert("L")).std() > 5


def test_it_says_what_it_did(series, tmp_path, capsys, shrunk):
    said = told(capsys, series, "level=-470", "faces=1500")
    for words in (
        "1 x 1.5 x 2 mm",
        "40 x 24 x 17, LPS",
        "fewer triangles",
        "every edge has two",
        "runs/surface/series/surface.stl",
        "parts",
        "moved by",
        "seconds",
    ):
        assert words in said, words
    before, after = (int(count.replace(",", "")) for count in re.findall(r"([\d,]+) triangles,? ?", said)[:2])
    assert before > 1500 >= after
    assert len(Mesh.read(tmp_path / "runs/surface/series/surface.ply").faces) == after
    again = surface(series, -470)
    assert again.folder.name == "series-2"


def test_an_uneven_series_is_refused_or_noted(tmp_path, capsys, shrunk):
    files = scan(tmp_path / "series", size=(24, 40))
    files[5].unlink()
    assert main.run(["surface", str(tmp_path / "series")]) == 3
    error = capsys.readouterr().err
    assert "[geometry]" in error and "Missing slices: 1" in error and "resample=true" in error
    said = told(capsys, tmp_path / "series", "level=-470", "resample=true")
    assert "resampled onto an even grid" in said
    page = (tmp_path / "runs" / "surface" / "series" / "surface.html").read_text(encoding="utf-8")
    assert "Missing slices: 1" in page


@pytest.mark.parametrize(
    "words, code",
    [
        (["nowhere"], 3),
        (["digits"], 3),
        (["series", "part=half"], 2),
        (["series", "level=9000"], 3),
        (["series", "spacing=1,2"], 2),
        (["series", "series=7"], 3),
        (["head_ct"], 4),
    ],
)
def test_what_cannot_be_is_told(series, capsys, monkeypatch, tmp_path, words, code):
    monkeypatch.setattr(load, "INSTALLED", tmp_path)  # the package may be installed here
    assert main.run(["surface", *words]) == code
    assert "  expected: " in capsys.readouterr().err


def test_the_largest_part_or_all(tmp_path, shrunk):
    values = np.full((20, 20, 20), -1000, np.int16)
    values[2:10, 2:10, 2:10] = values[13:17, 13:17, 13:17] = 1000
    Volume(values, np.eye(4)).save(tmp_path / "a.nii.gz")
    largest, both = (surface("a.nii.gz", 0, part) for part in ("largest", "all"))
    assert largest.parts == both.parts == 2 and largest.lost == both.lost > 0.1
    assert largest.millilitres == pytest.approx(both.millilitres * (1 - both.lost))
    assert Mesh.read(largest.files[0]).extent == pytest.approx([8, 8, 8], abs=0.1)
    assert Mesh.read(both.files[0]).extent == pytest.approx([15, 15, 15], abs=0.1)


def test_a_spacing_may_be_given(tmp_path, capsys, shrunk):
    values = np.full((9, 9, 9), -1000, np.int16)
    values[2:7, 2:7, 2:7] = 1000
    nibabel.save(nibabel.Nifti1Image(values, None), tmp_path / "a.nii")
    assert main.run(["surface", "a.nii"]) == 3
    assert "spacing=" in capsys.readouterr().err
    record = surface(tmp_path / "a.nii", 0, spacing="1,2,3")
    assert record.millilitres == pytest.approx(0.125 * 6, rel=0.1)
    assert "swapped" in record.notes()[0]


def test_the_page_says_how_much_it_leaves_out(series, monkeypatch, shrunk):
    monkeypatch.setattr(report, "MOST_VOXELS", 3000)
    monkeypatch.setattr(study, "MOST_TURNED", 1000)
    record = surface(series, -470)
    page = record.files[-1].read_text(encoding="utf-8")
    assert "one voxel in 2" in page and f"of the {record.triangles:,} triangles" in page
    assert len(Mesh.read(record.files[0]).faces) == record.triangles > 1000


def test_what_the_page_carries_lies_where_the_volume_lies(series):
    volume = Volume.read(series)
    mask = volume.values > 0
    small, inside, step = report.shown(volume, mask)
    assert step == 1 and small.values is not None and np.array_equal(inside, mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "MOST_VOXELS", 3000)
        small, inside, step = report.shown(volume, mask)
    assert step == 2 and inside.shape == small.values.shape
    assert small.placed([[1, 2, 3]]) == pytest.approx(volume.placed([[2, 4, 6]]))


def test_surface_mask_and_volume_of_the_page_lie_in_one_space(series, tmp_path, shrunk):
    """NIfTI's: towards right, front and head."""
    page = surface(series, -470).files[-1].read_text(encoding="utf-8")
    for name, file in (("volume", "ct.nii.gz"), ("mask", "mask.nii.gz"), ("mesh1", "a.ply")):
        [held] = re.findall(rf'id="{name}"[^>]*>([^<]*)<', page)
        (tmp_path / file).write_bytes(base64.b64decode(held))
    mask, volume = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(tmp_path / "ct.nii.gz")
    assert np.array_equal(mask.affine, volume.affine)
    assert np.array_equal(mask.get_fdata() > 0, volume.get_fdata() > -470)
    inside = np.argwhere(mask.get_fdata()) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    vertices = Mesh.read(tmp_path / "a.ply").vertices
    assert vertices.min(0) == pytest.approx(inside.min(0), abs=2)
    assert vertices.max(0) == pytest.approx(inside.max(0), abs=2)
    assert vertices.mean(0) == pytest.approx(CENTRE * [-1, -1, 1], abs=0.2)


def archive(path, values, spacing=(0.9, 0.8, 1.5), **changed):
    """As InVesalius keeps a project."""
    about = {"matrix": {"shape": list(values.shape), "dtype": "int16"}, "spacing": list(spacing)}
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as out:
        for name, raw in (("main.plist", plistlib.dumps(about | changed)), ("matrix.dat", values.tobytes())):
            member = tarfile.TarInfo(f"tmpabc/{name}")
            member.size = len(raw)
            out.addfile(member, io.BytesIO(raw))


def test_the_head_is_read_from_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "data"))
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    archive(tmp_path / "data" / "head_ct" / "Cranium.inv3", values)
    volume = head_ct.volume()
    assert np.array_equal(volume.values, values) and volume.orientation == "LAS"
    assert volume.spacing == pytest.approx([0.9, 0.8, 1.5])
    assert volume.placed([[0, 4, 0]]) == pytest.approx(np.zeros((1, 3)))  # the last row: the front
    with pytest.raises(UserError) as caught:
        head_ct.load()
    assert caught.value.fix == "souron surface head_ct"


@pytest.mark.parametrize(
    "changed",
    [
        {"matrix": {"shape": [40_000, 5_000, 6_000], "dtype": "int16"}},
        {"matrix": {"shape": [9, 5, 6], "dtype": "int16"}},
        {"matrix": {"shape": [4, 5, 6], "dtype": "object"}},
        {"spacing": [0, 1, 1]},
        {"spacing": "x"},
    ],
)
def test_a_damaged_package_is_told(tmp_path, monkeypatch, changed):
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "data"))
    archive(tmp_path / "data" / "head_ct" / "Cranium.inv3", np.zeros((4, 5, 6), np.int16), **changed)
    with pytest.raises(UserError) as caught:
        head_ct.volume()
    assert caught.value.exit == 3


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
def test_in_a_browser_the_slices_are_drawn_and_nothing_is_asked_for(series, shrunk):
    record = surface(series, -470, faces=3000)
    with visiting() as visit:
        asked = []
        visit.page.on("request", lambda request: asked.append(request.url))
        visit.page.goto(record.files[-1].absolute().as_uri())
        visit.page.wait_for_selector("html[data-state]", state="attached")
        if not visit.page.evaluate("!!document.createElement('canvas').getContext('webgl2')"):
            pytest.skip("this Chromium has no WebGL 2")
        assert visit.page.evaluate("document.documentElement.dataset.state") == "ready"
        own = [url for url in asked if not url.startswith(("data:", "blob:"))]
        assert own == [record.files[-1].absolute().as_uri()]
        place = visit.page.inner_text("#place")
        assert re.fullmatch(r"-?\d+\.\d mm left, -?\d+\.\d mm back, -?\d+\.\d mm up: -?\d+", place)
        centre = [float(number) for number in re.findall(r"-?\d+\.\d", place)]
        assert centre == pytest.approx(CENTRE, abs=2)  # the middle of the volume, in patient's mm
        assert place.endswith(": 60")
        view = Image.open(io.BytesIO(visit.page.locator("#view").screenshot())).convert("RGB")
        pixels = np.asarray(view).astype(int)
        reddish = (pixels[..., 0] > pixels[..., 1] + 30).mean()
        ivory = (np.abs(pixels[..., 0] - pixels[..., 1]) < 25) & (pixels[..., 0] > 120)
        assert reddish > 0.02 and ivory.mean() > 0.005
        visit.page.select_option("#window", "40,80")
        visit.page.locator("#opacity").fill("0")

        def is_pale():
            after = Image.open(io.BytesIO(visit.page.locator("#view").screenshot())).convert("RGB")
            pixels = np.asarray(after).astype(int)
            return (pixels[..., 0] > pixels[..., 1] + 30).mean() < reddish / 2

        waiting.until(is_pale)
        assert not visit.errors
