"""Images of two domains without pairs, in the layout of CycleGAN's data sets.

    trainA/1.jpg  trainB/8.jpg        training images of two domains, such as horses and zebras
    testA/2.jpg   testB/9.jpg         test images; valA, valB: validation images

The domain is the class, "A" or "B", and the column ``domain``.

Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks (2017). https://arxiv.org/abs/1703.10593
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from souron.data.dataset import Dataset, Skipped, digests
from souron.data.formats.folder import PARTS, gather, missing, natural, walk
from souron.data.readers.box_annotations import is_image
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
PLACE = re.compile(rf"({'|'.join(PARTS)})[ _-]?([AB])", re.IGNORECASE)
DOMAINS = ("A", "B")


def describes(path: Path) -> bool:
    """Return whether a folder contains ``trainA`` or ``trainB``; ``load`` rejects one without the
    other."""
    return path.is_dir() and any(
        place.is_dir() and (found := PLACE.fullmatch(place.name)) and _part(found[1]) == "train"
        for place in path.iterdir()
    )


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of both domains; files that are not images, or lie elsewhere, are skipped and
    reported. Raises UserError if a domain has no training images, and if all images of one domain
    are also in the other."""
    if not path.is_dir():
        raise missing(path)
    skipped: list[Skipped] = []
    listed = list(_listed(sorted(walk(path, skipped), key=lambda one: natural(one[1])), skipped))
    _check(path, [(item.part, item.label) for item in listed], skipped)
    cases = gather(path, path, listed, skipped, replace(reading, fewest_classes=0))
    domain = [cases.classes[label] for label in cases.target.tolist()]
    _check(path, list(zip(cases.part, domain, strict=True)), cases.skipped)
    _check_different(path, cases)
    cases = replace(cases, columns={**cases.columns, "domain": domain})
    if reading.group is None and _folders_alone(cases):
        return replace(cases, group=(), grouped="", question="")
    return cases


def _folders_alone(cases: Dataset) -> bool:
    """Return whether the groups are merely the folders of the images."""
    folders = [PurePosixPath(file).parts[0] for file in cases.file]
    return bool(cases.group) and list(cases.group) == folders


def _part(name: str) -> str:
    return PARTS[name.lower()]


def _listed(files: Sequence[tuple[Path, str]], skipped: list[Skipped]) -> Iterator[Listed]:
    for place, file in files:
        found = PLACE.fullmatch(PurePosixPath(file).parts[0])
        if not is_image(file):
            skipped.append(Skipped(file, "not an image", _("not an image")))
        elif found is None or "/" not in file:
            skipped.append(Skipped(file, "no domain", _("not in trainA, trainB, testA or testB")))
        else:
            yield Listed(place, file, found[2].upper(), part=_part(found[1]))


def _check(path: Path, there: Sequence[tuple[str, str]], skipped: Sequence[Skipped]) -> None:
    """Raise UserError if a domain has no training image."""
    for domain in DOMAINS:
        if ("train", domain) not in there:
            first = next(
                (
                    f" ({skip.file}: {skip.reason})"
                    for skip in skipped
                    if skip.file.lower().startswith("train")
                    and PurePosixPath(skip.file).parts[0].upper().endswith(domain)
                ),
                "",
            )
            raise UserError(
                "empty domain",
                _("{folder} holds no image that can be used{first}").format(
                    folder=readable(path / f"train{domain}"), first=first
                ),
                expected=_("images in trainA and in trainB"),
                exit=3,
            )


def _check_different(path: Path, cases: Dataset) -> None:
    """Raise UserError if all images of a domain are also in the other, so that nothing can be
    translated."""
    of: dict[str, set[bytes]] = {name: set() for name in cases.classes}
    for label, part, digest in zip(cases.target.tolist(), cases.part, digests(cases.input), strict=True):
        if part == "train":
            of[cases.classes[label]].add(digest)
    first, second = (of[name] for name in DOMAINS)
    if first <= second or second <= first:
        raise UserError(
            "same domains",
            _("all images of {first} are in {second}, too").format(
                first="trainA" if first <= second else "trainB", second="trainB" if first <= second else "trainA"
            ),
            expected=_("two kinds of images, such as photographs and paintings"),
            fix=f"souron data check {readable(path)}",
            exit=3,
        )
