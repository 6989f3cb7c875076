"""Society's chapter of the tour, as it is without ready-trained systems."""

from functools import partial

import pytest

from souron.actions.tour import society_tour
from souron.evaluation.harmful import judges
from souron.hub import zoo
from souron.stats.records import Measure
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
    def record(way, language, catch):
        share = partial(Measure, low=0.0, high=1.0, n=100)
        return judges.Accuracy(way, language, share(catch), {}, share(0.02), share(0.0), ())

    records = [record("both", "en", 0.5), record("both", "ja", 0.7), record("lexicon", "ja", 0.1)]
    with use_language("ja"):
        told = society_tour.judge(records)
    assert "70.0 %" in told and "2.0 %" in told
