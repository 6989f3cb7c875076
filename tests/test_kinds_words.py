"""Kinds of words and pictures: rankings, and pictures before and after."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from browsing import CHROMIUM, visiting
from dropping import ramp
from PIL import Image

from souron.kinds.before_after import BeforeAfter
from souron.kinds.picture import Picture
from souron.kinds.ranking import Ranking, Scored
from souron.utils.messages import UserError, use_language


def refused(make) -> UserError:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.found and caught.value.expected
    return caught.value


RANKED = Ranking.of(["two birds", "二羽の<b>鳥</b>", "a\ncat"], [0.1, 0.3, -0.2], ramp())


def test_a_ranking_has_the_best_first_and_equals_as_they_came():
    assert [one.text for one in RANKED.texts] == ["二羽の<b>鳥</b>", "two birds", "a\ncat"]
    equal = Ranking.of(["b", "a", "c"], [0.5, 0.5, 0.9])
    assert [one.text for one in equal.texts] == ["c", "b", "a"]


def test_its_json_is_what_other_programs_expect():
    assert Ranking.of(["b", "a"], [0.25, 0.5], ramp()).as_json() == {
        "ranking": [{"text": "a", "score": 0.5}, {"text": "b", "score": 0.25}]
    }


def test_probabilities_are_told_as_shares_and_cosines_as_they_are():
    assert "75.0 %" in str(Ranking.of(["a", "b"], [0.75, 0.25]))
    cosine = str(RANKED).splitlines()
    assert cosine[0].startswith("1.  0.300 ████████████████████ ") and "a cat" in cosine[2]
    assert "█" not in cosine[2] and cosine[1].count("█") == 7


def test_its_page_shows_the_picture_and_bars_as_long_as_the_scores():
    widths = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            about = dict(attrs)
            if about.get("class") == "bar":
                widths.append(about["style"].rpartition("width:")[2])

    shown = RANKED._repr_html_()
    Reader().feed(shown)
    assert widths == ["100.0%", "33.3%", "0.0%"]
    assert "<b>" not in shown and "<img" in shown and "<img" not in RANKED.bars()


def test_a_table_of_a_ranking_has_its_texts_whole(tmp_path):
    RANKED.save(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["text", "score"] and rows[3] == ["a\ncat", "-0.2"]
    lone = Ranking([Scored("\ud800", 0.5)])
    lone.save(tmp_path / "b.json")
    lone.save(tmp_path / "b.html")
    assert Ranking.read(tmp_path / "b.json").best == Scored("?", 0.5)


@pytest.mark.parametrize(
    "name, text, code",
    [
        ("a.json", "[1]", "not a ranking"),
        ("a.json", '{"ranking": 3}', "not a ranking"),
        ("a.json", '{"ranking": [{"text": "a"}]}', "not a ranking"),
        ("a.json", '{"ranking": [{"text": 1, "score": 1}]}', "not a ranking"),
        ("a.json", '{"ranking": [{"text": "a", "score": true}]}', "not a ranking"),
        ("a.json", '{"ranking": [{"text": "a", "score": 1e999}]}', "numbers"),
        ("a.json", '{"ranking": []}', "numbers"),
        ("a.json", '{"ranking": [{"text": " ", "score": 1}]}', "numbers"),
        ("a.json", json.dumps({"ranking": [{"text": "a" * 10_001, "score": 1}]}), "numbers"),
        ("a.json", json.dumps({"ranking": [{"text": "a", "score": 1}] * 10_001}), "numbers"),
        ("a.csv", "text,score\na,b\n", "not a ranking"),
        ("a.csv", "text,score\na\n", "not a ranking"),
        ("a.csv", "name,score\na,1\n", "not a ranking"),
        ("a.csv", 'text,score\n"a,1\n', "not a ranking"),
    ],
)
def test_what_is_no_ranking_is_refused(name, text, code, tmp_path):
    (tmp_path / name).write_text(text)
    assert refused(lambda: Ranking.read(tmp_path / name)).code == code


def test_the_second_picture_is_as_large_or_larger_by_a_whole_factor():
    assert BeforeAfter(ramp(4, 3), ramp(16, 12)).times == 4
    for size in ((5, 3), (8, 3), (2, 1), (8, 9)):
        assert refused(lambda size=size: BeforeAfter(ramp(4, 3), ramp(*size))).code == "numbers"


def test_saved_the_first_stays_beside_it_unchanged(tmp_path):
    photo = tmp_path / "photos" / "猫.jpg"
    photo.parent.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(np.asarray(ramp(40, 30).image)).save(photo, exif=turned)
    [given] = Picture.each(photo)
    made = BeforeAfter(given, Picture(given.image.resize((60, 80))))
    made.save(tmp_path / "out" / "猫.png")
    with Image.open(tmp_path / "out" / "猫.png") as saved:
        assert saved.size == (60, 80) and 0x0112 not in saved.getexif()  # upright for everybody
    kept = tmp_path / "out" / "猫.original.jpg"
    assert kept.read_bytes() == photo.read_bytes() and made.also == [str(kept)]
    assert made.as_json() == {"file": str(photo), "out": str(tmp_path / "out" / "猫.png"), "width": 60, "height": 80}
    made.save(photo.with_suffix(".png"))  # there the first lies already
    assert made.also == [str(photo)] and len(list(photo.parent.iterdir())) == 2
    before = photo.read_bytes()
    assert refused(lambda: made.save(photo)).code == "exists" and photo.read_bytes() == before


def test_what_was_transparent_stays_so(tmp_path):
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, np.linspace(0, 255, 8).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = Picture.read(tmp_path / "a.png")
    made = BeforeAfter(given, given)
    made.save(tmp_path / "b" / "b.png")
    with Image.open(tmp_path / "b" / "b.png") as saved:
        again = np.asarray(saved).astype(int)
    assert (again[..., 3] == pixels[..., 3]).all()
    opaque = again[..., 3] > 60
    assert np.abs(again - pixels)[opaque].max() <= 3  # no white of the ground is left in it
    with Image.open(tmp_path / "b" / "b.png") as saved:
        white = Image.new("RGBA", saved.size, "white")
        over = np.asarray(Image.alpha_composite(white, saved).convert("RGB")).astype(int)
    assert np.abs(over - np.asarray(given.image)).max() <= 2
    BeforeAfter(given, Picture(given.image.resize((16, 12)))).save(tmp_path / "b" / "c.webp")
    with Image.open(tmp_path / "b" / "c.webp") as saved:
        assert saved.mode == "RGBA" and saved.getchannel("A").getextrema() == (0, 255)
    made.save(tmp_path / "b" / "d.jpg")  # knows no transparency: over white
    upload = BeforeAfter(Picture(given.image, "upload.png", given.alpha), given)
    upload.save(tmp_path / "c" / "a.png")
    with Image.open(tmp_path / "c" / "a.original.png") as saved:
        assert (np.asarray(saved)[..., 3] == pixels[..., 3]).all()


def test_sixteen_bits_stay_sixteen(tmp_path):
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300 + 7
    Image.fromarray(deep).save(tmp_path / "a.png")
    given = Picture.read(tmp_path / "a.png")
    BeforeAfter(given, given).save(tmp_path / "b" / "a.png")
    with Image.open(tmp_path / "b" / "a.png") as saved:
        assert saved.mode == "I;16" and (np.asarray(saved) == deep).all()


def test_an_opaque_picture_has_nothing_transparent(tmp_path):
    Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(tmp_path / "a.png")
    ramp().save(tmp_path / "b.jpg")
    assert Picture.read(tmp_path / "a.png").alpha is None
    assert Picture.read(tmp_path / "b.jpg").alpha is None
    assert refused(lambda: Picture(ramp().image, "", Image.new("L", (1, 1)))).code == "numbers"


PAGE = (
    "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>t</title>"
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\"></head><body><main>{}</main></body></html>"
)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_keys_move_the_slider_without_any_script(tmp_path):
    with use_language("en"):
        shown = BeforeAfter(ramp(), ramp(80, 60))._repr_html_()
    (tmp_path / "a.html").write_text(PAGE.format(shown + shown), encoding="utf-8")
    with visiting(width=390) as visit:
        page = visit.page
        page.goto((tmp_path / "a.html").as_uri())
        sliders = page.get_by_label("Slide between before and after")
        hidden = "e => getComputedStyle(e).clipPath.match(/[\\d.]+(?=(%|px)\\))/)?.[0] ?? '0'"
        uppers = page.locator(".upper")
        for key, left in (("End", 100), ("Home", 0), ("ArrowRight", 1), ("PageUp", 11)):
            sliders.first.press(key)
            page.wait_for_function(f"() => Math.abs(({hidden})(document.querySelector('.upper')) - {left}) < 0.2")
        assert abs(float(uppers.nth(1).evaluate(hidden)) - 50) < 0.2  # the other stays
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
