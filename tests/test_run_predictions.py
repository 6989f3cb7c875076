"""A run's predictions are read as a table of predictions is."""

import hashlib

import numpy as np
import pytest
import torch

from souron.data.predictions import Asked
from souron.evaluation import run_predictions
from souron.utils import files
from souron.utils.messages import UserError

CASES = [("a.png", "ill", "p1"), ("b.png", "well", "p1"), ("c.png", "ill", "p2"), ("d.png", "well", "p3")]


def run(folder, chances, labels=("ill", "well"), folds=False):
    """A run's files, with the chance of the first label in each repeat for each case."""
    folder.mkdir(parents=True)
    about = "seen:\n  labels:\n" + "".join(f"  - {label}\n" for label in labels)
    (folder / "args.yaml").write_text(about, encoding="utf-8")
    tensors = {f"{i}:probability": torch.tensor([[p, 1 - p] for p in repeat]) for i, repeat in enumerate(chances)}
    training = torch.arange(1, len(chances) + 1)[:, None].expand(-1, len(CASES)) if folds else None
    tensors["training"] = torch.ones(len(chances), len(CASES), dtype=torch.long) if training is None else training
    tensors["fewer 0.5:probability"] = torch.zeros(len(CASES), 2)
    files.write_tensors(folder / "answers.safetensors", {k: v.contiguous() for k, v in tensors.items()}, {})
    rows = [",".join(case) for case in CASES]
    if folds:
        (folder / "folds.csv").write_text("\n".join(["file,label,group", *rows]), encoding="utf-8")
    others = [f"{row},{part}" for row, part in zip(["e.png,ill,p9", *rows], ["train", *["test"] * 4], strict=True)]
    (folder / "split.csv").write_text("\n".join(["file,label,group,part", *others]), encoding="utf-8")
    return folder


def test_the_test_cases_of_a_run_are_read_with_their_patients(tmp_path):
    found = run_predictions.read([run(tmp_path / "cnn", [[0.9, 0.2, 0.8, 0.3]])])
    assert found.cases == ("a.png", "b.png", "c.png", "d.png") and found.units == 3
    assert found.classes == ("ill", "well") and found.positive == 1 and found.trainings is None
    assert found.methods["cnn"] == pytest.approx(np.array([[[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.3, 0.7]]]))
    assert (found.truth == [0, 1, 0, 1]).all()
    ill = run_predictions.read([tmp_path / "cnn"], Asked(positive="ill"))
    assert ill.positive == 0


def test_each_repeat_of_a_cross_validation_is_a_row(tmp_path):
    found = run_predictions.read([run(tmp_path / "cnn", [[0.9, 0.2, 0.8, 0.3], [0.6, 0.1, 0.7, 0.4]], folds=True)])
    assert found.methods["cnn"].shape == (2, 4, 2) and (found.trainings[:, 0] == [1, 2]).all()
    assert found.methods["cnn"][1, 0, 0] == pytest.approx(0.6)


def test_runs_on_the_same_cases_are_methods_of_one_table(tmp_path):
    one, other = (run(tmp_path / place / "cnn", [[p, 0.2, 0.8, 0.3]]) for place, p in (("a", 0.9), ("b", 0.4)))
    assert list(run_predictions.read([one, other]).methods) == ["cnn", "cnn-2"]
    split = other / "split.csv"
    kept = split.read_text(encoding="utf-8")
    split.write_text(kept.replace("d.png,well", "d.png,ill"), encoding="utf-8")
    with pytest.raises(UserError, match="the test cases of"):  # the same files with other labels
        run_predictions.read([one, other])
    split.write_text(kept, encoding="utf-8")
    split.write_text(split.read_text(encoding="utf-8").replace("d.png", "f.png"), encoding="utf-8")
    with pytest.raises(UserError, match="the test cases of"):
        run_predictions.read([one, other])


@pytest.mark.parametrize("lie", ["cases", "labels", "nan", "nothing", "yaml"])
def test_a_folder_that_is_no_classifiers_run_is_refused(tmp_path, lie):
    folder = run(tmp_path / "cnn", [[np.nan if lie == "nan" else 0.9, 0.2, 0.8, 0.3]])
    if lie == "cases":
        (folder / "split.csv").write_text("file,label,part\na.png,ill,test\n", encoding="utf-8")
    if lie == "labels":
        (folder / "args.yaml").write_text("seen: {labels: [ill, fine]}", encoding="utf-8")
    if lie == "yaml":
        (folder / "args.yaml").write_text("seen: 3", encoding="utf-8")
    if lie == "nothing":
        files.write_tensors(folder / "answers.safetensors", {"boxes": torch.zeros(3)}, {})
    with pytest.raises(UserError, match="is not a run"):
        run_predictions.read([folder])


def test_a_table_is_read_as_before(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("case,truth,a:ill,a:well\n1,ill,0.9,0.1\n2,well,0.2,0.8\n", encoding="utf-8")
    assert run_predictions.read([table]).methods["a"].shape == (1, 2, 2)


def test_a_receipt_names_tables_and_the_answers_of_runs(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("case,truth,a\n", encoding="utf-8")
    one, other = (run(tmp_path / place / "cnn", [[0.9, 0.2, 0.8, 0.3]]) for place in "ab")
    found = run_predictions.sources([table, one, other])
    assert list(found) == ["t.csv", one.as_posix(), other.as_posix()]
    assert found["t.csv"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert found[one.as_posix()] == hashlib.sha256((one / "answers.safetensors").read_bytes()).hexdigest()
    with pytest.raises(UserError, match="is not a run"):
        run_predictions.sources([tmp_path])
