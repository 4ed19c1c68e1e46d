"""Exercises of notebook 19: sequence models."""

import numpy as np

from exercises import exercise, require

# -- 19.1: attention that looks back only so far


def attended(Q, K, V, reach):
    """What attention over the row itself and `reach` rows before it gives."""
    n, d = Q.shape
    back = np.subtract.outer(np.arange(n), np.arange(n))
    fit = np.where((back >= 0) & (back <= reach), Q @ K.T / np.sqrt(d), -np.inf)
    weights = np.exp(fit - fit.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ V


@exercise("19.1")
def local_attention(attend):
    """A function attend(Q, K, V, reach): row t sees rows t - reach to t and no others."""
    require(callable(attend), f"A function attend(Q, K, V, reach) is asked for, got {attend!r}.")
    rng, n, reach = np.random.default_rng(191), 14, 4
    Q, K, V = rng.normal(size=(3, n, 9))

    def of(q, k, v, r=reach):
        return np.asarray(attend(q.copy(), k.copy(), v.copy(), r), float)

    got = of(Q, K, V)
    require(got.shape == V.shape, f"Values of shape {V.shape} want outputs of that shape, the "
            f"result has {got.shape}.")
    require(np.isfinite(got).all(), f"{(~np.isfinite(got)).any(axis=1).sum()} rows are not finite. "
            "Row 0 may look at itself.")
    same = of(Q, K, np.ones_like(V))
    row, column = np.unravel_index(np.abs(same - 1).argmax(), same.shape)
    require(abs(same[row, column] - 1) < 1e-9, "Where all values are 1 the outputs must be 1, row "
            f"{row} gives {same[row, column]:.3f}: the weights of a row do not add up to 1 over "
            "what it looks at.")
    moved = [np.flatnonzero(np.abs(of(Q, K + (np.arange(n) == s)[:, None] * rng.normal(size=9),
                                      V + 5.0 * (np.arange(n) == s)[:, None]) - got).max(axis=1)
                            > 1e-9) for s in range(n)]
    early = sum((rows < s).sum() for s, rows in enumerate(moved))
    require(not early, f"{early} outputs change when a later row changes.")
    far = sum((rows > s + reach).sum() for s, rows in enumerate(moved))
    require(not far, f"{far} outputs change with a row more than {reach} rows before them.")
    require(all(s + reach in rows for s, rows in enumerate(moved[:n - reach])),
            f"The row {reach} rows back must still count, here it does not.")
    error = np.abs(got - attended(Q, K, V, reach)).max()
    require(error < 1e-9, "The right rows are looked at, but outputs are off by up to "
            f"{error:.3f}. What are products divided by, and along which axis does softmax run?")
    return (f"Each of {n} rows looks at itself and at most {reach} rows before it, and the outputs "
            "agree with the formula.")


@local_attention.solution
def _():
    def attend(Q, K, V, reach):
        n, d = Q.shape
        back = np.subtract.outer(np.arange(n), np.arange(n))  # how far s lies before t
        fit = Q @ K.T / np.sqrt(d)
        fit[(back < 0) | (back > reach)] = -np.inf
        weights = np.exp(fit - fit.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True) @ V

    return attend


# -- 19.2: a band for a whole path of forecasts

USUAL = np.sqrt(np.arange(1.0, 7.0))  # errors grow with the steps ahead


def paths(n, seed):
    """Errors of forecasts 1 to 6 steps ahead, heavy-tailed, and alike within a path."""
    rng = np.random.default_rng(seed)
    size = np.exp(0.5 * rng.normal(size=(n, 1)))
    return USUAL * size * rng.normal(size=(n, len(USUAL)))


@exercise("19.2")
def path_band(band):
    """A function band(errors, usual, alpha): half widths that hold a whole path."""
    require(callable(band), f"A function band(errors, usual, alpha) is asked for, got {band!r}.")
    alpha, steps = 0.1, len(USUAL)

    def of(errors, level):
        widths = np.asarray(band(errors.copy(), USUAL.copy(), level), float)
        require(widths.shape == (steps,), f"{steps} steps ahead want {steps} half widths, the "
                f"result has shape {widths.shape}.")
        return widths

    few = of(paths(12, 0), 0.05)
    require((few == np.inf).all(), "12 held-out paths cannot show that 95 % of paths stay inside: "
            f"the band must be infinite then, got {few[0]:.2f} at the first step.")
    bands = [of(paths(19, seed), alpha) for seed in range(400)]
    require((np.array(bands) > 0).all(), "Half widths are above 0: the size of an error counts, "
            "not its sign.")
    fresh = paths(4_000, 9_999)
    held = np.mean([(np.abs(fresh) <= widths).all(axis=1).mean() for widths in bands])
    require(held >= 1 - alpha - 0.006, f"{held:.1%} of later paths stay inside at all their steps, "
            f"over 400 sets of 19 held-out paths; at least {1 - alpha:.0%} are asked for.")
    require(held <= 1 - alpha + 0.02, f"{held:.1%} of later paths stay inside, {1 - alpha:.0%} are "
            "asked for: the band is wider than it must be.")
    growth = np.mean([widths[-1] / widths[0] for widths in bands])
    require(growth > 1.5, f"The last step's band is {growth:.2f} times as wide as the first one's, "
            f"its errors are {USUAL[-1]:.2f} times as large: measure each error in units of "
            "`usual`.")
    return (f"{held:.1%} of later paths stay inside at all {steps} steps; {1 - alpha:.0%} were "
            "asked for.")


@path_band.solution
def _():
    def band(errors, usual, alpha):
        worst = np.sort(np.max(np.abs(errors) / usual, axis=1))  # one number for each path
        k = int(np.ceil((len(worst) + 1) * (1 - alpha)))
        return usual * (worst[k - 1] if k <= len(worst) else np.inf)

    return band


# -- 19.3: the left matrix profile as a score of rows


@exercise("19.3")
def left_scores(score):
    """A function score(x, m): of the window that ends at each row, the distance to its past."""
    require(callable(score), f"A function score(x, m) is asked for, got {score!r}.")
    rng, n, m = np.random.default_rng(193), 240, 12
    x = np.sin(2 * np.pi * np.arange(n) / 20) + 0.1 * rng.normal(size=n)
    x[150:162] = x[150:162][::-1]
    got = np.asarray(score(x.copy(), m), float)
    require(got.shape == x.shape, f"{n} rows want {n} scores, the result has shape {got.shape}. "
            "A window's score belongs to the row where the window ends.")
    require(np.isfinite(got).all(), f"{(~np.isfinite(got)).sum()} scores are not finite. "
            "Rows that cannot be judged yet score 0.")
    later = x.copy()
    later[170:] += rng.normal(size=n - 170)
    moved = np.flatnonzero(np.abs(np.asarray(score(later, m), float) - got)[:170] > 1e-9)
    require(not moved.size, f"When rows 170 and later change, {moved.size} scores before them "
            f"change too, the first at row {moved[0] if moved.size else 0}: it uses later rows.")
    first = 2 * m - 1
    require((got[:first] == 0).all(), f"Row {np.flatnonzero(got)[0]} already has a score. The "
            f"first window with a whole window of {m} rows before it ends at row {first}.")
    scaled = np.asarray(score(3.0 * x + 10.0, m), float)
    require(np.allclose(scaled, got, atol=1e-6), "In other units (3 x + 10) the scores change by "
            f"up to {np.abs(scaled - got).max():.2f}: bring each window to mean 0 and sd 1.")
    u = np.lib.stride_tricks.sliding_window_view(x, m)
    u = (u - u.mean(axis=1, keepdims=True)) / u.std(axis=1, keepdims=True)
    wanted = np.array([np.sqrt(((u[:i - m + 1] - u[i]) ** 2).sum(axis=1)).min()
                       for i in range(m, len(u))])
    error = np.abs(got[first:] - wanted)
    require(error.max() < 1e-6, f"{(error > 1e-6).sum()} of {error.size} scores differ from the "
            f"distance to the nearest window that ended before; at row {first + error.argmax()} it "
            f"is {wanted[error.argmax()]:.2f}, got {got[first:][error.argmax()]:.2f}.")
    return (f"All {n} scores agree, none of them depends on a later row; the highest after row 100 "
            f"is at row {100 + got[100:].argmax()}, in or just after the event at 150 to 161.")


@left_scores.solution
def _():
    def score(x, m):
        u = np.lib.stride_tricks.sliding_window_view(x, m)
        u = (u - u.mean(axis=1, keepdims=True)) / u.std(axis=1, keepdims=True)
        scores = np.zeros(len(x))
        for i in range(m, len(u)):
            before = u[: i - m + 1]  # windows that ended before window i starts
            scores[i + m - 1] = np.sqrt(((before - u[i]) ** 2).sum(axis=1)).min()
        return scores

    return score
