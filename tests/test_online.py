"""Seasons, limits, refractory periods: by hand, on streams of known answer, and bit by bit."""

import copy
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from adlib.datasets import load_nab
from adlib.detectors import OnlineEnsemble, OnlineMahalanobis, SeasonalZScore
from adlib.detectors.online import VIEWS, find_period
from adlib.metrics import nab_corpus
from adlib.persist import load, save

BOTH = pytest.mark.parametrize("cls", [SeasonalZScore, OnlineEnsemble])
DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def daily(n=6_000, period=144, noise=1.0, seed=0, amplitude=5.0):
    rng = np.random.default_rng(seed)
    return amplitude * np.sin(np.arange(n) * 2 * np.pi / period) + noise * rng.normal(size=n)


def wild(n=3_000, d=2, seed=0):
    """A season, a flat column that begins to move, spikes, a shift, a stretch of silence."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + daily(n, 96)[:, None]
    X[:, -1] = 3.0
    X[n // 2::7, -1] = 4.0
    X[rng.integers(0, n, 10), 0] = 1e9
    X[n // 3:, 0] += 50.0
    X[2 * n // 3:2 * n // 3 + 200, 0] = 0.0
    return X


# -- the period --------------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "noise"), [
    (24, 4.0), (60, 4.0), (144, 4.0), (288, 4.0), (700, 1.0), (1_440, 0.5)])
def test_a_period_is_found(period, noise):
    x = daily(4_096, period, noise)
    x[::500] = 1e6  # ranks do not mind
    assert find_period(x, 0) == pytest.approx(period, abs=max(1, 0.02 * period))


def test_noise_and_walks_have_no_period():
    rng = np.random.default_rng(0)
    assert find_period(np.full(4_096, 7.0), 0) == 0
    found = [find_period(rng.normal(size=4_096), 0) for _ in range(20)]
    assert found == [0] * 20


def test_a_known_period_is_kept_although_its_multiples_fit_as_well():
    x = daily(4_096, 100, 0.1)
    assert find_period(x, 0) == 100 and find_period(x, 200) == 200


def test_the_detector_finds_it_on_the_way_and_profits():
    x = daily(noise=0.3)[:, None]
    x[5_000] = 0.0 if abs(x[5_000]) > 3 else 4.5
    found = SeasonalZScore().process(x)
    given = SeasonalZScore(period=144).process(x)
    flat = SeasonalZScore(period=1, memory=1_000).process(x)
    assert found[1_000:].argmax() == given[1_000:].argmax() == 4_000
    assert found[5_000] > 6 and flat[5_000] < 3


# -- naive twins: what the kernels compute, in plain Python -------------------------------------


class Season:
    """One feature's profile of a given period."""

    def __init__(self, period, memory, release, min_scale=1e-12, *, alone=False):
        self.alone = alone  # no view of an ensemble, which has limits of its own
        self.period, self.memory, self.release = period, memory, release
        self.min_scale, self.phases = min_scale, min(period, 48)
        self.n, self.centre, self.level, self.spread, self.last = 0, 0.0, 0.0, 0.0, 0.0
        self.far, self.shift, self.shift_size = 0, 0.0, 0.0
        self.usual, self.visits, self.spreads = {}, {}, {}

    def phase(self, t):
        return t % self.period * self.phases // self.period

    def residual(self, x, t):
        if not self.n:
            return 0.0
        return x - self.usual.get(self.phase(t), self.centre) - self.level

    def z(self, x, t):
        phase = self.phase(t)
        visits = self.visits.get(phase, 0)
        size = (10 * self.spread + visits * self.spreads.get(phase, 0.0)) / (10 + visits)
        deviation = max(1.2533 * size, self.floor())
        # a move of what stood still counts as if it had moved as far once before
        most = min(self.n, 1_000) / 1.2533 if deviation <= self.floor() else np.inf
        return min(abs(self.residual(x, t)) / deviation, most)

    def floor(self):
        return max(self.min_scale, (2e-15 if self.alone else 1e-9) * abs(self.centre))

    def learn(self, x, t):
        e, phase = self.residual(x, t), self.phase(t)
        self.n += 1
        if self.n == 1:
            self.centre = x
        spread, floor = self.spread, self.floor()
        knows = self.n > 50 and (spread > floor or not self.alone)
        most = 10 * spread + floor if knows else np.inf
        held, size = np.clip(e, -most, most), min(abs(e), most)
        slow = max(1 / self.n, 0.001)
        self.centre += slow * held
        self.spread += slow * (size - spread)
        visits = self.visits[phase] = self.visits.get(phase, 0) + 1
        if visits == 1:
            self.usual[phase], self.spreads[phase] = x - self.level - (e - held), self.spread
        else:
            self.usual[phase] += max(1 / self.memory, 1 / visits) * held
            rate = max(1 / self.memory, 1 / (visits - 1))
            self.spreads[phase] += rate * (size - self.spreads[phase])
        if self.release and self.n > 50:
            before = 2 * abs(self.last) + floor
            lone = np.clip(e, -before, before)
            self.shift += (lone - self.shift) * 4 / (self.release + 3)
            self.shift_size += (abs(lone) - self.shift_size) * 4 / (self.release + 3)
            self.far = max(0, self.far + (1 if abs(e) > 3 * spread + floor else -1))
            if self.far >= self.release:
                self.level += self.shift
                self.spread = max(spread, self.shift_size - abs(self.shift))
                self.far, self.shift, self.shift_size = 0, 0.0, self.spread
        self.last = e
        return e


class Limit:
    """Third-largest incident of this horizon and the one before."""

    def __init__(self):
        self.now, self.before, self.top, self.row = [0.0] * 3, [0.0] * 3, 0.0, 0

    @property
    def value(self):
        return sorted(self.now + self.before)[-3]

    def note(self, v, t, gap=40):
        same = self.top > 0 and t - self.row <= gap
        if v <= self.top and (same or v <= self.now[2]):
            return
        if same and self.top in self.now:
            self.now.remove(self.top)
        self.top, self.row = v, t
        self.now = sorted([*self.now, v], reverse=True)[:3]

    def turn(self):
        self.before, self.now, self.top = self.now, [0.0] * 3, 0.0


class Forecast:
    """Recursive least squares of order two."""

    def __init__(self):
        self.mean, self.scale, self.error = 0.0, 0.0, 0.0
        self.last, self.w, self.P = np.zeros(2), np.zeros(2), np.zeros((2, 2))

    def size(self):
        return max(self.scale, 1e-9 * abs(self.mean) + 1e-12)

    def past(self):
        return np.clip((self.last - self.mean) / self.size(), -20, 20)

    def surprise(self, x):
        return x - self.mean - self.w @ self.past() * self.size()

    def learn(self, x, t):
        if t == 0:
            self.mean, self.last, self.w, self.P = x, np.full(2, x), np.array([1.0, 0]), (
                10 * np.eye(2))
            return
        e, past, slow = self.surprise(x), self.past(), max(1 / (t + 1), 0.001)
        gain = self.P @ past / (0.999 + past @ self.P @ past)
        self.w = self.w + gain * np.clip(e / self.size(), -20, 20)
        self.P = (self.P - np.outer(gain, self.P @ past)) / 0.999
        self.P *= 2e3 / max(np.trace(self.P), 2e3)
        self.last = np.array([x, self.last[0]])
        most = 20 * self.size() if t > 20 else np.inf
        away = np.clip(x - self.mean, -most, most)
        self.mean += slow * away
        self.scale += slow * (abs(away) - self.scale)
        most = 20 * self.error + 1e-9 * abs(x) + 1e-12 if t > 20 else np.inf
        self.error += slow * (min(abs(e), most) - self.error)


def naive_seasonal(X, *, period, memory=30, release=200, warm_up=50):
    seasons = [Season(period, memory, release, alone=True) for _ in X.T]
    scores = np.zeros(len(X))
    for t, x in enumerate(X):
        if t >= warm_up:
            scores[t] = max(season.z(v, t) for season, v in zip(seasons, x, strict=True))
        for season, v in zip(seasons, x, strict=True):
            season.learn(v, t)
    return scores


def naive_ensemble(X, *, period, memory=30, release=200, warm_up=100, refractory=40,
                   horizon=4_096, views=VIEWS):
    several = X.shape[1] > 1 and "joint" in views
    # of which there are naive twins elsewhere
    together = OnlineMahalanobis(warm_up=warm_up).process(X) if several else np.zeros(len(X))
    among = Limit()
    seasons = [Season(period, memory, release) for _ in X.T]
    forecasts, joint = [Forecast() for _ in X.T], Limit()
    limits = [[Limit() for _ in range(3)] for _ in X.T]
    seen = [[[], []] for _ in X.T]  # the values of the horizon before, and of this one
    scores, recent, last_over, peak = np.zeros(len(X)), 0.0, -np.inf, 0.0
    for t, x in enumerate(X):
        overs, dailies = [], []
        for j, v in enumerate(x):
            season, forecast, past = seasons[j], forecasts[j], seen[j][0] + seen[j][1]
            floor = max(1e-12, 1e-9 * abs(forecast.mean))
            found = np.array([abs(season.residual(v, t)), 0.0, abs(forecast.surprise(v))])
            if past and max(past) > min(past):
                found[1] = max(v - max(past), min(past) - v, 0.0)
            elif past:
                found[1] = abs(v - past[0])
            used = found / [1, 1, 1.35]
            overs.append(max(
                u / limit.value if limit.value > floor else
                (0.0 if t < 4 * warm_up else min(u / floor, 1024.0))
                for u, limit in zip(used, limits[j], strict=True)))
            dailies.append(min(50.0, max(
                used[0] / max(season.spread, limits[j][0].value / 8, floor),
                used[2] / max(forecast.error, limits[j][2].value / 8, floor))))
            for value, limit in zip(found, limits[j], strict=True):
                if t >= warm_up:
                    limit.note(value, t, refractory)
            season.learn(v, t)
            forecast.learn(v, t)
            seen[j][1].append(v)
        over, daily = max(overs), np.mean(np.power(dailies, 4)) ** 0.25
        if several:
            found = together[t]
            over = max(over, found / among.value if among.value > 1 else
                       (0.0 if t < 4 * warm_up else min(found, 1024.0)))
            if t >= warm_up:
                among.note(found, t, refractory)
        if len(x) > 1:
            highest, over = over, over / max(1.0, joint.value)
            if t >= warm_up:
                joint.note(highest, t, refractory)
        if t >= warm_up:
            recent += (daily - recent) / 8
            daily = max((daily + recent) / 2, min(together[t], 1e9))
            fresh = t - last_over > refractory or (over > 1 and np.log2(over) >= 2 * peak)
            scores[t] = 1 + np.log2(over) if over > 1 and fresh else daily / (4 + daily)
        if over > 1:
            peak = np.log2(over) if scores[t] > 1 else peak
            last_over = t
        if (t + 1) % horizon == 0:
            seen = [[present, []] for _, present in seen]
            for limit in [joint, among, *sum(limits, [])]:
                limit.turn()
    return scores


@pytest.mark.parametrize("given", [
    {"period": 96}, {"period": 7, "memory": 5}, {"period": 1, "release": None},
    {"period": 60, "release": 30, "warm_up": 10}])
def test_the_season_is_that_of_the_naive_twin(given):
    X = wild(1_500)
    np.testing.assert_allclose(SeasonalZScore(**given).process(X), naive_seasonal(X, **given),
                               rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("given", [
    {"period": 96}, {"period": 288, "horizon": 300, "refractory": 10},
    {"period": 12, "release": None, "warm_up": 20}, {"period": 96, "views": VIEWS[:3]}])
@pytest.mark.parametrize("d", [1, 3])
def test_the_ensemble_is_that_of_the_naive_twin(given, d):
    X = wild(1_500, d)
    X[:, 0] += np.random.default_rng(1).normal(size=len(X)).cumsum()
    np.testing.assert_allclose(OnlineEnsemble(**given).process(X), naive_ensemble(X, **given),
                               rtol=1e-5, atol=1e-7)


def naive_period(x, known=0):
    """The period that predicts ranks best, of a short series: NumPy and a profile for each."""
    r = rankdata(x) - (len(x) + 1) / 2
    t = np.arange(len(x)) - (len(x) - 1) / 2
    r = r - t * (t @ r) / (t @ t)
    power = np.mean(r**2)
    acf = np.array([np.mean(r[:len(r) - k] * r[k:]) / power for k in range(len(r) // 2 + 1)])
    peaks = [k for k in range(24, len(acf) - 1) if acf[k - 1] <= acf[k] > acf[k + 1]
             and acf[k] > max(0.1, 0.1 + acf[1:k + 1].min())]
    best = {}
    for centre in [known, *peaks[:9]] if known else peaks[:9]:
        gains = {}
        for near in np.round(centre * (1 + 0.005 * np.arange(-10, 11))):
            phases = min(48, int(near))
            phase = (np.arange(len(r)) / near % 1 * phases).astype(int)
            past = [[] for _ in range(phases)]
            errors = []
            for p, value in zip(phase, r, strict=True):
                errors.append(value - sum(past[p]) / (len(past[p]) + 1))
                past[p].append(value)
            gains[near] = 1 - np.mean(np.square(errors)) / power
        best[centre] = max(gains.items(), key=lambda item: item[1])
    enough = max([0.85 * max((gain for _, gain in best.values()), default=0), 0.05])
    return next((int(near) for near, gain in best.values() if gain >= enough), 0)


@pytest.mark.parametrize("seed", range(6))
def test_the_period_is_that_of_the_naive_twin(seed):
    rng = np.random.default_rng(seed)
    x = daily(1_200, int(rng.integers(24, 300)), 2.0, seed) * (seed != 5) + rng.normal(size=1_200)
    for known in (0, 100):
        assert find_period(x, known) == naive_period(x, known)


# -- the z-score -------------------------------------------------------------------------------


def test_one_phase_is_the_exponentially_weighted_z_score():
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 2.0, size=2_000)
    scores = SeasonalZScore(period=1, memory=200, release=None).process(x[:, None])
    mean, size = x[0], 0.0
    for t in range(1, 2_000):
        if t > 1_500:  # the start differs: spreads lean on one another there
            assert scores[t] == pytest.approx(abs(x[t] - mean) / (1.2533 * size), rel=0.08)
        e, rate = x[t] - mean, max(1 / 200, 1 / (t + 1))
        mean += rate * e
        size += rate * (min(abs(e), 3 * size if t > 50 else np.inf) - size)


def test_a_profile_worked_by_hand():
    usual = np.tile([0.0, 10.0, 20.0, 30.0], 500)
    stream = usual + np.repeat(np.tile([1.0, -1.0], 250), 4)  # every phase alternates by one
    detector = SeasonalZScore(period=4, memory=10_000, warm_up=2, release=None)
    detector.process(stream[:, None])
    z = [detector.score_one(np.array([v])) for v in (0.0, 10.0, 20.0)]  # a first phase comes next
    assert z[0] < 0.1 and z[1] == pytest.approx(10 / 1.2533, rel=0.1)
    assert z[2] == pytest.approx(2 * z[1], rel=0.05)


# -- limits and incidents ------------------------------------------------------------------------


def one_view(**given):
    return OnlineEnsemble(views=("season",), period=1, memory=10**9, warm_up=2, **given)


def test_the_limit_is_the_third_largest_incident():
    x = np.zeros(1_000)
    x[1::2] = 1e-3
    x[[300, 400, 500]] = 3.0, 2.0, 1.0
    x[501] = 0.9  # of the same incident: no fourth
    x[700] = 2.0
    scores = one_view(release=None).process(x[:, None])
    assert scores[700] == pytest.approx(2.0, abs=0.05)  # 1 + log2(2 / 1)
    assert (scores[600:700] < 1).all() and (scores[701:] < 1).all()


def test_an_incident_alarms_once_unless_it_doubles():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2_000)
    x[1_000:1_020] = 20.0 + rng.normal(size=20)
    x[1_015] = 1e6
    alarms = np.flatnonzero(OnlineEnsemble(refractory=40).process(x[:, None])[900:] > 1) + 900
    assert alarms[:2].tolist() == [1_000, 1_015] and (alarms[2:] > 1_100).all()
    loose = OnlineEnsemble(refractory=None).process(x[:, None])
    assert (loose[1_000:1_020] > 1).all()


@pytest.mark.parametrize("size", [8, 12, 30])
def test_a_burst_is_found_in_nine_points_of_ten(size):
    shares = []
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(3_000, 1))
        x[2_500:2_520] += size
        shares.append([(OnlineEnsemble(refractory=None).process(x)[2_500:2_520] > 1).mean(),
                       (SeasonalZScore().process(x)[2_500:2_520] > 4).mean()])
    assert (np.mean(shares, axis=0) >= 0.9).all()


@pytest.mark.parametrize("period", [0, 144])
def test_a_lasting_shift_alarms_at_once_and_is_quiet_within_release_and_refractory_period(period):
    alarms = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=5_000) + (daily(5_000, period, 0.0) if period else 0)
        x[4_000:] += 20.0
        scores = OnlineEnsemble().process(x[:, None])
        found = np.flatnonzero(scores[4_000:] > 1)
        assert found[0] == 0
        alarms.append((found < 300).sum())
        z = SeasonalZScore().process(x[:, None])
        assert (z[4_000:4_050] > 4).all() and (z[4_300:] < 6).all()
    assert np.median(alarms) == 1 and np.max(alarms) <= 3


def test_alarms_do_not_multiply_with_features():
    X = np.random.default_rng(0).normal(size=(20_000, 20))
    few = (OnlineEnsemble().process(X[:, :1])[2_000:] > 1).sum()
    many = (OnlineEnsemble().process(X)[2_000:] > 1).sum()
    assert many <= few + 10


def test_a_flat_line_is_quiet_and_its_end_is_news():
    x = np.full((3_000, 1), 5.0)
    x[2_000] = 5.1
    scores = OnlineEnsemble().process(x)
    assert (scores[:2_000] == 0).all() and 1 < scores[2_000] <= 11


def test_former_names_of_parameters_work_with_a_warning():
    with pytest.warns(FutureWarning, match="'rest' is now called 'refractory'"):
        assert OnlineEnsemble(rest=7).refractory == 7
    with pytest.warns(FutureWarning, match="'age' is now called 'horizon'"):
        assert OnlineEnsemble(age=70).get_params()["horizon"] == 70


def test_history_is_forgotten():
    x = np.random.default_rng(0).normal(size=3_000)
    x[[300, 400, 500]] = 100.0
    x[2_800] = 30.0
    assert one_view().process(x[:, None])[2_800] < 1
    assert one_view(horizon=1_000).process(x[:, None])[2_800] > 3


@BOTH
def test_a_spike_of_any_size_is_soon_forgotten(cls):
    x = daily(4_000, noise=0.5)[:, None]
    for size in (1e6, 1e15, 1.7e308):
        spiked = x.copy()
        spiked[2_000] = size
        scores, clean = cls(period=144).process(spiked), cls(period=144).process(x)
        assert np.isfinite(scores).all() and scores[2_000] == scores.max() > 10
        assert np.abs(scores[3_000:] - clean[3_000:]).mean() < 0.2 * clean[3_000:].mean()


# -- features together -------------------------------------------------------------------------


def agreeing(seed, n=6_000):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + [0.0, 0.1, 0.1] * rng.normal(size=(n, 3))


def test_a_value_borrowed_from_another_time_is_found():
    found = []
    for seed in range(4):
        X, y = agreeing(seed), np.zeros(6_000)
        at = np.random.default_rng(seed).choice(np.arange(1_000, 6_000), 60, replace=False)
        y[at], X[at, 1] = 1, X[at[::-1], 1]
        found.append([roc_auc_score(y[1_000:], OnlineEnsemble(views=views).process(X)[1_000:])
                      for views in (VIEWS, VIEWS[:3])])
    assert np.mean(found, axis=0)[0] > 0.93 > 0.7 > np.mean(found, axis=0)[1]


def test_the_sensor_that_disagrees_is_named():
    detector = OnlineEnsemble(calibration=None).fit(agreeing(0))
    parts = detector.contributions(np.array([[1.0, -1.0, 1.0]]))[0]
    assert parts.argmax() == 1 and parts[1] > 1 + parts[2]


def test_one_feature_has_nothing_beside_it():
    X = wild(d=1)
    both = [OnlineEnsemble(views=views) for views in (VIEWS, VIEWS[:3])]
    assert both[0].process(X).tobytes() == both[1].process(X).tobytes()
    assert both[0].state_.shape == both[1].state_.shape


# -- budgets -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", ["seasonal", "autoregressive"])
def test_the_budget_is_kept_on_clean_streams(cls, kind):
    rates = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = daily(12_000, 288, 1.0, seed)
        if kind == "autoregressive":
            x, e = np.zeros(12_000), rng.normal(size=12_000)
            for t in range(1, 12_000):
                x[t] = 0.7 * x[t - 1] + e[t]
        detector = cls(alpha=0.05).fit(x[:4_000, None])
        scores = copy.deepcopy(detector).process(x[4_000:, None])
        rates.append((scores > detector.threshold_).mean())
    assert 0.035 < np.mean(rates) < 0.065


# -- streams -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("given", [{}, {"period": 96}, {"release": None}])
def test_one_call_chunks_rows_and_a_saved_copy_give_the_same_bits(cls, given, tmp_path):
    X = wild()
    scores = cls(**given).process(X)
    assert np.isfinite(scores).all()
    chunks, rows = cls(**given), cls(**given)
    cuts = np.sort(np.random.default_rng(1).choice(len(X), 20, replace=False))
    parts = [chunks.process(part) for part in np.split(X, cuts) if len(part)]
    assert np.concatenate(parts).tobytes() == scores.tobytes()
    by_row = np.empty(len(X))
    for i, x in enumerate(X):
        by_row[i] = rows.score_one(x) if i % 2 else rows.process_one(x)
        if i % 2:
            rows.learn_one(x)
        if i == 1_700:
            rows = load(save(rows, tmp_path / "midway"))
    assert by_row.tobytes() == scores.tobytes()
    assert rows.state_.tobytes() == chunks.state_.tobytes()


@BOTH
def test_rows_to_come_change_nothing(cls):
    X = wild()
    whole = cls().process(X)
    for cut in (511, 513, 1_000, 2_200):
        later = X.copy()
        later[cut:] = -1e3
        np.testing.assert_array_equal(cls().process(later)[:cut], whole[:cut])
        np.testing.assert_array_equal(cls().process(X[:cut]), whole[:cut])


@BOTH
@pytest.mark.parametrize(("shift", "scale"), [(1e3, 1.0), (0.0, 1e-3), (-40.0, 1e6)])
def test_shift_and_scale_leave_the_scores_alone(cls, shift, scale):
    x = daily(2_000)[:, None]
    plain, moved = cls(period=144).process(x), cls(period=144).process(x * scale + shift)
    np.testing.assert_allclose(moved, plain, rtol=1e-5, atol=1e-5)


@BOTH
def test_memory_does_not_grow(cls):
    detector = cls()
    X = wild(20_000)
    detector.process(X)
    size = detector.state_.nbytes
    tracemalloc.start()
    for _ in range(10):
        detector.process(X)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert detector.state_.nbytes == size and grown < 2**18


@BOTH
@pytest.mark.parametrize(("given", "message"), [
    ({"period": 0}, "period must be a whole number of rows >= 1, got 0"),
    ({"period": 24.0}, "period must be"),
    ({"memory": 0}, "memory must be"),
    ({"release": 0}, "release must be"),
    ({"warm_up": 1}, "warm_up must be a whole number of rows >= 2, got 1"),
    ({"min_scale": 0}, "min_scale must be a number above 0, got 0"),
])
def test_parameters_are_checked(cls, given, message):
    for start in ("fit", "process"):
        with pytest.raises(ValueError, match=message):
            getattr(cls(**given), start)(wild(100))


@pytest.mark.parametrize(("given", "message"), [
    ({"refractory": 0}, "refractory must be"), ({"horizon": 1}, "horizon must be"),
    ({"views": ()}, "views must name some of season, record, forecast, joint"),
    ({"views": ("seasons",)}, "views must name"),
])
def test_parameters_of_the_ensemble_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        OnlineEnsemble(**given).process(wild(100))


@BOTH
@pytest.mark.parametrize("method", ["process_one", "score_one", "learn_one"])
def test_bad_rows_are_refused_and_forgotten(cls, method):
    detector = cls()
    detector.process(wild(100))
    before = detector.state_.copy()
    for row, message in (([1.0], r"shape \(2,\)"), ([1.0, np.nan], "finite, got nan in column 1")):
        with pytest.raises(ValueError, match=message):
            getattr(detector, method)(np.array(row))
    np.testing.assert_array_equal(detector.state_, before)
    getattr(detector, method)([1, 2])  # a list will do


# -- public data -------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "nab").is_dir(), reason="ADLIB_DATA holds no nab folder")
def test_nab_stays_where_it_was():
    streams = list(load_nab(root=DATA).values())
    y, X = [s.y for s in streams], [s.X for s in streams]
    best = nab_corpus(y, [OnlineEnsemble().process(x) for x in X])
    assert best.score > (72 if len(streams) == 29 else 60)
    assert best.threshold == pytest.approx(1.1, abs=0.15)  # near 1, which the score says by itself
