"""Metrics against hand counts, brute force, scikit-learn and the released implementations."""

import json
import os
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from adlib import metrics
from adlib.metrics import (
    alarm_count,
    alarms_per_day,
    average_precision,
    best_f1,
    confusion_matrix,
    detection_delay,
    event_f1,
    event_precision,
    event_recall,
    f1,
    false_positive_rate,
    precision,
    recall,
    report,
    roc_auc,
    vus,
)
from adlib.metrics.labels import runs
from adlib.metrics.reporting import _Rows

OF_SCORE = [roc_auc, average_precision, best_f1]
OF_FLAGS = [precision, recall, f1, event_recall, event_precision, event_f1]

DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
ORACLES = DATA.resolve().parent / "oracles" / "metrics.json"


def binary(n, runs):
    out = np.zeros(n, dtype=int)
    for start, stop in runs:
        out[start:stop] = 1
    return out


@st.composite
def labels_and_scores(draw, max_size=40):
    """Both classes present, scores with many ties."""
    n = draw(st.integers(2, max_size))
    y = draw(hnp.arrays(bool, n))
    y[draw(st.integers(0, n - 1))] = True
    y[draw(st.integers(0, n - 1).filter(lambda i: y.sum() > 1 or not y[i]))] = False
    return y, draw(hnp.arrays(np.float64, n, elements=st.integers(-4, 4).map(float)))


# --- released implementations ---------------------------------------------------------------


def oracle_cases():
    if not ORACLES.exists():
        return [pytest.param(None, marks=pytest.mark.skip(f"no metric oracles at {ORACLES}"))]
    cases = json.loads(ORACLES.read_text())["cases"]
    return [pytest.param(c, id=c["name"]) for c in cases if not c["edge"]]


@pytest.mark.parametrize("case", oracle_cases())
def test_equals_the_released_implementations(case):
    y, pred = binary(case["n"], case["labels"]), binary(case["n"], case["pred"])
    score = np.array(case["scores"], dtype=float)
    for metric in OF_SCORE + OF_FLAGS:
        reference = "dtaianomaly" if metric.__name__.startswith("event") else "sklearn"
        expected = case["values"][metric.__name__][reference]
        got = metric(y, score if metric in OF_SCORE else pred)
        assert got == pytest.approx(expected, abs=1e-12), metric.__name__


# --- by hand --------------------------------------------------------------------------------

#          0  1  2  3  4  5  6  7  8  9
Y = [0, 1, 1, 1, 0, 0, 0, 1, 1, 0]  # events 1-3 and 7-8
PRED = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0]  # alarms 0 (false), 3-4 (event one), 6 (false)


def test_point_metrics_by_hand():
    assert confusion_matrix(Y, PRED).tolist() == [[2, 3], [4, 1]]
    assert precision(Y, PRED) == 1 / 4
    assert recall(Y, PRED) == 1 / 5
    assert f1(Y, PRED) == pytest.approx(2 / 9)
    assert false_positive_rate(Y, PRED) == 3 / 5


def test_event_metrics_by_hand():
    assert event_recall(Y, PRED) == 1 / 2
    assert event_precision(Y, PRED) == pytest.approx(1 / 3 * (1 - 3 / 5))
    assert event_f1(Y, PRED) == pytest.approx(2 * 0.5 * (2 / 15) / (0.5 + 2 / 15))
    np.testing.assert_array_equal(detection_delay(Y, PRED), [2, np.nan])
    assert alarm_count(PRED) == 3


def test_scores_by_hand():
    y, score = [1, 0, 1, 0, 0], [5, 4, 3, 3, 1]
    assert roc_auc(y, score) == (3 + 1.5) / 6  # the tie counts half
    # at >= 5: recall 1/2, precision 1; at >= 3 both tied rows enter: recall 1, precision 2/4
    assert average_precision(y, score) == 0.5 * 1 + 0.5 * 0.5
    assert best_f1(y, score) == pytest.approx(2 / 3)


def test_constant_score_gives_what_the_formula_gives():
    y = [0, 0, 0, 1]
    assert roc_auc(y, [7] * 4) == 0.5
    assert average_precision(y, [7] * 4) == 0.25
    assert best_f1(y, [7] * 4) == pytest.approx(2 * 0.25 / 1.25)


def test_nothing_flagged():
    assert precision(Y, [0] * 10) == recall(Y, [0] * 10) == f1(Y, [0] * 10) == 0
    assert event_precision(Y, [0] * 10) == event_f1(Y, [0] * 10) == 0
    assert alarm_count([0] * 10) == 0


def test_events_and_alarms_touching_the_ends():
    np.testing.assert_array_equal(detection_delay([1, 1, 0, 1], [0, 1, 0, 1]), [1, 0])
    assert alarm_count([1, 0, 1]) == 2


def test_flagging_everything_earns_no_event_precision():
    assert event_recall(Y, [1] * 10) == 1
    assert event_precision(Y, [1] * 10) == 0


@pytest.mark.parametrize(
    "interval", [3600, 3600.0, "1h", timedelta(hours=1), np.timedelta64(60, "m")]
)
def test_alarms_per_day_from_an_interval(interval):
    pred = binary(48, [(3, 5), (10, 11), (40, 48)])  # three alarms in two days
    assert alarms_per_day(pred, interval=interval) == 1.5


def test_alarms_per_day_from_time_does_not_count_the_pause_between_recordings():
    time = np.arange(48) * np.timedelta64(1, "h") + np.datetime64("2024-01-01", "ns")
    time[24:] += np.timedelta64(90, "D")
    assert alarms_per_day(binary(48, [(3, 5), (30, 31)]), time=time) == 1.0


def test_alarms_per_day_counts_judged_rows_only():
    pred, judged = binary(48, [(3, 5), (30, 31)]), binary(48, [(0, 24)])
    assert alarms_per_day(pred, interval="1h", judged=judged) == 1.0


# --- don't-care rows ------------------------------------------------------------------------


def test_events_that_only_unjudged_rows_separate_stay_two():
    y, judged = binary(9, [(1, 3), (5, 7)]), ~binary(9, [(3, 5)]).astype(bool)
    assert event_recall(y, binary(9, [(1, 2)]), judged=judged) == 0.5
    assert detection_delay(y, binary(9, [(5, 6)]), judged=judged)[1] == 0


def test_event_with_an_unjudged_hole_stays_one_and_keeps_its_start():
    y, judged = binary(9, [(1, 7)]), ~binary(9, [(1, 4)]).astype(bool)
    delay = detection_delay(y, binary(9, [(5, 6)]), judged=judged)
    np.testing.assert_array_equal(delay, [4])


def test_event_without_a_judged_row_is_left_out():
    y, judged = binary(9, [(1, 3), (5, 7)]), ~binary(9, [(1, 3)]).astype(bool)
    assert event_recall(y, binary(9, [(5, 6)]), judged=judged) == 1


def test_alarm_that_runs_on_through_recovery_is_one_true_alarm():
    y, pred = binary(10, [(2, 4)]), binary(10, [(3, 8)])
    judged = ~binary(10, [(4, 7)]).astype(bool)
    assert alarm_count(pred, judged=judged) == 1
    assert event_precision(y, pred, judged=judged) == pytest.approx(1 - 1 / 5)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_unjudged_rows_change_nothing(data):
    y, score = data.draw(labels_and_scores())
    judged = data.draw(hnp.arrays(bool, y.size))
    if not (y & judged).any() or not (~y & judged).any():
        return
    other = np.where(judged, score, data.draw(st.sampled_from([9.0, -9.0, np.nan])))
    for metric in OF_SCORE:
        assert metric(y, other, judged=judged) == metric(y[judged], score[judged])
    pred, other = score > 0, np.where(judged, score > 0, data.draw(hnp.arrays(bool, y.size)))
    for metric in [*OF_FLAGS, false_positive_rate]:
        assert metric(y, other, judged=judged) == metric(y, pred, judged=judged)
    np.testing.assert_array_equal(
        detection_delay(y, other, judged=judged), detection_delay(y, pred, judged=judged)
    )


# --- properties -----------------------------------------------------------------------------


@given(labels_and_scores())
@settings(max_examples=80, deadline=None)
def test_equal_to_the_definition(case):
    y, s = case
    pairs = s[y][:, None] - s[~y][None]
    assert roc_auc(y, s) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert average_precision(y, s) == pytest.approx(sk.average_precision_score(y, s))
    assert best_f1(y, s) == pytest.approx(max(sk.f1_score(y, s >= t) for t in s))
    for metric in (precision, recall, f1):
        expected = getattr(sk, f"{metric.__name__}_score")(y, s > 0, zero_division=0)
        assert metric(y, s > 0) == pytest.approx(expected)
    np.testing.assert_array_equal(confusion_matrix(y, s > 0), sk.confusion_matrix(y, s > 0))


@given(labels_and_scores(), st.sampled_from([np.exp, np.cbrt, lambda s: 3 * s - 7, np.arctan]))
@settings(max_examples=50, deadline=None)
def test_only_the_order_of_scores_counts(case, monotone):
    y, s = case
    for metric in OF_SCORE:
        assert metric(y, monotone(s)) == metric(y, s)


@given(labels_and_scores())
@settings(max_examples=50, deadline=None)
def test_turning_the_score_mirrors_roc_auc(case):
    y, s = case
    assert roc_auc(y, -s) == pytest.approx(1 - roc_auc(y, s))


@given(labels_and_scores(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_row_order_does_not_matter_to_point_metrics(case, random):
    y, s = case
    order = np.array(random.sample(range(y.size), y.size))
    for metric in OF_SCORE:
        assert metric(y[order], s[order]) == pytest.approx(metric(y, s))


@given(labels_and_scores())
@settings(max_examples=50, deadline=None)
def test_events_counted_row_by_row(case):
    y, s = case
    pred = s > 1
    delays, alarms = [], 0
    for i in range(y.size):
        alarms += pred[i] and not (i and pred[i - 1])
        if y[i] and not (i and y[i - 1]):
            stop = i
            while stop < y.size and y[stop]:
                stop += 1
            delays.append(next((j - i for j in range(i, stop) if pred[j]), np.nan))
    np.testing.assert_array_equal(detection_delay(y, pred), delays)
    assert event_recall(y, pred) == np.mean(np.isfinite(delays))
    assert alarm_count(pred) == alarms


# --- the door -------------------------------------------------------------------------------


@pytest.mark.parametrize("cast", [list, np.bool_, np.uint8, np.int64, np.float64, pd.Series])
def test_labels_of_every_type_give_the_same(cast):
    score = np.arange(10.0)
    y, pred = (
        (cast(v) if cast in (list, pd.Series) else np.array(v, dtype=cast)) for v in (Y, PRED)
    )
    for metric in OF_SCORE:
        assert metric(y, score) == metric(Y, score)
    for metric in OF_FLAGS:
        assert metric(y, pred) == metric(Y, PRED)


def test_nullable_pandas_labels():
    y = pd.Series([0, 1, 1], dtype="boolean")
    assert recall(y, [0, 1, 0]) == 0.5
    with pytest.raises(ValueError, match="y_true must be numeric"):
        recall(pd.Series([0, None, 1], dtype="boolean"), [0, 1, 0])


@pytest.mark.parametrize("metric", OF_SCORE)
def test_swapped_arguments_are_caught(metric):
    with pytest.raises(ValueError, match="y_true comes first"):
        metric([0.1, 0.7, 0.3], [0, 1, 0])


def test_scikit_learn_predictions_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="pred must hold only 0 .* `values == -1`"):
        precision([0, 1, 0], [1, -1, 1])


@pytest.mark.parametrize("metric", OF_SCORE + OF_FLAGS + [false_positive_rate, detection_delay])
def test_bad_input_is_refused(metric):
    with pytest.raises(ValueError, match="has 2 rows, y_true has 3"):
        metric([0, 1, 0], [0, 1])
    with pytest.raises(ValueError, match="y_true must hold only 0"):
        metric([0, 1, np.nan], [0, 1, 0])
    with pytest.raises(ValueError, match="NaN|nan"):
        metric([0, 1, 0], [0, 1, np.nan])
    with pytest.raises(ValueError, match="one-dimensional"):
        metric([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match="one-dimensional"):
        metric([], [])
    with pytest.raises(ValueError, match="numeric"):
        metric(["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="leaves no row"):
        metric([0, 1], [0, 1], judged=[0, 0])


@pytest.mark.parametrize("metric", OF_SCORE + OF_FLAGS)
@pytest.mark.parametrize("y, why", [([0] * 4, "no anomaly"), ([1] * 4, "only anomalies")])
def test_one_class_is_nan_with_a_warning(metric, y, why):
    with pytest.warns(UserWarning, match=f"{metric.__name__} is undefined.*{why}") as caught:
        assert np.isnan(metric(y, [0, 1, 1, 0]))
    assert caught[0].filename == __file__, "the warning should point at the caller"


def test_false_positive_rate_needs_normal_rows_only():
    assert false_positive_rate([0, 0, 0, 0], [0, 1, 0, 0]) == 0.25
    with pytest.warns(UserWarning, match="only anomalies"):
        assert np.isnan(false_positive_rate([1, 1], [0, 1]))


def test_no_event_no_delay():
    with pytest.warns(UserWarning, match="no anomaly"):
        assert detection_delay([0, 0], [0, 1]).size == 0


def test_infinite_scores_are_ranked():
    assert roc_auc([0, 0, 1], [-np.inf, 3, np.inf]) == 1


@pytest.mark.parametrize("kwargs", [{}, {"interval": 1, "time": [0, 1]}])
def test_alarms_per_day_wants_one_clock(kwargs):
    with pytest.raises(ValueError, match="either interval"):
        alarms_per_day([0, 1], **kwargs)


def test_alarms_per_day_refuses_a_useless_clock():
    with pytest.raises(ValueError, match="above 0"):
        alarms_per_day([0, 1], interval=0)
    with pytest.raises(ValueError, match="time needs 2 rows"):
        alarms_per_day([0, 1], time=["2024-01-01"])


def test_inputs_are_left_alone():
    y, score = np.array(Y), np.arange(10.0)
    y.flags.writeable = score.flags.writeable = False
    report(y, score, threshold=5, threshold_source="test", memory=2, n_random=2)


# --- report ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stream():
    rng = np.random.default_rng(3)
    n = 2_000
    y = binary(n, [(300, 320), (900, 901), (1500, 1560)])
    kind = np.full(n, "", dtype="<U8")
    kind[300:320], kind[900], kind[1500:1560] = "shift", "spike", "shift"
    score = rng.normal(size=n) + 2.0 * y
    judged = ~binary(n, [(320, 360), (1560, 1600)]).astype(bool)
    time = np.arange(n) * np.timedelta64(1, "m") + np.datetime64("2024-01-01", "ns")
    return {"y": y, "score": score, "kind": kind, "judged": judged, "time": time}


def make_report(stream, **changes):
    settings_ = {
        "threshold": 1.5,
        "threshold_source": "calibration",
        "time": stream["time"],
        "judged": stream["judged"],
        "kind": stream["kind"],
        "n_random": 40,
    }
    table = report(stream["y"], stream["score"], **(settings_ | changes))
    return table.set_index("metric")


def test_report_holds_the_values_of_the_functions(stream):
    table = make_report(stream)
    y, score, judged = stream["y"], stream["score"], stream["judged"]
    pred = score > 1.5
    starts, stops = runs(y.astype(bool))
    roc, pr = vus(y, score, int(np.median(stops - starts)), judged=judged)
    expected = {
        "vus_pr": pr,
        "vus_roc": roc,
        "average_precision": average_precision(y, score, judged=judged),
        "roc_auc": roc_auc(y, score, judged=judged),
        "f1@oracle": best_f1(y, score, judged=judged),
        "alarms_per_day@calibration": alarms_per_day(pred, time=stream["time"], judged=judged),
        "detection_delay@calibration": np.nanmedian(detection_delay(y, pred, judged=judged)),
        "recall[shift]@calibration": pred[stream["kind"] == "shift"].mean(),
        "recall[spike]@calibration": float(pred[900]),
    }
    for metric in [*OF_FLAGS, false_positive_rate]:
        expected[f"{metric.__name__}@calibration"] = metric(y, pred, judged=judged)
    assert set(table.index) == set(expected)
    for name, value in expected.items():
        assert table.value[name] == pytest.approx(value), name
    assert table.index[0] == "vus_pr"
    assert report(y, score, judged=judged).metric[0] == "vus_pr"  # runs of labels: a series
    assert report(y, score, judged=judged, series=False).metric[0] == "average_precision"


def test_report_random_values_are_those_of_chance(stream):
    table = make_report(stream, n_random=200)
    judged, y = stream["judged"], stream["y"].astype(bool)
    rate = (stream["score"] > 1.5)[judged].mean()
    prevalence = y[judged].mean()
    assert table.random["roc_auc"] == pytest.approx(0.5, abs=0.01)
    assert table.random["average_precision"] == pytest.approx(prevalence, abs=0.02)
    for name in ("false_positive_rate", "recall", "recall[shift]"):
        assert table.random[f"{name}@calibration"] == pytest.approx(rate, abs=0.02)
    assert table.random["precision@calibration"] == pytest.approx(prevalence, abs=0.02)
    found = 1 - (1 - rate) ** np.array([20, 1, 60])
    assert table.random["event_recall@calibration"] == pytest.approx(found.mean(), abs=0.06)


def test_report_random_value_equals_a_real_shuffle(stream):
    """The shortcut (permute the holders of the sorted scores) is a shuffle of the score."""
    y, score = stream["y"], stream["score"]
    table = report(
        y, score, threshold=1.5, threshold_source="x", series=False, n_random=1
    ).set_index("metric")
    shuffled = score[np.random.default_rng(0).permutation(y.size)]
    assert table.random["average_precision"] == pytest.approx(average_precision(y, shuffled))
    assert table.random["recall@x"] == pytest.approx(recall(y, shuffled > 1.5))


def test_report_interval_holds_the_value_and_narrows_with_data():
    def width(n):
        rng = np.random.default_rng(0)
        y = rng.random(n) < 0.2
        table = report(y, rng.normal(size=n) + y, n_random=1)
        assert ((table.low < table.value) & (table.value < table.high)).all()
        return (table.high - table.low)[1]

    assert width(400) / width(6_400) == pytest.approx(4, rel=0.35)


def test_report_interval_covers_the_true_auc():
    """Known truth: N(1, 1) against N(0, 1) has AUC Phi(1 / sqrt 2) = 0.7602."""
    inside = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = np.arange(300) % 3 == 0
        table = report(y, rng.normal(size=300) + y, n_random=1)
        auc = table.set_index("metric").loc["roc_auc"]
        inside += auc.low <= 0.7602 <= auc.high
    assert 88 <= inside <= 100  # binomial(100, .95) leaves this range once in 400 tries


def test_report_makes_the_interval_of_a_dependent_series_wider():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(size=100), 30)  # 30 rows share each draw
    y = np.repeat(np.arange(100) % 5 == 0, 30)
    score = noise + y

    def width(order, series):
        table = report(y[order], score[order], series=series, n_random=1).set_index("metric")
        return (table.high - table.low)["roc_auc"]

    order = np.arange(3_000)
    shuffled = width(rng.permutation(order), False)
    assert width(order, True) > 2.5 * shuffled
    assert width(order, False) > 2.5 * shuffled  # neighbours are in one block


def test_report_is_reproducible_and_leaves_global_randomness_alone(stream):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pd.testing.assert_frame_equal(make_report(stream), make_report(stream))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert not make_report(stream).random.equals(make_report(stream, random_state=1).random)


@pytest.mark.parametrize("n_events", [1, 4])
def test_report_interval_of_a_perfect_score_is_that_of_so_many_events(n_events):
    y = np.tile(binary(300, [(50, 60)]), n_events)
    table = report(y, y, threshold=0.5, threshold_source="x", n_random=1).set_index("metric")
    best = table.loc[~table.index.str.contains("false_positive|delay")]
    assert (best.value == 1).all()
    assert best.low.to_numpy() == pytest.approx(0.025 ** 0.25 if n_events > 1 else np.nan,
                                                nan_ok=True)


@pytest.mark.parametrize("length", [1, 8])
def test_report_interval_of_vus_is_as_wide_as_its_true_spread(length):
    """Half of the events are found by luck: that luck belongs in the interval."""
    def draw(rng):
        y = binary(1_200, [(s, s + length) for s in 50 * np.arange(24) + rng.integers(5, 35, 24)])
        found = np.repeat(3 * (rng.random(24) < 0.5), 50)
        return y, rng.normal(size=y.size) + found * y

    drawn = [draw(np.random.default_rng(seed)) for seed in range(40)]
    true = np.std([vus(y, score, 10)[1] for y, score in drawn])
    tables = [report(y, score, series=True, window=10, n_random=0)
              for y, score in drawn[:10]]
    assert np.mean([(t.high - t.low)[0] for t in tables]) / 3.92 == pytest.approx(true, rel=0.3)


def test_report_without_a_series_has_no_event_metrics(stream):
    table = make_report(stream, time=None, series=False)
    assert not [name for name in table.index if "event" in name or "alarms" in name]
    assert "event_recall@calibration" in make_report(stream, time=None).index


def test_report_without_threshold_is_threshold_free(stream):
    table = make_report(stream, threshold=None)
    assert list(table.index) == ["vus_pr", "vus_roc", "average_precision", "roc_auc", "f1@oracle"]


def test_report_above_chance(stream):
    table = make_report(stream)
    lead = table.loc["vus_pr"]
    assert lead.above_chance == pytest.approx((lead.value - lead.random) / (1 - lead.random))
    assert np.isnan(table.above_chance["alarms_per_day@calibration"])
    score = np.random.default_rng(5).random(stream["y"].size)
    noise = report(stream["y"], score).set_index("metric")
    assert abs(noise.above_chance["roc_auc"]) < 0.35


def test_report_replicates_of_vus_are_its_values(stream):
    """Shuffles and resamples go through the batch; their mean is that of single calls."""
    y, score = stream["y"], stream["score"]
    rows = _Rows(y.astype(bool), score, np.ones(y.size, bool), None, None, None, True, None, 6)
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(y.size) for _ in range(4)])
    for order, values in zip(orders, rows.shuffled(orders), strict=True):
        assert values["vus_pr"] == pytest.approx(vus(y, score[order], 6)[1])
        assert values["average_precision"] == pytest.approx(average_precision(y, score[order]))


def test_report_decisions_for_all_and_for_none(stream):
    everything = make_report(stream, threshold=-np.inf).value
    assert everything["recall@calibration"] == everything["false_positive_rate@calibration"] == 1
    assert everything["event_precision@calibration"] == 0
    nothing = make_report(stream, threshold=np.inf).value
    assert nothing["precision@calibration"] == nothing["alarms_per_day@calibration"] == 0
    assert np.isnan(nothing["detection_delay@calibration"])


def test_report_on_a_fault_free_recording_keeps_the_false_alarms(stream):
    with pytest.warns(UserWarning, match="most of the report.*no anomaly"):
        table = make_report(stream | {"y": np.zeros(2_000)})
    assert table.value.notna().sum() == 2
    row = table.loc["false_positive_rate@calibration"]
    assert row.low < row.value < row.high
    assert row.value == pytest.approx((stream["score"][stream["judged"]] > 1.5).mean())


def test_report_refuses_what_it_cannot_name(stream):
    with pytest.raises(ValueError, match="threshold_source"):
        make_report(stream, threshold_source=None)
    with pytest.raises(ValueError, match="threshold must be a number"):
        make_report(stream, threshold=np.nan)
    with pytest.raises(ValueError, match="not 'oracle'"):  # f1@oracle stands for another value
        make_report(stream, threshold_source="oracle")
    for bad in ({"memory": -1}, {"memory": 2.5}, {"window": -1}, {"window": 2.5},
                {"n_random": -1}, {"intervals": 1.5}):
        (name,) = bad
        with pytest.raises(ValueError, match=f"{name} must be a whole number >= [01]"):
            make_report(stream, **bad)
    with pytest.raises(ValueError, match="kind must have shape"):
        make_report(stream, kind=["spike"])


def test_every_public_metric_is_exported_and_documented():
    for name in metrics.__all__:
        assert ">>>" in getattr(metrics, name).__doc__, name


# --- records ----------------------------------------------------------------------------------

APART = {"Metric", "all_metrics", "hit_rate", "operating_points", "report"}  # of no one score
MANY_VALUES = {"confusion_matrix", "vus"}  # four counts; two areas, each a metric of its own
OTHER_NAMES = {"best_f1": "f1@oracle", "nab_corpus": "nab_score@oracle"}


def test_every_function_that_judges_a_detector_has_a_record():
    judging = set(metrics.__all__) - APART - MANY_VALUES
    assert {OTHER_NAMES.get(name, name) for name in judging} == set(metrics.all_metrics())


@pytest.mark.parametrize("metric", metrics.all_metrics().values(), ids=lambda m: m.name)
def test_a_record_states_the_end_that_a_perfect_detector_reaches(metric):
    y = binary(600, [(200, 210), (400, 410)])
    score = np.random.default_rng(0).random(600)
    given = {"window": 10, "interval": 60.0, "judged": np.ones(600, bool)}

    def value(score):
        return metric(y, score if metric.needs == "score" else score > 0.9, **given)

    with warnings.catch_warnings(action="ignore"):  # ucr_score wants one event
        perfect, chance = value(y + 0.0), value(score)
    assert np.isnan(perfect) or (perfect >= chance if metric.best == "high" else perfect <= chance)
    if isinstance(metric.chance, float):
        many = [value(np.random.default_rng(seed).random(600)) for seed in range(300)]
        assert np.mean(many) == pytest.approx(metric.chance, abs=0.02)


def test_a_metric_from_outside_stands_in_the_report(stream):
    def misses(y_true, flags):  # low is best
        return float(np.mean(~flags[y_true]))

    def at_night(y_true, score, time, judged):
        return float(score[judged & (time.astype("M8[h]").astype(int) % 24 < 6)].max())

    own = [metrics.Metric("misses", misses, needs="flags", best="low", perfect=0.0),
           metrics.Metric("at_night", at_night, chance=0.25, perfect=np.nan)]
    table = make_report(stream, metrics=[*own, "recall"])
    assert {"recall@calibration", "misses@calibration", "at_night"} <= set(table.index)
    recall_row, row = table.loc["recall@calibration"], table.loc["misses@calibration"]
    assert row.value == pytest.approx(1 - recall_row.value)
    assert row.random == pytest.approx(1 - recall_row.random)
    assert row.above_chance == pytest.approx(recall_row.above_chance)
    assert row.low < row.value < row.high
    night = table.loc["at_night"]
    assert night.random == 0.25 and np.isnan(night.above_chance)
    assert "at_night" not in make_report(stream, metrics=own, time=None).index  # it needs the time


def test_the_usual_metrics_stay_as_they_are_beside_others(stream):
    usual = make_report(stream)
    more = make_report(stream, metrics=[*dict.fromkeys(
        name.split("@")[0].split("[")[0] for name in usual.index), "range_f1"])
    assert "range_f1@calibration" in more.index
    there = [name for name in usual.index if name in more.index]
    assert len(there) >= len(usual) - 2
    pd.testing.assert_frame_equal(more.loc[there], usual.loc[there])


def test_a_kind_may_be_called_like_a_metric(stream):
    """Direction and chance are of the record, not of words in a name."""
    kind = np.where(stream["kind"] == "shift", "delay", stream["kind"])
    plain, odd = make_report(stream), make_report(stream | {"kind": kind})
    pd.testing.assert_series_equal(odd.loc["recall[delay]@calibration"],
                                   plain.loc["recall[shift]@calibration"], check_names=False)
    assert odd.above_chance["recall[delay]@calibration"] > 0
    assert np.isnan(odd.above_chance["detection_delay@calibration"])


def test_limits_of_a_metric_from_outside_are_those_of_the_usual_ones(stream):
    own = metrics.Metric("mine", lambda y, score, judged: roc_auc(y, score, judged=judged))
    table = make_report(stream, metrics=["roc_auc", own])
    ours, mine = table.loc["roc_auc"], table.loc["mine"]
    same = ["value", "random", "above_chance", "low", "high"]
    np.testing.assert_allclose(mine[same].to_numpy(float), ours[same].to_numpy(float), atol=1e-9)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"name": ""}, "name of a Metric must be a text, got ''"),
        ({"function": 3}, "function of Metric 'x' must be callable, got 3"),
        ({"needs": "labels"}, "needs must be one of 'score', 'flags', got 'labels'"),
        ({"best": "up"}, "best must be one of 'high', 'low', got 'up'"),
        ({"chance": "none"}, "chance must be a number"),
    ],
)
def test_a_record_says_what_is_wrong(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        metrics.Metric(**({"name": "x", "function": f1} | fields))


def test_what_is_asked_for_is_a_name_or_a_record(stream):
    for wrong, message in (
            (["accuracy"], "unknown metrics .'accuracy'.; there are"), ([], "must name one"),
            ([3], "must be names or of type Metric, got 3"), (7, "metrics must be a list, got 7"),
            ([metrics.Metric("f1@oracle", f1)], "two records named 'f1@oracle'"),
            ([metrics.Metric("x", f1), metrics.Metric("x", recall)], "two records named 'x'")):
        with pytest.raises((TypeError, ValueError), match=message):
            make_report(stream, metrics=wrong)
    with pytest.raises(TypeError, match="metric 'x' must give one number, gave an array of shape"):
        make_report(stream, metrics=metrics.Metric("x", lambda y, score: score))
