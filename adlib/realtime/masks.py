"""Samples that lack features: what stands in for a value, and what a score without it means.

A feature that is missing or frozen is imputed by regression on the others, so that only what it
shares with them is judged, and its own contribution is taken out of the score. What such a score
means is learned from held-out rows that lack the same: one and the same features where these have
been out for a while; else, around the moments when features go and come, and where single values
are missing here and there, as many features in each row, drawn at random.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from adlib.base import Detector
from adlib.imports import nearest
from adlib.realtime.members import Member, Worker
from adlib.realtime.windows import Rows
from adlib.scaling import center_scale
from adlib.thresholds import Calibration, Scores, above_ties

Flags = NDArray[np.bool_]
Lack = bytes | float | None  # features by their bits; how many in a row, at random; nothing
Scale = tuple[Calibration | None, Scores]  # and surprises of held-out rows
Cached = TypeVar("Cached")
_FAR = 8.0  # deviations beyond which a value says no more about the others
_FEWEST = 1 / 16  # missing values in a row, on average, that a scale is made for
_KEPT = 64  # scales at once


def cached(cache: dict[Any, Cached], key: Any, make: Callable[[], Cached]) -> Cached:
    """What is kept under a key, made where it is not; the oldest goes where there are many."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > _KEPT:
            del cache[next(iter(cache))]
    return cache[key]


def lacks(left_out: Flags, context: int, settled: int, age: NDArray[np.int64] | None = None
          ) -> tuple[NDArray[np.int64], list[Lack]]:
    """What each row lacks, its context included.

    Parameters
    ----------
    left_out : ndarray of bool, shape (n, d)
    context : int
        Rows before a row that count.
    settled : int
        Rows in a row after which the same features are taken to be out for good.
    age : ndarray of int, shape (n,), optional
        Rows that each has before it in its own stream, where several are one behind the other.

    Returns
    -------
    which : ndarray of int, shape (n,)
        For each row its place in ``found``.
    found : list
        None, which is nothing, comes first.
    """
    n, at = len(left_out), np.arange(len(left_out))
    which, found = np.zeros(n, np.int64), [cast(Lack, None)]
    if not left_out.any():  # nearly always
        return which, found
    begin = at - (at if age is None else age)
    changed = np.r_[False, np.logical_or.reduce(left_out[1:] != left_out[:-1], axis=1)]
    since = at - np.maximum(np.maximum.accumulate(np.where(changed, at, 0)), begin)
    total = np.r_[0, left_out.sum(axis=1).cumsum()]
    rate = (total[1:] - total[np.maximum(at - context, begin)]) / (context + 1)
    long = (since >= max(context, settled - 1)) & (rate > 0)
    bits, same = np.unique(np.packbits(left_out[long], axis=1), axis=0, return_inverse=True)
    which[long], found = 1 + same.ravel(), [*found, *(row.tobytes() for row in bits)]
    short = (rate > 0) & ~long
    steps, same = np.unique(np.ceil(np.log2(np.maximum(rate[short], _FEWEST))), return_inverse=True)
    which[short] = len(found) + same
    most = left_out.shape[1] - 1
    return which, [*found, *(float(min(2.0**step, most)) for step in steps)]


def example(lack: Lack, n: int, d: int) -> Flags:
    """Which values n rows of d features lack."""
    if isinstance(lack, bytes):
        bits = np.frombuffer(lack, np.uint8)
        return np.broadcast_to(np.unpackbits(bits, count=d).astype(bool), (n, d))
    rng = np.random.default_rng(n)
    many = np.floor(lack or 0.0) + (rng.random(n) < (lack or 0.0) % 1)
    return rng.random((n, d)).argsort(axis=1) < many[:, None]


def unspoken(left_out: Flags, context: int) -> Flags:
    """Features whose contribution to a row's score does not count.

    Those that are out in the row or in its context, which forecasts look back on, unless these are
    more than half of all; then those that are out in the row.
    """
    if not context:
        return left_out
    at, total = np.arange(len(left_out)), np.cumsum(left_out, axis=0)
    total = np.concatenate([np.zeros_like(total[:1]), total])
    near = total[1:] > total[np.maximum(at - context, 0)]
    return np.where(2 * near.sum(axis=1, keepdims=True) > near.shape[1], left_out, near)


class Imputer:
    """What a feature may be expected to show, given others: linear regression on normal rows.

    Parameters
    ----------
    background : ndarray of shape (k, d)
        Normal rows, from which the regression is learned.
    past : ndarray of shape (n, d)
        Normal rows in time order, NaN where a value is missing.
    """

    def __init__(self, background: Rows, past: Rows):
        self._center, scale = center_scale(background, robust=True)
        self.scale = np.where(scale > 0, scale, 1.0)
        self._background, self._past = background, past

    # most streams lack nothing, and a process may judge a thousand

    @cached_property
    def _precision(self) -> Rows:
        Z, (n, d) = self._standardised(self._background), self._background.shape
        R = Z.T @ Z / n
        return np.linalg.inv(R + np.diag(R.diagonal() * d / n + 1e-9))

    @cached_property
    def gaps(self) -> Flags:
        """Where a value of the past is missing."""
        return np.isnan(self._past)

    @cached_property
    def past(self) -> Rows:
        """The past, with medians in its gaps."""
        return np.where(self.gaps, self._center, self._past)

    def _standardised(self, X: Rows) -> Rows:
        with np.errstate(over="ignore"):
            return np.clip((X - self._center) / self.scale, -_FAR, _FAR)

    def expected(self, X: Rows) -> Rows:
        """Of each value, by the others of its row, (n, d)."""
        Z = self._standardised(X)
        return self._center + self.scale * (
            Z - Z @ self._precision / self._precision.diagonal())

    def fill(self, X: Rows, gaps: Flags) -> Rows:
        """Rows with values for gaps; those that lack everything stay as they are."""
        if not gaps.any():
            return X
        found, Z = X.copy(), self._standardised(X)
        some = np.flatnonzero(gaps.any(axis=1) & ~gaps.all(axis=1))
        masks, same = np.unique(gaps[some], axis=0, return_inverse=True)
        order = np.argsort(same.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(same.ravel(), minlength=len(masks)))
        for mask, rows in zip(masks, np.split(some[order], ends[:-1]), strict=False):
            P = self._precision[mask]
            z = np.clip(-np.linalg.solve(P[:, mask], P[:, ~mask] @ Z[rows][:, ~mask].T).T,
                        -_FAR, _FAR)
            found[np.ix_(rows, mask)] = self._center[mask] + self.scale[mask] * z
        return found

    def fill_alive(self, X: Rows, gaps: Flags, at: NDArray[np.int64]) -> Rows:
        """`fill` for detectors that learn: as wide around what is expected as in the past.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        gaps : ndarray of bool, shape (n, d)
        at : ndarray of int, shape (n,)
            Place of each row in the stream: neighbours get deviations of neighbours.
        """
        donor = self.past[at % len(self.past)]
        return np.where(gaps, self.fill(X, gaps) + donor - self.fill(donor, gaps), X)


class Worth:
    """Which deviations of which features are worth an alarm.

    What a feature deviates from is what the others suggest, or its mean over the samples before:
    whichever is nearer in normal rows.

    Parameters
    ----------
    rules : mapping of str to object
        By feature: ``only`` ("up", "down" or None) and ``least``.
    features : list of str
    imputer : Imputer
    window : int
        Samples before that count.
    """

    def __init__(self, rules: Mapping[str, Any], features: list[str], imputer: Imputer,
                 window: int):
        for name in rules:
            if name not in features:
                raise ValueError(f"features: the history has no feature {name!r}"
                                 f"{nearest(name, features)}; it has {', '.join(features)}")
        self._imputer, self._sign = imputer, np.zeros(len(features))
        self._least, past = np.zeros(len(features)), imputer.past
        for name, rule in rules.items():
            self._sign[features.index(name)] = {"up": 1, "down": -1}.get(rule.only, 0)
            self._least[features.index(name)] = rule.least
        usual = np.nanquantile(np.abs([past - imputer.expected(past), past - before(past, window)]),
                               0.99, axis=1)
        # deviation that one in 100 exceeds
        self._usual = np.maximum(usual.min(axis=0), 1e-6 * imputer.scale)
        self._by_others = usual[0] <= usual[1]

    def trivial(self, X: Rows, mean: Rows | float = np.nan) -> Flags:
        """Features that make rows (n, d) unusual but need no alarm, largest deviation first.

        One that does need it ends the search, and so does one that deviates as usual: if the row
        stands out all the same, it is not for them.
        """
        out, at, go = np.zeros(X.shape, bool), np.arange(len(X)), np.ones(len(X), bool)
        while go.any():
            rest = self._imputer.fill(X, out)
            with np.errstate(over="ignore"):
                off = np.where(self._by_others, rest - self._imputer.expected(rest), X - mean)
            far = np.where(out, 0.0, np.nan_to_num(np.abs(off) / self._usual))
            top = far.argmax(axis=1)
            size = off[at, top]
            go &= (far[at, top] > 1) & ((self._sign[top] * size < 0)
                                        | (np.abs(size) < self._least[top]))
            out[go, top[go]] = True
        return out


def before(X: Rows, window: int) -> Rows:
    """Mean of up to window - 1 rows before each; NaN before the first."""
    at = np.arange(len(X))
    first = np.maximum(at - window + 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.concatenate([np.zeros_like(X[:1]), X.cumsum(axis=0)])
        return (total[at] - total[first]) / (at - first)[:, None]


class Scales:
    """What the scores of one member mean where features are out.

    Parameters
    ----------
    member : Member
    imputer : Imputer or None
        None: nothing is known of rows that lack a feature.
    before : detector or None
        An online detector as it was before the imputer's past.
    whole : tuple of (Calibration, ndarray of shape (n,))
        Scale, and surprises of held-out rows, where nothing is out.
    """

    def __init__(self, member: Member, imputer: Imputer | None, before: Any,
                 whole: Scale):
        self.member, self._imputer, self._before, self._whole = member, imputer, before, whole
        self._made: dict[Lack, Scale] = {}
        self._making: list[Future] = []
        self.retry_at: dict[Lack, float] = {}  # of what failed
        self.late: set[Lack] = set()  # what was reported as not known in time
        self.looks_back = False  # whether samples may have to be scored once more

    def of(self, lack: Lack) -> Scale:
        """Scale of rows that lack this, None without any; surprises of held-out rows without it."""
        if lack is None:
            return self._whole
        if lack not in self._made:
            self._made[lack] = self._make(lack)
        return self._made[lack]

    def knows(self, lack: Lack) -> bool:
        """Whether `of` needs the detector no more, which may fail."""
        return lack is None or self._imputer is None or lack in self._made

    def prepare(self, wanted: Iterable[Lack], now: float) -> dict[Lack, Future]:
        """Begin to make what is not known yet, in a thread of its own.

        A slow detector goes on scoring what lacks something else, and only one thread is busy.
        """
        wanted = list(wanted)
        for old in [lack for lack in self._made if lack not in wanted][:len(self._made) - _KEPT]:
            del self._made[old]
        new = [lack for lack in wanted if not self.knows(lack)
               and now >= self.retry_at.get(lack, now)]
        if not new or not all(job.done() for job in self._making):
            return {}
        worker = Worker(f"{self.member.name} without")
        begun = {lack: worker.submit(self.of, lack) for lack in new}
        worker.stop()
        self._making = list(begun.values())
        return begun

    def of_whole(self, raw: Scores) -> Scores:
        """Surprises of scores of rows that lack nothing."""
        return np.full(len(raw), np.nan) if (
            scale := self._whole[0]) is None else scale.surprise(raw)

    def _make(self, lack: Lack) -> Scale:
        imputer, member = self._imputer, self.member
        if imputer is None:
            return None, self._whole[1]
        with suppress(Exception):  # the detector itself goes on scoring meanwhile
            member = Member(member.name, member.model if member.online else deepcopy(member.model))
        n, d = imputer.past.shape
        left_out = imputer.gaps | example(lack, n, d)
        if member.online:
            member = Member(member.name, deepcopy(self._before))
            X = imputer.fill_alive(imputer.past, left_out, np.arange(n) + n // 2)
        else:
            X = imputer.fill(imputer.past, left_out)
        scores = self._scores(member, X, left_out, 0)
        scores[imputer.gaps.any(axis=1)] = np.nan
        if np.isnan(scores).all():  # everything is out
            return None, self._whole[1]
        scale = Calibration().fit(above_ties(scores[~np.isnan(scores)]))
        return scale, scale.surprise(scores)

    def _scores(self, member: Member, values: Rows, left_out: Flags, n_old: int) -> Scores:
        """Scores of new rows, without what features that are out contribute."""
        lost = np.logical_and.reduce(left_out, axis=1)
        found = member.score(values, np.asarray(~lost), n_old)
        if left_out.any() and self._splits:
            first = max(n_old - member.context, 0)
            found -= _silenced(member, values[first:], left_out[first:])[n_old - first:]
        return found

    @cached_property
    def _splits(self) -> bool:
        """Whether the score is a sum with a part for each feature."""
        model = self.member.model
        if self.member.online or self._imputer is None or not isinstance(model, Detector):
            return False
        rows = self._imputer.past[-64:]
        with suppress(NotImplementedError):
            total, scores = model.contributions(rows).sum(axis=1), model.anomaly_score(rows)
            return bool((total <= scores + 1e-6 * np.abs(scores)).all())
        return False

    def without(self, values: Rows, left_out: Flags, n_old: int, rows: NDArray[np.int64],
                trivial: Flags, member: Member) -> Scores:
        """Surprises of k of the last samples without some features; 0 where there is no other.

        Parameters
        ----------
        values : ndarray of shape (n, d)
            Without gaps.
        left_out : ndarray of bool, shape (n, d)
        n_old : int
        rows : ndarray of int, shape (k,)
        trivial : ndarray of bool, shape (k, d)
            Features that go without saying.
        member : Member
            The one of this stream.
        """
        assert self._imputer is not None
        out, back = left_out[rows] | trivial, self.member.context
        filled, never = self._imputer.fill(values[rows], out), values.size * (back + 2)
        if self.member.online:  # it learns them as they are
            twin, raw = Member("", deepcopy(member.earlier)), np.empty(len(rows))
            valid = ~np.logical_and.reduce(left_out, axis=1)
            for k, (start, row) in enumerate(zip([n_old, *rows], rows, strict=False)):
                twin.score(values[start:row], valid[start:row], 0)
                raw[k] = twin.model.frozen_score(filled[k:k + 1])[0]
            gaps = out
        else:  # each with its own past, as if it were the only one
            at = np.maximum(rows[:, None] + np.arange(-back, 1), 0)
            X, gaps = values[at], left_out[at]
            X[:, -1], gaps[:, -1] = filled, out
            X, gaps = X.reshape(-1, X.shape[2]), gaps.reshape(-1, X.shape[2])
            raw = self.scores(X, gaps, 0)
        which, found = lacks(gaps, back, never)
        for k in np.unique(which[~np.isnan(raw)]).tolist():
            self.of(found[k])
        S = self.measured(raw, which, found)[back::back + 1]
        return np.where(out.all(axis=1), 0.0, S)

    def measured(self, raw: Scores, which: NDArray[np.int64], found: list[Lack]) -> Scores:
        """Surprises of scores of rows that lack ``found[which]``; NaN where `knows` is False."""
        S = np.full(len(raw), np.nan)
        for k in np.unique(which[~np.isnan(raw)]).tolist():
            if self.knows(found[k]) and (scale := self.of(found[k])[0]) is not None:
                S[which == k] = scale.surprise(raw[which == k])
        return S

    def scores(self, values: Rows, left_out: Flags, n_old: int, member: Member | None = None
               ) -> Scores:
        """Of the samples after the first ``n_old``; NaN where there is none.

        Parameters
        ----------
        values : ndarray of shape (n, d)
            Without gaps.
        left_out : ndarray of bool, shape (n, d)
        n_old : int
        member : Member, optional
            Of this stream, where each has its own.
        """
        member = member or self.member
        if member.online and self.looks_back:
            member.earlier = deepcopy(member.model)
        return self._scores(member, values, left_out, n_old)

    def scores_together(self, values: Rows, left_out: Flags, age: NDArray[np.int64],
                        since: NDArray[np.int64]) -> Scores:
        """`scores` of several streams, one behind the other, by a member that does not learn.

        Parameters
        ----------
        values : ndarray of shape (n, d)
            Without gaps.
        left_out : ndarray of bool, shape (n, d)
        age, since : ndarray of int, shape (n,)
            Rows that each has before it in its own stream, and of these, new ones; below 0 where it
            is not new itself.

        Returns
        -------
        ndarray of shape (n,)
        """
        member, raw, rows = self.member, np.full(len(values), np.nan), np.flatnonzero(
            since >= -self.member.context)
        raw[rows] = member.score_together(values[rows], age[rows],
                                          ~np.logical_and.reduce(left_out[rows], axis=1))
        gone = np.logical_or.reduce(left_out, axis=1)
        if gone.any() and self._splits:
            stream = np.cumsum(age == 0)
            rows = rows[(np.bincount(stream, gone) > 0)[stream[rows]]]
            raw[rows] -= _silenced(member, values[rows], left_out[rows])
        raw[since < 0] = np.nan
        return raw


def _silenced(member: Member, values: Rows, left_out: Flags) -> Scores:
    """What features that are out contribute to the score of each row."""
    return np.asarray((member.model.contributions(values) * unspoken(
        left_out, member.context)).sum(axis=1))
