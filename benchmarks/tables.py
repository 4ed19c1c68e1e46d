"""Both collections of tables under one protocol: data, cells, paired differences.

ADBench: at most 6,000 rows a set; a random half of the normal rows is the training set, all else
the test set; seeds 0, 1, 2. macrOData: its own split, at most 2,000 training and 2,000 test rows,
drawn once. Columns are standardised by the training rows. Contamination moves anomalies from the
test set among the training rows (at most half of them, so that a set with few anomalies is less
contaminated than asked). A set's value is its mean over seeds; intervals are over sets.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from adlib.base import anomaly_score
from adlib.datasets import Dataset, load_adbench, load_odd
from adlib.metrics import average_precision, roc_auc

ALPHA = 0.05
COLLECTIONS = {"adbench": load_adbench, "odd": load_odd}
SEEDS = {"adbench": (0, 1, 2), "odd": (0,)}
QUALITY = ["roc_auc", "average_precision"]


def tables(collection: str, seed: int = 0, contamination: float = 0.0, *,
           sets: Iterable[str] | None = None) -> dict[str, Dataset]:
    """The sets by name, columns standardised by the training rows ``[:train_end]``."""
    data = COLLECTIONS[collection](random_state=seed)
    return {name: standardised(contaminated(data[name], contamination, seed))
            for name in (sets or data)}


def contaminated(data: Dataset, share: float, seed: int) -> Dataset:
    """Anomalies of the test set make up this share of the training rows; kept in random places."""
    found = np.flatnonzero(data.y)
    n = min(round(data.train_end * share / (1 - share)), len(found) // 2)
    if n == 0:
        return data
    rng = np.random.default_rng(seed)
    moved = rng.choice(found, n, replace=False)
    train = rng.permutation(np.r_[:data.train_end, moved])
    rows = np.r_[train, np.setdiff1d(np.arange(data.train_end, len(data)), moved)]
    y = data.y[rows]
    return Dataset(data.name, data.X[rows], y, feature_names=data.feature_names,
                   train_end=len(train), source=data.source, series=False)


def standardised(data: Dataset) -> Dataset:
    """The same rows in standard deviations of the training rows."""
    return replace(data, X=StandardScaler().fit(data.X[:data.train_end]).transform(data.X))


def cells(models: dict[str, Any], collection: str, seeds: Iterable[int] | None = None,
          contamination: float = 0.0, *, sets: Iterable[str] | None = None) -> pd.DataFrame:
    """One row per model, set and seed: quality, realised rate, seconds of processor time.

    ``models`` are unfitted detectors by name: ours, or anything that `anomaly_score` serves. They
    are copied, and those with a ``random_state`` (of their last step, too) get the seed. A failure
    is a row with its reason.
    """
    lines = []
    for seed in SEEDS[collection] if seeds is None else seeds:
        data = tables(collection, seed, contamination, sets=sets)
        for table in tqdm(data.values(), desc=f"{collection}, seed {seed}", disable=None):
            for name, model in models.items():
                line = {"model": name, "collection": collection, "set": table.name, "seed": seed,
                        "contamination": contamination, "n_train": table.train_end,
                        "n_features": table.n_features}
                lines.append(line | judged(seeded(model, seed), table))
    return pd.DataFrame(lines)


def seeded(model: Any, seed: int) -> Any:
    """A copy of a model with this seed, where it takes one."""
    model = clone(model)
    names = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
    return model.set_params(**dict.fromkeys(names, seed))


def judged(model: Any, data: Dataset) -> dict[str, Any]:
    """Fit on the training rows, score the others."""
    cut, y = data.train_end, data.y[data.train_end:]
    started = time.process_time()
    try:
        model.fit(data.X[:cut])
        fitted = time.process_time()
        score = anomaly_score(model, data.X[cut:])
    except Exception as error:  # a failed cell is a result
        return {"reason": f"{type(error).__name__}: {error}"}
    line = {"fit_s": fitted - started, "score_s": time.process_time() - fitted,
            "n_normal": int((y == 0).sum()), "roc_auc": roc_auc(y, score),
            "average_precision": average_precision(y, score)}
    line |= getattr(model, "seconds_", {})  # of a peer that ran elsewhere
    if hasattr(model, "threshold_"):
        line["fpr"] = (score > model.threshold_)[y == 0].mean()
    return line


def interval(gaps: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of one difference per set, with a bootstrap interval over sets."""
    gaps = np.asarray(gaps, dtype=float)
    drawn = gaps[np.random.default_rng(0).integers(0, len(gaps), (10_000, len(gaps)))].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(gaps.mean()), float(low), float(high)


def paired(table: pd.DataFrame, one: str, others: Iterable[str]) -> pd.DataFrame:
    """``one`` minus each other: mean over the sets that both have, interval, sets won and lost."""
    means = table.groupby(["model", "set"])[QUALITY].mean()
    lines = []
    for other in others:
        gaps = (means.loc[one] - means.loc[other]).dropna()
        line: dict[str, Any] = {"model": one, "minus": other, "sets": len(gaps)}
        for metric in QUALITY:
            gap = gaps[metric].to_numpy()
            line[metric] = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*interval(gap))
            line[f"{metric} won"] = f"{(gap > 0).sum()}-{(gap < 0).sum()}"
        lines.append(line)
    return pd.DataFrame(lines)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over sets by model, best first."""
    known = [*QUALITY, "fpr", "fit_s", "fit_split_s", "score_s"]
    columns = [name for name in known if name in table]
    found = table.groupby(["model", "set"])[columns].mean().groupby("model").mean()
    found["cells"] = table.groupby("model").roc_auc.count()
    return found.sort_values("average_precision", ascending=False)
