"""A budget of incidents becomes an alpha, by the incident rule itself, or is refused."""

import numpy as np
import pandas as pd
import pytest

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
