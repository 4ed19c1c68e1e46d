"""How far a row lies from what the last rows looked like together.

What is learned of rows together is a *cloud*: an exponentially weighted mean and covariance, and a
matrix that whitens. `OnlineMahalanobis` is a cloud with a gate; `OnlineEnsemble` has one as a view.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from adlib.detectors.flat import (
    PROCESS_ONE,
    PROCESS_ROWS,
    SCORE_FEATURES,
    SCORE_ONE,
    FlatStateDetector,
    Record,
    Values,
    admitted,
    checked,
    fields,
    inner,
    is_count,
    jit,
    named,
    part,
    record,
    rounding,
)

_WORST = 1e70  # standard deviations: more would overflow where it is squared and summed
_FAR = 3.0  # what lies so much farther out than usual is learned as lying there
_ROUNDS = 10  # of drawing in the first rows: what one hides is found in the next
_RIDGE = 1e-6  # of a variance: the least that directions without any have
_USUAL = 25.0  # standard deviations, squared: how far a feature goes by itself

# waiting: first rows that are kept until there are enough to begin
CLOUD = np.dtype(fields("n memory min_scale waiting", spare=4))
_CLOUD_SIZE = CLOUD.itemsize // 8
_cloud_at = record(CLOUD)


class _Cloud(NamedTuple):
    """The state by name."""

    head: Record
    mean: Values  # (n_features,)
    scale: Values  # (n_features,): standard deviations when ``precision`` was made
    cov: Values  # (n_features, n_features): the lower triangle
    precision: Values  # (n_features, n_features): the inverse of the shrunken correlations
    rows: Values  # (any, n_features): room for the rows that it begins with


def cloud_size(d: int, rows: int) -> int:
    """Numbers in the state of a cloud of d features, with room for so many rows."""
    return _CLOUD_SIZE + (2 + 2 * d + rows) * d


@numba.njit(inline="always")  # records are not returned
def cloud_at(state: Values, start: int, d: int) -> _Cloud:
    """The cloud whose numbers begin at ``start`` and are the state's last."""
    after = start + _CLOUD_SIZE
    covs = after + 2 * d
    rows = covs + 2 * d * d
    return _Cloud(_cloud_at(state, start), part(state, after, (d,)), part(state, after + d, (d,)),
                  part(state, covs, (d, d)), part(state, covs + d * d, (d, d)),
                  part(state, rows, ((len(state) - rows) // d, d)))


@inner
def standardised(x: Values, cloud: _Cloud) -> Values:
    """Distances of the features from their means, in standard deviations.

    A move of one that stood still counts as if it had moved as far once before.
    """
    z = np.empty(len(x))
    for j in range(len(x)):
        most = _WORST if _moves(j, cloud) else np.sqrt(min(cloud.head.n, cloud.head.memory))
        z[j] = min(max((x[j] - cloud.mean[j]) / cloud.scale[j], -most), most)
    return z


@inner
def _moves(j: int, cloud: _Cloud) -> bool:
    """Whether a feature has ever moved by more than rounding; true before there is a cloud."""
    least = rounding(cloud.mean[j])
    return cloud.head.n == 0 or cloud.cov[j, j] > least * least


@inner
def _beside(z: Values, j: int, cloud: _Cloud) -> float:
    """A feature's distance from what the others suggest, times the root of its precision.

    Its products with z add up over features to the squared Mahalanobis distance.
    """
    total = 0.0
    for k in range(len(z)):
        total += cloud.precision[j, k] * z[k]
    return total


@inner
def _beyond_usual(z: float, total: float, precision: float) -> float:
    own = z * z
    return np.sqrt(max(own, total * total / precision) - own * (_USUAL / (_USUAL + own)))


@inner
def feature_score(z: Values, j: int, cloud: _Cloud) -> float:
    """How far a feature is off, less how far it usually goes by itself."""
    return _beyond_usual(z[j], _beside(z, j, cloud), cloud.precision[j, j])


@inner
def row_score(z: Values, cloud: _Cloud) -> tuple[float, float]:
    """The largest of the features' scores, and the Mahalanobis distance of the row."""
    worst, square = 0.0, 0.0
    for j in range(len(z)):
        total = _beside(z, j, cloud)
        worst = max(worst, _beyond_usual(z[j], total, cloud.precision[j, j]))
        square += z[j] * total
    return worst, np.sqrt(max(square, 0.0))


@inner
def _held(distance: float, d: int) -> float:
    """What is learned of a row's deviation: usually all, at a distance of sqrt(d) give or take."""
    far = np.sqrt(d) + _FAR
    return far / distance if distance > far else 1.0


@inner
def learn_row(x: Values, z: Values, distance: float, cloud: _Cloud) -> None:
    """Learn a row; one of large Mahalanobis distance is drawn in along the line to the mean.

    ``z`` is used up.
    """
    d, head = len(z), cloud.head
    head.n += 1
    rate = max(1 / head.n, 1 / head.memory)
    held = _held(distance, d)
    for i in range(d):
        if _moves(i, cloud):
            z[i] *= held * cloud.scale[i]
        else:  # a first move is the only measure of further ones, from the next row on
            z[i] = min(max(x[i] - cloud.mean[i], -_WORST), _WORST)
            cloud.scale[i] = max(cloud.scale[i], np.sqrt(rate) * abs(z[i]))
        for k in range(i + 1):
            cloud.cov[i, k] = (1 - rate) * (cloud.cov[i, k] + rate * z[i] * z[k])
        cloud.mean[i] += rate * z[i]
    # an inverse costs d times what the row does: with many features it is a few rows old
    if head.n % (1 + d // 8) == 0:
        _invert(cloud)


@inner
def _shrink(cloud: _Cloud) -> None:
    """Correlations, shrunk towards none, into the lower triangle of ``precision``.

    By the share that minimises the expected squared error (Schaefer and Strimmer 2005), with
    (1 - r^2)^2 / n for a correlation's variance: certain correlations lose nothing.
    """
    R, d, head = cloud.precision, len(cloud.mean), cloud.head
    noise, signal = 0.0, 0.0
    n = min(head.n, 2 * head.memory)  # rows that a mean with these weights is worth
    for i in range(d):
        floor = max(head.min_scale, rounding(cloud.mean[i]))
        cloud.scale[i] = max(np.sqrt(cloud.cov[i, i]), floor)
        for k in range(i):
            R[i, k] = cloud.cov[i, k] / (cloud.scale[i] * cloud.scale[k])
            square = min(R[i, k] * R[i, k], 1.0)
            signal += square
            noise += (1 - square) ** 2 / n
        R[i, i] = 1.0
    keep = 1 - max(noise / signal if noise < signal else 1.0, _RIDGE)
    for i in range(d):
        for k in range(i):
            R[i, k] *= keep


@inner
def _invert(cloud: _Cloud) -> None:
    """Make ``precision`` of the covariance, in place: by Cholesky, from nothing but ``cov``."""
    _shrink(cloud)
    L, d = cloud.precision, len(cloud.mean)
    for i in range(d):
        for k in range(i + 1):
            total = L[i, k]
            for m in range(k):
                total -= L[i, m] * L[k, m]
            L[i, k] = total / L[k, k] if k < i else np.sqrt(max(total, 0.1 * _RIDGE))
    for k in range(d):  # the inverse of the factor: a column needs itself and later ones
        L[k, k] = 1 / L[k, k]
        for i in range(k + 1, d):
            total = 0.0
            for m in range(k, i):
                total -= L[i, m] * L[m, k]
            L[i, k] = total / L[i, i]
    for j in range(d):  # its square, into the upper triangle
        for k in range(d - 1, j - 1, -1):
            total = 0.0
            for i in range(k, d):
                total += L[i, j] * L[i, k]
            L[j, k] = total
    for j in range(d):
        for k in range(j):
            L[j, k] = L[k, j]


@inner
def collect_row(x: Values, enough: int, cloud: _Cloud) -> None:
    """Keep one of the first rows; begin when there are enough."""
    cloud.rows[int(cloud.head.waiting)] = x
    cloud.head.waiting += 1
    if cloud.head.waiting == enough:
        begin(cloud.rows[:enough], cloud)


@inner
def begin(rows: Values, cloud: _Cloud) -> None:
    """Start from these rows: those far out, at first by median and MAD, are drawn in."""
    n, d = rows.shape
    cloud.precision[:] = 0
    for j in range(d):
        cloud.mean[j] = np.median(rows[:, j])
        mad = np.median(np.abs(rows[:, j] - cloud.mean[j]))
        # MAD = 0: more than half are equal, and the others may be a second state
        scale = 1.4826 * mad if mad > 0 else min(np.std(rows[:, j]), _WORST)
        cloud.scale[j] = max(scale, cloud.head.min_scale)
        cloud.precision[j, j] = 1
    for _ in range(_ROUNDS):
        for i in range(n):
            z = standardised(rows[i], cloud)
            held = _held(row_score(z, cloud)[1], d)
            for j in range(d):
                rows[i, j] = cloud.mean[j] + held * z[j] * cloud.scale[j]
        for j in range(d):
            cloud.mean[j] = np.mean(rows[:, j])
            for k in range(j + 1):
                total = 0.0
                for i in range(n):
                    total += (rows[i, j] - cloud.mean[j]) * (rows[i, k] - cloud.mean[k])
                cloud.cov[j, k] = total / n
        cloud.head.n = n
        _invert(cloud)


def start_cloud(state: Values, start: int, memory: float, min_scale: float) -> None:
    """Set the head of a cloud that has seen nothing."""
    cloud = named(state, start, CLOUD)
    cloud["memory"], cloud["min_scale"] = memory, min_scale


def cloud_could_be(found: Values, fresh: Values, start: int, warm_up: int) -> bool:
    """Whether learning may have made the one cloud of the other."""
    now, then = named(found, start, CLOUD), named(fresh, start, CLOUD)
    waiting = now["waiting"]
    return bool(is_count(now["n"]) and is_count(waiting)
                and (waiting == warm_up if now["n"] else waiting < warm_up)
                and all(now[name] == then[name] for name in ("memory", "min_scale")))


# -- the detector ------------------------------------------------------------------------------

# outnumbered and oldest: see `adlib.detectors.flat.admitted`
HEAD = np.dtype(fields("n_features window warm_up gate release min_scale outnumbered oldest"))
_HEAD_SIZE = HEAD.itemsize // 8
_head_at = record(HEAD)


@inner
def _process(x: Values, cloud: _Cloud, head: Record) -> float:
    if cloud.head.n == 0:
        collect_row(x, int(head.warm_up), cloud)
        return 0.0
    z = standardised(x, cloud)
    score, distance = row_score(z, cloud)
    recent = cloud.rows[:int(head.release)]
    verdict = admitted(x, score, head, recent)
    if verdict == 1:
        learn_row(x, z, distance, cloud)
    elif verdict == 2:
        begin(recent, cloud)
    return score


@jit(SCORE_ONE)
def _score_one(x: Values, state: Values) -> float:
    d = int(_head_at(state, 0).n_features)
    row, cloud = checked(x, d), cloud_at(state, _HEAD_SIZE, d)
    return row_score(standardised(row, cloud), cloud)[0] if cloud.head.n > 0 else 0.0


@jit(PROCESS_ONE)
def _process_one(x: Values, state: Values) -> float:
    head = _head_at(state, 0)
    d = int(head.n_features)
    return _process(checked(x, d), cloud_at(state, _HEAD_SIZE, d), head)


@jit(PROCESS_ROWS)
def _process_rows(x: Values, state: Values) -> Values:
    head = _head_at(state, 0)
    d = int(head.n_features)
    cloud, scores = cloud_at(state, _HEAD_SIZE, d), np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _process(part(x, i * d, (d,)), cloud, head)
    return scores


@jit(SCORE_FEATURES)
def _score_features(X: Values, state: Values) -> Values:
    n, d = X.shape
    cloud, scores = cloud_at(state, _HEAD_SIZE, d), np.zeros((n, d))
    if cloud.head.n > 0:
        for i in range(n):
            z = standardised(X[i], cloud)
            for j in range(d):
                scores[i, j] = feature_score(z, j, cloud)
    return scores


class OnlineMahalanobis(FlatStateDetector):
    """How far a feature lies from where the other features put it, by the rows before.

    With mean m and covariance S of the learned rows, which lose their weight by 1 / ``window`` a
    row, the squared Mahalanobis distance (x - m)' S^-1 (x - m) is in part the doing of feature j:
    by itself z_j^2, given the others c_j^2, by which it falls when j is left out (the unconditional
    and conditional terms of Mason, Tracy and Young 1995; c_j is Hawkins' regression-adjusted
    variable, 1991). The score is the largest
    ``sqrt(max(z_j^2, c_j^2) - z_j^2 * 25 / (25 + z_j^2))``: what a feature shows by itself counts
    in so far as it is beyond some five standard deviations, what it shows beside the others counts
    in full. Three sensors that agree, and one that stops doing so while its values stay usual. Of
    a single feature it ranks as the exponentially weighted z-score. Scored before the row is
    learned.

    Fails on structure that is not linear (a row between two operating states), where correlation
    has a season, in time alone (a usual value at the wrong hour), and when many features are off
    but none much beside the others.

    Parameters
    ----------
    window : int
        Memory in rows, at least 2: the weight of a row falls to 1 / e after so many further ones.
        Several times the number of features, and a season where there is one.
    warm_up : int
        Rows to learn before scoring starts, at least 2; earlier rows score 0.
    gate : float or None
        Rows that score above it are not learned, as in `RollingZScore`. None learns everything.
    release : int or None
        With a gate: as in `RollingZScore`, at least 2.
    min_scale : float
        Smallest standard deviation to divide by, in the unit of the data. A feature that stood
        still, to rounding, counts any move as if it had moved as far once before.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    Correlations are shrunk towards 0 by the share that minimises their expected squared error
    (Schaefer and Strimmer 2005), and by a millionth at least: constant, duplicated and collinear
    columns need no care. Order and units of the columns do not matter.

    A row that lies 3 farther out than usual, by its Mahalanobis distance, is learned as lying
    there, and the first ``warm_up`` rows within ten robust deviations of their medians: a huge
    value has a bounded weight. The covariance is inverted anew, its inverse not updated: nothing
    drifts. Where there are many features this is done after every 1 + n_features // 8 rows, and a
    row costs the square of their number.

    `contributions` are each feature's own score: the score is their maximum, not their sum. Of two
    sensors that contradict each other both have it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> load = rng.normal(size=(2_000, 1))
    >>> stream = load + 0.1 * rng.normal(size=(2_000, 3))  # three sensors that agree
    >>> stream[1_500] = [1.0, -1.0, 1.0]  # usual values, each by itself
    >>> detector = OnlineMahalanobis()
    >>> int(detector.process(stream).argmax())
    1500
    >>> int(detector.contributions(np.array([[1.0, -1.0, 1.0]])).argmax())
    1
    """

    _head = HEAD
    _learned = ("outnumbered", "oldest")
    _kernels = {"score_one": _score_one, "process_one": _process_one,
                "process_rows": _process_rows}

    def __init__(self, *, window: int = 1_000, warm_up: int = 50, gate: float | None = None,
                 release: int | None = 50, min_scale: float = 1e-12, **base: Any):
        super().__init__(window=window, **base)
        self.warm_up = warm_up
        self.gate = gate
        self.release = release
        self.min_scale = min_scale

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("window", "warm_up", least=2, of="rows")
        self._check_whole("release", least=2, of="rows", optional=True)
        self._check_number("gate", above=0, most=np.inf, optional=True)
        self._check_number("min_scale", above=0)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        row = 4.5e-9 * self.n_features_in_**2 + 3e-7
        return n * row, row

    def _reset(self, n_features: int) -> None:
        release = 0 if self.gate is None else int(self.release or 0)
        size = cloud_size(n_features, max(int(self.warm_up), release))
        self.state_ = np.zeros(_HEAD_SIZE + size)
        head = named(self.state_, 0, HEAD)
        head["n_features"], head["window"], head["warm_up"] = n_features, self.window, self.warm_up
        head["gate"] = np.inf if self.gate is None else self.gate
        head["release"], head["min_scale"] = release, self.min_scale
        start_cloud(self.state_, _HEAD_SIZE, float(self.window), self.min_scale)

    def _could_be(self, found: Values, fresh: Values) -> bool:
        head = named(found, 0, HEAD)
        return bool(is_count(head["oldest"]) and head["oldest"] < max(head["release"], 1)
                    and cloud_could_be(found, fresh, _HEAD_SIZE, self.warm_up))

    def _contributions(self, X: Values) -> Values:
        return _score_features(X, self.state_)

    def usual(self) -> tuple[Values, ...]:
        d, none = self.n_features_in_, np.zeros(self.n_features_in_)
        if not named(self.state_, _HEAD_SIZE, CLOUD)["n"]:
            return np.full(d, np.nan), np.full(d, np.nan), none
        mean, scale = self.state_[_HEAD_SIZE + _CLOUD_SIZE:][:2 * d].reshape(2, d)
        return mean.copy(), scale.copy(), none
