"""Exercises of notebook 16: seventeen pipelines, each with one thing wrong.

The notebook holds the broken code. Here are the examinations, a repair that cures, and repairs
that only quieten the symptom.
"""

from exercises.chapter_16.evaluation import (
    hidden_seed,
    point_adjusted,
    shuffled_split,
    tuned_on_the_test,
    typed_numbers,
)
from exercises.chapter_16.models import (
    changed_configuration,
    scaler_without_fit,
    threshold_before_fit,
)
from exercises.chapter_16.networks import hidden_train, real_rows_only, scoring_in_training_mode
from exercises.chapter_16.scores import (
    learned_identity,
    learns_the_burst,
    one_flag,
    quota,
    raw_severity,
    scale_of_the_batch,
)

__all__ = [
    "changed_configuration", "threshold_before_fit", "scaler_without_fit",
    "scoring_in_training_mode", "hidden_train", "real_rows_only", "scale_of_the_batch", "quota",
    "one_flag", "learned_identity", "learns_the_burst", "raw_severity", "typed_numbers",
    "tuned_on_the_test", "shuffled_split", "point_adjusted", "hidden_seed",
]
