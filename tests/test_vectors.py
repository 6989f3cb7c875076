"""Tables of numbers: what is a feature and what is not, and systems that learn from them."""

import numpy as np
import pytest
import torch

from souron.cli import main
from souron.data import load
from souron.data.formats import vectors
from souron.data.readers.settings import Reading
from souron.runs import evaluate, train
from souron.utils.messages import UserError


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def clouds(path, cases=60):
    """Three clouds of points in five columns, and who they are of."""
    random = np.random.default_rng(0)
    rows = [
        f"{i},{cloud},p{i // 2}," + ",".join(f"{x:.4f}" for x in random.normal(cloud * 6, 1, 5))
        for i in range(cases)
        for cloud in [i % 3]
    ]
    path.write_text("\n".join(["id,診断,patient,a,b,c,d,e", *rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_of_numbers_are_features(table, separator, encoding):
    text = "id,身長,note,label,体重\n1,1.5,tall,a,60\n2,1e2,small,b,-7\n"
    cases = vectors.load(table(text.replace(",", separator), encoding=encoding))
    assert cases.input.tolist() == [[1.5, 60], [100, -7]]
    assert cases.classes == ("a", "b") and cases.target.tolist() == [0, 1]
    assert cases.columns == {"id": ["1", "2"], "note": ["tall", "small"]}
    assert list(cases.file) == ["row 1", "row 2"] and not cases.group and not cases.images


def test_rows_that_lack_a_number_are_skipped_and_named(table):
    cases = vectors.load(table("a,b\n1,2\n3,\n4,nan\n5,inf\n6,x\n7\n8,9,10\n11,12\n13,14\n"))
    assert cases.input.tolist() == [[1, 2], [8, 9], [11, 12], [13, 14]]
    assert [skip.file for skip in cases.skipped] == [f"row {row}" for row in (2, 3, 4, 5, 6)]
    assert all("b: " in skip.reason for skip in cases.skipped)


def test_groups_and_parts(table):
    path = table("patient,part,who,a\nx,train,m,1\nx,test,n,2\n")
    assert list(vectors.load(path).group) == ["x", "x"]
    assert list(vectors.load(path).part) == ["train", "test"]
    assert list(vectors.load(path, Reading(group="who")).group) == ["m", "n"]
    assert vectors.load(path, Reading(group="none")).group == ()
    with pytest.raises(UserError, match="nobody"):
        vectors.load(path, Reading(group="nobody"))


@pytest.mark.parametrize(
    "text, code",
    [
        ("", "columns"),
        ("a,b\n", "columns"),
        ("a,b\nx,y\n", "columns"),
        ("a,b\n1,\n,2\n", "no case"),
        ("id,label\n1,2\n", "columns"),
        ('a\n"', "columns"),
        ("a,b\n1,2\0\n", "unreadable"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(table, text, code):
    with pytest.raises(UserError) as caught:
        vectors.load(table(text))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3),
        np.zeros((0, 2)),
        np.array([["a"]]),
        np.array([[{}]], dtype=object),
        np.full((2, 2), np.nan),
        np.zeros((2, 2, 2)),
    ],
)
def test_arrays_that_are_no_points_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=r"a\.npy"):
        vectors.load(tmp_path / "a.npy")


def test_an_array_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((40, 5)))
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (0, 5, 60, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.npy"):
            vectors.load(tmp_path / "a.npy")


def test_points_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 2], [np.inf, 3], [4, 5]]))
    cases = load.load(tmp_path / "a.npy", formats=("vectors",))
    assert cases.input.tolist() == [[1, 2], [4, 5]] and cases.target is None
    assert list(cases.file) == ["row 1", "row 3"] and [s.file for s in cases.skipped] == ["row 2"]


def test_a_list_of_pictures_is_no_table_of_numbers(table):
    assert vectors.describes(table("a,b\n1,2\n"))
    assert not vectors.describes(table("image,label,age\nx.png,a,3\n"))
    assert not vectors.describes(table("who,what\na,b\n"))
    assert not vectors.describes(table("a,b\n1,2\n", "table.txt"))


@pytest.mark.parametrize(
    "system, metric, least",
    [("pca", "trustworthiness", 0.8), ("kmeans", "silhouette", 0.6), ("hdbscan", "silhouette", 0.5)],
)
def test_systems_learn_from_a_table(tmp_path, system, metric, least, capsys):
    path = clouds(tmp_path / "clouds.csv")
    changes = {"config": {"groups": 3}} if system == "kmeans" else {}
    record = train.train(system, path, **changes)
    assert record.measures[metric].value > least
    assert record.measures[metric].groups == 30  # patients
    assert record.forecast.seconds < 60  # it needs less than the minute that it may take
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "clouds.csv" in page and "never saw" not in page
    again = evaluate.evaluate(record.folder)
    assert again[metric] == record.measures[metric]
    assert main.run(["data", str(path)]) == 0
    assert "columns  5" in capsys.readouterr().out


def test_a_column_of_one_value_does_no_harm(table):
    path = table("a,b,c\n" + "".join(f"{i},{i * i},7\n" for i in range(30)))
    record = train.train("pca", path)
    assert torch.isfinite(record.answers[0]["place"]).all()


def test_pictures_are_not_learnt_from_a_table(table, capsys):
    path = table("a,label\n1,x\n2,y\n")
    assert main.run(["train", "cnn", f"data={path}"]) == 3
    assert "filename,label" in capsys.readouterr().err
