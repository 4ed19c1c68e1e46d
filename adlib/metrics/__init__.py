"""Metrics: pure functions, ground truth first, 1 = anomaly, higher score = more anomalous.

``point`` judges rows one by one, ``volume`` lets rows near an event count in part, ``event``
judges runs of rows, ``ranges`` how far runs overlap and how near they lie, ``adjusted`` credits
whole events, ``benchmark`` scores as NAB and UCR do, ``clinical`` weighs what a diagnosis is
worth, ``review`` what a queue of fixed capacity brings, ``reporting`` puts every value beside the
one a random score gets. Undefined values are nan with a warning, never a made-up 0.
"""

from adlib.metrics.adjusted import (
                                    composite_f1,
                                    point_adjusted_f1,
                                    point_adjusted_precision,
                                    point_adjusted_recall,
)
from adlib.metrics.benchmark import nab_corpus, nab_score, ucr_score
from adlib.metrics.clinical import net_benefit, sensitivity_at_specificity
from adlib.metrics.event import (
                                    alarm_count,
                                    alarms_per_day,
                                    detection_delay,
                                    event_f1,
                                    event_precision,
                                    event_recall,
)
from adlib.metrics.point import (
                                    average_precision,
                                    best_f1,
                                    confusion_matrix,
                                    f1,
                                    false_positive_rate,
                                    precision,
                                    recall,
                                    roc_auc,
)
from adlib.metrics.ranges import (
                                    affiliation_f1,
                                    affiliation_precision,
                                    affiliation_recall,
                                    range_f1,
                                    range_precision,
                                    range_recall,
)
from adlib.metrics.reporting import report
from adlib.metrics.review import precision_at_capacity, value_at_capacity
from adlib.metrics.volume import vus, vus_pr, vus_roc

__all__ = [
    "affiliation_f1", "affiliation_precision", "affiliation_recall", "alarm_count",
    "alarms_per_day", "average_precision", "best_f1", "composite_f1", "confusion_matrix",
    "detection_delay", "event_f1", "event_precision", "event_recall", "f1", "false_positive_rate",
    "nab_corpus", "nab_score", "net_benefit", "point_adjusted_f1", "point_adjusted_precision",
    "point_adjusted_recall", "precision", "precision_at_capacity", "range_f1", "range_precision",
    "range_recall", "recall", "report", "roc_auc", "sensitivity_at_specificity", "ucr_score",
    "value_at_capacity", "vus", "vus_pr", "vus_roc",
]
