"""The live engine: calibrated windows, one incident for one fault, nothing lost by a restart."""

import asyncio
import json
import re
import sqlite3
import threading
import time
import tracemalloc
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from adlib.base import Detector
from adlib.explain import explain
from adlib.realtime import AlertStore, RealTimeAnomalyDetector, Sample
from adlib.realtime.calibration import WindowCalibration
from adlib.realtime.events import SEVERITIES
from adlib.thresholds import CalibrationWarning

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "alpha": 0.01,
         "drift": False, "detectors": ["PCAReconstruction"]}
QUICK = {"open_after": 2, "open_within": 3, "close_after": 3, "update_interval": 50.0}


def rows(n, seed, d=3):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(2, d))
    return rng.normal(size=(n, 2)) @ mixing + 0.3 * rng.normal(size=(n, d))


def engine(history=None, **changes):
    return RealTimeAnomalyDetector({**CHEAP, **changes}).fit(
        rows(4000, 0) if history is None else history)


async def feed(X, size=1, start=0):
    for i in range(0, len(X), size):
        yield Sample(start + i, None, X[i:i + size])


def run(model, source, **how):
    async def collect():
        return [window async for window in model.process_stream(source, **how)]

    return asyncio.run(collect())


def stored(path, **more):
    return {"incidents": QUICK, "storage": {"path": str(path)}, **more}


def steps(store):
    """Every step of every incident; what a batch's size may move in the last digit is rounded."""
    return [(e.id, e.time, e.incident.start, e.incident.end, e.incident.n_windows,
             e.incident.severity, round(e.incident.peak_score, 6)) for e in store.events()]


def faulty(n=1200, seed=5):
    X = rows(n, seed)
    X[300:360] += 8
    X[700:705, 1] -= 20
    X[900:1000, 2] += 9
    return X


# ------------------------------------------------------------------ the nested example


def test_nested_example_runs_end_to_end(tmp_path):
    config = {
        "deep_config": {"input_dim": 100, "latent_dim": 20, "hidden_layers": [64, 32], "epochs": 5},
        "stat_config": {"alpha": 0.1, "weights": [0.4, 0.3, 0.3]},
        "window_size": 100, "stride": 10,
        "alert_config": {
            "notification": {"slack": {"webhook_url": "http://127.0.0.1:9/hook"},
                             "email": {"host": "127.0.0.1", "port": 9, "from": "a@example.org",
                                       "to": ["b@example.org"], "security": "none"}},
            "storage": {"backend": "sqlite", "path": str(tmp_path / "alerts.db")}},
    }
    model = RealTimeAnomalyDetector(config).fit(rows(1000, 1, d=100))
    live = rows(1500, 2, d=100)
    live[700:900, 40:60] += 12 * np.random.default_rng(3).normal(size=(200, 20))

    async def source():  # any batch size
        for part in np.split(live, [1, 2, 40, 333, 334, 1200]):
            yield part

    found = run(model, source())
    assert [w["end"] for w in found] == list(range(99, 1500, 10))
    assert set(found[0]["detectors"]) == {"deep", "statistical"}
    wrong = {w["end"] for w in found if w["is_anomaly"] and not 700 <= w["end"] <= 1000}
    assert all(w["is_anomaly"] for w in found if 720 <= w["end"] <= 890) and len(wrong) <= 3
    worst = max(found, key=lambda w: w["score"])
    assert worst["severity"] == "critical" and 0.9 < worst["score"] <= 1
    assert {int(name[1:]) for name, _ in worst["top_features"]} <= set(range(40, 60))
    (incident,) = [i for i in model.store.incidents() if 600 <= i.start <= 710]
    assert {w["incident_id"] for w in found if 740 <= w["end"] <= 890} == {incident.id}
    channels = {row.channel for row in model.store.outbox()}
    assert channels == {"slack", "email"}  # nobody listens: they wait for the next run


# ------------------------------------------------------------------ what scores promise


def test_share_of_flagged_clean_windows_is_alpha():
    shares = []
    for seed in range(12):
        X = np.random.default_rng(seed).normal(size=(16000, 2))
        model = engine(X[:8000], alpha=0.05, stuck="never",
                       detectors=["PCAReconstruction", "RollingZScore"])
        verdicts, _ = model.judge([X[8000:]])
        shares.append(np.mean([v.is_anomaly for v in verdicts]))
    error = np.std(shares) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 0.05) < 2.5 * error < 0.04


def test_calibration_counts_effective_windows():
    scores = np.repeat(np.random.default_rng(0).normal(size=40), 50)
    calibration = WindowCalibration().fit(scores, 50)
    assert calibration.n_windows_ <= 40 and calibration.n_rows_ <= 80
    assert np.exp(calibration.log_p(np.array([scores.max()])))[0] >= 1 / 41
    far = calibration.log_p(np.array([10.0, 100.0, 1e9]))
    assert np.isfinite(far).all() and (np.diff(far) < 0).all()


def test_an_alpha_beyond_the_history_is_refused_unless_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"alpha=0.001 lies beyond what 7 effective calibration "
                                         r"windows can show, which is 0.12; .*set extrapolate"):
        engine(rows(400, 0), alpha=0.001)
    asked = engine(rows(400, 0), alpha=0.001, extrapolate=True)
    assert asked.config.alpha == 0.001
    with pytest.raises(ValueError, match="extrapolate"):
        asked.fork(extrapolate=False)
    # nobody named the default: what can be shown is taken, and said
    default = {key: value for key, value in CHEAP.items() if key != "alpha"}
    with pytest.warns(CalibrationWarning, match="alpha=0.01 .* 0.12 and is taken instead"):
        model = RealTimeAnomalyDetector(default).fit(rows(400, 0))
    assert 0.11 < model.config.alpha < 0.13
    assert RealTimeAnomalyDetector.load(model.save(tmp_path / "m")).config == model.config
    # another alpha at load is another question; one that an earlier version took goes on
    with pytest.raises(ValueError, match="beyond"):
        RealTimeAnomalyDetector.load(tmp_path / "m", {**CHEAP, "alpha": 1e-6})
    saved = json.loads((tmp_path / "m" / "engine.json").read_text())
    del saved["config"]["extrapolate"]
    saved["config"]["alpha"] = 0.01
    (tmp_path / "m" / "engine.json").write_text(json.dumps(saved))
    with pytest.warns(CalibrationWarning, match="extrapolated tail"):
        assert RealTimeAnomalyDetector.load(tmp_path / "m").config.alpha == 0.01


@pytest.mark.parametrize("rule", [(3, 5), (4, 6)])
def test_one_odd_sample_is_no_incident_unless_it_is_critical(tmp_path, rule):
    found = {}
    for size in (1.8, 1.9, 6.0):
        X = rows(300, 7)[:260]
        X[150] += size * np.array([1, -1, 1])
        model = engine(alert_config={"incidents": {"open_after": rule[0], "open_within": rule[1]},
                                     "storage": {"path": str(tmp_path / f"{rule}{size}.db")}})
        own = [w for w in run(model, feed(X, 50)) if w["start"] <= 150 <= w["end"]]
        severity = max((w["severity"] for w in own), key=SEVERITIES.index)
        found[severity] = (sum(w["is_anomaly"] for w in own), model.store.incidents())
    flagged, incidents = found["warning"]
    assert flagged == 4 and incidents == []  # in every window that holds it
    (incident,) = found["critical"][1]
    assert incident.end == 150 and incident.state == "closed"


@pytest.mark.parametrize("size", [1, 7, 64, 1200])
def test_batch_borders_change_nothing(size):
    whole, parts = engine(), engine()
    expected, _ = whole.judge([faulty()])
    found = []
    for i in range(0, 1200, size):
        found += parts.judge([faulty()[i:i + size]])[0]
    assert [(v.start, v.end, v.is_anomaly) for v in found] == [
        (v.start, v.end, v.is_anomaly) for v in expected]
    np.testing.assert_allclose([v.p_value for v in found], [v.p_value for v in expected], rtol=1e-6)


def test_online_detectors_and_look_back_are_served():
    X = faulty()
    model = engine(detectors=["RollingZScore", {"detector": "PCAReconstruction",
                                                "parameters": {"window": 4}, "weight": 2.0}])
    parts = engine(detectors=["RollingZScore", {"detector": "PCAReconstruction",
                                                "parameters": {"window": 4}, "weight": 2.0}])
    expected = model.judge([X])[0]
    found = [v for i in range(0, 1200, 33) for v in parts.judge([X[i:i + 33]])[0]]
    np.testing.assert_allclose([v.p_value for v in found], [v.p_value for v in expected], rtol=1e-6)
    assert any(v.is_anomaly for v in expected if 300 <= v.end <= 320)
    # an online detector has learned: its state is not that of the fit
    assert not np.array_equal(model.members[0].model.state_, engine(
        detectors=["RollingZScore"]).members[0].model.state_)


def test_members_run_without_smoothing():
    X, smoothed = faulty(), {"detector": "PCAReconstruction", "parameters": {"smoothing": 20}}
    model, plain = engine(detectors=[smoothed]), engine()
    assert model.members[0].model.smoothing is None and model.members[0].context == 0
    assert [v.p_value for v in model.judge([X])[0]] == [v.p_value for v in plain.judge([X])[0]]


@pytest.mark.parametrize("detector, parameters", [
    ("PCAReconstruction", {"window": 45}), ("LinearForecast", {"window": 30}),
    ("RandomFeatureForecast", {}), ("OnlineForecast", {"memory": 10.0})])
def test_a_score_may_look_back_further_than_a_window(detector, parameters):
    X, fitted = faulty(), engine(detectors=[{"detector": detector, "parameters": parameters}])
    pieces = [(0, 500), (500, 700), (790, 1200)]  # samples are missing
    expected, _ = fitted.fork().judge([Sample(a, None, X[a:b]) for a, b in pieces])
    parts, found = fitted.fork(), []
    for a, b in pieces:
        for i in range(a, b, 13):
            found += parts.judge([Sample(i, None, X[i:min(i + 13, b)])])[0]
    assert [(v.end, v.is_anomaly) for v in found] == [(v.end, v.is_anomaly) for v in expected]
    np.testing.assert_allclose([v.p_value for v in found], [v.p_value for v in expected], rtol=1e-6)


def test_what_lies_before_a_stream_is_not_made_up():
    t = np.arange(4000)[:, None]
    season = np.sin(2 * np.pi * t / 60 + np.arange(3)) + rows(4000, 1) / 20
    model = engine(season, detectors=["OnlineMahalanobis", {
        "detector": "LinearForecast", "parameters": {"window": 40}}])
    found, _ = model.judge([season[:400]])
    own = {v.end: v.detectors["LinearForecast"] for v in found}
    assert [end for end, value in own.items() if value is None] == [19, 24, 29, 34, 39, 44, 49, 54]
    assert all(v.detectors["OnlineMahalanobis"] is not None for v in found)  # the others go on


# ------------------------------------------------------------------ incidents


def test_a_thousand_flags_are_one_incident(tmp_path):
    X = rows(6000, 3)
    X[500:5500] += 10
    model = engine(alert_config=stored(tmp_path / "a.db"), stuck="never")
    found = run(model, feed(X, 100))
    flagged = [w for w in found if w["is_anomaly"] and w["end"] >= 500]
    assert len(flagged) >= 1000
    (incident,) = [i for i in model.store.incidents() if i.n_windows > 900]
    kinds = [e.kind for e in model.store.events(incident.id)]
    assert kinds[0] == "open" and kinds[-1] == "close"
    assert kinds.count("open") == kinds.count("close") == 1 and kinds.count("update") > 10
    again = engine(alert_config=stored(tmp_path / "b.db"), stuck="never")
    run(again, feed(X, 37))
    assert [e[0] for e in steps(again.store)] == [e[0] for e in steps(model.store)]


def test_handlers_hear_of_incidents_after_the_commit(tmp_path):
    model = engine(alert_config=stored(tmp_path / "a.db"))
    heard = []

    @model.responses.on(kind=["open", "close"])
    def note(event):
        known = [e.id for e in AlertStore(tmp_path / "a.db").events()]
        heard.append((event.kind, event.id in known))

    @model.responses.on()
    def broken(event):
        raise RuntimeError("no")

    run(model, feed(faulty(), 10))
    opened = [e for e in model.store.events() if e.kind in ("open", "close")]
    assert heard == [(e.kind, True) for e in opened] and len(opened) >= 4
    assert sum(model.responses.failures.values()) >= 2


# ------------------------------------------------------------------ restarts


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    config = {"detectors": ["PCAReconstruction", "RollingZScore"], "drift": True, "stride": 2}
    model = engine(**config, alert_config=stored(folder / "a.db"))
    X = faulty()
    X[500:503, 0] = np.nan
    saved = model.save(folder / "model")
    run(model, feed(X, 10))
    assert len(steps(model.store)) > 5
    return X, config, saved, steps(model.store), model.store.quality()


@pytest.mark.parametrize("cut", [3, 19, 20, 301, 317, 333, 365, 502, 704, 950, 1199])
def test_incidents_after_a_restart_are_those_of_an_uninterrupted_run(uninterrupted, tmp_path, cut):
    X, config, saved, expected, quality = uninterrupted
    everything = {**CHEAP, **config, "alert_config": stored(tmp_path / "a.db")}
    first = RealTimeAnomalyDetector.load(saved, everything)
    run(first, feed(X[:cut], 7))
    first.store.close()
    second = RealTimeAnomalyDetector.load(saved, everything)
    run(second, feed(X[max(cut - 40, 0):], 11, start=max(cut - 40, 0)))  # redelivers
    assert steps(second.store) == expected
    assert [q for q in second.store.quality() if q.kind == "nan"] == [
        q for q in quality if q.kind == "nan"]
    assert second.position == len(X) - 1


def test_a_crash_before_the_commit_decides_nothing_twice(uninterrupted, tmp_path, monkeypatch):
    X, config, saved, expected, _ = uninterrupted
    everything = {**CHEAP, **config, "alert_config": stored(tmp_path / "a.db"), "batch_windows": 20}
    first = RealTimeAnomalyDetector.load(saved, everything)
    commit, calls = AlertStore.commit, []

    def crash(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        commit(self, *args, **kwargs)

    monkeypatch.setattr(AlertStore, "commit", crash)
    acknowledged = []
    with pytest.raises(KeyboardInterrupt):
        run(first, _acknowledging(X, acknowledged))
    committed = first.store.restore("stream")[0]
    assert acknowledged == list(range(committed + 1))  # never before the commit, and all of it
    monkeypatch.undo()
    second = RealTimeAnomalyDetector.load(saved, everything)
    run(second, feed(X, 10))
    assert steps(second.store) == expected
    (duplicates,) = {q.kind for q in second.store.quality() if q.start == 0}
    assert duplicates == "duplicate"


async def _acknowledging(X, acknowledged):
    for i, row in enumerate(X):
        async def ack(i=i):
            acknowledged.append(i)

        yield Sample(i, None, row, ack)


def test_a_model_fitted_anew_goes_on_after_the_position(tmp_path):
    first = engine(alert_config=stored(tmp_path / "a.db"))
    run(first, feed(faulty()[:500], 10))
    second = engine(rows(4000, 77), alert_config=stored(tmp_path / "a.db"))
    found = run(second, feed(faulty(), 10))
    # the samples that the first one has kept are scored anew
    assert found[0]["start"] == 485 and second.position == 1199


def test_arrays_without_numbers_go_on_where_the_stream_stopped():
    model = engine()

    async def arrays(X):
        for row in X:
            yield row

    first = run(model, arrays(rows(100, 1)))
    second = run(model, arrays(rows(100, 2)))
    assert first[-1]["end"] == 99 and second[0]["end"] == 104 and model.position == 199


# ------------------------------------------------------------------ saved engines

MEMBERS = {"detectors": ["PCAReconstruction", {"detector": "LinearForecast", "weight": 2}]}


def p_values(model):
    return [v.p_value for v in model.judge([faulty()])[0]]


@pytest.mark.parametrize("members", [
    {}, {"combine": None}, {"combine": "weighted"}, {"combine": "max", **MEMBERS}, MEMBERS])
def test_a_saved_engine_combines_its_detectors_as_the_fitted_one(members, tmp_path):
    model = RealTimeAnomalyDetector({"window_size": 20, "stride": 5, **members}).fit(rows(4000, 1))
    path, twin, wanted = model.save(tmp_path / "m"), model.fork(), p_values(model)
    assert p_values(twin) == wanted
    for config in (None, model.config, {"window_size": 20, "stride": 5, **members}):
        again = RealTimeAnomalyDetector.load(path, config)
        assert again.config.combine == model.config.combine
        assert p_values(again) == wanted
    assert model.config.combine == members.get("combine") or (
        "weighted" if "detectors" in members else "max")
    other = "max" if model.config.combine == "weighted" else "weighted"
    changed = RealTimeAnomalyDetector.load(path, {
        "window_size": 20, "stride": 5, **members, "combine": other})
    assert p_values(changed) == p_values(model.fork(combine=other)) != wanted


def test_saved_engine_judges_the_same(tmp_path):
    model = engine(detectors=["PCAReconstruction", "RollingZScore"])
    again = RealTimeAnomalyDetector.load(model.save(tmp_path / "m"))
    assert p_values(again) == p_values(model)
    model.save(tmp_path / "m")  # may be replaced
    with pytest.raises(ValueError, match="window_size must be .* 20, got 30"):
        RealTimeAnomalyDetector.load(tmp_path / "m", {
            **CHEAP, "detectors": ["PCAReconstruction", "RollingZScore"], "window_size": 30})
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="engine.json"):
        RealTimeAnomalyDetector.load(tmp_path / "other")
    (tmp_path / "m" / "engine.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        RealTimeAnomalyDetector.load(tmp_path / "m")


def test_saved_engine_holds_no_secret(tmp_path):
    model = engine(alert_config={
        "notification": {"slack": {"webhook_url": "https://hooks.example/T0P/S3CRET"}},
        "storage": {"path": str(tmp_path / "a.db")}})
    run(model, feed(faulty(), 10))
    model.store.close()
    model.save(tmp_path / "m")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"S3CRET" not in file.read_bytes(), file


# ------------------------------------------------------------------ detectors that fail


def test_a_damaged_checkpoint_gives_one_sentence_and_the_command_that_drops_it(tmp_path):
    path = tmp_path / "a.db"
    make = partial(engine, alert_config=stored(path))
    run(make(), feed(rows(300, 1)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE checkpoints SET state = substr(state, 1, 400)")
        db.commit()
    model = make()
    for _ in range(2):  # the second time too
        with pytest.raises(ValueError, match=r"is damaged \(.*alerts remove checkpoint stream "
                           rf"--store {path}` drops it"):
            run(model, feed(rows(300, 1)))
    with AlertStore(path) as store:
        store.remove("checkpoint", "stream")
    assert run(model, feed(rows(300, 1))) and model.position == 299


def test_a_number_below_0_is_refused_by_its_name():
    with pytest.raises(ValueError, match="seq must be at least 0, .*got -5"):
        run(engine(), feed(rows(30, 1), start=-5))


@pytest.mark.parametrize("how", [{}, {"start": 0}, {"start": None}])
def test_after_a_removed_checkpoint_no_incident_hides_behind_an_earlier_one(tmp_path, how):
    path = tmp_path / "a.db"
    make = partial(engine, alert_config=stored(path))

    def source(X, after=0.0):  # with numbers of its own, or as rows alone
        for i, row in enumerate(X):
            yield Sample(None if how else i, 1.7e9 + after + i, row)

    async def asynchronous(*args):
        for sample in source(*args):
            yield sample

    run(make(), asynchronous(faulty(330)), **how)
    with AlertStore(path) as store:
        before = store.incidents()
        assert [incident.state for incident in before] == ["open"]
        store.remove("checkpoint", "stream")
        assert store.incidents(state="open") == []  # nobody would ever close it
    for part in (faulty(330), faulty(1200)):  # the second time after a restart
        run(make(), asynchronous(part, 86_400.0), **how)
    with AlertStore(path) as store:
        later = [incident for incident in store.incidents()
                 if incident.kind == "anomaly" and incident.opened_at > before[0].opened_at + 9999]
        assert len(later) >= 2 and not {i.id for i in later} & {i.id for i in before}
        assert [e.notify for e in store.events(later[0].id)][0]


def test_the_store_of_an_earlier_version_goes_on_with_what_it_holds(tmp_path, caplog):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as db:  # a silence until null is among it
        db.executescript((Path(__file__).parent / "data/format-1/alerts.sql").read_text())
    windows = run(engine(alert_config=stored(path)), feed(faulty()))
    assert any(window["is_anomaly"] for window in windows)
    with AlertStore(path) as store:
        assert {"stream", "rig"} <= {incident.stream for incident in store.incidents()}
    assert caplog.text.count("'forever'") == 1 and "alerts remove unreadable" in caplog.text


class Sick(Detector):
    """Its score is the distance from the centre; raises or hangs where it is told to."""

    mode, release = "well", threading.Event()

    def _fit(self, X):
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        if Sick.mode == "raise":
            raise RuntimeError("sensor model lost")
        if Sick.mode == "hang":
            Sick.release.wait(30)
        return np.abs(X - self.mean_).max(axis=1)


@pytest.fixture
def sick():
    Sick.mode, Sick.release = "well", threading.Event()
    yield
    Sick.release.set()
    Sick.mode = "well"


BOTH = ["PCAReconstruction", f"{__name__}:Sick"]


def test_a_detector_that_raises_leaves_the_vote_and_is_reported(sick):
    model = engine(detectors=BOTH, max_failures=4)
    X = faulty()
    well, _ = model.judge([X[:100]])
    assert all(v.detectors["Sick"] is not None for v in well)
    Sick.mode = "raise"
    verdicts, quality = model.judge([X[100:330]])
    assert all(v.detectors["Sick"] is None and v.p_value == v.p_value for v in verdicts)
    assert any(v.is_anomaly for v in verdicts if v.end >= 305)
    (event,) = quality
    assert event.kind == "detector_failed" and "sensor model lost" in event.detail
    Sick.mode = "well"
    later, _ = model.judge([X[330:500]])
    assert later[-1].detectors["Sick"] is not None  # back once its windows are whole again
    Sick.mode, now = "raise", iter(range(1_000))
    model._judge.clock = lambda: next(now)  # a batch takes seconds
    for i in range(500, 540, 10):
        _, quality = model.judge([X[i:i + 10]])
    assert "off after 4 failures in a row, next try in 1 s" in quality[0].detail
    text = model.metrics_text()
    assert 'adlib_detector_off{detector="Sick",stream="stream"} 1.0' in text
    assert 'detector="Sick",kind="detector_failed",stream="stream"} 5.0' in text


def test_a_detector_that_fails_gets_pauses_and_comes_back(sick):
    model, X, now, tries = engine(detectors=BOTH), rows(40_000, 5), [100.0], []
    model._judge.clock = lambda: now[0]
    starts = iter(range(0, 40_000, 20))

    def batch():
        now[0] += 0.02
        start = next(starts)
        return model.judge([X[start:start + 20]])

    batch()
    Sick.mode = "raise"
    told = [event for _ in range(40) for event in batch()[1]]
    assert len(told) == 1 and not model.members[1].off  # a fault of less than a second may pass
    told += [event for _ in range(20) for event in batch()[1]]
    assert len(told) == 2 and re.search("off after 5[012] failures", told[1].detail)
    for _ in range(1_000):  # 20 s
        before = model.members[1].failures
        assert not batch()[1]  # it is off, which was reported
        if model.members[1].failures > before:
            tries.append(now[0])
    np.testing.assert_allclose(np.diff(tries), [2, 4, 8], atol=0.03)
    Sick.mode, now[0] = "well", now[0] + 300
    verdicts, quality = batch()
    assert [q.kind for q in quality] == ["detector_back"]
    assert re.search("scores again after 5[456] failures", quality[0].detail)
    assert batch()[0][-1].detectors["Sick"] is not None
    assert 'adlib_detector_off{detector="Sick",stream="stream"} 0.0' in model.metrics_text()


def test_a_detector_that_hangs_leaves_the_vote(sick):
    model = engine(detectors=BOTH, detector_timeout=0.2, max_failures=3)
    model.judge([rows(100, 1)])
    Sick.mode = "hang"
    verdicts, quality = model.judge([faulty()[100:330]])
    late = model.members[1].running
    assert not late.done()  # nobody waited for it
    assert verdicts and all(v.detectors["Sick"] is None for v in verdicts)
    assert [q.kind for q in quality] == ["detector_slow"]
    Sick.mode = "well"
    Sick.release.set()
    late.result(60)
    model.judge([rows(20, 2)])
    assert model.judge([rows(40, 3)])[0][-1].detectors["Sick"] is not None


def test_a_detector_that_hangs_while_it_explains_holds_nobody_up(sick, monkeypatch):
    def hang(model, *args, **kwargs):
        if isinstance(model, Sick):
            Sick.release.wait(30)
        return explain(model, *args, **kwargs)

    monkeypatch.setattr("adlib.realtime.judge.explain", hang)
    # the first who can is asked for the explanation
    model = engine(detectors=BOTH[::-1], detector_timeout=0.2)
    verdicts, _ = model.judge([faulty()[:330]])
    assert not model.members[0].running.done()  # nobody waited for it
    flagged = [v for v in verdicts if v.is_anomaly]
    assert flagged and all(v.top_features for v in flagged)
    later, quality = model.judge([faulty()[330:360]])
    assert [q.kind for q in quality] == ["detector_slow"]
    assert all(v.detectors["Sick"] is None for v in later)
    Sick.release.set()
    model.members[0].running.result(60)
    model.judge([rows(20, 2)])
    assert model.judge([rows(40, 3)])[0][-1].detectors["Sick"] is not None


def test_without_any_detector_a_window_is_not_judged(sick):
    model = engine(detectors=[f"{__name__}:Sick"])
    Sick.mode = "raise"
    found = run(model, feed(faulty(), 50))
    assert found and all(w["is_anomaly"] is None and w["score"] is None for w in found)


# ------------------------------------------------------------------ bad samples


def test_samples_without_a_value_are_never_normal():
    X = faulty()
    X[100:115] = np.nan
    found = run(engine(), feed(X, 10))
    for w in found:
        lost = len({*range(100, 115)} & {*range(w["start"], w["end"] + 1)})
        assert (w["is_anomaly"] is None) == (w["p_value"] is None) == (lost > 10)
    held = run(engine(hold=15), feed(X, 10))
    assert all(w["is_anomaly"] is not None for w in held)


def test_warm_up_raises_no_alert(tmp_path):
    X = faulty()
    model = engine(warm_up=500, alert_config=stored(tmp_path / "a.db"))
    found = run(model, feed(X, 10))
    assert [w["warm_up"] for w in found] == [w["end"] < 500 for w in found]
    assert all(w["is_anomaly"] is None for w in found if w["warm_up"])
    assert all(i.start >= 480 for i in model.store.incidents()) and model.store.incidents()


def test_drift_is_an_event(tmp_path):
    X = rows(6000, 6)
    X[3000:] += 2.5
    model = engine(rows(12000, 0), drift=True, alert_config=stored(tmp_path / "a.db"))
    run(model, feed(X, 200))
    drifts = model.store.quality(kind="drift")
    assert drifts and drifts[0].end > 3000
    quiet = engine(rows(12000, 0), drift=True)
    assert not [q for q in quiet.judge([rows(6000, 8)])[1] if q.kind == "drift"]


# ------------------------------------------------------------------ overload


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
def test_overload_is_bounded_and_counted(tmp_path, policy):
    model = engine(queue_size=500, overflow=policy, batch_windows=20,
                   alert_config=stored(tmp_path / "a.db"))
    step = model._step

    def slow(*args):
        time.sleep(0.01)
        return step(*args)

    model._step = slow
    n, block = 5_000 if policy == "block" else 30_000, rows(1000, 1)

    async def flood():
        for i in range(n // 50):
            yield block[i % 20 * 50:(i % 20 + 1) * 50]
            if policy != "block" and i % 30 == 29:
                await asyncio.sleep(0.005)

    tracemalloc.start()
    found = run(model, flood(), start=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    text = model.metrics_text()
    dropped = float(text.split('adlib_samples_dropped_total{stream="stream"} ')[1].split()[0])
    events = model.store.quality(kind="dropped")
    assert sum(e.end - e.start + 1 for e in events) == dropped
    if policy == "block":
        assert dropped == 0 and [w["end"] for w in found] == list(range(19, n, 5))
    else:
        assert dropped > n / 4 and model.store.quality(kind="gap")


def test_a_source_that_fails_is_heard_after_what_it_gave():
    async def broken():
        yield rows(100, 1)
        raise OSError("cable cut")

    found = []

    async def main():
        async for window in engine().process_stream(broken()):
            found.append(window)

    with pytest.raises(OSError, match="cable cut"):
        asyncio.run(main())
    assert found[-1]["end"] == 99


def test_poison_from_a_source_does_not_end_the_stream():
    async def source():
        for item in (rows(50, 1), "text", [[1], [2, 3]], None, rows(2, 1, d=9), rows(50, 2)):
            yield item

    model = engine()
    found = run(model, source())
    assert found[-1]["end"] == 104 and found[-1]["is_anomaly"] is not None
    assert 'adlib_quality_events_total{kind="poison",stream="stream"} 4.0' in model.metrics_text()


def test_a_failed_batch_is_not_passed_over(tmp_path, monkeypatch):
    model = engine(alert_config=stored(tmp_path / "a.db"))
    monkeypatch.setattr(AlertStore, "commit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(model, feed(rows(100, 1)))
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="middle of a batch: load it again"):
        run(model, feed(rows(100, 1)))


def test_stream_can_be_left_early_and_engine_used_again():
    model = engine()

    async def some():
        stream = model.process_stream(feed(rows(1000, 1), 10))
        window = await anext(stream)
        await stream.aclose()
        return window

    assert asyncio.run(some())["end"] == 19
    assert run(model, feed(rows(200, 1), 10, start=model.position + 1))


# ------------------------------------------------------------------ refusals


def test_refusals_name_what_is_wrong():
    with pytest.raises(NotFittedError):
        RealTimeAnomalyDetector(CHEAP).judge([rows(5, 0)])
    with pytest.raises(ValueError, match="two windows of 20"):
        engine(rows(60, 0))
    with pytest.raises(ValueError, match=r"shape \(n_samples, n_features\)"):
        engine(np.zeros(100))
    with pytest.raises(ValueError, match="input_dim says 5"):
        RealTimeAnomalyDetector({"deep_config": {"input_dim": 5}, "window_size": 20}).fit(
            rows(400, 0))
    with pytest.raises(ValueError, match="calibration windows hold no missing"):
        X = rows(400, 0)
        X[::10] = np.nan
        engine(X)


def test_fit_leaves_history_alone_and_knows_frames():
    import pandas as pd

    X = rows(1000, 0)
    X[5, 1] = np.nan
    frame, before = pd.DataFrame(X, columns=["a", "b", "c"]), X.copy()
    assert engine(frame, alpha=0.05).features_ == ["a", "b", "c"]
    np.testing.assert_array_equal(frame.to_numpy(), before)


@pytest.mark.parametrize("detector", ["PCAReconstruction", "IsolationForest"])
def test_a_move_of_a_feature_that_stood_still_warns_and_is_named(detector):
    def with_flags(n, seed):
        return np.hstack([rows(n, seed), np.zeros((n, 1)), np.full((n, 1), 5.0)])

    model = engine(with_flags(2_000, 0), detectors=[detector], extrapolate=True)
    quiet = run(model, feed(with_flags(200, 1), 50))
    for move in (1e-9, 0.05, 1e6):
        live = with_flags(200, 1)
        live[100:, 3] = move
        model = engine(with_flags(2_000, 0), detectors=[detector], extrapolate=True)
        windows = run(model, feed(live, 7))
        after = [w for w in windows if w["end"] >= 100]
        assert [w["severity"] for w in windows[:len(quiet) - len(after)]] == [
            w["severity"] for w in quiet[:len(quiet) - len(after)]]
        assert {w["severity"] for w in after} == {"warning"}
        assert all("x3" in str(w["top_features"]) for w in after)
    live[100:, 4] = 5.1
    both = run(engine(with_flags(2_000, 0), detectors=[detector], extrapolate=True),
               feed(live, 50))
    assert both[-1]["severity"] == "critical"  # several add up
