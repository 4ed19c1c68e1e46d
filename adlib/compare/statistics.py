"""What a comparison allows to say: means with intervals, paired tests, and a verdict in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.arguments import generator, instance, require_extra, whole
from adlib.detectors import baselines

__all__ = ["Ranking", "by_kind", "rank_detectors", "summarise", "triviality", "verdict"]

HEADLINES = {"vus_pr": "VUS-PR", "average_precision": "average precision"}
MIXED = "headline"
CHANCE = ("RandomScore", "AlwaysAnomalous", "AlwaysNormal")
ONE_LINERS = tuple(name for name in baselines() if name not in CHANCE)
TRIVIAL = 0.95  # share of the best that a one-liner has to reach
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detectors paired over data sets, see `rank_detectors`.

    Attributes
    ----------
    values : pandas.DataFrame
        Headline metric, mean over seeds: a row per data set, a column per ranked detector, best
        mean first.
    metrics : pandas.Series
        Headline metric of each data set.
    roles : pandas.Series
        "detector" or "baseline" by detector.
    average_rank : pandas.Series
        Mean over data sets of the rank within a set, 1 = best; ties share theirs.
    wins : pandas.Series
        Data sets on which a detector is best; a tie among k counts 1 / k for each.
    p_values : pandas.DataFrame
        Two-sided paired Wilcoxon signed-rank test of every pair, corrected by Holm (1979).
    friedman_p : float
        Friedman's test that all rank alike; nan below three detectors or two sets.
    smallest_p : float
        The smallest corrected p that so few sets could give: at 0.05 or more nothing can be
        significant.
    look_ahead : str
        Of all scores: "causal", "delay of 20 rows" or "hindsight".
    """

    values: pd.DataFrame
    metrics: pd.Series
    roles: pd.Series
    average_rank: pd.Series
    wins: pd.Series
    p_values: pd.DataFrame
    friedman_p: float
    smallest_p: float
    look_ahead: str = "causal"

    @property
    def sets_needed(self) -> int:
        """Data sets from which on a corrected p below 0.05 is possible."""
        return ceil(1 + log2(max(_n_pairs(self.values), 1) / LEVEL))


def summarise(
    table: pd.DataFrame, *, n_bootstrap: int = 1000, random_state: int = 0
) -> pd.DataFrame:
    """Mean of each metric over seeds and data sets, with an interval, ranked.

    Every data set has one headline metric: VUS-PR where it is a series, average precision where
    it is a table. Where a comparison holds both kinds, lines of the metric ``"headline"`` are
    added: each set's own, averaged. Within a set all detectors have the same one, so the order is
    fair; the mean itself mixes two scales and is no more than that.

    Parameters
    ----------
    table : DataFrame
        From `compare`.
    n_bootstrap : int
        Resamples behind the interval.
    random_state : int

    Returns
    -------
    pandas.DataFrame
        Columns ``rank`` (by mean headline; the oracle, and detectors that failed or are missing
        in some cell, have none and stand last), ``detector, role, metric, mean, low, high,
        random`` (mean over the same cells), ``delay`` (median rows from the start of an event to
        its first flag at the detector's own threshold, averaged like the metrics; nan where none
        was found or there are none: read it beside event recall), ``interval_over,
        average_rank`` (within sets, among the ranked), ``wins, n_datasets, n_seeds, n_failed``.
        Every data set weighs the same.
        Last comes ``look_ahead``, the same in all rows.
        ``interval_over`` says which luck the 95 % interval holds: "datasets and seeds" (both
        resampled: what another choice of data sets of this sort would give), or, with one data
        set, "test rows" (the mean over seeds of the limits in the table: what another test
        recording would give the same fitted models; training luck is not in it).

    Raises
    ------
    ValueError
        When ``table`` is no such table, ranks nobody, or holds scores of different look-ahead.

    Notes
    -----
    Below some six data sets the bootstrap interval over them is too narrow: it can only redraw
    the few it has.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": ["x", "x", "y", "y"],
    ...     "seed": [0, 1, 0, 1], "metric": "average_precision", "value": [0.2, 0.4, 0.8, 1.0],
    ...     "random": 0.1, "low": 0.0, "high": 1.0, "status": "ok"})
    >>> summarise(cells)[["rank", "detector", "mean", "random", "interval_over"]].values.tolist()
    [[1.0, 'A', 0.6, 0.1, 'datasets and seeds']]
    """
    table, n_bootstrap = checked_table(table), whole(n_bootstrap, "n_bootstrap", 1)
    generator(random_state)
    if table.empty:
        raise ValueError("table has no rows to summarise")
    metrics = headlines(table)
    name = headline_name(metrics)
    if name == MIXED:
        table = pd.concat([table, _headline_cells(table, metrics).assign(metric=MIXED)])
    bad = table[table.status != "ok"].groupby("detector")[["dataset", "seed"]]
    failed = {str(detector): len(cells.drop_duplicates()) for detector, cells in bad}
    lines = []
    key = ["detector", "role", "metric"]
    for (detector, role, metric), cells in table.groupby(key, sort=False):
        cells = cells[cells.value.notna()]
        per_set = [part.to_numpy() for _, part in cells.groupby("dataset").value]
        line = {"detector": detector, "role": role, "metric": metric} | dict.fromkeys(
            ("mean", "random", "low", "high"), np.nan)
        if per_set:
            line["mean"] = np.mean([values.mean() for values in per_set])
            line["random"] = cells.groupby("dataset").random.mean().mean()
            if len(per_set) == 1:
                line |= {"low": cells.low.mean(), "high": cells.high.mean()}
            else:
                line |= _interval(per_set, n_bootstrap, random_state)
        line["interval_over"] = "datasets and seeds" if len(per_set) > 1 else "test rows"
        line |= {"n_datasets": len(per_set), "n_seeds": cells.seed.nunique(),
                 "n_failed": failed.get(str(detector), 0), "look_ahead": look_ahead(table)}
        lines.append(line)
    out = pd.DataFrame(lines)
    values = _values(table, metrics)
    ranks, wins = _ranks_and_wins(values)
    place = values.mean().rank(ascending=False, method="min")
    out.insert(0, "rank", out.detector.map(place))
    delays = out[out.metric == "detection_delay@calibration"].set_index("detector")["mean"]
    out.insert(list(out.columns).index("interval_over"), "delay", out.detector.map(delays))
    at = list(out.columns).index("n_datasets")
    out.insert(at, "wins", out.detector.map(wins))
    out.insert(at, "average_rank", out.detector.map(ranks))
    return out.sort_values("rank", kind="stable", na_position="last", ignore_index=True)


def rank_detectors(table: pd.DataFrame) -> Ranking:
    """Compare detectors pair by pair over data sets, as Demšar (2006) advises.

    Seeds are averaged first, so a data set is one observation however many seeds it has. Left
    out are the oracle, detectors with a failed or missing cell, and the rows of chance (random
    score, constant decisions), which would only cost the others power.

    Parameters
    ----------
    table : DataFrame
        From `compare`.

    Returns
    -------
    Ranking

    Notes
    -----
    The signed-rank p is exact up to 50 sets without ties (13 with ties, by permutation). It asks
    whether one detector is usually better and by more, not whether its mean is higher, and it
    takes sets for independent: ten recordings of one machine are hardly ten sets.

    References
    ----------
    Demšar, J. (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7.
    Benavoli, A., Corani, G. and Mangili, F. (2016). Should we really use post-hoc tests based on
    mean-ranks? JMLR 17. (Why the pairs are tested by Wilcoxon and not by mean ranks.)

    Examples
    --------
    >>> cells = pd.DataFrame([(d, "detector", f"set {i}", 0, "average_precision", v, "ok")
    ...     for i in range(8) for d, v in (("A", 0.8 + i / 99), ("B", 0.7), ("C", 0.6 + i / 50))],
    ...     columns=["detector", "role", "dataset", "seed", "metric", "value", "status"])
    >>> ranking = rank_detectors(cells)
    >>> ranking.wins.to_dict(), ranking.p_values.loc["A", "B"].round(3).item(), ranking.sets_needed
    ({'A': 8.0, 'B': 0.0, 'C': 0.0}, 0.023, 7)
    """
    from scipy.stats import friedmanchisquare

    posthoc_wilcoxon = require_extra("scikit_posthocs", "notebooks").posthoc_wilcoxon

    table = checked_table(table, intervals=False)
    metrics = headlines(table)
    values = _values(table[~table.detector.isin(CHANCE)], metrics)
    values = values[values.mean().sort_values(ascending=False, kind="stable").index]
    names, columns = values.columns, values.to_numpy().T
    p_values = pd.DataFrame(np.ones((len(names),) * 2), names, names)
    friedman_p = np.nan
    if len(names) > 1 and len(values) > 1:
        with np.errstate(invalid="ignore"):  # all pairs of values equal: p is 1
            p_values[:] = posthoc_wilcoxon(list(columns), p_adjust="holm").fillna(1.0).to_numpy()
            if len(names) > 2:
                friedman_p = float(friedmanchisquare(*columns).pvalue)
    roles = table.drop_duplicates("detector").set_index("detector").role[names]
    ranks, wins = _ranks_and_wins(values)
    smallest = min(1.0, max(_n_pairs(values), 1) * 2.0 ** (1 - len(values)))
    return Ranking(values, metrics, roles, ranks, wins, p_values, friedman_p, smallest,
                   look_ahead(table))


def triviality(table: pd.DataFrame) -> pd.DataFrame:
    """How near a one-liner comes to the best detector on each data set.

    Where it reaches 95 % of the headline metric the set is trivial: it cannot show what the
    detectors are worth (Wu and Keogh 2021).

    Parameters
    ----------
    table : DataFrame
        From `compare`, with its baselines.

    Returns
    -------
    pandas.DataFrame
        One line per data set: ``dataset, metric, best, best_value, one_liner, one_liner_value,
        share, trivial``; values are means over seeds. Without a detector or a one-liner the
        share is nan. Where the best is near chance, all are alike: read ``best_value`` too.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "dataset": "x", "seed": 0, "metric": "average_precision", "value": [0.8, 0.78],
    ...     "status": "ok"})
    >>> triviality(cells)[["one_liner", "share", "trivial"]].round(3).values.tolist()
    [['MaxAbsZ', 0.975, True]]
    """
    table = checked_table(table, intervals=False)
    metrics = headlines(table)
    cells = _headline_cells(table, metrics)
    means = cells.groupby(["dataset", "detector"]).value.agg(_mean_of_all)
    models = set(cells.detector[cells.role == "detector"])
    lines = []
    for dataset, metric in metrics.items():
        values = means.xs(dataset).dropna()
        best, best_value = _highest(values[values.index.isin(models)])
        simple, simple_value = _highest(values[values.index.isin(ONE_LINERS)])
        share = simple_value / best_value if best_value > 0 else np.nan
        lines.append({"dataset": dataset, "metric": metric,
                      "best": best, "best_value": best_value,
                      "one_liner": simple, "one_liner_value": simple_value,
                      "share": share, "trivial": bool(share >= TRIVIAL)})
    return pd.DataFrame(lines)


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the rows of each kind of anomaly that each detector flags.

    At the threshold all share, so beside the false alarms it costs: a detector that flags more
    of everything finds more of every kind.

    Parameters
    ----------
    table : DataFrame
        From `compare`.

    Returns
    -------
    pandas.DataFrame
        One line per detector and kind: ``detector, role, kind, recall, random, n_datasets,
        false_positive_rate``; means over seeds, then over the data sets that have the kind; nan
        where a cell failed. ``false_positive_rate`` is over the same data sets. Empty where no
        data set names a kind.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": "x", "seed": 0,
    ...     "metric": ["recall[spike]@calibration", "false_positive_rate@calibration"],
    ...     "value": [0.9, 0.05], "random": [0.06, 0.05], "status": "ok"})
    >>> by_kind(cells).values.tolist()
    [['A', 'detector', 'spike', 0.9, 0.06, 1, 0.05]]
    """
    table = checked_table(table, intervals=False)
    alarms = table[table.metric == "false_positive_rate@calibration"]
    rates = alarms.set_index(["detector", "dataset", "seed"]).value.rename("false_positive_rate")
    kinds = table.metric.str.extract(r"^recall\[(.*)\]@", expand=False)
    cells = table.assign(kind=kinds)[kinds.notna()]
    cells = cells.groupby(["dataset", "kind"]).filter(lambda part: part.value.notna().any())
    cells = cells.join(rates, on=["detector", "dataset", "seed"])
    wanted = ["value", "random", "false_positive_rate"]
    key = ["detector", "role", "kind"]
    seeds = cells.groupby([*key, "dataset"], sort=False)[wanted]
    groups = seeds.agg(_mean_of_all).reset_index().groupby(key, sort=False)
    out = groups[wanted].agg(_mean_of_all).rename(columns={"value": "recall"})
    out.insert(2, "n_datasets", groups.size())
    return out.reset_index()


def verdict(table: pd.DataFrame) -> str:
    """What a comparison allows to say, in words: a leader only where the data bear it out.

    Scores with look-ahead are judged among themselves: a table may hold several.
    With one data set the intervals over its test rows decide; that is cautious, for two
    detectors can differ by more than chance and still overlap. With several, the paired test
    does; with so few that no p below 0.05 is possible, no winner is named.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`.

    Returns
    -------
    str
        The leader or "no winner" and why, how near the best baseline comes, and which data sets
        are trivial.

    Raises
    ------
    ValueError
        If the table is not one of `compare`.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "dataset": "x", "seed": 0, "metric": "average_precision", "value": [0.8, 0.6],
    ...     "low": [0.7, 0.5], "high": [0.9, 0.75], "random": 0.1, "status": "ok"})
    >>> print(verdict(cells))
    No winner: the interval of KNN (0.70 to 0.90) overlaps that of MaxAbsZ. The best baseline,
    MaxAbsZ, reaches 75 % of the best average precision.
    """
    parts = by_look_ahead(table)
    if [*parts] == ["causal"]:
        return _verdict(parts["causal"])
    return " ".join(("Causal scores: " if look == "causal" else
                     f"Scores with look-ahead ({look}): ") + _verdict(part)
                    for look, part in parts.items())


def _verdict(table: pd.DataFrame) -> str:
    table = checked_table(table)
    if table.empty:
        return "Nothing can be ranked: the table has no rows."
    headline = headline_name(headlines(table))
    words = HEADLINES.get(headline, "headline metric")
    summary = summarise(table)
    lines = summary[(summary.metric == headline) & summary["rank"].notna()].sort_values("rank")
    if lines.empty:
        return f"Nothing can be ranked: no detector has an {words} on every data set."
    best = lines.iloc[0]
    said = [_by_intervals(lines) if best.n_datasets == 1 else _by_pairs(rank_detectors(table))]
    simple = lines[lines.role == "baseline"]
    if best.role == "baseline":
        said.append(f"{best.detector} is itself a baseline.")
    elif len(simple):
        share = 100 * simple["mean"].iloc[0] / best["mean"]
        said.append(f"The best baseline, {simple.detector.iloc[0]}, reaches {share:.0f} % of the "
                    f"best {words}.")
    sets = triviality(table)
    if sets.trivial.any():
        said.append(f"A one-liner reaches {TRIVIAL:.0%} of the best detector, so trivial: "
                    f"{_listed(sets.dataset[sets.trivial])} ({sets.trivial.sum()} of {len(sets)}).")
    return " ".join(said)


def _by_intervals(lines: pd.DataFrame) -> str:
    best, others = lines.iloc[0], lines.iloc[1:]
    rivals = others.detector[others.high >= best.low]
    span = f"{best.low:.2f} to {best.high:.2f}"
    if (lines.low <= lines.random).all():
        return (f"Nothing is shown to beat chance: the interval of {best.detector}, the best, "
                f"({span}) holds the {best.random:.2f} of a random score.")
    if len(rivals):
        return (f"No winner: the interval of {best.detector} ({span}) overlaps "
                f"{'that' if len(rivals) == 1 else 'those'} of {_listed(rivals)}.")
    return f"{best.detector} leads: its interval ({span}) lies above all others."


def _by_pairs(ranking: Ranking) -> str:
    n, best = len(ranking.values), ranking.values.columns[0]
    if len(ranking.values.columns) == 1:
        return f"{best} stands alone: there is nothing to compare it with."
    highest = f"{best}, of the highest mean ({ranking.values[best].mean():.2f}),"
    if ranking.smallest_p >= LEVEL:
        return (f"No winner: {n} data sets are too few to tell {len(ranking.wins)} detectors apart "
                f"by a paired test, which needs at least {ranking.sets_needed}; {highest} is best "
                f"on {ranking.wins[best]:.3g} of them.")
    p = ranking.p_values[best].drop(best)
    # One can have the higher mean by a few sets and still lose most of them.
    ahead = ranking.average_rank[p.index] > ranking.average_rank[best]
    rivals = p.index[(p >= LEVEL) | ~ahead]
    if len(rivals):
        return (f"No winner: over {n} data sets {highest} is not shown to be better than "
                f"{_listed(rivals)} (paired Wilcoxon with Holm's correction, level {LEVEL}).")
    return (f"{best} leads over {n} data sets: better than each of the other {len(p)} (paired "
            f"Wilcoxon with Holm's correction, largest p {p.max():.2g}), best on "
            f"{ranking.wins[best]:.3g}.")


def _highest(values: pd.Series) -> tuple[str | None, float]:
    """The first of the highest values, and its name."""
    values = values.sort_values(ascending=False)
    return (str(values.index[0]), values.iloc[0]) if len(values) else (None, np.nan)


def _mean_of_all(values: pd.Series) -> float:
    """nan where one of them is."""
    return float(values.mean(skipna=False))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def checked_table(table: pd.DataFrame, *, intervals: bool = True) -> pd.DataFrame:
    """A table of `compare` with what its readers need, in a plain index."""
    instance(table, "table", pd.DataFrame)
    wanted = {"detector", "role", "dataset", "seed", "metric", "value", "status"}
    wanted |= {"random", "low", "high"} if intervals else set()
    if missing := wanted - set(table.columns):
        raise ValueError(f"table must be one of compare, not its summary: it lacks "
                         f"{', '.join(sorted(missing))}")
    try:
        numbers = {name: table[name].astype(np.float64) for name in ("value", "random", "low",
                                                                    "high") if name in table}
    except (TypeError, ValueError) as error:
        raise ValueError(f"table must hold numbers in value, random, low and high: {error}"
                         ) from None
    if len(looks := _looks(table)) > 1:
        raise ValueError(f"table must hold scores of one look-ahead, got {', '.join(looks)}, which "
                         f"are never ranked together: give table[table.look_ahead == {looks[0]!r}]")
    return table.assign(**numbers).reset_index(drop=True)


def _looks(table: pd.DataFrame) -> list[str]:
    """Kinds of look-ahead in a table."""
    return list(_look_of_rows(table).unique())


def _look_of_rows(table: pd.DataFrame) -> pd.Series:
    """Look-ahead of each row; what states none is of a time when all scores were causal."""
    if "look_ahead" not in table:
        return pd.Series("causal", index=table.index)
    return table.look_ahead.fillna("causal").astype(str)


def look_ahead(table: pd.DataFrame) -> str:
    """That of a table that has passed `checked_table`."""
    return (_looks(table) or ["causal"])[0]


def by_look_ahead(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table of `compare` cut into parts that may be ranked, checked."""
    instance(table, "table", pd.DataFrame)
    return {look: checked_table(table[_look_of_rows(table) == look])
            for look in _looks(table) or ["causal"]}


def headlines(table: pd.DataFrame) -> pd.Series:
    """Headline metric of each data set: the first one of `HEADLINES` that it has."""
    found = table[table.metric.isin(HEADLINES)].groupby("dataset", sort=False).metric.unique()
    return found.map(lambda there: next(metric for metric in HEADLINES if metric in there))


def headline_name(metrics: pd.Series) -> str:
    """What the headline metrics of several data sets are called together."""
    names = metrics.unique()
    return MIXED if len(names) > 1 else names[0] if len(names) else "average_precision"


def _headline_cells(table: pd.DataFrame, metrics: pd.Series) -> pd.DataFrame:
    return table[table.metric == table.dataset.map(metrics)]


def _values(table: pd.DataFrame, metrics: pd.Series) -> pd.DataFrame:
    """Headline by data set and ranked detector, mean over seeds; no gap is left in it."""
    cells = _headline_cells(table, metrics)
    cells = cells[cells.role != "oracle"]
    values = cells.pivot_table("value", "dataset", "detector", sort=False, dropna=False,
                               aggfunc=_mean_of_all)
    values = values.dropna(how="all")  # a set without anomalies ranks nobody
    failed = table.detector[table.status != "ok"]
    values = values.dropna(axis=1).drop(columns=failed, errors="ignore").astype(float)
    return values.round(9)  # level is level: the order of adding must not decide who is better


def _ranks_and_wins(values: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    ranks = values.rank(axis=1, ascending=False)
    best = values.eq(values.max(axis=1), axis=0)
    return ranks.mean(), best.div(best.sum(axis=1), axis=0).sum()


def _n_pairs(values: pd.DataFrame) -> int:
    return values.shape[1] * (values.shape[1] - 1) // 2


def _interval(per_set: list[NDArray[np.float64]], n_bootstrap: int, random_state: Any
              ) -> dict[str, float]:
    """Data sets resampled, and within each drawn one its seeds; alike for every detector."""
    rng = generator(random_state)  # whatever else is in the table
    draws = np.empty((n_bootstrap, len(per_set)))
    chosen = rng.integers(len(per_set), size=draws.shape)
    for k, values in enumerate(per_set):
        at = chosen == k
        draws[at] = values[rng.integers(values.size, size=(at.sum(), values.size))].mean(axis=1)
    low, high = np.percentile(draws.mean(axis=1), [2.5, 97.5])
    return {"low": low, "high": high}
