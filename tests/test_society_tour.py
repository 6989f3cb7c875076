"""Society's chapter of the tour, as it is without ready-trained systems."""

import pytest

from souron.hub import zoo
from souron.lecture import society_tour
from souron.society.improper import judges
from souron.utils.messages import use_language


def findings(folder):
    for _title, events in society_tour.stops(folder):
        *_before, last = events
        yield last.record


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_chapter_without_ready_trained_systems(tmp_path, monkeypatch, language):
    monkeypatch.setattr(zoo, "root", lambda: None)
    with use_language(language):
        checked, work = findings(tmp_path / "runs")
    assert [sentence[0] for sentence in checked.sentences[:5]] == list("✓✗✗✗?")
    assert "0.2" in work.sentences[0] and len(work.sentences) > 2
    assert checked.page.exists() and work.page.exists()
    assert checked.page.is_relative_to(tmp_path / "runs")
    assert checked.as_json()["sentence"].startswith(checked.sentences[0])


def test_a_judge_says_what_it_is_worth_itself():
    with use_language("ja"):
        ours = judges.record(judges.judge())
        [shown] = [one for one in ours if (one.way, one.language) == ("both", "ja")]
        assert f"{100 * shown.catch.value:.1f}" in society_tour.judge(ours)
