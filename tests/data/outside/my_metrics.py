"""Metrics from outside adlib: of the score, and of the flags and the clock."""

import numpy as np

from adlib.metrics import Metric


def rows_to_read(y_true, score):
    """Rows read, from the highest score down, until half of the anomalies were seen."""
    found = np.cumsum(y_true[np.argsort(-score, kind="stable")])
    return float(np.searchsorted(found, found[-1] / 2) + 1)


def quiet_hours(y_true, flags, time):
    """Hours in which nothing is flagged."""
    return float((~flags).sum() * np.diff(time[:2])[0] / np.timedelta64(1, "h"))


ROWS_TO_READ = Metric("rows_to_read", rows_to_read, best="low")
QUIET = Metric("quiet", quiet_hours, needs="flags", best="low", chance=9.5)
