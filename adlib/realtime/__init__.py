"""A fitted detector taken live: a stream in, windows judged, one incident for one fault, alerts.

Source -> windows -> one calibrated ensemble -> incident -> store and outbox -> channels, in one
direction. `RealTimeAnomalyDetector` is the engine, `EngineConfig` its one nested configuration,
`adlib.realtime.backtest` the same engine over history in virtual time. ``python -m
adlib.realtime`` starts it outside a notebook.

A source or a receiver of one's own is a class in any file: see `Source` and `Channel`, which
`check_source` and `check_channel` check, and `adlib.realtime.registry` for those found by name.

Names load on first use: who reads the alert store waits neither for torch nor for scikit-learn.
"""

from importlib import import_module
from typing import Any

from adlib.arguments import require_extra

require_extra("pydantic", "live")  # every configuration is a pydantic model

_PUBLIC = {
    "AlertManager": "incidents",
    "AlertStore": "store",
    "Channel": "channels",
    "EngineConfig": "config",
    "Incident": "events",
    "IncidentEvent": "events",
    "NotificationService": "notify",
    "Outcome": "channels",
    "QualityEvent": "events",
    "RealTimeAnomalyDetector": "engine",
    "Sample": "windows",
    "Source": "sources",
    "StreamProcessor": "windows",
    "Verdict": "events",
    "check_channel": "doors.conformance",
    "check_source": "doors.conformance",
    "replay": "doors.recorded",
    "source": "sources",
}

_INTERNAL = {"AlertManager", "AlertStore", "QualityEvent", "StreamProcessor"}
__all__ = sorted(_PUBLIC.keys() - _INTERNAL)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has "
                         f"{', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
