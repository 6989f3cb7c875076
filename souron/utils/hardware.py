"""Properties of this computer, for receipts and ``souron doctor``."""

import ctypes
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from souron.utils.messages import UserError, _

PACKAGES = ("souron", "torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")

# constants of glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def calm_allocator() -> bool:
    """Let glibc keep freed blocks instead of returning them at every training step.

    Call it before torch is imported: a small convolutional network then trains 1.4 to 1.7 times as
    fast. Returns whether this is glibc and it succeeded.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    never, padding = -1, 64 * 2**20
    return all(
        [library.mallopt(M_MMAP_MAX, 0), library.mallopt(M_TRIM_THRESHOLD, never), library.mallopt(M_TOP_PAD, padding)]
    )


def use_cores(count: int | None) -> None:
    """Let torch compute on that many cores; None leaves it as it is."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def facts() -> dict[str, Any]:
    """Return software, processor and memory (bytes) of this machine. Does not import torch."""
    total, free = memory()
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
        "processor": processor(),
        "cores": cores(),
        "memory": total,
        "memory_free": free,
    }


def installed(package: str) -> str | None:
    """Return the version of an installed package without importing it, else None."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor as given by its maker."""
    if sys.platform == "linux":
        name = _from_cpuinfo("model name")
        if name:
            return name
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Return total and free memory in bytes, within the limit of a container."""
    import psutil

    machine = psutil.virtual_memory()
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if not limit.exists() or limit.read_text().strip() == "max":
        return machine.total, machine.available
    allowed = int(limit.read_text())
    held = max(0, int(used.read_text()) - _given_back())
    return min(machine.total, allowed), min(machine.available, max(0, allowed - held))


def _given_back() -> int:
    """Return the bytes of the container's page cache, which it can reclaim."""
    about = Path("/sys/fs/cgroup/memory.stat")
    if not about.exists():
        return 0
    told = dict(line.split() for line in about.read_text().splitlines())
    return int(told.get("inactive_file", 0)) + int(told.get("active_file", 0))


def bf16() -> bool:
    """Return whether the CPU computes bfloat16 faster than float32: with AMX, or AMD's AVX512_BF16.

    On Intel, AVX512_BF16 alone multiplies no faster than float32, and conversions cost extra:
    ``benchmarks/precision.py``.
    """
    import torch

    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and "AuthenticAMD" in _vendor()


def vnni() -> bool:
    """Return whether the CPU adds products of 8-bit numbers without saturation: with VNNI or AMX."""
    import torch

    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()


def _vendor() -> str:
    """Return the processor's maker; on Windows, a text that contains it."""
    return _from_cpuinfo("vendor_id") if sys.platform == "linux" else platform.processor()


def _from_cpuinfo(key: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""


def devices() -> list[str]:
    """List the devices of PyTorch on this machine, ``cpu`` first."""
    import torch

    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    return there


def device(wish: str) -> Any:
    """Convert ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"`` to a torch.device.

    ``auto`` is the first graphics card, else the CPU. Raises UserError where the device is missing.
    """
    import torch

    there = devices()
    if wish == "auto":
        return torch.device("cuda" if "cuda" in there else there[-1])
    if wish not in there:
        raise UserError(
            "device",
            _("this machine has no device {wish!r}").format(wish=wish),
            expected=", ".join(["auto", *there]),
            fix="device=auto",
            exit=4,
        )
    return torch.device(wish)


def forget_peak() -> None:
    """Reset the peak memory of ``peak`` (Linux; elsewhere it covers the whole process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
