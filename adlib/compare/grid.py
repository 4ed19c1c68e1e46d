"""The grid of a comparison: every detector on every data set with every seed, judged alike."""

import warnings
from collections.abc import Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from adlib.datasets import Dataset
from adlib.metrics import report
from adlib.thresholds import check_alpha

from .protocol import ORACLE, _baselines, _gap, _labelled, _settled, score_cell

__all__ = ["compare"]


def compare(detectors: Any, datasets: Dataset | Iterable[Dataset], seeds: Iterable[int] = (0, 1, 2),
            *, metrics: Iterable[str] | None = None, alpha: float = 0.05, baselines: bool = True,
            n_jobs: int = 1, n_random: int = 20, n_bootstrap: int = 200,
            progress: bool = True) -> pd.DataFrame:
    """Judge detectors on data sets over seeds; one tidy row per metric of each cell.

    Parameters
    ----------
    detectors : str, class, instance, (label, instance), dict or list of these
        Names from `adlib.detectors` or of scikit-learn's outlier detectors ("IsolationForest",
        "EllipticEnvelope", "OneClassSVM", "LocalOutlierFactor"; the last two behind a
        StandardScaler), with parameters if you like ("KNN(window=10)"); classes; and instances of
        anything that `adlib.anomaly_score` serves, Pipelines included. Instances are cloned, never
        touched.
    datasets : Dataset or iterable of Dataset
        With different names.
    seeds : iterable of int
        Each is given as ``random_state`` wherever a detector has one.
    metrics : iterable of str, optional
        Metrics to keep, as `adlib.metrics.report` names them, with or without what follows the
        ``@``; default: all.
    alpha : float
        False-alarm budget per row, in (0, 1), of the threshold that all detectors share.
    baselines : bool
        Add the rows that every table needs: random score, one-liners, PCA reconstruction,
        always-anomalous, always-normal, and the oracle of generated data.
    n_jobs : int
        Cells run at the same time (joblib); -1 = all cores. Times in the table then suffer.
    n_random, n_bootstrap : int
        Shuffles behind ``random``, and resamples of the test rows behind ``low`` and ``high``;
        ``n_bootstrap=0`` leaves the interval out.
    progress : bool
        Progress bar, where there is a terminal to show it.

    Returns
    -------
    pandas.DataFrame
        Columns ``detector, role`` ("detector", "baseline", "oracle"), ``dataset, seed, metric,
        value, random`` (what a shuffled score gets), ``above_chance`` (0 for chance, 1 for
        perfect), ``low, high`` (95 % over test rows),
        ``status`` ("ok", "failed"), ``reason`` (of the failure, or warnings), ``threshold,
        n_calibrate, n_test, fit_s, score_s`` (seconds).

    Raises
    ------
    ValueError
        For an unknown detector or metric, two detectors of one label, two data sets of one name.

    Notes
    -----
    The purge gap is ``window - 1`` rows of the longest look-back among the detectors, the same
    for all, so that all are judged on the same rows; its rows serve as context. Online detectors
    need no gap: they pass through every row in order, and score it before they learn it.

    Where a data set consists of several recordings (``session``), the first rows of each are not
    judged: as many as the purge gap or the longest ``warm_up`` of an online detector, whichever is
    more. Their past lies in another recording. An event never goes on from one into the next.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> X[290:] += 4
    >>> data = Dataset("shift", X, np.arange(300) >= 290)
    >>> table = compare("IsolationForest", data, seeds=[0], metrics=["roc_auc"], baselines=False)
    >>> table[["detector", "dataset", "metric", "status"]].values.tolist()
    [['IsolationForest', 'shift', 'roc_auc', 'ok']]
    """
    check_alpha(alpha)
    metrics = [metrics] if isinstance(metrics, str) else metrics and list(metrics)
    models = _labelled(detectors)
    roles = dict.fromkeys(models, "detector")
    if baselines:
        fixed = _baselines()
        if clash := [m for m in models if m in fixed and repr(models[m]) != repr(fixed[m])]:
            raise ValueError(f"{clash} are names of baselines: give your detectors other labels")
        models = models | fixed
        roles |= dict.fromkeys(fixed, "baseline") | {ORACLE: "oracle"}
    datasets = [datasets] if isinstance(datasets, Dataset) else list(datasets)
    if odd := [data for data in datasets if not isinstance(data, Dataset)]:
        raise ValueError(f"datasets must be of type Dataset, got {odd[0]!r}: load or make it first")
    seeds = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    whole = all(isinstance(s, (int, np.integer)) and 0 <= s < 2**32 for s in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different integers from 0 on, at least one, got {seeds}")
    names = [data.name for data in datasets]
    if len(set(names)) < len(names) or not names or not models:
        raise ValueError(
            f"compare needs detectors, and data sets with different names; got "
            f"{list(models)} and {names}"
        )
    if empty := [data.name for data in datasets if not 0 < data.train_end < len(data)]:
        raise ValueError(f"{empty} need history to learn from and test rows: set train_end")

    judge = partial(report, threshold_source="calibration")
    wanted = {data.name: _metric_names(judge, data, metrics) for data in datasets}
    if metrics is not None and (odd := [
        m for m in metrics if not any(_is_named(name, [m]) for w in wanted.values() for name in w)
    ]):
        known = sorted(set(_metric_names(judge, datasets[0], None)))
        raise ValueError(f"unknown metrics {odd}; there are {known}")
    cells = [
        delayed(_cell)(
            {"detector": label, "role": roles[label], "dataset": data.name, "seed": seed},
            model, data, alpha, _gap(models.values(), data), wanted[data.name],
            partial(judge, n_random=n_random, n_bootstrap=n_bootstrap, random_state=seed),
        )
        for (label, model), data, seed in product(models.items(), datasets, seeds)
        if roles[label] != "oracle" or data.oracle is not None
    ]
    rows = Parallel(n_jobs=n_jobs, return_as="generator")(cells)
    bar = tqdm(rows, total=len(cells), unit="cell", disable=None if progress else True)
    return pd.DataFrame([row for cell in bar for row in cell])


def _cell(key, model, dataset, alpha, purge, wanted, judge) -> list[dict]:
    """All rows of one cell. Whatever goes wrong in it stays in it."""
    facts = {"status": "ok", "reason": "", "threshold": np.nan, "n_calibrate": 0, "n_test": 0,
             "fit_s": np.nan, "score_s": np.nan}
    found = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            cell = score_cell(model, dataset, seed=key["seed"], alpha=alpha, purge=purge)
            facts |= {"threshold": cell.threshold, "n_calibrate": cell.calibrate.size,
                      "n_test": cell.test.size, "fit_s": cell.fit_s, "score_s": cell.score_s}
            table = _judge(judge, dataset, cell.test_rows, cell.test, cell.threshold, purge)
            found = table.set_index("metric").to_dict("index")
        except (Exception, SystemExit) as error:  # a failed cell is a result; the others go on
            facts |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    told = [str(w.message) for w in caught if issubclass(w.category, (UserWarning, RuntimeWarning))]
    facts["reason"] = facts["reason"] or "; ".join(dict.fromkeys(told))
    nothing = dict.fromkeys(("value", "random", "above_chance", "low", "high"), np.nan)
    return [key | {"metric": m} | found.get(m, nothing) | facts for m in wanted]


def _judge(judge, dataset, rows, score, threshold, gap):
    when = None if dataset.time is None else dataset.time[rows]
    settled = _settled(dataset, gap)[rows]
    return judge(
        dataset.y[rows] * settled,  # which also ends an event where its recording ends
        score, threshold=threshold, time=when,
        judged=dataset.judged[rows] & settled, kind=dataset.kind[rows],
    )


def _metric_names(judge, dataset, metrics) -> list[str]:
    """What `report` gives on this data set's test rows; failed cells have the same rows."""
    rows = dataset.slices().test
    silent = partial(judge, n_random=0, n_bootstrap=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = np.zeros(len(dataset))[rows]
        names = _judge(silent, dataset, rows, score, 0.0, gap=0).metric.tolist()
    return [name for name in names if metrics is None or _is_named(name, metrics)]


def _is_named(name: str, metrics: Iterable[str]) -> bool:
    return name in metrics or name.split("@")[0] in metrics
