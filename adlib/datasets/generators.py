"""Synthetic data whose anomalies are known, with the score of one who knows the generator.

Streams are a noise-free signal plus noise, with events from :mod:`adlib.datasets.injectors`; their
``oracle`` is the distance from the signal in standard deviations of the noise, largest over the
channels: a strong reference, not a ceiling (one who also knew which channel to watch could beat
it). Tables are Gaussian clusters with correlated features, shown on realistic scales; their
``oracle`` is minus the log density of the normal rows. History holds normal rows only, unless asked
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adlib.arguments import generator, number, whole
from adlib.datasets.dataset import Dataset
from adlib.datasets.injectors import ANOMALY_KINDS, inject, strengths_of

__all__ = ["make_fraud", "make_intrusion", "make_manufacturing", "make_medical",
           "make_sensor_stream", "make_sine", "make_telemetry"]

RandomState = int | np.random.Generator | None

#: Score an oracle gives to a missing value: beyond anything finite noise reaches.
MISSING_SCORE = 100.0


def make_sensor_stream(
    n_points: int = 1000,
    anomaly_ratio: float = 0.05,
    *,
    train_fraction: float = 0.4,
    contaminate_train: bool = False,
    period: int = 240,
    strength: float | Sequence[float] = (3.0, 4.0),
    random_state: RandomState = None,
) -> Dataset:
    """Temperature, humidity and pressure of a room, one row a minute, with spikes.

    Temperature is a sine around 22 degrees C, humidity a cosine around 50 %, pressure noise around
    1013 hPa.

    Parameters
    ----------
    n_points : int, default=1000
        Rows (minutes).
    anomaly_ratio : float, default=0.05
        Share of *all* rows that become spikes, each in one channel, uniform over the test part.
    train_fraction : float, default=0.4
        Share of rows that are history.
    contaminate_train : bool, default=False
        Spread the spikes over all rows, history included.
    period : int, default=240
        Rows of one "day"; short, so that the default history has seen one whole.
    strength : float or sequence of float, default=(3, 4)
        Height of the spikes in robust sd of their channel.
    random_state : int, numpy.random.Generator or None, default=None
        Same seed, same bytes.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> make_sensor_stream(random_state=0).describe()["anomalous rows in test"]
    50
    """
    n_points, period = _rows(n_points, "n_points"), whole(period, "period", 1, of="rows")
    history = _history(n_points, train_fraction)
    phase = 2 * np.pi * np.arange(n_points) / period
    spikes = {
        "kinds": "spike",
        "n_events": _count(anomaly_ratio, n_points),
        "strength": strength,
        "start": 0 if contaminate_train else history,
        "min_gap": 0,  # else a high ratio would not fit
    }
    return _stream(
        "sensor_stream",
        {
            "temperature": (22 + 5 * np.sin(phase), 0.5),
            "humidity": (50 + 8 * np.cos(phase), 1.0),
            "pressure": (np.full(n_points, 1013.0), 2.0),
        },
        history,
        random_state,
        generator(random_state),
        [spikes],
    )


def make_sine(
    n_points: int = 1000,
    noise: float = 0.1,
    *,
    period: int = 50,
    kinds: str | Sequence[str] = ("spike", "level_shift", "frequency", "variance"),
    n_events: int = 8,
    length: int | tuple[int, int] = (10, 25),
    strength: float | Sequence[float] = 2.0,
    train_fraction: float = 0.4,
    random_state: RandomState = None,
) -> Dataset:
    """A sine of amplitude 1 with noise and injected anomalies.

    Parameters
    ----------
    n_points : int, default=1000
        Rows, one a minute.
    noise : float, default=0.1
        Standard deviation of the noise; 0.1 is 10 % of the amplitude. Must be > 0.
    period : int, default=50
        Rows of one oscillation.
    kinds, n_events, length, strength
        As in :func:`adlib.datasets.inject`. One sd of the channel is about 1.05.
    train_fraction : float, default=0.4
        Share of rows that are history, free of anomalies.
    random_state : int, numpy.random.Generator or None, default=None
        Same seed, same bytes.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> make_sine(random_state=0)
    Dataset('sine': 1000 rows x 1, history 400, anomalous rows 116)
    """
    n_points, period = _rows(n_points, "n_points"), whole(period, "period", 1, of="rows")
    number(noise, "noise", above=0, below=1e100)
    events = {"kinds": kinds, "n_events": n_events, "length": length, "strength": strength}
    return _stream(
        "sine",
        {"value": (np.sin(2 * np.pi * np.arange(n_points) / period), noise)},
        _history(n_points, train_fraction),
        random_state,
        generator(random_state),
        [events | {"period": period}],
    )


#: Kinds of anomaly that leave no value missing.
COMPLETE_KINDS = tuple(kind for kind in ANOMALY_KINDS if kind != "dropout")

#: Channels of :func:`make_telemetry`: mean, response to load, response to the time of day, noise.
TELEMETRY = {
    "cpu_pct": (48.0, 7.0, 5.0, 1.2),
    "power_w": (180.0, 28.0, 14.0, 4.0),
    "temperature_c": (55.0, 4.0, 4.0, 0.6),
    "fan_rpm": (2400.0, 250.0, 180.0, 40.0),
    "requests_per_s": (800.0, 120.0, 120.0, 20.0),
    "latency_ms": (40.0, 7.0, 4.0, 1.5),
    "vibration_mm_s": (2.0, 0.4, 0.1, 0.1),
    "supply_v": (12.0, -0.05, -0.02, 0.012),
}


def make_telemetry(
    n_points: int = 4000,
    n_channels: int = 8,
    *,
    kinds: str | Sequence[str] = COMPLETE_KINDS,
    n_events: int = 22,
    length: int | tuple[int, int] = (15, 40),
    strength: float | Sequence[float] = (1.5, 3.0),
    drift: float = 0.0,
    missing: str | float = "nan",
    period: int = 288,
    train_fraction: float = 0.4,
    random_state: RandomState = None,
) -> Dataset:
    """Telemetry of one machine: channels that follow a common load and the time of day.

    Each channel is mean + response * load + response * daily season + noise. The load is a slow
    first-order autoregression (coefficient 0.98), the noise of each channel a fast one (0.5).
    Values are not cut off at physical limits: that would change the size of events.

    Parameters
    ----------
    n_points : int, default=4000
        Rows, five minutes apart.
    n_channels : int, default=8
        The first channels of ``TELEMETRY``, 1 to 8. Correlation needs at least 2.
    kinds, n_events, length, strength
        As in :func:`adlib.datasets.inject`.
    drift : float, default=0.0
        If > 0: half of the channels (at least one) move by this many sd (rms while they move)
        over a tenth of the rows, somewhere in the test part, and stay there. Not an anomaly.
    missing
        As in :func:`adlib.datasets.inject`.
    period : int, default=288
        Rows of a day.
    train_fraction : float, default=0.4
        Share of rows that are history, free of anomalies.
    random_state : int, numpy.random.Generator or None, default=None
        Same seed, same bytes.

    Returns
    -------
    Dataset
        Its oracle knows load, season and drift.

    Raises
    ------
    ValueError
        When an argument is out of its range; the message names it.

    Examples
    --------
    >>> data = make_telemetry(2000, n_events=6, drift=1.0, random_state=0)
    >>> int((data.kind == "drift").sum()), int(data.y[data.kind == "drift"].sum())
    (200, 0)
    """
    if whole(n_channels, "n_channels", 1) > len(TELEMETRY):
        raise ValueError(f"n_channels must lie in [1, {len(TELEMETRY)}], got {n_channels}")
    n_points, period = _rows(n_points, "n_points"), whole(period, "period", 1, of="rows")
    number(drift, "drift", least=0, below=1e100)
    rng = generator(random_state)
    phase = 2 * np.pi * np.arange(n_points) / period
    season = np.sin(phase) + 0.4 * np.sin(2 * phase)
    load = _autoregression(rng.standard_normal((n_points, 1)), 0.98)[:, 0]
    columns = {
        name: (mean + by_load * load + by_day * season, noise)
        for name, (mean, by_load, by_day, noise) in list(TELEMETRY.items())[:n_channels]
    }
    events = {
        "kinds": kinds,
        "n_events": n_events,
        "length": length,
        "strength": strength,
        "period": period,
        "missing": missing,
    }
    moving = {
        "kinds": "drift",
        "n_events": 1,
        "length": max(n_points // 10, 2),
        "strength": drift,
        "n_columns": max(1, n_channels // 2),
    }
    return _stream(
        "telemetry",
        columns,
        _history(n_points, train_fraction),
        random_state,
        rng,
        [moving, events] if drift > 0 else [events],
        memory=0.5,
        minutes=5,
    )


@dataclass(frozen=True)
class Table:
    """Recipe of a tabular set; every number in it is in standard deviations of the feature.

    Attributes
    ----------
    features : dict of name -> (form, location, spread)
        How a standard normal value z is shown: "plain" location + spread * z, "skewed"
        location * exp(spread * z), "count" the same rounded down, "share" as a logistic curve
        around location percent.
    factors : sequence of dict of name -> loading
        Hidden causes that features share; loadings of one feature have squares summing to < 1.
    clusters : sequence of (weight, dict of name -> mean)
        Groups of normal rows.
    anomalies : dict of kind -> dict of name -> direction
        Each kind moves a normal row along its direction.
    """

    features: Mapping[str, tuple[str, float, float]]
    factors: Sequence[Mapping[str, float]]
    clusters: Sequence[tuple[float, Mapping[str, float]]]
    anomalies: Mapping[str, Mapping[str, float]]


FRAUD = Table(
    features={
        "amount_eur": ("skewed", 40, 1.0),
        "minutes_since_last": ("skewed", 600, 1.2),
        "payments_24h": ("count", 3, 0.7),
        "distance_km": ("skewed", 8, 1.1),
        "hours_from_noon": ("plain", 1.5, 3.0),
        "merchant_risk_pct": ("share", 10, 0.7),
        "account_age_days": ("skewed", 900, 0.8),
        "balance_eur": ("skewed", 1500, 1.1),
    },
    factors=[
        {"amount_eur": 0.7, "balance_eur": 0.7},
        {"minutes_since_last": -0.7, "payments_24h": 0.8},
        {"distance_km": 0.4, "amount_eur": 0.3, "hours_from_noon": 0.3},
    ],
    clusters=[
        (0.7, {}),
        (0.2, {"distance_km": 2.5, "amount_eur": 1.0, "merchant_risk_pct": 0.8}),  # travellers
        (0.1, {"payments_24h": 1.5, "amount_eur": 1.5, "account_age_days": 1.0}),  # businesses
    ],
    anomalies={
        "large_payment": {"amount_eur": 1.0, "merchant_risk_pct": 0.4},
        "card_testing": {"amount_eur": -0.6, "minutes_since_last": -0.6, "payments_24h": 0.7},
        "takeover": {"distance_km": 0.7, "hours_from_noon": -0.6, "merchant_risk_pct": 0.5},
        "beyond_means": {"amount_eur": 0.7, "balance_eur": -0.7},
    },
)

INTRUSION = Table(
    features={
        "duration_s": ("skewed", 5, 1.2),
        "bytes_out": ("skewed", 2e3, 1.3),
        "bytes_in": ("skewed", 9e3, 1.3),
        "packets": ("count", 30, 1.0),
        "connections_2s": ("count", 6, 0.8),
        "error_pct": ("share", 4, 0.8),
        "ports": ("count", 3, 0.6),
        "failed_logins": ("count", 0.4, 0.9),
        "packet_gap_ms": ("skewed", 20, 0.9),
    },
    factors=[
        {"duration_s": 0.6, "bytes_out": 0.8, "bytes_in": 0.8, "packets": 0.85},
        {"connections_2s": 0.7, "ports": 0.6, "packet_gap_ms": -0.5},
    ],
    clusters=[
        (0.6, {}),  # browsing
        (0.25, {"duration_s": 1.5, "bytes_in": 2.0, "packets": 1.8}),  # downloads
        (0.15, {"connections_2s": 2.0, "bytes_out": -1.0, "bytes_in": -1.0}),  # name service
    ],
    anomalies={
        "flood": {"connections_2s": 0.7, "packet_gap_ms": -0.6, "packets": 0.4},
        "port_scan": {"ports": 0.8, "error_pct": 0.5, "bytes_in": -0.3},
        "exfiltration": {"bytes_out": 0.7, "bytes_in": -0.6, "duration_s": 0.3},
        "password_guessing": {"failed_logins": 0.9, "connections_2s": 0.4},
    },
)

MANUFACTURING = Table(
    features={
        "temperature_c": ("plain", 210, 4.0),
        "pressure_bar": ("plain", 85, 3.0),
        "speed_mm_s": ("plain", 120, 6.0),
        "torque_nm": ("plain", 34, 2.5),
        "current_a": ("plain", 11, 0.8),
        "vibration_mm_s": ("skewed", 1.8, 0.45),
        "thickness_um": ("plain", 500, 7.0),
        "cycle_s": ("plain", 22, 0.9),
        "humidity_pct": ("share", 45, 0.3),
    },
    factors=[
        {"torque_nm": 0.8, "current_a": 0.85, "vibration_mm_s": 0.5},
        {"temperature_c": 0.7, "pressure_bar": 0.6, "thickness_um": -0.6},
        {"speed_mm_s": 0.8, "cycle_s": -0.8, "vibration_mm_s": 0.4},
    ],
    clusters=[
        (0.5, {}),
        (0.5, {"speed_mm_s": 2.5, "cycle_s": -2.5, "torque_nm": 1.5, "current_a": 1.5}),
    ],
    anomalies={
        "tool_wear": {"vibration_mm_s": 0.8, "torque_nm": 0.5, "current_a": 0.4},
        "overheating": {"temperature_c": 0.8, "thickness_um": 0.5},
        "slipping_drive": {"torque_nm": -0.7, "current_a": 0.7},
        "leak": {"pressure_bar": -0.8, "cycle_s": 0.5},
    },
)

MEDICAL = Table(
    features={
        "age_years": ("plain", 50, 10.0),
        "heart_rate_bpm": ("plain", 74, 10.0),
        "systolic_mmhg": ("plain", 126, 13.0),
        "diastolic_mmhg": ("plain", 79, 8.0),
        "temperature_c": ("plain", 36.7, 0.3),
        "glucose_mmol_l": ("skewed", 5.4, 0.15),
        "creatinine_umol_l": ("skewed", 78, 0.2),
        "crp_mg_l": ("skewed", 2.0, 0.9),
        "haemoglobin_g_l": ("plain", 142, 12.0),
        "saturation_pct": ("share", 97, 0.35),
    },
    factors=[
        {"systolic_mmhg": 0.8, "diastolic_mmhg": 0.8, "age_years": 0.4},
        {"age_years": 0.5, "creatinine_umol_l": 0.5, "glucose_mmol_l": 0.4},
        {"temperature_c": 0.6, "crp_mg_l": 0.6, "heart_rate_bpm": 0.5},
    ],
    clusters=[
        (0.75, {}),
        (0.25, {"age_years": 1.5, "systolic_mmhg": 1.2, "glucose_mmol_l": 1.5}),  # treated diabetes
    ],
    anomalies={
        "sepsis": {"crp_mg_l": 0.7, "temperature_c": 0.5, "heart_rate_bpm": 0.5,
                   "systolic_mmhg": -0.5},
        "renal_failure": {"creatinine_umol_l": 0.9, "haemoglobin_g_l": -0.5},
        "hypoxia": {"saturation_pct": -0.8, "heart_rate_bpm": 0.5},
        "aortic_regurgitation": {"systolic_mmhg": 0.7, "diastolic_mmhg": -0.7},
    },
)  # fmt: skip


def make_fraud(
    n_samples: int = 2000,
    anomaly_ratio: float = 0.05,
    *,
    strength: float | Sequence[float] = (4.0, 6.0),
    train_fraction: float = 0.5,
    random_state: RandomState = None,
) -> Dataset:
    """Card payments: skewed amounts, three groups of customers, four kinds of fraud.

    "beyond_means" shows in what does not go together (a large amount, a small balance) far more
    than in either alone.

    Parameters
    ----------
    n_samples : int, default=2000
        Rows, in random order.
    anomaly_ratio : float, default=0.05
        Share of all rows that are anomalies; they are uniform over the test part.
    strength : float or sequence of float, default=(4, 6)
        Length of the step away from a normal row, in sd of the (unskewed) features.
    train_fraction : float, default=0.5
        Share of rows that are history, all of them normal.
    random_state : int, numpy.random.Generator or None, default=None
        Same seed, same bytes.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> data = make_fraud(random_state=0)
    >>> sorted(set(data.kind[data.y == 1].tolist()))
    ['beyond_means', 'card_testing', 'large_payment', 'takeover']
    """
    return _table("fraud", FRAUD, n_samples, anomaly_ratio, strength, train_fraction, random_state)


def make_intrusion(
    n_samples: int = 2000,
    anomaly_ratio: float = 0.05,
    *,
    strength: float | Sequence[float] = (4.0, 6.0),
    train_fraction: float = 0.5,
    random_state: RandomState = None,
) -> Dataset:
    """Network connections: counts and bytes over decades, three services, four attacks.

    "exfiltration" shows in the ratio of bytes out to bytes in rather than in either of them.

    Parameters
    ----------
    n_samples, anomaly_ratio, strength, train_fraction, random_state
        As in `make_fraud`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> make_intrusion(400, 0.1, random_state=0)
    Dataset('intrusion': 400 rows x 9, history 200, anomalous rows 40)
    """
    return _table(
        "intrusion", INTRUSION, n_samples, anomaly_ratio, strength, train_fraction, random_state
    )


def make_manufacturing(
    n_samples: int = 2000,
    anomaly_ratio: float = 0.05,
    *,
    strength: float | Sequence[float] = (4.0, 6.0),
    train_fraction: float = 0.5,
    random_state: RandomState = None,
) -> Dataset:
    """Parts of a moulding line: two operating points, four defects.

    "slipping_drive" breaks the tie between torque and current.

    Parameters
    ----------
    n_samples, anomaly_ratio, strength, train_fraction, random_state
        As in `make_fraud`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> make_manufacturing(400, 0.1, random_state=0).n_features
    9
    """
    return _table(
        "manufacturing",
        MANUFACTURING, n_samples, anomaly_ratio, strength, train_fraction, random_state,
    )  # fmt: skip


def make_medical(
    n_samples: int = 2000,
    anomaly_ratio: float = 0.05,
    *,
    strength: float | Sequence[float] = (4.0, 6.0),
    train_fraction: float = 0.5,
    random_state: RandomState = None,
) -> Dataset:
    """Check-ups of adults, healthy or with a treated condition, and four acute states.

    Invented numbers: for methods, not for medicine. "aortic_regurgitation" shows in the
    difference of the two blood pressures.

    Parameters
    ----------
    n_samples, anomaly_ratio, strength, train_fraction, random_state
        As in `make_fraud`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> make_medical(400, 0.1, random_state=0).n_features
    10
    """
    return _table(
        "medical", MEDICAL, n_samples, anomaly_ratio, strength, train_fraction, random_state
    )


def _table(
    name: str,
    table: Table,
    n: int,
    ratio: float,
    strength: float | Sequence[float],
    train_fraction: float,
    random_state: RandomState,
) -> Dataset:
    rng, n = generator(random_state), _rows(n, "n_samples")
    history = _history(n, train_fraction)
    names = list(table.features)
    n_anomalies = _count(ratio, n)
    if n_anomalies > n - history:
        raise ValueError(
            f"anomaly_ratio={ratio} of {n} rows is {n_anomalies}, the test has {n - history}"
        )
    loadings = np.array([_vector(names, f) for f in table.factors]).T  # (features, factors)
    own = np.sqrt(1 - (loadings**2).sum(axis=1))
    weights = np.array([w for w, _ in table.clusters])
    means = np.array([_vector(names, m) for _, m in table.clusters])

    cluster = rng.choice(len(weights), n, p=weights)
    z = means[cluster] + rng.standard_normal((n, len(table.factors))) @ loadings.T
    z += own * rng.standard_normal((n, len(names)))

    rows = np.sort(history + rng.choice(n - history, n_anomalies, replace=False))
    kinds = rng.permutation(np.resize(rng.permutation(list(table.anomalies)), n_anomalies))
    steps = rng.permutation(np.resize(strengths_of(strength), n_anomalies))
    kind, size, channel = np.full(n, "", object), np.zeros(n), np.full(n, "", object)
    for row, k, step in zip(rows, kinds, steps, strict=True):
        direction = _vector(names, table.anomalies[k])
        z[row] += step * direction / np.linalg.norm(direction)
        kind[row], size[row], channel[row] = k, step, ",".join(table.anomalies[k])

    covariance = loadings @ loadings.T + np.diag(own**2)
    # -log of the mixture density, up to a constant shared by all rows.
    distance = np.stack(
        [((z - m) @ np.linalg.inv(covariance) * (z - m)).sum(axis=1) for m in means]
    )
    oracle = -np.logaddexp.reduce(np.log(weights)[:, None] - distance / 2, axis=0)
    fields = [_shown(z[:, j], *shape) for j, shape in enumerate(table.features.values())]
    return Dataset(
        name=name,
        # Seven digits: the last ones of a product or an exponential differ between processors.
        X=np.column_stack(fields).astype(np.float32),
        y=size > 0,
        feature_names=tuple(names),
        kind=kind.astype(str),
        train_end=history,
        source=_source(name, random_state),
        oracle=oracle.astype(np.float32),
        strength=size,
        channel=channel.astype(str),
    )


def _vector(names: Sequence[str], entries: Mapping[str, float]) -> np.ndarray:
    return np.array([entries.get(name, 0.0) for name in names])


def _shown(z: np.ndarray, form: str, location: float, spread: float) -> np.ndarray:
    """A standard normal feature on the scale of its field."""
    if form == "plain":
        return location + spread * z
    if form == "share":
        odds = np.log(location / (100 - location)) + spread * z
        return 100 / (1 + np.exp(-odds))
    values = location * np.exp(spread * z)
    return np.floor(values) if form == "count" else values


def _source(name: str, random_state: RandomState) -> str:
    """Where the rows come from, with the seed if there was one to name."""
    seed = random_state if isinstance(random_state, (int, np.integer)) else "not recorded"
    return f"synthetic: make_{name}, random_state {seed}"


def _rows(n: int, name: str) -> int:
    return whole(n, name, 20, of="rows")


def _history(n: int, train_fraction: float) -> int:
    number(train_fraction, "train_fraction", above=0, below=1)
    return round(train_fraction * n)


def _count(anomaly_ratio: float, n: int) -> int:
    number(anomaly_ratio, "anomaly_ratio", least=0, below=1)
    return round(anomaly_ratio * n)


def _autoregression(innovations: np.ndarray, coefficient: float) -> np.ndarray:
    """Stationary AR(1) of variance 1 down each column, from standard normal innovations."""
    from scipy.signal import lfilter

    scaled = innovations * np.sqrt(1 - coefficient**2)
    scaled[0] = innovations[0]  # start in the stationary law, not at 0
    return lfilter([1.0], [1.0, -coefficient], scaled, axis=0)


def _stream(
    name: str,
    columns: Mapping[str, tuple[np.ndarray, float]],
    history: int,
    random_state: RandomState,
    rng: np.random.Generator,
    rounds: Sequence[dict[str, Any]],
    *,
    memory: float = 0.0,
    minutes: int = 1,
) -> Dataset:
    """Named (signal, noise sd) columns with AR(1) noise, events, and an oracle that knows both."""
    signal = np.column_stack([signal for signal, _ in columns.values()])
    noise = np.array([sd for _, sd in columns.values()])
    step = np.timedelta64(60 * minutes, "s")
    data = Dataset(
        name=name,
        X=signal + noise * _autoregression(rng.standard_normal(signal.shape), memory),
        time=np.datetime64("2024-01-01", "ns") + step * np.arange(len(signal)),
        feature_names=tuple(columns),
        train_end=history,
    )
    for options in rounds:
        before = data
        data = inject(before, **options, random_state=rng)
        if options["kinds"] == "drift":
            signal = signal + data.X - before.X  # it knows the drift: that is no anomaly
    distance = (np.abs(data.X - signal) / noise).max(axis=1)
    oracle = np.where(np.isnan(distance), MISSING_SCORE, distance)
    return replace(data, oracle=oracle, source=_source(name, random_state))
