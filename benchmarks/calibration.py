"""Does a budget of alpha raise alpha? Realised false-alarm rates, in full.

1. Independent rows: realised counts against the beta-binomial law of one fixed cut.
2. Dependent streams (autoregressive, seasonal): the mean rate over streams against alpha, its
   standard error, the spread between streams and the effective number of rows, for the block
   version and for the one that takes rows as independent.
3. The same through detectors: fit on the past, calibrate on what follows, judge on the last.
4. Tied rows: counts, zero-inflated, rounded and category-coded columns, duplicates. Whole
   detectors, cross-fitted and split; each seed's false alarms among new rows against the highest
   hundredth of the beta-binomial law of one fixed cut, which ties can only undercut.

    python benchmarks/calibration.py            # minutes
    python benchmarks/calibration.py --quick
    python benchmarks/calibration.py --part ties --seeds 200            # an hour
    python benchmarks/calibration.py --part ties --detectors KNN PCAReconstruction

What cross-fitting is to compare, by a rule written before the runs that decided (after one seed at
200 rows had been looked at). Fold models score the held-out rows, the final model what is judged;
where scores have atoms the two differ for all rows of one value at once. Candidates, simplest
first: (a) held-out scores of the folds alone; (b) the threshold no lower than the final model's
own quantile of the training rows; (c) each row counts with the higher of its fold's and the final
model's score; (d) each order statistic the higher of the two; (e) CV+, which judges by the fold
models: no candidate for a default, since a row then has no one score that a threshold cuts. Taken
is the simplest that (1) on tied data exceeds the limit in no more seeds than one in a hundred, up
to chance (.9999), with every detector, number of rows and alpha, and (2) on continuous data keeps
the mean rate within .005 of (a) at alpha = .05; where none does both, (1) decides.

Found with KNN, PCAReconstruction and Ensemble, 12 seeds each at 60, 200 and 1,000 rows (180 cells
a detector, 2,140 judgements): (a) fails in 0, 5 and 3 cells, and flags all new rows for some seeds;
(b) to (d) in none, with 24, 10 and 15 of 6,420 judgements above the limit. The mean rate on
continuous rows moves by at most .0004, .0051 (PCAReconstruction, 1,000 rows: .051 -> .046) and
.0004. So (c) misses (2), and by the letter (b) is the simplest. It was refused for two reasons that
the rule had forgotten: for one seed it let Ensemble flag all rows, which 12 seeds cannot tell from
chance, and it leaves p-values and severity as they were. Taken is (d); inside committees (c), since
the members' scores of one row belong together, with the scales of all rows where scores tie.

What was taken, cross-fitted, so far: KNN and PCAReconstruction with 153 seeds at 200 rows and 24 at
60 and 1,000, Ensemble with 34 at 200 rows: no cell of 15 kinds and 4 alphas fails, .0000 to .0064
of the judgements lie above the limit of .01. At alpha .05 the rate on continuous rows is .043 to
.045 (KNN, 200), .049 to .051 (PCAReconstruction, 200; .060 at 60, 24 seeds), .041 to .042
(Ensemble), on tied rows 0 to .051. The full 200 seeds, and networks and Voting, were not run.
"""

import argparse
import copy
import functools
import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import signal, stats
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from tqdm import tqdm

from adlib.detectors import (
    KNN,
    VAE,
    AutoEncoder,
    Ensemble,
    PCAReconstruction,
    RandomFeatureAE,
    RobustZScore,
    RollingZScore,
    Voting,
)
from adlib.detectors.ensemble import MemberWarning
from adlib.thresholds import CalibrationWarning, Conformal, effective_size


def ar1(phi: float, n: int, streams: int, rng: np.random.Generator) -> np.ndarray:
    """Stationary first-order autoregressions of unit variance, (streams, n)."""
    noise = rng.normal(size=(streams, n + 300))
    return signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=1)[:, 300:]


def seasonal(period: int, n: int, streams: int, rng: np.random.Generator) -> np.ndarray:
    """A sine of amplitude 2 and random phase plus autoregressive noise, (streams, n)."""
    phase = np.arange(n) / period + rng.random((streams, 1))
    return 2 * np.sin(2 * np.pi * phase) + ar1(0.5, n, streams, rng)


STREAMS = {
    "independent": lambda n, m, rng: rng.normal(size=(m, n)),
    "AR(1) 0.5": lambda n, m, rng: ar1(0.5, n, m, rng),
    "AR(1) 0.9": lambda n, m, rng: ar1(0.9, n, m, rng),
    "season of 50": lambda n, m, rng: seasonal(50, n, m, rng),
    "season of 144": lambda n, m, rng: seasonal(144, n, m, rng),
}


def beta_binomial(seeds: int) -> pd.DataFrame:
    """p-values of the randomised probability integral transform against the exact law."""
    lines = []
    for n, m, alpha in ((100, 1_000, 0.05), (200, 1_000, 0.05), (500, 5_000, 0.01)):
        rng = np.random.default_rng(n)
        counts = np.empty(seeds, dtype=int)
        for i in range(seeds):
            scores = rng.exponential(size=n + m)
            counts[i] = (scores[n:] > Conformal(alpha=alpha).fit(scores[:n]).value_).sum()
        k = int(np.ceil((n + 1) * (1 - alpha) - 1e-9))
        law, naive = stats.betabinom(m, n + 1 - k, k), stats.binom(m, alpha)
        u = rng.random(seeds)
        p = {name: stats.kstest(d.cdf(counts - 1) + u * d.pmf(counts), "uniform").pvalue
             for name, d in (("beta-binomial", law), ("binomial", naive))}
        lines.append({"n_calibrate": n, "n_test": m, "alpha": alpha, "seeds": seeds,
                      "mean rate": counts.mean() / m, "sd of rate": counts.std() / m,
                      "sd by law": law.std() / m, "p (beta-binomial)": p["beta-binomial"],
                      "p (binomial)": p["binomial"]})
    return pd.DataFrame(lines)


def verdict(rates: np.ndarray, alpha: float) -> dict[str, object]:
    """Mean over streams, two standard errors, and whether alpha lies within."""
    error = 2 * rates.std(ddof=1) / np.sqrt(len(rates))
    return {"mean": rates.mean(), "2 se": error, "within": abs(rates.mean() - alpha) <= error,
            "sd": rates.std(ddof=1)}


def blocks(streams: int) -> pd.DataFrame:
    """Thresholds on |x| of each stream: block version against independent rows."""
    lines = []
    cases = [(a, n, name) for a in (0.05, 0.01) for n in (500, 2_000) for name in STREAMS]
    for alpha, n, name in tqdm(cases, disable=None):
        X = np.abs(STREAMS[name](n + 3_000, streams, np.random.default_rng([n, int(alpha * 100)])))
        for rule, block in (("block", "auto"), ("rows", None)):
            rates = np.array([
                (x[n:] > Conformal(alpha=alpha, block=block).fit(x[:n]).value_).mean() for x in X])
            lines.append({"alpha": alpha, "n": n, "stream": name, "rule": rule,
                          **verdict(rates, alpha)})
        lines[-2]["effective rows"] = np.median([effective_size(x[:n], alpha) for x in X])
    return pd.DataFrame(lines)


def detectors(streams: int) -> pd.DataFrame:
    """Whole detectors on streams of two features: fit alone decides the threshold."""
    lines, alpha, n = [], 0.05, 5_000
    models = [RollingZScore(), RobustZScore(), KNN(window=5), PCAReconstruction(window=10)]
    for name in tqdm(STREAMS, disable=None):
        X = STREAMS[name](n + 3_000, 2 * streams, np.random.default_rng(1))
        X = X.reshape(streams, 2, -1).transpose(0, 2, 1).copy()
        for model in models:
            rates = []
            for x in X:
                detector = copy.deepcopy(model).set_params(alpha=alpha).fit(x[:n])
                rates.append(detector.detect(x[n:]).is_anomaly.mean())
            lines.append({"stream": name, "detector": repr(model),
                          **verdict(np.array(rates), alpha)})
    return pd.DataFrame(lines)


def ones(rng: np.random.Generator, n: int) -> np.ndarray:
    """A flag that one row in a hundred raises, (n, 1)."""
    return (rng.random((n, 1)) < 0.01).astype(float)


def codes(rng: np.random.Generator, n: int, *shares: float) -> np.ndarray:
    """Codes 0, 1, ... of a category, (n,)."""
    return rng.choice(len(shares), size=n, p=shares)


TIED = {
    "ones": lambda n, rng: ones(rng, n),
    "three flags": lambda n, rng: np.hstack([ones(rng, n) for _ in range(3)]),
    "Poisson": lambda n, rng: rng.poisson(0.3, (n, 2)).astype(float),
    "binomial": lambda n, rng: rng.binomial(5, 0.2, (n, 3)).astype(float),
    "zero-inflated": lambda n, rng: rng.exponential(size=(n, 2)) * (rng.random((n, 2)) < 0.2),
    "rounded": lambda n, rng: rng.normal(size=(n, 2)).round(1),
    "one-hot": lambda n, rng: np.eye(4)[codes(rng, n, 0.7, 0.2, 0.08, 0.02)],
    "codes": lambda n, rng: np.column_stack([codes(rng, n, 0.7, 0.2, 0.08, 0.02),
                                             codes(rng, n, 0.5, 0.3, 0.2)]).astype(float),
    "duplicates": lambda n, rng: np.full((n, 2), 0.1),
    "five rows": lambda n, rng: np.random.default_rng(7).normal(size=(5, 3))[
        codes(rng, n, 0.6, 0.2, 0.1, 0.07, 0.03)],
    "flag, normal": lambda n, rng: np.hstack([rng.normal(size=(n, 2)), ones(rng, n)]),
    "count, normal": lambda n, rng: np.hstack([rng.normal(size=(n, 1)),
                                               rng.poisson(0.3, (n, 1))]),
    "ones, nearly": lambda n, rng: ones(rng, n) + 1e-6 * rng.normal(size=(n, 1)),
    "(normal)": lambda n, rng: rng.normal(size=(n, 3)),
    "(Student)": lambda n, rng: rng.standard_t(3, size=(n, 3)),
}
ALPHAS = (0.01, 0.02, 0.05, 0.1)
JUDGED = {
    "KNN": lambda: KNN(),
    "PCAReconstruction": lambda: PCAReconstruction(),
    "RandomFeatureAE": lambda: RandomFeatureAE(),
    "Ensemble": lambda: Ensemble(),
    "Ensemble of others": lambda: Ensemble(
        members=[IsolationForest(n_estimators=30), LocalOutlierFactor(novelty=True)]),
    "Voting": lambda: Voting(),
    "AutoEncoder": lambda: AutoEncoder(epochs=5),
    "VAE": lambda: VAE(epochs=5),
    "PCAReconstruction, windows": lambda: PCAReconstruction(window=5),
    "Ensemble, windows": lambda: Ensemble(window=5),
}
FAST = ("KNN", "PCAReconstruction", "RandomFeatureAE", "Ensemble")


@functools.cache
def limit(n: int, alpha: float, n_new: int) -> float:
    """False alarms among new rows that one cut in a hundred exceeds; 0 where it is infinite."""
    k = int(np.ceil((n + 1) * (1 - alpha) - 1e-9))
    return stats.betabinom(n_new, n + 1 - k, k).ppf(0.99) if k <= n else 0


def ties(names: Sequence[str], seeds: Sequence[int], sizes: Sequence[int], calibration: str,
         n_new: int = 2_000) -> pd.DataFrame:
    """False alarms among new rows, a line for each detector, kind of rows, n, seed and alpha."""
    lines = []
    for seed, n, kind in tqdm(list(itertools.product(seeds, sizes, TIED)), disable=None):
        rng = np.random.default_rng([seed, n, list(TIED).index(kind)])
        X, new = TIED[kind](n, rng), TIED[kind](n_new, rng)
        for name in names:
            detector = JUDGED[name]().set_params(calibration=calibration)
            if "random_state" in detector.get_params():
                detector.set_params(random_state=seed)
            score = detector.fit(X).anomaly_score(new)
            held_out = detector.calibration_.scores_  # no score depends on alpha: one fit for all
            for alpha in ALPHAS:
                cut = Conformal(alpha=alpha).fit(held_out).value_
                flags = (score > cut).sum()
                lines.append({"detector": name, "rows": kind, "n": n, "alpha": alpha,
                              "rate": flags / n_new,
                              "above": flags > limit(len(held_out), alpha, n_new)})
    return pd.DataFrame(lines)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean rates at each alpha, and whether the limit held there as often as it has to."""
    groups = table.groupby(["detector", "n", "rows", "alpha"], sort=False)
    found = groups.agg(rate=("rate", "mean"), seeds=("rate", "size"), above=("above", "sum"))
    found["fails"] = found["above"] > stats.binom(found["seeds"], 0.01).ppf(0.9999)
    wide = found["rate"].unstack("alpha")
    totals = found.groupby(["detector", "n", "rows"], sort=False)
    return wide.assign(seeds=totals["seeds"].first(), above=totals["above"].sum(),
                       fails=totals["fails"].sum()).reset_index()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and streams")
    parser.add_argument("--part", choices=("rows", "streams", "detectors", "ties"), nargs="*",
                        help="default: all")
    parser.add_argument("--seeds", type=int, default=20, help="of the tied rows")
    parser.add_argument("--sizes", type=int, nargs="*", default=[60, 200, 1_000])
    parser.add_argument("--detectors", choices=JUDGED, nargs="*", default=FAST)
    parser.add_argument("--calibration", choices=("cross", "split"), default="cross")
    given = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    warnings.simplefilter("ignore", MemberWarning)
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.precision", 4)
    parts = {
        "rows": lambda: beta_binomial(200),
        "streams": lambda: blocks(200 if given.quick else 1_500),
        "detectors": lambda: detectors(20 if given.quick else 100),
        "ties": lambda: summary(ties(given.detectors, range(3 if given.quick else given.seeds),
                                     given.sizes, given.calibration)),
    }
    for part in given.part or parts:
        print(f"\n{part}\n{parts[part]().to_string(index=False)}")


if __name__ == "__main__":
    main()
