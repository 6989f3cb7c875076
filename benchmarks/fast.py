"""Answers by the network itself and by engines: milliseconds, seconds to build, largest difference.

    .venv/bin/python benchmarks/fast.py                    every network, and a video
    .venv/bin/python benchmarks/fast.py resnet50 yolo_n    these networks
    .venv/bin/python benchmarks/fast.py video              30 frames a second at 640 pixels?

The networks have random weights: what they say is of no use, what they cost is the same. 8 bits are
calibrated on noise, so that their difference says nothing of a trained network's. All ways take
turns on the same input; a figure is the median of ``--turns``. The largest difference is that of
the outputs from float32, as a fraction of their spread. Peers are the same structure from
torchvision or timm, converted as their own documentation does, and ONNX Runtime.
"""

import argparse
import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from printing import say, table, watched, where
from torch import Tensor

from souron import registry
from souron.inference import graph as graphs
from souron.inference import int8
from souron.inference.agreement import TOLERANCES, Agreement
from souron.inference.outer_calls import Call
from souron.tasks import classify, detect, segment
from souron.utils import hardware, silent
from souron.utils.messages import UserError

BATCHES = (1, 16)
CALIBRATION = 8  # batches of noise
LABELS = tuple(map(str, range(1000)))
FRAMES, SIDE = 90, 640  # of the video
NETWORKS: dict[str, tuple[int, Callable[[int], Any]]] = {
    "resnet50": (224, lambda side: classify.Spec(3, side, LABELS)),
    "vit_b16": (224, lambda side: classify.Spec(3, side, LABELS)),
    "yolo_n": (640, lambda side: detect.Spec(3, side, LABELS[:80])),
    "unet_small": (256, lambda side: segment.Spec(3, side, LABELS[:9])),
}
Way = Callable[[Tensor], Any]


def network(name: str) -> Any:
    """The network with random weights; normalisation statistics are those of noise, so that values
    stay in range."""
    torch.manual_seed(0)
    side, spec = NETWORKS[name]
    kind, config = registry.load_system(name)
    system = kind(config, spec(side))
    with torch.no_grad():
        for weight in system.parameters():
            if weight.ndim > 1 and not weight.any():  # a last layer that begins with zeros
                weight.normal_(std=0.02)
        system.train()
        for _step in range(3):
            inner = getattr(system, "network", system)
            inner(torch.randn(2, 3, side, side))
    if hasattr(system, "average"):
        system.average.load_state_dict(system.network.state_dict())
    return system.eval()


def peer(name: str) -> Any:
    """The same structure from another library; None where there is none here."""
    if name == "resnet50":
        import torchvision

        return torchvision.models.resnet50().eval()
    if name == "vit_b16":
        import timm

        return timm.create_model("vit_base_patch16_224").eval()
    return None


def openvino_way(module: Any, image: Tensor, precision: str) -> Way:
    graph, _flat = graphs.converted(module, Call("", (image,), {}), "f32" if precision == "int8" else precision)
    graph.compile()
    if precision == "int8":
        graph = int8.quantised(graph, [[torch.randn_like(image)] for _batch in range(CALIBRATION)]).compile()
    return lambda given: graph([given])


def onnx_way(module: Any, image: Tensor, folder: Path) -> Way:
    runtime = silent.imported("onnxruntime")
    file = folder / "network.onnx"
    batch = torch.export.Dim.DYNAMIC
    options = {"dynamo": True, "dynamic_shapes": ({0: batch},), "verbose": False}
    torch.onnx.export(module, (image.repeat(2, 1, 1, 1),), file, **options)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda given: [torch.from_numpy(one) for one in session.run(None, {name: given.numpy()})]


def eager_way(module: Any, bf16: bool) -> Way:
    if not bf16:
        return module
    last = module.to(memory_format=torch.channels_last)

    def answer(given: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return last(given.to(memory_format=torch.channels_last))

    return answer


def ways(name: str, folder: Path) -> tuple[dict[str, Way], dict[str, float]]:
    """Every way of answering, and the seconds that it took to make."""
    image = torch.randn(1, 3, NETWORKS[name][0], NETWORKS[name][0])
    other = peer(name)
    makers: dict[str, Callable[[], Way]] = {
        "eager float32": lambda: eager_way(network(name), False),
        "eager bfloat16, channels last": lambda: eager_way(network(name), True),
        "OpenVINO f32": lambda: openvino_way(network(name), image, "f32"),
        "OpenVINO bf16": lambda: openvino_way(network(name), image, "bf16"),
        "OpenVINO int8": lambda: openvino_way(network(name), image, "int8"),
        "ONNX Runtime": lambda: onnx_way(network(name), image, folder),
    }
    if other is not None:
        makers[f"{type(other).__module__.split('.')[0]}, OpenVINO f32"] = lambda: openvino_way(other, image, "f32")
    made, seconds = {}, {}
    for way, make in makers.items():
        begun = time.perf_counter()
        try:
            made[way] = make()
        except Exception as error:  # a peer that cannot do it is a row of the table too
            say(f"{name}, {way}: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
            continue
        seconds[way] = time.perf_counter() - begun
    return made, seconds


def tensors(result: Any) -> list[Tensor]:
    return [each.float() for each in torch.utils._pytree.tree_leaves(result) if isinstance(each, Tensor)]


@torch.no_grad()
def measured(name: str, turns: int, folder: Path) -> list[list[str]]:
    made, seconds = ways(name, folder)
    images = {batch: torch.randn(batch, 3, NETWORKS[name][0], NETWORKS[name][0]) for batch in BATCHES}
    times: dict[tuple[str, int], list[float]] = {}
    for turn in range(turns + 1):
        for batch, image in images.items():
            for way, answer in made.items():
                begun = time.perf_counter()
                answer(image)
                if turn:  # the first one warms up
                    times.setdefault((way, batch), []).append(1000 * (time.perf_counter() - begun))
    expected = tensors(made["eager float32"](images[BATCHES[-1]]))
    base = {batch: statistics.median(times["eager float32", batch]) for batch in BATCHES}
    rows = []
    for way, answer in made.items():
        agreement = Agreement()
        agreement.add(expected, tensors(answer(images[BATCHES[-1]])))
        each = [statistics.median(times[way, batch]) for batch in BATCHES]
        own = "," not in way or "eager" in way
        cells = [f"{ms:.1f} ({base[batch] / ms:.1f} x)" for ms, batch in zip(each, BATCHES, strict=True)]
        rows.append([way, *cells, f"{seconds[way]:.1f}", f"{agreement.difference:.1e}" if own else "other weights"])
    return rows


def video(folder: Path) -> list[list[str]]:
    """Frames a second of `souron watch` at 640 pixels, and where a frame's time goes.

    The scores of random weights are nearly equal, so that any rounding is large beside their spread:
    here the check takes engines that differ.
    """
    import numpy as np

    from souron.actions import watch
    from souron.kinds.codecs import moving
    from souron.kinds.picture import Picture
    from souron.model import Model

    film = folder / "film.mp4"
    generator = np.random.default_rng(0)
    still = generator.integers(0, 256, (SIDE // 16, SIDE // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with moving.Writer(film, 30.0) as writer:
        for number in range(FRAMES):
            writer.write(np.roll(still, 2 * number, 1))
    rows = []
    TOLERANCES.update(f32=math.inf, bf16=math.inf)
    for mode in ("off", "f32", "bf16"):
        model = Model("yolo_n", network("yolo_n")).for_many().hasten(mode, wait=True, notice=say)
        for frame in [Picture.of(torch.from_numpy(still.copy()).permute(2, 0, 1))] * 3:
            model.answer(frame)
        begun = time.perf_counter()
        for _turn in range(20):
            model.answer(frame)
        answer = 1000 * (time.perf_counter() - begun) / 20
        *_events, last = watch.of_model(model, film, folder / mode, {})
        whole = 1000 / last.record.fps
        rows.append(
            [model.answered_by, f"{last.record.fps:.1f}", f"{whole:.1f}", f"{answer:.1f}", f"{whole - answer:.1f}"]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=[*NETWORKS, "video"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=hardware.cores())
    chosen = parser.parse_args()
    os.environ["SOURON_CACHE"] = tempfile.mkdtemp()
    hardware.calm_allocator()
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, watched():
        for each in chosen.names:
            begun = time.perf_counter()
            if each == "video":
                head = [
                    "a film of 640 x 640",
                    "frames a second",
                    "ms a frame",
                    "of it the answer",
                    "reading, tracks, writing",
                ]
                rows = video(Path(name))
            elif each in NETWORKS:
                head = [
                    f"{each}, {NETWORKS[each][0]} px",
                    *(f"ms, batch {b}" for b in BATCHES),
                    "s to build",
                    "difference",
                ]
                rows = measured(each, chosen.turns, Path(name))
            else:
                raise UserError("option", each, expected=", ".join([*NETWORKS, "video"]))
            print("\n" + table(head, rows), flush=True)
            say(f"{each}: {time.perf_counter() - begun:.0f} s")
    print("\n" + where(chosen.threads, "torch", "openvino", "nncf", "onnxruntime"))


if __name__ == "__main__":
    main()
