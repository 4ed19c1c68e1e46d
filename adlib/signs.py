"""Detectors of other libraries: which end of a score is anomalous, how rows reach them.

The one place that knows. Libraries are told apart by the classes that a detector inherits from, so
none of them is imported. What belongs to none has to say which end of its score is anomalous.
"""

import sys
from collections.abc import Iterator
from copy import deepcopy
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from adlib.arguments import one_of

__all__: list[str] = []

# of each library: the bases that mark its detectors, and the method whose end is anomalous
FAMILIES: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "pyod": (("BaseDetector",), (("decision_function", "high"),)),
    "dtaianomaly": (("BaseDetector",), (("decision_function", "high"),)),
    "aeon": (("BaseSeriesAnomalyDetector",), (("predict", "high"),)),
    "sklearn": (("OutlierMixin", "BaseEstimator"), (("score_samples", "low"),
                                                    ("decision_function", "low"))),
}
# the low end all the same, against the convention of their library
BACKWARDS = {"aeon.anomaly_detection.series.outlier_detection._one_class_svm.OneClassSVM"}
_WINDOWS = ("window_size_", "window_size", "window_length", "window")
_INSIDE = ("detector", "anomaly_detector", "pyod_model", "base_estimator")


def core(model: Any) -> Any:
    """What detects: the last step of a Pipeline, or the model itself.

    Parameters
    ----------
    model : estimator

    Returns
    -------
    estimator
    """
    return core(model[-1]) if isinstance(model, Pipeline) else model


def before_core(model: Any, X: Any) -> Any:
    """Rows as `core` sees them: behind the other steps of a Pipeline.

    Parameters
    ----------
    model : fitted estimator
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    array-like of shape (n_samples, n_columns)
    """
    if isinstance(model, Pipeline):
        return before_core(model[-1], model[:-1].transform(X) if len(model) > 1 else X)
    return X


def family(model: Any) -> str:
    """The library whose conventions a detector follows: a key of `FAMILIES`, "river" or "".

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> family(IsolationForest()), family(object())
    ('sklearn', '')
    """
    model = core(model)
    if hasattr(model, "score_one") and hasattr(model, "learn_one"):
        return "river"
    for cls in type(model).__mro__:
        library = cls.__module__.split(".")[0]
        if library in FAMILIES and cls.__name__ in FAMILIES[library][0]:
            return library
    return ""


def method_of(model: Any, sign: str | None = None) -> tuple[str, int]:
    """The method that scores rows, and 1 where its high end is anomalous, -1 where its low end is.

    Parameters
    ----------
    model : estimator
        As `core` gives it.
    sign : {"high", "low"} or None
        Which end of the score is anomalous; None: as the model's library has it.

    Raises
    ------
    TypeError
        When it has no such method, or nobody knows the sign.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> method_of(IsolationForest())
    ('score_samples', -1)
    """
    end = None if sign is None else one_of(sign, "sign", ("high", "low"))
    if known := _known(model, given=end is not None):
        return known[0], 1 if (end or known[1]) == "high" else -1
    there = [m for m in ("decision_function", "score_samples", "predict") if hasattr(model, m)]
    if end and there:
        return there[0], 1 if end == "high" else -1
    name = type(model).__name__
    if not there or is_outlier_detector(model):
        raise TypeError(f"model must have anomaly_score, or a score of scikit-learn's, PyOD's, "
                        f"River's, aeon's or dtaianomaly's detectors, got {name} "
                        f"(LocalOutlierFactor needs novelty=True)")
    raise TypeError(f"{name} is of no library whose sign is known: say which end of its "
                    f"{there[0]} is anomalous, as anomaly_score(model, X, sign='high') or "
                    f"adlib.foreign.wrap(model, sign='high'), or 'low'; one of yours may call it "
                    f"anomaly_score, and is then high")


def _known(model: Any, *, given: bool) -> tuple[str, str] | None:
    """Method and anomalous end by the conventions of the model's library."""
    for method, usual in (("anomaly_score", "high"), ("score_one", "high"),
                          *FAMILIES.get(family(model), ((), ()))[1]):
        ambiguous = method == "decision_function" and _may_be_a_class(model)
        if hasattr(model, method) and (given or not ambiguous):
            name = f"{type(model).__module__}.{type(model).__qualname__}"
            return method, "low" if name in BACKWARDS else usual
    return None


def _may_be_a_class(model: Any) -> bool:
    """Of scikit-learn's estimators that are no outlier detectors: a score of class 1."""
    return family(model) == "sklearn" and not is_outlier_detector(model)


def is_outlier_detector(model: Any) -> bool:
    """Whether it is one of scikit-learn's, and scores the normal high."""
    return any(cls.__name__ == "OutlierMixin" for cls in type(model).__mro__)


def oriented(model: Any, X: ArrayLike, sign: str | None = None) -> NDArray[np.float64]:
    """Scores of rows by a fitted detector of another library: high is anomalous.

    Parameters
    ----------
    model : estimator
        One of River judges the rows as the continuation of its stream, on a copy.
    X : array-like of shape (n_samples, n_features)
    sign : {"high", "low"} or None
        As in `method_of`.

    Returns
    -------
    ndarray of float64
    """
    method, sense = method_of(core(model), sign)
    rows, last = before_core(model, X), core(model)
    if method == "score_one":
        last, names = deepcopy(last), getattr(rows, "columns", None)
        found = []
        for row in np.asarray(rows):
            given = as_row(last, row, names)
            found.append(last.score_one(*given))
            last.learn_one(*given)
    else:
        found = getattr(last, method)(rows, **_axis(last))
    return sense * np.asarray(found, dtype=np.float64)


def _axis(model: Any) -> dict[str, int]:
    """aeon takes the second axis for time where nobody says otherwise."""
    return {"axis": 0} if family(model) == "aeon" else {}


def as_row(model: Any, row: NDArray[np.float64], names: Any = None) -> tuple[Any, ...]:
    """A row as one of River's detectors takes it: by names, or numbers where there are none.

    One that judges a target takes the only column for it.

    Raises
    ------
    ValueError
        When it judges a target and there are more columns.
    """
    row = np.asarray(row).tolist()
    if not getattr(model, "_supervised", False):
        return (dict(zip(range(len(row)) if names is None else names, row, strict=True)),)
    if len(row) > 1:
        raise ValueError(f"{type(model).__name__} judges one target, and rows have {len(row)} "
                         f"columns: give it one")
    return {}, row[0]


def learn(model: Any, X: ArrayLike) -> None:
    """Let an unfitted detector of another library learn from rows."""
    if isinstance(model, Pipeline) and _axis(core(model)):
        rows = model[:-1].fit_transform(X) if len(model) > 1 else X
        learn(model[-1], rows)
    else:
        model.fit(X, **_axis(model))


def fresh(model: Any, seed: int | None = None) -> Any:
    """An unfitted copy; one of River gets the seed here, others by ``random_state``."""
    if family(model) == "river" and hasattr(model, "clone"):
        return model.clone(_river_seeds(model, seed))
    return clone(model, safe=False)


def _river_seeds(model: Any, seed: int | None) -> dict[str, Any]:
    """What River's ``clone`` takes to give every part of a model a seed."""
    if isinstance(steps := getattr(model, "steps", None), dict):
        return {name: _river_seeds(step, seed) for name, step in steps.items()}
    parts = {name: getattr(model, name, None) for name in signature(type(model)).parameters}
    return {name: seed if name == "seed" else (type(part), _river_seeds(part, seed))
            for name, part in parts.items() if name == "seed" or hasattr(part, "learn_one")}


def span(model: Any, X: ArrayLike | None = None) -> int:
    """Rows of the windows that a detector of another library makes by itself; 1: none.

    Parameters
    ----------
    model : estimator
    X : array-like, optional
        Rows that it will learn from, where it chooses a width by them.
    """
    model = core(model)
    if not family(model) or family(model) == "sklearn":
        return 1
    return max([1, *_widths(model, X)])


def _widths(model: Any, X: ArrayLike | None) -> Iterator[int]:
    for name in _WINDOWS:
        width = getattr(model, name, None)
        if isinstance(width, str) and X is not None and family(model) == "dtaianomaly":
            width = sys.modules["dtaianomaly.windowing"].compute_window_size(X, width)
        if isinstance(width, (int, np.integer)) and not isinstance(width, bool):
            yield int(width)
    for name in _INSIDE:
        if hasattr(part := getattr(model, name, None), "fit"):
            yield from _widths(part, X)
