"""What an engine learns from a normal history."""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import floats
from adlib.detectors.ensemble import Ensemble, MemberWarning
from adlib.drift import longest_runs
from adlib.realtime.calibration import window_maxima
from adlib.realtime.clock import times_of
from adlib.realtime.config import EngineConfig
from adlib.realtime.members import Member
from adlib.realtime.windows import Rows, StreamProcessor
from adlib.scaling import center_scale
from adlib.thresholds import Scores

_BACKGROUND = 512  # normal samples that explanations compare with
_KEPT = 5_000  # calibration rows that are kept, to be scored again without some features
# what a fitted engine depends on; the rest of the configuration may change without a new fit
_DEPENDS_ON = ("deep_config", "stat_config", "detectors", "window_size", "random_state",
               "calibration_share")


@dataclass(frozen=True)
class Fitted:
    """One ensemble, calibrated on what follows its training rows in time, and what is normal.

    Attributes
    ----------
    features, names : list of str
        Of the columns, and of the ensemble's members.
    ensemble : Ensemble
    held_out : ndarray of shape (n, n_members)
        Raw scores of the calibration rows; NaN where a sample was missing.
    center, scale, longest : ndarray of shape (n_features,)
        Median and spread of the training rows; the longest run without a change, five times as
        long for a feature that rests more often than it moves.
    background : ndarray of shape (k, n_features)
        Normal samples.
    rows : ndarray of shape (m, n_features)
        The last of the calibration rows, NaN where a value is missing; none of an engine that an
        earlier version saved.
    before : list
        Online members as they were before ``rows``; None for others.
    interval : float
        Seconds between the rows of the history.
    kept_alpha : float or None
        Of the model before this one, where the rows are too few to show what keeps ``per``.
    """

    features: list[str]
    names: list[str]
    ensemble: Ensemble
    held_out: Rows
    center: Scores
    scale: Scores
    longest: Scores
    background: Rows
    rows: Rows
    before: list[Any]
    interval: float = 1.0
    kept_alpha: float | None = None

    @property
    def context(self) -> int:
        """Samples before a new one that its score uses, at most."""
        return max(Member(name, model).context for name, model in zip(
            self.names, self.ensemble.members_, strict=True))

    def copy(self) -> Self:
        """One whose members can go on without this one's."""
        return replace(self, ensemble=deepcopy(self.ensemble))


# -- fit ----------------------------------------------------------------------------------------


def fit(config: EngineConfig, X_history: ArrayLike, time: ArrayLike | None = None) -> Fitted:
    """Train the ensemble on the first part of a normal history, calibrate it on the rest."""
    X = floats(X_history, "X_history", "(n_samples, n_features)")
    features = _features(config, X, getattr(X_history, "columns", ()))
    steps = np.diff(times_of(X_history, time, config.sampling_period))
    steps = steps[steps > 0]
    held = _held(config, X)
    cut = _cut(config, held)
    valid = np.asarray(np.isfinite(held).all(axis=1))
    filled = np.where(np.isfinite(held), held, np.nanmedian(X[:cut], axis=0))
    past = filled[:cut][valid[:cut]]
    names, ensemble = _trained(config, past)
    begin = max(cut, len(held) - _KEPT)
    held_out, before = _held_out(names, ensemble, filled, valid, (cut, begin))
    whole = ~np.isnan(window_maxima(held_out.sum(axis=1), config.window_size))
    if whole.sum() < config.window_size:
        raise ValueError(f"only {whole.sum()} calibration windows hold no missing value; give a "
                         f"longer history, one with fewer gaps, or a number of samples to hold= "
                         f"the last value for")
    background = past[np.linspace(0, len(past) - 1, min(_BACKGROUND, len(past))).astype(int)]
    return Fitted(features, names, ensemble.calibrate_scores(held_out), held_out,
                  *center_scale(filled, robust=True), _longest(X), background,
                  np.where(np.isfinite(held), held, np.nan)[begin:], before,
                  float(np.median(steps)) if len(steps) else config.sampling_period)


def _features(config: EngineConfig, X: Rows, columns: Any) -> list[str]:
    if not X.shape[1]:
        raise ValueError(f"X_history must have shape (n_samples, n_features), got {X.shape}")
    named = [str(name) for name in columns]
    names = list(config.feature_names or named or (f"x{j}" for j in range(X.shape[1])))
    wanted = config.deep_config.input_dim if config.deep_config else None
    for what, width in (("deep_config.input_dim", wanted), ("feature_names", len(names))):
        if width is not None and width != X.shape[1]:
            raise ValueError(f"X_history has {X.shape[1]} features, {what} says {width}")
    return names


def _cut(config: EngineConfig, X: Rows) -> int:
    """Where the calibration rows begin."""
    cut = len(X) - int(len(X) * config.calibration_share)
    if min(cut, len(X) - cut) < 2 * config.window_size:
        raise ValueError(f"X_history must hold at least two windows of {config.window_size} "
                         f"samples to train on and two to calibrate on, got {len(X)} rows, "
                         f"{len(X) - cut} of them for calibration")
    if not np.isfinite(X[:cut]).all(axis=1).any():
        raise ValueError(f"X_history has no row without a missing value among the first {cut}, "
                         f"which are to train on")
    return cut


def _longest(X: Rows) -> Rows:
    """Longest runs by which a feature is told to be frozen.

    Those of states and commands say little of the runs to come. On normal rows of 94 recordings
    (SKAB, NAB, TSB-AD, the telemetry) twice the longest run and ten samples was wrong 107 times in
    835,000 rows, 8 times in 5,000 of the telemetry; with a factor for these features 49 and 1.
    """
    longest = longest_runs(X)
    return np.where((X[1:] == X[:-1]).mean(axis=0) > 0.5, 5 * longest, longest)


def _held(config: EngineConfig, X: Rows) -> Rows:
    """Rows with missing values repaired as they are live, where `hold` allows it."""
    block = StreamProcessor(config.window_size, hold=config.hold).push([X]) if config.hold else None
    return X if block is None else np.where(block.missing, X, block.values)


def _trained(config: EngineConfig, past: Rows) -> tuple[list[str], Ensemble]:
    groups = {name: group for name, group in config.groups().items() if group.weight}
    models = [group.build(config.random_state) for group in groups.values()]
    # windows are judged, not rows: no threshold
    ensemble = Ensemble(members=[(model, group.weight) for model, group in zip(
        models, groups.values(), strict=True)], calibration=None, threshold=np.inf,
        random_state=config.random_state, combine=config.combine or "weighted")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MemberWarning)  # an engine does not begin without one
        try:
            ensemble.fit(past)
            report = ensemble.report_
        except ValueError as error:
            kinds = ", ".join(type(model).__name__ for model in models)
            raise ValueError(f"no detector ({kinds}) can be fitted: {error}") from error
    for name, model, row in zip(groups, models, report, strict=True):
        if row["status"] == "failed":
            raise ValueError(_unfit(name, model, row["reason"]))
        if row["reason"]:
            warnings.warn(f"detector {name!r}: {row['reason']}", MemberWarning, stacklevel=5)
    return list(groups), ensemble


def _unfit(name: str, model: Any, reason: str) -> str:
    return f"detector {name!r} ({type(model).__name__}) cannot be fitted: {reason}"


def _held_out(names: list[str], ensemble: Ensemble, filled: Rows, valid: Any,
              cuts: tuple[int, int]) -> tuple[Rows, list[Any]]:
    """Each member's scores of the calibration rows, as it gives them live; online ones halfway."""
    found, before = [], []
    cut, begin = cuts
    for name, model in zip(names, ensemble.members_, strict=True):
        member = Member(name, model)
        try:
            first = member.score(filled[:begin], valid[:begin], cut)
            before.append(deepcopy(model) if member.online else None)
            found.append(np.concatenate([first, member.score(filled, valid, begin)]))
            member.snapshot()  # a state that cannot be kept shows now, not at the first commit
        except Exception as error:
            raise ValueError(_unfit(name, model, f"{type(error).__name__}: {error}")) from error
    return np.column_stack(found), before


def check_same(fitted: Mapping[str, Any], config: EngineConfig) -> None:
    """Refuse a configuration that what was fitted does not go with."""
    now = config.model_dump(mode="json", include=set(_DEPENDS_ON))
    for key in _DEPENDS_ON:
        if fitted.get(key) != now[key]:
            raise ValueError(f"config.{key} is not what the engine was fitted with: fit again")
