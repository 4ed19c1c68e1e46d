"""Patients 13 to 17: how the numbers of a report come about."""

import numpy as np

from adlib.metrics import average_precision, f1, point_adjusted_f1
from exercises import exercise, require


def _distance(train, test, seed):
    return np.linalg.norm(test - train.mean(axis=0), axis=1)


def _sampled(train, test, seed):
    """Distance to the nearest of eight training rows; the seed says which."""
    kept = np.random.default_rng(seed).choice(train, 8, replace=False)
    return np.linalg.norm(test[:, None] - kept, axis=2).min(axis=1)


_ALIKE = 1000  # detectors: 88 and 95 % are then clearly apart


@exercise("16.13")
def typed_numbers(answer):
    """A table holds what was measured in the run that prints it, and intervals that cover."""
    detectors, seeds = {"distance": _distance, "sampled": _sampled}, [0, 1, 2, 3, 4]
    y = np.repeat([0, 1], [180, 20])
    widths, off = [], 0.0
    for height in (0.5, 2.5):
        rng = np.random.default_rng(13)
        train, test = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
        test[y == 1] += height
        table = answer(detectors, train, test, y, seeds).set_index("detector")
        for name, detector in detectors.items():
            values = [average_precision(y, detector(train, test, seed)) for seed in seeds]
            off = max(off, abs(table.loc[name, "mean"] - np.mean(values)))
        low, mean, high = (table[column] for column in ("low", "mean", "high"))
        widths.append((high - low).to_numpy())
        require((low <= mean).all() and (mean <= high).all(), "A mean outside its interval.")
    require(off < 0.005, "Weak faults, then strong ones: a mean average precision of the table is "
                         f"{off:.2f} off what the detectors reach.")
    require(widths[0].max() > 0, f"{len(seeds)} seeds were given, and no interval has a width.")
    require(len({round(float(width), 6) for width in np.concatenate(widths)}) > 1,
            f"Every interval is {widths[0][0]:.2f} wide, on both data sets, for both detectors.")
    covered = _coverage(answer, y, seeds)
    require(covered > 0.9, f"Of {_ALIKE} detectors that are alike {covered:.0%} have the mean of "
                             f"all in their interval over {len(seeds)} seeds; 95 % were promised.")
    return (f"Both tables hold what the detectors reach, over {len(seeds)} seeds; "
            f"{covered:.0%} of the intervals hold the true mean.")


def _coverage(answer, y, seeds):
    """Share of equal detectors whose interval holds their common mean."""
    def noisy(number):
        return lambda train, test, seed: 1.5 * y + np.random.default_rng(
            [13, number, seed]).normal(size=len(y))

    rows = np.zeros((len(y), 3))  # these detectors do not look at them
    table = answer({f"detector {k}": noisy(k) for k in range(_ALIKE)}, rows, rows, y, seeds)
    true = table["mean"].mean()
    return np.mean((table["low"] <= true) & (true <= table["high"]))


@typed_numbers.solution
def _():
    import pandas as pd

    from adlib.notebooks import interval

    def comparison_table(detectors, train, test, y, seeds):
        rows = []
        for name, detector in detectors.items():
            mean, half = interval(
                [average_precision(y, detector(train, test, seed)) for seed in seeds])
            rows.append({"detector": name, "mean": mean, "low": mean - half, "high": mean + half})
        return pd.DataFrame(rows)

    return comparison_table


def _table(values, half_width=lambda found: 0.0):
    import pandas as pd

    def comparison_table(detectors, train, test, y, seeds):
        rows = []
        for name, detector in detectors.items():
            found = values(detector, train, test, y, seeds)
            mean, half = np.mean(found), half_width(found)
            rows.append({"detector": name, "mean": mean, "low": mean - half, "high": mean + half})
        return pd.DataFrame(rows)

    return comparison_table


def _every_seed(detector, train, test, y, seeds):
    return [average_precision(y, detector(train, test, seed)) for seed in seeds]


@typed_numbers.mistake("computes with the first seed alone")
def _():
    return _table(lambda d, train, test, y, seeds: _every_seed(d, train, test, y, seeds[:1]))


@typed_numbers.mistake("computes the mean and types the interval")
def _():
    return _table(_every_seed, lambda found: 0.02)


@typed_numbers.mistake("1.96 standard errors, although there are five seeds")
def _():
    return _table(_every_seed,
                  lambda found: 1.96 * np.std(found, ddof=1) / np.sqrt(len(found)))


@typed_numbers.mistake("computes on the rows that it trained on")
def _():
    return _table(lambda d, train, test, y, seeds: _every_seed(d, test, test, y, seeds))


@exercise("16.14")
def tuned_on_the_test(answer):
    """The labels of the test are read once: by the metric, at the end."""
    rng = np.random.default_rng(14)
    reported, fresh = [], []
    for _ in range(40):
        y, score = (rng.random((3, 100)) < 0.1).astype(int), rng.random((3, 100))
        y[:, :2] = [0, 1]
        threshold, value = answer(y[0], score[0], y[1], score[1])
        reported.append(value)
        fresh.append(f1(y[2], score[2] > threshold) if (score[2] > threshold).any() else 0.0)
    require(np.mean(reported) - np.mean(fresh) < 0.05,
            f"Random scores: F1 {np.mean(reported):.2f} is reported; new rows at the same "
            f"threshold give {np.mean(fresh):.2f}.")
    y = (rng.random((2, 2000)) < 0.1).astype(int)
    score = rng.normal(size=(2, 2000)) + 3 * y
    threshold, value = answer(y[0], score[0], y[1], score[1])
    for what, labels, scores in (("labels", y[1][::-1], score[1]),
                                 ("scores", y[1], score[1] + 1)):
        other, _ = answer(y[0], score[0], labels, scores)
        require(other == threshold, f"Other {what} in the test, and the threshold moves from "
                                    f"{threshold:.2f} to {other:.2f}.")
    actual = f1(y[1], score[1] > threshold)
    require(abs(value - actual) < 1e-6, f"F1 {value:.2f} is reported, at this threshold the test "
                                        f"has {actual:.2f}.")
    best = max(f1(y[1], score[1] > cut) for cut in np.linspace(0, 3, 61))
    require(value > best - 0.05, f"F1 {value:.2f}, where a well-placed threshold has {best:.2f}.")
    return f"A random score is reported as F1 {np.mean(reported):.2f}, a real one as {value:.2f}."


def _best_cut(y, score):
    cuts = np.quantile(score, np.linspace(0.5, 0.99, 100))
    return max(cuts, key=lambda cut: f1(y, score > cut))


@tuned_on_the_test.solution
def _():
    def tuned_f1(validation_y, validation_score, test_y, test_score):
        cuts = np.quantile(validation_score, np.linspace(0.5, 0.99, 100))
        threshold = max(cuts, key=lambda cut: f1(validation_y, validation_score > cut))
        return threshold, f1(test_y, test_score > threshold)

    return tuned_f1


@tuned_on_the_test.mistake("tunes on validation and test together")
def _():
    def tuned_f1(validation_y, validation_score, test_y, test_score):
        threshold = _best_cut(np.r_[validation_y, test_y], np.r_[validation_score, test_score])
        return threshold, f1(test_y, test_score > threshold)

    return tuned_f1


@tuned_on_the_test.mistake("tunes on validation and reports what it got there")
def _():
    def tuned_f1(validation_y, validation_score, test_y, test_score):
        threshold = _best_cut(validation_y, validation_score)
        return threshold, f1(validation_y, validation_score > threshold)

    return tuned_f1


@tuned_on_the_test.mistake("flags as many test rows as the validation part had anomalies")
def _():
    def tuned_f1(validation_y, validation_score, test_y, test_score):
        threshold = np.quantile(test_score, 1 - validation_y.mean())
        return threshold, f1(test_y, test_score > threshold)

    return tuned_f1


@exercise("16.15")
def shuffled_split(answer):
    """Time is cut, not shuffled, and windows do not reach across the cut."""
    n, window = 1000, 20
    train, test = (np.asarray(rows) for rows in answer(n, window))
    train, test = (np.flatnonzero(rows) if rows.dtype == bool else rows for rows in (train, test))
    for name, rows in (("train", train), ("test", test)):
        require(len(rows) and rows.min() >= 0 and rows.max() < n and len(set(rows)) == len(rows),
                f"{name} does not hold rows between 0 and {n - 1}, each once.")
    shared = np.mean(np.abs(test[:, None] - train).min(axis=1) < window)
    later = np.mean(train > test.min())
    require(later == 0, f"{later:.0%} of the training rows come after the first test row, and "
                        f"{shared:.0%} of the test windows share rows with a training window.")
    require(shared == 0, f"{shared:.1%} of the test windows share rows with a training window.")
    require(len(test) >= 0.2 * n and len(train) >= 0.5 * n,
            f"Of {n} rows {len(train)} train and {len(test)} test: the gap is too wide.")
    return f"{len(train)} rows train, {len(test)} later ones test, no window reaches across."


@shuffled_split.solution
def _():
    def split(n_rows, window):
        cut = int(0.7 * n_rows)
        return np.arange(cut), np.arange(cut + window - 1, n_rows)

    return split


@shuffled_split.mistake("cuts in time, without a gap")
def _():
    return lambda n_rows, window: np.split(np.arange(n_rows), [int(0.7 * n_rows)])


@shuffled_split.mistake("tests on a part in the middle and trains on both sides of it")
def _():
    def split(n_rows, window):
        first, last = int(0.4 * n_rows), int(0.7 * n_rows)
        before, after = np.arange(first - window), np.arange(last + window, n_rows)
        return np.concatenate([before, after]), np.arange(first, last)

    return split


@shuffled_split.mistake("shuffles whole blocks")
def _():
    def split(n_rows, window):
        blocks = np.random.default_rng(0).permutation(n_rows // 50)
        rows = (50 * blocks[:, None] + np.arange(50)).ravel()
        return np.split(rows, [int(0.7 * n_rows)])

    return split


@exercise("16.16")
def point_adjusted(answer):
    """What a random score can reach is not a result."""
    rng = np.random.default_rng(16)
    y = np.zeros(3000, int)
    for start in (300, 900, 1500, 2100, 2700):
        y[start : start + 80] = 1
    chance = np.array([answer(y, rng.random(len(y))) for _ in range(8)])
    perfect = answer(y, y + 0.1 * rng.random(len(y)))
    real = np.array([answer(y, rng.normal(size=len(y)) + 1.5 * y) for _ in range(4)])
    require(chance.mean() < 0.6, f"Eight random scores get {chance.mean():.2f} on average, a "
                                 f"perfect one {perfect:.2f}.")
    require(perfect > 0.9, f"A perfect score gets {perfect:.2f}.")
    require(real.min() > chance.max(), f"A score that knows something gets {real.min():.2f}, a "
                                       f"random one {chance.max():.2f}.")
    require(len({round(float(value), 9) for value in real}) > 1, "It does not look at the score.")
    return (f"Random scores get {chance.mean():.2f}, one that knows something {real.mean():.2f}, a "
            f"perfect one {perfect:.2f}.")


@point_adjusted.solution
def _():
    from adlib.metrics import vus_pr

    def headline(y, score):
        return vus_pr(y, score, window=20)

    return headline


@point_adjusted.mistake("fixes the threshold at the top 5 %, and goes on adjusting")
def _():
    return lambda y, score: point_adjusted_f1(y, score > np.quantile(score, 0.95))


@point_adjusted.mistake("adjusts only where a stretch was hit twice")
def _():
    def headline(y, score):
        flags = score > np.quantile(score, 0.97)
        edges = np.flatnonzero(np.diff(np.r_[0, y, 0]))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            flags[start:stop] |= flags[start:stop].sum() >= 2
        return f1(y, flags)

    return headline


@point_adjusted.mistake("the mean of the adjusted and the plain F1")
def _():
    def headline(y, score):
        flags = score > np.quantile(score, 0.98)
        return (point_adjusted_f1(y, flags) + f1(y, flags)) / 2

    return headline


@exercise("16.17")
def hidden_seed(answer):
    """Randomness is an argument, and a result can be repeated."""
    rng = np.random.default_rng(17)
    train, test = rng.normal(size=(300, 3)), rng.normal(size=(100, 3))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - has the answer touched it?
    runs = {seed: np.asarray(answer(train, test, seed), float) for seed in (0, 1, 2)}
    again = np.asarray(answer(train, test, 0), float)
    touched = not np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    require(np.array_equal(runs[0], again), "Seed 0, run twice, gives two different results.")
    moved = np.sum((runs[0] != runs[1]) | (runs[0] != runs[2]))
    require(moved > 0, f"Three seeds, and {moved} of 100 rows get another score.")
    require(not touched, "NumPy's global random state is another one after the call: whatever the "
                         "caller draws next has changed.")
    unseeded = [np.asarray(answer(train, test, None), float) for _ in range(2)]
    require(not np.array_equal(*unseeded), "random_state=None, twice: the scores are the same.")
    distance = np.linalg.norm(test, axis=1)
    require(np.corrcoef(runs[0], distance)[0, 1] > 0.5, "Rows far from the others do not score "
                                                        "higher.")
    return "One seed, one result; another seed, another; and the caller's generator is untouched."


@hidden_seed.solution
def _():
    def anomaly_scores(train, test, random_state=None):
        rng = np.random.default_rng(random_state)
        kept = rng.choice(train, 16, replace=False)
        return np.linalg.norm(test[:, None] - kept, axis=2).min(axis=1)

    return anomaly_scores


def _nearest(test, kept):
    return np.linalg.norm(test[:, None] - kept, axis=2).min(axis=1)


@hidden_seed.mistake("no seed at all")
def _():
    return lambda train, test, random_state=None: _nearest(
        test, np.random.default_rng().choice(train, 16, replace=False))


@hidden_seed.mistake("seeds NumPy's global generator")
def _():
    def anomaly_scores(train, test, random_state=None):
        np.random.seed(random_state)  # noqa: NPY002
        return _nearest(test, train[np.random.permutation(len(train))[:16]])  # noqa: NPY002

    return anomaly_scores


@hidden_seed.mistake("42 whenever none is given")
def _():
    def anomaly_scores(train, test, random_state=None):
        rng = np.random.default_rng(42 if random_state is None else random_state)
        return _nearest(test, rng.choice(train, 16, replace=False))

    return anomaly_scores
