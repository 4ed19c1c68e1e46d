"""What searching fewer training rows costs KNN in quality.

    ADLIB_DATA=... python benchmarks/cost.py references   # 5 minutes

``references``: KNN with ``max_rows`` of 1,000 to 50,000 against all training rows, both methods, on
every set of ADBench and macrOData with more than 2,000 training rows, all rows of them: a half of
the normal rows trains (macrOData: its own split), also with 5 % anomalies among them; at most
20,000 test rows; columns standardised; three draws of halves and rows. A size counts on the sets
that it changes. Written down before the first run: the default is the smallest of 10,000, 20,000
and 50,000 rows (fewer need no bound: 10,000 x 10 take a second) whose mean loss in average
precision over the sets, both methods and both trainings together, is no larger than one standard
error of it, or .005; where none is, the largest with which a million rows of 10 columns are scored
in about a minute.

It chose 20,000 (-.028, SE .031, on four sets; 10,000: -.029, SE .025, on six). Nearly all of that
is one set: cover, trained on clean rows, loses .24 of .70, and half of it still at 50,000. After
that run a tree was found to search 100,000 rows of up to 15 columns, cover's among them, in the
time that comparing 20,000 takes: there the default is 100,000, the size that was added last.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from adlib.arguments import generator
from adlib.datasets import load_adbench, load_odd
from adlib.detectors import KNN
from adlib.metrics import average_precision, roc_auc

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, None)
SEEDS, CONTAMINATION, MOST_JUDGED = (0, 1, 2), (0.0, 0.05), 20_000


def large(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Name, training rows, anomalies to put among them, test rows and labels, standardised."""
    for load in (load_adbench, load_odd):
        for name, data in load(max_rows=None, random_state=seed).items():
            if data.train_end <= 2_000:
                continue
            rng = generator(seed)
            X, y = data.X[data.train_end:], data.y[data.train_end:]
            known = rng.permutation(np.flatnonzero(y))[:data.train_end // 20]
            known = known[:int(y.sum()) // 2]
            judged = rng.permutation(np.setdiff1d(np.arange(len(X)), known))[:MOST_JUDGED]
            if y[judged].sum() < 10:
                continue
            train = rng.permutation(data.X[:data.train_end])
            scaler = StandardScaler().fit(train)
            yield (name, scaler.transform(train), scaler.transform(X[known]),
                   scaler.transform(X[judged]), y[judged])


def references() -> None:
    """Average precision and AUC lost by searching fewer rows."""
    rows = []
    for seed in SEEDS:
        for name, train, known, X, y in tqdm(large(seed), desc=f"seed {seed}"):
            for share in CONTAMINATION:
                taught = train if not share else np.concatenate([train, known])
                for method in ("largest", "mean"):
                    for size in SIZES:
                        if size is not None and size >= len(taught):
                            continue
                        model = KNN(method=method, max_rows=size, calibration=None).fit(taught)
                        score = model.anomaly_score(X)
                        rows.append({"set": name, "train": len(train), "seed": seed,
                                     "share": share, "method": method, "rows": size or 0,
                                     "AP": average_precision(y, score), "AUC": roc_auc(y, score)})
    table = pd.DataFrame(rows)
    index = ["set", "share", "method"]
    mean = table.groupby([*index, "rows"])[["AP", "AUC"]].mean()
    full = mean.xs(0, level="rows")
    differences = (mean - full).drop(0, level="rows").reset_index()
    pd.set_option("display.width", 200)
    print(full.unstack(["share", "method"]).round(3).to_string())
    for what in ("AP", "AUC"):
        print(f"\n{what}, difference from all rows, by set (mean of methods and trainings)")
        print(differences.pivot_table(what, "set", "rows").round(4).to_string())
        print(f"\n{what}, difference from all rows: mean over sets, standard error")
        by = differences.groupby(["rows", "share", "method"])[what]
        print(by.agg(["mean", "sem", "count"]).round(4).to_string())
        print(differences.groupby(["rows", "set"])[what].mean().groupby("rows").agg(
            ["mean", "sem", "count"]).round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["references"])
    parser.parse_args()
    with threadpool_limits(1):
        references()


if __name__ == "__main__":
    main()
