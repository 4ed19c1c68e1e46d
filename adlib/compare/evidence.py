"""What lies behind the figures of a table, from the scores: curves, and who found which event."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.arguments import instance, listed
from adlib.datasets import Dataset
from adlib.metrics.event import match
from adlib.metrics.labels import runs
from adlib.metrics.operating import operating_points

from .protocol import CellScores, settled_rows
from .statistics import CHANCE, checked_table, headlines, rank_detectors

__all__ = ["curves", "events"]

Scored = Mapping[tuple[str, str, int], CellScores]


class Judged(NamedTuple):
    """The test of a data set as metrics see it, and the scores of one seed by detector."""

    data: Dataset
    rows: slice
    y: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    is_series: bool
    seed: int
    cells: dict[str, CellScores]


def curves(table: pd.DataFrame, scores: Scored, datasets: Iterable[Dataset], *,
           detectors: Iterable[str] | None = None) -> pd.DataFrame:
    """Precision-recall, ROC and alarm-budget curves as one table, a row per threshold.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`, of one look-ahead.
    scores : mapping of (detector, data set, seed) to CellScores
        From ``compare(..., return_scores=True)``. Of several seeds the first is drawn.
    datasets : iterable of Dataset
        Those that were compared.
    detectors : iterable of str, optional
        Default: the best three, and the best two baselines.

    Returns
    -------
    pandas.DataFrame
        ``dataset, seed, detector`` and the columns of `adlib.metrics.operating_points`; "chosen"
        marks the threshold from the calibration rows. Empty where there are no scores or no labels.

    Examples
    --------
    >>> from adlib.compare import compare
    >>> from adlib.datasets import make_sine
    >>> sine = make_sine(400, random_state=0)
    >>> table, scores = compare("PCAReconstruction", sine, [0], return_scores=True)
    >>> found = curves(table, scores, [sine], detectors=["PCAReconstruction"])
    >>> found.groupby("detector").event_recall.max().to_dict()
    {'PCAReconstruction': 1.0}
    """
    parts = []
    for test in judged_tests(table, scores, datasets):
        named = best_few(table) if detectors is None else listed(detectors, "detectors")
        interval = test.data.interval
        for name in (name for name in named if name in test.cells):
            cell = test.cells[name]
            if not 0 < (test.y & test.judged).sum() < test.judged.sum():
                continue
            points = operating_points(
                test.y, cell.test, judged=test.judged, series=test.is_series,
                threshold=cell.threshold, interval=interval if interval > 0 else None)
            key = {"dataset": test.data.name, "seed": test.seed, "detector": name}
            parts.append(pd.concat([pd.DataFrame(key, points.index), points], axis=1))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["dataset"])


def events(table: pd.DataFrame, scores: Scored, datasets: Iterable[Dataset], *,
           detectors: Iterable[str] | None = None) -> pd.DataFrame:
    """Every event of the test: who finds it at the own threshold, who first, who alone.

    Parameters
    ----------
    table, scores, datasets
        As in `curves`; sets without order have no events.
    detectors : iterable of str, optional
        Default: all but the oracle and the rows of chance.

    Returns
    -------
    pandas.DataFrame
        ``dataset, seed, event`` (1, 2, ...), ``start_row, end_row`` (of the data set, both inside),
        ``start, end`` (times, where known), ``entity`` (where named), ``rows, kind, n_found``
        (detectors), ``found_by`` (first to last), ``first_by`` (several where they tie),
        ``delay_rows`` (from the start to the first flag), ``delay`` (timedelta, where known) and
        ``only_by``. A detector with many false alarms finds much: read it beside these.

    Examples
    --------
    >>> from adlib.compare import compare
    >>> from adlib.datasets import make_sine
    >>> sine = make_sine(400, random_state=0)
    >>> table, scores = compare("PCAReconstruction", sine, [0], return_scores=True)
    >>> events(table, scores, [sine]).columns[2:5].tolist()
    ['event', 'start_row', 'end_row']
    """
    lines = []
    named = None if detectors is None else listed(detectors, "detectors")
    for test in judged_tests(table, scores, datasets):
        if not test.is_series:
            continue
        delays = pd.DataFrame({
            name: match(test.y, cell.test > cell.threshold, test.judged).delay
            for name, cell in test.cells.items()
            if (name not in CHANCE if named is None else name in named)})
        there = [(a, b) for a, b in zip(*runs(test.y), strict=True) if test.judged[a:b].any()]
        lines += [_event(test, k + 1, a, b, delays.iloc[k].dropna().sort_values(kind="stable"))
                  for k, (a, b) in enumerate(there)]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=["dataset"])


def _event(test: Judged, number: int, start: int, stop: int, delay: pd.Series) -> dict[str, Any]:
    data, first = test.data, test.rows.start
    rows = [first + start, first + stop - 1]
    least = delay.min() if len(delay) else np.nan
    later: Any = pd.NaT
    if len(delay) and data.time is not None:
        later = pd.Timedelta(data.time[rows[0] + int(least)] - data.time[rows[0]])
    elif len(delay) and data.interval > 0:
        later = pd.Timedelta(seconds=least * data.interval)
    times: Any = (pd.NaT, pd.NaT) if data.time is None else data.time[rows]
    entity = "" if data.session is None or data.session_names is None else data.session_names[
        data.session[rows[0]]]
    return {"dataset": data.name, "seed": test.seed, "event": number, "start_row": rows[0],
            "end_row": rows[1], "start": times[0], "end": times[1],
            "entity": entity, "rows": stop - start,
            "kind": data.kind[rows[0]], "n_found": len(delay), "found_by": ", ".join(delay.index),
            "first_by": ", ".join(delay.index[delay == least]), "delay_rows": least,
            "delay": later, "only_by": delay.index[0] if len(delay) == 1 else ""}


def best_few(table: pd.DataFrame, detectors: int = 3, baselines: int = 2) -> list[str]:
    """The best detectors and baselines, best first."""
    ranking = rank_detectors(table)
    of_role = {role: [name for name in ranking.values.columns.astype(str)
                      if ranking.roles.get(name) == role] for role in ("detector", "baseline")}
    return of_role["detector"][:detectors] + of_role["baseline"][:baselines]


def judged_tests(table: pd.DataFrame, scores: Scored, datasets: Iterable[Dataset]
                 ) -> Iterator[Judged]:
    """For each data set the first seed whose cells have scores that belong to the table."""
    table = checked_table(table)
    instance(scores, "scores", Mapping)
    datasets = [instance(data, "datasets", Dataset) for data in listed(datasets, "datasets")]
    cells = table[table.status == "ok"].drop_duplicates(["detector", "dataset", "seed"])
    series = headlines(table)
    for data in datasets:
        by_seed: dict[int, dict[str, CellScores]] = {}
        ours = (cells.dataset == data.name) & cells.role.isin(["detector", "baseline"])
        if "data" in cells:  # a generator draws another set with each seed
            ours &= cells.data == f"#{data.fingerprint[:12]}"
        for name, seed, threshold in cells[ours][["detector", "seed", "threshold"]].to_numpy():
            cell = scores.get((name, data.name, seed))
            if cell is not None and np.isclose(cell.threshold, threshold, equal_nan=True):
                by_seed.setdefault(seed, {})[name] = cell
        if not by_seed:
            continue
        seed, found = min(by_seed.items())
        rows = next(iter(found.values())).test_rows
        settled = settled_rows(data, rows.start - data.train_end)[rows]
        yield Judged(data, rows, (data.y[rows] == 1) & settled, data.judged[rows] & settled,
                     series.get(data.name) == "vus_pr", seed, found)
