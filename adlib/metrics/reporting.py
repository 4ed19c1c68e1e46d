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
FEW = 9  # widths of VUS behind a mean over chance, which varies more than they do
COLUMNS = ["metric", "value", "random", "above_chance", "low", "high", "p_chance", "blocks"]
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
    series = _is_series(series, seconds is not None or memory > 1, y[judged], score[judged])
    both_classes(y[judged], "most of the report")  # one warning for all of it
    window = _usual_width(y) if window is None else whole(window, "window", 0)
    rows = _Rows(y, score, judged, threshold, threshold_source, seconds, series, kind, window)
    facts = {"time": time, "interval": seconds, "kind": kind, "window": window, "judged": judged}
    own = _Own(y, score, threshold, threshold_source, facts,
               [record for record in records if record.name not in USUAL])
    parts = partition(y, judged, series, memory) + 1 if intervals else None
    value, *without = _without(rows, own, parts)
    _check_known(names, {*value, *METRICS, *(record.name for record in records)})
    shuffled = _shuffled(rows, own, n_random, generator(random_state))
    headline, kinds = "vus_pr" if series else "average_precision", rows.records | own.records
    lines = []
    for name in (name for name in value if names is None or is_named(name, names)):
        lead = np.nan, ""
        if name == headline:
            lead = (p_chance(y, score, judged, series, window),
                    written([values[name] for values in without]))
        drawn = _finite(shuffled, name)
        low, high = _limits(name, value, drawn, without, rows)
        lines.append((name, *_beside_chance(value[name], kinds[name], drawn), low, high, *lead))
    return _table(lines)


def _is_series(series: Any, has_time: bool, y: Flags, score: Floats) -> bool:
    return has_time or looks_serial(y, score) if series is None else switch(series, "series")


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


def _table(lines: list[tuple]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(lines, columns=COLUMNS)


def _beside_chance(value: float, record: Metric, drawn: Floats) -> tuple[float, float, float]:
    """A value, what knows nothing gets, and the share of the way from there to perfect."""
    random = record.chance
    if not isinstance(random, (int, float)):
        random = float(drawn.mean()) if drawn.size else np.nan
    return value, random, record.above_chance(value, random)


def _limits(name: str, value: Values, drawn: Floats, without: list[Values], rows: "_Rows"
            ) -> tuple[float, float]:
    """Of one metric, on the scale of all the values that were seen of it."""
    if name == rows.delay_name:
        return median_interval(rows.matched.delay[np.isfinite(rows.matched.delay)])
    left = np.array([values[name] for values in without])
    seen = [value[name], *left, *drawn]
    scale = "any" if min(seen) < 0 else "positive" if max(seen) > 1 else "unit"
    if "false_positive" not in name:
        return limits(value[name], left, trials=rows.trials, scale=scale)
    low, high = limits(value[name], left, trials=rows.quiet)
    exact = share_interval(value[name], rows.quiet)  # excursions of a smooth score are rare
    return np.minimum(low, exact[0]), np.maximum(high, exact[1])


class _Rows:
    """The judged rows, sorted and matched once, for values without parts of them or by chance."""

    def __init__(self, y: Flags, score: Floats, judged: Flags,
                 threshold: float | None, source: str | None, seconds: float | None, series: bool,
                 kind: ArrayLike | None, window: int):
        self.y_all, self.judged, self.y = y, judged, y[judged]
        self.window = window
        self.bins: Any = ranked(score, judged, 250) if series else None
        order, self.last = descending(score[judged])
        self.rank = np.empty_like(order)
        self.rank[order] = np.arange(order.size)
        self.anomalies = np.flatnonzero(self.y)
        self.source = None if threshold is None else source
        self.seconds, self.series = seconds, series
        self.flags = score[judged] > (np.inf if threshold is None else threshold)
        self.of_kind = {}
        if kind is not None:
            kind = np.where(self.y, column(kind, "kind", y.size)[judged].astype(str), "")
            self.of_kind = {name: np.flatnonzero(kind == name)
                            for name in np.unique(kind[self.anomalies]) if name}
        self.records = {row_name(METRICS[name], source): METRICS[name] for name in USUAL}
        self.records |= {f"recall[{name}]@{source}": METRICS["recall"] for name in self.of_kind}
        self.matched = self._match(self.flags[None])
        self.delay_name = f"detection_delay@{source}"
        normal = score[judged & ~y]
        self.quiet = max(1, normal.size // (memory_rows(normal) if series else 1))
        self.trials = self.matched.event_row.size if series else self.anomalies.size

    def _match(self, flags: Flags) -> Match:
        """Of one line of flags after the other."""
        pred = np.zeros((len(flags), self.y_all.size), dtype=bool)
        pred[:, self.judged] = flags
        line = np.repeat(np.arange(len(flags)), self.y_all.size)
        y, judged = np.tile([self.y_all, self.judged], len(flags))
        return match(y, pred.ravel(), judged, line)

    def without(self, parts: NDArray[np.int64] | None) -> list[Values]:
        """On all rows, then on those of no part 1, 2 and so on."""
        own = np.zeros(self.y.size, dtype=int) if parts is None else parts[self.judged]
        m = 1 if parts is None else int(parts.max()) + 1

        def left(rows: Any, of: Any = 0, size: int = 1) -> NDArray:
            """Rows by a number they have, without those of each part."""
            counted = np.bincount(own[rows] * size + of, minlength=m * size).reshape(m, size)
            return counted if parts is None else counted.sum(axis=0) - counted

        ends = telling(np.sort(self.rank[self.anomalies]), self.last)
        group = np.searchsorted(ends, self.rank)
        tp = left(self.anomalies, group[self.anomalies], ends.size).cumsum(axis=1)
        fp = left(slice(None), group, ends.size).cumsum(axis=1) - tp
        found, delay = self.matched, np.full(m, np.nan)
        hit = np.isfinite(found.delay)
        delay[0] = np.median(found.delay[hit]) if hit.any() else np.nan
        events = [left(rows)[:, 0] for rows in (
            found.event_row[hit], found.event_row, found.alarm_row[found.false_alarm],
            found.alarm_row)]
        kinds = {name: (left(rows[self.flags[rows]])[:, 0], left(rows)[:, 0])
                 for name, rows in self.of_kind.items()}
        points = left(slice(None), 2 * self.y + self.flags, 4)
        return self._lines(tp, fp, points, [*events, delay], kinds, parts=parts)

    def shuffled(self, orders: NDArray) -> list[Values]:
        """With the score of another row."""
        m = len(orders)
        line = np.arange(m)[:, None]
        group = np.searchsorted(self.last, self.rank[orders[:, self.anomalies]])
        hits = np.bincount((line * self.last.size + group).ravel(), minlength=m * self.last.size)
        tp = hits.reshape(m, -1).cumsum(axis=1)
        fp = self.last + 1 - tp
        if self.source is None:
            return self._lines(tp, fp, orders=orders)
        flags = self.flags[orders]
        flagged, true = flags.sum(axis=1), flags[:, self.anomalies].sum(axis=1)
        points = np.stack([self.y.size - self.anomalies.size - flagged + true, flagged - true,
                           self.anomalies.size - true, true], axis=1)
        kinds = {name: (flags[:, rows].sum(axis=1), np.full(m, rows.size))
                 for name, rows in self.of_kind.items()}
        return self._lines(tp, fp, points, self._events(flags), kinds, orders=orders)

    def _events(self, flags: Flags) -> list[NDArray]:
        """Found events, events, false alarms, alarms and the median delay of each line of flags."""
        m = len(flags)
        if not self.series:
            return [np.zeros(m)] * 5
        found = self._match(flags)
        hit = np.isfinite(found.delay)
        of = found.event_row[hit] // self.y.size
        delays = found.delay[hit]
        median = [np.median(own) if (own := delays[of == i]).size else np.nan for i in range(m)]
        return [np.bincount(rows // self.y.size, minlength=m) for rows in (
            found.event_row[hit], found.event_row, found.alarm_row[found.false_alarm],
            found.alarm_row)] + [np.array(median)]

    def _lines(self, tp: Floats, fp: Floats, points: Any = None, events: Any = None,
               kinds: Any = None, orders: Any = None, parts: Any = None) -> list[Values]:
        """Metrics by curve, counts and events, a line of each."""
        columns = {"average_precision": area_pr(tp, fp), "roc_auc": area_roc(tp, fp),
                   "f1@oracle": highest_f1(tp, fp)}
        if self.bins is not None:
            columns = self._volumes(len(tp), orders, parts) | columns
        one_class = (tp[:, -1] == 0) | (fp[:, -1] == 0)  # no anomaly, or only anomalies
        out = []
        for i, nothing in enumerate(one_class.tolist()):
            values = {name: float(found[i]) for name, found in columns.items()}
            alarms: Values = {}
            if self.source is not None:
                more, alarms = self._at_threshold(points[i], [event[i] for event in events])
                values |= more | {f"recall[{name}]@{self.source}": ratio(hit[i], rows[i])
                                  for name, (hit, rows) in kinds.items()}
            out.append({name: alarms.get(name, np.nan) for name in values} if nothing else values)
        return out

    def _at_threshold(self, points: Any, events: list[Any]) -> tuple[Values, Values]:
        """What hangs on flags, and what of it a recording without a fault has too."""
        tn, fp, fn, tp = points.tolist()
        n_found, n_events, n_false, n_alarms, delay = events
        values = rates(tp, fp, fn, tn)
        alarms = {"false_positive_rate": values.pop("false_positive_rate")}
        values |= alarms
        if self.seconds:
            alarms["alarms_per_day"] = ratio(n_alarms * DAY, (tp + fp + fn + tn) * self.seconds)
            values |= alarms
        if self.series:
            values |= event_rates(n_found, n_events, n_false, alarms["false_positive_rate"])
            values["detection_delay"] = float(delay)
        return ({f"{name}@{self.source}": value for name, value in values.items()},
                {f"{name}@{self.source}": value for name, value in alarms.items()})

    def _volumes(self, m: int, orders: Any, parts: Any) -> dict[str, Floats]:
        if not self.y.any() or self.y.all():
            return {"vus_pr": np.full(m, np.nan), "vus_roc": np.full(m, np.nan)}
        first, count = self.bins
        first = np.tile(first, (1 if orders is None else m, 1))
        few = None
        if orders is not None:
            first[:, self.judged] = first[0, self.judged][orders]
            few = FEW
        with np.errstate(invalid="ignore", divide="ignore"):  # the only event: nan
            roc, pr = volumes(self.y_all, first, count, self.window, parts, few)
        return {"vus_pr": pr, "vus_roc": roc}


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

    def without(self, parts: NDArray[np.int64] | None) -> list[Values]:
        """On all rows, then on those of no part 1, 2 and so on."""
        found, judged = [self.values()], self.given["judged"]
        if parts is None or not self.records:
            return found * (1 if parts is None else int(parts.max()) + 1)
        with warnings.catch_warnings(action="ignore"):  # a part may hold the only event
            return found + [self.values(judged=judged & (parts != part))
                            for part in range(1, parts.max() + 1)]


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


def _without(rows: _Rows, own: _Own, parts: NDArray[np.int64] | None) -> list[Values]:
    """All metrics on all rows, then without each of several parts."""
    if parts is not None and parts.max() == 1:
        parts = None
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
