"""adlib: anomaly detection to learn from, compare with, extend, and take live.

Public names load on first use (PEP 562), so ``import adlib`` costs milliseconds and brings in
none of torch, scikit-learn, pandas or numba.

Examples
--------
>>> import numpy as np
>>> import adlib
>>> X = np.random.default_rng(0).normal(size=(500, 3))
>>> detector = adlib.detectors.KNN(alpha=0.05).fit(X)
>>> detector.detect(np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])).is_anomaly.tolist()
[False, True]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that defines it; sub-packages stand for themselves
_PUBLIC = {
    "Detection": "adlib.base",
    "Detector": "adlib.base",
    "OnlineDetector": "adlib.base",
    "anomaly_score": "adlib.base",
    "TimeFeatures": "adlib.windows",
    "Windows": "adlib.windows",
    "Dataset": "adlib.datasets",
    "all_detectors": "adlib.detectors",
    "check_detector": "adlib.checks",
    "hindsight_score": "adlib.hindsight",
    "load": "adlib.persist",
    "save": "adlib.persist",
}
_MODULES = ("base", "checks", "compare", "datasets", "detectors", "drift", "explain",
            "feedback", "foreign", "hindsight", "metrics", "notebooks", "persist", "plots",
            "realtime", "thresholds", "training", "windows")

__all__ = [*_PUBLIC, *_MODULES, "__version__"]

if TYPE_CHECKING:
    from adlib.base import Detection, Detector, OnlineDetector, anomaly_score
    from adlib.checks import check_detector
    from adlib.datasets import Dataset
    from adlib.detectors import all_detectors
    from adlib.hindsight import hindsight_score
    from adlib.persist import load, save
    from adlib.windows import TimeFeatures, Windows


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"adlib.{name}")
    raise AttributeError(f"module 'adlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
