"""Mistakes that the checks of chapter 19 must tell from an answer."""

import numpy as np

from exercises.chapter_19 import left_scores, local_attention, path_band

# -- 19.1: attention that looks back only so far


def attention(hide, *, root=True, axis=1, filler=-np.inf, late=False):
    """Attention with one thing changed; `hide` says which distances are masked."""
    def attend(Q, K, V, reach):
        n, d = Q.shape
        fit = Q @ K.T / (np.sqrt(d) if root else d)
        hidden = hide(np.subtract.outer(np.arange(n), np.arange(n)), reach)
        if not late:
            fit[hidden] = filler
        with np.errstate(invalid="ignore"):  # a row that sees nothing
            weights = np.exp(fit - fit.max(axis=axis, keepdims=True))
        weights /= weights.sum(axis=axis, keepdims=True)
        if late:
            weights[hidden] = 0.0
        return weights @ V

    return attend


def right(back, reach):
    return (back < 0) | (back > reach)


@local_attention.mistake("no mask")
def _():
    return attention(lambda back, reach: back > back.max())


@local_attention.mistake("causal, but with all of the past")
def _():
    return attention(lambda back, reach: back < 0)


@local_attention.mistake("looks ahead instead of back")
def _():
    return attention(lambda back, reach: right(-back, reach))


@local_attention.mistake("one row too few")
def _():
    return attention(lambda back, reach: right(back, reach - 1))


@local_attention.mistake("one row too many")
def _():
    return attention(lambda back, reach: right(back, reach + 1))


@local_attention.mistake("a row does not see itself")
def _():
    return attention(lambda back, reach: right(back, reach) | (back == 0))


@local_attention.mistake("a mask of zeros before the softmax")
def _():
    return attention(right, filler=0.0)


@local_attention.mistake("a mask after the softmax")
def _():
    return attention(right, late=True)


@local_attention.mistake("divides by d instead of its root")
def _():
    return attention(right, root=False)


@local_attention.mistake("softmax down the columns")
def _():
    return attention(right, axis=0)


# -- 19.2: a band for a whole path of forecasts


@path_band.mistake("a band for each step by itself")
def _():
    def band(errors, usual, alpha):
        k = int(np.ceil((len(errors) + 1) * (1 - alpha)))
        each = np.sort(np.abs(errors), axis=0)
        return each[k - 1] if k <= len(errors) else np.full(len(usual), np.inf)

    return band


@path_band.mistake("a quantile without the one more row")
def _():
    return lambda errors, usual, alpha: usual * np.quantile(
        np.max(np.abs(errors) / usual, axis=1), 1 - alpha)


@path_band.mistake("never infinite")
def _():
    def band(errors, usual, alpha):
        worst = np.sort(np.max(np.abs(errors) / usual, axis=1))
        return usual * worst[min(int(np.ceil((len(worst) + 1) * (1 - alpha))), len(worst)) - 1]

    return band


@path_band.mistake("the factor of a normal law")
def _():
    return lambda errors, usual, alpha: np.full(len(usual), np.inf) if len(errors) < 19 else (
        1.645 * errors.std(axis=0))


@path_band.mistake("signed errors")
def _():
    def band(errors, usual, alpha):
        worst = np.sort(np.max(errors / usual, axis=1))
        k = int(np.ceil((len(worst) + 1) * (1 - alpha)))
        return usual * (worst[k - 1] if k <= len(worst) else np.inf)

    return band


@path_band.mistake("one width for all steps")
def _():
    def band(errors, usual, alpha):
        worst = np.sort(np.max(np.abs(errors), axis=1))
        k = int(np.ceil((len(worst) + 1) * (1 - alpha)))
        return np.full(len(usual), worst[k - 1] if k <= len(worst) else np.inf)

    return band


@path_band.mistake("corrects for six steps as if they were independent")
def _():
    def band(errors, usual, alpha):
        k = int(np.ceil((len(errors) + 1) * (1 - alpha / len(usual))))
        each = np.sort(np.abs(errors), axis=0)
        return each[k - 1] if k <= len(errors) else np.full(len(usual), np.inf)

    return band


# -- 19.3: the left matrix profile as a score of rows


def nearest(x, m, before, at, *, normalise=True, early=0.0):
    """Distance of window i to the nearest of ``before(i)``, written to row ``at(i)``."""
    u = np.lib.stride_tricks.sliding_window_view(x, m).astype(float)
    if normalise:
        u = (u - u.mean(axis=1, keepdims=True)) / u.std(axis=1, keepdims=True)
    scores = np.full(len(x), early)
    for i in range(len(u)):
        if len(rows := before(i, len(u))):
            scores[at(i)] = np.sqrt(((u[rows] - u[i]) ** 2).sum(axis=1)).min()
    return scores


def past(m):
    return lambda i, n: np.arange(max(i - m + 1, 0))


@left_scores.mistake("scores the row where the window starts")
def _():
    return lambda x, m: nearest(x, m, past(m), lambda i: i)


@left_scores.mistake("looks at the whole series")
def _():
    def both(m):
        return lambda i, n: np.flatnonzero(np.abs(np.arange(n) - i) >= m)

    return lambda x, m: nearest(x, m, both(m), lambda i: i + m - 1)


@left_scores.mistake("finds itself one row ago")
def _():
    return lambda x, m: nearest(x, m, lambda i, n: np.arange(i), lambda i: i + m - 1)


@left_scores.mistake("leaves out half a window only")
def _():
    return lambda x, m: nearest(x, m, lambda i, n: np.arange(max(i - m // 2, 0)),
                                lambda i: i + m - 1)


@left_scores.mistake("raw values")
def _():
    return lambda x, m: nearest(x, m, past(m), lambda i: i + m - 1, normalise=False)


@left_scores.mistake("infinite where there is no past")
def _():
    return lambda x, m: nearest(x, m, past(m), lambda i: i + m - 1, early=np.inf)


@left_scores.mistake("normalises by the whole series")
def _():
    def score(x, m):
        return nearest((x - x.mean()) / x.std(), m, past(m), lambda i: i + m - 1, normalise=False)

    return score


@left_scores.mistake("one score for each window")
def _():
    return lambda x, m: nearest(x, m, past(m), lambda i: i + m - 1)[m - 1:]
