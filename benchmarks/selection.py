"""What a choice of detector without labels is worth: regret on public tables.

A fixed pool of detectors, one default setting each. On every table each criterion names one of
them without a look at any label; what is lost in ROC-AUC and average precision against the best of
the pool (known from the labels) is its *regret*. Beside it stand always the same detector, a random
choice, and a choice by a few labelled rows. ADBench with seeds 0, 1, 2 and macrOData with its own
split; seeds are averaged first, intervals (95 %) are bootstraps over tables.

    ADLIB_DATA=... python benchmarks/selection.py [--cache FOLDER] [--figure PATH] [--collection
        {adbench,odd}] [--contamination SHARE]

Criteria see the training rows, which are taken for normal, and the test rows without their labels.
Every detector is trained three times: on all training rows (judged by the labels), and twice
without a fifth of them, which is held out; a criterion is the mean over the two.

Fixed before the first run, all of it reported:

* altered rows (``spike shuffle borrow noise scale``, and ``injected``, their mean): AUC of held-out
  rows that were altered against those that were not. One column 2, 4 or 8 sd off; each column
  permuted by itself; half of the columns taken from another row; noise of 1 sd on every column; the
  distance from the mean doubled.
* ``stability``: Spearman correlation of the test scores of the two trainings.
* ``agreement``: Spearman correlation of the test scores with those of each other detector, mean;
  ``top_agreement``: share in common of the highest 5 %.
* ``volume``: the larger, the smaller the share of the bounding box of the training rows that holds
  90 to 99.9 % of held-out rows (mass-volume curve, Goix 2016).
* ``contrast``: AUC of the test rows, all of them, against held-out training rows. Where normal
  test rows are like training rows, it is 1/2 + share of anomalies x (AUC by true labels - 1/2) and
  so ranks as the labels would (Blanchard, Lee and Scott 2010; Menon et al. 2015). It cannot tell
  anomalies from drift. ``contrast_top``: the same up to a false-positive rate of .1; ``excess``: at
  .05 alone, the share of test rows that a threshold would flag.
* mean ranks: ``injected+stability+agreement``, ``contrast+agreement``, ``all`` (``injected,
  stability, agreement, volume, contrast``).
* ``contrast_1se``, ``contrast_2se``: the Ensemble, unless the detector with the highest contrast
  exceeds its by more than one or two standard errors of their difference.

The rule: a criterion is offered by `adlib.compare.rank_unlabelled` if it closes a fifth of the gap
between always the Ensemble and the best of the pool, on both collections and in both metrics, with
an interval above none; of those, the simplest within one standard error of the best (``contrast``
is simpler than its variants, a single criterion than a mean of ranks).

Curves: the k best by a criterion averaged by their surprise (-log p on held-out rows); and the
number of rows that the choice sees, without labels (contrast) and with them (AUC; the Ensemble
where they hold one class only), judged on the other half of the test rows.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, train_test_split
from sklearn.neighbors import LocalOutlierFactor
from tables import SEEDS, seeded, tables
from tqdm import tqdm

from adlib.base import anomaly_score
from adlib.datasets import Dataset
from adlib.detectors import (
    KNN,
    AutoEncoder,
    Ensemble,
    PCAReconstruction,
    RandomFeatureAE,
    baselines,
)
from adlib.detectors.voting import OneClassSVM
from adlib.metrics import average_precision, roc_auc
from adlib.thresholds import Calibration

METRICS: dict[str, Callable[..., float]] = {"AUC": roc_auc, "AP": average_precision}
POOL = {  # the first one stands in where a criterion cannot tell
    "Ensemble": Ensemble(),
    "KNN mean": KNN(method="mean", calibration=None),
    "KNN largest": KNN(method="largest", calibration=None),
    "RandomFeatureAE": RandomFeatureAE(calibration=None),
    "AutoEncoder": AutoEncoder(calibration=None),
    "PCAReconstruction": PCAReconstruction(calibration=None),
    "IsolationForest": IsolationForest(),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "OneClassSVM": OneClassSVM(nu=0.05),
    "GaussianMixture": GaussianMixture(4, reg_covar=1e-3),
    "MaxAbsZ": baselines()["MaxAbsZ"](calibration=None),
}
STYLES = ("spike", "shuffle", "borrow", "noise", "scale")
FOLDS = (0, 1)
TOP = 0.05
LEAST = 200  # altered rows are at least so many
ROWS = (10, 20, 50, 100, 200, 500)
DRAWS = 10

Scores = dict[str, np.ndarray]
Criterion = Callable[[Scores], np.ndarray]


def altered(train: np.ndarray, held: np.ndarray, rng: np.random.Generator) -> Scores:
    """Rows that no label made anomalous: held-out ones altered in each style, and uniform ones."""
    rows = held[np.arange(max(len(held), LEAST)) % len(held)]
    (n, d), center, sd = rows.shape, train.mean(axis=0), train.std(axis=0)
    spike, borrow = rows.copy(), rows.copy()
    column = rng.choice(np.flatnonzero(sd > 0), n)
    size = rng.choice((2.0, 4.0, 8.0), n) * rng.choice((-1.0, 1.0), n)
    spike[np.arange(n), column] += size * sd[column]
    taken = rng.random((n, d)).argsort(axis=1) < max(1, d // 2)
    borrow[taken] = train[rng.integers(len(train), size=n)][taken]
    box = rng.uniform(train.min(axis=0), train.max(axis=0), (1_000, d))
    return {"spike": spike, "shuffle": rng.permuted(rows, axis=0), "borrow": borrow,
            "noise": rows + rng.normal(size=(n, d)) * sd, "scale": center + 2 * (rows - center),
            "box": box}


def scored(data: Dataset, seed: int) -> Scores:
    """Labels of the test rows, and scores of all detectors, a row each: ``full`` of the test rows
    after training on all training rows, and those of each fold's parts."""
    train, test = data.X[:data.train_end], data.X[data.train_end:]
    found = {"y": data.y[data.train_end:].astype(int)}
    folds = [*KFold(5, shuffle=True, random_state=seed).split(train)]
    for fold in FOLDS:
        rest, out = folds[fold]
        parts = {"held": train[out], "test": test}
        parts |= altered(train[rest], train[out], np.random.default_rng([seed, fold]))
        ends = np.cumsum([len(part) for part in parts.values()])
        rows = np.concatenate([*parts.values()])
        lines = [anomaly_score(seeded(model, seed).fit(train[rest]), rows)
                 for model in POOL.values()]
        for part, scores in zip(parts, np.split(np.array(lines), ends[:-1], axis=1), strict=True):
            found[f"{part}{fold}"] = scores
    found["full"] = np.array([anomaly_score(seeded(model, seed).fit(train), test)
                              for model in POOL.values()])
    return found


def kept(data: Dataset, seed: int, file: Path | None) -> Scores:
    """The scores, from the file where it is there."""
    if file is not None and file.exists():
        with np.load(file) as arrays:
            return {**arrays}
    found = scored(data, seed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **{name: part if name == "y" else part.astype(np.float64)
                                     for name, part in found.items()})
    return found


# -- criteria: one value per detector, the highest is chosen ---------------------------------------


def separation(part: str, cell: Scores) -> np.ndarray:
    """AUC of the rows of a part against held-out rows, mean over folds."""
    return placements(cell, part)[0].mean(axis=1)


def contrast_top(cell: Scores) -> np.ndarray:
    return np.mean([[roc_auc_score(np.repeat((0, 1), (len(held), len(test))), np.r_[held, test],
                                   max_fpr=0.1)
                     for held, test in zip(cell[f"held{fold}"], cell[f"test{fold}"], strict=True)]
                    for fold in FOLDS], axis=0)


def injected(cell: Scores) -> np.ndarray:
    return np.mean([separation(style, cell) for style in STYLES], axis=0)


def stability(cell: Scores) -> np.ndarray:
    return np.array([correlation(a, b)
                     for a, b in zip(cell["test0"], cell["test1"], strict=True)])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 where one is constant."""
    return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(spearmanr(a, b).statistic)


def with_others(cell: Scores, alike: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    """Mean likeness of a detector's test scores to those of the others."""
    found = np.zeros((len(POOL), len(POOL)))
    for i, j in combinations(range(len(POOL)), 2):
        found[i, j] = found[j, i] = alike(cell["full"][i], cell["full"][j])
    return found.sum(axis=1) / (len(POOL) - 1)


def shared_top(a: np.ndarray, b: np.ndarray) -> float:
    k = max(1, round(TOP * a.size))
    return len(np.intersect1d(*(np.argsort(-s, kind="stable")[:k] for s in (a, b)))) / k


def volume(cell: Scores) -> np.ndarray:
    levels = np.linspace(0.9, 0.999, 10)
    return -np.mean([[(box <= np.quantile(held, levels)[:, None]).mean()
                      for held, box in zip(cell[f"held{fold}"], cell[f"box{fold}"], strict=True)]
                     for fold in FOLDS], axis=0)


def excess(cell: Scores) -> np.ndarray:
    return np.mean([[(test > np.quantile(held, 1 - TOP)).mean()
                     for held, test in zip(cell[f"held{fold}"], cell[f"test{fold}"], strict=True)]
                    for fold in FOLDS], axis=0)


def placements(cell: Scores, part: str = "test") -> tuple[np.ndarray, list[np.ndarray]]:
    """Share of held-out rows below each row of a part, mean over folds; of rows of the part above
    held-out ones, by fold. Detectors are rows."""
    tests, helds = [], []
    for fold in FOLDS:
        held, test = cell[f"held{fold}"], cell[f"{part}{fold}"]
        both = rankdata(np.hstack([held, test]), axis=1)
        m, n = held.shape[1], test.shape[1]
        tests.append((both[:, m:] - rankdata(test, axis=1)) / m)
        helds.append(1 - (both[:, :m] - rankdata(held, axis=1)) / n)
    return np.mean(tests, axis=0), helds


def careful(cell: Scores, errors: float) -> np.ndarray:
    """Contrast minus that of the pool's first, less so many standard errors of it (DeLong)."""
    test, helds = placements(cell)
    test = test - test[0]
    variance = test.var(axis=1) / test.shape[1]
    variance += sum((h - h[0]).var(axis=1) / h.shape[1] for h in helds) / len(helds) ** 2
    return test.mean(axis=1) - errors * np.sqrt(variance)


def mean_rank(parts: Iterable[str], values: dict[str, np.ndarray]) -> np.ndarray:
    return np.mean([rankdata(values[part]) for part in parts], axis=0)


SINGLE: dict[str, Criterion] = {
    "injected": injected,
    **{style: partial(separation, style) for style in STYLES},
    "stability": stability,
    "agreement": partial(with_others, alike=correlation),
    "top_agreement": partial(with_others, alike=shared_top),
    "volume": volume,
    "contrast": partial(separation, "test"),
    "contrast_top": contrast_top,
    "excess": excess,
    "contrast_1se": partial(careful, errors=1.0),
    "contrast_2se": partial(careful, errors=2.0),
}
COMBINED = {
    "injected+stability+agreement": ("injected", "stability", "agreement"),
    "contrast+agreement": ("contrast", "agreement"),
    "all": ("injected", "stability", "agreement", "volume", "contrast"),
}
AVERAGED = ("injected", "agreement", "contrast")  # whose k best are averaged


def criteria(cell: Scores) -> dict[str, np.ndarray]:
    values = {name: criterion(cell) for name, criterion in SINGLE.items()}
    return values | {name: mean_rank(parts, values) for name, parts in COMBINED.items()}


# -- what a choice loses ---------------------------------------------------------------------------


def quality(y: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.array([metric(y, score) for score in scores])
            for name, metric in METRICS.items()}


def losses(cell: Scores, seed: int) -> Iterator[dict[str, Any]]:
    """A line per choice and metric: regret, the number of detectors averaged, rows looked at."""
    reached = quality(cell["y"], cell["full"])
    values = criteria(cell)
    chosen = {name: int(np.argmax(value)) for name, value in values.items()}
    chosen |= {f"always {name}": i for i, name in enumerate(POOL)}
    surprise = np.array([
        Calibration().fit(np.r_[first, second]).surprise(full)
        for first, second, full in zip(cell["held0"], cell["held1"], cell["full"], strict=True)])
    for metric, found in reached.items():
        best = found.max()
        for name, i in chosen.items():
            yield {"choice": name, "metric": metric, "k": 1, "regret": best - found[i],
                   "detector": [*POOL][i]}
        yield {"choice": "random", "metric": metric, "k": 1, "regret": best - found.mean()}
        for name in AVERAGED:
            order = np.argsort(-values[name], kind="stable")
            for k in range(1, len(POOL) + 1):
                score = surprise[order[:k]].mean(axis=0)
                yield {"choice": f"{name}, averaged", "metric": metric, "k": k,
                       "regret": best - METRICS[metric](cell["y"], score)}
    yield from by_rows(cell, seed)


def by_rows(cell: Scores, seed: int) -> Iterator[dict[str, Any]]:
    """Choices by some rows of one half of the test rows, judged on the other half."""
    rng, y = np.random.default_rng(seed), cell["y"]
    regrets: dict[tuple[str, int], list[dict[str, float]]] = {}
    for draw in range(DRAWS):
        a, b = train_test_split(np.arange(len(y)), test_size=0.5, random_state=draw, stratify=y)
        reached = quality(y[b], cell["full"][:, b])
        a = rng.permutation(a)
        for n in [*(n for n in ROWS if n < len(a)), len(a)]:
            rows, asked = a[:n], n if n < len(a) else -1
            part = cell | {f"test{fold}": cell[f"test{fold}"][:, rows] for fold in FOLDS}
            chosen = {"contrast": int(np.argmax(separation("test", part)))}
            if 0 < y[rows].sum() < n:
                chosen["labels"] = int(np.argmax(quality(y[rows], cell["full"][:, rows])["AUC"]))
            chosen = {"labels": 0, "Ensemble": 0} | chosen
            for name, i in chosen.items():
                regrets.setdefault((name, asked), []).append(
                    {metric: found.max() - found[i] for metric, found in reached.items()})
    for (name, n), lines in regrets.items():
        for metric, regret in pd.DataFrame(lines).mean().items():
            yield {"choice": f"{name}, other half", "metric": metric, "rows": n, "regret": regret}


def lines(collection: str, contamination: float, cache: Path | None) -> pd.DataFrame:
    """All losses on a collection."""
    found = []
    for seed in SEEDS[collection]:
        sets = tables(collection, seed, contamination)
        for name, data in tqdm(sets.items(), desc=f"{collection}, seed {seed}", disable=None):
            file = cache and cache / f"{collection}-{contamination}-{seed}-{Path(name).name}.npz"
            facts = {"collection": collection, "set": name, "seed": seed,
                     "anomalies": data.y[data.train_end:].mean()}
            found += [facts | line for line in losses(kept(data, seed, file), seed)]
    return pd.DataFrame(found).fillna({"k": 0, "rows": 0})
