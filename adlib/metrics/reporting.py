"""Every metric at once, each beside the value that a random score gets and an interval."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import column, generator, number, switch, whole
from adlib.dependence import looks_serial, memory_rows
from adlib.deprecation import renamed
from adlib.metrics.blocks import interval as limits
from adlib.metrics.blocks import median_interval, partition, share_interval, written
from adlib.metrics.chance import p_chance
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


@renamed(n_bootstrap="intervals", block="memory")
def report(y_true: ArrayLike, score: ArrayLike, *, threshold: float | None = None,
           threshold_source: str | None = None, time: ArrayLike | None = None, interval: Any = None,
           series: bool | None = None, judged: Mask = None, kind: ArrayLike | None = None,
           memory: int = 0, window: int | None = None, n_random: int = 100,
           intervals: bool = True, random_state: Any = 0, metrics: Any = None) -> "pd.DataFrame":
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
    series : bool, optional
        Whether rows follow each other in time: VUS and event metrics are then reported too, chance
        is the score moved in time, and the blocks behind intervals are contiguous. Default: with
        `time`, `interval` or a `memory` above 1; else looked for in labels that come in runs and in
        a score that is autocorrelated (`adlib.dependence.looks_serial`).
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; their scores may be NaN.
    kind : array_like of str, shape (n_samples,), optional
        Kind of each anomaly; adds a ``recall[kind]`` row for each.
    memory : int
        Rows after which the past is forgotten, where that is known: a look-back, a smoothing. The
        blocks of a series are cut about twice as long.
    window : int, optional
        Largest width of VUS in rows, see `vus`. Default: the median length of the events, at most
        100; a width far beyond it lets a random score do well.
    n_random : int
        Scores that know nothing behind the random value: of a series the score moved in time, as
        smooth as it is, else the score in random order. Both keep the number of flagged rows.
    intervals : bool
        False leaves intervals and blocks out.
    random_state : int, numpy.random.Generator or None
    metrics : str, Metric or list of these, optional
        Names (`all_metrics`), with or without what follows the ``@``, and `Metric` records of your
        own. Default: the usual ones, of which VUS and event metrics need a series.

    Returns
    -------
    pandas.DataFrame
        Columns ``metric, value, random, above_chance, low, high, p_chance, blocks``.
        ``above_chance`` is (value - random) / (1 - random), 0 for chance and 1 for perfect, where 1
        is the best (else see `Metric`: which end is best and what chance gets stand there, not in
        the name). ``low`` and ``high`` are 95 % limits from the metric without each of up to 32
        blocks of judged rows (`adlib.metrics.blocks`), with the score, the threshold and the
        matching of events kept: they hold the luck of the test rows, not that of training. With one
        event there are none.
        The headline metric (VUS-PR of a series, else average precision) alone has ``p_chance``, how
        often scores that know nothing do as well (`adlib.metrics.chance`), and ``blocks``, its
        values without each block as text, from which `adlib.metrics.blocks.difference` compares
        two detectors on the same rows.
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
    memory = whole(memory, "memory", 0)
    intervals = switch(intervals, "intervals")
    names, records = (None, []) if metrics is None else chosen(metrics)
    seconds = _seconds(interval, time, y.size)
    if series is None:
        told = seconds is not None or memory > 1
        series = told or looks_serial(y[judged], score[judged])
    both_classes(y[judged], "most of the report")  # one warning for all of it
    window = _usual_width(y) if window is None else whole(window, "window", 0)
    rows = _Rows(y, score, judged, threshold, threshold_source, seconds, series, kind, window)
    facts = {"time": time, "interval": seconds, "kind": kind, "window": window, "judged": judged}
    own = _Own(y, score, threshold, threshold_source, facts,
               [record for record in records if record.name not in USUAL])
    value = rows.values() | own.values()
    _check_known(names, {*value, *METRICS, *(record.name for record in records)})
    shuffled = _shuffled(rows, own, n_random, generator(random_state))
    without = _without(rows, own, partition(y, judged, series, memory)) if intervals else []
    table = _table(value, rows.records | own.records, shuffled, names)
    table[["low", "high"]] = [_limits(name, value, shuffled, without, rows)
                              for name in table.metric]
    headline = "vus_pr" if series else "average_precision"
    leads = table.metric == headline
    p = p_chance(y, score, judged, series, window) if leads.any() else np.nan
    table["p_chance"] = np.where(leads, p, np.nan)
    table["blocks"] = np.where(leads, written([values[headline] for values in without]), "")
    return table


def _seconds(interval: Any, time: ArrayLike | None, n: int) -> float | None:
    """Between two rows, where that is known."""
    if time is None and interval is None:
        return None
    return interval_seconds(interval, time if interval is None else None, n)


def _check_threshold(threshold: float | None, source: str | None) -> None:
    if threshold is None:
        return
    number(threshold, "threshold", most=np.inf)
    if not isinstance(source, str) or source in ("", "oracle"):
        raise ValueError("threshold must come with threshold_source (such as 'calibration', not "
                         f"'oracle'), got {source!r}")


def _check_known(names: list[str] | None, known: set[str]) -> None:
    if odd := [name for name in names or [] if not any(is_named(row, [name]) for row in known)]:
        raise ValueError(f"unknown metrics {odd}; there are {sorted(known)}")


def _usual_width(y: Flags) -> int:
    starts, stops = runs(y)
    return min(100, int(np.median(stops - starts))) if starts.size else 0


def _table(value: Values, records: dict[str, Metric], shuffled: list[Values],
           names: list[str] | None) -> "pd.DataFrame":
    """A line per metric that was asked for."""
    import pandas as pd

    lines = []
    for name, found in value.items():
        if names is not None and not is_named(name, names):
            continue
        record = records[name]
        random = record.chance
        if not isinstance(random, (int, float)):
            drawn = _finite(shuffled, name)
            random = float(drawn.mean()) if drawn.size else np.nan
        lines.append((name, found, random, record.above_chance(found, random)))
    return pd.DataFrame(lines, columns=["metric", "value", "random", "above_chance"])


def _limits(name: str, value: Values, shuffled: list[Values], without: list[Values],
            rows: "_Rows") -> tuple[float, float]:
    """Of one metric, on the scale of all the values that were seen of it."""
    if name == rows.delay_name:
        return median_interval(rows.matched.delay[np.isfinite(rows.matched.delay)])
    left = np.array([values[name] for values in without])
    seen = np.concatenate([[value[name]], left, _finite(shuffled, name)])
    scale = "any" if seen.min() < 0 else "positive" if seen.max() > 1 else "unit"
    quiet = "false_positive" in name
    trials = rows.quiet if quiet else rows.trials
    low, high = limits(value[name], left, trials=trials, scale=scale)
    if not quiet or np.isnan(low):
        return low, high
    exact = share_interval(value[name], rows.quiet)  # excursions of a smooth score are rare
    return min(low, exact[0]), max(high, exact[1])


class _Rows:
    """The judged rows, sorted and matched once, for values over many parts or shuffles."""

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
        self.delay_name = f"detection_delay@{source}"
        normal = score[judged & ~y]
        self.quiet = max(1, normal.size // (memory_rows(normal) if series else 1))
        self.trials = self.matched.event_row.size if series else self.anomalies.size

    def _match(self, flags: Flags) -> Match:
        pred = np.zeros(self.y_all.size, dtype=bool)
        pred[self.judged] = flags
        return match(self.y_all, pred, self.judged)

    def values(self) -> Values:
        """On all rows."""
        return self._with_volumes([self._values(self.once, None)])[0]

    def without(self, parts: NDArray[np.int64]) -> list[Values]:
        """On all rows but those of each part."""
        own = parts[self.judged]
        found = [self._values((own != part) * 1.0, None) for part in range(parts.max() + 1)]
        return self._with_volumes(found, parts=parts)

    def shuffled(self, orders: NDArray) -> list[Values]:
        """With the score of another row."""
        found = [self._values(self.once, order) for order in orders]
        return self._with_volumes(found, orders)

    def _with_volumes(self, found: list[Values], orders: Any = None, parts: Any = None
                      ) -> list[Values]:
        if self.bins is None:
            return found
        if not self.y.any() or self.y.all():
            return [{"vus_pr": np.nan, "vus_roc": np.nan} | values for values in found]
        first, count = self.bins
        first = np.tile(first, (1 if orders is None else len(orders), 1))
        if orders is not None:
            first[:, self.judged] = first[0, self.judged][orders]
        with np.errstate(invalid="ignore", divide="ignore"):  # the only event: nan
            roc, pr = volumes(self.y_all, first, count, self.window, parts)
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

    def without(self, parts: NDArray[np.int64]) -> list[Values]:
        """Of all rows but those of each part."""
        judged = self.given["judged"]
        with warnings.catch_warnings(action="ignore"):  # a part may hold the only event
            return [self.values(judged=judged & (parts != part))
                    for part in range(parts.max() + 1)]


def row_name(metric: Metric, source: str | None) -> str:
    """What a table calls a metric: with the source of the threshold, where it hangs on one."""
    return metric.name if metric.needs == "score" else f"{metric.name}@{source}"


def _shuffled(rows: _Rows, own: _Own, n_random: int, rng: np.random.Generator) -> list[Values]:
    """All metrics of scores that know nothing."""
    n = rows.y.size
    if rows.series:  # a shift from each of as many spans of time
        shifts = (np.arange(n_random) + rng.random(n_random)) / max(n_random, 1) * n
        orders = ((np.arange(n) + shift) % n for shift in shifts.astype(np.int64))
    else:
        orders = (rng.permutation(n) for _ in range(n_random))
    return [usual | own.shuffled(order) for some in _chunks(orders, n)
            for usual, order in zip(rows.shuffled(some), some, strict=True)]


def _without(rows: _Rows, own: _Own, parts: NDArray[np.int64]) -> list[Values]:
    """All metrics without each part of the rows."""
    return [usual | others for usual, others in zip(
        rows.without(parts), own.without(parts), strict=True)]


def _chunks(arrays: Iterable[NDArray], n: int) -> Iterator[NDArray]:
    """Stack as many replicates as fit into some 16 MB."""
    arrays = iter(arrays)
    while some := list(islice(arrays, max(1, 2_000_000 // n))):
        yield np.stack(some)


def _finite(replicates: list[Values], name: str) -> Floats:
    """A metric in the replicates in which it is defined."""
    drawn = np.array([replicate[name] for replicate in replicates])
    return drawn[np.isfinite(drawn)]
