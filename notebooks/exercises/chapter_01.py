"""Exercises of notebook 01: data whose truth we know."""

import numpy as np

from adlib import metrics
from adlib.datasets import KINDS, inject, injector
from adlib.detectors import FirstDifference, MaxAbsZ
from adlib.thresholds import Conformal
from exercises import exercise, require

# -- 01.1: a kind of your own


@exercise("01.1")
def replay(shape):
    """An injector: for the rows of the event, what the channel showed one season earlier."""
    require(callable(shape), f"A function of an event is asked for, got {shape!r}.")
    period = 50
    rng = np.random.default_rng(1)
    base = np.sin(2 * np.pi * np.arange(1000) / period) + 0.3 * rng.standard_normal(1000)
    injector("01.1", min_length=2, replaces=True)(shape)
    try:
        data = inject(base, "01.1", n_events=8, length=(10, 30), period=period, random_state=1)
    finally:
        del KINDS["01.1"]
    require(len(data.events) == 8 and (data.strength[data.y == 1] > 0).all(),
            "Some events changed nothing.")
    rows = np.flatnonzero(data.y)
    shown, wanted = data.X[rows, 0], base[rows - period]
    same = np.abs(shown - wanted) < 1e-9
    require(not np.allclose(shown, wanted - base[rows]), "The rows hold the change. A kind that "
            "replaces values returns what is to be shown in their place.")
    require(not np.allclose(shown, base[np.minimum(rows + period, 999)]),
            "The rows show what comes one season later. Nobody can replay the future.")
    require(same.all(), f"{same.mean():.0%} of the rows show what the channel showed {period} rows "
            "earlier; all of them should.")
    test = slice(data.train_end, None)
    aucs = [metrics.roc_auc(data.y[test], detector.fit(data.X[:data.train_end])
                            .anomaly_score(data.X)[test]) for detector in
            (MaxAbsZ(), FirstDifference())]
    return (f"All {len(rows)} rows show the season before, {data.strength.max():.1f} sd off at "
            f"most. ROC-AUC of MaxAbsZ {aucs[0]:.2f}, of FirstDifference {aucs[1]:.2f}; a "
            "random score gets 0.50.")


@replay.solution
def _():
    def replay(event):
        rows = np.arange(event.start, event.stop)
        return event.x[rows - event.period]

    return replay


# -- 01.2: places for events


@exercise("01.2")
def places(place):
    """A function place(n_rows, n_events, length, rng): every placement is equally likely."""
    require(callable(place), f"A function place(n_rows, n_events, length, rng) is asked for, got "
            f"{place!r}.")
    rng, n_rows, n_events, length, n_draws = np.random.default_rng(4), 10, 3, 2, 3000
    drawn = [np.sort(np.asarray(place(n_rows, n_events, length, rng)).ravel())
             for _ in range(n_draws)]
    require(all(len(starts) == n_events for starts in drawn),
            f"{n_events} events were asked for, some calls return another number of starts.")
    starts = np.array(drawn)
    outside = ((starts < 0) | (starts > n_rows - length)).any(axis=1)
    require(not outside.any(), f"{outside.mean():.0%} of the placements of {n_events} events of "
            f"{length} rows in {n_rows} rows leave the series.")
    overlap = (np.diff(starts, axis=1) < length).any(axis=1)
    require(not overlap.any(), f"{overlap.mean():.0%} of the placements of {n_events} events of "
            f"{length} rows in {n_rows} rows overlap.")
    possible = 35  # three of the seven places that are left when each event is one row
    found, counts = np.unique(starts, axis=0, return_counts=True)
    require(len(found) == possible, f"Three events of two rows fit into ten rows in {possible} "
            f"ways; {n_draws} calls gave {len(found)} of them.")
    rare, common = counts.min() / counts.mean(), counts.max() / counts.mean()
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    require(chi2 < 80, f"The most frequent placement came {common:.1f} times as often as it "
            f"should, the rarest {rare:.1f} times.")
    first, middle = ((found == row).any(axis=1).sum() for row in (0, 4))
    return (f"All {possible} placements of three events in ten rows came up, each between "
            f"{rare:.2f} and {common:.2f} times as often as it should. An event starts at row 0 in "
            f"{first} of them, at row 4 in {middle}: equally likely placements are not equally "
            "likely starts.")


@places.solution
def _():
    def place(n_rows, n_events, length, rng):
        free = n_rows - n_events * (length - 1)  # shrink every event to one row
        starts = np.sort(rng.choice(free, n_events, replace=False))
        return starts + np.arange(n_events) * (length - 1)  # and let them grow again

    return place


# -- 01.3: how much contamination is too much


def threshold_with(m, n=399, alpha=0.05):
    """Threshold from n scores of which the last m are anomalies, and the largest normal score."""
    scores = np.abs(np.random.default_rng(6).normal(size=n))
    scores[n - m:] += 10.0
    return Conformal(alpha=alpha).fit(scores).value_, scores[:n - m].max(initial=0.0)


@exercise("01.3")
def too_many(m):
    """The smallest number of anomalies among 399 rows that lifts the threshold above all normal."""
    require(isinstance(m, (int, np.integer)) and not isinstance(m, bool) and 1 <= m <= 399,
            f"A number of rows between 1 and 399 is asked for, got {m!r}.")
    value, normal = threshold_with(m)
    require(value > normal, f"With {m} of the 399 rows anomalous the threshold is {value:.2f}, "
            f"and the highest normal score {normal:.2f}: it is still set by normal rows.")
    before, normal_before = threshold_with(m - 1)
    require(before <= normal_before, f"With {m} anomalous rows the threshold is {value:.2f}, above "
            f"every normal score, but with {m - 1} it is so already: {before:.2f}.")
    return (f"With {m - 1} anomalous rows the threshold is {before:.2f}, with {m} it jumps to "
            f"{value:.2f}. {m} of 399 rows are {m / 399:.1%}.")


@too_many.solution
def _():
    return 20  # the threshold is the 380th of 399 scores: 19 may lie above it
