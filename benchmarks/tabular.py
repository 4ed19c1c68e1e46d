"""Quality, time and realised false-alarm rate on the ADBench tables, one default per detector.

Protocol: at most 6,000 rows a set; a random half of the normal rows is the training set, all else
the test set; columns standardised by the training rows; alpha = 0.05; seeds 0, 1, 2. Means over
sets. Needs the tables in the folder that ADLIB_DATA names.

    ADLIB_DATA=... python benchmarks/tabular.py [DETECTOR ...]
"""

import sys
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from adlib.base import OnlineDetector
from adlib.datasets import load_adbench
from adlib.detectors import all_detectors, baselines
from adlib.metrics import average_precision, roc_auc
from adlib.thresholds import CalibrationWarning

SEEDS = (0, 1, 2)
ALPHA = 0.05


def main() -> None:
    """Print one line a detector: means over sets and seeds."""
    warnings.simplefilter("ignore", CalibrationWarning)
    known = all_detectors() | baselines()
    names = sys.argv[1:] or [name for name, cls in known.items()
                             if not issubclass(cls, OnlineDetector) and cls().window == 1]
    lines = []
    for seed in tqdm(SEEDS, disable=None):
        for data in load_adbench(random_state=seed).values():
            scaler = StandardScaler().fit(data.X[:data.train_end])
            train, test = (scaler.transform(part) for part in (data.X[:data.train_end],
                                                               data.X[data.train_end:]))
            y = data.y[data.train_end:]
            for name in names:
                detector = known[name](alpha=ALPHA)
                if "random_state" in detector.get_params():
                    detector.set_params(random_state=seed)
                started = time.process_time()
                detector.fit(train)
                fitted = time.process_time()
                found = detector.detect(test)
                scored = time.process_time()
                lines.append({"detector": name, "set": data.name, "seed": seed,
                              "roc_auc": roc_auc(y, found.score),
                              "average_precision": average_precision(y, found.score),
                              "fpr": found.is_anomaly[y == 0].mean(),
                              "fpr error": abs(found.is_anomaly[y == 0].mean() - ALPHA),
                              "fit_s": fitted - started, "score_s": scored - fitted})
    table = pd.DataFrame(lines)
    means = table.drop(columns=["set", "seed"]).groupby("detector").mean()
    print(f"{table.set.nunique()} sets, seeds {SEEDS}, alpha {ALPHA}")
    print(means.sort_values("roc_auc", ascending=False).to_string(float_format="%.4f"))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
