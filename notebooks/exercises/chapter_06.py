"""Exercises of notebook 06: thresholds."""

import numpy as np
from scipy import stats

from adlib.thresholds import benjamini_hochberg
from exercises import exercise, require

ALPHA, LOW, HIGH, SURE = 0.05, 0.03, 0.07, 0.9


def _within(n):
    """Chance that the rate of a conformal cut from n rows lies between LOW and HIGH."""
    k = np.ceil((n + 1) * (1 - ALPHA) - 1e-9)
    return np.diff(stats.beta(n + 1 - k, k).cdf([LOW, HIGH]))[0] if k <= n else 0.0


@exercise("06.1")
def rows_for_a_narrow_promise(n):
    """How many held-out rows keep the rate of one cut near its budget."""
    require(isinstance(n, int | float | np.integer) and n > 0 and n % 1 == 0,
            "the answer is a whole number of rows")
    n = int(n)
    fewest = next(m for m in range(20, 2_000) if _within(m) >= SURE)
    require(n <= 5 * fewest, f"{n} rows are far more than it takes")
    k = int(np.ceil((n + 1) * (1 - ALPHA) - 1e-9))
    require(k <= n, f"from {n} rows no cut can promise {ALPHA:.0%}: it would be infinite")
    scores = np.random.default_rng(6).random((2_000, n))  # the rate of a cut c is 1 - c
    rates = 1 - np.partition(scores, k - 1, axis=1)[:, k - 1]
    inside = np.mean((rates >= LOW) & (rates <= HIGH))
    require(_within(n) >= SURE - 0.01,
            f"of 2000 cuts from {n} rows {inside:.0%} have a rate between {LOW:.0%} and {HIGH:.0%}")
    require(n <= 1.25 * fewest,
            f"{inside:.0%} of 2000 cuts from {n} rows lie inside; {SURE:.0%} need fewer rows")
    return f"Of 2000 cuts from {n} rows {inside:.0%} have a rate between {LOW:.0%} and {HIGH:.0%}."


@rows_for_a_narrow_promise.solution
def _():
    def inside(n):
        k = np.ceil((n + 1) * 0.95 - 1e-9)
        return np.diff(stats.beta(n + 1 - k, k).cdf([0.03, 0.07]))[0]

    return next(n for n in range(20, 2_000) if inside(n) >= 0.9)


@exercise("06.2")
def a_cut_that_keeps_its_promise(cut):
    """A threshold whose false-alarm rate is at most alpha on average, whatever the law."""
    require(callable(cut), "the answer is a function: answer = cut")
    laws = {"exponential": stats.expon(), "|normal|": stats.halfnorm(),
            "heavy-tailed": stats.genpareto(0.25)}
    # 19 and 39 rows: the place is a whole number, and one further gives half of the budget away
    cases = [(n, ALPHA, name) for n in (20, 50, 200) for name in laws]
    cases += [(n, a, "exponential") for n, a in ((39, ALPHA), (19, ALPHA), (30, 0.2), (200, 0.02))]
    for n, alpha, name in cases:
        law = laws[name]
        draws = law.rvs(size=(400, n), random_state=np.random.default_rng(n))
        given = draws.copy()
        rates = law.sf([float(cut(scores, alpha)) for scores in draws])
        require((draws == given).all(), "your function changes the scores it is given: copy")
        mean, error = rates.mean(), 3 * rates.std() / 20
        possible = np.floor((n + 1) * alpha + 1e-9) / (n + 1)  # the nearest one can come from below
        found = f"{name} scores, {n} held-out rows: mean rate {mean:.1%}"
        require(mean <= alpha + error, f"{found}, above the budget of {alpha:.0%}")
        require(mean >= possible - error, f"{found}, where {possible:.1%} is possible within the "
                f"budget of {alpha:.0%}: anomalies are given away")
    few = np.random.default_rng(1).exponential(size=10)
    try:
        value = float(cut(few, ALPHA))
    except ValueError:
        value = np.inf  # refusing is as good as an infinite cut
    require(value > few.max() and value == np.inf,
            f"from 10 rows even the largest score is exceeded once in 11 times: no finite cut "
            f"promises {ALPHA:.0%}, yours is {value:.2f}")
    return f"At most {ALPHA:.0%} for three laws and 19 to 200 rows; and ten rows promise nothing."


@a_cut_that_keeps_its_promise.solution
def _():
    def cut(scores, alpha):
        k = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
        return np.sort(scores)[k - 1] if k <= len(scores) else np.inf

    return cut


@exercise("06.3")
def few_false_among_the_flags(flags):
    """Benjamini-Hochberg by hand: the share of flags that are false."""
    require(callable(flags), "the answer is a function: answer = flags")
    fdr, m, truth = 0.1, 200, np.arange(200) < 20
    rng = np.random.default_rng(63)
    false, power, possible = [], [], []
    for _ in range(300):
        order = rng.permutation(m)
        p = stats.norm.sf(rng.normal(size=m) + 3.5 * truth)
        found = np.asarray(flags(p[order], fdr))
        require(found.shape == (m,) and np.isin(found, (0, 1)).all(),
                f"for {m} p-values, {m} booleans: one flag for each, in the order given")
        found = found.astype(bool)
        right, best = truth[order], benjamini_hochberg(p, fdr).is_discovery
        false.append((found & ~right).sum() / max(found.sum(), 1))
        power.append(found[right].mean())
        possible.append(best[truth].mean())
    bound, error = fdr * (1 - truth.mean()), 3 * np.std(false) / np.sqrt(len(false))
    said = f"{np.mean(false):.0%} of the flags are false, {np.mean(power):.0%} of anomalies found"
    require(np.mean(false) <= bound + error, f"{said}; the bound is {bound:.0%}")
    require(np.mean(power) >= np.mean(possible) - 0.01,
            f"{said}; under the same bound {np.mean(possible):.0%} can be found")
    clean = np.mean([np.any(flags(rng.random(m), fdr)) for _ in range(300)])
    require(clean <= fdr + 0.06, f"{clean:.0%} of the clean batches have a flag: is it a quota?")
    for _ in range(100):
        few, q = rng.random(rng.integers(1, 9)) ** 2, rng.choice([0.05, 0.2, 0.4])
        wanted, given = (int(np.sum(each)) for each in
                         (benjamini_hochberg(few, q).is_discovery, flags(few, q)))
        require(given == wanted, f"p-values {np.sort(few).round(3).tolist()} at fdr = {q:g}: the "
                f"last on or below its line is number {wanted} of {len(few)}; you flag {given}")
    chorus = rng.permutation(np.linspace(0.01, 0.1, 100))
    share = np.mean(flags(chorus, fdr))
    require(share == 1, f"100 p-values, all between 0.01 and 0.1: together they are strange, "
            f"and all may be flagged at {fdr:g}; you flag {share:.0%}")
    return f"{said} (bound {bound:.0%}); {clean:.0%} of the clean batches have any flag."


@few_false_among_the_flags.solution
def _():
    def flags(p, fdr):
        ranked = np.sort(p)
        below = ranked <= fdr * np.arange(1, len(p) + 1) / len(p)
        return p <= (ranked[below].max() if below.any() else -1)

    return flags
