"""Operating points: at every threshold what the metrics say of its flags, counted all at once."""

import numpy as np
import pytest

from adlib import metrics
from adlib.metrics import operating_points

OF_FLAGS = ("recall", "precision", "false_positive_rate", "event_recall", "event_precision")


@pytest.mark.parametrize("seed", range(40))
def test_each_point_is_what_the_metrics_say_of_its_flags(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 40))
    y, judged = np.repeat(rng.random(n) < 0.3, 1 + seed % 3), rng.random(n * (1 + seed % 3)) < 0.85
    score = rng.integers(0, 8, y.size).astype(float)  # many ties
    y[np.flatnonzero(judged)[:2]] = [True, False]
    points = operating_points(y, score, judged=judged, interval=60, threshold=3.5)
    assert points.chosen.sum() == 1 and points.threshold.is_monotonic_decreasing
    for point in points.itertuples():
        flags = score > point.threshold
        for name in OF_FLAGS:
            found = getattr(metrics, name)(y, flags, judged=judged)
            assert getattr(point, name) == pytest.approx(found), name
        assert point.alarms == metrics.alarm_count(flags, judged=judged)
        assert point.alarms_per_day == pytest.approx(
            metrics.alarms_per_day(flags, interval=60, judged=judged))


def test_rows_of_a_table_are_alarms_of_their_own():
    points = operating_points([1, 1, 0, 0], [4, 3, 2, 1], series=False)
    assert points.alarms.tolist() == [1, 2, 3, 4] and "event_recall" not in points
    assert points.alarms_per_1000_rows.tolist() == [250, 500, 750, 1000]
    assert set(points.random_precision) == {0.5}


def test_chance_is_the_same_score_shifted():
    y = np.arange(2_000) % 500 >= 480
    score = np.random.default_rng(0).normal(size=2_000)
    points = operating_points(y, score)
    gap = points.event_recall - points.random_event_recall
    assert gap.abs().max() < 0.6 and abs(gap.mean()) < 0.2  # four events
    skilled = operating_points(y, score + 6 * y)
    early = skilled[skilled.false_positive_rate == 0].iloc[-1]
    assert early.event_recall == 1 and early.random_event_recall < 0.4


def test_points_are_few_and_reach_from_the_first_alarm_to_all_anomalies():
    rng = np.random.default_rng(1)
    y, score = np.arange(50_000) % 1_000 >= 990, rng.normal(size=50_000)
    points = operating_points(y, score, n_points=50)
    assert len(points) <= 50 and points.alarms.iloc[0] == 1 and points.recall.iloc[-1] == 1
    score[:3] = np.inf, -np.inf, np.inf
    assert np.isfinite(operating_points(y, score).recall).all()


def test_one_class_has_no_points():
    with pytest.warns(UserWarning, match="only anomalies"):
        assert operating_points([1, 1], [0.0, 1.0]).empty
