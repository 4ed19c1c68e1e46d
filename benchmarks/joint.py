"""Joint structure online: one of three sensors that agree shows a value of another time.

    python benchmarks/joint.py [DETECTOR ...]

The value is usual by itself and wrong beside the others. 6,000 rows, 60 of them altered after the
first 1,000, scored online from the first row by the detectors' defaults; ROC-AUC, seeds 10 to 14.
"""

import argparse

import numpy as np
import pandas as pd
from results import keep, option, over_sets
from sklearn.metrics import roc_auc_score

from adlib.base import OnlineDetector
from adlib.detectors import all_detectors

ROWS, WARM, ALTERED, SEEDS = 6_000, 1_000, 60, range(10, 15)
GOALS = {"OnlineMahalanobis": 0.96, "OnlineEnsemble": 0.93}


def agreeing(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=ROWS)
    X = np.array([common, *(common + 0.1 * rng.normal(size=ROWS) for _ in range(2))]).T
    at = rng.choice(np.arange(WARM, ROWS), ALTERED, replace=False)
    X[at, 1] = rng.permutation(X[:, 1])[at]
    return X, np.isin(np.arange(ROWS), at).astype(int)


def main() -> None:
    """Print a line per detector."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = {name: cls for name, cls in all_detectors().items() if issubclass(cls, OnlineDetector)}
    parser.add_argument("detectors", nargs="*", metavar="DETECTOR", help=f"of {sorted(known)}")
    option(parser)
    given, figures = parser.parse_args(), {}
    for name in given.detectors or known:
        found = {}
        for seed in SEEDS:
            X, y = agreeing(seed)
            score = np.nan_to_num(known[name]().process(X))
            found[seed] = roc_auc_score(y[WARM:], score[WARM:])
        figures[name] = {"what": f"{name}: ROC-AUC", "better": "high",
                         **over_sets(pd.Series(found))}
        if name in GOALS:
            figures[name]["goal"] = GOALS[name]
        print(f"{name:24} {figures[name]['value']:.3f}  ({min(found.values()):.3f} to "
              f"{max(found.values()):.3f})", flush=True)
    if given.keep:
        keep("joint", given.keep, "", figures)


if __name__ == "__main__":
    main()
