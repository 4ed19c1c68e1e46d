"""The grid of a comparison: every detector on every data set with every seed, judged alike."""

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.arguments import listed, one_of, switch, whole
from adlib.base import is_stateful
from adlib.cost import LONG, spoken
from adlib.datasets import Dataset
from adlib.deprecation import renamed
from adlib.metrics import Metric, all_metrics
from adlib.metrics.record import chosen, is_named
from adlib.missing import POLICIES
from adlib.reading.labels import at_one_end
from adlib.thresholds import check_alpha

from .cells import FACTS, METRIC, Store, code_version, described
from .models import (
    ORACLE,
    SMOOTHED,
    STEPS,
    SUPERVISED,
    Supervised,
    baseline_detectors,
    ignores_seed,
    named_detectors,
    own_seeds,
    parameters_of,
    untrained_copies,
)
from .progress import Progress
from .protocol import CellScores, cell_cost, look_ahead, memory_of, metric_names, purge_gap
from .workers import Limits, Task, checked_limits, run

__all__ = ["compare"]


class _Cell(NamedTuple):
    detector: str
    dataset: str
    data: Dataset
    seed: int


@renamed(n_bootstrap="intervals")
def compare(detectors: Any, datasets: Dataset | Callable[[int], Dataset] | Iterable,
            seeds: Iterable[int] = (0, 1, 2), *, metrics: Any = None,
            alpha: float = 0.05, delay: int | str | None = None, missing: str = "error",
            baselines: bool = True, supervised: bool = False, n_jobs: int = 1,
            results_dir: str | os.PathLike | None = None, retry_failed: bool = False,
            time_limit: float | None = None, memory_limit: float | str | None = None,
            scheduler: Any = None, n_random: int = 20, intervals: bool = True,
            return_scores: bool = False, progress: bool = True) -> Any:
    """Judge detectors on data sets over seeds; one tidy row per metric of each cell.

    Parameters
    ----------
    detectors : str, class, instance, (label, instance), dict or list of these
        Names from `adlib.detectors` or of scikit-learn's outlier detectors ("IsolationForest",
        "EllipticEnvelope", "OneClassSVM", "LocalOutlierFactor"; the last two behind a
        StandardScaler, and trained on 20,000 rows at most, drawn at random, for their time grows
        with the square: ``reason`` says so), with parameters if you like ("KNN(window=10)");
        "package.module:Class" and "file.py:Class" of yours or another library's, likewise;
        classes; and instances of anything that `adlib.anomaly_score` serves, Pipelines included
        (`adlib.foreign.wrap` takes the sign of what is not known).
        Instances are cloned, never touched.
    datasets : Dataset, callable or iterable of these
        With different names. A callable gets each seed and returns a Dataset, the same name every
        time: a generator, drawn anew with every seed, so that the spread over seeds holds the luck
        of the data too.
    seeds : iterable of int
        Each is given as ``random_state`` wherever a detector has one, also in place of one that it
        was built with: a warning and the column ``parameters`` say so. A detector of adlib or
        scikit-learn without any is fitted once for all seeds that share the data.
    metrics : str, Metric or list of these, optional
        Names (`adlib.metrics.all_metrics`), with or without what follows the ``@``, and
        `adlib.metrics.Metric` records of your own; default: those that `adlib.metrics.report`
        gives.
    alpha : float
        False-alarm budget per row, in (0, 1). Each detector takes its threshold by its own rule
        from the same calibration rows, as `adlib.Detector.calibrate` does; what is foreign gets
        the rule that adlib's detectors have by default. One with a ``threshold`` of its own, a
        number or a rule with its own budget, is judged by that.
    delay : None, int or "hindsight"
        How many later rows a score may depend on. None: causal scores, as detectors give them. A
        number of rows, or "hindsight" for all: `adlib.hindsight_score` of every detector, baseline
        and oracle, averaged over the same width (0.3 of `adlib.periods.usual_period` of the rows
        that train), with thresholds of their own; rows must have an order. Each call gives
        one; results of several can stand in one table, and are never ranked together.
    missing : {"error", "impute"}
        What missing values do. "error": each detector is on its own, and most fail. "impute": all
        of them, foreign ones, baselines and oracle too, get the rows of `Dataset.imputed`: gaps
        hold the median of the rows that train. Rows of which more than half is missing calibrate
        nothing, and in the test score at least just above each threshold. `write_report` says how
        much was filled, and so does a `adlib.missing.MissingWarning`.
    baselines : bool
        Add the rows that every table needs: random score, one-liners, PCA reconstruction,
        always-anomalous, always-normal, and on rows in order `SquaredZ` and `SquaredDifference`
        smoothed over half a usual period; an untrained copy of each network among the detectors
        ("LSTM untrained"), and the oracle of generated data.
    supervised : bool
        Add a row that knows more than a detector may: a random forest fitted with the labels of the
        training rows, on each set where these hold both classes. It is a ceiling, of a role of its
        own, and never ranked.
    n_jobs : int
        Cells run at the same time, in processes (joblib); -1 = all cores. Times in the table then
        suffer.
    results_dir : path, optional
        Folder of finished cells, one small JSON file each, written as soon as the cell is done. A
        run that was interrupted, or has grown, takes from it every cell whose detector (class, its
        code, parameters), data, seed, protocol and the sources behind every cell are as they were:
        an edited detector of adlib makes its own cells anew and those of detectors that import it,
        a new one none, an edited metric or base class all. Files that are torn or of something
        else are passed over. Failed cells are kept as well, until `retry_failed`. One that ran
        into a limit is tried again under a higher one.
    retry_failed : bool
        Try cells of `results_dir` again that are not "ok".
    time_limit : float, optional
        Seconds that fit and score of a cell may take; cells then run in processes of their own that
        the system ends on time, so that one which crashes or runs out of memory is a row too. Needs
        a POSIX system.
    memory_limit : float or str, optional
        By how much the process of a cell may grow, its data included, in MiB or as "2 GiB"; one
        that outgrows it is ended, and is a row. Needs Linux. What a cell's own child processes hold
        does not count.
    scheduler : distributed.Client or str, optional
        Dask client, or address of a scheduler, to run the cells on (extra ``dask``);
        `n_jobs` then means nothing. A worker runs one cell at a time however many threads it has,
        so give it one. It needs this adlib and the modules of your detectors; `results_dir` stays
        here. Cells of a worker that dies are run by another.
    n_random : int
        Scores that know nothing behind ``random``, see `adlib.metrics.report`.
    intervals : bool
        False leaves ``low``, ``high`` and ``blocks`` out, and with them every statement about who
        is better on one data set.
    return_scores : bool
        Give the scores too, so that nothing has to be fitted again for a curve or a picture. With
        `results_dir` they are kept beside their cells, and a cell without them is computed anew.
    progress : bool
        Progress bar where there is a terminal to show it; elsewhere (a log, a notebook, papermill)
        a line now and then once half a minute has passed.

    Returns
    -------
    pandas.DataFrame, or with `return_scores` a tuple of it and a dict
        The dict holds the `adlib.compare.CellScores` (calibration scores, test scores and their
        rows, threshold) of each cell that is "ok", by (detector, dataset, seed).

        Columns ``detector, role`` ("detector", "baseline", "oracle", "supervised"),
        ``dataset, seed, metric, value, random`` (what a score that knows nothing gets),
        ``above_chance`` (0 for chance, 1 for perfect), ``low, high`` (95 % over test rows),
        ``p_chance`` and ``blocks`` (as in `adlib.metrics.report`), ``data`` (12 digits of the
        fingerprint: equal where seeds shared the rows), ``status`` ("ok", "failed", "timed out",
        "out of memory"), ``reason`` (of the failure, or warnings),
        ``threshold, n_calibrate, n_test, fit_s, score_s`` (seconds), ``peak_memory_mib``,
        ``online`` ("yes" where the detector learns from each row it has scored, "frozen" where it
        could but the rows have no order), ``look_ahead`` ("causal", "delay of 20 rows" or
        "hindsight"), ``missing`` (as given), ``parameters``.
        Times and memory apart, the same call gives the same table wherever its cells ran.

        ``peak_memory_mib`` is by how many MiB the resident memory of the process rose, at most,
        while the detector fitted and scored: the data, which were there before, are not in it;
        libraries that a first cell loads are; pages that an earlier cell left with the allocator
        can hide a part. NaN where the system does not report it (other than Linux), and where the
        process died.

    Raises
    ------
    ValueError
        For an unknown detector or metric, two detectors of one label, two data sets of one name,
        a scheduler that does not answer, a column without values to fill gaps from.
    ImportError
        When `scheduler` is given and dask.distributed is not there.

    Notes
    -----
    The purge gap is ``window - 1`` rows of the longest look-back among the detectors, the same
    for all, so that all are judged on the same rows; its rows serve as context. The memory of
    a detector with ``smoothing`` counts for none: it may reach back into the rows that train.
    Online detectors need no gap: they get the rows from calibration on in one piece, in order, and
    score each before they learn it. Each recording (``session``) starts from a copy of what was
    fitted; a machine that has a history beside those of others, from a copy that learned its own.
    All other detectors learn all histories together. Where rows have no order
    (``Dataset.series`` is False), they are judged by the frozen score.

    Where a data set consists of several recordings (``session``), the first rows of each are not
    judged: as many as the purge gap, at least one. Their past lies in another recording or part. An
    event never goes on from one into the next, and ``alarms_per_day`` are those of one machine.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> X[290:] += 4
    >>> data = Dataset("shift", X, np.arange(300) >= 290)
    >>> table = compare("IsolationForest", data, seeds=[0], metrics=["roc_auc"], baselines=False)
    >>> table[["detector", "dataset", "metric", "status"]].values.tolist()
    [['IsolationForest', 'shift', 'roc_auc', 'ok']]
    """
    check_alpha(alpha)
    limits = checked_limits(time_limit, memory_limit)
    _check_jobs(n_jobs)
    n_random, intervals = whole(n_random, "n_random", 0), switch(intervals, "intervals")
    asked, own = (None, []) if metrics is None else chosen(metrics)
    models, roles = _roster(detectors, baselines, supervised)
    seeds = _checked_seeds(seeds)
    drawn = _drawn(datasets, seeds)
    if not drawn or not models:
        raise ValueError(f"compare needs detectors, and data sets with different names; got "
                         f"{list(models)} and {list(drawn)}")
    wanted = {data: metric_names(data, asked, own) for data in chain(*drawn.values())}
    _check_known(asked, own, wanted)
    ahead = look_ahead(delay, wanted)
    _say_what_was_found(wanted)
    purge = _purge_gaps(models, wanted, missing)
    memory = {data: memory_of(models.values(), data, gap, delay) for data, gap in purge.items()}
    cells = _cells(models, roles, drawn, seeds)
    store, made_of, found = None, [], dict[int, dict[str, Any]]()
    if results_dir is not None:
        protocol = {"alpha": alpha, "n_random": n_random, "intervals": intervals,
                    "look_ahead": ahead, "missing": missing}
        store = Store(results_dir)
        made_of = _ingredients(cells, models, protocol, purge, memory, wanted, own)
        found = _earlier(store, made_of, limits, return_scores, retry_failed)
    _warn_of_seeds(models, seeds)
    groups = _sharing_a_fit(cells, models, found)
    tasks = []
    for group in groups:
        first = cells[group[0]]
        data = first.data
        tasks.append(Task(_informed(models[first.detector], data), data,
                          tuple(cells[i].seed for i in group), alpha, purge[data], memory[data],
                          wanted[data], tuple(own), n_random, intervals, delay, missing,
                          return_scores))
    with Progress(len(cells), len(found), progress) as shown:
        _announce(shown, tasks, models)
        for task, results in run(tasks, n_jobs=n_jobs, limits=limits, scheduler=scheduler):
            new = dict(zip(groups[task], results, strict=True))
            found |= new
            if store:
                for i, outcome in new.items():
                    store.write(made_of[i], outcome)
            shown.update(len(new))
    parameters = {label: parameters_of(model) for label, model in models.items()}
    rows = (_rows(cell, roles[cell.detector], wanted[cell.data], found[i],
                  {"data": f"#{cell.data.fingerprint[:12]}", "look_ahead": ahead,
                   "missing": missing, "online": _online(models[cell.detector], cell.data),
                   "parameters": parameters[cell.detector]})
            for i, cell in enumerate(cells))
    table = pd.DataFrame(list(chain.from_iterable(rows)))
    return (table, _scores(cells, found)) if return_scores else table


def _scores(cells: list[_Cell], found: dict[int, dict[str, Any]]
            ) -> dict[tuple[str, str, int], CellScores]:
    return {(cell.detector, cell.dataset, cell.seed): found[i]["scores"]
            for i, cell in enumerate(cells) if found[i]["status"] == "ok"}


def _say_what_was_found(datasets: Iterable[Dataset]) -> None:
    """Which sets are judged as series though nobody said so, unless their notes say so."""
    found = {data.name: sentence for data in datasets if (sentence := data.series_found)
             and not any(sentence in note for note in data.notes)}
    if found:
        warnings.warn(f"{', '.join(found)}: {next(iter(found.values()))}", stacklevel=4)


def _purge_gaps(models: dict[str, Any], datasets: Iterable[Dataset], missing: str
                ) -> dict[Dataset, int]:
    """Rows to leave out in each; the one warning about what is filled comes from here."""
    fills = one_of(missing, "missing", POLICIES) == "impute"
    return {data: purge_gap(models.values(), data.imputed() if fills else data)
            for data in datasets}


def _warn_of_seeds(models: dict[str, Any], seeds: list[int]) -> None:
    """Say which detectors were built with a seed of their own, which those of the run replace."""
    if theirs := {label: [*own.values()] for label, model in models.items()
                  if (own := own_seeds(model)) and [*own.values()] != seeds}:
        warnings.warn(f"random_state gives way to seeds={seeds} in {theirs}: seeds=[...] chooses "
                      f"others", stacklevel=4)


def _informed(model: Any, data: Dataset) -> Any:
    """The model; the one that learns from labels with those of the rows that train."""
    return (Supervised(data.y[: data.calibrate_start]) if isinstance(model, Supervised) else model)


def _announce(shown: Progress, tasks: list[Task], models: dict[str, Any]) -> None:
    """Say what the cells will take where it is beyond a minute, and a bar is shown."""
    if shown.bar.disable:
        return
    labels = {id(model): label for label, model in models.items()}
    seconds: dict[str, float] = {}
    for task in tasks:
        cost = cell_cost(task.model, task.dataset)
        if cost > 0:  # unknown costs are NaN
            label = labels[id(task.model)]
            seconds[label] = seconds.get(label, 0.0) + cost
    if (total := sum(seconds.values())) > LONG:
        longest = max(seconds, key=lambda label: seconds[label])
        shown.say(f"about {spoken(total)} on one core, of which {longest} takes "
                  f"{spoken(seconds[longest])}")


def _check_jobs(n_jobs: Any) -> None:
    counts = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool)
    if not counts or not n_jobs or abs(n_jobs) >= 10_000:
        raise ValueError(f"n_jobs must be a whole number of processes, or -1, got {n_jobs!r}")


def _checked_seeds(seeds: Any) -> list[int]:
    seeds = list(seeds) if np.iterable(seeds) else [seeds]
    integers = all(isinstance(s, (int, np.integer)) and 0 <= s < 2**32 for s in seeds)
    if not seeds or not integers or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different integers from 0 on, at least one, got {seeds}")
    return [int(seed) for seed in seeds]


def _roster(detectors: Any, baselines: bool, supervised: bool
            ) -> tuple[dict[str, Any], dict[str, str]]:
    """Detectors and the rows beside them by label, and the role of each."""
    models = named_detectors(detectors)
    fixed = baseline_detectors() | untrained_copies(models) if baselines else {}
    fixed |= {SUPERVISED: Supervised()} if supervised else {}
    if clash := [m for m in models if m in fixed and repr(models[m]) != repr(fixed[m])]:
        raise ValueError(f"{clash} are names of baselines: give your detectors other labels")
    others = {ORACLE: "oracle", SUPERVISED: "supervised"}
    return models | fixed, dict.fromkeys(models, "detector") | {
        name: others.get(name, "baseline") for name in fixed}


def _check_known(asked: list[str] | None, own: list[Metric], wanted: dict[Dataset, list[str]]
                 ) -> None:
    there = {name for names in wanted.values() for name in names}
    odd = [m for m in asked or [] if not any(is_named(name, [m]) for name in there)]
    if not odd:
        return
    if all(any(is_named(metric.name, [name]) for metric in own) for name in odd):
        raise ValueError(f"metrics {odd} need what no data set here has, such as the time of rows")
    known = {*metric_names(next(iter(wanted)), None, []), *all_metrics()}
    raise ValueError(f"unknown metrics {odd}; there are {sorted(known)}")


def _cells(models: dict[str, Any], roles: dict[str, str], drawn: dict[str, list[Dataset]],
           seeds: list[int]) -> list[_Cell]:
    """Every detector on every data set with every seed."""
    return [
        _Cell(label, name, data, seed)
        for label, (name, sets) in product(models, drawn.items())
        for seed, data in zip(seeds, sets, strict=True)
        if _takes_part(label, roles[label], data)
    ]


def _takes_part(label: str, role: str, data: Dataset) -> bool:
    """Whether a row of the table makes sense on a data set.

    An oracle where the data have one; a one-liner with a memory where rows have an order, and none
    that looks at rows before where the order of a table gives its labels away; what learns from
    labels where those of the rows that train differ.
    """
    if role == "oracle":
        return data.oracle is not None
    if role == "supervised":
        return len(np.unique(data.y[: data.calibrate_start])) == 2
    if role == "detector" or label not in SMOOTHED + STEPS:
        return True
    return (data.ordered or label in STEPS) and (
        data.is_series or not at_one_end(data.test.y == 1))


def _sharing_a_fit(cells: list[_Cell], models: dict[str, Any], found: dict[int, Any]
                   ) -> list[list[int]]:
    """Numbers of the cells that are still to do, those together that one fit serves."""
    groups: dict[tuple, list[int]] = {}
    for i, cell in enumerate(cells):
        if i not in found:
            once = ignores_seed(models[cell.detector])
            key = (cell.detector, cell.data, None if once else cell.seed)
            groups.setdefault(key, []).append(i)
    return list(groups.values())


def _drawn(datasets: Any, seeds: list[int]) -> dict[str, list[Dataset]]:
    """The data of every seed, by name: the same rows, or what a generator draws with it."""
    single = isinstance(datasets, (Dataset, str)) or callable(datasets)
    drawn: dict[str, list[Dataset]] = {}
    for source in [datasets] if single else listed(datasets, "datasets"):
        sets = [source(seed) if callable(source) else source for seed in seeds]
        if odd := [data for data in sets if not isinstance(data, Dataset)]:
            raise ValueError(f"datasets must be of type Dataset, or callables that give one for a "
                             f"seed, got {odd[0]!r}: load or make it first")
        sets = _judged_alike(sets)
        names = list(dict.fromkeys(data.name for data in sets))
        if len(names) > 1 or names[0] in drawn:
            raise ValueError(f"compare needs data sets with different names, the same for every "
                             f"seed; got {[*drawn, *names]}")
        if not all(0 < data.train_end < len(data) for data in sets):
            raise ValueError(f"datasets {names} need history to learn from and test rows: set "
                             f"train_end")
        drawn[names[0]] = sets
    return drawn


def _judged_alike(sets: list[Dataset]) -> list[Dataset]:
    """Draws of one generator by the same metrics: all as series where some are found to be."""
    if len({data.is_series for data in sets}) == 1:
        return sets
    return [data if data.series is False else replace(data, series=True) for data in sets]


def _ingredients(cells: list[_Cell], models: dict[str, Any], protocol: dict[str, Any],
                 purge: dict[Dataset, int], memory: dict[Dataset, int],
                 wanted: dict[Dataset, list[str]], own: list[Metric]) -> list[dict[str, Any]]:
    """All that the outcome of each cell depends on."""
    if theirs := [metric for metric in own if all_metrics().get(metric.name) != metric]:
        protocol = protocol | {"own metrics": [described(metric) for metric in theirs]}
    looks = {label: described(model) for label, model in models.items()}
    return [
        {"detector": cell.detector, "dataset": cell.dataset, "seed": cell.seed} | protocol
        | {"purge": purge[cell.data], "memory": memory[cell.data], "metrics": wanted[cell.data],
           "rows": cell.data.fingerprint, "code": code_version(), "model": looks[cell.detector]}
        for cell in cells
    ]


def _earlier(store: Store, made_of: list[dict[str, Any]], limits: Limits, scores: bool, retry: bool
             ) -> dict[int, dict[str, Any]]:
    """Outcomes that an earlier run has left."""
    return {i: old for i, one in enumerate(made_of) if (old := store.read(one, scores))
            and _still_holds(old, limits, retry)}


def _still_holds(outcome: dict[str, Any], limits: Limits, retry: bool) -> bool:
    """A cell that ran into a limit gets another try when it is given more."""
    if outcome["status"] == "ok":
        return True
    given = {"time_limit": limits.time_limit, "memory_limit": limits.memory_limit}
    return not retry and all(limit is not None and limit <= outcome[name]
                             for name, limit in given.items() if name in outcome)


def _online(model: Any, data: Dataset) -> str:
    """Whether the detector learns from each row that it has scored."""
    return ("yes" if data.ordered else "frozen") if is_stateful(model) else "no"


def _rows(cell: _Cell, role: str, metrics: list[str], outcome: dict[str, Any],
          about: dict[str, str]) -> list[dict[str, Any]]:
    nothing = dict.fromkeys(METRIC, np.nan) | {"blocks": ""}
    key = {"detector": cell.detector, "role": role, "dataset": cell.dataset, "seed": cell.seed}
    facts = {name: outcome[name] for name in FACTS}
    return [key | {"metric": name} | outcome["metrics"].get(name, nothing) | facts | about
            for name in metrics]
