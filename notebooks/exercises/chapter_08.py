"""Exercises of notebook 08: online detectors and drift."""

import numpy as np

from adlib import metrics
from adlib.drift import DriftMonitor
from exercises import exercise, require

BURST, DEADLINE = 40, 200


@exercise("08.1")
def patience_between_burst_and_drift(patience):
    """A patience that sits out the bursts and still reports a drift in time."""
    require(isinstance(patience, int | float | np.integer) and patience % 1 == 0,
            "the answer is a whole number of rows")
    require(10 <= patience <= 250, f"a monitor wants a patience of at least 10 rows, and a "
            f"reference four times as long: at most 250 of the 1000 rows here; got {patience}")
    mistaken, delays = 0, []
    for i in range(8):
        stream = np.random.default_rng([81, i]).normal(size=2_000)
        stream[1_300:1_300 + BURST] += 6
        stream[1_600:] += 2
        monitor = DriftMonitor(patience=int(patience)).fit(np.abs(stream[:1_000]))
        monitor.process(np.abs(stream[1_000:]))
        drifts = [entry["row"] for entry in monitor.trail_ if entry["event"] == "drift"]
        mistaken += any(row < 600 for row in drifts)
        delays += [row - 600 for row in drifts if row >= 600][:1]
    require(not mistaken, f"with a patience of {patience} a burst of {BURST} rows was called a "
            f"drift in {mistaken} of 8 streams")
    require(len(delays) == 8 and max(delays) <= DEADLINE,
            f"no burst was called a drift, but the drift was reported after up to "
            f"{max(delays, default=400)} rows; {DEADLINE} were allowed")
    return (f"No burst in 8 streams was called a drift; the drift was reported after "
            f"{max(delays)} rows.")


@patience_between_burst_and_drift.solution
def _():
    return 100


@exercise("08.2")
def a_veto_before_the_refit(is_new_normal):
    """Refit on rows that moved, not on rows that behave unlike anything before."""
    require(callable(is_new_normal), "the answer is a function: answer = is_new_normal")
    scale, verdicts = np.array([1.0, 1_000.0]), {}
    for i in range(10):
        rng = np.random.default_rng([82, i])
        train = rng.normal(size=(500, 2)) * scale + [20, 5_000]
        moved = rng.normal(size=(300, 2)) * scale + [25, 9_000]
        spiky = moved.copy()
        spiky[rng.choice(300, 9, replace=False)] += 40 * scale
        wild, stuck, small = moved.copy(), moved.copy(), moved.copy()
        wild[:, 1] = 9_000 + 5 * (moved[:, 1] - 9_000)
        small[:, 0] = 25 + 5 * (moved[:, 0] - 25)
        stuck[:, 0] = 25
        livelier, tripled, calm = moved.copy(), moved.copy(), moved.copy()
        livelier[:, 0] = 25 + 1.5 * (moved[:, 0] - 25)
        tripled[:, 0] = 25 + 3 * (moved[:, 0] - 25)
        calm[:, 1] = 9_000 + (moved[:, 1] - 9_000) / 3
        for what, rows, wanted in (
            ("rows that moved to another level", moved, True),
            ("rows that moved, three in a hundred of them spikes", spiky, True),
            ("rows of which one channel swings five times as wide", wild, False),
            ("rows whose smaller channel swings five times as wide", small, False),
            ("rows of which one channel hangs", stuck, False),
            ("rows that moved, one channel half as wide again", livelier, True),
            ("rows of which one channel swings three times as wide", tripled, False),
            ("rows of which one channel swings a third as wide", calm, False),
        ):
            before = rows.copy(), train.copy()
            answer = is_new_normal(rows, train)
            require((rows == before[0]).all() and (train == before[1]).all(),
                    "your function changes the rows it is given: copy")
            require(isinstance(answer, bool | np.bool_), "one answer for all rows: True or False")
            right, n = verdicts.get(what, (0, 0))
            verdicts[what] = right + (bool(answer) == wanted), n + 1
    for what, (right, n) in verdicts.items():
        wanted = "refit" if what.startswith("rows that moved") else "no refit"
        require(right == n, f"{what}: {wanted} is wanted, and your function says so in "
                f"{right} of {n} cases")
    return "It refits after a move, spikes or not, and refuses a wild channel and a hung one."


@a_veto_before_the_refit.solution
def _():
    def is_new_normal(rows, train):
        def spread(x):
            return np.median(np.abs(x - np.median(x, axis=0)), axis=0)

        ratio = spread(rows) / spread(train)
        return bool(np.all((ratio > 0.5) & (ratio < 2)))

    return is_new_normal


def _busy(i, n, first=0):
    """A season of 96 rows whose noise is several times larger by day than by night."""
    phase = 2 * np.pi * (first + np.arange(n)) / 96
    wide = 0.3 + 1.2 * np.clip(np.sin(phase), 0, 1)
    return 50 + 4 * np.sin(phase) + wide * np.random.default_rng([83, i]).normal(size=n), phase


@exercise("08.3")
def a_score_that_knows_the_hour(profile):
    """Deviations from what this hour usually looks like."""
    require(callable(profile), "the answer is a function: answer = profile")
    n_history, n_later, by_day, by_night, found = 40 * 96 + 30, 4_000, [], [], []
    for i in range(3):
        whole, phase = _busy(i, n_history + n_later)
        history, later, phase = whole[:n_history], whole[n_history:], phase[n_history:]
        y, draw = np.zeros(n_later, dtype=int), np.random.default_rng(i)
        for side, value in ((-1, 52.0), (1, 46.5)):  # usual at the other end of the day
            far = (side * np.sin(phase) > 0.8) & (np.arange(n_later) >= 1_000)
            at = draw.choice(np.flatnonzero(far), 12, replace=False)
            y[at], later[at] = 1, value
        score = np.asarray(profile(history, later, 96), dtype=float)
        require(score.shape == (n_later,),
                f"{n_later} later rows want {n_later} scores, got shape {score.shape}")
        require(np.isfinite(score).all(), "some of your scores are not finite")
        cut = np.quantile(score[:1_000], 0.95)
        rest, day = (np.arange(n_later) >= 1_000) & (y == 0), np.sin(phase) > 0
        by_day.append((score > cut)[rest & day].mean())
        by_night.append((score > cut)[rest & ~day].mean())
        found.append(metrics.average_precision(y, score))
    said = f"average precision {np.mean(found):.2f}, of a random score {y.mean():.2f}"
    require(np.mean(found) > 0.8,
            f"{said}: values of the day at night, or of the night by day, are not seen")
    rates = f"{np.mean(by_day):.1%} of the normal rows flagged by day, {np.mean(by_night):.1%} by "
    rates += "night"
    require(abs(np.mean(by_day) - np.mean(by_night)) < 0.03,
            f"{said}, but {rates}: is the spread the same at all hours?")
    return f"{said}; {rates}."


@a_score_that_knows_the_hour.solution
def _():
    def profile(history, later, period):
        n = len(history)
        hour, hour_later = np.arange(n) % period, (n + np.arange(len(later))) % period
        mean = np.array([history[hour == h].mean() for h in range(period)])
        sd = np.array([history[hour == h].std(ddof=1) for h in range(period)])
        return np.abs(later - mean[hour_later]) / sd[hour_later]

    return profile
