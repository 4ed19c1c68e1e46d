"""Every metric at once, each beside the value that a random score gets and an interval."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import column, generator, number, whole
from adlib.metrics.event import DAY, Match, event_rates, interval_seconds, match
from adlib.metrics.labels import Flags, Floats, Mask, both_classes, labels_and_scores, runs
from adlib.metrics.point import (
    area_pr,
    area_roc,
    counted,
    descending,
    highest_f1,
    rates,
    ratio,
    telling,
)
from adlib.metrics.record import METRICS, Metric, chosen, is_named
from adlib.metrics.volume import ranked, volumes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["report"]

Values = dict[str, float]
USUAL = ("vus_pr", "vus_roc", "average_precision", "roc_auc", "f1@oracle", "precision", "recall",
         "f1", "false_positive_rate", "alarms_per_day", "event_recall", "event_precision",
         "event_f1", "detection_delay")  # from one sort and one matching, for all replicates


def report(y_true: ArrayLike, score: ArrayLike, *, threshold: float | None = None,
           threshold_source: str | None = None, time: ArrayLike | None = None, interval: Any = None,
           judged: Mask = None, kind: ArrayLike | None = None, block: int | None = None,
           window: int | None = None, n_random: int = 100, n_bootstrap: int = 500,
           random_state: Any = 0, metrics: Any = None) -> "pd.DataFrame":
    """Table of metrics, each value next to its random-score value and a 95 % interval.

    Threshold-free metrics lead: VUS-PR for a series, average precision for a table. The name of a
    thresholded one says where its threshold came from: ``f1@calibration`` was fixed beforehand,
    ``f1@oracle`` knew the test labels.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    threshold : float, optional
        A row is flagged where ``score > threshold``; -inf flags all finite scores, inf none.
        Without it only threshold-free metrics are reported.
    threshold_source : str, optional
        Where the threshold came from, such as "calibration"; required with `threshold`. Not
        "oracle", which names the best threshold.
    time : array_like of datetime64, shape (n_samples,), optional
        Time of each row, for alarms per day.
    interval : float, timedelta or str, optional
        Seconds between rows; default: the median step of `time`, if that is given.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; their scores may be NaN.
    kind : array_like of str, shape (n_samples,), optional
        Kind of each anomaly; adds a ``recall[kind]`` row for each.
    block : int, optional
        Rows resampled together by the bootstrap. More than 1 says that the rows are a series,
        and VUS and event metrics are reported too. Default: 1 without `time` and `interval`; with
        one of them the longest event or the square root of the length, whichever is more.
    window : int, optional
        Largest width of VUS in rows, see `vus`. Default: the median length of the events, at most
        100; a width far beyond it lets a random score do well.
    n_random : int
        Shuffles of the score behind the random value. A shuffle keeps the number of flagged
        rows and scatters them, so `random` is chance at the same rate of flagged rows.
    n_bootstrap : int
        Resamples behind the interval; 0 leaves it out.
    random_state : int, numpy.random.Generator or None
    metrics : str, Metric or list of these, optional
        Names (`all_metrics`), with or without what follows the ``@``, and `Metric` records of your
        own. Default: the usual ones, of which VUS and event metrics need a series.

    Returns
    -------
    pandas.DataFrame
        Columns ``metric, value, random, above_chance, low, high``. ``above_chance`` is (value -
        random) / (1 - random), 0 for chance and 1 for perfect, where 1 is the best (else see
        `Metric`: which end is best and what chance gets stand there, not in the name). ``low`` and
        ``high`` are the 2.5 and 97.5 % points of a circular block bootstrap of the judged rows
        (Politis and Romano, 1992) with the score, the threshold and the matching of events kept:
        they hold the luck of the test rows, not that of training. Few events make them too
        narrow.
        ``detection_delay`` is the median over found events, in rows.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a judged score is NaN, a count is out of range, or
        `threshold` comes without a `threshold_source` of its own.

    Examples
    --------
    >>> table = report([0, 0, 1, 1], [1, 4, 3, 8], threshold=5, threshold_source="calibration")
    >>> table.set_index("metric").value.round(2).head(4).to_dict()
    {'average_precision': 0.83, 'roc_auc': 0.75, 'f1@oracle': 0.8, 'precision@calibration': 1.0}
    """
    y, score, judged = labels_and_scores(y_true, score, judged)
    _check_threshold(threshold, threshold_source)
    n_random = whole(n_random, "n_random", 0)
    n_bootstrap = whole(n_bootstrap, "n_bootstrap", 0)
    names, records = (None, []) if metrics is None else chosen(metrics)
    seconds = None
    if time is not None or interval is not None:
        seconds = interval_seconds(interval, time if interval is None else None, y.size)
    block = _block(block, y, judged, series=seconds is not None)
    both_classes(y[judged], "most of the report")  # one warning for all of it
    window = _usual_width(y) if window is None else whole(window, "window", 0)
    rows = _Rows(y, score, judged, threshold, threshold_source, seconds, block > 1, kind, window)
    facts = {"time": time, "interval": seconds, "kind": kind, "window": window, "judged": judged}
    own = _Own(y, score, threshold, threshold_source, facts,
               [record for record in records if record.name not in USUAL])
    rng = generator(random_state)
    (value,) = rows.batch(weights=np.ones((1, int(judged.sum()))))
    value |= own.values()
    known = {*value, *METRICS, *(record.name for record in records)}
    if odd := [name for name in names or [] if not any(is_named(row, [name]) for row in known)]:
        raise ValueError(f"unknown metrics {odd}; there are {sorted(known)}")
    shuffled = _shuffled(rows, own, n_random, rng)
    resampled = _resampled(rows, own, block, n_bootstrap, rng)
    return _table(value, rows.records | own.records, shuffled, resampled, names)


def _check_threshold(threshold: float | None, source: str | None) -> None:
    if threshold is None:
        return
    number(threshold, "threshold", most=np.inf)
    if not isinstance(source, str) or source in ("", "oracle"):
        raise ValueError("threshold must come with threshold_source (such as 'calibration', not "
                         f"'oracle'), got {source!r}")


def _usual_width(y: Flags) -> int:
    starts, stops = runs(y)
    return min(100, int(np.median(stops - starts))) if starts.size else 0


def _table(value: Values, records: dict[str, Metric], shuffled: list[Values],
           resampled: list[Values], names: list[str] | None) -> "pd.DataFrame":
    """A line per metric that was asked for."""
    import pandas as pd

    lines = []
    for name, found in value.items():
        if names is not None and not is_named(name, names):
            continue
        record = records[name]
        random = record.chance if isinstance(record.chance, (int, float)) else _summary(
            shuffled, name, np.mean)
        lines.append({"metric": name, "value": found, "random": random,
                      "above_chance": record.above_chance(found, random),
                      "low": _summary(resampled, name, lambda v: np.percentile(v, 2.5)),
                      "high": _summary(resampled, name, lambda v: np.percentile(v, 97.5))})
    columns = ["metric", "value", "random", "above_chance", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


class _Rows:
    """The judged rows, sorted and matched once, for values over many weights or shuffles."""

    def __init__(self, y: Flags, score: Floats, judged: Flags,
                 threshold: float | None, source: str | None, seconds: float | None, series: bool,
                 kind: ArrayLike | None, window: int):
        self.y_all, self.judged, self.y = y, judged, y[judged]
        self.window, self.bins = window, ranked(score, judged, 250) if series else None
        self.order, self.last = descending(score[judged])
        self.rank = np.empty_like(self.order)
        self.rank[self.order] = np.arange(self.order.size)
        self.anomalies, self.once = np.flatnonzero(self.y), np.ones(self.y.size)
        self.at = np.sort(self.rank[self.anomalies])
        self.ends = telling(self.at, self.last)
        self.threshold, self.source = threshold, source
        self.seconds, self.series = seconds, series
        self.flags = score[judged] > (np.inf if threshold is None else threshold)
        self.of_kind = {}
        if kind is not None:
            kind = np.where(self.y, column(kind, "kind", y.size)[judged].astype(str), "")
            self.of_kind = {name: np.flatnonzero(kind == name)
                            for name in np.unique(kind[self.anomalies]) if name}
        self.matched = self._match(self.flags)
        self.records = {row_name(METRICS[name], source): METRICS[name] for name in USUAL}
        self.records |= {f"recall[{name}]@{source}": METRICS["recall"] for name in self.of_kind}

    def _match(self, flags: Flags) -> Match:
        pred = np.zeros(self.y_all.size, dtype=bool)
        pred[self.judged] = flags
        return match(self.y_all, pred, self.judged)

    def batch(self, weights: Any = None, permutations: Any = None) -> list[Values]:
        """Metrics with row i counted ``weights[k, i]`` times, or the score of another row."""
        if permutations is None:
            found = [self._values(weight, None) for weight in weights]
        else:
            found = [self._values(self.once, p) for p in permutations]
        if self.bins is None:
            return found
        if not self.y.any() or self.y.all():
            return [{"vus_pr": np.nan, "vus_roc": np.nan} | values for values in found]
        first, count = self.bins
        ranks = np.ravel(first)[self.judged]
        first = np.tile(first, (len(found), 1))
        if permutations is not None:
            first[:, self.judged] = ranks[permutations]
        else:
            spread = np.zeros(first.shape)
            spread[:, self.judged] = weights
            weights = spread
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without anomalies: nan
            roc, pr = volumes(self.y_all, first, count, self.window, weights)
        return [{"vus_pr": p, "vus_roc": r} | values
                for values, r, p in zip(found, roc, pr, strict=True)]

    def _values(self, weight: Floats, permutation: NDArray | None) -> Values:
        y, matched, flags = self.y, self.matched, self.flags
        if permutation is None:
            tp = np.cumsum(np.append(0.0, weight[self.order[self.at]]))
            tp = tp[np.searchsorted(self.at, self.ends, "right")]
            fp = np.cumsum(weight[self.order])[self.ends] - tp
        else:
            flags = flags[permutation]
            tp, fp = counted(np.sort(self.rank[permutation[self.anomalies]]), self.last)
            matched = self._match(flags)
        out = {"average_precision": area_pr(tp, fp), "roc_auc": area_roc(tp, fp),
               "f1@oracle": highest_f1(tp, fp)}
        alarms = {}
        if self.threshold is not None:
            at = f"@{self.source}"
            (tn, fp_), (fn, tp_) = np.bincount(2 * y + flags, weight, 4).reshape(2, 2)
            points = rates(tp_, fp_, fn, tn)
            alarms[f"false_positive_rate{at}"] = points.pop("false_positive_rate")
            if self.seconds:
                n_alarms = weight[matched.alarm_row].sum()
                alarms[f"alarms_per_day{at}"] = ratio(n_alarms * DAY, weight.sum() * self.seconds)
            out |= {name + at: v for name, v in points.items()} | alarms
            if self.series:
                out |= {name + at: v for name, v in self._events(matched, weight, alarms).items()}
            for name, of_kind in self.of_kind.items():
                times = weight[of_kind]
                out[f"recall[{name}]{at}"] = ratio(float(times @ flags[of_kind]), times.sum())
        if tp[-1] == 0 or fp[-1] == 0:  # no anomaly, or only anomalies
            out = {name: alarms.get(name, np.nan) for name in out}
        return out

    def _events(self, matched: Match, weight: Floats, alarms: Values) -> Values:
        found = np.isfinite(matched.delay)
        times = weight[matched.event_row]
        false_alarms = weight[matched.alarm_row[matched.false_alarm]].sum()
        rates_ = event_rates(times[found].sum(), times.sum(), false_alarms,
                             alarms[f"false_positive_rate@{self.source}"])
        delays = np.repeat(matched.delay[found], times[found].astype(int))
        return rates_ | {"detection_delay": float(np.median(delays)) if delays.size else np.nan}


class _Own:
    """Metrics beside the usual ones, each by its own function."""

    def __init__(self, y: Flags, score: Floats, threshold: float | None,
                 source: str | None, facts: dict[str, Any], metrics: list[Metric]):
        given = {name: fact if np.ndim(fact) == 0 else np.asarray(fact)
                 for name, fact in facts.items() if fact is not None}
        self.y, self.score, self.given = y, score, given
        self.threshold = np.inf if threshold is None else threshold
        self.records = {row_name(m, source): m for m in metrics if not m.lacks(given)
                        and (m.needs == "score" or threshold is not None)}
        self.at = np.flatnonzero(given["judged"])

    def values(self, y: Flags | None = None, score: Floats | None = None, **given: Any) -> Values:
        y, score = self.y if y is None else y, self.score if score is None else score
        return {name: metric(y, score if metric.needs == "score" else score > self.threshold,
                             **(self.given | given)) for name, metric in self.records.items()}

    def shuffled(self, order: NDArray[np.intp]) -> Values:
        """With the scores of the judged rows in another order."""
        if not self.records:
            return {}
        score = self.score.copy()
        score[self.at] = score[self.at[order]]
        with warnings.catch_warnings(action="ignore"):
            return self.values(score=score)

    def resampled(self, block: int, starts: NDArray[np.int64]) -> Values:
        """Of judged rows drawn in blocks, as if they had come in that order."""
        if not self.records:
            return {}
        rows = (starts[:, None] + np.arange(block)).ravel()[:self.at.size]
        at = self.at[rows % self.at.size]
        given = {"judged": np.ones(at.size, dtype=bool)}
        if "time" in self.given:
            given["time"] = self.given["time"][self.at]  # which runs on
        if "kind" in self.given:
            given["kind"] = self.given["kind"][at]
        with warnings.catch_warnings(action="ignore"):  # a resample may lack an event
            return self.values(self.y[at], self.score[at], **given)


def row_name(metric: Metric, source: str | None) -> str:
    """What a table calls a metric: with the source of the threshold, where it hangs on one."""
    return metric.name if metric.needs == "score" else f"{metric.name}@{source}"


def _shuffled(rows: _Rows, own: _Own, n_random: int, rng: np.random.Generator) -> list[Values]:
    """All metrics of shuffled scores."""
    orders = (rng.permutation(rows.y.size) for _ in range(n_random))
    return [usual | own.shuffled(order) for some in _chunks(orders, rows.y.size)
            for usual, order in zip(rows.batch(permutations=some), some, strict=True)]


def _resampled(rows: _Rows, own: _Own, block: int, n_bootstrap: int, rng: np.random.Generator
               ) -> list[Values]:
    """All metrics of judged rows that are drawn in blocks."""
    n = rows.y.size
    draws = (rng.integers(n, size=-(-n // block)) for _ in range(n_bootstrap))
    found: list[Values] = []
    for some in _chunks(draws, n):
        weights = np.stack([_counts(n, block, starts) for starts in some])
        found += [usual | own.resampled(block, starts) for usual, starts in zip(
            rows.batch(weights=weights), some, strict=True)]
    return found


def _block(block: int | None, y: Flags, judged: Flags, series: bool) -> int:
    n = int(judged.sum())
    if block is None:
        if not series:
            return 1
        starts, stops = runs(y)
        longest = int((stops - starts).max(initial=1))
        return max(2, min(max(longest, round(n**0.5)), n // 2))
    block = whole(block, "block", 1)
    if block > n:
        raise ValueError(f"block must be at most the {n} judged rows, got {block}")
    return block


def _chunks(arrays: Iterable[NDArray], n: int) -> Iterator[NDArray]:
    """Stack as many replicates as fit into some 16 MB."""
    arrays = iter(arrays)
    while some := list(islice(arrays, max(1, 2_000_000 // n))):
        yield np.stack(some)


def _counts(n: int, block: int, starts: NDArray[np.int64]) -> Floats:
    """How often each of `n` rows is drawn by blocks that wrap around the end."""
    length = np.full(starts.size, block)
    length[-1] -= length.sum() - n
    steps = np.bincount(starts, minlength=n + block)
    steps -= np.bincount(starts + length, minlength=n + block)
    covered = np.cumsum(steps)
    covered[:block] += covered[n:]
    return covered[:n].astype(np.float64)


def _summary(replicates: list[Values], name: str, summary: Callable[[Floats], Any]) -> float:
    """`summary` of a metric over the replicates in which it is defined."""
    drawn = np.array([replicate[name] for replicate in replicates])
    drawn = drawn[np.isfinite(drawn)]
    return float(summary(drawn)) if drawn.size else np.nan
