"""Rows judged together: against a plain twin, on correlation breaks, and where columns are odd."""

import copy

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from adlib.datasets import inject
from adlib.detectors import OnlineMahalanobis, RollingZScore
from adlib.persist import load, save


def agreeing(n=3_000, d=3, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + noise * rng.normal(size=(n, d))


def borrowed(seed, n=6_000, events=60, warm=1_000):
    """Three sensors that agree; one value comes from another time."""
    rng = np.random.default_rng(seed)
    X, y = agreeing(n, seed=seed), np.zeros(n, int)
    at = rng.choice(np.arange(warm, n), events, replace=False)
    y[at] = 1
    X[at, 1] = rng.permutation(X[:, 1])[at]
    return X[warm:], y[warm:], X[:warm]


def naive(X, *, window=1_000, warm_up=50, gate=np.inf, release=50):
    """The formulas, in NumPy; few features, so that the inverse is never old."""
    d, scores = X.shape[1], np.zeros(len(X))
    out, recent = 0, []

    def inverse(mean, cov, n):
        scale = np.maximum(np.sqrt(np.diag(cov)), np.maximum(1e-12, 1e-9 * np.abs(mean)))
        R = cov / np.outer(scale, scale)
        off = R[~np.eye(d, dtype=bool)] ** 2
        signal, noise = off.sum(), ((1 - off) ** 2).sum() / min(n, 2 * window)
        R *= 1 - max(noise / signal if noise < signal else 1.0, 1e-6)
        np.fill_diagonal(R, 1.0)
        return scale, np.linalg.inv(R)

    def held(distance):
        return min(1, (np.sqrt(d) + 3) / distance)

    def begin(rows):
        mean, P = np.median(rows, axis=0), np.eye(d)
        scale = 1.4826 * np.median(np.abs(rows - mean), axis=0)
        for _ in range(10):
            Z = (rows - mean) / scale
            rows = mean + np.array([held(np.sqrt(z @ P @ z)) * z * scale for z in Z])
            mean, cov = rows.mean(axis=0), np.cov(rows.T, ddof=0).reshape(d, d)
            scale, P = inverse(mean, cov, len(rows))
        return mean, cov, len(rows)

    mean, cov, n = begin(X[:warm_up])
    for t in range(warm_up, len(X)):
        scale, P = inverse(mean, cov, n)
        z = (X[t] - mean) / scale
        own, joint = z**2, (P @ z) ** 2 / np.diag(P)
        scores[t] = np.sqrt(np.maximum(own, joint) - own * 25 / (25 + own)).max()
        recent = [*recent, X[t]][-release:]
        if scores[t] > gate:
            out += 1
            if out >= release:
                out, (mean, cov, n) = 0, begin(np.array(recent))
            continue
        out, n = max(0, out - 1), n + 1
        away = (X[t] - mean) * held(np.sqrt(z @ P @ z))
        rate = max(1 / n, 1 / window)
        cov = (1 - rate) * (cov + rate * np.outer(away, away))
        mean = mean + rate * away
    return scores


@pytest.mark.parametrize("d", [1, 3, 7])
@pytest.mark.parametrize("given", [{}, {"window": 100, "warm_up": 10},
                                   {"window": 200, "gate": 6.0, "release": 30}])
def test_scores_are_those_of_the_naive_twin(d, given):
    X = agreeing(1_200, d)
    X[300, 0] = 1e6
    X[700:, -1] += 8.0  # with a gate: kept out, then the new normal
    np.testing.assert_allclose(OnlineMahalanobis(**given).process(X), naive(X, **given),
                               rtol=1e-6, atol=1e-9)


def test_a_borrowed_value_is_found_nearly_as_well_as_with_the_true_covariance():
    found, known, single = [], [], []
    S = np.ones((3, 3)) + 0.01 * np.eye(3)
    P = np.linalg.inv(S)
    for seed in range(4):
        X, y, past = borrowed(seed)
        found.append(roc_auc_score(y, OnlineMahalanobis().fit(past).process(X)))
        joint = (X @ P)**2 / np.diag(P) - X**2 / np.diag(S)
        known.append(roc_auc_score(y, joint.max(axis=1)))
        single.append(roc_auc_score(y, RollingZScore().fit(past).process(X)))
    assert np.mean(found) > max(np.mean(known) - 0.006, 0.94)
    assert np.mean(single) < 0.75


def test_the_generators_correlation_break_is_found():
    scores = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        clean = agreeing(6_000, seed=seed) + np.sin(np.arange(6_000) / 40)[:, None]
        data = inject(clean, "correlation_break", n_events=12, start=1_500, random_state=rng)
        scores.append(roc_auc_score(data.y, OnlineMahalanobis().process(data.X)))
    assert np.mean(scores) > 0.92


def test_one_feature_ranks_as_its_z_score():
    x = np.random.default_rng(0).normal(size=(500, 1))
    detector = OnlineMahalanobis().fit(x)
    (mean,), (scale,), _ = detector.usual()
    z2 = ((x[:, 0] - mean) / scale) ** 2
    np.testing.assert_allclose(detector.contributions(x)[:, 0], z2 / np.sqrt(25 + z2))


def test_order_and_units_of_columns_do_not_matter():
    X = agreeing(2_000, 4) * [1.0, 1e-6, 1e6, 3.0] + [0.0, 1.0, -1e7, 5.0]
    plain = OnlineMahalanobis().process(X)
    np.testing.assert_allclose(OnlineMahalanobis().process(X[:, [2, 0, 3, 1]]), plain, rtol=1e-5)
    np.testing.assert_allclose(OnlineMahalanobis().process(X * 1e3 - 7.0), plain, rtol=1e-5)


def test_constant_double_and_collinear_columns_are_ranked_past():
    X = agreeing(2_000, 3)
    X = np.c_[X, np.full(2_000, 4.0), X[:, 0], X[:, 1] - 2 * X[:, 2]]
    scores = OnlineMahalanobis().process(X)
    assert np.isfinite(scores).all() and np.quantile(scores[100:], 0.99) < 6
    for column, value in ((3, 4.001), (4, X[-1, 0] + 0.5), (5, X[-1, 5] + 0.5)):
        row = X[-1].copy()
        row[column] = value
        detector = OnlineMahalanobis().fit(X)
        assert detector.score_one(row) > 8
        parts = detector.contributions(row[None])[0]
        assert parts[column] == pytest.approx(parts.max(), rel=0.05)


@pytest.mark.parametrize("at", [3, 2_000])
@pytest.mark.parametrize("size", [1e3, 1e9, 1.7e308])
def test_a_huge_value_leaves_little(at, size):
    X = agreeing(4_000)
    spiked = X.copy()
    spiked[at, 0] = size
    scores, clean = OnlineMahalanobis().process(spiked), OnlineMahalanobis().process(X)
    assert np.isfinite(scores).all()
    assert at < 50 or scores[at] == scores.max() > 100
    assert np.abs(scores[at + 50:] - clean[at + 50:]).mean() < 0.1 * clean[at + 50:].mean()


def test_a_million_rows_do_not_drift():
    rng = np.random.default_rng(0)
    block = agreeing(10_000) * [1.0, 1e-8, 1e8]
    detector = OnlineMahalanobis()
    for _ in range(100):
        detector.process(block[rng.permutation(10_000)])
    fresh = OnlineMahalanobis()
    fresh.process(block)
    last = agreeing(1_000, seed=1) * [1.0, 1e-8, 1e8]
    old, new = (copy.deepcopy(one).process(last) for one in (detector, fresh))
    assert np.abs(old - new).mean() < 0.1 * new.mean()


def test_many_features_are_judged_by_an_inverse_a_few_rows_old():
    X = agreeing(1_500, 40, noise=0.5)
    late, exact = OnlineMahalanobis().process(X), naive(X)
    np.testing.assert_allclose(late[200:], exact[200:], rtol=0.2, atol=0.2)


def test_chunks_rows_and_a_saved_copy_give_the_same_bits(tmp_path):
    X = agreeing(1_500)
    X[900:] += [0.0, 9.0, 0.0]
    given = {"gate": 5.0, "window": 300}
    scores = OnlineMahalanobis(**given).process(X)
    chunks, rows = OnlineMahalanobis(**given), OnlineMahalanobis(**given)
    parts = [chunks.process(part) for part in np.split(X, [7, 400, 401, 933])]
    assert np.concatenate(parts).tobytes() == scores.tobytes()
    by_row = []
    for i, x in enumerate(X):
        by_row.append(rows.process_one(x))
        if i == 920:
            rows = load(save(rows, tmp_path / "midway"))
    assert np.array(by_row).tobytes() == scores.tobytes()


def test_a_state_that_cannot_be_is_refused():
    detector = OnlineMahalanobis(warm_up=5)
    detector.process(agreeing(20))
    for place, value in ((7, 70.0), (8, 0.5), (9, 3.0), (11, 6.0)):  # oldest; rows; memory; waiting
        state = detector.get_state()
        state["state_"][place] = value
        with pytest.raises(ValueError, match="state must be of a detector with the parameters"):
            detector.set_state(state)


@pytest.mark.parametrize(("given", "message"), [
    ({"window": 1}, "window must be"), ({"warm_up": 1}, "warm_up must be"),
    ({"release": 1}, "release must be"), ({"gate": 0}, "gate must be"),
    ({"min_scale": 0}, "min_scale must be")])
def test_parameters_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        OnlineMahalanobis(**given).process(agreeing(100))
