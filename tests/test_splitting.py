"""Parts that share nothing, whatever the cases."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from souron.data.dataset import Dataset
from souron.data.splits import Split, read, split, write
from souron.utils.messages import UserError

SEEDS = range(12)


def make(labels, group=(), part=(), same=()) -> Dataset:
    """Different pictures with these labels; ``same`` are pairs of rows with equal pixels."""
    numbers = torch.arange(len(labels))
    image = torch.stack([numbers % 256, numbers // 256], 1).byte().view(-1, 1, 1, 2)
    for one, other in same:
        image[one] = image[other]
    names = tuple(f"c{i}" for i in range(max(labels) + 1))
    files = [f"f{i}.png" for i in range(len(labels))]
    return Dataset("made", image, torch.tensor(labels), names, files, group, part)


def where(found: Split, count: int) -> list[str]:
    part = [""] * count
    for name in ("train", "val", "test"):
        for i in getattr(found, name).tolist():
            assert part[i] == "", "a case lies in two parts"
            part[i] = name
    assert "" not in part, "a case lies in no part"
    return part


def equal(a: Split, b: Split) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("train", "val", "test"))


@pytest.mark.parametrize("seed", SEEDS)
def test_fractions_by_class(seed):
    labels = [0] * 200 + [1] * 100 + [2] * 20
    found = split(make(labels), seed)
    count = Counter(zip(labels, where(found, 320), strict=True))
    assert [count[c, "test"] for c in range(3)] == [30, 15, 3]
    assert [count[c, "val"] for c in range(3)] == [30, 15, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_stay_together_and_fractions_hold(seed):
    chance = random.Random(seed)
    group = [f"p{chance.randrange(80)}" for _i in range(800)]
    labels = [chance.randrange(3) for _i in group]
    part = where(split(make(labels, group), seed), 800)
    assert all(len({p for p, g in zip(part, group, strict=True) if g == name}) == 1 for name in set(group))
    for name in ("val", "test"):
        assert 90 <= part.count(name) <= 150  # 120 wanted, groups of about 10
        assert {c for c, p in zip(labels, part, strict=True) if p == name} == {0, 1, 2}


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_pictures_stay_together_also_through_groups(seed):
    labels = [i % 2 for i in range(60)]
    group = ["a", "a", *[""] * 56, "b", "b"]
    cases = make(labels, group, same=[(1, 58), (20, 30), (10, 20)])
    found = split(cases, seed)
    part = where(found, 60)
    assert part[0] == part[1] == part[58] == part[59]
    assert part[10] == part[20] == part[30]
    assert found.leaking == () and found.torn == ()


def test_each_seed_its_own_split_and_each_run_the_same():
    cases = make([i % 5 for i in range(500)])
    assert equal(split(cases, 3), split(cases, 3))
    assert not equal(split(cases, 3), split(cases, 4))
    # fixed for ever: other machines and versions must draw the same
    assert split(make([0, 1] * 10), 0).test.tolist() == [1, 3, 4, 12]


def test_the_order_of_files_does_not_matter():
    cases = make([i % 3 for i in range(90)], [f"g{i % 30}" for i in range(90)])
    mixed = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    one, other = split(cases, 5), split(cases.only(mixed), 5)
    assert {cases.file[i] for i in one.test} == {cases.file[int(mixed[i])] for i in other.test}
    assert [cases.file[i] for i in one.val] == [cases.file[int(mixed[i])] for i in other.val]


def test_given_parts_are_kept_and_leaks_counted():
    labels = [i % 2 for i in range(40)]
    part = ["train"] * 20 + ["val"] * 8 + ["test"] * 12
    group = ["p", *[f"{i}" for i in range(1, 39)], "p"]
    cases = make(labels, group, part, same=[(0, 20), (1, 30), (31, 32)])
    found = split(cases)
    assert where(found, 40) == part
    assert found.leaking == (cases.file[20], cases.file[30]) and found.torn == ("p",)


def test_what_the_source_does_not_give_is_drawn_from_train():
    labels = [i % 2 for i in range(200)]
    without_val = ["train"] * 150 + ["test"] * 50
    part = where(split(make(labels, part=without_val)), 200)
    assert part[150:] == ["test"] * 50 and part.count("val") == 22  # 15 % of 75, twice
    without_test = ["train"] * 150 + ["val"] * 50
    part = where(split(make(labels, part=without_test)), 200)
    assert part[150:] == ["val"] * 50 and part.count("test") == 22
    part = where(split(make(labels, part=["train"] * 200)), 200)
    assert (part.count("val"), part.count("test")) == (30, 30)


def test_cases_without_a_part_go_where_their_like_is():
    labels = [i % 2 for i in range(40)]
    part = ["test"] * 4 + ["val"] * 4 + ["train"] * 4 + [""] * 28
    found = split(make(labels, part=part, same=[(12, 0), (13, 5)]))
    assert where(found, 40)[12:14] == ["test", "val"] and found.leaking == ()
    assert set(where(found, 40)[14:]) == {"train"}


def test_no_new_leak_when_val_is_drawn():
    """A training case whose like is in the given test part must not reach val as well."""
    labels = [i % 2 for i in range(40)]
    cases = make(labels, part=["train"] * 30 + ["test"] * 10, same=[(0, 35), (1, 36), (2, 37)])
    for seed in SEEDS:
        assert not {0, 1, 2} & set(split(cases, seed).val.tolist())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 0, 0, 1], [0] * 3 + [1] * 3, [0] * 50 + [1] * 3])
def test_tiny_sets(labels, seed):
    part = where(split(make(labels), seed), len(labels))
    assert {c for c, p in zip(labels, part, strict=True) if p == "train"} == set(labels)
    assert "val" in part and "test" in part
    for c in set(labels):
        if labels.count(c) >= 3:
            assert {p for x, p in zip(labels, part, strict=True) if x == c} == {"train", "val", "test"}


@pytest.mark.parametrize("seed", SEEDS)
def test_four_patients(seed):
    labels = [0] * 20 + [1] * 20
    group = [f"p{i // 10}" for i in range(40)]
    part = where(split(make(labels, group), seed), 40)
    assert {c for c, p in zip(labels, part, strict=True) if p == "train"} == {0, 1}
    assert part.count("val") == part.count("test") == 10


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        (make([0, 1]), "too few cases"),
        (make([0, 1, 2]), "too few cases"),
        (make([0] * 10 + [1] * 10, ["p"] * 10 + ["q"] * 10), "too few cases"),
        (make([0, 0, 1, 1], part=["val", "val", "test", "test"]), "no training part"),
        (make([0, 0, 1, 0], part=["train", "val", "test", "test"]), "class not in train"),
    ],
)
def test_what_cannot_be_divided(cases, code):
    with pytest.raises(UserError) as caught:
        split(cases)
    assert caught.value.code == code and caught.value.exit == 3


def test_no_part_where_none_is_wanted():
    found = split(make([0, 1] * 10), val=0, test=0.2)
    assert len(found.val) == 0 and len(found.test) == 4


def test_written_and_read_anywhere(tmp_path):
    cases = make([i % 2 for i in range(30)], [f"患者 {i // 2}" for i in range(30)])
    cases = replace(cases, file=[f'a/"{i}", 写真.png' for i in range(30)])
    found, path = split(cases, 7), tmp_path / "split.csv"
    write(found, cases, path)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "file,label,group,part"
    assert [p.name for p in tmp_path.iterdir()] == ["split.csv"]
    assert equal(read(path, cases), found)
    mixed = torch.randperm(30)
    again = read(path, cases.only(mixed))
    assert torch.equal(mixed[again.val], found.val)
    assert set(mixed[again.test].tolist()) == set(found.test.tolist())


def test_a_split_of_other_data_is_refused(tmp_path):
    cases, path = make([i % 2 for i in range(30)]), tmp_path / "split.csv"
    write(split(cases), cases, path)
    changed = cases.target.clone()
    changed[4] = 1 - changed[4]
    for other, said in (
        (cases.only(range(29)), "f29.png"),
        (make([i % 2 for i in range(31)]), "f30.png"),
        (replace(cases, target=changed), "f4.png"),
    ):
        with pytest.raises(UserError) as caught:
            read(path, other)
        assert caught.value.code == "split" and said in caught.value.found
    for text in ("", "a,b\n1,2\n", "file,label,group,part\nf0.png,c0,,fold1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"\[split\]"):
            read(path, make([0]))
    with pytest.raises(UserError, match=r"\[split\]"):
        read(tmp_path / "gone.csv", cases)


def test_a_class_with_a_single_case_is_learnt_from():
    part = where(split(make([0] * 20 + [1])), 21)
    assert part[20] == "train"


def test_seventy_thousand_cases_are_split():
    image = torch.randint(0, 256, (70_000, 1, 28, 28), dtype=torch.uint8)
    cases = Dataset(
        "big", image, torch.randint(0, 10, (70_000,)), tuple("abcdefghij"), [f"{i}.png" for i in range(70_000)]
    )
    found = split(cases)
    sizes = [len(found.train), len(found.val), len(found.test)]
    assert sum(sizes) == 70_000 and sizes[1:] == pytest.approx([10_500, 10_500], rel=0.01)
