"""souron, souron-zoo, souron-starters and those of ``packages/`` as wheels: they hold what the tree holds, and
work without a clone.

They are installed into an environment that sees what this one has installed, but not the clone:
an editable install works by lines of a ``.pth`` file, which are not obeyed in a folder that another
``.pth`` file names.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import roots
from filelock import FileLock

import souron
from souron.utils import distributions

ROOT = roots.ROOT
BESIDE = {f"souron_{folder.name}": folder for folder in roots.distributions()}  # the core
TREES = {
    "souron": ROOT,
    "souron_zoo": ROOT / "zoo",
    "souron_starters": ROOT / "starters",
    **BESIDE,
}  # distribution -> folder of its pyproject.toml
LEGAL = ("LICENSE", "NOTICE")
SECONDS = 600  # after which something hangs


def package(name: str) -> Path:
    """The folder of a distribution's package: those beside the core have files in the same one."""
    return TREES[name] / ("souron" if name in BESIDE else name)


def sources(folder: Path) -> list[Path]:
    """The files below a folder that belong to the project, relative to ``ROOT``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", str(folder)],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [Path(name) for name in names if (ROOT / name).is_file()]
    files = (file for file in folder.rglob("*") if "__pycache__" not in file.parts)
    return [file.relative_to(ROOT) for file in files if file.is_file()]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "wheels"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def wheels(shared: Path) -> dict[str, Path]:
    """All, built once from a copy of the tree, so that nothing left over in it gets in."""
    with FileLock(shared / "wheels.lock"):
        built = shared / "tree" / "dist"
        if not built.exists():
            build(shared / "tree", built)
    return {name: next(built.glob(f"{name}-*.whl")) for name in TREES}


def unpacked(wheels: dict[str, Path], place: Path, *names: str) -> Path:
    """A folder with the files of these wheels alone."""
    for name in names:
        with zipfile.ZipFile(wheels[name]) as wheel:
            wheel.extractall(place)
    return place


def build(copy: Path, built: Path) -> None:
    named = [folder / name for folder in TREES.values() for name in ("pyproject.toml", "README.md", *LEGAL)]
    beside = [file.relative_to(ROOT) for file in named if file.is_file()]
    packages = [source for name in TREES for source in sources(package(name))]
    for file in [*beside, *packages]:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, copy / file)
    place = copy / "building"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--wheel-dir",
            place,
            *(copy / folder.relative_to(ROOT) for folder in TREES.values()),
        ],
        check=True,
        timeout=SECONDS,
    )
    place.rename(built)


@dataclass
class Installed:
    """An environment with the wheels, and an empty folder to work in."""

    python: Path
    folder: Path
    environment: dict[str, str]

    def command(self, *words: str) -> list[str]:
        return [str(self.python.with_name("souron")), *words]

    def __call__(self, *words: str) -> str:
        """Return the output of ``souron WORDS``."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def environment(shared: Path) -> dict[str, str]:
    """The variables of a process that sees nothing of this one's souron, and no network."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SOURON_"))}
    own = {
        "HOME": str(shared / "alone" / "home"),
        "SOURON_CACHE": str(shared / "alone" / "cache"),
        "SOURON_LANG": "en",
        "SOURON_DATA": str(shared / "alone" / "data"),
        "SOURON_OFFLINE": "1",
    }
    return {**inherited, **own}


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], shared: Path, environment: dict[str, str]) -> Installed:
    base = shared / "alone"
    scripts = base / "venv" / ("Scripts" if os.name == "nt" else "bin")
    with FileLock(shared / "alone.lock"):
        if not (base / "empty").exists():
            install(wheels, base, scripts)
    return Installed(scripts / "python", base / "empty", environment)


def install(wheels: dict[str, Path], base: Path, scripts: Path) -> None:
    venv.create(base / "venv", with_pip=False)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            scripts / "python",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            *wheels.values(),
        ],
        check=True,
        timeout=SECONDS,
    )
    packages = next((base / "venv").glob("[Ll]ib*/**/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (base / "empty").mkdir()


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name for name in opened.namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize("name", TREES)
def test_a_wheel_holds_every_file_of_the_tree_and_no_other(name: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        legal = {Path(file).name for file in wheel.namelist() if ".dist-info/licenses/" in file}
    there = {(ROOT / file).relative_to(TREES[name]).as_posix() for file in sources(package(name))}
    assert files_of(wheels[name]) == there
    assert legal == {file for file in LEGAL if (TREES[name] / file).is_file()} and "LICENSE" in legal


@pytest.mark.parametrize("name", BESIDE)
def test_a_distribution_beside_the_core_holds_no_file_of_the_core(name: str, wheels: dict[str, Path]) -> None:
    own = files_of(wheels[name])
    others = [files_of(wheels[other]) for other in wheels if other != name]
    assert not own & set().union(*others) and not [file for file in own if file.count("/") < 2]


WITH_ACTIONS = [
    name
    for name in BESIDE
    if any(path.startswith("actions/") for path in distributions.CONTENTS[name.removeprefix("souron_")])
]


@pytest.mark.parametrize("scheme", ["dask", "slurm"])
def test_its_engines_work_with_the_core_alone_and_are_named_without_it(
    scheme: str, wheels: dict[str, Path], environment: dict[str, str], tmp_path: Path
) -> None:
    code = f"from souron.engines import engine; print(engine.schemes(), engine.find('{scheme}:x')[0].__name__)"

    def asked(folder: Path) -> str:
        own = {**environment, "PYTHONPATH": str(folder)}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=own, capture_output=True, text=True)
        return done.stdout + done.stderr

    text = asked(unpacked(wheels, tmp_path / "core", "souron"))
    assert f"'{scheme}' is in souron-far" in text
    text = asked(unpacked(wheels, tmp_path / "both", "souron", "souron_far"))
    assert text == f"['dask', 'processes', 'slurm'] souron.engines.{scheme}\n"


@pytest.mark.quick(seconds=20)
@pytest.mark.parametrize("name", WITH_ACTIONS)
def test_its_actions_work_with_the_core_alone_and_are_named_without_it(
    name: str, wheels: dict[str, Path], environment: dict[str, str], tmp_path: Path
) -> None:
    own = name.removeprefix("souron_")
    actions = [path.removeprefix("actions/") for path in distributions.CONTENTS[own] if path.startswith("actions/")]
    core = unpacked(wheels, tmp_path / "core", "souron")
    both = unpacked(wheels, tmp_path / "both", "souron", name)
    (tmp_path / "empty").mkdir()

    def said(folder: Path, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "souron", *words],
            cwd=tmp_path / "empty",
            env={**environment, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    code, text = said(core, actions[0])
    assert code == 4 and f"pip install souron-{own}" in text and f"souron-{own}" in text
    for action in actions:
        assert said(both, action, "--help")[0] == 0
    listed = [line.split()[0] for line in said(both, "--help")[1].splitlines() if line.strip()]
    assert set(actions) <= set(listed)
    assert not set(actions) & {line.split()[0] for line in said(core, "--help")[1].splitlines() if line.strip()}
    file = both / "souron" / "utils" / "versions" / f"{own}.py"
    file.write_text(file.read_text(encoding="utf-8").replace(souron.__version__, "7.8.9"), encoding="utf-8")
    code, text = said(both, actions[0])
    assert code == 4 and f"souron-{own} 7.8.9" in text and f"pip install souron-{own}=={souron.__version__}" in text


@pytest.mark.parametrize("name", TREES)
def test_the_version_stands_in_one_place(name: str, wheels: dict[str, Path]) -> None:
    own = f"utils/versions/{name.removeprefix('souron_')}.py" if name in BESIDE else "__init__.py"
    source = (package(name) / own).read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE)
    assert wheels[name].name.split("-")[1] == version and (name not in BESIDE or version == souron.__version__)
    for file in ("pyproject.toml", "README.md"):
        assert version not in re.findall(
            r"(?<![\d.=><])\d+\.\d+\.\d+", (TREES[name] / file).read_text(encoding="utf-8")
        )
    if name == "souron":
        assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_clone_is_out_of_sight(installed: Installed) -> None:
    done = subprocess.run(
        [
            installed.python,
            "-c",
            "import souron, souron_zoo, torch; print(souron.__file__, souron_zoo.__file__, sep='\\n')",
        ],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    environment = installed.python.parent.parent
    assert all(Path(line).is_relative_to(environment) for line in done.stdout.splitlines())


def test_without_a_clone_it_answers(installed: Installed) -> None:
    assert re.fullmatch(r"souron \d+\.\d+\.\d+\n", installed("version"))
    examples = ROOT / "zoo" / "souron_zoo" / "examples" / "fashion"
    example = shutil.copy(examples / "sneaker.png", installed.folder)
    answer = json.loads(installed("predict", "resnet", str(example), "--json"))
    assert answer["labels"][0]["label"] == "sneaker"
    assert "ja" in json.loads(installed("list", "--json"))[0]["idea"]
    assert "総論講義" in installed("--help", "--lang", "ja")


def test_without_a_clone_the_studio_shows_its_first_page(installed: Installed) -> None:
    with subprocess.Popen(
        installed.command("studio", "no_browser=true", "port=0"),
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            with urllib.request.urlopen(_address(process), timeout=SECONDS) as answer:
                page = answer.read().decode()
            assert answer.status == 200 and "souron" in page
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[str]") -> str:
    """The address that a studio prints first."""
    assert process.stdout is not None
    first = process.stdout.readline()
    match = re.search(r"http://127\.0\.0\.1:\d+/", first)
    assert match, first
    return match[0]


def test_without_a_clone_the_tour_shows_all(installed: Installed) -> None:
    result = json.loads(installed("tour", "--json"))
    assert [part["name"] for part in result["parts"] if "error" in part] == []
    assert len(result["parts"]) == 9 and result["sentence"]
    page = Path(installed.folder, result["page"]).read_text(encoding="utf-8")
    assert "souron studio" in page and page.count("<img") > 15


COLAB = """
import sys

import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=600, startup_timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make symbolic links")
def test_in_colab_a_notebook_installs_the_wheels_and_runs(
    wheels: dict[str, Path], environment: dict[str, str], tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    packages = next((tmp_path / "venv").glob("lib*/**/site-packages"))
    python = tmp_path / "venv" / "bin" / "python"
    there = tmp_path / "there"  # what this environment has installed, but for souron
    there.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"(__editable__\W*)?souron", each.name):
            (there / each.name).symlink_to(each)
    (packages / "dependencies.pth").write_text(f"{there}\n")
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    content = tmp_path / "content"  # Colab's folder, with the wheels that its reader dropped there
    content.mkdir()
    for wheel in wheels.values():
        shutil.copy(wheel, content)
    source = package("souron_teach") / "lecture" / "notebooks" / "en" / "10_clinic.ipynb"
    notebook = Path(shutil.copy(source, content))
    without_network = {**environment, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def play(*words: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, *words], cwd=content, env=without_network, capture_output=True, text=True, timeout=SECONDS
        )

    assert "No module named 'souron'" in play("-c", "import souron").stderr
    done = play("-c", COLAB, notebook)
    assert done.returncode == 0, done.stderr[-3000:]
    assert play("-c", "import souron; print(souron.__file__)").stdout.startswith(str(packages))
    outputs = [cell.get("outputs", []) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
    said = "".join("".join(output.get("text", "")) for each in outputs for output in each)
    assert "Google Colab. pip installs: souron-" in said and "0.01 (10, 108, 9, 1, 99, 891)" in said
