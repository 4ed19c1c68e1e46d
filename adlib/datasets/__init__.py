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
from adlib.datasets.injectors import ANOMALY_KINDS, KINDS, inject, injector

__all__ = [
    "ANOMALY_KINDS",
    "KINDS",
    "Dataset",
    "Splits",
    "inject",
    "injector",
    "make_fraud",
    "make_intrusion",
    "make_manufacturing",
    "make_medical",
    "make_sensor_stream",
    "make_sine",
    "make_telemetry",
]
