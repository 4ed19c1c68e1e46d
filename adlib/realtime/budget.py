"""A budget of incidents, such as one a week: the largest alpha that keeps it.

The held-out rows are replayed by the incident rule itself, debounce and cooldown included, and the
incidents that would have been reported are counted. A count of k in T leaves an expected number up
to Poisson's upper limit (Garwood 1936): that is held against the budget, not k / T.
"""

import warnings
from dataclasses import replace

import numpy as np
from scipy.special import gammaincinv

from adlib.detectors.ensemble import Ensemble
from adlib.realtime.calibration import WindowCalibration, evidence, window_maxima
from adlib.realtime.config import EngineConfig
from adlib.realtime.events import Verdict, severity_of
from adlib.realtime.fitted import Fitted
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.windows import Rows
from adlib.thresholds import (
    Calibration,
    CalibrationWarning,
    Scores,
    above_ties,
    allowed_incidents,
    decide,
)

EVIDENT = 0.2  # p-value up to which evidence is kept for a replay: the largest alpha of a budget
NEVER = 1e-300  # a budget at which nothing is flagged
_STEP = 1.3  # from one alpha that is tried to the next, before it is halved
_TOLERANCE = 2  # windows that share rows show more than those that share none, and count as those


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
    return float(gammaincinv(count + 1, confidence))


def flagged(verdicts: list[Verdict], alpha: float) -> list[Verdict]:
    """Verdicts as they would be with this budget."""
    p = np.array([verdict.p_value for verdict in verdicts])
    scores, flags = decide(np.log(np.maximum(p, NEVER)), alpha)
    return [replace(verdict, score=score, is_anomaly=flag or verdict.is_anomaly,
                    severity=severity_of(score))
            for verdict, score, flag in zip(verdicts, scores.tolist(), flags.tolist(),
                                            strict=True)]


def unseen(ensemble: Ensemble, held_out: Rows) -> Scores:
    """Combined surprises of held-out rows, each fifth on scales of the other four.

    As live rows are, which the scales have not seen either. On scales of their own the highest
    scores of all members tie, and where the highest surprise counts, each member would then add an
    incident to those that the budget expects.

    Parameters
    ----------
    ensemble : Ensemble
    held_out : ndarray of shape (n, n_members)
        Raw scores in time order; NaN where there is none.

    Returns
    -------
    ndarray of shape (n,)
    """
    surprises = ensemble.surprises_of(held_out)
    for fold in np.array_split(np.arange(len(held_out)), 5):
        for j, column in enumerate(np.delete(held_out, fold, axis=0).T):
            if len(known := column[~np.isnan(column)]):
                surprises[fold, j] = Calibration().fit(above_ties(known)).surprise(
                    held_out[fold, j])
    return ensemble.combined(surprises)


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
    highest = window_maxima(scores, size)[::stride]
    log_p, of_rows = (np.where(np.isnan(of), np.nan, calibration.log_p(of))
                      for of in (highest, scores))
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
    # windows that are far from all flagged ones change nothing: most, in a long history
    p = np.array([verdict.p_value for verdict in verdicts])
    around = np.arange(-config.open_within, config.close_after + 2 * context + 2)
    near = np.unique(np.clip(np.flatnonzero(p <= alpha * (1 + 1e-9))[:, None] + around, 0,
                             len(verdicts) - 1))
    return len({event.incident.id for verdict in flagged([verdicts[i] for i in near], alpha)
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
    def keeps(alpha: float) -> bool:
        return poisson_limit(reported(verdicts, alpha, config, context)) <= allowed

    alpha = min((verdict.p_value for verdict in verdicts if verdict.p_value <= EVIDENT),
                default=EVIDENT) / _STEP
    while alpha < EVIDENT and keeps(min(alpha * _STEP, EVIDENT)):
        alpha = min(alpha * _STEP, EVIDENT)
    step = _STEP
    for _ in range(4 if alpha < EVIDENT else 0):
        step **= 0.5
        alpha *= step if keeps(min(alpha * step, EVIDENT)) else 1.0
    return min(alpha, EVIDENT)


def settled(config: EngineConfig, found: Fitted, accepted: float | None = None) -> EngineConfig:
    """The configuration with the alpha that it stands for, once a history is known.

    Parameters
    ----------
    config : EngineConfig
    found : Fitted
    accepted : float, optional
        An alpha that an earlier version has taken with a warning.

    Returns
    -------
    EngineConfig

    Raises
    ------
    ValueError
        Where the history is too short for ``per``, or for ``alpha`` without ``extrapolate``.
    """
    rows = found.ensemble.combined(found.ensemble.surprises_of(found.held_out))
    calibration = WindowCalibration().fit(rows, config.window_size)
    if config.per is not None:
        return config.model_copy(update={
            "alpha": found.kept_alpha or _by_budget(config, found, calibration)})
    least = calibration.least
    if config.alpha >= least or config.extrapolate:
        return config
    beyond = (f"alpha={config.alpha:g} lies beyond what {calibration.n_windows_:.0f} effective "
              f"calibration windows can show, which is {least:.2g}")
    longer = f"a history {least / config.alpha:.1f} times as long"
    given = "alpha" in config.model_fields_set
    if given and config.alpha < least / _TOLERANCE and config.alpha != accepted:
        raise ValueError(f"{beyond}; give {longer}, raise alpha, or set extrapolate: true to rest "
                         f"on an extrapolated tail")
    warnings.warn(f"{beyond}: it rests on an extrapolated tail; give {longer} or raise alpha"
                  if given else f"{beyond} and is taken instead; give {longer}",
                  CalibrationWarning, stacklevel=4)
    return config if given else config.model_copy(update={"alpha": least})


def _by_budget(config: EngineConfig, found: Fitted, calibration: WindowCalibration) -> float:
    verdicts = windows_of(unseen(found.ensemble, found.held_out), calibration, config.stride,
                          found.interval, found.context)
    n_rows = config.stride * sum(verdict.is_anomaly is not None for verdict in verdicts)
    allowed = allowed_incidents(str(config.per), found.interval, n_rows)
    if allowed < (needed := poisson_limit(0)):
        days, longer = n_rows * found.interval / 86_400, needed / allowed
        raise ValueError(
            f"per={config.per!r} needs {longer * days:.3g} days of held-out rows, all without an "
            f"incident, and the history leaves {days:.3g} ({config.calibration_share:g} of it, "
            f"rows {found.interval:g} s apart): give a history {longer:.1f} times as long, or "
            f"allow more")
    return largest_alpha(verdicts, allowed, config.alert_config.incidents, found.context)
