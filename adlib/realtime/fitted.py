"""What an engine learns from a normal history."""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import column, floats
from adlib.detectors.ensemble import Ensemble, MemberWarning
from adlib.drift import longest_runs
from adlib.reading.options import few
from adlib.realtime.calibration import WindowCalibration, window_maxima
from adlib.realtime.clock import times_of
from adlib.realtime.config import EngineConfig
from adlib.realtime.members import Member
from adlib.realtime.traces import Trace
from adlib.realtime.windows import Rows, StreamProcessor
from adlib.scaling import center_scale
from adlib.thresholds import CalibrationWarning, Scores

_BACKGROUND = 512  # normal samples that explanations compare with
_KEPT = 5_000  # calibration rows that are kept, to be scored again without some features
# what a fitted engine depends on; the rest of the configuration may change without a new fit
_DEPENDS_ON = ("deep_config", "stat_config", "detectors", "window_size", "random_state",
               "calibration_share")
_ALL = slice(None)
LONGEST = 200  # characters of an entity's name
Series = tuple[Rows, Scores]  # rows and their times


@dataclass(frozen=True)
class Fitted:
    """One ensemble, calibrated on what follows its training rows in time, and what is normal.

    That of a fleet holds the rows of all its entities, and what is known of each.

    Attributes
    ----------
    features, names : list of str
        Of the columns, and of the ensemble's members.
    ensemble : Ensemble
        Of a fleet: as a new entity meets it.
    held_out : ndarray of shape (n, n_members)
        Raw scores of the calibration rows; NaN where a sample was missing, and between two
        entities.
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
    own : dict of str to slice
        By entity, its rows of ``held_out``.
    states : dict of str to list
        By entity, the states of online members after its history; None for others.
    models : dict of str to Fitted
        Of entities that have one of their own: see `FleetConfig`.
    past : Trace or None
        The history, where later fits need it: see `RefitConfig`.
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
    own: dict[str, slice] = field(default_factory=dict)
    states: dict[str, list[Any]] = field(default_factory=dict)
    models: dict[str, "Fitted"] = field(default_factory=dict)
    past: Trace | None = None
    _least: dict[str, float] = field(default_factory=dict, repr=False)  # alpha, by entity

    @property
    def context(self) -> int:
        """Samples before a new one that its score uses, at most."""
        return max(Member(name, model).context for name, model in zip(
            self.names, self.ensemble.members_, strict=True))

    @cached_property
    def combined(self) -> Scores:
        """Combined surprises of the held-out rows."""
        return self.ensemble.combined(self.ensemble.surprises_of(self.held_out))

    def copy(self) -> "Fitted":
        """One whose members can go on without this one's."""
        return replace(self, ensemble=deepcopy(self.ensemble), models={
            entity: model.copy() for entity, model in self.models.items()})

    def judging(self, entity: str, config: EngineConfig) -> tuple["Fitted", slice]:
        """By which model an entity is judged, and by which rows of its ``held_out``.

        Its own rows where they show ``config.alpha`` without extrapolation, else those of all,
        as of an entity that the history does not know. A budget of the fleet rests on a common
        threshold: with ``config.per`` the rows are those of all, or of its own model.
        """
        found, rows = self, self.own.get(entity, _ALL)
        if entity in self.models:
            found, rows = self.models[entity], _ALL
        if config.per is not None:
            return found, _ALL
        if found is self and rows == _ALL:
            return self, _ALL
        if entity not in self._least:
            scores, window = found.combined[rows], config.window_size
            self._least[entity] = np.inf if len(scores) < 2 * window else (
                WindowCalibration().fit(scores, window).least)
        return (found, rows) if self._least[entity] <= config.alpha else (self, _ALL)

    def judged_by(self, config: EngineConfig) -> dict[str, str]:
        """Of each entity of the history "own model", "own rows" or "all rows": see `judging`."""
        found = {entity: self.judging(entity, config) for entity in self.own}
        return {entity: "own model" if model is not self else "own rows" if rows != _ALL else
                "all rows" for entity, (model, rows) in found.items()}

    def pinned(self, config: EngineConfig) -> "Fitted":
        """A copy that judges each entity as this one with this configuration, at any alpha."""
        return replace(self.copy(), _least={entity: np.inf if by == "all rows" else 0.0
                                            for entity, by in self.judged_by(config).items()})


# -- fit ----------------------------------------------------------------------------------------


def fit(config: EngineConfig, X_history: ArrayLike, time: ArrayLike | None = None,
        entity: ArrayLike | None = None) -> Fitted:
    """Train the ensemble on the first part of a normal history, calibrate it on the rest.

    With ``entity``, a label for each row, each entity's rows are cut by themselves.
    """
    X = floats(X_history, "X_history", "(n_samples, n_features)")
    features = _features(config, X, getattr(X_history, "columns", ()))
    seconds = times_of(X_history, time, config.sampling_period)
    series = {name: (X[rows], seconds[rows])
              for name, rows in by_entity(config, entity, len(X)).items()}
    found = _fitted(config, features, series)
    if config.refit is not None:
        found = replace(found, past=_past(config, features, series, config.refit.history))
    if config.fleet is None or config.fleet.model == "shared":
        return found
    return replace(found, models=_models(config, features, series))


def _past(config: EngineConfig, features: list[str], series: Mapping[str, Series], seconds: float
          ) -> Trace:
    """The last of a history; its rows count up to -1."""
    parts, last = list[Trace](), max(time.max() for _, time in series.values())
    for entity, (X, time) in series.items():
        X, time = X[time >= last - seconds], time[time >= last - seconds]
        parts.append(Trace(config.stream, tuple(features), (entity or None,), np.zeros(
            len(X), np.int64), np.arange(-len(X), 0), time, X, np.full(len(X), np.nan)))
    return Trace.joined(parts)


def by_entity(config: EngineConfig, entity: Any, n: int) -> dict[str, NDArray[np.int64]]:
    """Rows of each entity, in the order in which they come first; all of a single stream."""
    if entity is None:
        if config.fleet is not None:
            raise ValueError("entity must label each row of a fleet's history, got None: hand in "
                             "the labels, or name their column with reading.entity_column")
        return {"": np.arange(n)}
    import pandas as pd

    from adlib.reading.table import entity_text

    codes, labels = pd.factorize(column(np.asarray(entity, dtype=object), "entity", n))
    texts = np.array([*map(entity_text, labels), ""], dtype=object)[codes]
    if n and not all(texts):
        raise ValueError(f"entity must label each row, got none in {sum(not t for t in texts)}")
    if (longest := max(map(len, texts), default=0)) > LONGEST:
        raise ValueError(f"entity must be a text of at most {LONGEST} characters, got {longest} "
                         "characters")
    codes, names = pd.factorize(texts)
    if len(names) > (most := 1 if config.fleet is None else config.fleet.max_entities):
        raise ValueError(f"entity holds {len(names)} entities, {few(names.tolist(), 3)}: " + (
            "set fleet: {} to judge each by itself" if config.fleet is None else
            f"raise fleet.max_entities={most}, or give several fleets a configuration each"))
    order = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    return dict(zip(names.tolist(), order, strict=True))


def _models(config: EngineConfig, features: list[str], series: Mapping[str, Series]
            ) -> dict[str, Fitted]:
    """A model of each entity whose history allows one."""
    alone, found, refused = config.model_copy(update={"fleet": None}), {}, dict[str, str]()
    for entity, one in series.items():
        try:
            found[entity] = _fitted(alone, features, {entity: one})
        except ValueError as error:
            refused[entity] = str(error)
    if refused:
        warnings.warn(f"{len(refused)} of {len(series)} entities have no model of their own and "
                      f"are judged by that of all: {few([*refused], 5)}; the first: "
                      f"{next(iter(refused.values()))}", CalibrationWarning, stacklevel=5)
    return found


class _Series:
    """Rows of one entity, repaired as they are live, cut in two, and scored."""

    def __init__(self, config: EngineConfig, X: Rows, seconds: Scores):
        self.X, self.held, self.steps = X, _held(config, X), np.diff(seconds)
        self.known = np.isfinite(self.held)
        self.valid = np.asarray(self.known.all(axis=1))
        self.cut = len(X) - int(len(X) * config.calibration_share)

    def fill(self, middle: Scores, kept: int) -> None:
        """Put middles where nothing is known; so many calibration rows are to be kept."""
        self.filled = np.where(self.known, self.held, middle)
        self.begin = max(self.cut, len(self.X) - kept)
        self.kept = np.where(self.known, self.held, np.nan)[self.begin:]
        self.past = self.filled[:self.cut][self.valid[:self.cut]]


def _fitted(config: EngineConfig, features: list[str], series: Mapping[str, Series]) -> Fitted:
    every = [_Series(config, *one) for one in series.values()]
    first = np.concatenate([one.X[:one.cut] for one in every])
    _check_length(config, first, sum(len(one.X) for one in every))
    middle = np.nanmedian(first, axis=0)
    for one, kept in zip(every, _kept(config, len(every)), strict=True):
        one.fill(middle, kept)
    past = np.concatenate([one.past for one in every])
    names, ensemble = _trained(config, past)
    parts, before, states = zip(*(_held_out(names, ensemble.members_, one, len(every) > 1)
                                  for one in every), strict=True)
    held_out = _joined(parts)
    whole = ~np.isnan(window_maxima(held_out.sum(axis=1), config.window_size))
    if whole.sum() < config.window_size:
        raise ValueError(f"only {whole.sum()} calibration windows hold no missing value; give a "
                         f"longer history, one with fewer gaps, or a number of samples to hold= "
                         f"the last value for")
    background = past[np.linspace(0, len(past) - 1, min(_BACKGROUND, len(past))).astype(int)]
    steps = np.concatenate([one.steps[one.steps > 0] for one in every])
    found = Fitted(features, names, ensemble.calibrate_scores(held_out), held_out,
                   *center_scale(np.concatenate([one.filled for one in every]), robust=True),
                   np.max([_longest(one.X) for one in every], axis=0), background,
                   _joined([one.kept for one in every]), before[-1],
                   float(np.median(steps)) if len(steps) else config.sampling_period)
    return found if config.fleet is None else _with_entities(found, list(series), parts, states)


def _with_entities(found: Fitted, names: list[str], parts: Sequence[Rows],
                   states: Sequence[list[Any]]) -> Fitted:
    ends = np.cumsum([len(part) + 1 for part in parts]) - 1
    own = {entity: slice(int(end) - len(part), int(end))
           for entity, part, end in zip(names, parts, ends, strict=True)}
    online = any(state is not None for state in states[0])
    return replace(found, own=own, states=dict(zip(names, states, strict=True)) if online else {})


def _kept(config: EngineConfig, n: int) -> list[int]:
    """Calibration rows of each of n entities that are kept: enough for windows, of some of them."""
    many = min(n, max(_KEPT // (10 * config.window_size), 1))
    found = np.zeros(n, int)
    found[np.linspace(0, n - 1, many).astype(int)] = _KEPT // many
    return found.tolist()


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several entities, one without values between two, so that no window holds both."""
    gap = np.full((1, parts[0].shape[1]), np.nan)
    return np.concatenate([rows for part in parts for rows in (part, gap)][:-1])


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


def _check_length(config: EngineConfig, first: Rows, n: int) -> None:
    """Refuse a history whose n rows, of which the first are to train on, are too few."""
    cut = len(first)
    if min(cut, n - cut) < 2 * config.window_size:
        raise ValueError(f"X_history must hold at least two windows of {config.window_size} "
                         f"samples to train on and two to calibrate on, got {n} rows, "
                         f"{n - cut} of them for calibration")
    if not np.isfinite(first).all(axis=1).any():
        raise ValueError(f"X_history has no row without a missing value among the first {cut}, "
                         f"which are to train on")


def _longest(X: Rows) -> Rows:
    """Longest runs by which a feature counts as frozen.

    Those of states and commands say little of the runs to come. On normal rows of 94 recordings
    (SKAB, NAB, TSB-AD, the telemetry) twice the longest run and ten samples was wrong 107 times in
    835,000 rows, 8 times in 5,000 of the telemetry; with a factor for these features 49 and 1.
    """
    longest = longest_runs(X)
    if len(X) < 2:
        return longest
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
            warnings.warn(f"detector {name!r}: {row['reason']}", MemberWarning, stacklevel=6)
    return list(groups), ensemble


def _unfit(name: str, model: Any, reason: str) -> str:
    return f"detector {name!r} ({type(model).__name__}) cannot be fitted: {reason}"


def _held_out(names: list[str], models: list[Any], one: _Series, several: bool
              ) -> tuple[Rows, list[Any], list[Any]]:
    """Each member's scores of the calibration rows, as it gives them live.

    And online ones before the rows that are kept, and their states at the end. Where there are
    several entities, each begins with a copy that has come to know its rows; those that are kept
    come one entity after the other.
    """
    found, before, after = [], [], []
    filled, valid = one.filled, one.valid
    for name, model in zip(names, models, strict=True):
        member = Member(name, model)
        try:
            if several and member.online:
                member = Member(name, deepcopy(model))
                member.score(filled[:one.cut], valid[:one.cut], 0)
            first = member.score(filled[:one.begin], valid[:one.begin], one.cut)
            before.append(deepcopy(model if several else member.model) if member.online else None)
            found.append(np.concatenate([first, member.score(filled, valid, one.begin)]))
            after.append(member.snapshot())  # one that cannot be kept shows now, not at a commit
        except Exception as error:
            raise ValueError(_unfit(name, model, f"{type(error).__name__}: {error}")) from error
    return np.column_stack(found), before, after


def check_same(fitted: Mapping[str, Any], config: EngineConfig) -> None:
    """Refuse a configuration that what was fitted does not go with."""
    now = config.model_dump(mode="json", include=set(_DEPENDS_ON))
    for key in _DEPENDS_ON:
        if fitted.get(key) != now[key]:
            raise ValueError(f"{key} must be what the engine was fitted with, "
                             f"{fitted.get(key)!r:.200}, got {now[key]!r:.200}: fit again")
    if (fitted.get("fleet") or {}).get("model") != (config.fleet and config.fleet.model):
        raise ValueError("fleet is not what the engine was fitted with: fit again")


def same_budget(fitted: Mapping[str, Any], config: EngineConfig) -> bool:
    """Whether an alpha that kept ``per`` under one configuration keeps it under this one."""
    return fitted.get("per") == config.per and (
        fitted.get("combine") or "weighted") == (config.combine or "weighted")
