"""Generated streams and tables: what they promise, and that their oracle is worth the name."""

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.metrics import roc_auc_score

from adlib.datasets import (
    make_fraud,
    make_intrusion,
    make_manufacturing,
    make_medical,
    make_sensor_stream,
    make_sine,
    make_telemetry,
)

STREAMS = [make_sensor_stream, make_sine, make_telemetry]
TABLES = [make_fraud, make_intrusion, make_manufacturing, make_medical]


@pytest.mark.parametrize("make", STREAMS + TABLES)
def test_contract(make):
    data = make(random_state=3)
    assert data.fingerprint == make(random_state=3).fingerprint
    assert data.fingerprint != make(random_state=4).fingerprint
    rng = np.random.default_rng(3)
    assert make(random_state=rng).fingerprint == data.fingerprint
    assert not data.y[: data.train_end].any() and data.y.any()
    assert np.isfinite(data.X).all()
    anomalous = data.y == 1
    assert (data.strength[anomalous] > 0).all() and (data.strength[~anomalous] == 0).all()
    assert (data.channel[anomalous] != "").all()
    assert "random_state 3" in data.source
    # It knows the noise-free signal or the density; some rows of an event hardly change, though.
    test = data.test
    assert roc_auc_score(test.y, test.oracle) > (0.9 if make is make_telemetry else 0.95)


@pytest.mark.parametrize("make", TABLES)
def test_tables_hold_no_digit_that_another_processor_computes_differently(make):
    data = make(random_state=3)
    for values in (data.X, data.oracle):
        assert (values == values.astype(np.float32)).all()


@pytest.mark.parametrize("make", STREAMS + TABLES)
def test_global_random_state_is_left_alone(make):
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(random_state=0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize(("n", "ratio"), [(1000, 0.05), (1000, 0.0), (777, 0.1), (200, 0.6)])
def test_ratio_is_of_all_rows(n, ratio):
    data = make_sensor_stream(n, ratio, random_state=0)
    assert data.y.sum() == round(ratio * n)
    assert not data.y[: data.train_end].any()


def test_spikes_are_uniform_over_the_test_or_over_all_rows():
    where = np.zeros((2, 10))
    for seed in range(60):
        for i, everywhere in enumerate([False, True]):
            y = make_sensor_stream(1000, 0.05, contaminate_train=everywhere, random_state=seed).y
            where[i] += y.reshape(10, 100).sum(axis=1)
    assert (where[0, :4] == 0).all()
    # 3,000 spikes: a share's standard error is below 1.2 % of all.
    np.testing.assert_allclose(where[0, 4:] / 3000, 1 / 6, atol=0.03)
    np.testing.assert_allclose(where[1] / 3000, 1 / 10, atol=0.03)


def test_sensor_stream_is_what_it_says():
    data = make_sensor_stream(2000, 0.0, random_state=0)
    assert data.feature_names == ("temperature", "humidity", "pressure")
    assert (np.diff(data.time) == np.timedelta64(1, "m")).all()
    phase = 2 * np.pi * np.arange(2000) / 240
    assert np.corrcoef(data.X[:, 0], np.sin(phase))[0, 1] > 0.95
    assert np.corrcoef(data.X[:, 1], np.cos(phase))[0, 1] > 0.95
    assert abs(np.corrcoef(data.X[1:, 2], data.X[:-1, 2])[0, 1]) < 0.1


def test_sine_has_the_noise_asked_for():
    data = make_sine(20000, noise=0.1, period=40, n_events=0, random_state=0)
    rest = data.X[:, 0] - np.sin(2 * np.pi * np.arange(20000) / 40)
    assert rest.std() == pytest.approx(0.1, rel=0.03)


def test_telemetry_channels_share_load_and_drift_is_known_to_the_oracle():
    data = make_telemetry(n_events=11, drift=1.5, random_state=0)
    history = data.X[: data.train_end]
    corr = np.corrcoef(history.T)
    np.fill_diagonal(corr, 0)
    assert (np.abs(corr).max(axis=0) > 0.5).all()
    assert data.events["kind"].nunique() == 12
    start = int(data.events.query("kind == 'drift'")["end"].iloc[0])
    normal = np.arange(len(data)) > start
    normal &= data.kind == ""
    assert np.quantile(data.oracle[normal], 0.99) < 5


def test_telemetry_with_dropouts_has_missing_values_that_the_oracle_sees():
    data = make_telemetry(kinds="dropout", n_events=3, random_state=0)
    assert (np.isnan(data.X).any(axis=1) == (data.y == 1)).all()
    assert data.oracle[data.y == 1].min() > data.oracle[data.y == 0].max()


@pytest.mark.parametrize("make", TABLES)
def test_tables_have_mixed_scales_correlation_clusters_and_four_kinds(make):
    data = make(4000, random_state=0)
    train = data.X[: data.train_end]
    spread = train.std(axis=0)
    assert spread.max() / spread.min() > 10
    assert np.abs(skew(train)).max() > 1
    ranks = train.argsort(axis=0).argsort(axis=0)
    assert np.abs(np.corrcoef(ranks.T) - np.eye(train.shape[1])).max() > 0.4
    assert data.y.sum() == 200
    kinds, counts = np.unique(data.kind[data.y == 1], return_counts=True)
    assert len(kinds) == 4 and np.ptp(counts) <= 1
    # Anomalies are spread over the test part, not gathered at its end.
    assert abs(np.flatnonzero(data.y).mean() - 3000) < 150


def test_oracle_of_a_table_is_the_density_of_the_normal_rows():
    """Stronger anomalies are less likely, and strength 0 would be no anomaly at all."""
    near, far = (make_fraud(strength=s, random_state=0) for s in (1e-9, 8))
    assert abs(roc_auc_score(near.test.y, near.test.oracle) - 0.5) < 0.1
    assert roc_auc_score(far.test.y, far.test.oracle) > 0.99


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_sensor_stream(10), "n_points must be .* >= 20, got 10"),
        (lambda: make_sensor_stream(anomaly_ratio=1.5), r"anomaly_ratio must be a number"),
        (lambda: make_sensor_stream(anomaly_ratio=0.7), "do not fit"),
        (lambda: make_sensor_stream(train_fraction=1), "train_fraction must be a number"),
        (lambda: make_sine(noise=0), "noise must be a number above 0"),
        (lambda: make_telemetry(n_channels=9), r"n_channels must lie in \[1, 8\]"),
        (lambda: make_fraud(100, 0.6), "is 60, the test has 50"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
