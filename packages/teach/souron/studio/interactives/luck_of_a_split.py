"""The luck of a split: the same patients divided again and again, by patients and, wrongly, by images.

A patient is a handwritten digit of scikit-learn's, photographed several times with noise; even digits stand for the
ill. Every draw is a split of ``data.splits``, with the patients as groups or without them. Logistic regression and
the nearest neighbour learn from its training part; their AUCs, intervals and the verdict are those of
``metrics.classification`` and ``stats.verdict``. Digits that are no patients here show how good the trained systems
really are.
"""

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, plot
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from torch import Tensor

    from souron.data.dataset import Dataset

TITLE = N_("The luck of a split")
ABOUT = N_(
    "Some patients, six noisy pictures of each, two systems: logistic regression and the nearest neighbour. Each press "
    "draws which patients are for testing, trains both anew and judges them. Beside it the same with the pictures "
    "drawn one by one, so that a patient may be in training and in the test at once. A patient is a handwritten digit"
    " here; the even ones are ill."
)
QUESTION = N_(
    "40 patients are divided by patients, 12 of them for testing. The draw is repeated 20 times. How far apart are "
    "the lowest and the highest AUC of the same system?"
)
CHOICES = (N_("Less than 0.02"), N_("About 0.05"), N_("0.1 or more"))
RIGHT = 2
ANSWER = N_(
    "0.1 or more: with twelve test patients it is luck which ones they are, and the interval of one split says so by "
    "being wide. Whoever draws until the figure pleases deceives. Divided by images, the same systems look nearly "
    "perfect, because pictures of each test patient were in training; on other patients they are no better. The leak "
    "turns the order as well: by patients logistic regression is mostly ahead, by images mostly the nearest neighbour, "
    "which recognises the patient and not the disease."
)
WORDS = {
    "draws": N_(
        "Draws: {draws}. AUC of {system}: by patients {low} to {high}, mean {mean}; on other patients it is {outside} "
        "on average. By images: mean {leaking}."
    ),
    "held": N_(
        "The interval of one split by patients holds the mean AUC on other patients in {held} of {draws} draws, the "
        "one by images in {wrongly}."
    ),
    "verdict": N_(
        "Verdict by patients: {first} better {better} times, {second} better {worse} times, cannot tell {unknown} "
        "times. By images: {leaking_better}, {leaking_worse} and {leaking_unknown}."
    ),
    "changes": N_(
        "By the AUC alone, {first} was ahead in {ahead} of {draws} splits by patients: without an interval the winner"
        " would have changed from one draw to the next {changed} times."
    ),
    "torn": N_("Divided by images, {torn} of {patients} patients are in training and in the test."),
    "patients": N_("by patients"),
    "images": N_("by images (leaks)"),
    "ended": N_("All {draws} draws have been made."),
}
TOUR = (
    ("cases", N_("A column is a patient, a cell one picture. Filled cells are for testing.")),
    ("once", N_("Draw again: other patients are tested, and both systems are trained anew.")),
    (
        "strip",
        N_("Guess first: are the splits by images higher or lower than those by patients?"),
        (N_("Higher"), N_("Lower"), N_("The same")),
        0,
    ),
    ("strip", N_("A dot is the AUC of a draw, the line its 95 % interval, the tick the AUC on other patients.")),
    ("twenty", N_("Twenty draws at once. Watch how far the dots spread.")),
    ("patients", N_("More patients: the dots move together, and the intervals become shorter.")),
    (
        "shown",
        N_("Guess first: which system gains most from the leak?"),
        (N_("Logistic regression"), N_("The nearest neighbour")),
        1,
    ),
    ("verdict", N_("The verdict counts patients: from one split of a few it seldom calls one system better.")),
)
SYSTEMS = (N_("logistic regression"), N_("nearest neighbour"))
PATIENTS = (40, 20, 80)
IMAGES = 6  # of a patient
NOISE = 80.0  # standard deviation, of 255
TEST = 0.3
PENALTY = 0.05  # of the logistic regression, the inverse of its strength
OTHERS = 400  # other patients, one picture each
DRAWS = 60  # of each number of patients


class Drawn(NamedTuple):
    """A split, and what both systems reach on it."""

    test: list[int]  # rows
    auc: list[list[float]]  # of each system: value, low, high, on other patients
    verdict: str
    difference: list[float]  # value, low, high


def stage() -> Markup:
    return beside(
        controls(
            choice("patients", _("patients"), [(str(count), str(count)) for count in PATIENTS]),
            choice("shown", _("system shown"), [(str(number), _(name)) for number, name in enumerate(SYSTEMS)]),
            button("once", _("Draw again"), first=True),
            button("twenty", _("20 draws")),
            button("again", _("Start again")),
        ),
        images(
            canvas(
                "cases",
                _("the pictures of all patients; those for testing are filled"),
                380,
                200,
                _("The last draw. A column is a patient, a cell a picture; filled: for testing."),
            ),
            canvas(
                "pictures", _("pictures of the first patients"), 200, 200, _("Six pictures of each of six patients")
            ),
        )
        + images(
            plot(
                "strip",
                _("AUC of each draw with its interval"),
                380,
                420,
                _("A draw each: dot and 95 % interval; tick: AUC on 400 other patients, whose mean is dashed."),
            )
        ),
        parts("draws", "held", "verdict", "changes", "torn"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the draw ``seed`` of so many ``patients``: splits by patients and by images, AUCs and verdicts."""
    patients = int(interactive.among(asked, "patients", [str(count) for count in PATIENTS]))
    seed = interactive.whole(asked, "seed", 0, DRAWS - 1, 0)
    found = {name: drawn(patients, seed, name == "patients") for name in ("patients", "images")}
    tested = set(found["images"].test)
    in_training = {row // IMAGES for row in range(patients * IMAGES) if row not in tested}
    return {
        "each": IMAGES,
        "draws": DRAWS,
        "torn": len(in_training & {row // IMAGES for row in tested}),
        "pictures": interactive.packed(cases(patients).input[: 6 * IMAGES].numpy()),
        **{name: one._asdict() for name, one in found.items()},
    }


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests whose answers an exported page carries."""
    for patients in PATIENTS:
        for seed in range(DRAWS):
            yield {"patients": str(patients), "seed": seed}


@lru_cache
def shuffled() -> "Dataset":
    """Return scikit-learn's handwritten digits in a random order, the same every time."""
    import torch

    from souron.data.load import load

    digits = load("digits")
    return digits.only(torch.randperm(len(digits), generator=torch.Generator().manual_seed(0)))


@lru_cache
def cases(patients: int) -> "Dataset":
    """Return IMAGES noisy pictures of each patient, in order of the patients; label 1 is an even digit."""
    from souron.data.dataset import Dataset

    digits = shuffled().only(slice_of(0, patients))
    label = (digits.target % 2 == 0).long().repeat_interleave(IMAGES)
    names = [f"{patient:03d}" for patient in range(patients) for _image in range(IMAGES)]
    return Dataset(
        name="patients",
        input=noisy(digits.input.repeat_interleave(IMAGES, 0), 1),
        target=label,
        classes=("odd", "even"),
        file=[f"{name}-{row % IMAGES}" for row, name in enumerate(names)],
        group=names,
    )


@lru_cache
def others() -> tuple["Tensor", "Tensor"]:
    """Return a picture of each of OTHERS digits that are patients in no draw, (OTHERS, 64), and their labels."""
    first = max(PATIENTS)
    digits = shuffled().only(slice_of(first, first + OTHERS))
    return flat(noisy(digits.input, 2)), (digits.target % 2 == 0).long()


def slice_of(start: int, end: int) -> "Tensor":
    import torch

    return torch.arange(start, end)


def noisy(image: "Tensor", seed: int) -> "Tensor":
    """Add noise to images (N, 1, H, W) uint8."""
    import torch

    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + NOISE * noise).round().clamp(0, 255).to(torch.uint8)


def flat(image: "Tensor") -> "Tensor":
    """Return images (N, 1, H, W) uint8 as rows (N, H * W) in 0..1."""
    return image.flatten(1).double() / 255


@cache
def drawn(patients: int, seed: int, whole: bool) -> Drawn:
    """Divide the pictures, train both systems and judge them; ``whole`` patients, or image by image.

    Divided by images, they are also judged as if each were a patient of its own, as those do who divide so.
    """
    from dataclasses import replace

    from souron.data.splits import split
    from souron.metrics import classification
    from souron.stats import verdict

    data = cases(patients)
    made = split(data if whole else replace(data, group=()), seed=seed, val=0.0, test=TEST)
    train, test = data.only(made.train), data.only(made.test)
    known, label = flat(train.input), train.target
    groups = list(test.group) if whole else None
    elsewhere, truth = others()
    auc, scores = [], []
    for predict in (logistic, nearest):
        one = predict(known, label, flat(test.input))
        area = classification.auc(one, test.target, groups)
        outside = classification.auc(predict(known, label, elsewhere), truth)
        auc.append([round(value, 4) for value in (area.value, area.low, area.high, outside.value)])
        scores.append(classification.auc_scores(one, test.target, groups))
    apart = verdict.difference(scores[0], scores[1], groups=groups, strata=test.target)
    ends = [round(value, 4) for value in (apart.difference, apart.low, apart.high)]
    return Drawn(sorted(made.test.tolist()), auc, apart.verdict, ends)


def logistic(known: "Tensor", label: "Tensor", x: "Tensor") -> Any:
    """Return the probabilities (N, 2) of a logistic regression that learnt from known rows."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=PENALTY, max_iter=300).fit(known.numpy(), label.numpy()).predict_proba(x.numpy())


def nearest(known: "Tensor", label: "Tensor", x: "Tensor") -> Any:
    """Return the label of the nearest known row as probabilities (N, 2), 0 or 1."""
    import torch

    from souron.blocks import neighbours

    _far, row = neighbours.nearest(x, known, 1)
    return torch.nn.functional.one_hot(label[row[:, 0]], 2).numpy()
