"""Rolling z-scores against a loop that anyone can check, and what gates and spikes do to them."""

import copy
import itertools
from collections import deque

import numpy as np
import pytest

from adlib.detectors import RobustZScore, RollingZScore

BOTH = pytest.mark.parametrize("cls", [RollingZScore, RobustZScore])


def centre_and_scale(cls, rows):
    """Centre and scale of each column of rows (n, d), from the definition."""
    if cls is RollingZScore:
        # from the first row: equal ones have their own value for a mean
        return rows[0] + (rows - rows[0]).mean(axis=0), rows.std(axis=0)
    centre = np.median(rows, axis=0)
    scale = 1.4826 * np.median(np.abs(rows - centre), axis=0)
    return centre, np.where(scale == 0, 1.2533 * np.abs(rows - centre).mean(axis=0), scale)


def reference(cls, X, *, window, warm_up=10, gate=None, release=50, min_scale=1e-12):
    """Scores by a deque and NumPy calls."""
    learned, recent, outnumbered = deque(maxlen=window), deque(maxlen=release), 0
    scores = []
    for x in X:
        score = 0.0
        if len(learned) >= warm_up:
            centre, scale = centre_and_scale(cls, np.array(learned))
            least = 2e-15 * np.abs(centre)  # what stands still: as if one row had moved as far
            n = len(learned)
            most = np.sqrt(n) if cls is RollingZScore else n / 1.2533
            most = np.where(scale <= least + 1e-16, most, np.inf)
            z = np.abs(x - centre) / np.maximum(scale, np.maximum(min_scale, least))
            score = np.max(np.minimum(z, most))
        scores.append(score)
        recent.append(x)
        if gate is None or score <= gate:
            outnumbered = max(0, outnumbered - 1)
            learned.append(x)
            continue
        outnumbered += 1
        if release is not None and outnumbered >= release:
            outnumbered = 0
            learned.clear()
            learned.extend(recent)
    return np.array(scores)


def stream(shape, n_features, n=700, seed=0):
    """Rows that ask something of a running sum."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    if shape == "offset":
        return X + 1e6
    if shape == "tiny on offset":
        return 1e-3 * X + 1e6
    if shape == "spiky":
        X[rng.random(n) < 0.03] *= 1e9
    elif shape == "first row spikes":
        X[0] = 1e9
    elif shape == "constant":
        X[:] = 0.1
        X[n // 2] = 0.2
    elif shape == "steps":
        X = np.repeat(rng.integers(-3, 4, size=(n // 20, n_features)) * 0.1, 20, axis=0)
    elif shape == "random walk":
        X = X.cumsum(axis=0)
    return X


SHAPES = ["noise", "offset", "tiny on offset", "spiky", "first row spikes", "constant", "steps",
          "random walk"]


@BOTH
@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("window", [2, 10, 11, 100])
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_those_of_the_definition(cls, shape, window, n_features):
    X = stream(shape, n_features)
    for warm_up in {2, min(10, window), window}:
        scores = cls(window=window, warm_up=warm_up).process(X)
        assert (scores[:warm_up] == 0).all()
        expected = reference(cls, X, window=window, warm_up=warm_up)
        assert (expected[warm_up:] > 0).any()
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-5)


@BOTH
@pytest.mark.parametrize("release", [1, 7, 60, None])
@pytest.mark.parametrize("shape", ["noise", "spiky", "steps", "random walk"])
def test_gated_scores_are_those_of_the_definition(cls, shape, release):
    X = stream(shape, 2, seed=3)
    given = {"window": 25, "warm_up": 5, "gate": 2.5, "release": release}
    scores = cls(**given).process(X)
    np.testing.assert_allclose(scores, reference(cls, X, **given), rtol=1e-6, atol=1e-6)
    assert (scores > 2.5).sum() > 5  # the gate had something to do


@BOTH
@pytest.mark.parametrize("gate", [None, 3.0])
@pytest.mark.parametrize("shape", [*SHAPES, "huge"])
def test_one_call_chunks_and_rows_give_the_same_bits(cls, shape, gate):
    X = stream(shape, 3)
    if shape == "huge":
        X[100::97] = -1e200
    whole, chunks, rows = (cls(window=30, gate=gate, release=20) for _ in range(3))
    scores = whole.process(X)
    cuts = np.sort(np.random.default_rng(1).choice(len(X), 25, replace=False))
    parts = [chunks.process(part) for part in np.split(X, cuts) if len(part)]
    assert np.concatenate(parts).tobytes() == scores.tobytes()
    one_by_one = np.empty(len(X))
    for i, x in enumerate(X):
        one_by_one[i] = rows.score_one(x) if i % 2 else rows.process_one(x)
        if i % 2:
            rows.learn_one(x)
    assert one_by_one.tobytes() == scores.tobytes()


@pytest.mark.parametrize(("cls", "expected"), [
    (RollingZScore, 7.5 / np.sqrt(1.25)),  # mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4
    (RobustZScore, 7.5 / 1.4826),          # median 2.5, deviations 0.5 0.5 1.5 1.5, MAD 1
])
def test_worked_by_hand(cls, expected):
    scores = cls(window=4, warm_up=4).process([[99.0], [1.0], [2.0], [3.0], [4.0], [10.0]])
    assert (scores[:4] == 0).all()
    assert scores[5] == pytest.approx(expected)  # the 99 has left


def test_worst_feature_decides():
    learned = [[0.0, 0.0], [2.0, 20.0]]  # means 1 and 10, standard deviations 1 and 10
    detector = RollingZScore(window=2, warm_up=2)
    detector.process(learned)
    assert detector.score_one(np.array([4.0, 20.0])) == pytest.approx(3.0)
    assert detector.score_one(np.array([2.0, -30.0])) == pytest.approx(4.0)
    np.testing.assert_allclose(detector.contributions([[4.0, 20.0], [2.0, -30.0]]),
                               [[3.0, 1.0], [1.0, 4.0]])


def test_more_than_half_equal_falls_back_on_the_mean_deviation():
    scores = RobustZScore(window=5, warm_up=5).process(np.array([[5, 5, 5, 5, 9, 7.0]]).T)
    assert scores[5] == pytest.approx(2 / (1.2533 * 4 / 5))


@BOTH
def test_a_constant_has_a_smallest_scale(cls):
    constant = np.full((50, 1), 5.0)
    detector = cls(window=10, min_scale=0.05)
    assert (detector.process(constant) == 0).all()
    assert detector.score_one(np.array([5.2])) == pytest.approx(4.0)
    bare = cls(window=10)
    bare.process(constant)
    most = np.sqrt(10) if cls is RollingZScore else 10 / 1.2533
    for x in (5.0000001, 5.2, 1e300):  # as if one of ten rows had moved as far
        assert bare.score_one(np.array([x])) == pytest.approx(most)


@BOTH
@pytest.mark.parametrize(("shift", "scale"), [(1e5, 1.0), (0.0, -1e-4), (-40.0, 1e6)])
def test_shift_and_scale_leave_the_scores_alone(cls, shift, scale):
    X = stream("random walk", 2)
    plain, moved = cls(window=50).process(X), cls(window=50).process(X * scale + shift)
    np.testing.assert_allclose(moved, plain, rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize("spike", [1e6, 1e9, -1e15, 1e200, 1.7e308])
@pytest.mark.parametrize("at", [0, 250, 299, 300])  # inside a block and on both sides of its edge
def test_a_spike_leaves_no_trace_behind(cls, spike, at):
    X = stream("noise", 2)
    poisoned = X.copy()
    poisoned[at, 1] = spike
    detector, window = cls(window=100), 100
    scores, clean = detector.process(poisoned), cls(window=window).process(X)
    assert np.isfinite(scores).all() and (scores >= 0).all()
    assert at == 0 or scores[at] == scores.max() > 1e5
    after = slice(at + window + 1, None)
    np.testing.assert_allclose(scores[after], clean[after], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(detector.anomaly_score(X), _frozen(cls, X), rtol=1e-6, atol=1e-6)


def _frozen(cls, X):
    detector = cls(window=100)
    detector.process(X)
    return detector.anomaly_score(X)


@BOTH
def test_memory_does_not_grow(cls):
    detector = cls(window=50, gate=3.0)
    detector.process(stream("noise", 3))
    names, size = set(vars(detector)), detector.state_.nbytes
    for seed in range(20):
        detector.process(stream("spiky", 3, seed=seed))
    assert set(vars(detector)) == names and detector.state_.nbytes == size


# -- gate and release --------------------------------------------------------------------------


@BOTH
def test_a_burst_is_neither_learned_nor_hidden(cls):
    X = stream("noise", 1)
    X = X[np.abs(X[:, 0]) < 2]  # nothing but the burst is to pass the gate
    burst = np.insert(X, 300, np.full((40, 1), 12.0), axis=0)
    scores = cls(window=100, gate=6.0, release=41).process(burst)
    assert (scores[300:340] > 6.0).all()
    without = cls(window=100, gate=6.0, release=41).process(X)
    assert (without <= 6.0).all()
    np.testing.assert_array_equal(np.delete(scores, np.s_[300:340]), without)
    assert RollingZScore(window=100).process(burst)[339] < 3.0  # the plain window hides it


@BOTH
@pytest.mark.parametrize("release", [15, 100, 130])  # shorter, as long and longer than the window
def test_a_lasting_new_normal_is_released(cls, release):
    X = stream("noise", 1)
    X[300:] += 20
    scores = cls(window=100, gate=6.0, release=release).process(X)
    accepted = 300 + release
    assert (scores[300:accepted] > 6.0).all()
    assert (scores[accepted:] <= 6.0).all()
    fresh = cls(window=100, gate=6.0, release=release)
    fresh.process(X[300:accepted])  # the window restarted from exactly these rows
    np.testing.assert_array_equal(scores[accepted:], fresh.process(X[accepted:]))


@BOTH
def test_without_release_one_shift_blinds_for_ever(cls):
    X = stream("noise", 1)
    X[300:] += 20
    detector = cls(window=100, gate=6.0, release=None)
    assert (detector.process(X)[300:] > 6.0).all()
    assert detector.score_one(X[100]) < 6.0  # it still believes in the old level


@BOTH
def test_spikes_with_quiet_between_them_release_nothing(cls):
    X = stream("noise", 1)
    X = X[np.abs(X[:, 0]) < 2]
    at = np.arange(100, len(X), 3)
    spiked = np.insert(X, at, 30.0, axis=0)  # three quiet rows after each spike
    scores = cls(window=60, gate=6.0, release=5).process(spiked)
    is_spike = np.isin(np.arange(len(spiked)), at + np.arange(len(at)))
    assert (scores[is_spike] > 6.0).all() and is_spike.sum() > 100
    np.testing.assert_array_equal(scores[~is_spike], cls(window=60).process(X))


# -- frozen and online -------------------------------------------------------------------------


@BOTH
def test_frozen_scores_learn_nothing(cls):
    X = stream("random walk", 2)
    detector = cls(window=40).fit(X[:400])
    before = detector.state_.copy()
    frozen = detector.frozen_score(X[400:])
    np.testing.assert_array_equal(frozen, [detector.score_one(x) for x in X[400:]])
    np.testing.assert_allclose(frozen, detector.contributions(X[400:]).max(axis=1))
    np.testing.assert_array_equal(detector.state_, before)
    centre, scale = centre_and_scale(cls, X[360:400])
    expected = (np.abs(X[400:] - centre) / scale).max(axis=1)
    np.testing.assert_allclose(frozen, expected, rtol=1e-6)
    online = copy.deepcopy(detector).process(X[400:])
    assert online[0] == frozen[0]
    assert online[-100:].mean() < frozen[-100:].mean()  # a walk leaves the frozen window behind


@BOTH
def test_calibration_uses_scores_made_before_learning(cls):
    X = stream("noise", 1)
    detector = cls(window=100).fit(X[:500])
    np.testing.assert_array_equal(detector.calibration_.scores_,
                                  np.sort(cls(window=100).process(X[:500])[100:]))
    later = copy.deepcopy(detector)
    scores = later.process(X[500:])
    detector.calibrate(X[500:])
    np.testing.assert_array_equal(detector.state_, later.state_)
    np.testing.assert_array_equal(detector.calibration_.scores_, np.sort(scores))


# -- input -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("method", ["process_one", "score_one", "learn_one"])
def test_rows_may_come_in_any_form(cls, method):
    learned = np.arange(40.0).reshape(20, 2) % 7
    frozen = np.array([3.0, 50.0])
    frozen.flags.writeable = False
    forms = [np.array([3.0, 50.0]), [3.0, 50.0], (3, 50), np.array([3, 50]), frozen,
             np.array([3.0, 0.0, 50.0, 0.0])[::2], np.array([3, 50], dtype=np.float32)]
    outcomes = []
    for row in forms:
        detector = cls(window=10)
        detector.process(learned)
        outcomes.append((getattr(detector, method)(row), detector.state_.tobytes()))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][0] is None if method == "learn_one" else outcomes[0][0] > 3


@BOTH
def test_one_number_is_a_row_of_one_feature(cls):
    detector = cls(window=10)
    scores = [detector.process_one(x) for x in [1, 2.0, np.float32(1)] * 5 + [40]]
    assert scores[-1] > 10


@BOTH
@pytest.mark.parametrize("method", ["process_one", "score_one", "learn_one"])
@pytest.mark.parametrize("row", [
    [1.0], [1.0, 2.0, 3.0], np.ones(1), np.ones(3), np.ones((1, 2)), np.empty(0)], ids=repr)
def test_rows_of_another_width_are_refused(cls, method, row):
    detector = cls(window=10)
    detector.process(np.arange(40.0).reshape(20, 2) % 7)
    before = detector.state_.copy()
    with pytest.raises(ValueError, match=r"x must have shape \(2,\), got"):
        getattr(detector, method)(row)
    np.testing.assert_array_equal(detector.state_, before)


@BOTH
@pytest.mark.parametrize("method", ["process_one", "score_one", "learn_one"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_missing_value_is_refused_and_forgotten(cls, method, bad):
    detector = cls(window=10)
    detector.process(np.arange(40.0).reshape(20, 2) % 7)
    before = detector.state_.copy()
    for row in (np.array([1.0, bad]), [1.0, bad]):
        with pytest.raises(ValueError, match=f"x must be finite, got {bad} in column 1"):
            getattr(detector, method)(row)
    np.testing.assert_array_equal(detector.state_, before)


@BOTH
def test_a_refused_first_row_does_not_fix_the_width(cls):
    detector = cls(window=10)
    with pytest.raises(ValueError, match="finite"):
        detector.process_one(np.array([np.nan]))
    with pytest.raises(ValueError, match="shape"):
        detector.process_one(np.empty(0))
    detector.process_one(np.ones(3))
    assert detector.n_features_in_ == 3


@BOTH
@pytest.mark.parametrize(("given", "message"), [
    ({"window": 1}, "window must be a whole number of rows >= 2, got 1"),
    ({"window": 10.0}, "window must be"),
    ({"window": True}, "window must be"),
    ({"warm_up": 1}, "warm_up must be a whole number of rows >= 2, got 1"),
    ({"window": 8}, "warm_up must not exceed window=8, got 10"),
    ({"release": 0}, "release must be a whole number of rows >= 1, got 0"),
    ({"release": 2.5}, "release must be"),
    ({"gate": 0.0}, "gate must be a number above 0, got 0.0"),
    ({"gate": float("nan")}, "gate must be"),
    ({"min_scale": 0}, "min_scale must be a number above 0, got 0"),
    ({"alpha": 1.5}, "alpha must be"),
    ({"threshold": "3"}, "threshold must be"),
    ({"calibration": "cross"}, "time order"),
])
def test_parameters_are_checked_before_anything_is_learned(cls, given, message):
    X = stream("noise", 1)
    for start in ("fit", "process"):
        with pytest.raises(ValueError, match=message):
            getattr(cls(**given), start)(X)
    with pytest.raises(ValueError, match=message):
        cls(**given).process_one(X[0])


@BOTH
def test_values_at_the_end_of_the_range_stay_finite(cls):
    for values in itertools.permutations([1.7e308, -1.7e308, 0.0]):
        X = np.resize(values, (60, 1))
        detector = cls(window=11)
        scores = [detector.process_one(x) for x in X]
        assert np.isfinite(scores).all()
