"""A column that stood still in training and moves; what "still" means to float64."""

import numpy as np
import pytest

from adlib.detectors import (
    KNN,
    Ensemble,
    LinearForecast,
    OnlineEnsemble,
    OnlineForecast,
    OnlineMahalanobis,
    PCAReconstruction,
    RandomFeatureAE,
    RandomFeatureForecast,
    RobustZScore,
    RollingZScore,
    SeasonalZScore,
)
from adlib.detectors.trivial import (
    FirstDifference,
    MaxAbsZ,
    MovingDeviation,
    SquaredDifference,
    SquaredZ,
)
from adlib.explain import explain
from adlib.scaling import center_scale, moved, standardise, stands_still, still_values

N, FRESH = 600, 60
MOVES = {0: (0.0, 0.05), 1: (5.0, 5.0000001), 2: (0.0, 1.0)}  # column: from, to
BATCH = [KNN(), PCAReconstruction(), RandomFeatureAE(n_hidden=32, random_state=0), MaxAbsZ(),
         SquaredZ(), MovingDeviation(), FirstDifference(), SquaredDifference(),
         KNN(window=3),
         Ensemble(members=[KNN(), PCAReconstruction()], random_state=0)]


def rows(seed, width, heavy=False):
    """Columns that move beside three that stand still."""
    rng = np.random.default_rng(seed)
    beside = (rng.standard_t(3, size=(N + FRESH, width)) if heavy
              else rng.normal(size=(N + FRESH, width)))
    return np.hstack([np.tile([value for value, _ in MOVES.values()], (N + FRESH, 1)), beside])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("model", BATCH, ids=repr)
def test_what_stood_still_is_flagged_where_it_moves(model, seed):
    for width, heavy in ((0, False), (2, True), (27, False))[seed % 2:seed % 2 + 2]:
        X = rows(seed, width, heavy)
        alpha = 0.05 if model.is_ordered else (0.05, 0.01)[seed % 2]
        model.set_params(alpha=alpha).fit(X[:N])
        calm = model.anomaly_score(X[N:])
        one, three = X[N:].copy(), X[N:].copy()
        for j, (_, goes) in MOVES.items():
            one[5 + 10 * j:15 + 10 * j, j] = three[5:35, j] = goes
        found, more = model.detect(one), model.detect(three)
        assert found.is_anomaly[5:35].all() and more.is_anomaly[5:35].all()
        assert (more.score[5:35] > found.score[5:35]).all()  # evidence adds up
        assert (found.score[35:] == calm[35:]).all()
        # one move is worth a step up to the most unusual row, not 1e8 of them
        assert (found.score - calm).max() <= 1.01 * model.worth_[1] + max(model.worth_[0], 0)
        if isinstance(model, (MovingDeviation, FirstDifference)):
            continue  # most of these say nothing of columns
        parts = model.contributions(one)
        first = parts[5:35].argmax(axis=1) == np.repeat(range(3), 10)
        assert first.mean() > 0.8  # but where another column is far off as well


@pytest.mark.parametrize("width", [0, 2, 27])
@pytest.mark.parametrize("kind", [LinearForecast, RandomFeatureForecast])
def test_a_forecast_remembers_moves_like_other_errors(kind, width):
    X = rows(0, width)
    odd = X[N:].copy()
    odd[20:30, 2] = 1.0
    far = odd.copy()
    far[20:30, 2] = 1e9
    model = kind(smoothing=None).fit(X[:N])
    calm, found = model.anomaly_score(X[N:]), model.detect(odd)
    assert (model.contributions(odd)[20:30].argmax(1) == 2).all()
    assert found.is_anomaly[20:30].mean() == 1 or width > 10  # a mean over many channels dilutes
    rise = np.log(N + 1) / X.shape[1]
    np.testing.assert_allclose(found.score - calm, np.where(np.arange(FRESH) // 10 == 2, rise, 0),
                               atol=0.1 * rise)
    assert (model.anomaly_score(far) == found.score).all()
    smooth = kind(smoothing=10).fit(X[:N]).contributions(odd)[:, 2] * X.shape[1]
    assert (np.diff(smooth[20:30]) > 0).all() and (np.diff(smooth[30:]) <= 0).all()  # two flanks
    assert smooth[:20].max() == 0 and smooth[29] < np.log(N + 1) and smooth[35] > np.log(2)


def test_a_stream_that_forgets_keeps_the_unit_of_a_move():
    X = np.random.default_rng(0).normal(size=(3_000, 2))
    X[:, 0] = 5.0
    X[2_900, 0] = 6.0
    score = OnlineForecast(forgetting=0.99).fit(X[:1_000]).process(X[1_000:])
    assert score.argmax() == 1_900 and score[1_900] < np.log(1_001)


def test_a_genuine_anomaly_does_not_drown():
    X = rows(0, 30)
    odd = X[N:].copy()
    odd[3, 3:] *= 12.0
    odd[4, 2] = 1.0
    for model in BATCH[:2]:
        assert model.set_params(alpha=0.05).fit(X[:N]).anomaly_score(odd).argmax() == 3


def test_a_move_in_calibration_rows_is_part_of_the_budget():
    X = rows(1, 3)
    X[-FRESH::5, 2] = 1.0  # a mode that a fifth of the later rows are in
    model = PCAReconstruction(alpha=0.05).fit(X[:N]).calibrate(X[N:])
    assert model.detect(X[N:]).is_anomaly.mean() <= 0.05


def test_a_move_in_calibration_rows_is_part_of_a_committees_budget():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    X[:, 1] = 0.0
    X[400:, 1] = rng.random(100) < 0.3  # of the rows that are held out
    T = rng.normal(size=(500, 2))
    T[:, 1] = rng.random(500) < 0.3
    model = Ensemble(members=[KNN(), MaxAbsZ()], calibration="split", random_state=0).fit(X)
    assert model.detect(T).is_anomaly.mean() < 0.15
    assert model.calibrate(T).detect(T).is_anomaly.mean() <= 0.05
    threshold, worth = model.threshold_, model.worth_
    model.feedback(T, np.zeros(500), rate=0.0)
    assert (model.threshold_, model.worth_) == (threshold, worth)


def test_moves_are_explained():
    X = rows(2, 3)
    X[-1, 0] = 0.05
    for model in (KNN(), MaxAbsZ(), LinearForecast(smoothing=None), BATCH[-1]):
        why = explain(model.fit(X[:N]), X[-10:], [9], background=X[:N])
        assert why.shares[0].argmax() == 0 and 2 < why.deviations[0, 0] < 5


def test_still_means_to_the_last_digits():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=1_000)
    moving = {"large": 1e6 + 1e-2 * noise, "larger": 1e9 + 1e-3 * noise, "tiny": 1e-12 * noise,
              "unix time": 1.7e9 + 0.1 * np.arange(1_000), "float32": np.float32(1e6 + noise),
              "rare": np.r_[np.zeros(999), 1.0], "huge": 1e300 * noise}
    still = {"zeros": np.zeros(1_000), "sums": np.where(noise > 0, 0.1 + 0.2, 0.3),
             "tenths": np.full(1_000, 0.1), "largest": np.full(1_000, 1.7e308)}
    assert not stands_still(np.column_stack(list(moving.values())).astype(float)).any()
    assert stands_still(np.column_stack(list(still.values()))).all()
    for robust in (False, True):
        for column in moving.values():
            X = np.asarray(column, dtype=float)[:, None]
            z = standardise(X, *center_scale(X, robust=robust))
            assert 0.7 < z.std() < 1.1 and abs(z.mean()) < 0.1


def test_a_large_column_is_judged_like_others():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    X[:, 0] = 1e9 + 1e-3 * X[:, 0]
    odd = X[:2].copy()
    odd[0, 0] += 0.02
    for model in (KNN(), PCAReconstruction(n_components=1), MaxAbsZ(), BATCH[2]):
        score = model.fit(X).anomaly_score(odd)
        assert score[0] > 2 * score[1]


def test_a_move_of_a_still_column_is_bounded():
    center, scale = center_scale(np.full((999, 1), 5.0))
    z = standardise(np.array([[5.0], [5.0 + 1e-15], [4.9], [1e300]]), center, scale)
    assert z[:, 0].round(2).tolist() == [0.0, 0.0, -3.29, 3.29]  # one in 1,000, on either side
    assert not moved(np.full((2, 1), 5.0), still_values(np.full((3, 1), 5.0))).any()


@pytest.mark.parametrize("model", [RollingZScore(), RobustZScore(), SeasonalZScore(),
                                   OnlineMahalanobis(), OnlineForecast(), OnlineEnsemble()],
                         ids=repr)
def test_a_stream_is_flagged_where_a_still_column_moves(model):
    X = np.random.default_rng(0).normal(size=(1_600, 4))
    X[:, 0] = 5.0
    detector = model.set_params(alpha=0.05).fit(X[:1_500])
    later = X[1_500:].copy()
    later[50:, 0] = 5.0000001
    small = detector.detect(later)
    later[50:, 0] = 1e6
    large = detector.detect(later)
    assert small.is_anomaly[50] and large.is_anomaly[50]
    assert small.score.max() < 1e3 and large.score.max() < 1e3  # not 1e8, then or later
