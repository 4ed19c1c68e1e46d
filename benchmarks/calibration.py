"""Does a budget of alpha raise alpha? Realised false-alarm rates, in full.

1. Independent rows: realised counts against the beta-binomial law of one fixed cut.
2. Dependent streams (autoregressive, seasonal): the mean rate over streams against alpha, its
   standard error, the spread between streams and the effective number of rows, for the block
   version and for the one that takes rows as independent.
3. The same through detectors: fit on the past, calibrate on what follows, judge on the last.

    python benchmarks/calibration.py            # minutes
    python benchmarks/calibration.py --quick
"""

import argparse
import copy
import warnings

import numpy as np
import pandas as pd
from scipy import signal, stats
from tqdm import tqdm

from adlib.detectors import KNN, PCAReconstruction, RobustZScore, RollingZScore
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


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and streams")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", CalibrationWarning)
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.precision", 4)
    for title, table in (
        ("Independent rows", beta_binomial(200)),
        ("Dependent streams", blocks(200 if quick else 1_500)),
        ("Detectors", detectors(20 if quick else 100)),
    ):
        print(f"\n{title}\n{table.to_string(index=False)}")


if __name__ == "__main__":
    main()
