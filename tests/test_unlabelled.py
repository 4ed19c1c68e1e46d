"""Ranking without labels: blind to labels, steady measures worked out, found injections."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adlib.base import Detector
from adlib.compare import rank_unlabelled, score_cell
from adlib.compare.unlabelled import _overlap, _without_some
from adlib.datasets import Dataset, make_sensor_stream
from adlib.metrics import roc_auc

CHEAP = {"n_random": 5, "intervals": False, "baselines": False}


class Blind(Detector):
    """The row number, whatever the row holds."""

    def _fit(self, X):
        pass

    def _score(self, X):
        return np.arange(len(X), dtype=float)


class Lottery(Detector):
    """A number drawn anew with every seed."""

    def __init__(self, *, random_state=None, **base):
        super().__init__(**base)
        self.random_state = random_state

    def _fit(self, X):
        pass

    def _score(self, X):
        return np.random.default_rng(self.random_state).random(len(X))


@pytest.fixture(scope="module")
def stream():
    return make_sensor_stream(1500, 0.02, random_state=0)


@pytest.fixture(scope="module")
def found(stream):
    models = {"KNN": "KNN", "again": "KNN", "blind": Blind(), "lottery": Lottery()}
    return rank_unlabelled(models, stream, [0, 1], **CHEAP)


def test_who_finds_the_injections_ranks_first(found):
    lines = found.ranking.set_index("detector")
    assert found.metric == "vus_pr" and lines["rank"]["KNN"] == 1
    assert lines.injected["KNN"] > 2 * lines.injected["lottery"]
    assert set(found.cells.metric) >= {"recall[spike]@calibration", "recall[variance]@calibration"}
    assert "ability to find injected anomalies (spike, " in found.caveat
    assert "correlation_break" in found.refused and "correlation_break" not in found.caveat
    assert str(found).startswith(found.caveat) and "same_over_rows" in str(found)


def test_steadiness_and_agreement(found):
    lines = found.ranking.set_index("detector")
    assert lines.same_over_seeds["KNN"] == 1  # it has no seed
    assert 0.6 < lines.same_over_rows["KNN"] < 1
    assert lines.same_over_rows["blind"] == 1
    assert lines.same_over_seeds["lottery"] < 0.2
    assert found.agreement.loc["KNN", "again"] == 1
    assert found.agreement.loc["KNN", "lottery"] < 0.3
    others = found.agreement.loc["KNN"].drop("KNN").mean()
    assert lines.same_as_others["KNN"] == pytest.approx(others)


def test_contrast_follows_the_labels_where_normal_rows_are_alike():
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(2000), rng.random(3000) < 0.2]
    data = Dataset("table", rng.normal(size=(5000, 3)) + 3 * y[:, None] * [1, 0, 0], y,
                   train_end=2000, series=False)
    found = rank_unlabelled({"KNN": "KNN", "lottery": Lottery(), "failing": "KNN(window=9000)"},
                            data, [0, 1], kinds="spike", **CHEAP)
    contrast = found.ranking.set_index("detector").contrast
    auc = roc_auc(data.test.y, score_cell("KNN", data).test)
    assert contrast["KNN"] == pytest.approx(0.5 + data.test.y.mean() * (auc - 0.5), abs=0.02)
    assert contrast["lottery"] == pytest.approx(0.5, abs=0.04)
    assert np.isnan(contrast["failing"]) and found.choice == "KNN"


def test_the_first_detector_stays_unless_another_is_beyond_two_standard_errors(found):
    lines = found.ranking.set_index("detector")
    assert lines.contrast_se["KNN"] == lines.contrast_se["again"] == 0 < lines.contrast_se["blind"]
    ranking = found.ranking.assign(contrast_se=1.0 * (found.ranking.detector != "KNN"))
    assert replace(found, ranking=ranking).choice == "KNN"


def test_rows_without_order_that_are_left_out_calibrate():
    data = Dataset("table", np.arange(100.0)[:, None], train_end=50, series=False)
    less = _without_some(data, 0)
    gone = data.calibrate_start - less.calibrate_start
    assert gone == 8 and less.train_end == 50 and set(less.X.ravel()) == set(range(100))
    assert np.array_equal(less.X[less.calibrate_start + gone :], data.X[data.calibrate_start :])


def test_contrast_counts_drift_as_well_as_anomalies(found):
    contrast = found.ranking.set_index("detector").contrast
    assert contrast["blind"] > 0.9 and found.choice == "blind"  # it counts the rows
    assert "drift as well as anomalies" in found.caveat


def test_labels_are_not_read(stream, found):
    shuffled = np.random.default_rng(0).permutation(stream.y)
    other = Dataset("sensor_stream", stream.X, shuffled, time=stream.time,
                    train_end=stream.train_end)
    again = rank_unlabelled({"KNN": "KNN"}, other, [0, 1], **CHEAP)
    lines = (t.ranking.set_index("detector").loc["KNN"] for t in (found, again))
    columns = ["injected", "contrast", "same_over_seeds", "same_over_rows"]
    assert len({tuple(line[columns]) for line in lines}) == 1


def test_the_same_call_gives_the_same_answer_and_leaves_the_data_alone(stream):
    before = stream.fingerprint
    one, two = (rank_unlabelled("IsolationForest", stream, [3, 4], **CHEAP) for _ in range(2))
    pd.testing.assert_frame_equal(one.ranking, two.ranking)
    assert stream.fingerprint == before


def test_a_table_without_time_has_short_events():
    X = np.random.default_rng(0).normal(size=(600, 3))
    found = rank_unlabelled("KNN", Dataset("table", X), [0], kinds="level_shift", **CHEAP)
    assert found.metric == "average_precision"
    recall = found.cells[found.cells.metric == "recall[level_shift]@calibration"]
    assert recall.status.eq("ok").all()


def test_a_detector_that_fails_is_a_line_with_nan(stream):
    found = rank_unlabelled(["KNN", "KNN(window=5000)"], stream, [0], kinds="spike", **CHEAP)
    line = found.ranking.set_index("detector").loc["KNN(window=5000)"]
    assert np.isnan(line["rank"]) and np.isnan(line.same_over_rows) and np.isnan(line.contrast)
    assert found.cells[found.cells.status == "failed"].reason.str.contains("looks back").all()


def test_overlap_by_hand():
    a, b = np.array([9.0, 8, 1, 2, 3]), np.array([9.0, 1, 8, 2, 3])
    assert _overlap(a, b, 0.4) == 0.5 and _overlap(a, b, 0.2) == 1 and _overlap(a, a, 0.6) == 1
    assert np.isnan(_overlap(a, None, 0.4))


def test_resamples_lack_a_stretch_of_training_rows_only(stream):
    less = _without_some(stream, 0)
    gone = len(stream) - len(less)
    assert gone == int(0.2 * stream.calibrate_start)
    assert less.train_end == stream.train_end - gone
    assert np.array_equal(less.X[less.calibrate_start :], stream.X[stream.calibrate_start :])
    assert not np.array_equal(_without_some(stream, 1).X, less.X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 1.0}, "top must be a number"),
        ({"metrics": ["roc_auc"]}, "metrics is chosen here"),
        ({"kinds": ["spik"]}, "nothing could be injected.*spik"),
        ({"length": (2000, 2000), "kinds": ["variance"]}, "nothing could be injected.*fit"),
    ],
)
def test_bad_arguments(stream, change, message):
    with pytest.raises(ValueError, match=message):
        rank_unlabelled("KNN", stream, [0], **CHEAP | change)
