"""Drawn or real: how well each generator's pictures are told from real ones, and signed files.

    python benchmarks/generated.py table        every generator that comes ready trained
    python benchmarks/generated.py features     which features find generators that were not seen
    python benchmarks/generated.py flips        changes of signed files: found, and unnoticed

*Table*: ``souron audit generated`` on Fashion-MNIST, n pictures of each generator. Image GPT draws
14 pixels a side, so that it has a table of its own, in which all pictures have that side.
*Features*: the same left-one-out comparison with frequencies, residuals, both, and the frozen
EfficientNet-Lite0 (1280 features); unchanged pictures. *Flips*: one pixel of a signed PNG is
changed and the file put together again with right checksums; single bytes of signed files are
flipped anywhere; signed files are saved anew.
"""

import argparse
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from printing import table

from souron.actions import generated
from souron.actions.generated import image_sources, record
from souron.actions.generated.image_sources import Source
from souron.evaluation import generated_detector
from souron.evaluation.generated_detector import CHANGES
from souron.evaluation.generators import embedding
from souron.kinds.codecs import credentials, provenance
from souron.utils import hardware
from souron.utils.files import read_tensors, write_tensors

DATA = "fashion"
GENERATORS = ("vae", "gan", "wgan_gp", "dcgan", "progan", "stylegan", "stylegan2", "biggan", "glow", "ddpm")
SMALL = "image_gpt"
KINDS = ("png", "jpg", "webp", "gif")


def drawn(name: str, n: int, kept: Path | None = None) -> Source:
    """What a generator draws with seed 0; taken from a folder where an earlier call kept it."""
    file = kept / f"{name}.safetensors" if kept else None
    if file is not None and file.exists():
        image = read_tensors(file)[0]["image"]
        if len(image) >= n:
            return Source(name, image=image[:n])
    for event in image_sources.generating(name, n, 0, "cpu"):
        if event.record is not None:
            if file is not None:
                write_tensors(file, {"image": event.record.image}, {})
            return event.record
    raise AssertionError("nothing was drawn")


def machine() -> str:
    facts = hardware.facts()
    return (
        f"{facts['processor']}, {facts['cores']} cores (1 thread used); {facts['platform']}; "
        f"Python {facts['python']}, torch {hardware.installed('torch')}."
    )


def percent(measure: object) -> str:
    return record.percent(measure).replace(" – ", " to ")  # type: ignore[arg-type]


def figure(measure: object) -> str:
    return record.figure(measure, "{:.2f}").replace(" – ", " to ")  # type: ignore[arg-type]


def the_table(n: int, kept: Path | None) -> None:
    real = image_sources.real(DATA, generated.REAL * n, 0)
    sources = [drawn(name, n, kept) for name in GENERATORS]
    [*_before, (_done, audit)] = generated.compare(real, sources)
    [*_before, (_done, small)] = generated.compare(real, [*sources, drawn(SMALL, n, kept)])
    assert audit is not None and small is not None
    rows = []
    for found, names in ((audit, GENERATORS), (small, (SMALL,))):
        for name in names:
            for change in CHANGES:
                seen, unseen = found.row(name, True, change), found.row(name, False, change)
                assert seen is not None and unseen is not None
                rows.append(
                    [
                        name,
                        change,
                        figure(seen.auc),
                        figure(unseen.auc),
                        percent(seen.misses[0.01]),
                        percent(unseen.misses[0.01]),
                        percent(seen.misses[0.05]),
                        percent(unseen.misses[0.05]),
                        percent(unseen.alarms[0.05]),
                        percent(unseen.kept[0.05]),
                    ]
                )
    print(
        table(
            [
                "generator",
                "pictures",
                "AUC seen",
                "AUC unseen",
                "misses at 1 %, seen",
                "unseen",
                "misses at 5 %, seen",
                "unseen",
                "false alarms for 5 %",
                "with the unchanged threshold",
            ],
            rows,
        )
    )
    print("")
    for found in (audit, small):
        for change, measure in zip(CHANGES, found.control, strict=True):
            print(f"Real against real, {change}, {found.pipeline.side} pixels: {figure(measure)}")
    print(f"\n{DATA}, {audit.reals} real pictures, {n} of each generator. {machine()}")


def the_features(n: int, kept: Path | None) -> None:
    real = image_sources.real(DATA, generated.REAL * n, 0)
    sources = [drawn(name, n, kept) for name in GENERATORS]
    pipeline = image_sources.one_pipeline([real, *sources])
    images = [torch.stack([one for _done, one in source.through(pipeline)]) for source in (real, *sources)]
    network = embedding._backbone()

    def seen(image: torch.Tensor) -> np.ndarray:
        return torch.cat([embedding._seen(network, some)[0] for some in image.split(64)]).numpy()

    ways: dict[str, Callable[[torch.Tensor], np.ndarray]] = {
        "frequencies": generated_detector.frequencies,
        "residuals": generated_detector.residuals,
        "both": generated_detector.features,
        "EfficientNet-Lite0": seen,
    }
    made = {name: [way(image) for image in images] for name, way in ways.items()}
    made["all three"] = [np.concatenate(pair, 1) for pair in zip(made["both"], made["EfficientNet-Lite0"], strict=True)]
    rows = []
    for name, found in made.items():
        for known in (True, False):
            values = list(aucs(found, known))
            rows.append(
                [name, "seen" if known else "unseen", f"{np.mean(values):.3f}", *(f"{value:.2f}" for value in values)]
            )
    print(table(["features", "generator", "mean AUC", *GENERATORS], rows))
    print(f"\n{DATA}, {len(images[0])} real pictures, {n} of each generator, half of each to learn from. {machine()}")


def aucs(found: Sequence[np.ndarray], known: bool) -> Iterator[float]:
    real, others = found[0], found[1:]
    half = len(real) // 2
    train = [some[: len(some) // 2] for some in others]
    for number, some in enumerate(others):
        learnt = [one for other, one in enumerate(train) if known or other != number]
        detector = generated_detector.fit(real[:half], learnt)
        scores = (detector.of_features(part) for part in (real[half:], some[len(some) // 2 :]))
        yield generated.measures.auc(*scores).value


def chunks(raw: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Where each chunk of a PNG begins, its name, what it holds."""
    place = 8
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4])
        yield place, raw[place + 4 : place + 8], raw[place + 8 : place + 8 + size]
        place += 12 + size


def with_pixel(raw: bytes, number: int) -> bytes:
    """A PNG with one byte of its pixels changed by one level, all checksums right again."""
    data = b"".join(body for _place, name, body in chunks(raw) if name == b"IDAT")
    pixels = bytearray(zlib.decompress(data))
    pixels[number % len(pixels)] ^= 1
    packed = zlib.compress(bytes(pixels))
    out, written = bytearray(raw[:8]), False
    for _place, name, body in chunks(raw):
        if name == b"IDAT":
            if written:
                continue
            body, written = packed, True
        out += len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)
    return bytes(out)


def own_bytes(plain: bytes, signed: bytes, kind: str) -> np.ndarray:
    """(bytes,) which bytes of a signed file were in the picture before; the signature is one block
    that was put in."""
    start = 12 if kind == "webp" else 0  # behind the length of the whole file
    same = [one == other for one, other in zip(plain[start:], signed[start:], strict=False)]
    before = start + (same.index(False) if False in same else len(same))
    own = np.zeros(len(signed), dtype=bool)
    own[:before] = True
    own[len(signed) - (len(plain) - before) :] = len(plain) > before
    return own


def the_flips(n: int, _kept: Path | None) -> None:
    random = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["SOURON_KEYS"] = str(folder / "keys")
        pixels = random.integers(0, 256, (48, 48, 3)).astype(np.uint8)
        mark = provenance.Mark("souron", "0", "gan_small", "fashion", "0" * 16, 0, 0)
        for kind in KINDS:
            plain, changed = folder / f"a.{kind}", folder / f"b.{kind}"
            provenance.save(Image.fromarray(pixels), plain, mark)
            signed = credentials.sign(plain)
            raw = signed.read_bytes()

            def state(content: bytes, changed: Path = changed) -> str:
                changed.write_bytes(content)
                try:
                    return credentials.verify(changed).state
                except credentials.UserError:
                    return "unreadable"

            assert state(raw) == "signed"
            if kind == "png":
                told = [state(with_pixel(raw, int(i))) for i in random.integers(0, 2**31, n)]
                rows.append([kind, "one pixel, checksums right", *counts(told)])
            outside = own_bytes(plain.read_bytes(), raw, kind)
            for name, places in (
                ("one bit of the picture's own bytes", outside),
                ("one bit of the signature", ~outside),
            ):
                told = []
                for i in random.permutation(np.flatnonzero(places))[:n].tolist():
                    flipped = bytearray(raw)
                    flipped[i] ^= 1 << int(random.integers(8))
                    told.append(state(bytes(flipped)))
                rows.append([kind, name, *counts(told)])
            told = []
            for quality in range(50, 50 + min(n, 46)):
                stream = io.BytesIO()
                with Image.open(signed) as image:
                    image.convert("RGB").save(stream, image.format, quality=quality)
                told.append(state(stream.getvalue()))
            rows.append([kind, "saved anew", *counts(told)])
    print(table(["file", "what was done", "changed", "none", "unreadable", "signed"], rows))
    print(f"\n{machine()}")


def counts(told: list[str]) -> list[str]:
    return [str(told.count(state)) for state in ("changed", "none", "unreadable", "signed")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("table", "features", "flips"))
    parser.add_argument("--n", type=int, default=400, help="pictures of each generator; flips")
    parser.add_argument("--kept", type=Path, help="a folder that keeps what was drawn")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    {"table": the_table, "features": the_features, "flips": the_flips}[asked.what](asked.n, asked.kept)


if __name__ == "__main__":
    main()
