"""Compare detectors on data sets: every model judged alike, chance and one-liners beside them.

The protocol of one cell (detector, data set, seed): fit on the training rows, one conformal
threshold from the calibration rows, metrics on the test rows. The three parts follow each other
in time with a purge gap, labels are read by metrics only, and what fails is a row with its reason.
"""

import ast
import time
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from tqdm import tqdm

from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.datasets import Dataset
from adlib.detectors import all_detectors
from adlib.detectors import baselines as one_liners
from adlib.metrics import report
from adlib.thresholds import Conformal, check_alpha
from adlib.windows import Windows

__all__ = ["CellScores", "compare", "score_cell", "summarise", "verdict"]

# Scaling is part of a method that measures distances; without it these two are straw men.
SKLEARN = {
    "EllipticEnvelope": EllipticEnvelope,
    "IsolationForest": IsolationForest,
    "LocalOutlierFactor": lambda: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    "OneClassSVM": lambda: make_pipeline(StandardScaler(), OneClassSVM()),
}
ALWAYS = {"AlwaysAnomalous": -np.inf, "AlwaysNormal": np.inf}  # decisions that look at nothing
ORACLE = "Oracle"
HEADLINE = "average_precision"


class CellScores(NamedTuple):
    """Scores of one cell; `score_cell` makes them without reading a label."""

    calibrate: np.ndarray  # (n_calibrate,), without the first rows of each recording
    test: np.ndarray  # (n_test,)
    test_rows: slice  # of the data set
    threshold: float
    fit_s: float
    score_s: float


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


def score_cell(
    detector: Any, dataset: Dataset, *, seed: int = 0, alpha: float = 0.05, purge: int | None = None
) -> CellScores:
    """Fit, calibrate and score one detector on one data set, as `compare` does.

    Parameters
    ----------
    detector : str, class or instance
        As in `compare`.
    dataset : Dataset
        Its labels are not read.
    seed : int
        Given as ``random_state`` wherever the detector has one.
    alpha : float
        False-alarm budget per row, in (0, 1).
    purge : int, optional
        Rows left out between the parts, and of the calibration scores at the start of each
        recording; default: what this detector needs.

    Returns
    -------
    CellScores

    Raises
    ------
    ValueError
        If a score of the calibration or test rows is NaN; and whatever the detector raises.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> cell = score_cell("IsolationForest", Dataset("noise", X))
    >>> cell.test_rows, cell.test.shape
    (slice(120, 300, None), (180,))
    """
    (detector,) = _labelled(detector).values()
    if (back := _lookback(detector)) > _room(dataset):
        raise ValueError(
            f"the detector looks back on {back} rows, and {dataset.name} has parts of only "
            f"{dataset.train_end - dataset.calibrate_start} (calibration) and "
            f"{len(dataset) - dataset.train_end} (test) rows: shorten its window"
        )
    purge = _gap([detector], dataset) if purge is None else purge
    _, calibrate, test = dataset.slices(purge)
    started = time.perf_counter()
    if isinstance(detector, str):  # ORACLE and ALWAYS: nothing to learn
        scores = dataset.oracle if detector == ORACLE else np.zeros(len(dataset))
        if scores is None:
            raise ValueError(f"{dataset.name} has no oracle score")
        parts, fitted = (scores[calibrate], scores[test]), started
    else:
        model = _prepared(detector, seed)
        model.fit(dataset.X[: dataset.calibrate_start])
        fitted = time.perf_counter()
        parts = _scores(model, dataset, calibrate, test)
    scored = time.perf_counter()
    parts = parts[0][_settled(dataset, purge)[calibrate]], parts[1]
    for part, name in zip(parts, ("calibration", "test"), strict=True):
        if np.isnan(part).any():
            raise ValueError(f"{np.isnan(part).sum()} of {len(part)} {name} scores are NaN")
    threshold = ALWAYS.get(detector) if isinstance(detector, str) else None
    if threshold is None:
        rule = Conformal(alpha, block=None if dataset.time is None else "auto")
        threshold = float(rule.fit(parts[0]).value_)
    return CellScores(*parts, test, threshold, fitted - started, scored - fitted)


def summarise(
    table: pd.DataFrame, *, n_bootstrap: int = 1000, random_state: int = 0
) -> pd.DataFrame:
    """Mean of each metric over seeds and data sets, with an interval, ranked.

    Parameters
    ----------
    table : DataFrame
        From `compare`.
    n_bootstrap : int
        Resamples behind the interval.
    random_state : int

    Returns
    -------
    pandas.DataFrame
        Columns ``rank`` (by mean average precision; the oracle and detectors with a failed cell
        have none and stand last), ``detector, role, metric, mean, low, high, random`` (mean over
        the same cells), ``interval_over, n_datasets, n_seeds, n_failed``. Every data set weighs
        the same. ``interval_over`` says which luck the 95 % interval holds: "datasets and seeds"
        (both resampled: what another choice of data sets of this sort would give), or, with one
        data set, "test rows" (the mean over seeds of the limits in the table: what another test
        recording would give the same fitted models; training luck is not in it).

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": ["x", "x", "y", "y"],
    ...     "seed": [0, 1, 0, 1], "metric": "average_precision", "value": [0.2, 0.4, 0.8, 1.0],
    ...     "random": 0.1, "low": 0.0, "high": 1.0, "status": "ok"})
    >>> summarise(cells)[["rank", "detector", "mean", "random", "interval_over"]].values.tolist()
    [[1.0, 'A', 0.6, 0.1, 'datasets and seeds']]
    """
    rng = np.random.default_rng(random_state)
    failed = table[table.status == "failed"].groupby("detector")[["dataset", "seed"]]
    failed = {detector: len(cells.drop_duplicates()) for detector, cells in failed}
    lines = []
    key = ["detector", "role", "metric"]
    for (detector, role, metric), cells in table.groupby(key, sort=False):
        cells = cells[cells.value.notna()]
        per_set = [part.to_numpy() for _, part in cells.groupby("dataset").value]
        line = {"detector": detector, "role": role, "metric": metric, "mean": np.nan}
        if per_set:
            line["mean"] = np.mean([values.mean() for values in per_set])
            line["random"] = cells.groupby("dataset").random.mean().mean()
            if len(per_set) == 1:
                line |= {"low": cells.low.mean(), "high": cells.high.mean()}
            else:
                line |= _interval(per_set, n_bootstrap, rng)
        line["interval_over"] = "datasets and seeds" if len(per_set) > 1 else "test rows"
        line |= {"n_datasets": len(per_set), "n_seeds": cells.seed.nunique(),
                 "n_failed": failed.get(detector, 0)}
        lines.append(line)
    out = pd.DataFrame(lines)
    ranked = out[(out.metric == HEADLINE) & (out.role != "oracle") & (out.n_failed == 0)]
    rank = ranked.set_index("detector")["mean"].rank(ascending=False, method="min")
    out.insert(0, "rank", out.detector.map(rank))
    return out.sort_values("rank", kind="stable", na_position="last", ignore_index=True)


def _interval(per_set, n_bootstrap, rng):
    """Data sets resampled, and within each drawn one its seeds."""
    draws = np.empty((n_bootstrap, len(per_set)))
    chosen = rng.integers(len(per_set), size=draws.shape)
    for k, values in enumerate(per_set):
        at = chosen == k
        draws[at] = values[rng.integers(values.size, size=(at.sum(), values.size))].mean(axis=1)
    low, high = np.percentile(draws.mean(axis=1), [2.5, 97.5])
    return {"low": low, "high": high}


def verdict(summary: pd.DataFrame) -> str:
    """What the ranking allows to say, in words: a leader only where its interval stands alone.

    Intervals that overlap are a cautious criterion: two detectors can differ by more than chance
    and still overlap. It errs towards "no winner".

    Parameters
    ----------
    summary : pandas.DataFrame
        From `summarise`.

    Returns
    -------
    str
        One or two sentences. The second says how much of the best a baseline reaches, unless a
        baseline is the best.

    Examples
    --------
    >>> lines = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "metric": "average_precision", "mean": [0.8, 0.6], "low": [0.7, 0.5],
    ...     "high": [0.9, 0.75], "random": 0.1, "rank": [1, 2], "n_datasets": 1})
    >>> print(verdict(lines))
    No winner: the interval of KNN (0.70 to 0.90) overlaps that of MaxAbsZ. The best baseline,
    MaxAbsZ, reaches 75 % of the best average precision.
    """
    lines = summary[(summary.metric == HEADLINE) & summary["rank"].notna()].sort_values("rank")
    if lines.empty:
        return "Nothing can be ranked: no detector has an average precision on every data set."
    best, others = lines.iloc[0], lines.iloc[1:]
    rivals = others.detector[others.high >= best.low].tolist()
    span = f"{best.low:.2f} to {best.high:.2f}"
    # over several sets, which differ in what chance gives, the interval says nothing about it
    if best.n_datasets == 1 and (lines.low <= lines.random).all():
        said = (f"Nothing is shown to beat chance: the interval of {best.detector}, the best, "
                f"({span}) holds the {best.random:.2f} of a random score.")
    elif rivals:
        more = f" and {len(rivals) - 3} more" if len(rivals) > 3 else ""
        said = (f"No winner: the interval of {best.detector} ({span}) overlaps "
                f"{'that' if len(rivals) == 1 else 'those'} of {', '.join(rivals[:3])}{more}.")
    else:
        said = f"{best.detector} leads: its interval ({span}) lies above all others."
    baselines = lines[lines.role == "baseline"]
    if baselines.empty:
        return said
    if best.role == "baseline":
        return f"{said} {best.detector} is itself a baseline."
    simple = baselines.iloc[0]
    share = 100 * simple["mean"] / best["mean"]
    return (f"{said} The best baseline, {simple.detector}, reaches {share:.0f} % of the best "
            f"average precision.")


def _labelled(detectors: Any) -> dict[str, Any]:
    """Every accepted way to name detectors, as {label: unfitted instance}."""
    if isinstance(detectors, Mapping):
        return {str(label): _build(detector) for label, detector in detectors.items()}
    is_pair = isinstance(detectors, tuple) and len(detectors) == 2 and isinstance(detectors[0], str)
    if is_pair and not isinstance(detectors[1], str):
        return {detectors[0]: _build(detectors[1])}
    if not isinstance(detectors, (list, tuple, set)):
        model = _build(detectors)
        return {detectors if isinstance(detectors, str) else _label(model): model}
    models: dict[str, Any] = {}
    for label, model in (item for one in detectors for item in _labelled(one).items()):
        if label in models:
            raise ValueError(f"two detectors are labelled {label!r}: name them (label, detector)")
        models[label] = model
    return models


def _build(detector: Any) -> Any:
    if isinstance(detector, str):
        if detector in ALWAYS or detector == ORACLE:
            return detector
        known = SKLEARN | all_detectors() | one_liners()
        name, parameters = _parsed(detector)
        if name not in known:
            near = [other for other in known if other.lower() == name.lower()]
            hint = f", did you mean {near[0]!r}?" if near else ";"
            raise ValueError(f"unknown detector {detector!r}{hint} there are {sorted(known)}")
        model = known[name]()
        _core(model).set_params(**parameters)
        return model
    model = detector() if isinstance(detector, type) else detector
    if not hasattr(model, "fit"):
        raise ValueError(f"a detector needs a fit method, got {model!r}")
    return model


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of "KNN" or "KNN(window=10)", with literals for values."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        pass  # not of that form: the whole text is then an unknown name
    return text, {}


def _label(model: Any) -> str:
    if isinstance(model, Pipeline):
        return " > ".join(type(step).__name__ for _, step in model.steps)
    if type(model).__repr__ is object.__repr__:
        return type(model).__name__
    return " ".join(repr(model).split()).removesuffix("()")  # shows parameters that were changed


def _baselines() -> dict[str, Any]:
    models = {name: cls() for name, cls in one_liners().items()}
    models["PCAReconstruction"] = _build("PCAReconstruction")
    return models | {name: name for name in ALWAYS} | {ORACLE: ORACLE}


def _core(model: Any) -> Any:
    return model[-1] if isinstance(model, Pipeline) else model


def _lookback(model: Any) -> int:
    """Preceding rows that a score needs; the memory of an online detector is not one of them."""
    core, params = _core(model), model.get_params() if hasattr(model, "get_params") else {}
    nested = [p.length - 1 for p in params.values() if isinstance(p, Windows)]
    return (core._context() if isinstance(core, Detector) else 0) + sum(nested)


def _room(dataset: Dataset) -> int:
    """Rows that can be left out at the start of the parts without emptying one."""
    parts = (dataset.train_end - dataset.calibrate_start, len(dataset) - dataset.train_end)
    return min(part - 1 for part in parts if part)


def _gap(models: Iterable[Any], dataset: Dataset) -> int:
    """Rows to leave out at the start of each part and of each recording."""
    room = _room(dataset)  # a detector that looks back further fails alone
    gap = max((back for back in map(_lookback, models) if back <= room), default=0)
    if dataset.session is None:
        return gap
    return max(1, gap, *(getattr(_core(model), "warm_up", 0) for model in models))


def _settled(dataset: Dataset, gap: int) -> np.ndarray:
    """False on the first rows of each recording, boolean of shape (n_samples,)."""
    settled = np.ones(len(dataset), dtype=bool)
    if dataset.session is not None:
        starts = 1 + np.flatnonzero(np.diff(dataset.session))
        for start in (0, *starts):
            settled[start : start + gap] = False
    return settled


def _prepared(model: Any, seed: int) -> Any:
    """An unfitted copy with the seed of the cell, and without a threshold of its own."""
    model = clone(model, safe=False)
    params = model.get_params() if hasattr(model, "get_params") else {}
    seeded = [name for name in params if name.split("__")[-1] == "random_state"]
    if seeded:
        model.set_params(**dict.fromkeys(seeded, seed))
    if isinstance(_core(model), Detector):
        _core(model).calibration = None  # not every constructor has the parameter
    return model


def _scores(model: Any, dataset: Dataset, calibrate: slice, test: slice) -> tuple:
    core, start = _core(model), dataset.calibrate_start
    if isinstance(core, OnlineDetector):
        rows = dataset.X[start:]
        rows = model[:-1].transform(rows) if core is not model and len(model) > 1 else rows
        scores = core.process(rows)
        return tuple(scores[s.start - start : s.stop - start] for s in (calibrate, test))
    context = _lookback(model)
    return tuple(
        np.asarray(anomaly_score(model, dataset.X[s.start - context : s.stop]))[context:]
        if s.stop > s.start else np.empty(0)
        for s in (calibrate, test)
    )


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
