"""Functions that readers write in the notebooks: right, wrong, unfinished and hostile ones."""

import inspect
import json
import re

import numpy as np
import pytest
import torch
from dropping import put_in
from playing import build

from souron.lecture import checks, exercises, rows
from souron.utils.messages import UserError

STUB = re.compile(r"^def (\w+)\(([^)]*)\):\n    raise NotImplementedError$", re.MULTILINE)


def one_hot(labels, classes):
    table = np.zeros((len(labels), classes))
    for row, label in enumerate(labels):
        table[row, label] = 1
    return table


def softmax(scores):
    powers = np.exp(scores - max(scores))
    return powers / powers.sum()


def convolve(image, kernel):
    height, width = (i - k + 1 for i, k in zip(image.shape, kernel.shape, strict=True))
    rows, columns = kernel.shape
    return [[(image[y : y + rows, x : x + columns] * kernel).sum() for x in range(width)] for y in range(height)]


def nearest_centre(points, centres):
    return [int(np.argmin([((point - centre) ** 2).sum() for centre in centres])) for point in points]


def causal_attention(query, key, value):
    scores = query @ key.T / query.shape[1] ** 0.5
    later = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(1) @ value


def merge_pair(tokens, pair):
    if len(tokens) < 2:
        return tokens
    if tuple(tokens[:2]) == tuple(pair):
        return ["".join(pair), *merge_pair(tokens[2:], pair)]
    return [tokens[0], *merge_pair(tokens[1:], pair)]


def top_k_accuracy(probabilities, labels, k):
    best = np.argsort(-probabilities, axis=1)[:, :k]
    return (best == labels[:, None]).any(1).mean()


def patients_on_both_sides(train, test):
    return sorted({patient for patient in train if patient in test})


def predictive_value(sensitivity, specificity, prevalence):
    hits, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return hits / (hits + alarms)


def box_overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    both = sum((right - left) * (bottom - top) for left, top, right, bottom in (one, other))
    return shared / (both - shared)


def average_precision(right, objects):
    hits = np.cumsum(right)
    recall, precision = hits / objects, hits / np.arange(1, len(right) + 1)
    return np.mean([max(precision[recall >= least], default=0) for least in np.linspace(0, 1, 101)])


def dice(predicted, true):
    whole = predicted.sum() + true.sum()
    return 2 * (predicted & true).sum() / whole if whole else 1


def add_noise(clean, noise, kept):
    return np.sqrt(kept) * clean + np.sqrt(1 - kept) * noise


def cosine_table(one, other):
    return [[a @ b / np.sqrt(a @ a) / np.sqrt(b @ b) for b in other] for a in one]


def reciprocal_rank(scores, right):
    for place, item in enumerate(np.argsort(-scores), 1):
        if right[item]:
            return 1 / place
    return 0


def exposure_beta(labels, core):
    value = {"E0": 0, "E1": 1, "E2": 0.5}
    weights = [1 if yes else 0.5 for yes in core]
    return sum(w * value[label] for w, label in zip(weights, labels, strict=True)) / sum(weights)


def without_the_gap(one, other):
    """IoU of a beginner: boxes that lie apart in both directions share an area."""
    shared = (min(one[2], other[2]) - max(one[0], other[0])) * (min(one[3], other[3]) - max(one[1], other[1]))
    both = sum((right - left) * (bottom - top) for left, top, right, bottom in (one, other))
    return shared / (both - shared)


WRONG = {  # what beginners write
    "one_hot": lambda labels, classes: np.eye(max(labels) + 1)[labels],
    "softmax": lambda scores: np.exp(np.minimum(scores, 700)) / np.exp(np.minimum(scores, 700)).sum(),
    "convolve": lambda image, kernel: convolve(image, kernel[::-1, ::-1]),
    "nearest_centre": lambda points, centres: [int((point - centres).sum(1).argmin()) for point in points],
    "causal_attention": lambda query, key, value: (query @ key.T / query.shape[1] ** 0.5).softmax(1) @ value,
    "merge_pair": lambda tokens, pair: "|".join(tokens).replace("|".join(pair), "".join(pair)).split("|"),
    "top_k_accuracy": lambda probabilities, labels, k: (probabilities.argmax(1) == labels).mean(),
    "patients_on_both_sides": lambda train, test: sorted(patient for patient in train if patient in test),
    "predictive_value": lambda sensitivity, specificity, prevalence: sensitivity * prevalence,
    "box_overlap": without_the_gap,
    "average_precision": lambda right, objects: sum(right) / max(len(right), 1),
    "dice": lambda predicted, true: (predicted & true).sum() / max((predicted | true).sum(), 1),
    "add_noise": lambda clean, noise, kept: kept * clean + (1 - kept) * noise,
    "cosine_table": lambda one, other: one @ other.T,
    "exposure_beta": lambda labels, core: np.mean([{"E0": 0, "E1": 1, "E2": 0.5}[label] for label in labels]),
    "reciprocal_rank": lambda scores, right: 1 / (1 + int(np.argmax(np.where(right, scores, -1)))),
}


@pytest.fixture(scope="module")
def stubs():
    """The unfinished function of each exercise in the notebooks: name -> (notebook, parameters)."""
    found = {}
    for notebook in build.names():
        for cell in build.notebook(notebook, "en").cells:
            for name, parameters in STUB.findall(cell.source) if cell.cell_type == "code" else ():
                assert name not in found and f'checks.check("{name}", {name})' in cell.source, name
                found[name] = notebook, parameters.split(", ")
    return found


@pytest.mark.parametrize("name", checks.names())
def test_a_right_function_is_right_and_a_beginners_mistake_differs(tmp_path, name):
    right = checks.check(name, globals()[name], tmp_path)
    assert right.right, right
    wrong = checks.check(name, WRONG[name], tmp_path)
    assert wrong.right is False and str(wrong).startswith(f"{name}(") and "expected is" in str(wrong), wrong
    lines = [json.loads(line) for line in (tmp_path / "exercises.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["kind"], line["exercise"], line["right"]) for line in lines] == [
        ("function", name, True),
        ("function", name, False),
    ]
    assert {line["row"] for line in lines} <= set(rows.rows())
    assert all(set(line) == {"time", "kind", "row", "exercise", "answer", "right"} for line in lines)  # no name
    assert exercises.solved(tmp_path) == set()  # these are no exercises of a row's page


@pytest.mark.parametrize("name", checks.names())
def test_every_function_stands_unfinished_in_a_notebook(tmp_path, stubs, name):
    _notebook, parameters = stubs[name]
    assert parameters == list(inspect.signature(checks.find(name).reference).parameters)

    def unfinished(*_given):
        raise NotImplementedError

    outcome = checks.check(name, unfinished, tmp_path)
    assert outcome.right is None and "not written yet" in repr(outcome)
    assert not (tmp_path / "exercises.jsonl").exists()


def test_every_new_notebook_has_one_and_asks_for_none_that_is_missing(stubs):
    assert set(stubs) == set(checks.names())
    numbered = {name for name in build.names() if re.match(r"(6|7|8|9|1\d)_", name)}
    assert len(numbered) == 10 and numbered <= {notebook for notebook, _parameters in stubs.values()}


def long(one, other):
    for _turn in range(3_000_000):
        sum(one)


def long_and_deaf(one, other):
    for _turn in range(30):
        try:
            for _inner in range(100_000):
                sum(one)
        except Exception:
            continue


class Hostile:
    """An answer that cannot be compared, copied or shown."""

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("no")

    def __array__(self, *given, **named):
        raise RuntimeError("no")


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def raising(error):
    def function(one, other):
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raising(ValueError("what\nnow")), "raises ValueError: what now"),
        (raising(SystemExit(3)), "raises SystemExit"),
        (raising(Unprintable()), "raises"),
        (lambda one: 0, "raises TypeError"),
        (lambda one, other: None, "Is `return` missing?"),
        (lambda one, other: "0.333", "of the type str"),
        (lambda one, other: [0.1, [0.2]], "of the type list"),
        (lambda one, other: [1 / 3], "returns the shape (1,)"),
        (lambda one, other: 1j, "of the type complex"),
        (lambda one, other: np.nan, "returns nan"),
        (lambda one, other: Hostile(), "raises RuntimeError"),
        (lambda one, other: "x" * 10**7, "of the type str"),
        ("box_overlap", "is no function"),
        (None, "is no function"),
        (Hostile(), "is no function"),
    ],
)
def test_what_goes_wrong_in_a_function_is_a_sentence(tmp_path, function, words):
    outcome = checks.check("box_overlap", function, tmp_path)
    assert outcome.right is False and words in str(outcome) and len(str(outcome)) < 600
    if callable(function):
        assert "box_overlap(one=[0, 0, 10, 10], other=[5, 0, 15, 10])" in str(outcome)


@pytest.mark.parametrize("function", [long, long_and_deaf])
def test_a_loop_that_takes_too_long_is_ended(tmp_path, monkeypatch, function):
    monkeypatch.setattr(checks, "SECONDS", 0.05)
    outcome = checks.check("box_overlap", function, tmp_path)
    assert outcome.right is False and "still running after 0.05 s" in str(outcome)


def test_the_limit_leaves_no_trace_behind():
    import sys

    before = sys.gettrace()
    checks.compare("box_overlap", box_overlap)
    assert sys.gettrace() is before


def test_a_person_who_interrupts_is_heard(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        checks.check("box_overlap", raising(KeyboardInterrupt()), tmp_path)
    assert not (tmp_path / "exercises.jsonl").exists()


def test_a_function_that_changes_its_arguments_changes_nothing_else():
    def greedy(train, test):
        both = patients_on_both_sides(train, test)
        train.clear()
        test[:] = []
        return both

    assert checks.compare("patients_on_both_sides", greedy).right

    def wrong(train, test):
        train.clear()
        return ["nobody"]

    assert "train=['Sato', 'Sato', 'Abe', 'Ito']" in str(checks.compare("patients_on_both_sides", wrong))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("causal_attention", lambda *given: causal_attention(*given).numpy()),
        ("causal_attention", lambda *given: causal_attention(*given).requires_grad_()),
        ("softmax", lambda scores: softmax(scores).astype(np.float32)),
        ("box_overlap", lambda one, other: torch.tensor(box_overlap(one, other))),
        ("merge_pair", lambda tokens, pair: tuple(merge_pair(tokens, pair))),
    ],
)
def test_arrays_tensors_and_lists_count_as_the_same(name, function):
    assert checks.compare(name, function).right


def test_a_folder_that_takes_nothing_is_said_after_the_result(tmp_path):
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    outcome = checks.check("box_overlap", box_overlap, tmp_path / "runs")
    assert outcome.right and "Right: box_overlap" in str(outcome) and "runs" in str(outcome)


def test_an_unknown_name_says_which_there_are(tmp_path):
    for name in ("box_overlaps", "../exercises", 3):
        with pytest.raises(UserError) as error:
            checks.check(name, box_overlap, tmp_path)
        assert "box_overlap" in error.value.expected


FILE = '''"""Twice a number."""

ROW = "C1"


def reference(number):
    return 2 * number


def inputs(chance):
    while True:
        yield (int(chance.integers(9)),)
'''


def test_a_function_is_added_by_one_file_and_its_cases_are_bounded(tmp_path):
    with put_in(tmp_path, {"lecture/checks/twice.py": FILE}, checks):
        assert "twice" in checks.names()
        outcome = checks.check("twice", lambda number: number + number, tmp_path)
        assert outcome.right and f"{checks.MOST} of {checks.MOST} cases" in str(outcome)
        assert checks.check("twice", lambda number: number, tmp_path).right is False


def test_the_cases_are_the_same_every_time():
    first, second = (str(checks.compare("cosine_table", WRONG["cosine_table"])) for _time in range(2))
    assert first == second and "one=[[" in first  # a generated case
