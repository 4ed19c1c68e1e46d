"""VUS: equal to the released values, to its definition row by row, and to average precision."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adlib.metrics import average_precision, roc_auc, vus, vus_pr, vus_roc
from adlib.metrics.volume import ranked, volumes

DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
ORACLES = DATA.resolve().parent / "oracles" / "metrics.json"


def definition(y, score, window, n_thresholds):
    """The definition, row by row: slow, obvious, and written without looking at the fast one."""
    n = len(y)
    events, inside = [], False
    for t in range(n):
        if y[t] and not inside:
            events.append([t, t])
        elif y[t]:
            events[-1][1] = t
        inside = bool(y[t])
    if n_thresholds is None:
        thresholds = sorted(set(score), reverse=True)
    else:
        falling = sorted(score, reverse=True)
        thresholds = [falling[int(i)] for i in np.linspace(0, n - 1, n_thresholds)]
    areas = []
    for width in range(window + 1):
        h = width // 2
        soft = [float(v) for v in y]
        for start, end in events:
            for d in range(1, h + 1):
                for t in (start - d, end + d):
                    if 0 <= t < n:
                        soft[t] = min(1.0, soft[t] + (1 - d / width) ** 0.5)
        groups = [[max(events[0][0] - h, 0), events[0][1] + h]]
        for start, end in events[1:]:
            if groups[-1][1] < start - h:
                groups.append([start - h, end + h])
            else:
                groups[-1][1] = end + h
        points = [(0.0, 0.0)]
        pr = 0.0
        for threshold in thresholds:
            pred = [s >= threshold for s in score]
            hit = sum(soft[t] for t in range(n) if pred[t])
            truth = (sum(y) + sum(1.0 if y[t] else soft[t] * pred[t] for t in range(n))) / 2
            touched = sum(any(pred[a:b + 1]) for a, b in groups) / len(groups)
            recall = min(hit / truth, 1) * touched
            pr += (recall - points[-1][0]) * hit / sum(pred)
            points.append((recall, (sum(pred) - hit) / (n - truth)))
        points.append((1.0, 1.0))
        roc = sum((b[1] - a[1]) * (a[0] + b[0]) / 2
                  for a, b in zip(points, points[1:], strict=False))
        areas.append((roc, pr))
    return tuple(np.mean(areas, axis=0))


def _labels(rng, n, n_events):
    y = np.zeros(n, dtype=int)
    for start in rng.integers(0, n, n_events):
        y[start:start + rng.integers(1, 9)] = 1
    return y


def test_equal_to_the_released_values():
    if not ORACLES.is_file():
        pytest.skip("the metric oracles are not beside this checkout")
    cases = [case for case in json.loads(ORACLES.read_text())["cases"] if not case["edge"]]
    assert len(cases) > 30
    for case in cases:
        y = np.zeros(case["n"], dtype=int)
        for start, stop in case["labels"]:
            y[start:stop] = 1
        for window in (10, 40):
            for value, name in zip(vus(y, np.array(case["scores"]), window), ("roc", "pr"),
                                   strict=True):
                released = case["values"][f"vus_{name}|window={window}"]["tsb_ad"]
                assert value == pytest.approx(released, abs=1e-9), (case["name"], name, window)


@pytest.mark.parametrize("seed", range(40))
def test_equal_to_the_definition(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 120))
    y = _labels(rng, n, int(rng.integers(1, 8)))
    if y.all():
        y[n // 2] = 0
    score = rng.integers(0, 8, n) / 4 if seed % 3 == 0 else rng.normal(size=n) + y  # ties too
    window = int(rng.integers(0, 60))
    for n_thresholds in (None, int(rng.integers(2, 40))):
        want = definition(y.tolist(), score.tolist(), window, n_thresholds)
        assert vus(y, score, window, n_thresholds) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_of_counting_agree(seed):
    """A batch too large for the table is counted without it."""
    rng = np.random.default_rng(seed)
    y = _labels(rng, 400, 12)
    score = rng.normal(size=y.size) + y
    first, count = ranked(score, np.ones(400, bool), None)
    window = 60 + seed
    with_table = vus(y, score, window, None)  # 400 * 30 cells: below the limit
    without = np.array(volumes(y > 0, np.tile(first, (250, 1)), count, window))  # 3,000,000: above
    assert np.ptp(without, axis=1).max() == 0
    assert without[:, 0] == pytest.approx(with_table, abs=1e-12)
    assert vus(y, score, window, 400) == pytest.approx(vus(y, score, window, None), abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 200), st.data())
def test_without_tolerance_one_event_is_average_precision(n, data):
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    y = np.zeros(n, dtype=int)
    y[start:stop] = 1
    if y.all():
        return
    score = np.array(data.draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n)), float)
    assert vus_pr(y, score, 0, None) == pytest.approx(average_precision(y, score), abs=1e-12)
    assert vus_roc(y, score, 0, None) == pytest.approx(roc_auc(y, score), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 30))
def test_only_the_order_of_scores_counts(seed, window):
    rng = np.random.default_rng(seed)
    y = _labels(rng, 150, 4)
    score = rng.normal(size=150)
    assert vus(y, np.exp(score) * 7 - 3, window) == vus(y, score, window)
    backwards = vus(y[::-1], score[::-1], window)  # the tolerance is symmetric in time
    assert backwards == pytest.approx(vus(y, score, window), abs=1e-12)


def test_a_perfect_score_and_a_late_one():
    y = np.zeros(300, dtype=int)
    y[100:140] = 1
    assert vus(y, y, window=0, n_thresholds=None) == (1.0, 1.0)
    late = np.roll(y, 10)
    rising = [vus_pr(y, late, window, None) for window in (0, 20, 60)]
    assert rising == sorted(rising) and rising[2] > rising[0] + 0.05


def test_few_thresholds_cripple_rare_anomalies():
    """Why ``n_thresholds=None`` exists: the second of 250 thresholds already admits 40 rows."""
    y = np.zeros(10_000, dtype=int)
    y[5_000:5_003] = 1
    score = np.random.default_rng(0).random(10_000) + 2 * y
    assert vus_pr(y, score, 0, None) == 1.0 == average_precision(y, score)
    assert vus_pr(y, score, 0, 250) < 0.5


def test_random_scores_gain_with_the_window():
    rng = np.random.default_rng(0)
    y = _labels(rng, 5_000, 40)
    chance = [np.mean([vus_pr(y, rng.random(5_000), w) for _ in range(5)]) for w in (0, 40, 160)]
    assert chance[0] < chance[1] < chance[2]


def test_unjudged_rows():
    rng = np.random.default_rng(0)
    y = _labels(rng, 400, 5)
    score = rng.normal(size=400) + y
    assert vus(y, score, 20, judged=np.ones(400, bool)) == vus(y, score, 20)
    judged = np.ones(400, bool)
    judged[350:] = False
    y[340:] = 0  # nothing to see at the end: leaving it out is cutting it off
    assert vus(y, score, 20, None, judged=judged) == pytest.approx(vus(y[:350], score[:350], 20,
                                                                        None))
    score[360] = np.nan  # and what stands there does not matter
    assert np.isfinite(vus(y, score, 20, judged=judged)).all()


@pytest.mark.parametrize("window", [0, 20])
def test_an_event_without_a_judged_row_is_left_out(window):
    y, judged = np.zeros(300, int), np.ones(300, bool)
    y[50:60] = y[200:210] = 1
    judged[185:225] = False  # the second event and all of its buffer
    one = np.where(judged, y, 0)
    score = np.random.default_rng(0).random(300) + 0.7 * y
    assert vus(y, score, window, judged=judged) == vus(one, score, window, judged=judged)
    assert vus(y, y, window, None, judged=judged) == (1.0, 1.0)


def test_without_a_part_its_rows_and_its_event_count_for_nothing():
    y = np.array([1, 1, 0, 0, 1, 0], dtype=bool)
    first = ranked(np.array([6.0, 5, 4, 3, 2, 1]), np.ones(6, bool), None)[0]
    parts = np.array([0, 0, 0, 1, 1, 1])
    roc, pr = volumes(y, first[None], 6, 0, parts)
    assert pr.tolist() == [1 / 2, 1.0]  # of 3 2 1 the second; of 6 5 4 the first two
    assert roc.tolist() == [1 / 2, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_without_parts_is_as_if_their_rows_were_not_judged(seed):
    rng = np.random.default_rng(seed)
    y = _labels(rng, 400, 5).astype(bool)
    score, everywhere = rng.normal(size=y.size) + y, np.ones(y.size, bool)
    cuts = np.flatnonzero(~y[1:] & ~y[:-1])
    cuts = np.sort(rng.choice(cuts, 3, replace=False))
    parts = np.searchsorted(cuts, np.arange(y.size), side="left")
    window = 20 + seed
    first, count = ranked(score, everywhere, None)
    found = np.array(volumes(y, first[None], count, window, parts))
    for part in range(4):
        if (y & (parts != part)).any():
            judged = parts != part
            assert found[:, part] == pytest.approx(vus(y, score, window, None, judged=judged))


def test_a_batch_is_its_members():
    rng = np.random.default_rng(0)
    y = _labels(rng, 300, 4).astype(bool)
    scores = rng.normal(size=(6, 300))
    firsts = [ranked(s, np.ones(300, bool), 50)[0] for s in scores]
    together = np.array(volumes(y, np.stack(firsts), 50, 30))
    for i, first in enumerate(firsts):
        assert together[:, [i]] == pytest.approx(np.array(volumes(y, first[None], 50, 30)))


def test_undefined_and_refused():
    for y in (np.zeros(5), np.ones(5)):
        with pytest.warns(UserWarning, match="undefined"):
            assert np.isnan(vus(y, np.arange(5.0))).all()
    y, score = [0, 1, 0, 0], [1.0, 3.0, 2.0, 0.0]
    for bad, match in (({"window": -1}, "window must be"), ({"window": 2.5}, "window must be"),
                       ({"n_thresholds": 1}, "n_thresholds must be"),
                       ({"n_thresholds": 0.5}, "n_thresholds must be")):
        with pytest.raises(ValueError, match=match):
            vus(y, score, **bad)
    with pytest.raises(ValueError, match="swapped"):
        vus(score, y)
    with pytest.raises(ValueError, match="NaN"):
        vus(y, [1.0, np.nan, 0.0, 0.0])
    with pytest.raises(ValueError, match="rows"):
        vus(y, score[:3])


def test_inputs_of_every_type_and_left_alone():
    y, score = np.array([0, 0, 1, 1, 0, 0]), np.array([1, 2, 9, 8, 7, 0])
    want = vus(y, score.astype(float), 2)
    kept = y.copy(), score.copy()
    for form in (bool, np.uint8, np.int64, np.float32):
        assert vus(y.astype(form), score, 2) == want
    assert vus(y.tolist(), score.tolist(), 2) == want
    assert (y == kept[0]).all() and (score == kept[1]).all()


def test_a_constant_score_is_chance():
    y = np.zeros(100, dtype=int)
    y[40:50] = 1
    roc, pr = vus(y, np.ones(100), window=0)
    assert (roc, pr) == pytest.approx((0.5, 0.1))
