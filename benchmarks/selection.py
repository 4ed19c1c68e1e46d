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
* ``contrast_1se``, ``contrast_2se``: the detector whose contrast exceeds the Ensemble's by the most
  beyond one or two standard errors of the difference; the Ensemble where none does.

The rule: a criterion is offered by `adlib.compare.rank_unlabelled` if it closes a fifth of the gap
between always the Ensemble and the best of the pool, on both collections and in both metrics, with
an interval above none; of those, the simplest within one standard error of the best (``contrast``
is simpler than its variants, a single criterion than a mean of ranks).

Curves: the k best by a criterion averaged by their surprise (-log p on held-out rows); and the
number of rows that the choice sees, without labels (contrast) and with them (AUC; the Ensemble
where they hold one class only), judged on the other half of the test rows; the same with anomalies
thinned out among the rows seen, on the tables that have a fifth of them at least.

What came out: by the rule as it stands none is offered, since on the 22 tables of ADBench, where
always the Ensemble is a hundredth of AUC below the best, no gain in AUC has an interval above none.
On macrOData and on both together the contrast gains, where a tenth of the rows or more are
anomalous, and nothing that leaves it out gains for sure. `rank_unlabelled` shows it, keeps the
first detector unless another is ahead by two standard errors, and says what that is
worth. Fixed after most results had been seen: that two standard errors are asked for and not one
(the Ensemble had become better meanwhile), and that the texts name three averaged detectors (two to
four do alike on both collections). The curve over the share of anomalies was added after the first
tables and before it was drawn.
"""

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from results import keep, option
from scipy.stats import rankdata, spearmanr
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, train_test_split
from sklearn.neighbors import LocalOutlierFactor
from tables import SEEDS, interval, seeded, tables
from threadpoolctl import threadpool_limits
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
DEFAULT = next(iter(POOL))
LEAST = 200  # altered rows are at least so many
ROWS = (10, 20, 50, 100, 200, 500)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
CURVES = {"k": "detectors averaged", "rows": "test rows seen (judged on the other half)",
          "share": "anomalies among the rows seen (judged on the other half)"}
DRAWS = 2

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
    return np.mean([shares.mean(axis=1) for shares in placements(cell, part)[0]], axis=0)


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


def placements(cell: Scores, part: str = "test") -> tuple[list[np.ndarray], ...]:
    """Share of held-out rows below each row of a part, and of rows of the part above each held-out
    row, by fold. Detectors are rows."""
    tests, helds = [], []
    for fold in FOLDS:
        held, test = cell[f"held{fold}"], cell[f"{part}{fold}"]
        both = rankdata(np.hstack([held, test]), axis=1)
        m, n = held.shape[1], test.shape[1]
        tests.append((both[:, m:] - rankdata(test, axis=1)) / m)
        helds.append(1 - (both[:, :m] - rankdata(held, axis=1)) / n)
    return tests, helds


def contrasts(cell: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Contrast, and the standard error of its difference to that of the pool's first (DeLong)."""
    tests, helds = placements(cell)
    test = np.mean(tests, axis=0)
    apart = test - test[0]
    variance = apart.var(axis=1) / apart.shape[1]
    variance += sum((h - h[0]).var(axis=1) / h.shape[1] for h in helds) / len(helds) ** 2
    return test.mean(axis=1), np.sqrt(variance)


def careful(cell: Scores, errors: float) -> np.ndarray:
    mean, error = contrasts(cell)
    return mean - errors * error


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
SHOWN = (2, 3, len(POOL))  # numbers of averaged detectors that the table shows; curves show all
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
    regrets: dict[tuple[str, str, float], list[dict[str, float]]] = {}
    for draw in range(DRAWS):
        a, b = train_test_split(np.arange(len(y)), test_size=0.5, random_state=draw, stratify=y)
        reached = quality(y[b], cell["full"][:, b])
        for (x, value), rows in _seen(rng.permutation(a), y).items():
            for name, i in _chosen_by(cell, rows).items():
                regrets.setdefault((name, x, value), []).append(
                    {metric: found.max() - found[i] for metric, found in reached.items()})
    for (name, x, value), lines in regrets.items():
        for metric, regret in pd.DataFrame(lines).mean().items():
            yield {"choice": f"{name}, other half", "metric": metric, x: value, "regret": regret}


def _seen(a: np.ndarray, y: np.ndarray) -> dict[tuple[str, float], np.ndarray]:
    """So many of the rows, or all there are; all normal ones with so large a share of anomalies."""
    found = {("rows", n): a[:n] for n in ROWS} | {("rows", -1): a}
    normal, odd = a[y[a] == 0], a[y[a] == 1]
    if len(odd) >= SHARES[-1] * len(a):
        for share in SHARES:
            n = max(1, round(len(normal) * share / (1 - share)))
            found["share", share] = np.r_[normal, odd[:n]]
    return found


def _chosen_by(cell: Scores, rows: np.ndarray) -> dict[str, int]:
    part = cell | {f"test{fold}": cell[f"test{fold}"][:, rows] for fold in FOLDS}
    y, chosen = cell["y"][rows], {"Ensemble": 0, "labels": 0}
    mean, error = contrasts(part)
    chosen["contrast"], chosen["contrast_2se"] = np.argmax(mean), np.argmax(mean - 2 * error)
    if 0 < y.sum() < y.size:
        chosen["labels"] = np.argmax([roc_auc(y, score) for score in cell["full"][:, rows]])
    return chosen


def lines(collection: str, contamination: float, cache: Path | None) -> pd.DataFrame:
    """All losses on a collection, means over seeds."""
    found = []
    for seed in SEEDS[collection]:
        sets = tables(collection, seed, contamination)
        for name, data in tqdm(sets.items(), desc=f"{collection}, seed {seed}", disable=None):
            file = cache and cache / f"{collection}-{contamination}-{seed}-{Path(name).name}.npz"
            facts = {"collection": collection, "set": name}
            found += [facts | line for line in losses(kept(data, seed, file), seed)]
    keys = ["collection", "metric", "choice", *CURVES, "set"]
    table = pd.DataFrame(found).fillna(dict.fromkeys(CURVES, 0)).astype({"k": int, "rows": int})
    return table.groupby(keys, sort=False).regret.mean().reset_index()


# -- what is printed and drawn ---------------------------------------------------------------------


def regrets(table: pd.DataFrame) -> pd.DataFrame:
    """Mean regret over sets with its interval; the default's minus it, as a share of the default's
    (the gap that the choice closes), with a bootstrap over sets."""
    found = []
    table = table[table.k > 0]
    averaged = table.choice.str.contains(", ")
    named = table.choice.where(~averaged, table.choice + " " + table.k.astype(str))
    table = table.assign(choice=named)[~averaged | (table.k.isin(SHOWN))]
    for (collection, metric), part in table.groupby(["collection", "metric"], sort=False):
        wide = part.pivot(index="set", columns="choice", values="regret")
        drawn = np.random.default_rng(0).integers(0, len(wide), (10_000, len(wide)))
        default = wide[f"always {DEFAULT}"].to_numpy()
        for choice, regret in wide.items():
            mean, low, high = interval(regret.to_numpy())
            gained = default - regret.to_numpy()
            shares = gained[drawn].mean(axis=1) / default[drawn].mean(axis=1)
            least, most = np.quantile(shares, (0.025, 0.975))
            found.append({
                "collection": collection, "metric": metric, "choice": choice, "regret": mean,
                "low": low, "high": high, "closed": gained.mean() / default.mean(),
                "least": least, "most": most, "better": (gained > 0).sum(),
                "worse": (gained < 0).sum(), "sets": len(wide)})
    return pd.DataFrame(found)


def curve(table: pd.DataFrame, x: str) -> pd.DataFrame:
    """Mean regret over sets at each number of detectors averaged, or of rows seen."""
    part = table[(table[x] != 0) & (table.choice.str.contains(", "))]
    found = [dict(zip(("collection", "metric", "choice", x), key, strict=True))
             | dict(zip(("regret", "low", "high"), interval(values.regret), strict=True))
             | {"sets": len(values)}
             for key, values in part.groupby(["collection", "metric", "choice", x], sort=False)]
    return pd.DataFrame(found)


def drawn(table: pd.DataFrame) -> plt.Figure:
    """Regret of each choice and, below, the curves; a row of panels for each metric."""
    shown, collections = regrets(table), [*table.collection.unique()]
    figure = plt.figure(figsize=(15, 10 + 5 * len(collections)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[10, 6 * len(collections)])
    order = shown[shown.metric == "AUC"].groupby("choice").regret.mean().sort_values().index
    for ax, metric in zip(above.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        for i, collection in enumerate(collections):
            part = shown.query("metric == @metric and collection == @collection")
            part = part.set_index("choice").loc[order]
            error = [part.regret - part.low, part.high - part.regret]
            ax.errorbar(part.regret, np.arange(len(order)) + 0.3 * (i - 0.5), xerr=error, fmt="o",
                        markersize=4, label=f"{collection}, {part.sets.iloc[0]} tables")
        ax.set(xlabel=f"regret ({metric}) against the best of {len(POOL)}",
               yticks=np.arange(len(order)), yticklabels=order)
        ax.legend()
    ax.invert_yaxis()
    panels = [(metric, collection) for collection in collections for metric in METRICS]
    axes = below.subplots(len(panels), len(CURVES), squeeze=False)
    for (metric, collection), line in zip(panels, axes, strict=True):
        for ax, x in zip(line, CURVES, strict=True):
            part = curve(table, x).query("metric == @metric and collection == @collection")
            if x == "k":
                always = shown.query("metric == @metric and collection == @collection"
                                     f" and choice == 'always {DEFAULT}'")
                ax.axhline(always.regret.item(), color="0.6", linestyle=":",
                           label=f"always {DEFAULT}")
            _draw_curve(ax, part, x)
            ax.set(xlabel=CURVES[x], ylabel=f"regret ({metric}), {collection}")
            ax.legend(fontsize="small")
    return figure


def _draw_curve(ax: plt.Axes, part: pd.DataFrame, x: str) -> None:
    for choice, values in part.groupby("choice", sort=False):
        at = values[x].where(values[x] > 0, 2 * max(ROWS))  # all of the half at the right end
        values, at = values.iloc[at.argsort()], at.sort_values()
        ax.plot(at, values.regret, "o-", markersize=3, label=choice.split(",")[0])
        ax.fill_between(at, values.low, values.high, alpha=0.12)
    ticks: dict[str, dict[float, str]] = {
        "rows": {n: str(n) for n in ROWS} | {2 * max(ROWS): "half"},
        "share": {share: f"{share:.0%}" for share in SHARES}}
    if x in ticks:
        ax.set_xscale("log")
        ax.set_xticks([*ticks[x]], [*ticks[x].values()])
        ax.minorticks_off()


def headline(found: pd.DataFrame) -> dict[str, dict]:
    """What is recorded: what always the default loses, and what the careful choice gains."""
    figures = {}
    for line in found[found.choice.isin((f"always {DEFAULT}", "contrast_2se"))].itertuples():
        name = f"{line.collection}, {line.sets} tables"
        if line.choice == "contrast_2se":
            figures[f"{line.collection}_{line.metric}_closed"] = {
                "what": f"{name}: share of the gap to the best of the pool that a choice without "
                f"labels closes, {line.metric}", "better": "high", "goal": 0.2,
                "value": line.closed, "low": line.least, "high": line.most}
        else:
            figures[f"{line.collection}_{line.metric}_regret"] = {
                "what": f"{name}: {line.metric} lost by always {DEFAULT} against the best of "
                f"{len(POOL)}", "better": "low", "value": line.regret, "low": line.low,
                "high": line.high}
    return figures


def main() -> None:
    """Print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--collection", choices=[*SEEDS], action="append")
    parser.add_argument("--contamination", type=float, default=0.0)
    parser.add_argument("--cache", type=Path, help="folder that keeps the scores of each table")
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    option(parser)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # few rows, singular covariances, training that goes on
    pd.set_option("display.width", 160, "display.max_rows", 500)
    with threadpool_limits(1):
        table = pd.concat([lines(collection, given.contamination, given.cache)
                           for collection in given.collection or SEEDS])
    both = [table.assign(collection="both")] * (table.collection.nunique() > 1)
    found = regrets(pd.concat([table, *both]))
    for (collection, metric), part in found.groupby(["collection", "metric"]):
        print(f"\n{collection}, {metric}, {part.sets.iloc[0]} tables: regret [95 % interval], gap "
              f"closed between always {DEFAULT} and the best of the pool")
        for line in part.sort_values("regret").itertuples():
            print(f"{line.choice:32} {line.regret:.4f} [{line.low:.4f}, {line.high:.4f}]  "
                  f"{line.closed:+.2f} [{line.least:+.2f}, {line.most:+.2f}]  better on "
                  f"{line.better}, worse on {line.worse}")
    for x in CURVES:
        points = curve(table, x)
        points["value"] = [f"{p.regret:.4f} [{p.low:.4f}, {p.high:.4f}]"
                           for p in points.itertuples()]
        print(f"\nregret by {CURVES[x]} (-1: all of the half)\n" + points.pivot(
            index=["collection", "metric", x], columns="choice", values="value").to_string())
    if given.figure:
        drawn(table).savefig(given.figure, dpi=100)
    if given.keep:
        keep("selection", given.keep, "python benchmarks/selection.py", headline(found))


if __name__ == "__main__":
    main()
