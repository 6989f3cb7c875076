"""An answer begins soon: what a command imports, and what stands in for a heavy import.

``benchmarks/startup.py`` measures the seconds.
"""

import json
import os
import runpy
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import scipy
import torch
import yaml

import souron
from souron import registry
from souron.blocks import boxes
from souron.data.sets import digits
from souron.hub import weights, zoo
from souron.metrics import classification
from souron.runs import train
from souron.utils import files

HEAVY = {  # module -> why no answer waits for it
    "torch._dynamo": "torch's compiler, as long as torch itself; torchvision.ops brings it",
    "torch._inductor": "the same compiler's other half",
    "torch.onnx": "export; torchvision brings it",
    "torchvision": "its compiled operators are loaded without it",
    "sympy": "the compiler's algebra",
    "timm": "backbones by name, none of which is asked",
    "transformers": "the reference in tests",
    "huggingface_hub": "nothing is fetched",
    "matplotlib": "plots of reports",
    "jinja2": "pages of reports",
    "sklearn": "splits by groups and classical classifiers",
    "pandas": "sklearn brings it",
    "skimage": "surfaces",
    "scipy.stats": "distributions that scipy.special and numpy do without",
    "scipy.optimize": "calibration, matching",
    "scipy.ndimage": "areas of volumes",
    "scipy.signal": "motion",
    "pydicom": "no file here is DICOM",
    "nibabel": "no file here is NIfTI",
    "fastapi": "the server",
    "souron.runs.train": "training; it reads the options of every task",
}
PLAIN = {**HEAVY, "scipy.special": "no interval is computed"}
STUDIO = {
    "torch": "no page computes",
    **{name: why for name, why in HEAVY.items() if name not in ("jinja2", "fastapi")},
}
COAT = "examples/fashion/coat.png"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    return train.train("mlp_tiny", "digits", budget="600ex", folds=1, project=place).folder


def modules_after(code: str, folder: Path) -> set[str]:
    """Return the modules that a fresh Python has imported after ``code``."""
    told = folder / "modules.json"
    last = f"import json, sys; open({str(told)!r}, 'w').write(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{last}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(told.read_text()))


def heavy_ones(loaded: set[str], unwanted: dict[str, str]) -> dict[str, str]:
    return {name: why for name, why in unwanted.items() if name in loaded}


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["predict", "resnet", COAT], PLAIN),
        (["predict", "yolo", COAT], PLAIN),
        (["predict", "faster_rcnn", COAT], PLAIN),
        (["generate", "vae", "n=1"], PLAIN),
        (["chat", "gpt", "hello", "length=1", "filter=none"], PLAIN),
        (["tokens", "hello", "gpt"], PLAIN),
        (["val", "RUN"], HEAVY),
    ],
    ids=lambda given: " ".join(given[:2]) if isinstance(given, list) else "",
)
def test_a_command_imports_nothing_heavy(words: list[str], unwanted: dict[str, str], run: Path, tmp_path: Path) -> None:
    package = zoo.root()
    assert package is not None
    words = [{COAT: str(package / COAT), "RUN": str(run)}.get(word, word) for word in words]
    code = f"from souron.cli.main import run; assert run({words!r}) == 0"
    assert not heavy_ones(modules_after(code, tmp_path), unwanted)


def test_the_studio_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from souron.studio import app
app.application(Path("runs"), port=7860)
"""
    assert not heavy_ones(modules_after(code, tmp_path), STUDIO)


def test_a_name_reads_only_the_files_that_it_may_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    describe = registry.describe

    def noted(file: Path) -> registry.Entry:
        read.append(file.stem)
        return describe(file)

    monkeypatch.setattr(registry, "describe", noted)
    registry._described.cache_clear()
    assert registry.find("resnet152")[1] == "152"
    assert read == ["resnet"]
    assert registry.is_system("vit_tiny") and not registry.is_system("vit_nothing")
    assert not registry.is_system("")


@pytest.mark.parametrize("count", [0, 1, 60, 1500])
def test_local_maxima_and_overlaps_are_torchvision_s(count: int) -> None:
    from torchvision import ops

    draw = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=draw) * 100
    box = torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=draw) * 30], 1)
    score = torch.rand(count, generator=draw)
    label = torch.randint(3, (count,), generator=draw)
    kept = boxes.local_maxima(box, score, label, 0.5)
    assert torch.equal(kept, ops.batched_nms(box, score, label, 0.5))
    torch.testing.assert_close(boxes.overlaps(box, box[:7]), ops.box_iou(box, box[:7]))


def test_local_maxima_where_torchvision_keeps_its_operators_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PathFinder, "find_spec", lambda *_words: None)
    boxes._operators.cache_clear()
    box = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    kept = boxes.local_maxima(box, torch.tensor([0.5, 0.9, 0.1]), torch.zeros(3).long(), 0.5)
    assert kept.tolist() == [1, 2]
    monkeypatch.undo()
    boxes._operators.cache_clear()


def test_ranks_are_scipy_s() -> None:
    score = torch.randint(9, (200,), generator=torch.Generator().manual_seed(0)).double().numpy()
    assert (classification._ranks(score) == scipy.stats.rankdata(score)).all()


def test_digits_are_scikit_learn_s() -> None:
    from sklearn.datasets import load_digits

    pixels, label = load_digits(return_X_y=True)
    cases = digits.load()
    assert cases.target is not None
    assert torch.equal(cases.target, torch.tensor(label))
    shown = (torch.tensor(pixels).view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    assert torch.equal(cases.input, shown)


def test_imagenet_s_classes_are_torchvision_s() -> None:
    from torchvision.models import ResNet18_Weights

    assert list(weights.imagenet_labels()) == ResNet18_Weights.DEFAULT.meta["categories"]


def test_yaml_is_what_pyyaml_reads() -> None:
    text = "system: gpt\nconfig: {rate: 1e-3, wide: 64}\nseen:\n- a\n- 'é: 1'\n- null\n"
    assert files.parse_yaml(text) == yaml.safe_load(text)
    for wrong in ("a: [1", "!!python/object:os.system x"):
        with pytest.raises(yaml.YAMLError):
            files.parse_yaml(wrong)


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # how OpenMP's threads wait


@pytest.mark.parametrize("chosen", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "1"}])
def test_threads_that_wait_sleep_unless_the_user_has_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]
) -> None:
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    runpy.run_path(str(souron.__file__), {"__path__": []})  # as the first import does, in whatever process
    now = {name: os.environ[name] for name in WAITING if name in os.environ}
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert now == (chosen or {"OMP_WAIT_POLICY": "PASSIVE"})
