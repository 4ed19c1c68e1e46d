"""From a score to a decision: the one place where thresholds live.

A `Threshold` learns a cut from scores of held-out *normal* rows; a row is anomalous when its score
is strictly greater than ``value_``. `Calibration` keeps those held-out scores and turns any later
score into a p-value, a tail score and a severity. What each promises rests on an assumption, and
its docstring says which; where scores tie, rates are bounded from above only (a cut lies above all
rows of one value or below them), and a detector's ``calibration="cross"`` has a promise of its own
(`adlib.Detector`):

======================  ===================================  ======================================
what                    promise                              rests on
======================  ===================================  ======================================
`Fixed`, `Sigma`        none
`Quantile`              its rate, in the limit               exchangeable rows
`Conformal`             rate <= alpha at any number of rows  exchangeable rows
`Conformal` (block)     rate alpha, in the limit             stationary rows that forget
`POT`                   rates far below 1 / n                a regular tail
`Tracking`              rate alpha over all rows             bounded scores, nothing else
`SPOT`                  empirical: follows level and spread  slow change, a regular tail
`benjamini_hochberg`    share of false flags in a batch      independent, exchangeable rows
`OnlineFDR`             share of false flags of late         independent p-values
`ExchangeabilityTest`   false rejection ever <= 1 / C        exchangeable residuals
======================  ===================================  ======================================
"""

from adlib.thresholds.adaptive import SPOT, Adaptive, Tracking
from adlib.thresholds.calibration import Calibration, decide, severity
from adlib.thresholds.discoveries import Discoveries, OnlineFDR, benjamini_hochberg
from adlib.thresholds.exchangeability import ExchangeabilityTest
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
    above_ties,
    allowed_incidents,
    as_scores,
    check_alpha,
    effective_size,
    fit_pareto,
    rounded_up,
    rule_for,
)

__all__ = ["POT", "SPOT", "Calibration", "CalibrationWarning", "Conformal", "ExchangeabilityTest",
           "Fixed", "OnlineFDR", "Quantile", "Sigma", "Threshold", "Tracking", "benjamini_hochberg",
           "effective_size", "severity"]
