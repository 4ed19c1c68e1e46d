"""Exercises of notebook 16: seventeen pipelines, each with one thing wrong.

The notebook holds the broken code. Here are the examinations, a repair that cures, and repairs
that only quieten the symptom.
"""

from adlib.course.chapter_16.models import (
    changed_configuration, threshold_before_fit, scaler_without_fit)
from adlib.course.chapter_16.networks import (
    scoring_in_training_mode, hidden_train, real_rows_only)
from adlib.course.chapter_16.scores import (
    scale_of_the_batch, quota, one_flag, learned_identity, learns_the_burst, raw_severity)
from adlib.course.chapter_16.evaluation import (
    typed_numbers, tuned_on_the_test, shuffled_split, point_adjusted, hidden_seed)

__all__ = [
    "changed_configuration", "threshold_before_fit", "scaler_without_fit",
    "scoring_in_training_mode", "hidden_train", "real_rows_only", "scale_of_the_batch", "quota",
    "one_flag", "learned_identity", "learns_the_burst", "raw_severity", "typed_numbers",
    "tuned_on_the_test", "shuffled_split", "point_adjusted", "hidden_seed",
]
