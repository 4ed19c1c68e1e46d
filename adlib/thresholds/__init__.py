"""From a score to a decision: the one place where thresholds live.

A `Threshold` learns a cut from scores of held-out *normal* rows; a row is anomalous when its score
is strictly greater than ``value_``. `Calibration` keeps those held-out scores and turns any later
score into a p-value, a tail score and a severity. What each promises rests on an assumption, and
says so:

=========================  ==========================================================
rule                       promise, and what it rests on
=========================  ==========================================================
`Fixed`, `Sigma`           none
`Quantile`                 its rate in the limit; exchangeable rows
`Conformal`                at most alpha at any number of rows; exchangeable rows
`Conformal` (block)        alpha in the limit; stationary rows that forget
`POT`                      rates below 1 / n; a regular tail
=========================  ==========================================================
"""

from adlib.thresholds.calibration import Calibration, severity
from adlib.thresholds.rules import (
    MIN_EXCEEDANCES,
    POT,
    CalibrationWarning,
    Conformal,
    Fixed,
    Quantile,
    Scores,
    Sigma,
    Threshold,
    as_scores,
    check_alpha,
    effective_size,
    fit_pareto,
)

__all__ = ["MIN_EXCEEDANCES", "POT", "Calibration", "CalibrationWarning", "Conformal", "Fixed",
           "Quantile", "Scores", "Sigma", "Threshold", "as_scores", "check_alpha", "effective_size",
           "fit_pareto", "severity"]
