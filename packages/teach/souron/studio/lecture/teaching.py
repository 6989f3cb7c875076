"""Server side of the page "Teach it yourself": images, data check, training, prediction.

A session is one open page. Its images are in a temporary folder of the project until they are
saved, the page is closed, or the studio restarts. The network is EfficientNet-Lite0 with published
weights; only its last layer is trained, which takes seconds.
"""

import csv
import re
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.studio.jobs.job_queue import ALIVE, Job, Jobs
from souron.studio.security import uploads
from souron.utils.messages import UserError, _

SYSTEM = "efficientnet_lite"  # comes with souron, so nothing needs to be fetched
BUDGET = "400ep"  # for a last layer alone
FOLDS = 1  # figures within seconds; the pages Train and Compare allow more
MOST_SESSIONS = 20
MOST_CLASSES, MOST_IMAGES = 8, 2000
FEWEST = 2  # least images of a class for training
FEW = 10  # images of a class; with fewer a warning is shown
UNEVEN = 4.0  # ratio of the largest to the smallest class that is warned of
SIDE = 64  # pixels a side at which images are compared
LONGEST = 60  # characters of a name
ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Taught:
    """A training image with its label."""

    number: int
    label: str
    person: str = ""  # person, patient or other group that the split keeps together


@dataclass
class Session:
    """One open page."""

    folder: Path
    count: int = 0  # images received, including removed ones
    job: str = ""
    labels: tuple[str, ...] = ()  # of the training, in the page's order
    images: tuple[Taught, ...] = ()  # of the training
    kept: str = ""  # the run's folder, once it is kept
    lock: threading.Lock = field(default_factory=threading.Lock)

    def file(self, number: int) -> Path:
        return self.folder / "pictures" / f"{number:05}.jpg"


class Teaching:
    """The sessions of a studio."""

    def __init__(self, project: Path, jobs: Jobs) -> None:
        self.project, self.jobs = project, jobs
        self.place = project.absolute() / ".studio" / "teach"
        self.sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        for job in jobs.all():  # left by an earlier server
            if any(str(self.place) in word for word in job.words):
                job.drop()
        shutil.rmtree(self.place, ignore_errors=True)

    def begin(self) -> str:
        """Create a session and return its id; the oldest one ends where there are too many."""
        id = secrets.token_hex(12)
        with self._lock:
            while len(self.sessions) >= MOST_SESSIONS:
                self._end(next(iter(self.sessions)))
            self.sessions[id] = Session(self.place / id)
        return id

    def find(self, id: str) -> Session:
        """Return a session. Raises UserError where it has ended."""
        session = self.sessions.get(id) if ID.fullmatch(id) else None
        if session is None:
            raise UserError(
                "ended",
                _("the studio was started again, or this page was left"),
                expected=_("an open page"),
                fix=_("load the page again and bring the pictures once more"),
                exit=3,
            )
        return session

    def end(self, id: str) -> None:
        with self._lock:
            self._end(id)

    def _end(self, id: str) -> None:
        session = self.sessions.pop(id, None)
        if session is not None:
            if (job := self._job(session)) is not None:
                job.drop()
            shutil.rmtree(session.folder, ignore_errors=True)

    def add(self, id: str, content: bytes) -> int:
        """Store an image and return its number. Raises UserError for an invalid one."""
        session = self.find(id)
        small = uploads.image(content)
        with session.lock:
            if session.count >= MOST_IMAGES:
                raise UserError(
                    "too many files",
                    _("{count} pictures are as many as this page takes").format(count=MOST_IMAGES),
                    expected=_("fewer pictures, or a folder on the page Data"),
                    exit=3,
                )
            session.count += 1
            file = session.file(session.count)
            file.parent.mkdir(parents=True, exist_ok=True)
            small.save(file, quality=95)
            return session.count

    def remove(self, id: str, number: int) -> None:
        self.find(id).file(number).unlink(missing_ok=True)

    def check(self, id: str, asked: Any) -> list[str]:
        """Return warnings about the data, worst first. Raises UserError if it cannot be trained
        on."""
        session = self.find(id)
        images = read(session, asked)
        return remarks(session, images)

    def train(self, id: str, asked: Any, language: str) -> None:
        """Start the training. Raises UserError."""
        session = self.find(id)
        with session.lock:
            images = read(session, asked)
            if (job := self._job(session)) is not None:
                job.drop()
            write(session, images)
            shutil.rmtree(session.folder / "runs", ignore_errors=True)
            session.labels = tuple(dict.fromkeys(each.label for each in images))
            session.images, session.kept = tuple(images), ""
            words = [
                "train",
                SYSTEM,
                f"data={session.folder / 'pictures' / 'pictures.csv'}",
                "pretrained=true",
                "freeze=true",
                f"budget={BUDGET}",
                f"folds={FOLDS}",
                f"batch={min(128, len(images))}",
                "name=taught",
                f"group={'patient' if grouped(images) else 'none'}",
                f"project={session.folder / 'runs'}",
            ]
            session.job = ""
            session.job = self.jobs.start(words, language, queued=False).id

    def state(self, id: str) -> dict[str, Any]:
        """Return the progress of the training, and its result."""
        session = self.find(id)
        job = self._job(session)
        if job is None:
            return {"state": "none"}
        state = job.state
        told: dict[str, Any] = {"state": state, "fraction": job.last.get("fraction") or 0.0}
        if state == "done":
            told["figure"] = figure(job)
        elif state not in ALIVE:
            trouble = job.trouble or {"found": _("the training ended before it was done")}
            told["trouble"] = " ".join(str(trouble[name]) for name in ("found", "expected") if trouble.get(name))
        return told

    def answer(self, id: str, content: bytes) -> list[float]:
        """Return the probability of each class, in the page's order. Raises UserError."""
        from souron.kinds.picture import Picture
        from souron.studio.model_cache import models

        session = self.find(id)
        run = Path(session.kept) if session.kept else session.folder / "runs/classify/taught"
        picture = Picture(uploads.image(content))
        with models.answering(str(run)) as model:
            said: Any = model.answer(picture)
        shares = dict(zip(map(str, said.labels), map(float, said.probabilities), strict=True))
        return [shares.get(label, 0.0) for label in session.labels]

    def keep(self, id: str, name: str) -> Path:
        """Move the run into the project with a copy of its images; return the run's folder.

        Raises UserError.
        """
        session = self.find(id)
        job = self._job(session)
        with session.lock:
            if session.kept:
                return Path(session.kept)
            made = session.folder / "runs" / "classify" / "taught"
            if job is None or job.state != "done" or not made.is_dir():
                raise UserError("missing", _("nothing was learnt yet"), exit=3)
            short = uploads.safe(name or "-".join(session.labels))
            data = free(self.project.absolute() / ".studio" / "uploads", short)
            target = free(self.project / "classify", f"{SYSTEM}-{short}")
            from souron.runs import folder as run_folder

            shutil.copytree(session.folder / "pictures", data)
            for number in range(1, session.count + 1):  # removed, or added after training
                if number not in {each.number for each in session.images}:
                    (data / f"{number:05}.jpg").unlink(missing_ok=True)
            args = run_folder.read_args(made)
            run_folder.write_args(made, {**args, "data": str(data / "pictures.csv")})
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, target)
            session.kept = str(target)
            return target

    def _job(self, session: Session) -> Job | None:
        try:
            return self.jobs.get(session.job) if session.job else None
        except UserError:
            return None


def free(folder: Path, name: str) -> Path:
    """Return an unused path in a folder: ``cats``, ``cats-2``."""
    names = (name if k == 1 else f"{name}-{k}" for k in range(1, 100_000))
    return next(folder / each for each in names if not (folder / each).exists())


def read(session: Session, asked: Any) -> list[Taught]:
    """Parse ``{"pictures": [{"number", "label", "person"}]}`` as sent by the page.

    Raises UserError where training on it is impossible.
    """
    given = asked.get("pictures") if isinstance(asked, dict) else None
    found = [
        Taught(each["number"], _name(each.get("label")), _name(each.get("person")))
        for each in (given if isinstance(given, list) else [])[:MOST_IMAGES]
        if isinstance(each, dict) and isinstance(each.get("number"), int)
    ]
    found = [each for each in found if each.label and session.file(each.number).is_file()]
    count = Counter(each.label for each in found)
    if len(count) < 2 or len(count) > MOST_CLASSES:
        raise UserError(
            "classes",
            _("{count} classes have a name and pictures").format(count=len(count)),
            expected=_("two to {most}").format(most=MOST_CLASSES),
            exit=3,
        )
    small = [label for label, n in count.items() if n < FEWEST]
    if small:
        raise UserError(
            "few pictures",
            _("there are too few pictures of {classes}").format(classes=", ".join(small)),
            expected=_("at least {count} of each, better {better}").format(count=FEWEST, better=2 * FEW),
            exit=3,
        )
    return found


def _name(text: Any) -> str:
    """Clean the name of a class or a person: one line, without control characters."""
    plain = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+", " ", text) if isinstance(text, str) else ""
    return re.sub(r"\s+", " ", plain).strip()[:LONGEST]


def grouped(images: Sequence[Taught]) -> bool:
    """Return whether the split can keep each person's images together.

    Every image must have a person, and each class at least three people.
    """
    people: dict[str, set[str]] = {}
    for each in images:
        people.setdefault(each.label, set()).add(each.person)
    return all(each.person for each in images) and all(len(p) >= 3 for p in people.values())


def write(session: Session, images: Sequence[Taught]) -> None:
    """Write the table of the images' labels."""
    with (session.folder / "pictures" / "pictures.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "patient"])
        for each in images:
            table.writerow([f"{each.number:05}.jpg", each.label, each.person])


def remarks(session: Session, images: Sequence[Taught]) -> list[str]:
    """Return the findings of the data check, in the reader's language."""
    count = Counter(each.label for each in images)
    told = []
    people = {label: {p.person for p in images if p.label == label} for label in count}
    alone = [label for label in count if len(people[label]) == 1 and people[label] != {""}]
    if alone:
        told.append(
            _(
                "All pictures of {classes} are of one person: it may learn who that is, "
                "and the figure says nothing about others."
            ).format(classes=", ".join(alone))
        )
    elif any(each.person for each in images) and not grouped(images):
        told.append(
            _(
                "To keep each person's pictures together, every picture needs a person, and "
                "each class at least three of them. Now the figure mixes people."
            )
        )
    for label, n in count.items():
        if n < FEW:
            told.append(
                _("{label} has {count} pictures: too few to conclude anything. Twenty are a beginning.").format(
                    label=label, count=n
                )
            )
    most, least = max(count, key=count.__getitem__), min(count, key=count.__getitem__)
    if count[most] > UNEVEN * count[least]:
        told.append(
            _("{most} has {many} pictures and {least} only {few}: it will say {most} too often.").format(
                most=most, many=count[most], least=least, few=count[least]
            )
        )
    return [*told, *copies(session, images)]


def copies(session: Session, images: Sequence[Taught]) -> list[str]:
    """Find duplicate images within a class and across classes."""
    import numpy as np
    import torch
    from PIL import Image

    from souron.data.quality import duplicates

    small = []
    for each in images:
        with Image.open(session.file(each.number)) as image:
            small.append(np.asarray(image.resize((SIDE, SIDE))))
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)  # (N, 3, 64, 64)
    pairs = duplicates.near(pixels)
    across = sum(images[one].label != images[other].label for one, other in pairs)
    told = []
    if across:
        text = _("{count} pairs of pictures seem to show the same in two classes: is one of them in the wrong class?")
        told.append(text.format(count=across))
    if len(pairs) > across:
        told.append(
            _(
                "{count} pairs of pictures show nearly the same: they stay on one side of "
                "the split, and count as little more than one."
            ).format(count=len(pairs) - across)
        )
    return told


def figure(job: Job) -> dict[str, Any]:
    """Return the accuracy on held-out images, with its interval, as text."""
    from souron import registry

    measures = (job.result or {}).get("measures", {})
    found = measures.get("accuracy")
    if not found or found.get("value") is None:
        return {"text": "", "n": 0}
    metric = registry.metric("accuracy")
    return {
        "text": metric.text(found["value"]),
        "interval": metric.interval(found["low"], found["high"]),
        "n": found["n"],
    }
