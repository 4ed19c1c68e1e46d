"""A budget of incidents, such as one a week: the largest alpha that keeps it.

The held-out rows are replayed by the incident rule itself, debounce and cooldown included, and the
incidents that would have been reported are counted. A count of k in T leaves an expected number up
to Poisson's upper limit (Garwood 1936): that is held against the budget, not k / T.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from adlib.realtime.calibration import WindowCalibration, evidence, window_maxima
from adlib.realtime.events import Verdict, severity_of
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.thresholds import Scores, decide

EVIDENT = 0.2  # p-value up to which evidence is kept for a replay: the largest alpha of a budget
_NEVER = 1e-300
_STEP = 1.1  # from one alpha that is tried to the next


def poisson_limit(count: int, confidence: float = 0.95) -> float:
    """Highest expected count that so many events, or fewer, leave open: Poisson's upper limit.

    Parameters
    ----------
    count : int
    confidence : float

    Returns
    -------
    float

    Examples
    --------
    >>> [round(poisson_limit(k), 2) for k in (0, 1, 2)]
    [3.0, 4.74, 6.3]
    """
    return float(chi2.ppf(confidence, 2 * count + 2) / 2)


def flagged(verdicts: list[Verdict], alpha: float) -> list[Verdict]:
    """Verdicts as they would be with this budget."""
    p = np.array([verdict.p_value for verdict in verdicts])
    scores, flags = decide(np.log(np.maximum(p, _NEVER)), alpha)
    return [replace(verdict, score=score, is_anomaly=flag or verdict.is_anomaly,
                    severity=severity_of(score))
            for verdict, score, flag in zip(verdicts, scores.tolist(), flags.tolist(),
                                            strict=True)]


def windows_of(scores: Scores, calibration: WindowCalibration, stride: int, interval: float,
               context: int) -> list[Verdict]:
    """Verdicts on the windows of rows in time order, with nothing flagged yet.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Combined; NaN where there is none, and in windows that are not judged.
    calibration : WindowCalibration
    stride : int
    interval : float
        Seconds between rows.
    context : int
        Rows before one that its score uses.

    Returns
    -------
    list of Verdict
    """
    size = calibration.window
    log_p = calibration.log_p(window_maxima(scores, size)[::stride])
    of_rows = calibration.log_p(scores)
    found = []
    for start, p in zip(range(0, len(scores) - size + 1, stride), np.exp(log_p).tolist(),
                        strict=True):
        rows = of_rows[start:start + size]
        which = evidence(rows, np.log(EVIDENT), context) if p <= EVIDENT else []
        peaks = tuple(zip((start + np.array(which, int)).tolist(), np.exp(rows[which]).tolist(),
                          strict=True))
        end = start + size - 1
        found.append(Verdict("", start, end, end * interval, p, np.nan, "info",
                             None if np.isnan(p) else False, {}, (), peaks))
    return found


def reported(verdicts: list[Verdict], alpha: float, config: IncidentConfig, context: int) -> int:
    """Incidents that people would have been notified of."""
    manager = AlertManager(config, alpha=alpha, context=context)
    return len({event.incident.id for verdict in flagged(verdicts, alpha)
                for event in manager.step(verdict) if event.notify})


def largest_alpha(verdicts: list[Verdict], allowed: float, config: IncidentConfig, context: int
                  ) -> float:
    """Largest alpha up to which the Poisson limit of reported incidents stays within a number.

    Parameters
    ----------
    verdicts : list of Verdict
        On held-out windows: see `windows_of`.
    allowed : float
        Incidents in their time, at least ``poisson_limit(0)``.
    config : IncidentConfig
    context : int

    Returns
    -------
    float
        At most 0.2.
    """
    alpha = min((verdict.p_value for verdict in verdicts if verdict.p_value <= EVIDENT),
                default=EVIDENT) / _STEP
    while alpha * _STEP <= EVIDENT and poisson_limit(
            reported(verdicts, alpha * _STEP, config, context)) <= allowed:
        alpha *= _STEP
    return alpha
