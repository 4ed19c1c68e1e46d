"""Labelled data: the container, generators, injectors and loaders."""

from adlib.datasets.dataset import Dataset, Splits
from adlib.datasets.generators import (
    make_fraud,
    make_intrusion,
    make_manufacturing,
    make_medical,
    make_sensor_stream,
    make_sine,
    make_telemetry,
)
from adlib.datasets.injectors import ANOMALY_KINDS, KINDS, Event, inject, injector
from adlib.datasets.loaders import (
    load_adbench,
    load_nab,
    load_skab,
    load_sklearn,
    load_telemetry,
)
from adlib.datasets.sources import card
from adlib.datasets.tables import load_csv

__all__ = [
    "ANOMALY_KINDS",
    "KINDS",
    "Dataset",
    "card",
    "inject",
    "injector",
    "load_adbench",
    "load_csv",
    "load_nab",
    "load_skab",
    "load_sklearn",
    "load_telemetry",
    "make_fraud",
    "make_intrusion",
    "make_manufacturing",
    "make_medical",
    "make_sensor_stream",
    "make_sine",
    "make_telemetry",
]
