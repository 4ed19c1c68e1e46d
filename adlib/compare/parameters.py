"""What notebook 05 is asked by its parameters, as data sets and detectors; all of it is checked."""

from collections.abc import Callable, Iterable
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any
from warnings import warn

from adlib import datasets
from adlib.arguments import path, whole
from adlib.base import Detector, OnlineDetector
from adlib.datasets import Dataset
from adlib.detectors import all_detectors, baselines
from adlib.foreign import Foreign
from adlib.thresholds import check_alpha

from .models import build
from .protocol import look_ahead, metric_names
from .report import check_folder
from .workers import checked_limits

__all__ = ["check", "chosen_detectors", "comparable", "is_benchmark", "load_sets", "with_usual"]

OTHERS = ("IsolationForest", "EllipticEnvelope", "OneClassSVM", "LinearForecast(smoothing=None)")
SHIPPED: dict[str, Callable[[], Dataset]] = {
    "sensor_stream": partial(datasets.make_sensor_stream, 4000, 0.01, random_state=0),
    "breast_cancer": partial(datasets.load_sklearn, "breast_cancer"),
    "digits": partial(datasets.load_sklearn, "digits"),
    "telemetry": datasets.load_telemetry,
}


def check(*, alpha: float, delay: Any, time_limit: float | None, memory_limit: float | str | None,
          report_dir: Any, window: Any = None, **lists: Any) -> None:
    """Refuse what would otherwise be refused after the first fit, or after the last.

    Examples
    --------
    >>> rest = {"alpha": 0.05, "time_limit": None, "memory_limit": None, "report_dir": None}
    >>> check(delay="later", **rest)
    Traceback (most recent call last):
    ValueError: delay must be None, a whole number of rows or 'hindsight', got 'later'
    >>> check(delay=None, seeds=0, **rest)
    Traceback (most recent call last):
    ValueError: seeds is a list, such as [0], got 0
    """
    check_alpha(alpha)
    look_ahead(delay)
    if window is not None and window != "auto":
        whole(window, "window", 1, of="rows, or 'auto'")
    checked_limits(time_limit, memory_limit)
    if report_dir is not None:
        check_folder(path(report_dir, "report_dir"), "report_dir")
    for name, value in lists.items():
        if value is not None and not isinstance(value, list):
            raise ValueError(f"{name} is a list, such as [{value}], got {value!r}")
        if value == []:
            raise ValueError(f"{name} is empty: name at least one")


def with_usual(metrics: list[str] | None, sets: Iterable[Dataset]) -> list[str] | None:
    """Names of the metrics that these sets have anyway, and of further ones; None: the usual."""
    if metrics is None:
        return None
    usual = (name for data in sets for name in metric_names(data, None, []))
    return [*dict.fromkeys((*usual, *metrics))]


def is_benchmark(data_path: Any) -> bool:
    """Whether a folder is read as the benchmark whose name it has is laid out."""
    place = Path(data_path).resolve() if isinstance(data_path, str) else Path()
    return place.name in ("nab", "skab", "adbench") and place.is_dir()


def load_sets(data_path: Any = None, names: list[str] | None = None, **options: Any
              ) -> dict[str, Dataset]:
    """The data sets to compare on, by name.

    Parameters
    ----------
    data_path : str or list of str, optional
        A table, several, or a folder; default: the sets that are shipped.
    names : list of str, optional
        Those among them that take part; default: all.
    **options
        Of `adlib.datasets.load_csv`; None leaves its default.

    Returns
    -------
    dict of str to Dataset

    Raises
    ------
    ValueError
        For a name that is not there, and whatever the loaders raise.

    Examples
    --------
    >>> [*load_sets(names=["breast_cancer"])]
    ['breast_cancer']
    """
    if data_path is None:
        found = {name: SHIPPED[name]() for name in SHIPPED if names is None or name in names}
    elif is_benchmark(data_path):
        place = Path(data_path).resolve()
        found = getattr(datasets, f"load_{place.name}")(root=place.parent)
    else:
        given = {name: value for name, value in options.items() if value is not None}
        read = datasets.load_csv(data_path, **given)
        found = read if isinstance(read, dict) else {read.name: read}
    if unknown := [name for name in names or () if name not in found]:
        known = list(SHIPPED if data_path is None else found)
        raise ValueError(f"datasets: {unknown} are not there; some that are: {known[:9]}")
    return {name: data for name, data in found.items() if names is None or name in names}


def comparable(sets: Iterable[Dataset], alpha: float, labelled: bool) -> list[Dataset]:
    """Those on which detectors can be told apart; of the others, a warning says why.

    Parameters
    ----------
    sets : iterable of Dataset
    alpha : float
        False-alarm budget per row.
    labelled : bool
        Whether labels are there to judge by.

    Returns
    -------
    list of Dataset

    Raises
    ------
    ValueError
        If none is left.
    """
    reasons = {data: _lacking(data, alpha, labelled) for data in sets}
    if not (usable := [data for data, reason in reasons.items() if not reason]):
        name, reason = next((data.name, why) for data, why in reasons.items())
        raise ValueError(f"no set can be compared: {name}: {reason}")
    for data, reason in reasons.items():
        if reason:
            warn(f"left out: {data.name}: {reason.split(':')[0]}", stacklevel=2)
    return usable


def _lacking(data: Dataset, alpha: float, labelled: bool) -> str:
    y, held_out = data.test.y[data.test.judged], data.train_end - data.calibrate_start
    if held_out < (needed := ceil(1 / alpha) - 1):
        return (f"alpha={alpha} needs {needed} rows to calibrate on, and {len(data)} rows "
                f"leave {held_out}: give more rows, a larger alpha or a larger train_fraction")
    if labelled and y.sum() in (0, y.size):
        return (f"{y.sum()} of {y.size} test rows are labelled anomalous, which ranks nothing: "
                "check the labels, change train_fraction, or leave the labels out")
    return ""


def chosen_detectors(detectors: Iterable[Any] | None = None, window: Any = None,
                     profile: str = "fast") -> dict[str, Any]:
    """The detectors to compare, unfitted, by the label that they get in the table.

    Parameters
    ----------
    detectors : iterable, optional
        As `compare` takes them; default: all of adlib and three of scikit-learn.
    window : int or "auto", optional
        Rows that one score looks at, for those of adlib that are named without one.
    profile : {"fast", "full"}
        "fast": where all take part, the costly ones get little training ("VAE, short").

    Returns
    -------
    dict of str to estimator

    Raises
    ------
    ValueError
        For an unknown detector or profile.

    Examples
    --------
    >>> [*chosen_detectors(["KNN", "RollingZScore", "IsolationForest"], window=3)]
    ['KNN(window=3)', 'RollingZScore', 'IsolationForest']
    """
    if profile not in ("fast", "full"):
        raise ValueError(f"profile is 'fast' or 'full', got {profile!r}")
    short = _little_training() if detectors is None and profile == "fast" else {}
    models = {}
    for name in detectors or [*OTHERS, *all_detectors()]:
        model = build(short.get(name, name))
        ours = isinstance(model, Detector) and not isinstance(model, (OnlineDetector, Foreign))
        if not window or not ours or "(" in name or name in baselines():
            models[f"{name}, short" if name in short else name] = model
        elif window == "auto" and getattr(model, "smoothing", None) is not None:
            models[name] = model  # it looks back on a period already
        else:
            models[f"{name}(window={window!r})"] = model.set_params(window=window)
    return models


def _little_training() -> dict[str, Any]:
    """Of the costly ones."""
    from adlib.detectors import KNN, PCAReconstruction, RandomFeatureAE, Voting

    return {
        "LSTM": "LSTM(epochs=5, hidden_size=32)",
        "Transformer": "Transformer(epochs=5, width=16, n_layers=1, n_heads=2)",
        "VAE": "VAE(epochs=10)",
        "Voting": Voting(members=[KNN(), PCAReconstruction(), RandomFeatureAE(copies=1)]),
    }
