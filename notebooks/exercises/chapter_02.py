"""Exercises of notebook 02: the online z-score."""

import numpy as np
from sklearn.base import clone

from adlib.base import OnlineDetector
from adlib.detectors import RollingZScore
from exercises import exercise, require

# -- 02.1: the ceiling of a score that learns first


def learned_first(window):
    """Score of a huge row against a window of which it is the last row, the others normal."""
    rows = np.append(np.random.default_rng(0).normal(size=window - 1), 1e9)
    return abs(rows[-1] - rows.mean()) / rows.std()


@exercise("02.1")
def smallest_window(w):
    """The smallest window with which a score that learns first can exceed 4."""
    require(isinstance(w, (int, np.integer)) and not isinstance(w, bool) and w > 1,
            f"A window is a whole number of at least 2 rows, got {w!r}.")
    at, below = learned_first(w), learned_first(w - 1) if w > 2 else 0.0
    require(at > 4 * (1 + 1e-6),
            f"In a window of {w} rows a value of a billion scores {at:.3f}, which is not above 4.")
    require(below <= 4 * (1 + 1e-6), "With that window it fires, but so does a smaller one: "
            f"in {w - 1} rows the same value scores {below:.3f}.")
    return f"A value of a billion scores {below:.3f} in {w - 1} rows and {at:.3f} in {w}."


@smallest_window.solution
def _():
    return 18  # sqrt(w - 1) > 4


# -- 02.2: the score in five lines


@exercise("02.2")
def rolling_scores(scores):
    """A function scores(values, w): |z| of each value against the w values before it."""
    require(callable(scores), f"A function scores(values, w) is asked for, got {scores!r}.")
    values, w = np.random.default_rng(2).normal(20.0, 3.0, size=200), 25
    values[120] = 60.0
    got = np.asarray(scores(values.copy(), w), float)
    require(got.shape == values.shape, f"{len(values)} values want {len(values)} scores, "
            f"the result has shape {got.shape}.")
    require(np.isfinite(got).all(), f"{(~np.isfinite(got)).sum()} scores are not finite. "
            "A row that cannot be judged yet scores 0.")
    require((got[:w] == 0).all(), f"{(got[:w] != 0).sum()} rows score above 0 before {w} rows "
            "of past have been seen.")
    require((got >= 0).all(), f"{(got < 0).sum()} scores are negative: a value that is too low is "
            "as unusual as one that is too high.")
    ceiling = np.sqrt(w - 1)
    require(got[120] > ceiling + 1e-6, f"The spike scores {got[120]:.2f} and can never exceed "
            f"sqrt(w - 1) = {ceiling:.2f}: it is in the window that it is compared with.")
    later = values.copy()
    later[150:] += 100.0
    moved = np.flatnonzero(np.abs(np.asarray(scores(later, w), float) - got)[:150] > 1e-9)
    require(not moved.size, f"When rows 150 and later change, {moved.size} scores before row 150 "
            "change with them: the past knows the future.")
    past = np.lib.stride_tricks.sliding_window_view(values, w)[:-1]
    wanted = np.abs(values[w:] - past.mean(axis=1)) / past.std(axis=1)
    ratio = got[w:] / wanted
    require(np.ptp(ratio) > 1e-6 or abs(ratio[0] - 1) < 1e-6, f"Every score is {ratio[0]:.3f} "
            "times what the formula gives: look at what the sd divides by.")
    error = np.abs(got[w:] - wanted)
    require(error.max() < 1e-6, f"{(error > 1e-6).sum()} of {error.size} scores differ from the "
            f"formula; at row {w + error.argmax()} by {error.max():.2f}. Which {w} rows are "
            "compared with?")
    return (f"All {len(values)} scores agree with the formula, and the spike scores "
            f"{got[120]:.1f}.")


@rolling_scores.solution
def _():
    def scores(values, w):
        z = np.zeros(len(values))
        for t in range(w, len(values)):
            past = values[t - w : t]  # without row t
            z[t] = abs(values[t] - past.mean()) / past.std()
        return z

    return scores


# -- 02.3: a gate that holds long enough, and no longer


def flagged(detector, X):
    """Share of flagged rows (score above 4) in each of ten streams, row by row."""
    return np.mean([clone(detector).fit(x[:200]).process(x[200:]) > 4 for x in X], axis=0)


@exercise("02.3")
def hold_and_let_go(detector):
    """A detector that sees a burst of 80 rows whole, and is quiet 200 rows after a shift."""
    require(isinstance(detector, OnlineDetector),
            f"A detector is asked for, such as RollingZScore(window=60), got {detector!r}.")
    noise = np.random.default_rng(3).normal(size=(10, 900, 1))
    burst, shift = noise.copy(), noise.copy()
    burst[:, 400:480] += 8.0
    shift[:, 400:] += 8.0
    quiet = flagged(detector, noise).mean()
    require(quiet < 0.005, f"{quiet:.1%} of the rows of pure noise are flagged; below 0.5% is "
            "asked for. The sd is estimated from the rows that were let in.")
    recall = flagged(detector, burst)[200:280].mean()
    require(recall > 0.95, f"{recall:.0%} of a burst of 80 rows is flagged, more than 95% is asked "
            "for.")
    after = flagged(detector, shift)[400:].mean()
    require(after < 0.01, f"Later than 200 rows after a lasting shift {after:.0%} of the rows are "
            "still flagged: when does the detector give in?")
    return f"{recall:.0%} of the burst is flagged, {after:.1%} of the rows after the shift, " \
           f"{quiet:.1%} of pure noise."


@hold_and_let_go.solution
def _():
    return RollingZScore(window=60, gate=4.0, release=120)  # between 80 and 200 rows
