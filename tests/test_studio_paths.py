"""What may be named in the studio, and what may not, however it is written."""

import os
import socket

import pytest

from souron.studio.security.paths import Roots
from souron.utils.messages import UserError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to start in, ``home`` beside it, and something that nobody may name."""
    for name in ("start/photos/cat", "runs", "home", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "start/photos/cat/1.png").write_bytes(b"1")
    (tmp_path / "secret/key.txt").write_text("secret")
    monkeypatch.chdir(tmp_path / "start")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def roots(place):
    return Roots([place / "start", place / "runs"])


def refused(roots, text, code="outside"):
    with pytest.raises(UserError) as caught:
        roots.check(text)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize(
    "text", ["photos", "./photos", "photos/", " photos ", "'photos'", "photos/cat/..", "cat/../photos"]
)
def test_relative_paths_start_where_the_studio_started(roots, place, text):
    assert roots.check(text) == place / "start" / "photos"


def test_what_does_not_exist_may_be_named_within_the_roots_only(roots, place):
    assert roots.check("new/folder") == place / "start/new/folder"
    refused(roots, place / "elsewhere/new")


def test_the_cache_of_fetched_data_is_a_root(roots, place):
    assert roots.check(place / "cache/data/fashion") == place / "cache/data/fashion"


def test_the_home_folder_is_one_only_where_it_was_given(roots, place):
    (place / "home/pictures").mkdir()
    refused(roots, "~/pictures")
    wider = Roots([place / "start", place / "home"])
    assert wider.check("~/pictures") == place / "home/pictures"


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "../secret",
        "photos/../../secret/key.txt",
        "/etc/passwd",
        "/",
        "~",
        "~root/x",
        "../start2",
        "~nobody-of-that-name/x",
        "/proc/self/root/etc/passwd",
        "/dev/null",
    ],
)
def test_what_leaves_the_roots_is_refused(roots, place, text):
    (place / "start2").mkdir()  # begins like a root and is none
    trouble = refused(roots, text)
    assert str(place / "start") in trouble.expected and str(place / "runs") in trouble.expected
    assert "--root" in trouble.fix


def test_links_count_where_they_lead(roots, place):
    (place / "start/out").symlink_to(place / "secret")
    (place / "start/photos/key").symlink_to(place / "secret/key.txt")
    (place / "start/in").symlink_to(place / "runs")
    refused(roots, "out")
    refused(roots, "out/key.txt")
    refused(roots, "out/new.txt")
    refused(roots, "photos/key")
    assert roots.check("in/x") == place / "runs/x"


def test_a_link_may_lead_into_a_root(roots, place):
    (place / "secret/way").symlink_to(place / "runs")
    assert roots.check(place / "secret/way") == place / "runs"


def test_a_root_that_is_a_link_is_where_it_leads(place):
    (place / "link").symlink_to(place / "runs")
    assert Roots([place / "link"]).check(place / "runs/a") == place / "runs/a"
    assert Roots([place / "link"]).check("a") == place / "runs/a"


def test_links_in_a_circle_are_no_path(roots, place):
    (place / "start/a").symlink_to(place / "start/b")
    (place / "start/b").symlink_to(place / "start/a")
    refused(roots, "a", "path")


@pytest.mark.parametrize(
    "text", ["", "  ", "a\0b", "\0", "/etc\0/passwd", "a" * 300, "a/" * 3000, "犬" * 100, "\ud800", "''"], ids=range(10)
)
def test_what_is_no_path_is_refused_as_such(roots, text):
    trouble = refused(roots, text, "path")
    assert len(trouble.found) < 300 and "\0" not in trouble.found
    trouble.found.encode()


def test_devices_pipes_and_sockets_are_refused(roots, place):
    os.mkfifo(place / "start/pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        refused(roots, "pipe", "path")
        refused(roots, "socket", "path")
    refused(Roots(["/dev"]), "/dev/zero", "path")


def test_a_path_below_a_file_is_none(roots):
    refused(roots, "photos/cat/1.png/x", "path")


def test_a_data_set_goes_before_a_folder_of_its_name(roots, place):
    (place / "start/digits").mkdir()
    assert roots.data("digits") == "digits"
    assert roots.data("./digits") == str(place / "start/digits")
    assert roots.data("photos") == str(place / "start/photos")
    with pytest.raises(UserError, match="outside"):
        roots.data("../secret")


def test_the_words_of_a_command_stay_within_the_roots(roots):
    roots.command(["train", "resnet18", "data=digits", "budget=10min", "--json", "project=runs"])
    for word in ("data=/etc", "--data=/etc", "/etc/passwd", "project=../x", "data=~/x", "../x"):
        with pytest.raises(UserError, match="outside"):
            roots.command(["train", "cnn", word])


def test_patterns_stand_for_files_within_the_roots(roots, place):
    (place / "start/photos/out").symlink_to(place / "secret")
    (place / "start/photos/.hidden").write_bytes(b"1")
    (place / "start/photos/2.png").write_bytes(b"2")
    first, second = place / "start/photos/2.png", place / "start/photos/cat/1.png"
    assert roots.files(["photos"]) == [first, second]
    assert roots.files(["photos/*.png", "photos/*/*", "photos/2.png"]) == [first, second]
    for pattern in ("photos/*.jpg", "photos/out/*", "../secret/*", "/etc/*"):
        with pytest.raises(UserError):
            roots.files([pattern])
