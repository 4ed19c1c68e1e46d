"""Range, affiliation, adjusted and benchmark metrics against a second, literal implementation.

Each brute force below is written from the paper's definition with plain loops, and shares no
step with the library: rows and events are walked one by one, integrals are counted on a grid.
"""

import json
import math
import os
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adlib.metrics import (
    affiliation_f1,
    affiliation_precision,
    affiliation_recall,
    composite_f1,
    event_recall,
    f1,
    nab_score,
    point_adjusted_f1,
    point_adjusted_precision,
    point_adjusted_recall,
    precision,
    range_f1,
    range_precision,
    range_recall,
    recall,
    ucr_score,
)

RANGE = [range_precision, range_recall, range_f1]
AFFILIATION = [affiliation_precision, affiliation_recall, affiliation_f1]
ADJUSTED = [point_adjusted_precision, point_adjusted_recall, point_adjusted_f1, composite_f1]
OF_FLAGS = RANGE + AFFILIATION + ADJUSTED
BIASES = ["flat", "front", "middle", "back"]
PROFILES = ["standard", "reward_low_FP_rate", "reward_low_FN_rate"]

DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
ORACLES = DATA.resolve().parent / "oracles" / "metrics.json"


def binary(n, runs):
    out = np.zeros(n, dtype=int)
    for start, stop in runs:
        out[start:stop] = 1
    return out


@st.composite
def flags(draw, n):
    """Alternating runs: one-row events, events one row apart, long alarms, touching the ends."""
    lengths = draw(st.lists(st.sampled_from([1, 1, 2, 3, 5, 9]), min_size=n, max_size=n))
    first = draw(st.booleans())
    return np.repeat((np.arange(n) + first) % 2, lengths)[:n].astype(bool)


@st.composite
def labels_and_flags(draw, max_size=22):
    """Both classes in the labels; anything in the flags, all and none included."""
    n = draw(st.integers(2, max_size))
    y = draw(flags(n).filter(lambda y: 0 < y.sum() < n))
    whole = st.sampled_from([np.zeros(n, bool), np.ones(n, bool), y, ~y])
    return y, draw(st.one_of(flags(n), flags(n), flags(n), whole))


# --- released implementations ---------------------------------------------------------------


def oracle_cases():
    if not ORACLES.exists():
        return [pytest.param(None, marks=pytest.mark.skip(f"no metric oracles at {ORACLES}"))]
    cases = json.loads(ORACLES.read_text())["cases"]
    return [pytest.param(c, id=c["name"]) for c in cases if not c["edge"]]


REFERENCE = {"range": "prts", "affiliation": "affiliation", "point": "dtaianomaly",
             "composite": "tsb_ad", "nab": "nab", "ucr": "dtaianomaly"}


@pytest.mark.parametrize("case", oracle_cases())
def test_equals_the_released_implementations(case):
    y, pred = binary(case["n"], case["labels"]), binary(case["n"], case["pred"])
    score = np.array(case["scores"], dtype=float)
    compared = 0
    for key, values in case["values"].items():
        name, _, settings_ = key.partition("|")
        reference = values.get(REFERENCE.get(name.split("_")[0]))
        if reference is None or name.startswith("range_auc"):
            continue
        kwargs = dict(s.split("=") for s in settings_.split(",") if s)
        if name == "nab_raw":
            if isinstance(reference, dict):  # the scorer divides by zero after one-row windows
                assert reference == {"error": "ZeroDivisionError"}
                continue
            got = nab_score(y, pred, kwargs["profile"], normalize=False)
        elif name == "ucr_score":
            got = ucr_score(y, score)
        else:
            if "alpha" in kwargs:
                kwargs["alpha"] = float(kwargs["alpha"])
            got = globals()[name](y, pred, **kwargs)
            if key == "composite_f1" and case["name"] == "border_points":
                reference = 1.0  # the reference drops the event in the last row
        assert got == pytest.approx(reference, abs=1e-9), key
        compared += 1
    assert compared >= 18


@pytest.mark.parametrize("case", oracle_cases())
def test_best_values_over_thresholds_equal_the_released_ones(case):
    y, score = binary(case["n"], case["labels"]), np.array(case["scores"], dtype=float)
    thresholds = np.linspace(score.min(), score.max(), 100)
    for metric, kwargs in [(range_f1, {"alpha": 0.2}), (affiliation_f1, {}), (composite_f1, {})]:
        values = case["values"].get(f"best_{metric.__name__}|thresholds=100")
        if values is not None:
            got = max(metric(y, score > t, **kwargs) for t in thresholds)
            assert got == pytest.approx(values["tsb_ad"], abs=1e-9), metric.__name__


# --- the definitions, literally -------------------------------------------------------------


def events_of(flags_):
    events, start = [], None
    for i, flag in enumerate([*flags_, False]):
        if flag and start is None:
            start = i
        if not flag and start is not None:
            events.append(range(start, i))
            start = None
    return events


def tatbul(ranges, others, alpha, bias, cardinality):
    total = Fraction(0)
    for this in ranges:
        weight = {
            row: {"flat": 1, "front": len(this) - i, "back": i + 1,
                  "middle": i + 1 if i + 1 <= len(this) / 2 else len(this) - i}[bias]
            for i, row in enumerate(this)
        }
        shares = [Fraction(sum(w for row, w in weight.items() if row in other),
                           sum(weight.values())) for other in others]
        met = sum(share > 0 for share in shares)
        factor = Fraction(1, met) if cardinality == "reciprocal" and met > 1 else 1
        total += alpha * (met > 0) + (1 - alpha) * factor * sum(shares)
    return total / len(ranges) if ranges else Fraction(0)


@given(
    labels_and_flags(max_size=40),
    st.sampled_from([Fraction(0), Fraction(1, 5), Fraction(1)]),
    st.sampled_from(BIASES),
    st.sampled_from(["one", "reciprocal"]),
)
@settings(max_examples=300, deadline=None)
def test_ranges_equal_the_definition(case, alpha, bias, cardinality):
    y, pred = case
    events, alarms = events_of(y), events_of(pred)
    p = tatbul(alarms, events, 0, bias, cardinality)
    r = tatbul(events, alarms, alpha, bias, cardinality)
    kwargs = {"bias": bias, "cardinality": cardinality}
    assert range_precision(y, pred, **kwargs) == pytest.approx(float(p), abs=1e-12)
    kwargs["alpha"] = float(alpha)
    assert range_recall(y, pred, **kwargs) == pytest.approx(float(r), abs=1e-12)
    expected = float(2 * p * r / (p + r)) if p + r else 0.0
    assert range_f1(y, pred, **kwargs) == pytest.approx(expected, abs=1e-12)


def gap(points, pieces):
    """Distance of each point to the nearest of the intervals (start, stop)."""
    outside = [np.maximum(np.maximum(a - points, points - b), 0) for a, b in pieces]
    return np.min(outside, axis=0) if outside else np.full(np.shape(points), np.inf)


def huet(y, pred):
    """Counted on cells so small that no border or kink lies inside one: exact, not approximate.

    Borders of zones are multiples of 1/2, kinks of 1/4; "a random instant of the zone" is one
    of its cells of 1/8.
    """
    n = len(y)
    events = [(e.start, e.stop) for e in events_of(y)]
    instants, cells = np.arange(0, n, 1 / 4) + 1 / 8, np.arange(0, n, 1 / 8) + 1 / 16
    halves = [(a, a + 1 / 2) for a in np.arange(0, n, 1 / 2) if pred[int(a)]]

    def owner(points):
        return np.argmin([gap(points, [event]) for event in events], axis=0)

    precisions, recalls = [], []
    for k, event in enumerate(events):
        alarms = [(a, b) for a, b in halves if owner(np.array((a + b) / 2)) == k]
        zone = cells[owner(cells) == k]

        def further(distance_of_cells, distance):
            return 1.0 if distance == 0 else np.mean(distance_of_cells > distance)

        flagged = [x for x in instants[owner(instants) == k] if pred[int(x)]]
        if flagged:
            precisions.append(np.mean([
                further(gap(zone, [event]), gap(x, [event])) for x in flagged
            ]))
        recalls.append(np.mean([
            further(np.abs(zone - x), gap(x, alarms)) for x in instants if event[0] < x < event[1]
        ]))
    return np.mean(precisions) if precisions else 0.0, np.mean(recalls)


@given(labels_and_flags())
@example((binary(20, [(9, 10)]), binary(20, [(19, 20)])))  # the far end of a zone
@example((binary(20, [(2, 4), (15, 18)]), binary(20, [(5, 14)])))  # an alarm over a border
@example((binary(20, [(0, 2), (6, 8)]), binary(20, [(1, 4)])))  # one that ends at a border
@example((binary(20, [(5, 7), (11, 13)]), binary(20, [(9, 12)])))  # one that begins at one
@example((binary(20, [(4, 16)]), binary(20, [(0, 1), (8, 9), (19, 20)])))  # gaps in an event
@settings(max_examples=150, deadline=None)
def test_affiliation_equals_the_definition(case):
    y, pred = case
    p, r = huet(y, pred)
    assert affiliation_precision(y, pred) == pytest.approx(p, abs=1e-12)
    assert affiliation_recall(y, pred) == pytest.approx(r, abs=1e-12)
    expected = 2 * p * r / (p + r) if p + r else 0.0
    assert affiliation_f1(y, pred) == pytest.approx(expected, abs=1e-12)


@given(labels_and_flags(max_size=40), st.sampled_from([0, 20, 50, 99.9, 100]))
@settings(max_examples=200, deadline=None)
def test_adjusted_equal_the_definition(case, k):
    y, pred = case
    adjusted, seen = list(pred), 0
    for event in events_of(y):
        hits = sum(pred[i] for i in event)
        seen += hits > 0
        if hits / len(event) * 100 > k:
            for i in event:
                adjusted[i] = True
    for metric, plain in [(point_adjusted_precision, precision), (point_adjusted_recall, recall),
                          (point_adjusted_f1, f1)]:
        assert metric(y, pred, k=k) == plain(y, adjusted), metric.__name__
    p, r = precision(y, pred), seen / len(events_of(y))
    assert composite_f1(y, pred) == pytest.approx(2 * p * r / (p + r) if p + r else 0)


def numenta(y, pred, weights):
    """One stream, row by row, as the technical report tells it."""
    earn, cost, miss = weights

    def sigmoid(position):
        return 2 / (1 + math.exp(5 * position)) - 1

    score, window, last_stop, last_length = 0.0, None, None, None
    probation = min(math.floor(len(y) * 0.15), 750)
    windows = {i: event for event in events_of(y) for i in event}
    done = set()
    for i in range(len(y)):
        window = windows.get(i)
        if i >= probation and pred[i]:
            if window is not None and window not in done:
                position = (i - window[-1] - 1) / len(window)
                score += earn * sigmoid(position) / sigmoid(-1)
                done.add(window)
            elif window is None and last_stop is None:
                score -= cost
            elif window is None:
                position = (i - last_stop) / max(last_length - 1, 1)
                score += cost * (sigmoid(position) if position <= 3 else -1)
        if window is not None and i == window[-1]:
            last_stop, last_length = i, len(window)
            if i >= probation and window not in done:
                score -= miss
    return score


@given(labels_and_flags(max_size=60), st.sampled_from(range(3)))
@settings(max_examples=300, deadline=None)
def test_nab_equals_the_definition(case, which):
    y, pred = case
    weights = [(1, 0.11, 1), (1, 0.22, 1), (1, 0.11, 2)][which]
    got = nab_score(y, pred, PROFILES[which], normalize=False)
    assert got == pytest.approx(numenta(y, pred, weights), abs=1e-9)


# --- by hand --------------------------------------------------------------------------------


def test_ranges_by_hand():
    y = [0, 1, 1, 1, 1, 0, 1, 0]  # events 1-4 and 6
    pred = [0, 1, 0, 0, 1, 1, 1, 0]  # alarms 1 and 4-6
    assert range_precision(y, pred, cardinality="one") == pytest.approx((1 + 2 / 3) / 2)
    assert range_precision(y, pred) == pytest.approx((1 + 2 / 3 / 2) / 2)  # 4-6 meets two events
    assert range_recall(y, pred, cardinality="one") == pytest.approx((2 / 4 + 1) / 2)
    assert range_recall(y, pred) == pytest.approx((2 / 4 / 2 + 1) / 2)  # event 1-4 met twice
    assert range_recall(y, pred, alpha=0.2) == pytest.approx((0.2 + 0.8 / 4 + 1) / 2)
    front = (4 + 1) / (4 + 3 + 2 + 1)
    assert range_recall(y, pred, bias="front", cardinality="one") == pytest.approx((front + 1) / 2)
    middle = (1 + 1) / (1 + 2 + 2 + 1)
    assert range_recall(y, pred, bias="middle", cardinality="one") == (middle + 1) / 2


def test_cardinality_may_be_a_function():
    y, pred = binary(12, [(1, 11)]), binary(12, [(1, 3), (4, 6), (8, 9)])
    assert range_recall(y, pred, cardinality=lambda n: 1 / n**2) == pytest.approx(0.5 / 9)
    assert range_recall(y, pred, cardinality=lambda n: 1.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"cardinality must return values in \[0, 1\]"):
        range_recall(y, pred, cardinality=lambda n: n)


def test_affiliation_by_hand():
    y = binary(10, [(4, 6)])
    # flagged instants lie 2 to 3 from the event; the zone reaches 4 on both sides, so the share
    # further away falls from (10 - 6) / 10 to (10 - 8) / 10
    assert affiliation_precision(y, binary(10, [(1, 2)])) == pytest.approx(0.3)
    # an instant x of the event lies x - 2 from the flag, so 2 to 2x - 2 is nearer to it: 4 rows
    # of the zone's 10 for its first instant, 8 for its last
    assert affiliation_recall(y, binary(10, [(1, 2)])) == pytest.approx(0.4)


def test_affiliation_leaves_zones_without_flag_out_of_precision_only():
    y, pred = binary(100, [(20, 30), (70, 80)]), binary(100, [(20, 30)])
    assert affiliation_precision(y, pred) == 1
    assert affiliation_recall(y, pred) == 0.5


def test_adjusted_by_hand():
    y = [0, 1, 1, 1, 1, 0, 0, 1, 1, 0]
    pred = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert point_adjusted_precision(y, pred) == 4 / 5
    assert point_adjusted_recall(y, pred) == 4 / 6
    assert point_adjusted_f1(y, pred) == pytest.approx(8 / 11)
    assert point_adjusted_recall(y, pred, k=24.9) == 4 / 6
    assert point_adjusted_recall(y, pred, k=25) == 1 / 6  # more than k %, as published
    assert composite_f1(y, pred) == 0.5  # precision of rows 1/2, recall of events 1/2


def test_nab_by_hand():
    y = binary(100, [(40, 50), (80, 90)])
    assert nab_score(y, np.zeros(100)) == 0
    assert nab_score(y, np.zeros(100), "reward_low_FN", normalize=False) == -4
    assert nab_score(y, y) == nab_score(y, binary(100, [(40, 41), (80, 81)])) == 100
    probation = binary(100, [(0, 15)])
    assert nab_score(y, y | probation) == 100
    assert nab_score(y, binary(100, [(15, 16)]), normalize=False) == -2 - 0.11
    assert nab_score(y, binary(100, [(15, 16)]), "reward_low_FP", normalize=False) == -2 - 0.22
    half = -math.tanh(-5 / 4) / math.tanh(5 / 2)  # the sigmoid half way through the window
    assert nab_score(y, binary(100, [(45, 46)]), normalize=False) == pytest.approx(half - 1)
    behind = 0.11 * math.tanh(5 / 2)  # one width (less a row) after the window
    assert nab_score(y, binary(100, [(58, 59)]), normalize=False) == pytest.approx(-2 - behind)


def test_nab_probation_ends_after_750_rows():
    y, early, late = binary(10_000, [(5_000, 5_100)]), [(749, 750)], [(750, 751)]
    assert nab_score(y, binary(10_000, early), normalize=False) == -1
    assert nab_score(y, binary(10_000, late), normalize=False) == -1.11


def test_nab_window_in_probation_counts_neither_way():
    y = binary(100, [(5, 10), (60, 70)])
    assert nab_score(y, binary(100, [(60, 61)])) == 100
    assert nab_score(y, binary(100, [(5, 10)])) == 0


def test_nab_one_row_windows_are_finite():
    y = binary(100, [(30, 31), (60, 61)])
    assert nab_score(y, y) == 100
    assert -3 < nab_score(y, binary(100, [(31, 33)]), normalize=False) < -2


def test_nab_corpus_is_scored_as_one():
    rng = np.random.default_rng(0)
    streams = [binary(n, [(n // 2, n // 2 + w)]) for n, w in [(200, 20), (90, 5)]]
    streams.append(np.zeros(120))  # a stream without an anomaly still costs false positives
    preds = [(rng.random(y.size) < 0.03) | (np.roll(y, 2) > 0) for y in streams]
    for profile, miss in zip(PROFILES, [1, 1, 2], strict=True):
        raw = [nab_score(y, p, profile, normalize=False) for y, p in zip(streams, preds,
                                                                         strict=True)]
        assert nab_score(streams, preds, profile, normalize=False) == pytest.approx(sum(raw))
        expected = 100 * (sum(raw) + 2 * miss) / (2 + 2 * miss)
        assert nab_score(tuple(streams), preds, profile) == pytest.approx(expected)
    assert nab_score(streams[0], preds[0]) == nab_score([streams[0]], [preds[0]])
    assert nab_score(pd.Series(streams[0]), preds[0]) == nab_score(list(streams[0]), preds[0])


def test_ucr_by_hand():
    y, score = binary(50, [(20, 23)]), np.zeros(50)
    near = [i for i in range(50) if ucr_score(y, score + 1.0 * (np.arange(50) == i))]
    assert near == list(range(17, 26))  # three rows, the event's length, on either side
    score[10] = 1
    assert ucr_score(y, score, tolerance=9) == 0
    assert ucr_score(y, score, tolerance=10) == 1


# --- traps the documentation warns of -------------------------------------------------------


def test_point_adjustment_flatters_a_random_score():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10) % 5 == 2, 1_000)
    pred = rng.random(y.size) < 0.01
    assert point_adjusted_f1(y, pred) > 0.95
    assert point_adjusted_f1(y, pred, k=20) == f1(y, pred) < 0.05


@given(labels_and_flags(max_size=60))
@settings(max_examples=60, deadline=None)
def test_affiliation_of_an_all_ones_prediction(case):
    y = case[0]
    events = events_of(y)
    borders = [(a.stop + b.start) / 2 for a, b in zip(events, events[1:], strict=False)]
    share = np.array([len(e) for e in events]) / np.diff([0, *borders, y.size])
    assert affiliation_precision(y, np.ones(y.size)) == pytest.approx(np.mean(1 + share**2) / 2)
    assert affiliation_recall(y, np.ones(y.size)) == 1
    assert affiliation_f1(y, np.ones(y.size)) > 2 / 3


# --- properties -----------------------------------------------------------------------------


@given(labels_and_flags(max_size=60))
@settings(max_examples=100, deadline=None)
def test_bounds_and_the_perfect_prediction(case):
    y, pred = case
    for metric in OF_FLAGS:
        assert 0 <= metric(y, pred) <= 1 + 1e-12, metric.__name__
        assert metric(y, y) == pytest.approx(1), metric.__name__
        assert metric(y, np.zeros(y.size)) == 0, metric.__name__
    for profile in PROFILES:
        assert nab_score(y, pred, profile, normalize=False) <= len(events_of(y))
    assert ucr_score(binary(9, [(3, 5)]), binary(9, [(3, 5)])) == 1


@given(labels_and_flags(max_size=60))
@settings(max_examples=100, deadline=None)
def test_ranges_reduce_to_simpler_metrics(case):
    y, pred = case
    assert range_recall(y, pred, alpha=1) == pytest.approx(event_recall(y, pred))
    plain = range_recall(y, pred, cardinality="one")
    assert plain == pytest.approx(np.mean([np.mean(pred[list(e)]) for e in events_of(y)]))
    if len(events_of(y)) == 1:
        assert plain == pytest.approx(recall(y, pred))
    if len(events_of(pred)) == 1:
        assert range_precision(y, pred, cardinality="one") == pytest.approx(precision(y, pred))
    assert range_recall(y, pred) <= plain + 1e-12


@given(labels_and_flags(max_size=60))
@settings(max_examples=100, deadline=None)
def test_time_may_run_backwards(case):
    (y, pred), mirror = case, {"flat": "flat", "middle": "middle", "front": "back"}
    for metric in RANGE:
        for bias, other in mirror.items():
            backwards = metric(y[::-1], pred[::-1], bias=other)
            assert metric(y, pred, bias=bias) == pytest.approx(backwards)
    for metric in AFFILIATION + ADJUSTED:
        assert metric(y, pred) == pytest.approx(metric(y[::-1], pred[::-1])), metric.__name__


@given(labels_and_flags(max_size=60), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_the_sampling_rate_does_not_matter(case, times):
    y, pred = case
    for metric in [range_precision, range_recall, *AFFILIATION, *ADJUSTED]:
        finer = metric(np.repeat(y, times), np.repeat(pred, times))
        assert metric(y, pred) == pytest.approx(finer), metric.__name__


@given(labels_and_flags(max_size=60))
@settings(max_examples=60, deadline=None)
def test_k_runs_from_point_adjustment_to_plain_f1(case):
    y, pred = case
    by_k = [point_adjusted_f1(y, pred, k=k) for k in (0, 10, 30, 60, 90, 100)]
    assert by_k == sorted(by_k, reverse=True)
    assert by_k[-1] == f1(y, pred)
    assert point_adjusted_recall(y, pred) >= recall(y, pred)


@given(labels_and_flags(max_size=60))
@settings(max_examples=60, deadline=None)
def test_nab_likes_early_flags_and_dislikes_needless_ones(case):
    y, pred = case
    score = nab_score(y, pred, normalize=False)
    for i in np.flatnonzero(~pred):
        more = pred.copy()
        more[i] = True
        change = nab_score(y, more, normalize=False) - score
        assert (change >= -1e-12 if y[i] else change <= 1e-12), i


@given(labels_and_flags(max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_unjudged_rows_change_nothing(case, data):
    y, pred = case
    judged = ~data.draw(flags(y.size))
    if not (y & judged).any() or not (~y & judged).any():
        return
    other = np.where(judged, pred, data.draw(flags(y.size)))
    for metric in ADJUSTED:
        assert metric(y, pred, judged=judged) == metric(y, other, judged=judged), metric.__name__
    one = binary(y.size, [(3, 5)])[: y.size]
    if (one & judged).any() and (~one.astype(bool) & judged).any():
        score = np.where(judged, pred.astype(float), np.nan)
        loud = np.where(judged, pred.astype(float), 9.0)
        assert ucr_score(one, score, judged=judged) == ucr_score(one, loud, judged=judged)


def test_judged_share_of_an_event_decides_its_adjustment():
    y, pred = binary(8, [(1, 5)]), binary(8, [(1, 2)])
    judged = ~binary(8, [(3, 5)]).astype(bool)
    assert point_adjusted_recall(y, pred, k=40) == 0.25
    assert point_adjusted_recall(y, pred, k=40, judged=judged) == 1  # one of two judged rows


# --- the door -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*OF_FLAGS, nab_score, ucr_score])
def test_bad_input_is_refused(metric):
    with pytest.raises(ValueError, match="has 2 rows, y_true has 3"):
        metric([0, 1, 0], [0, 1])
    with pytest.raises(ValueError, match="y_true comes first"):
        metric([0.1, 0.7, 0.3], [0, 1, 0])
    with pytest.raises(ValueError, match="NaN|nan"):
        metric([0, 1, 0], [0, 1, np.nan])
    with pytest.raises(ValueError, match="one-dimensional"):
        metric([], [])


@pytest.mark.parametrize("metric", [*OF_FLAGS, nab_score, ucr_score])
@pytest.mark.parametrize("y, why", [([0] * 4, "no anomaly"), ([1] * 4, "only anomalies")])
def test_one_class_is_nan_with_a_warning(metric, y, why):
    with pytest.warns(UserWarning, match=f"{metric.__name__} is undefined.*{why}") as caught:
        assert np.isnan(metric(y, [0, 1, 1, 0]))
    assert caught[0].filename == __file__, "the warning should point at the caller"


def test_unnormalised_nab_needs_no_anomaly():
    assert nab_score(np.zeros(100), binary(100, [(20, 30)]), normalize=False) == pytest.approx(-1.1)


def test_ucr_wants_one_event():
    with pytest.warns(UserWarning, match="ucr_score is undefined.*2 events instead of one"):
        assert np.isnan(ucr_score([1, 0, 1], [1, 0, 0]))
    assert ucr_score([1, 0, 1, 0], [9, 0, 1, 0], judged=[0, 1, 1, 1]) == 1  # one that is judged


@pytest.mark.parametrize("call, message", [
    (lambda y: range_recall(y, y, alpha=1.2), r"alpha must be a number .* got 1.2"),
    (lambda y: range_f1(y, y, bias="left"), "bias must be one of 'flat', 'front'.*'left'"),
    (lambda y: range_f1(y, y, cardinality="two"), "cardinality must be one of one, rec.*'two'"),
    (lambda y: point_adjusted_f1(y, y, k=101), "k must be a number .* got 101"),
    (lambda y: nab_score(y, y, "strict"), "profile must be one of 'standard', .*'strict'"),
    (lambda y: nab_score([y, y], [y]), "pred has 1 streams, y_true has 2"),
    (lambda y: ucr_score(y, y, tolerance=-1), "tolerance must be a whole number .* got -1"),
])
def test_bad_parameters_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call([0, 1, 0, 0])


def test_inputs_are_left_alone():
    y, pred = binary(30, [(5, 9), (20, 21)]).astype(bool), binary(30, [(8, 22)]).astype(bool)
    y.flags.writeable = pred.flags.writeable = False
    for metric in [*OF_FLAGS, nab_score]:
        metric(y, pred)


def test_a_million_rows_and_ten_thousand_events_take_under_a_second_each():
    rng = np.random.default_rng(0)
    y = np.zeros(1_000_000, dtype=bool)
    for start in range(20, y.size, 100):
        y[start : start + rng.integers(1, 40)] = True
    pred = rng.random(y.size) < 0.05  # 47,000 alarms
    for metric in [*OF_FLAGS, nab_score]:
        began = time.process_time()
        metric(y, pred)
        assert time.process_time() - began < 1, metric.__name__
