"""Detectors of PyOD, River, aeon and dtaianomaly in one table with ours, signs checked.

    python benchmarks/foreign.py           # makes benchmarks/.venv-foreign on first use: minutes
    python benchmarks/foreign.py --here    # with the libraries of this interpreter

One table of rows and one season of which a cycle now and then runs twice as fast, both made here.
VUS-PR or average precision beside chance, AUC (a wrong sign is below .5), seconds.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = ["pyod", "river", "aeon", "dtaianomaly"]


def detectors(window):
    """Ours and theirs, by label; those of series with a window."""
    from aeon.anomaly_detection.series.distance_based import KMeansAD
    from dtaianomaly.anomaly_detection import IsolationForest
    from pyod.models.knn import KNN
    from river import anomaly, preprocessing

    scaled = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees()
    found = {"KNN": "KNN", "PCAReconstruction": f"PCAReconstruction(window={window})",
             "OnlineEnsemble": "OnlineEnsemble", "IsolationForest": "IsolationForest",
             "PyOD KNN": KNN(), "River HalfSpaceTrees": scaled}
    if window > 1:
        found |= {"KNN windows": f"KNN(window={window})",
                  "aeon KMeansAD": KMeansAD(window_size=window),
                  "dtaianomaly IsolationForest": IsolationForest(window)}
    return found


def main():
    import numpy as np
    import pandas as pd

    from adlib.compare import compare
    from adlib.datasets import Dataset

    rng = np.random.default_rng(0)
    X = rng.multivariate_normal(np.zeros(5), 0.4 + 0.6 * np.eye(5), size=2_000)
    y = (np.arange(2_000) >= 1_000) & (rng.random(2_000) < 0.05)
    X[y] += rng.normal(0, 2.5, size=(y.sum(), 5))
    table = Dataset("rows", X, y, train_end=1_000, series=False)
    t, events = np.arange(4_000), (2_400, 2_900, 3_200, 3_700)
    during = np.isin(t // 50, [start // 50 for start in events])
    season = np.sin(2 * np.pi * t / 50 * np.where(during, 2, 1)) + rng.normal(0, 0.2, 4_000)
    series = Dataset("season", season[:, None], during, train_end=2_000, series=True)
    how = {"baselines": False, "intervals": False, "progress": False}
    found = pd.concat([compare(detectors(1), table, [0, 1, 2], **how),
                       compare(detectors(25), series, [0, 1, 2], **how),
                       compare(detectors(25), series, [0], delay="hindsight", **how)])
    head = found[found.metric.isin(["vus_pr", "average_precision"])]
    cell = ["dataset", "look_ahead", "detector", "seed"]
    head = head.groupby(cell, sort=False).first().reset_index()
    auc = found[found.metric == "roc_auc"].set_index(cell).value
    head["auc"] = auc.reindex(pd.MultiIndex.from_frame(head[cell])).to_numpy()
    head["seconds"] = head.fit_s + head.score_s
    shown = head.groupby([*cell[:3], "online"], sort=False)[
        ["value", "random", "auc", "seconds"]].mean().reset_index()
    print(shown.round(3).to_string(index=False))
    if len(bad := head[head.status != "ok"]):
        print(bad[["dataset", "detector", "status", "reason"]].to_string(index=False))
    print(f"lowest AUC {head.auc.min():.3f}: one far below .5 would be a wrong sign")


if __name__ == "__main__":
    if "--here" in sys.argv:
        main()
    else:
        from peers import environment

        python = environment("foreign", ["torch>=2.4"], [*PEERS, "-e", str(ROOT)])
        sys.exit(subprocess.run([python, "-W", "ignore", __file__, "--here"]).returncode)
