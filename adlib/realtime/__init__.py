"""A fitted detector taken live: a stream in, windows judged, one incident for one fault, alerts.

Source -> windows -> detectors -> calibrated score -> incident -> store and outbox -> notifiers, in
one direction. `RealTimeAnomalyDetector` is the engine, `EngineConfig` its one nested configuration,
`adlib.realtime.backtest` the same engine over history in virtual time. ``python -m
adlib.realtime`` starts it outside a notebook.

Names load on first use: who reads the alert store waits neither for torch nor for scikit-learn.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "AlertManager": "incidents",
    "AlertStore": "store",
    "EngineConfig": "config",
    "Incident": "events",
    "IncidentEvent": "events",
    "NotificationService": "notify",
    "QualityEvent": "events",
    "RealTimeAnomalyDetector": "engine",
    "Sample": "windows",
    "StreamProcessor": "windows",
    "Verdict": "events",
    "replay": "sources",
    "source": "sources",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has "
                         f"{', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
