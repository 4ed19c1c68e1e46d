"""Judging what remains: features that are missing or frozen are left out, and the rest goes on."""

import json
import threading
from concurrent.futures import wait
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import numpy as safetensors

from adlib.base import Detector
from adlib.reading.options import Reading
from adlib.reading.records import Records
from adlib.realtime import RealTimeAnomalyDetector, Sample
from adlib.realtime.doors.records import grouped
from adlib.realtime.masks import Imputer, Worth, before, example, lacks, unspoken

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "alpha": 0.01,
         "drift": False, "extrapolate": True}
FORECAST = {"detector": "LinearForecast", "parameters": {"smoothing": None}}
ENSEMBLES = {"static": ["PCAReconstruction", "KNN"], "window": [FORECAST],
             "online": ["OnlineMahalanobis", "RollingZScore"],
             "both": ["PCAReconstruction", "OnlineEnsemble"]}
LOST = ["nan", "renamed", "frozen", "scattered", "bursts"]


def rows(n, seed, d=3):
    """Sensors that follow one load."""
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(n) / 60) + 0.05 * rng.normal(size=n)
    return load[:, None] * np.linspace(1, 2, d) + 0.15 * rng.normal(size=(n, d)) + np.arange(d)


def engine(history=None, names=None, **changes):
    history = rows(6000, 0) if history is None else history
    labels = None if names is None else np.repeat(names, len(history) // len(names))
    return RealTimeAnomalyDetector({**CHEAP, **changes}).fit(history, entity=labels)


@pytest.fixture(scope="module")
def engines():
    return {name: engine(detectors=which) for name, which in ENSEMBLES.items()}


def lose(X, how, at=300):
    X = X.copy()
    match how:
        case "nan" | "renamed":
            X[at:, 2] = np.nan
        case "frozen":
            X[at:, 2] = X[at, 2]
        case "scattered":
            lost = np.random.default_rng(1).random(X[at:].shape) < 0.05
            X[at:][lost & ~lost.all(axis=1, keepdims=True)] = np.nan
        case "bursts":
            X[at:, 2] = np.where(np.arange(len(X) - at) % 90 < 40, np.nan, X[at:, 2])
    return X


def samples(X, how):
    """Blocks of rows; with another name for the third sensor, JSON lines."""
    if how != "renamed":
        return np.array_split(X, 7)
    lines = [json.dumps({"a": row[0], "b": row[1], "c" if k < 300 else "d": row[2]}).encode()
             for k, row in enumerate(np.where(np.isnan(X), 7.0, X))]
    return list(grouped(enumerate(Records(["a", "b", "c"], Reading(), print).lines(lines))))


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("which", ENSEMBLES)
def test_faults_of_the_other_sensors_are_found_without_one(engines, which, how):
    X, spans = rows(2000, 3), [(600, 615), (1000, 1015), (1400, 1415), (1800, 1815)]
    for k, (start, end) in enumerate(spans):
        X[start:end, k % 2] += 2.0 * (-1) ** k
    found, quality = engines[which].fork().judge(samples(lose(X, how), how))
    assert all(v.is_anomaly is not None for v in found if v.start >= 20)
    for start, end in spans:
        assert any(v.is_anomaly for v in found if v.start <= end and v.end >= start)
    named = {v.end for v in found if v.left_out}
    reason, name = {"frozen": ("frozen", "x2")}.get(how, ("missing", "x2"))
    if how == "scattered":
        assert not named
    else:
        assert {part for v in found for part in v.left_out} == {(reason, name)}
        assert {q.kind for q in quality} == {"stuck" if how == "frozen" else "nan"}
        assert not any(name in dict(v.top_features) for v in found if v.start > 340
                       and how != "bursts")


@pytest.mark.parametrize("how", ["none", "nan", "scattered", "bursts"])
@pytest.mark.parametrize("which", ["static", "window", "online"])
def test_share_of_flagged_windows_stays_alpha(which, how):
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(12_000, 2)) @ np.array([[1.0, 1, 0, 2], [0, 1, 1, -1]])
        X += 0.3 * rng.normal(size=X.shape)
        model = engine(X[:6000], alpha=0.05, detectors=ENSEMBLES[which])
        found, _ = model.judge([lose(X[6000:], how)])
        shares.append(np.mean([bool(v.is_anomaly) for v in found]))
    assert 0.02 < np.mean(shares) < 0.08


@pytest.mark.parametrize("rules", [{}, {"x0": {"only": "down"}, "x1": {"least": 0.7}}])
@pytest.mark.parametrize("which", ["both", "window"])
def test_what_is_judged_does_not_depend_on_batches_or_restarts(engines, which, rules):
    X = lose(lose(rows(1500, 5), "bursts"), "scattered", 900)
    X[700:740] = np.nan
    X[1100:1120, 0] += 2.0
    whole, _ = engines[which].fork(features=rules).judge([X])
    parts, model = [], engines[which].fork(features=rules)
    for part in np.split(X, [1, 50, 301, 310, 342, 715, 730, 1105, 1111]):
        parts += model.judge([part])[0]
        state = model._streams.state()
        model = engines[which].fork(features=rules)
        model._streams.restore(state, True, True)
    assert len(parts) == len(whole)
    for a, b in zip(parts, whole, strict=True):
        assert (a.start, a.is_anomaly, a.left_out) == (b.start, b.is_anomaly, b.left_out)
        assert a.p_value == pytest.approx(b.p_value, rel=1e-6, nan_ok=True)


def test_lost_samples_cost_a_look_back_but_neither_the_window_nor_the_detector():
    X = rows(3000, 3)
    X[2000:2015, 1] += 2.0
    X[50::100] = np.nan  # each is missed by 16 forecasts, too
    found, _ = engine(detectors=["PCAReconstruction", FORECAST], window_size=40).judge([X])
    assert all(v.is_anomaly is not None and not v.left_out for v in found if v.start >= 40)
    assert any(v.is_anomaly for v in found if v.start <= 2015 and v.end >= 2000)
    assert sum(v.is_anomaly for v in found) < 0.06 * len(found)


class Slow(Detector):
    """Its score is the distance from the centre; it is slow, or fails, on many rows at once."""

    mode, release, calls = "well", threading.Event(), 0

    def _fit(self, X):
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        if len(X) > 500 and Slow.mode != "well":
            Slow.calls += 1
            if Slow.mode == "fail":
                raise ArithmeticError("too many rows")
            Slow.release.wait(60)
        return np.abs(X - self.mean_).max(axis=1)


@pytest.fixture
def slow():
    Slow.mode, Slow.release, Slow.calls = "well", threading.Event(), 0
    yield engine(np.concatenate([rows(3000, 0), rows(3000, 1)]), ["a", "b", "c"],
                 fleet={}, detectors=["PCAReconstruction", f"{__name__}:Slow"], alpha=0.02,
                 detector_timeout=0.3)
    Slow.release.set()


@pytest.mark.parametrize("mode", ["slow", "fail"])
def test_a_detector_that_must_learn_a_lack_goes_on_with_what_lacks_nothing(slow, mode):
    X, now = np.array([rows(600, 5 + k) for k in range(3)]), [0.0]
    X[:2, 100:, 2] = np.nan
    slow._judge.clock = lambda: now[0]

    def judged(begin, end):
        labels = [name for name in "abc" for _ in range(20)]
        found = [slow.judge([Sample(None, None, np.concatenate(X[:, at:at + 20]), entity=labels)])
                 for at in range(begin, end, 20)]
        return [v for verdicts, _ in found for v in verdicts], [
            q for _, quality in found for q in quality]

    judged(0, 100)
    Slow.mode = mode
    verdicts, quality = judged(100, 300)
    assert {v.detectors["Slow"] is not None for v in verdicts if v.stream == "stream/c"} == {True}
    lacking = [v for v in verdicts if v.stream != "stream/c" and v.start >= 100]
    assert lacking and all(v.detectors["Slow"] is None and ("member", "Slow") in v.left_out
                           and v.is_anomaly is not None for v in lacking)
    told = [q for q in quality if q.kind.startswith("detector")]
    assert {q.kind for q in told} == {"detector_slow" if mode == "slow" else "detector_failed"}
    assert any("samples that lack x2" in q.detail for q in told)
    assert len(told) <= 8 and Slow.calls <= (1 if mode == "slow" else 8)
    Slow.mode, now[0] = "well", 100.0
    Slow.release.set()
    wait(slow._judge._scales[1]._making, 60)
    verdicts, quality = judged(300, 600)
    assert all(v.detectors["Slow"] is not None for v in verdicts if v.start >= 400)
    assert not any(q.kind == "detector_slow" for q in quality if q.start >= 400)


def test_a_frozen_sensor_of_sixty_samples_is_found_and_named(engines):
    X = rows(1000, 6)
    X[500:560, 1] = X[500, 1]
    found, quality = engines["static"].fork(window_size=20).judge([X])
    (stuck,) = [q for q in quality if q.kind == "stuck"]
    assert stuck.start == 500 and stuck.end <= 515 and "x1" in stuck.detail
    frozen = [v for v in found if ("frozen", "x1") in v.left_out]
    assert frozen[0].end <= 520 and frozen[-1].end == 559
    still = rows(4000, 1)
    still[:, 1] = 5.0  # throughout the history: it cannot be found stuck
    later = rows(500, 2)
    later[:, 1] = 5.0
    found, quality = engine(still, detectors=["PCAReconstruction"]).judge([later])
    assert not quality and not any(v.left_out for v in found)


def test_a_state_may_rest_for_longer_than_a_sensor():
    X = rows(4000, 1)
    X[:, 1] = np.arange(4000) // 20 % 2  # a state: runs of 20
    model = engine(X, detectors=["PCAReconstruction"])
    later = rows(600, 2)
    later[:, 1] = 1.0
    _, quality = model.judge([later])
    assert [(q.kind, q.start, q.end) for q in quality] == [("stuck", 0, 210)]


def test_many_features_with_scattered_gaps_are_judged_in_bounded_memory():
    rng, mixing = np.random.default_rng(0), np.random.default_rng(1).normal(size=(5, 60))
    X = rng.normal(size=(5000, 5)) @ mixing + 0.3 * rng.normal(size=(5000, 60))
    model = engine(X[:3000], detectors=["PCAReconstruction", "OnlineMahalanobis"])
    live = X[3000:].copy()
    live[rng.random(live.shape) < 0.05] = np.nan
    live[1500:1505, :20] += 3.0 * rng.normal(size=(5, 20))
    found, _ = model.judge([live])
    assert all(v.is_anomaly is not None for v in found)
    assert any(v.is_anomaly for v in found if 1500 <= v.end <= 1520)
    assert sum(v.is_anomaly for v in found) < 0.1 * len(found)
    assert all(len(scales._made) <= 8 for scales in model._judge._scales)


def test_an_engine_saved_without_rows_says_so_and_judges_whole_windows(engines, tmp_path, caplog):
    folder = engines["both"].save(tmp_path / "old")
    arrays = safetensors.load_file(folder / "arrays.safetensors")
    del arrays["rows"]
    safetensors.save_file(arrays, folder / "arrays.safetensors")
    model = RealTimeAnomalyDetector.load(folder)
    assert "fitted again" in caplog.text
    found, _ = model.judge([lose(rows(900, 4), "nan", 500)])
    assert all((v.is_anomaly is None) == (v.end >= 510) for v in found)


@pytest.mark.parametrize("name", ["center", "scale", "longest", "background", "rows", "held_out"])
def test_arrays_of_another_width_are_refused(engines, tmp_path, name):
    folder = engines["static"].save(tmp_path / "odd")
    arrays = safetensors.load_file(folder / "arrays.safetensors")
    arrays[name] = np.ascontiguousarray(arrays[name][..., :1])
    safetensors.save_file(arrays, folder / "arrays.safetensors")
    with pytest.raises(ValueError, match=f"is damaged: .*{name}"):
        RealTimeAnomalyDetector.load(folder)


# ------------------------------------------------------------------ the parts


def naive_fill(X, background, gaps):
    """Conditional means, row by row, of standardised columns with a small ridge."""
    center = np.median(background, axis=0)
    low, high = np.percentile(background, (25, 75), axis=0)
    scale = (high - low) / 1.349
    Z = np.clip((background - center) / scale, -8, 8)
    R = Z.T @ Z / len(Z)
    R[np.diag_indices(len(R))] *= 1 + len(R) / len(Z)
    found = X.copy()
    for x, gap in zip(found, gaps, strict=True):
        if gap.any() and not gap.all():
            z = np.clip((x - center) / scale, -8, 8)
            weights = np.linalg.solve(R[~gap][:, ~gap], R[~gap][:, gap])
            x[gap] = center[gap] + scale[gap] * np.clip(z[~gap] @ weights, -8, 8)
    return found


def test_gaps_are_filled_by_regression_on_the_other_features():
    background, X = rows(500, 0, d=5), rows(200, 1, d=5)
    gaps = np.random.default_rng(2).random(X.shape) < 0.4
    gaps[3], gaps[4] = True, False
    imputer = Imputer(background, rows(100, 2, d=5))
    np.testing.assert_allclose(imputer.fill(X, gaps), naive_fill(X, background, gaps), atol=1e-6)
    leave_one_out = np.column_stack([
        imputer.fill(X, np.broadcast_to(np.arange(5) == j, X.shape))[:, j] for j in range(5)])
    np.testing.assert_allclose(imputer.expected(X), leave_one_out, atol=1e-9)
    wild = imputer.fill(np.full((1, 5), 1e300), np.eye(5, dtype=bool)[:1])
    assert np.isfinite(wild).all() and abs(wild[0, 0]) < 100


def test_what_rows_lack_depends_on_them_and_their_context_alone():
    left_out = np.zeros((60, 3), bool)
    left_out[10:40, 2] = left_out[50, 0] = True
    which, found = lacks(left_out, 0, 10)
    assert found == [None, b"\x20", 1.0]
    assert which.tolist() == [0] * 10 + [2] * 9 + [1] * 21 + [0] * 10 + [2] + [0] * 9
    which, found = lacks(left_out, 4, 10)
    kinds = [found[k] for k in which]
    assert kinds[39:45] == [b"\x20", 1.0, 1.0, 0.5, 0.25, None]
    assert kinds[50:56] == [0.25] * 5 + [None]
    assert example(b"\x20", 2, 3).tolist() == [[False, False, True]] * 2
    assert example(0.25, 4000, 3).sum(axis=1).max() == 1
    assert example(0.25, 4000, 3).mean() == pytest.approx(0.25 / 3, rel=0.2)
    assert unspoken(left_out, 4)[40:46, 2].tolist() == [True] * 4 + [False] * 2


# ------------------------------------------------------------------ what is worth an alarm


UP, DOWN = [(400, 420), (1000, 1020), (1600, 1620)], [(700, 720), (1300, 1320), (1900, 1920)]


def found_with(model, X, **rules):
    """Shares of faults upwards and downwards that are found, and of other windows flagged."""
    verdicts, _ = model.fork(features=rules).judge(np.split(X, [150, 705, 1310]))

    def share(spans):
        return np.mean([any(v.is_anomaly for v in verdicts if v.start <= end and v.end >= start)
                        for start, end in spans])

    return share(UP), share(DOWN)


@pytest.mark.parametrize("which", ["static", "both"])
@pytest.mark.parametrize(("rules", "expected"), [
    ({}, (1, 1)), ({"x0": {"only": "up"}}, (1, 0)), ({"x0": {"only": "down"}}, (0, 1)),
    ({"x0": {"least": 1.0}}, (1, 1)), ({"x0": {"least": 3.0}}, (0, 0)),
    ({f"x{j}": {"only": "up"} for j in range(3)}, (1, 0)),
    ({"x1": {"least": 9.0}, "x2": {"only": "up"}}, (1, 1))])
def test_a_rule_of_a_feature_says_which_deviation_counts(engines, which, rules, expected):
    X = rows(2200, 3)
    for spans, size in ((UP, 2.0), (DOWN, -2.0)):
        for start, end in spans:
            X[start:end, 0] += size
    found = found_with(engines[which], X, **rules)
    room = 0.4 if which == "both" else 0.0  # an online member learns a fault that does not count
    assert all(wanted <= share <= wanted + room
               for share, wanted in zip(found, expected, strict=True))


def test_a_feature_alone_deviates_from_what_came_before_it():
    """A rise at night lies below the median of the day."""
    X = (5 * np.sin(np.arange(6000) / 300)
         + 0.3 * np.random.default_rng(0).normal(size=6000))[:, None]
    night, day = 1400, 2360
    assert X[night] < -4 and X[day] > 4
    X[night:night + 5] += 3
    X[day:day + 5] -= 3
    rule = SimpleNamespace(only="up", least=0.0)
    worth = Worth({"t": rule}, ["t"], Imputer(X[::12], X), 20)
    trivial = worth.trivial(X, before(X, 20))[:, 0]
    assert trivial[day:day + 5].all() and not trivial[night:night + 5].any()


def test_a_move_of_a_constant_feature_has_a_direction_too():
    history, X = rows(4000, 1), rows(400, 2)
    history[:, 1] = X[:, 1] = 5.0
    X[300:310, 1] = 4.0
    model = engine(history, detectors=["PCAReconstruction"])
    for only, flagged in (("up", False), ("down", True)):
        found, _ = model.fork(features={"x1": {"only": only}}).judge([X])
        assert any(v.is_anomaly for v in found if v.end >= 300) == flagged


def test_rules_of_unknown_features_are_refused(engines):
    with pytest.raises(ValueError, match="no feature 'x9'.*it has x0, x1, x2"):
        engines["static"].fork(features={"x9": {"only": "up"}})
    with pytest.raises(ValueError, match=r"features\.x0\.only"):
        engines["static"].fork(features={"x0": {"only": "sideways"}})
