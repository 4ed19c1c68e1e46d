"""One cell of a comparison: which rows, scores without a label, the detector's own threshold."""

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from inspect import signature
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from adlib.arguments import instance, one_of, whole
from adlib.base import (
    Detector,
    OnlineDetector,
    Scores,
    anomaly_score,
    before_core,
    core,
    expected_cost,
    is_stateful,
    score_by,
)
from adlib.datasets import Dataset
from adlib.dependence import memory_rows
from adlib.detectors.committee import Committee
from adlib.foreign import ForeignDetector, ForeignStream, wrap
from adlib.hindsight import (
    SHARE,
    Kernel,
    hindsight_score,
    hindsight_threshold,
    kernel_of,
    lookback,
    memory,
)
from adlib.metrics import Metric, report
from adlib.metrics.labels import runs
from adlib.metrics.record import is_named
from adlib.metrics.reporting import USUAL, row_name
from adlib.missing import POLICIES, Filled, MissingWarning, raised
from adlib.periods import usual_period

from .models import ALWAYS, ORACLE, named_detectors, random_states

__all__ = ["CellScores", "score_cell"]


#: What the row of one machine is called, whose name may hold brackets and commas itself.
ROW = r"(?s)^(vus_pr|average_precision)\[(.*)\]$"
LOOKED = 10_000  # rows of the history that say how long its columns remember


class CellScores(NamedTuple):
    """Scores of one cell; `score_cell` makes them without reading a label.

    Attributes
    ----------
    calibrate : ndarray of shape (n_calibrate,)
        Without the first rows of each recording.
    test : ndarray of shape (n_test,)
    test_rows : slice
        Of the data set.
    threshold : float
        The detector's own, from the calibration rows.
    fit_s, score_s : float
        Seconds.
    """

    calibrate: Scores
    test: Scores
    test_rows: slice
    threshold: float
    fit_s: float
    score_s: float


def score_cell(
    detector: Any, dataset: Dataset, *, seed: int = 0, alpha: float = 0.05,
    purge: int | None = None, delay: int | str | None = None, missing: str = "error"
) -> CellScores:
    """Fit, calibrate and score one detector on one data set, as `compare` does.

    Parameters
    ----------
    detector : str, class or instance
        As in `compare`.
    dataset : Dataset
        Its labels are not read.
    seed : int
        Given as ``random_state`` wherever the detector has one.
    alpha : float
        False-alarm budget per row, in (0, 1). A ``threshold`` of the detector's own, a number or a
        rule with its own budget, is kept and is what is judged.
    purge : int, optional
        Rows left out between the parts, and of the calibration scores at the start of each
        recording; default: what this detector needs.
    delay : None, int or "hindsight"
        Look-ahead, as in `compare`.
    missing : {"error", "impute"}
        As in `compare`.

    Returns
    -------
    CellScores

    Raises
    ------
    ValueError
        If a score of the calibration or test rows is NaN; and whatever the detector raises.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> cell = score_cell("IsolationForest", Dataset("noise", X))
    >>> cell.test_rows, cell.test.shape
    (slice(120, 300, None), (180,))
    """
    instance(dataset, "dataset", Dataset)
    named = named_detectors(detector)
    if len(named) != 1:
        raise ValueError(f"detector must be one, got {len(named)}")
    (model,) = named.values()
    dataset, gaps = without_gaps(dataset, missing)
    if (back := will_look_back(model, dataset)) > (most := room(dataset)):
        raise ValueError(
            f"the detector looks back on {back} rows, and a part of {dataset.name} has no more "
            f"than {most + 1} that follow each other: shorten its window"
        )
    look_ahead(delay, [dataset])
    purge = purge_gap([model], dataset) if purge is None else purge
    _, calibrate, test = dataset.slices(purge)
    settled = settled_rows(dataset, purge)[calibrate] & ~gaps(calibrate).blind
    judge = _prepared(model, seed, alpha)
    started = time.perf_counter()
    if not isinstance(model, str):
        _learn(judge, dataset)
    fitted = time.perf_counter()
    parts: Any
    if delay is not None:
        parts, kernel = _late_scores(model, judge, dataset, delay, [calibrate, test])
    elif isinstance(model, str):
        scores = _known_scores(model, dataset)
        parts = scores[calibrate], scores[test]
    else:
        parts = _scores(judge, dataset, calibrate, test)
    scored = time.perf_counter()
    parts = parts[0][settled], parts[1]
    for part, name in zip(parts, ("calibration", "test"), strict=True):
        if np.isnan(part).any():
            raise ValueError(f"{np.isnan(part).sum()} of {len(part)} {name} scores are NaN")
    threshold = (_calibrated(judge, dataset, calibrate, settled, parts[0]) if delay is None
                 else hindsight_threshold(judge, parts[0], kernel))
    found = raised(parts[1], gaps(test), threshold, parts[0].max(initial=-np.inf))
    return CellScores(parts[0], found, test, threshold, fitted - started, scored - fitted)


def without_gaps(dataset: Dataset, missing: str) -> tuple[Dataset, Callable[[slice], Filled]]:
    """The data that a cell sees, and of any of its rows which values were filled.

    `compare` warns about them once, not in every cell.
    """
    if one_of(missing, "missing", POLICIES) == "error":
        return dataset, lambda rows: Filled(dataset.X[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingWarning)
        filled = dataset.imputed()
    return filled, lambda rows: Filled(filled.X[rows], np.isnan(dataset.X[rows]))


def _prepared(model: Any, seed: int, alpha: float) -> Any:
    """An unfitted copy with the seed and the budget of the cell; what is foreign is wrapped."""
    if isinstance(model, str):
        return ForeignDetector(alpha=alpha, threshold=ALWAYS.get(model))
    model = clone(wrap(model))
    if seeded := random_states(model):
        model.set_params(**dict.fromkeys(seeded, seed))
    detector = core(model)
    detector.alpha = alpha  # not every constructor has the parameters
    if not _calibrates_itself(detector):
        detector.calibration = None
    return model


def cell_cost(model: Any, dataset: Dataset) -> float:
    """Seconds that a cell is expected to take; NaN where nobody knows."""
    if isinstance(model, str):
        return 0.0
    n, rest = dataset.calibrate_start, len(dataset) - dataset.calibrate_start
    cost = expected_cost(core(model), n, dataset.X.shape[1])
    return cost.fit_s + cost.score_s * rest / n


def _learn(judge: Any, dataset: Dataset) -> None:
    """Fit on the rows that train; a detector that can learns no window of two recordings."""
    X, more = dataset.X[: dataset.calibrate_start], {}
    if isinstance(judge, ForeignStream) and dataset.feature_names != tuple(
            f"x{i}" for i in range(len(dataset.feature_names))):
        judge.names = dataset.feature_names
    if dataset.session is not None and "session" in signature(core(judge).fit).parameters:
        steps = [name for name, _ in judge.steps[-1:]] if isinstance(judge, Pipeline) else []
        more = {"__".join([*steps, "session"]): dataset.session[: len(X)]}
    judge.fit(X, **more)


def _known_scores(name: str, dataset: Dataset) -> Scores:
    """Scores of what has nothing to learn."""
    if name != ORACLE:
        return np.zeros(len(dataset))
    if dataset.oracle is None:
        raise ValueError(f"{dataset.name} has no oracle score")
    return dataset.oracle


def _scores(model: Any, dataset: Dataset, calibrate: slice, test: slice) -> tuple[Scores, Scores]:
    if not is_stateful(model):
        return _part(model, dataset, calibrate), _part(model, dataset, test)
    scores = _continued(model, dataset)
    return scores[calibrate], scores[test]


def _continued(model: Any, dataset: Dataset) -> Scores:
    """Scores of a stateful model, 0 before the calibration rows.

    Contiguous rows from what was learned on; rows without order by the frozen score. A machine that
    is not alone in the history has a copy that learned its own history and no other; a machine or
    recording without a history begins with a copy of what learned all.
    """
    method = "anomaly_score" if dataset.ordered else "frozen_score"
    scores, start, entity = np.zeros(len(dataset)), dataset.calibrate_start, dataset.entity
    by_itself = not _calibrates_itself(core(model))  # else its scale belongs to the one model
    streams = entity if by_itself or dataset.session is None else dataset.session
    for rows in _of_each(streams):
        past, rest = np.split(rows, [np.searchsorted(rows, start)])
        if len(rest):
            own = by_itself and 0 < len(past) < start
            judge = clone(model).fit(dataset.X[past]) if own else model
            scores[rest] = score_by(judge, dataset.X[rest], method)
    return scores


def _of_each(numbers: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """The rows of each number, in their order."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def recordings(dataset: Dataset) -> list[slice]:
    """Rows of each recording, in order; all of them where there is only one."""
    of = [] if dataset.session is None else [dataset.session]
    return [slice(*ends) for ends in zip(*runs(np.ones(len(dataset), bool), *of), strict=True)]


def _behind_past(dataset: Dataset, rows: slice, context: int
                 ) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Numbers of the rows of each recording, with up to ``context`` of its own before; how many.

    The past of a recording need not be adjacent: other histories may lie between it and the test.
    """
    if rows.stop <= rows.start:
        return
    if dataset.session is None or not context:
        first = max(0, rows.start - context)
        yield np.arange(first, rows.stop), rows.start - first
        return
    for one in _of_each(dataset.session):
        first, last = np.searchsorted(one, [rows.start, rows.stop])
        if first < last:
            before = max(0, first - context)
            yield one[before:last], first - before


def _part(model: Any, dataset: Dataset, rows: slice) -> Scores:
    """Scores of rows, with the rows before them as context."""
    scores = np.empty(max(0, rows.stop - rows.start))
    for own, before in _behind_past(dataset, rows, lookback(model) + memory(model)):
        found = np.asarray(anomaly_score(model, dataset.X[own]))
        scores[own[before:] - rows.start] = found[before:]
    return scores


def look_ahead(delay: Any, datasets: Iterable[Dataset] = ()) -> str:
    """Check ``delay`` and call it by its name: "causal", "delay of 20 rows", "hindsight"."""
    if delay is None:
        return "causal"
    if not isinstance(delay, str):
        delay = f"delay of {whole(delay, 'delay', 0, of='rows')} rows"
    elif delay != "hindsight":
        raise ValueError(f"delay must be None, a whole number of rows or 'hindsight', got "
                         f"{delay!r}")
    if tables := [data.name for data in datasets if not data.ordered]:
        raise ValueError(f"delay={delay!r} needs rows in time order, and {tables} have no order: "
                         f"leave them or the delay out")
    return delay


def _late_scores(model: Any, judge: Any, dataset: Dataset, delay: Any, parts: list[slice]
                 ) -> tuple[list[Scores], Kernel]:
    """Scores of each part with look-ahead, and how they were averaged.

    Nothing is averaged over the border of two recordings, and no part sees the next one. The width
    comes from the rows that train, so that it is the same for all detectors.
    """
    period = usual_period(np.nan_to_num(dataset.X[: dataset.calibrate_start]))
    how: Any = {"delay": None if delay == "hindsight" else delay, "width": SHARE * period}
    kernel = kernel_of(judge, **how)
    known, floor = None, 0
    if isinstance(model, str):
        known = _known_scores(model, dataset)
    elif is_stateful(judge):  # its stream goes on through all parts
        floor, known = dataset.calibrate_start, _continued(judge, dataset)
    found = []
    for rows in parts:
        scores = np.empty(max(0, rows.stop - rows.start))
        for own, before in _behind_past(dataset, rows, kernel.behind + lookback(judge)):
            unknown = min(before, int(np.searchsorted(own, floor)))
            own, before = own[unknown:], before - unknown
            part = (hindsight_score(judge, dataset.X[own], **how) if known is None
                    else kernel.over(known[own]))
            scores[own[before:] - rows.start] = part[before:]
        found.append(scores)
    return found, kernel


def _calibrates_itself(detector: Detector) -> bool:
    """Whether it takes rows to calibrate, where the base takes the scores it has anyway."""
    return type(detector).calibrate not in (Detector.calibrate, OnlineDetector.calibrate)


def _calibrated(model: Any, dataset: Dataset, rows: slice, settled: NDArray[np.bool_],
                scores: Scores) -> float:
    """The threshold that the detector's own rule takes from the calibration rows."""
    detector = core(model)
    if _calibrates_itself(detector):
        context = min(rows.start, lookback(model) + memory(model))
        unused = max(0, context - detector.context_)
        if is_stateful(model):  # without a gap
            context, unused = rows.start - dataset.calibrate_start, 0
        X = before_core(model, dataset.X[rows.start - context : rows.stop])[unused:]
        if isinstance(detector, Committee):
            before = np.zeros(len(X) - len(settled), dtype=bool)
            detector.calibrate(X, judged=np.append(before, settled))
        else:  # without a look-back the first rows of a recording are left out here as well
            detector.calibrate(X if context else X[settled])
    else:
        detector.calibrate_scores(scores)
    return float(detector.threshold_)


def judge_cell(dataset: Dataset, cell: CellScores, gap: int, *, metrics: Any = None,
               **settings: Any) -> pd.DataFrame:
    """`adlib.metrics.report` on the test rows of a cell; the one place where labels are read.

    Of several machines each has a row of its own: the headline metric on its rows.
    """
    rows = cell.test_rows
    settled = settled_rows(dataset, gap)[rows]
    y = dataset.y[rows] * settled  # which also ends an event where its recording ends
    judged = dataset.judged[rows] & settled
    interval = dataset.interval if dataset.interval > 0 else None
    clock = None if interval is None or dataset.time is None else dataset.time[rows]
    asked = [name for name in metrics or [] if not re.match(ROW, str(name))]
    settings["series"] = dataset.is_series
    table = report(
        y, cell.test, threshold=cell.threshold, threshold_source="calibration",
        time=clock, interval=interval, judged=judged, kind=dataset.kind[rows],
        metrics=asked or None, **settings,
    )
    if metrics is not None and len(asked) == len(metrics):
        return table
    headline = "vus_pr" if dataset.is_series else "average_precision"
    alone = [report(y[own], cell.test[own], judged=judged[own], metrics=[headline], **settings)
             .assign(metric=f"{headline}[{name}]")
             for name, own in _entities(dataset, rows, judged).items()]
    return pd.concat([table, *alone], ignore_index=True)


def _entities(dataset: Dataset, rows: slice, judged: NDArray[np.bool_]
              ) -> dict[str, NDArray[np.bool_]]:
    """Which of these rows each machine has, by its name: those with both classes, if of several."""
    numbers = dataset.entity[rows]
    if (numbers == numbers[:1]).all():
        return {}
    names = dataset.entity_names
    found = {names[number]: numbers == number for number in np.unique(numbers)}
    y = dataset.y[rows]
    return {name: own for name, own in found.items() if len(np.unique(y[own & judged])) == 2}


def metric_names(dataset: Dataset, wanted: list[str] | None, own: list[Metric]) -> list[str]:
    """What a report gives on this data set's test rows; failed cells have the same rows."""
    rows = dataset.slices().test
    flat = np.zeros(rows.stop - rows.start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = CellScores(flat[:0], flat, rows, 0.0, 0.0, 0.0)
        names = judge_cell(dataset, cell, gap=0, n_random=0, intervals=False).metric.tolist()
    known = {"judged", "kind", "window"} | {
        name for name, there in (("interval", dataset.interval > 0),
                                 ("time", dataset.time is not None)) if there}
    names += [row_name(metric, "calibration") for metric in own
              if metric.name not in USUAL and not metric.lacks(known)]
    if wanted is None:
        return names
    return [name for name in names if is_named(name, wanted)
            or is_named(re.sub(ROW, r"\1", name), wanted)]


def will_look_back(model: Any, dataset: Dataset) -> int:
    """`lookback` after the fit of a cell: where it is "auto", the rows that train decide."""
    return lookback(_with_period(model, dataset))


def _with_period(model: Any, dataset: Dataset) -> Any:
    model = model if isinstance(model, str) else wrap(model)
    if isinstance(model, Detector):
        model = clone(model)
        model.n_features_in_ = dataset.X.shape[1]
        if not _calibrates_itself(model):
            model.calibration = None
        with suppress(ValueError):  # too few rows: the cell will say so
            model.look_for_period(dataset.X[: dataset.calibrate_start])
    return model


def memory_of(models: Iterable[Any], dataset: Dataset, gap: int, delay: Any) -> int:
    """Rows over which scores of this set hang together, whichever detector gives them.

    As far as detectors look back, by windows or smoothing, or as far as most columns of the history
    depend on their past; so blocks of test rows are the same for all detectors.
    """
    if not dataset.is_series:
        return 0
    past = dataset.X[: dataset.train_end][dataset.y[: dataset.train_end] == 0]
    columns = [memory_rows(column) for column in past[:LOOKED].T[:100]]
    smoothing = [memory(_with_period(model, dataset)) for model in models]
    late = 0 if delay is None else 4 * SHARE * usual_period(np.nan_to_num(
        dataset.X[: dataset.calibrate_start]))
    return max(gap, *smoothing, round(np.median(columns)), round(late))


def room(dataset: Dataset) -> int:
    """Rows that can be left out at the start of parts and recordings without emptying a part."""
    cuts = (dataset.calibrate_start, dataset.train_end, len(dataset))
    return min(max(min(one.stop, end) - max(one.start, begin) for one in recordings(dataset))
               for begin, end in pairwise(cuts) if begin < end) - 1


def purge_gap(models: Iterable[Any], dataset: Dataset) -> int:
    """Rows to leave out at the start of each part and of each recording."""
    most = room(dataset)  # a detector that looks back further fails alone
    backs = [will_look_back(model, dataset) for model in models]
    if dataset.session is not None:
        backs.append(min(1, most))
    return max((back for back in backs if back <= most), default=0)


def settled_rows(dataset: Dataset, gap: int) -> NDArray[np.bool_]:
    """False on the first rows of each recording, shape (n_samples,)."""
    settled = np.ones(len(dataset), dtype=bool)
    if dataset.session is not None:
        for one in recordings(dataset):
            settled[one.start : one.start + gap] = False
    return settled
