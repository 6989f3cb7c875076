"""By what patients are known: fourteen styles of names, six kinds of names without patients."""

import hashlib
import json
import shlex
import shutil

import pytest
from drawing import textures

from souron.cli.main import run
from souron.data.patients import groups
from souron.runs import compare
from souron.runs import train as run_train

SIDES = ("L", "R", "M")
NUMBER = [1_234_567 + 7919 * i for i in range(40)]

# a name for picture ``v`` of patient ``i``
STYLES = {
    "p012_left": lambda i, v: f"p{i:03d}_{('left', 'right', 'front')[v]}.png",
    "x-Patient07-1": lambda i, v: f"x-Patient{i:02d}-{v + 1}.png",
    "sub-01_ses-2": lambda i, v: f"sub-{i:02d}_ses-{v + 1}_T1w.png",
    "001-a": lambda i, v: f"{i:03d}-{'abc'[v]}.png",
    "000_p1": lambda i, v: f"{i:03d}_p{v + 1}.png",
    "患者01_左": lambda i, v: f"患者{i:02d}_{'左右前'[v]}.png",
    "症例3_1": lambda i, v: f"症例{i}_{v + 1}.png",
    "Patient 7 a": lambda i, v: f"Patient {i} {'abc'[v]}.png",
    "MRN1234567_1": lambda i, v: f"MRN{NUMBER[i]}_{v + 1}.png",
    "ID0012L": lambda i, v: f"ID{i:04d}{SIDES[v]}.png",
    "p001v1": lambda i, v: f"p{i:03d}v{v + 1}.png",
    "1234567_20240501": lambda i, v: f"{NUMBER[i]}_2024{v + 1:02d}{i % 28 + 1:02d}.png",
    "TCGA-05-4244-01": lambda i, v: f"TCGA-{i % 6:02d}-{NUMBER[i] % 10_000}-{v + 1:02d}.png",
    "a folder for each": lambda i, v: f"山田{i}/{v + 1}.png",
}
ASKED = {
    "tanaka_1": lambda i, v: f"{chr(97 + i // 20)}{chr(97 + i % 20)}naka_{v + 1}.png",
    "1234567_8675309": lambda i, v: f"{NUMBER[i]}_{NUMBER[-i] * 3 + v * 104_729}.png",
    "1001_2": lambda i, v: f"{1001 + i % 30}_{v + 1}.png",  # or pictures of the days of October
}
CONTROLS = {
    "IMG_0001": lambda i, v: f"IMG_{3 * i + v:04d}.jpg",
    "00001": lambda i, v: f"{3 * i + v:05d}.png",
    "hashes": lambda i, v: hashlib.md5(f"{i} {v}".encode()).hexdigest() + ".png",
    "dates": lambda i, v: f"2024-{i % 12 + 1:02d}-{i // 12 + 5 * v + 1:02d}.jpg",
    "cat_1": lambda i, v: f"{('cat', 'dog')[i % 2]}_{3 * (i // 2) + v}.jpg",
    "frame12": lambda i, v: f"frame{3 * i + v}.png",
    "pictures of a day": lambda i, v: f"2405{i % 20 + 1:02d}_{i // 20 * 3 + v}.jpg",
    "times of day": lambda i, v: f"IMG_202405{i % 20 + 1:02d}_{i:02d}{v:02d}59.jpg",
    "a number and a word": lambda i, v: f"{3 * (i // 2) + v} 写真.png",
    "number within the class": lambda i, v: f"{3 * (i // 2) + v}.png",
}


def listed(name, count=40):
    """Files of so many patients, three pictures each, in two classes; labels; whose each is."""
    files, labels, patient = [], [], []
    for i in range(count):
        for v in range(3):
            label = ("cat", "dog")[i % 2]
            files.append(f"{label}/{name(i, v)}")
            labels.append(label)
            patient.append(i)
    return files, labels, patient


def together(names, patient):
    """Are the groups exactly the patients?"""
    pairs = set(zip(names, patient, strict=True))
    return "" not in names and len(pairs) == len(set(names)) == len(set(patient))


@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize("style", STYLES)
def test_styles_of_patient_names_are_read(style, count):
    files, labels, patient = listed(STYLES[style], count)
    read = groups(files, labels)
    assert together(read.names, patient), read
    assert files[0] in read.how and not read.question


@pytest.mark.parametrize("style", ASKED)
def test_names_that_may_be_patients_are_asked_about_with_the_pattern_to_say_so(style):
    files, labels, patient = listed(ASKED[style], 30)
    asked = groups(files, labels)
    assert not any(asked.names) and files[0] in asked.question
    pattern = next(word for word in shlex.split(asked.question) if word.startswith("group=("))
    pattern = pattern.removeprefix("group=").removesuffix(";")
    assert together(groups(files, labels, pattern).names, patient)
    assert groups(files, labels, "none") == ([""] * len(files), "", "")


@pytest.mark.parametrize("style", CONTROLS)
def test_names_without_patients_are_not_mistaken(style):
    files, labels, _patient = listed(CONTROLS[style])
    assert groups(files, labels) == ([""] * len(files), "", "")


@pytest.mark.parametrize(
    "name", ["{slide}_x{x}_y{y}", "{slide}-tile-r{x}-c{y}", "{slide}_tile_{x}{y}", "{slide}_row{x}_col{y}"]
)
@pytest.mark.parametrize("slide", ["slide{}", "TCGA-3C-AAL{}-01Z", "B{}"])
def test_tiles_belong_to_their_slide(name, slide):
    """Neighbouring tiles show one structure: on both sides of a split they leak."""
    files = [
        f"tumour/{name.format(slide=slide.format(i), x=x, y=y)}.png"
        for i in range(7)
        for x in range(5)
        for y in range(5)
    ]
    names = groups(files, ["tumour"] * len(files)).names
    assert together(names, [i for i in range(7) for _tile in range(25)])


def test_tiles_of_several_slides_of_a_patient_belong_to_the_patient():
    files = [f"a/patient-{i}_slide{j}_x{x}_y0.png" for i in range(6) for j in range(2) for x in range(4)]
    names = groups(files, ["a"] * len(files)).names
    assert together(names, [i for i in range(6) for _tile in range(8)])


def sides(name, count=12):
    """Files of so many patients, the left and the right of each; labels; whose each is."""
    names = [(name(i), side, i) for i in range(count) for side in "左右"]
    files = [f"{'ab'[i % 2]}/{each}{side}.png" for each, side, i in names]
    return files, [file[0] for file in files], [i for _each, _side, i in names]


def test_a_name_with_a_side_and_nothing_between_is_asked_about():
    files, labels, patient = sides(lambda i: f"{chr(0x7530 + i)}中")
    asked = groups(files, labels)
    pattern = next(word for word in shlex.split(asked.question) if word.startswith("group=("))
    pattern = pattern.removeprefix("group=").removesuffix(";")
    assert together(groups(files, labels, pattern).names, patient)


@pytest.mark.parametrize("day", ["令和5年4月{}日_{:04d}_", "2024-04-{:02d}_{:04d}_", "R5.4.{}_{:03d}"])
def test_a_short_number_after_a_date_is_a_patient_where_a_side_follows(day):
    files, labels, patient = sides(lambda i: day.format(i + 1, 37 * i + 23))
    assert together(groups(files, labels).names, patient)
    counted = [file.replace("左", "_1").replace("右", "_2") for file in files]
    assert not any(groups(counted, labels).names)  # images of a day


def test_letters_of_patients_go_on_after_z():
    letters = [chr(65 + i) for i in range(26)]
    letters += [f"{first}{second}" for first in "ABCD" for second in letters][:82]  # to DD
    files = [f"a/患者{name}_{v}.png" for name in letters for v in range(2)]
    assert together(groups(files, ["a"] * len(files)).names, [i for i in range(len(letters)) for _v in range(2)])


def test_numbers_of_pictures_are_no_patients():
    """Without a number before them either: three of forty pictures each are not many and small."""
    files = [f"a/p{v + 1}_{i:03d}.png" for v in range(3) for i in range(40)]
    read = groups(files, ["a"] * len(files))
    assert not any(read.names) and "p1" in read.question


def test_folders_go_before_the_numbers_of_pictures_within_them():
    files = [f"a/{i:03d}/p{v + 1}.png" for i in range(40) for v in range(3)]
    assert len(set(groups(files, ["a"] * len(files)).names)) == 40


def test_the_folder_of_a_patient_may_hold_folders():
    files = [f"a/m{i}/{side}/{v}.png" for i in range(9) for side in ("l", "r") for v in range(2)]
    assert set(groups(files, ["a"] * len(files)).names) == {f"m{i}" for i in range(9)}


@pytest.mark.parametrize("date", ["R6.5.{}", "令和6年5月{}日", "R0605{:02}", "H31-04-{:02}"])
def test_a_date_of_a_japanese_era_hides_no_patient_behind_it(date):
    files = [f"x/{date.format(3 + v)}_{NUMBER[i]}_{SIDES[v]}.png" for i in range(20) for v in range(3)]
    found = groups(files, ["x"] * 60)
    assert len(set(found.names)) == 20
    assert all(len(set(found.names[3 * i : 3 * i + 3])) == 1 for i in range(20))


@pytest.mark.parametrize("between", ["_", "-", ""])
def test_patients_may_be_letters(between):
    names = [*map(chr, range(65, 91)), "AA", "AB", "AC", "AD"]
    files = [f"x/{name}{between}{v}.png" for name in names for v in (1, 2)]
    assert groups(files, ["x"] * 60).names == [name.lower() for name in names for _v in (1, 2)]
    wells = [f"x/{row}{between}{column}.png" for row in "ABCDEFGH" for column in range(1, 13)]
    assert not groups(wells, ["x"] * 96).how


def test_a_folder_for_each_visit_does_not_hide_the_patients():
    visits = [f"x/2024-05-0{v}/{{}}.png" for v in (1, 2, 3)]
    files = [visit.format(f"P{i:03d}") for visit in visits for i in range(20)]
    found = groups(files, ["x"] * 60)
    assert len(set(found.names)) == 20 and found.names[0] == "p000"
    alone = groups([visit.format(f"scan{i}") for visit in visits for i in range(20)], ["x"] * 60)
    assert not alone.how and "2024-05-01" in alone.question


def test_parts_in_a_table_are_no_patients():
    files = [f"{part}/{i}.png" for part in ("train", "val", "test") for i in range(20)]
    assert not any(groups(files, ["x", "y"] * 30).names)


@pytest.mark.parametrize("style", ["p012_left", "症例3_1", "001-a"])
def test_one_stray_file_stands_alone_among_good_names(style):
    files, labels, patient = listed(STYLES[style], 30)
    files, labels = [*files, "cat/cover.png"], [*labels, "cat"]
    read = groups(files, labels)
    assert read.names[-1] == "" and together(read.names[:-1], patient)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return textures(tmp_path_factory.mktemp("drawn") / "textures", count=24)


def named(drawn, place, name, stray=False):
    """Pictures of twelve patients, two each, in two classes."""
    for label in ("rings", "waves"):
        (place / label).mkdir(parents=True)
        for i in range(24):
            shutil.copy(drawn / label / f"{i}.png", place / label / name(label[0], i // 2, i % 2))
    if stray:
        shutil.copy(drawn / "dots" / "0.png", place / "rings" / "cover.png")
    return place


KNOWN = "24 patients (file names, as r00 in rings/r00-0.png)."
HIDES = "Which cases belong to one patient is unknown"


def test_train_and_its_report_say_by_what_patients_are_known(drawn, tmp_path, capfd):
    data = named(drawn, tmp_path / "known", lambda c, i, v: f"{c}{i:02d}-{v}.png", stray=True)
    line = ["train", "mlp_tiny", f"data={data}", "budget=1ep", "folds=1", "--json"]
    assert run(line) == 0
    said = capfd.readouterr()
    note = f"{KNOWN} 1 case names no patient and counts separately: rings/cover.png."
    assert note in said.err
    told = json.loads(said.out)
    assert told["patients"] == note
    page = (tmp_path / told["run"] / "report.html").read_text(encoding="utf-8")
    assert page.index(KNOWN) < page.index("<main>")
    assert run(line[:-1]) == 0
    assert note in capfd.readouterr().out


def test_train_and_its_report_say_what_it_may_hide_that_none_are_known(drawn, tmp_path):
    data = named(drawn, tmp_path / "unknown", lambda c, i, v: f"IMG_{2 * i + v:04d}.png")
    events = list(run_train.training("mlp_tiny", data, budget="1ep", folds=1))
    assert any(event.note.startswith(HIDES) for event in events if event.folder is None)
    page = (events[-1].record.folder / "report.html").read_text(encoding="utf-8")
    assert page.index(HIDES) < page.index("<main>")


def test_train_asks_where_names_may_be_patients(drawn, tmp_path):
    data = named(drawn, tmp_path / "doubt", lambda c, i, v: f"{c}{chr(97 + i)}naka_{v}.png")
    record = run_train.train("mlp_tiny", data, budget="1ep", folds=1)
    assert record.patients.startswith(HIDES) and "Is ranaka in " in record.patients


def test_compare_says_it_too(drawn, tmp_path):
    data = named(drawn, tmp_path / "known", lambda c, i, v: f"{c}{i:02d}-{v}.png")
    events = list(compare.comparing(["mlp_tiny"], data, budget="1ep", seeds=1, folds=1))
    assert any(event.note == KNOWN for event in events)
    page = events[-1].record.report.read_text(encoding="utf-8")
    assert page.index(KNOWN) < page.index("<main>")


def test_known_data_sets_are_as_published():
    record = run_train.train("mlp_tiny", "digits", budget="1ep", folds=1)
    assert record.patients == ""
