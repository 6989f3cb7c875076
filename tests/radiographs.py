"""Synthetic bitewing radiographs: teeth with and without a carious lesion, drawn by chance.

    python tests/radiographs.py FOLDER [--patients 120] [--seed 0] [--defects] [--dicom]
        [--japanese] [--sites A,B,C] [--letter P] [--ill 0.5]

No patient is behind them. Each patient has a jaw of their own (widths of the teeth, level of the
bone, fillings), which all of their one to four pictures show from slightly different angles, left
or right. Lesions are small dark spots at the points where neighbouring teeth touch. Values are grey
of 12 bits, 0..4095, stretched to 0..65535 in PNG; three sites differ in contrast and noise.
``labels.csv`` names the pictures.

Another hospital has other sites, other names of patients and another prevalence: ``--sites D,E``
are scanners with less contrast and more noise, ``--letter H`` begins the patients' names, ``--ill
0.3`` is the share of patients whose teeth have caries in most pictures.

``--defects`` adds what spoils data sets: a file cut short, a copy under another name and patient,
a near copy with the other label, and a letter burnt into one site's pictures of one class.
"""

import argparse
import csv
import datetime
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

SIDE = 256
LABELS = ("sound", "caries")
HEADER = ("filename", "label", "patient", "site", "sex", "age", "date")
JAPANESE = ("ファイル名", "ラベル", "患者ID", "施設", "性別", "年齢", "撮影日")
MOST = 4095  # 12 bits
ORGANISATION = "2.25."  # DICOM identifiers made from large numbers

# gamma, darkest, brightest (of 1), noise of the sensor
SITES = {
    "A": (1.0, 0.03, 0.95, 0.015),
    "B": (0.8, 0.10, 0.85, 0.025),
    "C": (1.3, 0.00, 0.90, 0.020),
    "D": (0.7, 0.20, 0.75, 0.040),  # other scanners: less contrast, more noise
    "E": (1.5, 0.10, 0.70, 0.055),
}

# half a tooth's width, from the biting edge (0) to the tip of the root (1)
HEIGHTS = (0.0, 0.02, 0.06, 0.12, 0.22, 0.36, 0.48, 0.75, 0.93, 1.0)
WIDTHS = (0.0, 0.55, 0.80, 0.94, 1.00, 0.90, 0.80, 0.58, 0.30, 0.0)
CONTACT = 0.22  # where neighbours touch

# of lesions: radius in half tooth widths, and how much darker they are
SIZES, DEPTHS = (0.4, 0.6), (0.4, 0.6)


@dataclass(frozen=True)
class Row:
    """A line of ``labels.csv``."""

    filename: str
    label: str
    patient: str
    site: str
    sex: str
    age: int
    date: str

    def values(self):
        return [getattr(self, name) for name in HEADER]


@dataclass(frozen=True)
class Jaw:
    """What is the same in all of a patient's pictures; lengths in picture sides."""

    widths: np.ndarray  # (2, teeth) half of each tooth's, upper and lower
    heights: np.ndarray  # (2, teeth)
    bone: np.ndarray  # (2,) distance of its edge from the biting plane, in tooth heights
    dense: float  # how bright bone is
    enamel: float  # its thickness, in half tooth widths
    fillings: np.ndarray  # (2, teeth) bool
    phase: np.ndarray  # (2,) where the row of teeth begins
    seed: int  # of the bone's texture


def jaw(chance):
    shape = (2, 7)
    return Jaw(
        widths=chance.uniform(0.085, 0.125, shape),
        heights=chance.uniform(0.42, 0.52, shape),
        bone=chance.uniform(0.46, 0.62, 2),
        dense=chance.uniform(0.30, 0.42),
        enamel=chance.uniform(0.18, 0.26),
        fillings=chance.random(shape) < 0.15,
        phase=chance.uniform(-0.12, 0.12, 2),
        seed=int(chance.integers(2**31)),
    )


def radiograph(one, chance, lesions, side=SIDE):
    """(side, side) float, 0 black to 1 white: the jaw with so many lesions."""
    y, x = np.float32((np.mgrid[:side, :side] + 0.5) / side - 0.5)
    turn, zoom = chance.normal(0, 0.05), chance.uniform(0.88, 1.12)
    left, up = chance.uniform(-0.15, 0.15), chance.uniform(-0.06, 0.06)
    mirrored = chance.choice((-1, 1))
    across = mirrored * (x * np.cos(turn) + y * np.sin(turn)) / zoom + left
    down = (y * np.cos(turn) - x * np.sin(turn)) / zoom + up
    down = down - chance.uniform(-0.1, 0.3) * across**2  # the biting plane is curved

    texture = _texture(np.random.default_rng(one.seed), side)
    texture = np.roll(texture, chance.integers(0, side, 2), (0, 1))
    image = np.full((side, side), 0.06, np.float32)
    bone = np.zeros((side, side), np.float32)
    teeth = []  # each with the box of pixels around it
    for row, direction in enumerate((-1, 1)):
        away = direction * down - chance.uniform(0.004, 0.012)  # from the biting plane
        mean = one.heights[row].mean()
        bone = np.maximum(bone, _soft((away - one.bone[row] * mean) * side / 4))
        centre = one.phase[row] - one.widths[row].sum()
        for k, (half, height) in enumerate(zip(one.widths[row], one.heights[row], strict=True)):
            u, v = (across - centre - half) / half, away / height
            near = (np.abs(u) < 1.3) & (v > -0.05) & (v < 1.05)
            if near.any():
                box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(near))
                teeth.append((box, u[box], v[box], half, height, one.fillings[row, k]))
            centre += 2 * half
    image += bone * one.dense * (0.75 + 0.5 * texture)
    places = []  # where a lesion may be: on either side of a tooth
    for box, u, v, half, height, filled in teeth:
        value, body = tooth(u, v, half * side * zoom, height * side * zoom, one.enamel, filled)
        image[box] += body * (value - image[box])
        for end in (-1, 1):
            spot = (u - 0.86 * end) ** 2 + ((v - CONTACT) * height / half) ** 2
            i, j = np.unravel_index(spot.argmin(), spot.shape)
            i, j, margin = i + box[0].start, j + box[1].start, side // 16
            if spot.min() < 0.01 and margin < min(i, j) <= max(i, j) < side - margin:
                places.append((box, spot, body))
    for i in chance.permutation(len(places))[:lesions]:
        box, spot, body = places[i]
        size, depth = chance.uniform(*SIZES), chance.uniform(*DEPTHS)
        image[box] -= depth * np.exp(-((spot / size**2) ** 1.5)) * body
    shading = chance.normal(0, 0.08) * x + chance.normal(0, 0.08) * y
    image = ndimage.gaussian_filter(image, chance.uniform(0.6, 1.1)) * (1 + shading)
    return np.clip(image * chance.uniform(0.9, 1.1), 0, 1)


def tooth(u, v, half, height, thickness, filled):
    """Grey values of a tooth, and how much of each pixel it covers: both as ``u``.

    ``u`` across in half widths and ``v`` along from the biting edge in heights, of each pixel;
    ``half`` and ``height`` in pixels; ``thickness`` of the enamel in half widths.
    """
    inside = np.interp(v, HEIGHTS, WIDTHS, 0, 0) - np.abs(u)  # from the surface, in half widths
    depth = np.minimum(inside, v * height / half)
    enamel = _soft((thickness * np.clip(1 - v / 0.42, 0, 1) - depth) * half / 1.5)
    pulp = _soft((0.22 - np.abs(u)) * half / 2) * _soft((v - 0.28) * height / 3) * (v < 0.95)
    neck = np.exp(-(((v - 0.45) / 0.05) ** 2) - ((np.abs(u) - 0.7) / 0.12) ** 2)
    # at its neck a tooth is thin and looks darker, which is no lesion
    value = 0.52 + 0.24 * enamel * (v < 0.42) - 0.16 * pulp - 0.1 * neck
    if filled:
        value = np.where((np.abs(u) < 0.4) & (v > 0.015) & (v < 0.13), 0.98, value)
    return value, _soft(inside * half / 1.5)


def _soft(distance):
    """From 0 outside to 1 inside over about two pixels; distance in pixels."""
    return np.clip(distance + 0.5, 0, 1)


def _texture(chance, side):
    """Trabecular bone: noise of two scales, 0..1."""
    fine = ndimage.gaussian_filter(chance.normal(0, 1, (side, side)), 1.6)
    coarse = ndimage.gaussian_filter(chance.normal(0, 1, (side, side)), 5)
    mixed = 0.5 + 0.2 * fine / fine.std() + 0.15 * coarse / coarse.std()
    return np.clip(mixed, 0, 1).astype(np.float32)


def exposed(image, site, chance):
    """What the site's sensor makes of it: (side, side) uint16 in 0..4095."""
    gamma, dark, bright, noise = SITES[site]
    value = dark + (bright - dark) * image**gamma
    grain = ndimage.gaussian_filter(chance.normal(0, 1, image.shape), 0.6)
    return np.clip((value + 1.5 * noise * grain) * MOST, 0, MOST).round().astype(np.uint16)


def radiographs(
    folder,
    patients=120,
    seed=0,
    side=SIDE,
    defects=False,
    dicom=False,
    japanese=False,
    sites="A,B,C",
    letter="P",
    ill=0.5,
):
    """Write the pictures and ``labels.csv``; the same seed writes the same files."""
    folder = Path(folder)
    (folder / "images").mkdir(parents=True)
    write = write_dicom if dicom else write_png
    ending = "dcm" if dicom else "png"
    rows, images = [], []
    for number in range(patients):
        chance = np.random.default_rng((seed, number))
        one, patient = jaw(chance), f"{letter}{number + 1:04d}"
        site, sex = str(chance.choice(sites.split(","))), str(chance.choice(("F", "M")))
        age = int(chance.integers(18, 85))
        day = datetime.date(2021, 1, 4) + datetime.timedelta(int(chance.integers(0, 1000)))
        is_ill = chance.random() < ill  # whose teeth have caries have it in most pictures
        for view in range(int(chance.choice((1, 2, 3, 4), p=(0.15, 0.35, 0.35, 0.15)))):
            label = LABELS[int(chance.random() < (0.85 if is_ill else 0.15))]
            lesions = int(chance.integers(1, 4)) if label == "caries" else 0
            image = exposed(radiograph(one, chance, lesions, side), site, chance)
            date = day + datetime.timedelta(180 * view)
            name = f"images/{patient}_{view + 1}.{ending}"
            rows.append(Row(name, label, patient, site, sex, age, date.isoformat()))
            images.append(image)
    if defects:
        spoil(rows, images, ending)
    for number, (row, image) in enumerate(zip(rows, images, strict=True)):
        write(folder / row.filename, image, row, (seed, number))
    if defects:
        cut = folder / rows[2].filename
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(JAPANESE if japanese else HEADER)
        writer.writerows(row.values() for row in rows)
    return folder


def spoil(rows, images, ending):
    """Add an exact copy and a near one with the other label; burn a letter in. The file that is cut
    short is the third one."""
    copied, near = images[0], images[1].astype(float)
    rows.append(replace(rows[0], filename=f"images/Q0001_1.{ending}", patient="Q0001"))
    images.append(copied)
    other = LABELS[1 - LABELS.index(rows[1].label)]
    rows.append(replace(rows[1], filename=f"images/Q0002_1.{ending}", patient="Q0002", label=other))
    images.append(np.clip(1.04 * near + 40, 0, MOST).round().astype(np.uint16))
    for i, row in enumerate(rows[3:-2], 3):
        if row.site == "B" and row.label == "caries":
            images[i] = marked(images[i])


def marked(image):
    """With a white R in the upper left corner."""
    side = len(image)
    letter = Image.new("L", (side, side))
    ImageDraw.Draw(letter).text((side // 24, side // 32), "R", fill=255, font_size=side // 9)
    return np.where(np.asarray(letter) > 127, MOST, image).astype(np.uint16)


def write_png(path, image, row, seed):
    """Grey of 16 bits; 4095 becomes 65535."""
    deep = (image.astype(np.uint32) * 65535 // MOST).astype(np.uint16)
    Image.fromarray(deep).save(path, compress_level=1)  # in a third of the time


def write_dicom(path, image, row, seed):
    """One intra-oral picture of 12 bits. Needs pydicom."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    kind = "1.2.840.10008.5.1.4.1.1.1.3"  # Digital Intra-Oral X-Ray Image, for presentation
    own = ORGANISATION + str(1 + (seed[0] * 100_000 + seed[1]) * 10)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, own
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, own
    made.StudyInstanceUID, made.SeriesInstanceUID = own + ".1", own + ".2"
    made.Modality, made.InstitutionName = "IO", f"Site {row.site}"
    made.PatientID, made.PatientName = row.patient, f"Synthetic^{row.patient}"
    made.PatientSex, made.PatientAge = row.sex, f"{row.age:03d}Y"
    made.StudyDate = row.date.replace("-", "")
    made.Rows, made.Columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = (MOST + 1) // 2, MOST + 1
    made.PixelData = image.astype("<u2").tobytes()
    made.save_as(path, enforce_file_format=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=SIDE, help="pixels")
    parser.add_argument("--defects", action="store_true")
    parser.add_argument("--dicom", action="store_true")
    parser.add_argument("--japanese", action="store_true", help="names of the CSV's columns")
    parser.add_argument("--sites", default="A,B,C", help=f"of {', '.join(SITES)}")
    parser.add_argument("--letter", default="P", help="with which the patients' names begin")
    parser.add_argument("--ill", type=float, default=0.5, help="share of patients with caries in most pictures")
    radiographs(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
