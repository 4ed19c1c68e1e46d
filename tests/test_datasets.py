"""The Dataset container."""

import dataclasses

import numpy as np
import pytest

from adlib.datasets import Dataset


@pytest.fixture
def data():
    kind = np.array([""] * 20, dtype=object)
    kind[[12, 13]], kind[15], kind[17] = "spike", "recovery", "drift"
    return Dataset(
        "demo",
        np.arange(40.0).reshape(20, 2),
        kind == "spike",
        time=np.datetime64("2024-01-01") + np.arange(20),
        kind=kind.astype(str),
        train_end=10,
    )


def test_parts_follow_each_other_and_keep_rows_together(data):
    train, calibrate, test = data.split()
    assert (len(train), len(calibrate), len(test)) == (8, 2, 10)
    np.testing.assert_array_equal(np.vstack([train.X, calibrate.X, test.X]), data.X)
    np.testing.assert_array_equal(test.time, data.time[10:])
    assert test.kind[2] == "spike" and test.y[2] == 1
    # A part knows what it is: all of train is history, all of test is test.
    assert (train.train_end, train.calibrate_start) == (8, 8)
    assert (calibrate.train_end, calibrate.calibrate_start) == (2, 0)
    assert test.train_end == 0


def test_purge_leaves_rows_out_at_both_cuts(data):
    train, calibrate, test = data.slices(1)
    assert (train, calibrate, test) == (slice(0, 8), slice(9, 10), slice(11, 20))
    with pytest.raises(ValueError, match=r"purge=2 must lie in \[0, 2\)"):
        data.slices(2)


def test_recovery_rows_are_not_judged_but_drift_rows_are(data):
    assert np.flatnonzero(~data.judged).tolist() == [15]


def test_events_are_runs_of_equal_labels(data):
    assert data.events[["start", "end", "kind", "is_anomaly"]].to_numpy().tolist() == [
        [12, 14, "spike", True],
        [15, 16, "recovery", False],
        [17, 18, "drift", False],
    ]


def test_arrays_are_read_only_copies():
    X = np.zeros((5, 2))
    data = Dataset("demo", X, np.zeros(5))
    X[0] = 7
    assert data.X[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        data.X[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.X = X


def test_fingerprint_follows_content_not_name(data):
    same = dataclasses.replace(data, name="other", source="elsewhere", notes=["read so"])
    assert same.fingerprint == data.fingerprint
    X = data.X.copy()
    X[3, 1] = np.nextafter(X[3, 1], np.inf)
    assert dataclasses.replace(data, X=X).fingerprint != data.fingerprint
    assert dataclasses.replace(data, train_end=11).fingerprint != data.fingerprint
    wide = data.kind.astype("U99")
    assert dataclasses.replace(data, kind=wide).fingerprint == data.fingerprint


def test_notes_stay_with_the_rows(data):
    noted = dataclasses.replace(data, notes=["x.csv: decimal commas"])
    assert noted.train.notes == noted.imputed().notes == ("x.csv: decimal commas",)
    assert noted.describe()["notes"] == noted.notes and "notes" not in data.describe()


def test_an_interval_is_told_or_the_median_step(data):
    assert data.interval == 86_400 and np.isnan(dataclasses.replace(data, time=None).interval)
    told = dataclasses.replace(data, time=None, interval="5min")
    assert told.interval == told.test.interval == 300
    assert told.fingerprint != dataclasses.replace(told, interval=60).fingerprint


def test_series_has_three_states_and_a_former_name():
    assert Dataset("x", [1.0]).series is None and Dataset("x", [1.0]).ordered
    assert not Dataset("x", [1.0], series=False).ordered
    with pytest.warns(FutureWarning, match="'ordered' is now called 'series'"):
        assert Dataset("x", [1.0], ordered=False).series is False


RNG = np.random.default_rng(0)
NOISE, EVENTS = RNG.normal(size=(2_400, 6)), np.isin(np.arange(2_400) // 60, [20, 33])
AR = np.zeros(2_400)
for step in range(1, 2_400):
    AR[step] = 0.99 * AR[step - 1] + NOISE[step, 0]
LATENT = NOISE + RNG.normal(size=(2_400, 1))
BY_COLUMN = LATENT[np.argsort(LATENT[:, 1])]


@pytest.mark.parametrize(("X", "y", "found"), [
    (AR, np.zeros(2_400), True),  # nothing is labelled
    (AR, EVENTS, True),
    (NOISE, EVENTS, True),  # labels alone tell it
    (NOISE, RNG.permutation(EVENTS), False),
    (NOISE, np.arange(2_400) >= 2_200, False),  # sorted by label
    (NOISE, np.abs(np.arange(2_400) - 1_500) >= 700, False),  # to both ends
    (BY_COLUMN, BY_COLUMN[:, 1] > 1.5, False),
    (BY_COLUMN, RNG.random(2_400) < BY_COLUMN[:, 1] / 9, False),  # the column tells of labels
    (np.column_stack([AR, np.cumsum(NOISE[:, 1] ** 2)]), EVENTS, True),  # and a meter that counts
    (np.where(RNG.random((2_400, 6)) < 0.1, np.nan, NOISE), np.zeros(2_400), False),
], ids=["AR", "AR with events", "events", "scattered", "at the end", "at both ends", "by column",
        "by a telling column", "with a meter", "gaps"])
def test_a_series_without_a_time_is_found(X, y, found):
    data = Dataset("d", X, y)
    assert data.is_series == found == bool(data.series_found)
    for told in (True, False):
        known = dataclasses.replace(data, series=told)
        assert known.is_series == told and not known.series_found
    assert dataclasses.replace(data, interval=1).is_series


def test_missing_values_and_repeated_times_are_allowed():
    data = Dataset("demo", [1.0, np.nan, 3.0], time=np.array(["2024-01-01"] * 3, "M8[ns]"))
    assert data.describe()["missing values"] == 1
    assert data.feature_names == ("x0",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((20, 2, 2))}, r"X must have shape \(rows, features\), got \(20, 2, 2\)"),
        ({"X": np.full((20, 2), np.inf)}, "infinite"),
        ({"y": np.full(20, 2)}, r"0 \(normal\) and 1 \(anomaly\), got \[2\]"),
        ({"y": np.full(20, -1)}, r"got \[-1\]"),
        ({"y": np.zeros(19)}, r"y has shape \(19,\), X has 20 rows"),
        ({"kind": np.array([""] * 20)}, "kind is empty on a row with y = 1"),
        ({"feature_names": ("a", "a")}, "2 different names"),
        ({"time": np.datetime64("2024-01-01") - np.arange(20)}, "must not fall"),
        ({"train_end": 21}, "train_end=21"),
        ({"series": 1}, "demo: series must be True, False or None, got 1"),
        ({"interval": 0}, "demo: interval must be above 0 seconds"),
        ({"calibrate_start": 11}, "calibrate_start=11, train_end=10"),
    ],
)
def test_wrong_input_is_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(data, **change)


def test_what_has_no_test_rows_is_no_series():
    data = Dataset("a", np.zeros((20, 2)))
    assert not data.train.is_series and not Dataset("b", data.X, train_end=20).is_series
