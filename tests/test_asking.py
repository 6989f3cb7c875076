"""What a system can be asked, read from its own file; asking in Python and on the command line."""

import json
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import roots
import torch
from dropping import BODIES, EXAMPLES, dropped, film, made_run, pyramid, ramp, source, tone, written
from PIL import Image

import souron
from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.data.dataset import Rows
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.kinds.sound import Sound
from souron.kinds.text import Text
from souron.kinds.video import Video
from souron.utils.messages import UserError

HOUSE = Path(souron.__file__).parent


@pytest.fixture
def systems(tmp_path):
    """One for each kind that comes out, named as the kind with ``er``."""
    with dropped(tmp_path, {f"{kind}er": source(kind) for kind in BODIES}):
        yield


@pytest.mark.parametrize("kind", BODIES)
def test_a_dropped_file_says_what_it_can_be_asked(kind, systems):
    asked = signature.signature(registry.load_system(f"{kind}er")[0])
    assert asked is not None
    assert (asked.given.widget, asked.gives.widget) == (BODIES[kind][0], kind)
    assert list(asked.options) == ["least", "count", "reach", "way", "loud", "word"]
    assert asked.options["least"].allowed == "0..1" and asked.options["reach"].allowed == "0.."
    assert asked.options["reach"].default == 1.0
    assert isinstance(asked.options["reach"].default, float)  # 1 was written
    assert asked.options["way"].allowed == "up, down"


@pytest.mark.parametrize("kind", BODIES)
def test_a_dropped_file_answers(kind, systems, tmp_path):
    given = EXAMPLES[BODIES[kind][0]]()
    model = models_api.load(f"{kind}er")
    told = {"least": "0.5", "count": 2, "loud": "true"}
    in_memory = model(given, **told)
    assert in_memory.widget == kind
    file = tmp_path / f"写真 1{given.suffix}"
    given.save(file)
    [(name, from_file)] = models_api.predict(model, [file], **told)
    assert name == file and type(from_file) is type(in_memory)
    assert from_file.as_json().keys() == in_memory.as_json().keys()


def test_options_are_read_as_their_types(systems):
    known = signature.signature(registry.load_system("texter")[0]).options
    given = {"least": "0.5", "count": "3", "way": "down", "loud": "false", "word": "7"}
    assert signature.read_options(known, given) == {"least": 0.5, "count": 3, "way": "down", "loud": False, "word": "7"}
    assert known["count"].read(3.0) == 3  # a page's number


@pytest.mark.parametrize(
    "name, text, code",
    [
        ("least", "1.5", "value"),
        ("least", "nan", "value"),
        ("least", "x", "option"),
        ("count", "2.5", "option"),
        ("count", 2.5, "option"),
        ("count", None, "option"),
        ("count", "0", "value"),
        ("count", float("inf"), "option"),
        ("way", "left", "value"),
        ("loud", "perhaps", "option"),
        ("reach", "-1", "value"),
        ("lesat", "0.5", "option"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_what_would(systems, name, text, code):
    with pytest.raises(UserError) as trouble:
        signature.read_options(signature.signature(registry.load_system("texter")[0]).options, {name: text})
    assert trouble.value.code == code and trouble.value.expected


def test_what_answers_nothing_says_so():
    for name in ("kmeans", "vae", "ddpm"):
        system = registry.load_system(name)[0]
        assert signature.signature(system) is None
    seen = registry.load_task("cluster").Spec(4)
    kind, config = registry.load_system("kmeans")
    with pytest.raises(UserError) as trouble:
        models_api.Model("kmeans", kind(config, seen))("photo.png")
    assert trouble.value.code == "task" and trouble.value.expected


class Broken:
    def no_kind(self, given: int) -> Labels: ...

    def nothing_back(self, given: Picture): ...

    def not_read(self, given: Labels) -> Labels: ...

    def by_place(self, given: Picture, least: float = 0.5) -> Labels: ...

    def no_choice(self, given: Picture, *, least: float = 0.5) -> Labels: ...

    def no_default(self, given: Picture, *, least: Annotated[float, Choice("x")]) -> Labels: ...


@pytest.mark.parametrize("method", [name for name in vars(Broken) if name[0] != "_"])
def test_a_signature_that_nothing_could_be_drawn_from_is_refused(method):
    with pytest.raises(AssertionError):
        signature.signature(type("Strange", (), {"predict": vars(Broken)[method]}))


def test_every_predict_of_the_house_can_be_read():
    """Those of tasks by what inherits them; a ``predict`` in a file that none reaches is found."""
    written = {
        file
        for file in roots.sources()
        if roots.within(file).parts[0] in ("systems", "tasks")
        and re.search(r"^ +def predict\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    reached = set()
    for name in registry.entries():
        system = registry.load_system(name)[0]
        asked = signature.signature(system)
        if asked is None:
            continue
        reached.add(
            Path(system.predict.__code__.co_filename)
            if not hasattr(system.predict, "__wrapped__")
            else Path(system.predict.__wrapped__.__code__.co_filename)
        )
        for option in asked.options.values():
            assert option.help, (name, option.name)
            assert option.default is None or option.read(option.default) == option.default
    assert written == reached and HOUSE / "tasks" / "classify.py" in reached


def test_every_kind_of_the_house_is_answered_by_a_dropped_file():
    files = {file.stem for file in (HOUSE / "kinds").glob("*.py")}
    shared = {"__init__", "kind", "files", "signature", "overlay", "surface", "rendering", "contour", "finding"}
    shown_as_another = {"cutout", "findings"}  # a mask, labels
    assert files - shared - shown_as_another == set(BODIES)


def test_a_classifier_says_what_it_said_of_a_picture_in_memory(digits, tmp_path):
    kind, config = registry.load_system("mlp_tiny")
    torch.manual_seed(0)
    system = kind(config, kind.spec_for(digits)).eval()
    folder = made_run(tmp_path / "run", "mlp_tiny", system, config, system.spec)
    ramp().save(tmp_path / "a.png")
    model = models_api.load(folder)
    from_file, in_memory = model(tmp_path / "a.png"), model(ramp())
    assert isinstance(from_file, Labels) and from_file.file == str(tmp_path / "a.png")
    assert from_file.probabilities == in_memory.probabilities
    assert model.reading == {"about": 8}
    with torch.inference_mode():
        batch = system.batch(Rows(ramp().square(8, 1)[None], None))
        assert in_memory.probabilities == tuple(system(batch.image).softmax(1)[0].tolist())


def test_a_model_refuses_another_kind(systems):
    with pytest.raises(UserError) as trouble:
        models_api.load("texter")(ramp())
    assert trouble.value.code == "kind" and trouble.value.expected == "text"


LEARNT = '''"""One threshold, learnt: where it is bright.

Somebody: Bright Things (2021).
https://example.org/bright
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from souron.kinds.boxes import Boxes
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.system import System
from souron.tasks.bright import Spec
from souron.utils.messages import N_


@dataclass(frozen=True)
class Config:
    width: int = 1


class Bright(System):
    task = "bright"
    year = 2021
    ja = "明るいところを囲む"
    SIZES = {"tiny": Config(), "small": Config()}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.threshold = nn.Parameter(torch.tensor(0.0))

    def predict(
        self,
        picture: Picture,
        *,
        share: Annotated[float, Choice(N_("how much of it"), low=0, high=1)] = 1.0,
    ) -> Boxes:
        """A box around what is brighter than the threshold."""
        bright = picture.square(min(picture.size), 1)[0] > self.threshold
        rows, columns = bright.nonzero(as_tuple=True)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Boxes(picture, [[share * float(edge) for edge in edges]], self.spec.labels, [share])
'''


@pytest.fixture
def bright(tmp_path):
    """A run of a system that has learnt, and of a task that nothing else knows."""
    with dropped(tmp_path, {"bright": LEARNT}, "bright"):
        kind, config = registry.load_system("bright")
        system = kind(config, kind.spec_for(None))
        with torch.no_grad():
            system.threshold.fill_(100)
        yield made_run(tmp_path / "runs" / "bright", "bright", system, config, system.spec)


@pytest.fixture
def spot(tmp_path):
    pixels = np.zeros((20, 20), np.uint8)
    pixels[4:9, 6:12] = 200
    Image.fromarray(pixels).save(tmp_path / "点 1.png")
    return tmp_path / "点 1.png"


def test_predict_tells_the_boxes_of_a_run(bright, spot, capsys):
    assert main.run(["predict", str(bright), str(spot), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "file": str(spot),
        "system": str(bright),
        "learnt_from": "digits",
        "engine": "eager",
        "width": 20,
        "height": 20,
        "familiar": None,
        "boxes": [{"label": "bright", "score": 1.0, "xyxy": [6.0, 4.0, 12.0, 9.0]}],
    }
    assert main.run(["predict", str(bright), str(spot), "share=0.5", "out=found"]) == 0
    out = capsys.readouterr().out
    assert "1 bright" in out and str(Path("found") / "点-1.png") in out
    assert Picture.read(Path("found") / "点-1.png").size == (500, 500)
    assert main.run(["predict", str(bright), str(spot), "--share", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"][0]["xyxy"][2] == 6.0


@pytest.mark.parametrize(
    "words, code, expected",
    [
        (["shaer=0.5"], "option", "share"),
        (["share=2"], "value", "0..1"),
        (["frobnicate=3"], "option", "share"),
        (["--tpo=3"], "option", "top"),
        (["--csv"], "option", "--json"),
    ],
)
def test_predict_answers_wrong_words_with_what_is_near(bright, spot, capsys, words, code, expected):
    assert main.run(["predict", str(bright), str(spot), *words]) == 2
    err = capsys.readouterr().err
    assert f"[{code}]" in err and expected in err


def test_a_file_may_look_like_an_option(bright, spot, capsys):
    spot.rename("share=1.png")
    assert main.run(["predict", str(bright), "share=1.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "share=1.png"
    assert main.run(["predict", str(bright), "other=1.png", "--json"]) == 3
    assert "[missing]" in json.loads(capsys.readouterr().out)["error"]


def test_predict_tells_texts_and_keeps_them_on_request(systems, tmp_path, capsys):
    Text("やあ").save(tmp_path / "a.txt")
    assert main.run(["predict", "texter", "a.txt", "count=3"]) == 0
    assert capsys.readouterr().out == "a.txt\nやあやあやあ\n"
    assert not list(tmp_path.glob("answers*"))
    assert main.run(["predict", "texter", "a.txt", "--json", "out=here"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "file": "a.txt",
        "system": "texter",
        "learnt_from": "",
        "engine": "eager",
        "text": "やあやあ",
        "saved": str(Path("here") / "a.txt"),
    }
    assert (tmp_path / "here" / "a.txt").read_text(encoding="utf-8") == "やあやあ"


def test_predict_saves_sounds_unasked_and_overwrites_nothing(systems, tmp_path, capsys):
    for folder in ("a", "b"):
        tone().save(tmp_path / folder / "tone.wav")
    (tmp_path / "a" / "broken.wav").write_bytes(b"RIFF")
    assert main.run(["predict", "sounder", "a", "b/tone.wav", "loud=true", "--json"]) == 3
    broken, first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "[not a sound]" in broken["error"]
    assert (first["saved"], second["saved"]) == ("answers/tone.wav", "answers/tone-2.wav")
    kept = Sound.read(Path(first["saved"]))
    assert np.abs(kept.samples).max() == pytest.approx(0.45, abs=0.01)
    assert main.run(["predict", "sounder", "b/tone.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["saved"] == "answers-2/tone.wav"


def test_a_folder_is_one_gallery(tmp_path, capsys):
    for number in range(3):
        ramp().save(tmp_path / "photos" / f"{number}.png")
    counter = written("gallery", "text", "return Text(str(given))")
    with dropped(tmp_path, {"counter": counter}):
        assert main.run(["predict", "counter", "photos", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["text"]) == ("photos", "3 images")


def test_show_says_what_predict_can_be_told(bright, capsys):
    from souron.cli import listing

    [(title, options)] = listing.told_to(registry.load_system("bright")[0])
    assert "souron predict" in title and [option.partition("=")[0] for option, _help in options] == ["share"]
    [(title, options)] = listing.told_to(registry.load_system("vae")[0])
    assert "souron generate" in title and options


def test_files_that_only_look_alike_are_told_apart(systems, tmp_path):
    """A mesh named .png, a video named .wav: the content decides."""
    for example, name in ((pyramid(), "a.obj"), (film(), "b.webp")):
        example.save(tmp_path / name)
    Path("a.obj").rename("a.png")
    Path("b.webp").rename("b.wav")
    assert models_api.load("mesher")("a.png", reach=2).extent == [2.0, 2.0, 2.0]
    assert isinstance(models_api.load("videoer")("b.wav"), Video)
    with pytest.raises(UserError) as trouble:
        models_api.load("boxeser")("a.png")
    assert trouble.value.code == "not an image"
    assert isinstance(models_api.load("boxeser")("b.wav"), Boxes)
