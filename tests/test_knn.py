"""The rows that KNN searches: exact up to a bound, a fixed draw beyond it."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from adlib.detectors import KNN
from adlib.scaling import center_scale, standardise


def by_hand(train, X, rows, k=5):
    Z, judged = (standardise(part, *center_scale(train)) for part in (train, X))
    return np.sort(cdist(judged, Z[rows]), axis=1)[:, k - 1]


@pytest.mark.parametrize(("n", "d"), [(10_001, 3), (10_001, 12), (300, 3)])
def test_every_index_is_exact(n, d):
    rng = np.random.default_rng(0)
    train, X = rng.normal(size=(n, d)).round(1), rng.normal(size=(50, d)).round(1)
    train[::3] = train[0]  # a tree must not fall for duplicates
    model = KNN(method="largest", calibration=None, max_rows=None).fit(train)
    assert model.anomaly_score(X) == pytest.approx(by_hand(train, X, slice(None)), abs=1e-12)
    assert np.array_equal(model.anomaly_score(X)[7:9], model.anomaly_score(X[7:9]))


def test_more_rows_than_are_searched_are_drawn_the_same_every_time():
    rng = np.random.default_rng(0)
    train, X = rng.normal(size=(500, 2)), rng.normal(size=(20, 2))
    few, again = (KNN(max_rows=100).fit(train) for _ in range(2))
    assert few.rows_.shape == (100, 2) and np.array_equal(few.rows_, again.rows_)
    assert np.array_equal(few.center_, KNN().fit(train).center_)  # scales are those of all rows
    assert (few.anomaly_score(X) > KNN().fit(train).anomaly_score(X)).mean() > 0.9
    for enough in (500, None, "auto"):
        assert np.array_equal(KNN(max_rows=enough).fit(train).rows_, KNN().fit(train).rows_)
    with pytest.raises(ValueError, match="max_rows"):
        KNN(max_rows=0).fit(train)


@pytest.mark.parametrize(("d", "searched"), [(10, 100_000), (11, 20_000)])
def test_the_bound_is_wider_where_a_tree_searches(d, searched):
    X = np.random.default_rng(0).normal(size=(100_001, d))
    assert len(KNN(calibration=None).fit(X).rows_) == searched
