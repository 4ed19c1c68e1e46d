"""Injected events: number, size, position, labels, reproducibility."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, kstest

from adlib.datasets import ANOMALY_KINDS, KINDS, Dataset, Event, inject, injector
from adlib.datasets.injectors import MIN_STRENGTH, _place, robust_sd

N, PERIOD = 400, 25


def two_channels(seed=0, n=N):
    """Two correlated seasonal channels on different scales, without constant stretches."""
    rng = np.random.default_rng(seed)
    season = np.sin(2 * np.pi * np.arange(n) / PERIOD)
    noise = 0.1 * rng.standard_normal((n, 2))
    return (season[:, None] + noise) * [1.0, 50.0] + [0.0, 900.0]


def test_there_are_twelve_kinds_of_anomaly_and_drift_is_not_one():
    assert set(ANOMALY_KINDS) == {
        "spike", "contextual", "collective", "level_shift", "trend", "amplitude", "frequency",
        "variance", "seasonal_position", "correlation_break", "stuck", "dropout",
    }  # fmt: skip
    assert set(KINDS) - set(ANOMALY_KINDS) == {"drift"}


@pytest.mark.parametrize("block", range(5))
def test_over_500_seeds_events_asked_are_events_labelled_and_none_is_empty(block):
    clean = two_channels()
    pristine = clean.copy()
    sd = [robust_sd(c) for c in clean.T]
    for seed in range(100 * block, 100 * block + 100):
        n_events = 12 + seed % 2
        data = inject(
            clean,
            ANOMALY_KINDS,
            n_events=n_events,
            length=(4, 12),
            strength=(1.0, 2.0),
            period=PERIOD,
            random_state=seed,
        )
        events = data.events
        assert len(events) == n_events
        assert events["kind"].value_counts().min() >= 1 and events["kind"].nunique() == 12
        assert (data.kind != "").sum() == data.y.sum() == (events["end"] - events["start"]).sum()
        assert (events["start"] >= data.train_end).all()
        assert (events["start"].to_numpy()[1:] > events["end"].to_numpy()[:-1]).all()

        untouched = data.kind == ""
        np.testing.assert_array_equal(data.X[untouched], clean[untouched])
        assert (data.strength[untouched] == 0).all() and (data.channel[untouched] == "").all()
        for e in events.itertuples():
            c = data.feature_names.index(e.channel)
            rows = slice(e.start, e.end)
            np.testing.assert_array_equal(data.X[rows, 1 - c], clean[rows, 1 - c])
            change = data.X[rows, c] - clean[rows, c]
            if e.kind == "dropout":
                assert np.isnan(change).all() and e.strength in (1.0, 2.0)
                continue
            # The label is the size that can be measured, and never nothing.
            assert np.sqrt(np.mean(change**2)) / sd[c] == pytest.approx(e.strength)
            assert e.strength >= MIN_STRENGTH
            if not KINDS[e.kind].replaces:
                assert e.strength == pytest.approx(1) or e.strength == pytest.approx(2)
    np.testing.assert_array_equal(clean, pristine)


def test_same_seed_same_bytes_and_other_seed_other_bytes():
    def prints(seed):
        options = {"n_events": 12, "length": 8, "period": PERIOD}
        return inject(two_channels(), ANOMALY_KINDS, **options, random_state=seed).fingerprint

    first = [prints(seed) for seed in range(20)]
    assert first == [prints(seed) for seed in range(20)]
    assert len(set(first)) == 20


def all_placements(lengths, n, gap):
    """Every placement of events of one length, by brute force."""
    k, length = len(lengths), lengths[0]
    return [
        starts
        for starts in combinations(range(n - length + 1), k)
        if all(b - a >= length + gap for a, b in zip(starts, starts[1:], strict=False))
    ]


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_every_placement_is_equally_likely(gap):
    lengths = np.array([2, 2, 2])
    rng = np.random.default_rng(0)
    expected = all_placements([2, 2, 2], 11, gap)
    draws = [tuple(sorted(_place(lengths, np.array([[0, 11]]), gap, rng))) for _ in range(6000)]
    counts = pd.Series(draws).value_counts().reindex(expected)
    assert counts.sum() == 6000  # nothing outside the brute-force list
    assert chisquare(counts.fillna(0)).pvalue > 1e-3


def test_every_placement_is_equally_likely_around_taken_rows():
    rng = np.random.default_rng(1)
    segments = np.array([[0, 5], [6, 12]])
    expected = [s for s in all_placements([2, 2], 12, 1) if all(a + 2 <= 5 or a >= 6 for a in s)]
    lengths = np.array([2, 2])
    draws = [tuple(sorted(_place(lengths, segments, 1, rng))) for _ in range(6000)]
    counts = pd.Series(draws).value_counts().reindex(expected)
    assert counts.sum() == 6000
    assert chisquare(counts.fillna(0)).pvalue > 1e-3


def test_no_end_bias_over_500_seeds():
    x = two_channels()[:, 0]
    starts, mirrored = [], []
    for seed in range(500):
        alone = inject(x, "level_shift", n_events=1, length=10, start=100, random_state=seed)
        starts.append(alone.events["start"][0])
        several = inject(x, "level_shift", n_events=4, length=20, start=100, random_state=seed)
        mirrored.append((several.events["start"].iloc[0] - 100, N - several.events["end"].iloc[-1]))
    # One event: starts are uniform on 100 ... 390, both ends included.
    assert chisquare(np.histogram(starts, bins=np.linspace(100, 391, 11))[0]).pvalue > 1e-3
    assert kstest((np.array(starts) + 0.5 - 100) / 291, "uniform").pvalue > 1e-3
    # Several events: room before the first is distributed like room after the last.
    before, after = np.array(mirrored).T
    assert kstest(before, after).pvalue > 1e-3


def test_packed_full_is_possible_and_one_more_is_refused():
    x = np.sin(np.arange(40.0))
    full = inject(x, "level_shift", n_events=5, length=4, start=16, min_gap=1, random_state=0)
    assert full.events["start"].tolist() == [16, 21, 26, 31, 36]
    with pytest.raises(ValueError, match=r"n_events=6 .* 24 free rows; .* 5 would"):
        inject(x, "level_shift", n_events=6, length=4, start=16)


@pytest.mark.parametrize("kind", ["stuck", "amplitude", "frequency", "seasonal_position"])
def test_no_event_where_it_would_change_nothing(kind):
    # Constant but for one stretch of waves: an event elsewhere would be invisible.
    x = np.zeros(600)
    x[400:500] = 3 * np.sin(2 * np.pi * np.arange(100) / 20)
    for seed in range(30):
        data = inject(x, kind, n_events=1, length=10, period=20, random_state=seed)
        assert np.abs(data.X[:, 0] - x).max() > 0.1
        assert data.y.sum() == 10
    with pytest.raises(ValueError, match=f"kind '{kind}' changes the data too little"):
        inject(x, kind, n_events=1, length=10, period=20, start=520, random_state=0)


def test_contextual_needs_context_and_stays_in_range():
    x = two_channels()[:, 0]
    data = inject(x, "contextual", n_events=8, random_state=0)
    changed = data.X[data.y == 1, 0]
    assert x.min() <= changed.min() and changed.max() <= x.max()
    with pytest.raises(ValueError, match="no context"):
        inject(np.random.default_rng(0).standard_normal(500), "contextual", n_events=1)


def test_stuck_repeats_the_last_good_value():
    x = two_channels()[:, 0]
    data = inject(x, "stuck", n_events=1, length=10, random_state=2)
    e = data.events.iloc[0]
    assert (data.X[e.start : e.end, 0] == x[e.start - 1]).all()


def test_seasonal_position_shows_values_that_the_channel_has():
    x = two_channels()[:, 0]
    data = inject(x, "seasonal_position", n_events=3, length=9, period=PERIOD, random_state=0)
    assert np.isin(data.X[data.y == 1, 0], x).all()


def test_correlation_break_needs_a_companion_and_lowers_the_correlation():
    X = two_channels(n=2000)
    data = inject(X, "correlation_break", n_events=10, length=60, random_state=0)
    rows = data.y == 1
    assert np.corrcoef(X[rows].T)[0, 1] > 0.95
    assert abs(np.corrcoef(data.X[rows].T)[0, 1]) < 0.6
    with pytest.raises(ValueError, match="at least 0.5"):
        inject(X[:, 0], "correlation_break")


@pytest.mark.parametrize(("missing", "value"), [("nan", np.nan), (0.0, 0.0), (-1, -1.0)])
def test_dropout_leaves_what_was_chosen(missing, value):
    x = 5 + two_channels()[:, 0]
    data = inject(x, "dropout", n_events=2, length=6, missing=missing, random_state=0)
    np.testing.assert_allclose(data.X[data.y == 1, 0], value, atol=1e-12)


def test_drift_is_not_an_anomaly_and_lasts():
    X = two_channels()
    data = inject(X, "drift", n_events=1, length=50, strength=2, columns=[1], random_state=0)
    e = data.events.iloc[0]
    assert not data.y.any() and (data.kind[e.start : e.end] == "drift").all()
    moved = (data.X - X)[:, 1] / robust_sd(X[:, 1])
    assert (moved[: e.start] == 0).all()
    # A ramp of rms 2 ends at about 2 * sqrt(3), and stays there.
    np.testing.assert_allclose(np.abs(moved[e.end :]), np.abs(moved[e.end - 1]))
    assert np.abs(moved[-1]) == pytest.approx(2 * np.sqrt(3), rel=0.05)
    np.testing.assert_array_equal(data.X[:, 0], X[:, 0])


def test_events_after_a_drift_happen_on_its_level():
    X = two_channels()[:, :1]
    for seed in range(20):
        options = {"length": 8, "strength": 3, "random_state": seed}
        data = inject(X, ["drift", "stuck"], n_events=2, **options)
        stuck = data.events.set_index("kind").loc["stuck"]
        value = data.X[stuck.start, 0]
        assert (data.X[stuck.start : stuck.end, 0] == value).all()
        assert value == pytest.approx(data.X[stuck.start - 1, 0])


def test_chained_calls_keep_earlier_labels_and_do_not_overlap():
    first = inject(two_channels(), "spike", n_events=10, strength=5, random_state=0)
    both = inject(first, "stuck", n_events=5, length=10, random_state=1)
    assert both.events["kind"].value_counts().to_dict() == {"spike": 10, "stuck": 5}
    spikes = first.kind == "spike"
    np.testing.assert_array_equal(both.X[spikes], first.X[spikes])
    assert (both.strength[spikes] == 5).all() or np.allclose(both.strength[spikes], 5)
    assert both.train_end == first.train_end
    assert not np.isin(np.flatnonzero(both.kind == "stuck"), np.flatnonzero(spikes)).any()


def test_events_do_not_cross_sessions():
    session = np.repeat([0, 1, 2, 3], 100)
    base = Dataset("runs", two_channels(), session=session, train_end=0)
    for seed in range(50):
        events = inject(base, "level_shift", n_events=6, length=20, random_state=seed).events
        assert (session[events["start"]] == session[events["end"] - 1]).all()


def test_frames_keep_names_and_time_and_are_not_changed():
    index = pd.date_range("2024-01-01", periods=N, freq="min", tz="Europe/Berlin")
    frame = pd.DataFrame(two_channels(), columns=["a", "b"], index=index)
    before = frame.copy(deep=True)
    data = inject(frame, ["spike", "trend"], n_events=4, columns=["b"], random_state=0)
    pd.testing.assert_frame_equal(frame, before)
    assert data.feature_names == ("a", "b") and set(data.events["channel"]) == {"b"}
    assert data.time[0] == np.datetime64("2023-12-31T23:00")


def test_several_channels_at_once():
    data = inject(two_channels(), "level_shift", n_events=3, n_columns=2, random_state=0)
    assert set(data.events["channel"]) == {"x0,x1"}
    assert (data.X[data.y == 1] != two_channels()[data.y == 1]).all()


def test_a_new_kind_takes_a_few_lines():
    @injector("echo", min_length=2, replaces=True)
    def echo(event: Event):
        """The rows before, once more."""
        return event.x[event.start - event.length : event.start]

    try:
        data = inject(two_channels(), "echo", n_events=2, length=9, random_state=0)
        assert data.events["kind"].tolist() == ["echo", "echo"]
        assert KINDS["echo"].summary == "The rows before, once more."
    finally:
        del KINDS["echo"]


@pytest.mark.parametrize("kind", ["frequency", "seasonal_position"])
def test_without_a_season_these_kinds_ask_for_one(kind):
    noise = np.random.default_rng(0).standard_normal(500)
    with pytest.raises(ValueError, match="pass period="):
        inject(noise, kind, n_events=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": "spikes"}, r"kinds: got \['spikes'\]"),
        ({"kinds": []}, "kinds: got"),
        ({"n_events": -1}, "n_events must be .* got -1"),
        ({"length": 0}, "length must be"),
        ({"length": (5, 3)}, r"got \(5, 3\)"),
        ({"kinds": "trend", "length": 2}, "'trend' needs length >= 3, got 2"),
        ({"strength": 0}, "strength must be > 0"),
        ({"start": 400}, "start=400 must be a row"),
        ({"columns": ["c"]}, r"columns: 'c' is not among \['x0', 'x1'\]"),
        ({"columns": [2]}, "columns: 2 is not among"),
        ({"n_columns": 3}, "n_columns=3, but 2 columns vary"),
        ({"period": 2}, r"period must lie in \[4, 400\]"),
        ({"missing": "zero"}, "missing must be"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        inject(two_channels(), **options)


def test_constant_columns_are_skipped_or_refused():
    X = two_channels()
    X[:, 1] = 7
    assert set(inject(X, n_events=9, random_state=0).events["channel"]) == {"x0"}
    with pytest.raises(ValueError, match=r"\['x1'\] are constant"):
        inject(X, columns=["x1"])


def test_missing_values_and_text_are_refused():
    X = two_channels()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="column 'x1' has missing values"):
        inject(X)
    with pytest.raises(ValueError, match=r"\['b'\] are not numeric"):
        inject(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
