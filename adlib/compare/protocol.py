"""One cell of a comparison: which detector, which rows, scores without a label."""

import ast
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from adlib.arguments import instance
from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.datasets import Dataset
from adlib.detectors import all_detectors, find_detector
from adlib.detectors import baselines as one_liners
from adlib.detectors.committee import Committee
from adlib.metrics import report
from adlib.metrics.labels import runs
from adlib.thresholds import Conformal
from adlib.windows import Windows

__all__ = ["CellScores", "score_cell"]

# Scaling is part of a method that measures distances; without it these two are straw men.
SKLEARN = {
    "EllipticEnvelope": EllipticEnvelope,
    "IsolationForest": IsolationForest,
    "LocalOutlierFactor": lambda: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    "OneClassSVM": lambda: make_pipeline(StandardScaler(), OneClassSVM()),
}
ALWAYS = {"AlwaysAnomalous": -np.inf, "AlwaysNormal": np.inf}  # decisions that look at nothing
ORACLE = "Oracle"


class CellScores(NamedTuple):
    """Scores of one cell; `score_cell` makes them without reading a label.

    Attributes
    ----------
    calibrate : ndarray of shape (n_calibrate,)
        Without the first rows of each recording.
    test : ndarray of shape (n_test,)
    test_rows : slice
        Of the data set.
    threshold : float
        From the scores before the test.
    fit_s, score_s : float
        Seconds.
    """

    calibrate: np.ndarray
    test: np.ndarray
    test_rows: slice
    threshold: float
    fit_s: float
    score_s: float


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
    instance(dataset, "dataset", Dataset)
    labelled = _labelled(detector)
    if len(labelled) != 1:
        raise ValueError(f"detector must be one, got {len(labelled)}")
    (detector,) = labelled.values()
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


def judge_cell(dataset: Dataset, cell: CellScores, gap: int, **settings: Any) -> pd.DataFrame:
    """`adlib.metrics.report` on the test rows of a cell; the one place where labels are read."""
    rows = cell.test_rows
    settled = _settled(dataset, gap)[rows]
    return report(
        dataset.y[rows] * settled,  # which also ends an event where its recording ends
        cell.test, threshold=cell.threshold, threshold_source="calibration",
        time=None if dataset.time is None else dataset.time[rows],
        judged=dataset.judged[rows] & settled, kind=dataset.kind[rows], **settings,
    )


def _metric_names(dataset: Dataset, chosen: list[str] | None) -> list[str]:
    """What a report gives on this data set's test rows; failed cells have the same rows."""
    rows = dataset.slices().test
    flat = np.zeros(rows.stop - rows.start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = CellScores(flat[:0], flat, rows, 0.0, 0.0, 0.0)
        names = judge_cell(dataset, cell, gap=0, n_random=0, n_bootstrap=0).metric.tolist()
    return [name for name in names if chosen is None or _is_named(name, chosen)]


def _is_named(name: str, chosen: Iterable[str]) -> bool:
    return name in chosen or name.split("@")[0] in chosen


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
        name, parameters = _parsed(detector)
        try:
            model = (SKLEARN.get(name) or find_detector(name))()
        except ValueError:
            known = SKLEARN | all_detectors() | one_liners()
            near = [other for other in known if other.lower() == name.lower()]
            hint = f", did you mean {near[0]!r}?" if near else ";"
            raise ValueError(f"unknown detector {detector!r}{hint} there are {sorted(known)}"
                             ) from None
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


def _untrained(models: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of each network as it is before the first epoch: what training has to beat."""
    copies = {}
    for label, model in models.items():
        if isinstance(_core(model), Detector) and hasattr(_core(model), "_network"):
            copies[f"{label} untrained"] = copy = clone(model)
            _core(copy).set_params(epochs=0)
    return copies


def _core(model: Any) -> Any:
    return model[-1] if isinstance(model, Pipeline) else model


def _lookback(model: Any) -> int:
    """Preceding rows that a score needs; the memory of an online detector is not one of them."""
    core, params = _core(model), model.get_params() if hasattr(model, "get_params") else {}
    nested = [p.length - 1 for p in params.values() if isinstance(p, Windows)]
    return (core.context_ if isinstance(core, Detector) else 0) + sum(nested)


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
        for start in runs(settled, dataset.session)[0]:
            settled[start : start + gap] = False
    return settled


def _random_states(model: Any) -> list[str]:
    params = model.get_params() if hasattr(model, "get_params") else {}
    return [name for name in params if name.split("__")[-1] == "random_state"]


def _ignores_seed(model: Any) -> bool:
    """Whether every seed gives the same scores, as far as we know the classes."""
    if isinstance(model, str):
        return True
    params = model.get_params().values() if hasattr(model, "get_params") else ()
    parts = [model, *(part for part in params if hasattr(part, "get_params"))]
    known = all(type(part).__module__.split(".")[0] in ("adlib", "sklearn") for part in parts)
    return known and not _random_states(model)


def _parameters(model: Any) -> str:
    """All parameters in one line, those of nested estimators with them; the seed is a column."""
    if not hasattr(model, "get_params"):
        return ""
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    texts = []
    for _, step in steps:
        own = step.get_params(deep=False) if hasattr(step, "get_params") else {}
        pairs = (f"{k}={' '.join(repr(v).split())}" for k, v in sorted(own.items())
                 if k != "random_state")
        texts.append(re.sub(r" at 0x[0-9a-f]+", "", ", ".join(pairs)))
    return " > ".join(texts)


def _prepared(model: Any, seed: int) -> Any:
    """An unfitted copy with the seed of the cell, and without a threshold of its own."""
    model = clone(model, safe=False)
    if seeded := _random_states(model):
        model.set_params(**dict.fromkeys(seeded, seed))
    if isinstance(_core(model), Detector) and not isinstance(_core(model), Committee):
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
