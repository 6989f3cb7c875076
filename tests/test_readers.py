"""Readers against a method: the Obuchowski-Rockette analysis, beside published numbers, and in souron verdict.

``stored/readers/van_dyke.csv``: Van Dyke and others, Cine MRI in the diagnosis of thoracic aortic
dissection (1993): five readers, two modalities, 69 patients without and 45 with a dissection; the
file and the output of OR-DBM MRMC 2.5 come with RJafroc (https://github.com/dpc10ster/RJafroc,
``inst/extdata/RocData.lrc``, ``inst/obumrm2``). ``stored/readers/hupse.csv``: Hupse and others
(2013), a computer-aided detection and nine radiologists on 200 mammograms; the file and the values
of ``StCadVsRad`` come with RJafroc (``inst/extdata/NicoRadRoc.xlsx``, ``tests/testthat``).
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import ranked
from scipy.special import ndtr, stdtrit

from souron.actions.verdict import verdict
from souron.cli import main
from souron.evaluation import method_verdict
from souron.metrics.classification import auc_scores
from souron.stats import readers
from souron.stats.verdict import cases_needed, corrected
from souron.utils.messages import UserError

STORED = Path(__file__).parent / "stored" / "readers"


def stored(name):
    """Truth (cases,) and ratings (columns, cases) of a table."""
    with (STORED / name).open(encoding="utf-8") as file:
        rows = [[float(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]]
    table = np.array(rows).T
    return table[0].astype(int), table[1:]


def area(scores, truth):
    above, below = scores[truth == 1][:, None], scores[truth == 0]
    return (above > below).mean() + 0.5 * (above == below).mean()


def jackknife(scores, truth):
    """Pseudo-values (cases,) of the area under the curve."""
    n, whole = len(truth), area(scores, truth)
    left = np.array([area(np.delete(scores, k), np.delete(truth, k)) for k in range(n)])
    return n * whole - (n - 1) * left


def published(apart):
    """The analysis as it is published, without the bounds of ``readers.difference``."""
    return readers.concluded(float(apart.mean()), readers.components(apart), 0.95, "readers")


@pytest.fixture(scope="module")
def van_dyke():
    truth, ratings = stored("van_dyke.csv")
    values = np.array([jackknife(one, truth) for one in ratings])
    return truth, ratings, values[:5], values[5:]


def test_two_treatments_have_the_published_variance_freedom_and_p(van_dyke):
    """Compare with OR-DBM MRMC 2.5: the Van Dyke data, trapezoidal areas, jackknife, random readers and cases."""
    _truth, _ratings, without, with_aid = van_dyke
    found = readers.components(without - with_aid)
    variance, freedom = found.total()
    assert (without - with_aid).mean() == pytest.approx(-0.04380032, abs=5e-9)
    assert found.between == pytest.approx(2 * 0.00055103, abs=1e-8)
    assert found.error == pytest.approx(2 * (0.00080229 - 0.00034661), abs=2e-8)
    assert found.covariance == pytest.approx(2 * (0.00034407 - 0.00023903), abs=2e-8)
    assert (variance**0.5, freedom) == (pytest.approx(0.02075, abs=5e-6), pytest.approx(15.26, abs=5e-3))
    judged = published(without - with_aid)
    assert judged.p == pytest.approx(0.0517, abs=5e-5)
    assert (judged.low, judged.high) == (pytest.approx(-0.08796, abs=5e-6), pytest.approx(0.00036, abs=5e-6))


@pytest.mark.parametrize(
    ("place", "error", "freedom", "low", "high"),
    [(0, 0.03317360, 12.74, 0.82522360, 0.96885048), (1, 0.02156637, 12.71, 0.89413783, 0.98753689)],
)
def test_one_treatment_has_the_published_interval(van_dyke, place, error, freedom, low, high):
    found = published(van_dyke[2 + place])
    assert found.variation.total()[0] ** 0.5 == pytest.approx(error, abs=5e-9)
    assert found.freedom == pytest.approx(freedom, abs=5e-3)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-9), pytest.approx(high, abs=5e-9))


def test_delongs_covariances_are_close_to_the_jackknifes(van_dyke):
    truth, ratings, without, with_aid = van_dyke
    scores = np.array([auc_scores(np.stack([-one, one], 1), truth)[0] for one in ratings])
    delong, jack = (readers.components(one) for one in (scores[:5] - scores[5:], without - with_aid))
    assert delong.between == pytest.approx(jack.between)
    assert delong.error == pytest.approx(jack.error, rel=0.03) and delong.error != jack.error
    assert delong.covariance == pytest.approx(jack.covariance, rel=0.06)


def test_a_method_against_readers_has_the_published_result():
    """Compare with RJafroc's StCadVsRad, one treatment, random readers and cases."""
    truth, ratings = stored("hupse.csv")
    values = np.array([jackknife(one, truth) for one in ratings])
    apart = values[1:] - values[0]
    found = readers.components(apart)
    assert values[0].mean() == pytest.approx(0.8169270833333333)
    assert apart.mean() == pytest.approx(0.03173611111111114)
    assert found.between == pytest.approx(0.0008777926974826393)
    assert found.error == pytest.approx(0.0013995490916340135)
    assert found.covariance == pytest.approx(0.0009241680013129356)
    assert found.total()[1] == pytest.approx(877.886378333107)
    assert apart.mean() / found.total()[0] ** 0.5 == pytest.approx(0.9928688833840893)
    judged = published(apart)
    assert judged.p == pytest.approx(0.3210474342573218)
    assert (judged.low, judged.high) == (pytest.approx(-0.03099876877455298), pytest.approx(0.09447099099677525))
    cautious = readers.difference(apart)
    assert cautious.low == pytest.approx(judged.low, abs=2e-3) and cautious.low < judged.low


def test_few_readers_are_judged_by_cochrans_quantile():
    """Compare with the weighted mean of the quantiles of 2 readers and 100 patients; without patients with Hillis."""
    variation = readers.ReaderVariation(101, 3, 0.03, 0.011, 0.01, units_freedom=100.0)
    variance, freedom = variation.total()
    expected = (0.01 * stdtrit(2, 0.975) + 0.01 * stdtrit(100, 0.975)) / 0.02
    assert variance == pytest.approx(0.02) and stdtrit(freedom, 0.975) == pytest.approx(expected)
    plain = replace(variation, units_freedom=None).total()
    assert plain == (pytest.approx(0.02), pytest.approx(8.0))  # 0.02^2 / (0.01^2 / 2)
    alone = readers.ReaderVariation(101, 3, 0.0, 0.01, 0.01, units_freedom=100.0)  # the cases alone
    assert alone.total()[1] == pytest.approx(100)
    assert readers.ReaderVariation(101, 3, 0.0, 0.0, 0.0, units_freedom=100.0).total()[0] == 0


def test_more_cases_bring_their_degrees_of_freedom_and_more_readers_would_bring_theirs():
    """Twice the cases halve what cases vary by, and have twice the degrees of freedom; the readers keep their 4."""
    variation = readers.ReaderVariation(20, 5, 0.01, 0.012, 0.01, units_freedom=5.0)
    variance, freedom = variation.expected(np.array([20, 40, 10**9]), np.zeros(3))
    alone, cases = (0.008 + 0.001) / 5, 0.005  # of readers, with half of the 0.002 by which cases make two differ
    quantile = (alone * stdtrit(4, 0.975) + cases * stdtrit(10, 0.975)) / (alone + cases)
    assert variance[1] == pytest.approx(alone + cases) and stdtrit(freedom[1], 0.975) == pytest.approx(quantile)
    assert (variance[0], freedom[0]) == pytest.approx(variation.total()) and freedom[2] == pytest.approx(4, rel=1e-4)


def rated(cases=120, per_patient=2, seed=0, spread=0.0, method=0.0, count=4):
    """Labels of readers whose limits differ by ``spread``, and of a method that is better by ``method``."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, cases)
    hard = random.normal(size=cases)
    limits = [-1.2 + spread * (2 * k / (count - 1) - 1) for k in range(count)]
    table = {"case": range(cases), "truth": truth, "patient": [n // per_patient for n in range(cases)]}
    for name, limit in [*((f"r{k}", limit) for k, limit in enumerate(limits)), ("net", -1.2 - method)]:
        right = hard + random.normal(size=cases) > limit
        table[name] = np.where(right, truth, 1 - truth)
    return table


READERS = "r0,r1,r2,r3"


def test_readers_who_differ_widen_the_interval_for_other_readers():
    alike, unlike = (verdict(rated(spread=one), readers=READERS) for one in (0.0, 0.9))
    widths = []
    for record in (alike, unlike):
        [pair] = record.ranking.reader_pairs
        assert pair.others.high - pair.others.low >= pair.these.high - pair.these.low
        widths.append((pair.others.high - pair.others.low) / (pair.these.high - pair.these.low))
    assert widths[1] > 1.5 * widths[0]


def test_the_verdict_is_the_one_for_other_readers():
    record = verdict(rated(spread=0.9, method=0.8, cases=400), readers=READERS)
    [pair], [judged] = record.ranking.reader_pairs, record.ranking.verdicts
    assert (judged.low, judged.high) == (pair.others.low, pair.others.high)
    assert pair.these.verdict == "better" and judged.verdict == "cannot tell"
    notes = " ".join(record.notes())
    assert "for other readers and other cases" in notes and "more readers would help" in notes
    assert "readers and cases like these" in record.sentences()[0]
    [row] = next(table for table in record.tables() if table.title == "Readers").rows
    assert row[0] == "net – readers"
    [study] = record.as_json()["reader_study"]
    assert study["readers"] == 4 and study["low"] == judged.low and study["these_readers"]["low"] > study["low"]


def test_the_difference_favours_the_first_of_the_pair_whichever_it_is():
    table = rated(method=1.5, cases=400)
    better = verdict(table, readers=READERS).ranking.verdicts[0]
    assert (better.a, better.verdict) == ("net", "better") and better.difference > 0
    worse = verdict({**table, "net": 1 - np.asarray(table["net"])}, readers=READERS).ranking.verdicts[0]
    assert (worse.a, worse.verdict) == ("readers", "better") and worse.difference > 0
    errors = {"case": range(40), "a": [2.0, 2.2] * 20, "b": [2.1, 2.4] * 20, "net": [1.0, 1.1] * 20}
    [pair] = verdict(errors, kind="error", readers="a,b").ranking.verdicts
    assert (pair.a, pair.verdict) == ("net", "better")


def test_readers_have_the_interval_of_other_readers():
    record = verdict(rated(spread=0.9), readers=READERS)
    row = next(one.measure for one in record.ranking.methods if one.system == "readers")
    values = [one.measure.value for one in record.ranking.readers]
    assert row.value == pytest.approx(np.mean(values))
    half = readers.difference(np.array([np.full(50, one) for one in values]))
    assert row.low <= max(half.low, 0) + 0.02 and row.low < min(values)


def test_patients_are_the_units_of_readers_too():
    table = rated(60, 1)
    many = {name: [cell for cell in cells for _copy in range(10)] for name, cells in table.items()}
    many["case"] = range(600)
    one, ten = (verdict(each, readers=READERS).ranking.reader_pairs[0] for each in (table, many))
    assert one.variation.n == ten.variation.n == 60
    assert ten.variation.error == pytest.approx(one.variation.error)


def test_readers_with_aid_are_paired_with_themselves():
    truth, ratings = stored("van_dyke.csv")
    names = [f"reader {k}" for k in range(1, 6)]
    aided = [f"{name}+cine" for name in names]
    record = verdict(
        {"case": range(len(truth)), "truth": truth, **dict(zip([*names, *aided], ratings, strict=True))},
        kind="score",
        readers=",".join(names),
        aided=",".join(aided),
    )
    [pair] = record.ranking.reader_pairs
    assert (pair.a, pair.b) == ("readers with aid", "readers")
    assert pair.others.difference == pytest.approx(0.04380032, abs=5e-9)
    assert readers.hillis(pair.others).p == pytest.approx(0.0517, abs=3e-3)  # DeLong's covariances
    assert pair.others.p > 0.06  # more cautious with five readers
    assert record.as_json()["reader_study"][0]["hillis"]["degrees_of_freedom"] == pytest.approx(15.26, abs=0.3)
    assert len(record.ranking.readers) == 10 and len(record.ranking.methods) == 2
    table = rated()
    for wrong in ("r0", "r0,r1,r2,nobody", "r0,r1,r2,net", "net,net,net,net"):
        with pytest.raises(UserError) as caught:
            verdict(table, readers=READERS, aided=wrong)
        assert caught.value.code == "readers"


def test_several_trainings_leave_the_verdict_on_these_readers():
    tables = [rated(80, 1, seed=0), rated(80, 1, seed=0)]
    whole = {name: [*map(int, tables[0][name]), *map(int, tables[1][name])] for name in tables[0]}
    whole["seed"] = [0] * 80 + [1] * 80
    record = verdict(whole, readers=READERS)
    assert not record.ranking.reader_pairs and any("not on others" in note for note in record.notes())


def test_readers_who_all_agree_with_the_method_prove_nothing_on_few_cases():
    table = rated(10, 1)
    for name in READERS.split(","):
        table[name] = table["net"]
    record = verdict(table, readers=READERS, margin=5)
    [pair] = record.ranking.reader_pairs
    assert pair.others.low < -0.05 < 0.05 < pair.others.high
    assert record.ranking.margins[0].word == "cannot tell"
    alone = readers.difference(np.zeros((3, 10)), reach=1.0)
    assert alone.low < -0.05 and alone.high > 0.05


def test_few_positive_patients_leave_few_degrees_of_freedom():
    random = np.random.default_rng(0)
    truth = np.array([1] * 6 + [0] * 300)
    ratings = truth + random.normal(size=306) + 0.05 * random.normal(size=(5, 306))
    ratings[0] = truth + random.normal(size=306)
    scores = np.array([auc_scores(np.stack([-x, x], 1), truth)[0] for x in ratings])
    apart = scores[1:] - scores[0]
    assert readers.difference(apart, strata=truth).freedom < 8 < readers.difference(apart).freedom


def test_more_cases_do_not_take_away_what_readers_differ_by():
    variation = readers.ReaderVariation(100, 4, 0.01, 0.004, 0.001, units_freedom=99.0)
    more, _freedom = variation.expected(np.array([100, 10_000_000]), np.array([0, 0]))
    assert more[0] == pytest.approx(variation.total()[0])
    assert more[1] == pytest.approx((0.01 - 0.003) / 4, rel=1e-3)
    found = readers.concluded(0.05, variation, 0.95, "readers")
    assert found.verdict == "cannot tell" and cases_needed(found) is None


def test_readers_who_agree_by_chance_do_not_pass_for_certainty():
    least = readers.ReaderVariation(100, 4, 0.0, 0.004, 0.001).total()[0]
    assert least == pytest.approx((0.004 - 0.001) / 4 + 0.001)
    with pytest.raises(ValueError, match="one reader"):
        readers.components([[1.0, 0.0, 1.0]])


def test_holms_correction_spans_pairs_with_and_without_readers():
    record = verdict({**rated(), "other": rated(seed=3)["net"]}, readers=READERS)
    pairs = record.ranking.verdicts
    assert len(pairs) == 3 and len(record.ranking.reader_pairs) == 2
    found = ranked({name: np.arange(6.0) * k for k, name in enumerate("abc")}).differences
    assert corrected(found) == found
    assert {one.others.level for one in record.ranking.reader_pairs} <= {1 - 0.05 / 3, 1 - 0.05 / 2, 0.95}
    assert max(one.others.level for one in record.ranking.reader_pairs) > 0.95


def test_equal_readers_and_method_are_seldom_called_different():
    """In at most 5 %, plus two standard errors; readers are drawn anew each time."""
    random = np.random.default_rng(0)
    trials, called, cases, spread = 300, 0, 200, 0.5
    for _trial in range(trials):
        hard = random.normal(size=cases)
        limits = [*(-1.5 + spread * random.normal(size=2)), -1.5 / (1 + spread**2 / 2) ** 0.5]
        scores = np.array([hard + random.normal(size=cases) > limit for limit in limits], float)
        called += readers.difference(scores[:-1] - scores[-1], reach=1.0).verdict != "cannot tell"
    assert called / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5
    assert ndtr(1.5 / (2 + spread**2) ** 0.5) == pytest.approx(ndtr(-limits[-1] / 2**0.5))


def test_the_command_shows_the_readers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = rated()
    rows = [list(table), *zip(*table.values(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")
    assert main.run(["verdict", "t.csv", f"readers={READERS}", "margin=30", "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "for other readers" in out and "by Hillis (2007)" in out and "With a margin of 30 points" in out
    assert main.run(["verdict", "t.csv", f"readers={READERS}", "project=kept", "--json", "--lang", "en"]) == 0
    kept = json.loads((tmp_path / "kept/verdict/t/verdict.json").read_text("utf-8"))
    assert json.loads(capsys.readouterr().out)["reader_study"] == kept["reader_study"]
    assert method_verdict.READERS in (tmp_path / "kept/verdict/t/report.html").read_text("utf-8")
