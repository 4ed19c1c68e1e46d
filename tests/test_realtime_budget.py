"""A budget of incidents becomes an alpha, by the incident rule itself, or is refused."""

import numpy as np
import pandas as pd
import pytest
from realtime_alone import alone_of

from adlib.realtime import EngineConfig, RealTimeAnomalyDetector
from adlib.realtime.backtest import backtest
from adlib.realtime.budget import (
    flagged,
    largest_alpha,
    poisson_limit,
    reported,
    windows_of,
)
from adlib.realtime.calibration import WindowCalibration
from adlib.realtime.incidents import AlertManager, IncidentConfig

CONFIG = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 10, "stride": 5, "sampling_period": 60, "drift": False}
HISTORY = 11_000  # 3.06 days of minutes are held out: one incident a day needs 3.00


def rows(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0.3]])


@pytest.fixture(scope="module")
def fitted():
    return RealTimeAnomalyDetector({**CONFIG, "per": "1/day"}).fit(rows(HISTORY, 0))


def test_poisson_limits_are_garwoods():
    assert [round(poisson_limit(k), 3) for k in (0, 1, 5)] == [2.996, 4.744, 10.513]


def test_a_budget_becomes_the_largest_alpha_that_keeps_it(fitted):
    alpha = fitted.config.alpha
    assert 0.001 < alpha <= 0.2 and fitted.config.per == "1/day"
    scores = -np.log(np.random.default_rng(3).uniform(size=5_000))
    verdicts = windows_of(scores, WindowCalibration().fit(scores, 10), 5, 60.0, 0)
    rule = IncidentConfig()
    for allowed in (poisson_limit(0), poisson_limit(4)):
        chosen = largest_alpha(verdicts, allowed, rule, 0)
        assert poisson_limit(reported(verdicts, chosen, rule, 0)) <= allowed
        assert poisson_limit(reported(verdicts, chosen * 1.1, rule, 0)) > allowed
    assert largest_alpha(verdicts, 1e9, rule, 0) == pytest.approx(0.2, rel=0.1)
    for context in (0, 7):  # what is left out of the replay changes nothing
        for alpha in (0.15, 0.05, 0.01):
            manager = AlertManager(rule, alpha=alpha, context=context)
            assert reported(verdicts, alpha, rule, context) == len({
                event.incident.id for verdict in flagged(verdicts, alpha)
                for event in manager.step(verdict) if event.notify})


def test_the_budget_is_kept_on_days_to_come():
    """By rank the rate after a quiet time T is 1 / T on average, a third of the limit."""
    found = days = 0
    for seed in range(6):
        engine = RealTimeAnomalyDetector({**CONFIG, "per": "1/day"}).fit(rows(HISTORY, seed))
        test = backtest(engine.config, rows(8_000, 100 + seed), fitted=engine)
        found += len({page.incident.id for page in test.replay().pages})
        days += test.days
    assert poisson_limit(found) / days <= 1


def test_rows_without_a_score_are_no_time_and_no_evidence():
    scores = np.repeat([1.0, 2.0], 100)  # without a tail, nothing is extrapolated
    calibration = WindowCalibration().fit(scores, 10)
    scores[50:70] = np.nan
    verdicts = windows_of(scores, calibration, 5, 60.0, 0)
    unknown = [v for v in verdicts if v.is_anomaly is None]
    assert len(unknown) == 5 and all(np.isnan(v.p_value) and v.peaks == () for v in unknown)


def test_the_debounce_counts(fitted):
    """Where more evidence is asked for, each piece may be weaker."""
    strict = {"incidents": {"open_after": 6, "open_within": 8}}
    eager = {"incidents": {"open_after": 1, "open_within": 1}}
    alphas = [fitted.fork(fitted.config.changed(alert_config=rule)).config.alpha
              for rule in (eager, strict)]
    assert alphas[0] < alphas[1]


def test_a_saved_engine_keeps_its_budget_and_may_get_another(fitted, tmp_path):
    path = fitted.save(tmp_path / "model")
    assert RealTimeAnomalyDetector.load(path).config == fitted.config
    wider = RealTimeAnomalyDetector.load(path, {**CONFIG, "per": "5/day"})
    assert wider.config.alpha > fitted.config.alpha
    assert wider.fork(alpha=0.05).config.per is None
    with pytest.raises(ValueError, match="per='1/week' needs 21 days of held-out rows"):
        RealTimeAnomalyDetector.load(path, {**CONFIG, "per": "1/week"})
    # a backtest judges by the estimated alpha
    test = backtest({**CONFIG, "per": "1/day"}, rows(500, 9), fitted=fitted)
    assert test.config.alpha == fitted.config.alpha


def test_a_history_that_is_too_short_is_refused_by_its_own_times():
    X = rows(HISTORY, 0)
    with pytest.raises(ValueError, match=r"per='1/day' needs 3 days of held-out rows, all without "
                                         r"an incident, and the history leaves 0.0509 .*1 s apart"):
        RealTimeAnomalyDetector({**CONFIG, "per": "1/day", "sampling_period": 1}).fit(X)
    quick = EngineConfig.from_any({**CONFIG, "per": "1/day", "sampling_period": 1})
    clock = pd.date_range("2026-01-01", periods=HISTORY, freq="1min")
    by_index = RealTimeAnomalyDetector(quick).fit(pd.DataFrame(X, index=clock))
    by_time = RealTimeAnomalyDetector(quick).fit(X, clock.as_unit("ns").asi8 / 1e9)
    assert by_index.config.alpha == by_time.config.alpha


def test_members_of_a_saved_engine_stay_where_a_configuration_names_none(fitted, tmp_path):
    path = fitted.save(tmp_path / "model")
    again = RealTimeAnomalyDetector.load(path, {
        key: value for key, value in CONFIG.items() if "detectors" not in key
        and "config" not in key} | {"alpha": 0.05})
    assert [member.name for member in again.members] == ["PCAReconstruction"]


# ------------------------------------------------------------------ fleets

FLEET = {**CONFIG, "fleet": {}, "per": "5/day"}


def fleet(n, rows_each, seed, scales=()):
    """Rows of n machines one behind the other, the first ones noisier, and their labels."""
    X = np.concatenate([rows(rows_each, 1_000 * seed + k) * (scales[k] if k < len(scales) else 1)
                        for k in range(n)])
    return X, np.repeat([f"pump-{k}" for k in range(n)], rows_each)


def false_incidents(engine, seed, n_rows=3_000, n=10):
    """Reported in fresh normal rows of n machines, each judged by its own calibration."""
    config, count = engine.config, 0
    for k in range(n):
        found = alone_of(engine._fitted, f"pump-{k}", config)
        model, held = found.ensemble, found.held_out
        raw = model.members_[0].anomaly_score(rows(n_rows, 9_000_000 + 1_000 * seed + k))
        calibration = WindowCalibration().fit(model.combined(model.surprises_of(held)), 10)
        scores = model.combined(model.surprises_of(raw[:, None]))
        count += reported(windows_of(scores, calibration, 5, 60.0, 0), config.alpha,
                          config.alert_config.incidents, 0)
    return count


@pytest.mark.parametrize("model", ["shared", "own"])
def test_the_budget_of_a_fleet_is_kept_on_days_to_come(model):
    """Five a day of ten machines together, from 1.1 days of each; the limit of 12 fleets."""
    found = days = 0
    for seed in range(12):
        X, entity = fleet(10, 4_000, seed)
        engine = RealTimeAnomalyDetector({**FLEET, "fleet": {"model": model}}).fit(
            X, entity=entity)
        found += false_incidents(engine, seed)
        days += 3_000 / 1440
    assert found > 5 and poisson_limit(found) / days <= 5


def test_the_time_of_a_fleet_is_that_of_one_machine():
    X, entity = fleet(10, 1_500, 0)
    with pytest.raises(ValueError, match=r"per='5/day' needs 0.599 days of held-out rows of each "
                                         r"of 10 entities, all without an incident, and .* 0.4"):
        RealTimeAnomalyDetector(FLEET).fit(X, entity=entity)
    engine = RealTimeAnomalyDetector({**FLEET, "per": "50/day"}).fit(X, entity=entity)
    tighter = engine.fork(per="10/day").config.alpha
    assert tighter < engine.config.alpha and engine.fork(alpha=0.05).config.per is None


@pytest.mark.parametrize("scales", [[3.0], [1.5] * 5, [0.4], [1.0, 4.0, 0.3]])
def test_a_fleet_of_unlike_machines_gets_no_common_budget(scales):
    X, entity = fleet(10, 4_000, 5, scales)
    odd = {f"pump-{k}" for k, scale in enumerate(scales) if scale != 1}
    with pytest.raises(ValueError, match=r"per='5/day' is one threshold for the fleet, and \d+ "
                                         r"entit.*: set fleet.model: own, give them") as told:
        RealTimeAnomalyDetector(FLEET).fit(X, entity=entity)
    assert len(scales) == 5 or all(name in str(told.value) for name in odd)
    own = RealTimeAnomalyDetector({**FLEET, "fleet": {"model": "own"}}).fit(X, entity=entity)
    assert 0 < own.config.alpha < 0.2  # each on its own scale, they are alike


def test_machines_that_fail_together_are_one_event():
    """What comes in tens leaves less known than as many that come one by one."""
    X, entity = fleet(10, 6_000, 0)
    alone = RealTimeAnomalyDetector({**FLEET, "per": "30/day"}).fit(X, entity=entity)
    for k in range(10):
        X[6_000 * k + 4_000 + 100 * np.arange(15)[:, None] + np.arange(3)] *= 3
    with pytest.raises(ValueError, match=r"of each of 10 entities, \d\S* of which have high scores "
                                         r"at once"):
        RealTimeAnomalyDetector({**FLEET, "per": "5/day"}).fit(X, entity=entity)
    together = RealTimeAnomalyDetector({**FLEET, "per": "30/day"}).fit(X, entity=entity)
    assert together.config.alpha < alone.config.alpha


def test_an_odd_machine_without_a_history_of_its_own_is_named():
    X, entity = fleet(10, 2_000, 0, [4.0])
    X, entity = X[1_600:], entity[1_600:]
    config = {**FLEET, "per": None, "alpha": 0.02}
    with pytest.warns(UserWarning, match=r"1 entity has high scores too often, or too seldom "
                                         r"\(pump-0: .* times as often as most\), and judged by"):
        RealTimeAnomalyDetector(config).fit(X, entity=entity)
    # each with enough rows of its own: whatever the rows of all can show
    X, entity = fleet(4, 6_000, 0, [1.0, 9.0])
    engine = RealTimeAnomalyDetector({**config, "alpha": 0.005}).fit(X, entity=entity)
    assert set(engine.entities.values()) == {"own rows"}


def test_names_of_entities_steer_no_reader():
    X, entity = fleet(3, 4_000, 0, [5.0])
    entity = np.where(entity == "pump-0", "\x1b[31mpump\n" + "x" * 180, entity)
    with pytest.raises(ValueError, match=r"\?\[31mpump\?x+.x+: ") as told:
        RealTimeAnomalyDetector(FLEET).fit(X, entity=entity)
    assert len(str(told.value)) < 400


def test_what_the_rows_of_a_machine_show_is_of_the_scores_that_count(tmp_path):
    X, entity = fleet(3, 1_500, 4)
    config = {**FLEET, "per": None, "alpha": 0.05, "combine": "weighted",
              "detectors": ["PCAReconstruction", "RobustZScore"]}
    engine = RealTimeAnomalyDetector(config).fit(X, entity=entity)
    engine._fitted.judged_by(engine.config)
    seen = dict(engine._fitted._least)
    forked = engine.fork(combine="max")
    again = RealTimeAnomalyDetector.load(engine.save(tmp_path / "m"), {**config, "combine": "max"})
    for one in (forked, again):
        one._fitted.judged_by(one.config)
    assert forked._fitted._least == again._fitted._least != seen
    assert engine._fitted._least == seen
