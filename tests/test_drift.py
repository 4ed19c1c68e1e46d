"""What passes, what stays, what hangs: verdicts, rates and delays of the drift monitor."""

import json

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, ks_2samp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from adlib.drift import ENGINES, DriftMonitor, longest_runs, run_lengths

N = 600  # reference rows


def noise(n, seed, phi=0.0):
    """Stationary AR(1) of variance 1."""
    e = np.random.default_rng(seed).normal(size=n) * np.sqrt(1 - phi**2)
    e[0] /= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e)


def monitored(x, monitor=None, n_reference=N):
    """A monitor of |x| as the score and of x, and its verdicts after the reference."""
    monitor = DriftMonitor() if monitor is None else monitor
    monitor.fit(np.abs(x[:n_reference]), x[:n_reference, None])
    return monitor, monitor.process(np.abs(x[n_reference:]), x[n_reference:, None])


def events(monitor):
    return [entry["event"] for entry in monitor.trail_]


# ------------------------------------------------------------------ rate and delay


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_false_drifts_stay_within_their_rate(phi):
    rate, rows, seeds = 1e-4, 3_000, range(10)
    false = 0
    for seed in seeds:
        monitor, _ = monitored(noise(N + rows, seed, phi), DriftMonitor(false_drifts=rate))
        false += events(monitor).count("drift")
    assert false <= binom.ppf(0.999, rows * len(seeds), rate)


def test_the_second_step_alone_holds_the_rate():
    """An engine that cries wolf at every row must not matter."""

    class Wolf:
        drift_detected = True

        def update(self, x):
            pass

    rate, rows, seeds, false, tests = 2e-4, 2_000, range(15), 0, 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        monitor = DriftMonitor(false_drifts=rate).fit(rng.normal(size=N))
        for score in rng.normal(size=rows):
            monitor._engines[0] = Wolf()
            monitor.update(score)
        false += events(monitor).count("drift")
        tests += monitor.alarms_
    assert tests >= len(seeds) * rows // (monitor.patience + 2)
    assert false <= binom.ppf(0.999, rows * len(seeds), rate)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shift_is_found_by_every_engine(engine):
    delays = []
    for seed in range(5):
        x = noise(N + 500, seed)
        x[N + 200:] += 2
        monitor, verdicts = monitored(x, DriftMonitor(engine))
        (drift,) = [entry for entry in monitor.trail_ if entry["event"] == "drift"]
        assert drift["row"] >= 200 and drift["row"] == drift["since"] + monitor.patience
        assert set(verdicts[drift["row"] + 1:]) <= {"drift", "both"}
        assert "drift" not in verdicts[:drift["row"]]
        delays.append(drift["row"] - 200)
    assert np.median(delays) <= 110


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(0)
    for reference in (rng.normal(size=300), rng.integers(0, 4, 300).astype(float)):
        monitor = DriftMonitor().fit(reference)
        other = rng.choice(reference, 50) + rng.choice([0.0, 1.0], 50)
        expected = ks_2samp(reference, other).statistic
        assert monitor._distance(0, other) == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------ verdicts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 10, 30])
def test_a_burst_is_an_anomaly_and_no_drift(rows, seed):
    x = noise(N + 600, seed)
    x[N + 300:N + 300 + rows] += 8
    monitor, verdicts = monitored(x)
    assert (verdicts[300:300 + rows] == "anomaly").all()
    assert monitor.trail_ == []
    assert monitor.alarms_ == (2 if rows == 30 else 0)  # score and input were suspected
    assert (verdicts == "normal").mean() > 0.9


def test_a_level_shift_is_first_an_anomaly_then_a_drift():
    x = noise(N + 600, 0)
    x[N + 300:] += 6
    monitor, verdicts = monitored(x)
    began = monitor.trail_[0]["row"]
    assert (verdicts[300:began] == "anomaly").all()
    assert set(verdicts[began + 1:]) <= {"drift", "both"}
    assert (verdicts[began + 1:] == "both").mean() < 0.05  # ordinary for the new level
    assert events(monitor) == ["drift"]  # nobody recalibrated


def test_a_spike_within_a_drift_is_both():
    x = noise(N + 600, 1)
    x[N + 200:] += 6
    x[N + 500] += 15
    _, verdicts = monitored(x)
    assert verdicts[500] == "both" and verdicts[499] == verdicts[501] == "drift"


def test_a_drift_that_goes_back_is_over():
    x = noise(N + 800, 2)
    x[N + 200:N + 400] += 4
    monitor, verdicts = monitored(x)
    assert events(monitor) == ["drift", "returned"]
    assert set(verdicts[550:]) <= {"normal", "anomaly"}


def test_a_drift_that_lowers_the_scores_is_found():
    """A sensor that is damped looks more normal than ever."""
    monitor, verdicts = monitored(np.r_[noise(N + 300, 3), 0.2 * noise(400, 4)])
    assert monitor.trail_[0]["signals"] == ["score"] and verdicts[-1] == "drift"


def test_a_sensor_that_hangs_is_stuck():
    x = noise(N + 600, 5)
    x[N + 300:N + 450] = x[N + 299]
    monitor, verdicts = monitored(x)
    assert (verdicts[319:450] == "stuck").all()  # 20 more rows than the one it ever took
    assert "stuck" not in verdicts[:319] and "stuck" not in verdicts[450:]
    assert [(e["event"], e["row"], e["signals"]) for e in monitor.trail_] == [
        ("stuck", 319, ["x0"]), ("released", 450, ["x0"])]


def test_what_always_repeated_is_not_stuck():
    """A counter, and a channel that was constant in the reference."""
    rng = np.random.default_rng(6)
    X = np.column_stack([np.arange(1_200) // 30, np.ones(1_200), rng.normal(size=1_200)])
    X[:, 0] %= 7
    scores = rng.normal(size=1_200)
    monitor = DriftMonitor(patience=100).fit(scores[:N], X[:N])
    assert "stuck" not in monitor.process(scores[N:], X[N:])


def test_a_stuck_sensor_in_a_drift_leaves_the_drift():
    x = noise(N + 900, 7)
    x[N + 200:] += 5
    x[N + 500:N + 600] = 5.0
    monitor, verdicts = monitored(x, DriftMonitor())
    assert events(monitor) == ["drift", "stuck", "released"]
    assert set(verdicts[600:]) <= {"drift", "both"}


# ------------------------------------------------------------------ recalibration


def test_recalibrate_is_called_once_with_the_rows_since_the_alarm():
    calls = []

    def recalibrate(X, scores):
        calls.append((X.copy(), scores.copy()))
        new = np.abs(X[:, 0] - X.mean())
        X[:], scores[:] = 0, 0  # what it does with its copies is its own affair
        return new

    x = noise(N + 1_500, 8)
    x[N + 400:] += 5
    monitor = DriftMonitor(recalibrate=recalibrate).fit(np.abs(x[:N]), x[:N, None])
    verdicts = []
    for value in x[N:]:
        centre = calls[0][0].mean() if calls else 0.0
        verdicts.append(monitor.update(abs(value - centre), [value]))
    ((X, scores),) = calls
    drift, again = monitor.trail_
    since = drift["since"] + 1
    np.testing.assert_array_equal(X, x[N + since:N + since + 300, None])
    np.testing.assert_array_equal(scores, np.abs(X[:, 0]))
    assert again["event"] == "recalibrated" and again["row"] == drift["since"] + 300
    assert (again["rows"], again["signals"]) == (300, drift["signals"])
    assert again["threshold"] == monitor.threshold_ != again["threshold_before"]
    later = np.array(verdicts[again["row"] + 1:])
    assert set(later) <= {"normal", "anomaly"} and (later == "normal").mean() > 0.95


def test_recalibrate_may_say_that_scores_stayed():
    x = noise(N + 1_200, 9)
    x[N + 200:] += 3
    monitor, verdicts = monitored(x, DriftMonitor(recalibrate=lambda X, scores: None))
    assert events(monitor) == ["drift", "recalibrated"]
    assert (verdicts[-300:] == "normal").mean() > 0.95


def test_recalibrate_without_inputs_gets_none_and_must_return_enough():
    seen = []
    monitor = DriftMonitor(recalibrate=lambda X, scores: seen.append(X) or scores[:10])
    rng = np.random.default_rng(0)
    monitor.fit(rng.normal(size=N))
    with pytest.raises(ValueError, match=r"a score for each row .* shape \(300,\), got \(10,\)"):
        monitor.process(rng.normal(size=1_000) + 4)
    assert seen == [None]


def test_the_trail_is_plain():
    x = noise(N + 900, 8)
    x[N + 200:] += 5
    monitor, _ = monitored(x, DriftMonitor(recalibrate=lambda X, scores: scores))
    assert json.loads(json.dumps(monitor.trail_)) == monitor.trail_
    drift = monitor.trail_[0]
    assert drift["distance"].keys() == drift["limit"].keys() == set(drift["signals"])
    assert all(drift["distance"][name] > drift["limit"][name] for name in drift["signals"])


def test_resting_rows_are_counted_across_chunks_and_filled_values_break_them():
    rng = np.random.default_rng(0)
    X, known = rng.integers(0, 2, (60, 3)).astype(float), rng.random((60, 3)) > 0.1
    naive = np.ones((60, 3), int)
    for t in range(1, 60):
        for j in range(3):
            if known[t, j] and X[t, j] == X[t - 1, j]:
                naive[t, j] = naive[t - 1, j] + 1
    for step in (1, 7, 60):
        before, lengths, found = np.full(3, np.nan), np.zeros(3, int), []
        for i in range(0, 60, step):
            found.append(run_lengths(X[i:i + step], before, lengths, known[i:i + step]))
            before, lengths = X[i:i + step][-1], found[-1][-1]
        np.testing.assert_array_equal(np.vstack(found), naive)
    everything = run_lengths(X, np.full(3, np.nan), np.zeros(3, int))
    np.testing.assert_array_equal(longest_runs(X), everything.max(axis=0))
    assert longest_runs(np.full((5, 1), 2.0)).tolist() == [np.inf]


# ------------------------------------------------------------------ determinism, state, errors


@pytest.mark.parametrize("engine", ENGINES)
def test_state_goes_on_where_it_was(engine):
    x = noise(N + 700, 10)
    x[N + 200:] += 1.5
    monitor, whole = monitored(x, DriftMonitor(engine))
    for cut in (150, 230, 400):  # before, in the middle of the suspicion, in the drift
        first, verdicts = monitored(x[:N + cut], DriftMonitor(engine))
        second = clone(first).set_state(first.get_state())
        rest = second.process(np.abs(x[N + cut:]), x[N + cut:, None])
        np.testing.assert_array_equal(np.r_[verdicts, rest], whole)
        assert second.trail_ == monitor.trail_ and first.rows_ == cut


def test_inputs_are_left_alone_and_fit_starts_over():
    x = noise(2 * N, 11)
    x[N + 200:] += 4
    frozen = x.copy()
    frozen.flags.writeable = False
    monitor, first = monitored(frozen)
    _, second = monitored(frozen, monitor)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(x, frozen)


def test_memory_does_not_grow():
    monitor, _ = monitored(noise(N + 4_000, 12, phi=0.9))
    assert monitor.alarms_ > 3
    assert len(monitor._recent) == 6 * monitor.patience
    assert all(len(fed) <= 1_000 for fed in monitor._fed)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"engine": "eddm"}, "engine must be one of 'adwin', 'kswin', 'page_hinkley', got 'eddm'"),
        ({"recalibrate": 3}, "recalibrate must be callable or None, got 3"),
        ({"alpha": 1.0}, "alpha must be a number above 0 and below 1, got 1.0"),
        ({"false_drifts": 0}, "false_drifts must be a number above 0 and below 1, got 0"),
        ({"patience": 5}, "patience must be a whole number of rows >= 10, got 5"),
        ({"stuck": True}, "stuck must be a whole number of rows >= 2, got True"),
        ({"collect": 199}, "collect must be a whole number of rows >= 200, got 199"),
    ],
)
def test_parameters_are_checked(params, message):
    with pytest.raises(ValueError, match=message):
        DriftMonitor(**params).fit(np.arange(300.0))


def test_data_are_checked():
    rng = np.random.default_rng(0)
    scores, X = rng.normal(size=300), rng.normal(size=(300, 2))
    with pytest.raises(ValueError, match=r"at least 4 \* patience = 200 rows, got 100"):
        DriftMonitor().fit(scores[:100])
    with pytest.raises(ValueError, match=r"X must have shape \(300, n_features\).*\(299, 2\)"):
        DriftMonitor().fit(scores, X[1:])
    with pytest.raises(ValueError, match=r"scores must have shape \(n_rows,\), got \(300, 2\)"):
        DriftMonitor().fit(X)
    for call in (lambda m: m.update(1.0), lambda m: m.process([1.0]), DriftMonitor.get_state):
        with pytest.raises(NotFittedError, match="call fit"):
            call(DriftMonitor())
    monitor = DriftMonitor().fit(scores, X)
    with pytest.raises(ValueError, match="X must have 2 features as in fit, got 0"):
        monitor.update(1.0)
    with pytest.raises(ValueError, match="X must be finite, got nan in row 0"):
        monitor.update(1.0, [0.0, np.nan])
    with pytest.raises(ValueError, match="scores must be finite, got inf in row 1"):
        monitor.process([0.0, np.inf], X[:2])
    with pytest.raises(ValueError, match="state lacks _age"):
        DriftMonitor().set_state({k: v for k, v in monitor.get_state().items() if k != "_age"})
    assert monitor.rows_ == 0  # nothing of it was taken
