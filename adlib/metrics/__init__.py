"""Metrics: pure functions, ground truth first, 1 = anomaly, higher score = more anomalous.

``point`` judges rows one by one, ``event`` judges runs of rows, ``reporting`` puts every value
beside the one a random score gets. Undefined values are nan with a warning, never a made-up 0.
"""

from adlib.metrics.event import (alarm_count, alarms_per_day, detection_delay, event_f1,
                                 event_precision, event_recall)
from adlib.metrics.point import (average_precision, best_f1, confusion_matrix, f1,
                                 false_positive_rate, precision, recall, roc_auc)
from adlib.metrics.reporting import report
from adlib.metrics.volume import vus, vus_pr, vus_roc

__all__ = [
    "alarm_count", "alarms_per_day", "average_precision", "best_f1", "confusion_matrix",
    "detection_delay", "event_f1", "event_precision", "event_recall", "f1", "false_positive_rate",
    "precision", "recall", "report", "roc_auc", "vus",
    "vus_pr", "vus_roc",
]
