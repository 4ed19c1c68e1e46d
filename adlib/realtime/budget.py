"""A budget of incidents, such as one a week: the largest alpha that keeps it.

The held-out rows are replayed by the incident rule itself, debounce and cooldown included, and the
incidents that would have been reported are counted. A count of k in T leaves an expected number up
to Poisson's upper limit (Garwood 1936): that is held against the budget, not k / T.

The budget of a fleet is one p-value for the incidents of all its entities, so these have to be
alike: `adlib.realtime.homogeneity`. T is the mean time of an entity. Where several have high scores
at once, their incidents come in groups: the groups are Poisson's, and the limit is so many times
as high.
"""

import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy.special import gammaincinv

from adlib.arguments import shown
from adlib.detectors.ensemble import Ensemble
from adlib.realtime.calibration import WindowCalibration, evidence, window_maxima
from adlib.realtime.config import EngineConfig
from adlib.realtime.events import Verdict, severity_of
from adlib.realtime.fitted import Fitted
from adlib.realtime.homogeneity import at_once, differing
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


def poisson_limit(count: float, confidence: float = 0.95) -> float:
    """Highest expected count that so many events, or fewer, leave open: Poisson's upper limit.

    Parameters
    ----------
    count : float
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


def unseen(ensemble: Ensemble, held_out: Rows, own: Iterable[slice] = ()) -> Scores:
    """Combined surprises of held-out rows, each fifth on scales of the other four.

    As live rows are, which the scales have not seen either. On scales of their own the highest
    scores of all members tie, and where the highest surprise counts, each member would then add an
    incident to those that the budget expects.

    Parameters
    ----------
    ensemble : Ensemble
    held_out : ndarray of shape (n, n_members)
        Raw scores in time order; NaN where there is none.
    own : iterable of slice
        Rows of each entity, of which each fold holds a fifth.

    Returns
    -------
    ndarray of shape (n,)
    """
    surprises, at = ensemble.surprises_of(held_out), np.arange(len(held_out))
    folds = [np.array_split(at[rows], 5) for rows in own] or [np.array_split(at, 5)]
    for fold in map(np.concatenate, zip(*folds, strict=True)):
        for j, column in enumerate(np.delete(held_out, fold, axis=0).T):
            if len(known := column[~np.isnan(column)]):
                surprises[fold, j] = Calibration().fit(above_ties(known)).surprise(
                    held_out[fold, j])
    return ensemble.combined(surprises)


def windows_of(scores: Scores, calibration: WindowCalibration, stride: int, interval: float,
               context: int, stream: str = "", first: int = 0) -> list[Verdict]:
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
    stream : str
        Whose rows they are.
    first : int
        Number of the first row.

    Returns
    -------
    list of Verdict
    """
    size = calibration.window
    if len(scores) < size:
        return []
    highest = window_maxima(scores, size)[::stride]
    log_p, of_rows = (np.where(np.isnan(of), np.nan, calibration.log_p(of))
                      for of in (highest, scores))
    found = []
    for start, p in zip(range(0, len(scores) - size + 1, stride), np.exp(log_p).tolist(),
                        strict=True):
        rows = of_rows[start:start + size]
        which = evidence(rows, np.log(EVIDENT), context) if p <= EVIDENT else []
        begin, end = first + start, first + start + size - 1
        peaks = tuple(zip((begin + np.array(which, int)).tolist(), np.exp(rows[which]).tolist(),
                          strict=True))
        found.append(Verdict(stream, begin, end, end * interval, p, np.nan, "info",
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


def largest_alpha(verdicts: list[Verdict], allowed: float, config: IncidentConfig, context: int,
                  at_once: float = 1.0) -> float:
    """Largest alpha up to which the Poisson limit of reported incidents stays within a number.

    Parameters
    ----------
    verdicts : list of Verdict
        On held-out windows: see `windows_of`.
    allowed : float
        Incidents in their time, at least ``poisson_limit(0)``.
    config : IncidentConfig
    context : int
    at_once : float
        Incidents that have one cause, on average: as many are one event.

    Returns
    -------
    float
        At most 0.2.
    """
    def keeps(alpha: float) -> bool:
        events = reported(verdicts, alpha, config, context) / at_once
        return poisson_limit(events) * at_once <= allowed

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
        Where the history is too short for ``per``, or for ``alpha`` without ``extrapolate``; where
        the entities of a fleet are too different for ``per``.
    """
    rows = found.combined
    calibration = WindowCalibration().fit(rows, config.window_size)
    if config.per is not None:
        return config.model_copy(update={
            "alpha": found.kept_alpha or _by_budget(config, found, calibration)})
    if not found.own or "all rows" in found.judged_by(config).values():
        config = _shown(config, calibration, accepted)
    unlike, by = differing({entity: rows[own] for entity, own in found.own.items()}), (
        found.judged_by(config))
    if pooled := {entity: ratio for entity, ratio in unlike.items() if by[entity] == "all rows"}:
        warnings.warn(f"{_said(pooled)}, and judged by the rows of all: where the history is too "
                      f"short for alpha={config.alpha:g}, give a longer one or raise alpha",
                      CalibrationWarning, stacklevel=4)
    return config


def _shown(config: EngineConfig, calibration: WindowCalibration, accepted: float | None
           ) -> EngineConfig:
    """The configuration with an alpha that the held-out rows show, or that is wanted all the same.
    """
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
                  CalibrationWarning, stacklevel=5)
    return config if given else config.model_copy(update={"alpha": least})


def _by_budget(config: EngineConfig, found: Fitted, calibration: WindowCalibration) -> float:
    scores, verdicts = _replayed(config, found, calibration)
    n_rows = config.stride * sum(verdict.is_anomaly is not None for verdict in verdicts)
    n_rows, common = max(n_rows // len(scores), 1), at_once(scores, 5 * config.window_size)
    allowed = allowed_incidents(str(config.per), found.interval, n_rows)
    if allowed < (needed := poisson_limit(0) * common):
        days, longer = n_rows * found.interval / 86_400, needed / allowed
        whose = f" of each of {len(scores)} entities" if found.own else ""
        whose += f", {common:.2g} of which have high scores at once" if common > 1 else ""
        raise ValueError(
            f"per={config.per!r} needs {longer * days:.3g} days of held-out rows{whose}, all "
            f"without an incident, and the history leaves {days:.3g} ({config.calibration_share:g} "
            f"of it, rows {found.interval:g} s apart): give a history {longer:.1f} times as long, "
            f"or allow more")
    unlike, own = differing(scores), "set fleet.model: own, "
    if found.models:  # each has a scale of its own, and one whose scores are tied disturbs nobody
        unlike, own = {entity: ratio for entity, ratio in unlike.items() if ratio > 1}, ""
    if unlike:
        raise ValueError(
            f"per={config.per!r} is one threshold for the fleet, and {_said(unlike)}: {own}give "
            f"them a configuration of their own, or give alpha in place of per")
    return largest_alpha(verdicts, allowed, config.alert_config.incidents, found.context, common)


def _said(unlike: dict[str, float]) -> str:
    """Which entities differ, in words."""
    some = "; ".join(f"{shown(entity, 40)}: {ratio:.2g} times as often as most"
                     for entity, ratio in list(unlike.items())[:5])
    more = f"; and {len(unlike) - 5} more" if len(unlike) > 5 else ""
    who = "1 entity has" if len(unlike) == 1 else f"{len(unlike)} entities have"
    return f"{who} high scores too often, or too seldom ({some}{more})"


def _replayed(config: EngineConfig, found: Fitted, calibration: WindowCalibration
              ) -> tuple[dict[str, Scores], list[Verdict]]:
    """Held-out scores by entity, and verdicts on their windows as they would be live.

    A model of one entity has seen its few rows: each fifth is judged by the other four.
    """
    pooled, scores, verdicts = unseen(
        found.ensemble, found.held_out, found.own.values()), {}, list[Verdict]()
    for entity, own in (found.own or {"": slice(None)}).items():
        model, parts = found.models.get(entity), [(0, pooled[own], calibration)]
        if model is not None:
            of = unseen(model.ensemble, model.held_out)
            parts = [(int(fold[0]), of[fold], WindowCalibration().fit(np.where(np.isin(
                np.arange(len(of)), fold), np.nan, of), config.window_size))
                for fold in np.array_split(np.arange(len(of)), 5)]
        scores[entity] = np.concatenate([of for _, of, _ in parts])
        for first, of, by in parts:
            verdicts += windows_of(of, by, config.stride, found.interval, found.context, entity,
                                   first)
    return scores, verdicts
